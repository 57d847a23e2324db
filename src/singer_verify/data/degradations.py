"""Degradations of whole recordings, at a given strength, for evaluations: noise, codecs, rooms, other keys and tempos.

A degradation is a pure function of (seed, recording, kind, strength): its random numbers are drawn by the recording's
own samples, so that neither the file's name nor what else is in the corpus matters. All strengths of a kind share their
random numbers: the same noise, louder. The level (root mean square) is that of the clean recording, but for `gain`.
"""

import hashlib
import io
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soxr
import torch
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.filter import Graph
from jaxtyping import Float
from scipy.signal import fftconvolve, firwin, kaiserord

from singer_verify.audio.activity import ActivityMeter
from singer_verify.data.accompaniment import load_accompaniment, synthesise_accompaniment
from singer_verify.data.augmentation.formants import shift_formants
from singer_verify.data.augmentation.reverberation import Reverberation
from singer_verify.errors import SingerVerifyError, require_at_least, require_choice

DIRECT_DB = 0.0  # direct sound to reverberation: at the critical distance of a room
TELEPHONE_HZ = (300.0, 3400.0)  # channel of a telephone (ITU-T G.712)
STOP_BAND_DB, TRANSITION = 80.0, 0.05  # of the filter of a limited band; its transition relative to the upper edge
TELEPHONE_TRANSITION_HZ = 60.0
BLOCK_SAMPLES = 1 << 15
FORMANT_BLOCK_SAMPLES, FORMANT_MARGIN_SAMPLES = 1 << 20, 1 << 16  # multiples of a window of 64 ms at any sample rate
STANDARD = "standard"
Samples = Float[np.ndarray, " _"]


@dataclass(frozen=True)
class DegradationContext:
    """What a degradation is given besides the samples.

    Attributes:
        sample_rate: sample rate of the recording, in Hz.
        strength: strength, in the unit of its kind.
        generator: random numbers of this recording.
        accompaniment: files to draw an accompaniment from; none to synthesise it.
    """

    sample_rate: int
    strength: float
    generator: np.random.Generator
    accompaniment: tuple[Path, ...] = ()


def add_noise(samples: Samples, context: DegradationContext) -> Samples:
    """Add white Gaussian noise, at a ratio of the level of the voice to that of the noise in dB."""
    noise = context.generator.standard_normal(len(samples), np.float32)
    return _mix(samples, noise, context)


def add_accompaniment(samples: Samples, context: DegradationContext) -> Samples:
    """Add an accompaniment, at a ratio of the level of the voice to that of the accompaniment in dB."""
    arguments = (len(samples), context.sample_rate, context.generator)
    if context.accompaniment:
        return _mix(samples, load_accompaniment(context.accompaniment, *arguments), context)
    return _mix(samples, synthesise_accompaniment(*arguments), context)


def _mix(samples: Samples, other: Samples, context: DegradationContext) -> Samples:
    level = 10.0 ** (measure_voice_level_db(samples, context.sample_rate) / 20.0)
    return samples + other * np.float32(level * 10.0 ** (-context.strength / 20.0) / max(_compute_rms(other), 1e-12))


def measure_voice_level_db(samples: Samples, sample_rate: int) -> float:
    """Measure the active level of a recording, in dB relative to full scale; that of all of it without any voice."""
    meter = ActivityMeter(sample_rate)
    meter.update(samples)
    activity = meter.compute().find_voice()
    return activity.level_db if activity.is_active.any() else 20.0 * math.log10(max(_compute_rms(samples), 1e-12))


def add_reverberation(samples: Samples, context: DegradationContext) -> Samples:
    """Add reverberation that decays by 60 dB in so many seconds, as loud as the direct sound; see `Reverberation`."""
    room = Reverberation(1.0, context.strength, context.strength, DIRECT_DB, DIRECT_DB)
    uniform = torch.from_numpy(context.generator.random((1, room.num_draws), np.float32))
    return room(torch.from_numpy(samples)[None], uniform, context.sample_rate)[0].numpy()


def limit_band(samples: Samples, context: DegradationContext) -> Samples:
    """Remove what is above a frequency in Hz; and below 300 Hz where that is the upper edge of a telephone's or lower.

    A linear-phase filter whose stop band, at -80 dB, begins at these frequencies. Recordings that have nothing above
    the frequency stay as they are.
    """
    nyquist_hz = context.sample_rate / 2
    low_hz, telephone_hz = TELEPHONE_HZ
    is_telephone = context.strength <= telephone_hz
    high_hz = min(context.strength, nyquist_hz)
    if high_hz == nyquist_hz and not is_telephone:
        return samples
    width_hz = TELEPHONE_TRANSITION_HZ if is_telephone else TRANSITION * high_hz
    num_taps, beta = kaiserord(STOP_BAND_DB, width_hz / nyquist_hz)
    edges = [low_hz + width_hz / 2] * is_telephone + [high_hz - width_hz / 2]
    taps = firwin(num_taps | 1, edges, window=("kaiser", beta), pass_zero=not is_telephone, fs=context.sample_rate)
    return fftconvolve(samples, taps.astype(np.float32), "full")[len(taps) // 2 :][: len(samples)]


def change_gain(samples: Samples, context: DegradationContext) -> Samples:
    """Multiply by a gain in dB; nothing is clipped."""
    return samples * np.float32(10.0 ** (context.strength / 20.0))


def clip_peaks(samples: Samples, context: DegradationContext) -> Samples:
    """Clip at so many dB below the peak."""
    limit = np.float32(np.abs(samples).max() * 10.0 ** (-context.strength / 20.0))
    return samples.clip(-limit, limit)


def shift_pitch(samples: Samples, context: DegradationContext) -> Samples:
    """Shift pitch by so many semitones; formants and tempo stay, as if the singer had chosen another key."""
    ratio = 2.0 ** (context.strength / 12.0)
    rate = context.sample_rate
    faster = np.ascontiguousarray(soxr.resample(samples, rate * ratio, rate, quality="HQ"), np.float32)
    return _fit_length(_change_tempo(_shift_formants(faster, 1.0 / ratio, rate), rate, 1.0 / ratio), len(samples))


def _shift_formants(samples: Samples, ratio: float, sample_rate: int) -> Samples:
    """Shift formants part by part, so that spectra of a long recording do not fill the memory."""
    parts = []
    for first in range(0, len(samples), FORMANT_BLOCK_SAMPLES):
        start = max(first - FORMANT_MARGIN_SAMPLES, 0)
        part = torch.from_numpy(samples[start : first + FORMANT_BLOCK_SAMPLES + FORMANT_MARGIN_SAMPLES])
        shifted = shift_formants(part[None], torch.tensor([ratio]), sample_rate)[0].numpy()
        parts.append(shifted[first - start :][:FORMANT_BLOCK_SAMPLES])
    return np.concatenate(parts)


def change_tempo(samples: Samples, context: DegradationContext) -> Samples:
    """Play so many times as fast; pitch and formants stay (FFmpeg's `atempo`, which overlaps and adds like waves)."""
    stretched = _change_tempo(samples, context.sample_rate, context.strength)
    return _fit_length(stretched, round(len(samples) / context.strength))


def _change_tempo(samples: Samples, sample_rate: int, factor: float) -> Samples:
    graph = Graph()
    source = graph.add_abuffer(sample_rate=sample_rate, format="flt", layout="mono")
    tempo, sink = graph.add("atempo", f"{factor:.9f}"), graph.add("abuffersink")
    source.link_to(tempo)
    tempo.link_to(sink)
    graph.configure()
    parts: list[np.ndarray] = []
    for first in [*range(0, len(samples), BLOCK_SAMPLES), None]:
        block = None if first is None else _build_frame(samples[first : first + BLOCK_SAMPLES], sample_rate, first)
        source.push(block)
        try:
            while True:
                frame = sink.pull()
                assert isinstance(frame, AudioFrame)
                parts.append(frame.to_ndarray().ravel())
        except (av.BlockingIOError, av.EOFError):
            continue
    return np.concatenate(parts or [np.zeros(0, np.float32)])


def _build_frame(samples: Samples, sample_rate: int, position: int = 0) -> AudioFrame:
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples[None], np.float32), format="flt", layout="mono")
    frame.sample_rate, frame.pts = sample_rate, position
    return frame


@dataclass(frozen=True)
class Codec:
    """A lossy codec: encode a recording at so many kbit/s, as near as the codec gets at its sample rate, and decode it.

    Attributes:
        encoder: FFmpeg's name of the encoder.
        container: FFmpeg's name of the format.
        num_priming_samples: samples that come before the recording once it is decoded.
    """

    encoder: str
    container: str
    num_priming_samples: int = 0

    def __call__(self, samples: Samples, context: DegradationContext) -> Samples:
        rates = sorted(av.Codec(self.encoder, "w").audio_rates or ())
        rate = next((rate for rate in rates if rate >= context.sample_rate), rates[-1])
        file = io.BytesIO()
        with av.open(file, "w", format=self.container) as container:
            stream = container.add_stream(self.encoder, rate=rate, layout="mono")
            assert isinstance(stream, AudioStream)
            stream.bit_rate = round(1000 * context.strength)
            frame = _build_frame(_resample(samples, context.sample_rate, rate), rate)
            frame_size = stream.codec_context.frame_size or 1024
            resampler = av.AudioResampler(stream.format, "mono", rate, frame_size)
            for chunk in [*resampler.resample(frame), *resampler.resample(None), None]:
                container.mux(stream.encode(chunk))
        file.seek(0)
        with av.open(file, "r") as decoded:
            frames = [(frame.to_ndarray().ravel(), frame.sample_rate) for frame in decoded.decode(audio=0)]
        whole = np.concatenate([values for values, _ in frames]).astype(np.float32)[self.num_priming_samples :]
        return _fit_length(_resample(whole, frames[0][1], context.sample_rate), len(samples))


def _resample(samples: Samples, given: int, wanted: int) -> Samples:
    if given == wanted:
        return samples
    return np.ascontiguousarray(soxr.resample(samples, given, wanted, quality="HQ"), np.float32)


def _fit_length(samples: Samples, num_samples: int) -> Samples:
    return np.pad(samples[:num_samples], (0, max(num_samples - len(samples), 0)))


def _compute_rms(samples: Samples) -> float:
    return float(np.sqrt(np.square(samples, dtype=np.float64).mean()))


@dataclass(frozen=True)
class DegradationKind:
    """A kind of degradation.

    Attributes:
        apply: function of the samples and their context.
        unit: unit of the strength.
        quantity: what the strength is, in words.
        low: smallest strength.
        high: largest strength.
        defaults: strengths where none is given, the mildest first.
        is_standard: whether it is one of `standard`.
        keeps_level: whether the level of the clean recording is restored.
    """

    apply: Callable[[Samples, DegradationContext], Samples]
    unit: str
    quantity: str
    low: float
    high: float
    defaults: tuple[float, ...]
    is_standard: bool = True
    keeps_level: bool = True


MP3, OPUS, AAC = Codec("libmp3lame", "mp3"), Codec("libopus", "ogg"), Codec("aac", "adts", num_priming_samples=1024)
KINDS: Mapping[str, DegradationKind] = {
    "noise": DegradationKind(add_noise, "dB", "voice to white noise", -20.0, 60.0, (20.0, 10.0, 0.0)),
    "reverb": DegradationKind(add_reverberation, "s", "decay by 60 dB", 0.05, 10.0, (0.3, 0.6, 1.2)),
    "mp3": DegradationKind(MP3, "kbit/s", "bit rate", 8.0, 320.0, (128.0, 64.0, 32.0)),
    "band_limit": DegradationKind(limit_band, "Hz", "upper edge", 500.0, 48_000.0, (8000.0, 4000.0, 3400.0)),
    "gain": DegradationKind(change_gain, "dB", "gain", -60.0, 24.0, (-20.0, 20.0), keeps_level=False),
    "accompaniment": DegradationKind(add_accompaniment, "dB", "voice to accompaniment", -20.0, 60.0, (10.0, 5.0, 0.0)),
    "pitch_shift": DegradationKind(shift_pitch, "semitones", "shift of f0", -12.0, 12.0, (-2.0, 2.0, 4.0)),
    "tempo": DegradationKind(change_tempo, "times", "tempo", 0.5, 2.0, (0.8, 1.25)),
    "clipping": DegradationKind(clip_peaks, "dB", "clipped below the peak", 0.0, 60.0, (6.0, 12.0, 20.0), False),
    "opus": DegradationKind(OPUS, "kbit/s", "bit rate", 6.0, 256.0, (64.0, 24.0, 12.0), False),
    "aac": DegradationKind(AAC, "kbit/s", "bit rate", 8.0, 320.0, (128.0, 64.0, 32.0), False),
}


@dataclass(frozen=True)
class Degradation:
    """A degradation of whole recordings.

    Attributes:
        kind: name of its kind, one of `KINDS`.
        strength: strength, in the unit of its kind.
        seed: seed of its random numbers.
        accompaniment: files to draw an accompaniment from; none to synthesise it.
    """

    kind: str
    strength: float
    seed: int = 0
    accompaniment: tuple[Path, ...] = ()

    def __call__(self, samples: Samples, sample_rate: int) -> Samples:
        """Degrade a recording.

        Args:
            samples: the whole recording at its own sample rate.
            sample_rate: in Hz.
        """
        kind = KINDS[self.kind]
        recording = int.from_bytes(hashlib.blake2b(samples.tobytes(), digest_size=7).digest(), "big")
        stream = zlib.crc32(self.kind.encode())
        generator = np.random.Generator(np.random.Philox(key=[self.seed, stream], counter=[0, 0, 0, recording]))
        context = DegradationContext(sample_rate, self.strength, generator, self.accompaniment)
        degraded = kind.apply(samples, context)
        if kind.keeps_level:
            degraded = degraded * np.float32(_compute_rms(samples) / max(_compute_rms(degraded), 1e-12))
        return np.ascontiguousarray(degraded, np.float32)

    @property
    def strength_text(self) -> str:
        """The strength with its unit."""
        kind = KINDS[self.kind]
        if kind.apply is limit_band and self.strength <= TELEPHONE_HZ[1]:
            return f"{TELEPHONE_HZ[0]:g}-{self.strength:g} Hz"
        sign = "+" if kind.low < 0.0 and self.strength > 0.0 and kind.apply in (change_gain, shift_pitch) else ""
        return f"{sign}{self.strength:g} {kind.unit}"


def parse_degradations(
    wanted: str, seed: int = 0, accompaniment: Sequence[Path] = (), setting: str = "--degrade"
) -> tuple[Degradation, ...]:
    """Parse kinds of degradations, with strengths or their defaults: `noise=20:10,mp3`; `standard` stands for eight.

    Args:
        wanted: names separated by commas, each with `=` and strengths separated by colons, or without.
        seed: seed of their random numbers.
        accompaniment: files to draw accompaniments from, see `find_accompaniment`; none to synthesise them.
        setting: option that named them, for messages.

    Raises:
        SingerVerifyError: an unknown kind, a strength that is no number or out of range, a kind named twice, a codec
            that is not there, or files without `accompaniment` among the kinds.
    """
    require_at_least(0, seed=seed)
    strengths: dict[str, tuple[float, ...]] = {}
    for part in wanted.split(","):
        name, _, values = part.strip().partition("=")
        standard = [kind for kind, settings in KINDS.items() if settings.is_standard]
        require_choice((*KINDS, STANDARD), **{setting: name})
        if name == STANDARD and values:
            raise SingerVerifyError(f"{setting} {part}: expected {STANDARD} without strengths; name the kinds instead.")
        for kind in standard if name == STANDARD else [name]:
            if kind in strengths:
                raise SingerVerifyError(
                    f"{setting} {wanted}: names {kind} twice; give all its strengths at once, as in "
                    f"{kind}={':'.join(f'{value:g}' for value in KINDS[kind].defaults)}."
                )
            _require_codec(kind, setting)
            strengths[kind] = _parse_strengths(kind, values, setting) if "=" in part else KINDS[kind].defaults
    if accompaniment and "accompaniment" not in strengths:
        raise SingerVerifyError(
            f"--accompaniment: no accompaniment among {setting} {wanted}; add it, or leave the folder out."
        )
    return tuple(
        Degradation(kind, strength, seed, tuple(accompaniment) if kind == "accompaniment" else ())
        for kind, values in strengths.items()
        for strength in values
    )


def _parse_strengths(kind: str, values: str, setting: str) -> tuple[float, ...]:
    settings = KINDS[kind]
    parsed: list[float] = []
    for value in values.split(":"):
        try:
            strength = float(value)
        except ValueError:
            strength = math.nan
        if not settings.low <= strength <= settings.high:
            raise SingerVerifyError(
                f"{setting} {kind}={value}: expected {settings.quantity} from {settings.low:g} to {settings.high:g} "
                f"{settings.unit}, several separated by colons, as in "
                f"{kind}={':'.join(f'{default:g}' for default in settings.defaults)}."
            )
        if strength in parsed:
            raise SingerVerifyError(f"{setting} {kind}={values}: {strength:g} {settings.unit} twice; name it once.")
        parsed.append(strength)
    return tuple(parsed)


def _require_codec(kind: str, setting: str) -> None:
    codec = KINDS[kind].apply
    if isinstance(codec, Codec) and codec.encoder not in av.codecs_available:
        raise SingerVerifyError(
            f"{setting} {kind}: this installation of PyAV has no encoder {codec.encoder}; leave {kind} out."
        )
