"""Fingerprints: the same sound is recognised cut, coded and quieter; other takes of a voice are not."""

from pathlib import Path

import numpy as np
import soundfile
from support.audio import SAMPLE_RATE, sing_phrases

from singer_verify.audio import load_audio
from singer_verify.audio.fingerprint import Landmarks, compute_landmarks, find_shared_sound

WHOLE = sing_phrases(1, 1, 5.0)


def test_an_excerpt_after_a_lossy_codec(tmp_path: Path) -> None:
    start = 27_123  # no multiple of a frame
    soundfile.write(tmp_path / "cut.ogg", 0.3 * WHOLE[start : start + 2 * SAMPLE_RATE], SAMPLE_RATE)
    excerpt = compute_landmarks(load_audio(tmp_path / "cut.ogg", SAMPLE_RATE), SAMPLE_RATE)
    others = [compute_landmarks(sing_phrases(other, 1, 5.0), SAMPLE_RATE) for other in (2, 3)]
    (shared,) = find_shared_sound([*others, compute_landmarks(WHOLE, SAMPLE_RATE), excerpt])
    assert (shared.first, shared.second) == (2, 3)
    assert 1.5 < shared.seconds <= 2.0
    assert abs(shared.first_start_s - shared.second_start_s - start / SAMPLE_RATE) < 0.03


def test_another_sample_rate() -> None:
    import soxr

    faster = soxr.resample(WHOLE, SAMPLE_RATE, 44_100)
    marks = [compute_landmarks(WHOLE, SAMPLE_RATE), compute_landmarks(faster, 44_100)]
    (shared,) = find_shared_sound(marks)
    assert shared.num_pairs > 0.7 * len(marks[0].hashes)
    assert shared.seconds > 4.0


def test_noise_silence_and_shortness_share_nothing() -> None:
    generator = np.random.default_rng(0)
    noise = [generator.standard_normal(3 * SAMPLE_RATE).astype(np.float32) for _ in range(2)]
    silence, short = np.zeros(SAMPLE_RATE, np.float32), noise[0][:100]
    marks = [compute_landmarks(samples, SAMPLE_RATE) for samples in (*noise, silence, silence, short, short)]
    assert find_shared_sound(marks) == []
    assert find_shared_sound([]) == []
    assert find_shared_sound([Landmarks(np.zeros(0, np.int32), np.zeros(0, np.int32))]) == []
