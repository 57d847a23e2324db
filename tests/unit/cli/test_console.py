"""What the programs write on a terminal, and in a file or a pipe."""

import io
import logging
import re

from rich.console import Console
from rich.table import Table

from singer_verify.cli.console import LogHandler, format_user_error, print_result
from singer_verify.errors import SingerVerifyError
from singer_verify.progress_bars import track_progress

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


def test_progress_is_quiet_in_a_pipe() -> None:
    for is_terminal in (False, True):
        console, text = console_of(is_terminal)
        assert list(track_progress([1, 2], "Frames", console)) == [1, 2]
        assert ("Frames" in text.getvalue()) == is_terminal


def test_a_list_in_a_message_keeps_its_lines() -> None:
    assert format_user_error(SingerVerifyError("two\nlines\n  a → b\n  c → d")) == "two lines\n  a → b\n  c → d"
