"""Faults injected into trainings and files, and checks of what survives them."""

import logging
import os
import random
import resource
import runpy
import shutil
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from singer_verify.corpora.corpus import read_corpus
from singer_verify.errors import SingerVerifyError
from singer_verify.export.onnx_check import synthesise_voice
from singer_verify.features.mel import MelSpectrogram
from singer_verify.inference import load_model
from singer_verify.runs import checkpoints
from singer_verify.runs.folder import LAST_CHECKPOINT, RUN_FILENAME
from singer_verify.store import extraction
from singer_verify.training.callbacks import checkpoints as training_checkpoints
from singer_verify.training.module import Verifier

TRAIN = Path(__file__).parents[1] / "train.py"
SETTINGS = [
    "encoder.hidden_size=8",
    "encoder.num_layers=2",
    "encoder.embedding_size=4",
    "encoder.dropout=0.2",
    "loss=ge2e+ce",
    "data.num_frames=20",
    "data.singers_per_batch=4",
    "data.utterances_per_singer=2",
    "data.num_val_batches=2",
    "data.num_workers=0",
    "data.num_extraction_workers=0",
    "trainer.max_steps=20",
    "trainer.val_check_interval=6",
    "trainer.accelerator=cpu",
    "callbacks.last.every_n_steps=4",
]
# The moments at which a training is killed: function to interrupt, and how often a training calls it.
MOMENTS: dict[str, tuple[Any, str, int]] = {
    "computing features": (extraction, "_append_utterance", 18),
    "training": (Verifier, "training_step", 20),
    "validating": (Verifier, "validation_step", 15),
    "writing a checkpoint": (training_checkpoints.AtomicCheckpointIO, "save_checkpoint", 9),
}
MAX_DELAY_S = 0.01  # from the call to the kill; about the duration of these functions
MAX_FILE_BYTES = 4096  # smaller than any file of a run

Outcome = str
SURVIVED, HARMLESS, LOST = "survived", "harmless", "LOST"


def train(overrides: list[str], log: Path, before: Callable[[], None] = lambda: None) -> int:
    """Run `train.py` in a fork of this process, whose libraries are already loaded; return its exit status.

    Args:
        overrides: of the command line.
        log: file that the output is appended to.
        before: called in the child before training.
    """
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        before()
        sys.argv = [str(TRAIN), *overrides]
        runpy.run_path(str(TRAIN), run_name="__main__")
        status = 0
    except SystemExit as end:
        status = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def inject_at_call(owner: Any, name: str, count: int, action: Callable[[], None]) -> Callable[[], None]:
    """Return a function that makes the `count`-th call of `owner.name` in this process perform an action first."""

    def prepare() -> None:
        function, calls = getattr(owner, name), Counter[str]()

        def counted(*arguments: Any, **named: Any) -> Any:
            calls[name] += 1
            if calls[name] == count:
                action()
            return function(*arguments, **named)

        setattr(owner, name, counted)

    return prepare


def kill_after(delay_s: float) -> Callable[[], None]:
    """Return a function that kills this process (SIGKILL) after a delay."""
    return lambda: threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGKILL)).start()


def fill_disk() -> None:
    """Simulate a full disk by limiting the size of files."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))


def write_corpus(root: Path) -> Path:
    """Write a tiny corpus of synthetic voices, and return its root."""
    for split, num_singers in (("train", 4), ("val", 2)):
        for singer in range(num_singers):
            folder = root / split / f"{split}{singer}"
            folder.mkdir(parents=True)
            for utterance in range(3):
                samples = synthesise_voice(9600, 16000, seed=100 * num_singers + 10 * singer + utterance)
                soundfile.write(folder / f"{utterance}.flac", samples, 16000)
    return root


def read_weights(run: Path) -> dict[str, torch.Tensor]:
    """Read the weights of a run's last checkpoint."""
    return checkpoints.read_checkpoint(run / LAST_CHECKPOINT)["state_dict"]


def is_same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    """Return whether two sets of weights are equal to the bit."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def stop_and_resume(folder: Path, corpus: Path, whole: Path, before: Callable[[], None], expected: int) -> Outcome:
    """Stop a training once, run it to its end, and compare its weights with those of an uninterrupted run.

    It is resumed if its run had begun, otherwise started again.

    Args:
        folder: to create, for the run and its store.
        corpus: root of the corpus.
        whole: folder of the uninterrupted run.
        before: injects the fault.
        expected: exit status of the stopped training.
    """
    folder.mkdir()
    command = [*SETTINGS, f"data.root={corpus}", f"data.store_root={folder / 'store'}"]
    run, log = folder / "run", folder / "log"
    if train([*command, f"hydra.run.dir={run}"], log, before) != expected:
        return LOST
    continuation = [f"resume={run}"] if (run / RUN_FILENAME).exists() else [*command, f"hydra.run.dir={run}"]
    if train(continuation, log) != 0 or "Traceback" in log.read_text():
        return LOST
    return SURVIVED if is_same(read_weights(run), read_weights(whole)) else LOST


def damage(path: Path, dice: random.Random) -> None:
    """Truncate a file at a random position, or flip one of its bits."""
    content = bytearray(path.read_bytes())
    position = dice.randrange(len(content))
    if dice.random() < 0.3:
        del content[position:]
    else:
        content[position] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


def try_damaged_checkpoint(original: Path, copy: Path, recording: Path, dice: random.Random) -> Outcome:
    """Damage a copy of a checkpoint, and check that loading it fails or gives the same embedding."""
    before = load_model(original).embed(recording)
    shutil.copyfile(original, copy)
    damage(copy, dice)
    try:
        after = load_model(copy).embed(recording)
    except SingerVerifyError:
        return SURVIVED
    return HARMLESS if np.array_equal(before, after) else LOST


def try_damaged_store(name: str, folder: Path, corpus: Path, dice: random.Random) -> Outcome:
    """Damage one file of a finished store, and check that opening it again gives the same frames."""
    table = read_corpus(corpus)
    whole = extraction.load_or_compute_store(table, "train", MelSpectrogram(40), folder)
    frames = np.array(whole.frames)
    store_folder = next(path for path in folder.iterdir() if path.is_dir())
    damage(store_folder / name, dice)
    messages: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("singer_verify").addHandler(handler)
    store = extraction.load_or_compute_store(table, "train", MelSpectrogram(40), folder)
    logging.getLogger("singer_verify").removeHandler(handler)
    same = np.array_equal(store.frames, frames) and store.fingerprint == whole.fingerprint
    if not same:
        return LOST
    return SURVIVED if any("computed again" in message for message in messages) else HARMLESS
