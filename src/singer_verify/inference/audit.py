"""An audit of a corpus: recordings whose label looks wrong, that occur twice, or that are damaged or unusual.

Without a model, signals are checked: see `inference.audit_signals`. With one, labels as well: see
`evaluation.label_checks`.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from singer_verify.audio.quality import QualityMeasures, measure_quality
from singer_verify.corpora.corpus import SPLITS, Utterance, read_corpus
from singer_verify.corpora.labels import read_utterance_labels
from singer_verify.errors import SingerVerifyError, UtteranceError, require_between
from singer_verify.evaluation.label_checks import (
    UNKNOWN,
    LabelChecks,
    check_labels,
    find_best_others,
    find_limit,
    find_same_singers,
    simulate_wrong_labels,
)
from singer_verify.evaluation.scoring.scoring import Scoring
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.features.voice import unwrap_feature
from singer_verify.inference.audit_signals import (
    COPY,
    EXCERPT,
    KINDS,
    LABEL,
    SAME_SINGER,
    SILENCE,
    UNREADABLE,
    VOICES,
    Finding,
    Spread,
    check_signals,
    find_shared_recordings,
)
from singer_verify.inference.evaluation import Progress, show_nothing
from singer_verify.inference.model import Model
from singer_verify.worker_processes import count_available_cores

log = logging.getLogger(__name__)
DEFAULT_FALSE_ALARMS = 0.01
DEFAULT_REFUSED = (UNREADABLE, LABEL, COPY, EXCERPT, VOICES, SILENCE)
MAX_WINDOW_S, WINDOW_VOICE_SHARE = 3.0, 0.4
MIN_SINGERS, MIN_REFUSED_PRECISION = 2, 0.5
MIN_COMMON_SHARE = 0.5  # of the recordings with one kind of finding: it is the corpus, not they


@dataclass(frozen=True)
class AuditReport:
    """What an audit found.

    Attributes:
        root: folder of the corpus.
        utterances: all recordings.
        findings: ranked, the gravest first.
        measures: measures of the recordings that can be used, by path.
        margins: by path, how much better the own singer fits than the best other; without a model empty.
        false_alarms: share of recordings, or pairs of singers, that checks with a model may name wrongly.
        notes: sentences that a reader must know.
    """

    root: Path
    utterances: tuple[Utterance, ...]
    findings: tuple[Finding, ...]
    measures: Mapping[str, QualityMeasures]
    margins: Mapping[str, float] = field(default_factory=dict)
    false_alarms: float = DEFAULT_FALSE_ALARMS
    notes: tuple[str, ...] = ()

    @property
    def refused(self) -> tuple[str, ...]:
        """Paths of the recordings that are refused, sorted."""
        return tuple(sorted({finding.path for finding in self.findings if finding.is_refused}))


@dataclass(frozen=True)
class AuditSettings:
    """Settings of an audit.

    Attributes:
        false_alarms: see `AuditReport`.
        refused_kinds: kinds of findings for which a recording is refused.
        split: the split to look at; None takes train, val and test.
    """

    false_alarms: float = DEFAULT_FALSE_ALARMS
    refused_kinds: tuple[str, ...] = DEFAULT_REFUSED
    split: str | None = None


def audit_corpus(
    corpus: Path,
    model: Model | None = None,
    scoring: Scoring | None = None,
    settings: AuditSettings | None = None,
    progress: Progress = show_nothing,
) -> AuditReport:
    """Audit a corpus.

    Args:
        corpus: a folder `<root>/<split>/<singer>/**/<utterance>`.
        model: model that embeds; without one, labels are not checked.
        scoring: scoring of its embeddings; None is the cosine.
        settings: settings of the audit.
        progress: reports the progress of long loops.

    Raises:
        SingerVerifyError: the corpus cannot be read, holds precomputed features, or a setting is wrong.
    """
    settings = AuditSettings() if settings is None else settings
    require_between(0.0, 0.5, false_alarms=settings.false_alarms)
    if unknown := [kind for kind in settings.refused_kinds if kind not in KINDS or kind == SAME_SINGER]:
        kinds = ", ".join(kind for kind in KINDS if kind != SAME_SINGER)
        raise SingerVerifyError(f"--refuse {unknown[0]}: expected some of {kinds}, separated by commas.")
    utterances = read_audio_corpus(corpus, settings.split)
    if model is not None and isinstance(unwrap_feature(model.feature), PrecomputedFeature):
        raise SingerVerifyError("the model was trained on precomputed features; give one that embeds recordings.")
    measured, findings = _measure(corpus, utterances, progress)
    usable = tuple(utterance for utterance in utterances if utterance.path in measured)
    findings += check_signals(usable, measured)
    notes: list[str] = []
    margins: dict[str, float] = {}
    if model is None:
        notes.append(
            "Without --model, labels were not checked: which recordings fit another singer better, which names look "
            "like one singer, and where a second voice sings."
        )
    elif usable:
        found, margins, notes = _check_voices(corpus, usable, model, scoring or Scoring(), settings, progress)
        findings += found
    findings += find_shared_recordings(usable, measured)
    findings = _decide(findings, settings.refused_kinds, margins, measured)
    order = list(KINDS)
    findings.sort(key=lambda item: (not item.is_refused, order.index(item.kind), -item.excess, item.path))
    notes += _describe_common(findings, len(utterances))
    return AuditReport(corpus, utterances, tuple(findings), measured, margins, settings.false_alarms, tuple(notes))


def read_audio_corpus(corpus: Path, split: str | None = None) -> tuple[Utterance, ...]:
    """List the recordings of a corpus.

    Raises:
        SingerVerifyError: see `read_corpus`; or it has no split, or holds precomputed features.
    """
    read = read_corpus(corpus, SPLITS if split is None else (split,), () if split is None else (split,))
    if not read.splits:
        raise SingerVerifyError(
            f"{corpus}: has no folder train, val or test; expected <root>/<split>/<singer>/<utterance>, or --split."
        )
    if read.has_precomputed_features:
        raise SingerVerifyError(f"{corpus}: contains precomputed features; an audit needs the recordings.")
    return tuple(utterance for part in read.splits.values() for utterance in part.utterances)


def _measure(
    root: Path, utterances: Sequence[Utterance], progress: Progress
) -> tuple[dict[str, QualityMeasures], list[Finding]]:
    def measure(utterance: Utterance) -> QualityMeasures | UtteranceError:
        try:
            return measure_quality(root / utterance.path)
        except UtteranceError as error:
            return error

    measured, findings = {}, []
    with ThreadPoolExecutor(count_available_cores()) as pool:
        results = pool.map(measure, utterances)
        for utterance, result in progress(zip(utterances, results, strict=True), "Measuring", total=len(utterances)):
            if isinstance(result, UtteranceError):
                detail = str(result).removeprefix(f"{root / utterance.path}: ")
                findings.append(Finding(UNREADABLE, utterance.path, utterance.singer, np.nan, np.nan, 1.0, detail))
            else:
                measured[utterance.path] = result
    return measured, findings


def _check_voices(
    root: Path,
    utterances: Sequence[Utterance],
    model: Model,
    scoring: Scoring,
    settings: AuditSettings,
    progress: Progress,
) -> tuple[list[Finding], dict[str, float], list[str]]:
    """Check labels by a model; returns findings, margins by path, and notes."""
    embedded = embed_recordings(root, utterances, model, progress)
    kept = embedded.utterances
    names, singers = np.unique([utterance.singer for utterance in kept], return_inverse=True)
    if len(names) < MIN_SINGERS:
        return [], {}, [f"Labels were not checked: {len(names)} singer; expected {MIN_SINGERS} or more."]
    labels = read_utterance_labels([utterance.path for utterance in kept], root, report=False).get("song")
    songs = np.arange(len(kept)) if labels is None else number_songs(labels)
    checks = check_labels(embedded.embeddings, embedded.windows, singers, songs, scoring)
    same = find_same_singers(checks.scores, singers, settings.false_alarms)
    others, margins = find_best_others(checks.scores, singers, same)
    findings = [
        Finding(
            *(SAME_SINGER, "", str(names[a]), pair.confusion, 0.5, pair.confusion),
            f"{100 * pair.confusion:.0f} % of their recordings fit the other name better",
            str(names[b]),
        )
        for pair in same
        for a, b in ((pair.first, pair.second),)
    ]
    is_tested = ~np.isnan(margins)
    found_limit = find_limit(margins[is_tested], simulate_wrong_labels(checks.scores, singers), settings.false_alarms)
    limit = min(found_limit.value, 0.0)
    deviation = max(Spread.measure(margins[is_tested].tolist()).deviation, 1e-6) if is_tested.any() else 1.0
    precision = np.full(len(kept), np.nan)
    precision[is_tested] = found_limit.precision
    for row in np.flatnonzero(is_tested & (margins <= limit)):
        own, other = (float(checks.scores[row, n]) for n in (singers[row], others[row]))
        name = str(names[others[row]])
        text = f"more like {name} ({other:.3f}) than like {kept[row].singer} ({own:.3f})"
        excess = (limit - float(margins[row])) / deviation
        findings.append(
            Finding(
                *(LABEL, kept[row].path, kept[row].singer, float(margins[row]), limit, excess, text, name),
                precision=float(precision[row]),
            )
        )
    findings += _find_voice_changes(embedded, names, checks, settings.false_alarms)
    notes = _describe_label_checks(checks, others, labels is not None, settings.false_alarms, found_limit.faulty_share)
    by_path = {kept[row].path: float(margins[row]) for row in np.flatnonzero(is_tested)}
    return findings, by_path, notes


@dataclass(frozen=True)
class EmbeddedRecordings:
    """Embedded recordings of a corpus.

    Attributes:
        utterances: the recordings.
        embeddings: (recordings, embedding), rows of unit length.
        windows: of each recording, (windows, embedding) with a voice, in order of time.
        middles_s: of each recording, the middles of these windows, in seconds.
    """

    utterances: list[Utterance]
    embeddings: Float[np.ndarray, "recordings embedding"]
    windows: list[np.ndarray]
    middles_s: list[np.ndarray]


def embed_recordings(
    root: Path, utterances: Sequence[Utterance], model: Model, progress: Progress = show_nothing
) -> EmbeddedRecordings:
    """Embed recordings, and windows of them that are close enough to tell where a singer changes.

    Those that the model cannot embed are logged.

    Raises:
        SingerVerifyError: none of them can be embedded.
    """
    kept, embeddings, windows, middles_s = [], [], [], []
    window_s = min(model.window_s, MAX_WINDOW_S)
    for utterance in progress(utterances, "Embedding", len(utterances)):
        try:
            embedded = model.embed_windows(root / utterance.path, window_s=window_s, hop_s=window_s / 4)
        except UtteranceError as error:
            log.warning("Not embedded: %s", error)
            continue
        starts, ends = embedded.starts_s, embedded.ends_s
        assert embedded.activity is not None  # of audio there is one
        has_voice = embedded.activity.compute_voice_share(starts, ends) >= WINDOW_VOICE_SHARE
        kept.append(utterance)
        embeddings.append(embedded.embedding)
        windows.append(embedded.windows[has_voice])
        middles_s.append((starts[has_voice] + ends[has_voice]) / 2)
    if not kept:
        raise SingerVerifyError(f"{root}: none of {len(utterances)} recordings can be embedded; the reasons are above.")
    return EmbeddedRecordings(kept, np.stack(embeddings), windows, middles_s)


def number_songs(labels: np.ndarray) -> np.ndarray:
    """Number songs; recordings without a label are a song each."""
    named = [label or f"\0{number}" for number, label in enumerate(labels)]
    return np.unique(named, return_inverse=True)[1]


def _find_voice_changes(
    embedded: EmbeddedRecordings, names: np.ndarray, checks: LabelChecks, false_alarms: float
) -> list[Finding]:
    """Find recordings in which two singers fit better than one, by more than in others of the corpus."""
    rows = [row for row, change in enumerate(checks.changes) if change is not None]
    if not rows:
        return []
    gains = np.array([change.gain for change in checks.changes if change is not None])
    deviation = max(Spread.measure(gains.tolist()).deviation, 1e-6)
    found = find_limit(-gains, -np.array(checks.joined_gains), false_alarms)
    limit = max(-found.value, 0.0)
    findings = []
    for row, precision in zip(rows, found.precision.tolist(), strict=True):
        change = checks.changes[row]
        if change is None or change.gain < limit:
            continue
        before, after = str(names[change.before]), str(names[change.after])
        at_s = float(embedded.middles_s[row][change.window - 1 : change.window + 1].mean())
        excess = (change.gain - limit) / deviation
        text = f"like {before} up to {at_s:.1f} s, then like {after}"
        own = embedded.utterances[row]
        findings.append(
            Finding(VOICES, own.path, own.singer, change.gain, limit, excess, text, at_s=at_s, precision=precision)
        )
    return findings


def _describe_label_checks(
    checks: LabelChecks, others: np.ndarray, has_songs: bool, false_alarms: float, wrong_share: float
) -> list[str]:
    num_short = sum(change is None for change in checks.changes)
    num_alone = int((~checks.is_by_song & (others != UNKNOWN)).sum())
    num_unknown = int((others == UNKNOWN).sum())
    notes = [
        f"About {100 * wrong_share:.1f} % of the labels seem to be wrong. Limits are such that about "
        f"{100 * false_alarms:g} % of the recordings are named although the label is right, and as many although one "
        f"singer sings; of these, recordings are refused only where more are expected to be wrong than right."
    ]
    if not has_songs:
        notes.append(
            "No label song: each recording was scored without itself alone, so that one from the same song or session "
            "vouches for it; add the songs to corpus.csv."
        )
    elif num_alone:
        notes.append(
            f"{num_alone} recordings are of singers who sing nothing but that song: they were scored without "
            f"themselves alone, and a wrong label of the whole song is not found."
        )
    if num_unknown:
        notes.append(f"{num_unknown} recordings are the only ones of their singers: their labels cannot be checked.")
    if num_short:
        notes.append(f"{num_short} recordings hold too little voice to tell whether a second singer follows.")
    return notes


def _decide(
    findings: Sequence[Finding],
    refused_kinds: Sequence[str],
    margins: Mapping[str, float],
    measured: Mapping[str, QualityMeasures],
) -> list[Finding]:
    """Decide which recordings are refused.

    What a model named is refused where at least half of what it named so far is expected to be wrong.
    Of two recordings of one singer that share sound, the shorter, or the later by name, is refused; of two singers'
    both, but for one whose label a model confirms while it doubts the other.
    """
    singer_by_path = {finding.path: finding.singer for finding in findings}

    def is_refused(finding: Finding) -> bool:
        if finding.kind not in refused_kinds or finding.precision < MIN_REFUSED_PRECISION:
            return False
        if finding.kind not in (COPY, EXCERPT):
            return True
        own, other = finding.path, finding.other
        if singer_by_path[other] == finding.singer:
            return (-measured[own].duration_s, own) > (-measured[other].duration_s, other)
        is_confirmed = margins.get(own, -1.0) > 0.0 > margins.get(other, 1.0)
        return not is_confirmed

    return [replace(finding, is_refused=is_refused(finding)) for finding in findings]


def _describe_common(findings: Sequence[Finding], num_recordings: int) -> list[str]:
    counts = Counter(kind for kind, _ in {(finding.kind, finding.path) for finding in findings})
    return [
        f"{kind}: {count} of {num_recordings} recordings. So many are a property of the corpus, not faults of single "
        f"ones."
        for kind, count in counts.items()
        if count > MIN_COMMON_SHARE * num_recordings and num_recordings > 1
    ]
