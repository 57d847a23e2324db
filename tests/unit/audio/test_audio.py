"""Decoding: every format to the same samples, every unusable file to one sentence."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.audio import sing, write_m4a

from singer_verify.audio import decoding, load_audio
from singer_verify.audio.decoding import decode_blocks
from singer_verify.errors import UtteranceError


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_formats_agree(tmp_path: Path, suffix: str) -> None:
    samples = sing(1)
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, samples, 16_000)
    decoded = load_audio(path, 16_000)
    assert decoded.dtype == np.float32
    assert np.corrcoef(decoded[: samples.size], samples[: decoded.size])[0, 1] > 0.99


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".m4a"])
def test_blocks_are_those_of_the_whole(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path, samples = tmp_path / f"a{suffix}", sing(1, 3.0)
    if suffix == ".m4a":
        write_m4a(path, samples, 16_000)
    else:
        soundfile.write(path, samples, 16_000)
    (whole,) = decode_blocks(path)
    monkeypatch.setattr(decoding, "BLOCK_SAMPLES", 5000)
    blocks = list(decode_blocks(path))
    assert len(blocks) >= 9
    np.testing.assert_allclose(np.concatenate([block.samples for block in blocks]), whole.samples, atol=1e-6)


def test_m4a_is_decoded(tmp_path: Path) -> None:
    samples = sing(1)
    write_m4a(tmp_path / "a.m4a", samples, 16_000)
    decoded = load_audio(tmp_path / "a.m4a", 16_000)
    assert abs(decoded.size - samples.size) < 3000  # the encoder adds priming and padding
    correlation = np.correlate(decoded, samples[4000:8000], "valid").max() / np.square(samples[4000:8000]).sum()
    assert correlation > 0.9


def test_channels_are_averaged(tmp_path: Path) -> None:
    left, right = sing(1), sing(2)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16_000, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav", 16_000), (left + right) / 2, atol=1e-6)


def test_resampling_keeps_duration_and_pitch(tmp_path: Path) -> None:
    time_s = np.arange(44_100) / 44_100
    soundfile.write(tmp_path / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * time_s), 44_100)
    decoded = load_audio(tmp_path / "a.wav", 16_000)
    assert decoded.size == 16_000
    assert np.abs(np.fft.rfft(decoded)).argmax() == 440


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", r"file is empty \(0 bytes\)"), (b"not audio at all" * 40, "cannot be decoded as audio")],
)
@pytest.mark.parametrize("suffix", [".wav", ".m4a"])
def test_refuses_undecodable_files(tmp_path: Path, content: bytes, said: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(UtteranceError, match=said) as caught:
        load_audio(path, 16_000)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (np.zeros(16_000), "is silent"),
        (np.zeros(0), "contains no samples"),
        (np.full(100, np.nan), "contains NaN or infinite samples"),
    ],
)
def test_refuses_useless_samples(tmp_path: Path, samples: np.ndarray, said: str) -> None:
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    with pytest.raises(UtteranceError, match=said):
        load_audio(tmp_path / "a.wav", 16_000)


def test_refuses_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UtteranceError, match="no such file"):
        load_audio(tmp_path / "a.wav", 16_000)
