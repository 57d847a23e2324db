"""Log band energies of a short-time Fourier transform."""

import torch
from torch import nn

from singer_verify.features.feature import require_one_frame


class LogBands(nn.Module):
    """Energies of equally wide bands; frame k is centred on sample k * hop_samples.

    Args:
        num_bins: number of bands.
        gain: factor on the logarithm.
    """

    def __init__(self, num_bins=16, gain=1.0):
        super().__init__()
        self.num_bins, self.gain = num_bins, gain
        self.sample_rate, self.hop_ms, self.hop_samples = 16000, 10.0, 160
        self.context_samples, self.bandwidth_hz = 200, 8000.0
        self.register_buffer("window", torch.hann_window(400), persistent=False)

    @property
    def recipe(self):
        return {"_target_": f"{__name__}.LogBands", "num_bins": self.num_bins, "gain": self.gain}

    def forward(self, samples):
        require_one_frame(samples.shape[-1], self.context_samples + 1, self.sample_rate)
        spectrum = torch.stft(
            samples, 400, self.hop_samples, window=self.window, center=True, pad_mode="reflect", return_complex=True
        )
        power = spectrum.abs().square()[..., : 200 // self.num_bins * self.num_bins, :]
        bands = power.unflatten(-2, (self.num_bins, -1)).mean(dim=-2)
        return self.gain * torch.log(bands + 1e-6).transpose(-1, -2)
