"""What the programs write on a terminal, and in a file or a pipe."""

import io
import logging
import re
from pathlib import Path

import hydra
import pytest
from hydra.errors import HydraException
from rich.console import Console, Group
from rich.table import Table
from typer.testing import CliRunner

from singer_verify.cli import app
from singer_verify.cli.application import COMMAND_PANELS, EXAMPLES
from singer_verify.cli.console import LogHandler, format_user_error, print_result, tell_page
from singer_verify.corpora import readers
from singer_verify.errors import SingerVerifyError, format_installation
from singer_verify.progress_bars import track_progress

PROJECT = Path(__file__).parents[3]
LONG_PATH = "/corpora/" + "/".join(f"folder_{n}_with_a_long_name" for n in range(6)) + "/song.wav"


def console_of(is_terminal: bool) -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, force_terminal=is_terminal, width=80, color_system=None), text


def write_message(is_terminal: bool) -> str:
    console, text = console_of(is_terminal)
    LogHandler(console).emit(logging.makeLogRecord({"msg": f"[b]Skipped: {LONG_PATH}: not audio", "levelname": "INFO"}))
    return text.getvalue()


def test_a_message_in_a_pipe_is_one_line_with_the_date() -> None:
    (line,) = write_message(is_terminal=False).splitlines()
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d \[b\]Skipped: {re.escape(LONG_PATH)}: not audio", line)


def test_a_message_on_a_terminal_is_laid_out_in_its_width() -> None:
    lines = write_message(is_terminal=True).splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) == 80


def test_a_table_in_a_pipe_breaks_no_name() -> None:
    table = Table()
    for name in ("run", "features", "status"):
        table.add_column(name)
    table.add_row(LONG_PATH, "mel40", "finished: " + "a sentence of some words " * 20)
    console, text = console_of(is_terminal=False)
    print_result(table, console=console)
    assert any(LONG_PATH in line for line in text.getvalue().splitlines())
    console, text = console_of(is_terminal=True)
    print_result(table, console=console)
    assert max(map(len, text.getvalue().splitlines())) == 80


@pytest.mark.parametrize("is_terminal", [False, True])
def test_no_table_is_cut_off(is_terminal: bool) -> None:
    """A name that is longer than the terminal is folded; beside what can be narrower, it keeps its right border."""
    table = Table(show_header=False)
    table.add_row("evaluated on", "6 unseen singers (with fewer than 30, expect the EER to vary by several points)")
    table.add_row("run folder", LONG_PATH)
    console, text = console_of(is_terminal)
    print_result(Group(Group(table)), console=console)
    top, *rows, _ = text.getvalue().splitlines()
    assert top.endswith("┐")
    assert {row[-1] for row in rows} == {"│"}
    assert LONG_PATH in "".join(row.split("│")[2].strip() for row in rows)


def test_progress_is_quiet_in_a_pipe() -> None:
    for is_terminal in (False, True):
        console, text = console_of(is_terminal)
        assert list(track_progress([1, 2], "Frames", console)) == [1, 2]
        assert ("Frames" in text.getvalue()) == is_terminal


def test_a_list_in_a_message_keeps_its_lines() -> None:
    assert format_user_error(SingerVerifyError("two\nlines\n  a → b\n  c → d")) == "two lines\n  a → b\n  c → d"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            "features=mel4",
            "features=mel4: no such choice; expected one of cqt, .*, world\\+pitch; did you mean mel40\\?",
        ),
        ("loss=nothing_alike", "loss=nothing_alike: no such choice; expected one of aam, .*, supcon\\."),
    ],
)
def test_a_choice_that_a_group_does_not_have_is_refused_with_what_was_meant(typed: str, said: str) -> None:
    with hydra.initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"), pytest.raises(HydraException) as error:
        hydra.compose("train", [typed])
    assert re.fullmatch(said, format_user_error(error.value))


def test_help_begins_with_what_is_used_most_and_ends_with_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = CliRunner().invoke(app, []).output  # without a command
    panels = [line.strip("╭─╮ ") for line in shown.splitlines() if line.startswith("╭")]
    assert panels == ["Options", *COMMAND_PANELS]
    first = shown.split("Most used")[1].split("╰")[0]
    positions = [first.index(f"│ {name} ") for name in COMMAND_PANELS["Most used"]]
    assert positions == sorted(positions)
    assert all(f" {example} " in shown for example in EXAMPLES)


def test_every_command_has_a_group() -> None:
    names = {command.name for command in app.registered_commands if command.name} | {
        command.callback.__name__.replace("_", "-") for command in app.registered_commands if not command.name
    }
    assert names == {name for commands in COMMAND_PANELS.values() for name in commands}


def test_prepare_names_every_reader() -> None:
    folder = Path(readers.__file__).parent
    shown = CliRunner().invoke(app, ["prepare", "--help"]).output
    missing = [path.stem for path in folder.glob("[a-z]*.py") if path.stem not in shown]
    assert missing == []


def test_a_page_is_told_as_an_address(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tell_page(tmp_path / "my report.html")
    assert capsys.readouterr().out == f"Open the page in a browser: file://{tmp_path}/my%20report.html\n"


def test_the_address_of_a_page_has_no_detour(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    tell_page(Path("../report/report.html"))
    assert capsys.readouterr().out.strip().endswith(f"file://{tmp_path}/report/report.html")


def test_how_to_install_an_extra_is_the_command_of_the_readme() -> None:
    command = format_installation("onnx").partition(" (")[0]
    assert command in (PROJECT / "README.md").read_text(encoding="utf-8")
