"""What the headers of a request to the MCP endpoint say, read once for all requests with the same ones.

Owns which headers tell the eras apart and mirror the body. What the body says besides is `stateless`'s.
"""

from __future__ import annotations

import msgspec
from starlette.types import Scope

from hub_gateway.frontends.guards import Guard, Headers
from hub_gateway.wire import headers as names
from hub_gateway.wire.revisions import HANDSHAKE_REVISIONS

SESSION_ID = names.SESSION_ID.encode()

_REVISION = names.PROTOCOL_VERSION.encode()
_STREAM_RANGES = (b"text/event-stream", b"text/*", b"*/*")
_MIRRORS = frozenset({_REVISION, names.METHOD.encode(), names.NAME.encode()})
_PARAM_PREFIX = names.PARAM_PREFIX.encode()


class Asked(msgspec.Struct, frozen=True):
    """What the headers of one request say."""

    refusal: str | None
    """Why the gateway does not speak to whoever sent them; None where it does."""
    session_id: str
    revision: str
    stateless: bool | None
    """Whether they say that the message belongs to a session (False) or to none (True); None leaves it to the body."""
    revision_fits_session: bool
    streams: bool
    """Whether the client takes streams."""
    traceparent: str | None
    method: str
    """What `Mcp-Method` says; "" where it says nothing."""
    name_raw: bytes | None
    """`Mcp-Name`."""
    name: str | None
    """What `Mcp-Name` says in plain letters; None where it is encoded, or is not there."""
    contradicted: tuple[bytes, ...] = ()
    """Headers that mirror the body and say two things (`contradictions`)."""


def contradictions(scope: Scope) -> tuple[bytes, ...]:
    """The headers of a request that mirror its body and stand there more than once, not always with the same value: of
    such a one somebody between may have gone by another value than the hub does (2026-07-28 transports/streamable-http
    §Server Validation). A head that `wire.head_fields` reads has no header twice."""
    said: dict[bytes, bytes] = {}
    found: dict[bytes, None] = {}
    for name, value in scope["headers"]:
        if name in _MIRRORS or name.startswith(_PARAM_PREFIX):
            value = value.strip()
            if said.setdefault(name, value) != value:
                found[name] = None
    return tuple(found)


def read_asked(headers: Headers, guard: Guard | None = None, contradicted: tuple[bytes, ...] = ()) -> Asked:
    """Read them. Without a guard nobody is refused."""
    revision = headers.get(_REVISION, b"").decode("latin-1").strip()
    in_session = SESSION_ID in headers
    stateless: bool | None = None
    if _REVISION in contradicted:
        pass  # they say both, so that the body has to
    elif in_session and revision in HANDSHAKE_REVISIONS:
        stateless = False  # says twice that it belongs to a session
    elif not in_session and revision and revision not in HANDSHAKE_REVISIONS:
        stateless = True
    accept, traceparent = headers.get(b"accept", b"*/*").lower(), headers.get(b"traceparent")
    name_raw = headers.get(b"mcp-name")
    plain = name_raw is not None and name_raw.isascii() and name_raw[:1] != b"="
    return Asked(
        refusal=None if guard is None else guard.refusal(headers),
        session_id=headers.get(SESSION_ID, b"").decode("latin-1"),
        revision=revision,
        stateless=stateless,
        revision_fits_session=not revision or revision in HANDSHAKE_REVISIONS,
        streams=any(each in accept for each in _STREAM_RANGES),
        traceparent=traceparent.decode("latin-1") if traceparent else None,
        method=headers.get(b"mcp-method", b"").decode("latin-1").strip(),
        name_raw=name_raw,
        name=name_raw.decode() if plain and name_raw is not None else None,
        contradicted=contradicted,
    )
