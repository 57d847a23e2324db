"""Few numbers for a spectral envelope. Each coding is linear in the logarithm of the envelope, so it is a matrix."""

import math

import numpy as np
from jaxtyping import Float

DB_PER_NEPER = 20.0 / math.log(10.0)


def mel_cepstrum_matrix(num_bins: int, num_frequencies: int, warping: float) -> Float[np.ndarray, "bins frequencies"]:
    """Log amplitude to mel-cepstrum c_0, c_1, ...: log|H(ω)| = Σ c_k cos(k β(ω)), β the warped frequency.

    As `sp2mc` of SPTK (Tokuda, Kobayashi, Masuko, Imai 1994, "Mel-generalized cepstral analysis", with γ = 0); without
    warping the real cepstrum.

    Args:
        num_bins: coefficients.
        num_frequencies: of the envelope, from 0 to half the sample rate.
        warping: α of the all-pass filter whose phase is β, under 1; 0.45 is near the mel scale.
    """
    one_sided = np.fft.irfft(np.eye(num_frequencies), axis=0)[:num_frequencies]
    one_sided[1:-1] *= 2.0
    return frequency_transform(num_bins, num_frequencies, warping) @ one_sided


def frequency_transform(num_bins: int, num_coefficients: int, warping: float) -> Float[np.ndarray, "bins coefficients"]:
    """Cepstrum to warped cepstrum: Oppenheim and Johnson's recursion (1972, "Discrete representation of signals")."""
    warped = np.zeros((num_bins, num_coefficients))
    for coefficient in reversed(range(num_coefficients)):
        before = warped.copy()
        warped[0] = warping * before[0]
        warped[0, coefficient] += 1.0
        if num_bins > 1:
            warped[1] = (1.0 - warping**2) * before[0] + warping * before[1]
        for row in range(2, num_bins):
            warped[row] = before[row - 1] + warping * (before[row] - warped[row - 1])
    return warped


def warped_spectrum_matrix(
    num_bins: int, num_frequencies: int, warping: float
) -> Float[np.ndarray, "bins frequencies"]:
    """Log amplitude to log amplitude at equal steps of warped frequency, smoothed by way of the mel-cepstrum.

    The mel-frequency spectral coefficients of Blaauw and Bonada 2017 ("A neural parametric singing
    synthesizer"), which Chandna et al. 2019 ("WGANSing") took over: `num_bins` coefficients, as many points.
    """
    warped_frequencies = np.linspace(0.0, math.pi, num_bins)
    cosines = np.cos(warped_frequencies[:, None] * np.arange(num_bins))
    return cosines @ mel_cepstrum_matrix(num_bins, num_frequencies, warping)
