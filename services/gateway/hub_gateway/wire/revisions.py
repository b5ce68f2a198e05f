"""The dated revisions of MCP, the two eras they fall into, and what the translation between eras must change.

Owns every fact that depends on a revision and is not about one journey. Sources: the changelogs of 2025-03-26,
2025-06-18, 2025-11-25 and 2026-07-28; 2026-07-28 basic/versioning.
"""

from __future__ import annotations

from enum import Enum

from hub_gateway.wire.enums import at_hand


@at_hand
class Era(Enum):
    """How a conversation is set up: by `initialize` once, or by `_meta` on every request."""

    HANDSHAKE = "handshake"
    STATELESS = "stateless"


HANDSHAKE_REVISIONS = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
STATELESS_REVISIONS = ("2026-07-28",)
REVISIONS = STATELESS_REVISIONS + HANDSHAKE_REVISIONS
"""Newest first: what the hub offers to clients and asks of upstreams."""

LATEST_HANDSHAKE = HANDSHAKE_REVISIONS[0]
LATEST_STATELESS = STATELESS_REVISIONS[0]

BATCHING_REVISIONS = frozenset({"2025-03-26", "2024-11-05"})
"""Revisions whose clients may send several messages in one JSON array."""

HANDSHAKE_ONLY_METHODS = frozenset(
    {
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/list",
        "tasks/result",
    }
)
"""Methods that 2026-07-28 removed (changelog, major changes 2, 4, 5 and 6)."""

HANDSHAKE_ONLY_NOTIFICATIONS = frozenset(
    {"notifications/elicitation/complete", "notifications/roots/list_changed", "notifications/tasks/status"}
)
"""Notifications that 2026-07-28 removed (changelog, major changes 5 and 6, minor change 11)."""

STATELESS_ONLY_METHODS = frozenset({"server/discover", "subscriptions/listen", "tasks/update"})

PROTOCOL_METHODS = frozenset(
    {*HANDSHAKE_ONLY_METHODS, *STATELESS_ONLY_METHODS, "sampling/createMessage", "elicitation/create", "roots/list"}
)
"""Methods of the protocol that are not both eras', or not a client's to send: none of them is an extension's."""

CACHEABLE_METHODS = frozenset(
    {"server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read"}
)
"""Whose complete results must carry `ttlMs` and `cacheScope` (2026-07-28 utilities/caching §Cacheable Results)."""


def era_of(revision: str) -> Era:
    """The era of a revision; an unknown one counts as handshake, where the version is negotiated."""
    return Era.STATELESS if revision in STATELESS_REVISIONS else Era.HANDSHAKE


def negotiate(asked: str) -> str:
    """The revision an `initialize` is answered with: the one asked for, else the newest handshake one (2025-11-25
    basic/lifecycle §Version Negotiation)."""
    return asked if asked in HANDSHAKE_REVISIONS else LATEST_HANDSHAKE
