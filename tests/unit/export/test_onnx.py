"""A model as ONNX: onnxruntime gives the embeddings of the model, at every length, or the file is not kept."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml
from support.audio import sing
from torch import nn
from typer.testing import CliRunner

from singer_verify.cli import app
from singer_verify.data.windows import compute_window_starts
from singer_verify.encoders.campplus import CAMPPlusEncoder
from singer_verify.encoders.ecapa import EcapaEncoder
from singer_verify.encoders.encoder import build_encoder
from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.encoders.resnet import ResNetEncoder
from singer_verify.encoders.statistics import StatisticsEncoder
from singer_verify.encoders.xvector import XVectorEncoder
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.scoring.normalisation import Cohort
from singer_verify.evaluation.scoring.scoring import COSINE, Scoring, Threshold
from singer_verify.export import onnx as onnx_export
from singer_verify.export.onnx import build_onnx_metadata, build_onnx_program, write_onnx
from singer_verify.export.onnx_check import EXPORT_TOLERANCE, measure_max_deviation, synthesise_voice
from singer_verify.features.fbank import Fbank
from singer_verify.features.feature import Feature
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.normalisation import NORMALISATIONS, Normalisation
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.features.recipe import build_feature, read_recipe
from singer_verify.features.stack import FeatureStack
from singer_verify.features.trimming import TrimmedFeature
from singer_verify.features.voice import DEFAULT_VOICE_SETTINGS
from singer_verify.inference import Model
from singer_verify.inference.end_to_end import (
    FrameNormalisation,
    compute_traceable_window_starts,
    find_min_samples,
    find_torch_obstacle,
)
from singer_verify.runs.checkpoints import Checkpoint
from singer_verify.runs.model_metadata import METADATA_KEY, ModelMetadata

PROJECT = Path(__file__).parents[3]
WINDOW_FRAMES = 31


def embedder_of(recipe: str | Feature, normalise: str = "none", encoder: nn.Module | None = None, **lstm: Any) -> Model:
    """Untrained; rectified embeddings of it are easily all zero, so they are not."""
    torch.manual_seed(0)
    feature = build_feature(read_recipe(recipe)) if isinstance(recipe, str) else recipe
    generator = np.random.default_rng(0)
    figures = (generator.normal(size=feature.num_bins), generator.uniform(0.5, 2.0, feature.num_bins))
    normalisation = Normalisation(normalise, *(figures if normalise.startswith("global") else (None, None)))
    encoder = encoder or LSTMEncoder(feature.num_bins, 16, 2, 10, relu=False, **lstm)
    metadata = ModelMetadata(feature.recipe, {}, WINDOW_FRAMES, ())
    content = {"model_state": encoder.state_dict(), METADATA_KEY: metadata.to_dict()}
    checkpoint = Checkpoint(Path("run"), Path("run/saved_model.pt"), content, metadata)
    return Model(encoder, feature, WINDOW_FRAMES, normalisation, checkpoint)


def written(embedder: Model, folder: Path, from_frames: bool = False, scoring: Scoring = COSINE) -> Path:
    path = folder / "model.onnx"
    write_onnx(build_onnx_program(embedder, from_frames), path, build_onnx_metadata(embedder, scoring, from_frames))
    return path


def run(path: Path, recordings: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["embedding"], {session.get_inputs()[0].name: recordings})[0]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Model, Path]:
    """A model of mel frames and its ONNX file."""
    embedder = embedder_of("mel40", "global_bins", pooling="last")
    return embedder, written(embedder, tmp_path_factory.mktemp("small"))


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("recipe", "normalise", "lstm"),
    [
        pytest.param("energy", "utterance_unit_variance", {"pooling": "mean"}, marks=SLOW),
        pytest.param("mfcc+deltas", "utterance_bins", {"pooling": "attention", "bidirectional": True}, marks=SLOW),
        pytest.param("mel40+energy", "global_bins", {"pooling": "mean", "bidirectional": True}, marks=SLOW),
        pytest.param(
            MelSpectrogram(20, pre_emphasis=0.97, level_scale="log"),
            "utterance_zero_one",
            {"bidirectional": True},
            marks=SLOW,
        ),
        pytest.param("mel128_44k", "none", {"pooling": "attention", "bidirectional": True}, marks=SLOW),
        pytest.param("cqt", "none", {"pooling": "last"}, marks=SLOW),
        pytest.param("fbank", "utterance_mean", {"pooling": "last"}, marks=SLOW),
        pytest.param("ltas", "none", {"pooling": "mean"}, marks=SLOW),
        pytest.param("pcen", "none", {"pooling": "mean"}, marks=SLOW),
        pytest.param("modulation", "none", {"pooling": "mean"}, marks=SLOW),
    ],
)
def test_samples_to_embedding_at_every_length(
    tmp_path: Path, recipe: str | Feature, normalise: str, lstm: dict[str, Any]
) -> None:
    embedder = embedder_of(recipe, normalise, **lstm)
    path, rate = written(embedder, tmp_path), embedder.feature.sample_rate
    for num_samples in (find_min_samples(embedder.feature), rate // 5, rate // 2, rate, 3 * rate + 1, 20 * rate):
        samples = sing(1, num_samples / rate, rate)
        expected = embedder.embed_frames(embedder.feature(torch.from_numpy(samples)))
        np.testing.assert_allclose(run(path, samples[None])[0], expected, rtol=0, atol=EXPORT_TOLERANCE / 10)


@pytest.mark.slow
def test_encoder_that_is_no_lstm_and_nothing_said_on_the_way(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    embedder = embedder_of("energy", encoder=StatisticsEncoder(1))
    path = written(embedder, tmp_path)
    assert capfd.readouterr() == ("", "")
    assert measure_max_deviation(path, embedder, from_frames=False) < EXPORT_TOLERANCE / 10


CONVOLUTIONAL = {
    "xvector": lambda num_bins: XVectorEncoder(num_bins, 6, 8, 4),
    "ecapa": lambda num_bins: EcapaEncoder(num_bins, 8, (2,), 4, 3, 9, 5, 4),
    "resnet": lambda num_bins: ResNetEncoder(num_bins, 2, (1, 1, 1, 1), embedding_size=4),
    "campplus": lambda num_bins: CAMPPlusEncoder(num_bins, 4, 2, 4, 2, 4, (2,), (2,), 7),
}


def randomise_normalisation(encoder: nn.Module) -> nn.Module:
    """Give BatchNorm layers statistics that are not those of an untrained network."""
    for part in encoder.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, std=0.3)
            nn.init.uniform_(part.running_var, 0.5, 2.0)
    return encoder.eval()


@pytest.mark.slow
def test_a_recording_of_a_single_frame_can_be_exported(tmp_path: Path) -> None:
    """The shortest recording of fbank is a frame, that of centred recipes several."""
    embedder = embedder_of(Fbank(8), encoder=StatisticsEncoder(8))
    path, shortest = written(embedder, tmp_path), find_min_samples(embedder.feature)
    assert len(embedder.feature(torch.zeros(shortest))) == 1
    for num_samples in (shortest, shortest + 160, shortest + 5000):
        samples = sing(1, num_samples / 16_000)
        expected = embedder.embed_frames(embedder.feature(torch.from_numpy(samples)))
        np.testing.assert_allclose(run(path, samples[None])[0], expected, rtol=0, atol=EXPORT_TOLERANCE / 10)


@SLOW
@pytest.mark.parametrize("name", ["xvector", "ecapa", "campplus", "resnet"])
def test_a_convolutional_encoder_takes_any_number_of_frames(tmp_path: Path, name: str) -> None:
    torch.manual_seed(0)
    encoder = randomise_normalisation(CONVOLUTIONAL[name](8))
    embedder = embedder_of(PrecomputedFeature({"num_feats": 8, "sr": 16000, "hop_size": 160}), encoder=encoder)
    path = written(embedder, tmp_path, from_frames=True)
    for num_frames in (1, 2, WINDOW_FRAMES - 1, WINDOW_FRAMES, WINDOW_FRAMES + 1, 300):
        frames = torch.rand(2, num_frames, 8)
        expected = np.stack([embedder.embed_frames(recording_frames) for recording_frames in frames])
        np.testing.assert_allclose(run(path, frames.numpy()), expected, rtol=0, atol=EXPORT_TOLERANCE / 10)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", sorted(path.stem for path in (PROJECT / "conf/encoder").glob("*.yaml")))
def test_shipped_encoders_from_samples_on(tmp_path: Path, name: str) -> None:
    """As they are shipped, with all their layers, as trained ones with BatchNorm would be."""
    settings = yaml.safe_load((PROJECT / "conf/encoder" / f"{name}.yaml").read_text())
    settings = settings.get("encoder", settings) | {"num_bins": 80}
    torch.manual_seed(0)
    encoder = build_encoder({name: settings[name] for name in settings.keys() - {"_recursive_", "_convert_"}})
    embedder = embedder_of("fbank", "utterance_mean", encoder=randomise_normalisation(encoder))
    path = written(embedder, tmp_path)
    assert measure_max_deviation(path, embedder, from_frames=False) < EXPORT_TOLERANCE


def test_recordings_of_a_batch_do_not_touch_each_other(small: tuple[Model, Path]) -> None:
    _, path = small
    voices = np.stack([sing(seed, 1.0) for seed in range(3)])
    together = run(path, voices)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    for voice, embedding in zip(voices, together, strict=True):
        np.testing.assert_allclose(run(path, voice[None])[0], embedding, rtol=0, atol=1e-6)


def test_input_and_output_say_what_they_are(small: tuple[Model, Path]) -> None:
    _, path = small
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    sides = [*session.get_inputs(), *session.get_outputs()]
    assert [(side.name, side.shape) for side in sides] == [
        ("samples", ["batch", "samples"]),
        ("embedding", ["batch", 10]),
    ]
    onnx.checker.check_model(path, full_check=True)


def test_metadata_rebuild_the_recipe(small: tuple[Model, Path]) -> None:
    embedder, path = small
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    recipe = json.loads(metadata["recipe"])
    assert build_feature(recipe).recipe == embedder.feature.recipe
    assert Normalisation.from_recipe(recipe).statistics == embedder.normalisation.statistics
    assert (metadata["sample_rate"], metadata["window_frames"], metadata["fingerprint"]) == (
        "16000",
        str(WINDOW_FRAMES),
        embedder.fingerprint,
    )
    assert metadata["shortest_samples"] == "513"
    assert "threshold" not in metadata


def test_threshold_is_told_only_where_it_is_one_of_cosines() -> None:
    embedder, threshold = embedder_of("mel40"), Threshold(0.7, "equal error rate on 4 singers")
    metadata = build_onnx_metadata(embedder, Scoring(threshold=threshold), from_frames=False)
    assert (metadata["threshold"], metadata["threshold_origin"]) == ("0.7", "equal error rate on 4 singers")
    normalised = Scoring(cohort=Cohort(np.eye(3), None), threshold=threshold)
    assert "threshold" not in build_onnx_metadata(embedder, normalised, from_frames=False)


def test_file_does_not_tell_where_it_was_made(small: tuple[Model, Path]) -> None:
    model = onnx.load(small[1])
    assert str(Path(__file__).parents[3]).encode() not in model.SerializeToString()
    assert not any(node.metadata_props for node in model.graph.node)


def test_deviation_is_found(small: tuple[Model, Path]) -> None:
    embedder, path = small
    other = embedder_of("mel40", "global_bins", pooling="last")
    assert measure_max_deviation(path, embedder, from_frames=False) < EXPORT_TOLERANCE / 10
    with torch.no_grad():
        other.encoder.linear.bias[0] += 0.01
    with pytest.raises(SingerVerifyError, match=r"differs from the model by .* and was not kept"):
        measure_max_deviation(path, other, from_frames=False)


@pytest.mark.parametrize("window_frames", [1, 2, 7, 80, 160])
def test_window_starts_are_those_of_evaluation(window_frames: int) -> None:
    for num_frames in [*range(1, 1200), 36_001]:
        starts = compute_traceable_window_starts(num_frames, window_frames)
        assert starts.tolist() == compute_window_starts(num_frames, window_frames).tolist(), num_frames


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_frames_are_scaled_as_in_training(name: str) -> None:
    generator = np.random.default_rng(0)
    frames = generator.normal(2.0, 3.0, (3, 40, 5)).astype(np.float32)
    frames[..., 1] = 0.7  # never changes
    frames[1] = -1.25
    figures = (generator.normal(size=5), np.array([1.0, 0.0, 2.0, 3.0, 0.5]))
    normalisation = Normalisation(name, *(figures if name.startswith("global") else (None, None)))
    expected = np.stack([normalisation.normalise(recording_frames) for recording_frames in frames])
    scaled = FrameNormalisation(normalisation)(torch.from_numpy(frames)).numpy()
    np.testing.assert_allclose(scaled, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("feature", "reason"),
    [
        (build_feature(read_recipe("world")), "WorldEnvelope is no torch.nn.Module"),
        (build_feature(read_recipe("mel40+pitch")), "Pitch is no torch.nn.Module"),
        (build_feature(read_recipe("resemblyzer")), "Resemblyzer"),
        (
            FeatureStack([MelSpectrogram(8, high_pass_hz=30.0), MelSpectrogram(9)]),
            "high-pass filter is computed by scipy",
        ),
        (TrimmedFeature(MelSpectrogram(8), 40.0, False), "silence is trimmed"),
        (TrimmedFeature(MelSpectrogram(8), None, True), "unvoiced frames are dropped"),
        (PrecomputedFeature({"num_feats": 8, "sr": 16000, "hop_size": 160}), "frames are precomputed"),
    ],
)
def test_recipes_outside_torch_are_refused_and_told_the_way_out(feature: Feature, reason: str) -> None:
    with pytest.raises(SingerVerifyError, match=f"{reason}.*--frames"):
        build_onnx_program(embedder_of(feature), from_frames=False)


@pytest.mark.parametrize(
    "name",
    [
        "mel40",
        "mfcc",
        "energy",
        "mfcc+deltas",
        "mel40+energy",
        "cqt",
        "fbank",
        "ltas",
        "lfcc",
        "gammatone",
        "pcen",
        "modulation",
        "mel128_44k",
    ],
)
def test_recipes_of_torch_are_not_refused(name: str) -> None:
    assert find_torch_obstacle(build_feature(read_recipe(name))) is None


@pytest.mark.parametrize("feature", [MelSpectrogram(8, hop_ms=20.0), build_feature(read_recipe("mel40+energy"))])
def test_shortest_recording(feature: Feature) -> None:
    fewest = find_min_samples(feature)
    assert len(feature(torch.zeros(fewest))) >= 1
    with pytest.raises(SingerVerifyError, match="shorter than one frame"):
        feature(torch.zeros(fewest - 1))


@pytest.mark.slow
@pytest.mark.parametrize(
    "feature",
    [
        build_feature(read_recipe("pitch")),
        PrecomputedFeature({"num_feats": 8, "sr": 16000, "hop_size": 160}),
    ],
)
def test_frames_to_embedding_where_the_recipe_is_no_torch(tmp_path: Path, feature: Feature) -> None:
    embedder = embedder_of(feature, "global_bins", pooling="mean")
    path = written(embedder, tmp_path, from_frames=True)
    assert measure_max_deviation(path, embedder, from_frames=True) < EXPORT_TOLERANCE / 10
    for num_frames in (1, WINDOW_FRAMES, WINDOW_FRAMES + 1, 500):
        frames = torch.rand(num_frames, feature.num_bins)
        np.testing.assert_allclose(run(path, frames[None].numpy())[0], embedder.embed_frames(frames), rtol=0, atol=1e-5)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: None if name == "onnxscript" else True)
    with pytest.raises(
        SingerVerifyError, match=r"onnxscript cannot be found; pip install -c constraints.txt -e '\.\[onnx\]'"
    ):
        onnx_export.require_onnx()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A checkpoint of a small untrained model."""
    torch.manual_seed(0)
    encoder = LSTMEncoder(8, 6, 1, 4)
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    torch.save(
        {
            "state_dict": state,
            METADATA_KEY: ModelMetadata(MelSpectrogram(8).recipe, encoder.settings, 20, ()).to_dict(),
        },
        tmp_path / "a.ckpt",
    )
    return tmp_path / "a.ckpt"


def refusal(*arguments: object) -> str:
    with pytest.raises(SingerVerifyError) as caught:
        CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return str(caught.value)


@pytest.mark.slow
def test_command_writes_checks_and_says_so(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    told = CliRunner().invoke(
        app, ["export", str(model), "--onnx", str(out / "a.onnx"), "--json"], catch_exceptions=False
    )
    content = json.loads(told.stdout)
    assert content["written"] == [str(out / "a.onnx"), str(out / "a.card.md")]
    assert 0.0 < content["largest_deviation"] < EXPORT_TOLERANCE
    assert sorted(path.name for path in out.iterdir()) == ["a.card.md", "a.onnx"]
    np.testing.assert_allclose(np.linalg.norm(run(out / "a.onnx", sing(1)[None])), 1.0, atol=1e-5)


@pytest.mark.slow
def test_nothing_is_left_of_a_file_that_deviates(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("singer_verify.export.onnx_check.EXPORT_TOLERANCE", -1.0)
    assert "differs from the model" in refusal("export", model, "--onnx", tmp_path / "a.onnx", "--frames", "--no-card")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ckpt"]


@pytest.mark.parametrize("existing", ["a.onnx", "a.card.md"])
def test_an_export_replaces_nothing_unless_it_is_forced(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existing: str
) -> None:
    monkeypatch.setattr("singer_verify.cli.export._write_checked_onnx", lambda model, onnx, frames: onnx.touch() or 0.0)
    (tmp_path / existing).write_text("mine")
    call = ["export", model, "--onnx", tmp_path / "a.onnx"]
    assert f"{existing}: exists already; give another name, or --force to replace it." in refusal(*call)
    assert [path.read_text() for path in tmp_path.glob("a.*") if path.name in ("a.onnx", "a.card.md")] == ["mine"]
    if existing == "a.card.md":
        assert CliRunner().invoke(app, [*map(str, call), "--no-card"], catch_exceptions=False).exit_code == 0
        assert (tmp_path / existing).read_text() == "mine"
    assert CliRunner().invoke(app, [*map(str, call), "--force"], catch_exceptions=False).exit_code == 0
    assert (tmp_path / "a.card.md").read_text() not in ("", "mine")


def test_a_model_card_replaces_nothing_unless_it_is_forced(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("mine")
    assert "a.md: exists already" in refusal("card", model, "--out", tmp_path / "a.md")
    assert (tmp_path / "a.md").read_text() == "mine"


def test_command_refuses_places(model: Path, tmp_path: Path) -> None:
    assert "ends in .onnx" in refusal("export", model, "--onnx", tmp_path / "a.pt")
    assert "no such folder" in refusal("export", model, "--onnx", tmp_path / "no" / "a.onnx")
    assert "no such file" in refusal("export", tmp_path / "b.ckpt", "--onnx", tmp_path / "b.onnx")
    assert "ends in .md" in refusal("card", model, "--out", tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("recipe", "from_frames", "settings"),
    [
        ("mel40", False, DEFAULT_VOICE_SETTINGS),
        pytest.param("mel40", False, {"level_db": -26.0}, marks=SLOW),
        pytest.param("mel40", False, DEFAULT_VOICE_SETTINGS | {"pause_s": 0.5}, marks=SLOW),
        pytest.param("world", True, DEFAULT_VOICE_SETTINGS, marks=SLOW),
    ],
)
def test_a_recipe_that_prepares_recordings_is_checked_against_the_whole_way(
    recipe: str, from_frames: bool, settings: dict[str, float], tmp_path: Path
) -> None:
    embedder = embedder_of(build_feature(settings | read_recipe(recipe)))
    path = written(embedder, tmp_path, from_frames)
    assert measure_max_deviation(path, embedder, from_frames) < 1e-4
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    told = session.get_modelmeta().custom_metadata_map["preparation"]
    assert told.endswith(f"{settings.get('activity_db')} {settings.get('level_db')} {settings.get('pause_s', 0.0)}")
    if not from_frames and settings == DEFAULT_VOICE_SETTINGS:  # the graph sets the level of what holds no pause
        voice = synthesise_voice(20_000, 16_000, 3)[None]
        np.testing.assert_allclose(run(path, 0.05 * voice), run(path, voice), atol=1e-5)
