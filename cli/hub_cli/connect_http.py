"""The hub's MCP endpoint over HTTP: one exchange at a time, and what its status means for a request.

Owns the sockets and the headers of the command line. Knows no method and no session.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import msgspec

from hub_cli.connect_call import Call, MayHaveRun, NotTaken
from hub_gateway.config.server_model import ConnectionPool
from hub_gateway.errors import UpstreamGarbage
from hub_gateway.upstreams.transports.address import encode_headers, parse, request_head
from hub_gateway.upstreams.transports.http1 import Broken, Feed, Response, Unreachable
from hub_gateway.upstreams.transports.pool import Pool
from hub_gateway.upstreams.transports.streamable_http import configured_headers, excerpt

_log = logging.getLogger("hub_cli.connect")

_LIMITS = ConnectionPool(max_connections=10_000, max_free_connections=8, timeout_ms=5_000)
"""Every call in flight may hold a socket, and an answer to a question of the hub must never wait for one of them."""

_ACCEPT = {"Accept": "application/json, text/event-stream"}
_POST = {**_ACCEPT, "Content-Type": "application/json"}


SILENCE_S = 60.0
"""A stream on which not even a keep-alive came for so long is taken for broken: the hub sends one every 15 s."""


class Endpoint:
    """The hub at one URL. `open` before the first exchange; whoever opens it closes it.

    Raises:
        UpstreamDown: the URL is none, or a header holds what HTTP does not allow.
    """

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.url = url
        self._address = parse(url)
        self._configured = configured_headers(headers)
        self._pool: Pool | None = None
        self._away = False

    def open(self) -> None:
        """Make the pool; it opens sockets when they are needed."""
        self._pool = Pool(self._address, _LIMITS)

    async def post(
        self, headers: Mapping[str, str], body: bytes, feed: Feed | None = None, *, own: bool = False
    ) -> Response:
        """POST a message; an event stream goes to `feed`. `own` is for streams that stay open.

        Raises:
            NotTaken: nothing was sent.
            MayHaveRun: the connection ended before the answer did.
            UpstreamGarbage: what came is no HTTP, or beyond the limit.
        """
        return await self._exchange("POST", {**_POST, **headers}, body, feed, own)

    async def get(self, headers: Mapping[str, str], feed: Feed) -> Response:
        """GET an event stream. Raises what `post` raises."""
        return await self._exchange("GET", {"Accept": "text/event-stream", **headers}, None, feed, own=True)

    async def delete(self, headers: Mapping[str, str]) -> Response:
        """DELETE a session. Raises what `post` raises."""
        return await self._exchange("DELETE", {**_ACCEPT, **headers}, None, None, own=False)

    async def close(self) -> None:
        """Close every socket; exchanges under way fail."""
        if self._pool is not None:
            await self._pool.close()

    async def _exchange(
        self, verb: str, headers: Mapping[str, str], body: bytes | None, feed: Feed | None, own: bool
    ) -> Response:
        if self._pool is None:
            raise NotTaken("the endpoint is not open")

        def heard(chunk: bytes) -> bool:
            self._back()
            return feed is not None and feed(chunk)

        head = request_head(verb, self._address, self._configured + encode_headers(headers))
        try:
            response = await self._pool.exchange(head, body, None if feed is None else heard, own=own)
        except Unreachable as fault:
            if not self._away:
                _log.warning("the hub is away: %s", fault)
            self._away = True
            raise NotTaken(f"{fault}") from fault
        except Broken as fault:
            raise MayHaveRun(f"The connection to the hub at {self._address.origin} broke ({fault})") from fault
        self._back()
        return response

    def _back(self) -> None:
        if self._away:
            _log.warning("the hub is back")
            self._away = False


def settle(call: Call, response: Response) -> None:
    """Make of a response that is no event stream what it means for the call.

    Raises:
        NotTaken, MayHaveRun: the hub, or a proxy before it, is not there just now.
        UpstreamGarbage: a success that is no answer.
    """
    status, body = response.status, response.body
    if 200 <= status < 300:
        if not body and not call.cancelled:
            raise MayHaveRun("The hub ended the request without an answer")
        if body and not call.hear(body):
            kind = response.header(b"content-type") or "no content type"
            raise UpstreamGarbage(f"HTTP {status} ({kind}) is no answer to the request{excerpt(body)}")
    elif status == 503 and response.header(b"retry-after") is not None:
        raise NotTaken(f"HTTP 503{excerpt(body)}")
    elif (refusal := _refusal_of(body)) is not None:
        if bytes(refusal.id) == b"null" or not call.hear(body):
            call.refuse(bytes(refusal.error))
    elif status in (429, 503):
        raise NotTaken(f"HTTP {status}{excerpt(body)}")
    elif status in (500, 502, 504):
        raise MayHaveRun(f"The hub, or a proxy before it, failed (HTTP {status})")
    elif status in (401, 403):
        call.fail(f"The hub wants credentials (HTTP {status}): give them with --header")
    elif status in (404, 405):
        call.fail(f"No MCP endpoint is at this --url (HTTP {status}); a hub's ends in /mcp{excerpt(body)}")
    else:
        where = response.header(b"location")
        call.fail(f"The hub refused the request: HTTP {status}{f' to {where}' if where else ''}{excerpt(body)}")


class _Error(msgspec.Struct):
    code: int | float
    message: str


class _Refusal(msgspec.Struct):
    error: msgspec.Raw
    id: msgspec.Raw = msgspec.Raw(b"null")


_refusal = msgspec.json.Decoder(_Refusal)
_error = msgspec.json.Decoder(_Error)


def _refusal_of(body: bytes) -> _Refusal | None:
    """The JSON-RPC error in the body of a refusal, whatever its id. `error` may be anything in other JSON."""
    try:
        refusal = _refusal.decode(body)
        _error.decode(refusal.error)
    except msgspec.MsgspecError:
        return None
    return refusal
