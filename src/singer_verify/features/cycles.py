"""Cycles of a voice, and how much they differ from one to the next: jitter and shimmer."""

import numpy as np
from jaxtyping import Float
from scipy.ndimage import uniform_filter1d

MAX_PERIOD_RATIO, MAX_AMPLITUDE_RATIO = 1.3, 1.6  # of neighbouring cycles; others do not count, as in Praat
MIN_CYCLE_CORRELATION = 0.3  # of neighbouring cycles
TREND_CYCLES = 5  # cycles over which changes are averaged to be subtracted
MIN_CHANGES = 3  # fewest changes from cycle to cycle that are averaged
EPSILON = 1e-14  # energies below this share of a recording's are rounding errors

Frames = Float[np.ndarray, " frames"]


def compute_perturbations(
    voice: Float[np.ndarray, " samples"], f0_hz: Frames, hop_samples: int, sample_rate: int, window_samples: float
) -> dict[str, Frames]:
    """Compute jitter (%) and shimmer (dB) about the trend, (frames,) each; NaN where there are too few cycles.

    Args:
        voice: samples.
        f0_hz: f0 of each frame, 0 where unvoiced.
        hop_samples: hop between frames.
        sample_rate: in Hz.
        window_samples: length of the window over which changes are averaged, centred on a frame.
    """
    sums = np.concatenate([[0.0], np.cumsum(np.square(voice))])
    times, changes = [np.zeros(0)], [np.zeros((2, 0))]
    edges = np.flatnonzero(np.diff(np.concatenate([[0.0], f0_hz, [0.0]]) > 0)).reshape(-1, 2)
    for first, end in edges.tolist():
        marks, periods = mark_cycles(voice, sums, sample_rate / f0_hz[first:end], first, hop_samples)
        if len(marks) <= TREND_CYCLES:
            continue
        # A mark lies close to the pulse of its cycle, from which on the energy is the cycle's own.
        bounds = marks + np.array([[-0.25], [0.75]]) * periods
        energies = np.diff(np.interp(bounds, np.arange(len(sums)), sums), axis=0)[0]
        floor = EPSILON * sums[-1] + np.finfo(float).tiny
        levels = 10.0 * np.log10(np.maximum(energies, floor) / periods)
        of_periods = compute_changes(np.log(periods), np.log(MAX_PERIOD_RATIO))
        of_levels = compute_changes(levels, 20.0 * np.log10(MAX_AMPLITUDE_RATIO))
        times.append(marks[1:])
        changes.append(np.stack([100.0 * of_periods, of_levels]))
    all_times, all_changes = np.concatenate(times), np.concatenate(changes, axis=1)
    centres = np.arange(len(f0_hz)) * hop_samples
    low, high = (np.searchsorted(all_times, centres + side * window_samples / 2) for side in (-1, 1))
    values = {}
    for name, of_cycles in zip(("jitter", "shimmer"), all_changes, strict=True):
        counted = np.isfinite(of_cycles)
        totals = np.concatenate([[0.0], np.cumsum(np.where(counted, of_cycles, 0.0))])
        counts = np.concatenate([[0], np.cumsum(counted)])
        num_counted = counts[high] - counts[low]
        means = (totals[high] - totals[low]) / np.maximum(num_counted, 1)
        values[name] = np.where(num_counted >= MIN_CHANGES, means, np.nan)
    return values


def compute_changes(values: Float[np.ndarray, " cycles"], limit: float) -> Float[np.ndarray, " cycles-1"]:
    """Compute the absolute change from each cycle to the next, about the mean change of `TREND_CYCLES` cycles.

    Args:
        values: a value for each cycle, NaN where unknown.
        limit: changes larger than this are NaN, since they are not of one note.
    """
    changes = np.diff(values)
    counted = np.abs(changes) <= limit  # False for NaN
    kept = np.where(counted, changes, 0.0)
    sums, counts = (
        uniform_filter1d(given.astype(np.float64), TREND_CYCLES, mode="mirror") for given in (kept, counted)
    )
    return np.where(counted, np.abs(changes - sums / np.maximum(counts, 0.5 / TREND_CYCLES)), np.nan)


def mark_cycles(
    voice: Float[np.ndarray, " samples"],
    sums: Float[np.ndarray, " samples+1"],
    periods: Float[np.ndarray, " frames"],
    first_frame: int,
    hop_samples: int,
) -> tuple[Float[np.ndarray, " cycles"], Float[np.ndarray, " cycles"]]:
    """Mark the cycles of a voiced stretch, from its largest sample in both directions.

    The next mark is where one period of samples correlates best with the samples around the present one, 0.8 to 1.25
    periods on ("To PointProcess (cc)" of Praat).

    Args:
        voice: samples.
        sums: sums of the squares of the samples before each.
        periods: period in samples, of each frame of the stretch.
        first_frame: number of its first frame.
        hop_samples: hop between frames.

    Returns:
        Position of each mark in samples, and the period there: the distance to the next mark, NaN where the two cycles
        are not alike.
    """
    start = max(round((first_frame - 0.5) * hop_samples), 0)
    stop = min(round((first_frame + len(periods) - 0.5) * hop_samples), len(voice))
    period_by_frame, floor = periods.tolist(), EPSILON * float(sums[-1]) + np.finfo(float).tiny

    def get_period(position: float) -> float:
        """Return the period in the nearest frame."""
        frame = round(position / hop_samples) - first_frame
        return float(period_by_frame[min(max(frame, 0), len(periods) - 1)])

    def measure_step(position: float, direction: int) -> float | None:
        """Return the distance to the next mark, NaN for cycles that are not alike, None at the end of the stretch."""
        period = get_period(position)
        centre, half = round(position), int(period / 2)
        low, high = int(0.8 * period), int(1.25 * period) + 1
        nearest = low if direction > 0 else -high
        begin, width = centre + nearest - half, 2 * half + 1
        end = begin + high - low + width
        if begin < start or end > stop or centre - half < start or centre + half >= stop:
            return None
        products = np.correlate(voice[begin:end], voice[centre - half : centre + half + 1])
        energies = sums[begin + width : end + 1] - sums[begin : end - width + 1]
        scores = products / np.sqrt(np.maximum(energies, floor))
        best = int(scores.argmax())
        own_energy = sums[centre + half + 1] - sums[centre - half]
        if scores[best] <= MIN_CYCLE_CORRELATION * np.sqrt(own_energy) or not 0 < best < len(scores) - 1:
            return float("nan")
        before, peak, after = scores[best - 1 : best + 2].tolist()
        curvature = before - 2.0 * peak + after
        return abs(nearest + best + (0.5 * (before - after) / curvature if curvature < 0 else 0.0))

    origin = start + int(np.abs(voice[start:stop]).argmax())
    marks: dict[int, list[float]] = {}
    distances: dict[int, list[float]] = {}
    for direction in (-1, 1):
        position, marks[direction], distances[direction] = float(origin), [], []
        while (distance := measure_step(position, direction)) is not None:
            position += direction * (get_period(position) if np.isnan(distance) else distance)
            marks[direction].append(position)
            distances[direction].append(distance)
    return (
        np.array([*reversed(marks[-1]), float(origin), *marks[1]][:-1]),
        np.array([*reversed(distances[-1]), *distances[1]]),
    )
