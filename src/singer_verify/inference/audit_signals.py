"""Findings about the recordings of a corpus that need no model: damaged, unusual, or there twice.

Limits are absolute where physics decide. Otherwise they are taken from the corpus: so many robust standard deviations
(1.4826 median absolute deviations) from its median, and never closer than what can be heard.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from singer_verify.audio.activity import MIN_VOICE_S
from singer_verify.audio.content import NO_CONTENT
from singer_verify.audio.fingerprint import Landmarks, find_shared_sound
from singer_verify.audio.quality import QualityMeasures
from singer_verify.corpora.corpus import Utterance

UNREADABLE, LABEL, COPY, EXCERPT, SAME_SINGER, VOICES, SILENCE = (
    "unreadable", "label", "copy", "excerpt", "same_singer", "voices", "silence",
)  # fmt: skip
CLIPPING, BANDWIDTH, NOISE, HUM = "clipping", "bandwidth", "noise", "hum"
LENGTH, LEVEL, CHANNEL, FORMAT = "length", "level", "channel", "format"
KINDS: Mapping[str, str] = {  # in the order of findings: what makes labels wrong, what damages sound, what is unusual
    UNREADABLE: "cannot be used at all",
    LABEL: "another singer fits better",
    COPY: "the same recording under another name",
    EXCERPT: "shares sound with another recording",
    SAME_SINGER: "two names that look like one singer",
    VOICES: "two singers in one recording",
    SILENCE: "little or no voice",
    CLIPPING: "peaks cut off",
    BANDWIDTH: "the spectrum ends below half the sample rate",
    NOISE: "loud noise",
    HUM: "mains hum",
    LENGTH: "unusually short or long",
    LEVEL: "unusually quiet or loud",
    CHANNEL: "another spectrum than the singer's other recordings",
    FORMAT: "another sample rate or number of channels than the singer's other recordings",
}
MIN_CLIPPED_SHARE = 1e-4
MIN_CUTOFF_DB, MAX_CUTOFF_SHARE = 30.0, 0.85  # singing falls by at most 22 dB within 400 Hz for good
MAX_NOISE_DB, MIN_UNUSUAL_NOISE_DB, MAX_HUM_DB = -20.0, -35.0, -45.0  # relative to the voice
MIN_VOICE_SHARE, MIN_COPY_SHARE = 0.2, 0.9
NUM_DEVIATIONS, MAD_TO_STD = 5.0, 1.4826
MIN_LEVEL_DISTANCE_DB, MIN_LENGTH_RATIO, MIN_CHANNEL_DISTANCE_DB = 12.0, 3.0, 6.0
MIN_SINGER_RECORDINGS = 4  # from which a singer's usual spectrum and format are known
MIN_OWN_SHARE = 0.75  # of a singer's recordings that have the usual format: three of four, where one is another


@dataclass(frozen=True)
class Finding:
    """Something about a recording, or about a singer, that looks wrong.

    Attributes:
        kind: of `KINDS`.
        path: path of the recording relative to the corpus; empty for a finding about a singer.
        singer: its singer.
        value: what was measured.
        limit: what was allowed.
        excess: how far beyond the limit, in units of the corpus's spread or of the limit: findings are ranked by it.
        detail: a phrase that says what was found.
        other: the other recording or singer it is about; empty if there is none.
        is_refused: whether the recording is left out by `--apply`.
        at_s: middle of the place to listen to, in seconds; None for no place in particular.
        other_at_s: that of the other recording.
        precision: of what a model named with this value and worse, the share that is expected to be wrong; else NaN.
    """

    kind: str
    path: str
    singer: str
    value: float
    limit: float
    excess: float
    detail: str
    other: str = ""
    is_refused: bool = False
    at_s: float | None = None
    other_at_s: float | None = None
    precision: float = np.nan


@dataclass(frozen=True)
class Spread:
    """Median of values, and their robust standard deviation."""

    median: float
    deviation: float

    @staticmethod
    def measure(values: Sequence[float]) -> "Spread":
        median = float(np.median(values))
        return Spread(median, MAD_TO_STD * float(np.median(np.abs(np.asarray(values) - median))))


def check_signals(utterances: Sequence[Utterance], measured: Mapping[str, QualityMeasures]) -> list[Finding]:
    """Check the signal of each recording against absolute limits, and against the rest of the corpus.

    Args:
        utterances: recordings that were measured.
        measured: their measures by path.
    """
    if not utterances:
        return []
    every = [measured[utterance.path] for utterance in utterances]
    level, log_s, noise = (
        Spread.measure([value(item) for item in every])
        for value in (lambda m: m.level_db, lambda m: float(np.log(m.duration_s)), lambda m: m.noise_db)
    )
    noise_limit = min(MAX_NOISE_DB, max(noise.median + NUM_DEVIATIONS * noise.deviation, MIN_UNUSUAL_NOISE_DB))
    level_limit = max(NUM_DEVIATIONS * level.deviation, MIN_LEVEL_DISTANCE_DB)
    length_limit = max(NUM_DEVIATIONS * log_s.deviation, np.log(MIN_LENGTH_RATIO))
    findings = []
    for utterance, m in zip(utterances, every, strict=True):

        def add(kind: str, value: float, limit: float, excess: float, detail: str, by: Utterance = utterance) -> None:
            findings.append(Finding(kind, by.path, by.singer, float(value), float(limit), float(excess), detail))

        if m.has_two_voices:
            add(VOICES, np.nan, np.nan, 10.0, "its two channels hold different voices")
        if m.voice_s < MIN_VOICE_S:
            add(SILENCE, m.voice_s, MIN_VOICE_S, 1.0, f"{m.voice_s:.2f} s of voice in {m.duration_s:.1f} s")
        elif m.voice_share < MIN_VOICE_SHARE:
            share = MIN_VOICE_SHARE - m.voice_share
            add(SILENCE, m.voice_share, MIN_VOICE_SHARE, share, f"a voice in {100 * m.voice_share:.0f} % of it")
        if m.clipped_share > MIN_CLIPPED_SHARE:
            text = f"{100 * m.clipped_share:.2g} % of the samples cut off at {m.peak:.2f} of full scale"
            add(CLIPPING, m.clipped_share, MIN_CLIPPED_SHARE, np.log10(m.clipped_share / MIN_CLIPPED_SHARE), text)
        if m.cutoff_db > MIN_CUTOFF_DB and m.cutoff_hz < MAX_CUTOFF_SHARE * m.sample_rate / 2:
            text = f"falls by {m.cutoff_db:.0f} dB at {m.cutoff_hz / 1000:.1f} kHz, sampled at {m.sample_rate} Hz"
            add(BANDWIDTH, m.cutoff_hz, MAX_CUTOFF_SHARE * m.sample_rate / 2, m.cutoff_db - MIN_CUTOFF_DB, text)
        if m.noise_db > noise_limit:
            add(NOISE, m.noise_db, noise_limit, m.noise_db - noise_limit, f"{-m.noise_db:.0f} dB below the voice")
        if m.hum_db > MAX_HUM_DB:
            text = f"{m.mains_hz:.0f} Hz and its harmonics, {-m.hum_db:.0f} dB below the voice"
            add(HUM, m.hum_db, MAX_HUM_DB, m.hum_db - MAX_HUM_DB, text)
        if (distance := abs(m.level_db - level.median)) > level_limit:
            text = f"{m.level_db:.0f} dB; the corpus has {level.median:.0f} dB"
            add(LEVEL, m.level_db, level_limit, distance / level_limit - 1.0, text)
        if (distance := abs(float(np.log(m.duration_s)) - log_s.median)) > length_limit:
            text = f"{m.duration_s:.1f} s; the corpus has {np.exp(log_s.median):.1f} s"
            add(LENGTH, m.duration_s, length_limit, distance / length_limit - 1.0, text)
    return findings + _compare_within_singers(utterances, measured)


def _compare_within_singers(utterances: Sequence[Utterance], measured: Mapping[str, QualityMeasures]) -> list[Finding]:
    """Compare spectrum and format of recordings with those of their singers' others."""
    by_singer: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        by_singer[utterance.singer].append(utterance)
    distances: list[tuple[Utterance, float]] = []
    findings = []
    for own in by_singer.values():
        if len(own) < MIN_SINGER_RECORDINGS:
            continue
        bands = np.stack([measured[utterance.path].bands_db for utterance in own])
        is_common = ~np.isnan(bands).any(axis=0)
        usual = np.median(bands[:, is_common], axis=0)
        apart = np.sqrt(np.square(bands[:, is_common] - usual).mean(axis=1))
        distances += list(zip(own, apart.tolist(), strict=True))
        formats = [(measured[item.path].sample_rate, measured[item.path].num_channels) for item in own]
        (rate, channels), count = Counter(formats).most_common(1)[0]
        if count < MIN_OWN_SHARE * len(own):
            continue
        for utterance, found in zip(own, formats, strict=True):
            if found != (rate, channels):
                text = f"{found[0]} Hz, {found[1]} channels; the singer's others {rate} Hz, {channels}"
                findings.append(Finding(FORMAT, utterance.path, utterance.singer, found[0], rate, 0.0, text))
    if not distances:
        return findings
    spread = Spread.measure([apart for _, apart in distances])
    limit = max(spread.median + NUM_DEVIATIONS * spread.deviation, MIN_CHANNEL_DISTANCE_DB)
    for utterance, distance in distances:
        if distance > limit:
            text = f"{distance:.1f} dB from the singer's usual spectrum; most are {spread.median:.1f} dB"
            findings.append(
                Finding(CHANNEL, utterance.path, utterance.singer, distance, limit, distance / limit - 1.0, text)
            )
    return findings


def find_shared_recordings(utterances: Sequence[Utterance], measured: Mapping[str, QualityMeasures]) -> list[Finding]:
    """Find recordings that hold the same sound: a finding for each of the two.

    Args:
        utterances: recordings that were measured.
        measured: their measures by path.
    """
    every = [measured[utterance.path] for utterance in utterances]
    findings = []
    first_with: dict[int, int] = {}
    copies: set[tuple[int, int]] = set()
    for number, m in enumerate(every):
        first = first_with.setdefault(m.content, number)
        if m.content != NO_CONTENT and first != number:
            copies.add((first, number))
            texts, nowhere = ("sample by sample",) * 2, (None, None)
            findings += _describe_pair(utterances, (first, number), COPY, 1.0, m.duration_s, texts, nowhere)
    for shared in find_shared_sound([m.landmarks or Landmarks(*np.zeros((2, 0), np.int32)) for m in every]):
        pair = shared.first, shared.second
        # equal copies are found above, and what shares sound with one of them shares it with the first
        if pair in copies or any(first_with.get(every[n].content, n) != n for n in pair):
            continue
        share = shared.seconds / max(every[number].duration_s for number in pair)
        voiced = shared.seconds / max(max(every[number].voice_s for number in pair), MIN_VOICE_S)
        kind = COPY if max(share, voiced) >= MIN_COPY_SHARE else EXCERPT
        starts = shared.first_start_s, shared.second_start_s
        first_text, second_text = (
            f"{shared.seconds:.1f} s of the same sound, from {here:.1f} s here and {there:.1f} s there"
            for here, there in (starts, starts[::-1])
        )
        middles = starts[0] + shared.seconds / 2, starts[1] + shared.seconds / 2
        texts = first_text, second_text
        findings += _describe_pair(utterances, pair, kind, share, shared.seconds, texts, middles)
    return findings


def _describe_pair(
    utterances: Sequence[Utterance],
    pair: tuple[int, int],
    kind: str,
    share: float,
    seconds: float,
    texts: tuple[str, str],
    middles_s: tuple[float | None, float | None],
) -> list[Finding]:
    """Build a finding for either of two recordings; the more seconds they share, the further up it ranks."""
    both = utterances[pair[0]], utterances[pair[1]]
    where = "" if both[0].singer == both[1].singer else f", under {both[0].singer} and {both[1].singer}"
    return [
        Finding(
            *(kind, own.path, own.singer, share, MIN_COPY_SHARE, seconds, f"{text}{where}", other.path),
            at_s=at_s,
            other_at_s=other_at_s,
        )
        for (own, other), text, (at_s, other_at_s) in zip(
            (both, both[::-1]), texts, (middles_s, middles_s[::-1]), strict=True
        )
    ]
