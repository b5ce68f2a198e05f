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
    "Find the tools that fit a task, with the categories they belong to. The same search as `hub__search_tools`.",
    _READS,
    properties={"prompt": _PROMPT, "context": _CONTEXT},
    required=["prompt"],
)
_SEARCH = _tool(
    SEARCH_TOOLS,
    "Search tools",
    "Find tools for a task among all tools of this hub, also those that the tool list does not show. Returns "
    "signatures, best match first; call one with `hub__call_tool`.",
    _READS,
    properties={
        "query": {"type": "string", "description": "The task, in the user's own words; may ask for several things"},
        "context": _CONTEXT,
        "limit": {"type": "integer", "minimum": 1, "maximum": 50, "description": "At most this many tools"},
        "server": {"type": "string", "description": "Only tools of this server"},
        "category": {"type": "string", "description": "Only tools of this category"},
    },
    required=["query"],
)
_DESCRIBE = _tool(
    DESCRIBE_TOOL,
    "Describe tools",
    "Show the full definition of tools, with every parameter. Only needed where a signature does not say enough.",
    _READS,
    properties={
        "names": {"type": "array", "items": {"type": "string"}, "minItems": 1, "description": "Names of tools"},
    },
    required=["names"],
)


def _call(name: str, title: str, description: str, annotations: dict[str, bool]) -> bytes:
    return _tool(
        name,
        title,
        f"{description} Takes the tool's name and its own arguments.",
        {**annotations, "openWorldHint": True},
        properties={
            "name": {"type": "string", "description": "The tool's name, as a search returned it"},
            "arguments": {"type": "object", "description": "The tool's own arguments"},
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

_FIRST = {Era.HANDSHAKE: (_ANALYZE_HANDSHAKE, _DESCRIBE), Era.STATELESS: (_SEARCH, _DESCRIBE, _ANALYZE_STATELESS)}
_DEFINITIONS = {
    (era, variants): (*first, *(_VARIANTS if variants else (_CALL,)))
    for era, first in _FIRST.items()
    for variants in (False, True)
}


def definitions(era: Era, call_variants: bool = False) -> tuple[bytes, ...]:
    """The definitions an era lists, in their fixed order.

    Handshake clients see opened tools in their own list. Those that do not follow changes of the list call through
    `hub__call_tool` what they were told of. All names of `NAMES` are answered in both eras.
    """
    return _DEFINITIONS[era, call_variants]
