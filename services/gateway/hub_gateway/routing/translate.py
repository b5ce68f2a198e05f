"""Results and errors on their way from one era to the other.

Owns the one table of what differs (2026-07-28 changelog, major change 8 and minor changes 5 and 6). Everything that
both eras have in common passes as bytes.
"""

from __future__ import annotations

import msgspec

from hub_gateway.wire import rewrite
from hub_gateway.wire.errors import INVALID_PARAMS, RESOURCE_NOT_FOUND_HANDSHAKE, read_error
from hub_gateway.wire.meta import SERVER_INFO
from hub_gateway.wire.revisions import CACHEABLE_METHODS, Era

UNKNOWN_FRESHNESS = b'"ttlMs":0,"cacheScope":"private"'
"""What a handshake upstream's result says of its freshness: nothing, so it is stale at once and nobody else's."""


def result_for(client: Era, upstream: Era, method: str, result_raw: bytes, server_info_raw: bytes) -> bytes:
    """Return an upstream's result as the client's era wants it.

    A stateless client gets what its revision requires of every result; a handshake client ignores what it does not
    know.
    """
    if client is upstream or client is Era.HANDSHAKE:
        return result_raw
    try:
        members = rewrite.members(result_raw)
        meta = rewrite.members(members.get("_meta", b""))
    except msgspec.MsgspecError:
        return result_raw
    head: list[bytes] = []
    kind = rewrite.text(members.get("resultType"))
    if "resultType" not in members:
        head.append(b'"resultType":"complete"')
    if method in CACHEABLE_METHODS and "ttlMs" not in members and kind in (None, "complete"):
        head.append(UNKNOWN_FRESHNESS)
    if server_info_raw:
        if "_meta" not in members:
            head.append(b'"_meta":{"' + SERVER_INFO.encode() + b'":' + server_info_raw + b"}")
        elif SERVER_INFO not in meta:
            dressed = rewrite.replaced(members["_meta"], SERVER_INFO, server_info_raw)
            result_raw = rewrite.replaced(result_raw, "_meta", dressed)
    return rewrite.prepended(result_raw, b",".join(head)) if head else result_raw


def error_for(client: Era, upstream: Era, method: str, error_raw: bytes) -> bytes:
    """Return an upstream's error with the code the client's era has for it.

    "Resource not found" is the one code that moved. Reading a resource has one parameter, so invalid params of it mean
    that there is no such resource.
    """
    if client is upstream or method != "resources/read":
        return error_raw
    old, new = RESOURCE_NOT_FOUND_HANDSHAKE, INVALID_PARAMS
    if client is Era.HANDSHAKE:
        old, new = new, old
    return rewrite.replaced(error_raw, "code", str(new).encode()) if read_error(error_raw).code == old else error_raw
