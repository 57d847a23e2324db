"""Who sings when: the windows of a recording against the singers of a gallery."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from singer_verify.errors import SingerVerifyError, require_between
from singer_verify.evaluation.scoring import Threshold
from singer_verify.recognition.embedded import Embedded
from singer_verify.recognition.gallery import Gallery
from singer_verify.recognition.verification import threshold_at

UNKNOWN, SILENT = "unknown", "silent"
QUIET_DB = 40.0  # under the recording's loud sound: no one sings
LOUD_SHARE = 0.95  # of the steps of a recording are no louder than its loud sound


@dataclass(frozen=True)
class Segment:
    """A stretch of time with one singer, `unknown`, or `silent`.

    Attributes:
        start_s: where it begins.
        end_s: where it ends, and the next begins.
        who: the singer's name, `unknown` or `silent`.
        score: mean over its windows of the smoothed score of the best candidate; None where silent.
    """

    start_s: float
    end_s: float
    who: str
    score: float | None


@dataclass(frozen=True)
class Timeline:
    """What is said of each window, and of the time that it stands for.

    Attributes:
        singers: names, in alphabetical order.
        starts_s: (windows,), when each window begins.
        ends_s: (windows,), when it ends.
        scores: (windows, singers), of each window alone.
        smoothed: (windows, singers), averaged over the windows around each one.
        best: (windows,), number of the singer with the highest smoothed score.
        is_known: (windows,), whether that score is at or above the threshold; true throughout without one.
        is_silent: (windows,), whether no one sings in it.
        threshold: that decided; None where none is known.
        seconds: that the recording lasts.
        remarks: sentences on what makes it doubtful.
    """

    singers: tuple[str, ...]
    starts_s: Float[np.ndarray, " windows"]
    ends_s: Float[np.ndarray, " windows"]
    scores: Float[np.ndarray, "windows singers"]
    smoothed: Float[np.ndarray, "windows singers"]
    best: Int[np.ndarray, " windows"]
    is_known: Bool[np.ndarray, " windows"]
    is_silent: Bool[np.ndarray, " windows"]
    threshold: Threshold | None
    seconds: float
    remarks: tuple[str, ...]

    @property
    def who(self) -> tuple[str, ...]:
        """The singer of each window, `unknown` or `silent`."""
        named = np.where(self.is_known, np.array(self.singers, dtype=np.str_)[self.best], UNKNOWN)
        return tuple(np.where(self.is_silent, SILENT, named).tolist())

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The recording from its beginning to its end: a window stands for the time up to halfway to the middles of
        its neighbours, and windows in a row that say the same are one segment."""
        middles = (self.starts_s + self.ends_s) / 2
        bounds = np.concatenate([[0.0], (middles[1:] + middles[:-1]) / 2, [self.seconds]])
        who = self.who
        firsts = [n for n in range(len(who)) if n == 0 or who[n] != who[n - 1]]
        top = self.smoothed.max(axis=1)
        return tuple(
            Segment(
                float(bounds[first]),
                float(bounds[end]),
                who[first],
                None if who[first] == SILENT else float(top[first:end].mean()),
            )
            for first, end in zip(firsts, [*firsts[1:], len(who)], strict=True)
        )


def timeline(gallery: Gallery, found: Embedded, smooth_s: float, prior: float = 0.5) -> Timeline:
    """Who sings when.

    Each window is scored against each singer. A singer's scores are then averaged over the windows whose middles lie
    within `smooth_s` / 2 of a window's middle (a centred moving average), silent ones left out; the singer with the
    highest average is the window's, if it is at or above the threshold, which is that of whole recordings. A window is
    silent if its power is 40 dB or more under what 95 % of the recording's hundredths of a second do not exceed.

    Args:
        gallery: of the known singers, with the scoring.
        found: the recording with its windows.
        smooth_s: duration that scores are averaged over; 0 leaves them.
        prior: see `threshold_at`.

    Raises:
        SingerVerifyError: nobody is enrolled, or a duration below 0.
    """
    require_between(0.0, 3600.0, smooth_s=smooth_s)
    singers = gallery.singers
    if not singers:
        raise SingerVerifyError("the gallery is empty; enrol a singer first.")
    scoring = gallery.scoring
    scores = scoring.scores(scoring.sides(found.windows), scoring.sides(np.stack(list(singers.values()))))
    is_silent = silent_windows(found)
    smoothed = moving_average(scores, (found.starts_s + found.ends_s) / 2, smooth_s, ~is_silent)
    threshold = threshold_at(scoring, prior)
    return Timeline(
        tuple(singers),
        found.starts_s,
        found.ends_s,
        scores,
        smoothed,
        best=smoothed.argmax(axis=1),
        is_known=smoothed.max(axis=1) >= (-np.inf if threshold is None else threshold.score),
        is_silent=is_silent,
        threshold=threshold,
        seconds=found.seconds,
        remarks=found.remarks,
    )


def silent_windows(found: Embedded) -> Bool[np.ndarray, " windows"]:
    """Whether each window is silent, see `timeline`; none is where the sound is not known."""
    if found.power is None:
        return np.zeros(len(found.windows), bool)
    sums = np.concatenate([[0.0], np.cumsum(found.power, dtype=np.float64)])
    first = np.minimum((found.starts_s / found.power_step_s).round().astype(np.int64), len(found.power) - 1)
    end = np.minimum(np.maximum((found.ends_s / found.power_step_s).round().astype(np.int64), first + 1), len(sums) - 1)
    power = (sums[end] - sums[first]) / (end - first)
    return power <= np.quantile(found.power, LOUD_SHARE) * 10.0 ** (-QUIET_DB / 10.0)


def moving_average(
    scores: Float[np.ndarray, "windows singers"],
    middles_s: Float[np.ndarray, " windows"],
    smooth_s: float,
    counts: Bool[np.ndarray, " windows"],
) -> Float[np.ndarray, "windows singers"]:
    """Scores averaged over the windows around each one that count; a window that has none around keeps its own.

    Args:
        scores: of each window.
        middles_s: of the windows, rising.
        smooth_s: duration around a middle within which others are averaged.
        counts: windows that are averaged.
    """
    weights = np.concatenate([[0.0], np.cumsum(counts)])
    sums = np.concatenate([np.zeros((1, scores.shape[1])), np.cumsum(scores * counts[:, None], axis=0)])
    tolerance = 1e-6
    first = np.searchsorted(middles_s, middles_s - smooth_s / 2 - tolerance)
    end = np.searchsorted(middles_s, middles_s + smooth_s / 2 + tolerance)
    number = (weights[end] - weights[first])[:, None]
    return np.where(number > 0, (sums[end] - sums[first]) / np.maximum(number, 1), scores)
