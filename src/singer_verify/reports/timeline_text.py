"""Who sings when, as a table on the console and as csv."""

import csv
import io
from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from singer_verify.recognition.enrolled import SILENT
from singer_verify.recognition.timeline import Timeline
from singer_verify.recognition.times import minutes
from singer_verify.reports.recognition import threshold_words

MOST_LINES = 60  # of the table; the csv has all


def segments_table(found: Timeline, recording: str) -> Table:
    """What `singer-verify timeline` prints: who sings from when to when; the first hour or so of a long recording."""
    segments = found.segments
    left = len(segments) - MOST_LINES
    more = f"{left} more segments are in segments.csv\n" if left > 0 else ""
    table = Table(title=Text(recording), caption=Text(more + _thresholds_in_words(found)))
    for name in ("from", "to", "singer", "score"):
        table.add_column(name, justify="left" if name == "singer" else "right")
    for each in segments[:MOST_LINES]:
        score = "" if each.score is None else f"{each.score:.3f}"
        style = None if each.who in found.singers else "dim"
        table.add_row(minutes(each.start_s), minutes(each.end_s), Text(each.who), score, style=style)
    return table


def _thresholds_in_words(found: Timeline) -> str:
    """A line for each threshold, with those whose it is where there are several."""
    different = dict.fromkeys(found.thresholds)
    if len(different) < 2:
        return f"threshold {threshold_words(next(iter(different), None))}"
    whose = {
        each: [name for name, threshold in zip(found.singers, found.thresholds, strict=True) if threshold == each]
        for each in different
    }
    return "\n".join(f"threshold of {', '.join(names)}: {threshold_words(each)}" for each, names in whose.items())


def segments_csv(found: Timeline) -> bytes:
    """start_s, end_s, who, score: the recording from its beginning to its end."""
    rows = (
        (f"{each.start_s:.3f}", f"{each.end_s:.3f}", each.who, "" if each.score is None else f"{each.score:.5f}")
        for each in found.segments
    )
    return _csv(("start_s", "end_s", "who", "score"), rows)


def windows_csv(found: Timeline) -> bytes:
    """start_s, end_s, who, smoothed score of the best, and the score of each singer in that window alone.

    Windows overlap; a silent one has scores too, which mean nothing.
    """
    top = found.top
    rows = (
        (
            f"{found.starts_s[n]:.3f}",
            f"{found.ends_s[n]:.3f}",
            who,
            "" if who == SILENT else f"{top[n]:.5f}",
            *(f"{score:.5f}" for score in found.scores[n]),
        )
        for n, who in enumerate(found.who)
    )
    return _csv(("start_s", "end_s", "who", "smoothed_score", *(f"score {name}" for name in found.singers)), rows)


def _csv(header: Iterable[str], rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode("utf-8")
