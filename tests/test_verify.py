"""Comparing two recordings: the verdict in Python, what the command prints, and its exit codes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import sing
from typer.testing import CliRunner
from untrained import make_run

from singer_verify.cli import app
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.evaluation.calibration import Calibration
from singer_verify.evaluation.projection import Projection
from singer_verify.evaluation.scoring import COSINE, Threshold
from singer_verify.recognition import Embedder, Sound, verify
from singer_verify.recognition.disagreement import disagreement
from singer_verify.recognition.embedded import Embedded
from singer_verify.recognition.scoring_file import save_scoring
from singer_verify.recognition.times import minutes, span
from singer_verify.recognition.verification import verdict_on

RATE = 16_000
CALIBRATED = replace(COSINE, calibration=Calibration(10.0, -5.0, "4 singers of somewhere"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "a.wav", tmp_path / "b.wav"
    for number, path in enumerate(paths):
        soundfile.write(path, sing(number), RATE, subtype="FLOAT")
    return paths


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return result.exit_code, result.stdout


def refusal(*arguments: object) -> str:
    with pytest.raises(SingerVerifyError) as caught:
        invoke(*arguments)
    return str(caught.value)


def test_the_score_is_the_scorings_and_decides(run: Path, files: tuple[Path, Path]) -> None:
    embedder = Embedder.load(run)
    left, right = (embedder.embed(path) for path in files)
    for threshold in (float(left @ right) - 0.01, float(left @ right) + 0.01):
        scoring = replace(COSINE, threshold=Threshold(threshold, "somewhere"))
        found = verify(embedder, scoring, *files)
        assert found.score == pytest.approx(left @ right, abs=1e-6)
        assert (found.is_same, found.threshold, found.probability) == (
            found.score >= threshold,
            scoring.threshold,
            None,
        )
    mean = np.full(8, 0.3)
    projected = verify(embedder, replace(COSINE, projection=Projection(mean, np.eye(8))), *files)
    expected = (left - mean) @ (right - mean) / np.linalg.norm(left - mean) / np.linalg.norm(right - mean)
    assert projected.score == pytest.approx(expected, abs=1e-5)
    assert (projected.is_same, projected.threshold) == (None, None)


def test_a_calibration_gives_probability_ratio_and_threshold() -> None:
    found = verdict_on(CALIBRATED, 0.6, 0.5, ())
    assert found.log_likelihood_ratio == pytest.approx(1.0)
    assert found.probability == pytest.approx(1 / (1 + np.exp(-1.0)))
    assert found.threshold is not None
    assert found.threshold.score == pytest.approx(0.5)
    assert found.threshold.origin == "Bayes at a prior of 0.5, calibrated on 4 singers of somewhere"
    assert found.is_same
    assert not verdict_on(CALIBRATED, 0.6, 0.1, ()).is_same


def test_a_threshold_and_a_probability_that_differ_are_said() -> None:
    scoring = replace(CALIBRATED, threshold=Threshold(0.5, "somewhere"))
    assert verdict_on(scoring, 0.6, 0.5, ()).remarks == ()
    (remark,) = verdict_on(scoring, 0.6, 0.01, ()).remarks
    assert "speak for different decisions" in remark
    with pytest.raises(SingerVerifyError, match="prior=1"):
        verdict_on(scoring, 0.6, 1.0, ())


def recording(name: str, windows: list[list[float]], silent: tuple[int, ...] = ()) -> Embedded:
    """Windows of a second, one after another."""
    starts_s = np.arange(len(windows), dtype=float)
    power = np.repeat([0.0 if number in silent else 0.1 for number in range(len(windows))], 100)
    return Embedded(name, np.array(windows), starts_s, starts_s + 1, len(windows), power, 0.01, False, 1.0)


def test_windows_that_disagree_are_named_with_their_times() -> None:
    here, there = [1.0, 0.0], [0.0, 1.0]
    left, right = recording("a", [here] * 5 + [there] * 2 + [here]), recording("b", [here] * 2)
    (remark,) = disagreement(COSINE, 0.5, 0.95, left, right)
    assert remark == (
        "25 % of the pairs of windows score under the threshold, and windows of a at 0:05–0:07 disagree with the other "
        "recording."
    )
    silent = recording("a", [here] * 5 + [there] * 2 + [here], silent=(5, 6))
    assert disagreement(COSINE, 0.5, 0.95, silent, right) == ()
    (other,) = disagreement(COSINE, 0.5, 0.1, recording("a", [there] * 3 + [here]), right)
    assert other.startswith("25 % of the pairs of windows score at or above the threshold, and windows of a at 0:03–")
    assert disagreement(COSINE, 0.5, 0.0, recording("a", [here]), recording("b", [here])) == ()


def test_times_are_read_in_minutes() -> None:
    assert (minutes(0.0), minutes(83.9), minutes(3723.0)) == ("0:00", "1:23", "62:03")
    assert span(59.9, 61.2) == "0:59–1:02"


def test_remarks_of_the_recordings_are_passed_on(run: Path) -> None:
    embedder = Embedder.load(run)
    two = Sound(np.stack([sing(1, 3.0), sing(2, 3.0)], axis=1), RATE, "duet")
    assert [remark.split(":")[0] for remark in verify(embedder, COSINE, two, Sound(sing(1), RATE)).remarks] == ["duet"]
    with pytest.raises(UtteranceError, match="is silent"):
        verify(embedder, COSINE, two, Sound(np.zeros(RATE), RATE))


def test_the_commands_exit_code_is_its_decision(run: Path, files: tuple[Path, Path]) -> None:
    assert invoke("verify", run, *files, "--threshold", -1)[0] == 0
    code, printed = invoke("verify", run, *files, "--threshold", 1.5)
    assert code == 3
    assert "different singers" in printed
    code, printed = invoke("verify", run, *files)
    assert code == 4
    assert "no threshold is known" in printed
    assert invoke("verify", run, files[0])[0] == 2
    assert "no such file" in refusal("verify", run, files[0], "missing.wav")


def test_the_commands_json_holds_everything(run: Path, files: tuple[Path, Path]) -> None:
    embedder = Embedder.load(run)
    save_scoring(run / "scoring.npz", CALIBRATED, embedder.fingerprint)
    code, printed = invoke("verify", run, *files, "--json", "--probability", "--prior", 0.2)
    found = json.loads(printed)
    expected = verify(embedder, CALIBRATED, *files, 0.2)
    assert code == (0 if expected.is_same else 3)
    assert (found["left"], found["right"], found["prior"]) == (*map(str, files), 0.2)
    assert found["threshold"] == vars(expected.threshold)
    for name in ("score", "is_same", "probability", "log_likelihood_ratio"):
        assert found[name] == getattr(expected, name)
    assert "of the same singer at a prior of 0.5" in " ".join(invoke("verify", run, *files)[1].split())


def test_probabilities_of_a_model_without_calibration_are_refused(run: Path, files: tuple[Path, Path]) -> None:
    said = refusal("verify", run, *files, "--probability")
    assert "is not calibrated" in said
    assert f"singer-verify calibrate {run} CORPUS" in said
