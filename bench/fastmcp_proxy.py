"""A FastMCP proxy in front of several servers: `python fastmcp_proxy.py PORT CONFIG`.

Runs in a virtual environment of its own, so it imports nothing of this project. CONFIG has `mcpServers`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fastmcp.server import create_proxy

if __name__ == "__main__":
    config = {"mcpServers": json.loads(Path(sys.argv[2]).read_text())["mcpServers"]}
    create_proxy(config, name="proxy").run(
        transport="http",
        host="127.0.0.1",
        port=int(sys.argv[1]),
        path="/mcp",
        json_response=True,
        show_banner=False,
        log_level="WARNING",
        uvicorn_config={"access_log": False},
    )
