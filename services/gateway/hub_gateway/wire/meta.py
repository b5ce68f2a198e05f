"""The `_meta` object: the protocol's own keys in it, and what changes in it between a client and an upstream.

Owns 2026-07-28 basic §_meta. Keys that are nobody's business here pass as bytes. The protocol's own keys describe one
hop, so each hop writes its own: dropped toward a handshake upstream, written anew toward a stateless one.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec
from msgspec import Raw

from hub_gateway.wire import rewrite
from hub_gateway.wire.revisions import Era

PREFIX = "io.modelcontextprotocol/"
PROTOCOL_VERSION = PREFIX + "protocolVersion"
CLIENT_INFO = PREFIX + "clientInfo"
CLIENT_CAPABILITIES = PREFIX + "clientCapabilities"
LOG_LEVEL = PREFIX + "logLevel"
SERVER_INFO = PREFIX + "serverInfo"
SUBSCRIPTION_ID = PREFIX + "subscriptionId"
PROGRESS_TOKEN = "progressToken"
TRACEPARENT = "traceparent"
RELATED_TASK = PREFIX + "related-task"
"""Ties a message to a task (2025-11-25 basic/utilities/tasks §Associating Task-Related Messages)."""

RELATED_TASK_END = b'related-task"'
"""How its spelling ends, however the slash before that is escaped: PHP writes `\\/`."""

SHORT_BYTES = 2_048
"""What is longer is not remembered from one request to the next."""

_NOT_PASSED = frozenset({PROTOCOL_VERSION, CLIENT_INFO, CLIENT_CAPABILITIES, LOG_LEVEL, PROGRESS_TOKEN})


class Caller(msgspec.Struct, frozen=True):
    """Who asks, in the three values a stateless upstream wants on every request. Raw JSON; empty means not said."""

    client_info_raw: bytes = b""
    capabilities_raw: bytes = b"{}"
    log_level: str | None = None


def read_caller(meta: rewrite.Members) -> Caller:
    """The caller that a stateless request's `_meta` names."""
    return Caller(
        bytes(meta.get(CLIENT_INFO, b"")),
        bytes(meta.get(CLIENT_CAPABILITIES, b"{}")),
        rewrite.text(meta.get(LOG_LEVEL)),
    )


def subscription_id_raw(params_raw: bytes | Raw) -> bytes:
    """The id of the subscription a notification belongs to; b"" where it names none."""
    try:
        meta = rewrite.members(rewrite.members(params_raw).get("_meta", b""))
    except msgspec.MsgspecError:
        return b""
    return bytes(meta.get(SUBSCRIPTION_ID, b""))


def retagged(members: rewrite.Members, subscription_raw: bytes) -> rewrite.Members:
    """Return a notification's params for another subscription, or for none where that is b"": each hop has its own
    (2026-07-28 basic/patterns/subscriptions §Receiving Notifications)."""
    meta = rewrite.members(members.get("_meta", b""))
    meta.pop(SUBSCRIPTION_ID, None)
    if subscription_raw:
        meta = {SUBSCRIPTION_ID: Raw(subscription_raw), **meta}
    rest = {key: value for key, value in members.items() if key != "_meta"}
    return {"_meta": Raw(rewrite.join(meta)), **rest} if meta else rest


def for_upstream(
    params: rewrite.Members, *, era: Era, revision: str, caller: Caller, progress_token_raw: bytes | None
) -> bytes:
    """Return the params of a request as the upstream's era wants them.

    Args:
        params: the members as the client (or the hub) wrote them; not changed.
        era: of the upstream's connection.
        revision: that the connection speaks.
        caller: named to a stateless upstream.
        progress_token_raw: the token to ask progress with, or None to leave out the client's own.
    """
    meta_raw = params.get("_meta")
    if meta_raw is None and progress_token_raw is None and era is Era.HANDSHAKE:
        return rewrite.join(params)
    parts: dict[str, bytes | Raw] = {**params}
    written = _write
    if progress_token_raw is None and _is_short(meta_raw, caller):
        written = _write_once  # what one client sends with most of its requests is the same
    own_raw = written(b"" if meta_raw is None else bytes(meta_raw), era, revision, caller, progress_token_raw)
    if own_raw:
        parts["_meta"] = own_raw
    else:
        parts.pop("_meta", None)
    return rewrite.join(parts)


def _is_short(meta_raw: Raw | None, caller: Caller) -> bool:
    return (
        (meta_raw is None or len(meta_raw) <= SHORT_BYTES)
        and len(caller.client_info_raw) <= SHORT_BYTES
        and len(caller.capabilities_raw) <= SHORT_BYTES
    )


def _write(meta_raw: bytes, era: Era, revision: str, caller: Caller, progress_token_raw: bytes | None) -> bytes:
    """The `_meta` for an upstream; b"" where there is nothing in it."""
    meta: dict[str, bytes | Raw] = {}
    if meta_raw:
        meta = {key: value for key, value in rewrite.members(meta_raw).items() if key not in _NOT_PASSED}
    if progress_token_raw is not None:
        meta[PROGRESS_TOKEN] = progress_token_raw
    if era is Era.STATELESS:
        meta[PROTOCOL_VERSION] = rewrite.text_raw(revision)
        if caller.client_info_raw:
            meta[CLIENT_INFO] = caller.client_info_raw
        meta[CLIENT_CAPABILITIES] = caller.capabilities_raw
        if caller.log_level is not None:
            meta[LOG_LEVEL] = rewrite.encode_text(caller.log_level)
    return rewrite.join(meta) if meta else b""


_write_once = lru_cache(1_024)(_write)
