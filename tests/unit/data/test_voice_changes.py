"""Excerpts of recordings and their changes: a pure function of (seed, recording), the same for every recipe."""

from typing import Any

import pytest
import torch
from support.audio import SAMPLE_RATE, sing_phrases
from torch import Tensor

from singer_verify.data.voice_changes import ChangedVoices, VoiceChanges
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.raw_waveform import RawWaveform
from singer_verify.features.voice import VoiceFeature, VoicePreparation

PACKAGE = "singer_verify.data.augmentation"
PITCH = {"_target_": f"{PACKAGE}.pitch.PitchShift", "p": 1.0, "min_semitones": -3, "max_semitones": 3}
NOISE = {"_target_": f"{PACKAGE}.noise.GaussianNoise", "p": 1.0, "min_snr_db": 20, "max_snr_db": 30}


def build_changes(**settings: Any) -> VoiceChanges:
    return VoiceChanges(**{"samples": {"pitch": PITCH, "noise": NOISE}, "num_changes": 2, "excerpt_s": 1.0} | settings)


def phrase(seconds: float = 3.0, singer: int = 1) -> Tensor:
    return torch.from_numpy(sing_phrases(singer, 2, seconds))


def collect(changes: VoiceChanges, samples: Tensor) -> Tensor:
    return torch.cat(list(changes.iterate_excerpts(samples, SAMPLE_RATE)))


def test_excerpts_are_a_function_of_seed_and_recording() -> None:
    excerpts = collect(build_changes(), phrase())
    assert torch.equal(excerpts, collect(build_changes(), phrase()))
    assert not torch.equal(excerpts[3:], collect(build_changes(seed=2), phrase())[3:])
    assert not torch.equal(excerpts, collect(build_changes(), phrase(singer=3)))


def test_a_recording_is_heard_once_as_it_is_and_then_changed() -> None:
    """The unchanged excerpts, which come first, are found in the recording to the sample; the others are not."""
    samples = phrase()
    excerpts = collect(build_changes(), samples)
    windows = samples.unfold(0, SAMPLE_RATE, 1)
    found = [bool(((windows[:, :50] == excerpt[:50]).all(dim=1)).any()) for excerpt in excerpts]
    assert found == [True] * 3 + [False] * 6
    assert len({tuple(excerpt[:50].tolist()) for excerpt in excerpts}) == 9


@pytest.mark.parametrize(("seconds", "num_changes", "expected"), [(3.0, 2, 9), (3.0, 0, 3), (0.7, 2, 2), (0.7, 0, 1)])
def test_the_number_of_excerpts_follows_the_duration(seconds: float, num_changes: int, expected: int) -> None:
    excerpts = collect(build_changes(num_changes=num_changes), phrase(seconds))
    assert len(excerpts) == expected
    assert excerpts.isfinite().all()
    assert 0.3 * SAMPLE_RATE < excerpts.shape[1] <= min(seconds, 1.0) * SAMPLE_RATE


def test_long_recordings_are_sampled_all_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("singer_verify.data.voice_changes.MAX_EXCERPTS", 3)
    samples = phrase(6.0)
    excerpts = collect(build_changes(num_changes=0, samples={"noise": NOISE}), samples)
    windows = samples.unfold(0, 50, 1)
    starts = [int((windows == excerpt[:50]).all(dim=1).nonzero()[0]) / SAMPLE_RATE for excerpt in excerpts]
    assert starts == pytest.approx([5 / 6, 2.5, 25 / 6], abs=0.01)


def test_every_recipe_hears_the_same_excerpts() -> None:
    """Raw samples of the excerpts, as a recipe, give the mel frames of the recipe of the changed voices."""
    changes, mel = build_changes(), MelSpectrogram(40)
    frames = ChangedVoices(mel, changes, SAMPLE_RATE)(phrase())
    waveform = ChangedVoices(RawWaveform(SAMPLE_RATE, "float32", 1, 8000.0), changes, SAMPLE_RATE)
    excerpts = waveform(phrase()).reshape(9, SAMPLE_RATE)
    torch.testing.assert_close(frames, torch.cat([mel(excerpt)[:100] for excerpt in excerpts]))


def test_each_excerpt_has_the_same_number_of_frames_at_the_level_of_the_recipe() -> None:
    feature = VoiceFeature(MelSpectrogram(40), VoicePreparation(35.0, -30.0))
    changed = ChangedVoices(feature, build_changes(samples={"noise": NOISE}), SAMPLE_RATE)
    frames = changed(phrase(0.7))
    assert frames.shape == (2 * changed.num_frames, 40)
    assert torch.equal(frames[:29], frames[71:100])  # 71 frames, repeated to 100
    quiet = changed(0.1 * phrase(0.7))
    torch.testing.assert_close(frames[:100], quiet[:100], atol=1e-3, rtol=0)


def test_voices_are_changed_at_a_rate_above_that_of_the_recipe() -> None:
    samples = torch.from_numpy(sing_phrases(1, 2, 2.0, 32_000))
    frames = ChangedVoices(MelSpectrogram(40), build_changes(num_changes=0), 32_000)(samples)
    expected = ChangedVoices(MelSpectrogram(40), build_changes(num_changes=0), SAMPLE_RATE)(
        torch.from_numpy(sing_phrases(1, 2, 2.0))
    )
    assert frames.shape == expected.shape == (200, 40)


def test_the_recipe_names_all_that_decides_the_frames() -> None:
    recipe = ChangedVoices(MelSpectrogram(40), build_changes(), SAMPLE_RATE).recipe
    assert recipe["changes"]["samples"]["pitch"] == PITCH
    other = ChangedVoices(MelSpectrogram(40), build_changes(seed=2), SAMPLE_RATE).recipe
    assert recipe != other


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_changes": -1}, r"data\.changes\.num_changes=-1"),
        ({"excerpt_s": 0.1}, r"data\.changes\.excerpt_s=0\.1"),
        ({"seed": -1}, r"data\.changes\.seed=-1"),
        ({"samples": {}}, r"num_changes=2: data\.changes\.samples names no augmentation"),
        (
            {
                "samples": {
                    "masks": {
                        "_target_": f"{PACKAGE}.spec_augment.SpecAugment",
                        "p": 1.0,
                        "num_frequency_masks": 1,
                        "max_bins": 2,
                        "num_time_masks": 1,
                        "max_frames": 2,
                        "max_time_fraction": 0.2,
                    }
                }
            },
            r"data\.changes\.samples\.masks: .* has no context_ratio",
        ),
    ],
)
def test_refuses_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SingerVerifyError, match=message):
        build_changes(**settings)


def test_refuses_recordings_without_voice() -> None:
    with pytest.raises(UtteranceError, match="voice"):
        collect(build_changes(), torch.zeros(SAMPLE_RATE))
