"""A remote server, an authorization server and an LLM's provider that refuse whatever they are asked, and repeat in the
refusal everything they were shown: path, query, headers and body.

The path chooses how: `/STATUS/…` with that status and a text, `/rpc/…` with an error of the protocol, `/oauth/…` by
asking for a token that its own token endpoint then refuses. Owns nothing but what it says.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Generator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

METHODS = ["GET", "POST", "DELETE"]


class Telltale:
    """What it was shown, to be sure that it was shown it."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.heard: list[str] = []

    async def refuse(self, request: Request) -> Response:
        """Say no, and why at length."""
        body, status = (await request.body()).decode(errors="replace"), int(request.path_params["status"])
        return PlainTextResponse(f"no: {self._hear(request, body)}", status)

    async def fail(self, request: Request) -> Response:
        """Answer a message with an error of the protocol."""
        body = await request.body()
        told = self._hear(request, body.decode(errors="replace"))
        message: dict[str, Any] = json.loads(body or b"{}")
        error = {"code": -32000, "message": f"no: {told}"}
        return JSONResponse({"jsonrpc": "2.0", "id": message.get("id"), "error": error})

    async def challenge(self, request: Request) -> Response:
        """Want a token."""
        self._hear(request, "")
        metadata = f"{self.base}/.well-known/oauth-protected-resource/oauth/mcp"
        return Response(status_code=401, headers={"WWW-Authenticate": f'Bearer resource_metadata="{metadata}"'})

    async def resource_metadata(self, _request: Request) -> Response:
        """Name itself as the authorization server."""
        return JSONResponse({"resource": f"{self.base}/oauth/mcp", "authorization_servers": [self.base]})

    async def server_metadata(self, _request: Request) -> Response:
        """Name the endpoints (RFC 8414)."""
        endpoints = {f"{name}_endpoint": f"{self.base}/{name}" for name in ("authorization", "token")}
        methods = {"token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"]}
        supported = {"response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"], **methods}
        return JSONResponse({"issuer": self.base, **endpoints, **supported})

    async def token(self, request: Request) -> Response:
        """Give none (RFC 6749, 5.2)."""
        told = self._hear(request, (await request.body()).decode())
        return JSONResponse({"error": "invalid_client", "error_description": told}, 401)

    def _hear(self, request: Request, body: str) -> str:
        # What identifies comes first, so that it is in what is left of a text that is cut.
        mine = {key: value for key, value in request.headers.items() if key.startswith(("auth", "x-"))}
        told = f"{request.url.query} {mine} {body} {request.url.path}"
        self.heard.append(told)
        return told


@contextlib.contextmanager
def telltale() -> Generator[Telltale]:
    """Run one in a thread, with a loop of its own."""
    listening = socket.create_server(("127.0.0.1", 0))
    served = Telltale(f"http://127.0.0.1:{listening.getsockname()[1]}")
    app = Starlette(
        routes=[
            Route("/.well-known/oauth-protected-resource/{rest:path}", served.resource_metadata),
            Route("/.well-known/oauth-authorization-server", served.server_metadata),
            Route("/token", served.token, methods=["POST"]),
            Route("/rpc/{rest:path}", served.fail, methods=METHODS),
            Route("/oauth/{rest:path}", served.challenge, methods=METHODS),
            Route("/{status:int}/{rest:path}", served.refuse, methods=METHODS),
        ]
    )
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
