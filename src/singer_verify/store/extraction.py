"""Computing the frames of a corpus split once, in parallel, so that it can be interrupted and continued."""

import csv
import hashlib
import json
import logging
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import torch
from filelock import FileLock, Timeout
from jaxtyping import Float
from rich.progress import track
from torch.utils.data import DataLoader, Dataset, Subset

from singer_verify.audio import load_audio
from singer_verify.corpora.folder import Corpus, Split, Utterance
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features import Feature
from singer_verify.features.ready import Ready, read_ready
from singer_verify.store.packed import (
    FORMAT_VERSION,
    FRAMES_NAME,
    INDEX_COLUMNS,
    INDEX_NAME,
    MANIFEST_NAME,
    PackedStore,
    open_store,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extracted:
    """Frames of one utterance, or why there are none."""

    frames: Float[torch.Tensor, "frames bins"]
    skipped: str = ""


class UtteranceFrames(Dataset[Extracted]):
    """Utterances of a split as frames; an utterance that cannot be used becomes a reason instead of an exception."""

    def __init__(self, root: Path, utterances: tuple[Utterance, ...], feature: Feature, dtype: torch.dtype) -> None:
        self.root, self.utterances, self.feature, self.dtype = root, utterances, feature, dtype

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> Extracted:
        path = self.root / self.utterances[index].path
        try:
            return Extracted(frames_of_file(path, self.feature).to(self.dtype))
        except UtteranceError as error:
            return Extracted(torch.zeros(0, self.feature.num_bins, dtype=self.dtype), str(error))


@torch.inference_mode()
def frames_of_file(path: Path, feature: Feature) -> Float[torch.Tensor, "frames bins"]:
    """Frames of one audio file, or of one `.npy` file where the feature is Ready.

    Raises:
        UtteranceError: the file cannot be used; the sentence begins with its path.
    """
    try:
        if isinstance(feature, Ready):
            return torch.from_numpy(feature.check(read_ready(path)))
        frames = feature(torch.from_numpy(load_audio(path, feature.sample_rate)))
    except UtteranceError as error:
        sentence = str(error)
        raise UtteranceError(sentence if sentence.startswith(str(path)) else f"{path}: {sentence}") from error
    if not frames.isfinite().all():
        raise UtteranceError(f"{path}: its frames hold NaN or infinite values; check the recording.")
    return frames


def store_of(
    corpus: Corpus, split_name: str, feature: Feature, store_root: Path, dtype: str = "float16", num_workers: int = 0
) -> PackedStore:
    """The packed frames of a split: opened if they were computed before, else computed now.

    Interrupted work is continued where it stopped. A second process that wants the same store waits for the first.

    Args:
        corpus: where the utterances are.
        split_name: of the corpus.
        feature: makes the frames.
        store_root: folder of all stores.
        dtype: of the frames on disk, float16 or float32.
        num_workers: processes that decode and compute; 0 does it in this one.

    Raises:
        SingerVerifyError: a singer has no usable utterance left, or the disk is full.
    """
    split = corpus.splits[split_name]
    folder = store_root / f"{corpus.root.resolve().name}-{split_name}-{_store_key(corpus, split, feature, dtype)}"
    dataset = UtteranceFrames(corpus.root, split.utterances, feature, getattr(torch, dtype))
    try:
        if not (folder / MANIFEST_NAME).exists():
            folder.mkdir(parents=True, exist_ok=True)
            with _exclusively(folder):
                if not (folder / MANIFEST_NAME).exists():
                    _extract(dataset, folder, num_workers)
                    _finish(folder, feature, dtype)
    except OSError as error:
        raise SingerVerifyError(
            f"{folder}: cannot be written ({error.strerror or error}); free some space or set data.store_root to "
            f"another disk, and start again: what was done is kept."
        ) from error
    store = open_store(folder)
    _report_skipped(store, split)
    return store


def _store_key(corpus: Corpus, split: Split, feature: Feature, dtype: str) -> str:
    """A hash of the recipe and of the corpus: its place, and each file's path, size and time of change."""
    digest = hashlib.sha256(json.dumps([FORMAT_VERSION, feature.recipe, dtype], sort_keys=True).encode())
    digest.update(str(corpus.root.resolve()).encode())
    for utterance in split.utterances:
        status = os.stat(corpus.root / utterance.path)
        digest.update(f"{utterance.path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


@contextmanager
def _exclusively(folder: Path) -> Iterator[None]:
    lock = FileLock(folder.with_suffix(".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("%s: waiting for another process that is computing these frames.", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _extract(dataset: UtteranceFrames, folder: Path, num_workers: int) -> None:
    """Append frames and index lines, utterance by utterance, to whatever an interrupted extraction left whole."""
    done = _keep_whole_utterances(folder, dataset.feature.num_bins * dataset.dtype.itemsize)
    if done:
        log.info("%s: %d of %d utterances were done before; continuing.", folder, done, len(dataset))
    rest = Subset(dataset, range(done, len(dataset)))
    loader = DataLoader(rest, batch_size=None, num_workers=min(num_workers, len(rest)))
    progress = track(loader, f"Frames of {folder.name.rpartition('-')[0]}")
    with (
        open(folder / FRAMES_NAME, "ab") as frames_file,
        open(folder / INDEX_NAME, "a", encoding="utf-8", errors="surrogateescape", newline="") as index_file,
    ):
        for utterance, extracted in zip(dataset.utterances[done:], progress, strict=True):
            _append(utterance, extracted, frames_file, index_file)


def _append(utterance: Utterance, extracted: Extracted, frames_file: BinaryIO, index_file: TextIO) -> None:
    data = extracted.frames.numpy().tobytes()
    frames_file.write(data)
    frames_file.flush()
    row = (utterance.path, utterance.singer, len(extracted.frames), zlib.crc32(data), extracted.skipped)
    csv.writer(index_file, lineterminator="\n").writerow(row)
    index_file.flush()


def _keep_whole_utterances(folder: Path, bytes_per_frame: int) -> int:
    """Cut both files back to the utterances that are whole in both, and count these."""
    frames_path, index_path = folder / FRAMES_NAME, folder / INDEX_NAME
    frames_path.touch()
    lines = []
    if index_path.exists():
        lines = index_path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")[1:-1]
    whole, end = 0, 0
    with open(frames_path, "r+b") as frames_file:
        for row in csv.reader(lines):
            data = frames_file.read(int(row[2]) * bytes_per_frame)
            if zlib.crc32(data) != int(row[3]):
                break
            whole, end = whole + 1, end + len(data)
        frames_file.truncate(end)
    kept = [",".join(INDEX_COLUMNS), *lines[:whole]]
    index_path.write_text("\n".join(kept) + "\n", encoding="utf-8", errors="surrogateescape")
    return whole


def _finish(folder: Path, feature: Feature, dtype: str) -> None:
    manifest: dict[str, Any] = {
        "version": FORMAT_VERSION,
        "recipe": feature.recipe,
        "dtype": dtype,
        "num_bins": feature.num_bins,
    }
    unfinished = folder / f"{MANIFEST_NAME}.part"
    unfinished.write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    os.replace(unfinished, folder / MANIFEST_NAME)


def _report_skipped(store: PackedStore, split: Split) -> None:
    for reason in store.skipped:
        log.warning("Skipped: %s", reason)
    if store.skipped:
        log.warning("%s: %d of %d utterances skipped.", split.name, len(store.skipped), len(split.utterances))
    if lost := [singer for singer in split.singers if singer not in set(store.singers)]:
        raise SingerVerifyError(
            f"{split.name}: none of the utterances of {', '.join(lost)} can be used (the first: {store.skipped[0]}); "
            f"repair them or delete the singer's folder."
        )
