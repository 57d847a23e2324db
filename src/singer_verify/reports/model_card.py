"""A model card: what a model is, what it was trained on, how good it is, what it is for and what not."""

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
    model_rows,
    plain_recipe,
    recipe_sentences,
    training_rows,
)
from singer_verify.reports.model_card_figures import Evaluated, read_evaluations
from singer_verify.runs.folder import write_whole
from singer_verify.runs.provenance import Provenance, provenance_of

TEMPLATE = "model_card.md.jinja"
TAGS = ["singing", "singer-verification", "speaker-verification", "voice-embedding", "pytorch"]
MARKDOWN = str.maketrans({"|": r"\|", "<": "&lt;", "`": "'", "\n": " "})


@dataclass(frozen=True)
class OnnxFile:
    """An exported model: the name of its file, and whether it takes frames."""

    name: str
    from_frames: bool


def write_model_card(
    path: Path,
    model: Path,
    evaluations: list[Path] | None = None,
    licence: str | None = None,
    onnx: OnnxFile | None = None,
) -> None:
    """Write a card as Markdown, with the front matter that model hubs read.

    Args:
        path: of the card.
        model: a run folder, a `.ckpt` or a `saved_model.pt`.
        evaluations: `figures.json` files; without any, those in the run's folder.
        licence: of the weights, if one was given.
        onnx: the exported model that the card lies beside.

    Raises:
        SingerVerifyError: not a model of ours, or an evaluation that cannot be read.
    """
    origin = provenance_of(model)
    evaluated = read_evaluations(evaluations, origin.run)
    write_whole(path, model_card(model, origin, evaluated, licence, onnx))


def model_card(
    model: Path, origin: Provenance, evaluated: list[Evaluated], licence: str | None, onnx: OnnxFile | None
) -> str:
    """The card's text; arguments as of `write_model_card`, read."""
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters["plain"] = lambda value: str(value).translate(MARKDOWN)
    template = environment.from_string((files(__package__) / TEMPLATE).read_text(encoding="utf-8"))
    embedder, name = Embedder.load(model), (origin.run or origin.checkpoint).name
    return template.render(
        front_matter=_as_yaml(_front_matter(name, evaluated, licence, onnx)),
        name=name,
        path=model.name,
        embedder=embedder,
        embedding_size=_embedding_size(embedder),
        model_rows=model_rows(embedder),
        recipe_sentences=recipe_sentences(embedder),
        recipe=_as_yaml(plain_recipe(embedder)),
        data_rows=data_rows(origin),
        training_rows=[*training_rows(origin), ("fingerprint", origin.fingerprint)],
        evaluated=evaluated,
        validation=origin.validation,
        num_val_singers=origin.metrics.get("num_val_singers"),
        threshold=_threshold(scoring_of(model), evaluated),
        num_train_singers=len(origin.card["train_singers"]),
        licence=licence,
        onnx=onnx,
        version=version("singer_verify"),
    ).lstrip()


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


def _embedding_size(embedder: Embedder) -> int:
    settings: dict[str, Any] = embedder.encoder.settings  # type: ignore[assignment]
    return int(settings.get("embedding_size", 2 * settings["num_bins"]))


def _threshold(scoring: Scoring, evaluated: list[Evaluated]) -> tuple[float, str] | None:
    """The score from which on two recordings are taken for one singer's, and its origin."""
    if scoring.threshold is not None:
        return scoring.threshold.score, scoring.threshold.origin
    known = [each for each in evaluated if each.threshold is not None]
    return (float(known[0].threshold or 0.0), f"equal error rate on {known[0].title}") if known else None
