"""The page without a browser: what clips it takes, what it draws, what it says, and where it listens."""

import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from support.audio import SAMPLE_RATE, sing

from singer_verify.demo import server
from singer_verify.demo.answers import MAX_COLUMNS, average_columns, compute_envelope, encode_data_uri, plot_clip
from singer_verify.demo.clips import ClipLimits, check_clip
from singer_verify.demo.words import (
    ScoreScale,
    build_score_scale,
    describe_decision,
    describe_error_rate,
    describe_probability,
    describe_recipe,
    describe_score,
    describe_threshold,
    format_percent,
    render_panel,
    replace_paths,
)
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.evaluation.scoring.calibration import Calibration
from singer_verify.evaluation.scoring.normalisation import Cohort
from singer_verify.evaluation.scoring.scoring import COSINE, Scoring, Threshold
from singer_verify.features.mel import MelSpectrogram
from singer_verify.inference import Candidate, IdentificationResult

LIMITS = ClipLimits(max_mb=20.0, max_seconds=2.0)


def write(path: Path, samples: np.ndarray, sample_rate: int = SAMPLE_RATE) -> str:
    soundfile.write(path, samples, sample_rate)
    return str(path)


def refusal(upload: str | None, limits: ClipLimits = LIMITS) -> str:
    with pytest.raises(UtteranceError) as caught:
        check_clip(upload, "Record or upload a clip.", limits)
    return str(caught.value)


def test_a_clip_within_the_limits_is_taken(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", sing(0, 1.99))
    assert check_clip(path, "", LIMITS) == Path(path)


def test_what_is_no_clip_is_refused_in_one_sentence(tmp_path: Path) -> None:
    text, renamed, empty = tmp_path / "notes.txt", tmp_path / "notes.wav", tmp_path / "empty.wav"
    text.write_text("la la la")
    renamed.write_text("la la la")
    empty.write_bytes(b"")
    assert refusal(None) == "Record or upload a clip."
    (video := tmp_path / "video.mp4").write_bytes(b"")
    for other in (text, video):
        assert "is not audio that this page can read (aac, aif, aiff, caf, flac, m4a, mka, mp3," in refusal(str(other))
    assert "cannot be decoded as audio" in refusal(str(renamed))
    assert "file is empty" in refusal(str(empty))
    assert "has expired" in refusal(str(tmp_path / "gone.wav"))


def test_too_large_and_too_long_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", sing(0, 1.0))  # 32 kB
    assert "has 0.0 MB, more than 0.03 MB; upload a part of it." in refusal(path, ClipLimits(0.03))
    long = write(tmp_path / "long.flac", np.zeros(3 * SAMPLE_RATE))  # a small file
    assert Path(long).stat().st_size < 1000
    assert "lasts more than 0.0333333 minutes" in refusal(long)


def test_envelopes_and_columns_keep_what_matters() -> None:
    samples = np.zeros(100_000, np.float32)
    samples[54_321], samples[10] = 0.9, -0.7
    lowest, highest = compute_envelope(samples)
    assert len(lowest) == MAX_COLUMNS
    assert (lowest.min(), highest.max()) == (np.float32(-0.7), np.float32(0.9))
    frames = np.arange(8.0)[:, None] * np.ones((1, 3))
    times_s = np.arange(8) * 0.01
    np.testing.assert_allclose(average_columns(frames, times_s, 0.08, 4)[:, 0], [0.5, 2.5, 4.5, 6.5])
    left_out = average_columns(frames[[0, 1, 6, 7]], times_s[[0, 1, 6, 7]], 0.08, 4)[:, 2]
    np.testing.assert_array_equal(left_out, [0.5, np.nan, np.nan, 6.5])


@pytest.mark.parametrize("seconds", [0.5, 3.217, 60.0])
def test_every_column_has_a_frame_where_none_is_left_out(seconds: float) -> None:
    hop_ms, num_frames = 10.0, 1 + int(100 * seconds)
    num_columns = min(MAX_COLUMNS, int(1000 * seconds / hop_ms))
    columns = average_columns(np.ones((num_frames, 1)), np.arange(num_frames) * hop_ms / 1000, seconds, num_columns)
    assert np.isfinite(columns).all()


def test_both_pictures_of_a_clip_have_one_axis_in_seconds() -> None:
    samples = sing(0, 1.5)
    frames = MelSpectrogram(40)(torch.from_numpy(samples)).numpy()
    figure = plot_clip(samples, SAMPLE_RATE, frames, np.arange(len(frames)) * 0.01, 10.0)
    above, below = figure.axes
    assert above.get_xlim() == below.get_xlim() == (0.0, 1.5)
    assert below.get_xlabel() == "time in s"
    assert encode_data_uri(figure).startswith("data:image/png;base64,iVBOR")


def test_decisions_in_words() -> None:
    threshold = Threshold(0.6, "equal error rate on 4 singers")
    assert [describe_decision(is_same) for is_same in (True, False, None)] == [
        "Most likely the same singer",
        "Most likely two different singers",
        "No decision",
    ]
    assert describe_score(0.61, threshold) == (
        "Score 0.610, at or above the threshold of 0.600 (equal error rate on 4 singers)."
    )
    assert "0.590, below the threshold of 0.600" in describe_score(0.59, threshold)
    assert "has no decision threshold" in describe_score(0.59, None)


def test_probabilities_are_said_where_scores_are_calibrated_and_never_for_sure() -> None:
    calibration = Calibration(10.0, -5.0, "4 singers")
    assert describe_probability(0.9321, calibration) == (
        "Probability of the same singer: 93.2 %, if both answers are equally likely a priori (calibrated on 4 singers)."
    )
    assert describe_probability(None, None) == ""
    assert [format_percent(probability) for probability in (0.0, 0.5, 1.0)] == ["under 0.1 %", "50.0 %", "over 99.9 %"]


def test_a_mark_for_each_singer_is_explained() -> None:
    first = Candidate("anna", 3, 0.95, 0.9, True, None)
    identified = IdentificationResult((first, replace(first, singer="bo")), Threshold(0.9, "of three"), True, None, ())
    assert describe_threshold(identified) == "The mark on the bars is the threshold, 0.900 (of three)."
    differing = replace(identified, candidates=(first, replace(first, singer="bo", num_recordings=1, threshold=0.8)))
    assert "higher for singers enrolled with more recordings. For anna it is 0.900" in describe_threshold(differing)
    assert "has no decision threshold" in describe_threshold(replace(identified, threshold=None))


def test_clips_are_called_by_what_the_page_calls_them() -> None:
    names = {"/tmp/x/a.wav": "the first clip", "/tmp/y/a.wav": "the second clip"}
    assert replace_paths("/tmp/y/a.wav: is silent, unlike /tmp/x/a.wav.", names) == (
        "The second clip: is silent, unlike the first clip."
    )


def test_scores_are_placed_on_a_line() -> None:
    assert [ScoreScale(-1.0, 1.0).place(score) for score in (-1.0, 0.0, 0.5, 1.0, 1.2)] == [
        0.0,
        50.0,
        75.0,
        100.0,
        100.0,
    ]
    assert build_score_scale(COSINE) == ScoreScale(-1.0, 1.0)
    assert build_score_scale(Scoring(cohort=Cohort(np.eye(3)))).place(0.0) == 50.0


def test_markup_in_names_is_text_on_the_page() -> None:
    assert "<script>" not in render_panel("refusal", sentence="<script>alert(1)</script>")


def test_a_model_is_told_in_words() -> None:
    assert describe_recipe(MelSpectrogram(40).recipe | {"normalise": "global_bins"}) == (
        "It takes MelSpectrogram frames: 40 bins every 10 ms, up to 7600 Hz, normalised (global_bins)."
    )
    metrics = {"best": {"val/eer": 0.1064}, "num_val_singers": 4}
    assert "Tested on 4 singers who were not in its training, it took 10.6 % of the pairs" in describe_error_rate(
        metrics
    )
    assert "vary by several percentage points" in describe_error_rate(metrics)
    assert "vary by" not in describe_error_rate(metrics | {"num_val_singers": 40})
    assert [describe_error_rate(absent) for absent in (None, {"best": None})] == ["Its error rate is not recorded."] * 2


def refused_address(host: str, port: int) -> str:
    with pytest.raises(SingerVerifyError) as caught, server.bind_socket(host, port):
        pass
    return str(caught.value)


def test_an_address_that_cannot_be_had_is_said() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert refused_address("127.0.0.1", port) == (
            f"--host 127.0.0.1 --port {port}: cannot listen there (Address already in use); choose another port or "
            f"host, or stop the program that uses it."
        )
    with server.bind_socket("127.0.0.1", port) as taken:
        assert taken.getsockname() == ("127.0.0.1", port)
    assert "unknown host" in refused_address("no.such.host.invalid", port)
    assert "cannot listen there (Cannot assign requested address)" in refused_address("192.0.2.1", port)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.1.2.3", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("a", False)],
)
def test_loopback_is_told_from_other_addresses(host: str, expected: bool) -> None:
    assert server.is_loopback(host) is expected


def test_the_address_to_type() -> None:
    addresses = [server.format_url(host, 7860) for host in ("127.0.0.1", "0.0.0.0", "::1", "choir.local")]
    names = ("127.0.0.1", "localhost", "[::1]", "choir.local")
    assert addresses == [f"http://{name}:7860/" for name in names]


def test_clips_lie_where_only_this_user_reads_and_are_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "")  # to be as it was afterwards
    with server.create_clip_folder() as folder:
        assert Path(folder).stat().st_mode & 0o777 == 0o700
        (Path(folder) / "clip.wav").write_bytes(b"la")
    assert not Path(folder).exists()


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "find_spec", lambda name: None)
    with pytest.raises(SingerVerifyError, match=r"pip install -c constraints.txt -e '\.\[demo\]'"):
        server.require_gradio()
