"""The line in front of the LLM: so many questions at a time and so many waiting, whoever asks.

Owns the two bounds and their counting. Does not know what the jobs do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeVar

from hub_common.tasks import Tasks

T = TypeVar("T")
Job = Callable[[], Awaitable[T]]

WAITING = 10_000


class QueueFull(Exception):
    """There was no room for the last `left_out` jobs: they did not run and will not."""

    def __init__(self, left_out: int) -> None:
        super().__init__(f"no room for {left_out} more questions")
        self.left_out = left_out


class Queue:
    """At most `width` jobs run at a time, over all callers; a caller's jobs start in their order.

    At most `limit` jobs wait. When that is full, the last jobs of a caller are not taken; the others run.
    """

    def __init__(self, width: int, limit: int = WAITING) -> None:
        self._width = width
        self._limit = limit
        self._slots = asyncio.Semaphore(width)
        self.depth = 0
        """Jobs that wait now."""
        self.processed = 0
        """Jobs that had their turn, however they ended."""

    async def results(self, jobs: Sequence[Job[T]]) -> AsyncGenerator[T, None]:
        """Run `jobs` and yield each result as it comes.

        The first exception of a job ends the rest and is raised here. Closing the iterator cancels what runs.

        Raises:
            QueueFull: after the results of the jobs there was room for.
        """
        taken = jobs[: max(0, self._limit - self.depth)]
        waiting = iter(taken)
        still_waiting = len(taken)
        self.depth += still_waiting
        # As many as there are jobs: a worker never waits for a slow reader.
        done: asyncio.Queue[T | _Failed] = asyncio.Queue()
        tasks = Tasks("llm-queue")

        async def work() -> None:
            nonlocal still_waiting
            for job in waiting:
                try:
                    async with self._slots:
                        still_waiting -= 1
                        self.depth -= 1
                        self.processed += 1
                        result = await job()
                except Exception as fault:
                    done.put_nowait(_Failed(fault))
                    return
                done.put_nowait(result)

        try:
            for number in range(min(self._width, len(taken))):
                tasks.spawn(work(), f"worker-{number}")
            for _ in taken:
                result = await done.get()
                if isinstance(result, _Failed):
                    raise result.fault
                yield result
        finally:
            await tasks.close()
            self.depth -= still_waiting
        if len(taken) < len(jobs):
            raise QueueFull(len(jobs) - len(taken))


class _Failed:
    def __init__(self, fault: Exception) -> None:
        self.fault = fault
