"""Small untrained models in run folders, for tests of what is done with models."""

from pathlib import Path

import torch

from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.features.feature import Feature
from singer_verify.features.mel import MelSpectrogram
from singer_verify.runs.model_metadata import METADATA_KEY, ModelMetadata

WINDOW_FRAMES = 30


def make_run(folder: Path, feature: Feature | None = None, seed: int = 0, **preparation: object) -> Path:
    """A run folder with a best checkpoint.

    Args:
        folder: of the run.
        feature: mel40 by default.
        seed: of the weights.
        preparation: of the recipe besides the feature, for instance normalise="utterance_bins".
    """
    feature = feature or MelSpectrogram(40)
    torch.manual_seed(seed)
    encoder = LSTMEncoder(feature.num_bins, 16, 1, 8, relu=False)
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    card = ModelMetadata(feature.recipe | preparation, encoder.settings, WINDOW_FRAMES, ("a", "b"))
    (folder / "checkpoints").mkdir(parents=True)
    torch.save({"state_dict": state, METADATA_KEY: card.to_dict()}, folder / "checkpoints/best.ckpt")
    return folder
