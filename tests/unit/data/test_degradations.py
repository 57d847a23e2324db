"""Each degradation does what its strength says, and depends on nothing but the recording and the seed."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from scipy.signal import welch
from support.audio import SAMPLE_RATE, sing, sing_phrases

from singer_verify.data import degradations
from singer_verify.data.accompaniment import find_accompaniment, load_accompaniment
from singer_verify.data.degradations import KINDS, Degradation, DegradationContext, parse_degradations
from singer_verify.errors import SingerVerifyError

STRONGEST = [parse_degradations(kind)[-1] for kind in KINDS]
CODECS = [degradation for degradation in STRONGEST if degradation.kind in ("mp3", "opus", "aac")]


@pytest.fixture(scope="module")
def voice() -> np.ndarray:
    return sing_phrases(1, 2, 2.0)


def degrade(samples: np.ndarray, wanted: str, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    (degradation,) = parse_degradations(wanted)
    return degradation(samples, sample_rate)


def compute_level_db(samples: np.ndarray) -> float:
    return 10 * np.log10(np.square(samples, dtype=np.float64).mean())


def split_mixture(mixture: np.ndarray, samples: np.ndarray) -> tuple[float, np.ndarray]:
    """The level of the voice in a mixture relative to the recording, by projection, and what else is in it."""
    gain = float(mixture @ samples / (samples @ samples))
    return 20 * np.log10(gain), mixture - gain * samples


def estimate_f0_hz(samples: np.ndarray, low_hz: float = 80.0, high_hz: float = 1000.0) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 18))
    frequencies = np.fft.rfftfreq(1 << 18, 1 / SAMPLE_RATE)
    return float(frequencies[np.argmax(np.where((frequencies > low_hz) & (frequencies < high_hz), spectrum, 0.0))])


def make_note(f0_hz: float, seconds: float = 1.5) -> np.ndarray:
    time_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return sum(0.3 / k * np.sin(2 * np.pi * k * f0_hz * time_s) for k in range(1, 8)).astype(np.float32)


@pytest.mark.parametrize("degradation", STRONGEST, ids=lambda it: f"{it.kind}={it.strength:g}")
def test_the_same_recording_is_degraded_in_the_same_way(degradation: Degradation, voice: np.ndarray) -> None:
    first, again = (degradation(voice.copy(), SAMPLE_RATE) for _ in range(2))
    assert first.dtype == np.float32
    assert np.array_equal(first, again)
    if degradation.kind != "tempo":
        assert len(first) == len(voice)
    level = compute_level_db(first) - compute_level_db(voice)
    assert level == pytest.approx(degradation.strength if degradation.kind == "gain" else 0.0, abs=1e-3)


@pytest.mark.parametrize("kind", ["noise", "reverb", "accompaniment"])
def test_recordings_and_seeds_have_random_numbers_of_their_own_and_strengths_share_them(
    kind: str, voice: np.ndarray
) -> None:
    mild, strong, *_ = parse_degradations(kind)
    other = voice[::-1].copy()
    _, noise = split_mixture(mild(voice, SAMPLE_RATE), voice)
    _, elsewhere = split_mixture(mild(other, SAMPLE_RATE), other)
    _, reseeded = split_mixture(Degradation(kind, mild.strength, seed=1)(voice, SAMPLE_RATE), voice)
    _, louder = split_mixture(strong(voice, SAMPLE_RATE), voice)
    assert abs(np.corrcoef(noise, reseeded)[0, 1]) < 0.9
    if kind != "reverb":
        assert abs(np.corrcoef(noise, elsewhere)[0, 1]) < 0.9
        assert np.corrcoef(noise, louder)[0, 1] > 0.99


@pytest.mark.parametrize("kind", ["noise", "accompaniment"])
@pytest.mark.parametrize("snr_db", [30.0, -5.0])
def test_ratios_are_those_of_the_voice_not_of_the_pauses(kind: str, snr_db: float, voice: np.ndarray) -> None:
    padded = np.concatenate([np.zeros(SAMPLE_RATE, np.float32), voice, np.zeros(SAMPLE_RATE, np.float32)])
    context = DegradationContext(SAMPLE_RATE, snr_db, np.random.default_rng(0))
    other = KINDS[kind].apply(padded, context) - padded
    assert compute_level_db(voice) - compute_level_db(other) == pytest.approx(snr_db, abs=0.1)


def test_noise_is_white(voice: np.ndarray) -> None:
    _, noise = split_mixture(degrade(voice, "noise=0"), voice)
    _, density = welch(noise, SAMPLE_RATE, nperseg=256)
    assert np.ptp(10 * np.log10(density[2:-2])) < 3.5


@pytest.mark.parametrize("decay_s", [0.3, 1.2])
def test_reverberation_decays_by_60_db_in_its_time(decay_s: float) -> None:
    click = np.zeros(2 * SAMPLE_RATE, np.float32)
    click[100] = 0.9
    response = degrade(click, f"reverb={decay_s}").astype(np.float64)[100:]
    decay_db = 10 * np.log10(np.cumsum(np.square(response)[:0:-1])[::-1])  # Schroeder's integral, without direct sound
    first, last = (int(np.argmax(decay_db < decay_db[0] - fallen)) for fallen in (5.0, 25.0))
    assert 3 * (last - first) / SAMPLE_RATE == pytest.approx(decay_s, rel=0.1)
    direct_to_reverberant_db = 10 * np.log10(response[0] ** 2 / np.square(response[1:]).sum())
    assert direct_to_reverberant_db == pytest.approx(0.0, abs=0.1)


@pytest.mark.parametrize(("sample_rate", "edge_hz"), [(16_000, 4000), (44_100, 8000), (16_000, 1000)])
def test_nothing_is_left_above_the_edge_of_the_band(sample_rate: int, edge_hz: int) -> None:
    click = np.zeros(sample_rate, np.float32)
    click[sample_rate // 2] = 1.0
    response_db = 20 * np.log10(np.abs(np.fft.rfft(degrade(click, f"band_limit={edge_hz}", sample_rate))) + 1e-9)
    low_hz = 300 if edge_hz <= 3400 else 0
    inside_db = response_db[low_hz + 60 : round(0.93 * edge_hz)]  # a bin is 1 Hz wide
    assert np.ptp(inside_db) < 0.01
    assert response_db[edge_hz:].max() - inside_db.mean() < -75
    assert response_db[: max(low_hz, 1)].max() - inside_db.mean() < (-75 if low_hz else 0.01)
    noise = np.random.default_rng(0).standard_normal(sample_rate).astype(np.float32)
    spectrum = np.square(
        np.abs(np.fft.rfft(degrade(noise, f"band_limit={edge_hz}", sample_rate) * np.hanning(sample_rate)))
    )
    assert 10 * np.log10(spectrum[edge_hz + 20 :].sum() / spectrum.sum()) < -50


def test_a_band_that_holds_everything_changes_nothing(voice: np.ndarray) -> None:
    assert np.array_equal(degrade(voice, "band_limit=8000"), voice)
    assert np.array_equal(degrade(voice, "band_limit=20000"), voice)
    assert len(degrade(voice[:400], "band_limit=3400")) == 400


@pytest.mark.parametrize("degradation", CODECS, ids=lambda it: f"{it.kind}={it.strength:g}")
@pytest.mark.parametrize("sample_rate", [16_000, 44_100])
def test_codecs_change_samples_but_neither_length_nor_place(degradation: Degradation, sample_rate: int) -> None:
    samples = sing_phrases(3, 1, 1.0, sample_rate)
    decoded = degradation(samples, sample_rate)
    assert len(decoded) == len(samples)
    assert not np.array_equal(decoded, samples)
    correlation = np.fft.irfft(np.fft.rfft(decoded, 1 << 16) * np.fft.rfft(samples, 1 << 16).conj())
    assert min(int(correlation.argmax()), (1 << 16) - int(correlation.argmax())) <= 2
    assert np.corrcoef(samples, decoded)[0, 1] > 0.9


@pytest.mark.parametrize("kind", ["mp3", "opus", "aac"])
def test_fewer_bits_are_worse(kind: str) -> None:
    samples = sing_phrases(3, 1, 1.0, 44_100)
    errors = [
        np.square(split_mixture(degradation(samples, 44_100), samples)[1]).sum()
        for degradation in parse_degradations(kind)
    ]
    assert errors == sorted(errors)


@pytest.mark.parametrize("kind", ["mp3", "opus", "aac"])
@pytest.mark.parametrize("sample_rate", [8000, 96_000, 12_345])
def test_codecs_take_any_sample_rate(kind: str, sample_rate: int) -> None:
    samples = sing(1, 0.6, sample_rate)
    decoded = degrade(samples, f"{kind}=64", sample_rate)
    assert len(decoded) == len(samples)
    assert np.corrcoef(samples, decoded)[0, 1] > 0.9


@pytest.mark.parametrize("semitones", [-7, -2, 2, 4, 12])
def test_pitch_is_shifted_at_the_same_tempo(semitones: int) -> None:
    note = make_note(220.0)
    shifted = degrade(note, f"pitch_shift={semitones}")
    assert len(shifted) == len(note)
    expected_hz = 220.0 * 2 ** (semitones / 12)
    assert estimate_f0_hz(shifted, 0.7 * expected_hz, 1.4 * expected_hz) == pytest.approx(expected_hz, rel=0.005)
    tail = shifted[-SAMPLE_RATE // 5 :]  # not padded with silence
    assert compute_level_db(tail) > compute_level_db(shifted) - 6


def test_formants_stay_where_pitch_is_shifted(voice: np.ndarray) -> None:
    def compute_centroid_hz(samples: np.ndarray) -> float:
        frequencies, density = welch(samples, SAMPLE_RATE, nperseg=512)
        return float((frequencies * density).sum() / density.sum())

    resampled = soxr.resample(voice, SAMPLE_RATE * 2 ** (4 / 12), SAMPLE_RATE)
    moved = abs(np.log(compute_centroid_hz(resampled) / compute_centroid_hz(voice)))
    assert abs(np.log(compute_centroid_hz(degrade(voice, "pitch_shift=4")) / compute_centroid_hz(voice))) < 0.6 * moved


def test_long_recordings_are_shifted_part_by_part(voice: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = degrade(voice, "pitch_shift=3")
    monkeypatch.setattr(degradations, "FORMANT_BLOCK_SAMPLES", 1 << 13)
    monkeypatch.setattr(degradations, "FORMANT_MARGIN_SAMPLES", 1 << 12)
    assert np.abs(degrade(voice, "pitch_shift=3") - whole).max() < 1e-5


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 2.0])
def test_tempo_changes_duration_but_not_pitch(factor: float) -> None:
    note = make_note(220.0)
    changed = degrade(note, f"tempo={factor}")
    assert len(changed) == round(len(note) / factor)
    assert estimate_f0_hz(changed) == pytest.approx(220.0, rel=0.005)
    silence = np.flatnonzero(np.abs(changed) > 1e-4)
    assert len(changed) - silence[-1] < 0.05 * SAMPLE_RATE


def test_clipped_samples_are_at_the_limit_below_the_peak(voice: np.ndarray) -> None:
    clipped = degrade(voice, "clipping=20")
    limit = np.abs(clipped).max()
    is_below = np.abs(voice) < 0.0999 * np.abs(voice).max()
    assert np.allclose(clipped[is_below] / limit, voice[is_below] / (0.1 * np.abs(voice).max()), atol=1e-4)
    assert np.abs(np.abs(clipped[~is_below & (np.abs(voice) > 0.101 * np.abs(voice).max())]) - limit).max() < 1e-6


def test_gain_neither_clips_nor_rounds(voice: np.ndarray) -> None:
    assert np.allclose(degrade(voice, "gain=20"), 10 * voice, rtol=1e-6)
    assert np.allclose(degrade(voice, "gain=-20"), voice / 10, rtol=1e-6)


def test_accompaniment_comes_from_the_files_in_a_folder(tmp_path: Path, voice: np.ndarray) -> None:
    (tmp_path / "songs/a").mkdir(parents=True)
    tone = (0.5 * np.sin(2 * np.pi * 3000 * np.arange(8000) / 8000 * 0.9)).astype(np.float32)  # 1 s, to be repeated
    soundfile.write(tmp_path / "songs/a/tone.wav", tone, 8000)
    (tmp_path / "songs/notes.txt").write_text("no audio")
    files = find_accompaniment(tmp_path / "songs")
    assert [file.name for file in files] == ["tone.wav"]
    (degradation,) = parse_degradations("accompaniment=3", 0, files)
    _, other = split_mixture(degradation(voice, SAMPLE_RATE), voice)
    assert estimate_f0_hz(other, 1000, 4000) == pytest.approx(2700, rel=0.01)
    assert compute_level_db(voice) - 3 == pytest.approx(
        compute_level_db(other) - split_mixture(degradation(voice, SAMPLE_RATE), voice)[0], abs=0.5
    )
    assert parse_degradations("noise,accompaniment=3", 0, files)[0].accompaniment == ()


def test_accompaniment_is_not_taken_from_silence(tmp_path: Path, voice: np.ndarray) -> None:
    song = np.concatenate([np.zeros(30 * 8000), sing(1, 6.0, 8000)])
    soundfile.write(tmp_path / "song.wav", song, 8000)
    generators = (np.random.default_rng(seed) for seed in range(8))
    excerpts = [load_accompaniment((tmp_path / "song.wav",), 16_000, 8000, generator) for generator in generators]
    assert all(len(excerpt) == 16_000 for excerpt in excerpts)
    assert min(map(compute_level_db, excerpts)) > compute_level_db(song) - 10.1
    assert len({excerpt.tobytes() for excerpt in excerpts}) > 4


def test_folders_without_accompaniment_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SingerVerifyError, match=r"--accompaniment .*nowhere: no such folder"):
        find_accompaniment(tmp_path / "nowhere")
    with pytest.raises(SingerVerifyError, match=r"no audio file in it; expected \.aac"):
        find_accompaniment(tmp_path)
    (tmp_path / "broken.mp3").write_bytes(b"no sound")
    with pytest.raises(SingerVerifyError, match=r"--accompaniment .*broken\.mp3: cannot be decoded as audio"):
        find_accompaniment(tmp_path)
    (tmp_path / "broken.mp3").unlink()
    for name, num_samples, reason in (("silent.wav", 8000, "is silent"), ("empty.wav", 0, "contains no samples")):
        soundfile.write(tmp_path / name, np.zeros(num_samples), 8000)
        with pytest.raises(SingerVerifyError, match=f"--accompaniment .*{name}: {reason}"):
            find_accompaniment(tmp_path)
        (tmp_path / name).unlink()
    with pytest.raises(SingerVerifyError, match="--accompaniment: no accompaniment among --degrade noise"):
        parse_degradations("noise", 0, [tmp_path / "a.wav"])


def test_kinds_are_parsed_with_strengths_or_their_defaults() -> None:
    parsed = parse_degradations("noise=20:-5,mp3, tempo=1.1", seed=3)
    assert [(it.kind, it.strength, it.seed) for it in parsed] == [
        ("noise", 20.0, 3),
        ("noise", -5.0, 3),
        *(("mp3", rate, 3) for rate in (128.0, 64.0, 32.0)),
        ("tempo", 1.1, 3),
    ]
    standard = {it.kind for it in parse_degradations("standard")}
    assert standard == {"noise", "reverb", "mp3", "band_limit", "gain", "accompaniment", "pitch_shift", "tempo"}
    texts = [it.strength_text for it in parse_degradations("band_limit,gain,pitch_shift=2:-1.5,reverb=0.3")]
    assert texts == [
        *("8000 Hz", "4000 Hz", "300-3400 Hz", "-20 dB", "+20 dB", "+2 semitones", "-1.5 semitones", "0.3 s"),
    ]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("echo", "--degrade=echo: expected one of noise, reverb, .*, standard"),
        ("", "--degrade=: expected one of noise"),
        ("noise,,mp3", "--degrade=: expected one of noise"),
        ("noise=loud", "noise=loud: expected voice to white noise from -20 to 60 dB, .* as in noise=20:10:0"),
        ("noise=nan", "noise=nan: expected"),
        ("noise=", "noise=: expected voice to white noise"),
        ("noise=10:", "noise=: expected voice to white noise"),
        ("noise=20:99", "noise=99: expected .* from -20 to 60 dB"),
        ("reverb=0", "reverb=0: expected decay by 60 dB from 0.05 to 10 s"),
        ("mp3=64000", "mp3=64000: expected bit rate from 8 to 320 kbit/s"),
        ("band_limit=8", "band_limit=8: expected upper edge from 500 to 48000 Hz"),
        ("gain=40", "gain=40: expected gain from -60 to 24 dB"),
        ("pitch_shift=13", "expected shift of f0 from -12 to 12 semitones"),
        ("tempo=0", "tempo=0: expected tempo from 0.5 to 2 times"),
        ("noise=10:10", "noise=10:10: 10 dB twice"),
        ("noise=10,mp3,noise=20", "names noise twice; give all its strengths at once, as in noise=20:10:0"),
        ("standard,noise=3", "names noise twice"),
        ("standard=3", "expected standard without strengths"),
    ],
)
def test_what_cannot_be_parsed_is_refused(wanted: str, message: str) -> None:
    with pytest.raises(SingerVerifyError, match=message):
        parse_degradations(wanted)


def test_a_codec_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(degradations.av, "codecs_available", {"libopus"})
    assert parse_degradations("opus=24")
    with pytest.raises(SingerVerifyError, match="mp3: this installation of PyAV has no encoder libmp3lame"):
        parse_degradations("noise,mp3")
