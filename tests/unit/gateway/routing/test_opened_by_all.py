"""What replicas have open for all: whatever they hear of each other, and in whatever order, they come to the same."""

from functools import reduce
from itertools import permutations

from hub_gateway.exposure.audience import NOTHING, Opened
from hub_gateway.routing.opened_by_all import Shared


def opened(*names: str) -> Opened:
    """These tools and no more."""
    return NOTHING.adding(frozenset(), frozenset(names))


def test_the_later_change_stands() -> None:
    early, late = Shared(3, opened("a", "b")), Shared(4, opened("c"))
    assert early.heard(late) == late.heard(early) == late


def test_what_was_closed_later_is_closed() -> None:
    assert Shared(1, opened("a")).heard(Shared(2)) == Shared(2)
    assert Shared(2).heard(Shared(1, opened("a"))) == Shared(2)


def test_changes_made_at_the_same_time_both_stand_in_any_order() -> None:
    changes = (
        Shared(2, opened("a")),
        Shared(2, opened("b")),
        Shared(2),
        Shared(1, opened("z")),
        Shared(2, opened("c")),
    )
    ends = {reduce(Shared.heard, order, Shared()) for order in permutations(changes)}
    assert ends == {Shared(2, opened("a", "b", "c"))}


def test_what_was_open_before_stays_in_front() -> None:
    before = opened("z")
    one, other = before.adding(frozenset(), frozenset("b")), before.adding(frozenset(), frozenset("a"))
    assert Shared(2, one).heard(Shared(2, other)).opened == before.adding(frozenset(), frozenset("ab"))


def test_nothing_is_gained_by_hearing_it_again() -> None:
    shared = Shared(5, opened("a"))
    assert shared.heard(shared) == shared
    assert Shared().heard(Shared()) == Shared()
