"""A test server of both eras as a newcomer to the Python SDK writes it: every tool asks and tells in one way only.

`--transport http` prints its URL as the first line. The `in_session` tools use what only sessions have; `by_result`
asks with its result, which only stateless clients understand. Owns no transport.
"""

import argparse
import fcntl
import os
from pathlib import Path
from typing import Annotated, Final

import mcp_types as types
from mcp.server.mcpserver import Context, Elicit, ElicitationResult, MCPServer, Resolve
from pydantic import BaseModel

from tests.support.serving import serve_http

NAMED: Final = types.ElicitRequest(
    params=types.ElicitRequestFormParams(
        message="Who?", requested_schema={"type": "object", "properties": {"name": {"type": "string"}}}
    )
)


class Name(BaseModel):
    """A form with one field."""

    name: str


def build() -> MCPServer:
    """The server."""
    server = MCPServer("both-eras")

    @server.tool()
    async def form_in_session(ctx: Context) -> str:
        """Ask for a name with a request."""
        found = await ctx.elicit("Who?", Name)
        return f"{found.action}: {found.data.name if found.action == 'accept' else ''}"

    @server.tool()
    async def model_in_session(ctx: Context) -> str:
        """Ask the client's model with a request."""
        asked = types.SamplingMessage(role="user", content=types.TextContent(text="the way?"))
        found = await ctx.session.create_message([asked], max_tokens=10, related_request_id=ctx.request_id)  # pyright: ignore[reportDeprecated]
        return found.content.text if isinstance(found.content, types.TextContent) else "?"

    @server.tool()
    async def roots_in_session(ctx: Context) -> str:
        """Ask for roots with a request."""
        return ", ".join(str(root.uri) for root in (await ctx.session.list_roots()).roots)  # pyright: ignore[reportDeprecated]

    @server.tool()
    async def by_result(ctx: Context) -> str | types.InputRequiredResult:
        """Ask for a name with the result."""
        answers = ctx.input_responses or {}
        if "name" not in answers:
            return types.InputRequiredResult(input_requests={"name": NAMED})
        answer = answers["name"]
        assert isinstance(answer, types.ElicitResult)
        return f"{answer.action}: {(answer.content or {}).get('name')}"

    @server.tool()
    async def era(ctx: Context) -> str:
        """Tell the revision that the caller is served in."""
        return str(ctx.protocol_version)

    async def asked() -> Elicit[Name]:
        return Elicit("Who?", Name)

    @server.tool()
    async def by_parameter(found: Annotated[ElicitationResult[Name], Resolve(asked)]) -> str:
        """Ask for a name with whatever the caller's era has for it."""
        return f"{found.action}: {found.data.name if found.action == 'accept' else ''}"

    _ = (form_in_session, model_in_session, roots_in_session, by_result, era, by_parameter)
    return server


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transport", choices=("http", "stdio"), default="http")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends (http)")
    parser.add_argument("--lock", type=Path, help="end at once where another process holds this file's lock")
    parser.add_argument("--one-by-one", action="store_true", help="serve each request of a session by itself (http)")
    arguments = parser.parse_args()
    if arguments.lock is not None:
        fcntl.flock(os.open(arguments.lock, os.O_CREAT | os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
    server = build()
    if arguments.transport == "stdio":
        server.run("stdio")
    else:
        app = server.streamable_http_app(stateless_http=arguments.one_by_one)
        serve_http(app, "/mcp", arguments.port, until_eof=arguments.until_eof)


if __name__ == "__main__":
    main()
