"""The files of an experiment's results."""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from agent.storage.record import RunDirectory
from scenarios.analysis.csv_table import csv_table
from scenarios.figures.style import figure_png, png_pixels

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def write_results(
    directory: RunDirectory,
    board: "SummaryWriter | None",
    name: str,
    content: Mapping[str, Any],
    rows: Sequence[Mapping[str, object]],
    figure: Figure,
) -> None:
    """Write results as JSON, as CSV and as a figure, which TensorBoard shows too.

    Args:
        directory: of the run.
        board: a writer of its TensorBoard events; None for none.
        name: of the files, without their extensions.
        content: plain values.
        rows: see `csv_table`.
        figure: drawn as PNG.
    """
    directory.write(f"{name}.json", json.dumps(content, indent=2) + "\n")
    directory.write(f"{name}.csv", csv_table(rows))
    png = figure_png(figure)
    directory.write(f"{name}.png", png)
    if board is not None:
        board.add_image(name, png_pixels(png), dataformats="HWC")
