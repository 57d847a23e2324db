"""One corpus split's frames, packed into one memory-mapped array, read by slicing.

A store is a folder of three files:

    frames.bin   all frames one after another, bins fastest, little-endian float16 or float32
    index.csv    a line per utterance: path, singer, number of frames, checksum of its bytes, why it was skipped
    store.json   recipe, dtype and counts; written last, so a store without it is unfinished and never read
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from numpy.lib.stride_tricks import sliding_window_view

from singer_verify.errors import SingerVerifyError

FORMAT_VERSION = 1
FRAMES_NAME, INDEX_NAME, MANIFEST_NAME = "frames.bin", "index.csv", "store.json"
INDEX_COLUMNS = ("path", "singer", "num_frames", "crc32", "skipped")
DTYPES = ("float16", "float32")
LEAVES_ITS_FOLDER = r"^/|(?:^|/)\.\.(?:/|$)"  # an absolute path, or one with `..`


@dataclass(frozen=True)
class PackedStore:
    """Frames of one split.

    Attributes:
        frames: (total frames, bins), memory-mapped; never read as a whole.
        offsets: (utterances + 1,), where each utterance starts in `frames`.
        singer_index: (utterances,), place of each utterance's singer in `singers`.
        singers: sorted names.
        paths: of the utterances, relative to the corpus root.
        recipe: of the feature that made the frames.
        skipped: reasons, one for each utterance that could not be used.
    """

    frames: Float[np.ndarray, "total bins"]
    offsets: Int[np.ndarray, " bounds"]
    singer_index: Int[np.ndarray, " utterances"]
    singers: tuple[str, ...]
    paths: np.ndarray
    recipe: dict[str, Any]
    skipped: tuple[str, ...] = ()

    @property
    def num_frames(self) -> Int[np.ndarray, " utterances"]:
        return np.diff(self.offsets)

    def utterance(self, index: int) -> Float[np.ndarray, "frames bins"]:
        """All frames of one utterance, a view into the map."""
        return self.frames[self.offsets[index] : self.offsets[index + 1]]

    def crops(
        self, utterances: Int[np.ndarray, " crops"], starts: Int[np.ndarray, " crops"], num_frames: int
    ) -> Float[np.ndarray, "crops num_frames bins"]:
        """Copy a window of `num_frames` frames out of each utterance.

        An utterance shorter than the window is copied whole, with zeros before and after in equal parts (one more
        after, if the difference is odd); its start is not used.
        """
        bounds = self.offsets[utterances]
        available = self.offsets[utterances + 1] - bounds
        long_enough = available >= num_frames
        if long_enough.all():
            windows = sliding_window_view(self.frames, (num_frames, self.frames.shape[1]))[:, 0]
            return windows[bounds + starts]
        crops = np.zeros((len(utterances), num_frames, self.frames.shape[1]), self.frames.dtype)
        if long_enough.any():
            crops[long_enough] = self.crops(utterances[long_enough], starts[long_enough], num_frames)
        for crop in np.flatnonzero(~long_enough):
            before = (num_frames - available[crop]) // 2
            crops[crop, before : before + available[crop]] = self.utterance(int(utterances[crop]))
        return crops


def open_store(folder: Path) -> PackedStore:
    """Map a finished store.

    Raises:
        SingerVerifyError: the store is unfinished, of another version, or its files do not agree.
    """
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
        index = pd.read_csv(
            folder / INDEX_NAME,
            dtype={"path": str, "singer": str, "num_frames": np.int64, "crc32": np.int64, "skipped": str},
            keep_default_na=False,
            encoding_errors="surrogateescape",
        )
        dtype, num_bins = np.dtype(manifest["dtype"]), int(manifest["num_bins"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SingerVerifyError(
            f"{folder}: is not a finished store ({error}); delete the folder to rebuild it."
        ) from error
    if manifest.get("version") != FORMAT_VERSION or tuple(index.columns) != INDEX_COLUMNS:
        raise SingerVerifyError(f"{folder}: was written by another version; delete the folder to rebuild it.")
    if index["path"].str.contains(LEAVES_ITS_FOLDER).any():
        raise SingerVerifyError(
            f"{folder / INDEX_NAME}: names files outside the corpus; delete the folder to rebuild it."
        )
    is_kept = index["skipped"] == ""
    kept, skipped = index[is_kept], tuple(index["skipped"][~is_kept])
    offsets = np.concatenate([[0], kept["num_frames"].to_numpy(np.int64).cumsum()])
    singer_index, singers = pd.factorize(kept["singer"], sort=True)
    return PackedStore(
        frames=_map_frames(folder / FRAMES_NAME, dtype, (int(offsets[-1]), num_bins)),
        offsets=offsets,
        singer_index=singer_index.astype(np.int64),
        singers=tuple(singers),
        paths=kept["path"].to_numpy(object),
        recipe=manifest["recipe"],
        skipped=skipped,
    )


def _map_frames(path: Path, dtype: np.dtype, shape: tuple[int, int]) -> Float[np.ndarray, "total bins"]:
    found_bytes, expected_bytes = path.stat().st_size, shape[0] * shape[1] * dtype.itemsize
    if found_bytes != expected_bytes:
        raise SingerVerifyError(
            f"{path}: has {found_bytes} bytes, expected {expected_bytes}; delete its folder to rebuild it."
        )
    if not expected_bytes:
        return np.zeros(shape, dtype)
    return np.asarray(np.memmap(path, dtype, "r", shape=shape))  # a plain array slices faster than np.memmap
