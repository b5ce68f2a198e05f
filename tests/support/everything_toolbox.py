"""The tool table of the everything server: definitions beside the functions that answer them.

Owns registration, listing and dispatch of tools. Knows no single tool; those are in `everything_tools` and
`everything_asking`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from tests.support.everything_state import State

Answer = types.CallToolResult | types.InputRequiredResult | list[types.ContentBlock] | str
Ctx = ServerRequestContext[Any, Any]


@dataclass(frozen=True)
class Call:
    """One `tools/call` (or `prompts/get`) being answered."""

    ctx: Ctx
    state: State
    arguments: dict[str, Any]
    responses: types.InputResponses
    request_state: str | None

    @property
    def stateless(self) -> bool:
        """Whether the caller speaks a revision that has no requests from server to client."""
        return self.ctx.protocol_version in MODERN_PROTOCOL_VERSIONS


ToolFunction = Callable[[Call], Awaitable[Answer]]


def schema(required: tuple[str, ...] = (), **properties: str | dict[str, Any]) -> dict[str, Any]:
    """An object schema; a property given as a string is `{"type": that}`."""
    members = {name: {"type": p} if isinstance(p, str) else p for name, p in properties.items()}
    return {"type": "object", "properties": members, **({"required": list(required)} if required else {})}


class Toolbox:
    """An ordered, changeable set of tools."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._tools: dict[str, tuple[types.Tool, ToolFunction]] = {}

    def tool(
        self, name: str, description: str, input_schema: dict[str, Any] | None = None, **members: Any
    ) -> Callable[[ToolFunction], ToolFunction]:
        """Decorator: register the function under `name`; `members` are further fields of the definition."""
        definition = types.Tool(name=name, description=description, input_schema=input_schema or schema(), **members)

        def register(function: ToolFunction) -> ToolFunction:
            self._tools[name] = (definition, function)
            return function

        return register

    def remove(self, name: str) -> bool:
        """Drop a tool; False when there was none of that name."""
        return self._tools.pop(name, None) is not None

    async def list(self, _ctx: Ctx, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        """Answer `tools/list`."""
        return types.ListToolsResult(tools=[definition for definition, _ in self._tools.values()])

    async def call(
        self, ctx: Ctx, params: types.CallToolRequestParams
    ) -> types.CallToolResult | types.InputRequiredResult:
        """Answer `tools/call`; an unknown name is -32602 as the specification's tools page says."""
        entry = self._tools.get(params.name)
        if entry is None:
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name}")
        definition, function = entry
        arguments = params.arguments or {}
        missing = [name for name in definition.input_schema.get("required", ()) if name not in arguments]
        if missing:
            return failure(f"missing argument: {', '.join(missing)}")
        answer = await function(Call(ctx, self.state, arguments, params.input_responses or {}, params.request_state))
        if isinstance(answer, str):
            return types.CallToolResult(content=[types.TextContent(text=answer)])
        return types.CallToolResult(content=answer) if isinstance(answer, list) else answer


def failure(text: str) -> types.CallToolResult:
    """A result that reports a failure of the tool itself (`isError`)."""
    return types.CallToolResult(content=[types.TextContent(text=text)], is_error=True)
