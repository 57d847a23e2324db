"""The command `calibrate`: what it fits, writes and prints, and what it refuses."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from support.cli import call, refusal
from support.tiny_run import NUM_BINS, make_corpus

from singer_verify.encoders.statistics import StatisticsEncoder
from singer_verify.evaluation.metrics.error_rates import compute_eer
from singer_verify.evaluation.scoring.calibration import fit_calibration
from singer_verify.evaluation.trials.trial_list import build_all_pairs
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.inference import load_model
from singer_verify.inference.scoring_file import load_model_scoring
from singer_verify.runs.model_metadata import METADATA_KEY, ModelMetadata


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The run folder of a model that needs no training."""
    encoder = StatisticsEncoder(NUM_BINS)
    recipe = PrecomputedFeature({"num_feats": NUM_BINS, "sr": 16000, "hop_size": 160}).recipe
    card = ModelMetadata(recipe, encoder.settings, 30, ("a", "b"))
    folder = tmp_path / "run/checkpoints"
    folder.mkdir(parents=True)
    torch.save({"state_dict": {}, METADATA_KEY: card.to_dict(), "global_step": 0}, folder / "best.ckpt")
    return tmp_path / "run"


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Singers so near to one another that some trials are decided wrong."""
    root = make_corpus(tmp_path / "corpus", num_train=6, num_val=4)
    generator = np.random.default_rng(1)
    for path in sorted(root.rglob("*.npy")):
        np.save(path, np.load(path) + generator.normal(0, 0.8, NUM_BINS).astype(np.float32))
    return root


def embedded(model: Path, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    embedder, files = load_model(model), sorted(folder.rglob("*.npy"))
    rows = np.stack([embedder.embed(file) for file in files])
    return rows, np.unique([file.parent.name for file in files], return_inverse=True)[1]


def test_calibration_and_threshold_are_those_of_all_pairs(model: Path, corpus: Path) -> None:
    printed = call("calibrate", model, corpus, "--prior", "0.1")
    rows, singers = embedded(model, corpus / "val")
    trials = build_all_pairs(singers)
    scores = (rows @ rows.T)[trials.left, trials.right]
    expected = fit_calibration(scores, trials.is_target, "4 singers of corpus/val", 0.1)
    fitted = load_model_scoring(load_model(model))
    assert fitted.projection is fitted.cohort is None
    assert fitted.calibration is not None
    assert fitted.calibration.slope == pytest.approx(expected.slope, rel=1e-3)
    assert fitted.calibration.offset == pytest.approx(expected.offset, rel=1e-3)
    assert fitted.calibration.origin == expected.origin
    assert fitted.threshold is not None
    assert fitted.threshold.score == pytest.approx(compute_eer(scores, trials.is_target)[1], abs=1e-6)
    assert fitted.threshold.origin == "equal error rate on 4 singers of corpus/val"
    caution = "with other singers, threshold and ratios would differ"
    for word in ("Cllr", "before calibration", "at best", caution, "scoring.npz"):
        assert word in " ".join(printed.replace("│", " ").split())


def test_plain_cosine_can_be_asked_for_after_a_calibration(model: Path, corpus: Path) -> None:
    def evaluate(*options: object) -> dict:
        return json.loads(
            call("evaluate", model, corpus, "--resamples", 20, "--conditions", "none", *options, "--json")
        )

    before = evaluate()
    call("calibrate", model, corpus, "--project", "whiten", "--norm", "s-norm")
    assert evaluate()["metrics"] != before["metrics"]
    assert evaluate("--scoring", "cosine") == before
    assert "no such file; give a file that singer-verify calibrate wrote, or cosine." in refusal(
        "evaluate", model, corpus, "--scoring", "sine"
    )


def test_singers_known_from_several_recordings_are_fitted_too(model: Path, corpus: Path) -> None:
    assert json.loads(call("calibrate", model, corpus, "--json"))["several"] == []  # three recordings of each
    generator = np.random.default_rng(2)
    for path in sorted((corpus / "val").rglob("0.npy")):
        for number in range(3, 12):
            frames = np.load(path) + generator.normal(0, 0.8, NUM_BINS).astype(np.float32)
            np.save(path.with_name(f"{number}.npy"), frames)
    figures = json.loads(call("calibrate", model, corpus, "--json"))["several"]
    several = load_model_scoring(load_model(model)).multi_enrolment
    assert [figure["num_recordings"] for figure in figures] == [2, 3]
    assert [calibrated.num_recordings for calibrated in several] == [2, 3]
    for figure, calibrated in zip(figures, several, strict=True):
        assert (figure["threshold"], figure["slope"]) == (calibrated.threshold.score, calibrated.calibration.slope)
        assert figure["num_trials_used"] == 10 * 4 * 4 * (12 - calibrated.num_recordings)
    printed = " ".join(call("calibrate", model, corpus).replace("│", " ").split())
    assert f"known from 3 threshold {several[1].threshold.score:.4f}, EER" in printed


@pytest.mark.parametrize(
    ("options", "num_dims", "num_nearest"),
    [
        (("--project", "lda", "--dims", "3"), 3, None),
        (("--project", "whiten", "--norm", "s-norm"), 10, None),
        (("--project", "centre", "--norm", "as-norm", "--nearest", "5"), 10, 5),
        (("--norm", "as-norm"), None, 4),
    ],
)
def test_everything_that_was_fitted_is_kept(
    model: Path,
    corpus: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    num_dims: int | None,
    num_nearest: int | None,
) -> None:
    out = tmp_path / "other.npz"
    figures = json.loads(call("calibrate", model, corpus, *options, "--out", out, "--json"))
    assert (figures["num_dims"], figures["num_nearest"], figures["num_singers"]) == (num_dims, num_nearest, 4)
    assert (figures["num_cohort_singers"], figures["num_cohort_utterances"]) == (6, 18)
    assert figures["min_cllr"] <= figures["cllr"] <= figures["cllr_uncalibrated"] + 1e-9
    scoring = load_model_scoring(load_model(model), out)
    rows, singers = embedded(model, corpus / "val")
    trials, sides = build_all_pairs(singers), scoring.prepare_embeddings(rows)
    scores = scoring.compute_score_matrix(sides, sides)[trials.left, trials.right]
    eer, threshold = compute_eer(scores, trials.is_target)
    assert figures["eer"] == pytest.approx(eer)
    assert scoring.threshold is not None
    assert scoring.threshold.score == figures["threshold"] == pytest.approx(threshold, rel=1e-3, abs=1e-4)
    assert not (model / "scoring.npz").exists()


def test_a_cohort_may_be_another_corpus_or_a_folder_of_singers(model: Path, corpus: Path, tmp_path: Path) -> None:
    shutil.copytree(corpus / "train", tmp_path / "singers")
    shutil.copytree(corpus / "train", tmp_path / "corpus2/test")
    own, folder, other = (
        json.loads(call("calibrate", model, corpus, "--norm", "s-norm", "--json", *options))
        for options in (
            (),
            ("--cohort", tmp_path / "singers"),
            ("--cohort", tmp_path / "corpus2", "--cohort-split", "test"),
        )
    )
    assert own["num_cohort_singers"] == 6
    assert own == folder == other


def test_singers_of_the_training_are_said(model: Path, corpus: Path, caplog: pytest.LogCaptureFixture) -> None:
    checkpoint = torch.load(model / "checkpoints/best.ckpt", weights_only=True)
    checkpoint[METADATA_KEY]["train_singers"] = ["corpus/val1", "train0"]
    torch.save(checkpoint, model / "checkpoints/best.ckpt")
    with caplog.at_level(logging.WARNING):
        call("calibrate", model, corpus)
    assert "1 of 4 singers have the names of singers the model was trained on" in caplog.text


def test_refusals(model: Path, corpus: Path, tmp_path: Path) -> None:
    best, alone = model / "checkpoints/best.ckpt", tmp_path / "alone.ckpt"
    shutil.copy(best, alone)
    shutil.copy(best, model / "checkpoints/last.ckpt")
    for other in (alone, model / "checkpoints/last.ckpt"):
        assert "is not the best model of a run folder" in refusal("calibrate", other, corpus)
    assert "expected a file name that ends in .npz" in refusal("calibrate", model, corpus, "--out", tmp_path / "a.csv")
    assert "no such folder" in refusal("calibrate", model, corpus, "--out", tmp_path / "nowhere/a.npz")
    assert "--project=pca: expected one of none, centre" in refusal("calibrate", model, corpus, "--project", "pca")
    assert "--norm=z: expected one of none, s-norm" in refusal("calibrate", model, corpus, "--norm", "z")
    assert "--prior=1.0: expected a number between" in refusal("calibrate", model, corpus, "--prior", "1")
    assert "has no effect without --project lda" in refusal("calibrate", model, corpus, "--dims", 2)
    assert "has no effect without --norm as-norm" in refusal(
        "calibrate", model, corpus, "--nearest", 2, "--norm", "s-norm"
    )
    assert "has no effect without --project or --norm" in refusal("calibrate", model, corpus, "--cohort", corpus)
    with_lda = ("calibrate", model, corpus, "--project", "lda")
    assert "6 singers with embeddings of 10 dimensions allow at most 5 dimensions, but num_dims=6" in refusal(
        *with_lda, "--dims", 6
    )
    adaptive = ("calibrate", model, corpus, "--norm", "as-norm")
    assert "the nearest 99 of a cohort of 18 utterances" in refusal(*adaptive, "--nearest", 99)
    shared = refusal(*adaptive, "--cohort-split", "val")
    assert "val0, val1, val2, val3: both evaluated and in the cohort" in shared
    assert "not in a singer's folder" in refusal(*adaptive, "--cohort", corpus / "train/train0")
    assert not (model / "scoring.npz").exists()
