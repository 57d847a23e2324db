"""What each augmentation does to a crop, decided by (seed, step, crop) alone, and that it can be left out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.signal
import torch
import yaml
from hydra.utils import instantiate
from support.audio import SAMPLE_RATE
from support.train_process import PROJECT
from torch import Tensor

from singer_verify.data.augmentation.augmentation import AugmentationChain, draw_augmentation, generate_gaussian_noise
from singer_verify.data.augmentation.equaliser import SevenBandEqualiser, compute_equaliser_response
from singer_verify.data.augmentation.formants import FormantShift
from singer_verify.data.augmentation.gain import Gain
from singer_verify.data.augmentation.noise import GaussianNoise
from singer_verify.data.augmentation.pitch import PitchShift, change_speed
from singer_verify.data.augmentation.reverberation import Reverberation
from singer_verify.data.augmentation.spec_augment import SpecAugment, draw_masks
from singer_verify.data.augmentation.time_masking import TimeMasking
from singer_verify.data.batches import TrainingBatchPipeline
from singer_verify.errors import SingerVerifyError

NUM_SAMPLES = 16_000


def uniform(crops: int, numbers: int, seed: int = 0) -> Tensor:
    return torch.rand(crops, numbers, generator=torch.Generator().manual_seed(seed))


def white(crops: int, num_samples: int = NUM_SAMPLES) -> Tensor:
    return 0.1 * torch.randn(crops, num_samples, generator=torch.Generator().manual_seed(1))


def tone(frequency_hz: float, num_samples: int = NUM_SAMPLES) -> Tensor:
    return torch.sin(2 * torch.pi * frequency_hz * torch.arange(num_samples) / SAMPLE_RATE)[None]


def level_db(samples: Tensor) -> Tensor:
    return 10 * samples.square().mean(dim=-1).log10()


def peak_hz(samples: Tensor, low_hz: float = 0.0) -> float:
    spectrum = torch.fft.rfft(samples * torch.hann_window(samples.shape[-1]), 1 << 19).abs()
    spectrum[..., : round(low_hz * (1 << 19) / SAMPLE_RATE)] = 0.0
    return spectrum.argmax().item() * SAMPLE_RATE / (1 << 19)


def shipped(name: str) -> AugmentationChain:
    settings = yaml.safe_load((PROJECT / f"conf/augmentation/{name}.yaml").read_text())
    for inherited in settings.pop("defaults", []):
        if inherited != "_self_":
            settings = yaml.safe_load((PROJECT / f"conf/augmentation/{inherited}.yaml").read_text()) | settings
    settings["frames"] = settings.get("frames") or {}
    return instantiate(settings)


def test_noise_has_the_ratio_that_is_drawn() -> None:
    crops, numbers = white(8), uniform(8, 3)
    noise = GaussianNoise(1.0, 20, 50)(crops, numbers, SAMPLE_RATE) - crops
    snr_db = level_db(crops) - level_db(noise)
    assert torch.allclose(snr_db, 20 + 30 * numbers[:, 0], atol=0.5)
    assert np.abs(np.corrcoef(noise.numpy()) - np.eye(8)).max() < 0.05


def test_noise_is_normal_and_white() -> None:
    samples = generate_gaussian_noise(torch.tensor([[0.3, 0.8]]), 100_001)[0]
    assert samples.shape == (100_001,)
    assert abs(samples.mean()) < 0.02
    assert abs(samples.std() - 1) < 0.02
    assert scipy.stats.kstest(samples.numpy(), "norm").pvalue > 0.01
    for lag in (1, 2, 3, 50_000):
        assert abs(np.corrcoef(samples[lag:], samples[:-lag])[0, 1]) < 0.02


def test_gain_is_the_one_that_is_drawn() -> None:
    crops, numbers = white(5), uniform(5, 1)
    louder = Gain(1.0, -12, 6)(crops, numbers, SAMPLE_RATE)
    assert torch.allclose(level_db(louder) - level_db(crops), -12 + 18 * numbers[:, 0], atol=1e-3)


@pytest.mark.parametrize("band", range(7))
def test_a_band_of_the_equaliser_has_its_gain(band: int) -> None:
    """A peak has it at its centre; a shelf has half of it there and all of it beyond."""
    gains_db, centres_hz = torch.zeros(1, 7), torch.tensor([[70.0, 140, 300, 650, 1400, 3000, 6000]])
    gains_db[0, band] = 9.0
    response = compute_equaliser_response(gains_db, centres_hz, torch.full((1, 7), 0.7), 16_000, SAMPLE_RATE)[0].abs()
    found_db = 20 * response.log10()
    assert found_db[round(centres_hz[0, band].item())] == pytest.approx(4.5 if band in (0, 6) else 9.0, abs=0.1)
    assert found_db[0] == pytest.approx(9.0 if band == 0 else 0.0, abs=0.05)
    assert found_db[-1] == pytest.approx(9.0 if band == 6 else 0.0, abs=0.05)


def test_the_equaliser_filters_a_tone_by_its_response() -> None:
    numbers = uniform(1, 21)
    frequency_hz = 1000.0
    filtered = SevenBandEqualiser(1.0, -12, 12)(tone(frequency_hz), numbers, SAMPLE_RATE)
    flat = SevenBandEqualiser(1.0, 0, 0)(tone(frequency_hz), numbers, SAMPLE_RATE)
    assert torch.allclose(flat, tone(frequency_hz), atol=1e-5)
    assert filtered.shape == flat.shape
    lowest, highest = np.log(np.array([[42.5, 91, 196, 421, 909, 1957, 4216], [95, 204, 441, 948, 2045, 4404, 9486]]))
    centres_hz = np.minimum(np.exp(lowest + (highest - lowest) * numbers[0, 7:14].numpy()), 0.47 * SAMPLE_RATE)
    gains_db, quality = -12 + 24 * numbers[:, :7], 0.5 + 0.5 * numbers[:, 14:]
    response = compute_equaliser_response(
        gains_db, torch.tensor(centres_hz[None]).float(), quality, 16_000, SAMPLE_RATE
    )
    expected_db = 20 * response[0, 1000].abs().log10()
    middle = slice(4000, 12_000)
    found_db = level_db(filtered[:, middle]) - level_db(flat[:, middle])
    assert found_db.item() == pytest.approx(expected_db.item(), abs=0.1)


def test_reverberation_keeps_length_and_power_and_rings_on() -> None:
    crops = torch.zeros(4, NUM_SAMPLES)
    crops[:, :1000] = white(4, 1000)
    room = Reverberation(1.0, 0.5, 0.5, 0, 0)
    wet = room(crops, uniform(4, 4), SAMPLE_RATE)
    assert wet.shape == crops.shape
    assert torch.allclose(level_db(wet), level_db(crops), atol=1e-3)
    early, late = wet[:, 1500:3100], wet[:, 5500:7100]  # a quarter of a second apart, half the decay: 30 dB
    assert torch.allclose(level_db(early) - level_db(late), torch.full((4,), 30.0), atol=2.0)


def test_time_masking_silences_what_is_drawn() -> None:
    crops = torch.ones(6, NUM_SAMPLES)
    numbers = uniform(6, 2)
    masked = TimeMasking(1.0, 10, 100)(crops, numbers, SAMPLE_RATE)
    widths = (masked == 0).sum(dim=1)
    assert torch.equal(widths.float(), ((10 + 90 * numbers[:, 0]) * 16).round())
    assert ((masked != 1.0).sum(dim=1) <= widths + 2 * 80).all()


@pytest.mark.parametrize("semitones", [-3.0, 2.0])
def test_pitch_moves_by_the_ratio(semitones: float) -> None:
    moved = PitchShift(1.0, semitones, semitones)(tone(440.0), torch.zeros(1, 1), SAMPLE_RATE)
    assert moved.shape == (1, NUM_SAMPLES)
    assert peak_hz(moved[0, 3000:-3000]) == pytest.approx(440 * 2 ** (semitones / 12), rel=2e-3)


def test_playing_faster_interpolates_exactly() -> None:
    ratio, middle = 1.1, (NUM_SAMPLES - 1) / 2
    places = middle + (torch.arange(NUM_SAMPLES) - middle) * ratio
    expected = torch.sin(2 * torch.pi * 1000.0 * places / SAMPLE_RATE)
    faster = change_speed(tone(1000.0), torch.tensor([ratio]))[0]
    assert torch.allclose(faster[1500:-1500], expected[1500:-1500], atol=5e-3)
    assert torch.allclose(change_speed(tone(1000.0), torch.ones(1)), tone(1000.0), atol=1e-5)


def voice(f0_hz: float, formant_hz: float) -> Tensor:
    """Pulses through one resonance."""
    pulses = np.zeros(NUM_SAMPLES)
    pulses[(np.arange(0, 1.0, 1 / f0_hz) * SAMPLE_RATE).astype(int)] = 1.0
    radius = np.exp(-np.pi * 150 / SAMPLE_RATE)
    poles = [1, -2 * radius * np.cos(2 * np.pi * formant_hz / SAMPLE_RATE), radius**2]
    return torch.from_numpy(scipy.signal.lfilter([1.0], poles, pulses)).float()[None] * 0.1


def formant_of(samples: Tensor) -> float:
    """Centre of the power around the resonance: harmonics of 100 Hz are too far apart for a peak."""
    power = torch.fft.rfft(samples[0, 2000:-2000]).abs().square()
    frequency_hz = torch.linspace(0, SAMPLE_RATE / 2, len(power))
    near = (frequency_hz > 900) & (frequency_hz < 2500)
    return ((frequency_hz * power)[near].sum() / power[near].sum()).item()


def test_formants_move_and_pitch_stays() -> None:
    source = voice(100.0, 1500.0)
    moved = FormantShift(1.0, 2, 2)(source, torch.zeros(1, 1), SAMPLE_RATE)
    assert formant_of(moved) / formant_of(source) == pytest.approx(2 ** (2 / 12), rel=0.04)
    assert peak_hz(moved[0]) % 100 == pytest.approx(0, abs=2) or peak_hz(moved[0]) % 100 > 98
    still = FormantShift(1.0, 0, 0)(source, torch.zeros(1, 1), SAMPLE_RATE)
    assert torch.allclose(still, source, atol=1e-4)


def test_pitch_moves_and_formants_stay() -> None:
    source = voice(100.0, 1500.0)
    moved = PitchShift(1.0, 2, 2)(source, torch.zeros(1, 1), SAMPLE_RATE)
    assert formant_of(moved) / formant_of(source) == pytest.approx(1.0, rel=0.04)


def test_masks_have_the_widths_that_are_drawn() -> None:
    covered = draw_masks(torch.tensor([[0.99, 0.0], [0.0, 0.5], [0.5, 0.999]]), 20, 9)
    assert covered.sum(dim=1).tolist() == [9, 0, 5]
    assert covered[0, :9].all()
    assert covered[2, 15:].all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_spec_augment_masks_whole_bins_and_frames_with_the_mean(dtype: torch.dtype) -> None:
    features = torch.rand(30, 50, 40, generator=torch.Generator().manual_seed(0)).to(dtype)
    masking = SpecAugment(1.0, 2, 8, 2, 40, 0.2)
    masked = masking(features, uniform(30, masking.num_draws))
    means = features.float().mean(dim=(1, 2), keepdim=True).to(dtype)
    changed = masked == means  # in half precision, other values may equal it too
    whole_bins, whole_frames = changed.all(dim=1), changed.all(dim=2)
    is_masked = whole_bins[:, None, :] | whole_frames[:, :, None]
    assert torch.equal(masked, torch.where(is_masked, means, features))
    assert 0 < whole_bins.sum(dim=1).max() <= 16
    assert 0 < whole_frames.sum(dim=1).max() <= 20
    nothing = SpecAugment(1.0, 0, 0, 0, 0, 0.0)
    assert torch.equal(nothing(features, uniform(30, 0)), features)


def test_a_crops_numbers_depend_on_seed_step_and_crop_alone() -> None:
    whole = draw_augmentation("noise", 0.5, 3, (1, 7), range(40))
    part = draw_augmentation("noise", 0.5, 3, (1, 7), range(10, 20))
    inside = (whole.crop_indices >= 10) & (whole.crop_indices < 20)
    assert torch.equal(part.crop_indices + 10, whole.crop_indices[inside])
    assert torch.equal(part.uniform, whole.uniform[inside])
    others = [draw_augmentation(*case, range(40)) for case in (("gain", 1, 3, (1, 7)), ("noise", 1, 3, (2, 7)))]
    others += [draw_augmentation("noise", 1.0, 3, (1, step), range(40)) for step in (6, 7, 8)]
    firsts = {other.uniform[0, 0].item() for other in others}
    assert len(firsts) == 5
    assert abs(len(draw_augmentation("noise", 0.3, 1, (0, 0), range(10_000)).crop_indices) - 3000) < 150


def test_a_crop_is_changed_alike_alone_and_in_company() -> None:
    augmentation = shipped("strong")
    for augmenter in augmentation.samples.values():
        augmenter.p = 1.0
    wide = NUM_SAMPLES + 2 * augmentation.compute_margin_samples(NUM_SAMPLES)
    crops = white(6, wide)
    whole = augmentation.augment_samples(crops, augmentation.draw(1, 2, range(6)), NUM_SAMPLES, SAMPLE_RATE)
    part = augmentation.augment_samples(crops[3:], augmentation.draw(1, 2, range(3, 6)), NUM_SAMPLES, SAMPLE_RATE)
    assert whole.shape == (6, NUM_SAMPLES)
    assert whole.isfinite().all()
    assert torch.allclose(whole[3:], part, atol=1e-5)
    assert (whole - crops[:, : whole.shape[1]]).abs().amax(dim=1).min() > 1e-3


def test_what_is_never_chosen_changes_no_bit() -> None:
    augmentation = shipped("strong")
    for augmenter in (*augmentation.samples.values(), *augmentation.frames.values()):
        augmenter.p = 0.0
    margin = augmentation.compute_margin_samples(500)
    crops, draws = white(3, 500 + 2 * margin), augmentation.draw(1, 2, range(3))
    assert margin > 0
    assert torch.equal(augmentation.augment_samples(crops, draws, 500, SAMPLE_RATE), crops[:, margin:-margin])
    assert torch.equal(augmentation.augment_frames(crops[:, :, None], draws), crops[:, :, None])


def test_silence_stays_finite() -> None:
    augmentation = shipped("strong")
    for augmenter in augmentation.samples.values():
        augmenter.p = 1.0
    wide = 4000 + 2 * augmentation.compute_margin_samples(4000)
    silent = augmentation.augment_samples(torch.zeros(2, wide), augmentation.draw(0, 0, range(2)), 4000, SAMPLE_RATE)
    assert silent.isfinite().all()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: GaussianNoise(1.5, 20, 50), "noise.p=1.5: expected a number between 0 and 1"),
        (lambda: GaussianNoise(0.5, 50, 20), "noise.min_snr_db=50: expected a number between -20 and 20"),
        (lambda: PitchShift(0.5, 3, 2), "pitch.min_semitones=3: expected a number between -12 and 2"),
        (lambda: SpecAugment(1.0, -1, 8, 2, 40, 0.2), "spec_augment.num_frequency_masks=-1: expected an integer"),
        (
            lambda: TrainingBatchPipeline(None, shipped("seed"), 1),
            "augmentation: equaliser, noise change samples, but this training reads stored frames; set "
            "data.on_the_fly=true",
        ),
        (
            lambda: AugmentationChain({"a": Gain(0, 0, 0)}, {"a": SpecAugment(1, 0, 0, 0, 0, 0)}),
            "samples and frames both",
        ),
    ],
)
def test_refuses_settings_that_cannot_be_meant(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(SingerVerifyError) as refusal:
        make()
    assert said in str(refusal.value)
