"""Confounds: what else than the voice tells the singers of a set of trials apart, and in what its conditions differ.

A corpus in which every singer sings a song of their own, or at a level of their own, is solved by who knows the song
or the level. So the same trials are scored by one property of the recordings alone: by whether both sides share the
value of a label (1 or 0), or by how close they are in a measurement (minus the absolute difference). The error rates of
these scorers, from the same counts and resamples as those of a model, are floors that a model has to beat.

Conventions: a trial with an unknown value on either side is left out, as in `conditions`. A scorer of two values has
an equal error rate between those of its single threshold and of the constant decisions, see `error_rates`: a gender
that all target trials and half of the non-target trials share gives 33 %.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from singer_verify.corpora.matching import ABSENT
from singer_verify.evaluation.conditions import MIN_TRIALS_PER_KIND, UNKNOWN, UtteranceMetadata
from singer_verify.evaluation.metrics.bootstrap import Estimate, compute_percentile_interval
from singer_verify.evaluation.metrics.registry import EER, METRICS
from singer_verify.evaluation.metrics.trial_counts import ALL_TRIALS, ConditionCounts, TrialCounts
from singer_verify.evaluation.scoring.enrolment import SingerModels
from singer_verify.evaluation.scoring.scoring import Scoring, TrialEmbeddings
from singer_verify.evaluation.trials.blocks import TrialListSource, TrialSource
from singer_verify.evaluation.trials.trial_list import Trials

AUC = "auc"
CONFOUND_METRICS = {name: METRICS[name] for name in (EER, AUC)}
MAX_SAMPLED_TRIALS = 500_000  # of either kind: more are drawn from, as a floor needs no more certainty
MAX_FLOOR_LEVELS = 100  # for intervals: a resampled rate is off by some 0.0003
MAX_GROUPING_VALUES = 30  # of a label whose values are compared with one another
MAX_POOL_SINGERS = 2000  # with more, it is not counted who is compared with whom
F0_SEMITONES = "f0_semitones"  # median f0 in semitones above 1 Hz
VOICED_SHARE = "voiced_share"  # a mean: the median of a group hides the recordings where no f0 is found
GENDER = "gender"
ModelEers = Mapping[str, Float[np.ndarray, " resamples_and_all"]]  # by condition, see `_collect_eers`


@dataclass(frozen=True)
class NuisanceVariables:
    """Properties of recordings that say nothing about the voice, or should not decide.

    Attributes:
        labels: values of all utterances by label, `""` where unknown.
        measures: (utterances,) each, by name, NaN where unknown: duration_s, level_db, f0_semitones, ...
        num_copies: number of recordings that were left out as copies of another of the same singer.
        num_shared: number of recordings that also are another singer's.
        uses_pitch: whether the model's features depend on an f0, whose voiced frames are counted.
    """

    labels: Mapping[str, np.ndarray] = field(default_factory=dict)
    measures: Mapping[str, Float[np.ndarray, " utterances"]] = field(default_factory=dict)
    num_copies: int = 0
    num_shared: int = 0
    uses_pitch: bool = False

    def join_models(self, singer_index: Int[np.ndarray, " utterances"], models: SingerModels) -> "NuisanceVariables":
        """Return the variables of the utterances and, after them, of singers' models.

        A model has the labels that all utterances of its singer share, and the mean of their known measurements.
        """
        labels = UtteranceMetadata(dict(self.labels)).join_models(singer_index, models).labels
        measures = {
            name: np.concatenate([values, _average_by_model(values, singer_index, models)])
            for name, values in self.measures.items()
        }
        return replace(self, labels=labels, measures=measures)


@dataclass(frozen=True)
class FloorMetrics:
    """What one property alone scores in the trials of one condition.

    Attributes:
        condition: name of the condition.
        num_targets: number of target trials in which it is known of both sides.
        num_nontargets: number of such non-target trials.
        metrics: `eer` and `auc`, each with its interval over singers; empty with too few trials of either kind.
        target_share: share of the target trials whose sides have the same value; None for a measurement.
        nontarget_share: share of the non-target trials whose sides do.
        margin: EER of the property less that of the model in the condition, with the interval of the paired
            difference; None without either.
    """

    condition: str
    num_targets: int
    num_nontargets: int
    metrics: dict[str, Estimate]
    target_share: float | None = None
    nontarget_share: float | None = None
    margin: Estimate | None = None


@dataclass(frozen=True)
class Floor:
    """The scores of one property alone.

    Attributes:
        name: name of the label or measurement.
        is_label: whether it is a label.
        conditions: one entry for each condition in which it is known, all trials first.
    """

    name: str
    is_label: bool
    conditions: tuple[FloorMetrics, ...]


@dataclass(frozen=True)
class GroupDescription:
    """A group of recordings: the sides of the trials of a condition, or the utterances of one value of a label.

    Attributes:
        name: name of the condition, or value of the label.
        num_singers: number of singers with target trials, or with utterances.
        measures: medians of the measurements, the mean of `voiced_share`; those not known are absent. Recordings of a
            condition count as often as they are sides of its trials, either kind of trials as much as the other.
        num_impostors: in how many others' non-target trials a singer is, on average; None if not counted.
        same_gender: share of the non-target trials whose singers have one gender; None if unknown.
        num_utterances: number of utterances; None of a condition.
    """

    name: str
    num_singers: int
    measures: dict[str, float]
    num_impostors: float | None = None
    same_gender: float | None = None
    num_utterances: int | None = None


@dataclass(frozen=True)
class LabelComparison:
    """The recordings of one value of a label, and those of all its other values.

    Attributes:
        label: name of the label.
        own: the recordings of the value.
        others: the recordings of other values.
    """

    label: str
    own: GroupDescription
    others: GroupDescription


@dataclass(frozen=True)
class Confounds:
    """What else than the voice tells singers apart, and in what conditions and labels differ.

    Attributes:
        floors: labels and measurements as scorers, labels first.
        conditions: what the trials of each condition are made of, all trials first.
        values: comparisons of the values of labels, whose utterances need not be in any trial.
        num_trials: number of trials that were used: all, or so many drawn from them.
        is_sampled: whether they were drawn.
        num_copies: see `NuisanceVariables`.
        num_shared: see `NuisanceVariables`.
        uses_pitch: see `NuisanceVariables`.
    """

    floors: tuple[Floor, ...]
    conditions: tuple[GroupDescription, ...]
    values: tuple[LabelComparison, ...]
    num_trials: int
    is_sampled: bool
    num_copies: int = 0
    num_shared: int = 0
    uses_pitch: bool = False


def measure_confounds(counts: TrialCounts, nuisances: NuisanceVariables, num_utterances: int, seed: int) -> Confounds:
    """Score the trials of an evaluation by each property of their recordings alone, and describe its conditions.

    Args:
        counts: the counted trials of the evaluation, whose trials, conditions and resamples are used again.
        nuisances: properties of all sides of trials.
        num_utterances: number of sides that are utterances: the first ones.
        seed: seed of the draw of trials, if there are very many.
    """
    everything = counts.by_condition[ALL_TRIALS]
    sizes = everything.num_targets, everything.num_nontargets
    trials = _draw_trials(counts.source, len(counts.weights.unit_index), sizes, seed)
    model_eers = {condition: _collect_eers(kept) for condition, kept in counts.by_condition.items()}
    floors = [
        *(_score_label(name, values, trials, counts, model_eers) for name, values in nuisances.labels.items()),
        *(
            _score_measure(name, values, trials, counts, model_eers)
            for name, values in nuisances.measures.items()
            if name != VOICED_SHARE  # which belongs to the voice and to the f0 tracker
        ),
    ]
    return Confounds(
        floors=tuple(floor for floor in floors if floor is not None),
        conditions=tuple(_describe_conditions(trials, counts, nuisances)),
        values=tuple(_compare_label_values(nuisances, counts.source.singer_index, num_utterances)),
        num_trials=len(trials.left),
        is_sampled=len(trials.left) < sum(sizes),
        num_copies=nuisances.num_copies,
        num_shared=nuisances.num_shared,
        uses_pitch=nuisances.uses_pitch,
    )


def _draw_trials(source: TrialSource, num_singers: int, sizes: tuple[int, int], seed: int) -> Trials:
    """Collect the trials of either kind, or a random part of them where they are very many."""
    generator = np.random.default_rng(seed)
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for is_target, size in zip((True, False), sizes, strict=True):
        share = MAX_SAMPLED_TRIALS / max(size, 1)
        for singer in range(num_singers):
            for block in source.iterate_blocks(singer, is_target):
                left, right = (side.ravel() for side in np.broadcast_arrays(block.left, block.right))
                if share < 1.0:
                    chosen = generator.random(len(left), np.float32) < share
                    left, right = left[chosen], right[chosen]
                parts.append((left, right, np.full(len(left), is_target)))
    all_left, all_right, kinds = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Trials(all_left, all_right, kinds)


class EqualityScoring(Scoring):
    """Score 1 where both sides have the same value, 0 elsewhere."""

    def compute_pair_scores(self, left: TrialEmbeddings, right: TrialEmbeddings) -> Float[np.ndarray, " pairs"]:
        return (left.embeddings[:, 0] == right.embeddings[:, 0]).astype(np.float64)


class ClosenessScoring(Scoring):
    """Score minus the absolute difference of both sides' values."""

    def compute_pair_scores(self, left: TrialEmbeddings, right: TrialEmbeddings) -> Float[np.ndarray, " pairs"]:
        scores: np.ndarray = -np.abs(left.embeddings[:, 0] - right.embeddings[:, 0])
        return scores


def _score_label(
    name: str, values: np.ndarray, trials: Trials, counts: TrialCounts, model_eers: ModelEers
) -> Floor | None:
    """Score the trials by a label; return nothing if it has a single value."""
    known = values != UNKNOWN
    codes = np.full(len(values), np.nan)
    distinct, codes[known] = np.unique(values[known].astype(str), return_inverse=True)
    return None if len(distinct) < 2 else _score_values(name, codes, EqualityScoring(), trials, counts, model_eers)


def _score_measure(
    name: str, values: np.ndarray, trials: Trials, counts: TrialCounts, model_eers: ModelEers
) -> Floor | None:
    """Score the trials by a measurement; return nothing if it has a single value."""
    is_constant = len(np.unique(values[np.isfinite(values)])) < 2
    return None if is_constant else _score_values(name, values, ClosenessScoring(), trials, counts, model_eers)


def _score_values(
    name: str,
    values: Float[np.ndarray, " sides"],
    scoring: Scoring,
    trials: Trials,
    counts: TrialCounts,
    model_eers: ModelEers,
) -> Floor | None:
    known = np.isfinite(values[trials.left]) & np.isfinite(values[trials.right])
    if not (known & trials.is_target).any():
        return None
    used = Trials(trials.left[known], trials.right[known], trials.is_target[known])
    source = TrialListSource(TrialEmbeddings(values[:, None]), counts.source.singer_index, scoring, used)
    singers = range(len(counts.weights.unit_index))
    scored = TrialCounts(source, counts.conditions, counts.weights, singers, MAX_FLOOR_LEVELS)
    is_label = isinstance(scoring, EqualityScoring)
    conditions = (
        _compute_floor(condition, kept, model_eers[condition], is_label)
        for condition, kept in scored.by_condition.items()
    )
    return Floor(name, is_label, tuple(conditions))


def _compute_floor(
    condition: str, counts: ConditionCounts, model_eers: Float[np.ndarray, " resamples_and_all"], is_label: bool
) -> FloorMetrics:
    sizes = counts.num_targets, counts.num_nontargets
    if min(sizes) < MIN_TRIALS_PER_KIND:
        floor = FloorMetrics(condition, *sizes, {})
    else:
        differences = _collect_eers(counts) - model_eers
        margin = compute_percentile_interval(float(differences[-1]), differences[:-1])
        floor = FloorMetrics(condition, *sizes, counts.estimate(CONFOUND_METRICS), margin=margin)
    if not is_label:
        return floor
    at_one = int(counts.bins.digitize(np.ones(1))[0])
    num_equal = (int(kind[0, at_one:].sum()) for kind in (counts.targets, counts.nontargets))
    shares = [equal / size if size else None for equal, size in zip(num_equal, sizes, strict=True)]
    return replace(floor, target_share=shares[0], nontarget_share=shares[1])


def _collect_eers(counts: ConditionCounts) -> Float[np.ndarray, " resamples_and_all"]:
    """Return the equal error rate in each resample of the singers, and at the end that of all trials."""
    compute = METRICS[EER].compute
    return np.append(compute(counts.resampled_counts.build_binned_counts()), compute(counts.binned_counts))


def _describe_conditions(
    trials: Trials, counts: TrialCounts, nuisances: NuisanceVariables
) -> Iterator[GroupDescription]:
    yield _describe_trials(ALL_TRIALS, trials, counts.source.singer_index, nuisances)
    for name, mask in counts.conditions.iterate_masks(trials.left, trials.right):
        if mask.any():
            chosen = Trials(trials.left[mask], trials.right[mask], trials.is_target[mask])
            yield _describe_trials(name, chosen, counts.source.singer_index, nuisances)


def _describe_trials(
    name: str, trials: Trials, singer_index: Int[np.ndarray, " sides"], nuisances: NuisanceVariables
) -> GroupDescription:
    """Describe the recordings and singers of the trials of a condition."""
    weights = np.zeros(len(singer_index))
    for kind in (trials.is_target, ~trials.is_target):
        sides = np.concatenate([trials.left[kind], trials.right[kind]])
        weights += np.bincount(sides, minlength=len(weights)) / max(len(sides), 1)
    left, right = trials.left[~trials.is_target], trials.right[~trials.is_target]
    same_gender = None
    if GENDER in nuisances.labels:
        of_left, of_right = nuisances.labels[GENDER][left], nuisances.labels[GENDER][right]
        known = (of_left != UNKNOWN) & (of_right != UNKNOWN)
        same_gender = float((of_left == of_right)[known].mean()) if known.any() else None
    return GroupDescription(
        name,
        len(np.unique(singer_index[trials.left[trials.is_target]])),
        _summarise(nuisances.measures, weights),
        _count_impostors(singer_index[left], singer_index[right]),
        same_gender,
    )


def _count_impostors(left: Int[np.ndarray, " nontargets"], right: Int[np.ndarray, " nontargets"]) -> float | None:
    """Return how many others the singers are compared with, on average over those who are compared with anyone."""
    num_singers = 1 + int(max(left.max(initial=ABSENT), right.max(initial=ABSENT)))
    if num_singers > MAX_POOL_SINGERS:
        return None
    is_compared = np.zeros((num_singers, num_singers), bool)
    is_compared[left, right] = is_compared[right, left] = True
    num_others = is_compared.sum(axis=1)
    return float(num_others[num_others > 0].mean()) if num_others.any() else 0.0


def _compare_label_values(
    nuisances: NuisanceVariables, singer_index: Int[np.ndarray, " sides"], num_utterances: int
) -> Iterator[LabelComparison]:
    """Describe the utterances of each value of a label beside those of its other values."""
    singers = singer_index[:num_utterances]
    measures = {name: values[:num_utterances] for name, values in nuisances.measures.items()}

    def describe(name: str, chosen: Bool[np.ndarray, " utterances"]) -> GroupDescription:
        num_singers = len(np.unique(singers[chosen]))
        summary = _summarise(measures, chosen.astype(float))
        return GroupDescription(name, num_singers, summary, num_utterances=int(chosen.sum()))

    for label, values in nuisances.labels.items():
        own = values[:num_utterances].astype(str)
        distinct = sorted({*own.tolist()} - {UNKNOWN})
        if 2 <= len(distinct) <= MAX_GROUPING_VALUES:
            for value in distinct:
                others = describe("", (own != value) & (own != UNKNOWN))
                yield LabelComparison(label, describe(value, own == value), others)


def _summarise(
    measures: Mapping[str, Float[np.ndarray, " sides"]], weights: Float[np.ndarray, " sides"]
) -> dict[str, float]:
    """Return the weighted medians of the known measurements, and the weighted mean of the share of voiced frames."""
    summary = {}
    for name, values in measures.items():
        known = np.isfinite(values) & (weights > 0.0)
        if not known.any():
            continue
        if name == VOICED_SHARE:
            summary[name] = float(np.average(values[known], weights=weights[known]))
        else:
            order = np.argsort(values[known])
            cumulative = weights[known][order].cumsum()
            summary[name] = float(values[known][order][np.searchsorted(cumulative, cumulative[-1] / 2)])
    return summary


def _average_by_model(
    values: Float[np.ndarray, " utterances"], singer_index: Int[np.ndarray, " utterances"], models: SingerModels
) -> Float[np.ndarray, " models"]:
    """Average the known values of the utterances of each model; NaN where none is known."""
    known = np.isfinite(values)
    values = np.where(known, values, 0.0)
    sums = np.bincount(singer_index, values)[models.singer_index]
    num_known = np.bincount(singer_index, known)[models.singer_index]
    is_reduced = models.left_out != ABSENT
    sums[is_reduced] -= values[models.left_out[is_reduced]]
    num_known[is_reduced] -= known[models.left_out[is_reduced]]
    means: np.ndarray = np.where(num_known > 0, sums / np.maximum(num_known, 1), np.nan)
    return means
