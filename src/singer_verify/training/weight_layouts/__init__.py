"""Layouts in which other programs publish weights. To read another one, add its class to `LAYOUTS`."""

from typing import NamedTuple

from singer_verify.training.weight_layouts.campplus import CAMPPlusLayout
from singer_verify.training.weight_layouts.ecapa import EcapaLayout
from singer_verify.training.weight_layouts.layout import WeightLayout
from singer_verify.training.weight_layouts.lstm import AutoVCLayout, SingerIdLayout

LAYOUTS: tuple[WeightLayout, ...] = (SingerIdLayout(), AutoVCLayout(), CAMPPlusLayout(), EcapaLayout())


class PublishedWeights(NamedTuple):
    """Where a file of weights comes from, and under which licence it may be used (an SPDX identifier)."""

    origin: str
    licence: str


PUBLISHED_WEIGHTS = {  # by the SHA-256 of the file
    "92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199": PublishedWeights(
        "CAM++ of 3D-Speaker, 200 000 speakers of Chinese and English "
        "(https://modelscope.cn/models/iic/speech_campplus_sv_zh_en_16k-common_advanced)",
        "Apache-2.0",
    ),
}
