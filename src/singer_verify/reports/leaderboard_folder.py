"""All forms of a leaderboard written into a folder, each file whole or not at all."""

import io
import os
from pathlib import Path

from singer_verify.errors import SingerVerifyError
from singer_verify.reports.leaderboard import Leaderboard
from singer_verify.reports.leaderboard_figure import leaderboard_figure
from singer_verify.reports.leaderboard_files import as_csv, as_latex, as_markdown
from singer_verify.reports.leaderboard_page import leaderboard_page

FIGURE_DPI = 200


def write_leaderboard(board: Leaderboard, folder: Path) -> None:
    """Write leaderboard.csv, .md, .tex, .html, .png and .svg.

    Raises:
        SingerVerifyError: the folder cannot be written to.
    """
    contents = {
        "csv": as_csv(board).encode(),
        "md": as_markdown(board).encode(),
        "tex": as_latex(board).encode(),
        "html": leaderboard_page(board).encode(),
        **_pictures(board),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for suffix, content in contents.items():
            path = folder / f"leaderboard.{suffix}"
            part = path.with_name(f"{path.name}.part")
            part.write_bytes(content)
            os.replace(part, path)
    except OSError as error:
        raise SingerVerifyError(
            f"--out {folder}: cannot be written ({error.strerror or error}); name another folder with --out."
        ) from error


def _pictures(board: Leaderboard) -> dict[str, bytes]:
    figure = leaderboard_figure(board)
    found = {}
    for suffix in ("png", "svg"):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix, dpi=FIGURE_DPI)
        found[suffix] = buffer.getvalue()
    return found
