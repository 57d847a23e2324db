"""A model judged by its embeddings of a set of utterances."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from singer_verify.evaluation.comparison import Estimate, percentile_estimate
from singer_verify.evaluation.conditions import FEWEST_TRIALS, Conditions, Descriptions
from singer_verify.evaluation.confusions import SingerPairs
from singer_verify.evaluation.counting import ALL, Counted, Draws, TrialCounts
from singer_verify.evaluation.decisions import Decisions, DecisionSums, estimate
from singer_verify.evaluation.det import false_alarm_grid
from singer_verify.evaluation.details import Details
from singer_verify.evaluation.identification import identification_figures
from singer_verify.evaluation.intervals import draw_singers
from singer_verify.evaluation.judgement import ConditionFigures, Judgement, SingerFigures
from singer_verify.evaluation.likelihood_cost import min_cllr_of_levels
from singer_verify.evaluation.scoring import Scoring
from singer_verify.evaluation.tally import Tally, areas_under_curve, equal_error_rates, min_dcfs, misses_at
from singer_verify.evaluation.trial_blocks import AllPairs, ListedTrials, TrialSource
from singer_verify.evaluation.trials import Trials

PRIORS = (0.01, 0.05, 0.5)  # of target trials: NIST's in most evaluations, VoxCeleb's, and even odds
MOST_UNITS = 1000  # more singers than that are resampled in groups
KNOWN, BAYES = "threshold", "bayes"  # thresholds chosen beforehand: the scoring's own, the calibration's for a prior

Progress = Callable[[Iterable[int], str], Iterable[int]]


@dataclass(frozen=True)
class Evaluation:
    """How a model is judged.

    Attributes:
        scoring: of two embeddings.
        trials: numbers of utterances; None takes all pairs.
        num_enrolment: utterances from which a singer is known, where singers are identified.
        num_resamples: of the bootstrap.
        seed: of its draws, and of those of enrolment utterances.
        conditions: names of those that are judged besides all trials; None takes all there are.
    """

    scoring: Scoring
    trials: Trials | None = None
    num_enrolment: int = 3
    num_resamples: int = 500
    seed: int = 0
    conditions: frozenset[str] | None = None


def judge(
    embeddings: Float[np.ndarray, "utterances embedding"],
    singer_index: Int[np.ndarray, " utterances"],
    descriptions: Descriptions,
    evaluation: Evaluation,
    progress: Progress = lambda singers, _: singers,
) -> Judgement:
    """Score the trials and find everything that a report shows.

    Scores are never kept: the trials are gone through in parts, three times, so hundreds of millions of them need no
    more memory than millions.

    Args:
        embeddings: (utterances, embedding), rows of unit length.
        singer_index: who sings each, numbered from 0 without gaps.
        descriptions: what is known of the utterances.
        evaluation: how they are judged.
        progress: passes singers on one by one; its second argument says what is being done.

    Raises:
        SingerVerifyError: trials of one kind only, fewer than two singers, or embeddings that are not finite.
    """
    sides = evaluation.scoring.sides(embeddings)
    num_singers = int(singer_index.max(initial=-1)) + 1
    source: TrialSource = AllPairs(sides, singer_index, evaluation.scoring)
    if evaluation.trials is not None:
        source = ListedTrials(sides, singer_index, evaluation.scoring, evaluation.trials)
    draws = _draws(source, num_singers, evaluation)
    conditions = Conditions(descriptions, evaluation.conditions)
    counts = TrialCounts(source, conditions, draws, progress(range(num_singers), "Counting trials"))
    decisions = DecisionSums(_decisions(evaluation.scoring), draws)
    details = Details(source, counts, decisions, progress(range(num_singers), "Comparing singers"))
    settings = evaluation.num_enrolment, evaluation.num_resamples, evaluation.seed
    identified = identification_figures(sides, singer_index, evaluation.scoring, *settings)
    pairs = details.pairs
    return Judgement(
        figures=_figures(counts.of_conditions[ALL], counts) | _decision_figures(decisions) | identified,
        conditions=tuple(_condition(name, counted, counts) for name, counted in counts.of_conditions.items()),
        histogram=details.scores.histogram,
        singer_scores=None if pairs is None else pairs.mean_scores,
        of_singers=() if pairs is None or counts.of_singers is None else _singer_figures(counts, pairs),
        confused=() if pairs is None else pairs.confused(),
        worst_misses=details.misses.trials(),
        worst_false_alarms=details.false_alarms.trials(),
        num_resamples=evaluation.num_resamples,
    )


def _draws(source: TrialSource, num_singers: int, evaluation: Evaluation) -> Draws:
    """Singers are put into groups by chance where they are so many that each of them hardly matters."""
    unit_of = np.arange(num_singers)
    if num_singers > MOST_UNITS:
        unit_of = np.random.default_rng(evaluation.seed).permutation(num_singers) % MOST_UNITS
    return Draws(unit_of, draw_singers(source.has_trials(unit_of), evaluation.num_resamples, evaluation.seed))


def _decisions(scoring: Scoring) -> Decisions:
    thresholds = {} if scoring.threshold is None else {KNOWN: scoring.threshold.score}
    if scoring.calibration is not None:
        thresholds |= {f"{BAYES}_{prior:g}": scoring.calibration.threshold(prior) for prior in PRIORS}
    return Decisions(thresholds, scoring.calibration)


def _figures(counted: Counted, counts: TrialCounts) -> dict[str, Estimate]:
    exact, resampled = counted.tally, counted.resamples.tally()
    eer, threshold = equal_error_rates(exact, counts.cells.thresholds)
    resampled_eer, resampled_threshold = equal_error_rates(resampled, counts.coarse.thresholds)
    return {
        "eer": percentile_estimate(float(eer[0]), resampled_eer),
        "threshold": percentile_estimate(float(threshold[0]), resampled_threshold),
        **{f"min_dcf_{prior:g}": cost for prior, cost in _min_dcfs(exact, resampled).items()},
        "auc": percentile_estimate(float(areas_under_curve(exact)[0]), areas_under_curve(resampled)),
        "min_cllr": percentile_estimate(float(_min_cllrs(exact)[0]), _min_cllrs(resampled)),
    }


def _min_cllrs(tally: Tally) -> Float[np.ndarray, " resamples"]:
    return np.array([min_cllr_of_levels(*row) for row in zip(tally.targets, tally.nontargets, strict=True)])


def _min_dcfs(exact: Tally, resampled: Tally) -> dict[float, Estimate]:
    return {
        prior: percentile_estimate(float(min_dcfs(exact, prior)[0]), min_dcfs(resampled, prior)) for prior in PRIORS
    }


def _decision_figures(sums: DecisionSums) -> dict[str, Estimate]:
    """At thresholds that were known before these trials."""
    decisions = sums.decisions
    found: dict[str, Estimate] = {}
    if KNOWN in decisions.thresholds:
        miss, false_alarm = sums.error_rates(KNOWN)
        found |= {"miss_at_threshold": estimate(miss), "false_alarm_at_threshold": estimate(false_alarm)}
    for prior in PRIORS:
        name = f"{BAYES}_{prior:g}" if decisions.calibration is not None else KNOWN
        if name in decisions.thresholds:
            found[f"actual_dcf_{prior:g}"] = sums.actual_dcf(name, prior)
    return found | ({"cllr": sums.cllr()} if decisions.calibration is not None else {})


def _condition(name: str, counted: Counted, counts: TrialCounts) -> ConditionFigures:
    sizes = counted.num_targets, counted.num_nontargets
    if min(sizes) < FEWEST_TRIALS:
        return ConditionFigures(name, *sizes, eer=None, min_dcf={}, miss=None)
    exact, resampled = counted.tally, counted.resamples.tally()
    eer, _ = equal_error_rates(exact, counts.cells.thresholds)
    resampled_eer, _ = equal_error_rates(resampled, counts.coarse.thresholds)
    return ConditionFigures(
        name,
        *sizes,
        eer=percentile_estimate(float(eer[0]), resampled_eer),
        min_dcf=_min_dcfs(exact, resampled),
        miss=misses_at(exact, false_alarm_grid())[0],
    )


def _singer_figures(counts: TrialCounts, pairs: SingerPairs) -> tuple[SingerFigures, ...]:
    assert counts.of_singers is not None
    tally, nearest = counts.of_singers.tally, pairs.nearest()
    eers, _ = equal_error_rates(tally, counts.coarse.thresholds)
    sizes = np.stack([tally.targets.sum(axis=1), tally.nontargets.sum(axis=1)], axis=1)
    return tuple(
        SingerFigures(
            singer,
            int(sizes[singer, 0]),
            int(sizes[singer, 1]),
            float(eers[singer]) if sizes[singer].min() >= FEWEST_TRIALS else None,
            int(nearest[singer]),
        )
        for singer in range(len(sizes))
    )
