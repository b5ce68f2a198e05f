"""Background tasks: each has a name and an owner, and none is lost.

Owns the only call of `asyncio.create_task` in the project. Does not know what the tasks do.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

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


class Workers(Generic[T]):
    """Tasks for many small pieces of work of one kind: one that is done takes the next piece, since making a task costs
    more than waking one.

    Args:
        tasks: owns them; when it is closed they end, and what is given from then on is not done.
        work: does one piece. A failure is logged and ends nothing; cancelling ends the task that does the piece.
        after: called with each piece whose work has begun, however it ended.
    """

    _MAX_IDLE = 64
    """Kept for the next pieces; there are as many at work as there are pieces."""

    def __init__(
        self, tasks: Tasks, name: str, work: Callable[[T], Awaitable[None]], after: Callable[[T], None] | None = None
    ) -> None:
        self._tasks = tasks
        self._name = name
        self._work = work
        self._after = after
        self._idle: list[asyncio.Future[T]] = []

    def give(self, piece: T) -> None:
        """Have a piece done, beginning in the next turn of the loop."""
        while self._idle:
            turn = self._idle.pop()
            if not turn.done():
                turn.set_result(piece)
                return
        self._tasks.spawn(self._run(piece), self._name)

    async def _run(self, piece: T) -> None:
        loop, me = asyncio.get_running_loop(), asyncio.current_task()
        while True:
            try:
                await self._work(piece)
            except Exception:
                _log.exception("task %s.%s failed", self._tasks.name, self._name)
            finally:
                if self._after is not None:
                    self._after(piece)
            if len(self._idle) >= self._MAX_IDLE or (me is not None and me.cancelling()):
                return  # a cancellation that the piece swallowed is not for the next one
            turn: asyncio.Future[T] = loop.create_future()
            self._idle.append(turn)
            del piece  # it may be large, and the next one may be long in coming
            piece = await turn
