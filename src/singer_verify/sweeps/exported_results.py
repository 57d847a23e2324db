"""What a leaderboard needs of its runs, in small files that can be committed: no checkpoint, no audio, no corpus.

A folder of exported results holds a table of the evaluated utterances, `utterances-<name>.csv`, with the singer and the
labels of each, and a folder for each run: its settings, metrics and record as in a run folder, and
`exported-<name>.npz`, the embeddings that were compared. `<name>` is `folds`, or the split. Where test recordings were
degraded, `degraded-<name>.npz` has the embeddings of these, in 8 bits; where probes measured pitch or duration,
`measured-<name>.csv` has them. Paths of utterances begin at the folder of their corpus, and of folders in settings only
the last name is kept, so that results of several machines can be put together.
"""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from jaxtyping import Float, Int8

from singer_verify.atomic_files import atomic_write, write_bytes_atomically
from singer_verify.corpora.tables import read_table
from singer_verify.errors import SingerVerifyError
from singer_verify.npz import ARRAY_READ_ERRORS, read_npz
from singer_verify.runs.folder import METRICS_FILENAME, RUN_FILENAME, write_json
from singer_verify.runs.settings import is_result_neutral, read_overrides, read_settings, strip_folders
from singer_verify.sweeps.cells import EXPORTED_FILENAME, SPEED_KEY, FinishedRun
from singer_verify.sweeps.split_embeddings import SplitEmbeddings

log = logging.getLogger(__name__)
DEGRADED_FILENAME = "degraded-{}.npz"
MEASURED_FILENAME = "measured-{}.csv"  # labels that were measured in the sound, to be probed
CLEAN_KEY, ROWS_PREFIX = "clean", "rows "  # of a file of degraded embeddings
MAX_LEVEL = 127
UTTERANCE_COLUMN, SINGER_COLUMN = "utterance", "singer"
KEPT_RECORDS = ("name", "started", "python", "packages", "git_commit", "imported")  # of run.json
OVERRIDES_FILENAME = "overrides.yaml"
NO_PROCESS = {"id": 0, "host": "", "began": 0.0}


@dataclass(frozen=True)
class UtteranceTable:
    """The utterances that models were evaluated on.

    Attributes:
        paths: (utterances,), of each utterance, from the folder of its corpus on.
        singers: (utterances,), singer of each.
        labels: values of all utterances by label, empty where unknown.
    """

    paths: np.ndarray
    singers: np.ndarray
    labels: dict[str, np.ndarray]


def get_table_path(folder: Path, name: str) -> Path:
    """Return the table of the evaluated utterances in a folder of exported results."""
    return folder / f"utterances-{name}.csv"


def list_exported_tables(folder: Path) -> list[str]:
    """List the names of what the results in a folder, or in folders below it, were evaluated on, sorted."""
    pattern = get_table_path(folder, "*").name
    prefix, suffix = pattern.split("*")
    return sorted({path.name[len(prefix) : -len(suffix)] for path in folder.rglob(pattern)})


def has_exported_embeddings(run: FinishedRun, name: str) -> bool:
    """Return whether a run's results hold embeddings of this name."""
    return (run.path / EXPORTED_FILENAME.format(name)).is_file()


def read_utterance_table(folder: Path, name: str) -> UtteranceTable:
    """Read the table of evaluated utterances; each of several folders of results below has the same one.

    Raises:
        SingerVerifyError: there is none of this name, several differ, or it cannot be read.
    """
    paths = sorted(folder.rglob(get_table_path(folder, name).name))
    if not paths:
        raise SingerVerifyError(
            f"{get_table_path(folder, name)}: no such file; expected it beside exported results: export them again."
        )
    path, *others = paths
    if differing := [other for other in others if other.read_bytes() != path.read_bytes()]:
        raise SingerVerifyError(
            f"{path} and {differing[0]}: hold other utterances or labels, so their runs cannot be compared; give the "
            f"folder of one of them."
        )
    table = read_table(path, "", (UTTERANCE_COLUMN,), {})
    if SINGER_COLUMN not in table.columns:
        raise SingerVerifyError(f"{path}: has no column {SINGER_COLUMN}; expected the table of exported results.")
    columns = {str(column): table[column].to_numpy(object) for column in table.columns}
    return UtteranceTable(columns.pop(UTTERANCE_COLUMN), columns.pop(SINGER_COLUMN), columns)


def read_measured_labels(folder: Path, name: str, paths: Sequence[str]) -> dict[str, np.ndarray]:
    """Read what was measured of the evaluated utterances, by label; nothing where nothing was exported.

    Raises:
        SingerVerifyError: the table cannot be read, or has no row for an utterance.
    """
    for path in sorted(folder.rglob(MEASURED_FILENAME.format(name))):
        table = read_table(path, "", (UTTERANCE_COLUMN,), {}).set_index(UTTERANCE_COLUMN)
        if missing := sorted(set(paths) - set(table.index)):
            raise SingerVerifyError(f"{path}: has no row for {missing[0]}; export what was measured again.")
        return {str(column): table.loc[list(paths), column].to_numpy(object) for column in table.columns}
    return {}


def export_measured_labels(folder: Path, name: str, paths: np.ndarray, labels: Mapping[str, np.ndarray]) -> None:
    """Add what was measured of the evaluated utterances to exported results; an unknown value stays empty.

    Args:
        folder: folder of exported results.
        name: name of the split, or `folds`.
        paths: (utterances,), from the folder of their corpus on.
        labels: (utterances,), measured values by label.
    """
    known = read_measured_labels(folder, name, paths.tolist()) if folder.is_dir() else {}
    texts = {
        label: [repr(value) if np.isfinite(value) else "" for value in values.tolist()]
        for label, values in labels.items()
    }
    content = pd.DataFrame({UTTERANCE_COLUMN: paths, **known, **texts}).to_csv(index=False, lineterminator="\n")
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes_atomically(folder / MEASURED_FILENAME.format(name), content.encode())


def read_exported_embeddings(run: FinishedRun, name: str) -> SplitEmbeddings:
    """Read the embeddings of a run that holds exported results.

    Raises:
        SingerVerifyError: they were not exported for this split, or the file is damaged.
    """
    path = run.path / EXPORTED_FILENAME.format(name)
    if not path.is_file():
        prefix, suffix = EXPORTED_FILENAME.split("{}")
        present = sorted(file.name[len(prefix) : -len(suffix)] for file in run.path.glob(EXPORTED_FILENAME.format("*")))
        raise SingerVerifyError(
            f"{run.path}: holds exported results on {', '.join(present)}, but not on {name}; export those of its run "
            f"on {name} too, with --export-results."
        )
    try:
        stored = read_npz(path)
        return SplitEmbeddings(
            stored["embeddings"].astype(np.float32),
            stored["paths"].astype(str),
            stored["singers"].astype(str),
            int(stored["num_parameters"]),
            int(stored["num_bins"]),
        )
    except ARRAY_READ_ERRORS as error:
        raise SingerVerifyError(f"{path}: is damaged ({error}); export the results of this run again.") from error


def export_results(
    sweep: Path,
    runs: Sequence[FinishedRun],
    embeddings: Mapping[str, SplitEmbeddings],
    utterances: UtteranceTable,
    name: str,
    folder: Path,
) -> None:
    """Write what a leaderboard needs of some runs; runs that the folder already holds are written again.

    Args:
        sweep: folder of the runs.
        runs: the runs.
        embeddings: embeddings by path of the run.
        utterances: the utterances of all of them.
        name: name of the split, or `folds`.
        folder: folder to write to.

    Raises:
        SingerVerifyError: the folder holds results on other utterances, or cannot be written to.
    """
    if folder.resolve() == sweep.resolve():
        raise SingerVerifyError(f"--export-results {folder}: is the folder of the runs; give another one.")
    folder.mkdir(parents=True, exist_ok=True)
    _write_utterance_table(get_table_path(folder, name), utterances)
    for run in runs:
        target = folder / run.path.relative_to(sweep)
        _refuse_other_run(run, target)
        target.mkdir(parents=True, exist_ok=True)
        _write_settings(run, target)
        with atomic_write(target / EXPORTED_FILENAME.format(name)) as part, open(part, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **asdict(embeddings[str(run.path)]))


def compress_embeddings(
    embeddings: Float[np.ndarray, "utterances embedding"],
) -> Int8[np.ndarray, "utterances embedding"]:
    """Round embeddings to 8 bits, the largest value of each to 127; a cosine is off by some 0.0007."""
    highest = np.abs(embeddings).max(axis=1, keepdims=True)
    return np.rint(embeddings / np.maximum(highest, np.finfo(np.float32).tiny) * MAX_LEVEL).astype(np.int8)


def decompress_embeddings(
    levels: Int8[np.ndarray, "utterances embedding"],
) -> Float[np.ndarray, "utterances embedding"]:
    """Return the embeddings, of unit length, that were rounded to 8 bits."""
    embeddings = levels.astype(np.float32)
    return embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1.0)


def export_degraded_embeddings(
    sweep: Path,
    run: FinishedRun,
    clean: SplitEmbeddings,
    degraded: Mapping[str, SplitEmbeddings],
    name: str,
    folder: Path,
) -> None:
    """Add embeddings of degraded recordings to exported results, and keep those of other degradations.

    Args:
        sweep: folder of the runs.
        run: the run.
        clean: its embeddings of the recordings as they are, which have been exported.
        degraded: embeddings by degradation, of utterances of the clean ones.
        name: name of the split, or `folds`.
        folder: folder of the exported results.
    """
    target = folder / run.path.relative_to(sweep)
    arrays = _read_degraded_arrays(target, name)
    places = {path: place for place, path in enumerate(clean.paths.tolist())}
    for degradation, embedded in degraded.items():
        rows = np.array([places[path] for path in embedded.paths.tolist()], np.int64)
        order = np.argsort(rows)
        arrays[degradation] = compress_embeddings(embedded.embeddings[order])
        arrays[ROWS_PREFIX + degradation] = np.isin(np.arange(len(places)), rows)
    arrays[CLEAN_KEY] = np.array(_hash_exported(target, name))
    with atomic_write(target / DEGRADED_FILENAME.format(name)) as part, open(part, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_degraded_embeddings(run: FinishedRun, name: str) -> dict[str, SplitEmbeddings]:
    """Read the embeddings of degraded recordings that a run's exported results hold, by degradation; often none.

    Raises:
        SingerVerifyError: the file is damaged.
    """
    arrays = _read_degraded_arrays(run.path, name)
    if not arrays:
        return {}
    clean, degraded = read_exported_embeddings(run, name), {}
    for degradation, levels in arrays.items():
        rows = arrays.get(ROWS_PREFIX + degradation)
        if rows is None:
            continue
        if rows.shape != clean.paths.shape or rows.sum() != len(levels):
            raise SingerVerifyError(
                f"{run.path / DEGRADED_FILENAME.format(name)}: is damaged (it has {len(levels)} embeddings of "
                f"{degradation}, expected {rows.sum()}); export the results of this run again."
            )
        embeddings = decompress_embeddings(levels)
        degraded[degradation] = replace(
            clean, embeddings=embeddings, paths=clean.paths[rows], singers=clean.singers[rows]
        )
    return degraded


def _read_degraded_arrays(folder: Path, name: str) -> dict[str, np.ndarray]:
    """Read the degraded embeddings in the folder of a run; none where its clean ones have changed since."""
    path = folder / DEGRADED_FILENAME.format(name)
    if not path.is_file():
        return {}
    try:
        arrays = read_npz(path)
        if str(arrays.pop(CLEAN_KEY)) == _hash_exported(folder, name):
            return arrays
        log.warning("Left out: %s, which is of another training than the clean embeddings beside it.", path)
        return {}
    except ARRAY_READ_ERRORS as error:
        raise SingerVerifyError(f"{path}: is damaged ({error}); export the results of this run again.") from error


def _hash_exported(folder: Path, name: str) -> str:
    """Hash the clean embeddings of a run of exported results; another run's have other degraded ones."""
    stored = read_npz(folder / EXPORTED_FILENAME.format(name))
    return hashlib.sha256(stored["embeddings"].tobytes() + "\0".join(stored["paths"].tolist()).encode()).hexdigest()


def export_speed(sweep: Path, runs: Sequence[FinishedRun], speed: float, folder: Path) -> None:
    """Add to exported results how fast the models embed, in seconds of audio per second."""
    for run in runs:
        path = folder / run.path.relative_to(sweep) / RUN_FILENAME
        write_json(path, json.loads(path.read_text(encoding="utf-8")) | {SPEED_KEY: speed})


def _write_utterance_table(path: Path, utterances: UtteranceTable) -> None:
    columns = {UTTERANCE_COLUMN: utterances.paths, SINGER_COLUMN: utterances.singers, **utterances.labels}
    content = pd.DataFrame(columns).to_csv(index=False, lineterminator="\n").encode()
    if path.is_file() and path.read_bytes() != content:
        raise SingerVerifyError(
            f"{path}: holds other utterances or labels than the runs to export were evaluated on; export them to "
            f"another folder."
        )
    write_bytes_atomically(path, content)


def _refuse_other_run(run: FinishedRun, target: Path) -> None:
    if not (target / OVERRIDES_FILENAME).is_file():
        return
    present, added = set(read_overrides(target)), set(strip_folders(read_overrides(run.path)))
    if differing := [setting for setting in sorted(present ^ added) if not is_result_neutral(setting)]:
        raise SingerVerifyError(
            f"{target}: holds the results of another run of that name ({differing[0]} is not a setting of both); "
            f"export each sweep to a folder of its own below {target.parent}, whose leaderboard compares all."
        )


def _write_settings(run: FinishedRun, target: Path) -> None:
    """Copy the settings, metrics and record of a run, without the folders of this machine."""
    overrides = [strip_folders(override) for override in read_overrides(run.path)]
    config = strip_folders(read_settings(run.path))
    for filename, content in ((OVERRIDES_FILENAME, overrides), ("config.yaml", config)):
        write_bytes_atomically(target / filename, yaml.safe_dump(content, allow_unicode=True, sort_keys=False).encode())
    if (run.path / METRICS_FILENAME).is_file():
        write_bytes_atomically(target / METRICS_FILENAME, (run.path / METRICS_FILENAME).read_bytes())
    record = json.loads((run.path / RUN_FILENAME).read_text(encoding="utf-8"))
    kept = {key: record[key] for key in KEPT_RECORDS if key in record}
    if (target / RUN_FILENAME).is_file():  # a speed that was measured before stays
        before = json.loads((target / RUN_FILENAME).read_text(encoding="utf-8"))
        kept |= {key: before[key] for key in (SPEED_KEY,) if key in before}
    write_json(target / RUN_FILENAME, kept | {"process": NO_PROCESS})


def strip_prefixes(paths: np.ndarray, prefixes: Mapping[str, str]) -> np.ndarray:
    """Return paths in which the prefix that each begins with, one of the keys, is replaced."""
    stripped = []
    for path in paths.tolist():
        prefix = next((prefix for prefix in prefixes if path.startswith(prefix)), "")
        stripped.append(prefixes.get(prefix, "") + path[len(prefix) :])
    return np.array(stripped)
