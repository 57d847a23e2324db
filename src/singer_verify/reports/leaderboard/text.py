"""The leaderboard in words: headings, a row of text per cell, notes, and the console table."""

import math
from collections.abc import Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from singer_verify.errors import format_names
from singer_verify.evaluation.conditions import HARD, MIN_TRIALS_PER_KIND
from singer_verify.evaluation.metrics.bootstrap import (
    MIN_RELIABLE_SINGERS,
    SIGNIFICANCE_LEVEL,
    Estimate,
    PairedDifference,
)
from singer_verify.evaluation.metrics.power import PowerCurve
from singer_verify.reports.estimates import MINUS, format_p_value
from singer_verify.reports.evaluation.text import DISPLAYED_MIN_DCF, NO_VALUE
from singer_verify.reports.leaderboard.names import format_name_heading, format_short_name, name_by_values
from singer_verify.sweeps.comparison import Leaderboard, LeaderboardEntry
from singer_verify.sweeps.corpus_comparison import Winner
from singer_verify.sweeps.degraded_runs import NUM_ROBUSTNESS_RESAMPLES
from singer_verify.sweeps.judged_runs import FOLDS_SPLIT
from singer_verify.sweeps.shared_trials import ConditionSize

MIN_TABLE_COLUMNS = 100  # a narrower table has no room for names
SPEED_COLUMNS = 14  # more for the embedding speed
MAX_NAMES = 6  # of cells that a sentence lists
NOTEWORTHY_P = 0.001  # a least p below it decides nothing
CORPUS_HEADINGS = ("EER %", "difference", "p")
DIFFERENCE_MARK = "*"
ROBUSTNESS_COLUMNS = 20  # more for the EER after degradations
DEFAULT_EFFECTS = (0.01, 0.02, 0.03)  # true differences of EERs that the table of power is for
HARD_COLUMNS = 18  # more for the EER of hard trials
FRACTION_HEADINGS = ("minDCF", "p")  # shown on the console without leading zeros to save room
OPTIONAL_HEADINGS = ("seeds", "minDCF", "train s", "params", "bins")  # left out on a narrow console


def build_headings(board: Leaderboard) -> list[str]:
    """Return the headings of the columns that `format_entry` fills."""
    headings = ["seeds", "EER %", "minDCF", "difference", "p", "train s", "params", "bins"]
    headings[2:2] = [f"{HARD} EER %"] if has_hard_trials(board) else []
    headings += ["degraded EER %"] if board.degradations else []
    return [format_name_heading(board), *headings, *(["× real time"] if has_speeds(board) else [])]


def format_split(board: Leaderboard) -> str:
    """Name what the cells were evaluated on."""
    return "all folds" if board.split == FOLDS_SPLIT else f"split {board.split}"


def list_conditions(board: Leaderboard) -> list[ConditionSize]:
    """List the conditions that have enough trials for an EER, the hard trials first: they are what matters."""
    enough = [condition for condition in board.conditions if condition.has_enough_trials]
    return sorted(enough, key=lambda condition: condition.name != HARD)


def has_hard_trials(board: Leaderboard) -> bool:
    """Return whether there are enough trials of another song by a singer of the same gender."""
    return any(condition.name == HARD for condition in list_conditions(board))


def count_min_columns(board: Leaderboard) -> int:
    """Count the columns of a terminal in which the whole table has room for names."""
    wider = (ROBUSTNESS_COLUMNS if board.degradations else 0) + (HARD_COLUMNS if has_hard_trials(board) else 0)
    return MIN_TABLE_COLUMNS + wider + (SPEED_COLUMNS if has_speeds(board) else 0)


def has_speeds(board: Leaderboard) -> bool:
    """Return whether the embedding speed of the cells was measured."""
    return any(entry.speed is not None for entry in board.entries)


def format_entry(entry: LeaderboardEntry, board: Leaderboard) -> list[str]:
    """Format the row of a cell, intervals in square brackets."""
    is_baseline = entry.name == board.baseline
    return [
        format_short_name(entry, board),
        str(len(entry.seeds)),
        format_eer(entry.eer),
        *([format_eer(entry.condition_eers[HARD])] if has_hard_trials(board) else []),
        format_min_dcf(entry.metrics[DISPLAYED_MIN_DCF]),
        "baseline"
        if is_baseline
        else NO_VALUE
        if entry.difference is None
        else format_eer_difference(entry.difference),
        "" if entry.p_holm is None else format_p_value(entry.p_holm),
        NO_VALUE if entry.seconds is None else f"{entry.seconds:.0f}",
        format_count(entry.num_parameters),
        str(entry.num_bins),
        *([format_degraded_eer(entry)] if board.degradations else []),
        *([NO_VALUE if entry.speed is None else f"{entry.speed:.0f}"] if has_speeds(board) else []),
    ]


def format_eer(rate: Estimate) -> str:
    """Format an EER in percent with its interval."""
    return f"{100 * rate.value:.1f}{_format_interval(100 * rate.low, 100 * rate.high, '.1f')}"


def format_degraded_eer(entry: LeaderboardEntry) -> str:
    """Format the mean EER after degradations; a dash stands for none."""
    return NO_VALUE if entry.robustness is None else format_eer(entry.robustness.eer)


def format_min_dcf(estimate: Estimate) -> str:
    """Format a detection cost with its interval."""
    return f"{estimate.value:.2f}{_format_interval(estimate.low, estimate.high, '.2f')}"


def format_eer_difference(difference: Estimate) -> str:
    """Format a difference of EERs in percentage points, with its sign."""
    text = f"{100 * difference.value:+.1f}{_format_interval(100 * difference.low, 100 * difference.high, '.1f')}"
    return text.replace("-", MINUS)


def format_count(number: int) -> str:
    """Format a count with at most three digits: 940, 12k, 1.4M."""
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if number >= unit:
            value = number / unit
            return f"{value:.1f}{name}" if value < 10 else f"{value:.0f}{name}"
    return str(number)


def build_leaderboard_notes(board: Leaderboard) -> list[str]:
    """Build the notes that a reader must know to interpret the leaderboard."""
    notes = [
        f"EER and minDCF (target prior 0.05) are means over seeds. In brackets: 95 % intervals from "
        f"{board.num_resamples} resamples of the singers (percentile bootstrap; the seeds are not resampled).",
        f"On {format_split(board)}: {board.num_singers} singers, {board.num_utterances} utterances, "
        f"{board.num_targets} target and {board.num_nontargets} non-target trials, the same for all runs.",
    ]
    if board.baseline is not None and len(board.entries) > 1:
        notes.insert(
            1,
            f"Difference: the EER minus that of {board.baseline}, in percentage points, in the same resamples. "
            f"p: two-sided, from these{_describe_correction(board)}.",
        )
    if board.degradations:
        notes.append(_note_degradations(board))
    if has_speeds(board):
        notes.append("× real time: seconds of audio embedded per second of processor time, on one core, with decoding.")
    if board.num_singers < MIN_RELIABLE_SINGERS:
        notes.append(
            f"With fewer than {MIN_RELIABLE_SINGERS} singers, expect the EER to vary by several percentage points; "
            f"intervals resampled from so few are too narrow, if anything{_describe_least_p(board)}."
        )
    if board.split == FOLDS_SPLIT:
        notes.append(
            "Every singer is judged once, by a model that was neither trained nor chosen on them. Utterances are "
            "paired within a fold and a corpus, and the scores of all folds are pooled."
        )
    if board.split == "val":
        notes.append("The best step of each run was chosen on this split; on other singers the EER will be higher.")
    further = filter(None, [build_corpora_note(board), build_power_note(board)])
    return [
        *build_winner_notes(board),
        *notes,
        *further,
        *_note_missing_seeds(board),
        *_note_skipped_runs(board),
        *board.provenance.splitlines(),
    ]


def _describe_least_p(board: Leaderboard) -> str:
    least = 2.0 ** (1 - board.num_singers)
    return f"; p is at least 2 / 2^{board.num_singers} = {least:.3g}" if least > NOTEWORTHY_P else ""


def _describe_correction(board: Leaderboard) -> str:
    num_comparisons = len(board.entries) - 1
    return f", after Holm's correction for {num_comparisons} comparisons" if num_comparisons > 1 else ""


def build_conditions_note(board: Leaderboard) -> str:
    """List the conditions with too few trials for an EER; return nothing if all have enough."""
    small = [condition for condition in board.conditions if not condition.has_enough_trials]
    listed = "; ".join(
        f"{condition.name} ({condition.num_targets} target, {condition.num_nontargets} non-target)"
        for condition in small
    )
    return f"Fewer than {MIN_TRIALS_PER_KIND} trials of one kind, so no EER: {listed}." if small else ""


def format_winner(board: Leaderboard, winner: Winner) -> str:
    """Say which cells can be told from the one with the lowest EER; nothing if there is no other."""
    names = name_by_values(board)
    best, equals, num_others = names[winner.name], winner.equals, len(winner.p_holm)
    where = f"On {winner.corpus}, " if winner.corpus else ""
    if not num_others:
        return ""
    if not equals:
        whom = {1: "the other one", 2: "both others"}.get(num_others, f"all {num_others} others")
        return f"{where}{best} is better than {whom} at 95 %."
    if len(equals) == num_others > 1:
        return (
            f"{where}{'n' if where else 'N'}one of the other {num_others} can be told from the best, {best}, at 95 %."
        )
    num_worse = num_others - len(equals)
    worse = f"; the other {f'{num_worse} are' if num_worse > 1 else 'one is'} worse" if num_worse else ""
    return (
        f"{where}{_join_names([names[name] for name in equals])} cannot be told from the best, {best}, at 95 %{worse}."
    )


def _join_names(names: list[str]) -> str:
    shown = names if len(names) <= MAX_NAMES else [*names[: MAX_NAMES - 1], f"{len(names) - MAX_NAMES + 1} others"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def build_winner_notes(board: Leaderboard) -> list[str]:
    """Say which cells can be told from the best, on all trials and on each corpus, and how that was found."""
    said = [format_winner(board, winner) for winner in board.winners]
    if not any(said):
        return []
    how = (
        f"Compared with the best: the same resamples{_describe_correction(board)}. "
        f"The best was chosen by the same trials, which makes the others look worse, if anything."
    )
    return [*filter(None, said), how] if len(board.entries) > 2 else list(filter(None, said))


def build_corpus_table(board: Leaderboard) -> tuple[list[str], list[list[str]]]:
    """Build headings and rows of the EER, difference and p value of each cell on each corpus."""
    columns = [f"{corpus.name}: {heading}" for corpus in board.corpora for heading in CORPUS_HEADINGS]
    if board.baseline is None:
        columns = [f"{corpus.name}: {CORPUS_HEADINGS[0]}" for corpus in board.corpora]
    rows = []
    for entry in board.entries:
        row = [format_short_name(entry, board)]
        for corpus in board.corpora:
            result = entry.corpora[corpus.name]
            row.append(format_eer(result.eer))
            if board.baseline is not None:
                row += format_paired_difference(result.difference)
        rows.append(row)
    return [format_name_heading(board), *columns], rows


def format_paired_difference(difference: PairedDifference | None) -> list[str]:
    """Format a difference from the baseline and its p value; None is the baseline itself."""
    if difference is None:
        return ["baseline", ""]
    return [format_eer_difference(difference.estimate), format_p_value(difference.p_holm)]


def build_power_table(board: Leaderboard, effects: Sequence[float]) -> tuple[list[str], list[list[str]]]:
    """Build headings and rows of how many singers it takes to tell a cell from the best.

    Args:
        board: leaderboard with power curves.
        effects: sizes of true differences of EERs, beside the observed ones.
    """
    headings = ["from the best", "singers", *(f"for {format_effect(effect)}" for effect in effects)]
    names = name_by_values(board)
    rows = [
        [
            names[name],
            f"{100 * curve.difference:.1f}",
            *(_format_num_singers(curve, effect) for effect in (None, *effects)),
        ]
        for name, curve in board.power.items()
    ]
    return [format_name_heading(board), *headings], rows


def format_effect(effect: float) -> str:
    """Format a difference of EERs: 1 point, 2.5 points."""
    return f"{100 * effect:g} point{'' if 100 * effect == 1 else 's'}"


def _format_num_singers(curve: PowerCurve, effect: float | None) -> str:
    needed = curve.find_num_singers(effect)
    if needed is None:
        return f">{curve.num_singers[-1]}"
    return f"≤{needed}" if needed == curve.num_singers[0] else str(needed)


def build_power_note(board: Leaderboard) -> str:
    """Say what the table of power tells; nothing without one."""
    if not board.power:
        return ""
    best = name_by_values(board)[board.winners[0].name]
    return (
        f"Singers: how many it takes to tell a cell from {best} with a power of 80 %, if the "
        f"true difference is the observed one, or one of so many points; that is, for four of five such studies to "
        f"have a paired 95 % interval beyond zero. From draws of the {board.num_singers} singers here; an observed "
        f"difference is as uncertain as its interval."
    )


def build_corpora_note(board: Leaderboard) -> str:
    """Say what the corpora are and how cells are compared on them; nothing if there are none."""
    if not board.corpora:
        return ""
    listed = "; ".join(
        f"{corpus.name}{' (unseen)' if corpus.is_unseen else ''}: {corpus.num_singers} singers, "
        f"{corpus.num_utterances} utterances, {corpus.num_targets} target and {corpus.num_nontargets} non-target trials"
        for corpus in board.corpora
    )
    unseen = " On an unseen corpus, the EER is the mean over the models of all folds and seeds."
    return (
        f"By corpus: {listed}. Its own singers are resampled, and p is corrected for the comparisons on it."
        f"{unseen if any(corpus.is_unseen for corpus in board.corpora) else ''}"
    )


def is_significant(entry: LeaderboardEntry) -> bool:
    """Return whether a cell differs from the baseline after correction."""
    return entry.p_holm is not None and entry.p_holm < SIGNIFICANCE_LEVEL


def _format_interval(low: float, high: float, form: str) -> str:
    return "" if math.isnan(low) else f" [{low:{form}}, {high:{form}}]"


def _note_degradations(board: Leaderboard) -> str:
    by_kind: dict[str, list[str]] = {}
    for degradation in board.degradations:
        by_kind.setdefault(degradation.kind, []).append(degradation.strength_text)
    listed = "; ".join(f"{kind} {', '.join(strengths)}" for kind, strengths in by_kind.items())
    lost = f" At most {board.max_unusable} recordings became unusable and were left out." if board.max_unusable else ""
    return (
        f"Degraded EER: mean over kinds of the means over strengths, test recordings degraded ({listed}); intervals "
        f"from {min(NUM_ROBUSTNESS_RESAMPLES, board.num_resamples)} resamples.{lost}"
    )


def _note_missing_seeds(board: Leaderboard) -> list[str]:
    max_seeds = max(len(entry.seeds) for entry in board.entries)
    fewer = [f"{entry.name} ({len(entry.seeds)})" for entry in board.entries if len(entry.seeds) < max_seeds]
    return [f"Fewer than {max_seeds} seeds: {', '.join(fewer)}."] if fewer else []


def _note_skipped_runs(board: Leaderboard) -> list[str]:
    if not board.skipped_runs:
        return []
    listed = format_names([f"{path} ({status})" for path, status in board.skipped_runs.items()], MAX_NAMES)
    return [f"Skipped runs ({len(board.skipped_runs)}): {listed}."]


def build_leaderboard_table(
    board: Leaderboard, effects: Sequence[float] = DEFAULT_EFFECTS, width: int | None = None
) -> Group:
    """Build the console table: a row per cell, the lowest EER first, significant differences in bold, notes below.

    Args:
        board: the leaderboard.
        effects: true differences that the table of power is for.
        width: columns of the console; where they are few, what the files hold besides EERs is left out.
    """
    table = Table(title=f"Leaderboard, {format_split(board)}", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    names, (name, *others) = name_by_values(board), build_headings(board)
    table.add_column(name, overflow="fold", min_width=12)
    is_narrow = width is not None and width < count_min_columns(board)
    shown = [heading for heading in others if not (is_narrow and heading in OPTIONAL_HEADINGS)]
    for heading in shown:
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in board.entries:
        texts = dict(zip(others, format_entry(entry, board)[1:], strict=True))
        texts |= {heading: texts[heading].replace("0.", ".") for heading in FRACTION_HEADINGS}
        # Text, not markup: an interval's brackets would be lost.
        cells = [Text(names[entry.name]), *(Text(texts[heading]) for heading in shown)]
        table.add_row(*cells, style="bold" if is_significant(entry) else None)
    tables: list[Table | str] = [table, "", _build_corpora_table(board), ""] if board.corpora else [table]
    if board.power:
        power = Table(title="Singers needed for 80 % power", box=box.SIMPLE_HEAD, padding=0, show_edge=False)
        headings, rows = build_power_table(board, effects)
        for number, heading in enumerate(headings):
            power.add_column(heading, justify="right" if number else "left", overflow="fold")
        for row in rows:
            power.add_row(*map(Text, row))
        tables += ["", power, ""]
    return Group(*tables, *(Text(f"* {note}") for note in build_leaderboard_notes(board)))


def _build_corpora_table(board: Leaderboard) -> Table:
    """Build the console table of EERs by corpus; those that differ from the baseline's have an asterisk."""
    title = "EER % by corpus" + ("" if board.baseline is None else f" ({DIFFERENCE_MARK} differs from the baseline)")
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=0, show_edge=False)
    table.add_column(format_name_heading(board), overflow="fold", min_width=12)
    for corpus in board.corpora:
        table.add_column(f"{corpus.name}{' (unseen)' if corpus.is_unseen else ''}", justify="right", no_wrap=True)
    names = name_by_values(board)
    for entry in board.entries:
        cells = [names[entry.name]]
        for corpus in board.corpora:
            result = entry.corpora[corpus.name]
            differs = result.difference is not None and result.difference.is_significant
            cells.append(format_eer(result.eer) + (DIFFERENCE_MARK if differs else " "))
        table.add_row(*map(Text, cells))
    return table
