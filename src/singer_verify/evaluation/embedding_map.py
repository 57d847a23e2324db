"""Two-dimensional maps of embeddings by t-SNE or UMAP."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from singer_verify.errors import SingerVerifyError, format_installation

MAP_METHODS = ("tsne", "umap")
MAP_METHOD_NAMES = {"tsne": "t-SNE", "umap": "UMAP"}
MIN_MAP_UTTERANCES = 6  # fewer utterances have no neighbourhoods to preserve
MAX_MAP_UTTERANCES = 3000  # with more, a random sample is mapped, which takes seconds
DEFAULT_PERPLEXITY, DEFAULT_NUM_NEIGHBOURS = 30.0, 15


@dataclass(frozen=True)
class EmbeddingMap:
    """Positions of utterances in the plane.

    Attributes:
        method: one of `MAP_METHODS`.
        chosen: (chosen,), rising indices of the utterances that are on the map.
        positions: (chosen, 2), their positions in the plane.
    """

    method: str
    chosen: Int[np.ndarray, " chosen"]
    positions: Float[np.ndarray, "chosen 2"]


def map_utterances(
    embeddings: Float[np.ndarray, "utterances embedding"], method: str = "tsne", seed: int = 0
) -> EmbeddingMap:
    """Compute the map of a split; with very many utterances, of a random sample.

    Args:
        embeddings: rows of unit length.
        method: one of `MAP_METHODS`.
        seed: random seed of the method and of the sample.

    Raises:
        SingerVerifyError: too few embeddings, or UMAP is not installed.
    """
    chosen = sample_utterances(len(embeddings), seed)
    return EmbeddingMap(method, chosen, compute_embedding_map(embeddings[chosen], method, seed))


def sample_utterances(
    num_utterances: int, seed: int, max_utterances: int = MAX_MAP_UTTERANCES
) -> Int[np.ndarray, " chosen"]:
    """Return the indices of all utterances, or of a random sample of `max_utterances`, in rising order."""
    if num_utterances <= max_utterances:
        return np.arange(num_utterances)
    drawn = np.random.default_rng(seed).choice(num_utterances, max_utterances, replace=False)
    return np.sort(drawn).astype(np.int64)


def find_available_methods() -> tuple[str, ...]:
    """Return those of `MAP_METHODS` whose library is installed."""
    return MAP_METHODS if importlib.util.find_spec("umap") is not None else MAP_METHODS[:1]


def require_map_method(method: str) -> None:
    """Check that the library of a method is installed.

    Raises:
        SingerVerifyError: the library of a method is not installed.
    """
    if method not in find_available_methods():
        raise SingerVerifyError(
            f"--method {method}: umap-learn is not installed; {format_installation('umap')}, or take --method tsne."
        )


def compute_embedding_map(
    embeddings: Float[np.ndarray, "utterances embedding"], method: str = "tsne", seed: int = 0
) -> Float[np.ndarray, "utterances 2"]:
    """Compute a position in the plane for each embedding; the same for the same seed.

    t-SNE: van der Maaten & Hinton 2008, Visualizing data using t-SNE, JMLR 9. UMAP: McInnes, Healy & Melville 2018,
    arXiv:1802.03426. Neither preserves distances between clusters.

    Args:
        embeddings: rows of unit length.
        method: one of `MAP_METHODS`.
        seed: random seed of the method.

    Raises:
        SingerVerifyError: too few embeddings, or UMAP is not installed.
    """
    if len(embeddings) < MIN_MAP_UTTERANCES:
        raise SingerVerifyError(
            f"{len(embeddings)} utterances: a map needs at least {MIN_MAP_UTTERANCES}; take a larger split (--split)."
        )
    methods: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {"tsne": _run_tsne, "umap": _run_umap}
    return np.asarray(methods[method](embeddings, seed), np.float64)


def _run_tsne(embeddings: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    perplexity = min(DEFAULT_PERPLEXITY, (len(embeddings) - 1) / 3)
    with threadpool_limits(1):  # with several threads, the order of sums varies
        return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(embeddings)


def _run_umap(embeddings: np.ndarray, seed: int) -> np.ndarray:
    require_map_method("umap")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # UMAP's on tensorflow, which it does without, and on its single thread
        from umap import UMAP  # type: ignore[import-not-found,import-untyped]

        neighbours = min(DEFAULT_NUM_NEIGHBOURS, len(embeddings) - 1)
        # random places to begin with: spectral ones fail on few points
        begin = "spectral" if len(embeddings) > 2 * DEFAULT_NUM_NEIGHBOURS else "random"
        reducer = UMAP(n_neighbors=neighbours, metric="cosine", init=begin, random_state=seed, n_jobs=1)
        return np.asarray(reducer.fit_transform(embeddings))
