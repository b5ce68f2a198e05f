"""One JSON-RPC message, decoded one level deep.

Owns the shape of the envelope and which of the three kinds a message is. Does not know a single MCP method:
`params`, `result` and `error` stay raw bytes.
"""

from __future__ import annotations

from enum import Enum

import msgspec
from msgspec import Raw

from hub_gateway.wire.enums import at_hand

ABSENT = Raw(b"")
"""A member that the sender left out. Falsy through `len`, unlike JSON `null`, which is four bytes."""


@at_hand
class Kind(Enum):
    """The three things JSON-RPC 2.0 knows (§4 Request object, §4.1 Notification, §5 Response object)."""

    REQUEST = "request"
    NOTIFICATION = "notification"
    RESPONSE = "response"


class Message(msgspec.Struct, omit_defaults=True):
    """An envelope. Raw members share the bytes of the body they came in: copy what outlives the request (`own`)."""

    jsonrpc: str = ""
    id: Raw = ABSENT
    method: str = ""
    params: Raw = ABSENT
    result: Raw = ABSENT
    error: Raw = ABSENT

    @property
    def is_request(self) -> bool:
        """Whether this is a request: what most messages of a client are."""
        return len(self.id) > 0 and self.method != ""

    @property
    def kind(self) -> Kind:
        """Which of the three this is; `codec.decode` has refused everything else."""
        if self.method:
            return Kind.REQUEST if len(self.id) else Kind.NOTIFICATION
        return Kind.RESPONSE


def own(raw: Raw) -> bytes:
    """Return bytes that no longer pin the body `raw` was cut from: the one place where that copy is made."""
    return bytes(raw)
