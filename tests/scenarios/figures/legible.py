"""What a reader of a figure needs: no text covers another or leaves the figure."""

import itertools

import pytest
from matplotlib.text import Text


def each_of(cases, at_once=3):
    """The parameters of a test that draws each case, by name; all but the first few are slow."""
    return [
        pytest.param(case, id=name, marks=[pytest.mark.slow] * (i >= at_once))
        for i, (name, case) in enumerate(cases.items())
    ]


def texts(figure):
    """Every text that shows, with its box in pixels."""
    figure.canvas.draw()
    artists = [artist for artist in figure.findobj(Text) if artist.get_visible() and artist.get_text().strip()]
    boxes = [(artist.get_text(), artist.get_window_extent()) for artist in artists]
    # Matplotlib keeps labels of ticks beyond the limits and does not draw them.
    hidden = {
        id(tick.label1)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not axis.get_view_interval().min() <= tick.get_loc() <= axis.get_view_interval().max()
    }
    return [box for artist, box in zip(artists, boxes, strict=True) if id(artist) not in hidden]


def assert_legible(figure):
    boxes = texts(figure)
    for (one, box), (other, other_box) in itertools.combinations(boxes, 2):
        assert not box.padded(-1).overlaps(other_box), f"{one!r} covers {other!r}"
    for text, box in boxes:
        assert box.x0 >= 0, f"{text!r} leaves the figure"
        assert box.y0 >= 0, f"{text!r} leaves the figure"
        assert box.x1 <= figure.bbox.x1, f"{text!r} leaves the figure"
        assert box.y1 <= figure.bbox.y1, f"{text!r} leaves the figure"
