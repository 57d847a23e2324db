"""Names of a leaderboard's cells: as short as they can be, and grouped by encoder."""

from collections.abc import Sequence

from singer_verify.sweeps.cells import DEFAULT_CELL_NAME
from singer_verify.sweeps.comparison import Leaderboard, LeaderboardEntry

NAME_SEPARATOR = " · "


def format_name_heading(board: Leaderboard) -> str:
    keys = _find_common_settings(board)
    if not keys:
        return "cell"
    last_parts = [key.rpartition(".")[2] for key in keys]
    return NAME_SEPARATOR.join(last_parts if len(set(last_parts)) == len(last_parts) else keys)


def _find_common_settings(board: Leaderboard) -> Sequence[str]:
    """Return the names of the varied settings if all cells share them."""
    names = {tuple(setting.partition("=")[0] for setting in entry.varied) for entry in board.entries}
    return names.pop() if len(names) == 1 else ()


def format_short_name(entry: LeaderboardEntry, board: Leaderboard) -> str:
    """Return the values of a cell's settings; the settings' names are in the heading if all cells share them."""
    if _find_common_settings(board):
        return _join_values(entry.varied)
    return entry.name


def name_by_values(board: Leaderboard) -> dict[str, str]:
    """Name each cell by the values of its settings alone, `fbank` for `features=fbank`, where these tell all apart."""
    varied = _leave_out_experiments([entry.varied for entry in board.entries])
    values = {
        entry.name: _join_values(settings) or DEFAULT_CELL_NAME
        for entry, settings in zip(board.entries, varied, strict=True)
    }
    if len(set(values.values())) == len(values):
        return values
    return {entry.name: format_short_name(entry, board) for entry in board.entries}


def group_entries(board: Leaderboard) -> dict[str, list[tuple[LeaderboardEntry, str]]]:
    """Group the cells by encoder, the group with the lowest EER first, with the name of each cell within its group.

    A name leaves out what all cells of the group have in common.
    """
    groups: dict[str, list[LeaderboardEntry]] = {}
    for entry in board.entries:
        groups.setdefault(entry.encoder, []).append(entry)
    return {encoder: _name_within_group(entries, board) for encoder, entries in groups.items()}


def has_group_title(encoder: str, entries: list[tuple[LeaderboardEntry, str]], board: Leaderboard) -> bool:
    """Return whether a group of cells needs the name of its encoder above it."""
    return len(entries) < len(board.entries) and [encoder] != [name for _, name in entries]


def _name_within_group(entries: list[LeaderboardEntry], board: Leaderboard) -> list[tuple[LeaderboardEntry, str]]:
    if len(entries) == 1:
        settings = [setting for setting in entries[0].varied if setting.startswith(("features=", "imported="))]
        return [(entries[0], _join_values(settings) or format_short_name(entries[0], board))]
    shared = set.intersection(*(set(entry.varied) for entry in entries))
    own = [tuple(setting for setting in entry.varied if setting not in shared) for entry in entries]
    return [
        (entry, _join_values(settings) or DEFAULT_CELL_NAME)
        for entry, settings in zip(entries, _leave_out_experiments(own), strict=True)
    ]


def _leave_out_experiments(varied: Sequence[tuple[str, ...]]) -> Sequence[tuple[str, ...]]:
    """Leave out the experiment, which stands for settings beside it, where the others tell all cells apart."""
    others = [tuple(setting for setting in settings if not setting.startswith("experiment=")) for settings in varied]
    return others if len(set(others)) == len(others) and any(others) else varied


def _join_values(settings: Sequence[str]) -> str:
    return NAME_SEPARATOR.join(setting.partition("=")[2] for setting in settings)
