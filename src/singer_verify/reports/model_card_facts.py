"""Rows of name and value that a model card tells of a model and its training; what is not recorded is said so."""

import inspect
from pathlib import Path
from typing import Any

import torch

from singer_verify.features.normalisation import Normalisation
from singer_verify.features.prepared import Prepared
from singer_verify.recognition.embedder import Embedder
from singer_verify.runs.provenance import Provenance

NOT_RECORDED = "not recorded"
Rows = list[tuple[str, str]]
NORMALISATIONS = {
    "none": "Frames are not normalised.",
    "utterance_zero_one": "Each recording's values are brought from 0 to 1.",
    "utterance_unit_variance": "Each recording's values are brought to mean 0 and variance 1.",
    "utterance_bins": "Each bin of each recording is brought to mean 0 and variance 1.",
    "global_unit_variance": "All values are scaled by mean and variance over the training recordings.",
    "global_bins": "Each bin is scaled by its mean and variance over the training recordings.",
}


def first_line(of: object) -> str:
    """What the class of a part says of itself, without its full stop."""
    said = (inspect.getdoc(type(of)) or type(of).__name__).partition("\n\n")[0]
    return " ".join(said.split()).removesuffix(".")


@torch.inference_mode()
def embedding_size(embedder: Embedder) -> int:
    """Numbers of an embedding, found by making one."""
    embedding = embedder.encoder(torch.zeros(1, 2, embedder.feature.num_bins))
    return int(embedding.shape[1])


def model_rows(embedder: Embedder) -> Rows:
    """The encoder, setting by setting."""
    settings: dict[str, Any] = embedder.encoder.settings  # type: ignore[assignment]
    num_parameters = sum(parameter.numel() for parameter in embedder.encoder.parameters())
    window_s = embedder.window_frames * embedder.feature.hop_ms / 1000.0
    return [
        ("architecture", f"{type(embedder.encoder).__name__}: {first_line(embedder.encoder)}"),
        *((name.replace("_", " "), str(value)) for name, value in settings.items() if name != "_target_"),
        ("parameters", f"{num_parameters:,}".replace(",", " ")),
        ("window", f"{embedder.window_frames} frames ({window_s:.2f} s)"),
    ]


def recipe_sentences(embedder: Embedder) -> list[str]:
    """The recipe in words."""
    feature, normalisation = embedder.feature, embedder.normalisation
    inner = feature.feature if isinstance(feature, Prepared) else feature
    sentences = [
        f"{type(inner).__name__}: {first_line(inner)}.",
        f"{feature.num_bins} bins, a frame every {feature.hop_ms:g} ms, from samples at {feature.sample_rate} Hz; "
        f"the frames tell of frequencies up to {feature.bandwidth_hz:g} Hz.",
        NORMALISATIONS[normalisation.name],
    ]
    if isinstance(feature, Prepared) and feature.trim_silence_db is not None:
        sentences.append(f"Silence {feature.trim_silence_db:g} dB under the loudest sound is cut off at both ends.")
    if isinstance(feature, Prepared) and feature.voiced_only:
        sentences.append("Unvoiced frames are left out.")
    return sentences


def plain_recipe(embedder: Embedder) -> dict[str, Any]:
    """The recipe's settings, without the statistics of the training split."""
    own: Normalisation = embedder.normalisation
    return embedder.feature.recipe | {"normalise": own.name}


def data_rows(origin: Provenance) -> Rows:
    """What it was trained on, and on whom it was chosen."""
    data, corpus = origin.settings.get("data", {}), origin.settings.get("corpus", {})
    roots = data.get("root")
    names = [Path(root).name for root in ([roots] if isinstance(roots, str) else roots or [])]
    singers = len(origin.card["train_singers"])
    training, judged = (corpus[split].rpartition(", ")[0] if split in corpus else "" for split in ("train", "val"))
    num_val = origin.metrics.get("num_val_singers")
    return [
        ("corpus", ", ".join(names) or NOT_RECORDED),
        ("training", training or (f"{singers} singers" if singers else NOT_RECORDED)),
        ("validation, other singers", judged or (f"{num_val} singers" if num_val else NOT_RECORDED)),
    ]


def training_rows(origin: Provenance) -> Rows:
    """How it was trained."""
    settings, record, metrics = origin.settings, origin.record, origin.metrics
    packages = ", ".join(f"{name} {version}" for name, version in record.get("packages", {}).items())
    best = metrics.get("best") or {}
    trained = f"{metrics['steps']} ({metrics['stopped']}), {metrics['seconds']:.0f} s" if metrics else NOT_RECORDED
    return [
        ("loss", _loss(settings)),
        ("optimiser", _optimiser(settings)),
        ("batch", _batch(settings)),
        ("augmentation", _augmentation(settings)),
        ("steps", trained),
        ("best step", str(best.get("step", NOT_RECORDED))),
        ("these weights are of step", NOT_RECORDED if origin.step is None else str(origin.step)),
        ("seed", str(settings.get("seed", NOT_RECORDED))),
        ("began with", _beginning(origin)),
        ("versions", packages or NOT_RECORDED),
        ("git commit", record.get("git_commit") or NOT_RECORDED),
        ("begun", record.get("started", NOT_RECORDED)),
        ("fingerprint", origin.fingerprint),
    ]


def _loss(settings: dict[str, Any]) -> str:
    if "loss" not in settings:
        return NOT_RECORDED
    weights = settings["loss"].get("weights", {})
    return " + ".join(f"{weights.get(name, 1.0):g} × {name}" for name in settings["loss"]["terms"])


def _optimiser(settings: dict[str, Any]) -> str:
    if "optimizer" not in settings:
        return NOT_RECORDED
    chosen = {name: value for name, value in settings["optimizer"].items() if not name.startswith("_")}
    named = ", ".join(f"{name}={value}" for name, value in chosen.items())
    return f"{settings['optimizer']['_target_'].rpartition('.')[2]}, {named}"


def _batch(settings: dict[str, Any]) -> str:
    data = settings.get("data", {})
    if "singers_per_batch" not in data:
        return NOT_RECORDED
    length = f"{data['crop_seconds']} s" if data.get("crop_seconds") else f"{data['num_frames']} frames"
    return f"{data['singers_per_batch']} singers × {data['utterances_per_singer']} crops of {length}"


def _augmentation(settings: dict[str, Any]) -> str:
    if "augmentation" not in settings:
        return NOT_RECORDED
    given = settings["augmentation"]
    return ", ".join([*(given.get("samples") or {}), *(given.get("frames") or {})]) or "none"


def _beginning(origin: Provenance) -> str:
    if origin.ancestors:
        return ", which began with ".join(f"{name} at step {step}" for name, step in origin.ancestors)
    if imported := origin.record.get("imported"):
        return f"weights of another program: {imported['file']}, SHA-256 {imported['sha256']}"
    return "chance" if origin.record else NOT_RECORDED
