"""How a test server listens: a free port of its own, its URL as the first line, the end when its parent is gone.

Owns the uvicorn run shared by the test servers. Knows nothing of MCP.
"""

import asyncio
import os
import socket
import sys
import threading

import uvicorn
from starlette.types import ASGIApp

GRACE_S = 1


def _end_with_stdin() -> None:
    """End the process at once when standard input ends: whoever started it is gone."""

    def watch() -> None:
        while os.read(0, 4096):
            pass
        os._exit(0)

    threading.Thread(target=watch, daemon=True, name="stdin-watch").start()


def serve_http(app: ASGIApp, path: str, port: int, *, until_eof: bool = False) -> None:
    """Serve `app` on 127.0.0.1 until a signal comes; port 0 takes a free one. Prints the URL as the first line."""
    listening = socket.create_server(("127.0.0.1", port), backlog=512)
    if until_eof:
        _end_with_stdin()
    print(f"http://127.0.0.1:{listening.getsockname()[1]}{path}", flush=True)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=GRACE_S, lifespan="on")
    config.log_config = None
    sys.stdout.flush()
    asyncio.run(uvicorn.Server(config).serve(sockets=[listening]))
