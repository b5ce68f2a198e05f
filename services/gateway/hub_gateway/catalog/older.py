"""Definitions as clients of the handshake era can read them.

Pure. Owns what 2026-07-28 allows in a definition and no older revision does: an output schema of anything but an object
(changelog, minor change 10). A client that checks what it reads would refuse the whole list for it; SEP-2106 §Backward
Compatibility has such a client fall back to the text of the result.
"""

from __future__ import annotations

import msgspec

from hub_gateway.wire import rewrite

_SCHEMA = "outputSchema"


def tool(listed_raw: bytes) -> bytes:
    """A tool's definition without an output schema that an older client cannot have."""
    if listed_raw.find(b'"outputSchema"') < 0:
        return listed_raw
    try:
        members = rewrite.members(listed_raw)
        if _SCHEMA not in members or _is_of_object(members[_SCHEMA]):
            return listed_raw
    except (msgspec.MsgspecError, RecursionError):
        return listed_raw
    del members[_SCHEMA]
    return rewrite.join(members)


def _is_of_object(schema_raw: msgspec.Raw) -> bool:
    return rewrite.text(rewrite.members(schema_raw).get("type")) == "object"
