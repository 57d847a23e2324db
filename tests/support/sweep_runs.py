"""Runs of a sweep, written by hand with untrained models."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.features.mel import MelSpectrogram
from singer_verify.runs.folder import identify_process
from singer_verify.runs.model_metadata import METADATA_KEY, ModelMetadata


def write_run(
    sweep: Path,
    *settings: str,
    corpus: Path | list[Path] | None = None,
    stopped: str | None = "step limit",
    **data: Any,
) -> Path:
    """Write a run folder with an untrained model, as if trained with these settings, `features=mel<bins>` among them.

    Args:
        sweep: folder of the runs.
        settings: overrides.
        corpus: corpus that it was trained on, or several.
        stopped: reason why the training ended; None where it has not.
        data: further settings of the group `data`.
    """
    run = sweep / ",".join(settings)
    values = dict(setting.split("=") for setting in settings)
    (run / "checkpoints").mkdir(parents=True)
    torch.manual_seed(int(values.get("seed", 1)))
    num_bins = int(values["features"].removeprefix("mel"))
    encoder = LSTMEncoder(num_bins, 8, 1, 4)
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    card = ModelMetadata(MelSpectrogram(num_bins).recipe, encoder.settings, 30, ("a", "b"))
    torch.save({"state_dict": state, METADATA_KEY: card.to_dict()}, run / "checkpoints/best.ckpt")
    root = list(map(str, corpus)) if isinstance(corpus, list) else str(corpus)
    data = {"root": root, "store_root": str(sweep.parent / "store"), "store_dtype": "float16"} | data
    features = {"_target_": "singer_verify.features.mel.MelSpectrogram", "num_bins": num_bins}
    config = {"features": features, "loss": {"terms": {"ge2e": {}}}, "seed": int(values.get("seed", 1)), "data": data}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    (run / "overrides.yaml").write_text(yaml.safe_dump(list(settings)))
    gone = identify_process() | {"began": 0.0}
    (run / "run.json").write_text(json.dumps({"process": gone}))
    if stopped:
        best = {"step": 4, "val/eer": 0.3}
        (run / "metrics.json").write_text(json.dumps({"steps": 4, "best": best, "stopped": stopped, "seconds": 12.0}))
    return run


NUM_FOLDS, NUM_SINGERS, UTTERANCES = 3, 12, 5


def write_exported_runs(
    folder: Path,
    experiment: str,
    bins: int,
    max_singers: int | None,
    seeds: tuple[int, ...],
    *settings: str,
    labels: dict[str, list[str]] | None = None,
) -> list[Path]:
    """Write exported results of one recipe and size over three folds, as if its noise shrank with the size.

    Args:
        folder: folder of the results.
        experiment: experiment that was typed; its first part names the encoder.
        bins: number of mel bins.
        max_singers: singers learned from; None stands for all, 18.
        seeds: seeds of the runs.
        settings: further overrides.
        labels: values of the 60 utterances by label.
    """
    singers = np.repeat([f"s{number:02}" for number in range(NUM_SINGERS)], UTTERANCES)
    paths = np.array([f"choir/val/{singer}/{number}.wav" for number, singer in enumerate(singers)])
    folds = np.arange(len(singers)) // UTTERANCES % NUM_FOLDS
    directions = np.random.default_rng(0).standard_normal((NUM_SINGERS, 12)).repeat(UTTERANCES, axis=0)
    runs = []
    for seed in seeds:
        noise = np.random.default_rng([seed, bins, max_singers or 0, len(settings)]).standard_normal(directions.shape)
        rows = directions + 2.4 * (max_singers or 18) ** -0.4 * noise
        for fold in range(NUM_FOLDS):
            size = [] if max_singers is None else [f"data.max_singers={max_singers}"]
            typed = f"features=mel{bins}", *size, *settings, f"data.fold={fold}", f"seed={seed}"
            data = {"folds": NUM_FOLDS, "fold": fold, "max_singers": max_singers, "max_minutes": None}
            run = write_run(folder, *typed, corpus=Path("choir"), **data)
            (run / "overrides.yaml").write_text(yaml.safe_dump([*typed, f"experiment={experiment}"]))
            encoder = {"_target_": f"encoders.{experiment.partition('/')[0]}.Encoder"}
            config = yaml.safe_load((run / "config.yaml").read_text()) | {"name": experiment, "encoder": encoder}
            (run / "config.yaml").write_text(yaml.safe_dump(config))
            sizes = {"num_train_singers": max_singers or 18, "train_minutes": 3.0 * (max_singers or 18)}
            metrics = json.loads((run / "metrics.json").read_text())
            (run / "metrics.json").write_text(json.dumps(metrics | sizes))
            kept = folds == fold
            arrays = {"embeddings": rows[kept].astype(np.float16), "paths": paths[kept], "singers": singers[kept]}
            np.savez(run / "exported-folds.npz", num_parameters=1, num_bins=bins, **arrays)
            runs.append(run)
    table = {"utterance": paths.tolist(), "singer": singers.tolist(), **(labels or {})}
    lines = [",".join(table), *map(",".join, zip(*table.values(), strict=True))]
    (folder / "utterances-folds.csv").write_text("\n".join(lines) + "\n")
    return runs
