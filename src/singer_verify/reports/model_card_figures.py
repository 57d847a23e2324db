"""Figures of evaluations, as `figures.json` has them, for a model card."""

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.comparison import Estimate
from singer_verify.evaluation.judgement import ConditionFigures
from singer_verify.reports.evaluation_folder import FIGURES_NAME
from singer_verify.reports.evaluation_words import interval_text, name_of, too_few, value_text

log = logging.getLogger(__name__)

EVALUATIONS = f"evaluation/**/{FIGURES_NAME}"  # in the folder of a run
WANTED = f"expected a {FIGURES_NAME} that `singer-verify evaluate ... --out` wrote"


class OtherModelError(SingerVerifyError):
    """The figures are of another model than the one at hand, or do not tell of which."""


@dataclass(frozen=True)
class Evaluated:
    """One evaluation, in words.

    Attributes:
        title: corpus and split.
        counts: of singers, utterances and trials.
        scoring: how embeddings were scored.
        remarks: sentences on what flatters the figures.
        figures: rows of name, value, interval.
        conditions: rows of condition, EER, interval, target trials, non-target trials.
        plain: (type, name, value) of each figure, for programs.
        corpus: name of the corpus.
        threshold: score at the equal error rate; None where it is not told.
    """

    title: str
    counts: str
    scoring: str
    remarks: list[str]
    figures: list[tuple[str, str, str]]
    conditions: list[tuple[str, str, str, int, int]]
    plain: list[tuple[str, str, float]]
    corpus: str
    threshold: float | None


def read_evaluations(given: list[Path] | None, run: Path | None, fingerprint: str) -> list[Evaluated]:
    """Of the given files; where none is given, of those in the run's folder that are of this model.

    Args:
        given: `figures.json` files.
        run: the folder of the run; None where the model lies in none.
        fingerprint: of the model.

    Raises:
        SingerVerifyError: a file that is none, does not exist, or holds another model's figures.
    """
    if given:
        return [_read(path, fingerprint) for path in given]
    evaluated = []
    for path in sorted(run.glob(EVALUATIONS)) if run else []:
        try:
            evaluated.append(_read(path, fingerprint))
        except OtherModelError as error:
            log.warning("Left out: %s", error)
    return evaluated


def _read(path: Path, fingerprint: str) -> Evaluated:
    if not path.is_file():
        raise SingerVerifyError(f"--evaluation {path}: no such file; {WANTED}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        evaluated, found = _evaluated(content), content.get("fingerprint")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SingerVerifyError(f"--evaluation {path}: cannot be read ({error!r}); {WANTED}.") from error
    if found != fingerprint:
        whose = "are of another model" if found else "do not say of which model they are"
        raise OtherModelError(f"{path}: its figures {whose}; evaluate this one again with --out.")
    log.info("Figures on %s: from %s.", evaluated.title, path)
    return evaluated


def _evaluated(content: dict[str, Any]) -> Evaluated:
    given = {name: _estimate(figure) for name, figure in content["figures"].items()}
    figures = {name: estimate for name, estimate in given.items() if estimate is not None}
    corpus, fitted = Path(content["corpus"]).name, content.get("fitted_figures", [])
    words = {name: name_of(name, fitted) for name in figures}
    return Evaluated(
        title=f"{corpus}, {content['split']}",
        counts=f"{content['num_singers']} singers, {content['num_utterances']} utterances, "
        f"{content['num_trials']} trials, {content['num_targets']} of them target",
        scoring=str(content["scoring"]),
        remarks=[str(remark) for remark in content.get("remarks", [])],
        figures=[(words[name], value_text(name, each), interval_text(name, each)) for name, each in figures.items()],
        conditions=[_condition(each) for each in content["conditions"] if each["condition"] != "all"],
        plain=[(name, words[name], each.value) for name, each in figures.items()],
        corpus=corpus,
        threshold=figures["threshold"].value if "threshold" in figures else None,
    )


def _estimate(figure: dict[str, float | None] | None) -> Estimate | None:
    """Numbers that are not finite are written as null."""
    if figure is None or figure["value"] is None:
        return None
    low, high = (math.nan if figure[bound] is None else float(figure[bound] or 0.0) for bound in ("low", "high"))
    return Estimate(float(figure["value"]), low, high)


def _condition(found: dict[str, Any]) -> tuple[str, str, str, int, int]:
    condition = ConditionFigures(
        found["condition"], found["num_targets"], found["num_nontargets"], _estimate(found["eer"]), {}, None
    )
    eer = condition.eer
    texts = (too_few(condition), "") if eer is None else (value_text("eer", eer), interval_text("eer", eer))
    return (condition.condition, *texts, condition.num_targets, condition.num_nontargets)
