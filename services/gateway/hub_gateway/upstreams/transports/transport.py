"""The one shape every transport to an upstream has.

A transport moves whole messages and knows where they stop; it does not know what they mean. The connection matches
responses to requests, whatever way they came.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from hub_gateway.errors import UpstreamDown

MESSAGE_LIMIT_BYTES = 64 * 1024 * 1024
"""The longest single message an upstream may send."""

_BEARER = b"\r\nAuthorization: Bearer "

Receive = Callable[[bytes, int | None], bool]
"""Called with one undecoded message and, where the transport knows it (Streamable HTTP), the `upstream_id` of the
request on whose response stream it came; else None. True says that it was the response to that request, so nothing more
is expected on its stream. Never blocks, never raises."""

Lost = Callable[[str], None]
"""Called once when the link is gone for good, with the reason in words a person can act on."""


class Refused(UpstreamDown):
    """HTTP answered with a status that is no success and with no JSON-RPC message for the request.

    `status` decides what the dialer tries next (2026-07-28 transports/streamable-http §Backward Compatibility).
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


SESSION_ENDED = "the server ended the session"
"""Why a link is lost whose HTTP session is known no more: the server itself answers."""


class Forgotten(UpstreamDown):
    """The upstream does not know any more what the link stands on, its HTTP session (2025-11-25 transports §Session
    Management) or its revision (2026-07-28 basic/versioning): the link is gone, and the request has not run."""


class Access(Protocol):
    """What an HTTP upstream is shown besides the configured headers: one header that may change at any time."""

    @property
    def header(self) -> bytes:
        """The encoded header line; b"" while there is none."""
        ...

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Have `changed` called when the header is another; returns what ends that."""
        ...

    async def renew(self, refused: bytes, status: int, challenge: str | None) -> None:
        """Have another header than the `refused` one, which was answered with 401 or 403 and this `WWW-Authenticate`.

        Raises:
            UpstreamUnauthorized: there is no other; the text says what a person can do.
        """
        ...

    def accepted(self, header: bytes) -> None:
        """A request with the header that `renew` brought was let in."""
        ...


def bearer_line(head: bytes) -> bytes:
    """The header line of an `Access` in an encoded request head; b"" where there is none."""
    at = head.find(_BEARER)
    return head[at + 2 : head.index(b"\r\n", at + 2) + 2] if at >= 0 else b""


class Transport(Protocol):
    """Moves messages to and from one upstream. `open` before anything else; whoever opens it closes it."""

    @property
    def kind(self) -> str:
        """Its name for people: stdio, streamable-http or sse."""
        ...

    @property
    def streams(self) -> bool:
        """Whether each request has a response stream of its own, which ends when `send` is cancelled."""
        ...

    @property
    def has_session(self) -> bool:
        """Whether the upstream, once it has agreed to a revision with sessions, knows requests of this link as one
        conversation; over Streamable HTTP it may serve each by itself in these too."""
        ...

    async def open(self, receive: Receive, lost: Lost) -> None:
        """Start the process or prepare the pool. Does not speak MCP.

        Raises:
            UpstreamDown: the process cannot be started or the address cannot be reached; the text says why.
        """
        ...

    async def send(
        self,
        message: bytes,
        *,
        upstream_id: int | None,
        method: str,
        name: str | None,
        mirrored: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Send one message.

        `upstream_id` is None for notifications and responses; `method` ("" for a response) and `name` fill the
        standard headers of HTTP, `mirrored` are the further ones of a call (lower-case name, encoded value). Over
        Streamable HTTP this returns when the request's response has come or its stream has ended, so every message on
        it has been received by then; cancelling it closes that stream. Over stdio it returns when the bytes are
        written.

        Raises:
            Forgotten: the link is gone, and this message was not taken.
            UpstreamDown: the link broke; over HTTP also when the stream ended without the response.
            UpstreamUnauthorized: HTTP 401 or 403.
            UpstreamGarbage: HTTP answered with what is no MCP message, or an event too large.
        """
        ...

    def speak(self, revision: str) -> None:
        """Tell the revision that is spoken from now on, for the MCP-Protocol-Version header; "" for none yet."""
        ...

    async def close(self) -> None:
        """End the link: the child's whole process group, the pool's sockets, the HTTP session. Idempotent."""
        ...
