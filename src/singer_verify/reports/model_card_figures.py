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


@dataclass(frozen=True)
class Evaluated:
    """One evaluation, in words.

    Attributes:
        model: as it was named for the evaluation.
        title: corpus and split.
        counts: of singers, utterances and trials.
        scoring: how embeddings were scored.
        chose_model: whether the model was chosen by its figures on these singers.
        figures: rows of name, value, interval.
        conditions: rows of condition, EER, interval, target trials, non-target trials.
        plain: (type, name, value) of each figure, for programs.
        corpus: name of the corpus.
        threshold: score at the equal error rate; None where it is not told.
    """

    model: str
    title: str
    counts: str
    scoring: str
    chose_model: bool
    figures: list[tuple[str, str, str]]
    conditions: list[tuple[str, str, str, int, int]]
    plain: list[tuple[str, str, float]]
    corpus: str
    threshold: float | None


def read_evaluations(given: list[Path] | None, run: Path | None) -> list[Evaluated]:
    """Of the given files; where none is given, of those in the run's folder.

    Args:
        given: `figures.json` files.
        run: the folder of the run; None where the model lies in none.

    Raises:
        SingerVerifyError: a file that is none, or does not exist.
    """
    paths = given if given else sorted(run.glob(EVALUATIONS)) if run else []
    evaluated = [_read(path) for path in paths]
    for path, each in zip(paths, evaluated, strict=True):
        log.info("Figures on %s: of the model %s, from %s.", each.title, each.model, path)
    return evaluated


def _read(path: Path) -> Evaluated:
    if not path.is_file():
        raise SingerVerifyError(f"--evaluation {path}: no such file; {WANTED}.")
    try:
        return _evaluated(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SingerVerifyError(f"--evaluation {path}: cannot be read ({error!r}); {WANTED}.") from error


def _evaluated(content: dict[str, Any]) -> Evaluated:
    given = {name: _estimate(figure) for name, figure in content["figures"].items()}
    figures = {name: estimate for name, estimate in given.items() if estimate is not None}
    corpus = Path(content["corpus"]).name
    return Evaluated(
        model=str(content["model"]),
        title=f"{corpus}, {content['split']}",
        counts=f"{content['num_singers']} singers, {content['num_utterances']} utterances, "
        f"{content['num_trials']} trials, {content['num_targets']} of them target",
        scoring=str(content["scoring"]),
        chose_model=bool(content.get("split_chose_model", False)),
        figures=[(name_of(name), value_text(name, each), interval_text(name, each)) for name, each in figures.items()],
        conditions=[_condition(each) for each in content["conditions"] if each["condition"] != "all"],
        plain=[(name, name_of(name), each.value) for name, each in figures.items()],
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
