"""Requests that are not answered yet."""

from __future__ import annotations

import pytest

from hub_gateway.upstreams.pending import Answer, Listener, Pending, Reply, Waiter, read_id
from hub_gateway.wire.message import Message


class _Ear:
    @property
    def session_id(self) -> str:
        return ""

    @property
    def whole(self) -> Listener:
        return self

    def relay(self, message: Message) -> None:
        raise AssertionError

    def ask(self, message: Message, answer: Answer) -> None:
        raise AssertionError


def _waiter(listener: _Ear | None = None) -> Waiter:
    return Waiter(listener, None, 0.0)


def test_ids_count_up_and_are_never_given_again() -> None:
    pending: Pending[Waiter] = Pending()
    first = pending.add(_waiter())
    pending.forget(first)
    assert pending.add(_waiter()) == first + 1


def test_a_forgotten_request_is_not_found() -> None:
    pending: Pending[Waiter] = Pending()
    waiter = _waiter()
    upstream_id = pending.add(waiter)
    assert pending.find(upstream_id) is waiter
    assert pending.forget(upstream_id) is waiter
    assert pending.find(upstream_id) is None
    assert pending.forget(upstream_id) is None


def test_the_first_outcome_stands_and_wakes_once() -> None:
    waiter, woken = _waiter(), list[int]()
    waiter.wake = lambda: woken.append(1)
    waiter.settle(Reply(b"1"))
    waiter.settle(Reply(b"2"))
    waiter.settle(None, RuntimeError())
    assert (waiter.reply, waiter.fault, woken) == (Reply(b"1"), None, [1])


def test_the_sole_listener_is_the_only_call_with_ears() -> None:
    pending: Pending[Waiter] = Pending()
    ear = _Ear()
    pending.add(_waiter())
    assert pending.sole_listener() is None
    only = pending.add(_waiter(ear))
    assert pending.sole_listener() is ear
    pending.add(_waiter(_Ear()))
    assert pending.sole_listener() is None
    pending.forget(only)
    assert pending.sole_listener() is not ear


@pytest.mark.parametrize(
    ("id_raw", "expected"),
    [
        (b"7", 7),
        (b'"7"', 7),
        (b"7.0", 7),
        (b'"7.0"', 7),
        (b'"a"', None),
        (b"null", None),
        (b"", None),
        (b"1.5", None),
        (b"-1", None),
        (b"1e3", None),
        (b"9" * 5_000, None),
        (b'"%b"' % (b"9" * 5_000), None),
    ],
)
def test_an_id_is_read_back_as_number_or_string(id_raw: bytes, expected: int | None) -> None:
    assert read_id(id_raw) == expected
