"""Runs of a sweep, written by hand with untrained models."""

import json
from pathlib import Path
from typing import Any

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
