"""Which frames of a recording are voiced."""

import importlib.machinery
import importlib.util
from functools import cache
from types import ModuleType

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from singer_verify.errors import SingerVerifyError

F0_FLOOR_HZ, F0_CEIL_HZ = 65.0, 1400.0  # C2 to F6: the range of singing


def is_voiced(
    samples: Float[Tensor, " samples"], sample_rate: int, hop_ms: float, num_frames: int
) -> Bool[Tensor, " frames"]:
    """Whether a fundamental frequency between C2 and F6 is found around each of the frames' times, 0, hop, 2 hops, ...

    Found by DIO (Morise, Kawahara and Katayose 2009, "Fast and reliable F0 estimation method based on the period
    extraction of vocal fold vibration of singing voice and speech"). Frames beyond the recording are not voiced.

    Raises:
        SingerVerifyError: pyworld is not installed.
    """
    f0_hz, _ = _world().dio(
        samples.double().numpy(), sample_rate, f0_floor=F0_FLOOR_HZ, f0_ceil=F0_CEIL_HZ, frame_period=hop_ms
    )
    voiced = np.zeros(num_frames, bool)
    voiced[: len(f0_hz)] = f0_hz[:num_frames] > 0
    return torch.from_numpy(voiced)


@cache
def _world() -> ModuleType:
    """pyworld's functions; its package itself imports pkg_resources, which setuptools no longer has."""
    package = importlib.util.find_spec("pyworld")
    places = package.submodule_search_locations if package else None
    found = importlib.machinery.PathFinder.find_spec("pyworld.pyworld", places) if places else None
    if found is None or found.loader is None:
        raise SingerVerifyError("features.voiced_only=true: needs pyworld; install it: pip install pyworld.")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
