"""Extraction of the frames of a corpus split, once, in parallel, interruptible at any moment."""

import glob
import hashlib
import json
import logging
import os
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import numpy as np
import rich
import torch
from filelock import FileLock, Timeout
from torch.utils.data import DataLoader, Subset

from singer_verify.atomic_files import atomic_write_many
from singer_verify.corpora.corpus import Corpus, Split, Utterance
from singer_verify.corpora.duplicates import require_one_singer_per_recording
from singer_verify.errors import SingerVerifyError
from singer_verify.features.feature import Feature
from singer_verify.features.raw_waveform import RawWaveform
from singer_verify.features.recipe import describe_recipe_code
from singer_verify.features.voice import unwrap_feature
from singer_verify.progress_bars import can_draw, track_progress
from singer_verify.store.file_states import (
    FILES_NAME,
    FileState,
    count_unchanged_files,
    find_changed_files,
    read_file_states,
    read_recorded_states,
    write_recorded_states,
)
from singer_verify.store.index import (
    format_index_row,
    read_register,
    report_skipped_utterances,
    truncate_to_complete_utterances,
)
from singer_verify.store.packed import (
    FORMAT_VERSION,
    FRAMES_NAME,
    INDEX_NAME,
    MANIFEST_NAME,
    VERIFIED_NAME,
    PackedStore,
    StoreDamageError,
    open_store,
    read_manifest,
    seal_manifest,
)
from singer_verify.store.utterance_frames import (
    ExtractedFrames,
    UtteranceFrameDataset,
    skip_copy,
)
from singer_verify.worker_processes import choose_start_method, is_worker_death

log = logging.getLogger(__name__)
MIN_VOICE_SHARE = 0.5  # of the recordings of a split, below which it is told how much of them is voice
SAMPLED_BYTES = 1 << 20  # of one file of a split, for the key of its store


def load_or_compute_store(
    corpus: Corpus, split_name: str, feature: Feature, store_root: Path, dtype: str = "float16", num_workers: int = 0
) -> PackedStore:
    """Open the packed frames of a split if they were computed before, otherwise compute them.

    Interrupted work is continued where it stopped. A second process that wants the same store waits for the first. A
    damaged store is reported and computed again. A corpus may be moved or copied: where its files are not those that
    the frames were computed from, as far as the file system tells, they are read and compared by their checksums, and
    frames of changed files are computed again. A split with another list of files, or with a file of another size, has
    a store of its own, for which all frames are computed; the earlier store is left as it is.

    Of recordings of one singer that sound the same, the first is kept, and the others are reported.

    Args:
        corpus: corpus that contains the split.
        split_name: name of the split.
        feature: feature that computes the frames.
        store_root: folder of all stores.
        dtype: data type of the frames on disk, float16 or float32.
        num_workers: number of extraction processes; 0 extracts in this process.

    Raises:
        SingerVerifyError: a singer has no usable utterance left, a recording is filed under two singers, the data type
            cannot hold the frames, the disk is full, or a process that computes died.
    """
    split = corpus.splits[split_name]
    states = read_file_states(corpus.root, split.utterances)  # before any file is read, see `find_changed_files`
    dataset = UtteranceFrameDataset(corpus.root, split.utterances, feature, getattr(torch, dtype), hashes_files=True)
    folder = _find_store_folder(store_root, corpus, split, _compute_store_key(corpus, split, feature, dtype, states))
    try:
        manifest = read_manifest(folder)
        store, changed = _open_finished_store(folder), set[str]()
        if store is not None:
            changed = find_changed_files(folder, store.file_hashes, dataset.root, dataset.utterances, states)
        if store is not None and not changed:
            log.info("%s: the %s of %d recordings were computed before.", folder, _name_rows(feature), len(store.paths))
        if store is None or changed:
            compared = None if store is None else (manifest, changed)
            store = _compute_store(dataset, states, folder, dtype, num_workers, compared)
    except OSError as error:
        raise SingerVerifyError(
            f"{folder}: cannot be written ({error.strerror or error}); free some space or set data.store_root to "
            f"another disk, and start again: what was done is kept."
        ) from error
    report_skipped_utterances(store, corpus.root, split)
    singers = [store.singers[index] for index in store.singer_index]
    require_one_singer_per_recording(corpus.root, store.paths.tolist(), singers, store.contents.tolist())
    return store


def _name_rows(feature: Feature) -> str:
    return "samples" if isinstance(unwrap_feature(feature), RawWaveform) else "frames"


def _find_store_folder(store_root: Path, corpus: Corpus, split: Split, key: str) -> Path:
    """Return the folder of a store, which is named after the corpus as it was called when the store was computed."""
    earlier = sorted(path for path in store_root.glob(f"*-{glob.escape(split.name)}-{key}") if path.is_dir())
    return earlier[0] if earlier else store_root / f"{corpus.root.resolve().name}-{split.name}-{key}"


def _open_finished_store(folder: Path, is_reported: bool = True) -> PackedStore | None:
    """Open a finished store; return None if it is unfinished, or damaged, which is logged."""
    if not (folder / MANIFEST_NAME).exists():
        return None
    try:
        return open_store(folder)
    except StoreDamageError as damage:
        if is_reported:
            message = str(damage).replace("; delete the folder to rebuild it", "")
            log.warning("%s Its frames are computed again.", message)
        return None


def _compute_store(
    dataset: UtteranceFrameDataset,
    states: list[FileState],
    folder: Path,
    dtype: str,
    num_workers: int,
    compared: tuple[bytes, set[str]] | None,
) -> PackedStore:
    """Compute a store, or what of it is missing or changed, unless another process does so first.

    Args:
        dataset: computes the frames.
        states: states of the files before any was read.
        folder: folder of the store.
        dtype: data type of the frames on disk.
        num_workers: number of extraction processes.
        compared: manifest of the store whose files were compared, and the changed ones; None if none was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _lock_store(folder):
        store, changed = _open_finished_store(folder, is_reported=False), set[str]()
        if store is not None:
            if compared is not None and compared[0] == read_manifest(folder):
                changed = compared[1]  # reading the files twice would take twice as long
            else:
                changed = find_changed_files(folder, store.file_hashes, dataset.root, dataset.utterances, states)
            if not changed:
                return store  # another process has finished it meanwhile
            log.warning(
                "%s: %d of its %d files were replaced since its frames were computed (the first: %s); they are "
                "computed again.",
                *(folder, len(changed), len(states), min(changed)),
            )
        if (folder / MANIFEST_NAME).exists():
            # Unlinked, not overwritten: whoever has mapped the old frames keeps them.
            for name in (MANIFEST_NAME, VERIFIED_NAME, FILES_NAME, INDEX_NAME, FRAMES_NAME):
                (folder / name).unlink(missing_ok=True)
        num_unchanged = count_unchanged_files(read_recorded_states(folder), states)
        write_recorded_states(folder, states)
        reusable = {} if store is None else _collect_reusable_frames(store, changed)
        _extract_utterances(dataset, folder, num_workers, num_unchanged, reusable)
        _write_manifest(folder, dataset.feature, dtype)
        return open_store(folder)


def _collect_reusable_frames(store: PackedStore, changed: set[str]) -> dict[str, Callable[[], ExtractedFrames]]:
    """Return functions that read the frames of unchanged files from an earlier store, by the path of the utterance."""

    def read(index: int) -> ExtractedFrames:
        frames = torch.from_numpy(np.array(store.get_utterance_frames(index)))
        path = str(store.paths[index])
        return ExtractedFrames(frames, "", int(store.contents[index]), store.file_hashes[path])

    return {str(path): partial(read, index) for index, path in enumerate(store.paths) if path not in changed}


def _compute_store_key(corpus: Corpus, split: Split, feature: Feature, dtype: str, states: list[FileState]) -> str:
    """Hash a recipe's settings and code, and a split: paths in the corpus and sizes of its files, and one of them.

    The key does not depend on where the corpus lies. The one file keeps corpora apart whose files have the same names
    and sizes, for instance another mix of the same songs.
    """
    recipe = feature.recipe
    settings = [FORMAT_VERSION, recipe, describe_recipe_code(recipe), dtype]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for utterance, state in zip(split.utterances, states, strict=True):
        digest.update(f"{utterance.path}\0{utterance.singer}\0{state.size}\n".encode(errors="surrogateescape"))
    middle = len(states) // 2
    with suppress(OSError), open(corpus.root / split.utterances[middle].path, "rb") as file:
        file.seek(max((states[middle].size - SAMPLED_BYTES) // 2, 0))
        digest.update(file.read(SAMPLED_BYTES))
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


def _iterate_with_progress(
    extracted: Iterable[ExtractedFrames], description: str
) -> Generator[ExtractedFrames, None, None]:
    yield from track_progress(extracted, description)


def _extract_utterances(
    dataset: UtteranceFrameDataset,
    folder: Path,
    num_workers: int,
    num_unchanged: int,
    reusable: Mapping[str, Callable[[], ExtractedFrames]],
) -> None:
    """Append frames and index lines, utterance by utterance, to whatever an interrupted extraction left whole.

    Args:
        dataset: computes the frames.
        folder: folder of the store.
        num_workers: number of extraction processes.
        num_unchanged: number of first utterances whose files are still those of the interrupted extraction.
        reusable: frames that need not be computed, by the path of their utterance.
    """
    bytes_per_frame = dataset.feature.num_bins * dataset.dtype.itemsize
    done = truncate_to_complete_utterances(folder, dataset.utterances[:num_unchanged], bytes_per_frame)
    if done:
        log.info("%s: %d of %d utterances were done before; continuing.", folder, done, len(dataset))
    missing = [index for index in range(done, len(dataset)) if dataset.utterances[index].path not in reusable]
    name = folder.name.rpartition("-")[0]
    if missing and not can_draw(rich.get_console()):  # where there is no bar to look at
        recipe = type(unwrap_feature(dataset.feature)).__name__
        what = name, _name_rows(dataset.feature), len(missing), recipe
        log.info("%s: computing the %s of %d recordings, once (%s).", *what)
    num_workers = min(num_workers, len(missing))
    loader = DataLoader(
        Subset(dataset, missing),
        batch_size=None,
        num_workers=num_workers,
        multiprocessing_context=choose_start_method(num_workers),
    )
    register = read_register(folder, dataset.root)
    summary = DecodingSummary(name, dataset.feature.hop_ms / 1000.0)
    with (
        # an error ends the progress display too: one left behind can block the display of the next extraction
        closing(_iterate_with_progress(loader, f"Frames of {name}")) as computed,
        open(folder / FRAMES_NAME, "ab") as frames_file,
        open(folder / INDEX_NAME, "a", encoding="utf-8", errors="surrogateescape", newline="") as index_file,
    ):
        try:
            for utterance in dataset.utterances[done:]:
                extracted = reusable[utterance.path]() if utterance.path in reusable else next(computed)
                if extracted.is_out_of_range:
                    raise SingerVerifyError(f"{extracted.skipped}; set data.store_dtype=float32.")
                extracted = skip_copy(utterance, extracted, register)
                summary.add(utterance, extracted)
                _append_utterance(utterance, extracted, dataset.root, frames_file, index_file)
                done += 1
            next(computed, None)  # finishes the progress bar
            summary.log()
        except (RuntimeError, ConnectionError, EOFError) as error:
            if not is_worker_death(error):
                raise
            raise SingerVerifyError(
                f"{dataset.root / dataset.utterances[done].path}: a process that computed frames died at or after this "
                f"utterance ({error}); start again, with a smaller data.num_extraction_workers if memory ran out: what "
                f"was done is kept."
            ) from error


class DecodingSummary:
    """Summary of the recordings of a split: the share of voice, and recordings whose channels were not averaged.

    Args:
        name: name of the split.
        hop_s: time from frame to frame, in seconds.
    """

    def __init__(self, name: str, hop_s: float) -> None:
        self.name, self.hop_s = name, hop_s
        self.duration_s = self.frames_s = 0.0
        self.num_recordings, self.channel_remarks = 0, list[str]()

    def add(self, utterance: Utterance, extracted: ExtractedFrames) -> None:
        """Take the next utterance; skipped ones count neither as voice nor as pauses."""
        if extracted.skipped:
            return
        if extracted.notes.duration_s:
            self.num_recordings += 1
            self.duration_s += extracted.notes.duration_s
            self.frames_s += len(extracted.frames) * self.hop_s
        if extracted.notes.channel_remark:
            self.channel_remarks.append(f"{utterance.path}: {extracted.notes.channel_remark}")

    def log(self) -> None:
        """Log a line each, where there is something to tell."""
        if self.frames_s < MIN_VOICE_SHARE * self.duration_s:
            log.warning(
                "%s: %.0f s of %.0f s hold frames of a voice; the rest are pauses and noise.",
                *(self.name, self.frames_s, self.duration_s),
            )
        if self.channel_remarks:
            log.info(
                "%s: the channels of %d of %d recordings were not simply averaged (the first: %s).",
                *(self.name, len(self.channel_remarks), self.num_recordings, self.channel_remarks[0]),
            )


def _append_utterance(
    utterance: Utterance, extracted: ExtractedFrames, root: Path, frames_file: BinaryIO, index_file: TextIO
) -> None:
    data = extracted.frames.numpy().tobytes()
    frames_file.write(data)
    frames_file.flush()
    skipped = extracted.skipped.removeprefix(os.path.join(root, ""))  # the corpus may be moved
    frames = len(extracted.frames), zlib.crc32(data)
    index_file.write(format_index_row(utterance, *frames, extracted.content, extracted.file_hash, skipped))
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
