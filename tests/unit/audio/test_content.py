"""Recordings that sound the same have one identity, whatever the file; others have another, or none."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.audio import sing

from singer_verify.audio.channels import ChannelMix
from singer_verify.audio.clip import AudioClip, read_blocks
from singer_verify.audio.content import NO_CONTENT, ContentHasher, compute_content, compute_frames_content
from singer_verify.audio.decoding import AudioBlock

RATE = 16_000


def identify(samples: np.ndarray, rate: int = RATE) -> int:
    return compute_content(AudioClip(samples, rate))


@pytest.mark.parametrize("bits", [16, 24])
def test_a_lossless_copy_in_another_format_is_the_same(tmp_path: Path, bits: int) -> None:
    subtype = f"PCM_{bits}"
    samples = (sing(0) * 2.0 ** (bits - 1)).astype(np.int32) * 2 ** (
        32 - bits
    )  # libsndfile's rounding differs by format
    for name in ("a.wav", "a.flac", "a.aiff"):
        soundfile.write(tmp_path / name, samples, RATE, subtype)
    soundfile.write(tmp_path / "two_channels.flac", np.stack([samples, samples], 1), RATE, subtype)
    soundfile.write(tmp_path / "one_of_two.flac", np.stack([samples, 0 * samples], 1), RATE, subtype)
    soundfile.write(tmp_path / "six_channels.wav", np.stack([samples] * 6, 1), RATE, subtype)
    soundfile.write(tmp_path / "float.wav", samples / 2.0**31, RATE, "FLOAT")
    soundfile.write(tmp_path / "double.wav", samples / 2.0**31, RATE, "DOUBLE")
    identities = {compute_content(path) for path in tmp_path.iterdir()}
    assert len(identities) == 1
    assert identities != {NO_CONTENT}
    (identity,) = identities
    assert -(2**63) <= identity < 2**63
    soundfile.write(tmp_path / "other.wav", sing(1), RATE, subtype)
    assert compute_content(tmp_path / "other.wav") != identity


def test_one_sample_the_rate_or_the_end_makes_another() -> None:
    samples = sing(0)
    changed = samples.copy()
    changed[8000] += 1e-3
    others = [changed, samples[:-1], samples[1:], -samples, np.concatenate([samples, samples])]
    assert len({identify(samples), identify(samples, 44_100), *map(identify, others)}) == 7


def test_clips_padded_to_one_length_differ_and_padding_does_not_count() -> None:
    silence = np.zeros(40_000, np.float32)
    padded = [np.concatenate([silence[:8000], sing(seed), silence]) for seed in range(20)]
    assert len({identify(samples) for samples in padded}) == 20
    assert identify(padded[0]) == identify(sing(0)) == identify(np.concatenate([sing(0), silence]))
    with_a_pause = np.concatenate([sing(0), silence, sing(1)])
    assert (
        len({identify(with_a_pause), identify(np.concatenate([sing(0), silence[:-1], sing(1)])), identify(sing(0))})
        == 3
    )


@pytest.mark.parametrize(
    "samples", [np.zeros(RATE), np.full(RATE, 0.25), sing(0, 0.29), np.full(RATE, 1e-6), np.eye(1, RATE)[0]]
)
def test_silence_a_constant_and_a_click_have_none(samples: np.ndarray) -> None:
    assert identify(np.asarray(samples, np.float32)) == NO_CONTENT


@pytest.mark.parametrize("seed", range(10))
def test_blocks_of_any_length_give_the_same(seed: int) -> None:
    generator = np.random.default_rng(seed)
    zeros, cuts = int(generator.integers(9000)), sorted(generator.integers(30_000, size=6))
    samples = np.concatenate(
        [sing(0)[:12_000], np.zeros(zeros, np.float32), sing(1)[:9000], np.zeros(zeros, np.float32)]
    )
    hasher = ContentHasher()
    blocks = [AudioBlock(part[:, None], RATE) for part in np.split(samples, cuts) if len(part)]
    assert list(hasher.watch(blocks, ChannelMix())) == blocks
    assert hasher.compute() == identify(samples)


def test_samples_in_memory_are_those_of_the_file(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sing(0), RATE)
    integers, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert identify(integers) == compute_content(tmp_path / "a.wav")
    assert sum(len(block.samples) for block in read_blocks(AudioClip(integers, RATE))) == RATE


def test_precomputed_frames_are_compared_by_their_values() -> None:
    frames = np.random.default_rng(0).random((50, 8)).astype(np.float32)
    identity = compute_frames_content(frames)
    assert identity == compute_frames_content(np.asfortranarray(frames))
    assert identity not in (
        NO_CONTENT,
        compute_frames_content(frames[:-1]),
        compute_frames_content(frames.reshape(8, 50)),
    )
    assert compute_frames_content(np.zeros((50, 8), np.float32)) == NO_CONTENT
