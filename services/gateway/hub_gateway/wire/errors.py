"""JSON-RPC and MCP error codes, and the one way an error object is spelled.

Codes are from JSON-RPC 2.0 §5.1 and from MCP 2026-07-28 basic §Error Codes; a code that only one revision has says so.
"""

from __future__ import annotations

from typing import Any

import msgspec

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

RESOURCE_NOT_FOUND_HANDSHAKE = -32002
"""Up to 2025-11-25. From 2026-07-28 on it is INVALID_PARAMS and this code must not be sent."""

URL_ELICITATION_REQUIRED = -32042
"""In 2025-11-25 alone."""

SERVER_ERROR = -32000
"""Implementation-defined (JSON-RPC 2.0 §5.1): an upstream that is down, busy or late."""

HEADER_MISMATCH = -32020
MISSING_CLIENT_CAPABILITY = -32021
UNSUPPORTED_PROTOCOL_VERSION = -32022

RESERVED_CODES = range(-32099, -32019)
"""From 2026-07-28 on these mean what the specification says, and nothing else (basic §Error Codes)."""

MODERN_CODES = frozenset({HEADER_MISMATCH, MISSING_CLIENT_CAPABILITY, UNSUPPORTED_PROTOCOL_VERSION})
"""Codes that prove the sender speaks a stateless revision (2026-07-28 transports §Backward Compatibility)."""


def error_object(code: int, message: str, data: Any = None) -> bytes:
    """Encode `{"code", "message", "data"?}`."""
    body: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        body["data"] = data
    return msgspec.json.encode(body)


class ErrorObject(msgspec.Struct):
    """The two members of an error the hub may have to look at; the object itself travels as bytes."""

    code: int = INTERNAL_ERROR
    message: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


_decoder = msgspec.json.Decoder(ErrorObject)


def read_error(error_raw: bytes | msgspec.Raw) -> ErrorObject:
    """Look into an error object; a malformed one reads as INTERNAL_ERROR without a message."""
    try:
        return _decoder.decode(error_raw)
    except msgspec.MsgspecError:
        return ErrorObject()
