"""The model card: what a checkpoint was trained on, how to use it, and what its evaluations found."""

import inspect
import json
import logging
import math
import shlex
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.metrics.bootstrap import Estimate
from singer_verify.evaluation.metrics.registry import EER
from singer_verify.evaluation.results import ConditionMetrics
from singer_verify.evaluation.scoring.scoring import Scoring
from singer_verify.features.normalisation import Normalisation
from singer_verify.features.trimming import TrimmedFeature
from singer_verify.features.voice import split_voice_feature, unwrap_feature
from singer_verify.inference.model import Model
from singer_verify.inference.scoring_file import load_model_scoring
from singer_verify.reports.evaluation.files import EVALUATION_FILE_NAME
from singer_verify.reports.evaluation.text import (
    explain_missing_eer,
    format_metric_interval,
    format_metric_name,
    format_metric_value,
)
from singer_verify.runs.provenance import Provenance, read_provenance
from singer_verify.safe_loading import list_packages

log = logging.getLogger(__name__)

EVALUATION_GLOB = f"evaluation/**/{EVALUATION_FILE_NAME}"  # in the folder of a run
EXPECTED_EVALUATION_FILE = f"expected a {EVALUATION_FILE_NAME} that `singer-verify evaluate ... --out` wrote"
NOT_RECORDED = "not recorded"
FactRows = list[tuple[str, str]]
NORMALISATION_DESCRIPTIONS = {
    "none": "Frames are not normalised.",
    "utterance_zero_one": "The values of each recording are scaled to the range 0 to 1.",
    "utterance_unit_variance": "The values of each recording are scaled to mean 0 and variance 1.",
    "utterance_bins": "Each bin of each recording is scaled to mean 0 and variance 1.",
    "utterance_mean": "Each bin of each recording has its mean removed.",
    "global_unit_variance": "All values are standardised by mean and variance of the training recordings.",
    "global_bins": "Each bin is standardised by its mean and variance over the training recordings.",
}
MODEL_CARD_TEMPLATE = "model_card.md.jinja"
HUB_TAGS = ["singing", "singer-verification", "speaker-verification", "voice-embedding", "pytorch"]
MARKDOWN_ESCAPES = str.maketrans({"|": r"\|", "<": "&lt;", "`": "'", "\n": " "})


class EvaluationModelMismatchError(SingerVerifyError):
    """The evaluation is of another model than the card, or does not say of which."""


@dataclass(frozen=True)
class EvaluationSummary:
    """One evaluation, formatted for a card.

    Attributes:
        title: corpus and split.
        counts: numbers of singers, utterances and trials.
        scoring: description of the scoring.
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
        fingerprint: fingerprint of the model.

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
            (words[name], format_metric_value(name, estimate), format_metric_interval(name, estimate))
            for name, estimate in metrics.items()
        ],
        conditions=[
            _format_condition_row(condition) for condition in content["conditions"] if condition["condition"] != "all"
        ],
        hub_metrics=[(name, words[name], estimate.value) for name, estimate in metrics.items()],
        corpus=corpus,
        threshold=metrics["threshold"].value if "threshold" in metrics else None,
    )


def _parse_estimate(record: dict[str, float | None] | None) -> Estimate | None:
    """Parse an estimate; numbers that are not finite are written as null."""
    if record is None or record["value"] is None:
        return None
    low, high = (math.nan if record[bound] is None else float(record[bound] or 0.0) for bound in ("low", "high"))
    return Estimate(float(record["value"]), low, high)


def _format_condition_row(record: dict[str, Any]) -> tuple[str, str, str, int, int]:
    eer = _parse_estimate(record["eer"])
    metrics = {} if eer is None else {EER: eer}
    condition = ConditionMetrics(record["condition"], record["num_targets"], record["num_nontargets"], metrics, None)
    texts = (
        (explain_missing_eer(condition), "")
        if eer is None
        else (format_metric_value("eer", eer), format_metric_interval("eer", eer))
    )
    return (condition.condition, *texts, condition.num_targets, condition.num_nontargets)


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
    inner = unwrap_feature(feature)
    sentences = [
        f"{type(inner).__name__}: {get_docstring_summary(inner)}.",
        f"{feature.num_bins} bins, a frame every {feature.hop_ms:g} ms, from samples at {feature.sample_rate} Hz; "
        f"the frames cover frequencies up to {feature.bandwidth_hz:g} Hz.",
        NORMALISATION_DESCRIPTIONS[normalisation.name],
    ]
    trimmed, preparation = split_voice_feature(feature)
    if preparation is not None and preparation.activity_db is not None:
        kept = f", but for {preparation.pause_s:g} s of each" if preparation.pause_s else ""
        sentences.append(
            f"Pauses are left out{kept}: what is more than {preparation.activity_db:g} dB below the level of the "
            f"voice, or has no voiced sound near it."
        )
    if preparation is not None and preparation.level_db is not None:
        sentences.append(f"The active level of each recording is set to {preparation.level_db:g} dB of full scale.")
    if isinstance(trimmed, TrimmedFeature) and trimmed.trim_silence_db is not None:
        sentences.append(f"Silence {trimmed.trim_silence_db:g} dB below the loudest sound is trimmed at both ends.")
    if isinstance(trimmed, TrimmedFeature) and trimmed.voiced_only:
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
    teacher = [("teacher", f"{Path(data['teacher']).name}, {corpus['teacher']}")] if "teacher" in corpus else []
    return [
        ("corpus", ", ".join(names) or NOT_RECORDED),
        ("training", training or (f"{singers} singers" if singers else NOT_RECORDED)),
        *teacher,
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
    of_what = "excerpts" if data.get("teacher") else "singers"
    return f"{data['singers_per_batch']} {of_what} × {data['utterances_per_singer']} crops of {length}"


def _format_augmentation(settings: dict[str, Any]) -> str:
    if "augmentation" not in settings:
        return NOT_RECORDED
    given = settings["augmentation"]
    return ", ".join([*(given.get("samples") or {}), *(given.get("frames") or {})]) or "none"


def _format_initial_weights(origin: Provenance) -> str:
    if origin.ancestors:
        return ", initialised from ".join(f"{name} at step {step}" for name, step in origin.ancestors)
    if imported := origin.record.get("imported"):
        origin_words = f"{imported['origin']}, " if "origin" in imported else ""
        return f"weights of another program: {origin_words}{imported['file']}, SHA-256 {imported['sha256']}"
    return "random" if origin.record else NOT_RECORDED


@dataclass(frozen=True)
class OnnxFile:
    """An exported model: the name of its file, and whether its input is frames."""

    name: str
    from_frames: bool


def render_model_card(
    model: Model,
    evaluations: list[Path] | None = None,
    licence: str | None = None,
    onnx: OnnxFile | None = None,
    file: Path | None = None,
    model_version: str | None = None,
) -> str:
    """Render a card as Markdown, with the front matter that model hubs read.

    Args:
        model: model loaded from a file.
        evaluations: `evaluation.json` files; by default, those in the run's folder.
        licence: licence of the weights; None takes that of known imported weights.
        onnx: the exported model beside the card.
        file: the file beside the card that the model was written to; it is named after that.
        model_version: version of the model.

    Raises:
        SingerVerifyError: an evaluation, or a file of the run, cannot be read.
    """
    assert model.checkpoint is not None
    origin = read_provenance(model.checkpoint)
    evaluated = read_evaluations(evaluations, origin.run, origin.fingerprint)
    licence = licence or origin.record.get("imported", {}).get("licence")
    name = file.stem if file else (origin.run or origin.checkpoint).name
    return _render_card_template(
        front_matter=_format_yaml(_build_front_matter(name, evaluated, licence, onnx, model_version)),
        name=name,
        packages=list_packages([model.feature.recipe, model.encoder.settings]),
        path=file.name if file else model.checkpoint.model_path.name or name,
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
        is_distilled="teacher" in origin.settings.get("corpus", {}),
        licence=licence,
        onnx=onnx,
        version=version("singer_verify"),
    )


def _render_card_template(**values: Any) -> str:
    """Fill in the template."""
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)
    environment.filters |= {"plain": lambda value: str(value).translate(MARKDOWN_ESCAPES), "shell": shlex.quote}
    template = environment.from_string((files(__package__) / MODEL_CARD_TEMPLATE).read_text(encoding="utf-8"))
    return template.render(values).lstrip() + "\n"


def _build_front_matter(
    name: str, evaluated: list[EvaluationSummary], licence: str | None, onnx: OnnxFile | None, version: str | None
) -> dict[str, Any]:
    """Build the front matter that model hubs read (https://huggingface.co/docs/hub/model-cards)."""
    results = [
        {
            "task": {"type": "speaker-verification", "name": "singer verification"},
            "dataset": {"type": summary.corpus, "name": summary.title},
            "metrics": [{"type": kind, "name": words, "value": value} for kind, words, value in summary.hub_metrics],
        }
        for summary in evaluated
    ]
    return {
        **{key: value for key, value in (("license", licence), ("version", version)) if value},
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
    recorded = ((summary.threshold, summary.title) for summary in evaluated if summary.threshold is not None)
    return next(((threshold, f"equal error rate on {title}") for threshold, title in recorded), None)
