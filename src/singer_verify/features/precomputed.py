"""Precomputed features of a corpus, described by its `feat_params.yaml`."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from singer_verify.errors import SingerVerifyError, UtteranceError, require_at_least
from singer_verify.features.recipe import read_yaml
from singer_verify.npz import ARRAY_READ_ERRORS

FEAT_PARAMS_NAME = "feat_params.yaml"
REQUIRED_FEAT_PARAMS = ("num_feats", "sr", "hop_size")


class PrecomputedFeature:
    """The recipe of precomputed features, which validates frames but cannot compute them from audio.

    Args:
        params: the content of `feat_params.yaml`: `num_feats` (bins), `sr` (Hz), `hop_size` (samples), and any
            further information about their extraction (`type`, `fmin`, `fmax`, `frame_size`).
    """

    def __init__(self, params: dict[str, Any]) -> None:
        require_at_least(1, **{name: params.get(name) for name in REQUIRED_FEAT_PARAMS})
        self.params = params
        self.num_bins: int = params["num_feats"]
        self.sample_rate: int = params["sr"]
        self.hop_ms = 1000.0 * params["hop_size"] / params["sr"]

    @property
    def bandwidth_hz(self) -> float:
        return self.sample_rate / 2

    @property
    def recipe(self) -> dict[str, Any]:
        return {"_target_": f"{__name__}.PrecomputedFeature", "params": self.params}

    def __call__(self, samples: Float[Tensor, " samples"]) -> Float[Tensor, "frames bins"]:
        """Refuse to compute frames, since the extraction from audio is unknown.

        Raises:
            SingerVerifyError: always.
        """
        raise SingerVerifyError(
            f"the model was trained on precomputed features ({self.params.get('type', 'no type')}, {self.num_bins} "
            f"bins); they cannot be computed from audio; give .npy files extracted in the same way."
        )

    def check_frames_fit(self, frames: np.ndarray) -> Float[np.ndarray, "frames bins"]:
        """Check that frames fit the recipe and return them as float32.

        Raises:
            UtteranceError: wrong shape or dtype, no frames, or NaN or infinite values.
        """
        if frames.ndim != 2 or frames.shape[0] == 0:
            raise UtteranceError(f"has shape {frames.shape}; expected frames × bins, (any, {self.num_bins}).")
        if frames.shape[1] != self.num_bins:
            raise UtteranceError(f"has {frames.shape[1]} bins; {FEAT_PARAMS_NAME} says num_feats: {self.num_bins}.")
        if not np.issubdtype(frames.dtype, np.floating) and not np.issubdtype(frames.dtype, np.integer):
            raise UtteranceError(f"has dtype {frames.dtype}; expected real numbers.")
        if not np.isfinite(frames).all():
            raise UtteranceError("contains NaN or infinite values; extract it again or delete it.")
        return frames.astype(np.float32)


def read_precomputed_frames(path: Path) -> np.ndarray:
    """Read the array of an `.npy` file, refusing pickled objects.

    Raises:
        UtteranceError: not an array of plain numbers.
    """
    try:
        with open(path, "rb") as file:
            return np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError as error:
        raise UtteranceError(f"{path}: no such file; give the path of a .npy file.") from error
    except ARRAY_READ_ERRORS as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UtteranceError(
            f"{path}: is not a plain array of numbers ({reason}); save it again with numpy.save."
        ) from error


def read_feat_params(root: Path) -> PrecomputedFeature:
    """Read the recipe of the precomputed features of a corpus.

    Raises:
        SingerVerifyError: `feat_params.yaml` is missing, is not yaml, or lacks a key.
    """
    path = root / FEAT_PARAMS_NAME
    if not path.is_file():
        raise SingerVerifyError(
            f"{path}: no such file; a corpus of .npy features needs it, with "
            f"{', '.join(REQUIRED_FEAT_PARAMS)} (bins, Hz, samples)."
        )
    params = read_yaml(path)
    if not isinstance(params, dict) or (missing := [name for name in REQUIRED_FEAT_PARAMS if name not in params]):
        lacking = ", ".join(missing) if isinstance(params, dict) else "every key"
        raise SingerVerifyError(
            f"{path}: lacks {lacking}; expected {', '.join(REQUIRED_FEAT_PARAMS)} (bins, Hz, samples)."
        )
    return PrecomputedFeature(params)
