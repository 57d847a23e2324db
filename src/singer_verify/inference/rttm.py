"""RTTM, the format in which diarizations are exchanged, and the diarization error rate against a reference.

A line for each segment: `SPEAKER <recording> <channel> <start> <duration> <NA> <NA> <singer> <NA> <NA>`, times in
seconds (NIST 2009, "The 2009 RT-09 rich transcription meeting recognition evaluation plan", appendix A).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from singer_verify.corpora.tables import read_text, shorten_line
from singer_verify.errors import SingerVerifyError, require_between
from singer_verify.inference.diarization import Diarization
from singer_verify.inference.enrolment import SILENT

SPEAKER, NO_VALUE = "SPEAKER", "<NA>"
MIN_FIELDS = 8
END_TOLERANCE_S = 1.0  # that a reference may go on after the recording: times are often rounded


@dataclass(frozen=True)
class ReferenceSegment:
    """A stretch of time in which a singer sings, as a reference tells it; those of several singers may overlap."""

    start_s: float
    end_s: float
    singer: str


@dataclass(frozen=True)
class DiarizationError:
    """The diarization error rate and what it is made of (Fiscus, Ajot & Garofolo 2007), in seconds of the reference.

    Attributes:
        rate: (missed + false_alarm + confusion) / total; it may be above 1.
        missed_s: time sung in the reference alone.
        false_alarm_s: time sung in the diarization alone.
        confusion_s: time sung by another singer, after the best assignment of singers.
        total_s: time sung in the reference, that of simultaneous singers added.
        num_singers: number of singers that were found.
        num_reference_singers: number of singers in the reference.
        collar_s: time on each side of a boundary that is not evaluated.
        skips_overlap: whether time in which several sing was left out.
    """

    rate: float
    missed_s: float
    false_alarm_s: float
    confusion_s: float
    total_s: float
    num_singers: int
    num_reference_singers: int
    collar_s: float
    skips_overlap: bool


def format_rttm(diarization: Diarization, recording: str) -> bytes:
    """Format the sung segments; blanks in names become underscores, as fields are separated by blanks.

    Args:
        diarization: the diarization.
        recording: name of the recording.
    """
    lines = [
        f"{SPEAKER} {_join_blanks(recording)} 1 {segment.start_s:.3f} {segment.end_s - segment.start_s:.3f} {NO_VALUE} "
        f"{NO_VALUE} {_join_blanks(segment.who)} {NO_VALUE} {NO_VALUE}\n"
        for segment in diarization.segments
        if segment.who != SILENT
    ]
    return "".join(lines).encode("utf-8", "surrogateescape")


def _join_blanks(name: str) -> str:
    return "_".join(name.split()) or NO_VALUE


def read_rttm(path: Path, recording: str, seconds: float) -> list[ReferenceSegment]:
    """Read the segments of a recording.

    Args:
        path: the file; lines of other types than SPEAKER, and comments after `;;`, are passed over.
        recording: name of the recording without suffix.
        seconds: duration of the recording.

    Raises:
        SingerVerifyError: the file cannot be read, is no RTTM, holds another recording, or goes on after the end.
    """
    expected = "lines of RTTM: SPEAKER <recording> 1 <start> <duration> <NA> <NA> <singer> <NA> <NA>"
    segments: dict[str, list[ReferenceSegment]] = {}
    for number, line in enumerate(read_text(path, expected).splitlines(), start=1):
        fields = line.split()
        if not fields or fields[0].startswith(";;"):
            continue
        if fields[0] != SPEAKER:
            if fields[0].isupper() or fields[0] in ("SPKR-INFO",):
                continue
            raise SingerVerifyError(f"{path}, line {number}: {shorten_line(line)!r}; expected {expected}.")
        try:
            start_s, duration_s = float(fields[3]), float(fields[4])
            singer = fields[7]
        except (IndexError, ValueError):
            raise SingerVerifyError(f"{path}, line {number}: {shorten_line(line)!r}; expected {expected}.") from None
        if not (start_s >= 0 and 0 < duration_s < float("inf")):
            raise SingerVerifyError(
                f"{path}, line {number}: start {fields[3]}, duration {fields[4]}; expected seconds, the duration above "
                f"0."
            )
        segments.setdefault(fields[1], []).append(ReferenceSegment(start_s, start_s + duration_s, singer))
    if not segments:
        raise SingerVerifyError(f"{path}: holds no segments; expected {expected}.")
    own = next((segments[name] for name in segments if _names_recording(name, recording)), None)
    if own is None:
        names = ", ".join(list(segments)[:3])
        raise SingerVerifyError(f"{path}: holds segments of {names}; expected those of {recording}.")
    if (end_s := max(segment.end_s for segment in own)) > seconds + END_TOLERANCE_S:
        raise SingerVerifyError(
            f"{path}: its last segment ends at {end_s:.1f} s, and {recording} lasts {seconds:.1f} s; expected the "
            f"reference of this recording."
        )
    return own


def _names_recording(name: str, recording: str) -> bool:
    return name in (recording, _join_blanks(recording)) or Path(name).stem in (recording, _join_blanks(recording))


def compute_diarization_error(
    diarization: Diarization, reference: Sequence[ReferenceSegment], collar_s: float = 0.25, skip_overlap: bool = False
) -> DiarizationError:
    """Compute the diarization error rate with pyannote.metrics.

    Args:
        diarization: the diarization.
        reference: the true segments.
        collar_s: time on each side of a reference boundary that is not evaluated.
        skip_overlap: leave out time in which several singers sing.

    Raises:
        SingerVerifyError: pyannote.metrics is not installed, or a collar below 0.
    """
    require_between(0.0, 60.0, **{"--collar": collar_s})
    try:
        from pyannote.core import Annotation, Segment, Timeline
        from pyannote.metrics.diarization import DiarizationErrorRate
    except ImportError as error:
        raise SingerVerifyError(
            "--reference: needs pyannote.metrics; pip install -c constraints.txt -e '.[diarization]' installs it."
        ) from error
    truth, found = Annotation(), Annotation()
    for number, segment in enumerate(reference):
        truth[Segment(segment.start_s, segment.end_s), number] = segment.singer
    for number, sung in enumerate(diarization.segments):
        if sung.who != SILENT:
            found[Segment(sung.start_s, sung.end_s), number] = sung.who
    end_s = max([diarization.seconds, *(segment.end_s for segment in reference)])
    metric = DiarizationErrorRate(collar=2 * collar_s, skip_overlap=skip_overlap)  # its collar is that of both sides
    parts = metric(truth, found, detailed=True, uem=Timeline([Segment(0.0, end_s)]))
    return DiarizationError(
        float(parts["diarization error rate"]),
        float(parts["missed detection"]),
        float(parts["false alarm"]),
        float(parts["confusion"]),
        float(parts["total"]),
        len(found.labels()),
        len(truth.labels()),
        collar_s,
        skip_overlap,
    )
