"""Console behaviour of the entry points: user errors in one line, logging, quiet libraries."""

import difflib
import io
import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import rich
import typer
from rich.console import Console, Group, RenderableType
from rich.logging import RichHandler
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table

from singer_verify.atomic_files import is_disk_full
from singer_verify.errors import SingerVerifyError
from singer_verify.progress_bars import can_draw

LOGGER = logging.getLogger("singer_verify")
INTERRUPTED = 130  # exit status after Ctrl-C, as of programs that the signal ends
MAX_COLUMNS = 10_000  # of a table in a file or a pipe
# What Hydra says of a choice that a group does not have; it goes on with where it looked.
MISSING_CHOICE = re.compile(
    r"Could not find '(?P<group>[^']+)/(?P<name>[^'/]+)'\s+Available options in '[^']+':\s+"
    r"(?P<choices>.*?)\s*(?:Config search path|$)",
    re.DOTALL,
)
LIST_INDENT = "\n  "  # before each entry of a list in a message


@contextmanager
def report_user_errors(*also: type[BaseException]) -> Iterator[None]:
    """Turn user errors into a one-line message and exit status 1, and Ctrl-C into exit status 130.

    Args:
        also: errors of libraries that mean a user's mistake, for instance a wrong override; where one was caused by
            a SingerVerifyError, that one is reported.
    """
    try:
        yield
    except (SingerVerifyError, *also) as error:  # type: ignore[misc]
        sys.stdout.flush()
        sys.stderr.write(f"error: {format_user_error(error)}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(INTERRUPTED)


@contextmanager
def convert_user_errors(*also: type[BaseException]) -> Iterator[None]:
    """Turn errors of libraries that mean a user's mistake into a SingerVerifyError; see `report_user_errors`."""
    try:
        yield
    except also as error:
        raise SingerVerifyError(format_user_error(error)) from error


def format_user_error(error: BaseException) -> str:
    """Return the message of the SingerVerifyError in a chain of causes, or the part that helps of another error's."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None:  # OmegaConf's have a context only
        causes.append(cause)
    own = next((cause for cause in causes if isinstance(cause, SingerVerifyError)), None)
    failure = next((cause for cause in causes if isinstance(cause, OSError) and cause.errno is not None), None)
    if own is None and failure is not None:  # some of Hydra's are OSErrors too, without a number
        path = f"{failure.filename}: " if failure.filename is not None else ""
        return f"{path}{failure.strerror or failure}; choose another path, or change what is there."
    text = str(own or error)
    if text.startswith("Could not override"):
        text = f"{text.splitlines()[0]} There is no such setting; python train.py --help lists them."
    elif text.startswith("Error in call to target"):
        text = str(causes[-1])
    elif match := MISSING_CHOICE.search(text):
        text = _format_missing_choice(**match.groupdict())
    lines = text.partition("Config search path")[0].split(LIST_INDENT)  # what is indented is a list, and stays one
    return LIST_INDENT.join([" ".join(lines[0].split()), *(line.rstrip() for line in lines[1:])])


def _format_missing_choice(group: str, name: str, choices: str) -> str:
    """Word a refusal of Hydra's: what was chosen of a group, what there is, and what may have been meant."""
    names = choices.split()
    alike = difflib.get_close_matches(name, names, n=1)
    meant = f"; did you mean {alike[0]}?" if alike else "."
    return f"{group}={name}: no such choice; expected one of {', '.join(names)}{meant}"


def escape_undecodable_output() -> None:
    r"""Let results name files whose names are no text: such bytes are shown as `\udcff`, as standard error does."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


class LogHandler(RichHandler):
    """Messages with their time: in columns on a terminal, elsewhere as unbroken lines with the date.

    Args:
        console: where they go; None takes rich's own.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(console=console, show_path=False, show_level=False, log_time_format="%H:%M:%S")

    def emit(self, record: logging.LogRecord) -> None:
        console = self.console
        if can_draw(console):
            super().emit(record)
            return
        try:
            time = datetime.fromtimestamp(record.created).strftime("%Y-%m-%d %H:%M:%S")
            console.print(f"{time} {self.format(record)}", soft_wrap=True, markup=False, highlight=False, emoji=False)
        except Exception:  # as any handler: a message that cannot be written does not end the program
            self.handleError(record)


def configure_logging(console: Console) -> None:
    """Send what the package says to a console."""
    for handler in list(LOGGER.handlers):
        LOGGER.removeHandler(handler)
        handler.close()
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    LOGGER.addHandler(LogHandler(console))


def print_result(*results: RenderableType, console: Console | None = None) -> None:
    """Print tables: on a terminal in its width, what is too long folded; in a file or a pipe with no name broken.

    Args:
        results: tables and lines.
        console: where they go; None takes standard output.
    """
    console = console or Console()
    for result in results:
        columns = [column for table in _find_tables(result) for column in table.columns]
        for column in columns:
            column.overflow = "fold"  # rich cuts off what is too long
        if can_draw(console):
            console.print(result)
            continue
        options = console.options.update(max_width=MAX_COLUMNS)
        for column in columns:
            words = [Measurement.get(console, options, cell).minimum for cell in (column.header, *column.cells)]
            column.min_width = max(column.min_width or 0, *words)
        width = _find_width(result, console)
        Console(file=console.file, width=width, quiet=console.quiet).print(result)


def _find_tables(result: RenderableType) -> Iterator[Table]:
    if isinstance(result, Table):
        yield result
    for part in result.renderables if isinstance(result, Group) else []:
        yield from _find_tables(part)


def _find_width(result: RenderableType, console: Console) -> int:
    """Return the columns that a result fills: a table whose columns cannot be as narrow as rich wants is cut off."""
    width = 0
    filled = console.width
    while width < filled < MAX_COLUMNS:
        width = filled
        lines = Segment.split_lines(console.render(result, console.options.update(width=width)))
        filled = max(map(Segment.get_line_length, lines), default=width)
    return max(width, filled)


def tell_page(page: Path) -> None:
    """Tell how to open a page that was written."""
    typer.echo(f"Open the page in a browser: {Path(os.path.abspath(page)).as_uri()}")


def silence_console() -> None:
    """Leave the console to the process that this one works for."""
    rich.reconfigure(quiet=True)
    silence_library_warnings()


@contextmanager
def show_progress_on_stderr() -> Iterator[None]:
    """Keep progress bars of computed frames out of what a command prints."""
    console = rich.get_console()
    before, console.stderr = console.stderr, True
    try:
        yield
    finally:
        console.stderr = before


def silence_library_warnings() -> None:
    """Leave out what Lightning says of things that are meant."""
    # Here, because they take seconds to import; Lightning sets the level of its log as it is imported.
    import pytorch_lightning  # noqa: F401
    from lightning_fabric.utilities.warnings import PossibleUserWarning

    warnings.filterwarnings("ignore", category=PossibleUserWarning)  # advice on loader workers, which the user sets
    warnings.filterwarnings("ignore", message=r".*isinstance\(treespec, LeafSpec\)")  # Lightning 2.6 with torch 2.13
    warnings.filterwarnings("ignore", message=r"Checkpoint directory .* exists and is not empty")  # a run goes on
    warnings.filterwarnings("ignore", message=r"Be aware that when using `ckpt_path`")  # callbacks may change
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    threading.excepthook = _report_thread_error


def _report_thread_error(error: threading.ExceptHookArgs) -> None:
    """Leave out a full disk, which TensorBoard's writing thread reports by a traceback, and to the training as well."""
    if not is_disk_full(error.exc_value):
        threading.__excepthook__(error)


def require_new_files(*paths: Path, force: bool) -> None:
    """Refuse to replace files unless that is wanted.

    Raises:
        SingerVerifyError: one of them exists.
    """
    if existing := [path for path in paths if path.exists() and not force]:
        listed = " and ".join(str(path) for path in existing)
        raise SingerVerifyError(f"{listed}: exists already; give another name, or --force to replace it.")


def require_output_file(option: str, path: Path, suffix: str) -> None:
    """Refuse an output file that a command could not write, before it does the work.

    Raises:
        SingerVerifyError: the name has another suffix, is that of a folder, or lies in none.
    """
    from singer_verify.atomic_files import require_output_path
    from singer_verify.errors import SingerVerifyError

    if path.suffix != suffix:
        raise SingerVerifyError(f"{option} {path}: expected a file name that ends in {suffix}.")
    require_output_path(path, option)
