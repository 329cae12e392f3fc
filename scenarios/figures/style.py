"""What all figures share: colours, marks, and the file they become."""

import io

from matplotlib.figure import Figure

# Okabe & Ito's palette, which colour-blind readers can tell apart: https://jfly.uni-koeln.de/color/
INK, GREY, BLUE, VERMILION, GREEN = "#222222", "#777777", "#0072B2", "#D55E00", "#009E73"
ORANGE, SKY, PURPLE = "#E69F00", "#56B4E9", "#CC79A7"  # the rest of Okabe & Ito's palette, less its pale yellow
COLORS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, INK)
MARKERS = "osD^vPX*"  # without colour: eight shapes, filled, then hollow
X_LIMITS = (-3.0, 103.0)


def figure_png(figure: Figure) -> bytes:
    """The figure as a PNG file; the same bytes for the same figure, versions and fonts (no software or date inside)."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
