"""Trainings with augmented crops run, and a stopped one continues exactly."""

import pytest
import soundfile
from hydra.errors import InstantiationException
from support.audio import sing
from support.resuming import stopped_and_continued, unlike
from support.tiny_run import run, tiny

EVERYTHING = (
    *("data.on_the_fly=true", "augmentation=strong", "data.num_frames=20", "trainer.max_steps=8"),
    *(f"augmentation.samples.{name}.p=0.9" for name in ("pitch", "formants", "reverberation", "noise", "time_masking")),
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("corpus") / "sung"
    for split, num_singers in (("train", 4), ("val", 3)):
        for singer in range(num_singers):
            folder = root / split / f"{split}{singer}"
            folder.mkdir(parents=True)
            for utterance in range(2):
                samples = sing(100 * num_singers + 10 * singer + utterance, 0.6 + 0.1 * utterance)
                soundfile.write(folder / f"{utterance}.wav", samples, 16_000)
    return root


@pytest.mark.slow
def test_a_training_with_all_augmentations_continues_exactly(monkeypatch, tmp_path, corpus):
    whole = run(monkeypatch, *tiny(corpus), *EVERYTHING, folder=tmp_path / "whole")
    folder = stopped_and_continued(monkeypatch, tmp_path / "stopped", "in the middle of a cycle", corpus, *EVERYTHING)
    assert unlike(whole, folder) == []


def test_masks_work_on_stored_frames(monkeypatch, tmp_path, corpus):
    run(monkeypatch, *tiny(corpus), "augmentation=spec_augment", "trainer.max_steps=2", folder=tmp_path)


def test_refuses_augmented_samples_of_stored_frames(monkeypatch, tmp_path, corpus):
    with pytest.raises(InstantiationException, match=r"set data\.on_the_fly=true"):
        run(monkeypatch, *tiny(corpus), "augmentation=seed", folder=tmp_path)
