"""Layouts in which other programs publish weights. To read another one, add its class to `LAYOUTS`."""

from singer_verify.training.weight_layouts.campplus import CAMPPlusLayout
from singer_verify.training.weight_layouts.ecapa import EcapaLayout
from singer_verify.training.weight_layouts.layout import WeightLayout
from singer_verify.training.weight_layouts.lstm import AutoVCLayout, SingerIdLayout
from singer_verify.training.weight_layouts.resnet import ResNetLayout

LAYOUTS: tuple[WeightLayout, ...] = (SingerIdLayout(), AutoVCLayout(), CAMPPlusLayout(), EcapaLayout(), ResNetLayout())
