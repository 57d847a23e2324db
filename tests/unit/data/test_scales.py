"""A stack whose recipes are of very different scales is told of, unless its bins are normalised one by one."""

import logging

import numpy as np
import pytest

from singer_verify.data.scales import warn_of_unequal_scales
from singer_verify.features.energy import Energy
from singer_verify.features.feature import Feature
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.normalisation import Normalisation
from singer_verify.features.stack import FeatureStack
from singer_verify.store.packed import PackedStore

MEL, STACK = MelSpectrogram(40), FeatureStack([MelSpectrogram(40).recipe, Energy().recipe])


def pack(scales: list[float]) -> PackedStore:
    """Three utterances of frames whose bins have these standard deviations."""
    frames = np.random.default_rng(0).standard_normal((1200, len(scales))) * scales
    paths = np.array(["a", "b", "c"], object)
    return PackedStore(
        frames.astype(np.float16), np.array([0, 300, 900, 1200]), np.zeros(3, np.int64), ("x",), paths, {}
    )


@pytest.mark.parametrize(
    ("feature", "scales", "normalise", "is_said"),
    [
        (STACK, [0.1] * 40 + [8.0], "none", True),
        (STACK, [0.1] * 40 + [8.0], "utterance_mean", True),
        (STACK, [0.1] * 40 + [8.0], "global_unit_variance", True),
        (STACK, [0.1] * 40 + [8.0], "global_bins", False),
        (STACK, [0.1] * 40 + [8.0], "utterance_bins", False),
        (STACK, [0.1] * 40 + [1.9], "none", False),  # as they are
        (STACK, [0.1] * 40 + [0.0], "none", False),  # a constant row outweighs nothing
        (MEL, [0.1] * 39 + [8.0], "none", False),
    ],
)
def test_a_row_that_outweighs_the_others_is_named(
    feature: Feature, scales: list[float], normalise: str, is_said: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="singer_verify")
    warn_of_unequal_scales(feature, Normalisation(normalise), pack(scales))
    if is_said:
        (line,) = caplog.messages
        assert line.startswith(f"features.normalise={normalise}: the rows of Energy vary 8")
        assert "times as much as those of MelSpectrogram (standard deviations 8 and 0.1)" in line
        assert "features.normalise=global_bins" in line
    else:
        assert caplog.messages == []
