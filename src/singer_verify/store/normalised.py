"""A store whose frames are normalised as they are read."""

import numpy as np
from jaxtyping import Float, Int

from singer_verify.features.normalisation import Normalisation
from singer_verify.features.statistics import frame_statistics
from singer_verify.store.packed import PackedStore


class NormalisedStore:
    """Crops of a packed store, each on the scale of its whole utterance or of the training split.

    The frames on disk stay as they are, so that every normalisation of a recipe shares them.

    Args:
        store: the frames.
        normalisation: with the figures of the training split, if it needs them.
    """

    def __init__(self, store: PackedStore, normalisation: Normalisation) -> None:
        self.store = store
        self.scaling = None if normalisation.name == "none" else normalisation.scaling(store.frames, store.offsets)

    def crops(
        self, utterances: Int[np.ndarray, " crops"], starts: Int[np.ndarray, " crops"], num_frames: int
    ) -> Float[np.ndarray, "crops num_frames bins"]:
        """As of the packed store; the zeros around an utterance that is shorter than the window stay zeros."""
        crops = self.store.crops(utterances, starts, num_frames)
        if self.scaling is None:
            return crops
        scaled = self.scaling.apply(crops, utterances)
        before = np.maximum(num_frames - self.store.num_frames[utterances], 0) // 2
        end = before + self.store.num_frames[utterances]
        place = np.arange(num_frames)
        scaled[(place < before[:, None]) | (place >= end[:, None])] = 0.0
        return scaled


def fitted(normalisation: Normalisation, training: PackedStore) -> Normalisation:
    """With the figures of the training split's stored frames, all of them, where these are needed and not yet known."""
    if not normalisation.needs_training_split:
        return normalisation
    return normalisation.fitted(frame_statistics(training.frames, training.offsets))
