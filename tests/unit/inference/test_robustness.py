"""A score is decided by the voice: pauses, level, channels and files change it little, for every recipe and encoder."""

import os
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf
from support.audio import sing_phrases, write_audio
from support.train_process import PROJECT, train

from singer_verify.errors import UtteranceError
from singer_verify.features.cqt import Cqt
from singer_verify.features.recipe import build_feature
from singer_verify.features.voice import unwrap_feature
from singer_verify.inference import AudioClip, Model, load_model
from singer_verify.inference.frames import load_frames

RECIPES = sorted(path.stem for path in (PROJECT / "conf/features").glob("*.yaml"))
ENCODERS = sorted(path.stem for path in (PROJECT / "conf/encoder").glob("*.yaml"))
WINDOW_FRAMES = 50
PAUSE_S = 12
# One recipe of each kind with the encoders that are quick, any encoder with one recipe; all others are slow.
QUICK_RECIPES, QUICK_ENCODERS = (
    ("cqt", "fbank", "mel40", "mfcc", "pitch", "resemblyzer", "world"),
    ("lstm", "statistics"),
)
PAIRS = [
    pytest.param(
        recipe,
        encoder,
        marks=() if (recipe in QUICK_RECIPES and encoder in QUICK_ENCODERS) or recipe == "mel40" else pytest.mark.slow,
    )
    for recipe in RECIPES
    for encoder in ENCODERS
]
SMALL_ENCODERS = {
    "xvector": ["encoder.channels=32", "encoder.pooled_channels=64", "encoder.embedding_size=64"],
    "resnet": ["encoder.channels=4", "encoder.num_blocks=[1,1,1,1]", "encoder.embedding_size=64"],
    "ecapa": ["encoder.channels=32", "encoder.aggregation_channels=64", "encoder.embedding_size=64"],
    "campplus": ["encoder.front_channels=4", "encoder.growth=8", "encoder.bottleneck=16", "encoder.num_layers=[3,3,3]"],
    "lstm": ["encoder.hidden_size=64", "encoder.embedding_size=64"],
}
MAX_PAUSE_CHANGE, MAX_LEVEL_CHANGE = 0.02, 0.01
MAX_JOINT_CHANGE = 0.05  # frames of MP3 draw on the ones before them, so the first after a joint differ; so do cqt's


def build_model(recipe: str, encoder: str) -> Model:
    """An untrained model of shipped settings, with a smaller encoder."""
    small = SMALL_ENCODERS.get(encoder, [])
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        config = compose("train", [f"features={recipe}", f"encoder={encoder}", *small])
    feature = build_feature(OmegaConf.to_container(config.features))
    torch.manual_seed(0)
    network = instantiate(config.encoder, num_bins=feature.num_bins)
    return Model(network, feature, WINDOW_FRAMES)


def generate_pauses(voice: np.ndarray, sample_rate: int) -> dict[str, np.ndarray]:
    """Pauses of twelve seconds; the room's tone, hiss and hum, is 30 dB below the loud parts of the voice."""
    generator = np.random.default_rng(0)
    noise = generator.standard_normal(PAUSE_S * sample_rate)
    room = np.convolve(noise, np.ones(8) / 8, "same") + 0.2 * np.sin(
        2 * np.pi * 100 * np.arange(len(noise)) / sample_rate
    )
    loud = np.sqrt(np.quantile(np.square(voice[: len(voice) // 100 * 100].reshape(-1, 100)).mean(axis=1), 0.8))
    return {
        "silence": np.zeros(len(noise)),
        "noise at -70 dB": 10 ** (-70 / 20) * noise,
        "room tone": 10 ** (-30 / 20) * loud * room / room.std(),
    }


def require_stable_scores(
    model: Model, voice: np.ndarray, sample_rate: int, others: list[np.ndarray], is_thorough: bool
) -> None:
    """Check that neither a pause nor another level changes a score of a recording with others by much."""
    # The low bins of cqt reach far to either side: more frames hear both ends of a pause.
    max_change = MAX_JOINT_CHANGE if isinstance(unwrap_feature(model.feature), Cqt) else MAX_PAUSE_CHANGE
    before, references = model.embed(voice, sample_rate), [model.embed(other, sample_rate) for other in others]
    middle = round(0.37 * len(voice))
    for name, pause in generate_pauses(voice, sample_rate).items():
        for place in (0, middle, len(voice)) if is_thorough else (middle,):
            paused = np.concatenate([voice[:place], pause.astype(np.float32), voice[place:]])
            difference = model.embed(paused, sample_rate) - before
            assert max(abs(float(difference @ reference)) for reference in references) < max_change, name
    for gain_db in (-30, 20):
        difference = model.embed(np.float32(10 ** (gain_db / 20)) * voice, sample_rate) - before
        assert max(abs(float(difference @ reference)) for reference in references) < MAX_LEVEL_CHANGE, gain_db


@pytest.mark.parametrize(("recipe", "encoder"), PAIRS)
def test_neither_pauses_nor_level_change_a_score(recipe: str, encoder: str) -> None:
    model = build_model(recipe, encoder)
    rate = model.feature.sample_rate
    voice, *others = (sing_phrases(singer, take, 3.0, rate) for singer, take in ((1, 1), (1, 2), (2, 1)))
    require_stable_scores(model, voice, rate, others, is_thorough=recipe == "mel40")


def generate_channels(voice: np.ndarray) -> dict[str, np.ndarray]:
    """The voice in recordings of several channels, as cables, wideners and film mixes leave it."""
    rumble = (0.2 * np.sin(np.arange(len(voice)) / 60.0)).astype(np.float32)
    silent = np.zeros_like(voice)
    return {
        "inverted": np.stack([voice, -voice], axis=1),
        "nearly inverted": np.stack([voice, -0.95 * voice], axis=1),
        "dead channel": np.stack([silent, voice], axis=1),
        "offset in one channel": np.stack([voice, 0.3 + silent], axis=1),
        "surround, voice in the centre": np.stack([silent, silent, voice, rumble, silent, silent], axis=1),
    }


@pytest.mark.parametrize(("recipe", "encoder"), PAIRS)
def test_neither_channels_nor_a_lossless_file_change_a_score(recipe: str, encoder: str, tmp_path: Path) -> None:
    model = build_model(recipe, encoder)
    rate = model.feature.sample_rate
    voice, *others = (sing_phrases(singer, take, 2.0, rate) for singer, take in ((1, 1), (1, 2), (2, 1)))
    before, references = model.embed(voice, rate), [model.embed(other, rate) for other in others]
    for name, channels in generate_channels(voice).items():
        difference = model.embed(channels, rate) - before
        assert max(abs(float(difference @ reference)) for reference in references) < MAX_PAUSE_CHANGE, name
    for suffix in ("wav", "flac", "aiff"):
        path = tmp_path / f"voice.{suffix}"
        soundfile.write(path, voice, rate, subtype="PCM_24")
        difference = model.embed(path) - before
        assert max(abs(float(difference @ reference)) for reference in references) < MAX_LEVEL_CHANGE, suffix


def decode_with_ffmpeg(path: Path) -> np.ndarray:
    """The samples of a whole file of one part, as FFmpeg's own libraries decode it."""
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])


def write_in_two_parts(folder: Path, voice: np.ndarray, sample_rate: int) -> dict[str, tuple[Path, np.ndarray]]:
    """Recordings that readers cut short: two takes joined to one file, and a WAV whose writer never stored its size.

    Returns:
        The file and the samples that are in it, by kind.
    """
    made: dict[str, tuple[Path, np.ndarray]] = {}
    middle = len(voice) // 2
    for suffix, codec, options in (("mp3", "libmp3lame", {"write_xing": "0"}), ("aac", "aac", {}), ("ogg", "", {})):
        parts = []
        for number, part in enumerate((voice[:middle], voice[middle:])):
            path = folder / f"part{number}.{suffix}"
            if codec:
                write_audio(path, part, sample_rate, codec, "adts" if suffix == "aac" else None, options=options)
            else:
                soundfile.write(path, part, sample_rate)
            parts.append(path)
        joined = folder / f"joined.{suffix}"
        joined.write_bytes(b"".join(path.read_bytes() for path in parts))
        made[f"joined {suffix}"] = joined, np.concatenate([decode_with_ffmpeg(path) for path in parts])
    path = folder / "streamed.wav"
    soundfile.write(path, voice, sample_rate, subtype="FLOAT")
    content = bytearray(path.read_bytes())
    size = content.index(b"data") + 4
    content[size : size + 4] = bytes(4)
    path.write_bytes(content)
    made["wav without a size"] = path, voice
    return made


@pytest.mark.parametrize(
    "recipe", [pytest.param(recipe, marks=[] if recipe == "mel40" else pytest.mark.slow) for recipe in RECIPES]
)
def test_all_of_a_lossy_file_is_heard(recipe: str, tmp_path: Path) -> None:
    """A file's frames and embedding are those of all samples FFmpeg finds in it."""
    models = [build_model(recipe, encoder) for encoder in ENCODERS]
    feature, normalisation = models[0].feature, models[0].normalisation
    rate = feature.sample_rate
    voice, other = (sing_phrases(singer, 1, 2.0, rate) for singer in (1, 2))
    for name, (path, samples) in write_in_two_parts(tmp_path, voice, rate).items():
        file, expected = (
            load_frames(recording, feature, normalisation).recording_info
            for recording in (path, AudioClip(samples, rate, name))
        )
        assert file.seconds == pytest.approx(expected.seconds, abs=0.05), name
        assert file.num_frames == pytest.approx(expected.num_frames, abs=50 / feature.hop_ms), name
        for model in models:
            difference = model.embed(path) - model.embed(samples, rate)
            limit = MAX_JOINT_CHANGE if name == "joined mp3" else MAX_LEVEL_CHANGE
            assert abs(float(difference @ model.embed(other, rate))) < limit, name


def test_singers_stay_apart_however_much_of_a_recording_is_silent() -> None:
    model = build_model("mel40", "statistics")
    rate = model.feature.sample_rate
    for share in (0.0, 0.5, 0.8):
        silence = np.zeros(round(4.0 * share / (1 - share) * rate), np.float32)
        takes = [
            [np.concatenate([silence, sing_phrases(singer, take, 4.0, rate)]) for take in range(2)]
            for singer in range(4)
        ]
        embedded = np.array([[model.embed(take, rate) for take in of_singer] for of_singer in takes])
        same = np.einsum("se,se->s", embedded[:, 0], embedded[:, 1])
        different = (embedded[:, 0] @ embedded[:, 1].T)[~np.eye(4, dtype=bool)]
        assert same.min() > different.max()


def test_what_holds_no_voice_is_refused_in_every_form(tmp_path: Path) -> None:
    model = build_model("mel40", "lstm")
    rate = model.feature.sample_rate
    noise = (0.1 * np.random.default_rng(0).standard_normal(3 * rate)).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", noise, rate)
    expected = r"holds no voice; expected at least 0\.5 s of singing"
    with pytest.raises(UtteranceError, match=f"noise.wav: {expected}"):
        model.embed(tmp_path / "noise.wav")
    with pytest.raises(UtteranceError, match=expected):
        model.embed(torch.from_numpy(noise))
    (_, result), *_ = model.embed_many([AudioClip(noise, rate, "noise")], num_threads=0)
    assert isinstance(result, UtteranceError)
    with pytest.raises(UtteranceError, match=expected):
        model.torch_module()(torch.from_numpy(noise)[None])


def find_clips() -> list[Path]:
    """Twenty recordings of real singing: of the folder SINGER_VERIFY_SINGING if it is set, else of the example data."""
    root = Path(os.environ.get("SINGER_VERIFY_SINGING", PROJECT / "example_dataset/val"))
    found = sorted(root.rglob("*.flac"))
    return found[:: max(len(found) // 20, 1)][:20]


@pytest.mark.slow
def test_scores_of_real_singing_are_decided_by_the_voice(tmp_path: Path) -> None:
    run = train(
        PROJECT / "example_dataset",
        *("encoder.hidden_size=128", "encoder.embedding_size=64", "data.num_frames=50", "data.singers_per_batch=8"),
        *("data.utterances_per_singer=4", "trainer.max_steps=200", "trainer.val_check_interval=100"),
        *(f"data.store_root={tmp_path}/store", f"hydra.run.dir={tmp_path}/run", "logger=none"),
    )
    clips = [soundfile.read(path, dtype="float32") for path in find_clips()]
    for model in (load_model(run), build_model("mel40", "statistics")):
        for number, (voice, sample_rate) in enumerate(clips):
            alike = [samples for samples, rate in clips[number + 1 :] + clips[:number] if rate == sample_rate]
            others = [alike[-1], alike[len(alike) // 2]]
            require_stable_scores(model, voice, sample_rate, others, is_thorough=False)
            before, reference = model.embed(voice, sample_rate), model.embed(others[0], sample_rate)
            for name, channels in generate_channels(voice).items():
                assert abs(float((model.embed(channels, sample_rate) - before) @ reference)) < MAX_PAUSE_CHANGE, name
