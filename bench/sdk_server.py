"""The Python SDK's server by itself, with JSON answers: `python sdk_server.py PORT`.

What one echo tool costs when no gateway is there at all.
"""

from __future__ import annotations

import sys

import uvicorn
from mcp.server import MCPServer

server = MCPServer("sdk-alone", log_level="WARNING")


@server.tool(structured_output=False)
async def echo(text: str) -> str:
    """Give back the text."""
    return text


if __name__ == "__main__":
    app = server.streamable_http_app(json_response=True)
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False, loop="uvloop")
