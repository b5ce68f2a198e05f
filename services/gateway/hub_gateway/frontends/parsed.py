"""What uvicorn parses of a client's socket, as far as that leads somewhere.

Owns the bounds of what the parser holds before it hands anything on, and what it would understand otherwise than the
hub does. Knows no request.
"""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from hub_gateway.wire.head_fields import without_upgrade

HEAD_LIMIT_BYTES = 64 * 1024
"""What may come of a head, of trailers, or of what stands before a chunk until its end is there; beyond it the socket
is closed. A head that comes in one piece may be as long as the piece."""

_TOO_LARGE = STATUS_LINE[431] + b"content-length: 0\r\nconnection: close\r\n\r\n"


class Parsed(HttpToolsProtocol):
    """uvicorn's protocol within these bounds."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._parsing = False
        """Whether a request has begun and not ended."""
        self._in_head = False
        """Whether its head has not ended."""
        self._unheard_bytes = 0
        """What the parser was given since it last handed on a head, or some of a body."""

    @property
    def is_busy(self) -> bool:
        """Whether something is being answered."""
        cycle: Any = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete

    def parse(self, data: bytes) -> None:
        """Parse what came."""
        self._unheard_bytes += len(data)
        super().data_received(without_upgrade(data) if self._in_head or not self._parsing else data)
        if self._unheard_bytes > HEAD_LIMIT_BYTES and not self.transport.is_closing():
            if self._in_head and not self.is_busy:
                self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._parsing = self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Trailers are none: who let the request pass has not looked at them (RFC 9110 §6.5.1)."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """End its head."""
        self._in_head, self._unheard_bytes = False, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of its body."""
        self._unheard_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End it."""
        self._parsing, self._unheard_bytes = False, 0
        super().on_message_complete()
