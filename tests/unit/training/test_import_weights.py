"""Weights of other programs become runs; those of singer_verify load in other programs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from support.audio import MakeCorpus, sing
from support.train_process import PROJECT, train
from torch import Tensor, nn
from typer.testing import CliRunner

from singer_verify.cli import app
from singer_verify.encoders.campplus import CAMPPlusEncoder
from singer_verify.errors import SingerVerifyError
from singer_verify.features.fbank import Fbank
from singer_verify.features.feature import Feature
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.normalisation import Normalisation
from singer_verify.features.recipe import read_recipe
from singer_verify.inference import load_model
from singer_verify.reports.model_card import render_model_card
from singer_verify.runs.checkpoints import read_checkpoint
from singer_verify.runs.provenance import compute_file_sha256
from singer_verify.training.import_weights import IMPORTED_VOICE_SETTINGS, import_weights_as_run, read_external_weights
from singer_verify.training.weight_layouts.published import MEASURED_CORPORA, PUBLISHED_WEIGHTS, PublishedWeights


class EarlierEncoder(nn.Module):
    """The layout of singer_id_encoder's network, and of Resemblyzer's without the classifier."""

    def __init__(self, bins: int = 40, hidden: int = 6, layers: int = 3, embedding: int = 5, singers: int = 4) -> None:
        super().__init__()
        self.lstm = nn.LSTM(bins, hidden, layers, batch_first=True)
        self.linear = nn.Linear(hidden, embedding)
        self.class_layer = nn.Linear(embedding, singers)
        self.similarity_weight = nn.Parameter(torch.tensor([10.0]))
        self.similarity_bias = nn.Parameter(torch.tensor([-5.0]))

    def forward(self, frames: Tensor) -> Tensor:
        _, (hidden, _) = self.lstm(frames)
        raw = self.linear(hidden[-1]).relu()
        return raw / torch.norm(raw, dim=1, keepdim=True)


class AutoVCEncoder(nn.Module):
    """The layout of AutoVC's speaker encoder (D_VECTOR): no rectifier."""

    def __init__(self, bins: int = 80, hidden: int = 7, layers: int = 3, embedding: int = 5) -> None:
        super().__init__()
        self.lstm = nn.LSTM(bins, hidden, layers, batch_first=True)
        self.embedding = nn.Linear(hidden, embedding)

    def forward(self, frames: Tensor) -> Tensor:
        outputs, _ = self.lstm(frames)
        embeds = self.embedding(outputs[:, -1, :])
        return embeds / embeds.norm(p=2, dim=-1, keepdim=True)


def saved(content: dict[str, Any], folder: Path) -> Path:
    path = folder / "foreign.pt"
    torch.save(content, path)
    return path


def test_an_earlier_encoders_embeddings_are_reproduced(tmp_path: Path) -> None:
    network = EarlierEncoder()
    optimizer = torch.optim.Adam(network.parameters())
    content = {"step": 77, "model_state": network.state_dict(), "optimizer_state": optimizer.state_dict()}
    path, run, feature = saved(content, tmp_path), tmp_path / "run", MelSpectrogram(40)
    import_weights_as_run(path, feature, 160, run)
    soundfile.write(tmp_path / "a.flac", sing(1), 16_000)
    samples = torch.from_numpy(soundfile.read(tmp_path / "a.flac", dtype="float32")[0])
    expected = network(feature(samples)[None])[0].detach().numpy()
    for model in (run, run / "checkpoints/best.ckpt", run / "saved_model.pt"):
        np.testing.assert_allclose(load_model(model).embed(tmp_path / "a.flac"), expected, atol=1e-6)
    checkpoint = read_checkpoint(run / "checkpoints/best.ckpt")
    assert checkpoint["global_step"] == 77
    assert checkpoint["state_dict"]["loss.terms.ge2e.scale"] == 10.0
    imported = json.loads((run / "run.json").read_text())["imported"]
    assert imported["dropped"] == ["class_layer.bias", "class_layer.weight"]
    assert imported["step"] == 77


def test_autovcs_embeddings_are_reproduced(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = AutoVCEncoder()
    state = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    import_weights_as_run(saved({"model_b": state}, tmp_path), MelSpectrogram(80), 128, tmp_path / "run")
    frames = torch.rand(2, 30, 80)
    embedder = load_model(tmp_path / "run")
    torch.testing.assert_close(embedder.encoder(frames), network(frames))
    assert (network(frames) < 0).any()
    assert embedder.window_frames == 128


@pytest.mark.parametrize(
    ("layers", "hidden", "embedding", "bins"), [(3, 256, 256, 40), (3, 768, 256, 80), (1, 5, 3, 7)]
)
def test_the_architecture_is_read_off_the_weights(
    layers: int, hidden: int, embedding: int, bins: int, tmp_path: Path
) -> None:
    network = EarlierEncoder(bins, hidden, layers, embedding)
    encoder = read_external_weights(saved({"model_state": network.state_dict()}, tmp_path)).encoder
    names = ("num_layers", "hidden_size", "embedding_size", "num_bins", "relu")
    assert [encoder[name] for name in names] == [layers, hidden, embedding, bins, True]


TINY_CAMPPLUS = {
    "num_bins": 24,
    "embedding_size": 5,
    "front_channels": 2,
    "channels": 8,
    "growth": 4,
    "bottleneck": 6,
    "num_layers": [2, 3, 1],
}


def build_published_campplus(**settings: Any) -> tuple[CAMPPlusEncoder, dict[str, Tensor]]:
    """A tiny network, and its weights under the names that 3D-Speaker and wespeaker give them."""
    torch.manual_seed(0)
    network = CAMPPlusEncoder(**TINY_CAMPPLUS | settings).eval()
    state = network.state_dict().items()
    return network, {name if name.startswith("head.") else f"xvector.{name}": tensor for name, tensor in state}


@pytest.mark.parametrize("wrapped", ["", "state_dict", "model", "data-parallel"])
@pytest.mark.parametrize("settings", [{}, {"num_layers": [1, 2], "dilations": [1, 2], "front_channels": 3}])
def test_campplus_is_reproduced_from_its_weights_alone(settings: dict[str, Any], wrapped: str, tmp_path: Path) -> None:
    network, tensors = build_published_campplus(**settings)
    content: dict[str, Any] = {wrapped: tensors} if wrapped in ("state_dict", "model") else tensors
    if wrapped == "data-parallel":
        content = {f"module.{name}": tensor for name, tensor in tensors.items()}
    import_weights_as_run(saved(content, tmp_path), None, None, tmp_path / "run")
    model = load_model(tmp_path / "run")
    assert model.encoder.settings == network.settings
    frames = torch.rand(2, 30, 24)
    torch.testing.assert_close(model.encoder(frames), network(frames), rtol=0, atol=0)
    assert (model.normalisation.name, model.window_frames) == ("utterance_mean", 2000)
    assert model.feature.recipe == Fbank(24, full_scale=1.0).recipe | IMPORTED_VOICE_SETTINGS | {"level_db": None}
    samples = torch.from_numpy(sing(1, 2.0))
    frames = Fbank(24, full_scale=1.0)(samples)
    expected = network((frames - frames.mean(dim=0))[None])[0].detach()
    np.testing.assert_allclose(model.embed(samples.numpy(), 16_000), expected, atol=1e-5)


def test_campplus_of_wespeaker_has_a_classifier_and_another_window(tmp_path: Path) -> None:
    _, tensors = build_published_campplus()
    tensors |= {"projection.weight": torch.zeros(7, 5)}
    weights = read_external_weights(saved(tensors, tmp_path))
    assert weights.dropped == ["projection.weight"]
    assert weights.recipe is not None
    assert weights.recipe == Fbank(24, window="hamming").recipe | {"normalise": "utterance_mean"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"xvector.transit2.linear.weight": None},
            "do not form CAM\\+\\+: transit2.linear.weight is missing",
        ),
        ({"xvector.dense.linear.weight": None}, "do not form CAM\\+\\+: xvector.dense.linear.weight is missing"),
        ({"xvector.block1.tdnnd2.linear1.weight": None}, "tdnnd2.linear1.weight is missing; expected `model_"),
        ({"pool.attention": torch.zeros(2)}, "pool.attention is left over"),
        (
            {"xvector.block3.tdnnd1.linear1.weight": torch.zeros(6, 9, 1)},
            r"block3.tdnnd1.linear1.weight has shape \(6, 9, 1\), expected \(6, 10, 1\)",
        ),
        ({"xvector.dense.linear.weight": torch.full((5, 18, 1), torch.nan)}, "dense.linear.weight holds NaN"),
        (
            {"xvector.tdnn.linear.weight": torch.zeros(3)},
            r"tdnn.linear.weight has shape \(3,\), expected 2 dim",
        ),
    ],
)
def test_campplus_weights_that_do_not_fit_are_refused(
    changes: dict[str, Tensor | None], said: str, tmp_path: Path
) -> None:
    _, tensors = build_published_campplus()
    changed = {name: value for name, value in (tensors | changes).items() if value is not None}
    with pytest.raises(SingerVerifyError, match=said):
        import_weights_as_run(saved(changed, tmp_path), None, None, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("feature", "normalise", "said"),
    [
        (MelSpectrogram(24), "none", r"was trained on other frames: _target_=.*MelSpectrogram instead of .*Fbank"),
        (Fbank(24), "utterance_mean", r"full_scale=32768\.0 instead of 1\.0"),
        (
            Fbank(24, full_scale=1.0),
            "none",
            r"other frames: normalise=none instead of utterance_mean; leave --features out",
        ),
        (Fbank(24, window="hamming"), "utterance_mean", "window=hamming instead of povey"),
        (Fbank(23, full_scale=1.0), "utterance_mean", "num_bins=23 instead of 24"),
    ],
)
def test_frames_other_than_those_of_the_training_are_refused(
    feature: Feature, normalise: str, said: str, tmp_path: Path
) -> None:
    path = saved(build_published_campplus()[1], tmp_path)
    with pytest.raises(SingerVerifyError, match=said):
        import_weights_as_run(path, feature, None, tmp_path / "run", Normalisation(normalise))


def test_the_recipe_is_asked_for_where_the_weights_could_have_any(tmp_path: Path) -> None:
    path = saved({"model_state": EarlierEncoder().state_dict()}, tmp_path)
    with pytest.raises(SingerVerifyError, match="does not say which frames it was trained on; name the recipe"):
        import_weights_as_run(path, None, None, tmp_path / "run")


def test_origin_and_licence_of_known_weights_are_in_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, run = saved(build_published_campplus()[1], tmp_path), tmp_path / "run"
    known = PublishedWeights("CAM++", "a test", "Apache-2.0", sha256=compute_file_sha256(path))
    monkeypatch.setattr("singer_verify.training.weight_layouts.published.PUBLISHED_WEIGHTS", (known,))
    imported = CliRunner().invoke(app, ["import-weights", str(path), "--out", str(run)], catch_exceptions=False)
    assert imported.exit_code == 0
    assert json.loads((run / "run.json").read_text())["imported"]["licence"] == "Apache-2.0"
    card = render_model_card(load_model(run))
    assert "license: Apache-2.0" in card
    assert "weights of another program: CAM++ of a test, foreign.pt" in card


def test_what_can_be_imported_is_listed_with_its_licence() -> None:
    shown = CliRunner().invoke(app, ["models"], catch_exceptions=False).output
    listed = json.loads(CliRunner().invoke(app, ["models", "--json"], catch_exceptions=False).output)
    assert [weights["name"] for weights in listed] == [weights.name for weights in PUBLISHED_WEIGHTS]
    for weights in listed:
        assert weights["licence"] in shown
        assert weights["eers"].keys() <= MEASURED_CORPORA.keys()
        assert weights["sha256"] is None or len(weights["sha256"]) == 64


def without(name: str) -> dict[str, Any]:
    return {key: tensor for key, tensor in EarlierEncoder().state_dict().items() if key != name}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"weights": 1}, "holds weights; expected `model_state`"),
        ({"model_state": without("linear.bias")}, "do not form an LSTM encoder: linear.bias is missing"),
        ({"model_state": without("lstm.weight_hh_l0")}, "do not form an LSTM encoder: lstm.weight_hh_l0 is missing"),
        (
            {"model_state": EarlierEncoder().state_dict() | {"linear.weight": torch.zeros(5, 9)}},
            r"linear.weight has shape \(5, 9\), expected \(5, 6\)",
        ),
        (
            {"model_state": EarlierEncoder(bins=80).state_dict()},
            "takes frames of 80 bins, but the recipe computes",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(content: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        import_weights_as_run(saved(content, tmp_path), MelSpectrogram(40), 160, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", [b"", b"RAW data.root=a", b"\x80\x02.", b"PK\x03\x04", b"{}", bytes(range(256))])
def test_a_file_of_another_kind_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(SingerVerifyError, match="is damaged, or holds more than plain tensors"):
        import_weights_as_run(tmp_path / "weights.pt", MelSpectrogram(40), 160, tmp_path / "run")


def test_a_run_is_not_imported_over_another(tmp_path: Path) -> None:
    path = saved({"model_state": EarlierEncoder().state_dict()}, tmp_path)
    import_weights_as_run(path, MelSpectrogram(40), 160, tmp_path / "run")
    with pytest.raises(SingerVerifyError, match="a run of this name exists"):
        import_weights_as_run(path, MelSpectrogram(40), 160, tmp_path / "run")
    with pytest.raises(SingerVerifyError, match="is a checkpoint of singer_verify; use it as it is"):
        read_external_weights(tmp_path / "run/saved_model.pt")


def test_recipes_are_named_as_in_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    assert read_recipe("mel80") == read_recipe("conf/features/mel80.yaml")
    with pytest.raises(SingerVerifyError, match=r"features=mel41: no file .*; expected .*mel40.*, resemblyzer, "):
        read_recipe("mel41")


def test_an_imported_run_is_evaluated_and_trained_on(
    make_corpus: MakeCorpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(PROJECT)
    corpus, run = make_corpus(train=2, val=2, utterances=2), tmp_path / "imported"
    path = saved({"model_state": EarlierEncoder(40, 12, 2, 8).state_dict()}, tmp_path)
    imported = CliRunner().invoke(app, ["import-weights", str(path), "--features", "mel40", "--out", str(run)])
    assert imported.exit_code == 0
    before = CliRunner().invoke(app, ["evaluate", str(run), str(corpus), "--json"])
    child = train(corpus, f"init_from={run}", "name=tuned", "data.num_frames=160")
    assert child == run / "tuned"
    figures = json.loads((child / "metrics.json").read_text())["untrained"]
    assert figures["val/eer"] == pytest.approx(json.loads(before.stdout)["metrics"]["eer"]["value"], abs=1e-6)
    listed = json.loads(CliRunner().invoke(app, ["runs", str(tmp_path), "--json"]).stdout)
    statuses = {summary["path"]: summary["status"] for summary in listed}
    assert statuses == {"imported": "imported", "imported/tuned": "finished"}


def test_ours_load_in_the_earlier_network(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus = make_corpus(train=3, val=2, utterances=2)
    of_earlier = ("encoder.initialisation=default", "encoder.pooling=last")
    run = train(corpus, f"hydra.run.dir={tmp_path}/run", "loss=ge2e+ce", "trainer.max_steps=2", *of_earlier)
    network = EarlierEncoder(40, 12, 2, 8, singers=3)
    content = torch.load(run / "saved_model.pt", weights_only=True)
    network.load_state_dict(content["model_state"])
    embedder = load_model(run)
    frames = torch.rand(1, 30, 40)
    torch.testing.assert_close(network(frames), embedder.encoder(frames))
    path = saved({name: content[name] for name in ("step", "model_state")}, tmp_path)
    assert (
        read_external_weights(path).encoder
        == read_checkpoint(run / "checkpoints/best.ckpt")["singer_verify"]["encoder"]
    )
