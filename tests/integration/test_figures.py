"""The pictures of README and docs are the same to the byte when drawn again, and load nothing from elsewhere."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["training_curve", "embeddings"])
def test_a_picture_drawn_again_is_the_same(name: str, tmp_path: Path) -> None:
    for folder in ("first", "second"):
        command = [sys.executable, str(SCRIPTS / "make_figures.py"), name, "--out", str(tmp_path / folder)]
        subprocess.run(command, check=True, capture_output=True)
    for file in (f"{name}.png", f"{name}_dark.png"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_a_terminal_is_drawn_in_both_themes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from terminal_pictures import TerminalPicture, draw_terminal

    picture = TerminalPicture("singer-verify verify a.wav b.wav", 40)
    files = draw_terminal("verdict", picture, ["\x1b[1mscore\x1b[0m 0.8"])
    assert list(files) == ["verdict.svg", "verdict_dark.svg"]
    assert draw_terminal("verdict", picture, ["\x1b[1mscore\x1b[0m 0.8"]) == files
    for svg in files.values():
        assert "score" in svg
        assert "url(http" not in svg
