"""Silence cut off and unvoiced frames left out: against librosa, and the same wherever frames are made."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch
from hydra.errors import HydraException
from support.audio import MakeCorpus, sing
from support.train_process import train

from singer_verify.corpora.corpus import read_corpus
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.f0 import detect_voiced_frames
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.features.recipe import build_feature
from singer_verify.features.resemblyzer import Resemblyzer
from singer_verify.features.trimming import TrimmedFeature, find_trim_bounds, with_trimming
from singer_verify.inference import load_model
from singer_verify.runs.checkpoints import read_checkpoint
from singer_verify.runs.model_metadata import METADATA_KEY
from singer_verify.store.extraction import load_or_compute_store
from singer_verify.store.utterance_frames import extract_frames

RATE = 16_000
CLICK = np.eye(1, RATE, 8000, dtype=np.float32)[0]


def surrounded(seconds: float = 1.0, before: float = 0.5, after: float = 0.3, level: float = 1e-4) -> np.ndarray:
    """Singing with quiet noise before and after it."""
    noise = np.random.default_rng(9).normal(0, level, round((before + seconds + after) * RATE)).astype(np.float32)
    start = round(before * RATE)
    noise[start : start + round(seconds * RATE)] += sing(3, seconds)
    return noise


def without_outer_silence(samples: torch.Tensor, sample_rate: int, trim_silence_db: float) -> torch.Tensor:
    first, end = find_trim_bounds(samples, sample_rate, trim_silence_db)
    return samples[first:end]


def pulses(f0_hz: float, seconds: float) -> np.ndarray:
    time_s = np.arange(round(seconds * RATE)) / RATE
    return sum(np.sin(2 * np.pi * k * f0_hz * time_s) / k for k in range(1, 11)).astype(np.float32) * 0.2


@pytest.mark.parametrize("trim_silence_db", [20.0, 40.0, 60.0])
@pytest.mark.parametrize("samples", [surrounded(), sing(1), surrounded(0.2, 0.0, 1.0), np.ones(500, np.float32)])
def test_silence_is_cut_off_as_librosa_does(samples: np.ndarray, trim_silence_db: float) -> None:
    expected, _ = librosa.effects.trim(samples, top_db=trim_silence_db, frame_length=1024, hop_length=256)
    trimmed = without_outer_silence(torch.from_numpy(samples), RATE, trim_silence_db)
    np.testing.assert_array_equal(trimmed.numpy(), expected)


def test_the_level_of_a_recording_does_not_matter_and_inner_silence_stays() -> None:
    sung, silence = torch.from_numpy(pulses(220, 0.5)), torch.zeros(RATE)
    samples = torch.cat([silence, sung, silence, sung, silence])
    trimmed = without_outer_silence(samples, RATE, 40.0)
    assert 2 * RATE <= len(trimmed) <= 2.1 * RATE
    assert torch.equal(without_outer_silence(samples / 1024, RATE, 40.0), trimmed / 1024)


def test_voiced_frames_are_those_with_a_pitch() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, RATE).astype(np.float32)
    samples = np.concatenate([noise, pulses(220, 1.0), noise])
    voiced = detect_voiced_frames(torch.from_numpy(samples), RATE, 10.0, 301).numpy()
    assert voiced[105:195].all()
    assert voiced[:90].mean() < 0.1
    assert voiced[210:].mean() < 0.1
    longer = detect_voiced_frames(torch.from_numpy(samples), RATE, 10.0, 340).numpy()
    np.testing.assert_array_equal(longer, np.concatenate([voiced, np.zeros(39, bool)]))


def test_only_voiced_frames_are_left() -> None:
    samples = torch.from_numpy(np.concatenate([np.zeros(RATE, np.float32), pulses(150, 1.0)]))
    frames, voiced = MelSpectrogram(40)(samples), detect_voiced_frames(samples, RATE, 10.0, 201)
    assert torch.equal(TrimmedFeature(MelSpectrogram(40), None, True)(samples), frames[voiced])
    assert 80 < int(voiced.sum()) < 105


def test_frames_are_those_of_the_trimmed_recording() -> None:
    samples = torch.from_numpy(surrounded())
    kept = without_outer_silence(samples, RATE, 40.0)
    for feature in (MelSpectrogram(40), Resemblyzer()):
        assert torch.equal(TrimmedFeature(feature, 40.0, False)(samples), feature(kept))
    both = TrimmedFeature(MelSpectrogram(40), 40.0, True)(samples)
    assert torch.equal(
        both, MelSpectrogram(40)(kept)[detect_voiced_frames(kept, RATE, 10.0, len(MelSpectrogram(40)(kept)))]
    )


def test_its_recipe_rebuilds_it_and_a_recipe_without_it_is_the_feature_alone() -> None:
    feature = TrimmedFeature(MelSpectrogram(20), 30.0, True)
    again = build_feature(feature.recipe | {"normalise": "utterance_bins"})
    assert isinstance(again, TrimmedFeature)
    assert again.recipe == feature.recipe == MelSpectrogram(20).recipe | {"trim_silence_db": 30.0, "voiced_only": True}
    assert isinstance(build_feature(MelSpectrogram(20).recipe), MelSpectrogram)
    off = {"trim_silence_db": None, "voiced_only": False, "normalise": "none"}
    assert isinstance(build_feature(MelSpectrogram(20).recipe | off), MelSpectrogram)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"trim_silence_db": 0}, "features.trim_silence_db=0: expected a number between 1 and 100"),
        ({"trim_silence_db": "loud"}, "features.trim_silence_db=loud: expected a number between 1 and 100"),
        ({"voiced_only": "yes"}, "features.voiced_only=yes: expected true or false"),
    ],
)
def test_refuses_settings_out_of_range(settings: dict[str, object], said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        with_trimming(MelSpectrogram(40), settings)


def test_ready_features_cannot_be_trimmed(make_ready_corpus: MakeCorpus) -> None:
    ready = PrecomputedFeature({"num_feats": 8, "sr": 16000, "hop_size": 160})
    with pytest.raises(SingerVerifyError, match="expected null and false, because silence and voicing"):
        with_trimming(ready, {"voiced_only": True})
    with pytest.raises(HydraException, match="cannot be detected in precomputed features"):
        train(make_ready_corpus(), "features.trim_silence_db=40")


@pytest.mark.parametrize(
    ("samples", "settings", "said"),
    [
        (np.zeros(RATE, np.float32), (40.0, False), "is silent"),
        (CLICK, (None, True), r"has no voiced frame, and the recipe keeps no others \(voiced_only=true\)\.$"),
        (CLICK, (40.0, True), "has no voiced frame"),
    ],
)
def test_a_recording_with_nothing_left_is_refused(
    tmp_path: Path, samples: np.ndarray, settings: tuple[float | None, bool], said: str
) -> None:
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    with pytest.raises(UtteranceError, match=said) as caught:
        extract_frames(tmp_path / "a.wav", TrimmedFeature(MelSpectrogram(40), *settings))
    assert str(caught.value).startswith(str(tmp_path / "a.wav"))


def test_silence_has_no_loudest_moment() -> None:
    with pytest.raises(UtteranceError, match="is silent"):
        without_outer_silence(torch.zeros(RATE), RATE, 40.0)


def test_what_is_too_short_after_trimming_is_said_so() -> None:
    feature = TrimmedFeature(MelSpectrogram(40, n_fft=4096, fmin_hz=0), 20.0, False)
    click = torch.zeros(RATE)
    click[8000:8010] = 1.0
    with pytest.raises(UtteranceError, match=r"without the silence around it, lasts .* ms, shorter than one frame"):
        feature(click)


def test_each_setting_has_a_store_of_its_own(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus = read_corpus(make_corpus(utterances=1))
    for settings in ((None, True), (40.0, False), (30.0, False)):
        load_or_compute_store(corpus, "train", TrimmedFeature(MelSpectrogram(40), *settings), tmp_path / "store")
    assert len([path for path in (tmp_path / "store").iterdir() if path.is_dir()]) == 3


def test_a_checkpoint_embeds_as_it_was_trained(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = make_corpus(utterances=2)
    for path in root.rglob("*.flac"):
        samples, _ = soundfile.read(path, dtype="float32")
        soundfile.write(path, np.concatenate([np.zeros(RATE // 2, np.float32), samples]), RATE)
    settings = ("features.trim_silence_db=40", "features.voiced_only=true", "features.normalise=utterance_bins")
    settings = (*settings, "features.activity_db=null", "features.level_db=null")
    run = train(root, *settings, f"hydra.run.dir={tmp_path}/run", "trainer.max_steps=1")
    recipe = read_checkpoint(run / "checkpoints/best.ckpt")[METADATA_KEY]["recipe"]
    assert (recipe["trim_silence_db"], recipe["voiced_only"], recipe["normalise"]) == (40, True, "utterance_bins")
    embedder = load_model(run)
    path = root / "val/val_singer0/song0.flac"
    frames = extract_frames(path, TrimmedFeature(MelSpectrogram(40), 40.0, True))
    assert torch.equal(extract_frames(path, embedder.feature), frames)
    assert len(frames) < 110
    with pytest.raises(SingerVerifyError, match=r"features.voiced_only is True there, False here"):
        train(root, "features.voiced_only=false", f"init_from={run}", "name=refused")
