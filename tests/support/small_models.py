"""Untrained models, for tests of what is done with a model, whatever it has learned."""

from pathlib import Path

import torch

from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.features.mel import MelSpectrogram
from singer_verify.runs.model_metadata import METADATA_KEY, ModelMetadata


def untrained_run(folder: Path) -> Path:
    """The folder of a run with a checkpoint of an untrained model, which tells singers apart by chance."""
    torch.manual_seed(0)
    encoder = LSTMEncoder(40, 16, 1, 8)
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    card = ModelMetadata(MelSpectrogram(40).recipe, encoder.settings, 30, ("a", "b"))
    (folder / "checkpoints").mkdir(parents=True)
    torch.save({"state_dict": state, METADATA_KEY: card.to_dict()}, folder / "checkpoints/best.ckpt")
    return folder
