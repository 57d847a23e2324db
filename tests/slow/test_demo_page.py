"""The page in a browser: `singer-verify demo` in a process of its own, asked through headless Chromium."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest
import soundfile
from support.audio import SAMPLE_RATE, sing
from support.small_models import untrained_run

from singer_verify.evaluation.scoring.scoring import COSINE
from singer_verify.inference import Gallery, Model, load_model, verify

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
TIMEOUT_MS = 60_000
pytestmark = pytest.mark.slow


@dataclass
class Demo:
    """A running page, and what it was given to tell apart.

    Attributes:
        address: of the page.
        process: that serves it.
        clips: three; the first two score higher together than the first and the last.
        scores: of the first with the second, and with the last.
        temporary: the only folder that it may write to.
    """

    address: str
    process: subprocess.Popen[str]
    clips: list[Path]
    scores: tuple[float, float]
    temporary: Path


@dataclass
class Seen:
    """What a browser met with on a page."""

    hosts: set[str] = field(default_factory=set)
    errors: list[str] = field(default_factory=list)


def clips_of(folder: Path, embedder: Model) -> tuple[list[Path], tuple[float, float]]:
    """Three clips, and the scores of the first with the second, which is the higher one, and with the last."""
    clips = [folder / f"{number}.wav" for number in range(3)]
    for number, clip in enumerate(clips):
        soundfile.write(clip, sing(number, 1.5), SAMPLE_RATE)
    scored = sorted((verify(embedder, COSINE, clips[0], other).score, other) for other in clips[1:])
    (lower, last), (higher, second) = scored
    return [clips[0], second, last], (higher, lower)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    embedder = load_model(untrained_run(folder / "run"))
    clips, scores = clips_of(folder, embedder)
    gallery = Gallery(embedder)
    for name, clip in zip(("anna", "bo", "cy"), clips, strict=True):
        gallery.enrol(name, [clip])
    gallery.save(folder / "choir.npz")
    (temporary := folder / "temporary").mkdir()
    address = f"http://127.0.0.1:{(port := free_port())}/"
    options = {"--gallery": folder / "choir.npz", "--threshold": sum(scores) / 2, "--port": port, "--max-mb": 1}
    command = ["demo", folder / "run", *(part for option in options.items() for part in option)]
    with subprocess.Popen(
        [sys.executable, "-m", "singer_verify.cli", *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"TMPDIR": str(temporary)},
    ) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert f"{address} is ready" in ready, ready + process.stdout.read()
        yield Demo(address, process, clips, scores, temporary)
        process.kill()


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def page(demo: Demo, seen: Seen) -> Iterator["Page"]:
    """The page, opened in Chromium, which notes every host that it asks and every error of its console."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = next(filter(None, map(shutil.which, NAMES)), playwright.chromium.executable_path)
        if not Path(chromium).exists():
            pytest.skip("needs Chromium (apt-get install chromium, or playwright install chromium)")
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        page = browser.new_page()
        page.set_default_timeout(TIMEOUT_MS)
        page.on("request", lambda request: seen.hosts.add(urlsplit(request.url).hostname or ""))
        page.on("console", lambda message: seen.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.goto(demo.address)
        page.get_by_role("button", name="Compare").wait_for()
        yield page
        browser.close()


def upload(page: "Page", label: str, clip: Path) -> None:
    """Give the field of this label a clip, and wait for what the page says of it."""
    shown = page.locator(f"#{label} + * :is(.clip, .refusal)")
    page.locator(f"#{label} input[type=file]").set_input_files(clip)
    shown.wait_for()


def test_two_clips_are_compared_and_nobody_else_is_asked(demo: Demo, page: "Page", seen: Seen) -> None:
    first, second, third = demo.clips
    upload(page, "first-clip", first)
    upload(page, "second-clip", second)
    page.get_by_role("button", name="Compare").click()
    verdict = page.locator(".verdict")
    assert "Most likely the same singer" in verdict.inner_text()
    assert f"Score {demo.scores[0]:.3f}, at or above the threshold" in verdict.inner_text()
    assert page.locator(".clip img").count() == 2
    assert page.locator(".clip img").first.evaluate("image => image.naturalWidth") > 1000

    page.locator("#second-clip").get_by_label("Clear").click()
    verdict.wait_for(state="detached")  # it was of another clip
    upload(page, "second-clip", third)
    page.get_by_role("button", name="Compare").click()
    assert "Most likely two different singers" in verdict.inner_text()
    assert f"Score {demo.scores[1]:.3f}, below the threshold" in verdict.inner_text()
    assert seen.errors == []
    assert seen.hosts <= {"127.0.0.1", ""}


def test_what_is_no_clip_is_refused_and_the_page_goes_on(demo: Demo, page: "Page", tmp_path: Path) -> None:
    (notes := tmp_path / "notes.wav").write_text("la la la")
    upload(page, "first-clip", notes)
    sentence = page.locator(".refusal").inner_text()
    assert sentence.startswith("The clip: cannot be decoded as audio")
    assert str(demo.temporary) not in sentence

    page.locator("#first-clip").get_by_label("Clear").click()
    page.locator(".refusal").wait_for(state="detached")
    soundfile.write(large := tmp_path / "large.wav", sing(0, 40.0), SAMPLE_RATE)
    page.locator("#first-clip input[type=file]").set_input_files(large)
    page.get_by_text("exceed the maximum allowed size of 1.0 Mb").wait_for()
    page.get_by_role("button", name="Compare").click()
    page.get_by_text("Record or upload the first clip too.").wait_for()

    page.reload()
    upload(page, "first-clip", demo.clips[0])
    assert page.locator(".clip img").count() == 1


def test_a_singer_of_the_gallery_is_named(demo: Demo, page: "Page", seen: Seen) -> None:
    page.get_by_role("tab", name="Who is it?").click()
    upload(page, "clip", demo.clips[0])
    page.get_by_role("button", name="Who is it?").click()
    verdict = page.locator(".verdict")
    assert "Most likely anna" in verdict.inner_text()
    assert verdict.locator("tbody tr td:first-child").all_inner_texts() == ["anna", "bo", "cy"]
    assert seen.errors == []
    assert seen.hosts <= {"127.0.0.1", ""}


def test_nothing_but_the_page_and_its_clips_is_served(demo: Demo) -> None:
    """Gradio's own limits, as they are set for this page, and the filter before it."""
    with httpx.Client(base_url=demo.address, trust_env=False, timeout=60) as client:
        assert "Who is singing?" in client.get("/").text
        assert client.get("/", headers={"host": "attacker.example"}).status_code == 400
        assert client.get("/gradio_api/info").json() == {"named_endpoints": {}, "unnamed_endpoints": {}}
        for path in ("docs", "openapi.json", "monitoring", "monitoring/summary", "gradio_api/proxy=http://example.com"):
            assert client.get(f"/{path}").status_code >= 400
        for path in ("/etc/passwd", str(demo.clips[0]), "http://example.com/a.wav"):
            assert client.get(f"/gradio_api/file={path}").status_code == 403
        assert client.post("/gradio_api/queue/join", json={}).status_code == 403
        answer = client.post("/gradio_api/upload", files={"files": ("a.wav", b"x" * 1_100_000)})
        assert answer.status_code == 413
        for path in (str(demo.clips[0]), "/etc/passwd", "http://example.com/a.wav"):  # no upload
            file = {"path": path, "meta": {"_type": "gradio.FileData"}}
            answer = client.post("/gradio_api/run/predict", json={"fn_index": 0, "data": [file]})
            assert answer.status_code >= 400
            assert "data:image" not in answer.text
        (uploaded,) = client.post("/gradio_api/upload", files={"files": ("a.wav", demo.clips[0].read_bytes())}).json()
        assert client.get(f"/gradio_api/file={uploaded}").content == demo.clips[0].read_bytes()
        file = {"path": uploaded, "meta": {"_type": "gradio.FileData"}}
        answer = client.post("/gradio_api/run/predict", json={"fn_index": 0, "data": [file]})
        assert "data:image" in answer.text


def test_ctrl_c_ends_it_quietly_and_no_clip_is_left(demo: Demo) -> None:
    demo.process.send_signal(signal.SIGINT)
    output, _ = demo.process.communicate(timeout=30)
    assert (demo.process.returncode, output) == (0, "")
    assert list(demo.temporary.iterdir()) == []
