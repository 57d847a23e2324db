"""A running mean of the weights: what it is, what is validated and saved, and that a stopped training continues."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from support.resuming import STOPS, stopped_and_continued, unlike
from support.tiny_run import last_of, make_corpus, run, tiny

from singer_verify import evaluate
from singer_verify.errors import SingerVerifyError
from singer_verify.inference import load_model
from singer_verify.runs.checkpoints import Checkpoint
from singer_verify.training.callbacks.weight_averaging import EMAWeights

EMA = ("callbacks=ema", "callbacks.ema.decay=0.75", "~callbacks.progress_bar", "~callbacks.pictures")


def tiny_averaged(corpus: Path) -> list[str]:
    """Overrides of a tiny training that averages; the choice of a group comes first."""
    others = [override for override in tiny(corpus) if not override.startswith("~callbacks")]
    return [*others, *EMA]


class Recorder(pl.Callback):
    """Keep the weights before the first step and after each, and those that each validation uses."""

    def __init__(self) -> None:
        self.started: dict[str, torch.Tensor] = {}
        self.trained: list[dict[str, torch.Tensor]] = []
        self.validated: dict[int, dict[str, torch.Tensor]] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.started = copy_weights(pl_module)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.trained.append(copy_weights(pl_module))

    def on_validation_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.validated[trainer.global_step] = copy_weights(pl_module)


def copy_weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in module.state_dict().items()}


def assert_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor], **tolerance: float) -> None:
    assert left.keys() == right.keys()
    for name, weight in left.items():
        torch.testing.assert_close(weight, right[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus") / "tiny")


@pytest.fixture(scope="module")
def averaged(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recorder]:
    """A whole training, and what was seen of its weights."""
    recorder = Recorder()
    with pytest.MonkeyPatch.context() as monkeypatch:
        settings = (*tiny_averaged(corpus), "freeze=[lstm.0]")
        folder = run(monkeypatch, *settings, folder=tmp_path_factory.mktemp("averaged"), callbacks=(recorder,))
    return folder, recorder


def test_the_mean_is_that_of_the_equation(averaged: tuple[Path, Recorder]) -> None:
    folder, recorder = averaged
    mean = recorder.trained[0]
    means = {1: mean}
    for step, weights in enumerate(recorder.trained[1:], start=2):
        mean = {name: 0.75 * mean[name] + 0.25 * weights[name] for name in mean}
        means[step] = mean
    last = last_of(folder)
    assert_same(last["state_dict"], means[13], rtol=1e-5, atol=1e-7)
    assert_same(last["current_model_state"], recorder.trained[-1], rtol=0.0, atol=0.0)
    for step in (4, 8, 12, 13):
        assert_same(recorder.validated[step], means[step], rtol=1e-5, atol=1e-7)


def test_the_best_model_is_the_one_that_was_validated(averaged: tuple[Path, Recorder], corpus: Path) -> None:
    folder, recorder = averaged
    best = Checkpoint.read(folder)
    assert_same(best.content["state_dict"], recorder.validated[best.step or 0], rtol=0.0, atol=0.0)
    assert not {"current_model_state", "averaging_state"} & set(best.content)
    assert not torch.equal(
        best.content["state_dict"]["encoder.linear.weight"], recorder.trained[0]["encoder.linear.weight"]
    )
    value = evaluate(folder, corpus, "val", conditions="none", num_resamples=20).metrics["eer"].value
    callback = next(state for name, state in last_of(folder)["callbacks"].items() if name.startswith("BestCheckpoint"))
    assert value == pytest.approx(float(callback["best_model_score"]), abs=1e-9)


def test_weights_that_do_not_learn_do_not_change(averaged: tuple[Path, Recorder]) -> None:
    folder, recorder = averaged
    for name, weight in last_of(folder)["state_dict"].items():
        assert torch.equal(weight, recorder.trained[0][name]) == name.endswith("_l0"), name


@pytest.mark.parametrize(
    "stop",
    [
        "in the middle of a validation",
        *(pytest.param(stop, marks=pytest.mark.slow) for stop in STOPS if stop != "in the middle of a validation"),
    ],
)
def test_a_killed_training_continues_exactly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, corpus: Path, averaged: tuple[Path, Recorder], stop: str
) -> None:
    overrides = (*(setting for setting in EMA if "~" not in setting), "freeze=[lstm.0]")
    folder = stopped_and_continued(monkeypatch, tmp_path, stop, corpus, *overrides)
    assert unlike(averaged[0], folder) == []


def test_a_finished_training_continues_with_its_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, corpus: Path, averaged: tuple[Path, Recorder]
) -> None:
    """Not with the mean in their place."""
    settings = (*tiny_averaged(corpus), "freeze=[lstm.0]", "trainer.max_steps=5")
    run(monkeypatch, *settings, folder=tmp_path)
    weights = averaged[1].trained[4]
    assert_same(last_of(tmp_path)["current_model_state"], weights, rtol=0.0, atol=0.0)
    recorder = Recorder()
    run(monkeypatch, f"resume={tmp_path}", "trainer.max_steps=6", callbacks=(recorder,))
    assert_same(recorder.started, weights, rtol=0.0, atol=0.0)


def test_a_training_begins_with_the_mean(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, corpus: Path, averaged: tuple[Path, Recorder]
) -> None:
    last = averaged[0] / "checkpoints/last.ckpt"
    recorder = Recorder()
    settings = (*tiny(corpus), f"init_from={last}", "optimizer.lr=0", "trainer.max_steps=1")
    run(monkeypatch, *settings, folder=tmp_path, callbacks=(recorder,))
    assert_same(recorder.trained[0], last_of(averaged[0])["state_dict"], rtol=0.0, atol=0.0)
    assert load_model(last).fingerprint


def test_another_mean_is_another_training(monkeypatch: pytest.MonkeyPatch, averaged: tuple[Path, Recorder]) -> None:
    with pytest.raises(SingerVerifyError, match=r"callbacks\.ema.decay 0.75 → 0.5: cannot change while a training"):
        run(monkeypatch, f"resume={averaged[0]}", "callbacks=ema", "callbacks.ema.decay=0.5")


@pytest.mark.parametrize("decay", [-0.1, 1.0, 2.0])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(SingerVerifyError, match=r"callbacks.ema.decay=.*: expected a number between 0 and 0.999999"):
        EMAWeights(decay)
