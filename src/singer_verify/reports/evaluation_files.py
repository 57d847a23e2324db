"""An evaluation as files for programs: all figures as JSON, conditions, singers and the worst trials as csv."""

import json
import math
from dataclasses import asdict
from typing import Any

import pandas as pd

from singer_verify.evaluation.comparison import Estimate
from singer_verify.evaluation.judgement import ConditionFigures, ConfusedSingers, JudgedUtterances, Judgement
from singer_verify.reports.evaluation_about import About
from singer_verify.reports.overlap_words import fitted_figures, overlap_sentences
from singer_verify.reports.singers_figure import worst_first


def figures_record(judgement: Judgement, utterances: JudgedUtterances, about: About) -> dict[str, Any]:
    """Plain values; rates between 0 and 1, None where there is no figure or no interval.

    `met_before` counts, for `training`, `choosing` (of the best step), `threshold`, `calibration` and `cohort`, the
    singers who were met there: None where that is not recorded. `fitted_figures` names those that are in-sample, for
    their threshold or calibration was fitted to singers judged here; `remarks` says the same in sentences.
    """
    everything = judgement.conditions[0]
    return {
        "model": about.model,
        "fingerprint": about.fingerprint,
        "corpus": about.corpus,
        "split": about.split,
        "num_singers": len(utterances.singers),
        "num_utterances": len(utterances.paths),
        "trials": about.trials,
        "num_trials": everything.num_targets + everything.num_nontargets,
        "num_targets": everything.num_targets,
        "scoring": about.scoring,
        "calibrated_threshold": about.calibrated_threshold,
        "met_before": {occasion: None if met is None else asdict(met) for occasion, met in about.met.items()},
        "fitted_figures": fitted_figures(judgement.figures, about.met),
        "remarks": overlap_sentences(about.met),
        "num_resamples": judgement.num_resamples,
        "figures": {name: _estimate(estimate) for name, estimate in judgement.figures.items()},
        "conditions": [_condition(each) for each in judgement.conditions],
        "confused": [_confused(each, utterances.singers) for each in judgement.confused],
    }


def as_json(record: dict[str, Any]) -> bytes:
    return json.dumps(record, indent=2, allow_nan=False).encode()


def conditions_csv(judgement: Judgement) -> bytes:
    """A line per condition; empty where there are too few trials."""
    return _csv([_flat(_condition(each)) for each in judgement.conditions])


def singers_csv(judgement: Judgement, utterances: JudgedUtterances) -> bytes:
    """A line per singer, the worst first."""
    rows = [
        {
            "singer": utterances.singers[each.singer],
            "eer": each.eer,
            "num_targets": each.num_targets,
            "num_nontargets": each.num_nontargets,
            "nearest": utterances.singers[each.nearest],
        }
        for each in worst_first(judgement.of_singers, utterances.singers)
    ]
    return _csv(rows)


def worst_trials_csv(judgement: Judgement, utterances: JudgedUtterances) -> bytes:
    """Trials to listen to: false alarms, misses, and trials of the singers most often taken for one."""
    groups = {
        "false alarm": judgement.worst_false_alarms,
        "miss": judgement.worst_misses,
        "confused singers": [trial for pair in judgement.confused for trial in pair.trials],
    }
    names, numbers = utterances.singers, utterances.singer_index
    rows = [
        {
            "kind": kind,
            "score": trial.score,
            "left_singer": names[numbers[trial.left]],
            "right_singer": names[numbers[trial.right]],
            "left": utterances.paths[trial.left],
            "right": utterances.paths[trial.right],
        }
        for kind, trials in groups.items()
        for trial in trials
    ]
    return _csv(rows)


def _csv(rows: list[dict[str, Any]]) -> bytes:
    return str(pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")).encode("utf-8", "surrogateescape")


def _estimate(estimate: Estimate | None) -> dict[str, float | None] | None:
    if estimate is None:
        return None
    bounds = ("value", estimate.value), ("low", estimate.low), ("high", estimate.high)
    return {name: float(value) if math.isfinite(value) else None for name, value in bounds}


def _condition(each: ConditionFigures) -> dict[str, Any]:
    return {
        "condition": each.condition,
        "num_targets": each.num_targets,
        "num_nontargets": each.num_nontargets,
        "eer": _estimate(each.eer),
        "min_dcf": {f"{prior:g}": _estimate(cost) for prior, cost in each.min_dcf.items()},
    }


def _flat(condition: dict[str, Any]) -> dict[str, Any]:
    """`eer`, `eer_low`, `eer_high`, `min_dcf_0.01`, ... instead of nested figures."""
    costs = {f"min_dcf_{prior}": cost for prior, cost in condition["min_dcf"].items()}
    flat = {name: condition[name] for name in ("condition", "num_targets", "num_nontargets")}
    for name, estimate in {"eer": condition["eer"], **costs}.items():
        values = estimate or {"value": None, "low": None, "high": None}
        flat |= {name: values["value"], f"{name}_low": values["low"], f"{name}_high": values["high"]}
    return flat


def _confused(pair: ConfusedSingers, singers: tuple[str, ...]) -> dict[str, Any]:
    return {
        "left": singers[pair.left],
        "right": singers[pair.right],
        "false_alarm": float(pair.false_alarm),
        "mean_score": float(pair.mean_score),
        "num_trials": int(pair.num_trials),
    }
