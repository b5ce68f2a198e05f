"""What a browser must be told before a web page of an allowed origin may use the MCP endpoint.

Owns the headers of the CORS protocol (WHATWG Fetch §3.3). Which origins are allowed is `guards`'s; only those that are
configured by name are told so, and not every page of this machine. Credentials of the browser's own are never asked
for: a page that has a token sends it itself.
"""

from __future__ import annotations

from starlette.types import Message, Send

from hub_gateway.frontends.guards import Headers, send_body

REMEMBERED_S = 600
"""How long a browser need not ask again."""

_READABLE = b"mcp-session-id, retry-after, www-authenticate"


def is_preflight(method: str, headers: Headers) -> bool:
    """Whether a browser asks on behalf of a page what the page may send (§3.3.2, CORS-preflight request)."""
    return method == "OPTIONS" and b"access-control-request-method" in headers


async def allow(send: Send, origin: bytes, headers: Headers) -> None:
    """Answer a preflight: pages of this origin may send whatever the protocol has, and the headers they name."""
    extra = [
        *_named(origin),
        (b"access-control-allow-methods", b"GET, POST, DELETE"),
        (b"access-control-allow-headers", headers.get(b"access-control-request-headers", b"")),
        (b"access-control-max-age", b"%d" % REMEMBERED_S),
    ]
    await send_body(send, 200, b"", extra=extra)


def readable(send: Send, origin: bytes) -> Send:
    """The way of a response that pages of this origin may read."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            exposed = (b"access-control-expose-headers", _READABLE)
            message = {**message, "headers": [*message["headers"], *_named(origin), exposed]}
        await send(message)

    return sending


def _named(origin: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"access-control-allow-origin", origin), (b"vary", b"origin")]
