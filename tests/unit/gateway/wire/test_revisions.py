"""What depends on a revision: its era, and what `initialize` is answered with."""

from __future__ import annotations

import pytest

from hub_gateway.wire.revisions import (
    HANDSHAKE_REVISIONS,
    LATEST_HANDSHAKE,
    REVISIONS,
    STATELESS_REVISIONS,
    Era,
    era_of,
    negotiate,
)


@pytest.mark.parametrize("revision", HANDSHAKE_REVISIONS)
def test_a_known_revision_is_agreed_to(revision: str) -> None:
    assert negotiate(revision) == revision
    assert era_of(revision) is Era.HANDSHAKE


@pytest.mark.parametrize("asked", ("2024-01-01", "2099-01-01", "", *STATELESS_REVISIONS))
def test_any_other_is_answered_with_the_newest_of_the_handshake(asked: str) -> None:
    assert negotiate(asked) == LATEST_HANDSHAKE == max(HANDSHAKE_REVISIONS)


def test_revisions_are_offered_newest_first() -> None:
    assert list(REVISIONS) == sorted(REVISIONS, reverse=True)
    assert all(era_of(revision) is Era.STATELESS for revision in STATELESS_REVISIONS)
