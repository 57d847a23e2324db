"""Measurement of recordings for the conditions and confounds of an evaluation, from their files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from singer_verify.audio import load_audio
from singer_verify.audio.decoding import probe_audio
from singer_verify.audio.measures import compute_step_power, find_loud_steps
from singer_verify.errors import UtteranceError
from singer_verify.features.f0 import MAX_F0_HZ, MIN_F0_HZ, F0Tracker, convert_samples_for_world
from singer_verify.worker_processes import choose_start_method

MIN_RECORDINGS_FOR_WORKERS = 16  # for fewer recordings, starting processes takes longer than measuring
DEFAULT_F0_SETTINGS: Mapping[str, Any] = {
    "sample_rate": 16_000,
    "hop_ms": 10.0,
    "f0_method": "dio",
    "f0_min_hz": MIN_F0_HZ,
    "f0_max_hz": MAX_F0_HZ,
}


@dataclass(frozen=True)
class PitchMeasures:
    """Pitch of a recording.

    Attributes:
        median_f0_hz: median f0 in Hz, NaN where none is found.
        voiced_share: share of the loud frames in which an f0 is found; NaN without such frames.
    """

    median_f0_hz: float = np.nan
    voiced_share: float = np.nan


class PitchDataset(Dataset[PitchMeasures]):
    """Pitch of each recording.

    Args:
        paths: paths of the recordings.
        f0_settings: settings of the f0 tracker whose voiced frames are counted; the median f0 is always DIO's.
    """

    def __init__(self, paths: Sequence[Path], f0_settings: Mapping[str, Any] = DEFAULT_F0_SETTINGS) -> None:
        self.paths = paths
        self.f0 = F0Tracker(**DEFAULT_F0_SETTINGS)
        self.counted_f0 = self.f0 if f0_settings == DEFAULT_F0_SETTINGS else F0Tracker(**f0_settings)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> PitchMeasures:
        try:
            samples = load_audio(self.paths[index], self.f0.sample_rate)
            f0_hz = self.f0(convert_samples_for_world(torch.from_numpy(samples)))
            counted_hz = f0_hz
            if self.counted_f0 is not self.f0:
                if self.counted_f0.sample_rate != self.f0.sample_rate:
                    samples = load_audio(self.paths[index], self.counted_f0.sample_rate)
                counted_hz = self.counted_f0(convert_samples_for_world(torch.from_numpy(samples)))
        except UtteranceError:  # reported when this recording was embedded
            return PitchMeasures()
        voiced_hz = f0_hz[f0_hz > 0.0]
        is_loud = find_loud_steps(compute_step_power(samples, self.counted_f0.hop_samples))
        share = float((counted_hz[: len(is_loud)] > 0.0)[is_loud].mean()) if is_loud.any() else np.nan
        return PitchMeasures(float(np.median(voiced_hz)) if len(voiced_hz) else np.nan, share)


def find_f0_settings(recipe: Any) -> dict[str, Any] | None:
    """Find the settings of the first f0 tracker in a recipe of features; None if it has none."""
    if isinstance(recipe, Mapping):
        if recipe.keys() >= DEFAULT_F0_SETTINGS.keys():
            return {name: recipe[name] for name in DEFAULT_F0_SETTINGS}
        recipe = list(recipe.values())
    if isinstance(recipe, list | tuple):
        return next((found for part in recipe if (found := find_f0_settings(part)) is not None), None)
    return None


def measure_pitch(
    paths: Sequence[Path], num_workers: int, f0_settings: Mapping[str, Any] | None = None
) -> Iterator[PitchMeasures]:
    """Measure the pitch of each recording, in order.

    Args:
        paths: paths of audio files.
        num_workers: processes to use; a few recordings are measured in this one.
        f0_settings: see `PitchDataset`.
    """
    num_workers = 0 if len(paths) < MIN_RECORDINGS_FOR_WORKERS else num_workers
    yield from DataLoader(
        PitchDataset(paths, DEFAULT_F0_SETTINGS if f0_settings is None else f0_settings),
        batch_size=None,
        num_workers=num_workers,
        multiprocessing_context=choose_start_method(num_workers),
    )


def read_durations(paths: Sequence[Path]) -> Iterator[float]:
    """Measure the duration of each recording in seconds, in order; NaN where it cannot be decoded."""
    for path in paths:
        try:
            yield probe_audio(path).duration_s
        except UtteranceError:
            yield np.nan
