"""Who sings when: smoothing, silence, segments, the files and the figure."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.audio import sing
from support.untrained_model import make_run
from typer.testing import CliRunner

from singer_verify.audio.activity import VoiceActivity
from singer_verify.cli import app
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.scoring.calibration import Calibration
from singer_verify.evaluation.scoring.scoring import COSINE, USER_DEFINED, MultiEnrolmentCalibration, Scoring, Threshold
from singer_verify.inference import Gallery, Model, load_model
from singer_verify.inference.diarization import Diarization, diarize, smooth_embeddings
from singer_verify.inference.enrolment import EnrolledRecording
from singer_verify.inference.windows import RecordingEmbedding
from singer_verify.reports.diarization import (
    MAX_DRAWN_SINGERS,
    MAX_TABLE_ROWS,
    build_segments_table,
    choose_drawn_singers,
    choose_tick_step_s,
    format_segments_csv,
    plot_diarization,
)

RATE = 16_000
ANNA, BERT, OTHER = np.eye(3, dtype=np.float32)


@pytest.fixture
def embedder(tmp_path: Path) -> Model:
    return load_model(make_run(tmp_path / "run"))


def gallery(embedder: Model, scoring: Scoring) -> Gallery:
    rows = {"anna": ANNA, "bert": BERT}
    return Gallery(embedder, scoring, [EnrolledRecording(name, f"{name}.wav", name, row) for name, row in rows.items()])


def recording(windows: list[np.ndarray], silent: tuple[int, ...] = ()) -> RecordingEmbedding:
    """Windows of two seconds, one a second."""
    starts_s = np.arange(len(windows), dtype=float)
    is_active = np.ones(100 * (len(windows) + 1), bool)
    for number in silent:
        is_active[100 * number : 100 * (number + 2)] = False
    bounds = np.tile([0, 160], (len(is_active), 1))
    activity = VoiceActivity(RATE, 160 * len(is_active), is_active, np.zeros((len(is_active), 2)), bounds)
    return RecordingEmbedding(
        "a.wav", np.array(windows), starts_s, starts_s + 2, float(len(windows) + 1), activity, False, False, 2.0
    )


def over(score: float) -> Scoring:
    return replace(COSINE, threshold=Threshold(score, "somewhere"))


def segments(diarization: Diarization) -> list[tuple[float, float, str]]:
    return [(segment.start_s, segment.end_s, segment.who) for segment in diarization.segments]


def test_segments_meet_between_the_middles_of_windows(embedder: Model) -> None:
    windows = [ANNA] * 4 + [BERT] * 3 + [OTHER] * 3
    diarization = diarize(gallery(embedder, over(0.5)), recording(windows), smooth_s=0.0)
    assert segments(diarization) == [(0.0, 4.5, "anna"), (4.5, 7.5, "bert"), (7.5, 11.0, "unknown")]
    assert [segment.score for segment in diarization.segments] == [1.0, 1.0, 0.0]
    np.testing.assert_array_equal(diarization.scores[:, 0], [1.0] * 4 + [0.0] * 6)


def test_without_a_threshold_the_best_is_named(embedder: Model) -> None:
    diarization = diarize(gallery(embedder, COSINE), recording([ANNA, 0.6 * OTHER + 0.8 * BERT]), smooth_s=0.0)
    assert diarization.who == ("anna", "bert")
    assert diarization.thresholds == ()
    assert diarization.remarks == ()


def test_smoothing_takes_out_a_single_window(embedder: Model) -> None:
    windows = [ANNA] * 4 + [BERT] + [ANNA] * 4
    assert "bert" in diarize(gallery(embedder, over(0.5)), recording(windows), smooth_s=0.0).who
    diarization = diarize(gallery(embedder, over(0.5)), recording(windows), smooth_s=2.0)
    assert segments(diarization) == [(0.0, 10.0, "anna")]
    np.testing.assert_allclose(
        diarization.smoothed_scores[3:6, 1], 1 / 5**0.5, rtol=1e-6
    )  # of two of anna's and one of bert's


def test_silence_is_nobodys_and_does_not_count_for_its_neighbours(embedder: Model) -> None:
    windows = [ANNA] * 3 + [BERT] * 3 + [ANNA] * 3
    diarization = diarize(gallery(embedder, over(0.5)), recording(windows, silent=(3, 4, 5)), smooth_s=4.0)
    assert segments(diarization) == [(0.0, 3.5, "anna"), (3.5, 6.5, "silent"), (6.5, 10.0, "anna")]
    assert diarization.segments[1].score is None
    np.testing.assert_allclose(diarization.smoothed_scores[2], [1.0, 0.0])


def test_stretches_are_embedded_like_recordings_by_a_slow_loop() -> None:
    generator = np.random.default_rng(0)
    middles_s = np.cumsum(generator.uniform(0.2, 1.0, 40))
    windows, counts = generator.normal(size=(40, 3)), generator.random(40) < 0.7
    windows /= np.linalg.norm(windows, axis=1, keepdims=True)
    smoothed = smooth_embeddings(windows, middles_s, 3.0, counts)
    for window in range(40):
        near = counts & (np.abs(middles_s - middles_s[window]) <= 1.5)
        expected = windows[near].mean(axis=0) if near.any() else windows[window]
        np.testing.assert_allclose(smoothed[window], expected / np.linalg.norm(expected), atol=1e-9)


def test_a_singers_time_is_known_where_a_singers_recordings_are(embedder: Model) -> None:
    """Each window has something of its own besides the singer: alone it scores 0.6, as a recording 0.97."""
    windows = [0.6 * np.eye(33)[0] + 0.8 * np.eye(33)[number] for number in range(1, 33)]
    enrolled = [EnrolledRecording("anna", "anna.wav", "anna", np.eye(33)[0])]
    diarization = diarize(Gallery(embedder, over(0.7), enrolled), recording(windows), smooth_s=4.0)
    assert diarization.scores.max() < 0.7
    assert segments(diarization) == [(0.0, 33.0, "anna")]


def test_that_thresholds_are_of_whole_recordings_is_said_unless_given(embedder: Model) -> None:
    (remark,) = diarize(gallery(embedder, over(0.5)), recording([ANNA] * 9), smooth_s=3.0).remarks
    assert "fitted to whole recordings; stretches of 5.0 s score lower" in remark
    given = replace(COSINE, threshold=Threshold(0.5, USER_DEFINED))
    assert diarize(gallery(embedder, given), recording([ANNA] * 9), smooth_s=3.0).remarks == ()


def test_each_singer_has_the_threshold_for_as_many_recordings(embedder: Model) -> None:
    several = MultiEnrolmentCalibration(2, Calibration(1.0, 0.0, "x"), Threshold(0.9, "of two"))
    enrolled = [
        EnrolledRecording("anna", "a1", "a1", ANNA),
        EnrolledRecording("anna", "a2", "a2", ANNA),
        EnrolledRecording("bert", "b", "b", BERT),
    ]
    enrolled_gallery = Gallery(embedder, replace(over(0.5), multi_enrolment=(several,)), enrolled)
    diarization = diarize(
        enrolled_gallery, recording([ANNA, 0.8 * ANNA + 0.6 * OTHER, 0.8 * ANNA + 0.6 * BERT, BERT]), smooth_s=0.0
    )
    assert diarization.who == ("anna", "unknown", "bert", "bert")
    np.testing.assert_allclose(diarization.best_scores, [1.0, 0.8, 0.6, 1.0], atol=1e-6)
    assert [threshold.score for threshold in diarization.thresholds] == [0.9, 0.5]
    caption = str(build_segments_table(diarization, "a.wav").caption)
    assert "threshold of anna: 0.9000 (of two)" in caption
    assert "threshold of bert: 0.5000 (somewhere)" in caption
    scores = plot_diarization(diarization, "").axes[1]
    assert len(scores.lines) == 4
    assert "threshold 0.50 to 0.90" in [text.get_text() for text in scores.texts]


def test_it_refuses(embedder: Model) -> None:
    with pytest.raises(SingerVerifyError, match="the gallery is empty"):
        diarize(Gallery(embedder), recording([ANNA]), 1.0)
    with pytest.raises(SingerVerifyError, match="smooth_s=-1"):
        diarize(gallery(embedder, COSINE), recording([ANNA]), -1.0)


def test_the_figure_has_a_row_for_each_singer_and_the_unknown(embedder: Model) -> None:
    diarization = diarize(gallery(embedder, over(0.5)), recording([ANNA] * 4 + [OTHER] * 3 + [ANNA]), smooth_s=0.0)
    bars, scores = plot_diarization(diarization, "a $ song").axes
    assert [label.get_text() for label in bars.get_yticklabels()] == ["anna", "bert", "unknown"]
    assert [len(row.get_paths()) for row in bars.collections] == [2, 0, 1]
    assert len(scores.lines) == 3
    (legend,) = bars.figure.legends  # also of a singer without a bar
    assert [text.get_text() for text in legend.get_texts()] == [" anna", " bert (no segment)"]
    many = replace(
        diarization,
        singers=tuple(f"singer {number:02}" for number in range(30)),
        smoothed_scores=np.tile(np.linspace(0.0, 0.4, 30), (8, 1)),
        scores=np.zeros((8, 30)),
        is_known=np.zeros(8, bool),
    )
    assert choose_drawn_singers(many) == [f"singer {number:02}" for number in range(30 - MAX_DRAWN_SINGERS, 30)]


@pytest.mark.parametrize(
    ("seconds", "step_s"), [(0.5, 1), (10.0, 1), (76.0, 10), (3600.0, 600), (18_000.0, 1800), (90_000.0, 10_800)]
)
def test_ticks_are_easily_counted(seconds: float, step_s: int) -> None:
    assert choose_tick_step_s(seconds) == step_s


def test_long_tables_are_cut_and_the_csv_is_not(embedder: Model) -> None:
    diarization = diarize(gallery(embedder, over(0.5)), recording([ANNA, BERT] * 100), smooth_s=0.0)
    table = build_segments_table(diarization, "a.wav")
    assert table.row_count == MAX_TABLE_ROWS
    assert f"{200 - MAX_TABLE_ROWS} more segments" in str(table.caption)
    assert len(format_segments_csv(diarization).splitlines()) == 201


def test_the_command_writes_all_of_it(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    for number in range(2):
        soundfile.write(tmp_path / f"{number}.wav", sing(number, 2.0), RATE, subtype="FLOAT")
    sung = [sing(0, 4.0), np.zeros(3 * RATE, np.float32), sing(1, 4.0)]
    soundfile.write(tmp_path / "song.wav", np.concatenate(sung), RATE, subtype="FLOAT")
    runner, gallery_path, out = CliRunner(), str(tmp_path / "g.npz"), tmp_path / "out"
    for number, name in enumerate(("anna", "bert")):
        runner.invoke(
            app, ["enrol", str(run), gallery_path, name, str(tmp_path / f"{number}.wav")], catch_exceptions=False
        )
    command = ["diarize", str(run), str(tmp_path / "song.wav"), "--gallery", gallery_path, "--out", str(out)]
    command += ["--threshold", "0.5"]
    result = runner.invoke(app, [*command, "--hop-s", "0.2", "--json"], catch_exceptions=False)
    record = json.loads(result.stdout)
    assert sorted(path.name for path in out.iterdir()) == [
        "diarization.png",
        "diarization.rttm",
        "diarization.svg",
        "segments.csv",
        "windows.csv",
    ]
    assert [segment["who"] for segment in record["segments"]] == ["anna", "silent", "bert"]
    assert record["thresholds"] == {name: {"score": 0.5, "origin": "given"} for name in ("anna", "bert")}
    assert record["segments"][0]["start_s"] == 0.0
    assert record["segments"][0]["end_s"] == pytest.approx(4.0, abs=0.3)
    assert record["segments"][2]["end_s"] == record["seconds"] == pytest.approx(11.0)
    with open(out / "segments.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["who"] for row in rows] == ["anna", "silent", "bert"]
    with open(out / "windows.csv", newline="", encoding="utf-8") as file:
        windows = list(csv.DictReader(file))
    assert list(windows[0]) == ["start_s", "end_s", "who", "smoothed_score", "score anna", "score bert"]
    assert float(windows[1]["start_s"]) == pytest.approx(0.2)
    with pytest.raises(SingerVerifyError, match=r"--prior 0.1: .* is not calibrated"):
        runner.invoke(app, [*command, "--prior", "0.1"], catch_exceptions=False)
    printed = runner.invoke(app, command, catch_exceptions=False)
    assert "silent" in printed.stdout
    with pytest.raises(SingerVerifyError, match="would leave gaps"):
        runner.invoke(app, [*command, "--window-s", "0.1", "--hop-s", "0.5"], catch_exceptions=False)
