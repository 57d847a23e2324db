"""Voice activity detection, by level relative to the recording and by voicing.

A recording is measured in steps of 10 ms. A step holds a voice if it is voiced and not more than `activity_db` below
the level of the voiced steps, or if it is loud and such a step is close by: consonants between sung notes stay, and
pauses, however noisy, go. A step is voiced if its spectrum is periodic as a voice's is: not a pure tone, and not the
unchanging spectrum of mains hum or of a test signal.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import binary_dilation, maximum_filter1d, median_filter

from singer_verify.audio.voicing import (
    ANALYSIS_S,
    CONTEXT_STEPS,
    STEP_S,
    TINY,
    compute_band_power,
    compute_step_samples,
    detect_voiced_steps,
)
from singer_verify.errors import UtteranceError

MIN_VOICE_S = 0.5  # of voice, in a recording that is to tell a singer
DEFAULT_ACTIVITY_DB = 35.0
CHUNK_STEPS = 3000  # steps that are measured at once
VOICING_FILTER_STEPS = 7  # a median over 70 ms ignores single periodic steps
# A step at the edge of a pause holds a voice from where 0.1 % of its energy has passed, or until 0.1 % is left, so that
# what is cut out of a held note is the pause to the sample.
EDGE_ENERGY = 1e-3
LEAKAGE_DB = 10.0  # a step at an edge is a pause if it is this far below the level of the windows that reach beyond it
HANGOVER_S = 0.1  # unvoiced sounds this close to a voiced step belong to the voice, as consonants do,
UNVOICED_MARGIN_DB = 10.0  # if they are this far above the level of pauses


@dataclass(frozen=True)
class ActivityMeasures:
    """Measures of a recording in steps of 10 ms, from which its activity is decided.

    Attributes:
        sample_rate: sample rate of the recording, in Hz.
        num_samples: number of its samples.
        power: (steps,), mean power between 80 Hz and 5 kHz.
        is_voiced: (steps,), whether a voice of definite pitch sounds.
        sums: (steps, 2), sums of the samples and of their squares.
        bounds: (steps, 2), first sample of each step and the end of those that hold all but 0.2 % of its energy.
    """

    sample_rate: int
    num_samples: int
    power: Float[np.ndarray, " steps"]
    is_voiced: Bool[np.ndarray, " steps"]
    sums: Float[np.ndarray, "steps 2"]
    bounds: Int[np.ndarray, "steps 2"]

    def find_voice(self, activity_db: float = DEFAULT_ACTIVITY_DB) -> "VoiceActivity":
        """Decide which steps hold a voice.

        Args:
            activity_db: steps this far below the level of the voiced steps are pauses. That level is the power above
                which voiced steps hold half of their energy, which pauses of any length leave as it is.
        """
        power = np.where(self.is_voiced, self.power, 0.0)
        loudest_first = np.sort(power)[::-1]
        energy = np.cumsum(loudest_first, dtype=np.float64)
        reference = loudest_first[np.searchsorted(energy, energy[-1] / 2)] if len(energy) else 0.0
        if not reference:
            return VoiceActivity(self.sample_rate, self.num_samples, np.zeros(len(power), bool), self.sums, self.bounds)
        level_db = 10.0 * np.log10(np.maximum(self.power, TINY) / reference)
        is_sung = self.is_voiced & (level_db > -activity_db)
        is_near = binary_dilation(is_sung, np.ones(2 * round(HANGOVER_S / STEP_S) + 1, bool))
        is_active = is_sung | (is_near & (level_db > UNVOICED_MARGIN_DB - activity_db))
        around = maximum_filter1d(self.power, 3, mode="constant")
        is_active = _trim_edges(is_active, self._compute_own_power() < 10.0 ** (-LEAKAGE_DB / 10.0) * around)
        return VoiceActivity(self.sample_rate, self.num_samples, is_active, self.sums, self.bounds)

    def _compute_own_power(self) -> Float[np.ndarray, " steps"]:
        """Compute the power of the samples of each step alone, their mean removed."""
        total, squares = self.sums.T / compute_step_samples(self.sample_rate)
        power: np.ndarray = squares - np.square(total)
        return power


def _trim_edges(
    is_active: Bool[np.ndarray, " steps"], is_leakage: Bool[np.ndarray, " steps"]
) -> Bool[np.ndarray, " steps"]:
    """Return the activity without the first and the last steps of its runs that are leakage from beside them."""
    trimmed = is_active.copy()
    for _ in range(round(ANALYSIS_S / 2 / STEP_S)):  # how far a window reaches
        is_edge = trimmed & ~(np.append(trimmed[1:], False) & np.insert(trimmed[:-1], 0, False))
        trimmed &= ~(is_edge & is_leakage)
    return trimmed


@dataclass(frozen=True)
class VoiceActivity:
    """The steps of a recording that hold a voice.

    Attributes:
        sample_rate: sample rate of the recording, in Hz.
        num_samples: number of its samples.
        is_active: (steps,), whether a step of 10 ms holds a voice.
        sums: (steps, 2), sums of the samples and of their squares in each step.
        bounds: (steps, 2), see `ActivityMeasures`.
        pause_s: seconds of each pause that are kept, half of them at either end.
    """

    sample_rate: int
    num_samples: int
    is_active: Bool[np.ndarray, " steps"]
    sums: Float[np.ndarray, "steps 2"]
    bounds: Int[np.ndarray, "steps 2"]
    pause_s: float = 0.0

    @cached_property
    def runs(self) -> Int[np.ndarray, "runs 2"]:
        """First sample and end of each stretch that is kept: the voice, and `pause_s` of each pause."""
        margin = round(self.pause_s / 2 * self.sample_rate)
        starts = np.maximum(self.voice_runs[:, 0] - margin, 0)
        ends = np.minimum(self.voice_runs[:, 1] + margin, self.num_samples)
        is_apart = starts[1:] > ends[:-1]
        begins, finishes = np.append(True, is_apart), np.append(is_apart, True)
        return np.stack([starts[begins[: len(starts)]], ends[finishes[: len(ends)]]], axis=1)

    @cached_property
    def voice_runs(self) -> Int[np.ndarray, "runs 2"]:
        """First sample and end of each run of active steps, to the sample where the run borders on a pause."""
        edges = np.flatnonzero(np.diff(np.concatenate([[False], self.is_active, [False]]))).reshape(-1, 2)
        first_steps, last_steps = edges[:, 0], edges[:, 1] - 1
        step = compute_step_samples(self.sample_rate)
        starts = first_steps * step + self.bounds[first_steps, 0] * (first_steps > 0)
        ends = last_steps * step + np.where(edges[:, 1] < len(self.is_active), self.bounds[last_steps, 1], step)
        return np.minimum(np.stack([starts, ends], axis=1), self.num_samples)

    @property
    def num_kept_samples(self) -> int:
        return int((self.runs[:, 1] - self.runs[:, 0]).sum())

    @property
    def num_voice_samples(self) -> int:
        return int((self.voice_runs[:, 1] - self.voice_runs[:, 0]).sum())

    @property
    def voice_s(self) -> float:
        """Duration of the voice, in seconds."""
        return self.num_voice_samples / self.sample_rate

    @property
    def duration_s(self) -> float:
        return self.num_samples / self.sample_rate

    @property
    def pauses_s(self) -> Float[np.ndarray, "pauses 2"]:
        """Start and end of each stretch that is left out, in seconds."""
        edges = np.concatenate([[0], self.runs.ravel(), [self.num_samples]]).reshape(-1, 2)
        return edges[edges[:, 1] > edges[:, 0]] / self.sample_rate

    def compute_voice_share(
        self, starts_s: Float[np.ndarray, " stretches"], ends_s: Float[np.ndarray, " stretches"]
    ) -> Float[np.ndarray, " stretches"]:
        """Compute which share of the time of each stretch holds a voice.

        Args:
            starts_s: starts of the stretches, in seconds.
            ends_s: ends of the stretches.
        """
        num_active = np.concatenate([[0], np.cumsum(self.is_active)])
        step_s = compute_step_samples(self.sample_rate) / self.sample_rate
        first = np.clip((starts_s / step_s).round().astype(np.int64), 0, len(self.is_active) - 1)
        end = np.clip((ends_s / step_s).round().astype(np.int64), first + 1, len(self.is_active))
        share: np.ndarray = (num_active[end] - num_active[first]) / (end - first)
        return share

    @cached_property
    def level_db(self) -> float:
        """Active level: root mean square of the samples of the voice about their mean, in dB relative to full scale.

        The active speech level of ITU-T P.56, with this measure of activity.
        """
        total, squares = self.sums[self.is_active].sum(axis=0) / max(self.num_voice_samples, 1)
        return float(10.0 * np.log10(max(squares - total**2, TINY)))

    def require_voice(self) -> None:
        """Refuse a recording that holds too little voice.

        Raises:
            UtteranceError: naming the seconds found.
        """
        if self.voice_s >= MIN_VOICE_S:
            return
        found = f"{self.voice_s:.2f} s of voice in {self.duration_s:.2f} s" if self.voice_s else "no voice"
        raise UtteranceError(f"holds {found}; expected at least {MIN_VOICE_S:g} s of singing.")

    def select(self, blocks: Iterable[Float[np.ndarray, " _"]]) -> Iterator[Float[np.ndarray, " _"]]:
        """Yield the samples of a recording that are kept; its samples come in blocks of any lengths."""
        first = 0
        for block in blocks:
            starts, ends = (np.clip(self.runs[:, side] - first, 0, len(block)) for side in (0, 1))
            if parts := [block[start:end] for start, end in zip(starts, ends, strict=True) if end > start]:
                yield np.concatenate(parts)
            first += len(block)

    def map_to_recording(self, times_s: Float[np.ndarray, " times"]) -> Float[np.ndarray, " times"]:
        """Map times within what is kept to times within the recording, in seconds."""
        starts, ends = self.runs.T / self.sample_rate
        voice_starts = np.concatenate([[0.0], np.cumsum(ends - starts)[:-1]])
        run = np.maximum(np.searchsorted(voice_starts, times_s + 1e-9, side="right") - 1, 0)
        return np.minimum(starts[run] + times_s - voice_starts[run], self.duration_s)


class ActivityMeter:
    """Streaming measures of voice activity.

    Args:
        sample_rate: sample rate in Hz.
    """

    def __init__(self, sample_rate: int) -> None:
        self.sample_rate, self.step_samples = sample_rate, compute_step_samples(sample_rate)
        self.context_samples = CONTEXT_STEPS * self.step_samples
        self.held = np.zeros(self.context_samples, np.float32)  # begins with the context before the next chunk
        self.num_samples = 0
        self.parts: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]] = []

    def update(self, samples: Float[np.ndarray, " samples"]) -> None:
        """Take the next samples."""
        self.num_samples += len(samples)
        self.held = np.concatenate([self.held, samples])
        chunk_samples = CHUNK_STEPS * self.step_samples
        while len(self.held) >= chunk_samples + 2 * self.context_samples:
            self._measure(CHUNK_STEPS)
            self.held = self.held[chunk_samples:]

    def compute(self) -> ActivityMeasures:
        """Return the measures of all samples taken; nothing can be taken afterwards."""
        remaining = -(-(len(self.held) - self.context_samples) // self.step_samples)
        self.held = np.pad(self.held, (0, self.context_samples + self.step_samples))
        while remaining > 0:
            num_steps = min(remaining, CHUNK_STEPS)
            self._measure(num_steps)
            self.held, remaining = self.held[num_steps * self.step_samples :], remaining - num_steps
        power, is_voiced, sums, bounds = (
            (np.concatenate(part) for part in zip(*self.parts, strict=True))
            if self.parts
            else (np.zeros(0), np.zeros(0, bool), np.zeros((0, 2)), np.zeros((0, 2), np.int64))
        )
        is_voiced = median_filter(is_voiced.astype(np.uint8), VOICING_FILTER_STEPS, mode="constant") > 0
        return ActivityMeasures(self.sample_rate, self.num_samples, power, is_voiced, sums, bounds)

    def _measure(self, num_steps: int) -> None:
        """Measure the steps after the context."""
        step, context = self.step_samples, self.context_samples
        samples = self.held[: 2 * context + num_steps * step]
        inside = samples[context : context + num_steps * step].reshape(num_steps, step).astype(np.float64)
        energy = np.square(inside).cumsum(axis=1)
        sums = np.stack([inside.sum(axis=1), energy[:, -1]], axis=1)
        power = compute_band_power(samples, self.sample_rate, CONTEXT_STEPS, num_steps)
        is_voiced = detect_voiced_steps(samples, self.sample_rate, CONTEXT_STEPS, num_steps)
        self.parts.append((power, is_voiced, sums, _find_energy_bounds(energy)))


def _find_energy_bounds(energy: Float[np.ndarray, "steps samples"]) -> Int[np.ndarray, "steps 2"]:
    """Return the first sample and the end of those that hold all but 0.2 % of the energy of a step.

    Args:
        energy: energy up to each sample, that sample included.
    """
    total = energy[:, -1:]
    first = (energy < EDGE_ENERGY * total).sum(axis=1)
    end = 1 + (energy < (1.0 - EDGE_ENERGY) * total).sum(axis=1)
    return np.stack([first, np.where(total[:, 0] > 0.0, end, energy.shape[1])], axis=1)
