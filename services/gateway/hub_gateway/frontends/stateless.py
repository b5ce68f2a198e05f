"""What a stateless request must carry before anybody looks at its method.

Owns the ladder of 2026-07-28: required `_meta` (basic §Per-request protocol fields), then headers against body
(transports/streamable-http §Server Validation), then the revision (basic/versioning). The first rung that fails
answers.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from hub_gateway.frontends.asked import Asked
from hub_gateway.frontends.guards import Headers
from hub_gateway.routing.exchange import Exchange, Outlet, Response
from hub_gateway.sessions.session import LOG_LEVELS
from hub_gateway.wire import codec, meta, rewrite
from hub_gateway.wire.errors import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    MODERN_CODES,
    PARSE_ERROR,
    UNSUPPORTED_PROTOCOL_VERSION,
    error_object,
)
from hub_gateway.wire.headers import NAMED_METHODS, TASK_METHODS, decode_value
from hub_gateway.wire.message import Message, own
from hub_gateway.wire.revisions import REVISIONS, STATELESS_REVISIONS, Era

_BAD_REQUEST = frozenset({PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS, *MODERN_CODES})


class Refusal(Exception):
    """A rung that failed, with the error response that says so. Always HTTP 400."""

    def __init__(self, id_raw: bytes, code: int, why: str, data: Any = None) -> None:
        super().__init__(why)
        self.reply = codec.error(id_raw, error_object(code, why, data))


def says_stateless(message: Message) -> bool:
    """Whether a message whose headers leave it open belongs to no session, by its `_meta`."""
    if bytes(message.params).find(b'protocolVersion"') < 0:
        return False
    try:
        return meta.PROTOCOL_VERSION in _meta(message)
    except msgspec.MsgspecError:
        return False


class _Said(msgspec.Struct, frozen=True):
    """What a `_meta` says. Shared by all requests that have the same one: its members are not changed."""

    members: rewrite.Members
    fault: str = ""
    revision: str = ""
    caller: meta.Caller = meta.Caller()


def _said(meta_raw: msgspec.Raw) -> _Said:
    """Read a `_meta`. A client sends the same one with most of its requests, so a short one is read once."""
    return (_read_once if len(meta_raw) <= meta.SHORT_BYTES else _read)(bytes(meta_raw))


def _read(meta_raw: bytes) -> _Said:
    found = rewrite.members(meta_raw)
    missing = [key for key in (meta.PROTOCOL_VERSION, meta.CLIENT_CAPABILITIES) if key not in found]
    if missing:
        return _Said(found, f"lacks {', '.join(missing)}")
    revision = rewrite.text(found[meta.PROTOCOL_VERSION])
    if revision is None:
        return _Said(found, f"{meta.PROTOCOL_VERSION} must be a string")
    for key in (meta.CLIENT_CAPABILITIES, meta.CLIENT_INFO):
        if key in found and bytes(found[key])[:1] != b"{":
            return _Said(found, f"{key} must be an object")
    if meta.LOG_LEVEL in found and rewrite.text(found[meta.LOG_LEVEL]) not in LOG_LEVELS:
        return _Said(found, f"{meta.LOG_LEVEL} must be one of {', '.join(LOG_LEVELS)}")
    return _Said(found, "", revision, meta.read_caller(found))


_read_once = lru_cache(1_024)(_read)


def open_exchange(
    headers: Headers,
    asked: Asked,
    message: Message,
    outlet: Outlet | None,
    view_name: str = "",
    credential: str = "",
) -> Exchange:
    """Climb the ladder and return the exchange of a client that got this view with this credential.

    Raises:
        Refusal: a rung failed.
    """
    try:
        params = rewrite.members(message.params)
        said = _said(params.get("_meta", msgspec.Raw(b"")))
    except msgspec.MsgspecError:
        raise Refusal(own(message.id), INVALID_PARAMS, "Invalid params: _meta must be an object") from None
    if said.fault:
        raise Refusal(own(message.id), INVALID_PARAMS, f"Invalid params: _meta {said.fault}")
    if asked.contradicted:
        which = ", ".join(name.decode("latin-1").title() for name in asked.contradicted)
        why = f"Header mismatch: sent more than once with different values: {which[:200]}"
        raise Refusal(own(message.id), HEADER_MISMATCH, why)
    revision = said.revision
    if asked.revision != revision:
        why = f"Header mismatch: MCP-Protocol-Version is {asked.revision[:40]!r}, _meta says {revision[:40]!r}"
        raise Refusal(own(message.id), HEADER_MISMATCH, why)
    if revision not in STATELESS_REVISIONS:  # which may have other headers
        data = {"supported": list(REVISIONS), "requested": revision}
        raise Refusal(own(message.id), UNSUPPORTED_PROTOCOL_VERSION, "Unsupported protocol version", data)
    _check_headers(asked, message, params)
    exchange = Exchange(message, Era.STATELESS, said.caller, None, outlet, view_name, credential, headers)
    exchange.cut(params, said.members)
    return exchange


def _check_headers(asked: Asked, message: Message, params: rewrite.Members) -> None:
    method = asked.method
    if method != message.method:
        why = f"Header mismatch: Mcp-Method is {method[:80]!r}, the body's method is {message.method[:80]!r}"
        raise Refusal(own(message.id), HEADER_MISMATCH, why)
    member = NAMED_METHODS.get(method)
    if member is None and method in TASK_METHODS and asked.name_raw is not None:
        member = "taskId"
    if member is None:
        return
    named = rewrite.text(params.get(member))
    if named is None or named == asked.name:
        return  # nearly always: a plain name that is the body's to the letter
    name = None if asked.name_raw is None else decode_value(asked.name_raw.decode("latin-1"))
    if name != named:
        shown = "missing or malformed" if name is None else repr(name[:80])
        why = f"Header mismatch: Mcp-Name is {shown}, the body's {member} is {named[:80]!r}"
        raise Refusal(own(message.id), HEADER_MISMATCH, why)


def http_status(response: Response) -> int:
    """The HTTP status of a response in the stateless era (transports/streamable-http §Protocol Version Header, §Server
    Validation)."""
    code = response.error_code
    if code is None:
        return 200
    if code == METHOD_NOT_FOUND:
        return 404
    return 400 if code in _BAD_REQUEST else 200


def _meta(message: Message) -> rewrite.Members:
    return rewrite.members(rewrite.members(message.params).get("_meta", msgspec.Raw(b"")))
