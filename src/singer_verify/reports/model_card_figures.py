"""Figures of evaluations, as `figures.json` has them, for a model card."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from singer_verify.errors import SingerVerifyError

log = logging.getLogger(__name__)

EVALUATIONS = "evaluation/*/figures.json"  # in the folder of a run
PERCENT = ("eer", "top_1", "top_5")
NAMES = {
    "eer": "equal error rate (EER)",
    "threshold": "threshold at the EER",
    "min_dcf": "minimum detection cost, prior {}",
    "actual_dcf": "actual detection cost, prior {}",
    "auc": "area under the ROC curve",
    "cllr": "Cllr, bits",
    "min_cllr": "minimum Cllr, bits",
    "top_1": "singer found, first of the ranking",
    "top_5": "singer found, among the first five",
    "mean_normalised_rank": "mean normalised rank",
}
WANTED = "expected a figures.json that `singer-verify evaluate ... --out` wrote"


@dataclass(frozen=True)
class Evaluated:
    """One evaluation, in words.

    Attributes:
        model: as it was named for the evaluation.
        title: corpus and split.
        counts: of singers, utterances and trials.
        scoring: how embeddings were scored.
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
    figures = {name: figure for name, figure in content["figures"].items() if figure is not None}
    corpus = Path(content["corpus"]).name
    return Evaluated(
        model=str(content["model"]),
        title=f"{corpus}, {content['split']}",
        counts=f"{content['num_singers']} singers, {content['num_utterances']} utterances, "
        f"{content['num_trials']} trials, {content['num_targets']} of them target",
        scoring=content["scoring"],
        figures=[(words_of(name), *_texts(name, figure)) for name, figure in figures.items()],
        conditions=[_condition(each) for each in content["conditions"] if each["condition"] != "all"],
        plain=[(name, words_of(name), float(figure["value"])) for name, figure in figures.items()],
        corpus=corpus,
        threshold=figures["threshold"]["value"] if "threshold" in figures else None,
    )


def words_of(name: str) -> str:
    """A figure's name in words: `min_dcf_0.01` names its prior at the end."""
    if name in NAMES:
        return NAMES[name]
    kind, _, prior = name.rpartition("_")
    return NAMES[kind].format(prior) if kind in NAMES else name.replace("_", " ")


def _texts(name: str, figure: dict[str, float]) -> tuple[str, str]:
    """Value and interval."""
    value, low, high = (figure[part] for part in ("value", "low", "high"))
    if name in PERCENT:
        return f"{100 * value:.2f} %", f"{100 * low:.1f} to {100 * high:.1f} %"
    return f"{value:.3f}", f"{low:.3f} to {high:.3f}"


def _condition(found: dict[str, Any]) -> tuple[str, str, str, int, int]:
    texts = ("too few trials", "") if found["eer"] is None else _texts("eer", found["eer"])
    return (found["condition"], *texts, found["num_targets"], found["num_nontargets"])
