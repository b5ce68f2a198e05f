"""What the body of an HTTP answer says that is no success.

Owns the words that people get to see of it, and what in it is meant for the request.
"""

from __future__ import annotations

import msgspec

from hub_common.logs import redacted
from hub_gateway.wire import codec
from hub_gateway.wire.errors import MODERN_CODES, read_error


def excerpt(body: bytes) -> str:
    """The first words of an error body, for people; nothing of a web page."""
    text = redacted(" ".join(body[:4_000].decode(errors="replace").split()))  # a secret cut in two is not found
    return f": {text[:200]}" if text and not text.startswith("<") else ""


class _Error(msgspec.Struct):
    error: msgspec.Raw
    id: msgspec.Raw = msgspec.Raw(b"null")


_error = msgspec.json.Decoder(_Error)


def error_in(body: bytes, upstream_id: int) -> bytes | None:
    """The JSON-RPC error response in the body of a refusal, or None.

    An error without an id counts only where its code proves a stateless server: older ones send such bodies for "no
    endpoint here" too (2026-07-28 transports/streamable-http §Backward Compatibility).
    """
    try:
        found = _error.decode(body)
    except msgspec.MsgspecError:
        return None
    if bytes(found.id) != b"null":
        return body
    if read_error(found.error).code in MODERN_CODES:
        return codec.error(b"%d" % upstream_id, found.error)
    return None


def names_session(body: bytes) -> bool:
    """Whether a 400 complains about the session: servers that do not know 404 for it answer so."""
    return len(body) < 4_096 and b"session" in body.lower()
