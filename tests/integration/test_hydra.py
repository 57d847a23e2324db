"""Hydra's own services: its help, completion, job logging, record of the call, and the printed settings."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.tiny_run import CONF, ROOT, make_corpus, tiny

SETTING = re.compile(r"^\s*\w+: *[^\s#][^#]*$")  # a value without a comment
SELF_EXPLANATORY = re.compile(r"^\s*(_target_|_partial_|_recursive_|monitor|mode):")


def call_train(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "train.py"), *arguments]
    environment = {**os.environ, "COLUMNS": "200", **environment}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_help_shows_the_files_of_the_chosen_groups(tmp_path: Path) -> None:
    shown = call_train("loss=ge2e+ce", "logger=[tensorboard,csv]", "trainer=ddp", "--help", cwd=tmp_path).stdout
    for part in (
        "loss: ge2e, ce",
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
        assert part in shown.replace("loss: ce, ge2e", "loss: ge2e, ce"), part
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
        *(CONF / f"{name}.yaml" for name in ("data/singers", "features/mel40", "encoder/lstm", "optimizer/adam")),
        *(path for group in ("loss", "trainer", "callbacks", "scheduler") for path in sorted((CONF / group).iterdir())),
    ],
    ids=lambda path: path.relative_to(CONF).as_posix(),
)
def test_every_setting_is_explained_by_a_comment(path: Path) -> None:
    text = path.read_text().partition("\nhydra:")[0]
    assert [line for line in text.splitlines() if SETTING.match(line) and not SELF_EXPLANATORY.match(line)] == []


def test_the_shell_completes_groups_and_settings(tmp_path: Path) -> None:
    for typed, completed in (
        ("python train.py loss=", "loss=ce loss=ge2e loss=ge2e+ce"),
        ("python train.py data.sing", "data.singers_from= data.singers_per_batch="),
    ):
        assert call_train("-sc", "query=bash", cwd=tmp_path, COMP_LINE=typed).stdout.strip() == completed


def test_a_run_keeps_its_call_its_log_and_prints_its_settings(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    quick = [*tiny(corpus), "trainer.max_steps=1"]
    typed = [*quick, "hydra.run.dir=runs/a"]
    made = call_train(*typed, "print_config=true", "hydra.verbose=[singer_verify.sentinel]", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "gradient_clip_val: 3.0" in made.stdout
    run = tmp_path / "runs/a"
    assert "step 0: val/eer" in (run / "train.log").read_text()
    assert "step 0: val/eer" in made.stdout
    record = yaml.safe_load((run / ".hydra/overrides.yaml").read_text())
    assert set(quick) <= set(record)
    assert yaml.safe_load((run / ".hydra/config.yaml").read_text())["print_config"] is True

    refused = call_train(*quick, "name=a", "seed=99", cwd=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr == "error: runs/a: a run of this name exists; choose another name= or delete the folder.\n"
    assert yaml.safe_load((run / ".hydra/overrides.yaml").read_text()) == record
