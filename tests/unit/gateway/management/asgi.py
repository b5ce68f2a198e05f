"""Requests put to an ASGI application without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message

TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Answer:
    """A whole answer. Header names are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body decoded; it must say that it is JSON."""
        assert self.headers["content-type"] == "application/json"
        return json.loads(self.body)


async def ask(
    app: ASGIApp,
    method: str,
    target: str,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    pieces: int = 1,
) -> Answer:
    """Put one request; a `bytes` body is sent as it is, anything else as JSON, in so many pieces."""
    sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    fields = {"content-type": "application/json", **(headers or {})}
    path, _, query = target.partition("?")
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in fields.items()],
        "server": ("127.0.0.1", 7000),
        "client": ("127.0.0.1", 1),
    }
    size = -(-len(sent) // pieces) or 1
    parts = [sent[start : start + size] for start in range(0, len(sent), size)] or [b""]
    queue: list[Message] = [
        {"type": "http.request", "body": part, "more_body": place < len(parts) - 1} for place, part in enumerate(parts)
    ]
    answered: list[Message] = []

    async def receive() -> Message:
        return queue.pop(0) if queue else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answered.append(message)

    async with asyncio.timeout(TIMEOUT_S):
        await app(scope, receive, send)
    head = answered[0]
    found = {name.decode(): value.decode() for name, value in head["headers"]}
    return Answer(head["status"], found, b"".join(message.get("body", b"") for message in answered[1:]))
