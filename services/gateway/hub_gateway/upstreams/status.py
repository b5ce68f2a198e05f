"""What people are told about one upstream.

Pure. Owns the words for its states and the counters; does not know how either comes about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

State = Literal["connecting", "ready", "degraded", "unauthorized", "stopped", "invalid"]
"""`connecting`: no connection, one is being made or will be tried again. `ready`: it answers. `degraded`: connected,
but it does not answer its checks or a list of it failed. `unauthorized`: it wants credentials. `stopped`: asked to
stop, or disabled. `invalid`: its config entry, or a placeholder in it, cannot be used."""

Outcome = Literal["ok", "error", "timeout", "failed", "cancelled"]
"""`error` is the upstream's own JSON-RPC error; `failed` is a link that broke or refused."""

Observe = Callable[[str, float, Outcome], None]
"""Takes the upstream's name, the seconds a call took and how it ended. Never blocks, never raises."""


class Status(msgspec.Struct, frozen=True):
    """One moment of an upstream."""

    state: State
    reason: str | None
    """Why it is not `ready`, in words a person can act on; None when there is nothing to say."""
    since: float
    """Unix seconds at which this state began."""
    attempt: int = 0
    """Attempts to connect that failed in a row."""
    last_error: str | None = None
    """The last thing that went wrong, also after it went right again."""

    @property
    def is_first_attempt(self) -> bool:
        """Whether it was started and has neither come nor failed to."""
        return self.state == "connecting" and self.attempt == 0


class Stats:
    """Counters of one upstream since the hub started it."""

    __slots__ = ("calls", "errors", "timeouts")

    def __init__(self) -> None:
        self.calls = 0
        """Calls that were let in."""
        self.errors = 0
        """Of these, the ones that ended with an error of the upstream or of the link, timeouts included."""
        self.timeouts = 0

    def count(self, outcome: Outcome) -> None:
        """Count one call that ended."""
        self.calls += 1
        if outcome != "ok" and outcome != "cancelled":
            self.errors += 1
            if outcome == "timeout":
                self.timeouts += 1
