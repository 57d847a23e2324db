"""The command `singer-verify`. Each module of this package registers its commands with `application.app`."""

import atexit
import gc
from importlib import import_module

import rich
from rich.console import Console

from singer_verify.cli.application import app
from singer_verify.cli.console import configure_logging, escape_undecodable_output, report_user_errors
from singer_verify.environment import set_torch_environment
from singer_verify.worker_sockets import shorten_socket_paths

COMMAND_MODULES = (  # in the order of --help
    *("verify", "galleries", "diarize", "embed", "bench", "demo"),
    *("evaluate", "probe", "similarity", "calibrate", "trials", "map"),
    *("prepare", "audit", "runs", "interpolate", "export"),
)
for module in COMMAND_MODULES:
    import_module(f"{__name__}.{module}")

__all__ = ["app", "main"]


def main() -> None:
    """Run the console command."""
    set_torch_environment()
    shorten_socket_paths()
    atexit.register(gc.freeze)  # no search for garbage as the process ends: it takes a third of a second
    rich.reconfigure(stderr=True)  # progress goes to standard error, results alone to standard output
    configure_logging(Console(stderr=True))
    escape_undecodable_output()
    with report_user_errors():
        app()
