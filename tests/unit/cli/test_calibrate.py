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


@pytest.fixture
def two_styles(corpus: Path) -> Path:
    """The corpus with a table that tells its styles, which lie apart."""
    lines = ["utterance,style"]
    for split in ("train", "val"):
        for path in sorted((corpus / split).rglob("*.npy")):
            for number, style in ((3, "speech"), (4, "song")):
                frames = np.load(path) + (2.0 if style == "speech" else -1.0) * np.eye(NUM_BINS, dtype=np.float32)[0]
                new = path.with_name(f"{path.stem}{number}.npy")
                np.save(new, frames)
                lines.append(f"{new.relative_to(corpus).as_posix()},{style}")
            path.unlink()
    (corpus / "corpus.csv").write_text("\n".join(lines))
    return corpus


def test_embeddings_are_centred_by_domain(model: Path, two_styles: Path) -> None:
    before = json.loads(call("evaluate", model, two_styles, "--resamples", 20, "--json"))["metrics"]["eer"]["value"]
    printed = json.loads(call("calibrate", model, two_styles, "--centre-by", "style", "--json"))
    assert printed["domains"] == ["song", "speech"]
    assert printed["num_cohort_utterances"] == 36
    scoring = load_model_scoring(load_model(model))
    assert scoring.centring is not None
    rows, _ = embedded(model, two_styles / "train")
    is_song = np.array([path.stem.endswith("4") for path in sorted((two_styles / "train").rglob("*.npy"))])
    np.testing.assert_allclose(scoring.centring.means["song"], rows[is_song].mean(axis=0), atol=1e-5)
    evaluated = json.loads(call("evaluate", model, two_styles, "--resamples", 20, "--json"))
    assert evaluated["metrics"]["eer"]["value"] == pytest.approx(printed["eer"], abs=1e-6)
    assert printed["eer"] < before == pytest.approx(printed["eer_cosine"], abs=1e-6)
    assert "centred by style (song, speech)" in evaluated["scoring"]
    assert "after centring by style (song, speech)" in call("calibrate", model, two_styles, "--centre-by", "style")


def test_the_domain_must_be_known(model: Path, two_styles: Path) -> None:
    song, speech = (next((two_styles / "val/val0").glob(f"*{number}.npy")) for number in (4, 3))
    said = refusal("verify", model, song, speech, "--domain", "song")
    assert said.startswith(
        "domain=song: has no effect, because the scoring does not centre by domain; fit one that does"
    )
    call("calibrate", model, two_styles, "--centre-by", "style")
    assert "name one of them with --domain" in refusal("verify", model, song, song)
    assert "domain=rap: the scoring centres by style; expected one of song, speech." in refusal(
        "verify", model, song, song, "--domain", "rap"
    )
    call("verify", model, song, song, "--domain", "song")
    table = (two_styles / "corpus.csv").read_text()
    (two_styles / "corpus.csv").write_text(table.replace("speech", "rap"))
    assert "style: rap (12) among the recordings; the scoring centres embeddings of song, speech only" in refusal(
        "evaluate", model, two_styles
    )
    call("evaluate", model, two_styles, "--domain", "speech", "--resamples", 20)


def test_what_cannot_be_centred_by_is_refused(model: Path, two_styles: Path, tmp_path: Path) -> None:
    assert "corpus.csv has the labels style; expected a column singer_style." in refusal(
        "calibrate", model, two_styles, "--centre-by", "singer_style"
    )
    table = (two_styles / "corpus.csv").read_text()
    few = table.replace("train4/24.npy,song", "train4/24.npy,rap").replace("train5/24.npy,song", "train5/24.npy,rap")
    (two_styles / "corpus.csv").write_text(few)
    assert "style: rap has 2 utterances by 2 singers; expected at least 10 utterances by 2 singers" in refusal(
        "calibrate", model, two_styles, "--centre-by", "style"
    )
    shutil.copytree(two_styles / "train", tmp_path / "others")
    assert "has no labels; expected a column style" in refusal(
        "calibrate", model, two_styles, "--centre-by", "style", "--cohort", tmp_path / "others"
    )


@pytest.fixture
def two_corpora(corpus: Path) -> tuple[Path, Path]:
    """Two corpora with singers of the same names, whose recordings lie apart."""
    noise = np.random.default_rng(3)
    other = corpus.with_name("other")
    shutil.copytree(corpus, other)
    for path in sorted(other.rglob("*.npy")):
        frames = np.load(path) + noise.normal(0, 0.8, NUM_BINS) + 4.0 * np.eye(NUM_BINS)[0]
        np.save(path, frames.astype(np.float32))
    return corpus, other


def test_several_corpora_are_centred_by_corpus(
    model: Path, two_corpora: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Singers are named after their corpus, and each corpus is scored about its own mean."""
    corpus, other = two_corpora
    printed = json.loads(call("calibrate", model, corpus, other, "--centre-by", "corpus", "--json"))
    assert printed["domains"] == ["corpus", "other"]
    assert (printed["num_singers"], printed["num_cohort_singers"]) == (8, 12)
    assert printed["origin"] == "8 singers of corpus/val, other/val"
    scoring = load_model_scoring(load_model(model))
    assert scoring.centring is not None
    for folder in two_corpora:
        rows, singers = embedded(model, folder / "train")
        np.testing.assert_allclose(scoring.centring.means[folder.name], rows.mean(axis=0), atol=1e-5)
        rows, singers = embedded(model, folder / "val")
        trials = build_all_pairs(singers)
        sides = scoring.prepare_embeddings(rows, [folder.name] * len(rows))
        scores = scoring.compute_score_matrix(sides, sides)[trials.left, trials.right]
        for options in ((), ("--domain", folder.name), ("--conditions", "none")):
            evaluated = json.loads(call("evaluate", model, folder, "--resamples", 20, "--json", *options))
            assert evaluated["metrics"]["eer"]["value"] == pytest.approx(compute_eer(scores, trials.is_target)[0])
    assert "8 of 8 singers" not in caplog.text
    third = other.rename(other.with_name("third"))
    assert "corpus: third (12) among the recordings; the scoring centres embeddings of corpus, other only" in refusal(
        "evaluate", model, third
    )
    call("evaluate", model, third, "--domain", "other", "--resamples", 20)


def test_a_table_may_name_the_corpus_of_an_utterance(model: Path, two_corpora: tuple[Path, Path]) -> None:
    corpus, other = two_corpora
    singers = "".join(f"train{number},studio\nval{number % 4},studio\n" for number in range(0, 6, 2))
    (other / "corpus.csv").write_text(f"singer,corpus\n{singers}")
    centred = ("calibrate", model, corpus, other, "--centre-by", "corpus", "--json")
    assert "other has 9 utterances by 3 singers; studio has 9 utterances by 3 singers; expected at least 10" in refusal(
        *centred
    )
    (other / "corpus.csv").write_text(f"singer,corpus\n{singers}train1,studio\n")
    assert "other has 6 utterances by 2 singers; expected at least 10" in refusal(*centred)
    (other / "corpus.csv").write_text("singer,gender\ntrain0,f\nval0,m\n")
    assert json.loads(call(*centred))["domains"] == ["corpus", "other"]


def test_several_corpora_are_told_apart(model: Path, two_corpora: tuple[Path, Path], tmp_path: Path) -> None:
    corpus, other = two_corpora
    alone = json.loads(call("calibrate", model, corpus, "--centre-by", "corpus", "--json"))
    assert (alone["domains"], alone["num_singers"]) == (["corpus"], 4)
    both = json.loads(call("calibrate", model, corpus, other, "--norm", "s-norm", "--json"))
    assert (both["num_singers"], both["num_cohort_singers"], both["domains"]) == (8, 12, [])
    named = call("calibrate", model, corpus, other, "--norm", "s-norm", "--cohort", corpus, "--cohort", other, "--json")
    assert json.loads(named) == both
    shutil.copytree(corpus, tmp_path / "elsewhere/corpus")
    for second in (corpus, tmp_path / "elsewhere/corpus"):
        assert f"{corpus} and {second}: two corpora are in folders named corpus; singers are named after" in refusal(
            "calibrate", model, corpus, second
        )
    assert "corpus: corpus (12) among the recordings; the scoring centres embeddings of other only" in refusal(
        "calibrate", model, corpus, "--centre-by", "corpus", "--cohort", other
    )
    shutil.copytree(other / "train", tmp_path / "singers/other")
    printed = call("calibrate", model, other, "--centre-by", "corpus", "--cohort", tmp_path / "singers/other", "--json")
    assert json.loads(printed)["domains"] == ["other"]
