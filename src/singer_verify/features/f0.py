"""F0 and voicing: from the WORLD vocoder (Morise, Yokomori, Ozawa 2016), by the package pyworld, or from a network."""

import importlib.util
from functools import cache
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from singer_verify.errors import (
    SingerVerifyError,
    format_installation,
    require_at_least,
    require_between,
    require_choice,
)
from singer_verify.features.feature import compute_hop_samples, require_one_frame

F0_METHODS = ("dio", "harvest", "swift")
MIN_F0_PERIODS = 3  # shortest utterance, in periods of the lowest f0
MIN_F0_HZ, MAX_F0_HZ = 60.0, 1100.0  # the defaults of the pitch recipes
MIN_SWIFT_HZ, MAX_SWIFT_HZ = 46.875, 2093.75  # the range of SwiftF0
SWIFT_LEVEL = 0.1  # root mean square of what it is given, so that no recording is below its threshold of silence
MIN_SWIFT_CONFIDENCE = 0.5  # of a voiced frame


@cache
def load_pyworld() -> ModuleType:
    """Load the compiled module of pyworld.

    The package itself (0.3.5) is not imported: it imports `pkg_resources`, which setuptools no longer contains.

    Raises:
        SingerVerifyError: pyworld is not installed.
    """
    package = importlib.util.find_spec("pyworld")
    locations = package.submodule_search_locations if package else None
    compiled = PathFinder.find_spec("pyworld.pyworld", locations) if locations else None
    if compiled is None or compiled.loader is None:
        raise SingerVerifyError(
            "this recipe needs the package pyworld, which is not installed; run: pip install pyworld."
        )
    module = importlib.util.module_from_spec(compiled)
    compiled.loader.exec_module(module)
    return module


def require_swift_f0() -> None:
    """Refuse to use SwiftF0 where its package is missing.

    Raises:
        SingerVerifyError: swift-f0 is not installed.
    """
    if importlib.util.find_spec("swift_f0") is None:
        raise SingerVerifyError(
            "f0_method=swift: needs the package swift-f0, which is not installed; run: "
            f"{format_installation('f0')}, or take f0_method=dio."
        )


@cache
def load_swift_f0() -> Any:
    """Load the detector of the package swift-f0, in one thread."""
    require_swift_f0()
    return importlib.import_module("swift_f0").SwiftF0(threads=1, spin=False)


class F0Tracker:
    """F0 from WORLD or from a network.

    WORLD's estimators are DIO (Morise, Kawahara, Katayose 2009), refined by StoneMask, and the slower Harvest (2017).
    The network is SwiftF0 (Nieradzik 2025), which finds notes in noise as loud as the voice; its frames are 16 ms apart
    and are interpolated, a frame being as voiced as the nearest of them.

    Shape: samples (samples,) → (frames,) in Hz, 0 where unvoiced; frame i at time i · hop, frames = 1 + samples // hop.

    Args:
        sample_rate: sample rate of the input, in Hz.
        hop_ms: hop between frames; must be a whole number of samples.
        f0_method: dio, harvest, or swift, which needs the extra `f0`.
        f0_min_hz: lower limit of the f0 search.
        f0_max_hz: upper limit of the f0 search.
    """

    def __init__(self, sample_rate: int, hop_ms: float, f0_method: str, f0_min_hz: float, f0_max_hz: float) -> None:
        require_at_least(1, sample_rate=sample_rate)
        require_choice(F0_METHODS, f0_method=f0_method)
        require_between(40.0, sample_rate / 4, f0_min_hz=f0_min_hz, f0_max_hz=f0_max_hz)
        require_between(2.0 * f0_min_hz, sample_rate / 4, f0_max_hz=f0_max_hz)
        if f0_method == "swift":
            require_between(MIN_SWIFT_HZ, MAX_SWIFT_HZ, f0_min_hz=f0_min_hz, f0_max_hz=f0_max_hz)
            require_swift_f0()
        self.sample_rate, self.hop_ms, self.f0_method = sample_rate, float(hop_ms), f0_method
        self.f0_min_hz, self.f0_max_hz = float(f0_min_hz), float(f0_max_hz)
        self.hop_samples = compute_hop_samples(hop_ms, sample_rate)

    @property
    def settings(self) -> dict[str, Any]:
        names = ("sample_rate", "hop_ms", "f0_method", "f0_min_hz", "f0_max_hz")
        return {name: getattr(self, name) for name in names}

    def compute_times_s(self, num_samples: int) -> Float[np.ndarray, " frames"]:
        """Compute the time of every frame of a recording, in seconds."""
        return np.arange(1 + num_samples // self.hop_samples) * (self.hop_ms / 1000.0)

    def __call__(self, samples: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " frames"]:
        shortest = round(MIN_F0_PERIODS * self.sample_rate / self.f0_min_hz)
        require_one_frame(len(samples), shortest, self.sample_rate)
        if self.f0_method == "swift":
            return self._run_swift_f0(samples)
        world = load_pyworld()
        limits = {"f0_floor": self.f0_min_hz, "f0_ceil": self.f0_max_hz, "frame_period": self.hop_ms}
        f0_hz, times_s = getattr(world, self.f0_method)(samples, self.sample_rate, **limits)
        if self.f0_method == "dio":
            f0_hz = world.stonemask(samples, f0_hz, times_s, self.sample_rate)
        expected = len(self.compute_times_s(len(samples)))  # WORLD may round its frame count differently
        return np.pad(f0_hz, (0, max(0, expected - len(f0_hz))), mode="edge")[:expected]

    def _run_swift_f0(self, samples: Float[np.ndarray, " samples"]) -> Float[np.ndarray, " frames"]:
        level = max(float(np.sqrt(np.square(samples).mean())), 1e-10)
        scaled = (SWIFT_LEVEL / level * samples).astype(np.float32)
        found = load_swift_f0().detect(scaled, self.sample_rate, self.f0_min_hz, self.f0_max_hz)
        voiced, times_s = found.confidence >= MIN_SWIFT_CONFIDENCE, self.compute_times_s(len(samples))
        if not voiced.any():
            return np.zeros(len(times_s))
        log_f0 = np.interp(times_s, found.timestamps[voiced], np.log(found.pitch_hz[voiced]))
        nearest = np.rint(np.interp(times_s, found.timestamps, np.arange(len(voiced)))).astype(np.int64)
        return np.where(voiced[nearest], np.exp(log_f0), 0.0)


def convert_samples_for_world(samples: Float[Tensor, " samples"]) -> Float[np.ndarray, " samples"]:
    """Convert samples to the contiguous double-precision array that WORLD expects."""
    return np.ascontiguousarray(samples.detach().cpu().double().numpy())


def detect_voiced_frames(
    samples: Float[Tensor, " samples"], sample_rate: int, hop_ms: float, num_frames: int
) -> Bool[Tensor, " frames"]:
    """Detect frames in which DIO finds an f0 between 60 and 1100 Hz; frame i is centred on time i · hop.

    Frames beyond the end of the recording, which some features add, are unvoiced.

    Raises:
        UtteranceError: the recording is too short for f0 estimation.
        SingerVerifyError: pyworld is not installed.
    """
    f0_hz = F0Tracker(sample_rate, hop_ms, "dio", MIN_F0_HZ, MAX_F0_HZ)(convert_samples_for_world(samples))
    voiced = np.zeros(num_frames, bool)
    voiced[: len(f0_hz)] = f0_hz[:num_frames] > 0
    return torch.from_numpy(voiced)
