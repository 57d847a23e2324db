"""Extraction of the frames of a corpus split, once, in parallel, interruptible at any moment."""

import csv
import hashlib
import json
import logging
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import torch
from filelock import FileLock, Timeout
from jaxtyping import Float, Num
from rich.progress import track
from torch.utils.data import DataLoader, Dataset, Subset

from singer_verify.atomic_files import atomic_write_many
from singer_verify.audio import load_audio
from singer_verify.corpora.corpus import Corpus, Split, Utterance
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.feature import Feature
from singer_verify.features.precomputed import PrecomputedFeature, read_precomputed_frames
from singer_verify.features.recipe import describe_recipe_code
from singer_verify.store.packed import (
    FORMAT_VERSION,
    FRAMES_NAME,
    INDEX_COLUMNS,
    INDEX_NAME,
    MANIFEST_NAME,
    VERIFIED_NAME,
    PackedStore,
    StoreDamageError,
    iter_file_states,
    open_store,
    seal_manifest,
)
from singer_verify.worker_processes import choose_start_method, is_worker_death

log = logging.getLogger(__name__)
MAX_LOGGED_SKIPS = 20  # number of skipped utterances named in the log


@torch.inference_mode()
def extract_frames(path: Path, feature: Feature) -> Float[torch.Tensor, "frames bins"]:
    """Compute the frames of an audio file, or read them from an `.npy` file of precomputed features.

    Raises:
        UtteranceError: the file cannot be used; the message starts with its path.
    """
    try:
        if isinstance(feature, PrecomputedFeature):
            return torch.from_numpy(feature.check_frames_fit(read_precomputed_frames(path)))
        frames = feature(torch.from_numpy(load_audio(path, feature.sample_rate, feature.bandwidth_hz)))
    except UtteranceError as error:
        message = str(error)
        raise UtteranceError(message if message.startswith(str(path)) else f"{path}: {message}") from error
    if not frames.isfinite().all():
        raise UtteranceError(f"{path}: its frames contain NaN or infinite values; check the recording.")
    return frames


@dataclass(frozen=True)
class ExtractedFrames:
    """The frames of one utterance, or the reason for skipping it."""

    frames: Num[torch.Tensor, "frames bins"]
    skipped: str = ""


class UtteranceFrameDataset(Dataset[ExtractedFrames]):
    """The utterances of a split as frames; an unusable utterance yields a reason instead of an exception."""

    def __init__(self, root: Path, utterances: tuple[Utterance, ...], feature: Feature, dtype: torch.dtype) -> None:
        self.root, self.utterances, self.feature, self.dtype = root, utterances, feature, dtype

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> ExtractedFrames:
        path = self.root / self.utterances[index].path
        try:
            return ExtractedFrames(extract_frames(path, self.feature).to(self.dtype))
        except UtteranceError as error:
            return ExtractedFrames(torch.zeros(0, self.feature.num_bins, dtype=self.dtype), str(error))


def load_or_compute_store(
    corpus: Corpus, split_name: str, feature: Feature, store_root: Path, dtype: str = "float16", num_workers: int = 0
) -> PackedStore:
    """Open the packed frames of a split if they were computed before, otherwise compute them.

    Interrupted work is continued where it stopped. A second process that wants the same store waits for the first. A
    damaged store is reported and computed again.

    Args:
        corpus: corpus that contains the split.
        split_name: name of the split.
        feature: feature that computes the frames.
        store_root: folder of all stores.
        dtype: data type of the frames on disk, float16 or float32.
        num_workers: number of extraction processes; 0 extracts in this process.

    Raises:
        SingerVerifyError: a singer has no usable utterance left, the disk is full, or a process that computes died.
    """
    split = corpus.splits[split_name]
    key = _compute_store_key(corpus, split, feature, dtype)
    folder = store_root / f"{corpus.root.resolve().name}-{split_name}-{key}"
    dataset = UtteranceFrameDataset(corpus.root, split.utterances, feature, getattr(torch, dtype))
    try:
        store = _open_finished_store(folder) or _compute_store(dataset, folder, dtype, num_workers)
    except OSError as error:
        raise SingerVerifyError(
            f"{folder}: cannot be written ({error.strerror or error}); free some space or set data.store_root to "
            f"another disk, and start again: what was done is kept."
        ) from error
    _report_skipped_utterances(store, split)
    return store


def _open_finished_store(folder: Path) -> PackedStore | None:
    """Open a finished store; return None if it is unfinished, or damaged, which is logged."""
    if not (folder / MANIFEST_NAME).exists():
        return None
    try:
        return open_store(folder)
    except StoreDamageError as damage:
        log.warning("%s Its frames are computed again.", str(damage).replace("; delete the folder to rebuild it", ""))
        return None


def _compute_store(dataset: UtteranceFrameDataset, folder: Path, dtype: str, num_workers: int) -> PackedStore:
    folder.mkdir(parents=True, exist_ok=True)
    with _lock_store(folder):
        if (folder / MANIFEST_NAME).exists():
            try:
                return open_store(folder)  # another process has finished it meanwhile
            except StoreDamageError:
                # Unlinked, not overwritten: whoever has mapped the old frames keeps them.
                for name in (MANIFEST_NAME, VERIFIED_NAME, INDEX_NAME, FRAMES_NAME):
                    (folder / name).unlink(missing_ok=True)
        _extract_utterances(dataset, folder, num_workers)
        _write_manifest(folder, dataset.feature, dtype)
        return open_store(folder)


def _compute_store_key(corpus: Corpus, split: Split, feature: Feature, dtype: str) -> str:
    """Hash a recipe's settings and code, and a corpus: its folder, and each file's path, size and modification time."""
    recipe = feature.recipe
    settings = [FORMAT_VERSION, recipe, describe_recipe_code(recipe), dtype]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update(str(corpus.root.resolve()).encode(errors="surrogateescape"))
    for state in iter_file_states(corpus.root, split.utterances):
        digest.update(state)
    return digest.hexdigest()[:16]


@contextmanager
def _lock_store(folder: Path) -> Iterator[None]:
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


def _extract_utterances(dataset: UtteranceFrameDataset, folder: Path, num_workers: int) -> None:
    """Append frames and index lines, utterance by utterance, to whatever an interrupted extraction left whole."""
    bytes_per_frame = dataset.feature.num_bins * dataset.dtype.itemsize
    done = truncate_to_complete_utterances(folder, dataset.utterances, bytes_per_frame)
    if done:
        log.info("%s: %d of %d utterances were done before; continuing.", folder, done, len(dataset))
    rest = Subset(dataset, range(done, len(dataset)))
    num_workers = min(num_workers, len(rest))
    loader = DataLoader(
        rest, batch_size=None, num_workers=num_workers, multiprocessing_context=choose_start_method(num_workers)
    )
    progress = track(loader, f"Frames of {folder.name.rpartition('-')[0]}")
    with (
        open(folder / FRAMES_NAME, "ab") as frames_file,
        open(folder / INDEX_NAME, "a", encoding="utf-8", errors="surrogateescape", newline="") as index_file,
    ):
        try:
            for utterance, extracted in zip(dataset.utterances[done:], progress, strict=True):
                _append_utterance(utterance, extracted, frames_file, index_file)
                done += 1
        except (RuntimeError, ConnectionError, EOFError) as error:
            if not is_worker_death(error):
                raise
            raise SingerVerifyError(
                f"{dataset.root / dataset.utterances[done].path}: a process that computed frames died at or after this "
                f"utterance ({error}); start again, with a smaller data.num_extraction_workers if memory ran out: what "
                f"was done is kept."
            ) from error


def _append_utterance(
    utterance: Utterance, extracted: ExtractedFrames, frames_file: BinaryIO, index_file: TextIO
) -> None:
    data = extracted.frames.numpy().tobytes()
    frames_file.write(data)
    frames_file.flush()
    row = (utterance.path, utterance.singer, len(extracted.frames), zlib.crc32(data), extracted.skipped)
    csv.writer(index_file, lineterminator="\n").writerow(row)
    index_file.flush()


def _write_manifest(folder: Path, feature: Feature, dtype: str) -> None:
    manifest: dict[str, Any] = {
        "version": FORMAT_VERSION,
        "recipe": feature.recipe,
        "dtype": dtype,
        "num_bins": feature.num_bins,
    }
    with atomic_write_many(folder / MANIFEST_NAME) as (part,):
        part.write_text(
            json.dumps(seal_manifest(manifest, (folder / INDEX_NAME).read_bytes()), indent=2), encoding="utf-8"
        )


def _report_skipped_utterances(store: PackedStore, split: Split) -> None:
    for reason in store.skipped[:MAX_LOGGED_SKIPS]:
        log.warning("Skipped: %s", reason)
    if store.skipped:
        unnamed = len(store.skipped) - MAX_LOGGED_SKIPS
        more = f"; {unnamed} of them are not named above" if unnamed > 0 else ""
        log.warning("%s: %d of %d utterances skipped%s.", split.name, len(store.skipped), len(split.utterances), more)
    if lost := [singer for singer in split.singers if singer not in set(store.singers)]:
        first = store.skipped[0].rstrip(".")
        if len(lost) == len(split.singers):
            raise SingerVerifyError(
                f"{split.name}: none of its {len(split.utterances)} utterances can be used (the first: {first}); "
                f"repair them or choose other features."
            )
        raise SingerVerifyError(
            f"{split.name}: none of the utterances of {', '.join(lost)} can be used (the first: {first}); "
            f"repair them or delete the singer's folder."
        )


def truncate_to_complete_utterances(folder: Path, utterances: tuple[Utterance, ...], bytes_per_frame: int) -> int:
    """Cut frames and index back to the utterances that are whole in both and in their place, and count these.

    Args:
        folder: folder of the store.
        utterances: all utterances of the finished store, in order.
        bytes_per_frame: bytes of one packed frame.
    """
    frames_path, index_path = folder / FRAMES_NAME, folder / INDEX_NAME
    frames_path.touch()
    lines = []
    if index_path.exists():
        lines = index_path.read_text(encoding="utf-8", errors="surrogateescape").split("\n")[1:-1]
    whole, end = 0, 0
    with open(frames_path, "r+b") as frames_file:
        for utterance, line in zip(utterances, lines, strict=False):
            num_bytes = _count_complete_bytes(line, utterance, frames_file, bytes_per_frame)
            if num_bytes is None:
                break
            whole, end = whole + 1, end + num_bytes
        frames_file.truncate(end)
    kept = [",".join(INDEX_COLUMNS), *lines[:whole]]
    index_path.write_text("\n".join(kept) + "\n", encoding="utf-8", errors="surrogateescape")
    return whole


def _count_complete_bytes(line: str, utterance: Utterance, frames_file: BinaryIO, bytes_per_frame: int) -> int | None:
    """Count the bytes of an utterance; return None unless its line of the index and its frames agree with it."""
    try:
        (row,) = csv.reader([line])
        path, singer, num_frames, checksum, skipped = row
        num_bytes = int(num_frames) * bytes_per_frame
        is_whole = num_bytes >= 0 and zlib.crc32(frames_file.read(num_bytes)) == int(checksum)
    except (ValueError, csv.Error):
        return None
    is_about_it = (path, singer) == (utterance.path, utterance.singer) and (num_bytes == 0) == bool(skipped)
    return num_bytes if is_whole and is_about_it else None
