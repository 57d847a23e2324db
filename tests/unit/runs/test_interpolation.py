"""Weights between a fine-tuned model and its start: both ends, the middle, and what cannot be interpolated."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from singer_verify.cli import app
from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.encoders.xvector import XVectorEncoder
from singer_verify.errors import SingerVerifyError
from singer_verify.features.mel import MelSpectrogram
from singer_verify.inference import load_model
from singer_verify.runs.checkpoints import VALIDATION_KEY, Checkpoint, write_checkpoint
from singer_verify.runs.interpolation import find_start, interpolate_checkpoints
from singer_verify.runs.model_metadata import METADATA_KEY, ModelMetadata
from singer_verify.runs.provenance import compute_file_sha256


def build_model(seed: int, **changes: Any) -> dict[str, Any]:
    """A checkpoint of a small convolutional encoder, with statistics of its own."""
    torch.manual_seed(seed)
    encoder = XVectorEncoder(40, embedding_size=8, channels=4, pooled_channels=6)
    encoder.train()(3 + torch.randn(2, 30, 40))
    state = {f"encoder.{name}": tensor.clone() for name, tensor in encoder.state_dict().items()}
    state["loss.terms.ge2e.scale"] = torch.tensor(float(seed))
    metadata = ModelMetadata(MelSpectrogram(40).recipe, encoder.settings, 30, (f"singer{seed}",))
    return {
        "state_dict": state,
        "global_step": 10 * seed,
        "optimizer_states": [],
        METADATA_KEY: replace(metadata, **changes).to_dict(),
        VALIDATION_KEY: {"step": 10 * seed, "threshold": 0.5, "num_singers": 3},
    }


def write_run(folder: Path, content: dict[str, Any], parent: Path | None = None) -> Path:
    best = folder / "checkpoints/best.ckpt"
    write_checkpoint(content, best)
    record = None
    if parent is not None:
        record = {
            "checkpoint": "../checkpoints/best.ckpt",
            "sha256": compute_file_sha256(parent / best.relative_to(folder)),
        }
    (folder / "run.json").write_text(json.dumps({"parent": record}))
    return folder


@pytest.fixture
def start(tmp_path: Path) -> Path:
    return write_run(tmp_path / "first", build_model(1))


@pytest.fixture
def tuned(start: Path) -> Path:
    return write_run(start / "tuned", build_model(2), start)


def interpolate(tuned: Path, start: Path, towards_start: float) -> dict[str, Any]:
    return interpolate_checkpoints(Checkpoint.read(tuned), Checkpoint.read(start), towards_start)


def encoder_weights(content: dict[str, Any]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in content["state_dict"].items() if name.startswith("encoder.")}


def test_the_ends_are_the_two_models(tuned: Path, start: Path) -> None:
    for share, end in ((0.0, build_model(2)), (1.0, build_model(1))):
        weights = encoder_weights(interpolate(tuned, start, share))
        assert weights.keys() == encoder_weights(end).keys()
        assert all(torch.equal(tensor, end["state_dict"][name]) for name, tensor in weights.items())


def test_everything_between_is_on_the_line(tuned: Path, start: Path) -> None:
    content = interpolate(tuned, start, 0.25)
    first, then = build_model(1)["state_dict"], build_model(2)["state_dict"]
    assert any(name.endswith("running_var") for name in content["state_dict"])
    for name, tensor in encoder_weights(content).items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, 0.75 * then[name] + 0.25 * first[name])
        else:
            assert torch.equal(tensor, then[name])
    assert content["state_dict"]["loss.terms.ge2e.scale"] == 2.0


def test_the_file_is_a_model_that_remembers_both_trainings(tuned: Path, start: Path, tmp_path: Path) -> None:
    out = tmp_path / "between.ckpt"
    arguments = ["interpolate", str(tuned), "--towards-start", "0.5", "--out", str(out)]
    printed = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "0.5 × " in printed.stdout
    checkpoint = Checkpoint.read(out)
    assert checkpoint.metadata.train_singers == ("singer2",)
    assert checkpoint.metadata.pretraining_singers == ("singer1",)
    assert checkpoint.validation_threshold is None  # which was of other weights
    assert checkpoint.step == 20
    assert "optimizer_states" not in checkpoint.content
    assert len({load_model(path, "cpu").fingerprint for path in (out, tuned, start)}) == 3
    with pytest.raises(SingerVerifyError, match=r"between.ckpt: exists"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert CliRunner().invoke(app, [*arguments, "--force"]).exit_code == 0


def test_the_start_is_the_recorded_one(tuned: Path, start: Path) -> None:
    for model in (tuned, tuned / "checkpoints/best.ckpt"):
        assert find_start(model).resolve() == (start / "checkpoints/best.ckpt").resolve()


def test_a_start_that_is_gone_or_changed_is_refused(tuned: Path, start: Path, tmp_path: Path) -> None:
    with pytest.raises(SingerVerifyError, match=r"first: did not begin with the weights of another run \(init_from\)"):
        find_start(start)
    best = start / "checkpoints/best.ckpt"
    write_checkpoint(build_model(3), best)
    with pytest.raises(SingerVerifyError, match=r"has changed since .*tuned began with its weights; name the start"):
        find_start(tuned)
    best.unlink()
    with pytest.raises(SingerVerifyError, match="there is no such file; name --start"):
        find_start(tuned)
    write_checkpoint(build_model(2), tmp_path / "alone.ckpt")
    with pytest.raises(SingerVerifyError, match=r"alone.ckpt: did not begin with"):
        find_start(tmp_path / "alone.ckpt")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recipe": MelSpectrogram(40, fmin_hz=50.0).recipe}, "features.fmin_hz 50.0 → 90.0"),
        (
            {"recipe": MelSpectrogram(40).recipe | {"normalise": "utterance_bins"}},
            "features.normalise utterance_bins → none",
        ),
        (
            {"recipe": MelSpectrogram(40).recipe | {"statistics": {"mean": [1.0]}}},
            "features.statistics of one corpus → of",
        ),
        ({"encoder": LSTMEncoder(40).settings}, "encoder._target_ singer_verify.encoders.lstm.LSTMEncoder → "),
    ],
)
def test_another_architecture_is_refused(tuned: Path, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    other = write_run(tmp_path / "other", build_model(1, **changes))
    with pytest.raises(SingerVerifyError, match=re.escape(said)):
        interpolate(tuned, other, 0.5)


def test_dropout_is_not_architecture(tuned: Path, tmp_path: Path) -> None:
    settings = build_model(1)[METADATA_KEY]["encoder"] | {"dropout": 0.3}
    interpolate(tuned, write_run(tmp_path / "other", build_model(1, encoder=settings)), 0.5)


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(tuned: Path, start: Path, share: float) -> None:
    with pytest.raises(SingerVerifyError, match=r"towards_start=.*: expected a number between 0 and 1"):
        interpolate(tuned, start, share)
