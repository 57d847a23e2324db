"""Write a small synthetic corpus of singing, on which the program can be tried before any recordings are at hand.

A source-filter singer (Fant 1960, "Acoustic theory of speech production"): pulses of the glottis, and breath that comes
through while it is open, are shaped by the resonances of the vocal tract. What identifies a singer (`Voice`) is drawn
once. Everything else (`Take`: exercise, vowel, key, technique, articulation, recording) changes with every utterance and
is drawn alike for all singers of a register, so that it tells nothing about who sings.

    python scripts/make_example_dataset.py --out example_dataset
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple, get_type_hints

import numpy as np
import numpy.typing as npt
import soundfile
import typer
import yaml
from rich.progress import track

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SAMPLE_RATE_HZ = 16_000
PULSE_RATE_HZ = 4 * SAMPLE_RATE_HZ  # a pulse has a corner: oversampled, its aliases are too weak to hear
CURVE_RATE_HZ = 200  # of pitch, level and formants
HOP = SAMPLE_RATE_HZ // CURVE_RATE_HZ  # samples
WINDOW = 4 * HOP  # samples in which the formants stand still
FFT = 1024  # a window, and room for the formants to ring on

NUM_SINGERS = {"train": 6, "val": 3}  # of each register
NUM_UTTERANCES = 8  # of each singer
LEVEL_DB = -32.0  # root mean square of a recording at gain 0, re full scale
ROOM_NOISE_DB = -85.0
FEAT_PARAMS = dict(type="mel", sr=SAMPLE_RATE_HZ, frame_size=1024, hop_size=160, num_feats=40, fmin=90, fmax=7600)

# Means of 45 men: Hillenbrand et al. 1995, "Acoustic characteristics of American English vowels", table V. It has no
# fifth formant: that of a uniform tube is taken.
FORMANTS_HZ = {
    "a": (768.0, 1333.0, 2522.0, 3687.0, 4500.0),
    "e": (476.0, 2089.0, 2691.0, 3649.0, 4500.0),
    "i": (342.0, 2322.0, 3000.0, 3657.0, 4500.0),
    "o": (497.0, 910.0, 2459.0, 3384.0, 4500.0),
    "u": (378.0, 997.0, 2343.0, 3357.0, 4500.0),
}
TUBE_HZ = np.array([500.0, 1500.0, 2500.0, 3500.0, 4500.0])  # a uniform tube of the length below
TUBE_CM = 17.5
BANDWIDTHS_HZ = np.array([60.0, 80.0, 120.0, 175.0, 250.0])
VOWEL_COLOUR = 0.65  # of the way from the tube to the spoken vowel: sung vowels lie closer together


class Register(NamedTuple):
    """What low or high voices share."""

    tract_cm: float
    lowest_keys_midi: tuple[float, float]  # range of the key note; melodies rise up to an octave above it


class Melody(NamedTuple):
    semitones: tuple[int, ...]  # above the key
    beats: tuple[int, ...]


class Technique(NamedTuple):
    """Departures from the singer's own habits."""

    vibrato: float  # share of the singer's extent
    breath_db: float
    tilt_db: float  # per octave
    level_db: float


REGISTERS = {"male": Register(17.4, (44.0, 55.0)), "female": Register(14.1, (54.0, 65.0))}
MELODIES = {
    "scales": Melody((0, 2, 4, 5, 7, 9, 11, 12, 11, 9, 7, 5, 4, 2, 0), (1,) * 14 + (2,)),
    "arpeggios": Melody((0, 4, 7, 12, 7, 4, 0), (1,) * 6 + (2,)),
    "long_tones": Melody((4, 7), (1, 1)),
    "excerpt": Melody((0, 0, 0, 2, 4, 4, 2, 4, 5, 7), (3, 3, 2, 1, 3, 2, 1, 2, 1, 6)),  # "Row, row, row your boat"
}
TECHNIQUES = {
    "straight": Technique(vibrato=0.1, breath_db=0.0, tilt_db=0.0, level_db=0.0),
    "vibrato": Technique(vibrato=1.2, breath_db=0.0, tilt_db=0.0, level_db=0.0),
    "breathy": Technique(vibrato=0.6, breath_db=4.0, tilt_db=0.7, level_db=-3.0),
    "forte": Technique(vibrato=0.8, breath_db=-1.0, tilt_db=-0.4, level_db=3.0),
    "belt": Technique(vibrato=0.6, breath_db=-1.5, tilt_db=-0.6, level_db=4.0),
    "pp": Technique(vibrato=0.7, breath_db=1.5, tilt_db=0.5, level_db=-6.0),
}


@dataclass(frozen=True)
class Voice:
    """A singer's identity, the same in all utterances. `Annotated` gives the lowest and highest value in the corpus.

    The ranges are somewhat wider than people's, for twelve training singers to be enough. Formants above the second
    differ most: the cavities at the larynx set them, whatever the vowel (Kitamura et al. 2005, "Individual variation of
    the hypopharyngeal cavities and its acoustic effects").
    """

    register: Register
    tract: Annotated[float, 0.91, 1.09]  # length of the vocal tract, as a share of the register's
    formant_3: Annotated[float, 0.88, 1.12]  # share of where the tract's length puts it
    formant_4: Annotated[float, 0.86, 1.14]
    formant_5: Annotated[float, 0.86, 1.14]
    bandwidth: Annotated[float, 0.8, 1.7]  # share of BANDWIDTHS_HZ
    ring_hz: Annotated[float, 2200.0, 3600.0]  # the singer's formant, in a tract of TUBE_CM
    ring_db: Annotated[float, -4.0, 18.0]
    trough_hz: Annotated[float, 3800.0, 6400.0]  # where the piriform fossae absorb, in a tract of TUBE_CM
    open_quotient: Annotated[float, 0.45, 0.8]  # share of a period in which the glottis is open
    tilt_db: Annotated[float, -0.5, 4.0]  # loss per octave above 500 Hz, beyond the pulse's own
    breath_db: Annotated[float, -42.0, -16.0]  # noise, relative to the pulses
    jitter: Annotated[float, 0.002, 0.015]  # standard deviation of a period, as a share of it
    shimmer_db: Annotated[float, 0.1, 1.0]  # standard deviation of a pulse's level
    vibrato_hz: Annotated[float, 4.6, 6.8]
    vibrato_semitones: Annotated[float, 0.25, 0.9]  # from the middle to the top
    vibrato_onset_s: Annotated[float, 0.05, 0.4]  # a note begins straight
    glide_s: Annotated[float, 0.03, 0.14]  # from note to note


@dataclass(frozen=True)
class Take:
    """One utterance: what is sung, how, and how it was recorded."""

    exercise: str
    technique: str
    vowel: str
    key_midi: float
    duration_s: float
    articulation: FloatArray  # factor on each formant
    gain_db: float
    recording_tilt_db: float  # loss per octave above 200 Hz

    @property
    def num_points(self) -> int:
        """Of each curve over the utterance."""
        return round(self.duration_s * CURVE_RATE_HZ)


def draw_voices(register: Register, rng: np.random.Generator) -> list[tuple[str, Voice]]:
    """(split, voice) of a register's singers, in a Latin hypercube: few singers, yet they cover every range evenly.

    Validation singers get strata between those of training singers: recognising them is no extrapolation.
    """
    splits = [split for split, count in NUM_SINGERS.items() for _ in range(count)]
    val_strata = np.linspace(1, len(splits) - 2, NUM_SINGERS["val"]).round().astype(int)
    train_strata = np.setdiff1d(np.arange(len(splits)), val_strata)
    columns: dict[str, FloatArray] = {}
    for name, hint in get_type_hints(Voice, include_extras=True).items():
        if name != "register":
            lowest, highest = hint.__metadata__
            strata = np.concatenate([rng.permutation(train_strata), rng.permutation(val_strata)])
            columns[name] = lowest + (highest - lowest) * (strata + rng.uniform(0.25, 0.75, len(splits))) / len(splits)
    rows = zip(*columns.values(), strict=True)
    voices = [Voice(register, **dict(zip(columns, map(float, row), strict=True))) for row in rows]
    return list(zip(splits, voices, strict=True))


def draw_takes(register: Register, rng: np.random.Generator) -> Iterator[Take]:
    """A singer's utterances. Those of one exercise differ in vowel and technique: no name comes twice."""
    vowels, techniques = rng.permutation(list(FORMANTS_HZ)), rng.permutation(list(TECHNIQUES))
    lowest_midi, highest_midi = register.lowest_keys_midi
    for number, stratum in enumerate(rng.permutation(NUM_UTTERANCES)):  # every singer uses the whole register
        yield Take(
            exercise=list(MELODIES)[number % len(MELODIES)],
            technique=str(techniques[number % len(techniques)]),
            vowel=str(vowels[number % len(vowels)]),
            key_midi=lowest_midi + (highest_midi - lowest_midi) * (stratum + rng.uniform()) / NUM_UTTERANCES,
            duration_s=round(rng.uniform(3.5, 4.5), 1),
            articulation=np.exp(rng.normal(0.0, 0.015, len(TUBE_HZ))),
            gain_db=rng.uniform(-6.0, 6.0),
            recording_tilt_db=rng.uniform(-0.3, 0.3),
        )


def sing(voice: Voice, take: Take, rng: np.random.Generator) -> FloatArray:
    """Samples at SAMPLE_RATE_HZ, in [-1, 1]."""
    technique = TECHNIQUES[take.technique]
    note, since_onset_s = notes(take)
    vibrato = technique.vibrato * vibrato_curve(voice, since_onset_s, rng)
    pitch_hz = pitch_curve(voice, take, note, vibrato, rng)
    level = level_curve(take, since_onset_s, vibrato, rng)
    source = glottis(voice, technique, pitch_hz, rng) * at_rate(SAMPLE_RATE_HZ, level)
    return record(take, vocal_tract(voice, source, formant_curves(voice, take, pitch_hz, rng)), rng)


def notes(take: Take) -> tuple[IntArray, FloatArray]:
    """At each point: the number of the note, and the time since its onset in seconds."""
    beats = np.array(MELODIES[take.exercise].beats)
    onsets_s = (np.cumsum(beats) - beats) / beats.sum() * take.duration_s
    times_s = np.arange(take.num_points) / CURVE_RATE_HZ
    note = np.searchsorted(onsets_s, times_s, side="right") - 1
    return note, times_s - onsets_s[note]


def vibrato_curve(voice: Voice, since_onset_s: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Between -1 and 1, growing after the onset of each note, at a rate that is never quite steady."""
    rate_hz = voice.vibrato_hz * (1.0 + 0.05 * drift(len(since_onset_s), rng))
    swell = np.clip((since_onset_s - voice.vibrato_onset_s) / 0.2, 0.0, 1.0)
    return swell * np.sin(2 * np.pi * np.cumsum(rate_hz) / CURVE_RATE_HZ)


def pitch_curve(voice: Voice, take: Take, note: IntArray, vibrato: FloatArray, rng: np.random.Generator) -> FloatArray:
    """In Hz. Notes are 0.12 semitones out of tune, and glide into each other."""
    semitones = np.array(MELODIES[take.exercise].semitones) + rng.normal(0.0, 0.12, note[-1] + 1)
    midi = take.key_midi + smooth(semitones[note], voice.glide_s)
    midi += voice.vibrato_semitones * vibrato + 0.1 * drift(len(note), rng)
    return 440.0 * 2 ** ((midi - 69.0) / 12)


def level_curve(take: Take, since_onset_s: FloatArray, vibrato: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Amplitude about 1: an attack on each note, a rise and fall over the phrase, silence before and after."""
    times_s = np.arange(take.num_points) / CURVE_RATE_HZ
    attack = smooth(np.clip(0.6 + since_onset_s / 0.2, 0.6, 1.0), 0.03)
    phrase = np.clip((np.minimum(times_s, take.duration_s - times_s) - 0.04) / 0.1, 0.0, 1.0)
    return attack * phrase * decibels(vibrato + 1.5 * drift(take.num_points, rng))


def glottis(voice: Voice, technique: Technique, pitch_hz: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Derivative of the glottal flow, which stands for radiation from the lips, plus noise, at SAMPLE_RATE_HZ.

    The flow is pulse B of Rosenberg 1971, "Effect of glottal pulse shape on the quality of natural vowels".
    """
    steps = at_rate(PULSE_RATE_HZ, pitch_hz) / PULSE_RATE_HZ  # periods per sample
    period = np.floor(np.cumsum(steps)).astype(int)
    jitter, shimmer = rng.normal(size=(2, period[-1] + 1))[:, period]
    phase = np.cumsum(steps * (1.0 + voice.jitter * jitter)) % 1.0
    opening_time, closing_time = 0.65 * voice.open_quotient, 0.35 * voice.open_quotient
    rise, fall = phase / opening_time, (phase - opening_time) / closing_time
    slope = np.where(rise < 1.0, 6.0 * rise * (1.0 - rise) / opening_time, -2.0 * fall / closing_time) * (fall < 1.0)
    pulses = tilt(
        slope * decibels(voice.shimmer_db * shimmer), voice.tilt_db + technique.tilt_db, 500.0, len(pitch_hz) * HOP
    )
    is_open = (phase < voice.open_quotient)[:: PULSE_RATE_HZ // SAMPLE_RATE_HZ]
    breath = rng.normal(size=len(pulses)) * np.where(is_open, 1.0, 0.3)  # it hardly comes through closed folds
    return pulses / rms(pulses) + breath * decibels(voice.breath_db + technique.breath_db)


def formant_curves(voice: Voice, take: Take, pitch_hz: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(points, formants) in Hz: the vowel in this tract, never quite still."""
    vowel_hz = TUBE_HZ * (np.array(FORMANTS_HZ[take.vowel]) / TUBE_HZ) ** VOWEL_COLOUR
    singer = np.array([1.0, 1.0, voice.formant_3, voice.formant_4, voice.formant_5]) * tract_scale(voice)
    movement = np.stack([1.0 + 0.015 * drift(take.num_points, rng) for _ in TUBE_HZ], axis=1)
    curves_hz: FloatArray = vowel_hz * singer * take.articulation * movement
    curves_hz[:, 0] = np.maximum(curves_hz[:, 0], pitch_hz)  # high notes: singers open the jaw to keep up
    return curves_hz


def tract_scale(voice: Voice) -> float:
    """Factor on all resonances: a shorter tract puts them higher."""
    return TUBE_CM / (voice.register.tract_cm * voice.tract)


def vocal_tract(voice: Voice, source: FloatArray, formants_hz: FloatArray) -> FloatArray:
    """A cascade of resonators (Klatt 1980, "Software for a cascade/parallel formant synthesizer"), window by window."""
    padded = np.pad(source, WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][: len(formants_hz)]
    hann = np.hanning(WINDOW + 1)[:-1] * 2 * HOP / WINDOW  # overlapping, they add up to 1
    delay = np.exp(-2j * np.pi * np.arange(FFT // 2 + 1) / FFT)
    response = np.tile(larynx(voice).astype(complex), (len(frames), 1))
    for centres_hz, bandwidth_hz in zip(formants_hz.T, BANDWIDTHS_HZ * voice.bandwidth, strict=True):
        radius = np.exp(-np.pi * bandwidth_hz / SAMPLE_RATE_HZ)
        first = -2.0 * radius * np.cos(2 * np.pi * centres_hz / SAMPLE_RATE_HZ)[:, None]
        response *= (1.0 + first + radius**2) / (1.0 + first * delay + radius**2 * delay**2)  # 1 at 0 Hz
    shaped = np.fft.irfft(np.fft.rfft(frames * hann, FFT) * response)
    sung = np.zeros(len(padded) + FFT)
    for number, frame in enumerate(shaped):
        sung[number * HOP : number * HOP + FFT] += frame
    return sung[WINDOW // 2 :][: len(source)]


def larynx(voice: Voice) -> FloatArray:
    """Amplitude response, at the bins of FFT, of what the cavities about the larynx add to any vowel.

    The singer's formant (Sundberg 1974, "Articulatory interpretation of the 'singing formant'") and the trough of the
    piriform fossae (Dang & Honda 1997, "Acoustic characteristics of the piriform fossa in models and humans").
    """
    octaves = np.log2(np.maximum(np.arange(FFT // 2 + 1), 0.5) * SAMPLE_RATE_HZ / FFT / tract_scale(voice))
    ring = np.exp(-0.5 * ((octaves - np.log2(voice.ring_hz)) / 0.2) ** 2)
    trough = np.exp(-0.5 * ((octaves - np.log2(voice.trough_hz)) / 0.12) ** 2)
    return decibels(voice.ring_db * ring - 12.0 * trough)


def record(take: Take, sung: FloatArray, rng: np.random.Generator) -> FloatArray:
    """As a microphone takes it in a room. Loudness follows technique and gain, not the singer."""
    coloured = tilt(sung, take.recording_tilt_db, 200.0, len(sung))
    level_db = LEVEL_DB + TECHNIQUES[take.technique].level_db + take.gain_db
    samples = coloured / rms(coloured) * decibels(level_db) + rng.normal(0.0, decibels(ROOM_NOISE_DB), len(sung))
    return samples * min(1.0, 0.95 / np.abs(samples).max())


def tilt(samples: FloatArray, loss_db: float, from_hz: float, num_samples: int) -> FloatArray:
    """Take off `loss_db` per octave above `from_hz`, and resample to `num_samples` at SAMPLE_RATE_HZ."""
    spectrum = np.fft.rfft(samples)[: num_samples // 2 + 1]
    octaves = np.log2(np.maximum(np.linspace(0.0, SAMPLE_RATE_HZ / 2, len(spectrum)) / from_hz, 1.0))
    return np.fft.irfft(spectrum * decibels(-loss_db * octaves), num_samples)


def at_rate(rate_hz: int, curve: FloatArray) -> FloatArray:
    points = np.arange(len(curve) * rate_hz // CURVE_RATE_HZ) * CURVE_RATE_HZ / rate_hz
    return np.interp(points, np.arange(len(curve)), curve)


def smooth(curve: FloatArray, width_s: float) -> FloatArray:
    """Average under a Hann window of that width; the ends are held."""
    half = max(1, round(width_s * CURVE_RATE_HZ / 2))
    hann = np.hanning(2 * half + 3)[1:-1]
    return np.convolve(np.pad(curve, half, mode="edge"), hann / hann.sum(), mode="valid")


def drift(num_points: int, rng: np.random.Generator) -> FloatArray:
    """A slow random curve about 0, with a deviation near 1, that turns up to four times a second."""
    turns = np.arange(num_points) * 4 / CURVE_RATE_HZ
    knots = rng.normal(size=int(turns[-1]) + 2)
    return smooth(np.interp(turns, np.arange(len(knots)), knots), 0.2)


def decibels(level_db: float | FloatArray) -> FloatArray:
    return np.asarray(10.0 ** (np.asarray(level_db) / 20.0))


def rms(samples: FloatArray) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def write_singer(folder: Path, voice: Voice, seed: tuple[int, ...]) -> None:
    """Replace a singer's utterances in `folder`. `seed` and the number of an utterance decide all that is random."""
    prefix = f"{folder.name[0]}{folder.name.lstrip('femal')}"
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(f"{prefix}_*.flac"):
        stale.unlink()
    for number, take in enumerate(draw_takes(voice.register, np.random.default_rng(seed))):
        samples = sing(voice, take, np.random.default_rng((*seed, number)))
        name = f"{prefix}_{take.exercise}_{take.technique}_{take.vowel}.flac"
        soundfile.write(folder / name, samples, SAMPLE_RATE_HZ, subtype="PCM_16")


def main(
    out: Annotated[Path, typer.Option(help="Folder of the corpus.")] = Path("example_dataset"),
    seed: Annotated[int, typer.Option(help="Another seed, another eighteen singers.")] = 1,
    force: Annotated[bool, typer.Option("--force", help="Replace the singers that OUT holds.")] = False,
) -> None:
    """Write OUT/{train,val}/<singer>/<utterance>.flac and OUT/feat_params.yaml."""
    if out.is_dir() and any(out.iterdir()) and not force:
        raise SystemExit(
            f"--out {out}: the folder is not empty; name another one, or add --force to replace its singers."
        )
    jobs = []
    for number, (name, register) in enumerate(REGISTERS.items()):
        voices = draw_voices(register, np.random.default_rng((seed, number)))
        jobs += [(out / split / f"{name}{i}", voice, (seed, number, i)) for i, (split, voice) in enumerate(voices, 1)]
    for job in track(jobs, description="Singing"):
        write_singer(*job)
    (out / "feat_params.yaml").write_text(yaml.safe_dump(FEAT_PARAMS), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
