from __future__ import annotations

import pytest

from hub_common.breaker import Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_it_opens_after_failures_in_a_row(clock: Clock) -> None:
    breaker = Breaker(3, 10, clock)
    for _ in range(2):
        breaker.failure()
    breaker.success()
    for _ in range(2):
        breaker.failure()
    assert (breaker.state, breaker.failures, breaker.allow(), breaker.retry_after_s) == ("closed", 2, True, 0.0)
    breaker.failure()
    assert (breaker.state, breaker.failures, breaker.allow(), breaker.retry_after_s) == ("open", 3, False, 10.0)


def test_half_open_lets_one_probe_through(clock: Clock) -> None:
    breaker = Breaker(1, 10, clock)
    breaker.failure()
    clock.now += 4
    assert breaker.retry_after_s == 6.0
    clock.now += 6
    assert breaker.state == "half-open"
    assert breaker.retry_after_s == 0.0
    assert breaker.allow()
    assert not breaker.allow()
    assert breaker.retry_after_s == 10.0


def test_a_good_probe_closes(clock: Clock) -> None:
    breaker = Breaker(1, 10, clock)
    breaker.failure()
    clock.now += 10
    assert breaker.allow()
    breaker.success()
    assert (breaker.state, breaker.failures, breaker.retry_after_s) == ("closed", 0, 0.0)
    assert breaker.allow()
    assert breaker.allow()


def test_a_bad_probe_opens_again(clock: Clock) -> None:
    breaker = Breaker(1, 10, clock)
    breaker.failure()
    clock.now += 12
    assert breaker.allow()
    breaker.failure()
    assert (breaker.state, breaker.failures, breaker.retry_after_s) == ("open", 2, 10.0)
    clock.now += 10
    assert breaker.allow()


def test_a_probe_never_reported_is_given_up(clock: Clock) -> None:
    breaker = Breaker(1, 10, clock)
    breaker.failure()
    clock.now += 10
    assert breaker.allow()
    clock.now += 10
    assert breaker.allow()
    assert not breaker.allow()


def test_late_failures_do_not_prolong_an_open_breaker(clock: Clock) -> None:
    breaker = Breaker(1, 10, clock)
    breaker.failure()
    clock.now += 9
    breaker.failure()
    assert breaker.retry_after_s == 1.0


def test_a_threshold_below_one_is_refused(clock: Clock) -> None:
    with pytest.raises(ValueError, match="threshold"):
        Breaker(0, 1, clock)
