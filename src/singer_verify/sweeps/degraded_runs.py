"""Robustness of the cells of a sweep: the trials of a leaderboard again, after the test recordings were degraded.

As in `inference.robustness`, every pair of utterances is two trials: either of them is the degraded one once. Degraded
embeddings are kept in the runs' folders, beside the clean ones.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from rich.console import Console
from rich.progress import track

from singer_verify.corpora.corpus import Corpus
from singer_verify.corpora.folds import ALL_SPLIT, JUDGED_SPLIT
from singer_verify.data.degradations import Degradation
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.metrics.bootstrap import (
    Estimate,
    compute_percentile_interval,
    compute_resampled_metrics,
)
from singer_verify.evaluation.metrics.error_rates import compute_eer
from singer_verify.evaluation.metrics.registry import EER, METRICS
from singer_verify.inference import Model, load_model
from singer_verify.inference.split import embed_utterances
from singer_verify.sweeps.cells import FinishedRun, SweepCell
from singer_verify.sweeps.judged_runs import FOLDS_SPLIT, JudgedRuns
from singer_verify.sweeps.shared_trials import SharedTrials
from singer_verify.sweeps.split_embeddings import (
    SplitEmbeddings,
    compute_cache_key,
    get_store_dtype,
    read_cached_embeddings,
    read_run_folds,
    write_cached_embeddings,
)

NUM_ROBUSTNESS_RESAMPLES = 500  # intervals need no p values, so fewer do


@dataclass(frozen=True)
class CellRobustness:
    """Error rates of a cell after degradations: means over its seeds, over strengths, and then over kinds.

    Attributes:
        eer: equal error rate of the degraded trials.
        difference: the same minus that of the same trials as they are.
    """

    eer: Estimate
    difference: Estimate


def measure_robustness(
    cells: list[SweepCell], judged: JudgedRuns, shared: SharedTrials, degradations: Sequence[Degradation]
) -> tuple[dict[str, CellRobustness], int]:
    """Evaluate all cells after each degradation, on the recordings that all of them can still use.

    Args:
        cells: cells of the sweep; with folds, each with the runs of all folds.
        judged: clean embeddings of their judged utterances.
        shared: trials and resamples.
        degradations: degradations, each evaluated by itself.

    Returns:
        robustness by the name of the cell, and the largest number of recordings that a degradation makes unusable.

    Raises:
        SingerVerifyError: there are only exported results, or too few recordings can be used.
    """
    if judged.corpus is None:
        raise SingerVerifyError("--degrade: exported results hold no audio; degrade that of the runs they come from.")
    runs = [run for cell in cells for run in cell.runs]
    degraded: dict[Degradation, dict[str, SplitEmbeddings]] = defaultdict(dict)
    for run in track(runs, "Embedding degraded recordings", console=Console(stderr=True), transient=True):
        for degradation, embedded in _load_degraded_embeddings(run, judged, degradations).items():
            degraded[degradation][str(run.path)] = embedded
    by_kind: defaultdict[str, list[dict[str, np.ndarray]]] = defaultdict(list)
    max_unusable = 0
    for degradation in track(degradations, "Resampling singers", console=Console(stderr=True), transient=True):
        joined = _join_seeds(cells, judged, degraded[degradation])
        is_usable = np.logical_and.reduce([usable for seeds in joined.values() for _, _, usable in seeds])
        max_unusable = max(max_unusable, int((~is_usable).sum()))
        name = f"--degrade {degradation.kind}={degradation.strength:g}"
        by_kind[degradation.kind].append(
            {cell: _compute_rates(seeds, is_usable, shared, name) for cell, seeds in joined.items()}
        )
    robustness = {
        cell.name: _average_rates([[rates[cell.name] for rates in strengths] for strengths in by_kind.values()])
        for cell in cells
    }
    return robustness, max_unusable


def _load_degraded_embeddings(
    run: FinishedRun, judged: JudgedRuns, degradations: Sequence[Degradation]
) -> dict[Degradation, SplitEmbeddings]:
    """Read the embeddings of a run's degraded utterances where nothing has changed since, else compute them."""
    corpus, split = _find_judged_split(run, judged)
    clean_key = compute_cache_key(run, corpus, split)
    model: Model | None = None
    loaded = {}
    for degradation in degradations:
        states = [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in degradation.accompaniment]
        key = hashlib.sha256(f"{clean_key}\0{degradation!r}\0{states}".encode()).hexdigest()
        path = run.path / f"embeddings-{judged.split}-{degradation.kind}={degradation.strength:g}.npz"
        kept = read_cached_embeddings(path, key)
        if kept is None:
            model = load_model(run.path) if model is None else model
            kept = _embed_degraded(run, model, corpus, split, judged.run_embeddings[str(run.path)], degradation)
            write_cached_embeddings(path, key, kept)
        loaded[degradation] = kept
    return loaded


def _find_judged_split(run: FinishedRun, judged: JudgedRuns) -> tuple[Corpus, str]:
    assert judged.corpus is not None
    if judged.split != FOLDS_SPLIT:
        return judged.corpus, judged.split
    return (read_run_folds(run), JUDGED_SPLIT) if run.num_folds else (judged.corpus, ALL_SPLIT)


def _embed_degraded(
    run: FinishedRun, model: Model, corpus: Corpus, split: str, clean: SplitEmbeddings, degradation: Degradation
) -> SplitEmbeddings:
    paths = set(clean.paths.tolist())
    utterances = [utterance for utterance in corpus.splits[split].utterances if str(utterance.path) in paths]
    reasons: list[str] = []
    indices, embeddings = embed_utterances(
        model,
        corpus.root,
        utterances,
        reasons.append,
        change=degradation,
        frames_dtype=get_store_dtype(run),  # as in the store of the clean ones
    )
    kept = [utterances[index] for index in indices]
    return replace(
        clean,
        embeddings=embeddings,
        paths=np.array([str(utterance.path) for utterance in kept]),
        singers=np.array([utterance.singer for utterance in kept]),
    )


Sides = tuple[Float[np.ndarray, "utterances embedding"], Float[np.ndarray, "utterances embedding"], np.ndarray]


def _join_seeds(
    cells: list[SweepCell], judged: JudgedRuns, degraded: dict[str, SplitEmbeddings]
) -> dict[str, list[Sides]]:
    """Return for each cell and seed: clean embeddings, degraded ones in the same order, and which of them exist."""
    joined: dict[str, list[Sides]] = {}
    for cell in cells:
        of_seed: defaultdict[int, list[FinishedRun]] = defaultdict(list)
        for run in cell.runs:
            of_seed[run.seed].append(run)
        joined[cell.name] = []
        for runs in of_seed.values():
            clean = judged.embeddings[str(runs[0].path)]
            places = {path: place for place, path in enumerate(clean.paths.tolist())}
            tests, is_usable = np.zeros_like(clean.embeddings), np.zeros(len(places), bool)
            for embedded in (degraded[str(run.path)] for run in runs):
                rows = [places[path] for path in embedded.paths.tolist()]
                tests[rows], is_usable[rows] = embedded.embeddings, True
            if judged.split == FOLDS_SPLIT:  # rounded as those that they are compared with
                rounded = tests[is_usable].astype(np.float16).astype(tests.dtype)
                tests[is_usable] = rounded / np.linalg.norm(rounded, axis=1, keepdims=True)
            joined[cell.name].append((clean.embeddings, tests, is_usable))
    return joined


def _compute_rates(
    seeds: list[Sides], is_usable: Bool[np.ndarray, " utterances"], shared: SharedTrials, name: str
) -> Float[np.ndarray, "2 values"]:
    """Compute the EER, degraded and clean: of all trials first, then in each resample; means over seeds."""
    left, right = shared.trials.left, shared.trials.right
    chosen = is_usable[left] & is_usable[right]
    left, right, is_target = left[chosen], right[chosen], np.tile(shared.trials.is_target[chosen], 2)
    if is_target.all() or not is_target.any():
        raise SingerVerifyError(
            f"{name}: only {int(is_usable.sum())} of {len(is_usable)} recordings can be used by all cells, too few for "
            f"an EER; choose a milder strength."
        )
    left_singers, right_singers = (np.tile(side[chosen], 2) for side in shared.singers)
    draws = shared.draws[:NUM_ROBUSTNESS_RESAMPLES]
    rates = []
    for enrolled, tests, _ in seeds:
        for side in (tests, enrolled):
            directions = ((enrolled[left], side[right]), (side[left], enrolled[right]))
            scores = np.concatenate([np.einsum("te,te->t", *both) for both in directions])
            resampled = compute_resampled_metrics(scores, left_singers, right_singers, draws, {EER: METRICS[EER]})[EER]
            rates.append(np.concatenate([[compute_eer(scores, is_target)[0]], resampled]))
    return np.stack([np.mean(rates[0::2], axis=0), np.mean(rates[1::2], axis=0)])


def _average_rates(by_kind: list[list[np.ndarray]]) -> CellRobustness:
    degraded, clean = np.mean([np.mean(strengths, axis=0) for strengths in by_kind], axis=0)
    estimates = (compute_percentile_interval(float(rates[0]), rates[1:]) for rates in (degraded, degraded - clean))
    return CellRobustness(*estimates)
