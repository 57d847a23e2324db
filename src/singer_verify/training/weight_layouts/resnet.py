"""ResNet as wespeaker publishes it: a plain state dict."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from singer_verify.encoders.resnet import NUM_LAYERS, REDUCTION, ResNetEncoder
from singer_verify.features.fbank import Fbank
from singer_verify.training.weight_layouts.layout import (
    ExternalWeights,
    collect_tensors,
    get_size,
    require_fitting_tensors,
)

ARCHITECTURE = "ResNet"
CLASSIFIER_PREFIX = "projection."
PROJECTION = "seg_1.weight"
WINDOW_FRAMES = 2000  # whole recordings of up to 20 s, as they are evaluated by their authors


class ResNetLayout:
    """Layers as `layer1.0.conv1.` and so on, the projection as `seg_1.`, a classifier as `projection.`.

    ResNet18 to ResNet293, with statistics pooling; wespeaker trains on Kaldi's filter bank with the Hamming window.
    Networks with a second projection (`seg_2.`) are refused.
    """

    expected = "`layer1.` and `seg_1.` (ResNet of wespeaker)"

    def recognises(self, content: Mapping[str, Any]) -> bool:
        tensors = collect_tensors(content)
        return PROJECTION in tensors and "layer1.0.conv1.weight" in tensors

    def read(self, content: Mapping[str, Any]) -> ExternalWeights:
        tensors = collect_tensors(content)
        dropped = sorted(name for name in tensors if name.startswith(CLASSIFIER_PREFIX))
        kept = {name: tensor for name, tensor in tensors.items() if name not in dropped}
        encoder = build_matching_encoder(kept)
        require_fitting_tensors(ARCHITECTURE, encoder, kept)
        feature = Fbank(encoder.settings["num_bins"], window="hamming")
        return ExternalWeights(
            encoder.settings,
            {f"encoder.{name}": tensor for name, tensor in kept.items()},
            dropped=dropped,
            recipe=feature.recipe | {"normalise": "utterance_mean"},
            window_frames=WINDOW_FRAMES,
        )


def build_matching_encoder(tensors: Mapping[str, Tensor]) -> ResNetEncoder:
    """Build the encoder whose sizes are those of the tensors; the number of bins is taken for a multiple of eight.

    Raises:
        SingerVerifyError: a tensor that decides a size is missing, or has too few dimensions.
    """
    channels, bottleneck = get_size(ARCHITECTURE, tensors, "conv1.weight", 0), "layer1.0.conv3.weight" in tensors
    blocks = {found[0] for name in tensors if (found := re.match(r"layer\d+\.\d+\.", name))}
    num_blocks = [
        max(sum(name.startswith(f"layer{number}.") for name in blocks), 1) for number in range(1, NUM_LAYERS + 1)
    ]
    width = max(channels, 1) * REDUCTION * (4 if bottleneck else 1)
    return ResNetEncoder(
        num_bins=max(get_size(ARCHITECTURE, tensors, PROJECTION, 1) // (2 * width), 1) * REDUCTION,
        channels=channels,
        num_blocks=num_blocks,
        bottleneck=bottleneck,
        embedding_size=get_size(ARCHITECTURE, tensors, PROJECTION, 0),
    )
