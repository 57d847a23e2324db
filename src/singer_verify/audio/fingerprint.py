"""Fingerprints that tell whether two recordings hold the same sound, whatever cut, level or codec.

Landmarks as of Wang 2003, "An industrial-strength audio search algorithm", ISMIR: peaks of the spectrogram are paired
with some of those that follow; a pair is two frequencies and a distance in time. Where two recordings share a stretch
of sound, many of their pairs are equal, all at one offset in time. Two takes of one song have pairs in common, but not
at one offset.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.signal
import soxr
from jaxtyping import Bool, Float, Int
from scipy.ndimage import maximum_filter

LANDMARK_RATE = 8000  # what telephones and every codec leave
WINDOW_SAMPLES, HOP_SAMPLES = 512, 128  # 64 and 16 ms
HOP_S = HOP_SAMPLES / LANDMARK_RATE
LOWEST_BIN, NUM_BINS = 6, 250  # 94 Hz to 3.9 kHz
PEAK_BINS, PEAK_FRAMES = 11, 9  # a peak is the largest among so many bins and frames,
PEAK_RANGE_DB = 45.0  # and at most so far below the loudest
MAX_PEAKS_PER_S = 40
FAN_OUT, MIN_DISTANCE_FRAMES = 8, 2
MAX_DISTANCE_FRAMES, MAX_DISTANCE_BINS = 63, 63  # six bits of a hash, and seven
MIN_SHARED_PAIRS = 25  # at one offset: takes of one sentence by one singer share up to 18
MIN_SHARED_S = 1.0  # from the first to the last of them
MIN_SHARED_FRACTION = 0.12  # of the pairs in that stretch of the recording that has fewer there
# Pairs that occur more often say little, and cost much: 64 times, or four times as often as the mean of all 2²¹.
MAX_OCCURRENCES, MAX_OCCURRENCE_RATIO, NUM_HASHES = 64, 4.0, 1 << 21


@dataclass(frozen=True)
class Landmarks:
    """The fingerprint of a recording.

    Attributes:
        hashes: (pairs,), two frequencies and a distance in time, as one number.
        frames: (pairs,), frame of the first peak of each, 16 ms apart.
    """

    hashes: Int[np.ndarray, " pairs"]
    frames: Int[np.ndarray, " pairs"]


@dataclass(frozen=True)
class SharedSound:
    """A stretch of sound that two recordings share.

    Attributes:
        first: number of one recording.
        second: number of the other.
        num_pairs: number of equal pairs of peaks at one offset.
        seconds: from the first to the last peak of them.
        first_start_s: where it begins in the first recording.
        second_start_s: where it begins in the second.
    """

    first: int
    second: int
    num_pairs: int
    seconds: float
    first_start_s: float
    second_start_s: float


def compute_landmarks(samples: Float[np.ndarray, " samples"], sample_rate: int) -> Landmarks:
    """Compute the fingerprint of a recording.

    Args:
        samples: its samples.
        sample_rate: sample rate in Hz.
    """
    if sample_rate != LANDMARK_RATE:
        samples = soxr.resample(samples, sample_rate, LANDMARK_RATE, quality="HQ")
    if len(samples) < WINDOW_SAMPLES:
        return Landmarks(np.zeros(0, np.int32), np.zeros(0, np.int32))
    frames, bins = _find_peaks(samples)
    return _pair_peaks(frames, bins)


def _find_peaks(samples: Float[np.ndarray, " samples"]) -> tuple[Int[np.ndarray, " peaks"], Int[np.ndarray, " peaks"]]:
    """Return frame and bin of the peaks of the spectrogram, in order of time."""
    window = scipy.signal.get_window("hann", WINDOW_SAMPLES).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW_SAMPLES)[::HOP_SAMPLES]
    rows = [np.abs(scipy.fft.rfft(windows[i : i + 2000] * window, axis=1)) for i in range(0, len(windows), 2000)]
    power_db = 20.0 * np.log10(np.maximum(np.concatenate(rows)[:, LOWEST_BIN:NUM_BINS], 1e-7))
    is_peak: Bool[np.ndarray, "frames bins"] = power_db == maximum_filter(power_db, (PEAK_FRAMES, PEAK_BINS))
    is_peak &= power_db > power_db.max() - PEAK_RANGE_DB
    frames, bins = np.nonzero(is_peak)
    seconds = (frames * HOP_S).astype(np.int64)
    order = np.lexsort((-power_db[frames, bins], seconds))
    rank = np.arange(len(order)) - np.searchsorted(seconds[order], seconds[order])
    kept = np.sort(order[rank < MAX_PEAKS_PER_S])
    return frames[kept], bins[kept]


def _pair_peaks(frames: Int[np.ndarray, " peaks"], bins: Int[np.ndarray, " peaks"]) -> Landmarks:
    """Pair each peak with the first ones that follow, not too far away in time and frequency."""
    hashes, starts = [], []
    num_paired = np.zeros(len(frames), np.int64)
    for ahead in range(1, min(len(frames), 4 * MAX_PEAKS_PER_S)):
        distance, interval = frames[ahead:] - frames[:-ahead], bins[ahead:] - bins[:-ahead]
        is_paired = (distance >= MIN_DISTANCE_FRAMES) & (distance <= MAX_DISTANCE_FRAMES)
        is_paired &= (np.abs(interval) <= MAX_DISTANCE_BINS) & (num_paired[:-ahead] < FAN_OUT)
        num_paired[:-ahead] += is_paired
        anchors = np.flatnonzero(is_paired)
        hashes.append((bins[anchors] << 13) | ((interval[anchors] + MAX_DISTANCE_BINS) << 6) | distance[anchors])
        starts.append(frames[anchors])
        if (distance > MAX_DISTANCE_FRAMES).all():
            break
    if not hashes:
        return Landmarks(np.zeros(0, np.int32), np.zeros(0, np.int32))
    return Landmarks(np.concatenate(hashes).astype(np.int32), np.concatenate(starts).astype(np.int32))


def find_shared_sound(recordings: Sequence[Landmarks]) -> list[SharedSound]:
    """Find all pairs of recordings that share a stretch of sound, each pair once.

    Args:
        recordings: fingerprints.
    """
    counts = [len(landmarks.hashes) for landmarks in recordings]
    if sum(counts) == 0:
        return []
    hashes = np.concatenate([landmarks.hashes for landmarks in recordings])
    frames = np.concatenate([landmarks.frames for landmarks in recordings])
    owners = np.repeat(np.arange(len(recordings)), counts)
    order = np.argsort(hashes, kind="stable")  # of equal pairs, those of earlier recordings first
    hashes, frames, owners = hashes[order], frames[order], owners[order]
    most = max(MAX_OCCURRENCES, MAX_OCCURRENCE_RATIO * len(hashes) / NUM_HASHES)
    shared = []
    for number, landmarks in enumerate(recordings):
        low, high = np.searchsorted(hashes, landmarks.hashes), np.searchsorted(hashes, landmarks.hashes, "right")
        repeats = np.where(high - low <= most, high - low, 0)
        own = np.repeat(np.arange(len(repeats)), repeats)
        places = np.repeat(low - np.cumsum(repeats) + repeats, repeats) + np.arange(len(own))
        is_later = owners[places] > number
        own, places = own[is_later], places[is_later]
        shared += _find_offsets(number, landmarks, own, owners[places], frames[places], recordings)
    return shared


def _find_offsets(
    number: int,
    landmarks: Landmarks,
    own: Int[np.ndarray, " matches"],
    others: Int[np.ndarray, " matches"],
    other_frames: Int[np.ndarray, " matches"],
    recordings: Sequence[Landmarks],
) -> list[SharedSound]:
    """Return with whom a recording shares sound: other recordings with enough equal pairs at one offset."""
    found = []
    offsets = other_frames - landmarks.frames[own]
    keys, counts = np.unique(others.astype(np.int64) * (1 << 32) + offsets, return_counts=True)
    for other in np.unique((keys[counts >= MIN_SHARED_PAIRS / 3] + (1 << 31)) >> 32):
        is_other = others == other
        values, numbers = np.unique(offsets[is_other], return_counts=True)
        best = int(values[numbers.argmax()])
        is_aligned = is_other & (np.abs(offsets - best) <= 1)
        num_pairs = len(np.unique(own[is_aligned]))
        if num_pairs < MIN_SHARED_PAIRS:
            continue
        pairs = own[is_aligned]
        first = int(landmarks.frames[pairs].min())
        last = int((landmarks.frames[pairs] + (landmarks.hashes[pairs] & MAX_DISTANCE_FRAMES)).max())
        within = [
            int(((frames >= start) & (frames <= start + last - first)).sum())
            for frames, start in ((landmarks.frames, first), (recordings[other].frames, first + best))
        ]
        seconds = (last - first) * HOP_S
        if seconds >= MIN_SHARED_S and num_pairs >= MIN_SHARED_FRACTION * min(within):
            found.append(
                SharedSound(number, int(other), num_pairs, seconds, first * HOP_S, max((first + best) * HOP_S, 0.0))
            )
    return found
