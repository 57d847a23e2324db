"""An evaluation of embeddings: every figure against a slow way to compute it, with all trials kept."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.conditions import MIN_TRIALS_PER_KIND, UtteranceMetadata
from singer_verify.evaluation.evaluate import EvaluationSettings, evaluate
from singer_verify.evaluation.metrics.binned_counts import BinnedCounts, ScoreBins
from singer_verify.evaluation.metrics.bootstrap import draw_bootstrap_weights
from singer_verify.evaluation.metrics.cllr import compute_cllr, compute_min_cllr
from singer_verify.evaluation.metrics.error_rates import (
    build_false_alarm_grid,
    compute_eer,
    compute_min_dcf,
    compute_miss_rates,
)
from singer_verify.evaluation.metrics.registry import EER, METRICS, TARGET_PRIORS
from singer_verify.evaluation.metrics.trial_counts import ExactCrossing
from singer_verify.evaluation.metrics.verification import verify_all_pairs
from singer_verify.evaluation.results import EvaluationResult
from singer_verify.evaluation.scoring.calibration import Calibration
from singer_verify.evaluation.scoring.scoring import COSINE, Scoring, Threshold
from singer_verify.evaluation.trials import blocks
from singer_verify.evaluation.trials.blocks import AllPairsSource, TrialBlock, TrialListSource
from singer_verify.evaluation.trials.trial_list import Trials, build_all_pairs, compute_cosine_scores

NUM_SINGERS, NUM_UTTERANCES = 6, 9
CALIBRATED = Scoring(calibration=Calibration(8.0, -3.0, "here"), threshold=Threshold(0.3, "here"))


@pytest.fixture(scope="module")
def voices() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Embeddings in mixed order, who sings them, and labels."""
    generator = np.random.default_rng(0)
    singers = generator.permutation(np.repeat(np.arange(NUM_SINGERS), NUM_UTTERANCES))
    centres = generator.standard_normal((NUM_SINGERS, 8))
    embeddings = centres[singers] + 1.2 * generator.standard_normal((len(singers), 8))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    song = generator.choice(np.array(["a", "b", "c"], object), len(singers))
    gender = np.where(singers % 2, "male", "female").astype(object)
    return embeddings.astype(np.float32), singers, {"song": song, "gender": gender}


def evaluate_voices(
    voices: tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]], **settings: object
) -> EvaluationResult:
    embeddings, singers, labels = voices
    evaluation = replace(EvaluationSettings(COSINE, num_resamples=50), **settings)  # type: ignore[arg-type]
    return evaluate(embeddings, singers, UtteranceMetadata(labels), evaluation)


def kept(voices: tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, Trials]:
    """Scores of all pairs, which are target trials, and their sides."""
    embeddings, singers, _ = voices
    trials = build_all_pairs(singers)
    return compute_cosine_scores(embeddings.astype(np.float64), trials), trials.is_target, trials


def test_figures_are_those_of_all_scores_at_once(voices: tuple) -> None:
    scores, is_target, _ = kept(voices)
    figures = {name: estimate.value for name, estimate in evaluate_voices(voices, scoring=CALIBRATED).metrics.items()}
    ratios = 8.0 * scores - 3.0
    expected = {
        "eer": compute_eer(scores, is_target)[0],
        **{f"min_dcf_{prior:g}": compute_min_dcf(scores, is_target, prior) for prior in TARGET_PRIORS},
        "auc": roc_auc_score(is_target, scores),
        "min_cllr": compute_min_cllr(scores, is_target),
        "cllr": compute_cllr(ratios, is_target),
        "miss_at_threshold": (scores[is_target] < 0.3).mean(),
        "false_alarm_at_threshold": (scores[~is_target] >= 0.3).mean(),
    }
    for prior in TARGET_PRIORS:
        accepted = ratios >= -np.log(prior / (1 - prior))
        costs = prior * (~accepted[is_target]).mean() + (1 - prior) * accepted[~is_target].mean()
        expected[f"actual_dcf_{prior:g}"] = costs / min(prior, 1 - prior)
    assert {name: figures[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    threshold = compute_eer(scores, is_target)[1]
    assert np.isclose(figures["threshold"], threshold, atol=np.diff(np.unique(scores)).max())


def test_it_is_shown_in_one_line(voices: tuple) -> None:
    result = evaluate_voices(voices)
    assert (
        repr(result) == f"EvaluationResult(EER {result.metrics[EER].value:.2%}; 216 target and 1215 non-target trials)"
    )


def test_intervals_are_those_of_repeated_trials(voices: tuple) -> None:
    scores, is_target, trials = kept(voices)
    left, right = voices[1][trials.left], voices[1][trials.right]
    resampled: dict[str, list[float]] = {"eer": [], "min_dcf_0.05": [], "auc": [], "min_cllr": [], "cllr": []}
    for counts in draw_bootstrap_weights(np.ones((NUM_SINGERS, NUM_SINGERS), bool), 50, 0):
        times = np.where(is_target, counts[left], counts[left] * counts[right])
        again, kinds = np.repeat(scores, times), np.repeat(is_target, times)
        resampled["eer"].append(compute_eer(again, kinds)[0])
        resampled["min_dcf_0.05"].append(compute_min_dcf(again, kinds, 0.05))
        resampled["auc"].append(roc_auc_score(kinds, again))
        resampled["min_cllr"].append(compute_min_cllr(again, kinds))
        resampled["cllr"].append(compute_cllr(8.0 * again - 3.0, kinds))
    figures = evaluate_voices(voices, scoring=CALIBRATED).metrics
    for name, values in resampled.items():
        bounds = figures[name].low, figures[name].high
        assert bounds == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=1e-6), name


def test_conditions_are_evaluated_by_their_own_trials(voices: tuple) -> None:
    scores, is_target, trials = kept(voices)
    labels = voices[2]
    of_conditions = {condition.condition: condition for condition in evaluate_voices(voices).conditions}
    assert next(iter(of_conditions)) == "all"
    same = {label: values[trials.left] == values[trials.right] for label, values in labels.items()}
    chosen = ~same["song"] & same["gender"]
    hard = of_conditions["hard"]
    assert (hard.num_targets, hard.num_nontargets) == (is_target[chosen].sum(), (~is_target)[chosen].sum())
    assert hard.eer is not None
    assert hard.eer.value == pytest.approx(compute_eer(scores[chosen], is_target[chosen])[0], abs=1e-9)
    assert hard.metrics["min_dcf_0.01"].value == pytest.approx(
        compute_min_dcf(scores[chosen], is_target[chosen], 0.01), abs=1e-9
    )
    np.testing.assert_allclose(
        hard.miss, compute_miss_rates(scores[chosen], is_target[chosen], build_false_alarm_grid()), rtol=0, atol=1e-9
    )


def test_a_condition_of_few_trials_has_no_rate(voices: tuple) -> None:
    cross = next(condition for condition in evaluate_voices(voices).conditions if condition.condition == "cross gender")
    assert (cross.num_targets, cross.eer, cross.metrics, cross.miss) == (0, None, {}, None)
    assert cross.num_nontargets > MIN_TRIALS_PER_KIND


def test_where_it_fails(voices: tuple) -> None:
    scores, is_target, trials = kept(voices)
    singers = voices[1]
    result = evaluate_voices(voices)
    for worst, kind, order in (
        (result.worst_misses, is_target, np.argsort(scores)),
        (result.worst_false_alarms, ~is_target, np.argsort(-scores)),
    ):
        first_of_pair: dict[frozenset[int], int] = {}  # one trial of a pair of singers
        for place in order[kind[order]].tolist():
            first_of_pair.setdefault(frozenset((singers[trials.left[place]], singers[trials.right[place]])), place)
        expected = list(first_of_pair.values())[:10]
        listed = [{trial.left, trial.right} for trial in worst]
        assert listed == [{int(trials.left[place]), int(trials.right[place])} for place in expected]
        assert [trial.score for trial in worst] == pytest.approx(scores[expected], abs=1e-6)
    pairs = {}
    threshold = result.metrics["threshold"].value
    for a in range(NUM_SINGERS):
        for b in range(a, NUM_SINGERS):
            between = {(a, b), (b, a)}
            of_pair = np.array(
                [(x, y) in between for x, y in zip(singers[trials.left], singers[trials.right], strict=True)]
            )
            assert result.singer_scores is not None
            assert result.singer_scores[a, b] == pytest.approx(scores[of_pair].mean(), abs=1e-6)
            assert result.singer_scores[a, b] == result.singer_scores[b, a]
            if a != b:
                pairs[a, b] = (scores[of_pair] >= threshold).mean()
    assert [pair.false_alarm for pair in result.confused] == pytest.approx(sorted(pairs.values())[::-1][:10])
    first = result.confused[0]
    assert pairs[first.left, first.right] == pytest.approx(first.false_alarm)
    assert {singers[first.trials[0].left], singers[first.trials[0].right]} == {first.left, first.right}
    assert result.histogram.targets.sum() == is_target.sum()
    assert result.histogram.nontargets.sum() == (~is_target).sum()


def test_each_singer_is_evaluated_by_the_trials_with_this_singer(voices: tuple) -> None:
    scores, is_target, trials = kept(voices)
    singers = voices[1]
    for singer in evaluate_voices(voices).by_singer:
        own = (singers[trials.left] == singer.singer) | (singers[trials.right] == singer.singer)
        assert (singer.num_targets, singer.num_nontargets) == (is_target[own].sum(), (~is_target)[own].sum())
        assert singer.eer == pytest.approx(compute_eer(scores[own], is_target[own])[0], abs=1e-9)


@pytest.mark.parametrize("most_at_once", [1, 40, 1 << 20])
def test_parts_of_any_size_hold_every_trial_once(
    voices: tuple, most_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "MAX_TRIALS_PER_BLOCK", 16 * most_at_once)
    embeddings, singers, _ = voices
    sides, trials = COSINE.prepare_embeddings(embeddings), build_all_pairs(singers)
    expected = {frozenset(pair) for pair in zip(trials.left.tolist(), trials.right.tolist(), strict=True)}
    for source in (AllPairsSource(sides, singers, COSINE), TrialListSource(sides, singers, COSINE, trials)):
        visited = []
        for singer in range(NUM_SINGERS):
            for is_target in (True, False):
                for block in source.iterate_blocks(singer, is_target):
                    left, right = np.broadcast_arrays(block.left, block.right)
                    assert left.shape == block.scores.shape
                    assert (singers[left] == singer).all()
                    assert ((singers[right] == singer) == is_target).all()
                    np.testing.assert_allclose(block.scores, (embeddings[left] * embeddings[right]).sum(-1), atol=1e-6)
                    visited += [
                        frozenset(pair) for pair in zip(left.ravel().tolist(), right.ravel().tolist(), strict=True)
                    ]
        assert len(visited) == len(trials.left)
        assert set(visited) == expected


def test_a_list_of_all_pairs_is_evaluated_like_all_pairs(voices: tuple) -> None:
    listed, every = evaluate_voices(voices, trials=build_all_pairs(voices[1])), evaluate_voices(voices)
    for name, estimate in every.metrics.items():
        from_list = listed.metrics[name]
        assert (from_list.value, from_list.low, from_list.high) == pytest.approx(
            (estimate.value, estimate.low, estimate.high), abs=1e-6
        )


def test_the_order_of_utterances_does_not_matter(voices: tuple) -> None:
    embeddings, singers, labels = voices
    order = np.random.default_rng(3).permutation(len(singers))
    shuffled = embeddings[order], singers[order], {label: values[order] for label, values in labels.items()}
    first, second = (evaluate_voices(utterances).metrics for utterances in (voices, shuffled))
    for name in ("eer", "auc", "min_dcf_0.01"):
        assert first[name].value == pytest.approx(second[name].value, abs=1e-9)


def test_groups_of_singers_are_resampled_where_there_are_very_many(
    voices: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("singer_verify.evaluation.evaluate.MAX_BOOTSTRAP_UNITS", 4)
    grouped, single = evaluate_voices(voices), evaluate_voices(voices)
    assert grouped.metrics["eer"].value == pytest.approx(single.metrics["eer"].value)
    assert grouped.metrics["eer"].low < grouped.metrics["eer"].value < grouped.metrics["eer"].high
    assert grouped.by_singer == ()


def test_refusals(voices: tuple) -> None:
    embeddings, singers, labels = voices
    described = UtteranceMetadata(labels)
    with pytest.raises(SingerVerifyError, match="one kind only"):
        evaluate(embeddings[:4], np.arange(4), UtteranceMetadata({}), EvaluationSettings(COSINE))
    with pytest.raises(SingerVerifyError, match="needs at least 2"):
        evaluate(embeddings[:4], np.zeros(4, int), UtteranceMetadata({}), EvaluationSettings(COSINE))
    broken = embeddings.copy()
    broken[3] = np.nan
    with pytest.raises(SingerVerifyError, match="scores are NaN or infinite"):
        evaluate(broken, singers, described, EvaluationSettings(COSINE))


def test_cells_part_the_axis_at_its_levels() -> None:
    cells = ScoreBins(np.array([0.1, 0.5]))
    assert cells.digitize(np.array([0.0, 0.1, 0.3, 0.5, 0.9])).tolist() == [0, 1, 2, 3, 4]
    fine = ScoreBins(np.arange(100) / 100)
    coarse = fine.thin(10)
    assert len(coarse.levels) <= 10
    assert (coarse.levels[0], coarse.levels[-1]) == (0.0, 0.99)
    scores = np.random.default_rng(0).choice(np.arange(-5, 220) / 200, 500)
    np.testing.assert_array_equal(fine.map_to_coarser(coarse)[fine.digitize(scores)], coarse.digitize(scores))


def test_a_tally_without_one_kind_has_no_rates() -> None:
    counts = BinnedCounts(np.array([0.0, 0.5, np.inf]), np.array([[1, 2], [0, 0]]), np.array([[2, 1], [1, 1]]))
    for metric in METRICS.values():
        values = metric.compute(counts)
        assert np.isfinite(values[0])
        assert np.isnan(values[1])


def test_eer_and_threshold_are_exact_though_bins_are_few(voices: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, singers, _ = voices
    exact = verify_all_pairs(embeddings, singers).metrics
    monkeypatch.setattr("singer_verify.evaluation.metrics.trial_counts.MAX_EXACT_LEVELS", 10)
    thinned = evaluate_voices(voices).metrics
    for name in ("eer", "threshold"):
        assert thinned[name].value == exact[name].value
    assert thinned["min_dcf_0.01"].value != exact["min_dcf_0.01"].value


@pytest.mark.parametrize("levels", [1, 3, 200])
@pytest.mark.parametrize("decimals", [1, 2, 8])
@pytest.mark.parametrize("seed", range(4))
def test_a_crossing_found_in_bins_is_that_of_all_scores(seed: int, decimals: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    is_target = generator.random(300) < 0.3
    scores = np.round(generator.normal(is_target * (seed + 0.5), 1.0), decimals).astype(np.float32)
    bins = ScoreBins.from_target_scores(scores[is_target]).thin(levels)
    kinds = [np.bincount(bins.digitize(scores[kind]), minlength=len(bins))[None] for kind in (is_target, ~is_target)]
    crossing = ExactCrossing(BinnedCounts(bins.thresholds, *kinds), bins)
    for kind in (True, False):
        for part in np.array_split(np.flatnonzero(is_target == kind), 3):
            crossing.add(TrialBlock(0, part, part, scores[part], kind))
    assert crossing.compute_eer() == compute_eer(scores, is_target)


def test_metrics_of_all_scores_in_memory_are_those_of_an_evaluation(voices: tuple) -> None:
    """Validation and leaderboard keep all scores, an evaluation counts them: the same numbers, to the last digit."""
    embeddings, singers, _ = voices
    kept_in_memory, counted = verify_all_pairs(embeddings, singers).metrics, evaluate_voices(voices).metrics
    assert {name: counted[name].value for name in kept_in_memory} == {
        name: estimate.value for name, estimate in kept_in_memory.items()
    }
