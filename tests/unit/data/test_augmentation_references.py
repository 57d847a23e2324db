"""Batched augmentations give what their plain definitions give, crop by crop and in double precision."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.signal
import torch
from support.audio import SAMPLE_RATE, sing
from torch import Tensor

from singer_verify.data.augmentation.augmentation import (
    CROP_COUNTS,
    AugmentationChain,
    SampleAugmenter,
    generate_gaussian_noise,
)
from singer_verify.data.augmentation.equaliser import BAND_CENTRES_HZ, SevenBandEqualiser, compute_equaliser_response
from singer_verify.data.augmentation.formants import FormantShift, shift_formants
from singer_verify.data.augmentation.gain import Gain
from singer_verify.data.augmentation.noise import GaussianNoise
from singer_verify.data.augmentation.pitch import PitchShift, change_speed
from singer_verify.data.augmentation.reverberation import Reverberation
from singer_verify.data.augmentation.time_masking import TimeMasking
from singer_verify.data.batches import PackedDraws

NUM_SAMPLES = 9001
Reference = Callable[[Tensor, list[float]], Tensor]


def draw_uniform(crops: int, numbers: int) -> Tensor:
    return torch.rand(crops, numbers, generator=torch.Generator().manual_seed(3))


def scale(low: float, high: float, number: float) -> float:
    return low + (high - low) * number


def hash_words(words: np.ndarray) -> np.ndarray:
    words = words ^ (words >> np.uint32(16))
    words = words * np.uint32(0x21F0AAAD)
    words = words ^ (words >> np.uint32(15))
    words = words * np.uint32(0xD35A2D97)
    return words ^ (words >> np.uint32(15))


def make_noise(first: float, second: float, num_samples: int) -> Tensor:
    """White noise: hashes of (key, index) made normal as in Box and Muller."""
    keys = [np.uint32(key * (1 << 24)) for key in (first, second)]
    half = -(-num_samples // 2)
    hashes = hash_words(hash_words(np.arange(2 * half, dtype=np.uint32) ^ keys[0]) + keys[1])
    uniform = (hashes + 0.5) / 2**32
    radius, angle = np.sqrt(-2 * np.log(uniform[:half])), 2 * np.pi * uniform[half:]
    return torch.from_numpy(np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:num_samples])


def change_speed_plainly(crop: Tensor, ratio: float) -> Tensor:
    """Windowed-sinc interpolation at each place, tap by tap, of the reflected crop."""
    last = len(crop) - 1
    places = last / 2 + (torch.arange(last + 1, dtype=torch.float64) - last / 2) * ratio
    cutoff, total = min(1.0, 1.0 / ratio), torch.zeros_like(places)
    for tap in range(-15, 17):
        nearest = places.floor().long() + tap
        distance = nearest - places
        weight = cutoff * torch.sinc(cutoff * distance) * (0.5 + 0.5 * torch.cos(math.pi * distance / 16))
        total += weight * crop[((nearest + last) % (2 * last) - last).abs()]
    return total


def shift_formants_plainly(crop: Tensor, ratio: float) -> Tensor:
    """Smooth the log spectrum by its cepstrum, interpolate it, and filter by the difference."""
    window = torch.hann_window(1024, dtype=torch.float64)
    spectrum = torch.stft(crop, 1024, 256, window=window, pad_mode="constant", return_complex=True)
    cepstrum = torch.fft.irfft(spectrum.abs().clamp(min=1e-6).log(), dim=0)
    cepstrum[25:-24] = 0.0
    envelope = torch.fft.rfft(cepstrum, dim=0).real
    bins = np.arange(513)
    moved = np.stack([np.interp(bins / ratio, bins, column) for column in envelope.T.numpy()], axis=1)
    gain = (torch.from_numpy(moved) - envelope).clamp(-math.log(100.0), math.log(100.0)).exp()
    return torch.istft(spectrum * gain, 1024, 256, window=window, length=len(crop))


def shift_pitch(crop: Tensor, numbers: list[float]) -> Tensor:
    ratio = 2.0 ** (scale(-2, 2, numbers[0]) / 12)
    return shift_formants_plainly(change_speed_plainly(crop, ratio), 1 / ratio)


def reverberate(crop: Tensor, numbers: list[float]) -> Tensor:
    decay_s, direct_db = scale(0.1, 0.8, numbers[0]), scale(0, 20, numbers[1])
    num_tail = min(len(crop), round(0.8 * SAMPLE_RATE))
    decay = np.exp(-math.log(1000.0) * np.arange(1, num_tail + 1) / SAMPLE_RATE / decay_s)
    tail = make_noise(numbers[2], numbers[3], num_tail).numpy() * decay
    response = np.concatenate([[1.0], tail / np.linalg.norm(tail) * 10 ** (-direct_db / 20)])
    wet = torch.from_numpy(scipy.signal.fftconvolve(crop.numpy(), response)[: len(crop)])
    return wet * crop.norm() / wet.norm()


def design_band(band: int, gain_db: float, centre: float, quality: float) -> tuple[list[float], list[float]]:
    """Coefficients of a second-order filter, from the "Cookbook formulae for audio EQ biquad filter coefficients"."""
    a, angle = 10 ** (gain_db / 40), 2 * math.pi * centre
    cosine, alpha = math.cos(angle), math.sin(angle) / (2 * quality)
    if 0 < band < 6:
        return [1 + alpha * a, -2 * cosine, 1 - alpha * a], [1 + alpha / a, -2 * cosine, 1 - alpha / a]
    sign, slope = (1 if band == 0 else -1), 2 * math.sqrt(a) * alpha
    cosine *= sign
    numerator = [a + 1 - (a - 1) * cosine + slope, sign * 2 * (a - 1 - (a + 1) * cosine)]
    denominator = [a + 1 + (a - 1) * cosine + slope, -sign * 2 * (a - 1 + (a + 1) * cosine)]
    numerator, denominator = [*numerator, numerator[0] - 2 * slope], [*denominator, denominator[0] - 2 * slope]
    return [a * value for value in numerator], denominator


def design_bands(numbers: list[float], sample_rate: int, max_gain_db: float) -> list[tuple[list[float], list[float]]]:
    bands = []
    for band, (low, high) in enumerate(BAND_CENTRES_HZ):
        centre = min(math.exp(scale(math.log(low), math.log(high), numbers[7 + band])) / sample_rate, 0.47)
        gain_db, quality = scale(-max_gain_db, max_gain_db, numbers[band]), scale(0.5, 1.0, numbers[14 + band])
        bands.append(design_band(band, gain_db, centre, quality))
    return bands


def equalise(crop: Tensor, numbers: list[float]) -> Tensor:
    samples = crop.numpy()
    for numerator, denominator in design_bands(numbers, SAMPLE_RATE, 12):
        samples = scipy.signal.lfilter(numerator, denominator, samples)
    return torch.from_numpy(samples)


def add_noise(crop: Tensor, numbers: list[float]) -> Tensor:
    rms = crop.square().mean().sqrt()
    return crop + rms * 10 ** (-scale(20, 50, numbers[0]) / 20) * make_noise(numbers[1], numbers[2], len(crop))


def mask_time(crop: Tensor, numbers: list[float]) -> Tensor:
    width = round(scale(10, 100, numbers[0]) * SAMPLE_RATE / 1000)
    first = math.floor((len(crop) - width + 1) * numbers[1])
    fades = [min(max(first - place, place - (first + width - 1), 0) / 80, 1.0) for place in range(len(crop))]
    return crop * torch.tensor(fades, dtype=torch.float64)


STRONG: dict[str, tuple[SampleAugmenter, Reference]] = {
    "pitch": (PitchShift(0.5, -2, 2), shift_pitch),
    "formants": (
        FormantShift(0.5, -0.5, 0.5),
        lambda crop, numbers: shift_formants_plainly(crop, 2 ** (scale(-0.5, 0.5, numbers[0]) / 12)),
    ),
    "reverberation": (Reverberation(0.5, 0.1, 0.8, 0, 20), reverberate),
    "equaliser": (SevenBandEqualiser(0.5, -12, 12), equalise),
    "noise": (GaussianNoise(0.5, 20, 50), add_noise),
    "gain": (Gain(0.5, -12, 6), lambda crop, numbers: crop * 10 ** (scale(-12, 6, numbers[0]) / 20)),
    "time_masking": (TimeMasking(0.5, 10, 100), mask_time),
}


def make_crops(kind: str, crops: int = 6, num_samples: int = NUM_SAMPLES) -> Tensor:
    if kind == "white":
        return 0.1 * torch.randn(crops, num_samples, generator=torch.Generator().manual_seed(1))
    return torch.from_numpy(np.stack([sing(seed, num_samples / SAMPLE_RATE)[:num_samples] for seed in range(crops)]))


def compute_relative_error(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).norm(dim=-1) / expected.norm(dim=-1)).max().item()


@pytest.mark.parametrize("kind", ["white", "voices"])
@pytest.mark.parametrize("name", STRONG)
def test_a_batch_is_changed_as_defined_crop_by_crop(name: str, kind: str) -> None:
    augmenter, reference = STRONG[name]
    crops, uniform = make_crops(kind), draw_uniform(6, augmenter.num_draws)
    given = crops.clone()
    found = augmenter(crops, uniform, SAMPLE_RATE)
    assert torch.equal(crops, given)  # what it is given is not its own
    expected = [reference(crop.double(), numbers) for crop, numbers in zip(crops, uniform.tolist(), strict=True)]
    # An equaliser made of frequencies rings on around the crop's end, below 60 dB.
    tolerance = 1e-3 if name == "equaliser" else 1e-4
    assert compute_relative_error(found, torch.stack(expected)) < tolerance


def test_a_chain_changes_the_crops_that_it_drew_in_order() -> None:
    chain = AugmentationChain({name: augmenter for name, (augmenter, _) in STRONG.items()}, {})
    num_samples, margin = 8000, chain.compute_margin_samples(8000)
    crops = make_crops("voices", 12, num_samples + 2 * margin).repeat(10, 1)  # so many that numbers are rounded up
    given, draws = crops.clone(), chain.draw(5, 6, range(120))
    assert any(len(draw.crop_indices) % (1 + 120 // CROP_COUNTS) for draw in draws.values())
    found = chain.augment_samples(crops, PackedDraws.pack(draws).unpack(), num_samples, SAMPLE_RATE)
    assert torch.equal(crops, given)
    for crop in (*range(5), *range(110, 120)):
        changed = found[crop]
        expected = given[crop].double()
        for name, (augmenter, reference) in STRONG.items():
            chosen = draws[name].crop_indices.tolist()
            if crop in chosen:
                expected = reference(expected, draws[name].uniform[chosen.index(crop)].tolist())
            if augmenter.context_ratio > 1.0:
                expected = expected[margin:-margin]
        assert compute_relative_error(changed, expected) < 1e-3


@pytest.mark.parametrize("num_samples", [2, 20, 41, 5003])
@pytest.mark.parametrize("max_ratio", [1.0, 1.125, 2.0])
def test_speed_is_changed_at_any_length_and_ratio(num_samples: int, max_ratio: float) -> None:
    crops = make_crops("white", 5, num_samples)
    ratios = max_ratio * 2.0 ** -torch.linspace(0.0, 1.0, 5, dtype=torch.float64)
    expected = [change_speed_plainly(crop.double(), ratio) for crop, ratio in zip(crops, ratios.tolist(), strict=True)]
    assert compute_relative_error(change_speed(crops, ratios, max_ratio), torch.stack(expected)) < 1e-5


@pytest.mark.parametrize("num_samples", [1, 255, 256, 257, 1024, 3001])
def test_formants_are_shifted_at_any_length(num_samples: int) -> None:
    crops = make_crops("white", 2, num_samples)
    expected = torch.stack([shift_formants_plainly(crop.double(), 0.9) for crop in crops])
    assert compute_relative_error(shift_formants(crops, torch.full((2,), 0.9), SAMPLE_RATE), expected) < 1e-5


@pytest.mark.parametrize("sample_rate", [8000, 16_000, 22_050, 48_000, 96_000])
@pytest.mark.parametrize("max_gain_db", [12, 30])
def test_the_equalisers_response_is_that_of_its_filters(sample_rate: int, max_gain_db: int) -> None:
    uniform, n_fft = draw_uniform(8, 21), 1000 * sample_rate // 2000
    numbers = uniform.tolist()
    designs = [design_bands(row, sample_rate, max_gain_db) for row in numbers]
    angles = 2 * np.pi * np.arange(n_fft // 2 + 1) / n_fft
    expected = [np.prod([scipy.signal.freqz(*band, worN=angles)[1] for band in bands], axis=0) for bands in designs]
    bounds = [(math.log(low), math.log(high)) for low, high in BAND_CENTRES_HZ]
    centres = [[math.exp(scale(*bounds[band], row[7 + band])) for band in range(7)] for row in numbers]
    found = compute_equaliser_response(
        max_gain_db * (2 * uniform[:, :7] - 1),
        torch.tensor(centres).clamp(max=0.47 * sample_rate),
        0.5 + 0.5 * uniform[:, 14:],
        n_fft,
        sample_rate,
    )
    np.testing.assert_allclose(found.numpy(), np.stack(expected), rtol=3e-4)


def test_noise_is_the_hash_of_its_keys_and_the_sample() -> None:
    keys = torch.tensor([[0.0, 0.0], [0.3, 0.8], [1 - 2**-24, 1 - 2**-24]])
    for num_samples in (1, 2, 7, 140_001):
        expected = torch.stack([make_noise(*row, num_samples) for row in keys.tolist()])
        assert torch.allclose(generate_gaussian_noise(keys, num_samples).double(), expected, atol=2e-5)


def test_draws_are_packed_into_two_tensors() -> None:
    chain = AugmentationChain({name: augmenter for name, (augmenter, _) in STRONG.items()}, {})
    draws = chain.draw(1, 2, range(9))
    packed = PackedDraws.pack(draws)
    assert sum(isinstance(part, Tensor) for part in packed) == 2
    for name, draw in packed.unpack().items():
        assert torch.equal(draw.crop_indices, draws[name].crop_indices)
        assert torch.equal(draw.uniform, draws[name].uniform)
    assert PackedDraws.pack({}).unpack() == {}
