"""A figure as the bytes of its files, the same bytes for the same figure."""

import io
import warnings

from matplotlib import rc_context
from matplotlib.figure import Figure

DPI = 200
# Texts stay texts: smaller, found by a search, and drawn with whatever font the reader has for them.
SVG_SETTINGS = {"svg.fonttype": "none", "svg.hashsalt": "singer_verify"}
NO_DATE = {"png": {}, "svg": {"Date": None}}


def picture_files(figure: Figure) -> dict[str, bytes]:
    """By suffix, `png` and `svg`."""
    return {suffix: _drawn(figure, suffix) for suffix in ("png", "svg")}


def _drawn(figure: Figure, suffix: str) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), rc_context(SVG_SETTINGS):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # of a PNG only: the SVG has the letter
        figure.savefig(buffer, format=suffix, dpi=DPI, metadata=NO_DATE[suffix])
    return buffer.getvalue()
