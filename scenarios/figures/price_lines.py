"""Lines in a map of prices at which the price of storage is in a fixed ratio to that of compute."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from scenarios.figures.style import INK

_APART = 0.052  # labels of lines are written if they are apart by this share of the panel's side
_LETTERS = 10  # most of the name of a line
Dashes = tuple[float, tuple[float, ...]]
EQUAL: Dashes = (0, (5, 2))
"""Dashes of the lines of equal cost."""
MODELS: tuple[Dashes, ...] = ((0, (1, 1.4)), (0, (3, 1.3, 1, 1.3)), (0, (6, 1.3, 1, 1.3, 1, 1.3)))
"""Dashes of the lines of cost models."""


def draw_lines(axes: Axes, models: Mapping[str, float], equal: Mapping[str, float]) -> int:
    """Draw y = ratio × x for each, and name the lines at the edge that they leave by, where there is room.

    Returns:
        The number of characters of the longest name above the panel.
    """
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    taken: list[tuple[bool, float]] = []
    longest = 0
    dashes = dashes_of(models)
    for name, ratio in {**equal, **models}.items():
        if bottom / right < ratio < top / left:
            ends = [left, right], [ratio * left, ratio * right]
            axes.plot(*ends, color="white", linewidth=2.2, alpha=0.6)
            axes.plot(*ends, color=INK, linewidth=1.0, linestyle=dashes.get(name, EQUAL))
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    for name, ratio in {**models, **equal}.items():
        if not bottom / right < ratio < top / left:
            continue
        at_right = bool(ratio * right <= top)
        leaves = np.log([ratio * right / bottom, top / bottom] if at_right else [top / ratio / left, right / left])
        share = float(leaves[0] / leaves[1])
        if any(at_right == other and abs(share - before) < _APART for other, before in taken):
            continue
        taken.append((at_right, share))
        text = name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"
        longest = max(longest, 0 if at_right else len(text))
        place: dict[str, Any] = {"x": 1.015, "y": share, "ha": "left", "va": "center"}
        if not at_right:
            place = {"x": share, "y": 1.015, "ha": "center", "va": "bottom", "rotation": 90}
        axes.text(s=text, transform=axes.transAxes, fontsize=6.5, parse_math=False, **place)
    return longest


def dashes_of(models: Mapping[str, float]) -> dict[str, Dashes]:
    """The dashes of each cost model's line."""
    return {name: MODELS[i % len(MODELS)] for i, name in enumerate(models)}
