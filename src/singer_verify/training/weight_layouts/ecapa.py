"""ECAPA-TDNN as wespeaker publishes it: a plain state dict."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from singer_verify.encoders.ecapa import EcapaEncoder
from singer_verify.features.fbank import Fbank
from singer_verify.training.weight_layouts.layout import (
    ExternalWeights,
    collect_tensors,
    get_size,
    require_fitting_tensors,
)

ARCHITECTURE = "ECAPA-TDNN"
FIRST_BLOCK = "layer2.se_res2block"
CLASSIFIER_PREFIX = "projection."
WINDOW_FRAMES = 2000  # whole recordings of up to 20 s, as they are evaluated by their authors
PUBLISHED_NAMES = (  # patterns of our names, and what wespeaker calls the same
    (r"^(layer\d+)\.before\.", r"\1.se_res2block.0."),
    (r"^(layer\d+)\.multi_scale\.layers\.(\d+)\.conv\.", r"\1.se_res2block.1.convs.\2."),
    (r"^(layer\d+)\.multi_scale\.layers\.(\d+)\.norm\.", r"\1.se_res2block.1.bns.\2."),
    (r"^(layer\d+)\.after\.", r"\1.se_res2block.2."),
    (r"^(layer\d+)\.excitation\.squeeze\.", r"\1.se_res2block.3.linear1."),
    (r"^(layer\d+)\.excitation\.excite\.", r"\1.se_res2block.3.linear2."),
    (r"^(layer\d.*)\.norm\.", r"\1.bn."),
    (r"^aggregation\.", "conv."),
    (r"^pooling\.hidden\.", "pool.linear1."),
    (r"^pooling\.score\.", "pool.linear2."),
    (r"^pooling_norm\.", "bn."),
    (r"^norm\.", "bn2."),
)


class EcapaLayout:
    """Blocks as `layer2.se_res2block.`, ...; a classifier as `projection.`.

    Dilations are not seen in the shapes of tensors; wespeaker has those of the paper. Its blocks read the output of the
    block before alone, and it trains on Kaldi's filter bank with the Hamming window.
    """

    expected = "`layer1.` and `layer2.se_res2block.` (ECAPA-TDNN of wespeaker)"

    def recognises(self, content: Mapping[str, Any]) -> bool:
        return any(name.startswith(f"{FIRST_BLOCK}.") for name in collect_tensors(content))

    def read(self, content: Mapping[str, Any]) -> ExternalWeights:
        tensors = collect_tensors(content)
        dropped = sorted(name for name in tensors if name.startswith(CLASSIFIER_PREFIX))
        kept = {name: tensor for name, tensor in tensors.items() if name not in dropped}
        encoder = build_matching_encoder(kept)
        require_fitting_tensors(ARCHITECTURE, encoder, kept, get_published_name)
        feature = Fbank(encoder.settings["num_bins"], window="hamming")
        return ExternalWeights(
            encoder.settings,
            {f"encoder.{name}": kept[get_published_name(name)] for name in encoder.state_dict()},
            dropped=dropped,
            recipe=feature.recipe | {"normalise": "utterance_mean"},
            window_frames=WINDOW_FRAMES,
        )


def get_published_name(name: str) -> str:
    """Return wespeaker's name of one of our tensors."""
    for pattern, published in PUBLISHED_NAMES:
        name = re.sub(pattern, published, name)
    return name


def build_matching_encoder(tensors: Mapping[str, Tensor]) -> EcapaEncoder:
    """Build the encoder whose sizes are those of the tensors.

    Raises:
        SingerVerifyError: a tensor that decides a size is missing, or has too few dimensions, or sizes do not fit each
            other.
    """
    num_blocks = len({name.partition(".")[0] for name in tensors if re.match(r"layer\d+\.se_res2block\.", name)})
    groups = {name for name in tensors if re.fullmatch(rf"{re.escape(FIRST_BLOCK)}\.1\.convs\.\d+\.weight", name)}
    aggregation_channels = get_size(ARCHITECTURE, tensors, "conv.weight", 0)
    width = get_size(ARCHITECTURE, tensors, "linear.weight", 1)
    pooling, attention_channels = "statistics", 1
    if "pool.linear1.weight" in tensors or width != 2 * aggregation_channels:
        attention_channels = get_size(ARCHITECTURE, tensors, "pool.linear1.weight", 0)
        with_context = get_size(ARCHITECTURE, tensors, "pool.linear1.weight", 1) == 3 * aggregation_channels
        pooling = "context_attentive_statistics" if with_context else "channel_attentive_statistics"
    return EcapaEncoder(
        num_bins=get_size(ARCHITECTURE, tensors, "layer1.conv.weight", 1),
        channels=get_size(ARCHITECTURE, tensors, "layer1.conv.weight", 0),
        dilations=list(range(2, 2 + num_blocks)),
        scale=1 + max(len(groups), 1),
        squeeze_channels=get_size(ARCHITECTURE, tensors, f"{FIRST_BLOCK}.3.linear1.weight", 0),
        aggregation_channels=aggregation_channels,
        attention_channels=attention_channels,
        embedding_size=get_size(ARCHITECTURE, tensors, "linear.weight", 0),
        pooling=pooling,
        summation=False,
        embedding_norm="bn2.weight" in tensors,
    )
