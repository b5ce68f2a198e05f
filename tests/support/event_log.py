"""The events of the everything server's streams, kept so that a broken stream can be resumed.

Owns the numbering and replay that the SDK's transport asks for. Unbounded: a test server lives for minutes.
"""

from itertools import count

from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp_types import JSONRPCMessage


class EventLog(EventStore):
    """Event ids are `STREAM/NUMBER`, so the stream is read off the id."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._streams: dict[str, list[tuple[int, JSONRPCMessage | None]]] = {}

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        """Keep an event (None: a priming event without data) and give its id."""
        number = next(self._numbers)
        self._streams.setdefault(stream_id, []).append((number, message))
        return f"{stream_id}/{number}"

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        """Send what came later on the same stream; None when the id is not one of ours."""
        stream_id, _, number = last_event_id.rpartition("/")
        if stream_id not in self._streams or not number.isdigit():
            return None
        for later, message in self._streams[stream_id]:
            if later > int(number) and message is not None:
                await send_callback(EventMessage(message, f"{stream_id}/{later}"))
        return stream_id
