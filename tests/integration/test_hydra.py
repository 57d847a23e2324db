"""Hydra's own services: its help, completion, job logging, record of the call, and the printed settings."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from support.tiny_run import CONF, ROOT, make_corpus, run, tiny

from singer_verify.cli.console import format_user_error
from singer_verify.errors import SingerVerifyError

SETTING = re.compile(r"^\s*\w+: *[^\s#][^#]*$")  # a value without a comment
SELF_EXPLANATORY = re.compile(r"^\s*(_target_|_partial_|_recursive_|monitor|mode):")


def call_train(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "train.py"), *arguments]
    environment = {**os.environ, "COLUMNS": "200", **environment}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_help_shows_the_files_of_the_chosen_groups(tmp_path: Path) -> None:
    shown = call_train("loss=ge2e+ce", "logger=[tensorboard,csv]", "trainer=ddp", "--help", cwd=tmp_path).stdout
    for part in (
        "loss: aam, am, angular, ce, ",
        "root: example_dataset # <root>/{train,val}/<singer>/**/<utterance>",
        "loss: (ge2e+ce)",
        "  weights: {ge2e: 1.0, ce: 1.0} #",
        "form: softmax # softmax",
        "logger: (csv)",
        "store_root: ${oc.env:SINGER_VERIFY_STORE,store} #",
        "gradient_clip_val: 3.0 #",
        "devices: auto #",
        "seed: 1 #",
    ):
        assert part in shown, part
    assert "hydra:" not in shown.partition("Settings")[2].partition("Examples")[0].replace("${hydra:", "")
    assert list(tmp_path.iterdir()) == []


def test_help_loads_neither_torch_nor_lightning(tmp_path: Path) -> None:
    script = (
        "import runpy, sys\nsys.argv = ['train.py', '--help']\n"
        f"try: runpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')\n"
        "except SystemExit as stop: assert not stop.code\n"
        "slow = {'torch', 'pytorch_lightning', 'lightning_fabric', 'pandas', 'librosa'} & set(sys.modules)\n"
        "assert not slow, slow"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    "path",
    [
        CONF / "train.yaml",
        *(CONF / f"{name}.yaml" for name in ("data/singers", "features/mel40", "optimizer/adam")),
        *(
            path
            for group in ("encoder", "loss", "trainer", "callbacks", "scheduler")
            for path in sorted((CONF / group).iterdir())
        ),
    ],
    ids=lambda path: path.relative_to(CONF).as_posix(),
)
def test_every_setting_is_explained_by_a_comment(path: Path) -> None:
    text = path.read_text().partition("\nhydra:")[0]
    assert [line for line in text.splitlines() if SETTING.match(line) and not SELF_EXPLANATORY.match(line)] == []


def test_the_shell_completes_groups_and_settings(tmp_path: Path) -> None:
    for typed, completed in (
        (
            "python train.py loss=",
            " ".join(f"loss={name}" for name in sorted(path.stem for path in (CONF / "loss").iterdir())),
        ),
        ("python train.py data.sing", "data.singers_from= data.singers_per_batch="),
    ):
        assert call_train("-sc", "query=bash", cwd=tmp_path, COMP_LINE=typed).stdout.strip() == completed


@pytest.mark.slow
def test_a_run_keeps_its_call_its_log_and_prints_its_settings(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    quick = [*tiny(corpus), "trainer.max_steps=1"]
    typed = [*quick, "hydra.run.dir=runs/a"]
    made = call_train(*typed, "print_config=true", "hydra.verbose=[singer_verify.sentinel]", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "gradient_clip_val: 3.0" in made.stdout
    run = tmp_path / "runs/a"
    assert "step 0: EER " in (run / "train.log").read_text()
    assert "step 0: EER " in made.stdout
    record = yaml.safe_load((run / ".hydra/overrides.yaml").read_text())
    assert set(quick) <= set(record)
    assert yaml.safe_load((run / ".hydra/config.yaml").read_text())["print_config"] is True

    refused = call_train(*quick, "name=a", "seed=99", cwd=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr == (
        "error: runs/a: a run of this name exists; continue it with resume=runs/a, choose another name= or delete the "
        "folder.\n"
    )
    assert yaml.safe_load((run / ".hydra/overrides.yaml").read_text()) == record


@pytest.mark.parametrize("name", ["a =(b)[c]{d}#&,e", "Müller, Überlauf=1", "1"])
def test_paths_are_taken_as_the_shell_gives_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """A corpus, a run, one that begins with its weights, and one that continues it in another folder."""
    monkeypatch.chdir(tmp_path)
    quick = [*tiny(make_corpus(tmp_path / name / "corpus")), "trainer.max_steps=1", "logger=none"]
    assert quick[-4] == f"data.root={tmp_path}/{name}/corpus"
    first = run(monkeypatch, *quick, f"name={name}")
    assert first == tmp_path / "runs" / name
    tuned = run(monkeypatch, *quick, f"init_from=runs/{name}", "name=tuned")
    assert tuned == first / "tuned"
    longer = run(monkeypatch, f"resume=runs/{name}", "trainer.max_steps=2", f"name={name}+")
    assert yaml.safe_load((longer / "config.yaml").read_text())["data"]["root"] == f"{tmp_path}/{name}/corpus"
    ckpt_path = f"ckpt_path=runs/{name}/checkpoints/last.ckpt"
    assert run(monkeypatch, *quick, ckpt_path, "trainer.max_steps=2") == first


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("name=" + "a" * 300, "no folder can be made there (File name too long); choose another name="),
        ("name=file/in/it", "runs/file/in/it: no folder can be made there (runs/file is a file)"),
        ("name=null", "name=null: expected the name of a folder."),
        ("name=../b", "name=../b: expected the name of a folder inside runs"),
        ("trust=1", "trust=1: expected names of packages, for example trust=[my_package]."),
        ("encoder.hidden_size=0", "encoder.hidden_size=0: expected an integer of at least 1."),
        ("optimizer.lr=-1", "Invalid learning rate: -1"),
        ("freeze=[nothing]", "freeze=[nothing]: no such part of the encoder"),
        ("trainer.accelerator=abacus", "trainer: You selected an invalid accelerator name"),
        pytest.param(
            *("trainer.accelerator=gpu", "trainer.accelerator=gpu: torch finds no GPU on this machine"),
            marks=pytest.mark.skipif(torch.cuda.is_available() or torch.mps.is_available(), reason="has a GPU"),
        ),
        ("trainer.devices=3", "data.singers_per_batch=4: cannot be divided among 3 devices"),
        ("trainer.cuda_graph=true", "trainer.cuda_graph=true: the training runs on cpu; expected one CUDA device"),
        ("scheduler.factor=3", "scheduler: Constant multiplicative factor expected to be between 0 and 1.; see conf"),
        ("monitor=val/nothing", "monitor=val/nothing: is not measured; expected one of val/auc, val/eer, val/ge2e,"),
        ("callbacks.early_stopping.monitor=val/nothing", "callbacks.early_stopping.monitor=val/nothing: is not"),
        ("callbacks.best.monitor=val/nothing", "callbacks.best.monitor=val/nothing: is not measured"),
    ],
)
def test_a_wrong_setting_is_refused_before_frames_are_computed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, override: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/file").write_text("")
    quick = [*tiny(make_corpus(tmp_path / "corpus")), "trainer.max_steps=2", "logger=none"]
    with pytest.raises((SingerVerifyError, HydraException, OmegaConfBaseException)) as refusal:
        run(monkeypatch, *quick, *(["name=a"] if not override.startswith("name") else []), override)
    assert said in format_user_error(refusal.value)
    assert not (tmp_path / "corpus-store").exists()


def test_errors_of_the_file_system_have_no_traceback(tmp_path: Path) -> None:
    made = call_train("hydra.run.dir=/dev/null/x", cwd=tmp_path)
    assert made.returncode == 1
    assert made.stderr == "error: /dev/null/x: Not a directory; choose another path, or change what is there.\n"
