"""A small MCP server in the test's own loop: its lists, its answers and what it says unasked are the test's to decide.

Speaks Streamable HTTP over a real socket, in one era. Owns delivery; knows nothing of the hub. For whole servers see
`everything_server`, for odd bytes `raw_server`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

HANDSHAKE: Final = "2025-11-25"
STATELESS: Final = "2026-07-28"
WAIT_S: Final = 15.0
LISTS: Final = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
Answer = dict[str, Any]


class Refused(Exception):
    """The call ends with this error."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, **({} if data is None else {"data": data})}


def tool(name: str, description: str = "", **properties: str) -> dict[str, Any]:
    """A tool definition whose parameters have these types."""
    schema = {"type": "object", "properties": {key: {"type": kind} for key, kind in properties.items()}}
    return {"name": name, "description": description, "inputSchema": schema}


def text(words: str) -> Answer:
    """A tool result of one text."""
    return {"content": [{"type": "text", "text": words}]}


class Call:
    """One request being answered. `tell` and `ask` use its own stream."""

    def __init__(self, server: SmallServer, message: dict[str, Any], headers: Mapping[str, str] = {}) -> None:
        self.server = server
        self.headers = headers
        self.id: Any = message["id"]
        self.method: str = message["method"]
        self.params: dict[str, Any] = message.get("params") or {}
        self.cancelled = asyncio.Event()
        self.outgoing: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def tell(self, method: str, **params: Any) -> None:
        """Send a notification on this call's stream."""
        self.outgoing.put_nowait({"jsonrpc": "2.0", "method": method, "params": params})

    def progress(self, step: float) -> None:
        """Send progress under the token the request brought."""
        token = self.params["_meta"]["progressToken"]
        self.tell("notifications/progress", progressToken=token, progress=step)

    def send_request(self, method: str, params: Mapping[str, Any]) -> tuple[str, asyncio.Future[dict[str, Any]]]:
        """Send a request on this call's stream; its id, and the response to come."""
        asked_id = f"small-{next(self.server.ids)}"
        answered = self.server.asked[asked_id] = asyncio.get_running_loop().create_future()
        self.outgoing.put_nowait({"jsonrpc": "2.0", "id": asked_id, "method": method, "params": dict(params)})
        return asked_id, answered

    async def ask(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request on this call's stream and await the whole response."""
        async with asyncio.timeout(WAIT_S):
            return await self.send_request(method, params)[1]


async def _echo(call: Call) -> Answer:
    return text(json.dumps({"name": call.params.get("name"), "arguments": call.params.get("arguments")}))


@dataclass
class SmallServer:
    """What the server offers and saw. Handlers are by method, tool name, prompt name or URI; others are echoed.
    What is `dishonoured` is left out when a subscription to it is acknowledged; where it is `bare` its answers to calls
    lack what its revision requires of a result."""

    era: str = HANDSHAKE
    lists: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {member: list[dict[str, Any]]() for member in LISTS.values()}
    )
    handlers: dict[str, Callable[[Call], Awaitable[Answer]]] = field(
        default_factory=dict[str, Callable[[Call], Awaitable[Answer]]]
    )
    instructions: str | None = None
    bare: bool = False
    dishonoured: set[str] = field(default_factory=set[str])
    capabilities: dict[str, Any] = field(default_factory=dict[str, Any])
    url: str = ""
    seen: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    refused: list[str] = field(default_factory=list[str])
    """The methods it was asked in the other era."""
    names_revision: bool = False
    """Whether it says then which revision it speaks, as servers do that know of the stateless one."""
    bodies: list[bytes] = field(default_factory=list[bytes])
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    asked: dict[str, asyncio.Future[dict[str, Any]]] = field(
        default_factory=dict[str, "asyncio.Future[dict[str, Any]]"]
    )
    calls: dict[Any, Call] = field(default_factory=dict[Any, Call])
    ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _unasked: list[asyncio.Queue[dict[str, Any] | None]] = field(
        default_factory=list["asyncio.Queue[dict[str, Any] | None]"]
    )

    def tell(self, method: str, **params: Any) -> None:
        """Send a notification that belongs to no call."""
        for stream in self._unasked:
            stream.put_nowait({"jsonrpc": "2.0", "method": method, "params": params})

    def ask(self, method: str, **params: Any) -> asyncio.Future[dict[str, Any]]:
        """Send a request that belongs to no call; the response to come."""
        asked_id = f"outside-{next(self.ids)}"
        answered = self.asked[asked_id] = asyncio.get_running_loop().create_future()
        for stream in self._unasked:
            stream.put_nowait({"jsonrpc": "2.0", "id": asked_id, "method": method, "params": params})
        return answered

    def change(self, member: str, definitions: list[dict[str, Any]]) -> None:
        """Replace a list and say so."""
        self.lists[member] = definitions
        self.tell(f"notifications/{'resources' if member.startswith('resource') else member}/list_changed")

    async def saw(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for a message like this; the first one that came."""

        def found() -> list[dict[str, Any]]:
            return [message for message in self.seen if wanted(message)]

        async with asyncio.timeout(WAIT_S), self.arrived:
            await self.arrived.wait_for(found)
            return found()[0]

    async def saw_method(self, method: str) -> dict[str, Any]:
        """Wait for a message of this method."""
        return await self.saw(lambda message: message.get("method") == method)

    async def answer(self, request: Request) -> Response:
        """Answer one POST."""
        body = await request.body()
        message: dict[str, Any] = json.loads(body)
        if (request.headers.get("mcp-protocol-version") == STATELESS) != (self.era == STATELESS):
            self.refused.append(str(message.get("method")))
            if self.names_revision and "id" in message:
                error = {"code": -32022, "message": "Unsupported", "data": {"supported": [self.era]}}
                return JSONResponse({"jsonrpc": "2.0", "id": message["id"], "error": error}, 400)
            return Response("Bad Request: unsupported protocol version", 400)
        async with self.arrived:
            self.seen.append(message)
            self.bodies.append(body)
            self.arrived.notify_all()
        if "id" not in message or "method" not in message:
            self._take(message)
            return Response(status_code=202)
        if message["method"] == "subscriptions/listen":
            return self._stream(message)
        call = self.calls[message["id"]] = Call(self, message, request.headers)
        return StreamingResponse(
            self._events(call), media_type="text/event-stream", headers={"Mcp-Session-Id": "small"}
        )

    async def listen(self, _request: Request) -> Response:
        """Answer the GET of a handshake client."""
        return self._stream(None) if self.era == HANDSHAKE else Response(status_code=405)

    def stop(self) -> None:
        """End every open stream."""
        for queue in [*self._unasked, *(call.outgoing for call in self.calls.values())]:
            queue.put_nowait(None)

    def _take(self, message: dict[str, Any]) -> None:
        if (answered := self.asked.pop(str(message.get("id")), None)) is not None:
            answered.set_result(message)
        elif message.get("method") == "notifications/cancelled":
            self.calls[message["params"]["requestId"]].cancelled.set()

    def _stream(self, listen: dict[str, Any] | None) -> Response:
        queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        if listen is not None:
            wanted = listen["params"].get("notifications", {})
            for member in ("resourceSubscriptions", "taskIds"):
                if member in wanted:
                    wanted[member] = [each for each in wanted[member] if each not in self.dishonoured]
            acknowledged = {"notifications": wanted, "_meta": {"io.modelcontextprotocol/subscriptionId": listen["id"]}}
            queue.put_nowait(
                {"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": acknowledged}
            )
        self._unasked.append(queue)

        async def events() -> AsyncGenerator[bytes]:
            try:
                while (message := await queue.get()) is not None:
                    yield _event(message)
            finally:
                self._unasked.remove(queue)

        return StreamingResponse(events(), media_type="text/event-stream")

    async def _events(self, call: Call) -> AsyncGenerator[bytes]:
        task = asyncio.ensure_future(self._respond(call))
        try:
            while (message := await call.outgoing.get()) is not None:
                yield _event(message)
        finally:
            call.cancelled.set()
            task.cancel()

    async def _respond(self, call: Call) -> None:
        body: dict[str, Any] = {"jsonrpc": "2.0", "id": call.id}
        try:
            body["result"] = await self._result(call)
        except Refused as refused:
            body["error"] = refused.error
        call.outgoing.put_nowait(body)
        call.outgoing.put_nowait(None)

    async def _result(self, call: Call) -> Answer:
        extra: Answer = {"resultType": "complete"} if self.era == STATELESS else {}
        if (member := LISTS.get(call.method)) is not None:
            cached = {"ttlMs": 0, "cacheScope": "private"} if self.era == STATELESS else {}
            return {**extra, **cached, member: self.lists[member]}
        if call.method == "initialize":
            return {"protocolVersion": HANDSHAKE, "serverInfo": {"name": "small", "version": "1"}, **self._abilities()}
        if call.method == "server/discover":
            return {**extra, "ttlMs": 0, "cacheScope": "private", "supportedVersions": [STATELESS], **self._abilities()}
        if self.bare:
            extra = {}
        if (handler := self.handlers.get(call.method)) is not None:
            return {**extra, **await handler(call)}
        if call.method in ("ping", "resources/subscribe", "resources/unsubscribe", "logging/setLevel"):
            return {}
        subject = str(call.params.get("name") or call.params.get("uri") or call.method)
        if call.method == "resources/read" and subject not in self.handlers:
            known = {resource["uri"] for resource in self.lists["resources"]}
            if subject not in known:
                raise Refused(-32602 if self.era == STATELESS else -32002, "Resource not found")
            return {**extra, "contents": [{"uri": subject, "text": subject}]}
        return {**extra, **await self.handlers.get(subject, _echo)(call)}

    def _abilities(self) -> Answer:
        changes = {"listChanged": True}
        offered = {"tools": changes, "prompts": changes, "resources": {**changes, "subscribe": True}, "logging": {}}
        said = {} if self.instructions is None else {"instructions": self.instructions}
        declared = {**offered, "completions": {}, **self.capabilities}
        return {"capabilities": {word: each for word, each in declared.items() if each is not None}, **said}


def _event(message: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(message).encode() + b"\n\n"


async def _farewell(_request: Request) -> Response:
    return JSONResponse({})


@asynccontextmanager
async def small_server(*tools: dict[str, Any], era: str = HANDSHAKE, **lists: list[dict[str, Any]]):
    """Run a server with these tools and other lists; its `url` is what the hub's config wants."""
    server = SmallServer(era)
    server.lists |= {"tools": list(tools), **lists}
    # Where the protocol is not named, asyncio leaves Nagle's algorithm on: 40 ms for each answer.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    server.url = f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    routes = [
        Route("/mcp", server.answer, methods=["POST"]),
        Route("/mcp", server.listen, methods=["GET"]),
        Route("/mcp", _farewell, methods=["DELETE"]),
    ]
    config = uvicorn.Config(
        Starlette(routes=routes), log_level="warning", lifespan="off", timeout_graceful_shutdown=1, ws="none"
    )
    http = _Server(config)
    running = asyncio.ensure_future(http.serve(sockets=[listening]))
    try:
        yield server
    finally:
        server.stop()
        http.should_exit = True
        http.force_exit = True
        await asyncio.wait((running,))
        listening.close()


class _Server(uvicorn.Server):
    """uvicorn without its signal handling, which is the test runner's."""

    @contextlib.contextmanager
    def capture_signals(self):
        yield
