"""A figure as the bytes of its files, the same bytes for the same figure."""

import io
import warnings

from matplotlib import rc_context
from matplotlib.figure import Figure

DPI = 200
SALT = "singer_verify"  # of names within an SVG, which would otherwise be drawn by chance
NO_DATE: dict[str, dict[str, str | None]] = {"png": {}, "svg": {"Date": None}}


def picture_files(figure: Figure) -> dict[str, bytes]:
    """By suffix, `png` and `svg`.

    In the SVG texts stay texts: smaller, found by a search, and drawn with whatever font the reader has for them.
    """
    return {suffix: _drawn(figure, suffix) for suffix in ("png", "svg")}


def _drawn(figure: Figure, suffix: str) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), rc_context({"svg.fonttype": "none", "svg.hashsalt": SALT}):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # of a PNG only: the SVG has the letter
        figure.savefig(buffer, format=suffix, dpi=DPI, metadata=NO_DATE[suffix])
    return buffer.getvalue()
