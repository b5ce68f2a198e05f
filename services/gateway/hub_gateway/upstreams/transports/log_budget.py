"""How much of what a server writes beside its messages goes to the log: one that never stops must not fill the disk, or
keep the loop from everybody else.

Owns the count. Does not know what is logged.
"""

from __future__ import annotations

LINES = 200
PERIOD_S = 10.0


class LogBudget:
    """Lets `lines` through in each `period_s` seconds; the next period begins with the first line after its end."""

    def __init__(self, lines: int = LINES, period_s: float = PERIOD_S) -> None:
        self._lines = lines
        self._period_s = period_s
        self._ends_s = 0.0
        self._left = 0
        self._dropped = 0

    def take(self, now_s: float) -> int | None:
        """Ask for one line. None: not this one; else how many were left out since the last that was let through."""
        if now_s >= self._ends_s:
            self._ends_s, self._left = now_s + self._period_s, self._lines
        if self._left == 0:
            self._dropped += 1
            return None
        self._left -= 1
        dropped, self._dropped = self._dropped, 0
        return dropped
