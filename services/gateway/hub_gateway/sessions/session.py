"""The conversation between one client and the gateway in the handshake era.

Owns what lasts from `initialize` to the end: revision, capabilities, what was opened, log level, subscriptions, streams
and running calls. Does not know what the messages on its streams mean.
"""

from __future__ import annotations

import re
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from hub_gateway.exposure.audience import Opened
from hub_gateway.sessions.call_streams import call_stream_id
from hub_gateway.sessions.outbox import Outbox
from hub_gateway.sessions.reverse import Reverse
from hub_gateway.wire import codec, rewrite
from hub_gateway.wire.message import Kind, Message, own
from hub_gateway.wire.meta import Caller

STANDING = "standing~"
"""How the id of a standing stream begins."""

_EPOCH_BYTES = 3
_MADE_BY = re.compile(rf'(?:~|"hub-)([0-9a-f]{{8}})[0-9a-f]{{{2 * _EPOCH_BYTES}}}(?:-|$)')
"""Ids begin with the id of the replica that made them."""

MAX_KEPT_STREAMS = 64
MAX_KEPT_BYTES = 4 * 1024 * 1024
"""Ended streams of calls, kept for a client that lost one and comes back for its end; the newest whatever its size."""

LOG_LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
"""RFC 5424 severities, least first (2025-11-25 utilities/logging)."""


class Session:
    """One conversation. Made by `Sessions.open`, ended by `Sessions.close`."""

    def __init__(
        self,
        session_id: str,
        revision: str,
        caller: Caller,
        capabilities: Mapping[str, Any],
        replica: str = "",
        view_name: str = "",
        credential: str = "",
    ) -> None:
        self.id = session_id
        self.view_name = view_name
        """The view of the config it was opened in, and belongs to; "" is the default."""
        self.credential = credential
        """Which token it was opened with, by a name of the hub's own; "" where the view needs none."""
        self.revision = revision
        self.caller = caller
        self.capabilities = capabilities
        self._epoch = replica + secrets.token_hex(_EPOCH_BYTES)
        self.reverse = Reverse(capabilities, self._epoch)
        # Ids differ from one process to the next: after a restart an old event id must not pass for a new one.
        self.standing = Outbox(f"{STANDING}{self._epoch}")
        """The stream of a GET, and the only stream of an HTTP+SSE client."""
        self.opened: Opened | None = None
        """What was opened beyond the start, and only that: the start may become another; None until something was."""
        self.log_level: str | None = None
        self.subscribed: set[str] = set()
        self.running: dict[bytes, Callable[[str | None], object]] = {}
        """Cancels of the calls in flight, by the client's own id; each takes the client's reason, if it gave one."""
        self.ended_why: str | None = None
        """Why the hub ended it, for the calls that still ran; None where its client did."""
        self.single_stream = False
        """True for HTTP+SSE: everything, also what belongs to a call, goes on the standing stream."""
        self.seen_s = 0.0
        self.attached = 0
        """Streams the client holds open now; a session with one is not idle."""
        self.held_by: str | None = None
        """The other replica on which the client holds its standing stream, as far as is known."""
        self.away: Callable[[bytes], None] | None = None
        """The way to it for messages that belong to no call."""
        self._streams: dict[str, Outbox] = {}
        self._stream_count = 0
        self._ended: deque[tuple[Outbox, int]] = deque()
        """Those of them that have ended, in that order, each with its size in bytes."""
        self._ended_bytes = 0

    def open_stream(self, id_raw: bytes) -> Outbox:
        """Make the stream of the call of that id; it can be taken up again by its event ids."""
        self._stream_count += 1
        stream = Outbox(call_stream_id(self._stream_count, self._epoch, id_raw))
        self._streams[stream.stream_id] = stream
        return stream

    def end_stream(self, stream: Outbox) -> None:
        """Nothing more comes on the stream of a call. It is kept for a while, and older ones go for it."""
        if stream.ended:
            return
        stream.end()
        ended = self._ended
        ended.append((stream, stream.size_bytes))
        self._ended_bytes += stream.size_bytes
        while len(ended) > 1 and (len(ended) > MAX_KEPT_STREAMS or self._ended_bytes > MAX_KEPT_BYTES):
            oldest, size_bytes = ended.popleft()
            self._ended_bytes -= size_bytes
            del self._streams[oldest.stream_id]

    def stream(self, stream_id: str) -> Outbox | None:
        """The stream of that id, the standing one included; None where nothing is left of it."""
        if stream_id == self.standing.stream_id:
            return self.standing
        found = self._streams.get(stream_id)
        return None if found is None or found.is_bare else found

    @property
    def kept_bytes(self) -> int:
        """How much is kept for the client: what it has not read, and what it may come back for."""
        return self.standing.size_bytes + sum(stream.size_bytes for stream in self._streams.values())

    def tell(self, message: bytes) -> None:
        """Send a message that belongs to no call."""
        if self.away is not None and not self.standing.is_read:
            self.away(message)
        else:
            self.standing.put(message)

    def set_log_level(self, level: str) -> None:
        """From now on log messages at or above this level are wanted."""
        self.log_level = level
        self.caller = msgspec.structs.replace(self.caller, log_level=level)

    def wants_log(self, level: str | None) -> bool:
        """Whether a log message of that level goes to this client. Without `logging/setLevel` all of them do."""
        return log_level_at_least(level, self.log_level)

    def take(self, message: Message) -> bool:
        """Take a notification or a response of the client; False where nothing here waits for it."""
        if message.kind is Kind.RESPONSE:
            return self.reverse.resolve(message)
        if message.method == "notifications/progress":
            return self.reverse.progressed(message.params)
        if message.method != "notifications/cancelled":
            return False
        try:
            params = rewrite.members(message.params)
        except msgspec.MsgspecError:
            return False
        request_id = params.get("requestId")
        cancel = None if request_id is None else self._running_as(own(request_id))
        if cancel is not None:
            cancel(rewrite.text(params.get("reason")))
        return cancel is not None

    def _running_as(self, id_raw: bytes) -> Callable[[str | None], object] | None:
        """How to cancel the call of that id. One with half a surrogate pair keeps it, and what names it does not."""
        found = self.running.get(id_raw)
        if found is None and codec.REPLACED in id_raw:
            return next((each for known, each in self.running.items() if codec.whole_letters(known) == id_raw), None)
        return found

    def close(self, why: str | None = None) -> None:
        """End every stream, cancel every call, and answer every open question with an error. `why` is for the calls of
        a client that did not end the session itself."""
        self.ended_why = why
        for cancel in list(self.running.values()):
            cancel(None)
        self.running.clear()
        self.reverse.close()
        for stream in (self.standing, *self._streams.values()):
            stream.end()


def replica_in(text: str) -> str | None:
    """The replica that made the id of a stream or of a question; None where it is no such id."""
    found = _MADE_BY.search(text)
    return None if found is None else found[1]


def log_level_at_least(level: str | None, wanted: str | None) -> bool:
    """Whether `level` is at or above `wanted`; what is unknown passes, nothing wanted means everything."""
    if wanted not in LOG_LEVELS or level not in LOG_LEVELS:
        return True
    return LOG_LEVELS.index(level) >= LOG_LEVELS.index(wanted)
