"""Gammatone filter bank: bands as the ear's, equally spaced on the scale of equivalent rectangular bandwidths."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from singer_verify.errors import SingerVerifyError, require_at_least, require_between, require_choice
from singer_verify.features.feature import compute_hop_samples, require_one_frame
from singer_verify.features.mel import compute_magnitudes

COMPRESSIONS = ("log", "cubic_root")
FILTER_ORDER = 4
BANDWIDTH_FACTOR = 1.019  # bandwidth parameter of a filter of order 4 ÷ its equivalent rectangular bandwidth
# Glasberg and Moore 1990: the equivalent rectangular bandwidth is MIN_ERB_HZ + f / ERB_QUALITY
MIN_ERB_HZ, ERB_QUALITY = 24.7, 9.26449


class Gammatone(nn.Module):
    """Compressed magnitudes of gammatone bands (Patterson et al. 1992, "Complex sounds and auditory images").

    A filter has the impulse response t³ exp(-2π b t) cos(2π f t), with b = 1.019 equivalent rectangular bandwidths at
    its centre f (Glasberg and Moore 1990, "Derivation of auditory filter shapes from notched-noise data"); 0 dB at the
    centre. Its squared frequency response weights the powers of a Hann-windowed frame, and the band's magnitude is the
    root of their sum. `cubic_root` instead of the logarithm is the compression of gammatone cepstra (Shao, Jin, Wang
    and Srinivasan 2009, "An auditory-based feature for robust speech recognition"), which makes less of
    the differences of weak bands.

    Shape: samples (..., samples) → (..., frames, bins), frames = 1 + samples // hop, centred, reflected edges, on the
    device of the samples. Raises UtteranceError for an utterance too short to reflect half a window at its edges.

    Args:
        num_bins: bands.
        sample_rate: sample rate of the input, in Hz.
        n_fft: length of window and transform, in samples.
        hop_ms: hop between frames; must be a whole number of samples.
        fmin_hz: centre of the lowest band.
        fmax_hz: centre of the highest band; at most half the sample rate.
        compression: log, the natural logarithm of magnitudes, or cubic_root.
        floor_db: lower limit of the levels.
    """

    window: Tensor
    filterbank: Tensor

    def __init__(
        self,
        num_bins: int = 64,
        sample_rate: int = 16_000,
        n_fft: int = 1024,
        hop_ms: float = 10.0,
        fmin_hz: float = 80.0,
        fmax_hz: float = 7600.0,
        compression: str = "log",
        floor_db: float = -100.0,
    ) -> None:
        super().__init__()
        require_at_least(1, num_bins=num_bins, sample_rate=sample_rate, n_fft=n_fft)
        require_between(20.0, sample_rate / 2, fmin_hz=fmin_hz)
        require_between(fmin_hz, sample_rate / 2, fmax_hz=fmax_hz)
        require_choice(COMPRESSIONS, compression=compression)
        require_between(-300.0, -1.0, floor_db=floor_db)
        self.num_bins, self.sample_rate, self.n_fft, self.hop_ms = num_bins, sample_rate, n_fft, float(hop_ms)
        self.fmin_hz, self.fmax_hz, self.floor_db = float(fmin_hz), float(fmax_hz), float(floor_db)
        self.compression = compression
        self.hop_samples = compute_hop_samples(hop_ms, sample_rate)
        width_hz = MIN_ERB_HZ + self.fmin_hz / ERB_QUALITY
        if width_hz < sample_rate / n_fft:
            raise SingerVerifyError(
                f"n_fft={n_fft}: a bin of {sample_rate / n_fft:g} Hz is wider than the band at fmin_hz={fmin_hz:g} "
                f"({width_hz:g} Hz); use a longer n_fft."
            )
        centres_hz = compute_centres_hz(num_bins, self.fmin_hz, self.fmax_hz)
        responses = compute_gammatone_responses(centres_hz, np.arange(n_fft // 2 + 1) * sample_rate / n_fft)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        # clone: torch aligns its own memory, and products of equally aligned matrices are equal to the bit
        filterbank = torch.from_numpy(np.square(responses).astype(np.float32)).clone()
        self.register_buffer("filterbank", filterbank, persistent=False)

    @property
    def bandwidth_hz(self) -> float:
        return self.sample_rate / 2

    @property
    def recipe(self) -> dict[str, Any]:
        names = ("num_bins", "sample_rate", "n_fft", "hop_ms", "fmin_hz", "fmax_hz", "compression", "floor_db")
        return {"_target_": f"{__name__}.Gammatone"} | {name: getattr(self, name) for name in names}

    @property
    def context_samples(self) -> int:
        return self.n_fft // 2

    def forward(self, samples: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch frames bins"]:
        require_one_frame(samples.shape[-1], self.n_fft // 2 + 1, self.sample_rate)
        magnitudes = compute_magnitudes(samples.reshape(-1, samples.shape[-1]), self.window, self.hop_samples)
        powers = (self.filterbank @ magnitudes.square()).mT.clamp(min=10.0 ** (self.floor_db / 10.0))
        levels = 0.5 * torch.log(powers) if self.compression == "log" else powers ** (1 / 6)
        return levels.reshape(*samples.shape[:-1], *levels.shape[-2:])


def compute_centres_hz(num_bins: int, fmin_hz: float, fmax_hz: float) -> Float[np.ndarray, " bins"]:
    """Compute centre frequencies with equal numbers of equivalent rectangular bandwidths between them."""
    offset_hz = MIN_ERB_HZ * ERB_QUALITY
    return np.geomspace(fmin_hz + offset_hz, fmax_hz + offset_hz, num_bins) - offset_hz


def compute_gammatone_responses(
    centres_hz: Float[np.ndarray, " bins"], frequencies_hz: Float[np.ndarray, " frequencies"]
) -> Float[np.ndarray, "bins frequencies"]:
    """Compute magnitudes of the frequency responses of gammatone filters, 1 at their centres.

    The Fourier transform of the impulse response, without constant factors: the sum of a resonance at f and one at -f.
    """
    widths_hz = BANDWIDTH_FACTOR * (MIN_ERB_HZ + centres_hz / ERB_QUALITY)

    def respond(at_hz: Float[np.ndarray, "#bins #frequencies"]) -> Float[np.ndarray, "bins frequencies"]:
        resonances = [
            (1 + 1j * (at_hz - sign * centres_hz[:, None]) / widths_hz[:, None]) ** -FILTER_ORDER for sign in (1, -1)
        ]
        return np.abs(resonances[0] + resonances[1])

    return respond(frequencies_hz[None]) / respond(centres_hz[:, None])
