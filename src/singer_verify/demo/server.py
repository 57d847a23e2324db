"""A gate before the page: what the page itself asks for passes, and nothing that makes the server fetch or show more.

Gradio offers programs a description of the page, relays files from other addresses, and takes an address in place of an
upload; none of it is needed here.
"""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from singer_verify.demo.clips import BYTES_PER_MB
from singer_verify.errors import SingerVerifyError

if TYPE_CHECKING:  # all of the extra
    import fastapi
    import gradio


ALLOWED_PAGES = ("/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt")
ALLOWED_FOLDERS = ("/assets/", "/static/", "/svelte/", "/gradio_api/heartbeat/")
ALLOWED_CALLS = ("/gradio_api/upload", "/gradio_api/upload_progress", "/gradio_api/startup-events")
PREDICT_PATH, CLIP_PATH_PREFIX = "/gradio_api/run/predict", "/gradio_api/file="
MAX_REQUEST_BYTES = 100_000  # of a question, which holds names of clips and no clips


class RequestFilter:
    """Refuses with 403 whatever else is asked.

    Args:
        app: behind it.
        clips: the folder that clips are uploaded to; questions may be about those only.
    """

    def __init__(self, app: ASGIApp, clips: str) -> None:
        self.app, self.clips = app, clips

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = str(scope["path"])
        if path == PREDICT_PATH:
            body = await _read_body(receive)
            if self.is_allowed_request(body):
                await self.app(scope, _replay_body(body, receive), send)
                return
        elif self.is_allowed(path):
            await self.app(scope, receive, send)
            return
        await PlainTextResponse("This page does not offer that.", status_code=403)(scope, receive, send)

    def is_allowed(self, path: str) -> bool:
        if path.startswith(CLIP_PATH_PREFIX):
            return self.is_clip(path.removeprefix(CLIP_PATH_PREFIX))
        return path in (*ALLOWED_PAGES, *ALLOWED_CALLS) or path.startswith(ALLOWED_FOLDERS)

    def is_allowed_request(self, body: bytes) -> bool:
        try:
            question = json.loads(body)
        except ValueError:
            return False
        return all(isinstance(path, str) and self.is_clip(path) for path in _find_values(question, "path"))

    def is_clip(self, path: str) -> bool:
        """Whether a path is of a file in the folder of clips."""
        return Path(path).resolve().is_relative_to(Path(self.clips).resolve())


def _find_values(content: Any, key: str) -> Iterator[Any]:
    """Of a key, wherever it stands in nested content."""
    if isinstance(content, dict):
        yield from (value for name, value in content.items() if name == key and value is not None)
    if isinstance(content, dict | list):
        for part in content.values() if isinstance(content, dict) else content:
            yield from _find_values(part, key)


async def _read_body(receive: Receive) -> bytes:
    """Of a request; nothing, where it is longer than any question."""
    body, is_more = b"", True
    while is_more and len(body) <= MAX_REQUEST_BYTES:
        message = await receive()
        body += message.get("body", b"")
        is_more = message.get("more_body", False)
    return b"" if is_more else body


def _replay_body(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already, and then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def received() -> Message:
        return messages.pop() if messages else await receive()

    return received


SHUTDOWN_TIMEOUT_S = 1  # open pages hold connections that never end by themselves
LOOPBACK_NAMES = ["localhost", "127.0.0.1"]


def require_gradio() -> None:
    """
    Raises:
        SingerVerifyError: it is not installed.
    """
    if find_spec("gradio") is None:
        raise SingerVerifyError("the page needs Gradio, which is not installed: pip install 'singer_verify[demo]'.")


@contextmanager
def bind_socket(host: str, port: int) -> Iterator[socket.socket]:
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
def create_clip_folder() -> Iterator[str]:
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


def format_url(host: str, port: int) -> str:
    """What to type into the browser of this machine."""
    name = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/"


def build_app(blocks: gradio.Blocks, host: str, max_mb: float, clips: str) -> fastapi.FastAPI:
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
        build_guarded_app(host, clips),
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


def build_guarded_app(host: str, clips: str) -> fastapi.FastAPI:
    """An empty application behind the gate.

    On loopback it answers to the names of this machine only: another site that points its own name at 127.0.0.1 does
    not get in.
    """
    import fastapi
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    empty = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    empty.add_middleware(RequestFilter, clips=clips)
    if is_loopback(host) and ":" not in host:
        empty.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK_NAMES, host])
    return empty


def serve(app: fastapi.FastAPI, taken: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM, either of which ends it quietly."""
    import uvicorn

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the folder of clips is removed then too
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S)
    try:
        uvicorn.Server(config).run(sockets=[taken])
    except KeyboardInterrupt:  # the server hands it on once it has ended
        return
