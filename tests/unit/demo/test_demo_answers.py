"""What the page answers, as HTML, without a browser; and what its gate lets through."""

import asyncio
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.audio import SAMPLE_RATE, sing
from support.small_models import untrained_run

from singer_verify.demo.answers import DemoHandlers
from singer_verify.demo.clips import ClipLimits
from singer_verify.demo.server import MAX_REQUEST_BYTES, RequestFilter
from singer_verify.demo.words import render_about
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.scoring.calibration import Calibration
from singer_verify.evaluation.scoring.scoring import COSINE, Threshold
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.inference import Gallery, Model, load_model, verify

LIMITS = ClipLimits(20.0)


@pytest.fixture
def embedder(tmp_path: Path) -> Model:
    return load_model(untrained_run(tmp_path / "run"))


@pytest.fixture
def clips(tmp_path: Path) -> list[str]:
    """Three, of one second each, with the same file name in folders of their own."""
    paths = [tmp_path / f"upload{number}" / "audio.wav" for number in range(3)]
    for number, path in enumerate(paths):
        path.parent.mkdir()
        soundfile.write(path, sing(number), SAMPLE_RATE)
    return [str(path) for path in paths]


def score_of(embedder: Model, *clips: str) -> float:
    return verify(embedder, COSINE, *map(Path, clips)).score


def heading(html: str) -> str:
    match = re.search("<h3>(.*?)</h3>", html)
    assert match is not None, html
    return match.group(1)


def refusal(html: str) -> str:
    match = re.fullmatch('<p class="refusal" role="alert">(.*?)</p>', html)
    assert match is not None, html
    return match.group(1)


def test_two_clips_are_decided_by_the_threshold_and_its_origin_is_said(embedder: Model, clips: list[str]) -> None:
    score = score_of(embedder, clips[0], clips[1])
    for above, expected in ((-0.01, "Most likely the same singer"), (0.01, "Most likely two different singers")):
        threshold = Threshold(score + above, "equal error rate on 4 singers")
        html = DemoHandlers(embedder, replace(COSINE, threshold=threshold), LIMITS).compare(clips[0], clips[1])
        assert heading(html) == expected
        assert f"Score {score:.3f}" in html
        assert "(equal error rate on 4 singers)" in html
        assert "Probability" not in html
    undecided = DemoHandlers(embedder, COSINE, LIMITS).compare(clips[0], clips[1])
    assert heading(undecided) == "No decision"
    assert "has no decision threshold" in undecided


def test_a_calibrated_model_gives_a_probability(embedder: Model, clips: list[str]) -> None:
    score = score_of(embedder, clips[0], clips[1])
    calibration = Calibration(1.0, -score, "4 singers")  # so that this score is worth nothing
    html = DemoHandlers(embedder, replace(COSINE, calibration=calibration), LIMITS).compare(clips[0], clips[1])
    assert "Probability of the same singer: 50.0 %" in html


def test_one_recording_against_itself_is_remarked(embedder: Model, clips: list[str]) -> None:
    assert "Both clips are the same recording" in DemoHandlers(embedder, COSINE, LIMITS).compare(clips[0], clips[0])
    assert "Both clips" not in DemoHandlers(embedder, COSINE, LIMITS).compare(clips[0], clips[1])


def test_a_picture_is_shown_of_a_clip_and_none_of_no_clip(embedder: Model, clips: list[str]) -> None:
    answers = DemoHandlers(embedder, COSINE, LIMITS)
    html = answers.show(clips[0])
    assert 'src="data:image/png;base64,iVBOR' in html
    assert "1.0 s: the waveform, and what the model sees, 101 frames of 40 bins." in html
    assert answers.show(None) == ""


def test_what_cannot_be_used_is_said_in_one_sentence_without_a_path(
    embedder: Model, clips: list[str], tmp_path: Path
) -> None:
    answers = DemoHandlers(embedder, COSINE, LIMITS)
    bad = {
        "silent": (np.zeros(SAMPLE_RATE), SAMPLE_RATE, "is silent"),
        "short": (sing(0, 0.3), SAMPLE_RATE, "expected at least 0.5 s"),
        "nan": (np.full(SAMPLE_RATE, np.nan, np.float32), SAMPLE_RATE, "contains NaN"),
        "low": (sing(0, 1.0, 8000), 8000, "bandwidth is 4000 Hz"),
        "long": (np.zeros(601 * 1000), 1000, "lasts more than 10 minutes"),
    }
    for name, (samples, sample_rate, expected) in bad.items():
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, samples, sample_rate, subtype="FLOAT")
        for html, called in (
            (answers.show(str(path)), "The clip"),
            (answers.compare(clips[0], str(path)), "The second"),
        ):
            sentence = refusal(html)
            assert sentence.startswith(called)
            assert expected in sentence
            assert str(tmp_path) not in sentence
    assert refusal(answers.compare(None, clips[0])) == "Record or upload the first clip too."
    assert refusal(answers.compare(clips[0], None)) == "Record or upload the second clip too."


def test_answers_come_one_at_a_time(embedder: Model, clips: list[str]) -> None:
    answers = DemoHandlers(embedder, COSINE, LIMITS)
    with ThreadPoolExecutor() as threads:
        with answers.lock:
            asked = threads.submit(answers.compare, clips[0], clips[1])
            with pytest.raises(TimeoutError):
                asked.result(timeout=0.5)
        assert heading(asked.result(timeout=30)) == "No decision"
    answers.compare(None, None)
    assert not answers.lock.locked()  # not after a refusal either


def test_candidates_are_ranked_and_the_unknown_are_said(embedder: Model, clips: list[str]) -> None:
    names = ("anna", "bo", "<b>cy")
    scores = [score_of(embedder, clips[0], clip) for clip in clips]
    assert scores[0] > max(scores[1:])
    for threshold, expected in ((scores[0] - 1e-4, "Most likely anna"), (1.1, "Unknown singer; closest is")):
        scoring = replace(COSINE, threshold=Threshold(threshold, "given"))
        gallery = Gallery(embedder, scoring)
        for name, clip in zip(names, clips, strict=True):
            gallery.enrol(name, [Path(clip)])
        html = DemoHandlers(embedder, scoring, LIMITS, gallery).identify(clips[0])
        assert heading(html).startswith(expected)
        assert re.findall("<td>(.*?)</td>", html)[0] == "anna"
        assert "&lt;b&gt;cy" in html
        assert "<b>cy" not in html
    assert refusal(DemoHandlers(embedder, scoring, LIMITS, gallery).identify(None)) == "Record or upload a clip first."


def test_models_and_galleries_that_the_page_cannot_use_are_refused(embedder: Model) -> None:
    with pytest.raises(SingerVerifyError, match="the gallery is empty"):
        DemoHandlers(embedder, COSINE, LIMITS, Gallery(embedder))
    embedder.feature = PrecomputedFeature({"num_feats": 40, "sr": 16000, "hop_size": 160})
    with pytest.raises(SingerVerifyError, match="takes precomputed features"):
        DemoHandlers(embedder, COSINE, LIMITS)


def test_the_page_tells_of_its_model_and_its_limits(tmp_path: Path) -> None:
    run = untrained_run(tmp_path / "run")
    assert "It was trained on 2 singers. Its error rate is not recorded." in render_about(load_model(run))
    assert "It is no proof of identity." in render_about(load_model(run))
    metrics = {"best": {"val/eer": 0.2}, "num_val_singers": 4}
    (run / "metrics.json").write_text(json.dumps(metrics))
    assert "it took 20.0 % of the pairs" in render_about(load_model(run))
    assert "it took 20.0 % of the pairs" in render_about(load_model(run / "checkpoints/best.ckpt"))
    (run / "checkpoints/last.ckpt").write_bytes((run / "checkpoints/best.ckpt").read_bytes())
    assert "is not recorded" in render_about(load_model(run / "checkpoints/last.ckpt"))  # the figures are of the best


def status(gate: RequestFilter, path: str, *bodies: bytes) -> int:
    """What a gate answers; 200 where it lets through."""
    sent: list[dict[str, Any]] = []
    parts = [{"type": "http.request", "body": body, "more_body": body is not bodies[-1]} for body in bodies]

    async def receive() -> dict[str, Any]:
        return parts.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST" if bodies else "GET", "path": path, "headers": []}
    asyncio.run(gate(scope, receive, send))
    return int(sent[0]["status"])


def test_the_gate_lets_through_what_the_page_asks_for_and_no_other_file(tmp_path: Path) -> None:
    received: list[bytes] = []

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        received.append((await receive())["body"] if scope["path"].endswith("predict") else b"")
        await send({"type": "http.response.start", "status": 200, "headers": []})

    gate = RequestFilter(behind, str(tmp_path))
    about_clip = json.dumps({"data": [{"path": f"{tmp_path}/a/b.wav", "url": "http://127.0.0.1/b.wav"}, None]}).encode()
    assert status(gate, "/gradio_api/run/predict", about_clip[:30], about_clip[30:]) == 200
    assert received == [about_clip]
    for path in ("http://example.com/a.wav", "/etc/passwd", f"{tmp_path}/../x.wav", 3, ["/etc"]):
        for nested in ({"path": path}, {"x": [{"path": path}]}):
            assert status(gate, "/gradio_api/run/predict", json.dumps({"data": [nested]}).encode()) == 403
    for body in (b"no json", b" " * (MAX_REQUEST_BYTES + 1)):
        assert status(gate, "/gradio_api/run/predict", body) == 403
    for path in ("/", "/config", "/assets/a.js", f"/gradio_api/file={tmp_path}/a/b.wav"):
        assert status(gate, path) == 200
    assert status(gate, "/gradio_api/upload", b"a clip") == 200
    for path in ("queue/join", "call/predict", "api/predict", "run/other", "process_recording", "vibe-edit"):
        assert status(gate, f"/gradio_api/{path}", b"{}") == 403
    for path in ("http://example.com/a.wav", "/etc/passwd"):
        assert status(gate, f"/gradio_api/file={path}") == status(gate, f"/gradio_api/file/{path}") == 403
