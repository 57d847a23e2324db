"""On a GPU: training steps that are replayed as CUDA graphs are those of the encoder itself."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from support.tiny_run import make_corpus, run, tiny
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from singer_verify.data.batches import SingerBatch
from singer_verify.encoders.ecapa import EcapaEncoder
from singer_verify.encoders.encoder import freeze
from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.errors import SingerVerifyError
from singer_verify.losses.classification import ClassificationLoss
from singer_verify.losses.ge2e import GE2ELoss
from singer_verify.losses.weighted import WeightedLoss
from singer_verify.training.module import Verifier

pytestmark = pytest.mark.gpu

NUM_BINS, NUM_SINGERS, EMBEDDING_SIZE = 12, 6, 16


class RandomBatches(Dataset[SingerBatch]):
    """Batches of random frames, in the precision of a store; the numbers of `odd` have a singer less."""

    def __init__(self, num_batches: int, odd: tuple[int, ...] = ()) -> None:
        self.num_batches, self.odd = num_batches, odd

    def __len__(self) -> int:
        return self.num_batches

    def __getitem__(self, step: int) -> SingerBatch:
        generator = torch.Generator().manual_seed(step)
        num_singers = NUM_SINGERS - 1 if step in self.odd else NUM_SINGERS
        features = torch.rand(num_singers, 4, 30, NUM_BINS, generator=generator)
        return SingerBatch(features.half(), torch.arange(num_singers))


class Record(pl.Callback):
    """Collect the loss of every step, and refuse any wait for the GPU after the first steps where asked to."""

    def __init__(self, refuse_waiting_from: int | None = None) -> None:
        self.losses: list[Tensor] = []
        self.has_graph = False
        self.refuse_waiting_from = refuse_waiting_from

    def on_train_batch_start(self, trainer: pl.Trainer, module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == self.refuse_waiting_from:
            torch.cuda.set_sync_debug_mode("error")

    def on_train_batch_end(self, trainer: pl.Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(outputs["loss"].detach().clone())

    def on_train_end(self, trainer: pl.Trainer, module: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")
        self.has_graph = module.graphed_encoder.captured is not None  # given up afterwards

    def on_exception(self, *_: Any) -> None:
        torch.cuda.set_sync_debug_mode("default")


def build_lstm(dropout: float = 0.0, **settings: Any) -> LSTMEncoder:
    return LSTMEncoder(NUM_BINS, 32, 3, EMBEDDING_SIZE, dropout=dropout, relu=False, **settings)


def build_loss(names: str) -> WeightedLoss:
    terms: dict[str, nn.Module] = {"ge2e": GE2ELoss(), "ce": ClassificationLoss(NUM_SINGERS, EMBEDDING_SIZE)}
    chosen = {name: terms[name] for name in names.split("+")}
    return WeightedLoss(chosen, dict.fromkeys(chosen, 1.0))


def train(
    encoder: nn.Module,
    cuda_graph: bool | str,
    names: str = "ge2e",
    odd: tuple[int, ...] = (),
    refuse_waiting_from: int | None = None,
    num_steps: int = 50,
    **trainer_settings: Any,
) -> tuple[Tensor, dict[str, Tensor], bool]:
    """Train for some steps; returns the losses, the weights, and whether graphs were replayed."""
    pl.seed_everything(5, verbose=False)
    verifier = Verifier(encoder, build_loss(names), partial(torch.optim.Adam, lr=1e-3), cuda_graph=cuda_graph)
    record = Record(refuse_waiting_from)
    trainer = pl.Trainer(
        max_steps=num_steps,
        accelerator="gpu",
        devices=1,
        gradient_clip_val=1.0,
        callbacks=[record],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"log_every_n_steps": 10} | trainer_settings,
    )
    num_batches = num_steps * trainer.accumulate_grad_batches
    loader = DataLoader(RandomBatches(num_batches, odd), batch_size=None, num_workers=1, pin_memory=True)
    trainer.fit(verifier, loader)
    state = {name: value.detach().cpu().clone() for name, value in verifier.state_dict().items()}
    return torch.stack(record.losses).cpu(), state, record.has_graph


def require_equal_trainings(encoder: nn.Module, state: dict[str, Tensor], num_steps: int = 50, **settings: Any) -> None:
    """Train twice from the same weights, with and without graphs, and compare losses and weights."""
    results = {}
    for cuda_graph in (False, True):
        encoder.load_state_dict(state)
        results[cuda_graph] = train(encoder, cuda_graph, num_steps=num_steps, **settings)
    eager, graphed = results[False], results[True]
    assert (eager[2], graphed[2]) == (False, True)
    torch.testing.assert_close(graphed[0], eager[0], rtol=1e-6, atol=1e-6)
    for name, value in eager[1].items():
        torch.testing.assert_close(graphed[1][name], value, rtol=1e-6, atol=1e-6)


def copy_state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("names", ["ge2e", "ce", "ge2e+ce"])
def test_fifty_steps_are_those_of_the_encoder_itself(names: str, dropout: float) -> None:
    encoder = build_lstm(dropout)
    require_equal_trainings(encoder, copy_state(encoder), names=names)


@pytest.mark.parametrize(
    "settings",
    [
        {"accumulate_grad_batches": 3},
        {"precision": "bf16-mixed"},
        {"precision": "16-mixed"},
        {"gradient_clip_val": None},
        {"odd": (4, 7)},
    ],
    ids=str,
)
def test_other_settings_change_nothing_of_it(settings: dict[str, Any]) -> None:
    encoder = build_lstm(0.3, bidirectional=True)
    settings = {"num_steps": 12, **settings}
    if settings.get("gradient_clip_val", 0) is None:
        encoder = build_lstm(pooling="attention")
    require_equal_trainings(encoder, copy_state(encoder), **{k: v for k, v in settings.items() if v is not None})


def test_frozen_parts_are_the_same() -> None:
    encoder = build_lstm(0.3)
    freeze(encoder, ["lstm.0"])
    before = copy_state(encoder)
    require_equal_trainings(encoder, before, num_steps=12)
    assert torch.equal(encoder.lstm.weight_hh_l0.cpu(), before["lstm.weight_hh_l0"].cpu())


def test_running_statistics_are_the_same() -> None:
    """Up to the order in which convolutions sum, which differs from one training to the next."""
    encoder = EcapaEncoder(NUM_BINS, channels=16, embedding_size=EMBEDDING_SIZE)
    before, states = copy_state(encoder), []
    for cuda_graph in (False, False, True):
        encoder.load_state_dict(before)
        states.append(train(encoder, cuda_graph, num_steps=6)[1])
    for name, value in states[0].items():
        scale = value.float().abs().max().clamp(min=1e-3)
        noise, change = ((state[name] - value).float().abs().max() / scale for state in states[1:])
        assert change <= 1e-4 + 10 * noise, name


def test_no_step_waits_for_the_gpu() -> None:
    losses, _, has_graph = train(build_lstm(0.3), "auto", num_steps=20, refuse_waiting_from=5, log_every_n_steps=1000)
    assert has_graph
    assert losses.isfinite().all()


def test_a_stopped_training_continues_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    settings = [*tiny(corpus), "trainer.accelerator=gpu", "trainer.devices=1", "encoder.dropout=0.3", "loss=ge2e+ce"]
    whole = run(monkeypatch, *settings, folder=tmp_path / "whole")
    stopped = run(monkeypatch, *settings, "trainer.max_steps=6", folder=tmp_path / "stopped")
    run(monkeypatch, *settings, f"resume={stopped}", folder=stopped)
    expected, found = (
        torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"] for folder in (whole, stopped)
    )
    assert all(torch.equal(found[name], value) for name, value in expected.items())


class SpoilBatch(pl.Callback):
    """Make the frames of a batch not a number."""

    def on_train_batch_start(self, trainer: pl.Trainer, module: Any, batch: SingerBatch, batch_idx: int) -> None:
        if batch_idx == 5:
            batch.features.fill_(float("nan"))


def test_a_loss_that_is_not_finite_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although it is read later, the step and its batch are named, and no checkpoint follows from it."""
    corpus, folder = make_corpus(tmp_path / "corpus"), tmp_path / "run"
    settings = [*tiny(corpus), "trainer.accelerator=gpu", "trainer.devices=1", "trainer.val_check_interval=8"]
    message = r"step 6: loss nan, .*look at the recordings of this batch.*train/train0/"
    with pytest.raises(SingerVerifyError, match=message):
        run(monkeypatch, *settings, "callbacks.last.every_n_steps=4", folder=folder, callbacks=(SpoilBatch(),))
    last = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] == 4
    assert all(weight.isfinite().all() for weight in last["state_dict"].values())


def test_workers_of_a_later_training_can_end() -> None:
    """A process that inherits a graph cannot."""
    for _ in range(2):
        losses, _, has_graph = train(build_lstm(), "auto", num_steps=3)
        assert has_graph
        assert losses.isfinite().all()


class Waiting(nn.Module):
    """An encoder of a user's, whose Python code looks at its frames."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding_size, self.linear = EMBEDDING_SIZE, nn.Linear(NUM_BINS, EMBEDDING_SIZE)
        self.settings = {"_target_": f"{__name__}.Waiting"}

    def forward(self, frames: Tensor) -> Tensor:
        scale = 1.0 if frames.mean().item() > 0 else 2.0
        return nn.functional.normalize(scale * self.linear(frames.mean(dim=1)), dim=1)


def test_an_encoder_that_cannot_be_captured_trains_by_itself_or_is_refused() -> None:
    losses, _, has_graph = train(Waiting(), "auto", num_steps=3)
    assert losses.isfinite().all()
    assert not has_graph
    with pytest.raises(SingerVerifyError, match=r"trainer.cuda_graph=true: Waiting cannot be captured"):
        train(Waiting(), True, num_steps=3)
    assert train(build_lstm(), "auto", num_steps=3)[0].isfinite().all()  # the device is as it was
