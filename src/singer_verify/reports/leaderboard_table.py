"""The leaderboard on a terminal."""

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from singer_verify.reports.leaderboard import Leaderboard
from singer_verify.reports.leaderboard_text import headings, is_significant, line, notes

FEWEST_COLUMNS = 100  # narrower, the names would have no place
BELOW_ONE = (3, 5)  # columns of minDCF and p, whose leading zeros take too much place


def leaderboard_table(board: Leaderboard) -> Group:
    """A line per cell, the lowest EER first; differences that hold after correction in bold; notes below."""
    table = Table(title=f"Leaderboard, {board.split} split", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    name, *others = headings(board)
    table.add_column(name, overflow="fold", min_width=12)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    for standing in board.standings:
        texts = line(standing, board)
        for column in BELOW_ONE:
            texts[column] = texts[column].replace("0.", ".")
        cells = [Text(text) for text in texts]  # not markup: an interval's brackets would be lost
        table.add_row(*cells, style="bold" if is_significant(standing) else None)
    return Group(table, *(Text(f"* {note}") for note in notes(board)))
