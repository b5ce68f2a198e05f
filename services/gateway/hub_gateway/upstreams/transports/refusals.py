"""What the body of an HTTP answer says that is no success.

Owns the words that people get to see of it, and what in it is meant for the request.
"""

from __future__ import annotations

import codecs

import msgspec

from hub_common.logs import redacted
from hub_gateway.wire import codec
from hub_gateway.wire.errors import MODERN_CODES, read_error

_NO_LETTER = "\ufffd"


def excerpt(body: bytes) -> str:
    """The first words of an error body, for people; nothing of a web page, nor of what is no text."""
    begun = codecs.getincrementaldecoder("utf-8")(errors="replace").decode(body[:4_000])  # the last letter may be cut
    words = " ".join(begun.split())
    if not words or words.startswith("<") or not words.isprintable() or _NO_LETTER in words:
        return ""
    return f": {redacted(words)[:200]}"  # cut only now, since a secret cut in two is not found


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
