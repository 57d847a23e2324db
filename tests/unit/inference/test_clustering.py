"""Diarization without a gallery: clusters of windows, their number, hours, RTTM and the error rate."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.metrics import adjusted_rand_score
from support.audio import sing
from support.cli import call, refusal
from support.untrained_model import make_run

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.scoring.scoring import COSINE, USER_DEFINED, Threshold
from singer_verify.inference.clustering import (
    build_singer_graph,
    cluster_singers,
    diarize_unknown_singers,
    join_windows,
)
from singer_verify.inference.diarization import Diarization
from singer_verify.inference.rttm import ReferenceSegment, compute_diarization_error, format_rttm, read_rttm
from singer_verify.inference.windows import RecordingEmbedding


def draw_turns(
    num_singers: int, num_windows: int = 120, spread: float = 0.06, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Windows of singers who take turns of ten, and the singer of each."""
    generator = np.random.default_rng(seed)
    voices = generator.normal(size=(num_singers, 64))
    voices /= np.linalg.norm(voices, axis=1, keepdims=True)
    singers = np.arange(num_windows) // 10 % num_singers
    rows = voices[singers] + spread * generator.normal(size=(num_windows, 64))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), singers


def as_recording(windows: np.ndarray) -> RecordingEmbedding:
    starts_s = np.arange(len(windows), dtype=float)
    return RecordingEmbedding("a.wav", windows, starts_s, starts_s + 1.0, float(len(windows)), None, False, False, 2.0)


@pytest.mark.parametrize("num_singers", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_singers_and_their_number_are_found(num_singers: int, seed: int) -> None:
    windows, singers = draw_turns(num_singers, seed=seed)
    clusters = cluster_singers(windows, COSINE)
    assert len(clusters.means) == num_singers
    assert adjusted_rand_score(singers, clusters.labels) == 1.0
    assert clusters.labels[0] == 0
    assert list(dict.fromkeys(clusters.labels.tolist())) == list(range(num_singers))  # in order of appearance


@pytest.mark.parametrize("num_singers", [1, 2, 4])
def test_a_given_number_is_kept(num_singers: int) -> None:
    windows, singers = draw_turns(4)
    clusters = cluster_singers(windows, COSINE, num_singers=num_singers)
    assert len(clusters.means) == num_singers
    if num_singers == 4:
        assert adjusted_rand_score(singers, clusters.labels) == 1.0


def test_a_threshold_joins_what_is_alike() -> None:
    windows, singers = draw_turns(3)
    clusters = cluster_singers(windows, COSINE, threshold=Threshold(0.5, USER_DEFINED))
    assert adjusted_rand_score(singers, clusters.labels) == 1.0
    assert len(cluster_singers(windows, COSINE, threshold=Threshold(-1.0, USER_DEFINED)).means) == 1
    assert len(cluster_singers(windows, COSINE, threshold=Threshold(2.0, USER_DEFINED), max_singers=4).means) <= 4


def test_hours_are_clustered_like_minutes() -> None:
    windows, singers = draw_turns(3, num_windows=3000, spread=0.1)
    assert len(join_windows(windows, 600)) <= 600
    clusters = cluster_singers(windows, COSINE)
    assert adjusted_rand_score(singers, clusters.labels) > 0.99


def test_the_graph_is_symmetric_and_a_single_voice_is_one_singer() -> None:
    windows, _ = draw_turns(1)
    graph, number = build_singer_graph((windows @ windows.T).astype(float), 8)
    assert number == 1
    np.testing.assert_array_equal(graph, graph.T)
    assert set(np.unique(graph)) <= {0.0, 0.5, 1.0}


def test_one_window_is_one_singer() -> None:
    diarization = diarize_unknown_singers(as_recording(draw_turns(1, 1)[0]), COSINE, 0.0)
    assert diarization.who == ("singer 1",)


def test_segments_are_those_of_the_turns() -> None:
    windows, _ = draw_turns(2, 40)
    diarization = diarize_unknown_singers(as_recording(windows), COSINE, 0.0)
    assert [(segment.start_s, segment.end_s, segment.who) for segment in diarization.segments] == [
        (0, 10, "singer 1"),
        (10, 20, "singer 2"),
        (20, 30, "singer 1"),
        (30, 40, "singer 2"),
    ]
    assert diarization.thresholds == ()


def diarize_two_turns() -> Diarization:
    windows, _ = draw_turns(2, 20)
    return diarize_unknown_singers(as_recording(windows), COSINE, 0.0)


def test_rttm_is_read_as_it_was_written(tmp_path: Path) -> None:
    diarization = diarize_two_turns()
    (tmp_path / "a.rttm").write_bytes(format_rttm(diarization, "a song"))
    segments = read_rttm(tmp_path / "a.rttm", "a song", 20.0)
    assert segments == [ReferenceSegment(0, 10, "singer_1"), ReferenceSegment(10, 20, "singer_2")]
    assert compute_diarization_error(diarization, segments).rate == 0.0


def compute_slow_error(diarization: Diarization, reference: list[ReferenceSegment], collar_s: float) -> float:
    """Frames of 10 ms, every assignment of singers tried."""
    times = np.arange(0.005, 20.0, 0.01)
    counts = np.ones(len(times), bool)
    for segment in reference:
        for edge in (segment.start_s, segment.end_s):
            counts &= np.abs(times - edge) >= collar_s
    truth = np.array([next((s.singer for s in reference if s.start_s <= t < s.end_s), "") for t in times])
    found = np.array([next((s.who for s in diarization.segments if s.start_s <= t < s.end_s), "") for t in times])
    names, singers = sorted(set(truth) - {""}), sorted(set(found) - {""})
    best = min(
        ((found != "") & (truth != "") & counts & (np.array([named.get(who, "?") for who in found]) != truth)).sum()
        for order in itertools.permutations([*names, *"?" * len(singers)], len(singers))
        for named in [dict(zip(singers, order, strict=True))]
    )
    missed, false_alarm = ((truth != "") & (found == "") & counts).sum(), ((truth == "") & (found != "") & counts).sum()
    return float((best + missed + false_alarm) / ((truth != "") & counts).sum())


@pytest.mark.parametrize("collar_s", [0.0, 0.25])
def test_the_error_rate_is_that_of_a_slow_loop(collar_s: float) -> None:
    diarization = diarize_two_turns()
    reference = [ReferenceSegment(0, 7, "x"), ReferenceSegment(7, 12, "y"), ReferenceSegment(13, 20, "z")]
    error = compute_diarization_error(diarization, reference, collar_s)
    assert error.rate == pytest.approx(compute_slow_error(diarization, reference, collar_s), abs=2e-3)
    assert (error.num_singers, error.num_reference_singers) == (2, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no segments"),
        ("start,end,singer\n0,1,anna\n", "line 1"),
        ("SPEAKER a 1 zero 1 <NA> <NA> anna <NA> <NA>\n", "line 1"),
        ("SPEAKER a 1 0 1\n", "line 1"),
        ("SPEAKER a 1 0 -1 <NA> <NA> anna <NA> <NA>\n", "the duration above 0"),
        ("SPEAKER b 1 0 1 <NA> <NA> anna <NA> <NA>\n", "holds segments of b; expected those of a"),
        ("SPEAKER a 1 0 100 <NA> <NA> anna <NA> <NA>\n", "ends at 100.0 s"),
    ],
)
def test_references_that_do_not_fit_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.rttm").write_text(text)
    with pytest.raises(SingerVerifyError, match=message):
        read_rttm(tmp_path / "r.rttm", "a", 20.0)


def test_the_command(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    samples = np.concatenate([sing(1, 3.0), sing(2, 3.0)])
    soundfile.write(tmp_path / "song.wav", samples, 16_000)
    (tmp_path / "song.rttm").write_text(
        ";; a comment\nSPEAKER song 1 0 3 <NA> <NA> anna <NA> <NA>\nSPEAKER song 1 3 3 <NA> <NA> ben <NA> <NA>\n"
    )
    command = ("diarize", run, tmp_path / "song.wav", "--out", tmp_path / "out")
    referenced = (*command, "--num-singers", "2", "--reference", tmp_path / "song.rttm")
    record = json.loads(call(*referenced, "--json"))
    assert {segment["who"] for segment in record["segments"]} <= {"singer 1", "singer 2", "silent"}
    assert record["error"]["num_reference_singers"] == 2
    assert record["error"]["collar_s"] == 0.25
    names = {"diarization.png", "diarization.svg", "diarization.rttm", "segments.csv", "windows.csv"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == names
    assert "Diarization error rate" in call(*referenced, "--skip-overlap")
    assert "numbered as they appear" in " ".join(call(*command).split())
    assert "no effect with --gallery" in refusal(*command, "--gallery", tmp_path / "g.npz", "--num-singers", "2")
    assert "no effect without --reference" in refusal(*command, "--skip-overlap")
    assert "num-singers=0" in refusal(*command, "--num-singers", "0")


def test_rows_that_share_sound_are_no_neighbours() -> None:
    """Windows that drift, as stretches of a melody that overlap do, are a chain of neighbours whoever sings."""
    generator = np.random.default_rng(3)
    voices = np.linalg.qr(generator.normal(size=(64, 2)))[0].T
    singers = np.arange(160) // 20 % 2
    drift = np.cumsum(generator.normal(size=(160, 64)), axis=0)
    drift = np.stack([drift[max(row - 3, 0) : row + 4].mean(axis=0) for row in range(160)])
    rows = voices[singers] + 0.8 * drift / np.linalg.norm(drift, axis=1, keepdims=True)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    middles_s = 0.5 * np.arange(160)
    informed = cluster_singers(rows, COSINE, middles_s=middles_s, overlap_s=5.0)
    assert adjusted_rand_score(singers, informed.labels) > adjusted_rand_score(
        singers, cluster_singers(rows, COSINE).labels
    )
    assert len(informed.means) == 2
