"""Constant-Q transform: bins equally spaced in pitch."""

import math
from typing import Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from singer_verify.errors import require_at_least, require_between
from singer_verify.features.feature import compute_hop_samples, require_one_frame


class Cqt(nn.Module):
    """Natural-log amplitudes at geometrically spaced frequencies, with the same number of periods in every window.

    Brown and Puckette 1992, "An efficient algorithm for the calculation of a constant Q transform": Hann
    windows, applied in the frequency domain to a frame as long as the longest window. A sine of amplitude a at the
    centre of a bin gives ln(a / 2).

    Shape: samples (..., samples) → (..., frames, bins), frames = 1 + samples // hop, centred, zeros beyond the edges,
    on the device of the samples.

    Args:
        num_octaves: octaves above fmin_hz.
        bins_per_octave: 12 for semitones.
        sample_rate: sample rate of the input, in Hz.
        hop_ms: hop between frames; must be a whole number of samples.
        fmin_hz: frequency of the lowest bin.
        floor_db: lower limit of the levels.
    """

    kernels: Tensor

    def __init__(
        self,
        num_octaves: int = 7,
        bins_per_octave: int = 12,
        sample_rate: int = 16_000,
        hop_ms: float = 10.0,
        fmin_hz: float = 61.74,
        floor_db: float = -100.0,
    ) -> None:
        super().__init__()
        require_at_least(1, num_octaves=num_octaves, bins_per_octave=bins_per_octave, sample_rate=sample_rate)
        require_between(10.0, sample_rate / 2 / 2**num_octaves, fmin_hz=fmin_hz)
        require_between(-300.0, -1.0, floor_db=floor_db)
        self.num_octaves, self.bins_per_octave, self.sample_rate = num_octaves, bins_per_octave, sample_rate
        self.hop_ms, self.fmin_hz, self.floor_db = float(hop_ms), float(fmin_hz), float(floor_db)
        self.num_bins = num_octaves * bins_per_octave
        self.hop_samples = compute_hop_samples(hop_ms, sample_rate)
        frequencies_hz = fmin_hz * 2.0 ** (torch.arange(self.num_bins, dtype=torch.float64) / bins_per_octave)
        kernels = build_constant_q_kernels(frequencies_hz / sample_rate, bins_per_octave)
        self.n_fft = 2 * (kernels.shape[1] - 1)
        self.register_buffer("kernels", kernels.to(torch.complex64), persistent=False)

    @property
    def bandwidth_hz(self) -> float:
        return self.fmin_hz * 2.0**self.num_octaves

    @property
    def recipe(self) -> dict[str, Any]:
        names = ("num_octaves", "bins_per_octave", "sample_rate", "hop_ms", "fmin_hz", "floor_db")
        return {"_target_": f"{__name__}.Cqt"} | {name: getattr(self, name) for name in names}

    def forward(self, samples: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch frames bins"]:
        require_one_frame(samples.shape[-1], self.hop_samples, self.sample_rate)
        spectrum = torch.stft(
            samples.reshape(-1, samples.shape[-1]),
            self.n_fft,
            self.hop_samples,
            window=torch.ones(self.n_fft, device=samples.device),
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        amplitudes = (self.kernels @ spectrum).abs().mT
        levels = torch.log(amplitudes.clamp(min=10.0 ** (self.floor_db / 20.0)))
        return levels.reshape(*samples.shape[:-1], *levels.shape[-2:])


def build_constant_q_kernels(
    frequencies: Float[Tensor, " bins"], bins_per_octave: int
) -> Complex[Tensor, "bins half_fft"]:
    """Build the spectral kernels that map the spectrum of a frame to constant-Q amplitudes.

    Args:
        frequencies: centre frequencies in cycles per sample, lowest first.
        bins_per_octave: resolution; sets the number of periods per window.
    """
    ratio = 2.0 ** (2.0 / bins_per_octave)
    num_periods = (ratio + 1.0) / (ratio - 1.0)
    n_fft = 2 ** math.ceil(math.log2(num_periods / frequencies[0].item()))
    positions = torch.arange(n_fft, dtype=torch.float64) - n_fft // 2
    lengths = (num_periods / frequencies)[:, None]
    windows = torch.where(positions.abs() <= lengths / 2, 0.5 + 0.5 * torch.cos(2 * math.pi * positions / lengths), 0.0)
    windows = windows / windows.sum(dim=1, keepdim=True)
    waves = windows * torch.exp(2j * math.pi * frequencies[:, None] * positions)
    spectra: Tensor = torch.fft.fft(waves, dim=1)[:, : n_fft // 2 + 1].conj() / n_fft
    return spectra
