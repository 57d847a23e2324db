"""The package as a library: what it offers, what importing it does, and that a model's file is read once."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from support.audio import MakeCorpus, sing
from support.cli import call
from support.untrained_model import make_run
from typer.testing import CliRunner

import singer_verify
from singer_verify.cli import app

RATE = 16_000
VARIABLES = ("OMP_WAIT_POLICY", "ONEDNN_MAX_CPU_ISA")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def test_importing_the_package_loads_no_torch_and_sets_no_variable() -> None:
    script = (
        "import os, sys\nbefore = dict(os.environ)\nimport singer_verify\n"
        "assert dict(os.environ) == before\nassert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
        "singer_verify.load_model\nassert 'torch' in sys.modules\n"
        "new = set(os.environ) - set(before)\n"
        "assert all(name.startswith('KMP_') for name in new), new"  # set by OpenMP itself
    )
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)


def test_every_public_name_is_there_and_explained() -> None:
    for name in ("Gallery", "evaluate", "load_model"):
        assert name in dir(singer_verify)
        assert getattr(singer_verify, name).__doc__
    assert "train" in dir(singer_verify)
    for name in ("load_model", "Gallery", "train", "evaluate"):
        assert name in str(singer_verify.__doc__)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        singer_verify.nonsense  # noqa: B018


def test_the_version_is_that_of_the_installed_package() -> None:
    assert call("--version").strip() == singer_verify.__version__


def test_a_model_is_evaluated_as_by_the_command(run: Path, make_corpus: MakeCorpus) -> None:
    import json

    root = make_corpus(val=3)
    result = singer_verify.evaluate(run, root, num_resamples=20)
    printed = json.loads(call("evaluate", run, root, "--json", "--resamples", 20))
    assert printed["metrics"]["eer"]["value"] == result.metrics["eer"].value
    assert [condition.condition for condition in result.conditions] == [
        condition["condition"] for condition in printed["conditions"]
    ]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file that torch loads."""
    load, files = torch.load, []

    def recorded(path: Any, *arguments: Any, **options: Any) -> Any:
        files.append(Path(path))
        return load(path, *arguments, **options)

    monkeypatch.setattr(torch, "load", recorded)
    return files


@pytest.mark.parametrize(
    "command",
    [
        *("verify", "identify", "diarize", "enrol", "embed", "table", "map", "evaluate", "calibrate", "card"),
        pytest.param("export", marks=pytest.mark.slow),
    ],
)
def test_a_command_reads_its_model_once(
    command: str, run: Path, make_corpus: MakeCorpus, tmp_path: Path, reads: list[Path]
) -> None:
    root = make_corpus(val=4, utterances=4) if command in ("table", "map", "evaluate", "calibrate") else tmp_path
    for number in range(2):
        soundfile.write(tmp_path / f"{number}.wav", sing(number), RATE)
    left, right = tmp_path / "0.wav", tmp_path / "1.wav"
    gallery = tmp_path / "g.npz"
    if command in ("identify", "diarize"):
        call("enrol", run, gallery, "anna", left)
        reads.clear()
    arguments = {
        "verify": [left, right],
        "identify": [gallery, right],
        "diarize": [right, "--gallery", gallery, "--out", tmp_path / "out"],
        "enrol": [gallery, "anna", left],
        "embed": [left, "--out", tmp_path / "a.npz"],
        "table": [root, "--out", tmp_path / "table.npz"],
        "map": [root, "--out", tmp_path / "map.png"],
        "evaluate": [root, "--resamples", 20, "--conditions", "none"],
        "calibrate": [root],
        "export": ["--onnx", tmp_path / "a.onnx", "--frames"],
        "card": ["--out", tmp_path / "card.md"],
    }[command]
    result = CliRunner().invoke(app, [command, str(run), *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code in (0, 3, 4), result.output
    assert reads == [run / "checkpoints/best.ckpt"]


def test_objects_are_shown_in_one_line(run: Path) -> None:
    model = singer_verify.load_model(run, device="cpu")
    gallery = singer_verify.Gallery(model)
    clip = singer_verify.inference.AudioClip(sing(1), RATE, "a")
    gallery.enrol("anna", [clip])
    shown = [repr(model), repr(gallery), repr(clip), repr(gallery.verify("anna", clip)), repr(gallery.identify(clip))]
    for line in shown:
        assert "\n" not in line
        assert len(line) < 250
    for part in ("LSTMEncoder", "MelSpectrogram", "embedding_size=8", "2 training singers", "device=cpu"):
        assert part in shown[0]
    assert "1 singers, 1 recordings" in shown[1]
    assert shown[2] == f"AudioClip('a', 1.00 s, {RATE} at {RATE} Hz)"
    assert shown[3].startswith("VerificationResult(undecided, score=1")
    assert "anna with score=1" in shown[4]


def test_devices_are_resolved_and_refused(run: Path) -> None:
    assert singer_verify.load_model(run, device="cpu").device == torch.device("cpu")
    wanted = "cuda" if torch.cuda.is_available() else "cpu"
    assert singer_verify.load_model(run).device.type == wanted
    from singer_verify.errors import SingerVerifyError

    for device, message in (("nonsense", "expected auto, cpu"), ("cuda:99", "this machine has")):
        with pytest.raises(SingerVerifyError, match=message):
            singer_verify.load_model(run, device=device)


def test_a_batch_of_samples_is_embedded_as_each_recording(run: Path) -> None:
    model = singer_verify.load_model(run, device="cpu")
    batch = torch.from_numpy(np.stack([sing(seed, 2.0) for seed in range(3)]))
    embeddings = model.embed(batch)
    expected = np.stack([model.embed(row.numpy(), RATE) for row in batch])
    assert isinstance(embeddings, torch.Tensor)
    assert embeddings.device == batch.device
    np.testing.assert_allclose(embeddings.numpy(), expected, atol=1e-5)
    np.testing.assert_allclose(model.embed(batch[0]).numpy(), expected[0], atol=1e-5)


def test_packages_are_trusted_by_load_model(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from singer_verify import safe_loading

    monkeypatch.setattr(safe_loading, "_trusted_packages", set())
    singer_verify.load_model(run)
    assert not safe_loading.is_trusted_module("somebodys_package.encoders")
    singer_verify.load_model(run, trust=["somebodys_package"])
    assert safe_loading.is_trusted_module("somebodys_package.encoders")


def test_verify_starts_without_what_it_does_not_need(run: Path, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", sing(1), RATE)
    script = (
        "import sys\nfrom singer_verify.cli import app\n"
        f"try: app(['verify', {str(run)!r}, 'a.wav', 'a.wav', '--threshold', '-1'])\n"
        "except SystemExit as stop: assert not stop.code\n"
        "slow = {'pandas', 'sklearn', 'matplotlib', 'pytorch_lightning', 'torchmetrics', 'hydra'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, env=dict(os.environ))
