"""Comparing two recordings: the verdict in Python, what the command prints, and its exit codes."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.audio import sing
from support.untrained_model import make_run
from typer.testing import CliRunner

from singer_verify.cli import app
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.evaluation.scoring.calibration import Calibration
from singer_verify.evaluation.scoring.projection import Projection
from singer_verify.evaluation.scoring.scoring import COSINE, USER_DEFINED, Scoring, Threshold
from singer_verify.inference import AudioClip, load_model, verify
from singer_verify.inference.diarization import format_minutes
from singer_verify.inference.scoring_file import save_scoring
from singer_verify.inference.verification import decide_score

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
    embedder = load_model(run)
    left, right = (embedder.embed(path) for path in files)
    for threshold in (float(left @ right) - 0.01, float(left @ right) + 0.01):
        scoring = replace(COSINE, threshold=Threshold(threshold, "somewhere"))
        verified = verify(embedder, scoring, *files)
        assert verified.score == pytest.approx(left @ right, abs=1e-6)
        assert (verified.is_same, verified.threshold, verified.probability) == (
            verified.score >= threshold,
            scoring.threshold,
            None,
        )
    mean = np.full(8, 0.3)
    projected = verify(embedder, replace(COSINE, projection=Projection(mean, np.eye(8))), *files)
    expected = (left - mean) @ (right - mean) / np.linalg.norm(left - mean) / np.linalg.norm(right - mean)
    assert projected.score == pytest.approx(expected, abs=1e-5)
    assert (projected.is_same, projected.threshold) == (None, None)


def test_a_calibration_gives_probability_ratio_and_threshold() -> None:
    verified = decide_score(CALIBRATED, 0.6, 0.5, ())
    assert verified.log_likelihood_ratio == pytest.approx(1.0)
    assert verified.probability == pytest.approx(1 / (1 + np.exp(-1.0)))
    assert verified.threshold is not None
    assert verified.threshold.score == pytest.approx(0.5)
    assert verified.threshold.origin == "Bayes threshold for a prior of 0.5, calibrated on 4 singers of somewhere"
    assert verified.is_same
    assert not decide_score(CALIBRATED, 0.6, 0.1, ()).is_same


def test_a_threshold_and_a_probability_that_differ_are_said() -> None:
    given = replace(CALIBRATED, threshold=Threshold(0.5, USER_DEFINED))
    assert decide_score(given, 0.6, 0.5, ()).remarks == ()
    (remark,) = decide_score(given, 0.6, 0.01, ()).remarks
    assert "at a prior of 0.01 lead to different decisions" in remark
    (remark,) = decide_score(replace(CALIBRATED, threshold=Threshold(0.45, "somewhere")), 0.47, None, ()).remarks
    assert "at a prior of 0.5 lead to different decisions" in remark
    with pytest.raises(SingerVerifyError, match="prior=1"):
        decide_score(given, 0.6, 1.0, ())


def test_a_prior_decides_unless_a_threshold_was_given() -> None:
    fitted = replace(CALIBRATED, threshold=Threshold(0.45, "equal error rate on 4 singers of somewhere"))
    assert decide_score(fitted, 0.6, None, ()).threshold == fitted.threshold
    for prior, score in ((0.5, 0.5), (0.01, 0.5 + np.log(99) / 10), (0.99, 0.5 - np.log(99) / 10)):
        verified = decide_score(fitted, 0.6, prior, ())
        assert verified.threshold is not None
        assert verified.threshold.score == pytest.approx(score)
        assert (
            verified.threshold.origin == f"Bayes threshold for a prior of {prior}, calibrated on 4 singers of somewhere"
        )
        assert verified.is_same == (verified.probability >= 0.5) == (prior != 0.01)
        assert verified.remarks == ()
    given = replace(CALIBRATED, threshold=Threshold(0.45, USER_DEFINED))
    assert decide_score(given, 0.6, 0.01, ()).threshold == given.threshold


def test_a_prior_without_effect_is_refused(run: Path, files: tuple[Path, Path]) -> None:
    with pytest.raises(SingerVerifyError, match=r"prior=0.2: has no effect.*singer-verify calibrate"):
        verify(load_model(run), replace(COSINE, threshold=Threshold(0.5, "somewhere")), *files, 0.2)
    said = refusal("verify", run, *files, "--prior", 0.2)
    assert said.startswith("--prior 0.2: ")
    assert f"singer-verify calibrate {run} CORPUS" in said


def test_the_commands_prior_moves_the_decision(run: Path, files: tuple[Path, Path]) -> None:
    embedder = load_model(run)
    score = verify(embedder, COSINE, *files).score
    fitted = Scoring(calibration=Calibration(10.0, -10 * score, "x"), threshold=Threshold(score, "equal error rate"))
    save_scoring(run / "scoring.npz", fitted, embedder.fingerprint)
    assert [invoke("verify", run, *files, "--prior", prior)[0] for prior in (0.4, 0.6)] == [3, 0]
    assert invoke("verify", run, *files, "--prior", 0.4, "--threshold", -1)[0] == 0


def test_times_are_read_in_minutes() -> None:
    assert (format_minutes(0.0), format_minutes(83.9), format_minutes(3723.0)) == ("0:00", "1:23", "62:03")


def test_remarks_of_the_recordings_are_passed_on(run: Path) -> None:
    embedder = load_model(run)
    two = AudioClip(np.stack([sing(1, 3.0), sing(2, 3.0)], axis=1), RATE, "duet")
    assert [remark.split(":")[0] for remark in verify(embedder, COSINE, two, AudioClip(sing(1), RATE)).remarks] == [
        "duet"
    ]
    with pytest.raises(UtteranceError, match="is silent"):
        verify(embedder, COSINE, two, AudioClip(np.zeros(RATE), RATE))


def test_the_commands_exit_code_is_its_decision(run: Path, files: tuple[Path, Path]) -> None:
    assert invoke("verify", run, *files, "--threshold", -1)[0] == 0
    code, printed = invoke("verify", run, *files, "--threshold", 1.5)
    assert code == 3
    assert "different singers" in printed
    code, printed = invoke("verify", run, *files)
    assert code == 4
    assert "no threshold" in printed
    assert invoke("verify", run, files[0])[0] == 2
    assert "no such file" in refusal("verify", run, files[0], "missing.wav")


def test_the_commands_json_holds_everything(run: Path, files: tuple[Path, Path]) -> None:
    embedder = load_model(run)
    save_scoring(run / "scoring.npz", CALIBRATED, embedder.fingerprint)
    code, printed = invoke("verify", run, *files, "--json", "--probability", "--prior", 0.2)
    record = json.loads(printed)
    expected = verify(embedder, CALIBRATED, *files, 0.2)
    assert code == (0 if expected.is_same else 3)
    assert (record["left"], record["right"], record["prior"]) == (*map(str, files), 0.2)
    assert record["threshold"] == vars(expected.threshold)
    for name in ("score", "is_same", "probability", "log_likelihood_ratio"):
        assert record[name] == getattr(expected, name)
    assert "of the same singer at a prior of 0.5" in " ".join(invoke("verify", run, *files)[1].split())


def test_probabilities_of_a_model_without_calibration_are_refused(run: Path, files: tuple[Path, Path]) -> None:
    said = refusal("verify", run, *files, "--probability")
    assert "is not calibrated" in said
    assert f"singer-verify calibrate {run} CORPUS" in said
