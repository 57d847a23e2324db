"""All forms of a leaderboard written into a folder, all whole or none."""

from pathlib import Path

from singer_verify.reports.leaderboard import Leaderboard
from singer_verify.reports.leaderboard_figure import leaderboard_figure
from singer_verify.reports.leaderboard_files import as_csv, as_latex, as_markdown
from singer_verify.reports.leaderboard_page import leaderboard_page
from singer_verify.reports.picture_files import picture_files
from singer_verify.whole_files import write_files


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
        **picture_files(leaderboard_figure(board)),
    }
    write_files({f"leaderboard.{suffix}": content for suffix, content in contents.items()}, folder)
