"""Confounds in words: which property of the recordings tells the singers apart, and which EERs not to compare."""

import math
from collections.abc import Collection, Iterator
from typing import NamedTuple

from rich.console import Group
from rich.table import Table
from rich.text import Text

from singer_verify.evaluation.conditions import CONJUNCTION, HARD, list_length_conditions
from singer_verify.evaluation.confounds import (
    AUC,
    F0_SEMITONES,
    GENDER,
    VOICED_SHARE,
    Confounds,
    Floor,
    FloorMetrics,
    GroupDescription,
    LabelComparison,
)
from singer_verify.evaluation.metrics.bootstrap import Estimate
from singer_verify.evaluation.metrics.registry import EER
from singer_verify.evaluation.metrics.trial_counts import ALL_TRIALS
from singer_verify.evaluation.results import EvaluationResult

NO_VALUE = "–"
MAX_NOTABLE_EER = 0.45  # of one property alone; and its interval ends below a half
MAX_CONSOLE_ROWS, MAX_CONSOLE_REMARKS = 4, 2
MAX_COMPARED_VALUES, MIN_COMPARED_UTTERANCES = 8, 5  # of a label whose values are told apart in sentences
MIN_RATIO_OF_SINGERS, MIN_GENDER_DIFFERENCE = 2.0, 0.2
MIN_VOICED_RATIO = 2.0
CLOSE_PITCH = "pitch within 2 semitones"


class MeasureWording(NamedTuple):
    """A measurement in words.

    Attributes:
        name: its name.
        unit: its unit.
        min_ratio: ratio of two medians from which EERs should not be compared; infinite for no such ratio.
        min_difference: difference of two medians from which they should not.
    """

    name: str
    unit: str
    min_ratio: float = math.inf
    min_difference: float = math.inf


MEASURES = {
    "duration_s": MeasureWording("duration", "s", min_ratio=2.0),
    "level_db": MeasureWording("level", "dB", min_difference=6.0),
    "noise_db": MeasureWording("noise floor", "dB"),
    "snr_db": MeasureWording("SNR", "dB", min_difference=10.0),
    "bandwidth_hz": MeasureWording("bandwidth", "Hz", min_ratio=1.5),
    F0_SEMITONES: MeasureWording("median f0", "Hz"),
    VOICED_SHARE: MeasureWording("voiced share", "%"),
}


def find_notable_floors(confounds: Confounds) -> list[Floor]:
    """Return the properties that tell singers apart in all trials, the lowest EER first."""
    return [floor for floor in _sort_low_floors(confounds) if _is_notable(floor.conditions[0])]


def _sort_low_floors(confounds: Confounds) -> list[Floor]:
    """Return the properties of a low EER, the lowest first, also where so few singers leave it uncertain."""
    low = [floor for floor in confounds.floors if _is_low(floor.conditions[0])]
    return sorted(low, key=lambda floor: floor.conditions[0].metrics[EER].value)


def _is_low(floor: FloorMetrics) -> bool:
    eer = floor.metrics.get(EER)
    return eer is not None and eer.value <= MAX_NOTABLE_EER


def _is_notable(floor: FloorMetrics) -> bool:
    return _is_low(floor) and not floor.metrics[EER].high >= 0.5


def build_confound_remarks(result: EvaluationResult) -> list[str]:
    """Describe the confounds of an evaluation, a sentence each, those about single properties first."""
    confounds = result.confounds
    if confounds is None:
        return []
    floors = find_notable_floors(confounds)
    return [*(_describe_floor(floor, result) for floor in floors), *_describe_other_confounds(result, confounds)]


def _describe_other_confounds(result: EvaluationResult, confounds: Confounds) -> Iterator[str]:
    """Yield the sentences that no table of floors shows."""
    yield from _describe_failed_margins(result, confounds)
    nested = [floor.name for floor in confounds.floors if _is_nested(floor)]
    for label in nested:
        yield (
            f"No two singers share a {label}, so that it tells the singer; 'cross {label}' leaves out the target "
            f"trials that share it."
        )
    if confounds.uses_pitch:
        yield from filter(None, map(_describe_missing_f0, confounds.values))
    if confounds.num_copies:
        yield f"Recordings that repeat another of their singer, left out: {confounds.num_copies}."
    if confounds.num_shared:
        yield f"Recordings that are filed under two singers, of two corpora: {confounds.num_shared}."
    with_eer = {condition.condition for condition in result.conditions if condition.eer is not None}
    everything, *conditions = confounds.conditions
    for condition in conditions:
        if condition.name in with_eer and (found := _find_differences(condition, everything)):
            yield f"Do not compare the EER of '{condition.name}' with that of all trials: {'; '.join(found)}."
    yield from filter(None, (_describe_value(comparison, confounds) for comparison in confounds.values))


def _describe_failed_margins(result: EvaluationResult, confounds: Confounds) -> Iterator[str]:
    """Yield the conditions in which the model cannot be told from one property alone."""
    for condition in result.conditions:
        as_good = [
            (get_property_name(floor.name), alone.metrics[EER])
            for floor in confounds.floors
            for alone in floor.conditions
            if alone.condition == condition.condition and _is_notable(alone)
            if alone.margin is not None and alone.margin.low <= 0.0
        ]
        if condition.eer is not None and as_good:
            where = "" if condition.condition == ALL_TRIALS else f" in '{condition.condition}'"
            names = ", ".join(f"{name} ({_format_percent(eer.value)})" for name, eer in as_good)
            yield (
                f"The model's EER{where}, {format_estimate(condition.eer)} %, cannot be told at 95 % from that of one "
                f"property alone: {names}."
            )


def _is_nested(floor: Floor) -> bool:
    """Return whether each value of a label is of one singer, some of whom have several."""
    everything = floor.conditions[0]
    return floor.is_label and not everything.nontarget_share and 0.0 < (everything.target_share or 0.0) < 1.0


def _describe_floor(floor: Floor, result: EvaluationResult) -> str:
    everything = floor.conditions[0]
    begins = f"{get_property_name(floor.name)} alone would give an EER of {format_estimate(everything.metrics[EER])} %"
    if not floor.is_label:
        advice = f"; use the condition '{CLOSE_PITCH}'" if floor.name == F0_SEMITONES else ""
        return f"{begins}: recordings of one singer are alike in it{advice}."
    return (
        f"{begins}: target trials share it in {_format_share(everything.target_share)}, non-target trials in "
        f"{_format_share(everything.nontarget_share)}; {_advise_condition(floor.name, result)}."
    )


def _advise_condition(label: str, result: EvaluationResult) -> str:
    """Name the condition in which a label tells nothing: its two sides always differ in it, or never do."""
    with_eer = [condition.condition for condition in result.conditions if condition.eer is not None]
    names = [name for name in (f"cross {label}", f"same {label}") if name in with_eer]
    if names:
        return f"use the condition '{names[0]}'"
    evaluated = {condition.condition for condition in result.conditions}
    if {f"cross {label}", f"same {label}"} & evaluated:
        return "no condition has trials of both kinds that would tell it from the voice"
    return f"evaluate with --conditions '{label}'"


def _describe_missing_f0(comparison: LabelComparison) -> str:
    own, others = (group.measures.get(VOICED_SHARE) for group in (comparison.own, comparison.others))
    if own is None or others is None or own * MIN_VOICED_RATIO >= others:
        return ""
    return (
        f"An f0 is found in {_format_share(own)} of the loud frames of {comparison.label} {comparison.own.name}, in "
        f"{_format_share(others)} elsewhere; the features condition on it."
    )


def _describe_value(comparison: LabelComparison, confounds: Confounds) -> str:
    own, others = comparison.own, comparison.others
    num_values = sum(other.label == comparison.label for other in confounds.values)
    num_utterances = min(own.num_utterances or 0, others.num_utterances or 0)
    if num_values > MAX_COMPARED_VALUES or num_utterances < MIN_COMPARED_UTTERANCES:
        return ""
    differences = _find_measure_differences(own, others)
    begins = f"{comparison.label} {own.name} differs from the other recordings"
    return f"{begins}: {'; '.join(differences)}." if differences else ""


def _find_differences(own: GroupDescription, everything: GroupDescription) -> list[str]:
    """Find why the EER of a condition should not be compared with that of all trials, but for what defines it."""
    parts = own.name.split(CONJUNCTION)
    differences = []
    if own.num_singers * MIN_RATIO_OF_SINGERS < everything.num_singers:
        differences.append(f"it has {own.num_singers} of {everything.num_singers} singers")
    if not any(part.endswith(f" {GENDER}") or part == HARD for part in parts):  # which is known to make impostors fewer
        pools = own.num_impostors or 0.0, everything.num_impostors or 0.0
        if pools[0] * MIN_RATIO_OF_SINGERS < pools[1]:
            differences.append(f"each singer is compared with {pools[0]:.1f} instead of {pools[1]:.1f} others")
        shares = [group.same_gender for group in (own, everything) if group.same_gender is not None]
        if max(shares, default=0.0) - min(shares, default=0.0) >= MIN_GENDER_DIFFERENCE:
            of_one = " instead of ".join(map(_format_share, shares))
            differences.append(f"{of_one} of the non-target trials are of one gender")
    is_by_length = any(part in list_length_conditions() for part in parts)
    return differences + _find_measure_differences(own, everything, ("duration_s",) if is_by_length else ())


def _find_measure_differences(
    own: GroupDescription, others: GroupDescription, left_out: Collection[str] = ()
) -> list[str]:
    differences = []
    for name, wording in MEASURES.items():
        if name not in own.measures or name not in others.measures or name in left_out:
            continue
        low, high = sorted((own.measures[name], others.measures[name]))
        is_apart = high >= wording.min_ratio * low if math.isfinite(wording.min_ratio) else False
        if is_apart or high - low >= wording.min_difference:
            values = (format_measure(name, group.measures[name]) for group in (own, others))
            differences.append(f"{wording.name} {' instead of '.join(values)}")
    return differences


def get_property_name(name: str) -> str:
    """Return the name of a label or measurement in sentences and tables."""
    return MEASURES[name].name if name in MEASURES else name


def format_measure(name: str, value: float) -> str:
    """Format a measurement with its unit."""
    if name == VOICED_SHARE:
        return _format_share(value)
    if name == F0_SEMITONES:
        return f"{2.0 ** (value / 12.0):.0f} Hz"
    unit = MEASURES[name].unit if name in MEASURES else ""
    return f"{value:.0f} {unit}" if unit == "Hz" else f"{value:.1f} {unit}"


def format_estimate(estimate: Estimate | None) -> str:
    """Format a rate in percent, without the sign, and its 95 % interval."""
    if estimate is None:
        return "too few trials"
    bounds = "" if math.isnan(estimate.low) else f" [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
    return f"{100 * estimate.value:.1f}{bounds}"


def _format_percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _format_share(share: float | None) -> str:
    return NO_VALUE if share is None else f"{100 * share:.0f} %"


def build_confound_table(result: EvaluationResult) -> Group:
    """Build a console table of the properties that tell singers apart, and the first other remarks, in 80 columns."""
    confounds = result.confounds
    if confounds is None:
        return Group()
    floors, remarks = _sort_low_floors(confounds), list(_describe_other_confounds(result, confounds))
    parts: list[Table | Text] = []
    if floors:
        table = Table(
            title="confounds: one property of the recordings as the score",
            show_edge=False,
        )
        for heading in ("alone", "EER % [95 % interval]", "AUC %", "same: target", "same: non-target"):
            table.add_column(heading, justify="left" if heading == "alone" else "right")
        for floor in floors[:MAX_CONSOLE_ROWS]:
            table.add_row(*_build_floor_cells(floor))
        parts.append(table)
    else:
        parts.append(
            Text(f"confounds: none of {len(confounds.floors)} properties of the recordings alone tells singers apart")
        )
    parts += [Text(f"* {remark}") for remark in remarks[:MAX_CONSOLE_REMARKS]]
    if (rest := len(floors[MAX_CONSOLE_ROWS:]) + len(remarks[MAX_CONSOLE_REMARKS:])) > 0:
        parts.append(Text(f"* {rest} more in --json and in the report of --out"))
    return Group(*parts)


def _build_floor_cells(floor: Floor) -> list[str]:
    everything = floor.conditions[0]
    shares = [_format_share(share) for share in (everything.target_share, everything.nontarget_share)]
    auc = everything.metrics.get(AUC)
    return [
        get_property_name(floor.name),
        format_estimate(everything.metrics.get(EER)),
        NO_VALUE if auc is None else f"{100 * auc.value:.1f}",
        *shares,
    ]


def build_floor_rows(confounds: Confounds) -> list[list[tuple[str, str | float]]]:
    """Build the rows of the page's table of properties, each cell as a text and a sort key."""
    return [
        [(cells[0], cells[0]), *zip(cells[1:], _collect_sort_keys(floor.conditions[0]), strict=True)]
        for floor in confounds.floors
        for cells in [_build_floor_cells(floor)]
    ]


def _collect_sort_keys(floor: FloorMetrics) -> list[float]:
    values = [estimate.value if (estimate := floor.metrics.get(name)) else None for name in (EER, AUC)]
    return [math.inf if value is None else value for value in (*values, floor.target_share, floor.nontarget_share)]


def build_floor_condition_rows(result: EvaluationResult, confounds: Confounds) -> list[list[tuple[str, str | float]]]:
    """Build a row per condition: the EER of the model, and of each property alone."""
    own = {condition.condition: condition.eer for condition in result.conditions}
    by_condition = [
        {floor.condition: floor.metrics.get(EER) for floor in property_floor.conditions}
        for property_floor in confounds.floors
    ]
    return [
        [(name, name), *(_build_rate_cell(column.get(name)) for column in (own, *by_condition))]
        for name, eer in own.items()
        if eer is not None
    ]


def _build_rate_cell(estimate: Estimate | None) -> tuple[str, str | float]:
    return (NO_VALUE, math.inf) if estimate is None else (format_estimate(estimate), estimate.value)


def build_group_rows(confounds: Confounds) -> list[list[tuple[str, str | float]]]:
    """Build a row per condition, and per value of a label: how many singers, and the medians of their recordings."""
    named = [(group.name, group) for group in confounds.conditions]
    named += [(f"{comparison.label} = {comparison.own.name}", comparison.own) for comparison in confounds.values]
    return [
        [(name, name), *(_build_group_cell(*cell) for cell in _collect_group_cells(group, confounds))]
        for name, group in named
    ]


def list_group_headings(confounds: Confounds) -> list[str]:
    """List the headings of `build_group_rows`."""
    names = [MEASURES[name].name if name in MEASURES else name for name in _list_measures(confounds)]
    return ["recordings of", "singers", "impostors", "same gender", *names]


def _list_measures(confounds: Confounds) -> list[str]:
    return list(confounds.conditions[0].measures)


def _collect_group_cells(group: GroupDescription, confounds: Confounds) -> list[tuple[str, float | None]]:
    return [
        ("num_singers", group.num_singers),
        ("num_impostors", group.num_impostors),
        (VOICED_SHARE, group.same_gender),  # a share as well
        *((name, group.measures.get(name)) for name in _list_measures(confounds)),
    ]


def _build_group_cell(name: str, value: float | None) -> tuple[str, str | float]:
    if value is None:
        return NO_VALUE, math.inf
    return (f"{value:.3g}" if name.startswith("num_") else format_measure(name, value)), value
