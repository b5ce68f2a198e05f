"""Results and errors on their way from one era to the other.

Owns the one table of what differs. Everything that both eras have in common passes as bytes.

What a handshake upstream says, to a stateless client:

* a result gains `resultType`; `ttlMs` and `cacheScope` where its method is cacheable; the server's name in `_meta`
  (2026-07-28 changelog, major change 8, minor change 5; utilities/caching §Cacheable Results; basic §Per-response
  protocol fields);
* error -32002 becomes -32602 (changelog, minor change 6; basic §Error Codes: it must not be sent);
* error -32042 becomes an `input_required` result that asks to visit the same pages (2025-11-25 client/elicitation §URL
  Elicitation Required Error; 2026-07-28 basic §Error Codes; patterns/mrtr);
* an error from -32099 to -32020 becomes -32000 (changelog, minor change 12: these codes have a meaning now that it did
  not give them);
* `notifications/elicitation/complete` and `notifications/tasks/status` do not cross (changelog, major change 6, minor
  change 11).

What a stateless upstream says, to a client with a session:

* -32602 for `resources/read` becomes -32002 (2025-11-25 server/resources §Error Handling);
* an `input_required` result becomes requests, see `questions` (2026-07-28 changelog, major change 7);
* structured content that is no object is left out, and said in a text where the result has none; the tool's output
  schema is not listed, see `catalog.older` (changelog, minor change 10; SEP-2106 §Backward Compatibility);
* what a result has more passes: a client ignores members it does not know (2025-11-25 schema, Result).

What a stateless upstream says, to a stateless client, passes as it came where it is right. What it owes is added, since
the hub answers for it:

* a result without `resultType` is complete (2026-07-28 basic §ResultType);
* a complete one of a cacheable method without `ttlMs` or `cacheScope` is stale, or private (utilities/caching
  §Cacheable Results);
* its errors -32002 and -32042 become what they become from a handshake upstream, and so do codes from -32099 to -32020
  that have no meaning (basic §Error Codes: none of them must be sent).

Log levels, capabilities and subscriptions differ in more than a message: see `upstreams.connection`, `hello`, `holds`.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from hub_gateway.wire import rewrite
from hub_gateway.wire.errors import (
    INVALID_PARAMS,
    MODERN_CODES,
    RESERVED_CODES,
    RESOURCE_NOT_FOUND_HANDSHAKE,
    SERVER_ERROR,
    URL_ELICITATION_REQUIRED,
    read_error,
)
from hub_gateway.wire.meta import SERVER_INFO
from hub_gateway.wire.revisions import CACHEABLE_METHODS, Era

UNKNOWN_FRESHNESS = {"ttlMs": b'"ttlMs":0', "cacheScope": b'"cacheScope":"private"'}
"""What is said of a result's freshness where it says nothing: it is stale at once, and nobody else's."""

_COMPLETE = b'"resultType":"complete"'
_START_BYTES = 512
_FRESHNESS = tuple(b'"%b":' % name.encode() for name in UNKNOWN_FRESHNESS)


def result_for(client: Era, upstream: Era, method: str, result_raw: bytes, server_info_raw: bytes) -> bytes:
    """Return an upstream's result as the client's era wants it."""
    if client is upstream is Era.HANDSHAKE:
        return result_raw
    if client is Era.HANDSHAKE:
        return _without_other_structures(result_raw) if method == "tools/call" else result_raw
    if upstream is client:
        server_info_raw = b""  # it names itself, or does not want to
        if says_complete(result_raw) and (method not in CACHEABLE_METHODS or _says_freshness(result_raw)):
            return result_raw
    if _says_nothing(result_raw):
        fresh = b",".join(UNKNOWN_FRESHNESS.values()) if method in CACHEABLE_METHODS else b""
        return rewrite.prepended(result_raw, _said_for_it(True, fresh, server_info_raw))
    try:
        members = rewrite.members(result_raw)
        meta = rewrite.members(members.get("_meta", b""))
    except msgspec.MsgspecError:
        return result_raw
    kind = rewrite.text(members.get("resultType"))
    fresh = b""
    if method in CACHEABLE_METHODS and kind in (None, "complete"):
        fresh = b",".join(said for name, said in UNKNOWN_FRESHNESS.items() if name not in members)
    if server_info_raw and "_meta" in members and SERVER_INFO not in meta:
        dressed = rewrite.replaced(members["_meta"], SERVER_INFO, server_info_raw)
        result_raw = rewrite.replaced(result_raw, "_meta", dressed)
    head = _said_for_it("resultType" not in members, fresh, b"" if "_meta" in members else server_info_raw)
    return rewrite.prepended(result_raw, head) if head else result_raw


def says_complete(result_raw: bytes) -> bool:
    """Whether a result says that it is complete, as a look without decoding it can tell."""
    return _has(result_raw, _COMPLETE)


def _says_freshness(result_raw: bytes) -> bool:
    return all(_has(result_raw, mark) for mark in _FRESHNESS)


def _has(result_raw: bytes, mark: bytes) -> bool:
    """Whether a member of that spelling is the object's own. One within another object has more braces between it and
    the object's start or end; so may one that stands beyond a brace in a text, and then the result is cut open for
    nothing. Servers write such members before what is long, or after it, which is not counted through then."""
    at = result_raw.find(mark, 0, _START_BYTES)
    if at >= 0:
        return result_raw.count(b"{", 0, at) == result_raw.count(b"}", 0, at) + 1
    at = result_raw.rfind(mark)
    return at >= 0 and result_raw.count(b"}", at) == result_raw.count(b"{", at) + 1


def _says_nothing(result_raw: bytes) -> bool:
    """Whether an object has none of the members that a stateless result has besides, as a look without decoding it can
    tell: a name may hide behind an escape."""
    return (
        result_raw[:1] == b"{"
        and result_raw.find(b'"_meta"') < 0
        and result_raw.find(b'"resultType"') < 0
        and result_raw.find(b'"ttlMs"') < 0
        and result_raw.find(b'"cacheScope"') < 0
        and result_raw.find(b"\\u") < 0
    )


@lru_cache(256)
def _said_for_it(is_complete: bool, fresh: bytes, server_info_raw: bytes) -> bytes:
    """The members for a result that does not say so itself: that it is complete, how fresh it is, and whose it is."""
    said: list[bytes] = []
    if is_complete:
        said.append(b'"resultType":"complete"')
    if fresh:
        said.append(fresh)
    if server_info_raw:
        said.append(b'"_meta":{"' + SERVER_INFO.encode() + b'":' + server_info_raw + b"}")
    return b",".join(said)


def _without_other_structures(result_raw: bytes) -> bytes:
    """A tool's result without structured content that is no object."""
    if result_raw.find(b'"structuredContent"') < 0:
        return result_raw
    try:
        members = rewrite.members(result_raw)
        said_raw = members.get("structuredContent")
        if said_raw is None or bytes(said_raw)[:1] == b"{":
            return result_raw
        blocks = rewrite.items(members.get("content", b"[]"))
        if not any(rewrite.text(rewrite.members(block).get("type")) == "text" for block in blocks):
            blocks.append(msgspec.Raw(msgspec.json.encode({"type": "text", "text": bytes(said_raw).decode()})))
    except msgspec.MsgspecError:
        return result_raw
    del members["structuredContent"]
    return rewrite.join({**members, "content": b"[" + b",".join(blocks) + b"]"})


def error_for(client: Era, upstream: Era, method: str, error_raw: bytes) -> bytes:
    """Return an upstream's error with the code the client's era has for it.

    Reading a resource has one parameter, so invalid params of it mean that there is no such resource.
    """
    if client is upstream is Era.HANDSHAKE:
        return error_raw
    old = read_error(error_raw).code
    new = _stateless(old, upstream) if client is Era.STATELESS else _handshake(old, method)
    return error_raw if new == old else rewrite.replaced(error_raw, "code", str(new).encode())


def _stateless(code: int, upstream: Era) -> int:
    if code == RESOURCE_NOT_FOUND_HANDSHAKE:
        return INVALID_PARAMS
    if code in MODERN_CODES and upstream is Era.STATELESS:
        return code
    return SERVER_ERROR if code in RESERVED_CODES or code == URL_ELICITATION_REQUIRED else code


def _handshake(code: int, method: str) -> int:
    return RESOURCE_NOT_FOUND_HANDSHAKE if code == INVALID_PARAMS and method == "resources/read" else code


class _Visit(msgspec.Struct):
    url: msgspec.Raw
    message: msgspec.Raw
    elicitation_id: str = msgspec.field(name="elicitationId", default="")


class _Required(msgspec.Struct):
    elicitations: list[msgspec.Raw]


def visits_of(error_raw: bytes) -> dict[str, bytes]:
    """The pages that error -32042 wants visited: the params of an `elicitation/create` for each, by its id; empty for
    any other error, and for one that names none."""
    error = read_error(error_raw)
    if error.code != URL_ELICITATION_REQUIRED:
        return {}
    found: dict[str, bytes] = {}
    try:
        for raw in msgspec.json.decode(error.data, type=_Required).elicitations:
            elicitation_id = msgspec.json.decode(raw, type=_Visit).elicitation_id
            params: dict[str, bytes | msgspec.Raw] = {**rewrite.members(raw), "mode": b'"url"'}
            params.pop("elicitationId", None)
            found[elicitation_id or f"visit-{len(found) + 1}"] = rewrite.join(params)
    except msgspec.MsgspecError:
        return {}
    return found


def visits_required(visits: dict[str, bytes]) -> bytes:
    """The `InputRequiredResult` that asks a stateless client to visit these pages; its retry is a call like the first,
    as it is in the handshake era."""
    asked = {key: rewrite.join({"method": b'"elicitation/create"', "params": params}) for key, params in visits.items()}
    return b'{"resultType":"input_required","inputRequests":' + rewrite.join(asked) + b"}"
