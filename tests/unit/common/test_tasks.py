from __future__ import annotations

import asyncio
import logging
import weakref
from contextlib import suppress

import pytest

from hub_common.tasks import Tasks, Workers

pytestmark = pytest.mark.anyio


async def for_ever(started: asyncio.Event, ended: asyncio.Event) -> None:
    started.set()
    try:
        await asyncio.Event().wait()
    finally:
        ended.set()


async def fail() -> None:
    raise RuntimeError("boom")


async def test_a_task_gives_its_result_and_has_a_name() -> None:
    async def answer() -> int:
        return 42

    tasks = Tasks("owner")
    task = tasks.spawn(answer(), "answer")
    assert task.get_name() == "owner.answer"
    assert await task == 42
    assert len(tasks) == 0


async def test_a_failure_is_logged_with_the_name(caplog: pytest.LogCaptureFixture) -> None:
    tasks = Tasks("owner")
    task = tasks.spawn(fail(), "bad")
    await asyncio.wait([task])
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "task owner.bad failed"
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "boom"


async def test_close_cancels_and_waits() -> None:
    tasks = Tasks("owner")
    started, ended = asyncio.Event(), asyncio.Event()
    tasks.spawn(for_ever(started, ended), "long")
    await started.wait()
    await tasks.close()
    assert ended.is_set()
    assert len(tasks) == 0
    await tasks.close()


async def test_close_takes_tasks_spawned_by_tasks_that_end() -> None:
    tasks = Tasks("owner")
    started = asyncio.Event()

    async def parent() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            tasks.spawn(for_ever(asyncio.Event(), asyncio.Event()), "child")

    tasks.spawn(parent(), "parent")
    await started.wait()
    async with asyncio.timeout(5):
        await tasks.close()
    assert len(tasks) == 0


async def test_after_close_nothing_runs() -> None:
    tasks = Tasks("owner")
    await tasks.close()
    started = asyncio.Event()
    task = tasks.spawn(for_ever(started, asyncio.Event()), "late")
    await asyncio.wait([task])
    assert task.cancelled()
    assert not started.is_set()


async def test_a_task_may_close_its_owner() -> None:
    tasks = Tasks("owner")
    started, ended = asyncio.Event(), asyncio.Event()
    tasks.spawn(for_ever(started, ended), "other")
    await started.wait()

    async def closer() -> str:
        await tasks.close()
        return "closed"

    async with asyncio.timeout(5):
        assert await tasks.spawn(closer(), "closer") == "closed"
    assert ended.is_set()


async def test_a_worker_that_is_done_takes_the_next_piece() -> None:
    by_task: dict[str, set[asyncio.Task[object] | None]] = {}
    done: asyncio.Queue[str] = asyncio.Queue()

    async def work(piece: str) -> None:
        by_task.setdefault(piece[0], set()).add(asyncio.current_task())
        done.put_nowait(piece)

    tasks = Tasks("owner")
    workers = Workers(tasks, "work", work)
    for piece in ("a1", "a2", "a3"):  # one after the other: one task
        workers.give(piece)
        assert await done.get() == piece
        await asyncio.sleep(0)
    for piece in ("b1", "b2", "b3"):  # at once: a task for each
        workers.give(piece)
    assert sorted([await done.get() for _ in range(3)]) == ["b1", "b2", "b3"]
    assert (len(by_task["a"]), len(by_task["b"])) == (1, 3)
    await tasks.close()
    assert len(tasks) == 0


async def test_a_piece_that_fails_is_logged_and_the_next_one_is_done(caplog: pytest.LogCaptureFixture) -> None:
    done: asyncio.Queue[int] = asyncio.Queue()

    async def work(piece: int) -> None:
        done.put_nowait(1 // piece)

    tasks = Tasks("owner")
    workers = Workers(tasks, "work", work)
    workers.give(0)
    workers.give(1)
    assert await done.get() == 1
    (record,) = caplog.records
    assert "owner.work" in record.getMessage()
    await tasks.close()


async def test_a_worker_that_waits_keeps_nothing_of_what_it_has_done() -> None:
    class Piece:
        """Something large."""

    done: asyncio.Queue[None] = asyncio.Queue()

    async def work(piece: Piece) -> None:
        done.put_nowait(None)

    tasks = Tasks("owner")
    workers = Workers(tasks, "work", work)
    kept: list[weakref.ref[Piece]] = []
    for _ in range(2):  # the first is what its task was made for, and it waits for the second
        piece = Piece()
        kept.append(weakref.ref(piece))
        workers.give(piece)
        del piece
        await done.get()
        await asyncio.sleep(0)
        assert len(tasks) == 1
    assert [each() for each in kept] == [None, None]
    await tasks.close()


async def test_what_is_given_after_the_end_is_not_done() -> None:
    done: list[int] = []

    async def work(piece: int) -> None:
        done.append(piece)

    tasks = Tasks("owner")
    workers = Workers(tasks, "work", work)
    workers.give(1)
    await asyncio.sleep(0)
    await tasks.close()
    workers.give(2)
    await asyncio.sleep(0)
    assert done == [1]
    await tasks.close()


async def test_a_cancellation_that_a_piece_swallows_is_not_for_the_next_one() -> None:
    done: asyncio.Queue[int] = asyncio.Queue()

    async def work(piece: int) -> None:
        me = asyncio.current_task()
        assert me is not None
        if piece == 0:
            me.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        done.put_nowait(me.cancelling())

    tasks = Tasks("owner")
    workers = Workers(tasks, "work", work)
    for piece, cancelling in ((0, 1), (1, 0)):
        workers.give(piece)
        assert await done.get() == cancelling
        await asyncio.sleep(0)
    await tasks.close()
