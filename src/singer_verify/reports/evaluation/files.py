"""An evaluation as a folder: the page, figures, all metrics as JSON, conditions, singers and worst trials as csv."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from singer_verify.atomic_files import write_files_atomically
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.confounds import AUC, Confounds, FloorMetrics
from singer_verify.evaluation.embedding_map import EmbeddingMap
from singer_verify.evaluation.metrics.registry import EER, METRICS
from singer_verify.evaluation.results import (
    ConditionMetrics,
    ConfusedSingers,
    EvaluatedUtterances,
    EvaluationResult,
    RobustnessResult,
)
from singer_verify.inference.evaluation_context import EvaluationContext
from singer_verify.plotting import render_figure_files
from singer_verify.reports.estimates import build_estimate_record
from singer_verify.reports.evaluation.confounds import build_confound_remarks
from singer_verify.reports.evaluation.excerpts import ExcerptEncoder
from singer_verify.reports.evaluation.figures import plot_evaluation, sort_worst_first
from singer_verify.reports.evaluation.page import PageMedia, render_evaluation_page
from singer_verify.reports.evaluation.robustness import (
    build_robustness_record,
    format_robustness_csv,
    format_robustness_latex,
    plot_robustness,
)
from singer_verify.reports.evaluation.text import describe_overlaps, find_fitted_metrics

REPORT_FILE_NAME, EVALUATION_FILE_NAME = "report.html", "evaluation.json"


def build_evaluation_record(
    result: EvaluationResult,
    utterances: EvaluatedUtterances,
    context: EvaluationContext,
    robustness: RobustnessResult | None = None,
) -> dict[str, Any]:
    """Build the contents of evaluation.json; rates are between 0 and 1, None where there is no value or interval.

    `seen_singers` counts the evaluated singers who were used for `training`, `model_selection` (of the best step),
    `threshold`, `calibration` and `cohort`: None where that is not recorded. `fitted_metrics` names the metrics whose
    threshold or calibration was fitted to singers evaluated here; `remarks` says the same in sentences. `confounds` is
    what labels and measurements of the recordings alone would score, and in what conditions differ.
    """
    everything = result.conditions[0]
    return {
        "model": context.model,
        "fingerprint": context.fingerprint,
        "corpus": context.corpus,
        "split": context.split,
        "num_singers": len(utterances.singers),
        "num_utterances": len(utterances.paths),
        "trials": context.trials,
        "num_trials": everything.num_targets + everything.num_nontargets,
        "num_targets": everything.num_targets,
        "scoring": context.scoring,
        "calibrated_threshold": context.calibrated_threshold,
        "seen_singers": {
            use: None if overlap is None else asdict(overlap) for use, overlap in context.overlaps.items()
        },
        "fitted_metrics": find_fitted_metrics(result.metrics, context.overlaps),
        "remarks": describe_overlaps(context.overlaps),
        "num_resamples": result.num_resamples,
        "metrics": {name: build_estimate_record(estimate) for name, estimate in result.metrics.items()},
        "conditions": [_build_condition_record(condition) for condition in result.conditions],
        "confounds": _build_confound_record(result),
        "confused": [_build_confusion_record(pair, utterances.singers) for pair in result.confused],
        **({} if robustness is None else {"robustness": build_robustness_record(robustness)}),
    }


def format_json(record: dict[str, Any]) -> bytes:
    """Format a record as indented JSON."""
    return json.dumps(record, indent=2, allow_nan=False).encode()


def format_conditions_csv(result: EvaluationResult) -> bytes:
    """Format a row per condition; values are empty where there are too few trials."""
    return _format_records_csv(
        [_flatten_condition(_build_condition_record(condition)) for condition in result.conditions]
    )


def format_singers_csv(result: EvaluationResult, utterances: EvaluatedUtterances) -> bytes:
    """Format a row per singer, the worst first."""
    rows = [
        {
            "singer": utterances.singers[singer.singer],
            "eer": singer.eer,
            "num_targets": singer.num_targets,
            "num_nontargets": singer.num_nontargets,
            "nearest": utterances.singers[singer.nearest],
        }
        for singer in sort_worst_first(result.by_singer, utterances.singers)
    ]
    return _format_records_csv(rows)


def format_worst_trials_csv(result: EvaluationResult, utterances: EvaluatedUtterances) -> bytes:
    """Format the trials to listen to: false alarms, misses, and trials of the most confused singers."""
    groups = {
        "false alarm": result.worst_false_alarms,
        "miss": result.worst_misses,
        "confused singers": [trial for pair in result.confused for trial in pair.trials],
    }
    rows = []
    for kind, trial in ((kind, trial) for kind, trials in groups.items() for trial in trials):
        left_singer, left = result.name_side(trial.left, utterances)
        right_singer, right = result.name_side(trial.right, utterances)
        rows.append(
            {
                "kind": kind,
                "score": trial.score,
                "left_singer": left_singer,
                "right_singer": right_singer,
                "left": left or left_singer,  # as in a list of trials that names singers
                "right": right or right_singer,
            }
        )
    return _format_records_csv(rows)


def format_confounds_csv(confounds: Confounds) -> bytes:
    """Format a row per property of the recordings and condition."""
    records = []
    for floor in confounds.floors:
        for condition in floor.conditions:
            record: dict[str, Any] = {"property": floor.name, "kind": "label" if floor.is_label else "measurement"}
            for name, value in _build_floor_record(condition).items():
                if name in (EER, AUC, "margin"):
                    bounds = value or {"value": None, "low": None, "high": None}
                    record |= {name: bounds["value"], f"{name}_low": bounds["low"], f"{name}_high": bounds["high"]}
                else:
                    record[name] = value
            records.append(record)
    return _format_records_csv(records)


def _format_records_csv(rows: list[dict[str, Any]]) -> bytes:
    # objects: pandas keeps strings by pyarrow where that is installed, which refuses names that are no UTF-8
    return str(pd.DataFrame(rows, dtype=object).to_csv(index=False, lineterminator="\n")).encode(
        "utf-8", "surrogateescape"
    )


def _build_condition_record(condition: ConditionMetrics) -> dict[str, Any]:
    return {
        "condition": condition.condition,
        "num_targets": condition.num_targets,
        "num_nontargets": condition.num_nontargets,
        **{name: build_estimate_record(condition.metrics.get(name)) for name in METRICS},
    }


def _flatten_condition(condition: dict[str, Any]) -> dict[str, Any]:
    """Flatten nested values into `eer`, `eer_low`, `eer_high`, `min_dcf_0.01`, ..."""
    flat = {name: condition[name] for name in ("condition", "num_targets", "num_nontargets")}
    for name in METRICS:
        values = condition[name] or {"value": None, "low": None, "high": None}
        flat |= {name: values["value"], f"{name}_low": values["low"], f"{name}_high": values["high"]}
    return flat


def _build_confusion_record(pair: ConfusedSingers, singers: tuple[str, ...]) -> dict[str, Any]:
    return {
        "left": singers[pair.left],
        "right": singers[pair.right],
        "false_alarm": float(pair.false_alarm),
        "mean_score": float(pair.mean_score),
        "num_trials": int(pair.num_trials),
    }


def _build_confound_record(result: EvaluationResult) -> dict[str, Any] | None:
    """Build the plain values of the confounds; None if they were not measured.

    Rates and shares are between 0 and 1, f0 in semitones above 1 Hz.
    """
    confounds = result.confounds
    if confounds is None:
        return None
    return {
        "remarks": build_confound_remarks(result),
        "num_trials": confounds.num_trials,
        "is_sampled": confounds.is_sampled,
        "num_copies": confounds.num_copies,
        "num_shared": confounds.num_shared,
        "alone": [
            {
                "property": floor.name,
                "kind": "label" if floor.is_label else "measurement",
                "conditions": [_build_floor_record(condition) for condition in floor.conditions],
            }
            for floor in confounds.floors
        ],
        "conditions": [asdict(group) for group in confounds.conditions],
        "labels": [{"label": comparison.label, **asdict(comparison.own)} for comparison in confounds.values],
    }


def _build_floor_record(floor: FloorMetrics) -> dict[str, Any]:
    plain = {name: value for name, value in asdict(floor).items() if name not in ("metrics", "margin")}
    metrics = {name: build_estimate_record(floor.metrics.get(name)) for name in (EER, AUC)}
    return {**plain, **metrics, "margin": build_estimate_record(floor.margin)}


def require_report_folder(folder: Path, setting: str = "--out") -> None:
    """Check that a folder can be written to, before anything is computed; create nothing yet.

    Args:
        folder: folder that may not exist yet.
        setting: the option that named it.

    Raises:
        SingerVerifyError: it is a file or lies in one, or may not be written to.
    """
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(place))
    if not there.is_dir():
        raise SingerVerifyError(f"{setting} {folder}: {there} is not a folder; choose another one.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise SingerVerifyError(f"{setting} {folder}: {there} is not writable; choose another folder.")


def write_evaluation_report(
    result: EvaluationResult,
    utterances: EvaluatedUtterances,
    context: EvaluationContext,
    folder: Path,
    audio_root: Path,
    maps: Sequence[EmbeddingMap] = (),
    robustness: RobustnessResult | None = None,
) -> None:
    """Write report.html, evaluation.json, tables as csv and the figures as png and svg.

    With robustness, robustness.csv and robustness.tex as well.

    Args:
        result: metrics, conditions, worst trials.
        utterances: evaluated utterances.
        context: model, corpus, scoring.
        folder: target folder, created if missing.
        audio_root: folder that the utterances' paths are relative to, for the sound of the worst trials.
        maps: maps of the embeddings.
        robustness: the same trials after degradations.

    Raises:
        SingerVerifyError: the folder cannot be written to.
    """
    figures = plot_evaluation(result, utterances, context, maps)
    if robustness is not None:
        figures["robustness"] = plot_robustness(robustness)
    pictures = {
        name: render_figure_files(figure, footer=f"{context.title}.\n{context.provenance}")
        for name, figure in figures.items()
    }
    parts = PageMedia({name: files["svg"] for name, files in pictures.items()}, ExcerptEncoder(audio_root))
    contents = {
        REPORT_FILE_NAME: render_evaluation_page(result, utterances, context, parts, robustness).encode(),
        EVALUATION_FILE_NAME: format_json(
            build_evaluation_record(result, utterances, context, robustness)
            | {"provenance": context.provenance.splitlines()}
        ),
        **_format_evaluation_tables(result, utterances),
        **_format_robustness_tables(robustness),
        **{f"{name}.{suffix}": file for name, files in pictures.items() for suffix, file in files.items()},
    }
    write_files_atomically(contents, folder)


def _format_evaluation_tables(result: EvaluationResult, utterances: EvaluatedUtterances) -> dict[str, bytes]:
    confounds = {} if result.confounds is None else {"confounds.csv": format_confounds_csv(result.confounds)}
    return {
        **confounds,
        "conditions.csv": format_conditions_csv(result),
        "singers.csv": format_singers_csv(result, utterances),
        "worst_trials.csv": format_worst_trials_csv(result, utterances),
    }


def _format_robustness_tables(robustness: RobustnessResult | None) -> dict[str, bytes]:
    if robustness is None:
        return {}
    return {"robustness.csv": format_robustness_csv(robustness), "robustness.tex": format_robustness_latex(robustness)}
