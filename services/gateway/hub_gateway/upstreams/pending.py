"""The requests an upstream has not answered yet.

Pure. Owns the ids the hub gives to its requests and what waits under each. Does not know how waiting is done: a waiter
is woken through the callable it brought.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar

import msgspec

from hub_gateway.wire import meta
from hub_gateway.wire.message import Message


class Reply(msgspec.Struct, frozen=True, gc=False):
    """How a request was answered: one of the two is set, the other is b""."""

    result_raw: bytes = b""
    error_raw: bytes = b""


class Answer:
    """The way back to an upstream that asked. Calling it answers, once; a second answer is dropped."""

    def __init__(
        self, settle: Callable[[Reply], None], progress: Callable[[bytes], None] | None = None, asker: str = ""
    ) -> None:
        self.asker = asker
        """The name of the upstream that asked with a request of its own; "" where none did."""
        self._settle = settle
        self._progress = progress

    def __call__(self, reply: Reply) -> None:
        self._settle(reply)

    def progress(self, params_raw: bytes) -> None:
        """Tell how far the answer is, in the params of `notifications/progress` with the upstream's own token. After
        the answer nothing is told."""
        if self._progress is not None:
            self._progress(params_raw)


class Listener(Protocol):
    """What a call hears while it runs. Neither method blocks or raises."""

    @property
    def session_id(self) -> str:
        """The session whose client it is; "" where nothing but the call ties that to the hub."""
        ...

    @property
    def whole(self) -> Listener:
        """Who hears what may belong to any call of that session."""
        ...

    def relay(self, message: Message) -> None:
        """A notification that belongs to this call: progress (with the caller's own token), a log message, or
        `notifications/cancelled` for a request that `ask` brought."""
        ...

    def ask(self, message: Message, answer: Answer) -> None:
        """A request of the upstream during this call (sampling, elicitation, roots). `message.id` is the upstream's."""
        ...


class Ties(Protocol):
    """What ties messages of one upstream to clients besides the calls under way. None of it blocks or raises."""

    def of_task(self, message: Message) -> Listener | None:
        """Whose a message is that says itself which task it is related to (2025-11-25 basic/utilities/tasks)."""
        ...

    def of_nobody(self, message: Message) -> Listener | None:
        """Whose a request is that comes while no call is under way."""
        ...

    def outward(self, object_raw: bytes | msgspec.Raw) -> bytes | msgspec.Raw:
        """What the upstream says, related to the task by the handle that its client has."""
        ...

    def inward(self, object_raw: bytes) -> bytes:
        """What a client says, related to the task by the id that the upstream knows."""
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

    def prolong(self) -> None:
        """There was a sign of life: its time begins anew."""

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

    @property
    def idle(self) -> bool:
        """Whether no call of a client is under way."""
        return not any(waiter.listener is not None and not waiter.lasting for waiter in self._waiting.values())

    def sole_listener(self) -> Listener | None:
        """The listener of the only call under way, or of all calls of the one session that has any; else None."""
        found: Listener | None = None
        several = False
        for waiter in self._waiting.values():
            listener = waiter.listener
            if listener is None or waiter.lasting:
                continue
            if found is None:
                found = listener
            elif found.session_id and found.session_id == listener.session_id:
                several = True
            else:
                return None
        return found.whole if found is not None and several else found


_MAX_DIGITS = 18
"""Of an id; the hub has given none that is longer, and Python reads no number of thousands."""

_WHOLE = re.compile(rb"\d{1,%d}(?=(?:\.0+)?\Z)" % _MAX_DIGITS)


def read_id(id_raw: bytes) -> int | None:
    """The id an upstream sent back, also where it made a string of the number, or wrote it with a fraction, as programs
    do that have one kind of number; None for anything else."""
    if id_raw.isdigit() and len(id_raw) <= _MAX_DIGITS:
        return int(id_raw)
    found = _WHOLE.match(id_raw.strip(b'"'))
    return None if found is None else int(found[0])
