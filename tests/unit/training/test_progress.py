"""What a training says: at its start, while it runs, at its end."""

import io
import logging
import shlex
from pathlib import Path
from unittest.mock import Mock

import pytest
import pytorch_lightning as pl
import torch
from rich.console import Console
from rich.progress import Progress
from support.tiny_run import make_corpus, run, tiny

from singer_verify import safe_loading
from singer_verify.runs.settings import find_allowed_changes
from singer_verify.sweeps.callback import format_leaderboard_command
from singer_verify.training.callbacks import progress
from singer_verify.training.callbacks.metric_history import MetricHistory
from singer_verify.training.callbacks.progress import (
    TrainingProgress,
    build_run_summary_table,
    format_count,
    format_metrics,
    list_next_commands,
)


def draw_bar(step: int, num_steps: int, eer: float, loss: float) -> list[str]:
    """Draw the bar of a training on a terminal of 80 columns; returns its lines."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80, color_system=None)
    bar = TrainingProgress()
    bar.is_drawn = True
    trainer, module = Mock(spec=pl.Trainer), Mock(spec=pl.LightningModule)
    trainer.callback_metrics = {"val/eer": torch.tensor(eer)}
    module.training_outputs = {"train/loss": torch.tensor(loss), "train/ge2e": torch.tensor(loss)}
    bar._update_metrics(trainer, module)
    drawn = Progress(*bar.configure_columns(trainer), console=console)
    drawn.update(drawn.add_task("Validation", total=num_steps), completed=step)
    console.print(drawn)
    return screen.getvalue().splitlines()


@pytest.mark.parametrize(("step", "num_steps", "loss"), [(60, 400, 0.0604), (123456, 1000000, 123.456)])
def test_the_bar_takes_one_line_of_80_columns(step: int, num_steps: int, loss: float) -> None:
    (line,) = draw_bar(step, num_steps, 1 / 6, loss)
    assert len(line) <= 80
    assert f"{step}/{num_steps}" in line
    assert line.rstrip().endswith(f"loss {loss:.3f} EER 16.67 %")  # one loss, and the EER as everywhere else


@pytest.mark.parametrize(("mode", "best", "improved"), [("min", 0.2, True), ("min", 0.3, False), ("max", 0.4, True)])
def test_the_best_is_compared_with_the_untrained_network(mode: str, best: float, improved: bool) -> None:
    history = MetricHistory("val/eer", mode)
    history.figures = [{"step": 0, "val/eer": 0.3}]
    assert history.has_improved  # nothing is known yet
    history.figures.append({"step": 10, "val/eer": best})
    assert history.has_improved == improved


def test_an_eer_is_spelt_alike_in_lines_and_table() -> None:
    metrics = {"step": 20.0, "val/eer": 1 / 6, "val/ge2e": 1.5, "val/auc": 0.9, "val/threshold": 0.7, "loss": 0.25}
    assert format_metrics(metrics) == "EER 16.67 %, loss 0.250, val/ge2e 1.500"
    assert format_metrics(metrics, "val/auc") == "EER 16.67 %, loss 0.250, val/ge2e 1.500, val/auc 0.900"
    result = {"untrained": metrics, "best": metrics, "final": None, "num_val_singers": 3, "stopped": "step limit"}
    screen = io.StringIO()
    Console(file=screen, width=80).print(
        build_run_summary_table(result | {"steps": 20, "seconds": 1.0}, Path("runs/a"))
    )
    assert "16.67 % at step 20" in screen.getvalue()


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (812, "812"), (44032, "44 k"), (1437440, "1.44 M")])
def test_numbers_of_parameters_are_short(count: int, text: str) -> None:
    assert format_count(count) == text


def test_a_training_says_what_it_trains_and_how_it_goes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="singer_verify")
    monkeypatch.setattr(progress, "LINE_INTERVAL_S", 0.0)
    callback = TrainingProgress()
    callback.is_drawn = False  # in a file or a pipe
    overrides = [o for o in tiny(make_corpus(tmp_path / "corpus")) if "enable_progress_bar" not in o]
    run(monkeypatch, *overrides, "trainer.max_steps=4", folder=tmp_path / "run", callbacks=(callback,))
    lines = caplog.messages
    (encoder,) = [line for line in lines if line.startswith("encoder: LSTMEncoder")]
    assert "676 parameters; loss: ge2e; Adam; device: cpu" in encoder
    (features,) = [line for line in lines if line.startswith("features: ")]
    assert "5 bins every 10 ms; crops of 0.1 s (10 frames), 4 singers × 2 in a batch; at most 4 steps" in features
    assert [line.partition(":")[0] for line in lines if " of 4: loss" in line] == [
        f"step {n} of 4" for n in (1, 2, 3, 4)
    ]
    assert all("loss " in line for line in lines if line.startswith("step ") and "step 0:" not in line)
    assert sum(" left" in line for line in lines) == 3  # how long a step takes is known after the second


def test_the_end_names_commands_that_can_be_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "my run"
    (folder / "checkpoints").mkdir(parents=True)
    stopped = {"stopped": "step limit", "steps": 400}
    assert [line.split()[0] for line in list_next_commands(stopped, folder)] == ["train"]
    (folder / "checkpoints" / "best.ckpt").touch()
    (folder / "events.out.tfevents.1").touch()
    commands = [shlex.split(line.split("  ")[-1]) for line in list_next_commands(stopped, folder)]
    assert [command[:2] for command in commands[:2]] == [["singer-verify", "verify"], ["singer-verify", "evaluate"]]
    assert ["python", "train.py", "resume=runs/my run", "trainer.max_steps=800"] in commands
    assert commands[-1] == ["tensorboard", "--logdir", "runs/my run"]
    early = list_next_commands(stopped | {"stopped": "no further improvement"}, folder)
    assert not any("resume=" in line for line in early)
    interrupted = list_next_commands(stopped | {"stopped": "interrupted"}, folder)
    assert shlex.split(interrupted[0]) == ["continue", "python", "train.py", "resume=runs/my run"]


def test_the_end_names_packages_that_have_to_be_trusted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(safe_loading, "_trusted_packages", {"my_parts", "listed"})
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "train.yaml").write_text("trust: [listed]\n")  # which every command reads by itself
    (folder := tmp_path / "runs" / "own" / "checkpoints").mkdir(parents=True)
    (folder / "best.ckpt").touch()
    lines = list_next_commands({"stopped": "step limit", "steps": 400}, folder.parent)
    commands = [shlex.split(line.split("  ")[-1]) for line in lines]
    assert len(commands) == 4
    for command in commands:
        assert (
            command[-2:] == ["--trust", "my_parts"] if command[0] == "singer-verify" else "trust=[my_parts]" in command
        )
    assert format_leaderboard_command(Path("runs/a b"), ["my_parts", "listed"]) == (
        "singer-verify leaderboard 'runs/a b' --trust my_parts"
    )


def test_a_job_of_a_sweep_is_not_to_be_trained_longer_than_the_others(tmp_path: Path) -> None:
    assert list_next_commands({"stopped": "step limit", "steps": 400}, tmp_path, is_job=True) == []


def test_refused_settings_have_a_line_each() -> None:
    then = {"seed": 1, "encoder": {"hidden_size": 256}, "loss": {"terms": {"ge2e": 1}}}
    with pytest.raises(Exception, match=r"seed 1 → 2: cannot change while a training continues; leave .* new run\.$"):
        find_allowed_changes(then, then | {"seed": 2})
    with pytest.raises(Exception, match="cannot change while a training continues") as refusal:
        find_allowed_changes(then, then | {"seed": 2, "encoder": {"hidden_size": 64}})
    assert str(refusal.value).splitlines()[1:] == ["  encoder.hidden_size 256 → 64", "  seed 1 → 2"]
