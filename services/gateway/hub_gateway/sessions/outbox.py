"""One stream of messages to a client, which the client may lose and take up again.

Owns order, event ids and the bounded memory of a stream and of all streams (2025-11-25 transports §Resumability and
Redelivery). Knows no HTTP: a frontend reads it and writes the events.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncGenerator
from itertools import takewhile

import msgspec

MAX_MESSAGES = 512
MAX_BYTES = 4 * 1024 * 1024
AT_ONCE_BYTES = 64 * 1024
"""A reader gets no more messages at a time than it takes to reach this."""

ALL_BYTES = 128 * 1024 * 1024
"""What all streams of a process keep, beyond what is on its way to readers."""

_GRAIN_BYTES = 64 * 1024
"""Streams that keep less are not counted among all, nor are changes by less."""

_PLACE_DIGITS = 15


class Shelf:
    """What all streams keep together.

    When full, the stream that keeps most loses half of it, its oldest messages first, and others after it until an
    eighth is free. Its newest message goes too where it was read, or where nobody has come back for it.
    """

    def __init__(self, limit_bytes: int = ALL_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.kept_bytes = 0
        self._heavy: weakref.WeakSet[Outbox] = weakref.WeakSet()

    def weigh(self, outbox: Outbox, more_bytes: int) -> None:
        """A stream keeps more than before, or less."""
        self.kept_bytes += more_bytes
        self._heavy.add(outbox)

    def forget(self, kept_bytes: int) -> None:
        """A stream is gone with what it kept."""
        self.kept_bytes -= kept_bytes

    def make_room(self, writing: Outbox) -> None:
        """Have no more kept than the limit; the newest message of the stream that is written to stays."""
        if self.kept_bytes <= self.limit_bytes:
            return
        for outbox in sorted(self._heavy, key=lambda outbox: outbox.size_bytes, reverse=True):
            if self.kept_bytes <= self.limit_bytes - self.limit_bytes // 8:
                return
            outbox.thin(outbox.size_bytes // 2, keep_newest=outbox is writing)
            if outbox.size_bytes < _GRAIN_BYTES:
                self._heavy.discard(outbox)


shelf = Shelf()
"""Of this process, as memory is."""


class Sent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One message and its place in the stream, counted from 1."""

    place: int
    message: bytes


class Outbox:
    """Messages of one stream, in order.

    When full, the oldest message goes, delivered or not: a slow reader loses notifications before the gateway loses
    memory. The newest message stays, so a call's response is never the one that goes, except where the `Shelf` of all
    streams is full and nobody reads this one.

    Args:
        stream_id: how event ids begin.
        max_messages: how many are kept.
        max_bytes: how much is kept, the newest message aside.
        resumable: keep what was read, for a reader that lost its connection and comes back.
    """

    def __init__(
        self,
        stream_id: str,
        *,
        max_messages: int = MAX_MESSAGES,
        max_bytes: int = MAX_BYTES,
        resumable: bool = True,
    ) -> None:
        self.stream_id = stream_id
        self._resumable = resumable
        self.lost = 0
        self.ended = False
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._kept: deque[Sent] = deque()
        self._size_bytes = 0
        self._weighed_bytes = 0
        self._place = 0
        self._readers = 0
        """How many there were; the last one reads, unless it has ended that."""
        self._reading = False
        self._read_to = 0
        self._wake: asyncio.Future[None] | None = None

    def put(self, message: bytes) -> None:
        """Append a message. Never blocks; after `end` it does nothing."""
        if self.ended:
            return
        self._place += 1
        self._kept.append(Sent(self._place, message))
        self._size_bytes += len(message)
        while len(self._kept) > 1 and (len(self._kept) > self._max_messages or self._size_bytes > self._max_bytes):
            self.lost += self._drop_oldest().place > self._read_to
        if self._size_bytes - self._weighed_bytes >= _GRAIN_BYTES:
            self._weigh()
            shelf.make_room(self)
        self._notify()

    def thin(self, to_bytes: int, *, keep_newest: bool) -> None:
        """Keep no more than so much, for others; a newest message that a reader is about to take stays."""
        about_to_be_read = self._reading or (self._readers == 0 and self.ended)
        keep_newest = keep_newest or (self.has_unread and about_to_be_read)
        while self._size_bytes > to_bytes and len(self._kept) > keep_newest:
            self.lost += self._drop_oldest().place > self._read_to
        self._weigh()

    def __del__(self) -> None:
        if self._weighed_bytes:
            shelf.forget(self._weighed_bytes)

    def _weigh(self) -> None:
        more_bytes, self._weighed_bytes = self._size_bytes - self._weighed_bytes, self._size_bytes
        shelf.weigh(self, more_bytes)

    def take_unread(self) -> list[bytes]:
        """Take out what nobody has read, for a reader elsewhere."""
        unread: list[bytes] = []
        while self._kept and self._kept[-1].place > self._read_to:
            sent = self._kept.pop()
            self._size_bytes -= len(sent.message)
            unread.insert(0, sent.message)
        self._read_to = self._place
        self._weigh()
        return unread

    def end(self) -> None:
        """Say that nothing more will come: readers finish what there is."""
        self.ended = True
        self._notify()

    @property
    def is_read(self) -> bool:
        """Whether somebody is reading now."""
        return self._reading

    @property
    def size_bytes(self) -> int:
        """How much is kept."""
        return self._size_bytes

    @property
    def is_bare(self) -> bool:
        """Whether all that there was is kept no more, so that there is nothing to come back for."""
        return self.ended and not self._kept and self._place > 0

    @property
    def unread_from(self) -> int:
        """The place after which nobody has read: where a reader without an event id begins."""
        return self._read_to

    def event_id(self, place: int) -> str:
        """The id of the event at a place: names the stream, so that a client can take up the right one."""
        return event_id(self.stream_id, place)

    @property
    def has_unread(self) -> bool:
        """Whether there is something that nobody has read."""
        return self._read_to < self._place

    @property
    def is_spent(self) -> bool:
        """Whether nothing more will come for whoever has what was read so far."""
        return self.ended and self._read_to >= self._place

    def reader(self, after: int = 0) -> Reader:
        """Begin to read what comes after a place; whoever read until now reads no more."""
        self._readers += 1
        self._reading = True
        self._notify()
        return Reader(self, self._readers, min(after, self._place))

    async def read(self, after: int = 0, *, idle_s: float) -> AsyncGenerator[list[Sent]]:
        """Yield what comes after a place, as much as there is, until the stream ends or another reader takes over.

        Yields an empty list when nothing came for `idle_s` seconds, so that the reader can keep its connection alive.
        """
        reader = self.reader(after)
        try:
            while reader.reads:
                fresh = reader.take()
                if not fresh and not self.ended:
                    await self._wait(idle_s)
                    if not reader.reads:
                        return
                    fresh = reader.take()
                if not fresh and self.ended:
                    return
                yield fresh
                reader.let_go()
        finally:
            reader.close()

    def is_last(self, reader: int) -> bool:
        """Whether the reader of that number, counted from 1, reads still."""
        return self._reading and reader == self._readers

    def leave(self, reader: int) -> None:
        """That reader ends reading."""
        if reader == self._readers:
            self._reading = False

    def take(self, after: int) -> list[Sent]:
        """Take what comes next after a place as read."""
        kept = self._kept
        if not kept or kept[-1].place <= after:
            return []
        fresh: list[Sent] = []
        if kept[-1].place == after + 1:
            fresh.append(kept[-1])
        elif kept[0].place > after and self._size_bytes < AT_ONCE_BYTES:
            fresh += kept
        else:
            later = list(takewhile(lambda sent: sent.place > after, reversed(kept)))
            size_bytes = 0
            while later and size_bytes < AT_ONCE_BYTES:
                fresh.append(later.pop())
                size_bytes += len(fresh[-1].message)
        self._read_to = max(self._read_to, fresh[-1].place)
        return fresh

    def let_go(self, place: int) -> None:
        """What was read up to there is on its way: keep it no longer, unless its reader may come back for it."""
        if self._resumable:
            return
        while self._kept and self._kept[0].place <= place:
            self._drop_oldest()
        if self._weighed_bytes - self._size_bytes >= _GRAIN_BYTES:
            self._weigh()

    async def _wait(self, idle_s: float) -> None:
        """Wait until something is to be told, or for so long."""
        loop = asyncio.get_running_loop()
        self._wake = wake = loop.create_future()
        idle = loop.call_later(idle_s, _ring, wake)
        try:
            await wake
        finally:
            idle.cancel()

    def _drop_oldest(self) -> Sent:
        gone = self._kept.popleft()
        self._size_bytes -= len(gone.message)
        return gone

    def _notify(self) -> None:
        if self._wake is not None:
            _ring(self._wake)


class Reader(msgspec.Struct, eq=False):
    """Who reads an outbox, without waiting. Made by `Outbox.reader`."""

    _outbox: Outbox
    _number: int
    after: int
    """The place of what was read last."""

    @property
    def reads(self) -> bool:
        """Whether it does still: no other has taken over, and it has not ended that."""
        return self._outbox.is_last(self._number)

    def take(self) -> list[Sent]:
        """What comes next, as much as is there and goes at once; nothing once another reads."""
        fresh = self._outbox.take(self.after) if self.reads else []
        if fresh:
            self.after = fresh[-1].place
        return fresh

    def let_go(self) -> None:
        """What was taken is on its way."""
        if self.reads:
            self._outbox.let_go(self.after)

    def close(self) -> None:
        """End reading."""
        self._outbox.leave(self._number)


def _ring(wake: asyncio.Future[None]) -> None:
    if not wake.done():
        wake.set_result(None)


def event_id(stream_id: str, place: int) -> str:
    """The id of an event: the stream and the place in it."""
    return f"{stream_id}-{place}"


def parse_event_id(event_id: str) -> tuple[str, int] | None:
    """Take an event id apart into stream and place; None where it is none of ours."""
    stream_id, dash, place = event_id.rpartition("-")
    fits = place.isascii() and place.isdecimal() and len(place) <= _PLACE_DIGITS
    return (stream_id, int(place)) if dash and fits else None
