"""Confounds: what one property of the recordings alone scores, against trials counted one by one, and what differs."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from singer_verify.evaluation import confounds as module
from singer_verify.evaluation.conditions import UtteranceMetadata
from singer_verify.evaluation.confounds import Confounds, Floor, FloorMetrics, NuisanceVariables
from singer_verify.evaluation.evaluate import EvaluationSettings, evaluate
from singer_verify.evaluation.metrics.bootstrap import draw_bootstrap_weights
from singer_verify.evaluation.metrics.error_rates import compute_eer
from singer_verify.evaluation.scoring.enrolment import SingerModels
from singer_verify.evaluation.scoring.scoring import COSINE
from singer_verify.evaluation.trials.trial_list import Trials, build_all_pairs

NUM_SINGERS, NUM_UTTERANCES, NUM_RESAMPLES = 6, 10, 20
SINGERS = np.repeat(np.arange(NUM_SINGERS), NUM_UTTERANCES)


def as_label(values: Sequence[object]) -> np.ndarray:
    return np.array([str(value) for value in values], object)


def draw_embeddings(num_utterances: int) -> np.ndarray:
    embeddings = np.random.default_rng(0).standard_normal((num_utterances, 4))
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)


def measure(
    nuisances: NuisanceVariables,
    singers: np.ndarray = SINGERS,
    conditions: Sequence[str] = (),
    trials: Trials | None = None,
) -> Confounds:
    """Of random embeddings, which do not matter, by conditions on these labels."""
    embeddings = draw_embeddings(len(singers))
    metadata = UtteranceMetadata({label: nuisances.labels[label] for label in conditions})
    settings = EvaluationSettings(COSINE, trials, num_resamples=NUM_RESAMPLES)
    result = evaluate(embeddings, singers, metadata, settings, nuisances=nuisances)
    assert result.confounds is not None
    return result.confounds


def find_floor(confounds: Confounds, name: str) -> Floor:
    return next(floor for floor in confounds.floors if floor.name == name)


def find_whole(confounds: Confounds, name: str) -> FloorMetrics:
    return find_floor(confounds, name).conditions[0]


def test_a_label_that_equals_the_singer_makes_no_error() -> None:
    whole = find_whole(measure(NuisanceVariables({"song": as_label(SINGERS)})), "song")
    assert (whole.target_share, whole.nontarget_share) == (1.0, 0.0)
    assert [(eer.value, eer.low, eer.high) for eer in [whole.metrics["eer"]]] == [(0.0, 0.0, 0.0)]
    assert whole.metrics["auc"].value == 1.0
    assert (whole.condition, whole.num_targets, whole.num_nontargets) == ("all", 270, 1500)


def test_a_label_that_knows_nothing_of_the_singer_is_at_chance() -> None:
    singers = np.repeat(np.arange(20), 12)
    label = as_label(np.random.default_rng(3).integers(4, size=len(singers)))
    whole = find_whole(measure(NuisanceVariables({"vowel": label}), singers), "vowel")
    eer = whole.metrics["eer"]
    assert eer.low <= 0.5 <= eer.high
    assert eer.value == pytest.approx(0.5, abs=0.02)
    assert whole.target_share == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize(
    ("num_same", "expected"),
    [
        # The curve of a scorer of two values has three points (miss, false alarm): (0, 1), (1 - t, n) and (1, 0).
        ((30, 10), 1 / 4),  # t = 3/4, n = 1/4: equal at the point itself
        ((40, 20), 1 / 3),  # t = 1, n = 1/2: on the line from (0, 1/2) to (1, 0)
        ((20, 10), 2 / 5),  # t = 1/2, n = 1/4: on the line from (0, 1) to (1/2, 1/4)
        ((10, 30), 3 / 4),  # t = 1/4, n = 3/4: worse than chance, equal at the point itself
    ],
)
def test_equal_scores_are_one_point_of_the_curve(num_same: tuple[int, int], expected: float) -> None:
    singers = np.repeat([0, 1], 20)
    label = np.tile(np.repeat(np.array(["a", "b"], object), 10), 2)
    pairs: dict[tuple[bool, bool], list[tuple[int, int]]] = {(True, True): [], (True, False): []}
    pairs |= {(False, True): [], (False, False): []}
    for left, right in combinations(range(40), 2):
        pairs[bool(singers[left] == singers[right]), bool(label[left] == label[right])].append((left, right))
    chosen = []
    for is_target, same in zip((True, False), num_same, strict=True):
        chosen += [(*pair, is_target) for pair in pairs[is_target, True][:same] + pairs[is_target, False][: 40 - same]]
    left, right, is_target = (np.array(part) for part in zip(*chosen, strict=True))
    whole = find_whole(
        measure(NuisanceVariables({"song": label}), singers, trials=Trials(left, right, is_target)), "song"
    )
    shares = num_same[0] / 40, num_same[1] / 40
    assert (whole.target_share, whole.nontarget_share) == shares
    assert whole.metrics["auc"].value == pytest.approx((1 + shares[0] - shares[1]) / 2)
    assert whole.metrics["eer"].value == pytest.approx(expected)


def test_durations_of_singers_tell_them_apart() -> None:
    generator = np.random.default_rng(1)
    own = 3.0 + SINGERS + generator.uniform(-0.2, 0.2, len(SINGERS))
    confounds = measure(NuisanceVariables({}, {"duration_s": own, "level_db": generator.standard_normal(len(SINGERS))}))
    assert find_whole(confounds, "duration_s").metrics["eer"].value < 0.02
    assert find_whole(confounds, "level_db").metrics["eer"].low > 0.4
    assert find_whole(confounds, "duration_s").target_share is None


@pytest.fixture(scope="module")
def nuisances() -> NuisanceVariables:
    """A label and a measurement of which some values are unknown, and some equal."""
    generator = np.random.default_rng(5)
    song = as_label((SINGERS + generator.integers(3, size=len(SINGERS))) % 5)
    song[::7] = ""
    level = np.round(SINGERS / 2 + generator.standard_normal(len(SINGERS)), 1)
    level[3::11] = np.nan
    gender = np.where(SINGERS % 2, "male", "female").astype(object)
    return NuisanceVariables({"song": song, "gender": gender}, {"level_db": level})


def test_rates_and_intervals_are_those_of_trials_one_by_one(nuisances: NuisanceVariables) -> None:
    confounds = measure(nuisances, conditions=("gender",))
    draws = draw_bootstrap_weights(np.ones((NUM_SINGERS, NUM_SINGERS), bool), NUM_RESAMPLES, 0)
    gender = nuisances.labels["gender"]
    for name, is_label in (("song", True), ("gender", True), ("level_db", False)):
        for condition in find_floor(confounds, name).conditions:
            scores, kinds, pairs = [], [], []
            for left, right in combinations(range(len(SINGERS)), 2):
                if condition.condition != "all" and (gender[left] == gender[right]) != (
                    condition.condition[:4] == "same"
                ):
                    continue
                if is_label:
                    values = nuisances.labels[name][left], nuisances.labels[name][right]
                    if "" not in values:
                        scores.append(float(values[0] == values[1]))
                        pairs.append((SINGERS[left], SINGERS[right]))
                else:
                    difference = nuisances.measures[name][left] - nuisances.measures[name][right]
                    if np.isfinite(difference):
                        scores.append(-abs(difference))
                        pairs.append((SINGERS[left], SINGERS[right]))
            kinds = np.array([left == right for left, right in pairs])
            assert (condition.num_targets, condition.num_nontargets) == (kinds.sum(), (~kinds).sum())
            if not kinds.any():
                assert (condition.condition, condition.metrics) == ("cross gender", {})
                continue
            alone, sides = np.array(scores), np.array(pairs).T
            eers, areas = [], []
            for counts in draws:
                times = np.where(kinds, counts[sides[0]], counts[sides[0]] * counts[sides[1]])
                again, of_kind = np.repeat(alone, times), np.repeat(kinds, times)
                if of_kind.any() and not of_kind.all():
                    eers.append(compute_eer(again, of_kind)[0])
                    areas.append(roc_auc_score(of_kind, again))
            for metric, value, resampled in (
                ("eer", compute_eer(alone, kinds)[0], eers),
                ("auc", roc_auc_score(kinds, alone), areas),
            ):
                estimate = condition.metrics[metric]
                expected = (value, *np.percentile(resampled, [2.5, 97.5]))
                assert (estimate.value, estimate.low, estimate.high) == pytest.approx(expected, abs=1e-6), name


def test_the_margin_is_the_paired_difference_from_the_model(nuisances: NuisanceVariables) -> None:
    same_gender = find_floor(measure(nuisances, conditions=("song", "gender")), "gender").conditions
    whole, cross_song = (floor for floor in same_gender if floor.condition in ("all", "cross song"))
    trials, song, gender = build_all_pairs(SINGERS), nuisances.labels["song"], nuisances.labels["gender"]
    embeddings = draw_embeddings(len(SINGERS))
    cosines = (embeddings[trials.left] * embeddings[trials.right]).sum(axis=1)
    alone = (gender[trials.left] == gender[trials.right]).astype(float)
    known = (song[trials.left] != "") & (song[trials.right] != "")
    masks = np.ones(len(alone), bool), known & (song[trials.left] != song[trials.right])
    left, right = SINGERS[trials.left], SINGERS[trials.right]
    draws = draw_bootstrap_weights(np.ones((NUM_SINGERS, NUM_SINGERS), bool), NUM_RESAMPLES, 0)
    for floor, mask in zip((whole, cross_song), masks, strict=True):
        differences = []
        for counts in (np.ones(NUM_SINGERS, np.int64), *draws):
            times = np.where(trials.is_target, counts[left], counts[left] * counts[right])[mask]
            kinds = np.repeat(trials.is_target[mask], times)
            eers = [compute_eer(np.repeat(scores[mask], times), kinds)[0] for scores in (alone, cosines)]
            differences.append(eers[0] - eers[1])
        expected = differences[0], *np.percentile(differences[1:], [2.5, 97.5])
        assert floor.margin is not None
        assert (floor.margin.value, floor.margin.low, floor.margin.high) == pytest.approx(expected, abs=1e-6)


def test_conditions_are_described_by_their_trials(nuisances: NuisanceVariables) -> None:
    measures = dict(nuisances.measures) | {"voiced_share": np.linspace(0.0, 1.0, len(SINGERS))}
    described = {
        group.name: group for group in measure(replace(nuisances, measures=measures), conditions=("song",)).conditions
    }
    assert list(described) == ["all", "same song", "cross song"]
    song, trials = nuisances.labels["song"], build_all_pairs(SINGERS)
    known = (song[trials.left] != "") & (song[trials.right] != "")
    same = song[trials.left] == song[trials.right]
    for name, mask in (("all", np.ones(len(known), bool)), ("same song", known & same), ("cross song", known & ~same)):
        left, right, is_target = trials.left[mask], trials.right[mask], trials.is_target[mask]
        group = described[name]
        assert group.num_singers == len(set(SINGERS[left[is_target]]))
        others = {singer: set() for singer in range(NUM_SINGERS)}
        for one, other in zip(SINGERS[left[~is_target]], SINGERS[right[~is_target]], strict=True):
            others[one].add(other)
            others[other].add(one)
        assert group.num_impostors == pytest.approx(np.mean([len(pool) for pool in others.values() if pool]))
        one_gender = nuisances.labels["gender"][left] == nuisances.labels["gender"][right]
        assert group.same_gender == pytest.approx(one_gender[~is_target].mean())
        sides = [np.concatenate([left[kind], right[kind]]) for kind in (is_target, ~is_target)]
        means = [np.mean(measures["voiced_share"][side]) for side in sides]
        assert group.measures["voiced_share"] == pytest.approx(np.mean(means))
        values = np.concatenate([measures["level_db"][side] for side in sides])
        weights = np.concatenate([np.full(len(side), 1 / len(side)) for side in sides])
        below = [weights[values < group.measures["level_db"]].sum(), weights[values > group.measures["level_db"]].sum()]
        assert max(below) <= weights[np.isfinite(values)].sum() / 2 + 1e-9


def test_values_of_a_label_are_compared_with_the_others(nuisances: NuisanceVariables) -> None:
    level = np.where(nuisances.labels["song"] == "2", -50.0, -20.0)
    compared = measure(replace(nuisances, measures={"level_db": level})).values
    songs = {comparison.own.name: comparison for comparison in compared if comparison.label == "song"}
    assert sorted(songs) == ["0", "1", "2", "3", "4"]
    for value, comparison in songs.items():
        is_own = nuisances.labels["song"] == value
        assert comparison.own.num_utterances == is_own.sum()
        assert comparison.own.num_singers == len(set(SINGERS[is_own]))
        assert comparison.others.num_utterances == ((nuisances.labels["song"] != "") & ~is_own).sum()
        assert comparison.own.measures == {"level_db": -50.0 if value == "2" else -20.0}
        assert comparison.others.measures == {"level_db": -20.0}


def test_what_is_the_same_everywhere_or_never_known_is_no_scorer() -> None:
    constant, unknown = as_label(np.ones(len(SINGERS))), as_label([""] * len(SINGERS))
    confounds = measure(
        NuisanceVariables(
            {"language": constant, "vowel": unknown},
            {"bandwidth_hz": np.full(len(SINGERS), 8000.0), "f0_semitones": np.full(len(SINGERS), np.nan)},
        )
    )
    assert confounds.floors == ()


def test_of_very_many_trials_some_are_drawn(nuisances: NuisanceVariables, monkeypatch: pytest.MonkeyPatch) -> None:
    every = measure(nuisances)
    monkeypatch.setattr(module, "MAX_SAMPLED_TRIALS", 200)
    drawn, again = measure(nuisances), measure(nuisances)
    assert (every.num_trials, every.is_sampled, drawn.is_sampled) == (1770, False, True)
    assert 300 < drawn.num_trials < 500
    assert drawn == again
    for name in ("song", "level_db"):
        eers = [find_whole(confounds, name).metrics["eer"].value for confounds in (every, drawn)]
        assert eers[1] == pytest.approx(eers[0], abs=0.1)


def test_an_enrolled_singer_has_the_shared_labels_and_the_mean_of_the_measurements() -> None:
    singers = np.array([0, 0, 0, 1, 1])
    nuisances = NuisanceVariables(
        {"gender": as_label("aaabb"), "song": as_label("xyxzz")},
        {"level_db": np.array([1.0, 2.0, 6.0, np.nan, 5.0])},
        num_copies=3,
    )
    models = SingerModels(np.array([0, 0, 1]), np.array([-1, 2, 4]), np.array([3, 2, 1]))
    joined = nuisances.join_models(singers, models)
    assert joined.labels["gender"].tolist() == [*"aaabb", "a", "a", "b"]
    assert joined.labels["song"].tolist() == [*"xyxzz", "", "", "z"]
    np.testing.assert_array_equal(joined.measures["level_db"][5:], [3.0, 1.5, np.nan])
    assert joined.num_copies == 3
