"""Labels that look wrong: recordings that fit another singer better, two names of one singer, two singers in a file.

A recording is scored against means of singers from which its own song is left out, so that nobody is recognised by a
song or a session. Where its singer has one song only, the recording alone is left out, and the answer is worth less.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from singer_verify.evaluation.averaging import MIN_LENGTH
from singer_verify.evaluation.scoring.scoring import Scoring

MIN_VOICE_WINDOWS = 2  # on either side of a change of singer
MIN_CONFUSION = 0.3  # of recordings that fit the other name better: half of them where both are one singer
MIN_PAIR_RECORDINGS = 3  # of either name
MAX_FAULTY_SHARE = 0.5
UNKNOWN = -1


@dataclass(frozen=True)
class VoiceChange:
    """The likeliest place where one singer follows another in a recording.

    Attributes:
        gain: how much better two singers fit than one, as a mean score of the windows.
        window: number of the first window after the change.
        before: the singer that fits best before it.
        after: the singer that fits best from there on.
    """

    gain: float
    window: int
    before: int
    after: int


@dataclass(frozen=True)
class LabelChecks:
    """Scores of recordings against the singers, without their own songs.

    Attributes:
        scores: (recordings, singers), NaN against a singer of whom nothing else is there.
        is_by_song: (recordings,), whether their song was left out; otherwise, they alone were.
        changes: for each recording, where its singer changes; None where it is too short to tell.
        joined_gains: gains of `VoiceChange` where the second half is that of a recording of another singer.
    """

    scores: Float[np.ndarray, "recordings singers"]
    is_by_song: Bool[np.ndarray, " recordings"]
    changes: list[VoiceChange | None]
    joined_gains: list[float]


@dataclass(frozen=True)
class LeftOutMeans:
    """Means of all singers without a song.

    Attributes:
        rows: the recordings they are for.
        means: (singers, embedding), of unit length, 0 for a singer of whom nothing else is there.
        is_known: (singers,), whether anything is.
        is_by_song: whether the whole song is left out of the recordings' own singers.
    """

    rows: Int[np.ndarray, " rows"]
    means: Float[np.ndarray, "singers embedding"]
    is_known: Bool[np.ndarray, " singers"]
    is_by_song: bool


def iterate_left_out_means(
    embeddings: Float[np.ndarray, "recordings embedding"],
    singers: Int[np.ndarray, " recordings"],
    songs: Int[np.ndarray, " recordings"],
) -> Iterator[LeftOutMeans]:
    """Yield the means that each recording is to be scored against.

    Other singers who have sung nothing but the song are kept whole.

    Args:
        embeddings: rows of unit length.
        singers: number of the singer of each.
        songs: number of the song of each.
    """
    num_singers = int(singers.max()) + 1
    total = np.zeros((num_singers, embeddings.shape[1]))
    np.add.at(total, singers, embeddings)
    counts = np.bincount(singers, minlength=num_singers)
    order = np.argsort(songs, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(songs[order])) + 1):
        sums, left = total.copy(), counts.copy()
        np.subtract.at(sums, singers[rows], embeddings[rows])
        np.subtract.at(left, singers[rows], 1)
        only = left == 0
        sums[only], left[only] = total[only], counts[only]
        has_others = ~only[singers[rows]]
        if has_others.any():
            yield LeftOutMeans(rows[has_others], _normalise(sums), left > 0, True)
        for row in rows[~has_others]:
            own = singers[row]
            one, known = sums.copy(), left.copy()
            one[own], known[own] = total[own] - embeddings[row], counts[own] - 1
            one[own] *= known[own] > 0  # what rounding leaves of a single recording is no singer
            yield LeftOutMeans(np.array([row]), _normalise(one), known > 0, False)


def _normalise(sums: np.ndarray) -> np.ndarray:
    means: np.ndarray = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), MIN_LENGTH)
    return means.astype(np.float32)


def check_labels(
    embeddings: Float[np.ndarray, "recordings embedding"],
    windows: Sequence[Float[np.ndarray, "_ embedding"]],
    singers: Int[np.ndarray, " recordings"],
    songs: Int[np.ndarray, " recordings"],
    scoring: Scoring,
    seed: int = 0,
) -> LabelChecks:
    """Score each recording, and its windows, against all singers without its song.

    Args:
        embeddings: rows of unit length.
        windows: windows of each recording that hold a voice, in order of time.
        singers: number of the singer of each.
        songs: number of the song of each.
        scoring: scoring of the embeddings.
        seed: seed of the draw of recordings that are joined.
    """
    generator = np.random.default_rng(seed)
    partners = _draw_partners([len(rows) for rows in windows], singers, generator)
    joined_gains: list[float] = []
    scores = np.full((len(embeddings), int(singers.max()) + 1), np.nan)
    is_by_song = np.zeros(len(embeddings), bool)
    changes: list[VoiceChange | None] = [None] * len(embeddings)
    for left_out in iterate_left_out_means(embeddings, singers, songs):
        (known,) = left_out.is_known.nonzero()
        means = scoring.prepare_embeddings(left_out.means[known])
        rows = left_out.rows
        sides = scoring.prepare_embeddings(embeddings[rows])
        scores[np.ix_(rows, known)] = scoring.compute_score_matrix(sides, means)
        is_by_song[rows] = left_out.is_by_song
        for row in rows:
            if len(windows[row]) < 2 * MIN_VOICE_WINDOWS or len(known) < 2:
                continue
            found = scoring.compute_score_matrix(scoring.prepare_embeddings(windows[row]), means)
            change = find_voice_change(found)
            changes[row] = VoiceChange(change.gain, change.window, int(known[change.before]), int(known[change.after]))
            if (partner := partners[row]) != UNKNOWN:
                others = windows[partner][len(windows[partner]) // 2 :]
                second = scoring.compute_score_matrix(scoring.prepare_embeddings(others), means)
                joined_gains.append(find_voice_change(np.concatenate([found[: len(found) // 2], second])).gain)
    return LabelChecks(scores, is_by_song, changes, joined_gains)


def _draw_partners(
    num_windows: Sequence[int], singers: Int[np.ndarray, " recordings"], generator: np.random.Generator
) -> Int[np.ndarray, " recordings"]:
    """Draw a recording of another singer for each, long enough to be joined to it; `UNKNOWN` where there is none."""
    partners = np.full(len(singers), UNKNOWN)
    (usable,) = np.nonzero(np.array(num_windows) >= 2 * MIN_VOICE_WINDOWS)
    for row in usable:
        others = usable[singers[usable] != singers[row]]
        if len(others):
            partners[row] = generator.choice(others)
    return partners


def find_voice_change(scores: Float[np.ndarray, "windows singers"]) -> VoiceChange:
    """Find the place where a change from one singer to another explains the windows best.

    Args:
        scores: score of each window, in order of time, against each of two or more singers.
    """
    num_windows = len(scores)
    sums = np.cumsum(scores, axis=0, dtype=np.float64)
    total = sums[-1]
    best = VoiceChange(-np.inf, 0, 0, 0)
    for window in range(MIN_VOICE_WINDOWS, num_windows - MIN_VOICE_WINDOWS + 1):
        first, second = sums[window - 1], total - sums[window - 1]
        before, after = int(first.argmax()), int(second.argmax())
        if before == after:  # the better of the two ways to take the second best on one side
            others = np.arange(len(total)) != before
            next_first, next_second = (int(np.where(others, side, -np.inf).argmax()) for side in (first, second))
            if first[before] + second[next_second] >= first[next_first] + second[after]:
                after = next_second
            else:
                before = next_first
        gain = float(first[before] + second[after] - total.max()) / num_windows
        if gain > best.gain:
            best = VoiceChange(gain, window, before, after)
    return best


@dataclass(frozen=True)
class SamePair:
    """Two names that look like one singer.

    Attributes:
        first: number of one.
        second: number of the other.
        confusion: share of their recordings that fit the other name better; half where both are one singer.
    """

    first: int
    second: int
    confusion: float


def find_same_singers(
    scores: Float[np.ndarray, "recordings singers"], singers: Int[np.ndarray, " recordings"], false_alarms: float
) -> list[SamePair]:
    """Find names that look like one singer: recordings of either fit the other as well as their own.

    Args:
        scores: see `LabelChecks`.
        singers: number of the singer of each recording.
        false_alarms: share of all pairs of singers that is named at most, but for one pair.

    Returns:
        The pairs, those most alike first.
    """
    num_singers = scores.shape[1]
    own = scores[np.arange(len(scores)), singers]
    confusion = np.full((num_singers, num_singers), np.nan)
    for singer in range(num_singers):
        rows = np.flatnonzero((singers == singer) & ~np.isnan(own))
        if len(rows) >= MIN_PAIR_RECORDINGS:
            confusion[singer] = (scores[rows] > own[rows, None]).mean(axis=0)
    mutual = (confusion + confusion.T) / 2
    first, second = np.triu_indices(num_singers, 1)
    order = np.argsort(-np.nan_to_num(mutual[first, second], nan=-1.0), kind="stable")
    allowed = order[: max(int(false_alarms * len(order)), 1)]
    pairs = [SamePair(int(first[n]), int(second[n]), float(mutual[first[n], second[n]])) for n in allowed]
    return [pair for pair in pairs if pair.confusion >= MIN_CONFUSION]


def find_best_others(
    scores: Float[np.ndarray, "recordings singers"], singers: Int[np.ndarray, " recordings"], same: Sequence[SamePair]
) -> tuple[Int[np.ndarray, " recordings"], Float[np.ndarray, " recordings"]]:
    """Return the other singer that fits each recording best, and how much better its own singer fits than that one.

    Names that look like one singer are no others of each other.

    Returns:
        `UNKNOWN` and NaN for a recording that cannot be scored against its own singer.
    """
    rows = np.arange(len(scores))
    own = scores[rows, singers]
    others = np.where(np.isnan(scores), -np.inf, scores)
    others[rows, singers] = -np.inf
    for pair in same:
        others[singers == pair.first, pair.second] = -np.inf
        others[singers == pair.second, pair.first] = -np.inf
    best = others.argmax(axis=1)
    is_known = ~np.isnan(own) & np.isfinite(others[rows, best])
    margins = np.where(is_known, own - np.where(is_known, others[rows, best], 0.0), np.nan)
    return np.where(is_known, best, UNKNOWN), margins


def simulate_wrong_labels(
    scores: Float[np.ndarray, "recordings singers"], singers: Int[np.ndarray, " recordings"]
) -> Float[np.ndarray, " simulated"]:
    """Compute the margins that recordings would have under each wrong label.

    Args:
        scores: see `LabelChecks`.
        singers: number of the singer of each recording.
    """
    ranked = np.sort(np.where(np.isnan(scores), -np.inf, scores), axis=1)
    best, second = ranked[:, -1], ranked[:, -2]
    others = np.where(scores == best[:, None], second[:, None], best[:, None])
    margins = scores - others
    margins[np.arange(len(scores)), singers] = np.nan
    result: np.ndarray = margins[np.isfinite(margins)]
    return result


@dataclass(frozen=True)
class Limit:
    """A limit below which values are suspicious.

    Attributes:
        value: the limit.
        faulty_share: share of the values that seem to be faulty.
        precision: (values,), for each value, which share of those up to it is expected to be faulty.
    """

    value: float
    faulty_share: float
    precision: Float[np.ndarray, " values"]


def find_limit(
    observed: Float[np.ndarray, " values"], faulty: Float[np.ndarray, " simulated"], false_alarms: float
) -> Limit:
    """Find the limit below which a given share of sound values lie.

    Some of the observed values are faulty themselves. Their share follows from how many of the observed and of
    simulated faulty values lie below the median of the latter, where sound ones are rare; what is expected of them
    below the limit is no false alarm.

    Args:
        observed: values of the corpus, low ones suspicious.
        faulty: values of simulated faults.
        false_alarms: share of all values that are sound and lie below the limit.
    """
    if not len(observed) or not len(faulty):
        return Limit(-np.inf, 0.0, np.zeros(len(observed)))
    middle = float(np.median(faulty))
    share = min(float((observed <= middle).mean()) / max(float((faulty <= middle).mean()), 1e-9), MAX_FAULTY_SHARE)
    values = np.sort(observed)
    below = np.searchsorted(values, observed, "right") / len(values)
    expected = share * np.searchsorted(np.sort(faulty), observed, "right") / len(faulty)
    is_allowed = below - expected <= false_alarms
    limit = float(observed[is_allowed].max()) if is_allowed.any() else -np.inf
    return Limit(limit, share, np.minimum(expected / below, 1.0))
