"""Where frames lie: frame i is centred on the time i · hop, so recipes of one hop line up."""

from singer_verify.errors import SingerVerifyError, UtteranceError


def whole_hop_samples(hop_ms: float, sample_rate: int) -> int:
    """A hop in samples.

    Raises:
        SingerVerifyError: not a whole number of samples.
    """
    samples = hop_ms * sample_rate / 1000.0
    if samples < 1 or abs(samples - round(samples)) > 1e-6:
        raise SingerVerifyError(
            f"hop_ms={hop_ms:g}: {samples:g} samples at {sample_rate} Hz; expected a whole number of at least 1."
        )
    return round(samples)


def require_one_frame(num_samples: int, shortest: int, sample_rate: int) -> None:
    """Refuse an utterance that a frame does not fit into.

    Args:
        num_samples: of the utterance.
        shortest: number of samples that are enough.
        sample_rate: of both, in Hz.

    Raises:
        UtteranceError: the utterance is shorter.
    """
    if num_samples < shortest:
        found_ms, needed_ms = (1000 * length / sample_rate for length in (num_samples, shortest))
        raise UtteranceError(f"lasts {found_ms:.0f} ms, shorter than one frame; at least {needed_ms:.0f} ms is needed.")
