"""Cells of a sweep: its finished runs, gathered where their settings differ in the seed only, and imported models."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from singer_verify.errors import SingerVerifyError
from singer_verify.runs.folder import BEST_CHECKPOINT, METRICS_FILENAME, RUN_FILENAME, SWEEP_PLAN_FILENAME
from singer_verify.runs.settings import is_result_neutral, read_overrides
from singer_verify.runs.tree import FINISHED_STATUSES, IMPORTED_STATUS, read_run_tree

DEFAULT_BASELINE = "features=mel40"
UNNORMALISED_SETTING = "features.normalise=none"  # of several cells with the default baseline, the one taken
EXPORTED_FILENAME = "exported-{}.npz"  # embeddings of a split, in the folder of a run of exported results
SPEED_KEY = "speed"  # of the record of a run of exported results
IMPORTED_PREFIX = "imported="  # of the setting that stands for imported weights
DEFAULT_CELL_NAME = "as configured"  # the name of a cell for which nothing was typed that others do not share


@dataclass(frozen=True)
class FinishedRun:
    """A finished run of a sweep, or weights imported beside them.

    Attributes:
        path: folder of the run.
        settings: command-line overrides, without the seed and those that do not change the result.
        seed: seed of the training.
        data: `data` group of the configuration; without a `root` for imported weights.
        seconds: training time, over all its sessions; None for imported weights.
        is_exported: whether there are only its exported results, and no model.
        encoder: module of its encoder: lstm, for instance.
        speed: of exported results, how fast it embeds, in seconds of audio per second; None if that was not measured.
    """

    path: Path
    settings: frozenset[str]
    seed: int
    data: dict[str, Any]
    seconds: float | None
    is_exported: bool = False
    encoder: str = ""
    speed: float | None = None

    @property
    def num_folds(self) -> int | None:
        """Number of folds that the singers were divided into; None for a training on a corpus' own splits."""
        return self.data.get("folds")

    @property
    def fold(self) -> int:
        """Number of the fold that it has not heard; 0 without folds."""
        return int(self.data.get("fold", 0)) if self.num_folds else 0


@dataclass(frozen=True)
class SweepCell:
    """Runs that differ in their seed and their fold only, ordered by these.

    Attributes:
        settings: overrides shared by all its runs.
        varied: overrides that distinguish it from other cells, sorted by name; they are its name.
        runs: runs of the cell, one for each seed and fold.
    """

    settings: frozenset[str]
    varied: tuple[str, ...]
    runs: tuple[FinishedRun, ...]

    @property
    def name(self) -> str:
        return ",".join(self.varied) or DEFAULT_CELL_NAME


def read_sweep_cells(sweep: Path, only: Sequence[str] = ()) -> tuple[list[SweepCell], dict[str, str]]:
    """Return the cells below a folder, sorted by name, and the status of the runs left out, by path.

    A seed that has not been trained for every fold is left out.

    Imported weights are cells of their own, named by their folder. In the folder of a sweep, a run inside that of a job
    is no trial of the sweep: it began with the job's weights.

    Args:
        sweep: folder of the runs.
        only: settings that a run must have, each with one or several values: `features=mel40,mfcc,seed=1`. Of several
            such texts, one is enough. None takes all runs.

    Raises:
        SingerVerifyError: no such folder, no finished run, none with these settings, or two runs of the same settings
            and seed.
    """
    wanted = [_parse_wanted_settings(text) for text in only]
    summaries = read_run_tree(sweep)
    left_out = {run.path: run.status for run in summaries if run.status not in (*FINISHED_STATUSES, IMPORTED_STATUS)}
    if (sweep / SWEEP_PLAN_FILENAME).is_file():
        left_out |= {
            run.path: f"a run inside {run.parent}, no job of the sweep" for run in summaries if run.parent is not None
        }
    runs: defaultdict[frozenset[str], list[FinishedRun]] = defaultdict(list)
    others: set[str] = set()
    for summary in summaries:
        if summary.path in left_out:
            continue
        is_exported = any((sweep / summary.path).glob(EXPORTED_FILENAME.format("*")))
        if not is_exported and not (sweep / summary.path / BEST_CHECKPOINT).is_file():
            left_out[summary.path] = f"has no {BEST_CHECKPOINT}"
            continue
        read = _read_imported_run if summary.status == IMPORTED_STATUS else _read_finished_run
        run = read(sweep / summary.path)
        if is_exported:
            run = replace(run, is_exported=True, speed=_read_exported_speed(run.path))
        if not wanted or any(_has_wanted_settings(run, settings) for settings in wanted):
            runs[run.settings].append(run)
        else:
            others.add(_describe_run(run))
    for settings in list(runs):
        _leave_out_incomplete_folds(runs, settings, sweep, left_out)
    if not runs and others:
        raise SingerVerifyError(
            f"--only {' or '.join(only)}: fits no finished run of {sweep}; it holds {_list(others)}."
        )
    if not runs:
        raise SingerVerifyError(
            f"{sweep}: holds no finished run ({_format_status_counts(left_out)}); give the folder of a sweep, and "
            f"finish it first."
        )
    telling = _find_distinguishing_settings(list(runs))
    cells = [
        SweepCell(
            settings,
            tuple(sorted(settings & telling, key=_split_setting)),
            tuple(sorted(cell_runs, key=lambda run: (run.seed, run.fold))),
        )
        for settings, cell_runs in runs.items()
    ]
    for cell in cells:
        _refuse_repeated_seeds(cell)
    return sorted(cells, key=lambda cell: cell.name), left_out


def find_baseline_cell(cells: list[SweepCell], wanted: str | None) -> SweepCell | None:
    """Find the cell with exactly, or at least, these settings; return None where there is only one cell.

    Args:
        cells: cells of a sweep.
        wanted: settings of the baseline, separated by commas; None means `features=mel40`, unnormalised if
            normalisation was swept as well.

    Raises:
        SingerVerifyError: no cell has them, or several do.
    """
    settings = frozenset(_split_settings(wanted or DEFAULT_BASELINE))
    matching = [cell for cell in cells if settings == set(cell.varied)]
    matching = matching or [cell for cell in cells if settings <= cell.settings]
    if wanted is None and len(matching) > 1:
        matching = [cell for cell in matching if UNNORMALISED_SETTING in cell.settings] or matching
    if len(matching) == 1:
        return matching[0]
    if wanted is None and len(cells) == 1:
        return None
    given = wanted or f"{DEFAULT_BASELINE} (the default)"
    choices = "; ".join(cell.name for cell in matching or cells)
    raise SingerVerifyError(
        f"--baseline {given}: fits {len(matching)} of {len(cells)} cells, expected one; name one of these: {choices}."
    )


def _split_settings(text: str) -> list[str]:
    """Split settings at the commas before a name, not at those between values."""
    return re.split(r",(?=[^,=\[\]{}()]+=)", text)


def _parse_wanted_settings(text: str) -> dict[str, tuple[str, ...]]:
    """Parse settings with one or several values of each.

    Raises:
        SingerVerifyError: one of them has no name or no value.
    """
    wanted = {}
    for setting in _split_settings(text):
        name, _, values = setting.partition("=")
        if not name or not values:
            raise SingerVerifyError(f"--only {text}: expected name=value, for example features=mel40,mfcc.")
        # either one value with commas in brackets, or several
        wanted[name] = (values, *re.split(r",(?![^\[{(]*[\]})])", values))
    return wanted


def _has_wanted_settings(run: FinishedRun, wanted: dict[str, tuple[str, ...]]) -> bool:
    settings = {*run.settings, f"seed={run.seed}"}
    return all(any(f"{name}={value}" in settings for value in values) for name, values in wanted.items())


def _describe_run(run: FinishedRun) -> str:
    return ",".join(sorted(run.settings, key=_split_setting))


def _list(names: set[str]) -> str:
    first, *others = sorted(names)
    return f"{first} and {len(others)} others" if others else first


def _find_distinguishing_settings(cells: list[frozenset[str]]) -> frozenset[str]:
    """Find the settings that tell cells apart: those with several values, and as few of the others as it takes.

    Of the others, overrides of whole groups are kept first.
    """
    telling = frozenset.union(*cells) - frozenset.intersection(*cells)
    num_values = Counter(setting.partition("=")[0] for setting in telling)
    only_some_have = [setting for setting in telling if num_values[setting.partition("=")[0]] == 1]
    for setting in sorted(only_some_have, key=lambda setting: ("." not in setting.partition("=")[0], setting)):
        if setting.startswith(IMPORTED_PREFIX):  # the only name that imported weights have
            continue
        fewer = telling - {setting}
        if len({cell & fewer for cell in cells}) == len(cells):
            telling = fewer
    return telling


def _split_setting(setting: str) -> list[str]:
    return setting.split("=")  # features before features.normalise


def _read_finished_run(path: Path) -> FinishedRun:
    metrics = json.loads((path / METRICS_FILENAME).read_text(encoding="utf-8"))
    config = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
    return FinishedRun(
        path=path,
        settings=frozenset(
            override
            for override in read_overrides(path)
            if not (override.startswith(("seed=", "data.fold=")) or is_result_neutral(override))
        ),
        seed=int(config["seed"]),
        data=config["data"],
        seconds=metrics["seconds"],
        encoder=_read_encoder_name(config),
    )


def _read_imported_run(path: Path) -> FinishedRun:
    config = yaml.safe_load((path / "config.yaml").read_text(encoding="utf-8"))
    settings = frozenset({f"{IMPORTED_PREFIX}{path.name}"})
    return FinishedRun(path, settings, seed=0, data={}, seconds=None, encoder=_read_encoder_name(config))


def _read_exported_speed(path: Path) -> float | None:
    speed = json.loads((path / RUN_FILENAME).read_text(encoding="utf-8")).get(SPEED_KEY)
    return None if speed is None else float(speed)


def _read_encoder_name(config: dict[str, Any]) -> str:
    target = str(config.get("encoder", {}).get("_target_", ""))
    return target.rpartition(".")[0].rpartition(".")[2]


def _refuse_repeated_seeds(cell: SweepCell) -> None:
    for first, second in zip(cell.runs, cell.runs[1:], strict=False):
        if (first.seed, first.fold) == (second.seed, second.fold):
            fold = f" and fold {first.fold}" if first.num_folds else ""
            raise SingerVerifyError(
                f"{first.path} and {second.path}: have the same settings and the same seed {first.seed}{fold}; "
                f"expected another one for each run of a cell; move one of them out of the sweep."
            )


def _leave_out_incomplete_folds(
    runs: dict[frozenset[str], list[FinishedRun]], settings: frozenset[str], sweep: Path, left_out: dict[str, str]
) -> None:
    """Move the runs of seeds that lack a fold from the finished runs to those left out."""
    of_seed: defaultdict[int, set[int]] = defaultdict(set)
    for run in runs[settings]:
        of_seed[run.seed].add(run.fold)
    kept = []
    for run in runs[settings]:
        missing = sorted(set(range(run.num_folds or 1)) - of_seed[run.seed])
        if missing:
            folds = ", ".join(map(str, missing))
            left_out[str(run.path.relative_to(sweep))] = f"seed {run.seed} has not been trained for fold {folds}"
        else:
            kept.append(run)
    if kept:
        runs[settings] = kept
    else:
        del runs[settings]


def _format_status_counts(left_out: dict[str, str]) -> str:
    counts = Counter(left_out.values())
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "no run at all"
