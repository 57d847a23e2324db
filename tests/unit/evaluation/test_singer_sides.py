"""Lists with singers on one side: which side it is, what each singer is the mean of, and what is refused."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.conditions import UtteranceMetadata
from singer_verify.evaluation.evaluate import EvaluationSettings, evaluate, select_models_scoring
from singer_verify.evaluation.results import EvaluationResult
from singer_verify.evaluation.scoring.calibration import Calibration
from singer_verify.evaluation.scoring.normalisation import Cohort
from singer_verify.evaluation.scoring.projection import Projection
from singer_verify.evaluation.scoring.scoring import COSINE, MultiEnrolmentCalibration, Scoring, Threshold
from singer_verify.evaluation.trials.singer_sides import find_singer_side, index_singer_trials
from singer_verify.evaluation.trials.trial_list import ABSENT, TrialList, Trials
from singer_verify.evaluation.trials.validation import count_faults, select_valid_trials, validate_trials
from singer_verify.inference.evaluation import collect_fault_examples, format_fault_messages

ROOT = Path("corpus")
SINGERS = ("anna", "bert", "zoë")
TAKES = 4
SINGER_BY_PATH = {f"val/{singer}/{take}.wav": singer for singer in SINGERS for take in range(TAKES)}
PATHS = list(SINGER_BY_PATH)
SINGER_INDEX = np.repeat(np.arange(len(SINGERS)), TAKES)
GENERATOR = np.random.default_rng(0)
EMBEDDINGS = GENERATOR.standard_normal((len(SINGERS), 8))[SINGER_INDEX] + GENERATOR.standard_normal((len(PATHS), 8))
EMBEDDINGS /= np.linalg.norm(EMBEDDINGS, axis=1, keepdims=True)
COHORT = Cohort(np.linalg.qr(GENERATOR.standard_normal((8, 8)))[0][:5])
SCORINGS = [
    COSINE,
    Scoring(Projection(np.full(8, 0.1), np.diag(np.arange(1.0, 9.0)))),
    Scoring(cohort=COHORT),
]


def list_with(*rows: tuple[str, str, bool]) -> TrialList:
    left, right, is_target = zip(*rows, strict=True)
    return TrialList(np.array(left, object), np.array(right, object), np.array(is_target))


def swapped(trials: TrialList) -> TrialList:
    return TrialList(trials.right, trials.left, trials.is_target)


def every_trial() -> TrialList:
    return list_with(*((singer, path, of == singer) for singer in SINGERS for path, of in SINGER_BY_PATH.items()))


def index(trials: TrialList) -> Trials:
    valid = select_valid_trials(trials, validate_trials(trials, ROOT, SINGER_BY_PATH))
    return index_singer_trials(valid, PATHS, SINGERS, SINGER_INDEX)


def evaluate_list(trials: TrialList, scoring: Scoring = COSINE, **labels: np.ndarray) -> EvaluationResult:
    metadata = UtteranceMetadata(labels)
    return evaluate(EMBEDDINGS, SINGER_INDEX, metadata, EvaluationSettings(scoring, index(trials), num_resamples=20))


def unit(row: np.ndarray) -> np.ndarray:
    return np.asarray(row / np.linalg.norm(row))


def score_slowly(scoring: Scoring, singer: str, place: int, leaves_out: bool = True) -> float:
    """The mean of the projected embeddings of a singer, against one projected embedding, by a loop."""
    rows = [EMBEDDINGS[number : number + 1] for number in range(len(PATHS))]
    projected = [(row if scoring.projection is None else scoring.projection(row))[0] for row in rows]
    enrolled = [
        row
        for number, row in enumerate(projected)
        if SINGERS[SINGER_INDEX[number]] == singer and not (leaves_out and number == place)
    ]
    sides = unit(np.sum(enrolled, axis=0)), projected[place]
    score = float(sides[0] @ sides[1])
    if scoring.cohort is None:
        return score
    normalised = []
    for side in sides:
        against = scoring.cohort.embeddings @ side
        normalised.append((score - against.mean()) / against.std())
    return float(np.mean(normalised))


@pytest.mark.parametrize("is_swapped", [False, True])
@pytest.mark.parametrize("scoring", SCORINGS, ids=["cosine", "projected", "normalised"])
def test_scores_are_those_of_a_slow_loop(scoring: Scoring, is_swapped: bool) -> None:
    rows = [(SINGERS[0], path, of == SINGERS[0]) for path, of in SINGER_BY_PATH.items()]
    result = evaluate_list(swapped(list_with(*rows)) if is_swapped else list_with(*rows), scoring)
    scored = [*result.worst_misses, *result.worst_false_alarms]
    assert len(scored) == len(set(SINGER_BY_PATH.values()))  # the worst trial of each pair of singers
    for trial in scored:
        model, place = (trial.right, trial.left) if is_swapped else (trial.left, trial.right)
        assert result.models is not None
        assert result.models.singer_index[model - len(PATHS)] == 0
        assert trial.score == pytest.approx(score_slowly(scoring, SINGERS[0], place), abs=1e-9)
        if trial.is_target:
            assert trial.score != pytest.approx(score_slowly(scoring, SINGERS[0], place, leaves_out=False), abs=1e-3)


def test_a_target_trial_leaves_its_recording_out_and_a_non_target_trial_none() -> None:
    models = index(every_trial()).models
    assert models is not None
    left_out = [(int(singer), int(place)) for singer, place in zip(models.singer_index, models.left_out, strict=True)]
    own = [(singer, place) for place, singer in enumerate(SINGER_INDEX.tolist())]
    assert sorted(left_out) == sorted([(singer, ABSENT) for singer in range(len(SINGERS))] + own)
    assert models.num_recordings.tolist() == [TAKES - (place != ABSENT) for _, place in left_out]


def test_the_side_does_not_matter_to_any_metric() -> None:
    one, other = evaluate_list(every_trial()), evaluate_list(swapped(every_trial()))
    assert one.metrics.keys() == other.metrics.keys()
    assert one.metrics["eer"].value == other.metrics["eer"].value
    np.testing.assert_allclose(one.singer_scores, other.singer_scores)  # type: ignore[arg-type]


def test_identification_and_the_trials_of_recordings_are_as_before() -> None:
    pairs = Trials(np.array([0, 0, 4]), np.array([1, 4, 8]), np.array([True, False, False]))
    settings = EvaluationSettings(COSINE, pairs, num_resamples=20)
    plain = evaluate(EMBEDDINGS, SINGER_INDEX, UtteranceMetadata({}), settings)
    assert plain.models is None
    assert plain.metrics["top_1"] == evaluate_list(every_trial()).metrics["top_1"]


def test_a_model_has_the_labels_that_its_recordings_share_and_their_duration() -> None:
    gender = np.array(["female", "male", "female"], object)[SINGER_INDEX]
    song = np.tile(np.array(["a", "b"], object), len(PATHS) // 2)
    models = index(list_with(("anna", "anna/1", True), ("anna", "bert/1", False))).models
    assert models is not None
    seconds = np.arange(1.0, len(PATHS) + 1)
    joined = UtteranceMetadata({"gender": gender, "song": song}, seconds, seconds).join_models(SINGER_INDEX, models)
    assert joined.labels["gender"][-2:].tolist() == ["female", "female"]
    assert joined.labels["song"][-2:].tolist() == ["", ""]
    assert joined.seconds is not None
    assert joined.seconds[-2:].tolist() == [10.0, 8.0]
    assert joined.median_f0_hz is not None
    assert np.isnan(joined.median_f0_hz[-2:]).all()
    conditions = {
        counted.condition: (counted.num_targets, counted.num_nontargets)
        for counted in evaluate_list(every_trial(), gender=gender, song=song).conditions
    }
    assert conditions["same gender"] == (12, 8)
    assert conditions["cross gender"] == (0, 16)
    assert not {"same song", "cross song", "hard"} & conditions.keys()


def test_the_threshold_is_that_for_the_smallest_number_of_recordings() -> None:
    several = tuple(
        MultiEnrolmentCalibration(number, Calibration(1.0, -0.1 * number, ""), Threshold(0.1 * number, ""))
        for number in (2, 3, 4)
    )
    scoring = Scoring(calibration=Calibration(1.0, 0.0, ""), threshold=Threshold(0.9, ""), multi_enrolment=several)
    trials = index(every_trial())
    assert select_models_scoring(scoring, trials.models).threshold == several[1].threshold
    assert select_models_scoring(scoring, None) == scoring
    result = evaluate_list(every_trial(), scoring)
    places = [(who, place) for who in range(len(SINGERS)) for place in range(len(PATHS)) if SINGER_INDEX[place] == who]
    missed = [score_slowly(COSINE, SINGERS[who], place) < 0.3 for who, place in places]
    assert result.metrics["miss_at_threshold"].value == pytest.approx(np.mean(missed), abs=1e-9)


def test_names_that_are_no_singers_are_counted_and_named() -> None:
    decomposed = unicodedata.normalize("NFD", "zoë")
    trials = list_with(
        ("anna", "anna/1", True),
        (decomposed, "anna/1", False),
        ("anna", "bert/2", False),
        ("anna", "bert/2", False),  # again
        ("anna", "bert/3", True),  # the folders decide
        ("otto", "anna/1", False),
        ("ulla", "anna/1", False),
        ("otto", "bert/9", False),
        ("bert", "bert/9", True),
    )
    found = validate_trials(trials, ROOT, SINGER_BY_PATH)
    counts = count_faults(found)
    names = ("left_out", "with_missing_singers", "missing_singers", "with_missing_files", "missing_files", "duplicates")
    assert [counts[f"num_{name}"] for name in names] == [5, 3, 2, 1, 1, 1]
    assert (counts["num_self_pairs"], counts["num_contradicting_labels"]) == (0, 1)
    assert collect_fault_examples(found)["missing_singers"] == ["otto", "ulla"]
    assert format_fault_messages(found)[1] == (
        "Trials of singers without a usable recording in corpus, left out: 3; such singers: 2 (otto; ulla)."
    )
    valid = select_valid_trials(trials, found)
    assert valid.left.tolist() == ["anna", "zoë", "anna", "anna"]
    assert valid.right.tolist() == ["val/anna/1.wav", "val/anna/1.wav", "val/bert/2.wav", "val/bert/3.wav"]
    assert valid.is_target.tolist() == [True, False, False, False]
    assert valid.singer_side == "left"


def test_a_copy_is_the_recording_that_it_sounds_like() -> None:
    trials = list_with(("anna", "val/anna/copy.wav", True), ("anna", "val/bert/1.wav", False))
    found = validate_trials(trials, ROOT, SINGER_BY_PATH, {"val/anna/copy.wav": "val/anna/2.wav"})
    models = index_singer_trials(select_valid_trials(trials, found), PATHS, SINGERS, SINGER_INDEX).models
    assert models is not None
    assert models.left_out.tolist() == [ABSENT, 2]


def test_a_singer_without_a_usable_recording_is_none_of_the_singers() -> None:
    trials = list_with(("anna", "anna/1", True), ("anna", "bert/1", False), ("zoë", "anna/1", False))
    unusable = {path for path, singer in SINGER_BY_PATH.items() if singer == "zoë"} | {"val/bert/1.wav"}
    found = validate_trials(trials, ROOT, SINGER_BY_PATH, unusable=unusable)
    assert (found.missing, found.missing_singers) == (("bert/1",), ("zoë",))
    assert found.is_missing.tolist() == [False, True, True]


def test_a_singer_without_another_recording_is_refused_by_name() -> None:
    trials = list_with(("anna", "val/anna/0.wav", True), ("anna", "val/bert/1.wav", False))
    valid = select_valid_trials(trials, validate_trials(trials, ROOT, SINGER_BY_PATH))
    with pytest.raises(SingerVerifyError, match=r"^anna: .* with val/anna/0.wav, the singer's only usable recording"):
        index_singer_trials(valid, ["val/anna/0.wav", "val/bert/1.wav"], SINGERS, np.array([0, 1]))


def test_lists_of_recordings_stay_so() -> None:
    paths = ["val/1/1.wav", "val/1/a.wav", "val/2/2.wav", "val/2/b.wav"]
    for rows in (
        [("1/a", "2/b", False), ("a", "1/1", True)],
        [("1", "2", False), ("2", "1", False)],  # the files 1.wav and 2.wav
        [("1", "a", True), ("b", "2", True)],
        [("1", "x", True), ("1/a", "2", True)],
    ):
        assert find_singer_side(list_with(*rows), ROOT, paths, {"1", "2"}) is None


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([("anna", "bert", False), ("bert", "bert", True)], r"both sides of the list name singers \(anna; bert\)"),
        (
            [("anna", "bert/1", False), ("bert/2", "anna", False)],
            "both sides of the list name singers",
        ),
        (
            [("anna", "bert/1", False), ("anna/2", "anna/1", True)],
            r"left side of the list names singers \(anna\) and recordings \(anna/2, which is val/anna/2.wav\)",
        ),
        (
            [("bert/1", "anna", False), ("bert/2", "carl", False)],
            "carl, on the right side of the list, may be the singer or the recording val/bert/carl.wav",
        ),
        ([("carl", "bert/1", False)], "carl, on the left side of the list, may be the singer or the recording"),
    ],
)
def test_what_may_mean_two_things_is_refused(rows: list[tuple[str, str, bool]], sentence: str) -> None:
    singer_by_path = SINGER_BY_PATH | {"val/bert/carl.wav": "bert", "val/carl/1.wav": "carl"}
    for trials, side in ((list_with(*rows), sentence), (swapped(list_with(*rows)), None)):
        with pytest.raises(SingerVerifyError, match=side):
            validate_trials(trials, ROOT, singer_by_path)


def test_a_list_of_other_recordings_is_refused() -> None:
    for rows, sentence in (
        ([("anna", "x/1.wav", True), ("anna", "y/1.wav", False)], "none of the 2 trials .* x/1.wav"),
        ([("otto", "anna/1", False), ("anna", "y/1", False)], "none of the 2 trials .* otto, .* not among the singers"),
        ([("anna", "anna/1", False), ("anna", "bert/1", True)], "the labels are reversed: 2 of 2"),
        ([("anna", "anna/1", True)], "all its 1 trials are target trials"),
    ):
        trials = list_with(*rows)
        with pytest.raises(SingerVerifyError, match=sentence):
            select_valid_trials(trials, validate_trials(trials, ROOT, SINGER_BY_PATH))
