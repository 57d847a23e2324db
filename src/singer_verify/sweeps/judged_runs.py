"""Embeddings of the same utterances by all runs of a sweep: of a split, or of all singers over folds."""

import logging
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from singer_verify.corpora.corpus import CORPUS_SEPARATOR, Corpus
from singer_verify.corpora.folds import ALL_SPLIT, JUDGED_SPLIT
from singer_verify.corpora.labels import get_corpus_name, read_utterance_labels
from singer_verify.errors import SingerVerifyError
from singer_verify.logging_once import omit_repeated_messages
from singer_verify.runs.tree import format_corpus_name
from singer_verify.store import index
from singer_verify.sweeps.cells import FinishedRun, SweepCell
from singer_verify.sweeps.exported_results import (
    UtteranceTable,
    export_results,
    has_exported_embeddings,
    list_exported_tables,
    read_exported_embeddings,
    read_utterance_table,
    strip_prefixes,
)
from singer_verify.sweeps.split_embeddings import (
    SplitEmbeddings,
    load_split_embeddings,
    read_run_folds,
    read_split_corpus,
    read_whole_corpus,
    require_one_corpus,
)

log = logging.getLogger(__name__)
DEFAULT_SPLIT, FOLDS_SPLIT = "val", "folds"
UNSEEN_PREFIX = "unseen-"


@dataclass(frozen=True)
class JudgedRuns:
    """Cells of a sweep with what their models make of the same utterances.

    Attributes:
        cells: the cells; with folds, the runs of one seed count as one, whose path is that of its first fold.
        embeddings: embeddings by path of the run, of the same utterances in the same order.
        run_embeddings: what each run embedded, by its path; with folds, the judged utterances of its fold, rounded.
        split: name of the split; `folds` where all singers are judged over folds, `unseen-<name>` for all utterances
            of an unseen corpus.
        corpus: corpus of the utterances; None where only exported results of it are there.
        blocks: (utterances,), fold and corpus as a number: utterances of the same are compared; None for one block.
    """

    cells: list[SweepCell]
    embeddings: dict[str, SplitEmbeddings]
    run_embeddings: dict[str, SplitEmbeddings]
    split: str
    corpus: Corpus | None
    blocks: Int[np.ndarray, " utterances"] | None = None

    @property
    def paths(self) -> list[str]:
        """Paths of the utterances, relative to the root of the corpus."""
        return list(next(iter(self.embeddings.values())).paths.tolist())

    @property
    def corpus_name(self) -> str:
        """Name of an unseen corpus."""
        return self.split.removeprefix(UNSEEN_PREFIX)

    @property
    def audio_files(self) -> list[Path]:
        """The files of the utterances; none where only exported results are there."""
        return [] if self.corpus is None else [self.corpus.root / path for path in self.paths]


def load_judged_runs(cells: list[SweepCell], split: str | None, corpus: Path | None) -> JudgedRuns:
    """Embed the same utterances by every run.

    Args:
        cells: cells of a sweep.
        split: evaluated split; None takes `val`, or the judged folds where the runs have folds.
        corpus: root folder of the corpus; None takes that of the runs.

    Raises:
        SingerVerifyError: see `load_fold_embeddings` and `load_run_embeddings`.
    """
    if corpus is None and split is None and any(run.num_folds for cell in cells for run in cell.runs):
        return load_fold_embeddings(cells)
    return load_run_embeddings(cells, split or DEFAULT_SPLIT, corpus)


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
    if _are_exported(runs):
        exported = {str(run.path): read_exported_embeddings(run, split) for run in runs}
        return JudgedRuns(cells, exported, exported, split, None)
    read = read_split_corpus(require_one_corpus(runs, corpus), split)
    with omit_repeated_messages(index.log):  # runs share a corpus, and a file that cannot be used is named once
        embeddings = {
            str(run.path): load_split_embeddings(run, split, read, f"Embedding {number} of {len(runs)}")
            for number, run in enumerate(runs, start=1)
        }
    return JudgedRuns(cells, embeddings, embeddings, split, read)


def load_fold_embeddings(cells: list[SweepCell]) -> JudgedRuns:
    """Embed every singer by the models that have not heard them, and by imported models.

    Embeddings are rounded to half precision, in which they are exported.

    Raises:
        SingerVerifyError: a run has no folds or others, or a model or the corpus cannot be used.
    """
    runs = [run for cell in cells for run in cell.runs]
    first = next(run for run in runs if run.num_folds)
    are_exported = _are_exported(runs)
    for run in runs:
        if "root" in run.data and _get_division(run) != _get_division(first):
            raise SingerVerifyError(
                f"{run.path} cannot be compared with {first.path}, because their trials differ: it has "
                f"{_describe_division(run)}, that {_describe_division(first)}; leave one of the runs out, or evaluate "
                f"all on one corpus with --corpus."
            )
    whole = None if are_exported else read_run_folds(first).whole
    load = _load_exported_fold if whole is None else _build_fold_loader(whole, len(runs))
    with omit_repeated_messages(index.log):  # runs share a corpus, and a file that cannot be used is named once
        run_embeddings = {str(run.path): load(run) for run in runs}
    fold_by_path: dict[str, int] = {}
    for run in runs:
        if run.num_folds:
            fold_by_path |= dict.fromkeys(run_embeddings[str(run.path)].paths.tolist(), run.fold)
    pooled, embeddings = list[SweepCell](), dict[str, SplitEmbeddings]()
    for cell in cells:
        of_seed: defaultdict[int, list[FinishedRun]] = defaultdict(list)
        for run in cell.runs:
            of_seed[run.seed].append(run)
        for of_one in of_seed.values():
            embeddings[str(of_one[0].path)] = _join_embeddings([run_embeddings[str(run.path)] for run in of_one])
        pooled.append(replace(cell, runs=tuple(_join_runs(of_one) for of_one in of_seed.values())))
    judged = next(iter(embeddings.values()))
    corpora = [singer.rpartition(CORPUS_SEPARATOR)[0] for singer in judged.singers.tolist()]
    keys = [f"{fold_by_path[path]}/{name}" for path, name in zip(judged.paths.tolist(), corpora, strict=True)]
    blocks = np.unique(keys, return_inverse=True)[1].astype(np.int64)
    return JudgedRuns(pooled, embeddings, run_embeddings, FOLDS_SPLIT, whole, blocks)


def load_unseen_embeddings(cells: list[SweepCell], sweep: Path, roots: Sequence[Path]) -> list[JudgedRuns]:
    """Embed all utterances of each of some corpora by every run; with folds, the models of all folds do.

    Embeddings are rounded to half precision, in which they are exported. Where only exported results are there, those
    of all unseen corpora that every run was evaluated on are read.

    Args:
        cells: cells of a sweep.
        sweep: folder of the runs.
        roots: root folders of the corpora.

    Raises:
        SingerVerifyError: a run was trained on one of the corpora, two have the same name, or a model or a corpus
            cannot be used.
    """
    runs = [run for cell in cells for run in cell.runs]
    if _are_exported(runs):
        if roots:
            raise SingerVerifyError(
                f"--unseen {roots[0]}: exported results are compared on the corpora that they hold; leave it out."
            )
        return _read_unseen_embeddings(cells, sweep)
    names = [get_corpus_name(root) for root in roots]
    judged = []
    for root, name in zip(roots, names, strict=True):
        if names.count(name) > 1:
            raise SingerVerifyError(f"--unseen: two corpora are in folders named {name}; rename one of them.")
        for run in runs:
            if any(root.resolve() == Path(trained).resolve() for trained in _list_roots(run)):
                raise SingerVerifyError(f"--unseen {root}: {run.path} was trained on it; give one of other singers.")
        corpus, split = read_whole_corpus(root), f"{UNSEEN_PREFIX}{name}"
        embeddings = {}
        with omit_repeated_messages(index.log):
            for number, run in enumerate(runs, start=1):
                title = f"Embedding {name}, {number} of {len(runs)}"
                loaded = load_split_embeddings(run, ALL_SPLIT, corpus, title, split)
                embeddings[str(run.path)] = _round_to_half(loaded)
        judged.append(_join_unseen(cells, embeddings, split, corpus))
    return judged


def _read_unseen_embeddings(cells: list[SweepCell], sweep: Path) -> list[JudgedRuns]:
    runs, judged = [run for cell in cells for run in cell.runs], []
    for split in list_exported_tables(sweep):
        if not split.startswith(UNSEEN_PREFIX):
            continue
        if lacking := [run for run in runs if not has_exported_embeddings(run, split)]:
            log.warning(
                "Left out: the corpus %s, on which %d of %d runs were not evaluated (%s).",
                *(split.removeprefix(UNSEEN_PREFIX), len(lacking), len(runs), lacking[0].path.name),
            )
            continue
        embeddings = {str(run.path): read_exported_embeddings(run, split) for run in runs}
        judged.append(_join_unseen(cells, embeddings, split, None))
    return judged


def _join_unseen(
    cells: list[SweepCell], embeddings: dict[str, SplitEmbeddings], split: str, corpus: Corpus | None
) -> JudgedRuns:
    joined = {path: _join_embeddings([rounded]) for path, rounded in embeddings.items()}
    return JudgedRuns(cells, joined, embeddings, split, corpus)


def _round_to_half(embeddings: SplitEmbeddings) -> SplitEmbeddings:
    return replace(embeddings, embeddings=embeddings.embeddings.astype(np.float16).astype(np.float32))


def _are_exported(runs: list[FinishedRun]) -> bool:
    """Return whether there are only exported results of the runs.

    Raises:
        SingerVerifyError: of some of them, but not of others.
    """
    exported = [run for run in runs if run.is_exported]
    if exported and len(exported) < len(runs):
        trained = next(run for run in runs if not run.is_exported)
        raise SingerVerifyError(
            f"{trained.path} cannot be compared with {exported[0].path}, which holds exported results; expected "
            f"exported results only, or none: export the others with --export-results too."
        )
    return bool(exported)


def _load_exported_fold(run: FinishedRun) -> SplitEmbeddings:
    return read_exported_embeddings(run, FOLDS_SPLIT)


def _build_fold_loader(whole: Corpus, num_runs: int) -> Callable[[FinishedRun], SplitEmbeddings]:
    """Return a function that embeds the judged fold of a run, or all utterances by imported weights."""
    num_loaded = 0

    def load(run: FinishedRun) -> SplitEmbeddings:
        nonlocal num_loaded
        num_loaded += 1
        split, corpus = (JUDGED_SPLIT, read_run_folds(run)) if run.num_folds else (ALL_SPLIT, whole)
        loaded = load_split_embeddings(run, split, corpus, f"Embedding {num_loaded} of {num_runs}")
        return _round_to_half(loaded)

    return load


def read_judged_labels(judged: JudgedRuns, sweep: Path) -> dict[str, np.ndarray]:
    """Read the labels of the judged utterances: of their corpora, or of exported results.

    Args:
        judged: runs that were judged.
        sweep: folder of the runs.

    Raises:
        SingerVerifyError: a table cannot be read, or has no row for an utterance.
    """
    if judged.corpus is not None:
        (split,) = judged.corpus.splits.values()
        every = [utterance.path for utterance in split.utterances]
        return read_utterance_labels(judged.paths, judged.corpus.root, judged.corpus.part_roots, others=every)
    table = read_utterance_table(sweep, judged.split)
    rows = {str(path): row for row, path in enumerate(table.paths)}
    if missing := [path for path in judged.paths if path not in rows]:
        raise SingerVerifyError(
            f"{sweep}: the table of utterances has no row for {missing[0]} and {len(missing) - 1} others; export the "
            f"results again."
        )
    order = [rows[path] for path in judged.paths]
    return {label: values[order] for label, values in table.labels.items()}


def export_judged_runs(judged: JudgedRuns, cells: list[SweepCell], sweep: Path, folder: Path) -> None:
    """Export what a leaderboard needs of the judged runs to a folder.

    Args:
        judged: runs that were judged.
        cells: cells of the sweep as they were read.
        sweep: folder of the runs.
        folder: folder to write to.

    Raises:
        SingerVerifyError: only exported results are there, or the folder cannot be written to.
    """
    corpus = judged.corpus
    if corpus is None:
        raise SingerVerifyError(f"--export-results: {sweep} holds exported results already; copy the folder.")
    prefixes = _find_prefixes(corpus)
    first = next(iter(judged.embeddings.values()))
    paths = strip_prefixes(first.paths, prefixes)
    table = UtteranceTable(paths, first.singers, read_judged_labels(judged, sweep))
    is_rounded = judged.split == FOLDS_SPLIT or judged.split.startswith(UNSEEN_PREFIX)
    dtype = np.float16 if is_rounded else np.float32
    embeddings = {
        path: replace(run, embeddings=run.embeddings.astype(dtype), paths=strip_prefixes(run.paths, prefixes))
        for path, run in judged.run_embeddings.items()
    }
    export_results(sweep, [run for cell in cells for run in cell.runs], embeddings, table, judged.split, folder)


def list_exported_paths(judged: JudgedRuns) -> np.ndarray:
    """List the paths of the judged utterances as exported results name them: from the folder of their corpus on."""
    paths = np.array(judged.paths)
    return paths if judged.corpus is None else strip_prefixes(paths, _find_prefixes(judged.corpus))


def _find_prefixes(corpus: Corpus) -> dict[str, str]:
    """Find what stands for the folder of each corpus in the paths of several, and its name."""
    return {f"{os.path.relpath(root, corpus.root)}/": f"{root.name}/" for root in corpus.part_roots}


def _list_roots(run: FinishedRun) -> list[str]:
    """List the corpora that a run was trained on; none for imported weights."""
    roots = run.data.get("root", [])
    return [roots] if isinstance(roots, str) else list(roots)


def _get_division(run: FinishedRun) -> tuple[Any, ...]:
    return run.num_folds, *sorted(_list_roots(run))


def _describe_division(run: FinishedRun) -> str:
    folds = f"{run.num_folds} folds" if run.num_folds else "no folds"
    return f"{folds} of data.root={run.data['root']}"


def _join_embeddings(parts: list[SplitEmbeddings]) -> SplitEmbeddings:
    """Join the embeddings of all folds, sorted by singer and path; rounded ones become unit length again."""
    arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in ("embeddings", "paths", "singers"))
    embeddings, paths, singers = arrays
    embeddings = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    order = np.lexsort((paths.astype(str), singers.astype(str)))
    return replace(parts[0], embeddings=embeddings[order], paths=paths[order], singers=singers[order])


def _join_runs(runs: list[FinishedRun]) -> FinishedRun:
    """Return the first of some runs with the training time of all."""
    seconds = [run.seconds for run in runs if run.seconds is not None]
    return replace(runs[0], seconds=sum(seconds) if seconds else None)


def name_judged_corpus(cells: Sequence[SweepCell], given: Path | None) -> str:
    """Name the corpus that was given, or the one that all runs share; "" where they have none or several.

    Args:
        cells: the cells.
        given: its root folder; None takes that of the runs.
    """
    if given is not None:
        return get_corpus_name(given)
    names = {format_corpus_name(run.data.get("root")) for cell in cells for run in cell.runs} - {None}
    return names.pop() or "" if len(names) == 1 else ""
