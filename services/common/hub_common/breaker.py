"""A circuit breaker: after some failures in a row, ask no more for a while, then try one.

Pure. Owns the counting; does not know what is asked, and time comes from the `clock` it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Closed lets everything through, open nothing, half-open exactly one probe.

    `threshold` failures in a row open it for `open_s` seconds. A probe that reports neither success nor failure within
    `open_s` is given up, so that a cancelled probe cannot keep the breaker half-open for ever.
    """

    def __init__(self, threshold: int, open_s: float, clock: Callable[[], float]) -> None:
        if threshold < 1:
            raise ValueError("threshold must be at least 1")
        self._threshold = threshold
        self._open_s = open_s
        self._clock = clock
        self._failures = 0
        self._open_until: float | None = None
        self._probe_until: float | None = None

    @property
    def state(self) -> State:
        """What it is now; open turns half-open by the clock alone."""
        if self._open_until is None:
            return "closed"
        return "open" if self._clock() < self._open_until else "half-open"

    @property
    def failures(self) -> int:
        """Failures since the last success."""
        return self._failures

    @property
    def retry_after_s(self) -> float:
        """Seconds until `allow` may say yes; 0.0 when it may now."""
        now = self._clock()
        waits = [until - now for until in (self._open_until, self._probe_until) if until is not None]
        return max(0.0, *waits) if waits else 0.0

    def allow(self) -> bool:
        """Tell whether to ask now. In half-open a yes takes the one probe: report its outcome."""
        if self._open_until is None:
            return True
        match self.state:
            case "closed":
                return True
            case "open":
                return False
            case "half-open":
                now = self._clock()
                if self._probe_until is not None and now < self._probe_until:
                    return False
                self._probe_until = now + self._open_s
                return True

    def success(self) -> None:
        """An answer came: close."""
        if self._failures:
            self._failures = 0
            self._open_until = self._probe_until = None

    def failure(self) -> None:
        """No answer came: count it, and open when there were enough. Late failures do not prolong an open breaker."""
        self._failures += 1
        if self.state == "half-open" or (self._open_until is None and self._failures >= self._threshold):
            self._open_until = self._clock() + self._open_s
            self._probe_until = None
