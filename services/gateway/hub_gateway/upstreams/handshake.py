"""What the hub and an upstream agree on before the first call: the era, the revision, what each can do.

Pure. Owns the messages of both handshakes and what each answer to them means (2026-07-28 basic/versioning §Backward
Compatibility; 2025-11-25 basic/lifecycle §Initialization). Does not know how messages travel.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import msgspec
from msgspec import Raw

from hub_gateway.errors import UpstreamDown, UpstreamGarbage
from hub_gateway.upstreams.pending import Reply
from hub_gateway.wire import meta, rewrite
from hub_gateway.wire.errors import MODERN_CODES, UNSUPPORTED_PROTOCOL_VERSION, ErrorObject, read_error
from hub_gateway.wire.message import own
from hub_gateway.wire.revisions import HANDSHAKE_REVISIONS, LATEST_HANDSHAKE, STATELESS_REVISIONS, Era, era_of

_encode = msgspec.json.Encoder().encode

CLIENT_INFO_RAW = _encode({"name": "mcp-hub", "title": "MCP Hub", "version": version("mcp-hub")})
HUB = meta.Caller(client_info_raw=CLIENT_INFO_RAW)
"""The caller of requests that the hub makes for itself."""

_RELAYED: dict[str, Any] = {
    "sampling": {"tools": {}, "context": {}},
    "elicitation": {"form": {}, "url": {}},
    "roots": {"listChanged": True},
    "extensions": {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html;profile=mcp-app"]}},
}
AS_RELAY = meta.Caller(CLIENT_INFO_RAW, _encode(_RELAYED))
"""Who the hub is in `initialize` where many clients share the connection: it declares what it relays to the client of
the call at hand. A client that lacks one of them is not asked, and ignores the `_meta` of an app it cannot show."""

ON_BEHALF = meta.Caller(
    CLIENT_INFO_RAW,
    _encode({**_RELAYED, "roots": {}, "extensions": {**_RELAYED["extensions"], "io.modelcontextprotocol/tasks": {}}}),
)
"""The caller of lists and subscriptions, which the hub asks for on behalf of all its clients: it declares what any of
them may."""


class Declined(UpstreamDown):
    """The upstream answered the handshake, and speaks no revision of the era that was asked for."""


class Agreement(msgspec.Struct, frozen=True):
    """How one connection is spoken on, and what the upstream said of itself."""

    era: Era
    revision: str
    capabilities: dict[str, Any]
    capabilities_raw: bytes
    server_info_raw: bytes
    """The `Implementation` object; b"" when the upstream did not say."""
    instructions: str | None = None


class Retry(msgspec.Struct, frozen=True):
    """The upstream is stateless and wants to be asked at this revision."""

    revision: str


class Initialize(msgspec.Struct, frozen=True):
    """The upstream wants `initialize`, at this revision."""

    revision: str = LATEST_HANDSHAKE


class _Discovered(msgspec.Struct):
    supported: list[str] = msgspec.field(name="supportedVersions")
    capabilities: Raw = Raw(b"{}")
    instructions: str | None = None
    meta: dict[str, Raw] = msgspec.field(name="_meta", default_factory=dict[str, Raw])


class _Initialized(msgspec.Struct):
    revision: str = msgspec.field(name="protocolVersion")
    capabilities: Raw = Raw(b"{}")
    server_info: Raw = msgspec.field(name="serverInfo", default=Raw(b""))
    instructions: str | None = None


class _Supported(msgspec.Struct):
    supported: list[str]


_discovered = msgspec.json.Decoder(_Discovered)
_initialized = msgspec.json.Decoder(_Initialized)
_supported = msgspec.json.Decoder(_Supported)
_object = msgspec.json.Decoder(dict[str, Any])


def initialize_params(revision: str, caller: meta.Caller) -> rewrite.Members:
    """The params of `initialize`."""
    return {
        "protocolVersion": Raw(rewrite.encode_text(revision)),
        "capabilities": Raw(caller.capabilities_raw),
        "clientInfo": Raw(caller.client_info_raw or CLIENT_INFO_RAW),
    }


def judge_discover(reply: Reply, asked: str) -> Agreement | Retry | Initialize:
    """What the answer to `server/discover` at revision `asked` means.

    Raises:
        UpstreamDown: the upstream speaks only revisions that the hub does not know.
    """
    if reply.error_raw:
        error = read_error(reply.error_raw)
        if error.code == UNSUPPORTED_PROTOCOL_VERSION:
            return _choose(supported_in(error), asked)
        if error.code in MODERN_CODES:
            raise UpstreamDown(f"it refused server/discover: {error.message}")
        return Initialize()
    try:
        found = _discovered.decode(reply.result_raw)
        capabilities = _object.decode(found.capabilities)
    except msgspec.MsgspecError:
        return Initialize()
    if asked not in found.supported:
        return _choose(found.supported, asked)
    return Agreement(
        era_of(asked),
        asked,
        capabilities,
        own(found.capabilities),
        own(found.meta.get(meta.SERVER_INFO, Raw(b""))),
        found.instructions,
    )


def judge_initialize(reply: Reply) -> Agreement | Retry:
    """What the answer to `initialize` means.

    Raises:
        Declined: it was refused.
        UpstreamDown: the upstream chose a revision that the hub does not know.
        UpstreamGarbage: the result is no InitializeResult.
    """
    if reply.error_raw:
        error = read_error(reply.error_raw)
        if error.code == UNSUPPORTED_PROTOCOL_VERSION:
            match _choose(supported_in(error), ""):
                case Retry() as retry:
                    return retry
                case _:
                    pass
        raise Declined(f"it refused initialize: {error.message or error.code}")
    try:
        found = _initialized.decode(reply.result_raw)
        capabilities = _object.decode(found.capabilities)
    except msgspec.MsgspecError as fault:
        raise UpstreamGarbage(f"its answer to initialize is no InitializeResult: {fault}") from fault
    if found.revision not in HANDSHAKE_REVISIONS:
        raise UpstreamDown(f"it chose the protocol revision {found.revision!r}, which the hub does not know")
    return Agreement(
        Era.HANDSHAKE,
        found.revision,
        capabilities,
        own(found.capabilities),
        own(found.server_info),
        found.instructions,
    )


def _choose(supported: list[str], asked: str) -> Retry | Initialize:
    for revision in STATELESS_REVISIONS:
        if revision in supported and revision != asked:
            return Retry(revision)
    for revision in HANDSHAKE_REVISIONS:
        if revision in supported:
            return Initialize(revision)
    if not supported:
        return Initialize()
    raise UpstreamDown(f"it speaks only protocol revisions the hub does not know: {', '.join(supported[:8])}")


def supported_in(error: ErrorObject) -> list[str]:
    """The revisions that an error -32022 names as spoken; empty where it names none."""
    try:
        return _supported.decode(error.data).supported
    except msgspec.MsgspecError:
        return []
