"""What goes wrong outside of us is found, said in one sentence, and costs nothing that was done before."""

import gc
import logging
import os
import subprocess
import sys
import traceback
import warnings
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import pytorch_lightning as pl
import torch
from support.tiny_run import ROOT, At, last_of, make_corpus, run, tiny

from singer_verify.corpora.corpus import read_corpus
from singer_verify.errors import SingerVerifyError
from singer_verify.features.precomputed import read_feat_params
from singer_verify.runs.checkpoints import read_checkpoint
from singer_verify.store import packed
from singer_verify.store.extraction import load_or_compute_store
from singer_verify.training import run as training_run
from singer_verify.training.callbacks.checkpoints import AtomicCheckpointIO
from singer_verify.training.module import Verifier


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus") / "tiny")


@pytest.fixture(scope="module")
def checkpoint(corpus, tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = run(monkeypatch, *tiny(corpus), "trainer.max_steps=1", folder=tmp_path_factory.mktemp("run"))
    return folder / "checkpoints/best.ckpt"


def spoil_loss(monkeypatch, step, value):
    embed = Verifier.embed_crops
    monkeypatch.setattr(
        Verifier,
        "embed_crops",
        lambda self, features: embed(self, features) * (value if self.training and self.global_step == step else 1.0),
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_training(monkeypatch, tmp_path, corpus, value):
    spoil_loss(monkeypatch, 5, value)
    with pytest.raises(SingerVerifyError, match="step 6: loss nan, norm of the gradient nan; the last good") as stop:
        run(monkeypatch, *tiny(corpus), folder=tmp_path)
    last = last_of(tmp_path)
    assert str(tmp_path / "checkpoints/last.ckpt") in str(stop.value)
    assert "train/train0/" in str(stop.value)
    assert str(stop.value).count(".npy") == 8
    assert last["global_step"] == 4
    assert all(weight.isfinite().all() for weight in last["state_dict"].values())


def test_a_worker_that_dies_is_named_with_its_batch(monkeypatch, tmp_path, corpus):
    def kill_worker():
        max(psutil.Process().children(), key=psutil.Process.create_time).kill()

    with pytest.raises(SingerVerifyError, match=r"step \d+: a loader worker died") as death:
        run(
            monkeypatch,
            *tiny(corpus),
            "data.num_workers=1",
            "trainer.max_steps=400",
            "trainer.val_check_interval=400",
            folder=tmp_path,
            callbacks=(At("on_train_batch_end", 3, kill_worker),),
        )
    assert "the batch at hand: train/" in str(death.value)
    close_probe_files(death.value)


def close_probe_files(error):
    """Close what torch had open when a signal interrupted it.

    After a worker's death torch opens temporary files, to find out whether file handles have run out; the signal of the
    death may come between opening one and keeping it. It hangs on the traceback, and the garbage collector would warn
    of it in the middle of a later test.
    """
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        while error is not None:
            traceback.clear_frames(error.__traceback__)
            error = error.__cause__ or error.__context__
        gc.collect()


def test_a_death_that_is_told_twice_is_said_once(monkeypatch):
    """The broken connection is found first, and torch's signal handler interrupts what is made of it."""
    deaths = iter([RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")])

    def words(trainer, step):
        for death in deaths:
            raise death
        return "train/a.npy"

    monkeypatch.setattr(training_run, "format_batch_utterances", words)
    progress = SimpleNamespace(total=SimpleNamespace(ready=3))
    trainer = object.__new__(pl.Trainer)
    trainer._default_root_dir = "run"
    trainer.fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=progress))
    said = training_run.convert_to_user_error(ConnectionResetError("reset by peer"), trainer)
    assert "step 3: a loader worker died (reset by peer)" in str(said)
    assert str(said).endswith("the batch at hand: train/a.npy.")


def test_a_full_disk_leaves_the_checkpoint_before(monkeypatch, tmp_path):
    path = tmp_path / "last.ckpt"
    writer = AtomicCheckpointIO()
    writer.save_checkpoint({"step": 1}, path)
    before = path.read_bytes()

    def half_written(content, part):
        Path(part).write_bytes(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", half_written)
    with pytest.raises(SingerVerifyError, match=r"No space left on device.*; the previous one is still there"):
        writer.save_checkpoint({"step": 2}, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["last.ckpt"]


def same(left, right):
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right


def test_no_flipped_bit_of_a_checkpoint_goes_unnoticed(checkpoint, tmp_path):
    content, whole = checkpoint.read_bytes(), read_checkpoint(checkpoint)
    generator = np.random.default_rng(0)
    num_refused = 0
    for place in generator.choice(len(content), 150, replace=False):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(generator.integers(8))
        (tmp_path / "flipped.ckpt").write_bytes(flipped)
        try:
            assert same(read_checkpoint(tmp_path / "flipped.ckpt"), whole)
        except SingerVerifyError:
            num_refused += 1
    assert num_refused > 50


@pytest.mark.parametrize("part", [0.0, 0.2, 0.7, 0.999])
def test_refuses_a_truncated_checkpoint(checkpoint, tmp_path, part):
    content = checkpoint.read_bytes()
    (tmp_path / "cut.ckpt").write_bytes(content[: int(part * len(content))])
    with pytest.raises(SingerVerifyError, match="is damaged"):
        read_checkpoint(tmp_path / "cut.ckpt")


def open_again(corpus, folder):
    return load_or_compute_store(read_corpus(corpus), "train", read_feat_params(corpus), folder)


@pytest.mark.parametrize("name", ["frames.bin", "index.csv", "store.json"])
@pytest.mark.parametrize("place", [0, 17, -3])
def test_a_damaged_store_is_computed_again_and_said(corpus, tmp_path, caplog, name, place):
    whole = open_again(corpus, tmp_path)
    frames, path = np.array(whole.frames), next(tmp_path.glob("*/")) / name
    damaged = bytearray(path.read_bytes())
    damaged[place] ^= 1
    path.write_bytes(damaged)
    logger = logging.getLogger("singer_verify")
    logger.propagate = True
    with caplog.at_level("WARNING", "singer_verify"):
        again = open_again(corpus, tmp_path)
    assert "Its frames are computed again." in caplog.text
    assert np.array_equal(again.frames, frames)
    assert again.fingerprint == whole.fingerprint


@pytest.mark.slow
def test_an_interrupted_extraction_with_a_damaged_index_is_repaired(corpus, tmp_path):
    frames = np.array(open_again(corpus, tmp_path).frames)
    folder = next(tmp_path.glob("*/"))
    index = (folder / "index.csv").read_bytes()
    for place in range(30, len(index), 7):
        damaged = bytearray(index)
        damaged[place] ^= 2
        (folder / "index.csv").write_bytes(damaged)
        (folder / "store.json").unlink()
        assert np.array_equal(open_again(corpus, tmp_path).frames, frames)
        assert (folder / "index.csv").read_bytes() == index


def test_an_untouched_store_is_not_read_again(corpus, tmp_path, monkeypatch):
    open_again(corpus, tmp_path)
    reads = []
    monkeypatch.setattr(packed.zlib, "crc32", lambda data: reads.append(data) or zlib.crc32(data))
    open_again(corpus, tmp_path)
    assert reads == []


@pytest.mark.slow
def test_the_fault_harness_loses_nothing():
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, str(ROOT / "scripts/fault_test.py"), "--short"]
    outcome = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.slow
def test_memory_stays_flat(monkeypatch, tmp_path, corpus):
    resident = {}

    def remember(step):
        return At("on_train_batch_end", step, lambda: resident.update({step: psutil.Process().memory_info().rss}))

    steps = "trainer.max_steps=3000", "trainer.val_check_interval=3000", "callbacks.last.every_n_steps=500"
    run(monkeypatch, *tiny(corpus), *steps, folder=tmp_path, callbacks=(remember(1000), remember(2990)))
    assert resident[2990] - resident[1000] < 4_000_000
