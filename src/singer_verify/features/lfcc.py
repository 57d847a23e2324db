"""Linear-frequency cepstral coefficients."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from singer_verify.errors import SingerVerifyError, require_at_least, require_between
from singer_verify.features.feature import compute_hop_samples, require_one_frame
from singer_verify.features.mel import compute_magnitudes
from singer_verify.features.mfcc import build_dct_matrix


class Lfcc(nn.Module):
    """Cepstral coefficients of bands that are equally wide in Hz: the orthonormal DCT-II of their log magnitudes.

    They resolve high frequencies, where the vocal tract's length tells singers apart, as finely as low ones (Zhou,
    Garcia-Romero, Duraiswami, Espy-Wilson and Shamma 2011, "Linear versus mel frequency cepstral coefficients for
    speaker recognition"). A band sums the powers of a Hann-windowed frame, weighted by a triangle of height
    1 whose feet are the centres of its neighbours. Its magnitude is the root of that: with logarithms of powers, all
    coefficients would be twice those of `Mfcc`, too large for an LSTM to start from.

    Shape: samples (..., samples) → (..., frames, bins), frames = 1 + samples // hop, centred, reflected edges, on the
    device of the samples. Raises UtteranceError for an utterance too short to reflect half a window at its edges.

    Args:
        num_bins: number of coefficients.
        num_bands: number of bands.
        c0: whether to keep coefficient 0, the level of the frame, instead of starting at coefficient 1.
        sample_rate: sample rate of the input, in Hz.
        n_fft: length of window and transform, in samples.
        hop_ms: hop between frames; must be a whole number of samples.
        fmin_hz: lower edge of the lowest band.
        fmax_hz: upper edge of the highest band; at most half the sample rate.
        floor_db: lower limit of the levels of bands.
    """

    window: Tensor
    filterbank: Tensor
    transform: Tensor

    def __init__(
        self,
        num_bins: int = 20,
        num_bands: int = 40,
        c0: bool = True,
        sample_rate: int = 16_000,
        n_fft: int = 1024,
        hop_ms: float = 10.0,
        fmin_hz: float = 0.0,
        fmax_hz: float = 8000.0,
        floor_db: float = -100.0,
    ) -> None:
        super().__init__()
        require_at_least(1, num_bins=num_bins, num_bands=num_bands, sample_rate=sample_rate, n_fft=n_fft)
        require_between(1, num_bands if c0 else num_bands - 1, num_bins=num_bins)
        require_between(0.0, sample_rate / 2, fmin_hz=fmin_hz)
        require_between(fmin_hz, sample_rate / 2, fmax_hz=fmax_hz)
        require_between(-300.0, -1.0, floor_db=floor_db)
        self.num_bins, self.num_bands, self.c0, self.sample_rate, self.n_fft = (
            num_bins,
            num_bands,
            c0,
            sample_rate,
            n_fft,
        )
        self.hop_ms, self.fmin_hz, self.fmax_hz = float(hop_ms), float(fmin_hz), float(fmax_hz)
        self.floor_db = float(floor_db)
        self.hop_samples = compute_hop_samples(hop_ms, sample_rate)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        filterbank = build_linear_filterbank(num_bands, sample_rate, n_fft, self.fmin_hz, self.fmax_hz)
        # clone: torch aligns its own memory, and products of equally aligned matrices are equal to the bit
        self.register_buffer("filterbank", torch.from_numpy(filterbank).clone(), persistent=False)
        coefficients = torch.arange(num_bins, dtype=torch.float64) + (0 if c0 else 1)
        transform = build_dct_matrix(coefficients, num_bands).float()
        self.register_buffer("transform", transform, persistent=False)

    @property
    def bandwidth_hz(self) -> float:
        return self.fmax_hz

    @property
    def recipe(self) -> dict[str, Any]:
        own = ("num_bins", "num_bands", "c0", "floor_db")
        names = (*own, "sample_rate", "n_fft", "hop_ms", "fmin_hz", "fmax_hz")
        return {"_target_": f"{__name__}.Lfcc"} | {name: getattr(self, name) for name in names}

    @property
    def context_samples(self) -> int:
        return self.n_fft // 2

    def forward(self, samples: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch frames bins"]:
        require_one_frame(samples.shape[-1], self.n_fft // 2 + 1, self.sample_rate)
        magnitudes = compute_magnitudes(samples.reshape(-1, samples.shape[-1]), self.window, self.hop_samples)
        powers = (self.filterbank @ magnitudes.square()).mT
        levels = 0.5 * torch.log(powers.clamp(min=10.0 ** (self.floor_db / 10.0)))
        cepstra = levels @ self.transform.mT
        return cepstra.reshape(*samples.shape[:-1], *cepstra.shape[-2:])


def build_linear_filterbank(
    num_bands: int, sample_rate: int, n_fft: int, fmin_hz: float, fmax_hz: float
) -> Float[np.ndarray, "bands frequencies"]:
    """Build triangular filters of height 1 whose centres are equally spaced in Hz.

    Raises:
        SingerVerifyError: the bands are narrower than a bin of the transform.
    """
    spacing_hz, bin_hz = (fmax_hz - fmin_hz) / (num_bands + 1), sample_rate / n_fft
    if spacing_hz < bin_hz:
        raise SingerVerifyError(
            f"num_bands={num_bands}: bands between {fmin_hz:g} and {fmax_hz:g} Hz are {spacing_hz:g} Hz apart, less "
            f"than a bin of n_fft={n_fft} ({bin_hz:g} Hz); use fewer bands or a longer n_fft."
        )
    centres_hz = fmin_hz + spacing_hz * np.arange(1, num_bands + 1)[:, None]
    frequencies_hz = np.arange(n_fft // 2 + 1) * bin_hz
    return np.maximum(0.0, 1.0 - np.abs(frequencies_hz - centres_hz) / spacing_hz).astype(np.float32)
