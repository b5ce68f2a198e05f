"""HTTP headers that mirror the body, and the encoding of values that are no plain ASCII.

Owns 2026-07-28 transports/streamable-http §Request Metadata. Names are lower-case, as ASGI has them.
"""

from __future__ import annotations

import base64
import binascii
import re

SESSION_ID = "mcp-session-id"
PROTOCOL_VERSION = "mcp-protocol-version"
METHOD = "mcp-method"
NAME = "mcp-name"
PARAM_PREFIX = "mcp-param-"
LAST_EVENT_ID = "last-event-id"

NAMED_METHODS = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}
"""Methods whose requests carry Mcp-Name, and the member of `params` it mirrors (§Standard Request Headers; SEP-2663
§Streamable HTTP: Routing Headers)."""

TASK_METHODS = frozenset({"tasks/get", "tasks/update", "tasks/cancel"})
"""Whose requests are to carry Mcp-Name for `params.taskId` (SEP-2663 §Streamable HTTP: Routing Headers); the revision
itself does not require it."""

_PLAIN = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?")
_HEAD, _TAIL = "=?base64?", "?="


def encode_value(value: str) -> str:
    """Encode a header value, as base64 where it would not survive as it is (§Value Encoding)."""
    if _PLAIN.fullmatch(value) and not (value.startswith(_HEAD) and value.endswith(_TAIL)):
        return value
    return _HEAD + base64.b64encode(value.encode()).decode() + _TAIL


def decode_value(value: str) -> str | None:
    """Decode a header value; None where it holds characters or base64 that no client may send."""
    value = value.strip(" \t")
    if value.startswith(_HEAD) and value.endswith(_TAIL):
        try:
            return base64.b64decode(value[len(_HEAD) : -len(_TAIL)], validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
    return value if not value or _PLAIN.fullmatch(value) else None
