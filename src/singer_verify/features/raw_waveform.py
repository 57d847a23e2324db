"""Raw samples as frames of one bin, so that a packed store can hold the audio of a corpus."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.errors import UtteranceError, require_at_least, require_choice
from singer_verify.features.feature import require_one_frame

MAX_CLIPPING = 0.01  # relative change of the samples
SAMPLE_UNITS = {"int16": 1.0 / 32768, "float32": 1.0}  # value of a stored 1 relative to full scale


class RawWaveform:
    """The waveform itself, to be stored in `dtype`: one sample per frame.

    int16 has steps of 1/32768 of full scale: exact for 16-bit mono recordings that are not resampled; otherwise rounded
    (noise at -98 dBFS) and clipped at full scale, or refused if that would change them by more than 1 %. float32 is
    exact, in twice the space. float16, with 11 bits, would add noise 66 dB below the voice.

    Shape: samples (samples,) → (samples, 1).

    Args:
        sample_rate: sample rate of the input, in Hz.
        dtype: dtype of the store, int16 or float32.
        shortest_samples: shortest utterance that the recipe computed from the samples accepts.
        bandwidth_hz: bandwidth of that recipe; recordings of lower bandwidth are rejected.
    """

    num_bins = 1

    def __init__(self, sample_rate: int, dtype: str, shortest_samples: int, bandwidth_hz: float) -> None:
        require_at_least(1, sample_rate=sample_rate, shortest_samples=shortest_samples)
        require_choice(tuple(SAMPLE_UNITS), **{"data.samples_dtype": dtype})
        self.sample_rate, self.dtype, self.shortest_samples = sample_rate, dtype, shortest_samples
        self.hop_ms, self.unit, self.bandwidth_hz = 1000.0 / sample_rate, SAMPLE_UNITS[dtype], float(bandwidth_hz)

    @property
    def recipe(self) -> dict[str, Any]:
        names = ("sample_rate", "dtype", "shortest_samples", "bandwidth_hz")
        settings = {name: getattr(self, name) for name in names}
        return {"_target_": f"{__name__}.RawWaveform"} | settings

    def __call__(self, samples: Float[Tensor, " samples"]) -> Float[Tensor, "samples 1"]:
        require_one_frame(len(samples), self.shortest_samples, self.sample_rate)
        if self.dtype == "int16":
            whole = torch.round(samples / self.unit)
            clipped = whole.clamp(-32768, 32767)
            if float((whole - clipped).norm()) > MAX_CLIPPING * float(whole.norm()):
                peak = float(samples.abs().max())
                raise UtteranceError(
                    f"its samples reach {peak:.1f} × full scale, and int16 would clip them; set "
                    f"data.samples_dtype=float32."
                )
            samples = clipped
        return samples[:, None]
