"""Logins to servers: begun here, answered here by a browser or by hand; and the hub's own client metadata.

Owns the page a person sees at the end of a login. What an answer is worth is `upstreams/oauth/authorizations`.
"""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qsl, urlsplit

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from hub_gateway.errors import CallerError, HubError, UnknownEntry
from hub_gateway.management.bodies import answer, iso, read
from hub_gateway.management.deps import Deps

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<h1>{title}</h1>
<p>{text}</p>
"""
_PAGE_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "referrer-policy": "no-referrer",  # the address of this page holds the code
    "x-content-type-options": "nosniff",
}
_DOCUMENT_HEADERS = {"cache-control": "public, max-age=300"}


class _Authorize(msgspec.Struct):
    server_name: str
    forget: bool = False


class _Answered(msgspec.Struct):
    url: str


def routes(deps: Deps) -> list[Route]:
    """What a login needs."""
    limit_bytes, clock, authorizations = deps.settings.body_limit_bytes, deps.clock, deps.authorizations

    async def authorize(request: Request) -> Response:
        asked = await read(request, _Authorize, limit_bytes)
        url = await deps.fleet.get(asked.server_name).authorize(asked.forget)
        return answer({"authorizationUrl": url, "server_name": asked.server_name, "timestamp": iso(clock())})

    async def callback(request: Request) -> Response:
        try:
            name = await authorizations.complete(_parameters(str(request.url.query)))
        except HubError as fault:
            return _page("The login did not work", f"{fault}.", fault.http_status)
        return _page("The login worked", f"The hub has access to {name}. This page can be closed.", 200)

    async def manual(request: Request) -> Response:
        asked = await read(request, _Answered, limit_bytes)
        try:
            query = urlsplit(asked.url.strip()).query
        except ValueError as fault:
            raise CallerError("Invalid body: `url` is no URL") from fault
        name = await authorizations.complete(_parameters(query))
        message = f"The hub has access to {name}"
        return answer({"status": "ok", "message": message, "server_name": name, "timestamp": iso(clock())})

    async def document(_request: Request) -> Response:
        found = authorizations.document
        if found is None:
            raise UnknownEntry("MCP_HUB_PUBLIC_URL is no https address, so the hub has no client metadata document")
        return answer(found, headers=_DOCUMENT_HEADERS)

    return [
        Route("/api/servers/authorize", authorize, methods=["POST"]),
        Route("/api/oauth/callback", callback, methods=["GET"]),
        Route("/api/oauth/manual_callback", manual, methods=["POST"]),
        Route("/oauth/client-metadata.json", document, methods=["GET"]),
    ]


def _parameters(query: str) -> dict[str, str]:
    """The parameters of an answer. One that stands there twice makes all of it void (RFC 6749 §3.1)."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=100)
    except ValueError as fault:
        raise CallerError("the answer has too many parameters") from fault
    if len(pairs) != len(dict(pairs)):
        raise CallerError("the answer has a parameter twice")
    return dict(pairs)


def _page(title: str, text: str, status: int) -> Response:
    page = _PAGE.format(title=escape(title), text=escape(text))
    return HTMLResponse(page, status_code=status, headers=_PAGE_HEADERS)
