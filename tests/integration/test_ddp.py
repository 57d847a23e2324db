"""Several processes that train one model do what one process does with the batches of all of them."""

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing
from pytorch_lightning.strategies import DDPStrategy
from support.tiny_run import ROOT, make_corpus, tiny
from torch.nn.parallel import DistributedDataParallel

from singer_verify.data.batches import SingerBatch, SingerBatchDataset
from singer_verify.data.sampler import SingerSampler
from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.losses.angular_prototypical import AngularPrototypicalLoss
from singer_verify.losses.classification import ClassificationLoss
from singer_verify.losses.ge2e import GE2ELoss
from singer_verify.losses.margin_softmax import AAMSoftmaxLoss, AMSoftmaxLoss
from singer_verify.losses.supervised_contrastive import SupervisedContrastiveLoss
from singer_verify.losses.weighted import WeightedLoss
from singer_verify.store.packed import PackedStore
from singer_verify.training.module import Verifier, WindowEmbeddings

NUM_SINGERS = 8


class LossOfVerifier(torch.nn.Module):
    """A verifier's training loss with an encoder and both losses."""

    def __init__(self, num_ranks: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        encoder = LSTMEncoder(num_bins=5, hidden_size=6, num_layers=1, embedding_size=4)
        terms = {
            "ge2e": GE2ELoss(),
            "ce": ClassificationLoss(NUM_SINGERS, 4),
            "am": AMSoftmaxLoss(NUM_SINGERS, 4),
            "aam": AAMSoftmaxLoss(NUM_SINGERS, 4, num_subcentres=2),
            "angular": AngularPrototypicalLoss(),
            "supcon": SupervisedContrastiveLoss(),
        }
        self.verifier = Verifier(encoder, WeightedLoss(terms, dict.fromkeys(terms, 1.0), gather=True))
        self.verifier.trainer = SimpleNamespace(world_size=num_ranks, strategy=DDPStrategy())

    def forward(self, features: torch.Tensor, singers: torch.Tensor) -> torch.Tensor:
        return self.verifier.compute_loss(SingerBatch(features, singers))["loss"]


def one_step(model: torch.nn.Module, features: torch.Tensor, singers: torch.Tensor) -> dict[str, torch.Tensor]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    model(features, singers).backward()
    optimizer.step()
    return {name.removeprefix("module."): weight for name, weight in model.state_dict().items()}


def features_of_all() -> torch.Tensor:
    return torch.randn(NUM_SINGERS, 3, 12, 5, generator=torch.Generator().manual_seed(1))


def gather_windows(num_groups: int, rank: int, num_ranks: int = 2) -> torch.Tensor:
    """Deal out groups of two windows, of utterances 0, 1 and 2 by turns, to the ranks; return the utterances' means."""
    windows = torch.randn(num_groups, 2, 4, generator=torch.Generator().manual_seed(2))
    utterances = torch.arange(2 * num_groups).reshape(num_groups, 2) % 3
    metric = WindowEmbeddings()
    for group in range(rank, num_groups, num_ranks):
        metric.update(windows[group], utterances[group], group)
    return metric.compute_gathered(embedding_size=4)


def compute_running_mean(features: torch.Tensor, num_ranks: int) -> torch.Tensor:
    """Run a batch through a verifier whose encoder is a BatchNorm; return its running mean after the backward pass."""
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(12 * 5))
    verifier = Verifier(encoder, WeightedLoss({"ge2e": GE2ELoss()}, {"ge2e": 1.0}))
    verifier.trainer = SimpleNamespace(world_size=num_ranks, strategy=DDPStrategy())
    verifier.embed_crops(features).sum().backward()
    verifier.on_after_backward()
    return encoder[1].running_mean


def step_on_rank(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    part = slice(rank * NUM_SINGERS // 2, (rank + 1) * NUM_SINGERS // 2)
    model = DistributedDataParallel(LossOfVerifier(2))
    weights = one_step(model, features_of_all()[part], torch.arange(NUM_SINGERS)[part])
    embeddings = [gather_windows(num_groups, rank) for num_groups in (3, 1)]
    running_mean = compute_running_mean(features_of_all()[part], 2)
    torch.save({"weights": weights, "embeddings": embeddings, "running_mean": running_mean}, folder / f"rank{rank}")
    del model  # before the group: were its reducer the group's last owner, it would wait for a thread that waits for it
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    multiprocessing.set_forkserver_preload(["singer_verify.training.module"])  # imported once, not once a rank
    torch.multiprocessing.start_processes(step_on_rank, (folder,), nprocs=2, start_method="forkserver")
    return [torch.load(folder / f"rank{rank}", weights_only=True) for rank in range(2)]


def test_a_step_of_two_ranks_with_gather_is_the_step_of_one(two_ranks):
    alone = one_step(LossOfVerifier(1), features_of_all(), torch.arange(NUM_SINGERS))
    untrained = LossOfVerifier(1).state_dict()
    for rank in two_ranks:
        for name, weight in alone.items():
            assert torch.allclose(rank["weights"][name], weight, atol=1e-5, rtol=0), name
    assert not torch.allclose(
        alone["verifier.encoder.linear.weight"], untrained["verifier.encoder.linear.weight"], atol=1e-4
    )


def test_running_statistics_are_averaged_over_ranks(two_ranks):
    halves = [compute_running_mean(half, 1) for half in features_of_all().split(NUM_SINGERS // 2)]
    assert not torch.allclose(*halves)
    for rank in two_ranks:
        assert torch.allclose(rank["running_mean"], sum(halves) / 2, atol=1e-6)
    assert torch.equal(two_ranks[0]["running_mean"], two_ranks[1]["running_mean"])


@pytest.mark.parametrize(("index", "num_groups"), [(0, 3), (1, 1)])  # of one group, a rank has none
def test_windows_that_were_dealt_out_give_the_embeddings_of_one_process(two_ranks, index, num_groups):
    alone = gather_windows(num_groups, 0, num_ranks=1)
    for rank in two_ranks:
        assert torch.equal(rank["embeddings"][index], alone)


def test_ranks_take_the_parts_of_one_batch():
    num_frames, singer_index = np.full(12, 9), np.repeat(np.arange(6), 2)
    frames = np.arange(12 * 9 * 2, dtype=np.float32).reshape(-1, 2)
    offsets = np.concatenate([[0], num_frames.cumsum()])
    store = PackedStore(frames, offsets, singer_index, tuple("abcdef"), np.arange(12).astype(object), {})
    sampler = SingerSampler(singer_index, num_frames, 4, 2, 5, seed=3)
    for step in range(4):
        whole = SingerBatchDataset(store, sampler, 10)[step]
        parts = [SingerBatchDataset(store, sampler, 10, rank, 2)[step] for rank in range(2)]
        assert torch.equal(torch.cat([part.features for part in parts]), whole.features)
        assert torch.equal(torch.cat([part.singers for part in parts]), whole.singers)


def test_bf16_leaves_similarities_and_loss_in_float32():
    trained = LossOfVerifier(1).verifier
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = trained.encoder(features_of_all().flatten(0, 1)).unflatten(0, (NUM_SINGERS, 3))
        outputs = trained.loss(embeddings.bfloat16(), torch.arange(NUM_SINGERS))
    assert all(value.dtype == torch.float32 for value in outputs.values())
    expected = trained.loss(embeddings.bfloat16().float(), torch.arange(NUM_SINGERS))
    assert torch.equal(outputs["loss"], expected["loss"])


def test_bf16_leaves_the_losses_of_a_validation_in_float32():
    validated, logged = LossOfVerifier(1).verifier, {}
    validated.log = lambda name, value, **_: logged.update({name: value})
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        validated.validation_step(SingerBatch(features_of_all(), torch.arange(NUM_SINGERS)), 0)
        embeddings = validated.embed_crops(features_of_all()).float()
    assert set(logged) == {"val/ge2e", "val/angular", "val/supcon"}
    for name, value in logged.items():
        term = name.removeprefix("val/")
        assert torch.equal(value, validated.loss.terms[term](embeddings, torch.arange(NUM_SINGERS))[term])


def run_train(*overrides: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "train.py"), *overrides]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_two_processes_train_from_the_command_line(tmp_path):
    corpus = make_corpus(tmp_path / "corpus")
    same = *tiny(corpus), "loss.gather=true", "encoder.dropout=0", "trainer.max_steps=6"
    two = "trainer=ddp", "trainer.devices=2"
    both = run_train(*same, *two, f"hydra.run.dir={tmp_path / 'both'}")
    alone = run_train(*same, f"hydra.run.dir={tmp_path / 'alone'}")
    assert both.returncode == 0, both.stderr
    assert alone.returncode == 0, alone.stderr
    figures = [json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("both", "alone")]
    assert figures[0]["untrained"] == pytest.approx(figures[1]["untrained"], abs=1e-6)
    assert figures[0]["final"] == pytest.approx(figures[1]["final"], abs=1e-4)
    weights = [
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("both", "alone")
    ]
    assert all(torch.allclose(weights[0][name], weights[1][name], atol=1e-4) for name in weights[0])
    again = run_train(f"resume={tmp_path / 'both'}", "trainer=default", "trainer.devices=1", "trainer.max_steps=8")
    assert again.returncode == 0, again.stderr
    assert "trainer.devices 2 → 1" in " ".join((tmp_path / "both/train.log").read_text().split())


@pytest.mark.slow
def test_refuses_a_batch_that_cannot_be_divided(tmp_path):
    corpus = make_corpus(tmp_path / "corpus")
    odd = "trainer=ddp", "trainer.devices=2", "data.singers_per_batch=3", f"hydra.run.dir={tmp_path / 'odd'}"
    refused = run_train(*tiny(corpus), *odd)
    assert refused.returncode != 0
    assert "data.singers_per_batch=3: cannot be divided among 2 devices; expected a multiple of 2." in refused.stderr
    assert "Traceback" not in refused.stderr
