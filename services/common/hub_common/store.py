"""The one small interface behind which state outlives a process: spaces of keys with bytes, each with an optional age.

Owns the interface, its failure and how availability is told. Does not know what is kept. There are two implementations,
Redis for several replicas and files for one machine; one contract test holds both.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Literal, NamedTuple, Protocol

from hub_common.breaker import Breaker

Kind = Literal["redis", "embedded"]

BREAK_S = 1.0
"""After a failure nobody waits for the store again for this long."""

REFUSES_S = 60.0
"""How long after a refusal the next one of that kind is nothing new for the log."""

_KIND_CHARS = 24
_SPACE = re.compile(r"[a-z0-9_-]{1,64}")
_log = logging.getLogger(__name__)


class StoreUnavailable(Exception):
    """The store cannot be asked now; the text says why and holds no secret. Go on with what is at hand."""


class StoreStatus(NamedTuple):
    """What the last question to the store told. `reason` is None when healthy."""

    kind: Kind
    healthy: bool
    reason: str | None
    back_for_s: float = float("inf")
    """How long ago it came back from being away: it may have lost what it held, or not have heard of it."""


class Store(Protocol):
    """Bytes by key within a space (`[a-z0-9_-]`, at most 64 characters). Whoever opens it closes it.

    `ttl_s` is in seconds and positive; None keeps the value for ever. Every method that asks the store raises
    `StoreUnavailable` when it is away, within about two seconds, and at once for `BREAK_S` after a failure. Cancelling
    a write leaves it undone or done as a whole, except `put_many`, of which a part may be done.
    """

    @property
    def kind(self) -> Kind: ...

    def status(self) -> StoreStatus:
        """How the last question went; asks nothing."""
        ...

    async def get(self, space: str, key: str) -> bytes | None: ...

    async def get_many(self, space: str, keys: Iterable[str]) -> dict[str, bytes]:
        """Those of `keys` that are there."""
        ...

    async def put(self, space: str, key: str, value: bytes, ttl_s: float | None = None) -> None:
        """Set the value and its age, whatever they were before."""
        ...

    async def put_many(self, space: str, items: Mapping[str, bytes], ttl_s: float | None = None) -> None: ...

    async def claim(self, space: str, key: str, value: bytes, ttl_s: float | None = None) -> bytes:
        """Put the value unless there is one, and return the one that stands: all who claim get the same."""
        ...

    async def delete(self, space: str, key: str) -> None:
        """Forget the key; fine when there is none."""
        ...

    async def items(self, space: str) -> dict[str, bytes]:
        """All that is in the space and not expired. For small spaces: it reads every value."""
        ...

    async def count(self, space: str) -> int:
        """How many keys are in the space and not expired."""
        ...

    async def close(self) -> None:
        """Let go of sockets and files. Idempotent."""
        ...


class Availability:
    """Guards the questions to a store: maps its faults, fails fast after one, remembers how the last went."""

    def __init__(
        self,
        kind: Kind,
        faults: tuple[type[Exception], ...],
        clock: Callable[[], float] = time.monotonic,
        what: str = "store",
        refusals: tuple[type[Exception], ...] = (),
    ) -> None:
        """`what` is what the log calls it. `refusals` are those of the faults that are its answer to one question, such
        as a write to a disk that is full: others are asked all the same."""
        self._what = what
        self._kind: Kind = kind
        self._faults = faults
        self._refusals = refusals
        self._refused = ("", float("-inf"))
        """What the last refusal began with, and when it was."""
        self._breaker = Breaker(1, BREAK_S, clock)
        self._clock = clock
        self._reason: str | None = "not asked yet"
        self._was_away = False
        self._back_at_s = float("-inf")

    def status(self) -> StoreStatus:
        """How the last question went."""
        return StoreStatus(self._kind, self._reason is None, self._reason, self._clock() - self._back_at_s)

    @contextmanager
    def asking(self) -> Generator[None, None, None]:
        """Surround one question. A cancelled one says nothing about the store."""
        if not self._breaker.allow():
            raise StoreUnavailable(self._reason)
        try:
            yield
        except self._refusals as fault:
            self._answered()
            self._note_refusal(str(fault))
            raise StoreUnavailable(self._reason) from fault
        except self._faults as fault:
            self._breaker.failure()
            self._reason = str(fault) or (
                "no answer in time" if isinstance(fault, TimeoutError) else type(fault).__name__
            )
            if not self._was_away:
                _log.warning("the %s %s is away: %s", self._kind, self._what, self._reason)
            self._was_away = True
            raise StoreUnavailable(self._reason) from fault
        self._answered()

    def _answered(self) -> None:
        self._breaker.success()
        self._reason = None
        if self._was_away:
            _log.info("the %s %s is back", self._kind, self._what)
            self._back_at_s = self._clock()
        self._was_away = False

    def _note_refusal(self, reason: str) -> None:
        self._reason, now_s = reason, self._clock()
        self._back_at_s = now_s  # what it refused it does not hold
        (kind, at_s), self._refused = self._refused, (reason[:_KIND_CHARS], now_s)
        if kind != reason[:_KIND_CHARS] or now_s - at_s > REFUSES_S:
            _log.warning("the %s %s refuses: %s", self._kind, self._what, reason)


def check_space(space: str) -> str:
    """Return `space` unless it is no space's name.

    Raises:
        ValueError: other characters than `[a-z0-9_-]`, none, or more than 64.
    """
    if not _SPACE.fullmatch(space):
        raise ValueError(f"no name of a space: {space!r}")
    return space


def check_ttl(ttl_s: float | None) -> float | None:
    """Return `ttl_s` unless it is no age.

    Raises:
        ValueError: it is zero or less.
    """
    if ttl_s is not None and ttl_s <= 0:
        raise ValueError("ttl_s must be positive")
    return ttl_s
