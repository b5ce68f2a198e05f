"""A client on the Python SDK 1.x: lists the tools of an endpoint and calls one. Prints one line of JSON.

Runs in an environment of its own, so it imports nothing of this project:
`python sdk1_client.py http|sse URL TOOL ARGUMENTS`.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportMissingImports=false, reportArgumentType=false, reportCallIssue=false

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from datetime import timedelta

from mcp import ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamablehttp_client

TIMEOUT = timedelta(seconds=20)


async def main(transport: str, url: str, tool: str, arguments: str) -> None:
    """List, call and print what came."""
    async with AsyncExitStack() as stack:
        opened = streamablehttp_client(url) if transport == "http" else sse_client(url)
        read, write, *_ = await stack.enter_async_context(opened)
        session = await stack.enter_async_context(ClientSession(read, write, read_timeout_seconds=TIMEOUT))
        hello = await session.initialize()
        names = []
        page = await session.list_tools()
        names += [each.name for each in page.tools]
        while page.nextCursor:
            page = await session.list_tools(page.nextCursor)
            names += [each.name for each in page.tools]
        result = await session.call_tool(tool, json.loads(arguments))
        texts = [content.text for content in result.content if content.type == "text"]
        print(json.dumps({"revision": hello.protocolVersion, "tools": names, "texts": texts, "error": result.isError}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5]))
