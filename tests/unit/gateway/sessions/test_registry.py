"""All sessions: found, limited and expired by a clock that the test turns."""

from __future__ import annotations

import pytest

from hub_gateway.sessions.registry import Sessions, TooManySessions
from hub_gateway.sessions.session import Session
from hub_gateway.wire.meta import Caller

IDLE_S = 100.0


class House:
    """Sessions, the clock and what ended."""

    def __init__(self, limit: int = 3) -> None:
        self.now_s = 1_000.0
        self.ended: list[Session] = []
        self.sessions = Sessions(limit, IDLE_S, lambda: self.now_s, self.ended.append)

    def open(self) -> Session:
        return self.sessions.open("2025-11-25", Caller(), {})


def test_a_session_is_found_by_an_id_nobody_can_guess() -> None:
    house = House()
    one, other = house.open(), house.open()
    assert house.sessions.find(one.id) is one
    assert house.sessions.find("other") is None
    assert len({one.id, other.id}) == 2
    assert len(one.id) >= 32
    assert all("!" <= letter <= "~" for letter in one.id)
    assert (len(house.sessions), set(house.sessions)) == (2, {one, other})


def test_a_session_ends_once() -> None:
    house = House()
    one = house.open()
    assert [house.sessions.close(one.id), house.sessions.close(one.id)] == [True, False]
    assert house.ended == [one]
    assert one.standing.ended
    assert house.sessions.find(one.id) is None


def test_the_limit_holds_until_one_is_idle() -> None:
    house = House(limit=2)
    first, second = house.open(), house.open()
    with pytest.raises(TooManySessions, match="2 sessions"):
        house.open()
    house.now_s += IDLE_S / 2
    house.sessions.find(second.id)
    house.now_s += IDLE_S / 2 + 1
    third = house.open()
    assert house.ended == [first]
    assert set(house.sessions) == {second, third}


def test_only_what_is_idle_expires() -> None:
    house = House(limit=5)
    idle, called, attached, running = (house.open() for _ in range(4))
    attached.attached = 1
    running.running[b"1"] = lambda: None
    house.now_s += IDLE_S
    house.sessions.find(called.id)
    assert house.sessions.expire() == 0, "not before the time is over"
    house.now_s += 1
    assert house.sessions.expire() == 1
    assert house.ended == [idle]
    attached.attached = 0
    running.running.clear()
    assert house.sessions.expire() == 2
    assert set(house.sessions) == {called}


def test_all_end_when_the_gateway_stops() -> None:
    house = House()
    opened = {house.open(), house.open()}
    house.sessions.close_all()
    assert set(house.ended) == opened
    assert len(house.sessions) == 0
    assert all(session.standing.ended for session in opened)
