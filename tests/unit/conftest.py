"""Fixtures of the unit tests."""

from pathlib import Path

import pytest
import torch

from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.features.mel import MelSpectrogram
from singer_verify.runs.model_metadata import METADATA_KEY, ModelMetadata


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A run folder with an untrained model."""
    torch.manual_seed(0)
    encoder = LSTMEncoder(40, 16, 1, 8)
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    card = ModelMetadata(MelSpectrogram(40).recipe, encoder.settings, 30, ("a", "b"))
    folder = tmp_path / "run/checkpoints"
    folder.mkdir(parents=True)
    torch.save({"state_dict": state, METADATA_KEY: card.to_dict()}, folder / "best.ckpt")
    return tmp_path / "run"
