"""The hub's own tools: what they are called and how they are described.

Owns the definitions; `routing/discovery` answers the calls. The bytes are constant, so lists stay stable.
"""

from __future__ import annotations

import msgspec

from hub_gateway.wire.revisions import Era

ANALYZE_PROMPT = "hub__analyze_prompt"
CALL_TOOL = "hub__call_tool"
NAMES = frozenset({ANALYZE_PROMPT, CALL_TOOL})

_ANALYZE_HANDSHAKE = (
    "Find the tools that fit a task. Call this first: it opens the matching tools on this session, and the tool list "
    "then shows them. Say in `prompt` what you want to do."
)
_ANALYZE_STATELESS = (
    "Find the tools that fit a task. Returns the best matching tools with their parameters; call one of them with "
    "`hub__call_tool`. Say in `prompt` what you want to do."
)

_ANALYZE_SCHEMA = {
    "type": "object",
    "properties": {
        "prompt": {"type": "string", "description": "The task, in the user's own words"},
        "context": {"type": "string", "description": "Anything else that helps to choose"},
    },
    "required": ["prompt"],
}
_CALL_SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "A tool's name, as hub__analyze_prompt returned it"},
        "arguments": {"type": "object", "description": "The tool's own arguments"},
    },
    "required": ["name"],
}


def _analyze(description: str) -> bytes:
    return msgspec.json.encode(
        {
            "name": ANALYZE_PROMPT,
            "title": "Find tools",
            "description": description,
            "inputSchema": _ANALYZE_SCHEMA,
            "annotations": {"readOnlyHint": True, "openWorldHint": False},
        }
    )


_CALL = msgspec.json.encode(
    {
        "name": CALL_TOOL,
        "title": "Call a tool",
        "description": "Call a tool that hub__analyze_prompt returned, with that tool's own arguments.",
        "inputSchema": _CALL_SCHEMA,
    }
)

_DEFINITIONS = {
    Era.HANDSHAKE: (_analyze(_ANALYZE_HANDSHAKE),),
    Era.STATELESS: (_analyze(_ANALYZE_STATELESS), _CALL),
}


def definitions(era: Era) -> tuple[bytes, ...]:
    """The definitions an era lists. Handshake clients see opened tools in their own list and call them directly."""
    return _DEFINITIONS[era]
