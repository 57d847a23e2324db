"""Kaldi's logarithmic mel filter bank, the input of most published speaker encoders."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from singer_verify.errors import SingerVerifyError, require_at_least, require_between, require_choice
from singer_verify.features.feature import compute_hop_samples, require_one_frame

KALDI_FULL_SCALE = 32768.0  # Kaldi reads samples as 16-bit integers
PRE_EMPHASIS = 0.97
WINDOWS = ("povey", "hamming")
POVEY_EXPONENT = 0.85
MIN_POWER = float(np.finfo(np.float32).eps)  # of a band: smaller powers are raised to it before the logarithm
HTK_SCALE, HTK_BREAK_HZ = 1127.0, 700.0  # mel = 1127 ln(1 + f / 700), The HTK Book 3.4, section 5.4


class Fbank(nn.Module):
    """Log mel powers as Kaldi computes them (Povey et al. 2011, "The Kaldi speech recognition toolkit").

    Each frame has its mean removed, is pre-emphasised by 0.97, weighted by a window and padded to a power of two. The
    power spectrum is summed in bands that are triangles on the mel scale, and the natural logarithm is taken. No dither
    is added.

    Published encoders are given these frames less their mean over the recording, which removes level and channel:
    `features.normalise=utterance_mean`, the default of conf/features/fbank.yaml.

    Shape: samples (..., samples) → (..., frames, bins), on the device of the samples. A frame lies inside of the
    recording: frame k is made of the `frame_samples` samples from sample k · hop on, and
    frames = 1 + (samples - frame_samples) // hop. Raises UtteranceError for an utterance shorter than a frame.

    Args:
        num_bins: mel bands.
        sample_rate: sample rate of the input, in Hz.
        frame_ms: length of a frame.
        hop_ms: hop between frames; must be a whole number of samples.
        fmin_hz: lower edge of the lowest band.
        fmax_hz: upper edge of the highest band; at most half the sample rate.
        full_scale: number that a sample of 1.0 is taken as: 32768 as in Kaldi; 1, as some programs have it, raises the
            floor of the logarithm by 90 dB, to the level of the quantisation of 16-bit recordings.
        window: povey, Kaldi's default, which is a Hann window to the power of 0.85, or hamming.
    """

    weights: Tensor
    filterbank: Tensor

    def __init__(
        self,
        num_bins: int = 80,
        sample_rate: int = 16_000,
        frame_ms: float = 25.0,
        hop_ms: float = 10.0,
        fmin_hz: float = 20.0,
        fmax_hz: float = 8000.0,
        full_scale: float = KALDI_FULL_SCALE,
        window: str = "povey",
    ) -> None:
        super().__init__()
        require_at_least(1, num_bins=num_bins, sample_rate=sample_rate)
        require_between(1.0, 1000.0, frame_ms=frame_ms)
        require_between(0.0, sample_rate / 2, fmin_hz=fmin_hz, fmax_hz=fmax_hz)
        require_between(1.0, 2.0**31, full_scale=full_scale)
        require_choice(WINDOWS, window=window)
        self.num_bins, self.sample_rate, self.window = num_bins, sample_rate, window
        self.frame_ms, self.hop_ms, self.full_scale = float(frame_ms), float(hop_ms), float(full_scale)
        self.fmin_hz, self.fmax_hz = float(fmin_hz), float(fmax_hz)
        self.hop_samples = compute_hop_samples(hop_ms, sample_rate)
        self.frame_samples = int(frame_ms * sample_rate / 1000)
        self.n_fft = 1 << (self.frame_samples - 1).bit_length()
        weights = (
            np.hanning(self.frame_samples) ** POVEY_EXPONENT if window == "povey" else np.hamming(self.frame_samples)
        )
        self.register_buffer("weights", torch.from_numpy(weights).float(), persistent=False)
        filterbank = build_kaldi_filterbank(num_bins, sample_rate, self.n_fft, self.fmin_hz, self.fmax_hz)
        # clone: torch aligns its own memory, and products of equally aligned matrices are equal to the bit
        self.register_buffer("filterbank", torch.from_numpy(filterbank).clone(), persistent=False)

    @property
    def bandwidth_hz(self) -> float:
        return self.fmax_hz

    @property
    def recipe(self) -> dict[str, Any]:
        names = ("num_bins", "sample_rate", "frame_ms", "hop_ms", "fmin_hz", "fmax_hz", "full_scale", "window")
        return {"_target_": f"{__name__}.Fbank"} | {name: getattr(self, name) for name in names}

    @property
    def context_samples(self) -> int:
        return self.frame_samples - 1

    def count_frames(self, num_samples: Any) -> Any:
        """Count the frames of an utterance, or of each in an array of lengths in samples."""
        return 1 + (num_samples - self.frame_samples) // self.hop_samples

    def forward(self, samples: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch frames bins"]:
        require_one_frame(samples.shape[-1], self.frame_samples, self.sample_rate)
        frames = (samples * self.full_scale).unfold(-1, self.frame_samples, self.hop_samples)
        frames = frames - frames.mean(dim=-1, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
        spectrum = torch.fft.rfft((frames - PRE_EMPHASIS * before) * self.weights, self.n_fft)
        powers = torch.view_as_real(spectrum).square().sum(dim=-1)
        return (powers @ self.filterbank).clamp(min=MIN_POWER).log()


def build_kaldi_filterbank(
    num_bins: int, sample_rate: int, n_fft: int, fmin_hz: float, fmax_hz: float
) -> Float[np.ndarray, "frequencies bins"]:
    """Build filters that are triangles of height 1 on the mel scale, equally wide there.

    Raises:
        SingerVerifyError: a band is narrower than a bin of the transform.
    """

    def to_mel(frequency_hz: Any) -> Any:
        return HTK_SCALE * np.log1p(frequency_hz / HTK_BREAK_HZ)

    edges = np.linspace(to_mel(fmin_hz), to_mel(fmax_hz), num_bins + 2)
    mels = to_mel(np.arange(n_fft // 2 + 1) * sample_rate / n_fft)[:, None]
    rising = (mels - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mels) / (edges[2:] - edges[1:-1])
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    triangles[-1] = 0.0  # Kaldi leaves out half the sample rate
    if empty := int((triangles.max(axis=0) == 0.0).sum()):
        raise SingerVerifyError(
            f"num_bins={num_bins}: {empty} mel bands between {fmin_hz:g} and {fmax_hz:g} Hz are narrower than a bin of "
            f"the transform ({n_fft} samples); use fewer bands or a longer frame_ms."
        )
    return triangles.astype(np.float32)
