"""Linear probes: what is predicted, that train and test share no singer, and scores against scikit-learn."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score, r2_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.metrics.bootstrap import draw_bootstrap_weights
from singer_verify.evaluation.probe_tasks import (
    RECORDING,
    SINGER,
    ProbeTask,
    format_names,
    plan_label_task,
    plan_singer_task,
)
from singer_verify.evaluation.probes import (
    LabelProbes,
    correct_p_values,
    divide_task,
    predict_out_of_fold,
    probe_label,
    resample_scores,
    score_predictions,
)

NUM_SINGERS, NUM_UTTERANCES, NUM_DIMS = 12, 8, 16
SINGERS = np.repeat(np.arange(NUM_SINGERS), NUM_UTTERANCES)
NAMES = [f"singer{number:02}" for number in range(NUM_SINGERS)]
NUM_ROWS = len(SINGERS)
QUICK = {"penalties": (10.0,), "num_resamples": 100}


def make_embeddings(seed: int = 0) -> np.ndarray:
    """A direction for each singer, and noise around it: singers lie apart, and nothing else is told."""
    generator = np.random.default_rng(seed)
    voices = 3.0 * generator.standard_normal((NUM_SINGERS, NUM_DIMS))
    return voices[SINGERS] + generator.standard_normal((NUM_ROWS, NUM_DIMS))


def draw_labels(seed: int, *names: str) -> np.ndarray:
    return np.array(names, object)[np.random.default_rng(seed).integers(len(names), size=NUM_ROWS)]


def test_a_label_that_lies_along_a_direction_is_told() -> None:
    rows, vowels = make_embeddings(), draw_labels(1, "a", "e", "i")
    rows[:, 0] = 8.0 * np.searchsorted(["a", "e", "i"], vowels.astype(str)) + 0.1 * rows[:, 0]
    rows[:, 1] = 8.0 * (vowels == "e")
    [scores] = probe_label([[rows]], plan_label_task("vowel", vowels, SINGERS), 3, penalties=(10.0, 1.0)).scores
    assert scores.score.value > 0.99
    assert scores.accuracy is not None
    assert scores.accuracy.value > 0.99
    assert scores.score.low > 1 / 3


def test_a_number_that_lies_along_a_direction_is_told() -> None:
    rows = make_embeddings()
    tempo = 120.0 + 20.0 * np.random.default_rng(2).standard_normal(NUM_ROWS)
    rows[:, 0] = 0.1 * tempo
    task = plan_label_task("tempo", tempo.astype(str).astype(object), SINGERS)
    assert task.is_number
    [scores] = probe_label([[rows]], task, **QUICK).scores
    assert scores.score.value > 0.95
    assert scores.score.low > 0.9
    assert (task.chance, task.majority, scores.accuracy) == (0.0, None, None)


def test_what_the_embedding_does_not_tell_is_at_chance() -> None:
    includes = []
    for seed in range(4):
        rows = make_embeddings(seed)
        task = plan_label_task("take", draw_labels(seed, "a", "b"), SINGERS)
        [scores] = probe_label([[rows]], task, **QUICK, seed=seed).scores
        includes.append(scores.score.low <= task.chance <= scores.score.high)
        number = plan_label_task("length", np.random.default_rng(seed).standard_normal(NUM_ROWS), SINGERS)
        assert probe_label([[rows]], number, **QUICK).scores[0].score.value < 0.05
    assert sum(includes) >= 3


def test_what_only_the_singer_tells_is_at_chance_where_train_and_test_share_no_singer() -> None:
    """A label drawn for each singer: a split that mixes a singer's utterances reads it off the identity."""
    honest, leaky = [], []
    for seed in range(4):
        rows = make_embeddings(seed)
        drawn = np.random.default_rng(seed).permutation(np.arange(NUM_SINGERS) % 2)[SINGERS]
        task = plan_label_task("club", np.array(["red", "blue"], object)[drawn], SINGERS)
        honest.append(probe_label([[rows]], task, **QUICK).scores[0].score.value)
        naive = ProbeTask(task.label, task.rows, task.targets, np.arange(NUM_ROWS), SINGERS, task.classes)
        leaky.append(probe_label([[rows]], naive, **QUICK).scores[0].score.value)
    assert 0.3 < np.mean(honest) < 0.7
    assert np.mean(leaky) > 0.85


@pytest.mark.parametrize("seed", range(5))
def test_folds_share_no_unit_test_each_row_once_and_train_on_every_class(seed: int) -> None:
    generator = np.random.default_rng(seed)
    tasks = [
        plan_label_task("vowel", draw_labels(seed, "a", "e", "i"), SINGERS),
        plan_label_task("gender", np.array(["f", "m"], object)[(SINGERS < 2).astype(int)], SINGERS),
        plan_label_task("rare", np.where(np.isin(np.arange(NUM_ROWS), [1, 50]), "x", "y").astype(object), SINGERS),
        plan_label_task("tempo", generator.standard_normal(NUM_ROWS), SINGERS),
        plan_singer_task(NAMES, SINGERS, "song", np.array(list("abcd" * (NUM_ROWS // 4)), object)),
        plan_singer_task(NAMES, SINGERS, RECORDING, None),
    ]
    for task in tasks:
        folds = divide_task(task, 5, seed)
        assert sorted(np.concatenate([test for _, test in folds]).tolist()) == list(range(len(task.rows)))
        for train, test in folds:
            assert not set(task.units[train]) & set(task.units[test])
            assert len(train) + len(test) == len(task.rows)
            assert task.is_number or set(task.targets[train]) == set(range(len(task.classes)))
        assert [part.tolist() for fold in folds for part in fold] == [
            part.tolist() for fold in divide_task(task, 5, seed) for part in fold
        ]


def test_predictions_are_those_of_scikit_learn() -> None:
    rows = make_embeddings()
    vowels = draw_labels(1, "a", "e", "i")
    rows[:, 0] += 2.0 * (vowels == "e")
    task = plan_label_task("vowel", vowels, SINGERS)
    folds = divide_task(task, 4)
    predicted = predict_out_of_fold(rows, task, folds, penalties=(10.0,))
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, class_weight="balanced", max_iter=2000))
    expected = cross_val_predict(model, rows, task.targets, cv=folds)
    assert predicted.tolist() == expected.tolist()
    whole = probe_label([[rows]], task, 4, 20, penalties=(10.0,)).scores[0]
    assert whole.score.value == pytest.approx(balanced_accuracy_score(task.targets, expected))
    assert whole.accuracy is not None
    assert whole.accuracy.value == pytest.approx((task.targets == expected).mean())
    number = plan_label_task("tempo", rows[:, 0] + vowels.astype(str).view(np.uint32).astype(float), SINGERS)
    folds = divide_task(number, 4)
    expected = cross_val_predict(make_pipeline(StandardScaler(), Ridge(10.0)), rows, number.targets, cv=folds)
    np.testing.assert_allclose(predict_out_of_fold(rows, number, folds, penalties=(10.0,)), expected)
    [scores] = score_predictions(number, [[expected]], 20)
    assert scores.score.value == pytest.approx(r2_score(number.targets, expected))


def test_the_penalty_is_chosen_within_the_training_part() -> None:
    """Of two penalties, one absurd: the other is found, and what the test part holds does not matter."""
    rows = make_embeddings()
    task = plan_label_task("height", 3.0 * rows[:, 0], SINGERS)
    folds = divide_task(task)
    chosen = predict_out_of_fold(rows, task, folds, penalties=(1e9, 1.0))
    np.testing.assert_allclose(chosen, predict_out_of_fold(rows, task, folds, penalties=(1.0,)))
    _, test = folds[0]
    changed = replace(task, targets=task.targets.copy())
    changed.targets[test] = 1e6
    np.testing.assert_allclose(
        predict_out_of_fold(rows, changed, folds[:1])[test], predict_out_of_fold(rows, task, folds[:1])[test]
    )


def test_resampled_scores_are_scores_of_the_repeated_rows() -> None:
    generator = np.random.default_rng(0)
    draws = draw_bootstrap_weights(np.ones((NUM_SINGERS, NUM_SINGERS), bool), 10)
    singer_classes = np.array(["f", "m", "d"], object)[SINGERS // 4]  # of which a resample may lack one
    tasks = [
        plan_label_task("vowel", draw_labels(1, "a", "e", "i"), SINGERS),
        plan_label_task("gender", singer_classes, SINGERS),
        plan_label_task("tempo", 60.0 + generator.standard_normal(NUM_ROWS), SINGERS),
    ]
    for task in tasks:
        predicted = generator.permutation(task.targets)
        scores, accuracies = resample_scores(task, predicted, draws)
        for counts, score in zip(draws, scores, strict=True):
            rows = np.repeat(np.arange(NUM_ROWS), counts[SINGERS])
            measure = r2_score if task.is_number else balanced_accuracy_score
            assert score == pytest.approx(measure(task.targets[rows], predicted[rows]))
        if accuracies is not None:
            rows = np.repeat(np.arange(NUM_ROWS), draws[-1][SINGERS])
            assert accuracies[-1] == pytest.approx((task.targets[rows] == predicted[rows]).mean())


def test_singers_are_told_by_another_song_and_count_as_often_as_they_are_drawn() -> None:
    songs = np.array(list("abcd" * (NUM_ROWS // 4)), object)
    task = plan_singer_task(NAMES, SINGERS, "song", songs)
    [scores] = probe_label([[make_embeddings()]], task, **QUICK).scores
    assert scores.score.value > 0.8
    assert (task.chance, task.disjoint, len(task.classes)) == (pytest.approx(1 / NUM_SINGERS), "song", NUM_SINGERS)
    predicted = np.where(task.targets < 3, task.targets, 0)  # the first three are told, nobody else
    counts = np.zeros((1, NUM_SINGERS), int)
    counts[0, [0, 5]] = 3, 9
    score, accuracy = resample_scores(task, predicted, counts)
    assert score[0] == pytest.approx(0.25)
    assert accuracy is not None
    assert accuracy[0] == pytest.approx(0.25)


def test_a_model_compared_with_itself_does_not_differ_and_a_better_one_does() -> None:
    rows, vowels = make_embeddings(), draw_labels(1, "a", "e")
    better = rows.copy()
    better[:, 0] = 9.0 * (vowels == "e")
    task = plan_label_task("vowel", vowels, SINGERS)
    probe = probe_label([[rows], [rows], [better]], task, **QUICK)
    first, same, other = probe.scores
    assert (first.difference, first.p) == (None, None)
    assert same.difference is not None
    assert (same.difference.value, same.difference.low, same.difference.high, same.p) == (0.0, 0.0, 0.0, 1.0)
    assert other.difference is not None
    assert other.difference.low > 0.2
    assert other.p == pytest.approx(2 / 101)
    [corrected] = correct_p_values([probe])
    assert [scores.p for scores in corrected.scores] == [None, 1.0, pytest.approx(4 / 101)]
    assert isinstance(corrected, LabelProbes)


def test_values_of_one_singer_are_left_out_by_name() -> None:
    songs = draw_labels(3, "a", "b")
    songs[:4], songs[10] = "solo", ""
    songs[20] = "other"
    task = plan_label_task("song", songs, SINGERS)
    assert (task.classes, task.left_out, task.num_unknown) == (("a", "b"), ("other", "solo"), 1)
    assert not set(task.rows.tolist()) & {0, 1, 2, 3, 10, 20}
    assert [task.classes[target] for target in task.targets] == songs[task.rows].tolist()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (np.array(NAMES, object)[SINGERS], "each of its 12 values belongs to one singer only, so that it tells the"),
        (np.full(NUM_ROWS, "hall", object), "label x: has the value hall only; expected at least 2 values"),
        (np.full(NUM_ROWS, "", object), "label x: is unknown for all utterances"),
        (
            np.where(SINGERS == 3, "tenor", np.where(SINGERS == 4, "bass", "alto")).astype(object),
            "of its 3 values only alto is shared by 2 singers or more, while bass, tenor belong to one singer each",
        ),
        (np.where(SINGERS < 3, np.arange(NUM_ROWS), np.nan), "is known for 3 singers; a probe of numbers"),
        (np.full(NUM_ROWS, 2.5), "label x: is 2.5 everywhere"),
        (np.full(NUM_ROWS, np.nan), "is known for 0 singers"),
    ],
)
def test_labels_that_cannot_be_probed_are_refused(values: np.ndarray, sentence: str) -> None:
    with pytest.raises(SingerVerifyError, match=sentence):
        plan_label_task("x", values, SINGERS)


def test_singers_without_two_songs_cannot_be_told_by_another_song() -> None:
    songs = np.where(SINGERS < 2, draw_labels(0, "a", "b"), "c").astype(object)
    task = plan_singer_task(NAMES, SINGERS, "song", songs)
    assert task.classes == ("singer00", "singer01")
    assert task.left_out == tuple(NAMES[2:])
    one_each = np.array([f"song{number}" for number in SINGERS], object)
    with pytest.raises(SingerVerifyError, match="0 of 12 singers have at least 2 songs"):
        plan_singer_task(NAMES, SINGERS, "song", one_each)
    with pytest.raises(SingerVerifyError, match="0 of 12 singers have at least 2 recordings"):
        plan_singer_task(NAMES, np.arange(NUM_SINGERS), RECORDING, None)


def test_many_numbers_are_numbers_few_or_codes_are_classes() -> None:
    numbers = np.arange(NUM_ROWS) % 24 + 60
    assert plan_label_task("midi", numbers.astype(str).astype(object), SINGERS).is_number
    assert len(plan_label_task("midi", numbers.astype(str).astype(object), SINGERS, is_number=False).classes) == 24
    codes = np.array([f"{number % 24:02}" for number in range(NUM_ROWS)], object)
    assert len(plan_label_task("song", codes, SINGERS).classes) == 24
    few = (np.arange(NUM_ROWS) % 3).astype(str).astype(object)
    assert plan_label_task("level", few, SINGERS).classes == ("0", "1", "2")
    assert plan_label_task("level", few, SINGERS, is_number=True).is_number
    few[5] = ""
    assert plan_label_task("level", few, SINGERS, is_number=True).num_unknown == 1
    few[7] = "high"
    with pytest.raises(SingerVerifyError, match="label level: has the value high; expected numbers"):
        plan_label_task("level", few, SINGERS, is_number=True)


def test_broken_embeddings_are_refused() -> None:
    rows = make_embeddings()
    rows[3, 0] = np.nan
    with pytest.raises(SingerVerifyError, match="an embedding is not finite"):
        probe_label([[rows]], plan_label_task("vowel", draw_labels(1, "a", "e"), SINGERS))


def test_names_are_listed_up_to_a_few() -> None:
    assert format_names(["a", "b"]) == "a, b"
    assert format_names(["a", "b", "c", "d", "e"]) == "a, b, c and 2 others"
    assert SINGER == "singer"
