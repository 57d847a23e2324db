"""Spectral envelopes from the WORLD vocoder, in compact codings.

Apart from WORLD's own, every coding is linear in the log envelope and is applied as a matrix.
"""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.errors import require_between, require_choice
from singer_verify.features.f0 import F0Tracker, convert_samples_for_world, load_pyworld

DB_PER_NEPER = 20.0 / math.log(10.0)
ENVELOPE_CODINGS = ("world", "mfsc", "mfsc_db", "mgc", "cepstrum")


def build_mel_cepstrum_matrix(
    num_bins: int, num_frequencies: int, warping: float
) -> Float[np.ndarray, "bins frequencies"]:
    """Build the matrix from log amplitude to mel-cepstrum c_0, c_1, ...

    log|H(ω)| = Σ c_k cos(k β(ω)), where β is the warped frequency.

    As `sp2mc` of SPTK (Tokuda, Kobayashi, Masuko, Imai 1994, "Mel-generalized cepstral analysis", with γ = 0); without
    warping the real cepstrum.

    Args:
        num_bins: number of coefficients.
        num_frequencies: number of envelope points from 0 to half the sample rate.
        warping: α < 1 of the all-pass filter with phase β; 0.45 approximates the mel scale.
    """
    one_sided = np.fft.irfft(np.eye(num_frequencies), axis=0)[:num_frequencies]
    one_sided[1:-1] *= 2.0
    return build_frequency_warping_matrix(num_bins, num_frequencies, warping) @ one_sided


def build_frequency_warping_matrix(
    num_bins: int, num_coefficients: int, warping: float
) -> Float[np.ndarray, "bins coefficients"]:
    """Build the matrix from cepstrum to warped cepstrum by the recursion of Oppenheim and Johnson (1972)."""
    warped = np.zeros((num_bins, num_coefficients))
    for coefficient in reversed(range(num_coefficients)):
        before = warped.copy()
        warped[0] = warping * before[0]
        warped[0, coefficient] += 1.0
        if num_bins > 1:
            warped[1] = (1.0 - warping**2) * before[0] + warping * before[1]
        for row in range(2, num_bins):
            warped[row] = before[row - 1] + warping * (before[row] - warped[row - 1])
    return warped


def build_warped_spectrum_matrix(
    num_bins: int, num_frequencies: int, warping: float
) -> Float[np.ndarray, "bins frequencies"]:
    """Build the matrix from log amplitude to log amplitude on a warped frequency axis, smoothed by the mel-cepstrum.

    The mel-frequency spectral coefficients of Blaauw and Bonada 2017 ("A neural parametric singing
    synthesizer"), adopted by Chandna et al. 2019 ("WGANSing"): `num_bins` coefficients, as many points.
    """
    warped_frequencies = np.linspace(0.0, math.pi, num_bins)
    cosines = np.cos(warped_frequencies[:, None] * np.arange(num_bins))
    return cosines @ build_mel_cepstrum_matrix(num_bins, num_frequencies, warping)


class WorldEnvelope:
    """CheapTrick's envelope (Morise 2015), pitch-synchronous and free of harmonics, in few bins.

    Codings of the envelope: `world`, WORLD's own (Morise, Miyashita, Ozawa 2017); `mfsc`, log amplitude at equal steps
    of warped frequency, natural or (`mfsc_db`) in decibels; `mgc`, mel-cepstrum; `cepstrum`, real cepstrum without
    warping. With aperiodicity, the share of breath in each of WORLD's coarse bands follows, in decibels (D4C, Morise
    2016): one band at 16 kHz, five at 44.1 kHz. Frames without pitch have an envelope too.

    Shape: samples (samples,) → (frames, bins), frames = 1 + samples // hop; WORLD's own hop is 5 ms.

    Args:
        num_envelope_bins: number of bins that code the envelope.
        coding: coding of the envelope, see above.
        aperiodicity: whether to append the coded aperiodicity.
        warping: frequency warping of the codings mfsc, mfsc_db and mgc, see `build_mel_cepstrum_matrix`.
        sample_rate: sample rate of the input, in Hz.
        hop_ms, f0_method, f0_min_hz, f0_max_hz: see `F0Tracker`.
    """

    def __init__(
        self,
        num_envelope_bins: int = 60,
        coding: str = "mfsc",
        aperiodicity: bool = False,
        warping: float = 0.45,
        sample_rate: int = 16_000,
        hop_ms: float = 5.0,
        f0_method: str = "dio",
        f0_min_hz: float = 60.0,
        f0_max_hz: float = 1100.0,
    ) -> None:
        self.f0 = F0Tracker(sample_rate, hop_ms, f0_method, f0_min_hz, f0_max_hz)
        world = load_pyworld()
        self.fft_size = world.get_cheaptrick_fft_size(sample_rate, self.f0.f0_min_hz)
        require_choice(ENVELOPE_CODINGS, coding=coding)
        require_between(2, self.fft_size // 2, num_envelope_bins=num_envelope_bins)
        require_between(-0.9, 0.9, warping=warping)
        self.num_envelope_bins, self.coding, self.aperiodicity = num_envelope_bins, coding, aperiodicity
        self.warping, self.sample_rate, self.hop_ms = float(warping), sample_rate, self.f0.hop_ms
        num_bands = world.get_num_aperiodicities(sample_rate) if aperiodicity else 0
        self.num_bins = num_envelope_bins + num_bands
        self.matrix = self._build_coding_matrix()

    @property
    def bandwidth_hz(self) -> float:
        return self.sample_rate / 2

    @property
    def recipe(self) -> dict[str, Any]:
        names = ("num_envelope_bins", "coding", "aperiodicity", "warping")
        own = {name: getattr(self, name) for name in names}
        return {"_target_": f"{__name__}.WorldEnvelope"} | own | self.f0.settings

    def __call__(self, samples: Float[Tensor, " samples"]) -> Float[Tensor, "frames bins"]:
        world, voice = load_pyworld(), convert_samples_for_world(samples)
        f0_hz, times_s = self.f0(voice), self.f0.compute_times_s(len(voice))
        power = world.cheaptrick(voice, f0_hz, times_s, self.sample_rate, fft_size=self.fft_size)
        parts = [self._encode_envelope(power)]
        if self.aperiodicity:
            shares = world.d4c(voice, f0_hz, times_s, self.sample_rate, fft_size=self.fft_size)
            parts.append(world.code_aperiodicity(shares, self.sample_rate))
        return torch.from_numpy(np.concatenate(parts, axis=1)).to(samples)

    def _encode_envelope(self, power: Float[np.ndarray, "frames frequencies"]) -> Float[np.ndarray, "frames bins"]:
        if self.matrix is None:
            coded: np.ndarray = load_pyworld().code_spectral_envelope(power, self.sample_rate, self.num_envelope_bins)
            return coded
        return 0.5 * np.log(power) @ self.matrix.T

    def _build_coding_matrix(self) -> Float[np.ndarray, "bins frequencies"] | None:
        """Build the matrix from log amplitude to bins, or None for WORLD's own coding."""
        shape = self.num_envelope_bins, self.fft_size // 2 + 1
        if self.coding == "world":
            return None
        if self.coding == "mgc":
            return build_mel_cepstrum_matrix(*shape, self.warping)
        if self.coding == "cepstrum":
            return build_mel_cepstrum_matrix(*shape, 0.0)
        spectrum = build_warped_spectrum_matrix(*shape, self.warping)
        return spectrum * DB_PER_NEPER if self.coding == "mfsc_db" else spectrum
