"""The input of Resemblyzer's speaker encoder: mel power of a volume-normalised voice."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from singer_verify.features.mel import build_mel_filterbank, compute_absolute_values

# The published weights require these values, so none of them is a setting.
SAMPLE_RATE = 16_000
WINDOW_SAMPLES, HOP_SAMPLES = 400, 160  # 25 ms, 10 ms
NUM_BINS = 40
MIN_RMS = 10.0 ** (-30 / 20)  # root mean square of -30 dB of full scale
PARTIAL_FRAMES = 160  # 1.6 s are embedded at once
PARTIAL_HOP_FRAMES = 77  # 1.3 partials a second
PIECE_FRAMES = 12_000  # computed at once, two minutes
MIN_PARTIAL_COVERAGE = 0.75  # a last partial that covers less of the recording is dropped


class Resemblyzer(nn.Module):
    """Frames for the weights published with Resemblyzer and Real-Time-Voice-Cloning (Wan et al. 2018; Jia et al. 2018).

    Recordings below -30 dBFS are amplified to that level, louder ones are unchanged. Then a power spectrogram (Hann
    window of 25 ms, hop 10 ms, zeros beyond the edges) in 40 mel bands from 0 to 8000 Hz, without a logarithm. The
    recording is padded with silence or cut so that it ends with a partial (1.6 s long, one every 0.77 s). So
    evaluation windows of 160 frames are the partials, in recordings up to 20 s.

    Not included is the removal of long silences (webrtcvad) that `resemblyzer.preprocess_wav` does first: recordings
    without it are embedded as they are.

    Shape: samples (samples,) → (frames, 40), on the device of the samples.
    """

    window: Tensor
    filterbank: Tensor
    sample_rate, hop_ms, num_bins = SAMPLE_RATE, 1000.0 * HOP_SAMPLES / SAMPLE_RATE, NUM_BINS

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(WINDOW_SAMPLES), persistent=False)
        filterbank = build_mel_filterbank(NUM_BINS, SAMPLE_RATE, WINDOW_SAMPLES, 0.0, SAMPLE_RATE / 2)
        self.register_buffer("filterbank", torch.from_numpy(filterbank), persistent=False)

    @property
    def bandwidth_hz(self) -> float:
        return SAMPLE_RATE / 2

    @property
    def recipe(self) -> dict[str, Any]:
        return {"_target_": f"{__name__}.Resemblyzer"}

    def forward(self, samples: Float[Tensor, " samples"]) -> Float[Tensor, "frames bins"]:
        num_frames = count_padded_frames(len(samples))
        beyond = max(0, num_frames * HOP_SAMPLES - len(samples))
        padded = pad(raise_volume(samples), (WINDOW_SAMPLES // 2, WINDOW_SAMPLES // 2 + beyond))
        pieces = []
        for first in range(0, num_frames, PIECE_FRAMES):  # the spectrum of an hour takes more memory than its samples
            last = min(first + PIECE_FRAMES, num_frames) - 1
            piece = padded[first * HOP_SAMPLES : last * HOP_SAMPLES + WINDOW_SAMPLES]
            spectrum = torch.stft(
                piece, WINDOW_SAMPLES, HOP_SAMPLES, window=self.window, center=False, return_complex=True
            )
            magnitudes = compute_absolute_values(spectrum.mT).mT
            pieces.append((self.filterbank @ magnitudes.square()).mT)
        return torch.cat(pieces)


def raise_volume(samples: Float[Tensor, " samples"]) -> Float[Tensor, " samples"]:
    """Amplify samples to an RMS of at least -30 dBFS."""
    rms = samples.square().mean().sqrt()
    return samples * (MIN_RMS / rms).clamp(min=1.0) if rms > 0 else samples


def count_padded_frames(num_samples: int) -> int:
    """Count the frames of a recording padded or cut to end with a partial; at least one partial."""
    beyond_first = math.ceil((num_samples + 1) / HOP_SAMPLES) - PARTIAL_FRAMES
    last = max(0, beyond_first + PARTIAL_HOP_FRAMES) // PARTIAL_HOP_FRAMES
    covered_samples = num_samples - last * PARTIAL_HOP_FRAMES * HOP_SAMPLES
    if last and covered_samples < MIN_PARTIAL_COVERAGE * PARTIAL_FRAMES * HOP_SAMPLES:
        last -= 1
    return last * PARTIAL_HOP_FRAMES + PARTIAL_FRAMES
