"""Which recipes can be part of an exported model, and from how many samples on."""

import torch
from torch import nn

from singer_verify.errors import UtteranceError
from singer_verify.features import Feature
from singer_verify.features.deltas import Deltas
from singer_verify.features.mel import Mel
from singer_verify.features.mfcc import Mfcc
from singer_verify.features.prepared import Prepared
from singer_verify.features.ready import Ready
from singer_verify.features.resemblyzer import Resemblyzer
from singer_verify.features.stack import Stack

LONGEST_S = 60  # within which every recipe makes a frame


def why_not_traced(feature: Feature) -> str | None:
    """What of a recipe happens outside torch, so that no graph of it can be made; None where nothing does."""
    if isinstance(feature, Ready):
        return "its frames come ready-made, and nothing here tells how to make them from samples"
    if isinstance(feature, Prepared):
        done = "silence is cut off" if feature.trim_silence_db is not None else "unvoiced frames are left out"
        return f"{done} as the recording has it"
    if isinstance(feature, Resemblyzer):
        return "Resemblyzer's recipe changes the length of a recording step by step in Python"
    if not isinstance(feature, nn.Module):
        return f"{type(feature).__name__} is computed by WORLD, outside torch"
    if isinstance(feature, Mel) and feature.waveform_filter.high_pass_hz:
        return "its high-pass filter is computed by scipy, outside torch"
    return next(filter(None, map(why_not_traced, _parts(feature))), None)


def shortest_samples(feature: Feature) -> int:
    """The fewest samples that the recipe makes frames of, found by trying."""
    too_few, enough = 0, LONGEST_S * feature.sample_rate
    while enough - too_few > 1:
        tried = (too_few + enough) // 2
        try:
            feature(torch.zeros(tried))
            enough = tried
        except UtteranceError:
            too_few = tried
    return enough


def _parts(feature: Feature) -> list[Feature]:
    if isinstance(feature, Stack):
        return feature.parts
    if isinstance(feature, Deltas):
        return [feature.of]
    return [feature.mel] if isinstance(feature, Mfcc) else []
