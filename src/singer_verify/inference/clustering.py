"""Diarization without a gallery: the windows of a recording are clustered, each cluster is a singer.

Windows are first joined in small groups, piece by piece, so that hours need no more memory than their windows; groups
are clustered; every window then goes to the singer whose mean it is most like.

Without a threshold, clusters are those of a spectral clustering whose graph and number of singers are found from the
eigengap (Park, Han, Kumar & Narayanan 2020, "Auto-tuning spectral clustering for speaker diarization using normalized
maximum eigengap", IEEE Signal Processing Letters 27). With one, groups are joined from the bottom up as long as the
mean of their scores is at or above it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.cluster import AgglomerativeClustering, SpectralClustering

from singer_verify.errors import require_at_least, require_between
from singer_verify.evaluation.averaging import average_by_group
from singer_verify.evaluation.scoring.scoring import Scoring, Threshold
from singer_verify.inference.diarization import Diarization, smooth_embeddings
from singer_verify.inference.windows import RecordingEmbedding

DEFAULT_MAX_SINGERS = 8
MAX_GROUPS = 600  # groups of windows whose similarities are all compared
PIECE_WINDOWS = 1200  # windows that are joined in groups at once
MAX_GRAPHS = 20  # different numbers of neighbours that are tried
TOLERANCE_S = 1e-6
WEAKEST_LINK = 1e-4  # between all groups: the spectral embedding wants a connected graph
NUM_REFINEMENTS = 3  # rounds in which windows go to the nearest mean


@dataclass(frozen=True)
class SingerClusters:
    """Clusters of embeddings.

    Attributes:
        labels: (rows,), number of the cluster of each row, from 0, in order of the first row of each.
        means: (clusters, embedding), mean of each cluster's rows, of unit length.
    """

    labels: Int[np.ndarray, " rows"]
    means: Float[np.ndarray, "clusters embedding"]


def diarize_unknown_singers(
    recording: RecordingEmbedding,
    scoring: Scoring,
    smooth_s: float,
    num_singers: int | None = None,
    threshold: Threshold | None = None,
    max_singers: int = DEFAULT_MAX_SINGERS,
) -> Diarization:
    """Find who sings when among singers that nobody has named: `singer 1`, `singer 2`, in order of appearance.

    Args:
        recording: embedded recording with its windows.
        scoring: scoring of the embeddings.
        smooth_s: duration embeddings are averaged over; 0 takes each window alone.
        num_singers: number of singers; None finds it.
        threshold: mean score at or above which clusters are of one singer; None estimates the number of singers, or
            takes `num_singers`.
        max_singers: largest number that is found.

    Raises:
        SingerVerifyError: numbers below 1, or a duration below 0.
    """
    require_between(0.0, 3600.0, smooth_s=smooth_s)
    require_at_least(1, max_singers=max_singers)
    if num_singers is not None:
        require_at_least(1, num_singers=num_singers)
    middles_s, is_silent = (recording.starts_s + recording.ends_s) / 2, recording.is_silent
    stretches = smooth_embeddings(recording.windows, middles_s, smooth_s, ~is_silent)
    is_used = ~is_silent if not is_silent.all() else np.ones(len(is_silent), bool)
    overlap_s = smooth_s + float((recording.ends_s - recording.starts_s).max())
    clusters = cluster_singers(
        stretches[is_used], scoring, num_singers, threshold, max_singers, middles_s[is_used], overlap_s
    )
    means = scoring.prepare_embeddings(clusters.means)
    scores, smoothed = (
        scoring.compute_score_matrix(scoring.prepare_embeddings(rows), means) for rows in (recording.windows, stretches)
    )
    best = np.zeros(len(stretches), np.int64)
    best[is_used] = clusters.labels
    return Diarization(
        tuple(f"singer {number}" for number in range(1, len(clusters.means) + 1)),
        recording.starts_s,
        recording.ends_s,
        scores,
        smoothed,
        best=best,
        is_known=np.ones(len(best), bool),
        is_silent=is_silent,
        pauses_s=recording.pauses_s,
        thresholds=(),
        seconds=recording.seconds,
        remarks=recording.remarks,
        is_clustered=True,
    )


def cluster_singers(
    embeddings: Float[np.ndarray, "rows embedding"],
    scoring: Scoring,
    num_singers: int | None = None,
    threshold: Threshold | None = None,
    max_singers: int = DEFAULT_MAX_SINGERS,
    middles_s: Float[np.ndarray, " rows"] | None = None,
    overlap_s: float = 0.0,
) -> SingerClusters:
    """Cluster embeddings by singer, see `diarize_unknown_singers`.

    Rows that share sound are alike whoever sings. So they are thinned out until few are left that do, and no two of
    these are neighbours in the graph.

    Args:
        embeddings: rows of unit length, in order of time.
        scoring: scoring of the embeddings.
        num_singers: number of clusters; None finds it.
        threshold: lowest mean score within a cluster; None finds the number of clusters.
        max_singers: largest number that is found.
        middles_s: middle of the stretch that each row embeds; None where they share nothing.
        overlap_s: stretches whose middles are closer than this share sound.
    """
    kept = np.arange(len(embeddings)) if middles_s is None else _thin_out(middles_s, overlap_s / 4)
    groups = join_windows(embeddings[kept], MAX_GROUPS)
    sides = scoring.prepare_embeddings(groups)
    scores = scoring.compute_score_matrix(sides, sides).astype(np.float64)
    is_shared = np.zeros_like(scores, bool)
    if middles_s is not None and len(groups) == len(kept):  # groups of rows share little
        is_shared = np.abs(middles_s[kept][:, None] - middles_s[kept]) < overlap_s - TOLERANCE_S
    labels = _cluster_groups(scores, is_shared, num_singers, threshold, max_singers)
    means = average_by_group(groups, labels)
    for _ in range(NUM_REFINEMENTS):
        nearest = _find_nearest(embeddings, means, scoring)
        means = average_by_group(embeddings, nearest)
    labels = _find_nearest(embeddings, means, scoring)
    _, first, numbered = np.unique(labels, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))
    labels = order[numbered]
    return SingerClusters(labels, average_by_group(embeddings, labels))


def _thin_out(middles_s: Float[np.ndarray, " rows"], distance_s: float) -> Int[np.ndarray, " kept"]:
    """Return the first row, and each that comes so much later than the one before."""
    kept = [0]
    for row in range(1, len(middles_s)):
        if middles_s[row] - middles_s[kept[-1]] >= distance_s - TOLERANCE_S:
            kept.append(row)
    return np.array(kept)


def join_windows(
    embeddings: Float[np.ndarray, "rows embedding"], max_groups: int
) -> Float[np.ndarray, "groups embedding"]:
    """Join rows that are alike, within pieces of the recording, so that few groups are left.

    Args:
        embeddings: rows of unit length, in order of time.
        max_groups: largest number of groups.

    Returns:
        the mean of each group, of unit length; the rows themselves where they are few enough.
    """
    if len(embeddings) <= max_groups:
        return embeddings
    pieces = np.array_split(embeddings, -(-len(embeddings) // PIECE_WINDOWS))
    num_groups = max(max_groups // len(pieces), 1)
    joined = []
    for piece in pieces:
        if len(piece) <= num_groups:
            joined.append(piece)
            continue
        clustering = AgglomerativeClustering(num_groups, metric="precomputed", linkage="average")
        joined.append(average_by_group(piece, clustering.fit_predict(np.clip(1.0 - piece @ piece.T, 0.0, None))))
    return np.concatenate(joined)


def _find_nearest(
    rows: Float[np.ndarray, "rows embedding"], means: Float[np.ndarray, "clusters embedding"], scoring: Scoring
) -> Int[np.ndarray, " rows"]:
    scores = scoring.compute_score_matrix(scoring.prepare_embeddings(rows), scoring.prepare_embeddings(means))
    _, labels = np.unique(scores.argmax(axis=1), return_inverse=True)  # a mean that no row is nearest to is gone
    return np.asarray(labels)


def _cluster_groups(
    scores: Float[np.ndarray, "groups groups"],
    is_shared: Bool[np.ndarray, "groups groups"],
    num_singers: int | None,
    threshold: Threshold | None,
    max_singers: int,
) -> Int[np.ndarray, " groups"]:
    if len(scores) == 1 or num_singers == 1:
        return np.zeros(len(scores), np.int64)
    if threshold is not None and num_singers is None:
        top = float(scores.max())
        clustering = AgglomerativeClustering(
            None, metric="precomputed", linkage="average", distance_threshold=max(top - threshold.score, 0.0)
        )
        labels: np.ndarray = clustering.fit_predict(top - scores)
        if labels.max() < max_singers:
            return labels
        num_singers = max_singers
    graph, estimated = build_singer_graph(np.where(is_shared, scores.min(), scores), max_singers)
    number = min(num_singers or estimated, len(scores))
    if number == 1:
        return np.zeros(len(scores), np.int64)
    spectral = SpectralClustering(number, affinity="precomputed", assign_labels="cluster_qr", random_state=0)
    return np.asarray(spectral.fit_predict(graph + WEAKEST_LINK))


def build_singer_graph(
    scores: Float[np.ndarray, "rows rows"], max_singers: int
) -> tuple[Float[np.ndarray, "rows rows"], int]:
    """Connect each row with those most like it, and estimate the number of singers from the graph.

    For each number of neighbours p, the largest gap between the first eigenvalues of the graph's Laplacian is divided
    by its largest eigenvalue; taken is the p for which p ÷ that gap is least (Park et al. 2020, section II).

    Args:
        scores: symmetric scores of all pairs of rows.
        max_singers: largest number.

    Returns:
        the symmetric graph of weights 0, 1/2 and 1, and the number of singers.
    """
    num_rows = len(scores)
    ranked = scores.copy()
    np.fill_diagonal(ranked, np.inf)
    order = np.argsort(-ranked, axis=1, kind="stable")
    largest = max(min(num_rows // 2, num_rows - 1), 1)
    best: tuple[float, np.ndarray, int] | None = None
    for num_neighbours in np.unique(np.linspace(min(2, largest), largest, MAX_GRAPHS).round().astype(int)):
        links = np.zeros((num_rows, num_rows))
        np.put_along_axis(links, order[:, :num_neighbours], 1.0, axis=1)
        graph = 0.5 * (links + links.T)
        np.fill_diagonal(graph, 1.0)
        laplacian = np.diag(graph.sum(axis=1)) - graph
        eigenvalues = np.linalg.eigvalsh(laplacian)
        gaps = np.diff(eigenvalues[: min(max_singers, num_rows - 1) + 1])
        ratio = num_neighbours * max(eigenvalues[-1], 1e-12) / max(gaps.max(), 1e-12) / num_rows
        if best is None or ratio < best[0]:
            best = ratio, graph, int(gaps.argmax()) + 1
    assert best is not None
    return best[1], best[2]
