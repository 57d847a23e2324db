"""What an audit finds without a model, from measures that are given."""

from dataclasses import fields

import numpy as np
import pytest

from singer_verify.audio.quality import QualityMeasures
from singer_verify.corpora.corpus import Utterance
from singer_verify.inference.audit_signals import FORMAT, check_signals

COMMON, OTHER = (16000, 1), (44100, 2)  # sample rate and channels


def measure(rate: int, channels: int) -> QualityMeasures:
    """Return measures in which nothing but the format can be unusual."""
    ordinary = {field.name: 0.0 for field in fields(QualityMeasures)[:12]}
    ordinary |= {"duration_s": 5.0, "voice_s": 4.0, "noise_db": -60.0, "hum_db": -np.inf}
    own = {"sample_rate": rate, "num_channels": channels, "has_two_voices": False, "bands_db": np.zeros(3)}
    return QualityMeasures(**(ordinary | own))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("formats", "num_found"),
    [
        ([COMMON] * 3 + [OTHER], 1),  # the fewest recordings from which a usual format is known
        ([COMMON] * 2 + [OTHER], 0),
        ([COMMON] * 6 + [OTHER] * 2, 2),
        ([COMMON] * 2 + [OTHER] * 2, 0),  # neither is usual
    ],
)
def test_recordings_of_an_unusual_format_are_found(formats: list[tuple[int, int]], num_found: int) -> None:
    utterances = [Utterance(f"train/ann/{number}.wav", "ann") for number in range(len(formats))]
    measured = {utterance.path: measure(*own) for utterance, own in zip(utterances, formats, strict=True)}
    found = check_signals(utterances, measured)
    assert [finding.kind for finding in found] == [FORMAT] * num_found
    assert [finding.path for finding in found] == [u.path for u in utterances[len(formats) - num_found :]]
