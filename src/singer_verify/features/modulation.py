"""Modulation spectrum: how fast and how strongly the level of each mel band rises and falls."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from singer_verify.errors import SingerVerifyError, require_at_least, require_between
from singer_verify.features.feature import ReflectedFrames
from singer_verify.features.mel import MelSpectrogram

EDGE_TOLERANCE_HZ = 1e-6  # for the rounding of frequencies that lie on an edge
SMALLEST_POWER = 1e-10  # of a modulation; keeps the gradient of the root finite
REFERENCE_AMPLITUDE = 0.1  # in nepers; larger modulations are compressed


class ModulationSpectrum(nn.Module):
    """Strengths of the modulations of log mel bands, in bands of modulation frequency.

    Vibrato and tremolo lie between 4 and 8 Hz, notes and syllables below. The levels of a mel band in a Hann window,
    less their mean, are transformed, and the powers of a modulation band summed (Kingsbury, Morgan and Greenberg 1998,
    "Robust speech recognition using the modulation spectrogram"). Their root
    is scaled so that a sinusoidal modulation inside a band gives its amplitude A: 0.1 for levels that swing by
    ± 0.87 dB. Frames hold ln(1 + A / 0.1), so that a dropout does not outweigh all of a voice. A gain and a fixed
    channel change nothing.

    Shape: samples (..., samples) → (..., frames, bins), frames = 1 + samples // hop, on the device of the samples. Bin
    m · num_modulations + k is modulation band k of mel band m. The window is centred on its frame; where it reaches
    beyond the utterance, that is reflected, as often as needed. Raises UtteranceError for an utterance too short to
    reflect half an `n_fft` at its edges.

    Args:
        num_mels: mel bands.
        edges_hz: edges of the modulation bands, rising; a band holds its lower edge and not its upper one.
        window_ms: length of the window, rounded up to an even number of hops; it resolves 1000 / window_ms Hz.
            In a longer one, a splice or dropout of the recording is in more frames.
        sample_rate: sample rate of the input, in Hz.
        n_fft: length of window and transform of a frame, in samples; 64 ms halve modulations of 16 Hz.
        hop_ms: hop between frames; must be a whole number of samples.
        fmin_hz: lower edge of the lowest mel band.
        fmax_hz: upper edge of the highest mel band; at most half the sample rate.
        floor_db: lower limit of the levels of mel bands. At the active level of -40 dB, those of a voice are around
            -40 dB; with a much lower floor, noise and the splices of a recording are strong modulations of weak bands.

    Raises:
        SingerVerifyError: a modulation band is beyond what the window and the hop resolve.
    """

    kernels: Tensor
    band_weights: Tensor

    def __init__(
        self,
        num_mels: int = 20,
        edges_hz: Sequence[float] = (2.0, 4.0, 8.0, 16.0),
        window_ms: float = 500.0,
        sample_rate: int = 16_000,
        n_fft: int = 1024,
        hop_ms: float = 10.0,
        fmin_hz: float = 90.0,
        fmax_hz: float = 7600.0,
        floor_db: float = -70.0,
    ) -> None:
        super().__init__()
        require_at_least(1, num_mels=num_mels)
        require_between(100.0, 60_000.0, window_ms=window_ms)
        self.mel = MelSpectrogram(
            num_mels, sample_rate, n_fft, hop_ms, fmin_hz, fmax_hz, floor_db=floor_db, level_scale="log"
        )
        self.num_mels, self.window_ms = num_mels, float(window_ms)
        self.sample_rate, self.hop_ms, self.hop_samples = sample_rate, self.mel.hop_ms, self.mel.hop_samples
        self.bandwidth_hz = self.mel.bandwidth_hz
        half_window = max(math.ceil(self.window_ms / 2 / self.hop_ms - 1e-9), 1)
        frequencies_hz = np.arange(1, half_window + 1) * (500.0 / (half_window * self.hop_ms))
        is_inside = assign_frequencies(edges_hz, frequencies_hz)
        self.edges_hz = [float(edge) for edge in edges_hz]
        self.num_modulations, self.num_bins = len(is_inside), num_mels * len(is_inside)
        used = is_inside.any(axis=0)
        kernels = build_modulation_kernels(half_window, 1 + np.flatnonzero(used))
        self.register_buffer("kernels", torch.from_numpy(kernels).float(), persistent=False)
        # clone: torch aligns its own memory, and products of equally aligned matrices are equal to the bit
        weights = torch.from_numpy(np.tile(is_inside[:, used], 2)).float().clone()  # real parts, imaginary parts
        self.register_buffer("band_weights", weights, persistent=False)
        self.reflected_frames = ReflectedFrames(self.mel, half_window)
        self.shortest_samples = self.reflected_frames.shortest_samples

    @property
    def recipe(self) -> dict[str, Any]:
        own = {"num_mels": self.num_mels, "edges_hz": self.edges_hz, "window_ms": self.window_ms}
        names = ("sample_rate", "n_fft", "hop_ms", "fmin_hz", "fmax_hz", "floor_db")
        return {"_target_": f"{__name__}.ModulationSpectrum"} | own | {name: getattr(self.mel, name) for name in names}

    @property
    def context_samples(self) -> int:
        return self.reflected_frames.context_samples

    def forward(self, samples: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch frames bins"]:
        levels = self.reflected_frames(samples.reshape(-1, samples.shape[-1])).mT
        rows = levels.reshape(-1, 1, levels.shape[-1])  # (utterances · mels, 1, frames)
        parts = nn.functional.conv1d(rows, self.kernels[:, None])
        amplitudes = (self.band_weights @ parts.square()).clamp(min=SMALLEST_POWER).sqrt()
        compressed = torch.log1p(amplitudes / REFERENCE_AMPLITUDE)
        frames = compressed.reshape(-1, self.num_bins, compressed.shape[-1]).mT
        return frames.reshape(*samples.shape[:-1], *frames.shape[-2:])


def assign_frequencies(
    edges_hz: Sequence[float], frequencies_hz: Float[np.ndarray, " frequencies"]
) -> Bool[np.ndarray, "bands frequencies"]:
    """Return which modulation frequencies lie in which modulation band.

    Args:
        edges_hz: edges of the bands.
        frequencies_hz: modulation frequencies of the transform, from the lowest to half the frame rate.

    Raises:
        SingerVerifyError: the edges do not rise, or a band contains none of the frequencies.
    """
    lowest_hz, highest_hz = float(frequencies_hz[0]), float(frequencies_hz[-1])
    is_list = isinstance(edges_hz, Sequence) and len(edges_hz) > 1
    if not is_list or not all(isinstance(edge, int | float) for edge in edges_hz) or not min(np.diff(edges_hz)) > 0:
        raise SingerVerifyError(f"edges_hz={edges_hz}: expected a list of at least two rising numbers, as [2, 4, 8].")
    edges = np.array(edges_hz) - EDGE_TOLERANCE_HZ
    if edges_hz[0] < lowest_hz - EDGE_TOLERANCE_HZ or edges[-1] > highest_hz:
        raise SingerVerifyError(
            f"edges_hz={edges_hz}: expected edges from {lowest_hz:g} Hz, which window_ms resolves, to "
            f"{highest_hz:g} Hz, half the frame rate; use a longer window_ms for lower ones."
        )
    is_inside = (frequencies_hz >= edges[:-1, None]) & (frequencies_hz < edges[1:, None])
    for band in np.flatnonzero(~is_inside.any(axis=1)).tolist():
        raise SingerVerifyError(
            f"edges_hz={edges_hz}: the band from {edges_hz[band]:g} to {edges_hz[band + 1]:g} Hz is narrower "
            f"than the {lowest_hz:g} Hz that window_ms resolves; use wider bands or a longer window_ms."
        )
    return is_inside


def build_modulation_kernels(half_window: int, periods: np.ndarray) -> Float[np.ndarray, "parts window"]:
    """Build the Hann-windowed cosines, then sines, that a window of levels is multiplied with.

    A constant level gives 0, and a sinusoidal one of amplitude 1 the sum of squares 1 over all kernels near it.

    Args:
        half_window: frames to either side of the centre.
        periods: periods in a window, of each kernel.
    """
    positions = np.arange(-half_window, half_window + 1)
    window = 0.5 + 0.5 * np.cos(np.pi * positions / half_window)
    phases = np.pi * periods[:, None] * positions / half_window
    waves = np.concatenate([np.cos(phases), np.sin(phases)])
    waves = waves - (waves @ window)[:, None] / window.sum()
    # a sinusoid leaves half its amplitude in a kernel, and a quarter in either neighbour
    return waves * window * (2.0 / window.sum() / math.sqrt(1.5))
