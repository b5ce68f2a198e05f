"""Room for long messages: in order, never more than the limit and one message, and pieces in turn."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.backlog import LONG_BYTES, Backlog
from hub_gateway.intake import STEPS_BYTES, Intake
from hub_gateway.turns import Turns

pytestmark = pytest.mark.anyio
LIMIT_BYTES = 100 * LONG_BYTES
ROUNDS = 20


class Pipe:
    """A source that knows whether it is read."""

    def __init__(self) -> None:
        self.read = True
        self.was_cut = False

    def pause_reading(self) -> None:
        assert self.read
        self.read = False

    def resume_reading(self) -> None:
        assert not self.read
        self.read = True

    def cut(self) -> None:
        self.was_cut = True


class Unread:
    """A client's socket with what it does not read."""

    moved_bytes = 0

    def __init__(self, room_bytes: int) -> None:
        self.room_bytes = room_bytes

    def cut(self) -> None:
        raise AssertionError("was cut off")


async def rounds() -> None:
    """Let the loop go round until what is due has been done."""
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


def message(backlog: Backlog, whole_bytes: int = 0, line: Turns | None = None) -> tuple[Pipe, Intake]:
    """A long message that begins to come."""
    pipe = Pipe()
    intake = Intake(pipe, room=backlog, line=line or Turns())
    intake.came(LONG_BYTES + 1, whole_bytes)
    return pipe, intake


async def test_who_finds_no_room_is_not_read_until_it_is_his_turn() -> None:
    backlog = Backlog(LIMIT_BYTES)
    (first, going), (second, _), (third, _) = (message(backlog, LIMIT_BYTES * 2 // 3) for _ in range(3))
    assert (first.read, second.read, third.read) == (True, False, False)
    going.gone_on()
    await rounds()
    assert (second.read, third.read) == (True, False)
    assert backlog.waiting == 1


async def test_what_is_on_its_way_to_its_client_leaves_no_room_for_others() -> None:
    backlog = Backlog(LIMIT_BYTES)
    _, going = message(backlog, LIMIT_BYTES)
    waiting, _ = message(backlog, LIMIT_BYTES)
    going.came(LIMIT_BYTES)
    going.gone_on()
    for _ in range(3):  # the tasks of the call and of its stream
        await asyncio.sleep(0)
        assert not waiting.read
    unread = Unread(LIMIT_BYTES)
    backlog.blocked(unread)
    await rounds()
    assert not waiting.read
    backlog.unblocked(unread)
    await rounds()
    assert waiting.read


async def test_a_message_alone_always_has_room() -> None:
    pipe, _ = message(Backlog(LIMIT_BYTES), LIMIT_BYTES * 3)
    assert pipe.read


async def test_one_that_gives_up_its_place_is_read_again_and_takes_no_room() -> None:
    backlog = Backlog(LIMIT_BYTES)
    _, going = message(backlog, LIMIT_BYTES)
    waiting, gives_up = message(backlog, LIMIT_BYTES)
    gives_up.gone_on()
    assert waiting.read
    going.gone_on()
    await rounds()
    assert (backlog.held_bytes, backlog.waiting) == (0, 0)


async def test_halves_of_messages_do_not_wait_for_each_other() -> None:
    """All have the first step, none has room for the second, and each comes through all the same."""
    steps = STEPS_BYTES
    backlog = Backlog(4 * steps[0])
    halves = [message(backlog) for _ in range(4)]
    for _, intake in halves:
        intake.came(steps[0] + 1)
    ended = 0
    while waiting := [(pipe, intake) for pipe, intake in halves if intake.room_bytes]:
        await rounds()
        assert backlog.held_bytes <= 4 * steps[0] + steps[1]
        read = [intake for pipe, intake in waiting if pipe.read]
        assert read, "nobody is read any more"
        read[0].gone_on()
        ended += 1
    assert ended == len(halves)


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(0, 9)), max_size=40))
def test_no_more_is_held_than_the_limit_and_everybody_has_his_turn(asked: list[tuple[int, int]]) -> None:
    async def run() -> None:
        backlog = Backlog(LIMIT_BYTES)
        open_: list[tuple[Pipe, Intake]] = []
        for size, ended in asked:
            open_.append(message(backlog, (size + 1) * LONG_BYTES))
            if ended < len(open_):
                open_.pop(ended)[1].gone_on()
            await rounds()
            assert backlog.held_bytes <= LIMIT_BYTES
            assert not open_ or open_[0][0].read, "whoever asked first waits"
        while open_:
            open_.pop(0)[1].gone_on()
            await rounds()
            assert not open_ or open_[0][0].read
        assert (backlog.held_bytes, backlog.waiting) == (0, 0)

    asyncio.run(run())


async def test_pieces_are_worked_on_in_order_and_one_in_a_round() -> None:
    backlog = Backlog(LIMIT_BYTES)
    done: list[str] = []

    def note(what: str) -> Callable[[], None]:
        return lambda: done.append(what)

    line = Turns()
    one, two = (message(backlog, line=line)[1] for _ in range(2))
    for each in ("1a", "1b", "1c"):
        one.piece(note(each))
    two.piece(note("2a"))
    assert done == ["1a"]
    await rounds()
    assert done == ["1a", "1b", "2a", "1c"]


async def test_what_came_before_the_end_is_worked_on_before_it() -> None:
    backlog = Backlog(LIMIT_BYTES)
    done: list[int] = []
    line = Turns()
    _, other = message(backlog, line=line)
    other.piece(lambda: None)
    pipe, intake = message(backlog, line=line)
    for n in range(3):
        intake.piece(lambda n=n: done.append(n))
    assert not pipe.read
    intake.flush()
    assert done == [0, 1, 2]
    await rounds()
    assert done == [0, 1, 2]
    assert pipe.read


def test_a_loop_that_ended_within_a_turn_does_not_hold_up_the_next() -> None:
    line, done = Turns(), list[str]()

    async def begin(what: str) -> bool:
        return line.take(lambda: done.append(what))

    assert asyncio.run(begin("first"))
    assert asyncio.run(begin("second"))
    assert done == ["first", "second"]
