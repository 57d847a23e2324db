"""The frames of one corpus split, packed into one memory-mapped array and read by slicing; optionally normalised.

A store is a folder with these files:

    frames.bin     all frames one after another, bins fastest, little-endian float16 or float32, samples also int16
    index.csv      a line per utterance: path, singer, number of frames, checksum of its frames, identity of its sound,
                   checksum of its file, reason if it was skipped, checksum of the line
    files.json     size, times and inode of the file of each utterance when its frames were computed or last compared
    store.json     recipe, dtype, checksums of the index and of itself; written last: without it a store is unfinished
    verified.json  size and modification time of frames.bin when its checksums were last verified
"""

import hashlib
import io
import json
import zlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from numpy.lib.stride_tricks import sliding_window_view

from singer_verify.atomic_files import atomic_write_many
from singer_verify.corpora.names import normalise_name
from singer_verify.errors import SingerVerifyError
from singer_verify.features.normalisation import (
    GLOBAL_NORMALISATIONS,
    FrameStatistics,
    Normalisation,
    Scaling,
    compute_frame_statistics,
)

if TYPE_CHECKING:
    import pandas as pd

FORMAT_VERSION = 3
FRAMES_NAME, INDEX_NAME, MANIFEST_NAME = "frames.bin", "index.csv", "store.json"
INDEX_COLUMNS = ("path", "singer", "num_frames", "crc32", "content", "file_hash", "skipped", "row_crc32")
STORE_DTYPES = ("float16", "float32")
UNSAFE_PATH_PATTERN = r"^/|(?:^|/)\.\.(?:/|$)"  # an absolute path, or one with `..`
VERIFIED_NAME = "verified.json"
MAX_ROUNDING_LOSS = 0.01  # of the norm of an utterance's frames


@dataclass(frozen=True)
class PackedStore:
    """The frames of one corpus split, with an index of utterances and singers.

    Attributes:
        frames: (total frames, bins), memory-mapped; never read as a whole.
        offsets: (stored utterances + 1,), where each utterance starts in `frames`.
        singer_index: (utterances,), index into `singers`.
        singers: sorted names.
        paths: (utterances,), paths relative to the corpus root.
        recipe: recipe of the feature that computed the frames.
        skipped: one reason for each utterance that could not be used, which begins with its path.
        fingerprint: SHA-256 of the paths, singers and frames of all utterances.
        contents: (utterances,), identity of what each sounds like, see `audio.content`.
        file_hashes: checksum of the file of each utterance, also of skipped ones, by its path.
        rows: (utterances,), number of each among the stored utterances, where this is a part of a store; else None.
    """

    frames: Num[np.ndarray, "total bins"]
    offsets: Int[np.ndarray, " bounds"]
    singer_index: Int[np.ndarray, " utterances"]
    singers: tuple[str, ...]
    paths: np.ndarray
    recipe: dict[str, Any]
    skipped: tuple[str, ...] = ()
    fingerprint: str = ""
    contents: Int[np.ndarray, " utterances"] = field(default_factory=lambda: np.zeros(0, np.int64))
    file_hashes: Mapping[str, str] = field(default_factory=dict)
    rows: Int[np.ndarray, " utterances"] | None = None

    def format_summary(self) -> str:
        """Format the numbers of singers and utterances and the start of the fingerprint."""
        return f"{len(self.singers)} singers, {len(self.paths)} utterances, {self.fingerprint[:16]}"

    @property
    def num_frames(self) -> Int[np.ndarray, " utterances"]:
        lengths: np.ndarray = np.diff(self.offsets)
        return lengths if self.rows is None else lengths[self.rows]

    def select(self, paths: Collection[str]) -> "PackedStore":
        """Return the store of some of the utterances, in the same order; frames are shared."""
        chosen = np.flatnonzero([path in paths for path in self.paths.tolist()])
        if len(chosen) == len(self.paths):
            return self
        names = np.array(self.singers, object)[self.singer_index[chosen]]
        singers, singer_index = np.unique(names, return_inverse=True)
        rows = chosen if self.rows is None else self.rows[chosen]
        identity = f"{self.fingerprint}\0" + "\0".join(self.paths[chosen])
        return replace(
            self,
            singer_index=singer_index.astype(np.int64),
            singers=tuple(singers.tolist()),
            paths=self.paths[chosen],
            skipped=(),
            fingerprint=hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest(),
            contents=self.contents[chosen],
            rows=rows,
        )

    def compute_statistics(self) -> FrameStatistics:
        """Compute the statistics of the frames of each utterance."""
        if self.rows is None:
            return compute_frame_statistics(self.frames, self.offsets)
        of_all = compute_frame_statistics(self.frames, self.offsets)
        return FrameStatistics(*(getattr(of_all, part.name)[self.rows] for part in fields(FrameStatistics)))

    def compute_scaling(self, normalisation: Normalisation) -> Scaling:
        """Compute the scaling of each utterance.

        Raises:
            SingerVerifyError: a global normalisation was not fitted.
        """
        if normalisation.name in GLOBAL_NORMALISATIONS:
            offsets = np.zeros(len(self.num_frames) + 1, np.int64)
            return normalisation.compute_scaling(np.zeros((0, self.frames.shape[1])), offsets)
        return normalisation.compute_scaling_from_statistics(self.compute_statistics())

    def get_utterance_frames(self, index: int) -> Num[np.ndarray, "frames bins"]:
        """Return all frames of one utterance, as a view into the memory map."""
        row = index if self.rows is None else self.rows[index]
        return self.frames[self.offsets[row] : self.offsets[row + 1]]

    def read_crops(
        self, utterances: Int[np.ndarray, " crops"], starts: Int[np.ndarray, " crops"], num_frames: int
    ) -> Num[np.ndarray, "crops num_frames bins"]:
        """Copy a window of `num_frames` frames out of each utterance.

        An utterance shorter than the window is repeated from its beginning until the window is full; its start is
        ignored. Zeros instead would tell the encoder how long a recording is, not who sings.
        """
        rows = utterances if self.rows is None else self.rows[utterances]
        first, available = self.offsets[rows], self.offsets[rows + 1] - self.offsets[rows]
        long_enough = available >= num_frames
        if long_enough.all():
            windows = sliding_window_view(self.frames, (num_frames, self.frames.shape[1]))[:, 0]
            return windows[first + starts]
        crops = np.empty((len(utterances), num_frames, self.frames.shape[1]), self.frames.dtype)
        if long_enough.any():
            crops[long_enough] = self.read_crops(utterances[long_enough], starts[long_enough], num_frames)
        for crop in np.flatnonzero(~long_enough):
            places = np.arange(num_frames) % available[crop]
            crops[crop] = self.get_utterance_frames(int(utterances[crop]))[places]
        return crops


def open_store(folder: Path) -> PackedStore:
    """Open a finished store after verifying its checksums.

    Raises:
        StoreDamageError: the store is unfinished, damaged, or of another format version.
    """
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
        index_bytes = (folder / INDEX_NAME).read_bytes()
        check_seal(manifest, index_bytes)
        if manifest["version"] != FORMAT_VERSION:
            raise StoreDamageError(f"has format version {manifest['version']}, expected {FORMAT_VERSION}")
        return _map_store(folder, manifest, _read_store_index(index_bytes))
    except (OSError, ValueError, KeyError, StoreDamageError) as error:
        reason = str(error).rstrip(".")
        raise StoreDamageError(
            f"{folder}: is not a finished store ({reason}); delete the folder to rebuild it."
        ) from error


def read_manifest(folder: Path) -> bytes:
    """Read a store's manifest, whose checksums tell stores apart; empty if there is none."""
    with suppress(FileNotFoundError):
        return (folder / MANIFEST_NAME).read_bytes()
    return b""


def _read_store_index(content: bytes) -> "pd.DataFrame":
    import pandas as pd  # takes a fraction of a second that loading a model does not need

    index = pd.read_csv(  # objects: pyarrow, if pandas finds it, refuses paths that are no UTF-8
        io.BytesIO(content),
        dtype=dict.fromkeys(INDEX_COLUMNS, object) | dict.fromkeys(("num_frames", "crc32", "content"), np.int64),
        keep_default_na=False,
        encoding_errors="surrogateescape",
    )
    if tuple(index.columns) != INDEX_COLUMNS:
        raise StoreDamageError(f"{INDEX_NAME} does not have the columns {', '.join(INDEX_COLUMNS)}")
    if index["path"].str.contains(UNSAFE_PATH_PATTERN).any():
        raise StoreDamageError(f"{INDEX_NAME} lists files outside the corpus")
    return index


def _map_store(folder: Path, manifest: dict[str, Any], index: "pd.DataFrame") -> PackedStore:
    import pandas as pd

    dtype, num_bins = np.dtype(manifest["dtype"]), int(manifest["num_bins"])
    is_usable = index["skipped"] == ""
    usable = index[is_usable]
    num_frames = usable["num_frames"].to_numpy(np.int64)
    num_bytes = num_frames * num_bins * dtype.itemsize
    check_frame_checksums(folder / FRAMES_NAME, num_bytes.tolist(), usable["crc32"].tolist())
    singer_index, singers = pd.factorize(usable["singer"].map(normalise_name), sort=True)
    identity = usable[["path", "singer", "num_frames", "crc32"]].to_csv(index=False)
    return PackedStore(
        frames=_map_frames(folder / FRAMES_NAME, dtype, (int(num_frames.sum()), num_bins)),
        offsets=np.concatenate([[0], num_frames.cumsum()]),
        singer_index=singer_index.astype(np.int64),
        singers=tuple(singers),
        paths=usable["path"].to_numpy(object),
        recipe=manifest["recipe"],
        skipped=tuple(index["skipped"][~is_usable]),
        fingerprint=hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest(),
        contents=usable["content"].to_numpy(np.int64),
        file_hashes=dict(zip(index["path"], index["file_hash"], strict=True)),
    )


def _map_frames(path: Path, dtype: np.dtype, shape: tuple[int, int]) -> Num[np.ndarray, "total bins"]:
    if not shape[0]:
        return np.zeros(shape, dtype)
    return np.asarray(np.memmap(path, dtype, "r", shape=shape))  # a plain array slices faster than np.memmap


class NormalisedStore:
    """A packed store whose crops are normalised by their whole utterance or by the training split.

    The frames on disk are not normalised, so all normalisations of a recipe share one store.

    Args:
        store: store of unnormalised frames.
        normalisation: normalisation, fitted to the training split if it is global.
    """

    def __init__(self, store: PackedStore, normalisation: Normalisation) -> None:
        self.store = store
        self.scaling = None if normalisation.name == "none" else store.compute_scaling(normalisation)

    def read_crops(
        self, utterances: Int[np.ndarray, " crops"], starts: Int[np.ndarray, " crops"], num_frames: int
    ) -> Float[np.ndarray, "crops num_frames bins"]:
        """Read normalised crops like `PackedStore.read_crops`."""
        crops = self.store.read_crops(utterances, starts, num_frames)
        return crops if self.scaling is None else self.scaling.apply(crops, utterances)


def fit_normalisation(normalisation: Normalisation, training: PackedStore) -> Normalisation:
    """Fit a global normalisation to all stored frames of the training split; return any other unchanged."""
    if not normalisation.needs_training_split:
        return normalisation
    return normalisation.fit(training.compute_statistics())


class StoreDamageError(SingerVerifyError):
    """A damaged or unfinished store; its frames can be computed again."""


def seal_manifest(manifest: dict[str, Any], index: bytes) -> dict[str, Any]:
    """Return the manifest with the checksum of the index and its own checksum added."""
    manifest = {**manifest, "index_sha256": hashlib.sha256(index).hexdigest()}
    return {**manifest, "sha256": _compute_manifest_sha256(manifest)}


def check_seal(manifest: Any, index: bytes) -> None:
    """Check a manifest and an index against the checksums from `seal_manifest`.

    Raises:
        StoreDamageError: the manifest or the index was changed after sealing.
    """
    if not isinstance(manifest, dict):
        raise StoreDamageError("its manifest is not a JSON object")
    contents = {name: value for name, value in manifest.items() if name != "sha256"}
    if manifest.get("sha256") != _compute_manifest_sha256(contents):
        raise StoreDamageError("the checksum of its manifest does not match")
    if manifest["index_sha256"] != hashlib.sha256(index).hexdigest():
        raise StoreDamageError("the checksum of its index does not match")


def check_frame_checksums(path: Path, num_bytes: list[int], checksums: list[int]) -> None:
    """Check the frames of every utterance against their checksums, unless this file was verified before.

    A file with the same size and modification time as when it was last verified is not read again, so that reopening a
    large store is free.

    Args:
        path: file of packed frames.
        num_bytes: bytes of each utterance, in file order.
        checksums: CRC-32 of each utterance.

    Raises:
        StoreDamageError: the file has another size, or an utterance does not match; the message gives its index.
    """
    status = path.stat()
    if status.st_size != sum(num_bytes):
        raise StoreDamageError(f"{path.name} has {status.st_size} bytes, expected {sum(num_bytes)}")
    state = {"size": status.st_size, "mtime_ns": status.st_mtime_ns}
    if _read_verified_state(path) == state:
        return
    with open(path, "rb") as file:
        for index, (size, checksum) in enumerate(zip(num_bytes, checksums, strict=True)):
            if zlib.crc32(file.read(size)) != checksum:
                raise StoreDamageError(f"the frames of utterance {index} in {path.name} do not match their checksum")
    _write_verified_state(path, state)


def _read_verified_state(frames_path: Path) -> Any:
    try:
        return json.loads((frames_path.parent / VERIFIED_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # never verified or unreadable record: read the frames


def _write_verified_state(frames_path: Path, state: dict[str, int]) -> None:
    # A read-only store is verified every time it is opened. Processes that open a store at the same time write the same
    # record, so it does not matter which one wins.
    with suppress(OSError), atomic_write_many(frames_path.parent / VERIFIED_NAME) as (part,):
        part.write_text(json.dumps(state), encoding="utf-8")


def _compute_manifest_sha256(contents: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()


def describe_rounding_loss(frames: Float[torch.Tensor, "frames bins"], rounded: Num[torch.Tensor, "_ _"]) -> str:
    """Describe why a data type cannot hold frames: they overflow, or all are so small that they vanish; "" if it can.

    Rounding to float16 changes values between 6e-5 and 65504 by at most 0.05 %.
    """
    if rounded.dtype == frames.dtype or not rounded.is_floating_point():
        return ""
    name, peak = str(rounded.dtype).removeprefix("torch."), float(frames.abs().max())
    if not rounded.isfinite().all():
        return (
            f"its frames reach {peak:.3g}, beyond the range of {name}, which ends at {torch.finfo(rounded.dtype).max:g}"
        )
    exact = frames.double()
    if (rounded.double() - exact).norm() > MAX_ROUNDING_LOSS * exact.norm():
        return f"its frames are at most {peak:.3g}, too small for {name}, which would change them by more than 1 %"
    return ""
