"""The spectral envelope of a voice without its pitch, by WORLD."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.errors import require_between, require_one_of
from singer_verify.features.envelope_coding import DB_PER_NEPER, mel_cepstrum_matrix, warped_spectrum_matrix
from singer_verify.features.f0 import F0Tracker, world_samples
from singer_verify.features.world_library import world_library

CODINGS = ("world", "mfsc", "mfsc_db", "mgc", "cepstrum")


class World:
    """CheapTrick's envelope (Morise 2015), pitch-synchronous and free of harmonics, in few bins.

    Codings of the envelope: `world`, WORLD's own (Morise, Miyashita, Ozawa 2017); `mfsc`, log amplitude at equal steps
    of warped frequency, natural or (`mfsc_db`) in decibels; `mgc`, mel-cepstrum; `cepstrum`, real cepstrum without
    warping. With aperiodicity, the share of breath in each of WORLD's coarse bands follows, in decibels (D4C, Morise
    2016): one band at 16 kHz, five at 44.1 kHz. Frames without pitch have an envelope too.

    Shape: samples (samples,) → (frames, bins), frames = 1 + samples // hop; WORLD's own hop is 5 ms.

    Args:
        num_envelope_bins: numbers the envelope is coded in.
        coding: of the envelope, see above.
        aperiodicity: append the coded aperiodicity.
        warping: of the codings mfsc, mfsc_db and mgc, see `mel_cepstrum_matrix`.
        sample_rate: in Hz, of the samples that will be given.
        hop_ms, f0_method, f0_min_hz, f0_max_hz: see `F0Tracker`.
    """

    def __init__(
        self,
        num_envelope_bins: int = 60,
        coding: str = "mfsc",
        aperiodicity: bool = False,
        warping: float = 0.45,
        sample_rate: int = 16_000,
        hop_ms: float = 5.0,
        f0_method: str = "dio",
        f0_min_hz: float = 60.0,
        f0_max_hz: float = 1100.0,
    ) -> None:
        self.f0 = F0Tracker(sample_rate, hop_ms, f0_method, f0_min_hz, f0_max_hz)
        world = world_library()
        self.fft_size = world.get_cheaptrick_fft_size(sample_rate, self.f0.f0_min_hz)
        require_one_of(CODINGS, coding=coding)
        require_between(2, self.fft_size // 2, num_envelope_bins=num_envelope_bins)
        require_between(-0.9, 0.9, warping=warping)
        self.num_envelope_bins, self.coding, self.aperiodicity = num_envelope_bins, coding, aperiodicity
        self.warping, self.sample_rate, self.hop_ms = float(warping), sample_rate, self.f0.hop_ms
        num_bands = world.get_num_aperiodicities(sample_rate) if aperiodicity else 0
        self.num_bins = num_envelope_bins + num_bands
        self.matrix = self._coding_matrix()

    @property
    def bandwidth_hz(self) -> float:
        return self.sample_rate / 2

    @property
    def recipe(self) -> dict[str, Any]:
        names = ("num_envelope_bins", "coding", "aperiodicity", "warping")
        own = {name: getattr(self, name) for name in names}
        return {"_target_": f"{__name__}.World"} | own | self.f0.settings

    def __call__(self, samples: Float[Tensor, " samples"]) -> Float[Tensor, "frames bins"]:
        world, voice = world_library(), world_samples(samples)
        f0_hz, times_s = self.f0(voice), self.f0.times_s(len(voice))
        power = world.cheaptrick(voice, f0_hz, times_s, self.sample_rate, fft_size=self.fft_size)
        parts = [self._coded(power)]
        if self.aperiodicity:
            shares = world.d4c(voice, f0_hz, times_s, self.sample_rate, fft_size=self.fft_size)
            parts.append(world.code_aperiodicity(shares, self.sample_rate))
        return torch.from_numpy(np.concatenate(parts, axis=1)).to(samples)

    def _coded(self, power: Float[np.ndarray, "frames frequencies"]) -> Float[np.ndarray, "frames bins"]:
        if self.matrix is None:
            coded: np.ndarray = world_library().code_spectral_envelope(power, self.sample_rate, self.num_envelope_bins)
            return coded
        return 0.5 * np.log(power) @ self.matrix.T

    def _coding_matrix(self) -> Float[np.ndarray, "bins frequencies"] | None:
        """From log amplitude; None where WORLD codes the envelope itself."""
        shape = self.num_envelope_bins, self.fft_size // 2 + 1
        if self.coding == "world":
            return None
        if self.coding == "mgc":
            return mel_cepstrum_matrix(*shape, self.warping)
        if self.coding == "cepstrum":
            return mel_cepstrum_matrix(*shape, 0.0)
        spectrum = warped_spectrum_matrix(*shape, self.warping)
        return spectrum * DB_PER_NEPER if self.coding == "mfsc_db" else spectrum
