"""Parts of a package outside singer_verify, taken through every command, and refused where they are not trusted."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from support.plugin_project import REFUSAL, SETTINGS, call, execute, last_of, train

from singer_verify.runs.checkpoints import read_checkpoint

pytestmark = pytest.mark.slow


def test_training_refuses_what_loading_would(plugin_project: Path) -> None:
    done = execute(plugin_project, "train.py", *SETTINGS, "trust=[]", "name=refused")
    assert done.returncode == 1
    assert REFUSAL in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (plugin_project / "runs/refused/checkpoints").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("evaluate", "runs/first", "corpus", "--json"),
        ("leaderboard", "runs", "--corpus", "corpus", "--split", "val"),
        ("export", "runs/first", "--onnx", "model.onnx"),
        ("verify", "runs/first", "downloads/ann__0.flac", "downloads/ben__0.flac", "--json"),
    ],
    ids=lambda command: command[0],
)
def test_a_command_loads_it_if_trusted(plugin_project: Path, plugin_run: Path, command: tuple[str, ...]) -> None:
    refused = execute(plugin_project, "-m", "singer_verify.cli", *command)
    assert REFUSAL in " ".join(refused.stderr.split())
    assert "--trust singer_plugin" in " ".join(refused.stderr.split())
    done = execute(plugin_project, "-m", "singer_verify.cli", *command, "--trust", "singer_plugin")
    assert done.returncode in (0, 3), done.stderr  # 3: no threshold is known


def test_the_projects_conf_trusts(plugin_project: Path, plugin_run: Path) -> None:
    settings = plugin_project / "conf/train.yaml"
    before = settings.read_text()
    settings.write_text(before.replace("trust: []", "trust: [singer_plugin]"))
    try:
        call(plugin_project, "embed", "runs/first", "downloads/ann__0.flac", "--out", "again.npz")
    finally:
        settings.write_text(before)


def test_an_installed_package_trusts_itself_by_its_entry_point(
    plugin_project: Path, plugin_run: Path, tmp_path: Path
) -> None:
    """As `pip install` would leave it: the package, and its entry point in the group `singer_verify.plugins`."""
    shutil.copytree(plugin_project / "singer_plugin", tmp_path / "site/singer_plugin")
    information = tmp_path / "site/singer_plugin-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: singer-plugin\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[singer_verify.plugins]\nsinger_plugin = singer_plugin\n")
    command = ("embed", str(plugin_run), str(plugin_project / "downloads/ann__0.flac"), "--out", "installed.npz")
    refused = execute(tmp_path, "-m", "singer_verify.cli", *command)
    assert REFUSAL in " ".join(refused.stderr.split())
    call(tmp_path, *command, packages=tmp_path / "site")
    assert (tmp_path / "installed.npz").is_file()


def test_it_resumes_to_the_bit(plugin_project: Path, plugin_run: Path) -> None:
    train(plugin_project, *SETTINGS, "name=stopped", "trainer.max_steps=2")
    refused = execute(plugin_project, "train.py", "resume=runs/stopped", "trainer.max_steps=4")
    assert REFUSAL in " ".join(refused.stderr.split())  # what a run's folder says trusts nothing
    train(plugin_project, "resume=runs/stopped", "trainer.max_steps=4", "trust=[singer_plugin]")
    whole, resumed = last_of(plugin_run), last_of(plugin_project / "runs/stopped")
    assert any("running_mean" in name for name in whole)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_frozen_statistics_do_not_drift(plugin_project: Path, plugin_run: Path) -> None:
    train(plugin_project, *SETTINGS, "init_from=runs/first", "name=tuned", "freeze=[front]")
    before = read_checkpoint(plugin_run / "checkpoints/best.ckpt")["state_dict"]
    after = last_of(plugin_run / "tuned")
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if name.startswith("encoder.front")} <= same
    assert "encoder.back.1.running_mean" not in same
    assert json.loads((plugin_run / "tuned/run.json").read_text())["parent"]["taken"] == ["encoder", "ge2e", "aam"]


@pytest.mark.parametrize("launcher", [(), ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")])
def test_a_sweep_trains_it(plugin_project: Path, launcher: tuple[str, ...]) -> None:
    name = f"sweep{len(launcher)}"
    train(plugin_project, "-m", *SETTINGS, f"name={name}", "loss.weights.aam=0.5,1.0", *launcher)
    assert len(list((plugin_project / "runs" / name).rglob("best.ckpt"))) == 2


def test_two_processes_agree(plugin_project: Path) -> None:
    two = ("trainer=ddp", "trainer.devices=2", "loss.gather=true", "data.singers_per_batch=4")
    train(plugin_project, *SETTINGS, *two, "name=both")
    train(plugin_project, "resume=runs/both", "trainer.max_steps=6", "trust=[singer_plugin]")
    assert all(torch.isfinite(tensor).all() for tensor in last_of(plugin_project / "runs/both").values())
