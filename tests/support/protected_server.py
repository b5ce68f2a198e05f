"""A protected MCP server in the test's loop, with the authorization server that issues its tokens.

Owns what it refuses and how it says so. Each of the two listens on a port of its own, unless they are put together.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support.auth_manners import TIMEOUT_S, Grant, Manners, Seen
from tests.support.auth_server import AuthorizationServer

REVISION = "2025-11-25"


class ResourceServer:
    """An MCP server of the handshake era that wants a token for every message."""

    def __init__(self, base: str, issuer: AuthorizationServer) -> None:
        self.base = base
        self.authorization_server = issuer
        """Whose tokens are good; may be changed."""
        self.seen = Seen()
        self.lets_in = True
        """Whether any token is good."""

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"{self.base}/mcp"

    @property
    def manners(self) -> Manners:
        """Those of the site."""
        return self.authorization_server.manners

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (await self._answer(Request(scope, receive)))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path, kind = request.url.path, self.manners.resource_metadata
        if request.method == "GET" and path == self._metadata_path():
            found = {
                "resource": self.manners.resource or (self.base if kind == "root" else self.url),
                "authorization_servers": [self.authorization_server.issuer],
            }
            if self.manners.resource_scopes is not None:
                found["scopes_supported"] = list(self.manners.resource_scopes)
            return JSONResponse(found)
        if path != "/mcp":
            if self.authorization_server.base == self.base:
                return await self.authorization_server.answer(request)
            return Response("nothing here", 404)
        if request.method != "POST":
            return Response(status_code=405 if request.method == "GET" else 200)
        return await self._message(json.loads(await request.body()), request.headers.get("authorization"))

    def _metadata_path(self) -> str | None:
        return {
            "challenge": "/elsewhere/metadata.json",
            "path": "/.well-known/oauth-protected-resource/mcp",
            "root": "/.well-known/oauth-protected-resource",
            "none": None,
        }[self.manners.resource_metadata]

    async def _message(self, message: dict[str, Any], authorization: str | None) -> Response:
        method, params = message["method"], message.get("params", {})
        await self.seen.add(method, {"authorization": authorization})
        token = (authorization or "").removeprefix("Bearer ")
        grant = self.authorization_server.tokens.get(token)
        if (
            not self.lets_in
            or grant is None
            or grant.ends_at < time.time()
            or grant.resource not in (self.url, self.base)
        ):
            return self._refusal(401, self.manners.challenge_scope, None)
        needed = self.manners.needs.get(params.get("name", "") if method == "tools/call" else method)
        if needed is not None and (self.manners.never_enough or needed not in grant.scope.split()):
            return self._refusal(403, needed, "insufficient_scope")
        if "id" not in message:
            return Response(status_code=202)
        return JSONResponse({"jsonrpc": "2.0", "id": message["id"], **_result(method, params, grant)})

    def _refusal(self, status: int, scope: str | None, error: str | None) -> Response:
        parameters = {"realm": "test, quoted"}
        if error is not None:
            parameters["error"] = error
        if scope is not None:
            parameters["scope"] = scope
        if self.manners.resource_metadata == "challenge":
            parameters["resource_metadata"] = f"{self.base}{self._metadata_path()}"
        challenge = "Bearer " + ", ".join(f'{name}="{value}"' for name, value in parameters.items())
        return Response(status_code=status, headers={"WWW-Authenticate": challenge})


def _result(method: str, params: dict[str, Any], grant: Grant) -> dict[str, Any]:
    match method:
        case "initialize":
            info = {"name": "protected", "version": "1"}
            return {"result": {"protocolVersion": REVISION, "capabilities": {"tools": {}}, "serverInfo": info}}
        case "ping":
            return {"result": {}}
        case "tools/list":
            tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("read", "write")]
            return {"result": {"tools": tools}}
        case "tools/call":
            return {"result": {"content": [{"type": "text", "text": f"{params['name']} as {grant.scope}"}]}}
        case _:
            return {"error": {"code": -32601, "message": "no such method"}}


class Site:
    """A protected server and who issues its tokens."""

    def __init__(self, issuer: AuthorizationServer, resource: ResourceServer) -> None:
        self.issuer = issuer
        self.resource = resource

    @property
    def url(self) -> str:
        """The MCP endpoint."""
        return self.resource.url


@asynccontextmanager
async def authorization_server(manners: Manners) -> AsyncGenerator[AuthorizationServer]:
    """An authorization server alone."""
    with listening() as (base, listener):
        server = AuthorizationServer(base, manners)
        async with serving(server, listener):
            yield server


@asynccontextmanager
async def site(*, together: bool = False, **manners: Any) -> AsyncGenerator[Site]:
    """A protected server with an authorization server; with `together` both are at one address."""
    with listening() as (base, listener):
        async with authorization_server(Manners(**manners)) as issuer:
            if together:
                issuer.base = base
            resource = ResourceServer(base, issuer)
            async with serving(resource, listener):
                yield Site(issuer, resource)


@contextlib.contextmanager
def listening() -> Generator[tuple[str, socket.socket]]:
    """A socket that takes connections before anybody serves them, and its origin."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", listener


@asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket) -> AsyncGenerator[None]:
    """Serve an application as long as the block runs."""
    config = uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, timeout_graceful_shutdown=1)
    server = _Server(config)
    running = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await asyncio.wait([running], timeout=TIMEOUT_S)


class _Server(uvicorn.Server):
    """uvicorn without its signal handling: the process is pytest's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield
