"""The web server behind the page.

Gradio serves the page, stores uploads, limits their size, deletes old ones, and serves no file but those. Three things
are done here, because Gradio (6.31) does not do them:

* `RequestFilter`: Gradio reads any file of this machine that a request names in place of an upload (it checks that only
  in `Blocks.launch`), downloads web addresses, relays `file=http://...`, and offers every event by several paths.
* `TrustedHostMiddleware`: a website may point its own name at 127.0.0.1 and so read a page on loopback (DNS rebinding).
* `bind_socket` and `serve`: `Blocks.launch` sends a request to itself, which fails behind an HTTP proxy, and it binds
  only once the model is loaded; here the address is taken first, and a browser that comes early waits.
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
from singer_verify.errors import SingerVerifyError, format_installation

if TYPE_CHECKING:  # packages of the extra
    import fastapi
    import gradio

UPLOAD_PATH, PREDICT_PATH = "/gradio_api/upload", "/gradio_api/run/predict"
FILE_PATH_PREFIXES = ("/gradio_api/file=", "/gradio_api/file/")  # of one length; the second is an older form
MAX_REQUEST_BYTES = 100_000  # of a prediction request, which names clips and holds none
SHUTDOWN_TIMEOUT_S = 1  # open pages hold connections that never end by themselves
LOOPBACK_NAMES = ["localhost", "127.0.0.1"]


class RequestFilter:
    """Refuse, with status 403, requests that the page does not send and Gradio would act on.

    Only uploads and predictions may be posted, and the only files that may be named are uploaded clips.

    Args:
        app: behind the filter.
        clips: the folder of uploads.
    """

    def __init__(self, app: ASGIApp, clips: str) -> None:
        self.app, self.clips = app, Path(clips).resolve()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = str(scope["path"])
            if path == PREDICT_PATH:
                body = await _read_body(receive)
                is_allowed, receive = self.names_only_clips(body), _replay_body(body, receive)
            elif path.startswith(FILE_PATH_PREFIXES):
                is_allowed = self.is_clip(path[len(FILE_PATH_PREFIXES[0]) :])
            else:
                is_allowed = scope["method"] in ("GET", "HEAD", "OPTIONS") or path == UPLOAD_PATH
            if not is_allowed:
                await PlainTextResponse("This page does not offer that.", status_code=403)(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def is_clip(self, path: Any) -> bool:
        """Return whether a path lies in the folder of uploads; no web address does."""
        return isinstance(path, str) and Path(path).resolve().is_relative_to(self.clips)

    def names_only_clips(self, body: bytes) -> bool:
        """Return whether every `path` anywhere in a JSON body is that of a clip."""
        try:
            remaining = [json.loads(body)]
        except ValueError:
            return False
        while remaining:
            value = remaining.pop()
            if isinstance(value, dict):
                if value.get("path") is not None and not self.is_clip(value["path"]):
                    return False
                remaining += value.values()
            elif isinstance(value, list):
                remaining += value
        return True


async def _read_body(receive: Receive) -> bytes:
    """Read the body of a request; return nothing if it is longer than any prediction request."""
    body, is_more = b"", True
    while is_more and len(body) <= MAX_REQUEST_BYTES:
        message = await receive()
        body += message.get("body", b"")
        is_more = message.get("more_body", False)
    return b"" if is_more else body


def _replay_body(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives a body that was already read, and then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again


def require_gradio() -> None:
    """Check that the extra `demo` is installed.

    Raises:
        SingerVerifyError: it is not.
    """
    if find_spec("gradio") is None:
        raise SingerVerifyError(f"the demo needs Gradio, which is not installed: {format_installation('demo')}.")


def bind_socket(host: str, port: int) -> socket.socket:
    """Listen on an address; browsers that come before the page is ready wait.

    Raises:
        SingerVerifyError: the address is in use, not allowed, or not of this machine.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None) or -1
        if number < 0:  # of getaddrinfo
            raise SingerVerifyError(f"--host {host}: unknown host; use 127.0.0.1 for this machine alone.") from error
        if isinstance(error, PermissionError):
            raise SingerVerifyError(f"--port {port}: permission denied; choose a port above 1023.") from error
        raise SingerVerifyError(
            f"--host {host} --port {port}: cannot listen there ({os.strerror(number)}); choose another port or host, "
            f"or stop the program that uses it."
        ) from error


@contextmanager
def create_clip_folder() -> Iterator[str]:
    """Make a folder for uploads that only this user can read and that is removed at the end.

    Gradio reads these variables when it is imported, so this comes before. Its own `delete_cache` removes old clips
    while the page runs, but leaves some behind when the process is interrupted.
    """
    with tempfile.TemporaryDirectory(prefix="singer-verify-demo-") as folder:
        os.environ |= {"GRADIO_TEMP_DIR": folder, "GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
        yield folder


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def format_url(host: str, port: int) -> str:
    """Format the address to type into a browser on this machine."""
    name = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/"


def build_app(blocks: gradio.Blocks, host: str, max_mb: float, clips: str) -> fastapi.FastAPI:
    """Build the web application: the page, with everything else that Gradio offers switched off.

    Args:
        blocks: the page.
        host: host that it will be served on.
        max_mb: the largest upload, in units of 2^20 bytes.
        clips: the folder of uploads.
    """
    import fastapi
    import gradio
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from singer_verify.demo.page import STYLES

    app = fastapi.FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(RequestFilter, clips=clips)
    if is_loopback(host) and ":" not in host:
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK_NAMES, host])
    return gradio.mount_gradio_app(
        app,
        blocks,
        path="/",
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
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


def serve(app: fastapi.FastAPI, listener: socket.socket) -> None:
    """Serve until Ctrl-C or SIGTERM, either of which ends it quietly."""
    import uvicorn

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the folder of clips is removed then too
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S)
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:  # the server hands it on once it has ended
        return
