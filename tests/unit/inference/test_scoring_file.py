"""The scoring of a model: kept as a file that knows its model, found in the run's folder, or told by the training."""

import itertools
import json
import logging
import re
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.tiny_run import make_corpus, run, tiny

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.scoring.calibration import Calibration
from singer_verify.evaluation.scoring.domains import DomainCentring
from singer_verify.evaluation.scoring.normalisation import Cohort
from singer_verify.evaluation.scoring.projection import Projection
from singer_verify.evaluation.scoring.scoring import COSINE, MultiEnrolmentCalibration, Scoring, Threshold
from singer_verify.evaluation.seen_singers import SeenSingers
from singer_verify.evaluation.trials.trial_list import build_all_pairs
from singer_verify.inference import load_model
from singer_verify.inference.scoring_file import find_scoring_path, load_model_scoring, load_scoring, save_scoring
from singer_verify.runs.checkpoints import compute_fingerprint, read_checkpoint
from singer_verify.runs.model_metadata import METADATA_KEY

OURS, THEIRS = "a" * 64, "b" * 64


def whole_scoring() -> Scoring:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(6, 3)).astype(np.float32)
    return Scoring(
        Projection(generator.normal(size=4).astype(np.float32), generator.normal(size=(4, 3)).astype(np.float32)),
        Cohort(rows / np.linalg.norm(rows, axis=1, keepdims=True), 4),
        Calibration(3.5, -1.25, "4 singers of x/val"),
        Threshold(0.1 + 0.2, "equal error rate on 4 singers of x/val"),
        calibration_singers=SeenSingers(frozenset({"a", "é"}), frozenset({-(2**63), 0, 2**63 - 1})),
        cohort_singers=SeenSingers(frozenset({"b"}), frozenset()),
        multi_enrolment=(
            MultiEnrolmentCalibration(3, Calibration(4.5, -2.25, "x/val, known from 3"), Threshold(0.4, "of three")),
        ),
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("data") / "corpus")


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    return run(pytest.MonkeyPatch(), *tiny(corpus), folder=folder)


@pytest.fixture
def model(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "run")


def test_a_file_holds_all_of_a_scoring(tmp_path: Path) -> None:
    path, scoring = tmp_path / "scoring.npz", whole_scoring()
    save_scoring(path, scoring, OURS)
    loaded = load_scoring(path, OURS)
    assert (loaded.calibration, loaded.threshold) == (scoring.calibration, scoring.threshold)
    assert loaded.threshold_singers is None
    assert (loaded.calibration_singers, loaded.cohort_singers) == (scoring.calibration_singers, scoring.cohort_singers)
    assert loaded.multi_enrolment == scoring.multi_enrolment
    assert loaded.cohort is not None
    assert loaded.cohort.num_nearest == 4
    embeddings = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    scores = [
        one.compute_score_matrix(one.prepare_embeddings(embeddings), one.prepare_embeddings(embeddings))
        for one in (scoring, loaded)
    ]
    np.testing.assert_array_equal(*scores)
    assert [file.name for file in tmp_path.iterdir()] == ["scoring.npz"]


@pytest.mark.parametrize("part", ["projection", "cohort", "calibration", "threshold"])
def test_what_a_scoring_lacks_stays_lacking(tmp_path: Path, part: str) -> None:
    save_scoring(tmp_path / "scoring.npz", replace(COSINE, **{part: getattr(whole_scoring(), part)}), OURS)
    loaded = load_scoring(tmp_path / "scoring.npz", OURS)
    assert [name for name, value in vars(loaded).items() if value != getattr(COSINE, name)] == [part]


def read_header(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as stored:
        header: dict[str, Any] = json.loads(str(stored["header"]))
    return header


def test_means_of_domains_are_kept(tmp_path: Path) -> None:
    """In a version of the file that earlier programs refuse: they would leave the means out."""
    path = tmp_path / "scoring.npz"
    means = {"song": np.array([0.5, 0.25, 0, 0], np.float32), "speech": np.array([0, 0, 0.5, -0.5], np.float32)}
    scoring = replace(whole_scoring(), centring=DomainCentring("style", means))
    save_scoring(path, scoring, OURS)
    loaded = load_scoring(path, OURS)
    assert loaded.centring is not None
    assert (loaded.centring.label, list(loaded.centring.means), loaded.centring.domain) == ("style", [*means], None)
    embeddings = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
    sides = [one.prepare_embeddings(embeddings, ["song", "speech", "song"]) for one in (scoring, loaded)]
    np.testing.assert_array_equal(sides[0].embeddings, sides[1].embeddings)
    assert loaded.cohort_singers == scoring.cohort_singers
    assert read_header(path)["version"] == 3
    save_scoring(path, whole_scoring(), OURS)
    assert read_header(path)["version"] == 2
    assert load_scoring(path, OURS).centring is None


@pytest.mark.parametrize(
    ("means", "changes"),
    [
        (np.zeros((3, 4), np.float32), {}),  # one more than there are domains
        (np.full((2, 4), np.nan, np.float32), {}),
        (np.zeros((2, 5), np.float32), {}),  # of another size than the projection takes
        (np.zeros((0, 4), np.float32), {"domains": []}),
        (np.zeros((2, 4), np.float32), {"domains": ["song", 1]}),
        (np.zeros((2, 4), np.float32), {"label": None}),
    ],
)
def test_damaged_means_of_domains_are_refused(tmp_path: Path, means: np.ndarray, changes: dict[str, Any]) -> None:
    path = tmp_path / "scoring.npz"
    zeros = {"song": np.zeros(4, np.float32), "speech": np.zeros(4, np.float32)}
    save_scoring(path, replace(whole_scoring(), centring=DomainCentring("style", zeros)), OURS)
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored) | {"domain_means": means, "header": np.array(json.dumps(read_header(path) | changes))}
    np.savez(path, **arrays)
    with pytest.raises(SingerVerifyError, match="is damaged, or no scoring"):
        load_scoring(path, OURS)


def test_another_models_file_is_refused(tmp_path: Path) -> None:
    save_scoring(tmp_path / "scoring.npz", whole_scoring(), OURS)
    with pytest.raises(SingerVerifyError, match=r"scoring.npz: was fitted to the embeddings of another model"):
        load_scoring(tmp_path / "scoring.npz", THEIRS)


def test_foreign_and_damaged_files_are_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "scoring.npz"
    with pytest.raises(SingerVerifyError, match="no such file; give a file that singer-verify calibrate wrote"):
        load_scoring(path, OURS)
    np.savez(path, paths=np.array(["a"]), embeddings=np.zeros((1, 4)))
    with pytest.raises(SingerVerifyError, match="is not a scoring of singer_verify"):
        load_scoring(path, OURS)
    np.savez(path, header=np.array(json.dumps({"kind": "gallery"})))
    with pytest.raises(SingerVerifyError, match="is not a scoring of singer_verify"):
        load_scoring(path, OURS)
    np.savez(path, header=np.array([{}], object))  # would be unpickled
    for content in (path.read_bytes(), b"", b"garbage", b"PK\x03\x04garbage", b"[1, 2]"):
        path.write_bytes(content)
        with pytest.raises(SingerVerifyError, match="is damaged, or no scoring"):
            load_scoring(path, OURS)
    np.save(path.with_suffix(".npy"), np.zeros(3))
    with pytest.raises(SingerVerifyError, match="is damaged, or no scoring"):
        load_scoring(path.with_suffix(".npy"), OURS)


@pytest.mark.slow
def test_no_damaged_byte_is_taken_for_another_scoring(tmp_path: Path) -> None:
    """Of a file with a wrong byte, either a sentence comes, or the same scoring: the byte was of no use."""
    path, scoring = tmp_path / "scoring.npz", whole_scoring()
    save_scoring(path, scoring, OURS)
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as entries:
        assert len(entries.namelist()) == 6
    num_refused = 0
    for place, is_bit in itertools.product(range(len(whole)), (True, False)):
        mask = 1 << place % 8 if is_bit else 0xFF
        path.write_bytes(whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :])
        try:
            loaded = load_scoring(path, OURS)
        except SingerVerifyError:
            num_refused += 1
        else:
            assert (loaded.calibration, loaded.threshold) == (scoring.calibration, scoring.threshold)
            assert loaded.projection is not None
            assert scoring.projection is not None
            assert loaded.cohort is not None
            assert scoring.cohort is not None
            np.testing.assert_array_equal(loaded.projection.mean, scoring.projection.mean)
            np.testing.assert_array_equal(loaded.projection.matrix, scoring.projection.matrix)
            np.testing.assert_array_equal(loaded.cohort.embeddings, scoring.cohort.embeddings)
    for length in range(0, len(whole), 101):
        path.write_bytes(whole[:length])
        with pytest.raises(SingerVerifyError):
            load_scoring(path, OURS)
    assert num_refused > len(whole)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("projection_mean", np.zeros(7, np.float32)),  # of another size than the matrix takes
        ("projection_matrix", np.full((4, 3), np.nan, np.float32)),
        ("cohort_rows", np.zeros((6, 3), int)),
        ("cohort_rows", np.ones((6, 4), np.float32)),  # of another size than projected rows
        ("cohort_rows", np.zeros((1, 3), np.float32)),
        ("calibration", {"slope": "steep", "offset": 0.0, "origin": ""}),
        ("calibration", {"slope": float("nan"), "offset": 0.0, "origin": ""}),
        ("calibration", {"slope": -1.0, "offset": 0.0, "origin": ""}),
        ("calibration", {"slope": 1.0}),
        ("threshold", None),
        ("several", [{"num_recordings": 3}]),
        ("several", [{"num_recordings": 3, "calibration": {"slope": -1.0, "offset": 0.0, "origin": ""}}]),
        ("several", 3),
        ("num_nearest", 2.5),
        ("cohort_singers", np.zeros((2, 2), np.int64)),
        ("cohort_singers", np.zeros(2)),
        ("cohort_singers", [1, 2]),
    ],
)
def test_values_that_make_no_scoring_are_refused(tmp_path: Path, name: str, value: object) -> None:
    path = tmp_path / "scoring.npz"
    save_scoring(path, whole_scoring(), OURS)
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    if isinstance(value, np.ndarray):
        arrays[name] = value
    else:
        arrays["header"] = np.array(json.dumps(json.loads(str(arrays["header"])) | {name: value}))
    np.savez(path, **arrays)
    with pytest.raises(SingerVerifyError, match="is damaged, or no scoring"):
        load_scoring(path, OURS)


def test_other_versions_are_named(tmp_path: Path) -> None:
    path = tmp_path / "scoring.npz"
    np.savez(path, header=np.array(json.dumps({"kind": "scoring of singer_verify", "version": 9})))
    with pytest.raises(SingerVerifyError, match="has format 9; this version reads 1"):
        load_scoring(path, OURS)


def test_a_fingerprint_is_of_what_embeddings_depend_on(trained: Path) -> None:
    best, last = (read_checkpoint(trained / f"checkpoints/{name}.ckpt") for name in ("best", "last"))
    assert re.fullmatch("[0-9a-f]{64}", compute_fingerprint(best))
    assert compute_fingerprint(best) == compute_fingerprint(read_checkpoint(trained / "saved_model.pt"))
    changed = read_checkpoint(trained / "checkpoints/best.ckpt")
    changed["state_dict"]["encoder.linear.bias"][0] += 1e-6
    recipe = best | {
        METADATA_KEY: best[METADATA_KEY] | {"recipe": best[METADATA_KEY]["recipe"] | {"trim_silence_db": 40.0}}
    }
    other_singers = best | {METADATA_KEY: best[METADATA_KEY] | {"train_singers": ["x"]}}
    assert len({compute_fingerprint(content) for content in (best, changed, recipe)}) == 3
    assert compute_fingerprint(best) == compute_fingerprint(other_singers)
    assert (compute_fingerprint(best) == compute_fingerprint(last)) == all(
        torch.equal(tensor, last["state_dict"][name])
        for name, tensor in best["state_dict"].items()
        if name.startswith("encoder.")
    )


def test_a_training_tells_its_threshold(trained: Path, corpus: Path, tmp_path: Path) -> None:
    """The checkpoint alone is enough; at its threshold, misses and false alarms are equally frequent."""
    best = json.loads((trained / "metrics.json").read_text())["best"]
    alone = shutil.copy(trained / "checkpoints/best.ckpt", tmp_path / "model.ckpt")
    threshold = load_model_scoring(load_model(alone)).threshold
    assert threshold is not None
    assert threshold.origin == "equal error rate on the 3 validation singers of its training"
    assert threshold.score == best["val/threshold"]
    loaded = load_model_scoring(load_model(trained))
    assert loaded == replace(COSINE, threshold=threshold, threshold_singers=loaded.threshold_singers)
    assert loaded.threshold_singers is not None
    assert loaded.threshold_singers.names == {"val0", "val1", "val2"}
    assert len(loaded.threshold_singers.recordings) == 9
    embedder, files = load_model(trained), sorted((corpus / "val").rglob("*.npy"))
    rows = np.stack([embedder.embed(file) for file in files])
    trials = build_all_pairs(np.unique([file.parent.name for file in files], return_inverse=True)[1])
    scores = (rows @ rows.T)[trials.left, trials.right]
    miss = (scores[trials.is_target] < threshold.score - 1e-6).mean()
    false_alarm = (scores[~trials.is_target] >= threshold.score + 1e-6).mean()
    assert miss <= best["val/eer"] + 1e-6
    assert false_alarm <= best["val/eer"] + 1e-6


def test_models_that_do_not_tell_have_no_threshold(trained: Path, tmp_path: Path) -> None:
    assert load_model_scoring(load_model(trained / "saved_model.pt")) == COSINE
    earlier = read_checkpoint(trained / "checkpoints/best.ckpt")
    del earlier["singer_verify_validation"]
    torch.save(earlier, tmp_path / "earlier.ckpt")
    assert load_model_scoring(load_model(tmp_path / "earlier.ckpt")) == COSINE
    unvalidated = earlier | {"global_step": 5}
    torch.save(unvalidated, tmp_path / "unvalidated.ckpt")
    assert load_model_scoring(load_model(tmp_path / "unvalidated.ckpt")) == COSINE
    assert load_model_scoring(load_model(tmp_path / "earlier.ckpt"), threshold=0.25).threshold == Threshold(
        0.25, "given"
    )
    with pytest.raises(SingerVerifyError, match="threshold=nan: expected a finite number"):
        load_model_scoring(load_model(trained), threshold=float("nan"))


def test_the_runs_scoring_is_found_and_a_given_one_comes_first(model: Path, tmp_path: Path) -> None:
    own = compute_fingerprint(read_checkpoint(model / "checkpoints/best.ckpt"))
    save_scoring(model / "scoring.npz", replace(COSINE, threshold=Threshold(0.7, "of the run")), own)
    save_scoring(tmp_path / "other.npz", replace(COSINE, threshold=Threshold(0.8, "of another file")), own)
    for path in (model, model / "checkpoints/best.ckpt", model / "saved_model.pt"):
        assert find_scoring_path(path) == model / "scoring.npz"
        assert load_model_scoring(load_model(path)).threshold == Threshold(0.7, "of the run")
    assert load_model_scoring(load_model(model), tmp_path / "other.npz").threshold == Threshold(0.8, "of another file")
    assert load_model_scoring(load_model(model), tmp_path / "other.npz", 0.9).threshold == Threshold(0.9, "given")
    with pytest.raises(SingerVerifyError, match="no such file"):
        load_model_scoring(load_model(model), tmp_path / "missing.npz")
    assert find_scoring_path(Path(shutil.copy(model / "checkpoints/best.ckpt", tmp_path / "a.ckpt"))) is None


def test_a_scoring_for_another_model_is_never_used(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_scoring(model / "scoring.npz", whole_scoring(), THEIRS)
    with pytest.raises(SingerVerifyError, match="to another model than the run's best; calibrate it again, or delete"):
        load_model_scoring(load_model(model))
    with caplog.at_level(logging.WARNING), pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging.getLogger("singer_verify"), "propagate", True)
        assert load_model_scoring(load_model(model / "checkpoints/last.ckpt")).calibration is None
    assert "belongs to another checkpoint" in caplog.text
    with pytest.raises(SingerVerifyError, match="was fitted to the embeddings of another model"):
        load_model_scoring(load_model(model), model / "scoring.npz")


def test_a_given_threshold_takes_the_place_of_all(model: Path) -> None:
    own = compute_fingerprint(read_checkpoint(model / "checkpoints/best.ckpt"))
    save_scoring(model / "scoring.npz", replace(whole_scoring(), projection=None, cohort=None), own)
    assert load_model_scoring(load_model(model)).with_enrolment_size(5).threshold == Threshold(0.4, "of three")
    loaded = load_model_scoring(load_model(model), threshold=0.9)
    assert {loaded.with_enrolment_size(number).threshold for number in (1, 2, 3, 5)} == {Threshold(0.9, "given")}
    assert loaded.with_enrolment_size(3).calibration == Calibration(4.5, -2.25, "x/val, known from 3")
