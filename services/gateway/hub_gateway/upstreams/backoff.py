"""How long to wait before the next attempt.

Pure. Owns the arithmetic only.
"""

from __future__ import annotations

from collections.abc import Callable

_SPREAD = 0.2


class Backoff:
    """Doubles from `first_s` to `limit_s`, each spread by a fifth either way so that not all come back in step.

    `chance` returns a number in [0, 1).
    """

    def __init__(self, first_s: float, limit_s: float, chance: Callable[[], float]) -> None:
        self._first_s = first_s
        self._limit_s = limit_s
        self._chance = chance
        self._next_s = first_s

    def next_s(self) -> float:
        """The pause before the next attempt."""
        pause_s, self._next_s = self._next_s, min(self._next_s * 2, self._limit_s)
        return pause_s * (1 - _SPREAD + 2 * _SPREAD * self._chance())

    def reset(self) -> None:
        """Begin with the first pause again."""
        self._next_s = self._first_s
