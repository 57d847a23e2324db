"""Cells compared on one corpus at a time, and which of them can be told from the one with the lowest EER."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from singer_verify.corpora.corpus import CORPUS_SEPARATOR
from singer_verify.evaluation.metrics.bootstrap import (
    SIGNIFICANCE_LEVEL,
    Estimate,
    PairedDifference,
    compare_paired,
    compute_percentile_interval,
)
from singer_verify.evaluation.metrics.registry import EER, METRICS
from singer_verify.evaluation.trials.trial_list import compute_cosine_scores
from singer_verify.sweeps.judged_runs import JudgedRuns
from singer_verify.sweeps.shared_trials import SharedTrials, build_shared_trials


@dataclass(frozen=True)
class CorpusSize:
    """A corpus that cells are compared on.

    Attributes:
        name: name of its folder.
        num_singers: number of singers.
        num_utterances: number of utterances.
        num_targets: number of target trials.
        num_nontargets: number of non-target trials.
        is_unseen: whether no run was trained on any singer of it, so that it is no part of the folds.
    """

    name: str
    num_singers: int
    num_utterances: int
    num_targets: int
    num_nontargets: int
    is_unseen: bool


@dataclass(frozen=True)
class CorpusResult:
    """A cell's EER on a corpus, and its difference from the baseline's, corrected for the comparisons there."""

    eer: Estimate
    difference: PairedDifference | None


@dataclass(frozen=True)
class Winner:
    """What can be said of the cell with the lowest EER.

    Attributes:
        corpus: name of the corpus; empty for all trials.
        name: name of the cell.
        p_holm: of every other cell, p value of its difference from that cell, corrected for their number.
    """

    corpus: str
    name: str
    p_holm: dict[str, float]

    @property
    def equals(self) -> list[str]:
        """Names of the cells that cannot be told from it, the most different one last."""
        return sorted(
            (name for name, p in self.p_holm.items() if p >= SIGNIFICANCE_LEVEL), key=lambda name: -self.p_holm[name]
        )


@dataclass(frozen=True)
class CorpusTrials:
    """The trials of one corpus, and what all models make of its utterances.

    Attributes:
        name: name of the corpus.
        is_unseen: whether it is no part of the folds.
        shared: trials and resamples.
        embeddings: embeddings of the utterances by every model of a cell, by name of the cell.
    """

    name: str
    is_unseen: bool
    shared: SharedTrials
    embeddings: dict[str, list[Float[np.ndarray, "utterances embedding"]]]


def build_corpus_trials(judged: JudgedRuns, unseen: Sequence[JudgedRuns], num_resamples: int) -> list[CorpusTrials]:
    """Build the trials of each corpus that was judged over folds, if there are several, and of each unseen one.

    Args:
        judged: runs judged over folds, or on a split.
        unseen: runs judged on unseen corpora.
        num_resamples: number of bootstrap resamples.
    """
    singers = next(iter(judged.embeddings.values())).singers
    corpora = np.array([singer.rpartition(CORPUS_SEPARATOR)[0] for singer in singers.tolist()])
    names = np.unique(corpora)
    parts = [(str(name), judged, corpora == name) for name in names] if len(names) > 1 else []
    parts += [(world.corpus_name, world, np.ones(len(world.paths), bool)) for world in unseen]
    return [
        CorpusTrials(
            name,
            world is not judged,
            build_shared_trials(
                next(iter(world.embeddings.values())).singers[chosen],
                {},
                num_resamples,
                None if world.blocks is None else world.blocks[chosen],
            ),
            {
                cell.name: [world.embeddings[str(run.path)].embeddings[chosen] for run in cell.runs]
                for cell in world.cells
            },
        )
        for name, world, chosen in parts
    ]


def compare_on_corpus(corpus: CorpusTrials, baseline: str | None) -> tuple[CorpusSize, dict[str, CorpusResult], Winner]:
    """Compare cells on one corpus; its singers are resampled, and comparisons on it are a family of their own.

    Args:
        corpus: trials and embeddings.
        baseline: name of the cell to compare with, if any.
    """
    shared, eers, resampled = corpus.shared, dict[str, float](), dict[str, np.ndarray]()
    num_singers = shared.draws.shape[1]
    for name, models in corpus.embeddings.items():
        scores = [compute_cosine_scores(embeddings, shared.trials) for embeddings in models]
        eers[name] = shared.compute_eer(scores)
        resampled[name] = shared.resample(scores, {EER: METRICS[EER]})[EER]
    differences = {} if baseline is None else compare_paired(eers, resampled, baseline, num_singers)
    results = {
        name: CorpusResult(compute_percentile_interval(eers[name], resampled[name]), differences.get(name))
        for name in eers
    }
    num_targets = int(shared.trials.is_target.sum())
    size = CorpusSize(
        corpus.name,
        num_singers,
        len(shared.singer_index),
        num_targets,
        len(shared.trials.is_target) - num_targets,
        corpus.is_unseen,
    )
    return size, results, find_winner(corpus.name, eers, resampled, num_singers)


def find_winner(
    corpus: str, eers: Mapping[str, float], resampled: Mapping[str, np.ndarray], num_singers: int
) -> Winner:
    """Find the cell with the lowest EER, and compare all others with it.

    Args:
        corpus: name of the corpus; empty for all trials.
        eers: EER of each cell.
        resampled: EER of each cell in every resample.
        num_singers: number of singers that were resampled.
    """
    best = min(eers, key=lambda name: (eers[name], name))
    compared = compare_paired(eers, resampled, best, num_singers)
    return Winner(corpus, best, {name: found.p_holm for name, found in compared.items()})
