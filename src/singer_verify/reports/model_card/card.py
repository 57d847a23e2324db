"""The model card: a Markdown page about a model, its training and its evaluations; missing facts are marked as such."""

import inspect
import shlex
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from singer_verify.evaluation.scoring.scoring import Scoring
from singer_verify.features.normalisation import Normalisation
from singer_verify.features.trimming import TrimmedFeature
from singer_verify.inference.model import Model
from singer_verify.inference.scoring_file import load_model_scoring
from singer_verify.reports.model_card.metrics import EvaluationSummary, read_evaluations
from singer_verify.runs.provenance import Provenance, read_provenance

NOT_RECORDED = "not recorded"
FactRows = list[tuple[str, str]]
NORMALISATION_DESCRIPTIONS = {
    "none": "Frames are not normalised.",
    "utterance_zero_one": "The values of each recording are scaled to the range 0 to 1.",
    "utterance_unit_variance": "The values of each recording are scaled to mean 0 and variance 1.",
    "utterance_bins": "Each bin of each recording is scaled to mean 0 and variance 1.",
    "global_unit_variance": "All values are standardised by mean and variance of the training recordings.",
    "global_bins": "Each bin is standardised by its mean and variance over the training recordings.",
}


def get_docstring_summary(part: object) -> str:
    """Return the summary line of the class of a part, without its full stop."""
    summary = (inspect.getdoc(type(part)) or type(part).__name__).partition("\n\n")[0]
    return " ".join(summary.split()).removesuffix(".")


def build_model_rows(embedder: Model) -> FactRows:
    """Build the rows about the encoder."""
    settings: dict[str, Any] = embedder.encoder.settings  # type: ignore[assignment]
    num_parameters = sum(parameter.numel() for parameter in embedder.encoder.parameters())
    window_s = embedder.window_frames * embedder.feature.hop_ms / 1000.0
    return [
        ("architecture", f"{type(embedder.encoder).__name__}: {get_docstring_summary(embedder.encoder)}"),
        *((name.replace("_", " "), str(value)) for name, value in settings.items() if name != "_target_"),
        ("parameters", f"{num_parameters:,}".replace(",", " ")),
        ("window", f"{embedder.window_frames} frames ({window_s:.2f} s)"),
    ]


def build_recipe_sentences(embedder: Model) -> list[str]:
    """Describe the recipe in sentences."""
    feature, normalisation = embedder.feature, embedder.normalisation
    inner = feature.feature if isinstance(feature, TrimmedFeature) else feature
    sentences = [
        f"{type(inner).__name__}: {get_docstring_summary(inner)}.",
        f"{feature.num_bins} bins, a frame every {feature.hop_ms:g} ms, from samples at {feature.sample_rate} Hz; "
        f"the frames cover frequencies up to {feature.bandwidth_hz:g} Hz.",
        NORMALISATION_DESCRIPTIONS[normalisation.name],
    ]
    if isinstance(feature, TrimmedFeature) and feature.trim_silence_db is not None:
        sentences.append(f"Silence {feature.trim_silence_db:g} dB below the loudest sound is trimmed at both ends.")
    if isinstance(feature, TrimmedFeature) and feature.voiced_only:
        sentences.append("Unvoiced frames are dropped.")
    return sentences


def build_plain_recipe(embedder: Model) -> dict[str, Any]:
    """Return the recipe's settings, without the statistics of the training split."""
    own: Normalisation = embedder.normalisation
    return embedder.feature.recipe | {"normalise": own.name}


def build_data_rows(origin: Provenance) -> FactRows:
    """Build the rows about training and validation data."""
    data, corpus = origin.settings.get("data", {}), origin.settings.get("corpus", {})
    roots = data.get("root")
    names = [Path(root).name for root in ([roots] if isinstance(roots, str) else roots or [])]
    singers = len(origin.metadata.train_singers)
    training, validation = (corpus[split].rpartition(", ")[0] if split in corpus else "" for split in ("train", "val"))
    num_val = origin.metrics.get("num_val_singers")
    return [
        ("corpus", ", ".join(names) or NOT_RECORDED),
        ("training", training or (f"{singers} singers" if singers else NOT_RECORDED)),
        ("validation, other singers", validation or (f"{num_val} singers" if num_val else NOT_RECORDED)),
    ]


def build_training_rows(origin: Provenance) -> FactRows:
    """Build the rows about the training."""
    settings, record, metrics = origin.settings, origin.record, origin.metrics
    packages = ", ".join(f"{name} {version}" for name, version in record.get("packages", {}).items())
    best = metrics.get("best") or {}
    trained = f"{metrics['steps']} ({metrics['stopped']}), {metrics['seconds']:.0f} s" if metrics else NOT_RECORDED
    return [
        ("loss", _format_loss(settings)),
        ("optimiser", _format_optimiser(settings)),
        ("batch", _format_batch(settings)),
        ("augmentation", _format_augmentation(settings)),
        ("steps", trained),
        ("best step", str(best.get("step", NOT_RECORDED))),
        ("these weights are of step", NOT_RECORDED if origin.step is None else str(origin.step)),
        ("seed", str(settings.get("seed", NOT_RECORDED))),
        ("initial weights", _format_initial_weights(origin)),
        ("versions", packages or NOT_RECORDED),
        ("git commit", record.get("git_commit") or NOT_RECORDED),
        ("started", record.get("started", NOT_RECORDED)),
        ("fingerprint", origin.fingerprint),
    ]


def _format_loss(settings: dict[str, Any]) -> str:
    if "loss" not in settings:
        return NOT_RECORDED
    weights = settings["loss"].get("weights", {})
    return " + ".join(f"{weights.get(name, 1.0):g} × {name}" for name in settings["loss"]["terms"])


def _format_optimiser(settings: dict[str, Any]) -> str:
    if "optimizer" not in settings:
        return NOT_RECORDED
    chosen = {name: value for name, value in settings["optimizer"].items() if not name.startswith("_")}
    named = ", ".join(f"{name}={value}" for name, value in chosen.items())
    return f"{settings['optimizer']['_target_'].rpartition('.')[2]}, {named}"


def _format_batch(settings: dict[str, Any]) -> str:
    data = settings.get("data", {})
    if "singers_per_batch" not in data:
        return NOT_RECORDED
    length = f"{data['crop_seconds']} s" if data.get("crop_seconds") else f"{data['num_frames']} frames"
    return f"{data['singers_per_batch']} singers × {data['utterances_per_singer']} crops of {length}"


def _format_augmentation(settings: dict[str, Any]) -> str:
    if "augmentation" not in settings:
        return NOT_RECORDED
    given = settings["augmentation"]
    return ", ".join([*(given.get("samples") or {}), *(given.get("frames") or {})]) or "none"


def _format_initial_weights(origin: Provenance) -> str:
    if origin.ancestors:
        return ", initialised from ".join(f"{name} at step {step}" for name, step in origin.ancestors)
    if imported := origin.record.get("imported"):
        return f"weights of another program: {imported['file']}, SHA-256 {imported['sha256']}"
    return "random" if origin.record else NOT_RECORDED


MODEL_CARD_TEMPLATE = "model_card.md.jinja"
HUB_TAGS = ["singing", "singer-verification", "speaker-verification", "voice-embedding", "pytorch"]
MARKDOWN_ESCAPES = str.maketrans({"|": r"\|", "<": "&lt;", "`": "'", "\n": " "})


@dataclass(frozen=True)
class OnnxFile:
    """An exported model: the name of its file, and whether its input is frames."""

    name: str
    from_frames: bool


def render_model_card(
    model: Model, evaluations: list[Path] | None = None, licence: str | None = None, onnx: OnnxFile | None = None
) -> str:
    """Render a card as Markdown, with the front matter that model hubs read.

    Args:
        model: loaded from a file.
        evaluations: `evaluation.json` files; by default, those in the run's folder.
        licence: of the weights, if known.
        onnx: the exported model beside the card.

    Raises:
        SingerVerifyError: an evaluation, or a file of the run, cannot be read.
    """
    assert model.checkpoint is not None
    origin = read_provenance(model.checkpoint)
    evaluated = read_evaluations(evaluations, origin.run, origin.fingerprint)
    name = (origin.run or origin.checkpoint).name
    return _render_card_template(
        front_matter=_format_yaml(_build_front_matter(name, evaluated, licence, onnx)),
        name=name,
        path=model.checkpoint.model_path.name or name,
        embedder=model,
        embedding_size=model.embedding_size,
        model_rows=build_model_rows(model),
        recipe_sentences=build_recipe_sentences(model),
        recipe=_format_yaml(build_plain_recipe(model)),
        data_rows=build_data_rows(origin),
        training_rows=build_training_rows(origin),
        evaluated=evaluated,
        validation=origin.validation,
        num_val_singers=origin.metrics.get("num_val_singers"),
        threshold=_choose_card_threshold(load_model_scoring(model), evaluated),
        num_train_singers=len(origin.metadata.train_singers),
        licence=licence,
        onnx=onnx,
        version=version("singer_verify"),
    )


def _render_card_template(**values: Any) -> str:
    """Fill in the template."""
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters["plain"] = lambda value: str(value).translate(MARKDOWN_ESCAPES)
    environment.filters["shell"] = shlex.quote
    template = environment.from_string((files(__package__) / MODEL_CARD_TEMPLATE).read_text(encoding="utf-8"))
    return template.render(values).lstrip() + "\n"


def _build_front_matter(
    name: str, evaluated: list[EvaluationSummary], licence: str | None, onnx: OnnxFile | None
) -> dict[str, Any]:
    """Build the front matter that model hubs read (https://huggingface.co/docs/hub/model-cards)."""
    results = [
        {
            "task": {"type": "speaker-verification", "name": "singer verification"},
            "dataset": {"type": each.corpus, "name": each.title},
            "metrics": [{"type": kind, "name": words, "value": value} for kind, words, value in each.hub_metrics],
        }
        for each in evaluated
    ]
    return {
        **({"license": licence} if licence else {}),
        "library_name": "singer_verify",
        "pipeline_tag": "feature-extraction",
        "tags": HUB_TAGS + (["onnx"] if onnx else []),
        **({"metrics": ["eer"], "model-index": [{"name": name, "results": results}]} if results else {}),
    }


def _format_yaml(content: dict[str, Any]) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True).rstrip()


def _choose_card_threshold(scoring: Scoring, evaluated: list[EvaluationSummary]) -> tuple[float, str] | None:
    """Return the decision threshold and its origin, if there is one."""
    if scoring.threshold is not None:
        return scoring.threshold.score, scoring.threshold.origin
    known = [each for each in evaluated if each.threshold is not None]
    return (float(known[0].threshold or 0.0), f"equal error rate on {known[0].title}") if known else None
