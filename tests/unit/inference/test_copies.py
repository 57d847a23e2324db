"""Copies of recordings in what is evaluated: left out, reported, refused; and recognised wherever they were seen."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from support.audio import MakeCorpus, sing
from support.untrained_model import make_run

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.results import EvaluationResult
from singer_verify.evaluation.scoring.scoring import COSINE, Threshold
from singer_verify.evaluation.seen_singers import TRAINING, SeenSingers, SingerOverlap
from singer_verify.evaluation.trials.trial_list import TrialList
from singer_verify.evaluation.trials.validation import count_faults, select_valid_trials, validate_trials
from singer_verify.inference import load_model
from singer_verify.inference.evaluation import embed_split, evaluate
from singer_verify.inference.evaluation_context import build_evaluation_context
from singer_verify.inference.model import Model
from singer_verify.inference.scoring_file import load_scoring, save_scoring
from singer_verify.inference.verification import verify
from singer_verify.runs.model_metadata import METADATA_KEY, METADATA_VERSION, ModelMetadata


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load_model(make_run(tmp_path / "run"))


def add_copies(root: Path) -> list[Path]:
    """Copies of the first song of each singer of `val`, in the same format and in another."""
    copies = []
    for singer in sorted((root / "val").iterdir()):
        copies.append(shutil.copy(singer / "song0.flac", singer / "song0 (1).flac"))
        samples, rate = soundfile.read(singer / "song0.flac", dtype="int16")
        soundfile.write(singer / "take.wav", samples, rate)
        copies.append(singer / "take.wav")
    return copies


def count_trials(result: EvaluationResult) -> tuple[int, int]:
    return result.conditions[0].num_targets, result.conditions[0].num_nontargets


def test_copies_leave_the_metrics_as_they_are(
    make_corpus: MakeCorpus, model: Model, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_corpus(val=3, utterances=4)
    before = evaluate(model, root, conditions="none", num_resamples=20)
    add_copies(root)
    after = evaluate(model, root, conditions="none", num_resamples=20)
    assert count_trials(after) == count_trials(before) == (18, 48)
    np.testing.assert_equal(vars(after.metrics["eer"]), vars(before.metrics["eer"]))
    assert "song0 (1).flac: the same recording as val/val_singer0/song0.flac, which is kept." in caplog.text
    assert "6 of 18 files skipped" in caplog.text


def test_a_recording_of_two_singers_is_refused(make_corpus: MakeCorpus, model: Model) -> None:
    root = make_corpus()
    shutil.copy(root / "val/val_singer0/song0.flac", root / "val/val_singer1/x.flac")
    with pytest.raises(
        SingerVerifyError, match=r"val_singer0/song0.flac and .*val_singer1/x.flac: the same recording u"
    ):
        evaluate(model, root, conditions="none")


def test_trials_of_copies_are_left_out_of_a_list(
    make_corpus: MakeCorpus, model: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = make_corpus(utterances=2)
    add_copies(root)
    trials = [
        "1 val_singer0/song0.flac val_singer0/song1.flac",
        "0 val_singer0/song0.flac val_singer1/song1.flac",
        "1 val_singer0/song0.flac val_singer0/take.wav",  # itself
        "1 val_singer0/song1.flac val_singer0/take.wav",  # the first again
        "0 val_singer0/song1.flac val_singer1/take.wav",
    ]
    (tmp_path / "list.txt").write_text("\n".join(trials) + "\n")
    result = evaluate(model, root, trials=tmp_path / "list.txt", conditions="none", num_resamples=20)
    assert count_trials(result) == (1, 2)
    assert "Trials of a recording against itself, left out: 1 (val/val_singer0/song0.flac)" in caplog.text
    assert "Trials that repeat an earlier one in either order, left out: 1" in caplog.text


def test_worked_example_of_a_list_with_copies() -> None:
    singers = {"val/a/1": "a", "val/a/2": "a", "val/b/1": "b"}
    copies = {"val/a/copy": "val/a/1", "val/b/copy": "val/b/1"}
    left = ["a/1", "a/copy", "a/copy", "a/1", "b/copy", "b/1", "a/copy"]
    right = ["a/copy", "a/2", "b/copy", "b/1", "b/copy", "a/2", "gone"]
    trials = TrialList(np.array(left, object), np.array(right, object), np.array([1, 1, 0, 0, 1, 0, 0], bool))
    validation = validate_trials(trials, Path("corpus"), singers, copies)
    assert validation.is_self_pair.tolist() == [True, False, False, False, True, False, False]
    assert validation.is_duplicate.tolist() == [False, False, False, True, False, False, False]
    assert count_faults(validation)["num_with_missing_files"] == 1
    kept = select_valid_trials(trials, validation)
    assert list(zip(kept.left, kept.right, strict=True)) == [
        ("val/a/1", "val/a/2"),
        ("val/a/1", "val/b/1"),
        ("val/b/1", "val/a/2"),
    ]


def test_two_files_of_one_recording_are_remarked(model: Model, tmp_path: Path) -> None:
    samples = (sing(0) * 32767).astype(np.int16)
    for name, sound in (("a.wav", samples), ("a.flac", samples), ("b.flac", samples[::-1])):
        soundfile.write(tmp_path / name, sound, 16_000)
    remarks = [verify(model, COSINE, tmp_path / "a.wav", tmp_path / name).remarks for name in ("a.flac", "b.flac")]
    assert "both sides are the same recording." in remarks[0]
    assert "both sides are the same recording." not in remarks[1]


def with_training(model: Model, recordings: list[int], version: int = METADATA_VERSION) -> Model:
    assert model.checkpoint is not None
    metadata = replace(model.checkpoint.metadata, recordings={"train": torch.tensor(recordings)})
    seen = ModelMetadata.from_dict(metadata.to_dict() | {"version": version})
    model.checkpoint.content[METADATA_KEY] = seen.to_dict()
    object.__setattr__(model.checkpoint, "metadata", seen)
    return model


def test_seen_recordings_are_recognised_in_another_format(make_corpus: MakeCorpus, model: Model) -> None:
    root = make_corpus()
    contents = embed_split(model, root, "val").contents
    assert len(set(contents.tolist())) == 6
    for path in (root / "val/val_singer0").iterdir():
        samples, rate = soundfile.read(path, dtype="int16")
        soundfile.write(path.with_suffix(".wav"), np.stack([samples, samples], 1), rate)
        path.unlink()
    utterances = embed_split(model, root, "val")
    assert utterances.contents.tolist() == contents.tolist()
    context = build_evaluation_context(with_training(model, contents[:1].tolist()), root, "val", COSINE, utterances)
    assert context.overlaps[TRAINING] == SingerOverlap(2, 1, 0)


def test_identities_of_an_earlier_version_are_compared_with_nothing(make_corpus: MakeCorpus, model: Model) -> None:
    """They were equal for clips padded with silence, so that strangers were taken for training singers."""
    root = make_corpus()
    utterances = embed_split(model, root, "val")
    earlier = with_training(model, utterances.contents.tolist(), version=2)
    context = build_evaluation_context(earlier, root, "val", COSINE, utterances)
    assert context.overlaps[TRAINING] == SingerOverlap(2, 0, 0)
    assert earlier.checkpoint is not None
    assert earlier.checkpoint.metadata.train_singers == ("a", "b")


def test_a_scoring_of_an_earlier_version_keeps_names_alone(tmp_path: Path) -> None:
    scoring = replace(COSINE, threshold=Threshold(0.5, "x"), threshold_singers=SeenSingers.from_names(["a"], [7]))
    path = tmp_path / "scoring.npz"
    save_scoring(path, scoring, "f")
    assert load_scoring(path, "f").threshold_singers == SeenSingers(frozenset("a"), frozenset({7}))
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays["header"] = np.array(str(arrays["header"]).replace('"version": 2', '"version": 1'))
    np.savez(path, **arrays)
    assert load_scoring(path, "f").threshold_singers == SeenSingers(frozenset("a"), frozenset())


def test_a_checkpoint_of_the_earlier_version_is_read(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    path = run / "checkpoints/best.ckpt"
    content = torch.load(path, weights_only=True)
    content[METADATA_KEY] |= {"version": 2, "recordings": {"train": torch.tensor([1, 2])}}
    torch.save(content, path)
    embedded = load_model(run)
    assert embedded.checkpoint is not None
    assert embedded.checkpoint.metadata.recordings == {}
    content[METADATA_KEY]["version"] = 1
    torch.save(content, path)
    with pytest.raises(SingerVerifyError, match="has format 1; this version reads 2 and 3"):
        load_model(run)
