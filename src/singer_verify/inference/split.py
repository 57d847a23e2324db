"""Whole utterances of a split as embeddings: the one way, for validation, `evaluate` and leaderboards.

On one device, with the same libraries and the same number of threads, the three compute the same embeddings to the bit,
and therefore print the same equal error rate, because

* frames come from `UtteranceFrameDataset` and are rounded to the data type of the store that the model was trained
  from, which its checkpoint carries (`frames_dtype`), before they are normalised by `NormalisedStore`;
* windows share batches as `build_window_groups` says, which depends on the lengths of the utterances alone. A row of a
  batch depends on the shape of the batch by rounding, so equal batches are what makes equal rows;
* the encoder runs in single precision, whatever the precision of the training (`embed_windows`);
* windows are averaged by `average_by_group`, in their order.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor, nn
from torch.utils.data import DataLoader

from singer_verify.corpora.corpus import Utterance
from singer_verify.corpora.duplicates import RecordingRegister
from singer_verify.data.batches import WindowBatchDataset
from singer_verify.data.windows import build_window_groups, is_block_full
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.averaging import average_by_group
from singer_verify.features.normalisation import Normalisation
from singer_verify.inference.model import Model
from singer_verify.store.packed import NormalisedStore, PackedStore
from singer_verify.store.utterance_frames import ExtractedFrames, SampleChange, UtteranceFrameDataset, skip_copy
from singer_verify.worker_processes import choose_start_method, count_available_cores, is_worker_death

EMPTY_STORE = PackedStore(
    np.zeros((0, 0), np.float32), np.zeros(1, np.int64), np.zeros(0, np.int64), (), np.array([]), {}
)


def embed_windows(
    encoder: nn.Module, windows: Num[Tensor, "windows frames bins"]
) -> Float[Tensor, "windows embedding"]:
    """Embed windows of one length in single precision, outside any automatic mixed precision."""
    with torch.autocast(windows.device.type, enabled=False):
        # copy: torch aligns its own memory, and products of equally aligned matrices are equal to the bit
        return encoder(windows.to(torch.float32, copy=True)).float()


@torch.inference_mode()
def embed_store(
    encoder: nn.Module, store: PackedStore, normalisation: Normalisation, window_frames: int
) -> Float[np.ndarray, "utterances embedding"]:
    """Embed all utterances of a store.

    Args:
        encoder: encoder in evaluation mode.
        store: frames as they were extracted.
        normalisation: normalisation of the frames.
        window_frames: length of a window.
    """
    groups = build_window_groups(store.num_frames, window_frames)
    device = next((tensor.device for tensor in encoder.state_dict().values()), torch.device("cpu"))
    batches = WindowBatchDataset(NormalisedStore(store, normalisation), groups)
    parts = [
        (embed_windows(encoder, batch.features.to(device)).cpu(), batch.utterances)
        for batch in map(batches.__getitem__, range(len(batches)))
    ]
    windows, utterances = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    return average_by_group(windows, utterances)


def embed_utterances(
    model: Model,
    root: Path,
    utterances: Iterable[Utterance],
    report_skipped: Callable[[str], None],
    progress: Callable[[Iterable[ExtractedFrames]], Iterable[ExtractedFrames]] = iter,
    register: RecordingRegister | None = None,
    change: SampleChange | None = None,
    frames_dtype: str | None = None,
) -> tuple[list[int], Float[np.ndarray, "kept embedding"]]:
    """Embed utterances from their files, a block of them at a time, so that frames never fill the memory.

    An utterance that sounds like an earlier one of its singer is skipped, as in a store.

    Args:
        model: model that embeds.
        root: folder that the utterances' paths are relative to.
        utterances: utterances in the order of their split.
        report_skipped: function that is given the reason why an utterance cannot be used.
        progress: iterates over the frames of utterances and reports progress.
        register: takes down what the utterances sound like.
        change: changes each recording first, see `extract_frames`.
        frames_dtype: data type that frames are rounded to; None is that of the model.

    Returns:
        which utterances were embedded, and their embeddings.

    Raises:
        SingerVerifyError: none of them can be used, or a recording is filed under two singers.
    """
    register = RecordingRegister(root) if register is None else register
    listed = tuple(utterances)
    indices: list[int] = []
    blocks: list[np.ndarray] = []
    extracted = (
        skip_copy(utterance, frames, register)
        for utterance, frames in zip(
            listed,
            progress(_extract_frames(model, root, listed, change, frames_dtype, register.measures_recordings)),
            strict=True,
        )
    )
    for block in _iterate_blocks(extracted, indices, report_skipped):
        offsets = np.concatenate([[0], np.cumsum([len(frames) for frames in block])])
        store = replace(EMPTY_STORE, frames=np.concatenate(block), offsets=offsets)
        blocks.append(embed_store(model.encoder, store, model.normalisation, model.window_frames))
    register.require_one_singer_each()
    if not blocks:
        raise SingerVerifyError(f"{root}: none of {len(listed)} files can be used; the reasons are above.")
    return indices, np.concatenate(blocks)


def _iterate_blocks(
    extracted: Iterable[ExtractedFrames], indices: list[int], report_skipped: Callable[[str], None]
) -> Iterator[list[np.ndarray]]:
    """Yield the frames of whole blocks; the numbers of their utterances are appended to `indices`."""
    block: list[np.ndarray] = []
    for index, utterance in enumerate(extracted):
        if utterance.skipped:
            report_skipped(utterance.skipped)
            continue
        indices.append(index)
        block.append(utterance.frames.numpy().copy())  # out of the memory shared with the worker
        if is_block_full([len(frames) for frames in block]):
            yield block
            block = []
    if block:
        yield block


def _extract_frames(
    model: Model,
    root: Path,
    utterances: tuple[Utterance, ...],
    change: SampleChange | None,
    frames_dtype: str | None,
    measures_recordings: bool,
) -> Iterator[ExtractedFrames]:
    """Compute frames in workers, like a store's: a worker has one thread, however many the process has."""
    dtype: torch.dtype = getattr(torch, frames_dtype or model.frames_dtype)
    dataset = UtteranceFrameDataset(root, utterances, model.feature, dtype, False, change, measures_recordings)
    num_workers = min(count_available_cores(), len(utterances))
    loader = DataLoader(
        dataset, batch_size=None, num_workers=num_workers, multiprocessing_context=choose_start_method(num_workers)
    )
    try:
        yield from loader
    except (RuntimeError, ConnectionError, EOFError) as error:
        if not is_worker_death(error):
            raise
        raise SingerVerifyError(
            f"{root}: a process that computed frames died ({error}); free some memory and start again."
        ) from error
