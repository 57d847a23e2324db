"""Embeddings of a split by the best model of each run, computed once and kept in the run's folder."""

import functools
import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from rich.console import Console

from singer_verify.atomic_files import atomic_write
from singer_verify.corpora.corpus import Corpus, Split, read_corpora, read_corpus
from singer_verify.corpora.folds import ALL_SPLIT, divide_into_folds
from singer_verify.data.split_stores import SplitStores
from singer_verify.errors import SingerVerifyError
from singer_verify.inference import load_model
from singer_verify.inference.split import embed_store
from singer_verify.npz import ARRAY_READ_ERRORS, read_npz
from singer_verify.runs.folder import BEST_CHECKPOINT
from singer_verify.runs.provenance import compute_file_sha256
from singer_verify.store.file_states import read_file_states
from singer_verify.sweeps.cells import FinishedRun
from singer_verify.worker_processes import count_available_cores

EMBEDDINGS_FORMAT_VERSION = 3
DEFAULT_STORE_ROOT, DEFAULT_STORE_DTYPE = "store", "float16"  # of imported weights, which have no data settings


@dataclass(frozen=True)
class SplitEmbeddings:
    """Embeddings of a split by a run's best model.

    Attributes:
        embeddings: (utterances, embedding), rows of unit length.
        paths: (utterances,), relative to the corpus root, sorted by singer and path.
        singers: (utterances,), singer of each.
        num_parameters: number of parameters of the encoder.
        num_bins: number of bins of its frames.
    """

    embeddings: Float[np.ndarray, "utterances embedding"]
    paths: np.ndarray
    singers: np.ndarray
    num_parameters: int
    num_bins: int


@functools.cache
def read_split_corpus(root: Path, split: str) -> Corpus:
    """List the split of a corpus, once for all runs."""
    return read_corpus(root, splits=(split,), required=(split,))


def _get_training_corpus(run: FinishedRun) -> Path | None:
    """Return the corpus that a run was validated on; None for imported weights.

    Raises:
        SingerVerifyError: the run was trained on several corpora.
    """
    root = run.data.get("val_root") or run.data.get("root")  # a distillation is validated on another corpus
    roots = [root] if isinstance(root, str) else root or [None]
    if len(roots) > 1:
        raise SingerVerifyError(
            f"{run.path}: data.root={roots} is not one corpus; choose the one to evaluate on with --corpus."
        )
    return None if roots[0] is None else Path(roots[0])


def require_one_corpus(runs: list[FinishedRun], corpus: Path | None) -> Path:
    """Return the corpus that all runs are evaluated on; equal names in another corpus are not the same recordings.

    Args:
        runs: runs to compare.
        corpus: the corpus to evaluate on; None takes the one that the runs were validated on.

    Raises:
        SingerVerifyError: two runs were trained on other corpora, or none on any, and none is given.
    """
    if corpus is not None:
        return corpus
    roots = [(run, root) for run in runs if (root := _get_training_corpus(run)) is not None]
    if not roots:
        raise SingerVerifyError(
            f"{runs[0].path}: imported weights have no corpus of their own; choose one to evaluate on with --corpus."
        )
    first, expected = roots[0]
    for run, root in roots:
        if root.resolve() != expected.resolve():
            raise SingerVerifyError(
                f"{run.path} cannot be compared with {first.path}, because their trials differ: it was trained on "
                f"{root}, that on {expected}; leave one of the runs out, or evaluate all on one corpus with --corpus."
            )
    return expected


def read_run_folds(run: FinishedRun) -> Corpus:
    """List the corpus of a run with its folds as splits.

    Raises:
        SingerVerifyError: the corpus has changed so that it cannot be divided, or cannot be read.
    """
    roots = run.data["root"]
    return _read_folds((roots,) if isinstance(roots, str) else tuple(roots), run.num_folds or 0, run.fold)


@functools.cache
def _read_folds(roots: tuple[str, ...], num_folds: int, fold: int) -> Corpus:
    return divide_into_folds(read_corpora([Path(root) for root in roots], required=()), num_folds, fold)


@functools.cache
def read_whole_corpus(root: Path) -> Corpus:
    """List all utterances of a corpus, whatever their split, as one split."""
    corpus = read_corpus(root, required=())
    utterances = [utterance for split in corpus.splits.values() for utterance in split.utterances]
    utterances.sort(key=lambda utterance: (utterance.singer, utterance.path))
    num_ignored = sum(split.num_ignored for split in corpus.splits.values())
    return replace(corpus, splits={ALL_SPLIT: Split(ALL_SPLIT, tuple(utterances), num_ignored)})


def load_split_embeddings(
    run: FinishedRun, split: str, corpus: Corpus, title: str, kept_as: str | None = None
) -> SplitEmbeddings:
    """Read the run's embeddings of a split where its best model and the corpus are as they were, else compute them.

    Args:
        run: run whose best model embeds.
        split: name of the split.
        corpus: corpus with that split.
        title: title of the progress bar.
        kept_as: name that the embeddings are kept under in the run's folder; None is that of the split.

    Raises:
        SingerVerifyError: the model or the corpus cannot be used.
    """
    key, path = compute_cache_key(run, corpus, split), run.path / f"embeddings-{kept_as or split}.npz"
    if (kept := read_cached_embeddings(path, key)) is not None:
        return kept
    computed = _compute_split_embeddings(run, corpus, split, title)
    write_cached_embeddings(path, key, computed)
    return computed


def _compute_split_embeddings(run: FinishedRun, corpus: Corpus, split: str, title: str) -> SplitEmbeddings:
    model = load_model(run.path)
    store_root, dtype = Path(run.data.get("store_root", DEFAULT_STORE_ROOT)), get_store_dtype(run)
    store = SplitStores(corpus, store_root, dtype, count_available_cores()).open_split(split, model.feature)
    with Console(stderr=True).status(title):
        embeddings = embed_store(model.encoder, store, model.normalisation, model.window_frames)
    return SplitEmbeddings(
        embeddings,
        np.array([str(path) for path in store.paths]),
        np.array(store.singers)[store.singer_index],
        sum(parameter.numel() for parameter in model.encoder.parameters()),
        model.feature.num_bins,
    )


def get_store_dtype(run: FinishedRun) -> str:
    """Return the data type of the stored frames that a run is evaluated on."""
    return str(run.data.get("store_dtype", DEFAULT_STORE_DTYPE))


def compute_cache_key(run: FinishedRun, corpus: Corpus, split: str) -> str:
    """Hash the best model and the corpus: its folder, and the path and state of each file."""
    folder, dtype = corpus.root.resolve(), get_store_dtype(run)
    digest = hashlib.sha256(f"{EMBEDDINGS_FORMAT_VERSION}\0{folder}\0{dtype}\0".encode())
    digest.update(bytes.fromhex(compute_file_sha256(run.path / BEST_CHECKPOINT)))
    utterances = corpus.splits[split].utterances
    for utterance, state in zip(utterances, read_file_states(corpus.root, utterances), strict=True):
        digest.update(f"{utterance.path}\0{tuple(state)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def read_cached_embeddings(path: Path, key: str) -> SplitEmbeddings | None:
    """Read the embeddings cached under this key; return None if the file is missing, damaged or of another key."""
    try:
        stored = read_npz(path)
        if str(stored["key"]) != key:
            return None
        arrays = stored["embeddings"], stored["paths"], stored["singers"]
        return SplitEmbeddings(*arrays, int(stored["num_parameters"]), int(stored["num_bins"]))
    except ARRAY_READ_ERRORS:
        return None


def write_cached_embeddings(path: Path, key: str, computed: SplitEmbeddings) -> None:
    """Keep embeddings under a key."""
    with atomic_write(path) as part, open(part, "wb") as file:
        np.savez(file, allow_pickle=False, key=np.array(key), **asdict(computed))
