"""Who may speak to the gateway at all: Host and Origin, and how large a body may be.

Owns the defence against DNS rebinding (2025-11-25 and 2026-07-28 transports §Security): a page from elsewhere can make
a browser send requests here, but it cannot choose these two headers.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.types import Receive, Scope, Send

from hub_gateway.errors import TooLarge
from hub_gateway.frontends.posts import Post

_JSON = b"application/json"
_LENGTH_DIGITS = 18
"""More of them are a larger number in any case, and Python refuses to read thousands."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})

Headers = dict[bytes, bytes]


class Guard:
    """Checks Host and Origin against what is allowed.

    Args:
        hosts: host names besides the loopback ones, without a port; `*` allows any.
        origins: origins such as `https://example.com` besides those on allowed hosts; `*` allows any.
    """

    def __init__(self, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> None:
        self._hosts = LOOPBACK | frozenset(_name(host) for host in hosts if host)
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._known: dict[tuple[bytes, bytes], str | None] = {}

    def refusal(self, headers: Headers) -> str | None:
        """Why a request with these headers is refused; None where it is not."""
        key = (headers.get(b"host", b""), headers.get(b"origin", b""))
        try:
            return self._known[key]
        except KeyError:
            why = self._judge(*key)
            if len(self._known) < 1024:  # senders choose these values, so what is remembered has an end
                self._known[key] = why
            return why

    def page_of(self, headers: Headers) -> bytes | None:
        """The origin of the web page that sends these headers, where it is one of those that are allowed by name."""
        origin = headers.get(b"origin")
        if origin is None or not self._origins:
            return None
        return origin if "*" in self._origins or origin.decode("latin-1").lower() in self._origins else None

    def _judge(self, host: bytes, origin: bytes) -> str | None:
        if "*" not in self._hosts and _name(host.decode("latin-1")) not in self._hosts:
            return "Host not allowed"
        if not origin or "*" in self._origins:
            return None
        text = origin.decode("latin-1").lower()
        try:
            host_name = urlsplit(text).hostname or ""
        except ValueError:
            return "Origin not allowed"
        if text in self._origins or _name(host_name) in self._hosts:
            return None
        return "Origin not allowed"


def _name(host: str) -> str:
    """A Host header's name without its port; an IPv6 address in brackets, with them or without."""
    host = host.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    if host.count(":") > 1:
        return f"[{host}]"
    return host.partition(":")[0]


async def read_body(receive: Receive, headers: Headers, limit_bytes: int) -> bytes | None:
    """Read a request's body; None where the client went away before its end.

    Raises:
        TooLarge: the body is, or says it is, longer than the limit.
    """
    said = headers.get(b"content-length", b"")
    if said.isdigit() and int(said[:_LENGTH_DIGITS]) > limit_bytes:
        raise TooLarge(f"The body is longer than the limit of {limit_bytes} bytes")
    message = await receive()
    if message["type"] == "http.disconnect":
        return None
    body: bytes = message.get("body", b"")
    parts, size = [body], len(body)
    while True:
        if size > limit_bytes:
            raise TooLarge(f"The body is longer than the limit of {limit_bytes} bytes")
        if not message.get("more_body"):
            return body if len(parts) == 1 else b"".join(parts)
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])


async def send_body(
    send: Send,
    status: int,
    body: bytes,
    content_type: bytes = _JSON,
    extra: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Send a whole response."""
    if status == 200 and not extra and content_type == _JSON and body and isinstance(send, Post):
        send.answer_json(body)
        return
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *extra]
    if not body:
        headers = [(b"content-length", b"0"), *extra]
    if isinstance(send, Post):
        send.answer(status, body, headers)
        return
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def headers_of(scope: Scope) -> Headers:
    """The request's headers by lower-case name; of a repeated one the last, but of `Accept`, a list that may stand in
    several lines (RFC 9110 §5.3), all."""
    lines: list[tuple[bytes, bytes]] = scope["headers"]
    fields = dict(lines)
    if len(fields) < len(lines) and b"accept" in fields:
        fields[b"accept"] = b", ".join(value for name, value in lines if name == b"accept")
    return fields
