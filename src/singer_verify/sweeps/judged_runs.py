"""Embeddings of the same utterances by all runs of a sweep: of a split, or of all singers over folds."""

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from singer_verify.corpora.corpus import CORPUS_SEPARATOR, Corpus
from singer_verify.corpora.folds import ALL_SPLIT, JUDGED_SPLIT
from singer_verify.errors import SingerVerifyError
from singer_verify.logging_once import omit_repeated_messages
from singer_verify.store import index
from singer_verify.sweeps.cells import FinishedRun, SweepCell
from singer_verify.sweeps.split_embeddings import (
    SplitEmbeddings,
    load_split_embeddings,
    read_run_folds,
    read_split_corpus,
    require_one_corpus,
)


@dataclass(frozen=True)
class JudgedRuns:
    """Cells of a sweep with what their models make of the same utterances.

    Attributes:
        cells: the cells; with folds, the runs of one seed count as one, whose path is that of its first fold.
        embeddings: embeddings by path of the run, of the same utterances in the same order.
        corpus: corpus of the utterances.
        split: its split that they are in.
        blocks: (utterances,), fold and corpus as a number: utterances of the same are compared; None for one block.
    """

    cells: list[SweepCell]
    embeddings: dict[str, SplitEmbeddings]
    corpus: Corpus
    split: str
    blocks: Int[np.ndarray, " utterances"] | None = None


def load_run_embeddings(cells: list[SweepCell], split: str, corpus: Path | None) -> JudgedRuns:
    """Embed one split of one corpus by every run.

    Args:
        cells: cells of a sweep.
        split: name of the split.
        corpus: root folder of the corpus; None takes the one that all runs were validated on.

    Raises:
        SingerVerifyError: the runs have no corpus in common, or a model or the corpus cannot be used.
    """
    runs = [run for cell in cells for run in cell.runs]
    read = read_split_corpus(require_one_corpus(runs, corpus), split)
    with omit_repeated_messages(index.log):  # runs share a corpus, and a file that cannot be used is named once
        embeddings = {
            str(run.path): load_split_embeddings(run, split, read, f"Embedding {number} of {len(runs)}")
            for number, run in enumerate(runs, start=1)
        }
    return JudgedRuns(cells, embeddings, read, split)


def load_fold_embeddings(cells: list[SweepCell]) -> JudgedRuns:
    """Embed every singer by the models that have not heard them, and by imported models.

    Raises:
        SingerVerifyError: a run has no folds or others, or a model or the corpus cannot be used.
    """
    runs = [run for cell in cells for run in cell.runs]
    first = next(run for run in runs if run.num_folds)
    for run in runs:
        if "root" in run.data and _get_division(run) != _get_division(first):
            raise SingerVerifyError(
                f"{run.path} cannot be compared with {first.path}, because their trials differ: it has "
                f"{_describe_division(run)}, that {_describe_division(first)}; leave one of the runs out, or evaluate "
                f"all on one corpus with --corpus."
            )
    whole = read_run_folds(first).whole
    assert whole is not None
    pooled, embeddings = list[SweepCell](), dict[str, SplitEmbeddings]()
    fold_by_path: dict[str, int] = {}
    number = 0
    with omit_repeated_messages(index.log):  # runs share a corpus, and a file that cannot be used is named once
        for cell in cells:
            of_seed: defaultdict[int, list[FinishedRun]] = defaultdict(list)
            for run in cell.runs:
                of_seed[run.seed].append(run)
            for of_one in of_seed.values():
                parts = []
                for run in of_one:
                    number += 1
                    title = f"Embedding {number} of {len(runs)}"
                    if run.num_folds:
                        parts.append(load_split_embeddings(run, JUDGED_SPLIT, read_run_folds(run), title))
                        fold_by_path |= dict.fromkeys(parts[-1].paths.tolist(), run.fold)
                    else:
                        parts.append(load_split_embeddings(run, ALL_SPLIT, whole, title))
                embeddings[str(of_one[0].path)] = _join_embeddings(parts)
            pooled.append(replace(cell, runs=tuple(_join_runs(of_one) for of_one in of_seed.values())))
    judged = next(iter(embeddings.values()))
    corpora = [singer.rpartition(CORPUS_SEPARATOR)[0] for singer in judged.singers.tolist()]
    keys = [f"{fold_by_path[path]}/{name}" for path, name in zip(judged.paths.tolist(), corpora, strict=True)]
    return JudgedRuns(pooled, embeddings, whole, ALL_SPLIT, np.unique(keys, return_inverse=True)[1].astype(np.int64))


def _get_division(run: FinishedRun) -> tuple[Any, ...]:
    roots = run.data["root"]
    return run.num_folds, *sorted([roots] if isinstance(roots, str) else roots)


def _describe_division(run: FinishedRun) -> str:
    folds = f"{run.num_folds} folds" if run.num_folds else "no folds"
    return f"{folds} of data.root={run.data['root']}"


def _join_embeddings(parts: list[SplitEmbeddings]) -> SplitEmbeddings:
    """Join the embeddings of all folds, sorted by singer and path."""
    arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in ("embeddings", "paths", "singers"))
    embeddings, paths, singers = arrays
    order = np.lexsort((paths.astype(str), singers.astype(str)))
    return replace(parts[0], embeddings=embeddings[order], paths=paths[order], singers=singers[order])


def _join_runs(runs: list[FinishedRun]) -> FinishedRun:
    """Return the first of some runs with the training time of all."""
    seconds = [run.seconds for run in runs if run.seconds is not None]
    return replace(runs[0], seconds=sum(seconds) if seconds else None)
