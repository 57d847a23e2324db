"""Length and pitch of recordings, for conditions that ask how long two utterances are and how far apart they lie."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from singer_verify.audio import load_audio
from singer_verify.audio.probing import probe_audio
from singer_verify.errors import UtteranceError
from singer_verify.features.f0 import MAX_F0_HZ, MIN_F0_HZ, F0Tracker, convert_samples_for_world
from singer_verify.worker_processes import choose_start_method

PITCH_SAMPLE_RATE, PITCH_HOP_MS = 16_000, 10.0
MIN_RECORDINGS_FOR_WORKERS = 16  # recordings: starting processes for fewer takes longer than they do


class MedianF0Dataset(Dataset[float]):
    """The median f0 of each recording in Hz; NaN where it cannot be told.

    Args:
        paths: of the recordings.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.f0 = F0Tracker(PITCH_SAMPLE_RATE, PITCH_HOP_MS, "dio", MIN_F0_HZ, MAX_F0_HZ)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> float:
        try:
            samples = load_audio(self.paths[index], PITCH_SAMPLE_RATE)
            f0_hz = self.f0(convert_samples_for_world(torch.from_numpy(samples)))
        except UtteranceError:  # which the embedding of this recording has said already
            return np.nan
        voiced = f0_hz[f0_hz > 0.0]
        return float(np.median(voiced)) if len(voiced) else np.nan


def measure_median_f0(paths: Sequence[Path], num_workers: int) -> Iterator[float]:
    """Median f0 of each recording in Hz, in their order.

    Args:
        paths: of audio files.
        num_workers: processes that measure; few recordings are measured in this one.
    """
    num_workers = 0 if len(paths) < MIN_RECORDINGS_FOR_WORKERS else num_workers
    yield from DataLoader(
        MedianF0Dataset(paths),
        batch_size=None,
        num_workers=num_workers,
        multiprocessing_context=choose_start_method(num_workers),
    )


def read_durations(paths: Sequence[Path]) -> Iterator[float]:
    """Seconds of each recording, in their order, as its header has it; NaN where it cannot be told."""
    for path in paths:
        try:
            yield probe_audio(path).seconds
        except UtteranceError:
            yield np.nan
