"""Pictures of a terminal: what commands print, run here and drawn by rich as SVG, light and dark."""

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME
from rich.text import Text

from singer_verify.atomic_files import write_files_atomically
from singer_verify.errors import SingerVerifyError

ROOT = Path(__file__).parents[1]
TERMINAL_THEMES = {"": DEFAULT_TERMINAL_THEME, "_dark": SVG_EXPORT_THEME}
WEB_FONTS = re.compile(r"@font-face \{.*?\}", re.DOTALL)  # a picture may not load anything
LOG_TIME = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", re.MULTILINE)


@dataclass(frozen=True)
class TerminalPicture:
    """A command and how much of its output is shown.

    Attributes:
        typed: the command as a reader types it, in a folder with `example_dataset`.
        columns: width of the terminal.
        first: first line of the output that is shown, counted from its end if negative.
    """

    typed: str
    columns: int = 100
    first: int = 0


PICTURES = {
    "terminal_verify": TerminalPicture(
        "singer-verify verify example_dataset/val/female7/f7_arpeggios_vibrato_o.flac"
        " example_dataset/val/female7/f7_scales_pp_a.flac"
    ),
    "terminal_training": TerminalPicture(
        "python train.py name=first trainer.max_steps=40 trainer.val_check_interval=20"
        " encoder.hidden_size=64 encoder.num_layers=1",
        first=-15,
    ),
}


def write_terminal_pictures(out: Path) -> None:
    """Run the commands in a temporary folder and write a picture of each."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copytree(ROOT / "example_dataset", folder / "example_dataset")
        for name, picture in PICTURES.items():
            lines = run_command(picture, folder).expandtabs().splitlines()[picture.first :]
            if any(path in line for line in lines for path in (temporary, str(Path.home()))):
                raise SingerVerifyError(f"{picture.typed}: prints a path of this machine.")
            files = draw_terminal(name, picture, lines)
            write_files_atomically({file: text.encode() for file, text in files.items()}, out)
            print(*(out / file for file in files), sep="\n")


def run_command(picture: TerminalPicture, folder: Path) -> str:
    """Run a command as in a terminal of that width, and return what it prints, with its colours."""
    program, *arguments = picture.typed.split()
    if program == "python":
        words = [sys.executable, str(ROOT / arguments[0]), *arguments[1:]]
    else:
        words = [sys.executable, "-m", "singer_verify.cli", *arguments]
    terminal = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": str(picture.columns), "LINES": "50"}
    finished = subprocess.run(
        words,
        cwd=folder,
        env=os.environ | terminal | {"SINGER_VERIFY_STORE": str(folder / "store")},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if finished.returncode:
        raise SingerVerifyError(f"{picture.typed}: {finished.stderr.strip() or finished.stdout.strip()}")
    return LOG_TIME.sub("", finished.stdout)


def draw_terminal(name: str, picture: TerminalPicture, lines: list[str]) -> dict[str, str]:
    """Draw what a command printed, below the command, as an SVG in each theme."""
    while lines and not lines[-1].strip():
        lines.pop()
    files = {}
    for suffix, theme in TERMINAL_THEMES.items():
        console = Console(
            record=True, width=picture.columns, file=io.StringIO(), force_terminal=True, legacy_windows=False
        )
        console.print(Text.assemble(("$ ", "bold green"), picture.typed))
        for line in lines:
            console.print(Text.from_ansi(line), no_wrap=True, overflow="crop", crop=True)
        svg = console.export_svg(title="", theme=theme, unique_id=name.replace("_", "-"))
        files[f"{name}{suffix}.svg"] = WEB_FONTS.sub("", svg)
    return files
