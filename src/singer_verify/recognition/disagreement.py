"""Windows of two recordings that speak against what is said of the whole."""

import numpy as np

from singer_verify.evaluation.scoring import Scoring
from singer_verify.recognition.embedded import Embedded
from singer_verify.recognition.times import span

MOST_WINDOWS = 500  # of a recording, evenly chosen: all pairs of them are scored
LEAST_SHARE = 0.1  # of the pairs; fewer are not worth a remark
MOST_SPANS = 3  # named of a recording


def disagreement(scoring: Scoring, threshold: float, score: float, left: Embedded, right: Embedded) -> tuple[str, ...]:
    """A sentence on the pairs of windows that fall on the other side of the threshold than the recordings, and when
    the windows are of which most pairs do; nothing where few do, or each recording is a single window.

    Shorter sound scores lower for one singer and spreads wider for two, so some such pairs are to be expected.

    Args:
        scoring: that decides.
        threshold: of its scores.
        score: of the whole recordings.
        left: one recording.
        right: the other.
    """
    chosen = [_chosen(len(each.windows)) for each in (left, right)]
    if len(chosen[0]) * len(chosen[1]) < 2:
        return ()
    sides = [scoring.sides(each.windows[which]) for each, which in zip((left, right), chosen, strict=True)]
    is_other = (scoring.scores(*sides) >= threshold) != (score >= threshold)
    if (share := float(is_other.mean())) < LEAST_SHARE:
        return ()
    side = "under" if score >= threshold else "at or above"
    sentence = f"{100 * share:.0f} % of the pairs of windows score {side} the threshold"
    places = [
        f"{each.name} at {_spans(each, which[is_other.mean(axis=1 - axis) > 0.5])}"
        for axis, (each, which) in enumerate(zip((left, right), chosen, strict=True))
        if len(which) > 1 and (is_other.mean(axis=1 - axis) > 0.5).any()
    ]
    return (f"{sentence}, most of them in {', and in '.join(places)}." if places else f"{sentence}.",)


def _chosen(num_windows: int) -> np.ndarray:
    return np.unique(np.linspace(0, num_windows - 1, min(num_windows, MOST_WINDOWS)).round().astype(np.int64))


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
