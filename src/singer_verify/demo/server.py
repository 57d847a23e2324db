"""The server of the page: one address, and no request to or from any other."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from singer_verify.demo.checks import BYTES_PER_MB
from singer_verify.errors import SingerVerifyError

if TYPE_CHECKING:  # all of the extra
    import fastapi
    import gradio

SECONDS_TO_END = 1  # open pages hold connections that never end by themselves
LOOPBACK_NAMES = ["localhost", "127.0.0.1"]


def require_gradio() -> None:
    """
    Raises:
        SingerVerifyError: it is not installed.
    """
    if find_spec("gradio") is None:
        raise SingerVerifyError("the page needs Gradio, which is not installed: pip install 'singer_verify[demo]'.")


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """An address taken; browsers that come before the page is there wait.

    Raises:
        SingerVerifyError: the address is in use, not allowed, or not of this machine.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise SingerVerifyError(f"--host {host}: is no known address; 127.0.0.1 is this machine alone.") from error
    with socket.socket(family, kind) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(address)
        except PermissionError as error:
            raise SingerVerifyError(f"--port {port}: is not allowed to you; choose one above 1023.") from error
        except OSError as error:
            raise SingerVerifyError(
                f"--host {host} --port {port}: cannot be listened on ({error.strerror}); choose another, "
                f"or end the program that has it."
            ) from error
        taken.listen()
        yield taken


@contextmanager
def clips_folder() -> Iterator[str]:
    """A folder for clips that only this user can read, gone at the end; Gradio is told of it before it is imported."""
    with tempfile.TemporaryDirectory(prefix="singer-verify-demo-") as folder:
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
        yield folder


def is_loopback(host: str) -> bool:
    """Whether nobody but this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def url(host: str, port: int) -> str:
    """What to type into the browser of this machine."""
    name = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/"


def application(blocks: gradio.Blocks, host: str, max_mb: float, clips: str) -> fastapi.FastAPI:
    """The page as a web application without anything but the page.

    Args:
        blocks: the page.
        host: that it will be served on.
        max_mb: the largest upload, in units of 2^20 bytes.
        clips: the folder that they are uploaded to.
    """
    import gradio

    from singer_verify.demo.page import STYLES

    return gradio.mount_gradio_app(
        guarded(host, clips),
        blocks,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=round(max_mb * BYTES_PER_MB),
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        css=STYLES,
        theme=gradio.themes.Default(primary_hue="blue", neutral_hue="slate"),
    )


def guarded(host: str, clips: str) -> fastapi.FastAPI:
    """An empty application behind the gate.

    On loopback it answers to the names of this machine only: another site that points its own name at 127.0.0.1 does
    not get in.
    """
    import fastapi
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from singer_verify.demo.gate import Gate

    empty = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    empty.add_middleware(Gate, clips=clips)
    if is_loopback(host) and ":" not in host:
        empty.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK_NAMES, host])
    return empty


def serve(app: fastapi.FastAPI, taken: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM, either of which ends it quietly."""
    import uvicorn

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the folder of clips is removed then too
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=SECONDS_TO_END)
    try:
        uvicorn.Server(config).run(sockets=[taken])
    except KeyboardInterrupt:  # the server hands it on once it has ended
        return
