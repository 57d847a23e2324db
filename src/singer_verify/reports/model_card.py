"""A model card: what a model is, what it was trained on, how good it is, what it is for and what not."""

import shlex
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from singer_verify.evaluation.scoring import Scoring
from singer_verify.recognition.embedder import Embedder
from singer_verify.recognition.model_scoring import scoring_of
from singer_verify.reports.model_card_facts import (
    data_rows,
    embedding_size,
    model_rows,
    plain_recipe,
    recipe_sentences,
    training_rows,
)
from singer_verify.reports.model_card_figures import Evaluated, read_evaluations
from singer_verify.runs.provenance import provenance_of

TEMPLATE = "model_card.md.jinja"
TAGS = ["singing", "singer-verification", "speaker-verification", "voice-embedding", "pytorch"]
MARKDOWN = str.maketrans({"|": r"\|", "<": "&lt;", "`": "'", "\n": " "})


@dataclass(frozen=True)
class OnnxFile:
    """An exported model: the name of its file, and whether it takes frames."""

    name: str
    from_frames: bool


def model_card(
    model: Path, evaluations: list[Path] | None = None, licence: str | None = None, onnx: OnnxFile | None = None
) -> str:
    """A card as Markdown, with the front matter that model hubs read.

    Args:
        model: a run folder, a `.ckpt` or a `saved_model.pt`.
        evaluations: `figures.json` files; without any, those in the run's folder.
        licence: of the weights, if one was given.
        onnx: the exported model that the card will lie beside.

    Raises:
        SingerVerifyError: not a model of ours, or an evaluation that cannot be read.
    """
    origin, embedder = provenance_of(model), Embedder.load(model)
    evaluated = read_evaluations(evaluations, origin.run, origin.fingerprint)
    name = (origin.run or origin.checkpoint).name
    return _filled(
        front_matter=_as_yaml(_front_matter(name, evaluated, licence, onnx)),
        name=name,
        path=model.name or name,
        embedder=embedder,
        embedding_size=embedding_size(embedder),
        model_rows=model_rows(embedder),
        recipe_sentences=recipe_sentences(embedder),
        recipe=_as_yaml(plain_recipe(embedder)),
        data_rows=data_rows(origin),
        training_rows=training_rows(origin),
        evaluated=evaluated,
        validation=origin.validation,
        num_val_singers=origin.metrics.get("num_val_singers"),
        threshold=_threshold(scoring_of(model), evaluated),
        num_train_singers=len(origin.card["train_singers"]),
        licence=licence,
        onnx=onnx,
        version=version("singer_verify"),
    )


def _filled(**values: Any) -> str:
    """The template with its values in their places."""
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters["plain"] = lambda value: str(value).translate(MARKDOWN)
    environment.filters["shell"] = shlex.quote
    template = environment.from_string((files(__package__) / TEMPLATE).read_text(encoding="utf-8"))
    return template.render(values).lstrip() + "\n"


def _front_matter(name: str, evaluated: list[Evaluated], licence: str | None, onnx: OnnxFile | None) -> dict[str, Any]:
    """Of model hubs: https://huggingface.co/docs/hub/model-cards, `model-index` for the figures."""
    results = [
        {
            "task": {"type": "speaker-verification", "name": "singer verification"},
            "dataset": {"type": each.corpus, "name": each.title},
            "metrics": [{"type": kind, "name": words, "value": value} for kind, words, value in each.plain],
        }
        for each in evaluated
    ]
    return {
        **({"license": licence} if licence else {}),
        "library_name": "singer_verify",
        "pipeline_tag": "feature-extraction",
        "tags": TAGS + (["onnx"] if onnx else []),
        **({"metrics": ["eer"], "model-index": [{"name": name, "results": results}]} if results else {}),
    }


def _as_yaml(content: dict[str, Any]) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).rstrip()


def _threshold(scoring: Scoring, evaluated: list[Evaluated]) -> tuple[float, str] | None:
    """The score from which on two recordings are taken for one singer's, and its origin."""
    if scoring.threshold is not None:
        return scoring.threshold.score, scoring.threshold.origin
    known = [each for each in evaluated if each.threshold is not None]
    return (float(known[0].threshold or 0.0), f"equal error rate on {known[0].title}") if known else None
