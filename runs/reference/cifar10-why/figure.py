"""Draws why.png: R and 1/R against accuracy, amount of data and keys, from the curves in this folder and its neighbour.

`python runs/reference/cifar10-why/figure.py`, from the root of a clone in which the project is installed.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import StrMethodFormatter

from scenarios.analysis.statistics import CurvePoint, Ratio
from scenarios.figures.ratio_axis import AXIS_LABELS, ratio_axis
from scenarios.figures.style import BLUE, GREEN, GREY, INK, VERMILION, figure_png, new_figure, style_axes

HERE = Path(__file__).parent
FULL = HERE.parent / "cifar10-full"
NETWORKS = {
    "resnet8": ("ResNet-8", "o"),
    "resnet20": ("ResNet-20", "s"),
    "airbench93": ("airbench 93", "D"),
    "airbench94": ("airbench 94", "^"),
}
"""Name and marker, by folder."""

COLORS = {10: BLUE, 20: VERMILION, 40: GREEN}
"""By k."""

KEYS = {"cache": "last\nplace", "pooled": "last,\npooled", "three": "three\nplaces", "three pooled": "three,\npooled"}
"""What is drawn for each memory."""

POST = (92.5, 10.0)
"""The post: y as a ResNet-32 is known to reach it (He et al. 2016), and R of one run."""


class Point(NamedTuple):
    """R and 1/R at a horizontal position."""

    at: float
    R: Ratio
    share: Ratio
    n_seeds: int


def point(at: float, by_seed: dict[str, list[float]]) -> Point:
    """The ratios of accuracies by seed; those of one seed have no interval, and R is given where z > x alone."""
    x, y, z = (tuple(by_seed[name]) for name in "xyz")
    if len(x) > 1:
        found = CurvePoint(0, x, y, z).statistics()
        return Point(at, found.R, found.share, len(x))
    gained, learned = z[0] - x[0], y[0] - x[0]
    R, share = (learned / gained if gained > 0 else None), gained / learned
    return Point(at, Ratio(R, R, R), Ratio(share, share, share), 1)


def points_of(folder: Path, name: str) -> Any:
    """The points in a file of results."""
    found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return found["memories" if name == "memories" else "points"]


def draw(panels: Sequence[Axes], series: Sequence[tuple[int, str, Sequence[Point]]], *, post: float | None) -> None:
    """Draw series, each with its k and its marker, on a panel for R and one for 1/R; the post's R at a position."""
    for axes, name in zip(panels, ("R", "share"), strict=True):
        found = [[(each, getattr(each, name)) for each in points] for _, _, points in series]
        spans = [(r.estimate, r.low, r.high) for points in found for _, r in points if r.estimate is not None]
        if name == "R":
            low, high = ratio_axis(axes, [*spans, (POST[1],) * 3])
        else:
            low, high = -0.3, 0.5
            axes.set_ylim(low, high)
        axes.axhline(name == "R", color=GREY, linestyle="--" if name == "R" else "-", linewidth=1, zorder=1)
        for (k, marker, _), points in zip(series, found, strict=True):
            whole = [(each.at, ratio.estimate) for each, ratio in points if ratio.estimate is not None]
            axes.plot([at for at, _ in whole], [value for _, value in whole], color=COLORS[k], linewidth=0.7, alpha=0.4)
            for each, ratio in points:
                if ratio.estimate is None or ratio.low is None or ratio.high is None:
                    continue
                ends = [max(ratio.low, low), min(ratio.high, high)]
                axes.plot([each.at] * 2, ends, color=COLORS[k], linewidth=1, alpha=0.5)
                face = COLORS[k] if each.n_seeds > 1 else "white"
                axes.plot([each.at], [ratio.estimate], marker, color=COLORS[k], markerfacecolor=face, markersize=5.5)
        if post is not None:
            axes.plot([post], [POST[1] if name == "R" else 1 / POST[1]], "*", color=INK, markersize=11)
        style_axes(axes, grid="y")


def against_y() -> list[tuple[int, str, list[Point]]]:
    """At 45,000 images, by y: a series for each network and k."""
    series = []
    for folder, (_, marker) in NETWORKS.items():
        source = FULL if folder == "airbench94" else HERE / folder
        for at in points_of(source, "curve") if (source / "curve.json").exists() else []:
            if (k := round(at["k"])) in COLORS:
                series.append((k, marker, [point(100 * at["y"]["estimate"] + (k - 20) / 60, at["by_seed"])]))
    return series


def against_data() -> list[tuple[int, str, list[Point]]]:
    """By number of images in all, with the first 4,500, 9,000 or 18,000 learned."""
    series = []
    for folder, (_, marker) in NETWORKS.items():
        source = FULL if folder == "airbench94" else HERE / folder
        if not (source / "surface.json").exists():
            continue
        for k in COLORS:
            found = [at for at in points_of(source, "surface") if round(at["n_learned"] / 450) == k]
            series.append((k, marker, [point(at["n_passed"] + 20 * (k - 20), at["by_seed"]) for at in found]))
    return series


def against_keys() -> list[tuple[int, str, list[Point]]]:
    """By memory."""
    series = []
    for number, (folder, (_, marker)) in enumerate(NETWORKS.items()):
        if not (HERE / folder / "memories.json").exists():
            continue
        memories = points_of(HERE / folder, "memories")
        for k in COLORS:
            places = [
                (i + 0.16 * (number - 1.5) + (k - 20) / 400, at["by_seed"])
                for i, name in enumerate(KEYS)
                for at in memories[name]
                if round(at["k"]) == k
            ]
            series.append((k, marker, [point(at, by_seed) for at, by_seed in places]))
    return series


def main() -> None:
    """Draw the figure."""
    figure = new_figure(13, 7.5, "CIFAR-10 (JPEG): R by accuracy (45,000 images), by data, and by keys (45,000 images)")
    panels = figure.subplots(2, 3, sharex="col")
    draw(panels[:, 0], against_y(), post=POST[0])
    draw(panels[:, 1], against_data(), post=45_000)
    draw(panels[:, 2], against_keys(), post=None)
    for axes, label in zip(panels[:, 0], AXIS_LABELS.values(), strict=True):
        axes.set_ylabel(label)
    panels[1][0].set_xticks(range(75, 94, 5))
    panels[1][0].set_xlabel("y, accuracy after learning all (%)")
    panels[1][1].set_xlabel("images in all, N")
    panels[1][1].xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    panels[1][2].set_xticks(range(len(KEYS)), KEYS.values())
    panels[1][2].set_xlabel("keys")
    lived = [NETWORKS[folder] for folder in NETWORKS if (HERE / folder / "curve.json").exists()]
    handles = [Line2D([], [], color=GREY, marker=marker, linewidth=0, label=name) for name, marker in lived]
    handles += [
        Line2D([], [], color=color, linewidth=3, label=f"{450 * k:,} images learned (k = {k}%)")
        for k, color in COLORS.items()
    ]
    handles += [
        Line2D([], [], color=GREY, marker="o", markerfacecolor="white", linewidth=0, label="hollow: one seed"),
        Line2D([], [], color=INK, marker="*", markersize=11, linewidth=0, label="the post (ResNet-32, one run)"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    (HERE / "why.png").write_bytes(figure_png(figure))


if __name__ == "__main__":
    main()
