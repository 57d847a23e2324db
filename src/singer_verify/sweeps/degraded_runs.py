"""Robustness of the cells of a sweep: the trials of a leaderboard again, after the test recordings were degraded.

As in `inference.robustness`, every pair of utterances is two trials: either of them is the degraded one once. Degraded
embeddings are kept in the runs' folders, beside the clean ones, and exported in 8 bits.
"""

import hashlib
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from rich.console import Console
from rich.progress import track

from singer_verify.corpora.corpus import Corpus
from singer_verify.corpora.folds import ALL_SPLIT, JUDGED_SPLIT
from singer_verify.data.degradations import KINDS, Degradation
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
from singer_verify.sweeps.exported_results import (
    compress_embeddings,
    decompress_embeddings,
    export_degraded_embeddings,
    read_degraded_embeddings,
)
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

log = logging.getLogger(__name__)
NUM_ROBUSTNESS_RESAMPLES = 500  # intervals need no p values, so fewer do


@dataclass(frozen=True)
class DegradedRates:
    """Error rates of a cell after one degradation: means over its seeds.

    Attributes:
        degradation: the degradation.
        eer: equal error rate of the degraded trials.
        clean: that of the same trials as they are.
        difference: the first minus the second, in the same resamples of the singers.
    """

    degradation: Degradation
    eer: Estimate
    clean: Estimate
    difference: Estimate


@dataclass(frozen=True)
class CellRobustness:
    """Error rates of a cell after degradations: means over its seeds, over strengths, and then over kinds.

    Attributes:
        eer: equal error rate of the degraded trials.
        difference: the same minus that of the same trials as they are.
        rates: those after each degradation.
        seeds: seeds whose recordings were degraded.
    """

    eer: Estimate
    difference: Estimate
    rates: tuple[DegradedRates, ...]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class SweepRobustness:
    """Error rates of cells after degradations.

    Attributes:
        cells: error rates by name of the cell; of exported results, only the cells whose recordings were degraded.
        degradations: the degradations, those of a kind side by side, the mildest first.
        max_unusable: largest number of recordings that one of them makes unusable.
    """

    cells: dict[str, CellRobustness] = field(default_factory=dict)
    degradations: tuple[Degradation, ...] = ()
    max_unusable: int = 0


DegradedRuns = dict[str, dict[str, SplitEmbeddings]]  # embeddings by path of the run and name of the degradation


def measure_robustness(
    cells: list[SweepCell],
    judged: JudgedRuns,
    shared: SharedTrials,
    degradations: Sequence[Degradation],
    sweep: Path,
    export_to: Path | None = None,
) -> SweepRobustness:
    """Evaluate cells after each degradation, on the recordings that all of them can still use.

    Exported results are evaluated after the degradations that they hold: all cells whose recordings were degraded,
    after those degradations that these have in common.

    Args:
        cells: cells of the sweep; with folds, each with the runs of all folds.
        judged: clean embeddings of their judged utterances.
        shared: trials and resamples.
        degradations: degradations, each evaluated by itself; of exported results, none stands for all.
        sweep: folder of the runs.
        export_to: folder that embeddings of degraded recordings are added to; None exports nothing.

    Raises:
        SingerVerifyError: exported results hold none of a degradation, or too few recordings can be used.
    """
    runs = [run for cell in cells for run in cell.runs]
    if judged.corpus is None:
        degraded = {str(run.path): read_degraded_embeddings(run, judged.split) for run in runs}
        named = _find_common_degradations(cells, degraded, degradations)
    elif not degradations:
        return SweepRobustness()
    else:
        named = {_name_degradation(degradation): degradation for degradation in degradations}
        degraded = {}
        for run in track(runs, "Embedding degraded recordings", console=Console(stderr=True), transient=True):
            loaded = _load_degraded_embeddings(run, judged, degradations)
            degraded[str(run.path)] = {_name_degradation(key): embedded for key, embedded in loaded.items()}
            if export_to is not None:
                clean = judged.run_embeddings[str(run.path)]
                export_degraded_embeddings(sweep, run, clean, degraded[str(run.path)], judged.split, export_to)
    return _compare_degraded(cells, judged, shared, dict(sorted(named.items(), key=_get_place)), degraded)


def _name_degradation(degradation: Degradation) -> str:
    """Name a degradation in files: its kind and strength, and a hash of the names and sizes of accompanying files."""
    name = f"{degradation.kind}={degradation.strength!r}"
    if not degradation.accompaniment:
        return name
    states = [(file.name, file.stat().st_size) for file in degradation.accompaniment]
    return f"{name} files {hashlib.sha256(repr(states).encode()).hexdigest()[:8]}"


def _read_degradation(name: str) -> Degradation:
    kind, _, strength = name.partition(" ")[0].partition("=")
    return Degradation(kind, float(strength))


def _get_place(named: tuple[str, Degradation]) -> tuple[int, float, str]:
    """Return a key that sorts degradations by kind, and those of a kind from the mildest to the strongest."""
    name, degradation = named
    defaults = KINDS[degradation.kind].defaults
    sign = -1.0 if defaults[0] > defaults[-1] else 1.0
    return list(KINDS).index(degradation.kind), sign * degradation.strength, name


def _find_common_degradations(
    cells: list[SweepCell], degraded: DegradedRuns, wanted: Sequence[Degradation]
) -> dict[str, Degradation]:
    """Find the degradations that all cells hold that hold any; or those that are wanted.

    Raises:
        SingerVerifyError: no cell holds one that is wanted.
    """
    held = [names for cell in cells if (names := _list_degradations(cell, degraded))]
    for degradation in wanted:
        if not any(_name_degradation(degradation) in names for names in held):
            raise SingerVerifyError(
                f"--degrade {degradation.kind}={degradation.strength:g}: the exported results hold no recordings "
                f"degraded like that; give --degrade and --export-results for the runs that they come from."
            )
    if not held:
        return {}
    if wanted:
        return {_name_degradation(degradation): degradation for degradation in wanted}
    common, every = set.intersection(*held), set.union(*held)
    if every != common:
        log.warning("Left out: degradations that only some cells hold (%s).", ", ".join(sorted(every - common)))
    return {name: _read_degradation(name) for name in common}


def _list_degradations(cell: SweepCell, degraded: DegradedRuns) -> set[str]:
    """List the degradations that all folds of a seed of a cell hold."""
    return set[str]().union(
        *(set.intersection(*(set(degraded[str(run.path)]) for run in runs)) for runs in _group_by_seed(cell).values())
    )


def _group_by_seed(cell: SweepCell) -> dict[int, list[FinishedRun]]:
    by_seed: defaultdict[int, list[FinishedRun]] = defaultdict(list)
    for run in cell.runs:
        by_seed[run.seed].append(run)
    return dict(by_seed)


def _compare_degraded(
    cells: list[SweepCell],
    judged: JudgedRuns,
    shared: SharedTrials,
    named: dict[str, Degradation],
    degraded: DegradedRuns,
) -> SweepRobustness:
    """Compute the rates of all cells and seeds that hold all of some degradations."""
    seeds: dict[str, dict[int, list[FinishedRun]]] = {}
    for cell in cells:
        complete = {
            seed: runs
            for seed, runs in _group_by_seed(cell).items()
            if all(named.keys() <= degraded[str(run.path)].keys() for run in runs)
        }
        if complete and named:
            seeds[cell.name] = complete
    if not seeds:
        return SweepRobustness()
    by_name: dict[str, dict[str, np.ndarray]] = {}
    max_unusable = 0
    for name in track(named, "Resampling singers", console=Console(stderr=True), transient=True):
        joined = {
            cell: [
                _join_folds(runs, judged, [degraded[str(run.path)][name] for run in runs]) for runs in of_cell.values()
            ]
            for cell, of_cell in seeds.items()
        }
        is_usable = np.logical_and.reduce([sides.is_usable for of_cell in joined.values() for sides in of_cell])
        max_unusable = max(max_unusable, int((~is_usable).sum()))
        title = f"--degrade {named[name].kind}={named[name].strength:g}"
        by_name[name] = {cell: _compute_rates(sides, is_usable, shared, title) for cell, sides in joined.items()}
    robustness = {
        cell: _average_rates([(named[name], rates[cell]) for name, rates in by_name.items()], tuple(of_cell))
        for cell, of_cell in seeds.items()
    }
    return SweepRobustness(robustness, tuple(named.values()), max_unusable)


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


@dataclass(frozen=True)
class DegradedSides:
    """Embeddings of one seed of a cell.

    Attributes:
        enrolled: (utterances, embedding), of the recordings as they are.
        clean: the same as test recordings, rounded as the degraded ones are.
        tests: of the degraded recordings, zero where one cannot be used.
        is_usable: whether a degraded recording can be used.
    """

    enrolled: Float[np.ndarray, "utterances embedding"]
    clean: Float[np.ndarray, "utterances embedding"]
    tests: Float[np.ndarray, "utterances embedding"]
    is_usable: Bool[np.ndarray, " utterances"]


def _join_folds(runs: list[FinishedRun], judged: JudgedRuns, degraded: list[SplitEmbeddings]) -> DegradedSides:
    """Join what the runs of one seed embedded, in the order of the clean embeddings.

    All test recordings are rounded to 8 bits, in which degraded ones are exported, so that what changes no recording
    makes no difference.
    """
    enrolled = judged.embeddings[str(runs[0].path)]
    places = {path: place for place, path in enumerate(enrolled.paths.tolist())}
    tests, is_usable = np.zeros_like(enrolled.embeddings), np.zeros(len(places), bool)
    for embedded in degraded:
        rows = [places[path] for path in embedded.paths.tolist()]
        tests[rows], is_usable[rows] = embedded.embeddings, True
    clean, tests = (decompress_embeddings(compress_embeddings(sides)) for sides in (enrolled.embeddings, tests))
    return DegradedSides(enrolled.embeddings, clean, tests, is_usable)


def _compute_rates(
    seeds: list[DegradedSides], is_usable: Bool[np.ndarray, " utterances"], shared: SharedTrials, name: str
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
    for seed in seeds:
        enrolled = seed.enrolled
        for side in (seed.tests, seed.clean):
            directions = ((enrolled[left], side[right]), (side[left], enrolled[right]))
            scores = np.concatenate([np.einsum("te,te->t", *both) for both in directions])
            resampled = compute_resampled_metrics(scores, left_singers, right_singers, draws, {EER: METRICS[EER]})[EER]
            rates.append(np.concatenate([[compute_eer(scores, is_target)[0]], resampled]))
    return np.stack([np.mean(rates[0::2], axis=0), np.mean(rates[1::2], axis=0)])


def _average_rates(rates: list[tuple[Degradation, np.ndarray]], seeds: tuple[int, ...]) -> CellRobustness:
    """Estimate the rates after each degradation, and their mean over kinds of the means over strengths."""
    by_kind: defaultdict[str, list[np.ndarray]] = defaultdict(list)
    for degradation, both in rates:
        by_kind[degradation.kind].append(both)
    mean = np.mean([np.mean(strengths, axis=0) for strengths in by_kind.values()], axis=0)
    eer, _, difference = _estimate_rates(mean)
    each = tuple(DegradedRates(degradation, *_estimate_rates(both)) for degradation, both in rates)
    return CellRobustness(eer, difference, each, seeds)


def _estimate_rates(both: Float[np.ndarray, "2 values"]) -> tuple[Estimate, Estimate, Estimate]:
    """Estimate the rate after degradation, before it, and the difference."""
    degraded, clean = both
    eer, before, difference = (
        compute_percentile_interval(float(rates[0]), rates[1:]) for rates in (degraded, clean, degraded - clean)
    )
    return eer, before, difference
