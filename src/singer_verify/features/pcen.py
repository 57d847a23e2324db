"""Per-channel energy normalisation: mel bands with an automatic gain each."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from singer_verify.errors import require_between
from singer_verify.features.mel import MelSpectrogram

SMALLEST_WEIGHT = 1e-8  # of a past frame in the smoothed magnitude, below what single precision tells


class Pcen(nn.Module):
    """Mel magnitudes E divided by their own recent mean M, and compressed: (E / (ε + M)^α + δ)^r - δ^r.

    M[t] = (1 - s) M[t-1] + s E[t] in each band, M[0] = E[0]. Steady noise and the response of a room or microphone go
    away with the mean, onsets and vibrato stay (Wang, Getreuer, Hughes, Lyon and Saurous 2017, "Trainable frontend for
    robust and far-field keyword spotting"; Lostanlen et al. 2019, "Per-channel energy normalization: why and how").
    Frames depend on all of the utterance before them.

    Shape: samples (..., samples) → (..., frames, bins), frames = 1 + samples // hop, centred, reflected edges, on the
    device of the samples. Raises UtteranceError for an utterance too short to reflect half a window at its edges.

    Args:
        num_bins: mel bands.
        gain: exponent α of the mean: 0 for no gain control, 1 for a complete one.
        bias: δ, which keeps weak noise low.
        power: exponent r of the compression.
        time_constant_ms: T, over which the mean forgets: s = (√(1 + 4 T²) - 1) / (2 T²), with T in hops, so that the
            smoother's squared response is halved at about 1 / T radians per frame.
        epsilon: ε, the magnitude below which bands are not raised: at the active level of -40 dB, bands of a voice are
            around 1e-2, and without a voice below 1e-4. With a smaller one, each splice of a recording is an onset.
        sample_rate: sample rate of the input, in Hz.
        n_fft: length of window and transform, in samples.
        hop_ms: hop between frames; must be a whole number of samples.
        fmin_hz: lower edge of the lowest band.
        fmax_hz: upper edge of the highest band; at most half the sample rate.
    """

    context_samples = None  # the mean begins with the utterance

    def __init__(
        self,
        num_bins: int = 40,
        gain: float = 0.98,
        bias: float = 2.0,
        power: float = 0.5,
        time_constant_ms: float = 400.0,
        epsilon: float = 1e-4,
        sample_rate: int = 16_000,
        n_fft: int = 1024,
        hop_ms: float = 10.0,
        fmin_hz: float = 90.0,
        fmax_hz: float = 7600.0,
    ) -> None:
        super().__init__()
        require_between(0.0, 1.0, gain=gain)
        require_between(0.0, 1000.0, bias=bias)
        require_between(0.01, 1.0, power=power)
        require_between(1.0, 60_000.0, time_constant_ms=time_constant_ms)
        require_between(1e-12, 1.0, epsilon=epsilon)
        self.mel = MelSpectrogram(num_bins, sample_rate, n_fft, hop_ms, fmin_hz, fmax_hz)
        self.gain, self.bias, self.power = float(gain), float(bias), float(power)
        self.time_constant_ms, self.epsilon = float(time_constant_ms), float(epsilon)
        self.num_bins, self.sample_rate, self.hop_ms = num_bins, sample_rate, self.mel.hop_ms
        self.bandwidth_hz, self.hop_samples = self.mel.bandwidth_hz, self.mel.hop_samples
        hops = self.time_constant_ms / self.hop_ms
        self.smoothing = (math.sqrt(1.0 + 4.0 * hops**2) - 1.0) / (2.0 * hops**2)

    @property
    def recipe(self) -> dict[str, Any]:
        mel_settings = {name: getattr(self.mel, name) for name in ("n_fft", "fmin_hz", "fmax_hz")}
        names = ("num_bins", "gain", "bias", "power", "time_constant_ms", "epsilon", "sample_rate", "hop_ms")
        own = {name: getattr(self, name) for name in names}
        return {"_target_": f"{__name__}.Pcen"} | own | mel_settings

    def forward(self, samples: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch frames bins"]:
        bands = self.mel.compute_bands(samples)
        levelled = bands * (self.epsilon + self._smooth(bands)) ** -self.gain
        return (levelled + self.bias) ** self.power - self.bias**self.power

    def _smooth(self, bands: Float[Tensor, "*batch frames bins"]) -> Float[Tensor, "*batch frames bins"]:
        """Compute M: sums over 2, 4, 8, ... past frames, each of two sums before, until older frames weigh nothing."""
        num_frames, decay = bands.shape[-2], 1.0 - self.smoothing
        means = torch.cat([bands[..., :1, :], self.smoothing * bands[..., 1:, :]], dim=-2)
        reach = 1
        while decay**reach > SMALLEST_WEIGHT:
            means = means + decay**reach * pad(means, (0, 0, reach, 0))[..., :num_frames, :]
            reach *= 2
        return means
