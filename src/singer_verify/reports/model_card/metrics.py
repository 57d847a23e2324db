"""Evaluations for a model card, from their `evaluation.json`."""

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.metrics.bootstrap import Estimate
from singer_verify.evaluation.metrics.registry import EER
from singer_verify.evaluation.results import ConditionMetrics
from singer_verify.reports.evaluation.files import EVALUATION_FILE_NAME
from singer_verify.reports.evaluation.text import (
    explain_missing_eer,
    format_metric_interval,
    format_metric_name,
    format_metric_value,
)

log = logging.getLogger(__name__)

EVALUATION_GLOB = f"evaluation/**/{EVALUATION_FILE_NAME}"  # in the folder of a run
EXPECTED_EVALUATION_FILE = f"expected a {EVALUATION_FILE_NAME} that `singer-verify evaluate ... --out` wrote"


class EvaluationModelMismatchError(SingerVerifyError):
    """The evaluation is of another model than the card, or does not say of which."""


@dataclass(frozen=True)
class EvaluationSummary:
    """One evaluation, formatted for a card.

    Attributes:
        title: corpus and split.
        counts: of singers, utterances and trials.
        scoring: how embeddings were scored.
        remarks: sentences on why the metrics may be too good.
        metrics: rows of name, value, interval.
        conditions: rows of condition, EER, interval, target trials, non-target trials.
        hub_metrics: (type, name, value) of each metric, for model hubs.
        corpus: name of the corpus.
        threshold: score at the equal error rate, if recorded.
    """

    title: str
    counts: str
    scoring: str
    remarks: list[str]
    metrics: list[tuple[str, str, str]]
    conditions: list[tuple[str, str, str, int, int]]
    hub_metrics: list[tuple[str, str, float]]
    corpus: str
    threshold: float | None


def read_evaluations(given: list[Path] | None, run: Path | None, fingerprint: str) -> list[EvaluationSummary]:
    """Read the given evaluations, or else those in the run's folder that are of this model.

    Args:
        given: `evaluation.json` files.
        run: the folder of the run; None if the model is in none.
        fingerprint: of the model.

    Raises:
        SingerVerifyError: a file does not exist, is not an evaluation, or is of another model.
    """
    if given:
        return [_read_evaluation(path, fingerprint) for path in given]
    evaluated = []
    for path in sorted(run.glob(EVALUATION_GLOB)) if run else []:
        try:
            evaluated.append(_read_evaluation(path, fingerprint))
        except EvaluationModelMismatchError as error:
            log.warning("Left out: %s", error)
    return evaluated


def _read_evaluation(path: Path, fingerprint: str) -> EvaluationSummary:
    if not path.is_file():
        raise SingerVerifyError(f"--evaluation {path}: no such file; {EXPECTED_EVALUATION_FILE}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        evaluated, recorded = _summarise_evaluation(content), content.get("fingerprint")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SingerVerifyError(
            f"--evaluation {path}: cannot be read ({error!r}); {EXPECTED_EVALUATION_FILE}."
        ) from error
    if recorded != fingerprint:
        whose = "is of another model" if recorded else "does not say of which model it is"
        raise EvaluationModelMismatchError(
            f"{path}: this evaluation {whose}; run singer-verify evaluate --out for this model."
        )
    log.info("Evaluation on %s: from %s.", evaluated.title, path)
    return evaluated


def _summarise_evaluation(content: dict[str, Any]) -> EvaluationSummary:
    given = {name: _parse_estimate(value) for name, value in content["metrics"].items()}
    metrics = {name: estimate for name, estimate in given.items() if estimate is not None}
    corpus, fitted = Path(content["corpus"]).name, content.get("fitted_metrics", [])
    words = {name: format_metric_name(name, fitted) for name in metrics}
    return EvaluationSummary(
        title=f"{corpus}, {content['split']}",
        counts=f"{content['num_singers']} singers, {content['num_utterances']} utterances, "
        f"{content['num_trials']} trials, {content['num_targets']} of them target",
        scoring=str(content["scoring"]),
        remarks=[str(remark) for remark in content.get("remarks", [])],
        metrics=[
            (words[name], format_metric_value(name, each), format_metric_interval(name, each))
            for name, each in metrics.items()
        ],
        conditions=[_format_condition_row(each) for each in content["conditions"] if each["condition"] != "all"],
        hub_metrics=[(name, words[name], each.value) for name, each in metrics.items()],
        corpus=corpus,
        threshold=metrics["threshold"].value if "threshold" in metrics else None,
    )


def _parse_estimate(record: dict[str, float | None] | None) -> Estimate | None:
    """Parse an estimate; numbers that are not finite are written as null."""
    if record is None or record["value"] is None:
        return None
    low, high = (math.nan if record[bound] is None else float(record[bound] or 0.0) for bound in ("low", "high"))
    return Estimate(float(record["value"]), low, high)


def _format_condition_row(found: dict[str, Any]) -> tuple[str, str, str, int, int]:
    eer = _parse_estimate(found["eer"])
    metrics = {} if eer is None else {EER: eer}
    condition = ConditionMetrics(found["condition"], found["num_targets"], found["num_nontargets"], metrics, None)
    texts = (
        (explain_missing_eer(condition), "")
        if eer is None
        else (format_metric_value("eer", eer), format_metric_interval("eer", eer))
    )
    return (condition.condition, *texts, condition.num_targets, condition.num_nontargets)
