"""Filters that a recipe may put its samples through before it makes frames: a high-pass, pre-emphasis."""

import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.errors import require_between

HIGH_PASS_ORDER = 5


class WaveformFilter:
    """Samples without rumble and with a raised treble, each by setting; nothing is done by default.

    The high-pass is a Butterworth filter of fifth order, run forwards and backwards (`scipy.signal.filtfilt`), so that
    nothing is delayed; at 30 Hz it is that of the AutoVC family (Qian et al. 2019), against the offset and the rumble
    of recordings. Pre-emphasis is y[t] = x[t] - a x[t-1], and y[0] = (1 - a) x[0] (The HTK Book 3.4, section 5.2).

    Shape: samples (..., samples) → (..., samples), on the device of the samples; filtered in double precision.

    Args:
        sample_rate: of the samples, in Hz.
        high_pass_hz: frequency from which the high-pass lets sound through; 0: none.
        pre_emphasis: a, for instance 0.97; 0: none.
    """

    def __init__(self, sample_rate: int, high_pass_hz: float = 0.0, pre_emphasis: float = 0.0) -> None:
        require_between(0.0, 0.49 * sample_rate, high_pass_hz=high_pass_hz)
        require_between(0.0, 1.0, pre_emphasis=pre_emphasis)
        self.sample_rate, self.high_pass_hz, self.pre_emphasis = sample_rate, float(high_pass_hz), float(pre_emphasis)

    def __call__(self, samples: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch samples"]:
        if self.high_pass_hz:
            samples = self._without_rumble(samples)
        if self.pre_emphasis:
            before = torch.cat([samples[..., :1], samples[..., :-1]], dim=-1)
            samples = samples - self.pre_emphasis * before
        return samples

    def _without_rumble(self, samples: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch samples"]:
        from scipy.signal import butter, filtfilt

        numerator, denominator = butter(HIGH_PASS_ORDER, self.high_pass_hz, btype="highpass", fs=self.sample_rate)
        filtered = filtfilt(numerator, denominator, samples.cpu().double().numpy())
        return torch.from_numpy(filtered.copy()).to(samples)
