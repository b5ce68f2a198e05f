"""What is counted of the questions to an LLM, and how long they took.

Pure. Does not know what is asked, nor who reads the numbers.
"""

from __future__ import annotations

from collections import deque
from math import ceil
from typing import NamedTuple

SAMPLES = 1_000
"""Durations kept; the oldest go first."""


class Latency(NamedTuple):
    """Durations of the last `SAMPLES` questions, in seconds. Percentiles by the nearest rank."""

    average_s: float
    p50_s: float
    p95_s: float
    p99_s: float
    samples: int


class Counts:
    """Questions since the start. `calls` are those begun; each ends as one of `successes` and `failures`, or nobody
    waited for its end. `timeouts` are attempts and questions that took too long, `retries` attempts after the first."""

    def __init__(self) -> None:
        self.calls = 0
        self.successes = 0
        self.failures = 0
        self.timeouts = 0
        self.retries = 0
        self.breaker_trips = 0
        self._durations_s: deque[float] = deque(maxlen=SAMPLES)

    def took(self, duration_s: float) -> None:
        """Remember how long a question took, however it ended."""
        self._durations_s.append(duration_s)

    @property
    def latency(self) -> Latency | None:
        """None before the first question ended."""
        if not self._durations_s:
            return None
        ordered = sorted(self._durations_s)

        def rank(fraction: float) -> float:
            return ordered[max(0, ceil(fraction * len(ordered)) - 1)]

        return Latency(sum(ordered) / len(ordered), rank(0.5), rank(0.95), rank(0.99), len(ordered))
