"""Scales of the parts of a stack of recipes: one that varies far more than another outweighs it."""

import logging

import numpy as np
from lightning_utilities.core.rank_zero import rank_zero_only

from singer_verify.features.feature import Feature
from singer_verify.features.normalisation import Normalisation
from singer_verify.features.stack import FeatureStack
from singer_verify.features.voice import unwrap_feature
from singer_verify.store.packed import PackedStore

log = logging.getLogger(__name__)
NORMALISATIONS_OF_BINS = ("utterance_bins", "global_bins")  # which give every bin a deviation of 1
MAX_SCALE_RATIO = 20.0  # of the parts of a stack; those of mel40+energy differ by 9 on the example data
SAMPLED_UTTERANCES, SAMPLED_FRAMES = 64, 1000  # of each of them; whose deviations stand for all


@rank_zero_only
def warn_of_unequal_scales(feature: Feature, normalisation: Normalisation, store: PackedStore) -> None:
    """Warn of a stack of recipes whose deviations are so unequal that one recipe outweighs another.

    Args:
        feature: feature that computed the frames.
        normalisation: what is done to them; nothing is said where it makes all bins alike.
        store: frames, a sample of which is read.
    """
    stack = unwrap_feature(feature)
    if not isinstance(stack, FeatureStack) or normalisation.name in NORMALISATIONS_OF_BINS:
        return
    step = -(-len(store.paths) // SAMPLED_UTTERANCES)
    sampled = [store.get_utterance_frames(row)[:SAMPLED_FRAMES] for row in range(0, len(store.paths), step)]
    variance = np.concatenate(sampled).astype(np.float64).var(axis=0)
    ends = np.cumsum([part.num_bins for part in stack.parts])
    deviations = [float(np.sqrt(part.mean())) for part in np.split(variance, ends[:-1])]
    scaled = [(value, name) for value, name in zip(deviations, stack.names, strict=True) if value > 0]
    (low, small), (high, large) = min(scaled, default=(0.0, "")), max(scaled, default=(0.0, ""))
    if high > MAX_SCALE_RATIO * low:
        log.warning(
            "features.normalise=%s: the rows of %s vary %.0f times as much as those of %s (standard deviations %.2g "
            "and %.2g) and outweigh them; set features.normalise=global_bins, which brings all rows to one scale.",
            *(normalisation.name, large, high / low, small, high, low),
        )
