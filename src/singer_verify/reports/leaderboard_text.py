"""The leaderboard in words: headings, a line of text per cell, and the notes below."""

import math
from collections.abc import Sequence

from singer_verify.evaluation.comparison import Estimate
from singer_verify.evaluation.conditions import FEWEST_TRIALS
from singer_verify.reports.leaderboard import Leaderboard, Standing

MINUS, DOT, ABSENT = "−", " · ", "–"
ENOUGH_SINGERS = 30
SIGNIFICANT = 0.05


def headings(board: Leaderboard) -> list[str]:
    """Of the columns that `line` fills."""
    return [_name_heading(board), "seeds", "EER %", "minDCF", "difference", "p", "train s", "params", "bins"]


def line(standing: Standing, board: Leaderboard) -> list[str]:
    """A cell's figures as text, intervals in square brackets."""
    is_baseline = standing.name == board.baseline
    return [
        short_name(standing, board),
        str(len(standing.seeds)),
        percent(standing.eer),
        cost(standing.min_dcf_05),
        "baseline" if is_baseline else ABSENT if standing.difference is None else points(standing.difference),
        "" if standing.p_holm is None else p_value(standing.p_holm),
        ABSENT if standing.seconds is None else f"{standing.seconds:.0f}",
        count(standing.num_parameters),
        str(standing.num_bins),
    ]


def short_name(standing: Standing, board: Leaderboard) -> str:
    """The values alone, where all cells name the same settings; the settings are in the heading then."""
    if _common_settings(board):
        return DOT.join(setting.partition("=")[2] for setting in standing.varied)
    return standing.name


def percent(rate: Estimate) -> str:
    return f"{100 * rate.value:.1f}{_interval(100 * rate.low, 100 * rate.high, '.1f')}"


def cost(estimate: Estimate) -> str:
    return f"{estimate.value:.2f}{_interval(estimate.low, estimate.high, '.2f')}"


def points(difference: Estimate) -> str:
    """A difference of rates in percentage points, with its sign."""
    text = f"{100 * difference.value:+.1f}{_interval(100 * difference.low, 100 * difference.high, '.1f')}"
    return text.replace("-", MINUS)


def p_value(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def count(number: int) -> str:
    """With three figures at most: 940, 12k, 1.4M."""
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if number >= unit:
            value = number / unit
            return f"{value:.1f}{name}" if value < 10 else f"{value:.0f}{name}"
    return str(number)


def notes(board: Leaderboard) -> list[str]:
    """What a reader must know about the figures, a sentence or two each."""
    found = [
        f"EER and minDCF (target prior 0.05): means over seeds. In brackets: 95 % intervals from {board.num_resamples} "
        f"resamples of the singers (percentile bootstrap; the seeds are not resampled).",
        f"Split {board.split}: {board.num_singers} singers, {board.num_utterances} utterances, {board.num_targets} "
        f"target and {board.num_nontargets} non-target trials, the same for all runs.",
    ]
    if board.baseline is not None and len(board.standings) > 1:
        found.insert(
            1,
            f"Difference: of the EER from that of {board.baseline}, in percentage points, in the same resamples. "
            f"p: two-sided, from these, after Holm's correction for the number of comparisons, "
            f"{len(board.standings) - 1}.",
        )
    if board.num_singers < ENOUGH_SINGERS:
        found.append(
            f"Fewer than {ENOUGH_SINGERS} singers leave wide intervals, and resampling so few makes them too narrow "
            f"and p too small, if anything."
        )
    if board.split == "val":
        found.append("The best step of each run was chosen on this split: on other singers its EER will be higher.")
    return [*found, *_seeds(board), *_times(board), *_left_out(board)]


def conditions_note(board: Leaderboard) -> str:
    """Which conditions have too few trials to say anything; empty if all have enough."""
    small = [each for each in board.conditions if not each.has_enough]
    told = "; ".join(f"{each.name} ({each.num_targets} target, {each.num_nontargets} non-target)" for each in small)
    return f"Fewer than {FEWEST_TRIALS} trials of one kind, so no error rate: {told}." if small else ""


def is_significant(standing: Standing) -> bool:
    return standing.p_holm is not None and standing.p_holm < SIGNIFICANT


def _interval(low: float, high: float, form: str) -> str:
    return "" if math.isnan(low) else f" [{low:{form}}, {high:{form}}]"


def _name_heading(board: Leaderboard) -> str:
    keys = _common_settings(board)
    if not keys:
        return "cell"
    last_parts = [key.rpartition(".")[2] for key in keys]
    return DOT.join(last_parts if len(set(last_parts)) == len(last_parts) else keys)


def _common_settings(board: Leaderboard) -> Sequence[str]:
    """Names of the settings that every cell has, with values of its own; none, if the cells name different ones."""
    names = {tuple(setting.partition("=")[0] for setting in standing.varied) for standing in board.standings}
    return names.pop() if len(names) == 1 else ()


def _seeds(board: Leaderboard) -> list[str]:
    most = max(len(standing.seeds) for standing in board.standings)
    fewer = [f"{each.name} ({len(each.seeds)})" for each in board.standings if len(each.seeds) < most]
    return [f"Fewer than {most} seeds: {', '.join(fewer)}."] if fewer else []


def _times(board: Leaderboard) -> list[str]:
    if all(standing.seconds is not None for standing in board.standings):
        return []
    return [f"Training seconds {ABSENT}: its runs were stopped and continued, so none was timed whole."]


def _left_out(board: Leaderboard) -> list[str]:
    if not board.left_out:
        return []
    told = ", ".join(f"{path} ({status})" for path, status in board.left_out.items())
    return [f"Runs left out, {len(board.left_out)}: {told}."]
