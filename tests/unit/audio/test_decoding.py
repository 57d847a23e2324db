"""All of a file is heard, or it is said: every format, joined and cut files, wrong headers, names like URLs."""

import contextlib
import logging
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from support.audio import add_audio, sing, write_audio

from singer_verify.audio import AUDIO_SUFFIXES, decoding, load_audio
from singer_verify.audio.decoding import decode_blocks, probe_audio
from singer_verify.errors import UtteranceError

RATE = 48_000
SECONDS = 3.0
TOLERANCE_S = 0.05
# Suffix, codec, container where the suffix does not tell it.
FORMATS = [
    ("wav", "pcm_s16le", None),
    ("wav", "pcm_s24le", None),
    ("wav", "pcm_f32le", None),
    ("wav", "pcm_mulaw", None),
    ("wav", "adpcm_ima_wav", None),
    ("w64", "pcm_s16le", None),
    ("rf64", "pcm_s16le", "wav"),
    ("aiff", "pcm_s16be", None),
    ("aif", "pcm_s24be", "aiff"),
    ("caf", "pcm_s16be", None),
    ("flac", "flac", None),
    ("wv", "wavpack", None),
    ("mp3", "libmp3lame", None),
    ("ogg", "vorbis", None),
    ("ogg", "flac", None),
    ("oga", "libopus", "ogg"),
    ("opus", "libopus", None),
    ("m4a", "aac", None),
    ("m4a", "alac", None),
    ("mp4", "aac", None),
    ("aac", "aac", "adts"),
    ("webm", "libopus", None),
    ("mka", "flac", "matroska"),
    ("wma", "wmav2", "asf"),
]
IDS = [f"{suffix}-{codec}" for suffix, codec, _ in FORMATS]
CONTAINER_OPTIONS = {
    "rf64": {"rf64": "always"},
    **{suffix: {"movflags": "+faststart"} for suffix in ("m4a", "mp4")},  # the index at the beginning
    **{suffix: {"page_duration": "200000"} for suffix in ("ogg", "oga", "opus")},  # microseconds
}
SINGING = sing(1, SECONDS, RATE)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One recording in every format, by its id."""
    folder = tmp_path_factory.mktemp("formats")
    return {
        name: write_format(folder / f"{name}.{suffix}", name, SINGING, RATE)
        for name, (suffix, _, _) in zip(IDS, FORMATS, strict=True)
    }


def write_format(path: Path, name: str, samples: np.ndarray, sample_rate: int) -> Path:
    suffix, codec, container = FORMATS[IDS.index(name)]
    if codec == "vorbis":  # FFmpeg's own encoder writes pages of seconds
        soundfile.write(path, samples, sample_rate)
        return path
    return write_audio(path, samples, sample_rate, codec, container, options=CONTAINER_OPTIONS.get(suffix))


def decoded_seconds(path: Path) -> float:
    return sum(len(block.samples) / block.sample_rate for block in decode_blocks(path))


def ffmpeg_seconds(path: Path) -> float:
    """What FFmpeg decodes, given the file's name; its command where it is installed, else its libraries."""
    if command := shutil.which("ffmpeg"):
        arguments = "-v error -i INPUT -map 0:a:0 -ac 1 -ar 8000 -f s16le -".replace("INPUT", str(path)).split()
        return len(subprocess.run([command, *arguments], capture_output=True, check=True).stdout) / 2 / 8000
    with av.open(str(path)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_every_suffix_is_tested() -> None:
    assert {f".{suffix}" for suffix, _, _ in FORMATS} == AUDIO_SUFFIXES


@pytest.mark.parametrize("name", IDS)
def test_length_is_that_of_ffmpeg(files: dict[str, Path], name: str, caplog: pytest.LogCaptureFixture) -> None:
    seconds = decoded_seconds(files[name])
    assert seconds == pytest.approx(ffmpeg_seconds(files[name]), abs=TOLERANCE_S)
    assert seconds == pytest.approx(SECONDS, abs=TOLERANCE_S)
    info = probe_audio(files[name])
    assert (info.duration_s, info.sample_rate) == (pytest.approx(seconds), RATE)
    assert info.num_channels == 1
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("name", IDS)
def test_content_decides_not_the_suffix(files: dict[str, Path], name: str, tmp_path: Path) -> None:
    for suffix in ("wav", "mp3", "m4a"):
        renamed = shutil.copy(files[name], tmp_path / f"renamed.{suffix}")
        np.testing.assert_array_equal(load_audio(renamed, 16_000), load_audio(files[name], 16_000))


@pytest.mark.parametrize("name", IDS)
def test_joined_files_are_read_to_the_end(
    files: dict[str, Path], name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    joined = tmp_path / f"joined{files[name].suffix}"
    joined.write_bytes(files[name].read_bytes() * 2)
    assert decoded_seconds(joined) == pytest.approx(2 * decoded_seconds(files[name]), abs=TOLERANCE_S)
    assert warnings_of(caplog) == []


CUTTABLE = [name for name in IDS if not name.startswith("aac")]  # ADTS tells no length


@pytest.mark.parametrize("name", CUTTABLE)
def test_a_cut_file_is_read_as_far_as_it_goes_and_said_once(
    files: dict[str, Path], name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut = tmp_path / f"cut{files[name].suffix}"
    content = files[name].read_bytes()
    cut.write_bytes(content[: 2 * len(content) // 3])
    seconds = decoded_seconds(cut)
    assert 0.8 < seconds < 2.3
    assert probe_audio(cut).duration_s == pytest.approx(seconds)
    (warning,) = warnings_of(caplog)
    assert warning.startswith(f"{cut}: ends early: {seconds:.1f} ")
    if not name.startswith(("ogg", "oga", "opus")):  # whose headers tell no length
        assert " of 3.0 s could be read" in warning


def test_an_index_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    content = write_audio(tmp_path / "a.m4a", SINGING, RATE, "aac").read_bytes()
    (tmp_path / "cut.m4a").write_bytes(content[: len(content) // 2])
    with pytest.raises(UtteranceError, match="header is damaged or cut off"):
        decoded_seconds(tmp_path / "cut.m4a")


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("seed", range(3))
def test_damage_never_ends_in_a_traceback(files: dict[str, Path], name: str, seed: int, tmp_path: Path) -> None:
    generator = np.random.default_rng(seed)
    content = bytearray(files[name].read_bytes())
    for _ in range(10):
        position, length = int(generator.integers(len(content))), int(generator.integers(1, 2000))
        content[position : position + length] = generator.bytes(len(content[position : position + length]))
    damaged = tmp_path / f"damaged{files[name].suffix}"
    damaged.write_bytes(content[: int(generator.integers(1, len(content)))])
    with contextlib.suppress(UtteranceError):
        load_audio(damaged, 16_000)
    with contextlib.suppress(UtteranceError):
        assert probe_audio(damaged).duration_s > 0


# --- MP3: no header tells the length


@pytest.mark.parametrize("parameters", [{"q": "0"}, {"q": "4"}, {"q": "9"}, {"abr": "1"}, {}], ids=str)
@pytest.mark.parametrize("rest", ["", "first", "last"])
def test_mp3_without_a_header_is_read_to_the_end(tmp_path: Path, parameters: dict[str, str], rest: str) -> None:
    silence, voice = np.zeros(2 * RATE, np.float32), sing(1, 6.0, RATE)
    samples = np.concatenate([silence] * (rest == "first") + [voice] + [silence] * (rest == "last"))
    path = tmp_path / "a.mp3"
    with av.open(str(path), "w", container_options={"write_xing": "0", "id3v2_version": "0"}) as file:
        stream = file.add_stream("libmp3lame", rate=RATE, layout="mono", options={"abr": parameters.get("abr", "0")})
        if "q" in parameters:
            stream.codec_context.qscale = True
            stream.codec_context.global_quality = int(parameters["q"]) * 118
        else:
            stream.bit_rate = 128_000
        add_audio(file, stream, samples[:, None], RATE, "mono")
    assert b"Xing" not in path.read_bytes()
    assert decoded_seconds(path) == pytest.approx(len(samples) / RATE, abs=0.08)  # the encoder adds 1.5 frames
    assert decoded_seconds(path) == pytest.approx(ffmpeg_seconds(path), abs=TOLERANCE_S)


def test_mp3_that_lost_its_beginning_is_read_to_the_end(files: dict[str, Path], tmp_path: Path) -> None:
    content = files["mp3-libmp3lame"].read_bytes()
    (tmp_path / "a.mp3").write_bytes(content[len(content) // 10 :])
    assert decoded_seconds(tmp_path / "a.mp3") == pytest.approx(0.9 * SECONDS, abs=0.1)


def test_junk_and_tags_around_mp3_frames_are_passed_over(files: dict[str, Path], tmp_path: Path) -> None:
    content = files["mp3-libmp3lame"].read_bytes()
    picture = np.random.default_rng(0).bytes(200_000).replace(b"\xff", b"\0")
    tag = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
    size = bytes(len(tag) >> shift & 127 for shift in (21, 14, 7, 0))
    half = len(content) // 2
    for name, changed in {
        "picture": b"ID3\3\0\0" + size + tag + content,
        "zeros": bytes(20_000) + content,
        "middle": content[:half] + bytes(2000) + content[half:],
        "after": content + b"TAG" + bytes(125),
    }.items():
        (tmp_path / f"{name}.mp3").write_bytes(changed)
        assert decoded_seconds(tmp_path / f"{name}.mp3") == pytest.approx(SECONDS, abs=0.1), name


@pytest.mark.parametrize("name", ["flac-flac", "wav-pcm_s16le", "ogg-vorbis", "aac-aac", "wv-wavpack"])
def test_a_tag_of_mp3_before_another_format_is_passed_over(
    files: dict[str, Path], name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = b"ID3\3\0\0\0\0\0\x0aTIT2" + bytes(6) + files[name].read_bytes()
    (tmp_path / "a.x").write_bytes(content)
    assert decoded_seconds(tmp_path / "a.x") == pytest.approx(decoded_seconds(files[name]))
    (tmp_path / "cut.x").write_bytes(content[: 2 * len(content) // 3])
    assert decoded_seconds(tmp_path / "cut.x") < 2.3
    assert ["ends early" in warning for warning in warnings_of(caplog)] == [True] * (name != "aac-aac")


def test_a_cut_film_in_webm_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    film = tmp_path / "film.webm"
    with av.open(str(film), "w", format="matroska") as file:
        video = file.add_stream("mpeg4", rate=10)
        video.width = video.height = 64
        video.pix_fmt = "yuv420p"
        stream = file.add_stream("flac", rate=RATE, layout="mono")
        for number in range(30):
            frame = av.VideoFrame(64, 64, "yuv420p")
            frame.pts = number
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        add_audio(file, stream, SINGING[:, None], RATE, "mono")
    content = film.read_bytes()
    assert decoded_seconds(film) == pytest.approx(SECONDS, abs=TOLERANCE_S)
    assert warnings_of(caplog) == []
    film.write_bytes(content[: len(content) // 2])
    assert decoded_seconds(film) < 2.0
    (warning,) = warnings_of(caplog)
    assert "ends early" in warning


# --- a rate that changes within a file


@pytest.mark.parametrize("name", ["mp3-libmp3lame", "aac-aac", "ogg-vorbis", "flac-flac", "wav-pcm_s16le", "m4a-aac"])
@pytest.mark.parametrize("sample_rate", [16_000, 24_000, 48_000])
def test_a_change_of_rate_loses_nothing(files: dict[str, Path], name: str, sample_rate: int, tmp_path: Path) -> None:
    suffix = files[name].suffix
    other = write_format(tmp_path / f"other{suffix}", name, sing(2, SECONDS, 24_000), 24_000)
    joined = tmp_path / f"joined{suffix}"
    joined.write_bytes(files[name].read_bytes() + other.read_bytes())
    assert {block.sample_rate for block in decode_blocks(joined)} == {48_000, 24_000}
    samples = load_audio(joined, sample_rate)
    assert len(samples) / sample_rate == pytest.approx(2 * SECONDS, abs=0.12)
    second = load_audio(other, sample_rate)
    margin = sample_rate // 2  # of the joint
    found, expected = samples[-len(second) + margin : -margin], second[margin:-margin]
    lags = [np.corrcoef(found[lag : lag - 400], expected[200:-200])[0, 1] for lag in range(400)]
    assert max(lags) > 0.99
    assert probe_audio(joined).duration_s == pytest.approx(2 * SECONDS, abs=0.12)


# --- WAV headers


def make_wav(
    data: bytes, *, data_size: int | None = None, rate: int = 16_000, after: bytes = b"", magic: bytes = b"RIFF"
) -> bytes:
    size = len(data) if data_size is None else data_size
    header = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, rate, rate * 2, 2, 16) + b"data" + struct.pack("<I", size)
    return magic + struct.pack("<I", (len(header) + size) & 0xFFFFFFFF) + header + data + after


SAMPLES_16_BIT = (sing(1, 2.0) * 32767).astype("<i2")
DATA = SAMPLES_16_BIT.tobytes()


@pytest.mark.parametrize(
    "content",
    {
        "0": make_wav(DATA, data_size=0),
        "0xFFFFFFFF": make_wav(DATA, data_size=0xFFFFFFFF),
        "0x7FFFFFFF": make_wav(DATA, data_size=0x7FFFFFFF),
        "0x7FFFF000": make_wav(DATA, data_size=0x7FFFF000),
        "0x80000000": make_wav(DATA, data_size=0x80000000),
        "half": make_wav(DATA, data_size=len(DATA) // 2),
        "wrapped": make_wav(DATA, data_size=1000),
        "chunk after": make_wav(DATA, after=b"LIST" + struct.pack("<I", 26) + b"INFOISFT\x0e\0\0\0Lavf58.29.100\0"),
        "picture after": make_wav(DATA, after=b"id3 " + struct.pack("<I", 1000) + bytes(1000)),
        "tag after": make_wav(DATA, after=b"TAG" + b"x" * 125),
        "padding after": make_wav(DATA, after=bytes(20)),
        "half with odd byte": make_wav(DATA, data_size=len(DATA) // 2 + 1),
    }.items(),
    ids=lambda item: item[0],
)
def test_a_wrong_data_size_loses_no_sample(
    content: tuple[str, bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.wav").write_bytes(content[1])
    np.testing.assert_array_equal(load_audio(tmp_path / "a.wav", 16_000), SAMPLES_16_BIT / np.float32(32768))
    assert warnings_of(caplog) == []


def test_a_data_size_beyond_the_end_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(make_wav(DATA, data_size=2 * len(DATA)))
    for _ in range(3):
        assert len(load_audio(path, 16_000)) == len(SAMPLES_16_BIT)
    assert warnings_of(caplog) == [f"{path}: ends early: 2.0 of 4.0 s could be read; copy it again from its source."]


@pytest.mark.parametrize("after", [b"", b"LIST\x04\0\0\0abcd"])
def test_an_empty_wav_is_refused(tmp_path: Path, after: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(make_wav(b"", after=after))
    for read in (lambda: load_audio(tmp_path / "a.wav", 16_000), lambda: probe_audio(tmp_path / "a.wav")):
        with pytest.raises(UtteranceError, match="contains no samples"):
            read()


@pytest.mark.parametrize("rate", [0, 1, 100, 999, 768_001, 2_000_000_000])
def test_an_absurd_rate_is_refused_before_resampling(tmp_path: Path, rate: int) -> None:
    (tmp_path / "a.wav").write_bytes(make_wav(DATA, rate=rate))
    for read in (lambda: load_audio(tmp_path / "a.wav", 16_000), lambda: probe_audio(tmp_path / "a.wav")):
        with pytest.raises(UtteranceError, match=r"sample rate is|header is damaged|cannot be decoded"):
            read()


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 2, 6, 40])
def test_samples_are_exact(tmp_path: Path, subtype: str, channels: int) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, (5000, channels))
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype)
    (block,) = decode_blocks(tmp_path / "a.wav")
    expected, _ = soundfile.read(tmp_path / "a.wav", dtype="float32", always_2d=True)
    np.testing.assert_array_equal(block.samples, expected)
    assert block.samples.dtype == np.float32


@pytest.mark.parametrize(("codec", "bits"), [("flac", 16), ("flac", 24), ("alac", 16), ("alac", 24), ("wavpack", 16)])
def test_lossless_codecs_are_exact(tmp_path: Path, codec: str, bits: int) -> None:
    values = np.random.default_rng(0).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), 9000)
    path = tmp_path / f"a.{ {'flac': 'flac', 'alac': 'm4a', 'wavpack': 'wv'}[codec] }"
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=RATE, layout="mono")
        kind = np.int16 if bits == 16 else np.int32
        formats = {("flac", 16): "s16", ("flac", 24): "s32", ("alac", 24): "s32p"}
        stream.format = formats.get((codec, bits), "s16p")
        if bits == 24:
            stream.codec_context.options = {"bits_per_raw_sample": "24"}
        for chunk in np.split(values << (8 * kind().itemsize - bits), range(4096, 9000, 4096)):
            frame = av.AudioFrame.from_ndarray(chunk[None].astype(kind), stream.format.name, "mono")
            frame.sample_rate = RATE
            file.mux(stream.encode(frame))
        file.mux([packet for packet in stream.encode(None) if packet.size])
    (block,) = decode_blocks(path)
    np.testing.assert_array_equal(block.samples[:, 0], (values / 2.0 ** (bits - 1)).astype(np.float32))


# --- names and other files


@pytest.mark.parametrize(
    "name",
    [
        *("http:a.wav", "concat:a.wav|b.wav", "data:audio,a.wav", "file:a.wav", "a%03d.wav", "-i.wav", "a:b.wav"),
        *(
            "zoë ☃.wav",
            "pipe:0.wav",
            "x.m3u8.wav",
            "'quoted\".wav",
            "a?b#c.wav",
            "new\nline.wav",
            "subfile,,start,0.wav",
        ),
    ],
)
def test_a_path_is_a_path(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("source.flac", sing(1), 16_000)
    os.rename("source.flac", name)
    assert len(load_audio(Path(name), 16_000)) == 16_000
    assert probe_audio(tmp_path / name).duration_s == 1.0


PLAYLISTS: dict[str, Callable[[Path], str]] = {
    "hls": lambda target: f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
    "m3u": lambda target: f"#EXTM3U\n#EXTINF:1,title\n{target}\n",
    "pls": lambda target: f"[playlist]\nFile1={target}\nNumberOfEntries=1\n",
    "ffconcat": lambda target: f"ffconcat version 1.0\nfile '{target}'\n",
    "asx": lambda target: f'<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
    "xspf": lambda target: f"<playlist><track><location>file://{target}</location></track></playlist>",
    "sdp": lambda _: "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 5004 RTP/AVP 0\n",
    "dash": lambda target: f'<?xml version="1.0"?><MPD><BaseURL>{target}</BaseURL></MPD>',
}


@pytest.mark.parametrize("suffix", ["wav", "mp3", "m4a", "m3u8"])
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_no_playlist_opens_another_file(tmp_path: Path, kind: str, suffix: str) -> None:
    soundfile.write(tmp_path / "target.wav", sing(1), 16_000)
    playlist = tmp_path / f"list.{suffix}"
    playlist.write_text(PLAYLISTS[kind](tmp_path / "target.wav"))
    with pytest.raises(UtteranceError, match="no known audio format"):
        load_audio(playlist, 16_000)


@pytest.mark.parametrize("suffix", ["wav", "mp3", "m4a", "ogg", "flac"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "file is empty"),
        (b"<html><body>404</body></html>\n", "no known audio format"),
        (b"la la la " * 1000, "no known audio format"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n", "is a Git LFS pointer"),
        (b"PK\3\4" + bytes(range(256)) * 8, "no known audio format"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "no known audio format"),
    ],
    ids=["empty", "html", "text", "git-lfs", "zip", "png"],
)
def test_what_is_no_audio_is_refused_in_one_sentence(
    tmp_path: Path, content: bytes, said: str, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    for read in (lambda: load_audio(path, 16_000), lambda: probe_audio(path)):
        with pytest.raises(UtteranceError, match=said) as caught:
            read()
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # the libraries print nothing of their own


def test_a_pipe_and_a_folder_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(UtteranceError, match="is not a regular file"):
        load_audio(tmp_path / "a.wav", 16_000)
    with pytest.raises(UtteranceError, match="is a folder"):
        load_audio(tmp_path, 16_000)


def write_streams(path: Path, voices: list[np.ndarray], default: int | None, with_video: bool = False) -> Path:
    with av.open(str(path), "w") as file:
        streams = []
        if with_video:
            video = file.add_stream("mpeg4", rate=10)
            video.width = video.height = 64
            video.pix_fmt = "yuv420p"
        for number, _ in enumerate(voices):
            streams.append(file.add_stream("aac", rate=RATE, layout="mono"))
            streams[-1].disposition = av.stream.Disposition.default if number == default else av.stream.Disposition(0)
        if with_video:
            for _ in range(10):
                file.mux(video.encode(av.VideoFrame(64, 64, "yuv420p")))
            file.mux(video.encode(None))
        for stream, voice in zip(streams, voices, strict=True):
            add_audio(file, stream, voice[:, None], RATE, "mono")
    return path


@pytest.mark.parametrize("default", [0, 1])
def test_of_several_streams_the_default_is_read_and_said(
    tmp_path: Path, default: int, caplog: pytest.LogCaptureFixture
) -> None:
    voices = [sing(1, 1.0, RATE), sing(2, 2.0, RATE)]
    path = write_streams(tmp_path / "a.mp4", voices, default)
    assert probe_audio(path).duration_s == pytest.approx(default + 1.0, abs=TOLERANCE_S)
    load_audio(path, 16_000)
    (warning,) = warnings_of(caplog)
    assert f"holds 2 audio streams; number {default + 1} is read" in warning


def test_the_sound_of_a_video_is_read_and_a_silent_film_refused(tmp_path: Path) -> None:
    film = write_streams(tmp_path / "film.mp4", [sing(1, 1.0, RATE)], 0, with_video=True)
    assert probe_audio(film).duration_s == pytest.approx(1.0, abs=TOLERANCE_S)
    silent = write_streams(tmp_path / "silent.mp4", [], None, with_video=True)
    with pytest.raises(UtteranceError, match=r"holds no audio \(video only\); give a recording"):
        load_audio(silent, 16_000)


def test_tags_in_an_unknown_encoding_are_no_trouble(files: dict[str, Path], tmp_path: Path) -> None:
    frame = b"TIT2" + struct.pack(">IH", 6, 0) + b"\0\xe9\xff\xfe\x80\x81"
    tag = b"ID3\3\0\0" + bytes([0, 0, 0, len(frame)]) + frame
    (tmp_path / "a.mp3").write_bytes(tag + files["mp3-libmp3lame"].read_bytes())
    assert decoded_seconds(tmp_path / "a.mp3") == pytest.approx(SECONDS, abs=TOLERANCE_S)


@pytest.mark.parametrize(
    ("codec", "suffix"), [("aac", "m4a"), ("libopus", "opus"), ("wavpack", "wv"), ("flac", "flac")]
)
def test_eight_channels_are_decoded_in_their_order(tmp_path: Path, codec: str, suffix: str) -> None:
    gains = np.arange(1, 9) / 8
    path = write_audio(tmp_path / f"a.{suffix}", SINGING[:, None] * gains, RATE, codec, layout="7.1")
    blocks = list(decode_blocks(path))
    assert blocks[0].channel_names == ("FL", "FR", "FC", "LFE", "BL", "BR", "SL", "SR")
    levels = np.sqrt(np.square(np.concatenate([block.samples for block in blocks])).mean(axis=0))
    is_effects = np.array([name == "LFE" for name in blocks[0].channel_names])  # low frequencies only in some codecs
    np.testing.assert_allclose((levels / levels[7])[~is_effects], gains[~is_effects], atol=0.02)


def test_a_recording_that_may_not_be_read_is_told_from_a_damaged_one(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = files["wav-pcm_s16le"] if "wav-pcm_s16le" in files else next(iter(files.values()))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(decoding, "open", refuse, raising=False)
    with pytest.raises(UtteranceError) as refusal:
        next(decode_blocks(path))
    assert str(refusal.value) == f"{path}: cannot be read (Permission denied); make it readable."
