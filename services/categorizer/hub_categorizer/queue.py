"""The line in front of the LLM: so many questions at a time, whoever asks.

Owns the bound. Does not know what the jobs do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeVar

from hub_common.tasks import Tasks

T = TypeVar("T")
Job = Callable[[], Awaitable[T]]


class Queue:
    """At most `width` jobs run at a time, over all callers; a caller's jobs start in their order."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._slots = asyncio.Semaphore(width)

    async def results(self, jobs: Sequence[Job[T]]) -> AsyncGenerator[T, None]:
        """Run `jobs` and yield each result as it comes.

        The first exception of a job ends the rest and is raised here. Closing the iterator cancels what runs.
        """
        waiting = iter(jobs)
        # As many as there are jobs: a worker never waits for a slow reader.
        done: asyncio.Queue[T | _Failed] = asyncio.Queue()
        tasks = Tasks("llm-queue")

        async def work() -> None:
            for job in waiting:
                try:
                    async with self._slots:
                        result = await job()
                except Exception as fault:
                    done.put_nowait(_Failed(fault))
                    return
                done.put_nowait(result)

        try:
            for number in range(min(self._width, len(jobs))):
                tasks.spawn(work(), f"worker-{number}")
            for _ in jobs:
                result = await done.get()
                if isinstance(result, _Failed):
                    raise result.fault
                yield result
        finally:
            await tasks.close()


class _Failed:
    def __init__(self, fault: Exception) -> None:
        self.fault = fault
