"""The names of calls' streams, by which whoever is asked for one that is lost can say so to the call itself.

Pure. A client that takes a stream up waits for the response to its request, whose id an event id does not tell; a
refusal of the stream does not end that wait (hub decision).
"""

from __future__ import annotations

import base64
import re

import msgspec

from hub_gateway.wire import codec

MAX_ID_BYTES = 96
"""Longer ids of requests are not put into event ids, which go into headers."""

_CALL = re.compile(r"call\d+\.([A-Za-z0-9_-]+)~")


def call_stream_id(count: int, epoch: str, id_raw: bytes) -> str:
    """The name of a session's stream number `count`, which answers the request of that id."""
    spelled = base64.urlsafe_b64encode(id_raw).rstrip(b"=").decode() if len(id_raw) <= MAX_ID_BYTES else ""
    return f"call{count}{spelled and '.' + spelled}~{epoch}"


def answered_by(stream_id: str) -> bytes | None:
    """The id of the request that a stream answers, as its client spelled it; None where the name does not tell."""
    found = _CALL.match(stream_id)
    if found is None:
        return None
    spelled = found[1]
    try:
        id_raw = base64.urlsafe_b64decode(spelled + "=" * (-len(spelled) % 4))
        value = codec.plain(id_raw)
    except (ValueError, msgspec.MsgspecError):
        return None
    return id_raw if isinstance(value, (str, int, float)) and not isinstance(value, bool) else None
