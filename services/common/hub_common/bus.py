"""How processes that share a store call out to each other: bytes on named channels, to whoever listens just now.

Owns the interface and the implementation inside one process. Nothing is kept: what is published while nobody listens,
or while a listener's line is broken, is gone, and whoever needs more than that counts and asks again. There are two
implementations, Redis for several replicas and this process's own; one contract test holds both.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol
from weakref import WeakValueDictionary

Hear = Callable[[bytes], None]
"""Takes one message. Never blocks, never raises."""


class BusUnavailable(Exception):
    """Nothing can be published now; the text says why and holds no secret."""


class Bus(Protocol):
    """Messages by channel (printable ASCII without blanks). Whoever opens it closes it."""

    @property
    def parcel_bytes(self) -> int | None:
        """Messages longer than this are better kept in the store and only their place published; None: any length."""
        ...

    def subscribe(self, channel: str, hear: Hear) -> None:
        """Hear every message of a channel from now on, or from when the bus can be reached, until `close`. Messages of
        one publisher come in its order."""
        ...

    async def publish(self, channel: str, message: bytes) -> int:
        """Hand a message to everybody who hears the channel now and return how many those are.

        Raises:
            BusUnavailable: within about two seconds, and at once for a moment after a failure.
        """
        ...

    async def close(self) -> None:
        """Hear no more and let go of sockets. Idempotent."""
        ...


class _Room:
    """The listeners of one place in this process."""

    def __init__(self) -> None:
        self.hearing: list[tuple[str, LocalBus, Hear]] = []


class LocalBus:
    """See `Bus`. Reaches the buses of the same place in this very process, and no other process."""

    _rooms: ClassVar[WeakValueDictionary[Path, _Room]] = WeakValueDictionary()

    def __init__(self, place: Path) -> None:
        self._room = self._rooms.get(place) or _Room()
        self._rooms[place] = self._room

    @property
    def parcel_bytes(self) -> int | None:
        return None

    def subscribe(self, channel: str, hear: Hear) -> None:
        self._room.hearing.append((channel, self, hear))

    async def publish(self, channel: str, message: bytes) -> int:
        hearing = [hear for name, _, hear in self._room.hearing if name == channel]
        for hear in hearing:
            hear(message)
        return len(hearing)

    async def close(self) -> None:
        self._room.hearing = [each for each in self._room.hearing if each[1] is not self]
