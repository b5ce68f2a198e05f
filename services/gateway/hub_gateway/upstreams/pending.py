"""The requests an upstream has not answered yet.

Pure. Owns the ids the hub gives to its requests and what waits under each. Does not know how waiting is done: a waiter
is woken through the callable it brought.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar

import msgspec

from hub_gateway.wire import meta
from hub_gateway.wire.message import Message


class Reply(msgspec.Struct, frozen=True, gc=False):
    """How a request was answered: one of the two is set, the other is b""."""

    result_raw: bytes = b""
    error_raw: bytes = b""


Answer = Callable[[Reply], None]
"""Answers a request of an upstream, once; a second answer is dropped."""


class Listener(Protocol):
    """What a call hears while it runs. Neither method blocks or raises."""

    def relay(self, message: Message) -> None:
        """A notification that belongs to this call: progress (with the caller's own token), a log message, or
        `notifications/cancelled` for a request that `ask` brought."""
        ...

    def ask(self, message: Message, answer: Answer) -> None:
        """A request of the upstream during this call (sampling, elicitation, roots). `message.id` is the upstream's."""
        ...


class Owner(NamedTuple):
    """The one client whose connection it is (`isolation: "session"`)."""

    caller: meta.Caller
    """Who it is and what it can be asked, which the upstream is told when they shake hands."""
    listener: Listener
    """Hears what the upstream asks while several calls are under way, or none."""


class Waiter(msgspec.Struct, eq=False):
    """One request under way. `wake` is called once when `reply` or `fault` is set."""

    listener: Listener | None
    progress_token_raw: bytes | None
    deadline_s: float
    reply: Reply | None = None
    fault: Exception | None = None
    wake: Callable[[], None] | None = None

    @property
    def lasting(self) -> bool:
        """Whether this is a subscription: no call, and nothing that an upstream asks or logs belongs to it."""
        return self.deadline_s == float("inf")

    def settle(self, reply: Reply | None, fault: Exception | None = None) -> None:
        """Set the outcome; the first one stands."""
        if self.reply is None and self.fault is None:
            self.reply, self.fault = reply, fault
            if self.wake is not None:
                self.wake()


W = TypeVar("W", bound=Waiter)


class Pending(Generic[W]):
    """Waiters by id. Ids count up from 1 and are never used again on the same connection."""

    def __init__(self) -> None:
        self._waiting: dict[int, W] = {}
        self._last_id = 0

    def __len__(self) -> int:
        """How many requests are under way."""
        return len(self._waiting)

    def __iter__(self) -> Iterator[tuple[int, W]]:
        """Every id with its waiter; the pending may change while this runs."""
        return iter(list(self._waiting.items()))

    def add(self, waiter: W) -> int:
        """Return the id for a new request."""
        self._last_id = upstream_id = self._last_id + 1
        self._waiting[upstream_id] = waiter
        return upstream_id

    def find(self, upstream_id: int) -> W | None:
        """The waiter of a request that is under way."""
        return self._waiting.get(upstream_id)

    def forget(self, upstream_id: int) -> W | None:
        """Drop a request: a late answer to it finds nobody."""
        return self._waiting.pop(upstream_id, None)

    def sole_listener(self) -> Listener | None:
        """The listener of the only call under way; None when there is none or more than one."""
        found: Listener | None = None
        for waiter in self._waiting.values():
            if waiter.listener is not None and not waiter.lasting:
                if found is not None:
                    return None
                found = waiter.listener
        return found


def read_id(id_raw: bytes) -> int | None:
    """The id an upstream sent back, also where it made a string of the number; None for anything else."""
    try:
        return int(id_raw)
    except ValueError:
        text = id_raw.strip(b'"')
        return int(text) if text.isdigit() else None
