"""Channels are mixed as a listener would: the voice is found, and what had to be chosen is said."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.audio import sing, write_audio

from singer_verify.audio import channels, decoding, load_audio
from singer_verify.audio.channels import MAX_HELD_VALUES, choose_channel_mix
from singer_verify.audio.clip import AudioClip
from singer_verify.audio.decoding import AudioBlock
from singer_verify.audio.scanning import scan_recording
from singer_verify.errors import UtteranceError

RATE = 16_000
VOICE, OTHER = sing(1, 3.0), sing(2, 3.0)
NOISE = np.random.default_rng(0).standard_normal((8, len(VOICE))).astype(np.float32)
SILENCE = np.zeros_like(VOICE)
TIME_S = np.arange(len(VOICE)) / RATE
RUMBLE = (0.3 * np.sin(2 * np.pi * 40 * TIME_S)).astype(np.float32)
ECHO = np.convolve(VOICE, 0.02 * np.random.default_rng(1).standard_normal(800), "same").astype(np.float32)


def read_all_ways(channels: np.ndarray, folder: Path) -> tuple[np.ndarray, str]:
    """Mix as training does, as inference does, twice, and from an array: to the same samples."""
    path = folder / "recording.wav"
    soundfile.write(path, channels, RATE, "FLOAT")
    loaded, scan = load_audio(path, RATE), scan_recording(path, RATE)
    clip = scan_recording(AudioClip(channels, RATE), RATE)
    for samples in (scan.samples, clip.samples, np.concatenate(list(scan.iter_blocks()))):
        assert samples is not None
        np.testing.assert_array_equal(samples, loaded)
    assert scan.channel_remark == clip.channel_remark
    return loaded, scan.channel_remark


def signal_to_noise_db(found: np.ndarray, voice: np.ndarray) -> float:
    """Power of what follows the voice, at any level, against the rest."""
    gain = found @ voice / (voice @ voice)
    noise = np.square(found - gain * voice).sum() + 1e-20
    return float(10 * np.log10(gain**2 * (voice @ voice) / noise))


@pytest.mark.parametrize("gain", [1.0, 0.98, 0.9, 0.8, 0.65, 0.5])
@pytest.mark.parametrize("hiss", [0.0, 3e-4, 3e-3])
def test_an_inverted_channel_is_turned_back(tmp_path: Path, gain: float, hiss: float) -> None:
    stereo = np.stack([VOICE + hiss * NOISE[0], -gain * VOICE + hiss * NOISE[1]], axis=1)
    found, remark = read_all_ways(stereo, tmp_path)
    alone = signal_to_noise_db(VOICE + hiss * NOISE[0], VOICE)
    assert signal_to_noise_db(found, VOICE) > min(alone, 60.0) - 0.5
    assert np.sqrt(np.mean(found**2) / np.mean(VOICE**2)) > 0.7
    assert remark == "its channels cancel each other; channel 2 was inverted before their mean was taken"


@pytest.mark.parametrize(
    "second", [-0.9 * VOICE + 0.3 * ECHO, np.where(TIME_S < 1.5, VOICE, -VOICE)], ids=["wide", "half"]
)
def test_where_a_sum_and_a_difference_cancel_one_channel_is_taken(tmp_path: Path, second: np.ndarray) -> None:
    stereo = np.stack([VOICE + 0.01 * NOISE[0], second + 0.05 * NOISE[1]], axis=1).astype(np.float32)
    found, remark = read_all_ways(stereo, tmp_path)
    assert signal_to_noise_db(found, VOICE) > 3.0
    assert remark.startswith("its channels cancel each other; channel ")


@pytest.mark.parametrize(
    "second",
    {
        "same": VOICE,
        "softer": 0.3 * VOICE,
        "independent": OTHER,
        "room": ECHO,
        "noise": 0.02 * NOISE[0],
        "panned apart": 0.5 * VOICE + 0.5 * OTHER,
        "slightly negative": OTHER - 0.2 * VOICE,
    }.items(),
    ids=lambda item: item[0],
)
def test_plain_stereo_is_the_mean_to_the_bit(tmp_path: Path, second: tuple[str, np.ndarray]) -> None:
    stereo = np.stack([VOICE, second[1]], axis=1).astype(np.float32)
    found, remark = read_all_ways(stereo, tmp_path)
    np.testing.assert_array_equal(found, stereo.mean(axis=1, dtype=np.float32))
    assert remark == ""


@pytest.mark.parametrize(
    "dead", [SILENCE, 1e-4 * NOISE[0], 0 * VOICE + 0.3, RUMBLE], ids=["zeros", "hiss", "dc", "hum"]
)
@pytest.mark.parametrize("live", [0, 1])
def test_the_live_channel_is_taken_alone(tmp_path: Path, dead: np.ndarray, live: int) -> None:
    channels = [dead, dead]
    channels[live] = VOICE
    found, remark = read_all_ways(np.stack(channels, axis=1).astype(np.float32), tmp_path)
    np.testing.assert_array_equal(found, VOICE)
    assert remark == f"only its channel {live + 1} holds sound, and was taken alone"


@pytest.mark.parametrize("gain", [1.0, 0.5, -1.0])
def test_a_constant_in_one_channel_is_taken_off(tmp_path: Path, gain: float) -> None:
    found, _ = read_all_ways(np.stack([VOICE, gain * VOICE + np.float32(0.3)], axis=1), tmp_path)
    assert signal_to_noise_db(found, VOICE) > 40.0
    assert abs(found.mean()) < 1e-3


@pytest.mark.parametrize("side_level", [0.0, 0.02, 0.3])
def test_mid_and_side_give_the_voice(tmp_path: Path, side_level: float) -> None:
    left, right = VOICE + side_level * OTHER, VOICE - side_level * OTHER
    found, _ = read_all_ways(np.stack([(left + right) / 2, (left - right) / 2], axis=1), tmp_path)
    assert signal_to_noise_db(found, VOICE) > (60.0 if side_level == 0.0 else -20 * np.log10(side_level) - 1.0)


def surround(num_channels: int, centre: np.ndarray, front: np.ndarray, effects: np.ndarray) -> np.ndarray:
    channels = [front + 0.003 * NOISE[0], front + 0.003 * NOISE[1], centre, effects]
    channels += [0.003 * NOISE[number] for number in range(4, num_channels)]
    return np.stack(channels, axis=1).astype(np.float32)


@pytest.mark.parametrize("num_channels", [6, 8])
@pytest.mark.parametrize("front", [SILENCE, 0.7 * OTHER], ids=["silent", "band"])
@pytest.mark.parametrize("effects", [SILENCE, RUMBLE, 0.05 * NOISE[3]], ids=["silent", "rumble", "noise"])
def test_the_centre_of_a_surround_recording_is_taken(
    tmp_path: Path, num_channels: int, front: np.ndarray, effects: np.ndarray
) -> None:
    found, remark = read_all_ways(surround(num_channels, VOICE, front, effects), tmp_path)
    np.testing.assert_array_equal(found, VOICE)
    assert remark == f"of its {num_channels} channels the centre was taken, where the voice is"


@pytest.mark.parametrize("num_channels", [6, 8])
def test_the_front_is_taken_where_the_centre_is_silent(tmp_path: Path, num_channels: int) -> None:
    found, remark = read_all_ways(surround(num_channels, SILENCE, VOICE, 3 * RUMBLE), tmp_path)
    assert signal_to_noise_db(found, VOICE) > 30.0
    assert remark == f"of its {num_channels} channels the front was taken, where the voice is"


@pytest.mark.parametrize("layout", ["5.1", "7.1", "5.1(side)", "3.0", "2.1", "4.0", "quad"])
@pytest.mark.parametrize("codec", ["flac", "aac", "pcm_s16le"])
def test_the_layout_of_a_file_is_believed(tmp_path: Path, layout: str, codec: str) -> None:
    """In any order: AAC puts the centre first, and its decoder back."""
    suffix = {"flac": "flac", "aac": "m4a", "pcm_s16le": "wav"}[codec]
    names = {
        "5.1": "FL FR FC LFE BL BR",
        "7.1": "FL FR FC LFE BL BR SL SR",
        "5.1(side)": "FL FR FC LFE SL SR",
        "3.0": "FL FR FC",
        "2.1": "FL FR LFE",
        "4.0": "FL FR FC BC",
        "quad": "FL FR BL BR",
    }[layout].split()
    if codec == "aac" and layout in ("2.1", "quad", "5.1(side)"):
        pytest.skip("not a layout of the encoder")
    place = "FC" if "FC" in names else "FL"
    channels = np.stack([VOICE if name == place else RUMBLE if name == "LFE" else SILENCE for name in names], axis=1)
    path = write_audio(tmp_path / f"a.{suffix}", channels, RATE, codec, layout=layout)
    scan = scan_recording(path, RATE)
    assert scan.samples is not None
    start = {"aac": 1024}.get(codec, 0)
    found = scan.samples[start : start + len(VOICE)]
    alignment = max(range(-1024, 1025, 1024), key=lambda lag: abs(np.roll(found, lag) @ VOICE[: len(found)]))
    found = np.roll(found, alignment)[2000:-2000]
    assert signal_to_noise_db(found, VOICE[2000 : 2000 + len(found)]) > (10.0 if codec == "aac" else 60.0)
    assert scan.channel_remark


@pytest.mark.parametrize("num_channels", [3, 4, 6, 8, 32])
def test_microphones_are_averaged(tmp_path: Path, num_channels: int) -> None:
    noise = np.random.default_rng(0).standard_normal((len(VOICE), num_channels))
    channels = (VOICE[:, None] + 0.01 * noise).astype(np.float32)
    found, remark = read_all_ways(channels, tmp_path)
    np.testing.assert_array_equal(found, channels.mean(axis=1, dtype=np.float32))
    assert remark == ""


def test_of_microphones_that_cancel_the_inverted_are_turned_back(tmp_path: Path) -> None:
    found, remark = read_all_ways(np.stack([VOICE, -VOICE, VOICE, -VOICE], axis=1), tmp_path)
    np.testing.assert_allclose(found, VOICE, atol=1e-6)
    assert remark == "its channels cancel each other; channel 2, 4 was inverted before their mean was taken"


def test_two_voices_are_averaged_and_noted(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([VOICE, OTHER], axis=1), RATE)
    scan = scan_recording(tmp_path / "a.wav", RATE)
    assert scan.has_two_voices
    assert scan.channel_remark == ""


def test_silence_in_all_channels_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros((RATE, 2)), RATE)
    with pytest.raises(UtteranceError, match="is silent"):
        load_audio(tmp_path / "a.wav", RATE)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused_in_any_channel(tmp_path: Path, value: float) -> None:
    stereo = np.stack([VOICE, SILENCE], axis=1)
    stereo[100, 1] = value
    soundfile.write(tmp_path / "a.wav", stereo, RATE, "FLOAT")
    with pytest.raises(UtteranceError, match="NaN or infinite"):
        load_audio(tmp_path / "a.wav", RATE)


def make_blocks(num_channels: int, num_blocks: int, size: int) -> tuple[list[int], "Iterator[AudioBlock]"]:
    reads: list[int] = []

    def read() -> Iterator[AudioBlock]:
        reads.append(0)
        for number in range(num_blocks):
            yield AudioBlock(np.full((size, num_channels), float(number), np.float32), RATE)

    return reads, read  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("num_channels", "size", "num_reads"), [(1, 1 << 23, 1), (2, 1000, 1), (2, MAX_HELD_VALUES // 4, 2)]
)
def test_a_recording_is_read_once_if_it_is_mono_or_fits(num_channels: int, size: int, num_reads: int) -> None:
    reads, read = make_blocks(num_channels, 3, size)
    _, blocks = choose_channel_mix(read)  # type: ignore[arg-type]
    assert [block.samples[0, 0] for block in blocks] == [0.0, 1.0, 2.0]
    assert len(reads) == num_reads


def test_the_mix_does_not_depend_on_the_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stereo = np.stack([VOICE, -0.9 * VOICE + 0.01 * NOISE[0]], axis=1)
    whole, remark = read_all_ways(stereo, tmp_path)
    monkeypatch.setattr(decoding, "BLOCK_SAMPLES", 5000)
    scan = scan_recording(tmp_path / "recording.wav", RATE)
    np.testing.assert_array_equal(scan.samples, whole)
    assert scan.channel_remark == remark


LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0"}
MONO, INVERTED = VOICE[:, None], np.stack([VOICE, -VOICE], axis=1)
TURNED_BACK = "its channels cancel each other; channel 2 was inverted before their mean was taken"


def join_files(folder: Path, *parts: np.ndarray) -> Path:
    """Ogg files one after the other are one recording."""
    path = folder / "joined.ogg"
    with open(path, "wb") as joined:
        for number, part in enumerate(parts):
            written = write_audio(folder / f"{number}.ogg", part, RATE, "flac", layout=LAYOUTS[part.shape[1]])
            joined.write(written.read_bytes())
    return path


@pytest.mark.parametrize(
    ("parts", "remark"),
    [
        ((MONO, INVERTED), f"where it has 2 channels, {TURNED_BACK}"),
        ((INVERTED, MONO), f"where it has 2 channels, {TURNED_BACK}"),
        ((MONO, INVERTED, MONO), f"where it has 2 channels, {TURNED_BACK}"),
        ((np.stack([VOICE, VOICE], axis=1), MONO), ""),
        (
            (np.stack([OTHER, OTHER, VOICE], axis=1), np.stack([VOICE, SILENCE], axis=1)),
            "where it has 3 channels, of its 3 channels the centre was taken, where the voice is; where it has 2 "
            "channels, only its channel 1 holds sound, and was taken alone",
        ),
    ],
    ids=["mono first", "stereo first", "mono around", "plain", "three and two"],
)
@pytest.mark.parametrize("held", [MAX_HELD_VALUES, 0])
def test_the_voice_is_kept_in_each_part_of_a_joined_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: tuple[np.ndarray, ...], remark: str, held: int
) -> None:
    monkeypatch.setattr(channels, "MAX_HELD_VALUES", held)
    monkeypatch.setattr(decoding, "BLOCK_SAMPLES", 5000)
    path = join_files(tmp_path, *parts)
    scan = scan_recording(path, RATE)
    assert scan.samples is not None
    np.testing.assert_allclose(scan.samples, np.tile(VOICE, len(parts)), atol=1e-4)
    np.testing.assert_array_equal(load_audio(path, RATE), scan.samples)
    np.testing.assert_array_equal(np.concatenate(list(scan.iter_blocks())), scan.samples)
    assert scan.channel_remark == remark
