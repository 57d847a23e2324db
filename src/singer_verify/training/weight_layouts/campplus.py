"""CAM++ as 3D-Speaker and wespeaker publish it: a plain state dict."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from singer_verify.encoders.campplus import FREQUENCY_REDUCTION, CAMPPlusEncoder
from singer_verify.features.fbank import Fbank
from singer_verify.training.weight_layouts.layout import (
    ExternalWeights,
    collect_tensors,
    get_size,
    require_fitting_tensors,
)

ARCHITECTURE = "CAM++"
FRONT_PREFIX, BODY_PREFIX, CLASSIFIER_PREFIX = "head.", "xvector.", "projection."
FIRST_CONVOLUTION = "xvector.tdnn.linear.weight"
FIRST_DENSE_LAYER = "xvector.block1.tdnnd1"
WINDOW_FRAMES = 2000  # makam songs across songs: 3 s 5.6, 6 s 3.6, whole recordings (up to 22 s) 2.9 % EER


class CAMPPlusLayout:
    """The front as `head.`, all after it as `xvector.`; in wespeaker's checkpoints a classifier as `projection.`.

    3D-Speaker trains on Kaldi's filter bank of samples in [-1, 1], with Kaldi's own window; wespeaker on that of 16-bit
    integers, with the Hamming window. The shapes of tensors tell neither dilations nor the length of a segment; both
    programs have those of the paper.
    """

    expected = "`head.` and `xvector.` (CAM++ of 3D-Speaker or wespeaker)"

    def recognises(self, content: Mapping[str, Any]) -> bool:
        tensors = collect_tensors(content)
        return FIRST_CONVOLUTION in tensors and any(name.startswith(FRONT_PREFIX) for name in tensors)

    def read(self, content: Mapping[str, Any]) -> ExternalWeights:
        tensors = collect_tensors(content)
        dropped = sorted(name for name in tensors if name.startswith(CLASSIFIER_PREFIX))
        kept = {name: tensor for name, tensor in tensors.items() if name not in dropped}
        encoder = build_matching_encoder(kept)
        weights = {name.removeprefix(BODY_PREFIX): tensor for name, tensor in kept.items()}
        require_fitting_tensors(ARCHITECTURE, encoder, weights)
        num_bins = encoder.settings["num_bins"]
        feature = Fbank(num_bins, window="hamming") if dropped else Fbank(num_bins, full_scale=1.0)
        return ExternalWeights(
            encoder.settings,
            {f"encoder.{name}": tensor for name, tensor in weights.items()},
            dropped=dropped,
            recipe=feature.recipe | {"normalise": "utterance_mean"},
            window_frames=WINDOW_FRAMES,
        )


def build_matching_encoder(tensors: Mapping[str, Tensor]) -> CAMPPlusEncoder:
    """Build the encoder whose sizes are those of the tensors.

    Raises:
        SingerVerifyError: a tensor that decides a size is missing, or has too few dimensions.
    """
    front_channels = get_size(ARCHITECTURE, tensors, "head.conv1.weight", 0)
    width = get_size(ARCHITECTURE, tensors, FIRST_CONVOLUTION, 1)
    layers = [re.match(r"xvector\.block(\d+)\.tdnnd(\d+)\.", name) for name in tensors]
    numbers = sorted({(int(found[1]), int(found[2])) for found in layers if found})
    num_layers = list(dict(numbers).values())  # the number of the last layer of each block
    return CAMPPlusEncoder(
        num_bins=max(width // max(front_channels, 1), 1) * FREQUENCY_REDUCTION,
        embedding_size=get_size(ARCHITECTURE, tensors, "xvector.dense.linear.weight", 0),
        front_channels=front_channels,
        channels=get_size(ARCHITECTURE, tensors, FIRST_CONVOLUTION, 0),
        growth=get_size(ARCHITECTURE, tensors, f"{FIRST_DENSE_LAYER}.cam_layer.linear_local.weight", 0),
        bottleneck=get_size(ARCHITECTURE, tensors, f"{FIRST_DENSE_LAYER}.linear1.weight", 0),
        num_layers=num_layers,
        dilations=[1] + [2] * (len(num_layers) - 1),
    )
