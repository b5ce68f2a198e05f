"""The hub's own tools: what they are called and how they are described.

Owns the definitions; `routing/discovery` answers the calls. The bytes are constant, so lists stay stable.
"""

from __future__ import annotations

from typing import Any

import msgspec

from hub_gateway.catalog.effect import Effect
from hub_gateway.wire.revisions import Era

ANALYZE_PROMPT = "hub__analyze_prompt"
SEARCH_TOOLS = "hub__search_tools"
DESCRIBE_TOOL = "hub__describe_tool"
CALL_TOOL = "hub__call_tool"
CALL_VARIANTS = {effect: f"{CALL_TOOL}_{effect.value}" for effect in Effect}
"""In the place of `hub__call_tool` where they are configured, so that a client can ask a person before some calls."""

CALLS = frozenset({CALL_TOOL, *CALL_VARIANTS.values()})
NAMES = CALLS | {ANALYZE_PROMPT, SEARCH_TOOLS, DESCRIBE_TOOL}

_PROMPT = {"type": "string", "description": "The task, in the user's own words"}
_CONTEXT = {"type": "string", "description": "Anything else that helps to choose"}
_READS = {"readOnlyHint": True, "openWorldHint": False}


def _tool(name: str, title: str, description: str, annotations: dict[str, bool], **schema: Any) -> bytes:
    properties: dict[str, Any] = schema["properties"]
    input_schema = {"type": "object", "properties": properties, "required": schema["required"]}
    definition: dict[str, Any] = {"name": name, "title": title, "description": description}
    return msgspec.json.encode({**definition, "inputSchema": input_schema, "annotations": annotations})


_ANALYZE_HANDSHAKE = _tool(
    ANALYZE_PROMPT,
    "Find tools",
    "Find the tools that fit a task. Call this first: it opens the matching tools on this session, and the tool list "
    "then shows them. A tool that the list does not show can be called with `hub__call_tool`.",
    _READS,
    properties={
        "prompt": _PROMPT,
        "context": _CONTEXT,
        "replace": {"type": "boolean", "description": "Close the tools opened before"},
        "reset": {"type": "boolean", "description": "Close every opened tool; an empty prompt then opens none"},
    },
    required=["prompt"],
)
_ANALYZE_STATELESS = _tool(
    ANALYZE_PROMPT,
    "Find tools for a prompt",
    "Like `hub__search_tools`, with categories.",
    _READS,
    properties={"prompt": _PROMPT, "context": _CONTEXT},
    required=["prompt"],
)
_SEARCH = _tool(
    SEARCH_TOOLS,
    "Search tools",
    "Find tools for a task, also tools that this list does not show. Returns signatures, best match first.",
    _READS,
    properties={
        "query": {"type": "string", "description": "The task, in the user's own words"},
        "context": _CONTEXT,
        "limit": {"type": "integer", "maximum": 50},
        "server": {"type": "string", "description": "Only of this server"},
        "category": {"type": "string", "description": "Only of this category"},
    },
    required=["query"],
)
_DESCRIBE = _tool(
    DESCRIBE_TOOL,
    "Describe tools",
    "Show full definitions, where a signature does not say enough.",
    _READS,
    properties={
        "names": {"type": "array", "items": {"type": "string"}},
    },
    required=["names"],
)


def _call(name: str, title: str, description: str, annotations: dict[str, bool]) -> bytes:
    return _tool(
        name,
        title,
        description,
        {**annotations, "openWorldHint": True},
        properties={
            "name": {"type": "string", "description": "As a search returned it"},
            "arguments": {"type": "object", "description": "The tool's own"},
        },
        required=["name"],
    )


_CALL = _call(CALL_TOOL, "Call a tool", "Call any tool of this hub.", {"readOnlyHint": False, "destructiveHint": True})
_VARIANTS = (
    _call(CALL_VARIANTS[Effect.READ], "Call a reading tool", "Call a tool marked [read].", {"readOnlyHint": True}),
    _call(
        CALL_VARIANTS[Effect.WRITE],
        "Call a writing tool",
        "Call a tool marked [write]: it changes things and destroys nothing.",
        {"readOnlyHint": False, "destructiveHint": False},
    ),
    _call(
        CALL_VARIANTS[Effect.DESTRUCTIVE],
        "Call a destructive tool",
        "Call a tool marked [destructive]: what it does may not be undone.",
        {"readOnlyHint": False, "destructiveHint": True},
    ),
)

_FIRST = {
    (Era.HANDSHAKE, False): (_ANALYZE_HANDSHAKE, _DESCRIBE),
    (Era.HANDSHAKE, True): (_ANALYZE_HANDSHAKE, _DESCRIBE),
    (Era.STATELESS, False): (_SEARCH, _DESCRIBE, _ANALYZE_STATELESS),
    (Era.STATELESS, True): (_SEARCH, _DESCRIBE),
}
_DEFINITIONS = {
    (era, variants, brief): (*first, *(_VARIANTS if variants else (_CALL,)))
    for (era, brief), first in _FIRST.items()
    for variants in (False, True)
}


def definitions(era: Era, call_variants: bool = False, brief: bool = False) -> tuple[bytes, ...]:
    """The definitions an era lists, in their fixed order; `brief` leaves out what is the same by another name.

    Handshake clients see opened tools in their own list. Those that do not follow changes of the list call through
    `hub__call_tool` what they were told of. All names of `NAMES` are answered in both eras.
    """
    return _DEFINITIONS[era, call_variants, brief]
