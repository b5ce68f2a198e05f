"""A small MCP client that checks what it is answered, in either era.

Owns the requests that the measurements send and the proof that an answer is right. Blocking, one connection, no
framework: it also waits for servers that are only starting.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from bench.upstream import HANDSHAKE, STATELESS_REVISION

HANDSHAKE_REVISION = "2025-11-25"
TEXT = "hello world"
PROGRESS_TOKEN = "the client's own"
REQUEST_ID = 1_000_000
"""Of every request; where it stands in a request that is sent again, each time has another of as many digits."""
_INFO = {"name": "bench", "version": "1.0"}
_TIMEOUT_S = 15.0

T = TypeVar("T")


class WrongAnswer(Exception):
    """An answer that is not the one expected."""


class Request(NamedTuple):
    """A request as it is sent again and again, and the very bytes it is answered with."""

    headers: dict[str, str]
    body: bytes
    expected: bytes
    session_ids: tuple[str, ...] = ()


class Client:
    """One client of the MCP endpoint `url`. In the handshake era `open` comes first."""

    def __init__(self, url: str, era: str) -> None:
        self.era = era
        parts = urlsplit(url)
        self._path = parts.path
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
        self._session: dict[str, str] = {}

    def open(self) -> str:
        """Open a session and return its id ("" where the server gives none)."""
        params = {"protocolVersion": HANDSHAKE_REVISION, "capabilities": {}, "clientInfo": _INFO}
        self._session = {}
        body = _body("initialize", params)
        answer, fields = self._post(body, self._headers("initialize", None))
        result = _result(answer)
        session_id = fields.get("mcp-session-id") or ""
        self._session = {"Mcp-Protocol-Version": result["protocolVersion"]}
        if session_id:
            self._session["Mcp-Session-Id"] = session_id
        note = json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}).encode()
        self._post(note, self._headers("notifications/initialized", None))
        return session_id

    def call(self, tool: str, text: str = TEXT, progress: bool = False) -> Request:
        """Call a tool and return the request that can be sent again. With `progress` it is asked for.

        Raises:
            WrongAnswer: it does not answer with that text, or tells no progress.
        """
        params: dict[str, Any] = {"name": tool, "arguments": {"text": TEXT}}
        if progress:
            params["_meta"] = {"progressToken": PROGRESS_TOKEN}
        request = self._ask("tools/call", params, tool)
        result = _result(request.expected)
        if result.get("isError") or [item.get("text") for item in result.get("content", [])] != [text]:
            raise WrongAnswer(f"tools/call {tool}: {request.expected[:300]!r}")
        if progress and b'"progressToken":"%b"' % PROGRESS_TOKEN.encode() not in request.expected:
            raise WrongAnswer(f"tools/call {tool} tells no progress: {request.expected[:300]!r}")
        return request

    def tools(self) -> tuple[Request, list[str]]:
        """List the tools; the request to send again, and their names."""
        request = self._ask("tools/list", {}, None)
        return request, [tool["name"] for tool in _result(request.expected)["tools"]]

    def text(self, path: str) -> str:
        """GET another path of the same server."""
        self._connection.request("GET", path)
        return self._connection.getresponse().read().decode()

    def close(self) -> None:
        """Close the socket; the session stays."""
        self._connection.close()

    def unanswered(self, tool: str) -> Request:
        """A call of a tool, not sent."""
        return self._request("tools/call", {"name": tool, "arguments": {"text": TEXT}}, tool)

    def _ask(self, method: str, params: dict[str, Any], name: str | None) -> Request:
        request = self._request(method, params, name)
        answer, _ = self._post(request.body, request.headers)
        request.headers.pop("Mcp-Session-Id", None)
        session_id = self._session.get("Mcp-Session-Id")
        return request._replace(expected=answer, session_ids=(session_id,) if session_id else ())

    def _request(self, method: str, params: dict[str, Any], name: str | None) -> Request:
        if self.era != HANDSHAKE:
            prefix = "io.modelcontextprotocol/"
            known = {"protocolVersion": STATELESS_REVISION, "clientInfo": _INFO, "clientCapabilities": {}}
            own = {prefix + key: value for key, value in known.items()}
            params = {**params, "_meta": {**params.get("_meta", {}), **own}}
        return Request(self._headers(method, name), _body(method, params), b"")

    def _headers(self, method: str, name: str | None) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        if self.era == HANDSHAKE:
            return headers | self._session
        headers |= {"Mcp-Protocol-Version": STATELESS_REVISION, "Mcp-Method": method}
        return headers | ({} if name is None else {"Mcp-Name": name})

    def _post(self, body: bytes, headers: dict[str, str]) -> tuple[bytes, http.client.HTTPMessage]:
        try:
            self._connection.request("POST", self._path, body, headers)
            response = self._connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            raise
        if response.status not in (200, 202):
            raise WrongAnswer(f"HTTP {response.status}: {answer[:300]!r}")
        return answer, response.headers


FAULTS = (OSError, http.client.HTTPException, WrongAnswer)
"""What goes wrong while a server is starting."""


def eventually(attempt: Callable[[], T], timeout_s: float, pause_s: float = 0.05) -> T:
    """Try until it works; the last fault is raised when the time is up."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        try:
            return attempt()
        except FAULTS:
            if time.monotonic() > deadline_s:
                raise
        time.sleep(pause_s)


def _body(method: str, params: dict[str, Any]) -> bytes:
    return json.dumps(
        {"jsonrpc": "2.0", "id": REQUEST_ID, "method": method, "params": params}, separators=(",", ":")
    ).encode()


def _result(answer: bytes) -> dict[str, Any]:
    """The result in an answer, which is one JSON object or an event stream."""
    if not answer.lstrip().startswith(b"{"):
        answer = next((line[5:] for line in answer.splitlines() if line.startswith(b"data:") and b'"id"' in line), b"")
    try:
        message = json.loads(answer)
        if message["id"] != REQUEST_ID:
            raise WrongAnswer(f"another id: {answer[:300]!r}")
        return message["result"]
    except (ValueError, KeyError) as fault:
        raise WrongAnswer(f"no result: {answer[:300]!r}") from fault
