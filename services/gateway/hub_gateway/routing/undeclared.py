"""What a stateless upstream answers, and its stateless client did not declare that it can take.

Owns the look into results that are not complete: one is forwarded only where the client named the capability for it on
this very request. Every request declares anew (2026-07-28 basic §Per-request protocol fields), so an upstream that
remembers an earlier one, or looks at none, is not taken at its word.
"""

from __future__ import annotations

import msgspec

from hub_gateway.routing.exchange import Exchange
from hub_gateway.routing.task_handles import needs_extension
from hub_gateway.wire import rewrite


def check(exchange: Exchange, result_raw: bytes) -> None:
    """Check that a client may be given a result.

    Raises:
        MissingCapability: it is a task, and the client does not declare the extension (SEP-2663 §Capability
            Negotiation: it must not be returned).
    """
    try:
        members = rewrite.members(result_raw)
    except msgspec.MsgspecError:
        return
    if rewrite.text(members.get("resultType")) == "task":
        needs_extension(exchange)
