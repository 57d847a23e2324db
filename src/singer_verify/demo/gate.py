"""A gate before the page: what the page itself asks for passes, and nothing that makes the server fetch or show more.

Gradio offers programs a description of the page, relays files from other addresses, and takes an address in place of an
upload; none of it is needed here.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGES = ("/", "/config", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt")
FOLDERS = ("/assets/", "/static/", "/svelte/", "/gradio_api/heartbeat/")
CALLS = ("/gradio_api/upload", "/gradio_api/upload_progress", "/gradio_api/startup-events")
QUESTIONS, CLIPS = "/gradio_api/run/predict", "/gradio_api/file="
MOST_BYTES = 100_000  # of a question, which holds names of clips and no clips


class Gate:
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
        if path == QUESTIONS:
            body = await _body(receive)
            if self.is_allowed_question(body):
                await self.app(scope, _again(body, receive), send)
                return
        elif self.is_allowed(path):
            await self.app(scope, receive, send)
            return
        await PlainTextResponse("This page does not offer that.", status_code=403)(scope, receive, send)

    def is_allowed(self, path: str) -> bool:
        if path.startswith(CLIPS):
            return self.is_clip(path.removeprefix(CLIPS))
        return path in (*PAGES, *CALLS) or path.startswith(FOLDERS)

    def is_allowed_question(self, body: bytes) -> bool:
        try:
            question = json.loads(body)
        except ValueError:
            return False
        return all(isinstance(path, str) and self.is_clip(path) for path in _values(question, "path"))

    def is_clip(self, path: str) -> bool:
        """Whether a path is of a file in the folder of clips."""
        return Path(path).resolve().is_relative_to(Path(self.clips).resolve())


def _values(content: Any, key: str) -> Iterator[Any]:
    """Of a key, wherever it stands in nested content."""
    if isinstance(content, dict):
        yield from (value for name, value in content.items() if name == key and value is not None)
    if isinstance(content, dict | list):
        for part in content.values() if isinstance(content, dict) else content:
            yield from _values(part, key)


async def _body(receive: Receive) -> bytes:
    """Of a request; nothing, where it is longer than any question."""
    body, is_more = b"", True
    while is_more and len(body) <= MOST_BYTES:
        message = await receive()
        body += message.get("body", b"")
        is_more = message.get("more_body", False)
    return b"" if is_more else body


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives a body that was read already, and then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def received() -> Message:
        return messages.pop() if messages else await receive()

    return received
