"""Windows of two recordings that speak against what is said of the whole."""

import numpy as np

from singer_verify.evaluation.scoring import Scoring
from singer_verify.recognition.embedded import Embedded
from singer_verify.recognition.times import span

MOST_WINDOWS = 500  # of a recording, evenly chosen: all pairs of them are scored
LEAST_SHARE = 0.1  # of the pairs; fewer are not worth a remark
MOST_SPANS = 3  # named of a recording


def disagreement(scoring: Scoring, threshold: float, score: float, left: Embedded, right: Embedded) -> tuple[str, ...]:
    """A sentence on the pairs of windows that fall on the other side of the threshold than the recordings, and on when
    a recording has windows that do so against the whole of the other; nothing where few do. Silence does not count.

    Shorter sound scores lower for one singer and spreads wider for two, so some such pairs are to be expected.

    Args:
        scoring: that decides.
        threshold: of its scores.
        score: of the whole recordings.
        left: one recording.
        right: the other.
    """
    both = (left, right)
    chosen = [_chosen(each) for each in both]
    windows = [scoring.sides(each.windows[which]) for each, which in zip(both, chosen, strict=True)]
    wholes = [scoring.sides(each.embedding[None]) for each in both]
    is_same = score >= threshold
    share = float(((scoring.scores(*windows) >= threshold) != is_same).mean())
    if share < LEAST_SHARE or len(chosen[0]) * len(chosen[1]) == 1:
        return ()
    places = []
    for each, which, sides, other in zip(both, chosen, windows, wholes[::-1], strict=True):
        is_other = (scoring.scores(sides, other)[:, 0] >= threshold) != is_same
        if is_other.any() and not is_other.all():
            places.append(f"{each.name} at {_spans(each, which[is_other])}")
    side = "under" if is_same else "at or above"
    when = f", and windows of {', and of '.join(places)} disagree with the other recording" if places else ""
    return (f"{100 * share:.0f} % of the pairs of windows score {side} the threshold{when}.",)


def _chosen(recording: Embedded) -> np.ndarray:
    """Numbers of some windows, of those in which something sounds; of all, where nothing does."""
    sounding = np.flatnonzero(~recording.is_silent)
    sounding = sounding if len(sounding) else np.arange(len(recording.windows))
    places = np.linspace(0, len(sounding) - 1, min(len(sounding), MOST_WINDOWS)).round().astype(np.int64)
    return sounding[np.unique(places)]


def _spans(recording: Embedded, windows: np.ndarray) -> str:
    """When these windows are; those that touch are one span. The longest are named, in order of time."""
    spans: list[tuple[float, float]] = []
    for start_s, end_s in zip(recording.starts_s[windows], recording.ends_s[windows], strict=True):
        if spans and start_s <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(float(end_s), spans[-1][1]))
        else:
            spans.append((float(start_s), float(end_s)))
    longest = sorted(sorted(spans, key=lambda each: each[0] - each[1])[:MOST_SPANS])
    named = ", ".join(span(*each) for each in longest)
    return named + (f" and {len(spans) - MOST_SPANS} shorter spans" if len(spans) > MOST_SPANS else "")
