"""Statistics beside a trained encoder: half of a cosine each, whitened by the voices given."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from support.audio import SAMPLE_RATE, sing_phrases
from support.untrained_model import make_run

from singer_verify.features.mel import MelSpectrogram
from singer_verify.inference import load_model

SCRIPT = Path(__file__).parents[2] / "scripts/fuse_statistics.py"


@pytest.mark.slow
def test_a_cosine_is_half_the_models_and_half_that_of_statistics(tmp_path: Path) -> None:
    for singer in range(10):
        for take in range(2):
            path = tmp_path / f"voices/singer{singer}/{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, sing_phrases(singer, take, 2.0), SAMPLE_RATE)
    run = make_run(tmp_path / "run", MelSpectrogram(4))  # eight statistics, fewer than voices
    command = [sys.executable, str(SCRIPT), str(run), str(tmp_path / "voices"), "--out", str(tmp_path / "fused.ckpt")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "20 excerpts of 10 voices whiten its statistics" in done.stdout
    before, fused = load_model(run, "cpu"), load_model(tmp_path / "fused.ckpt", "cpu")
    frames = torch.randn(2, before.window_frames, before.feature.num_bins)
    learned, both = before.encoder(frames), fused.encoder(frames)
    statistics = fused.encoder.encoders["statistics"](frames)
    torch.testing.assert_close(both @ both.T, (learned @ learned.T + statistics @ statistics.T) / 2)
    path = tmp_path / "voices/singer0/0.wav"
    assert np.linalg.norm(fused.embed(path)) == pytest.approx(1.0, abs=1e-5)
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "exists already" in refused.stderr
    assert "Traceback" not in refused.stderr
    refused = subprocess.run([*command, "--force", "--share", "1"], capture_output=True, text=True)
    assert "--share 1: expected a number between 0 and 1" in refused.stderr
    few = [sys.executable, str(SCRIPT), str(make_run(tmp_path / "wide")), *command[3:], "--force"]
    refused = subprocess.run(few, capture_output=True, text=True)
    assert "holds 10 voices; expected more than 80, the number of statistics" in refused.stderr
