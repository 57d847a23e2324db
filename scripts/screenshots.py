"""Pictures of pages, taken with headless Chromium: a report, a leaderboard, the demo, TensorBoard.

`python scripts/make_figures.py report leaderboard_page demo` needs the extra `dev` and Chromium;
`tensorboard` also needs a run, in runs/example (`python train.py name=example`).
"""

import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from PIL import Image

from singer_verify.atomic_files import write_files_atomically
from singer_verify.errors import SingerVerifyError

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[1]
EXAMPLE_RUN = ROOT / "runs/example"
NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
TIMEOUT_MS = 120_000
CLIPS = ("f7_arpeggios_vibrato_o.flac", "f7_scales_pp_a.flac")


@contextmanager
def open_page(width: int, height: int, scheme: str = "light") -> "Iterator[Page]":
    """Open an empty page in Chromium.

    Args:
        width: of the window, in CSS pixels.
        height: of the window.
        scheme: `light` or `dark`, which pages may follow.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise SingerVerifyError("playwright is not installed; pip install -c constraints.txt -e '.[dev]'.") from None
    with sync_playwright() as playwright:
        chromium = next(filter(None, map(shutil.which, NAMES)), playwright.chromium.executable_path)
        if not Path(chromium).exists():
            raise SingerVerifyError("Chromium is missing; apt-get install chromium, or playwright install chromium.")
        browser = playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        settings = {"viewport": {"width": width, "height": height}, "color_scheme": scheme}
        page = browser.new_page(**settings)  # type: ignore[arg-type]
        page.set_default_timeout(TIMEOUT_MS)
        yield page
        browser.close()


def save_screenshot(page: "Page", name: str, out: Path) -> None:
    """Save what the window shows, in at most 256 colours: half as large."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture = picture.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    picture.save(buffer := io.BytesIO(), "png", optimize=True)
    write_files_atomically({f"{name}.png": buffer.getvalue()}, out)
    print(out / f"{name}.png")


def run_program(*words: str) -> None:
    """Run `singer-verify`, in the repository."""
    command = [sys.executable, "-m", "singer_verify.cli", *words]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise SingerVerifyError(f"{' '.join(words)}: {finished.stderr.strip()}")


def photograph_report(out: Path) -> None:
    """Photograph the top of a report of the packaged model on the example data."""
    with tempfile.TemporaryDirectory() as folder:
        run_program("evaluate", "example_dataset", "--out", folder)
        _photograph_file(Path(folder) / "report.html", "report", out)


def photograph_leaderboard(out: Path) -> None:
    """Photograph the page of a leaderboard, of the study's recipes."""
    with tempfile.TemporaryDirectory() as folder:
        run_program("leaderboard", "docs/study/results/recipes", "--out", folder)
        (page,) = Path(folder).glob("*.html")
        _photograph_file(page, "leaderboard_page", out)


def _photograph_file(path: Path, name: str, out: Path) -> None:
    with open_page(1200, 900) as page:
        page.goto(path.resolve().as_uri())
        save_screenshot(page, name, out)


def photograph_demo(out: Path) -> None:
    """Photograph the demo after it compared two recordings of one singer, in both themes."""
    port = find_free_port()
    command = [sys.executable, "-m", "singer_verify.cli", "demo", "--port", str(port)]
    with serve(command, f"http://127.0.0.1:{port}/"):
        for suffix, scheme in (("", "light"), ("_dark", "dark")):
            with open_page(1100, 900, scheme) as page:
                page.goto(f"http://127.0.0.1:{port}/")
                for label, clip in zip(("first-clip", "second-clip"), CLIPS, strict=True):
                    field = page.locator(f"#{label} input[type=file]")
                    field.set_input_files(ROOT / "example_dataset/val/female7" / clip)
                    page.locator(f"#{label} + * .clip img").wait_for()
                page.get_by_role("button", name="Compare").click()
                page.locator(".verdict").wait_for()
                page.evaluate("window.scrollTo(0, 0)")
                page.wait_for_timeout(500)
                save_screenshot(page, f"demo{suffix}", out)


def photograph_tensorboard(out: Path) -> None:
    """Photograph the curves of a run in TensorBoard, in both themes."""
    if not EXAMPLE_RUN.is_dir():
        raise SingerVerifyError("runs/example is missing; python train.py name=example makes it, in minutes.")
    port = find_free_port()
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(EXAMPLE_RUN.parent), "--port", str(port)]
    with serve(command, f"http://127.0.0.1:{port}/"):
        for suffix, scheme in (("", "light"), ("_dark", "dark")):
            with open_page(1280, 900, scheme) as page:
                chosen = f"?darkMode={str(scheme == 'dark').lower()}&tagFilter=^(train%2F(ge2e)|val%2F(eer|ge2e))$"
                page.goto(f"http://127.0.0.1:{port}/{chosen}#timeseries")
                page.locator("line-chart svg path").first.wait_for(state="attached")
                page.wait_for_timeout(5000)  # while lines are drawn and cards take their places
                save_screenshot(page, f"tensorboard{suffix}", out)


def find_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def serve(command: list[str], address: str) -> Iterator[None]:
    """Run a server until the block ends; the block begins when its page answers."""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"NO_PROXY": "127.0.0.1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            for _ in range(TIMEOUT_MS // 500):
                try:
                    httpx.get(address, trust_env=False, timeout=10)
                    break
                except httpx.HTTPError:
                    if process.poll() is not None:
                        raise SingerVerifyError(f"{' '.join(command[1:4])}: ended at once.") from None
                    time.sleep(0.5)
            yield
        finally:
            process.terminate()


SCREENSHOTS: dict[str, Callable[[Path], None]] = {
    "report": photograph_report,
    "leaderboard_page": photograph_leaderboard,
    "demo": photograph_demo,
    "tensorboard": photograph_tensorboard,
}
