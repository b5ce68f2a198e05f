"""One event stream of an upstream, read as messages.

Owns what has to be remembered of a stream to carry it on over another socket. Knows neither sockets nor MCP methods.
"""

from __future__ import annotations

from collections.abc import Callable

from hub_gateway.errors import UpstreamGarbage
from hub_gateway.upstreams.transports.transport import MESSAGE_LIMIT_BYTES, Receive
from hub_gateway.wire.framing import Event, EventBuffer, FrameTooLarge, usual_event


class EventStream:
    """Reads one event stream, which may go on over several sockets, and hands its messages on."""

    # What a stream has before anything was read: most answers are plain JSON, and nothing ever is.
    _events: EventBuffer | None = None
    last_event_id: str | None = None
    retry_s: float | None = None
    answered = False
    heard = False
    fault: UpstreamGarbage | None = None

    def __init__(self, receive: Receive, upstream_id: int | None, other: Callable[[Event], None] | None = None) -> None:
        """`other` gets the events whose name is not `message`."""
        self._receive = receive
        self._upstream_id = upstream_id
        self._other = other

    def feed(self, chunk: bytes) -> bool:
        """Take a piece of the stream; True once the response has come, or what cannot be read."""
        if self._events is None:
            # Most streams are of usual events alone, which need nothing to be remembered.
            chunk = self._take_usual(chunk)
            if not chunk:
                return self.answered
            self._events = EventBuffer(MESSAGE_LIMIT_BYTES)
        elif self.fault is not None:
            return True
        try:
            for event in self._events.feed(chunk):
                self.heard = True
                if event.id is not None:
                    self.last_event_id = event.id
                if event.retry_ms is not None:
                    self.retry_s = event.retry_ms / 1000
                if event.name != "message":
                    if self._other is not None:
                        self._other(event)
                elif event.data and self._receive(event.data, self._upstream_id):
                    self.answered = True
        except FrameTooLarge as fault:
            self.fault = UpstreamGarbage(str(fault))
            return True
        return self.answered

    def _take_usual(self, chunk: bytes) -> bytes:
        """Take what a piece begins with of usual events; the rest is another's to read."""
        at = 0
        while (usual := usual_event(chunk, at)) is not None:
            data, at = usual
            self.heard = True
            if data and self._receive(data, self._upstream_id):
                self.answered = True
        return chunk[at:]

    def restart(self) -> None:
        """A new socket carries the stream on: half an event from the old one is void."""
        self._events = None
        self.heard = False
