"""Embedding recordings: of any length, alone or many, from files or samples, and what is refused."""

import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from scipy.signal import fftconvolve
from support.audio import sing
from support.untrained_model import WINDOW_FRAMES, make_run

from singer_verify.audio import scanning
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.evaluation.scoring.scoring import COSINE
from singer_verify.features.cqt import Cqt
from singer_verify.features.fbank import Fbank
from singer_verify.features.feature import Feature, FramewiseFeature
from singer_verify.features.gammatone import Gammatone
from singer_verify.features.lfcc import Lfcc
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.mfcc import Mfcc
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.features.voice import DEFAULT_VOICE_SETTINGS
from singer_verify.inference import AudioClip, Gallery, Model, load_model, verify
from singer_verify.inference import frames as opening_module
from singer_verify.inference.frames import compute_frame_chunks

RATE = 16_000


@pytest.fixture
def embedder(tmp_path: Path) -> Model:
    return load_model(make_run(tmp_path / "run"))


def write(path: Path, samples: np.ndarray, sample_rate: int = RATE) -> Path:
    soundfile.write(path, samples, sample_rate, subtype="FLOAT")
    return path


@pytest.mark.parametrize("sample_rate", [RATE, 44_100])
@pytest.mark.parametrize("num_channels", [1, 2])
def test_samples_are_embedded_like_their_file(
    embedder: Model, tmp_path: Path, sample_rate: int, num_channels: int
) -> None:
    samples = np.stack([sing(1, 1.3, sample_rate)] * num_channels, axis=1)
    expected = embedder.embed(write(tmp_path / "a.wav", samples, sample_rate))
    np.testing.assert_allclose(embedder.embed(samples, sample_rate), expected, atol=1e-6)
    np.testing.assert_allclose(embedder.embed(np.float64(samples[:, 0]), sample_rate), expected, atol=1e-6)
    assert np.linalg.norm(expected) == pytest.approx(1.0)


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_whole_numbers_are_shares_of_full_scale(embedder: Model, dtype: type) -> None:
    samples = sing(1)
    scaled = (samples.astype(np.float64) * -float(np.iinfo(dtype).min)).round().astype(dtype)
    np.testing.assert_allclose(embedder.embed(scaled, RATE), embedder.embed(samples, RATE), atol=1e-3)


def test_many_are_embedded_as_if_each_were_alone(embedder: Model, tmp_path: Path) -> None:
    """Windows of different lengths, more of them than a batch holds, and files that cannot be used between them."""
    files = [
        write(tmp_path / f"{number:02}.wav", sing(number, seconds))
        for number, seconds in enumerate([0.5, 0.6, 1.0, 13.0, 0.5, 2.0, 7.3, 0.7])
    ]
    write(tmp_path / "01.wav", np.zeros(RATE))
    (tmp_path / "05.wav").write_bytes(b"no audio")
    recordings = [*files, AudioClip(sing(9), RATE, "at hand"), tmp_path / "missing.wav"]
    for num_threads in (0, 1, 3):
        results = list(embedder.embed_many(recordings, num_threads))
        assert [recording for recording, _ in results] == recordings
        failed = {
            str(recording): str(embedded) for recording, embedded in results if isinstance(embedded, UtteranceError)
        }
        assert {Path(name).name for name in failed} == {"01.wav", "05.wav", "missing.wav"}
        assert all(sentence.startswith(name) for name, sentence in failed.items())
        for recording, embedded in results:
            if not isinstance(embedded, UtteranceError):
                np.testing.assert_allclose(embedded.embedding, embedder.embed_windows(recording).embedding, atol=1e-6)


def test_many_are_read_only_as_far_as_needed(embedder: Model) -> None:
    asked: list[int] = []

    def endless():
        number = 0
        while True:
            asked.append(number)
            yield AudioClip(sing(number, 4.0), RATE)
            number += 1

    results = embedder.embed_many(endless(), 1)
    for _ in range(3):
        next(results)
    results.close()
    assert len(asked) < 20


@pytest.mark.parametrize(
    "feature",
    [
        MelSpectrogram(40),
        Mfcc(13, n_fft=800, hop_ms=5.0),
        MelSpectrogram(20, n_fft=512, hop_ms=20.0),
        Fbank(20),
        Lfcc(13),
        Gammatone(20),
    ],
)
@pytest.mark.parametrize("num_samples", [30_000, 30_080, 30_079, 31_999])
def test_frames_in_pieces_are_those_of_the_whole(feature: FramewiseFeature, num_samples: int) -> None:
    samples = torch.from_numpy(sing(3, 2.0))[:num_samples]
    whole = feature(samples)
    for block_samples, piece_frames in ((700, 1), (5000, 20), (16_001, 50), (num_samples, 10)):
        pieces = list(compute_frame_chunks(feature, samples.split(block_samples), piece_frames))
        assert all(len(piece) for piece in pieces)
        torch.testing.assert_close(torch.cat(pieces), whole, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("normalise", "settings", "feature"),
    [
        ("none", {}, MelSpectrogram(40)),
        ("none", DEFAULT_VOICE_SETTINGS, MelSpectrogram(40)),
        ("utterance_bins", DEFAULT_VOICE_SETTINGS, MelSpectrogram(40)),
        ("utterance_zero_one", {}, MelSpectrogram(40)),
        ("utterance_mean", {}, Fbank(20)),
        ("none", DEFAULT_VOICE_SETTINGS, Fbank(20)),
        ("utterance_unit_variance", {"level_db": -26.0}, MelSpectrogram(40)),
    ],
)
def test_a_long_recording_is_embedded_in_pieces_as_if_it_were_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, normalise: str, settings: dict[str, float], feature: Feature
) -> None:
    embedder = load_model(make_run(tmp_path / "run", feature, normalise=normalise, **settings))
    level = np.linspace(0.1, 1.0, 44_100 * 40)  # so that the first piece is not like the last
    path = write(tmp_path / "long.wav", np.where(level % 0.1 < 0.02, 0.0, sing(1, 40.0, 44_100) * level), 44_100)
    whole = embedder.embed_windows(path)
    pieces: list[int] = []

    def noted(*arguments):
        for piece in compute_frame_chunks(*arguments, piece_frames=700):
            pieces.append(len(piece))
            yield piece

    monkeypatch.setattr(opening_module, "compute_frame_chunks", noted)
    monkeypatch.setattr(scanning, "MAX_IN_MEMORY_S", 5.0)
    streamed = embedder.embed_windows(path)
    assert len(pieces) >= 2
    assert max(pieces) < 3000
    np.testing.assert_array_equal(streamed.starts_s, whole.starts_s)
    np.testing.assert_allclose(streamed.windows, whole.windows, atol=1e-5)
    np.testing.assert_allclose(streamed.embedding, whole.embedding, atol=1e-6)
    assert streamed.activity is not None
    assert whole.activity is not None
    np.testing.assert_array_equal(streamed.activity.is_active, whole.activity.is_active)


def test_a_recipe_that_needs_the_whole_has_it_also_where_it_is_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = load_model(make_run(tmp_path / "run", Cqt(3)))
    whole = embedder.embed_windows(AudioClip(sing(1, 4.0), RATE))
    monkeypatch.setattr(scanning, "MAX_IN_MEMORY_S", 1.0)
    np.testing.assert_array_equal(embedder.embed_windows(AudioClip(sing(1, 4.0), RATE)).windows, whole.windows)


def test_windows_have_their_times(embedder: Model) -> None:
    embedded = embedder.embed_windows(sing(1, 2.0), RATE)
    assert embedded.starts_s[0] == 0.0
    assert embedded.ends_s[-1] == pytest.approx(2.0)
    np.testing.assert_allclose((embedded.ends_s - embedded.starts_s)[:-1], WINDOW_FRAMES * 0.01)
    chosen = embedder.embed_windows(sing(1, 2.0), RATE, window_s=1.0, hop_s=0.4)
    np.testing.assert_allclose(chosen.starts_s, [0.0, 0.4, 0.8, 1.01])
    alone = embedder.embed_windows(sing(1, 2.0)[: RATE // 2], RATE)
    frames = embedder.feature(torch.from_numpy(sing(1, 2.0)[: RATE // 2]))[:WINDOW_FRAMES]
    np.testing.assert_allclose(alone.windows[0], embedder.encoder(frames[None]).detach().numpy()[0], atol=1e-6)


@pytest.mark.parametrize(
    ("window_s", "hop_s", "said"), [(1.0, 1.5, "would leave gaps"), (0.0, None, "above 0"), (1.0, -1.0, "above 0")]
)
def test_windows_that_cannot_be_are_refused(embedder: Model, window_s: float, hop_s: float | None, said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        embedder.embed_windows(sing(1), RATE, window_s, hop_s)


def test_times_count_from_the_recordings_beginning_where_silence_is_trimmed(tmp_path: Path) -> None:
    embedder = load_model(make_run(tmp_path / "run", trim_silence_db=40.0))
    embedded = embedder.embed_windows(np.concatenate([np.zeros(3 * RATE, np.float32), sing(1), np.zeros(RATE)]), RATE)
    assert embedded.starts_s[0] == pytest.approx(3.0, abs=0.05)
    assert embedded.ends_s[-1] == pytest.approx(4.0, abs=0.05)


def test_channels_of_two_singers_are_said(embedder: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    two = np.stack([sing(1, 3.0), sing(2, 3.0)], axis=1)
    silence = np.zeros(3 * RATE, np.float32)
    in_turn = np.stack([np.append(sing(1, 3.0), silence), np.append(silence, sing(2, 3.0))], axis=1)
    for samples in (two, in_turn):
        path = write(tmp_path / "two.wav", samples)
        (remark,) = embedder.embed_windows(path).remarks
        assert remark.startswith(f"{path}: its two channels hold different voices")
    caplog.set_level(logging.WARNING)
    expected = embedder.embed(two.mean(axis=1), RATE)
    assert "different voices" not in caplog.text
    np.testing.assert_allclose(embedder.embed(two, RATE), expected, atol=1e-6)
    assert "different voices" in caplog.text


@pytest.mark.parametrize("gain", [1.0, 0.98, 0.8])
def test_an_inverted_channel_changes_nothing_but_is_said(
    embedder: Model, tmp_path: Path, caplog: pytest.LogCaptureFixture, gain: float
) -> None:
    voice, hiss = sing(1, 3.0), 3e-4 * np.random.default_rng(0).standard_normal((3, 3 * RATE))
    mono = embedder.embed(write(tmp_path / "mono.wav", voice + hiss[0]))
    assert caplog.text == ""
    stereo = np.stack([voice + hiss[1], -gain * voice + hiss[2]], axis=1)
    path = write(tmp_path / "stereo.wav", stereo)
    said = f"{path}: its channels cancel each other; channel 2 was inverted before their mean was taken."
    assert embedder.embed(path) @ mono > 0.99
    assert said in caplog.text
    assert said in embedder.embed_windows(path).remarks
    assert embedder.embed(stereo, RATE) @ mono > 0.99


def test_channels_of_one_singer_are_not(embedder: Model) -> None:
    voice = soxr.resample(np.random.default_rng(0).normal(0, 0.1, 4 * 2000), 2000, RATE)
    late = np.roll(voice, 100) * 0.3  # another microphone, two metres away
    noisy = voice + np.random.default_rng(1).normal(0, 0.02, len(voice))
    decay = np.exp(-np.arange(RATE) / (0.1 * RATE))
    left, right = (
        fftconvolve(voice, np.append(1.0, 0.05 * np.random.default_rng(seed).normal(size=RATE) * decay))[: len(voice)]
        for seed in (2, 3)
    )
    assert abs(np.corrcoef(left, right)[0, 1]) < 0.6  # much reverberation, another one in each channel
    assert embedder.embed_windows(np.stack([left, right], axis=1), RATE).remarks == ()
    for other in (voice, late, noisy):
        assert embedder.embed_windows(np.stack([voice, other], axis=1), RATE).remarks == ()
    for other, said in ((-voice * 0.5, "cancel each other"), (np.zeros_like(voice), "only its channel 1 holds sound")):
        embedded = embedder.embed_windows(np.stack([voice, other], axis=1), RATE)
        assert not embedded.has_two_voices
        (remark,) = embedded.remarks
        assert said in remark


def test_short_recordings_are_embedded_and_said(tmp_path: Path) -> None:
    embedder = load_model(make_run(tmp_path / "run"))
    embedder.window_frames = 160
    embedded = embedder.embed_windows(sing(1, 0.5), RATE)
    assert len(embedded.windows) == 1
    assert "lasts 0.5 s, less than 1.6 s" in embedded.remarks[0]
    assert embedder.embed_windows(sing(1, 2.0), RATE).remarks == ()


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros(RATE), "is silent"),
        (np.full(RATE, np.nan), "contains NaN or infinite samples"),
        (np.zeros(0), "contains no samples"),
        (sing(1, 0.49), r"lasts 0.49 s; expected at least 0.5 s"),
    ],
)
def test_samples_that_cannot_be_used(embedder: Model, tmp_path: Path, samples: np.ndarray, said: str) -> None:
    with pytest.raises(UtteranceError, match=f"^the recording: {said}"):
        embedder.embed(samples, RATE)
    path = write(tmp_path / "a.wav", samples)
    with pytest.raises(UtteranceError, match=f"^{path}: {said}"):
        embedder.embed(path)


def test_a_path_may_be_a_string(embedder: Model, tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.wav", sing(1)))
    expected = embedder.embed(Path(path))
    np.testing.assert_array_equal(embedder.embed(path), expected)
    np.testing.assert_array_equal(load_model(str(tmp_path / "run")).embed(path), expected)
    ((recording, embedded),) = embedder.embed_many([path])
    assert recording == Path(path)
    np.testing.assert_allclose(embedded.embedding, expected, atol=1e-6)
    assert verify(embedder, COSINE, path, path).score == pytest.approx(1.0)
    gallery = Gallery(embedder)
    gallery.enrol("anna", [path])
    assert gallery.identify(path).candidates[0].score == pytest.approx(1.0)
    assert gallery.verify("anna", path).score == pytest.approx(1.0)
    with pytest.raises(UtteranceError, match=r"^missing.wav: no such file"):
        embedder.embed("missing.wav")


def test_floats_far_beyond_full_scale_are_refused(embedder: Model, tmp_path: Path) -> None:
    samples = sing(1) / np.abs(sing(1)).max()
    loud = np.float32(15.9) * samples
    assert np.isfinite(embedder.embed(loud, RATE)).all()
    for scale, said in ((16.1, "16"), (32768 * 0.25, "8192")):
        wrong = np.float32(scale) * samples
        with pytest.raises(UtteranceError, match=rf"^the recording: peak is {said}; expected floats in \[-1, 1\]"):
            embedder.embed(wrong, RATE)
        path = write(tmp_path / "a.wav", wrong)
        with pytest.raises(UtteranceError, match=rf"^{path}: peak is {said}.*divide by full scale"):
            embedder.embed(path)


def test_samples_that_are_none(embedder: Model) -> None:
    for samples, rate, said in (
        (sing(1), None, "give its sample_rate"),
        (sing(1)[None], RATE, r"shape is \(1, 16000\)"),
        (sing(1).reshape(10, 40, 40), RATE, "shape is"),
        (sing(1), 0, "expected 1000 to 768000 Hz"),
        (np.zeros(RATE, np.uint8), RATE, "dtype is uint8"),
    ):
        with pytest.raises(SingerVerifyError, match=said):
            embedder.embed(samples, rate)


def test_a_sample_rate_below_the_recipes_bandwidth_is_refused(embedder: Model, tmp_path: Path) -> None:
    path = write(tmp_path / "phone.wav", sing(1, 1.0, 8000), 8000)
    with pytest.raises(UtteranceError, match=r"phone.wav: bandwidth is 4000 Hz; the recipe extends to 7600 Hz"):
        embedder.embed(path)
    with pytest.raises(UtteranceError, match="the recording: bandwidth is 4000 Hz"):
        embedder.embed(sing(1, 1.0, 8000), 8000)


def test_paths_that_are_no_recordings(embedder: Model, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no audio")
    (tmp_path / "empty.m4a").write_bytes(b"")
    for path, said in (
        (tmp_path / "missing.wav", "no such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "text.wav", "cannot be decoded as audio"),
        (tmp_path / "empty.m4a", "file is empty"),
    ):
        with pytest.raises(UtteranceError, match=f"{path}: {said}"):
            embedder.embed(path)


def test_a_model_of_ready_features_refuses_audio(tmp_path: Path) -> None:
    ready = PrecomputedFeature({"num_feats": 8, "sr": RATE, "hop_size": 160, "type": "mel"})
    embedder = load_model(make_run(tmp_path / "run", ready))
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((90, 8)))
    assert embedder.embed(tmp_path / "a.npy").shape == (8,)
    with pytest.raises(UtteranceError, match="no such file"):
        embedder.embed(tmp_path / "missing.npy")
    path = write(tmp_path / "a.wav", sing(1))
    for recording in (path, AudioClip(sing(1), RATE)):
        with pytest.raises(SingerVerifyError, match=r"trained on precomputed features .*give \.npy files"):
            embedder.embed_windows(recording)


def test_importing_it_takes_none_of_what_trains() -> None:
    script = "import sys, singer_verify.inference; print(' '.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    trains = {"pytorch_lightning", "lightning_fabric", "torchmetrics", "pandas", "matplotlib", "tensorboard", "sklearn"}
    assert not trains & set(loaded)
