"""Background tasks: each has a name and an owner, and none is lost.

Owns the only call of `asyncio.create_task` in the project. Does not know what the tasks do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Tasks:
    """The tasks of one owner, who closes it.

    A task that fails is logged with its name and forgotten: the owner and the process go on. Whoever awaits the task
    itself sees the exception too.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    def __len__(self) -> int:
        """How many tasks have not ended."""
        return len(self._running)

    def spawn(self, coro: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """Run `coro` as the task `<owner>.<name>`. After `close` it does not run: its task is cancelled at once."""
        task = asyncio.create_task(coro, name=f"{self.name}.{name}")
        self._running.add(task)
        task.add_done_callback(self._ended)
        if self._closed:
            task.cancel()
        return task

    async def close(self) -> None:
        """Cancel all tasks and wait until they have ended. Idempotent; one of the tasks may call it itself.

        When the caller is cancelled the tasks stay cancelled, only the wait ends early.
        """
        self._closed = True
        me = asyncio.current_task()
        while others := [task for task in self._running if task is not me]:
            for task in others:
                task.cancel()
            await asyncio.wait(others)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (fault := task.exception()) is not None:
            _log.error("task %s failed", task.get_name(), exc_info=fault)
