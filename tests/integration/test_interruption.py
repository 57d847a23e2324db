"""Signals end a training at a whole step; the processes it started are gone when it has ended."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from support.tiny_run import CONF, ROOT, At, last_of, make_corpus, run, tiny

from singer_verify.runs.checkpoints import read_checkpoint
from singer_verify.training.run import train


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus") / "tiny")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_ends_the_training_at_a_whole_step(monkeypatch, tmp_path, corpus, number):
    before = signal.getsignal(number)
    send = At("on_before_zero_grad", 6, lambda: os.kill(os.getpid(), number))
    result = train([*tiny(corpus), f"hydra.run.dir={tmp_path}"], conf=CONF, callbacks=(send,))
    assert last_of(tmp_path)["global_step"] == 6
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["stopped"] == "interrupted"
    assert result.signal == number
    assert "signal" not in metrics
    assert signal.getsignal(number) == before


def test_a_signal_before_the_first_step_leaves_a_run_that_begins_again(monkeypatch, tmp_path, corpus):
    send = At("on_validation_batch_end", 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    run(monkeypatch, *tiny(corpus), "trainer.max_steps=2", folder=tmp_path, callbacks=(send,))
    assert not (tmp_path / "checkpoints/last.ckpt").exists()
    run(monkeypatch, f"resume={tmp_path}")
    assert last_of(tmp_path)["global_step"] == 2


def test_a_second_signal_ends_it_at_once(monkeypatch, tmp_path, corpus):
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch, *tiny(corpus), folder=tmp_path, callbacks=(At("on_train_batch_end", 6, twice),))
    assert last_of(tmp_path)["global_step"] == 4


@pytest.mark.slow
@pytest.mark.parametrize("to_all", [False, True], ids=["to the training", "to its workers too"])
def test_sigterm_from_outside(tmp_path, corpus, to_all):
    """What a scheduler does: a signal to the process, or to it and to all that it started."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    long = "trainer.max_steps=1000000", "data.num_workers=2", f"hydra.run.dir={tmp_path}"
    command = [sys.executable, str(ROOT / "train.py"), *tiny(corpus), *long]
    training = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    wait_for(tmp_path / "checkpoints/best.ckpt")
    family = [psutil.Process(training.pid), *psutil.Process(training.pid).children(recursive=True)]
    for process in family if to_all else family[:1]:
        process.terminate()
    said = training.communicate(timeout=60)[1]
    assert training.returncode == 0, said
    assert "Traceback" not in said
    assert read_checkpoint(tmp_path / "checkpoints/last.ckpt")["global_step"] > 0
    assert json.loads((tmp_path / "metrics.json").read_text())["stopped"] == "interrupted"
    assert not [process for process in family if process.is_running()]


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_with_130_and_says_how_to_go_on(tmp_path, corpus, times):
    """Once: the run is kept, and continued by the command that is printed; twice: it ends at once."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    long = "trainer.max_steps=1000000", "callbacks.early_stopping=null", "name=a run"
    command = [sys.executable, str(ROOT / "train.py"), *tiny(corpus), *long]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    training = subprocess.Popen(command, env=environment, cwd=tmp_path, text=True, **pipes)
    wait_for(tmp_path / "runs/a run/checkpoints/best.ckpt")
    for _ in range(times):
        training.send_signal(signal.SIGINT)
    printed, said = training.communicate(timeout=60)
    assert training.returncode == 130, said
    assert "Traceback" not in said
    (line,) = [line for line in printed.splitlines() if line.startswith("continue")]
    typed = shlex.split(line.removeprefix("continue"))
    assert typed == ["python", "train.py", "resume=runs/a run"]
    if times == 1:
        step = last_of(tmp_path / "runs/a run")["global_step"]
        again = [sys.executable, str(ROOT / "train.py"), *typed[2:], f"trainer.max_steps={step + 1}"]
        subprocess.run(again, env=environment, cwd=tmp_path, check=True, capture_output=True)
        assert last_of(tmp_path / "runs/a run")["global_step"] == step + 1


def wait_for(path: Path) -> None:
    until = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.05)
