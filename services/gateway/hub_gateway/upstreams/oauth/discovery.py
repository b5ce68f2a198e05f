"""From a challenge to the authorization server: who issues tokens for an upstream, and what it can do.

Owns the order of the places that are looked at and what is believed of what they say (2026-07-28 basic/authorization/
authorization-server-discovery; for servers without resource metadata 2025-03-26 basic/authorization §2.3).
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import msgspec

from hub_gateway.errors import UpstreamUnauthorized
from hub_gateway.upstreams.oauth.challenge import Challenge
from hub_gateway.upstreams.oauth.urls import canonical, covers, origin, resource_metadata_urls, server_metadata_urls
from hub_gateway.upstreams.oauth.web import Web

_log = logging.getLogger(__name__)


class AuthorizationServer(msgspec.Struct, frozen=True):
    """Metadata of an authorization server (RFC 8414 §2). Texts are as they were sent: issuers are compared so."""

    issuer: str
    token_endpoint: str
    authorization_endpoint: str | None = None
    registration_endpoint: str | None = None
    scopes_supported: list[str] | None = None
    code_challenge_methods_supported: list[str] | None = None
    token_endpoint_auth_methods_supported: list[str] | None = None
    client_id_metadata_document_supported: bool | None = None
    authorization_response_iss_parameter_supported: bool | None = None


class Found(NamedTuple):
    """Where tokens for an upstream come from."""

    server: AuthorizationServer
    resource: str
    """What the tokens are for (RFC 8707)."""
    scopes: str | None
    """The scopes that the upstream names as sufficient for its basic functions."""


class _Resource(msgspec.Struct):
    resource: str
    authorization_servers: list[str]
    scopes_supported: list[str] | None = None


async def discover(web: Web, url: str, challenge: Challenge, issuer: str | None) -> Found:
    """Find the authorization server of the upstream at `url`; with `issuer` no other one will do.

    Raises:
        UpstreamUnauthorized: there is none, it is not the wanted one, or what is said of it contradicts itself.
    """
    resource = await _resource(web, url, challenge)
    if resource is None:
        server = await _without_resource(web, url)
        if issuer is not None and server.issuer != issuer:
            raise UpstreamUnauthorized(f"its authorization server is {server.issuer}, not {issuer}")
        return Found(server, canonical(url), None)
    candidates = resource.authorization_servers
    if issuer is not None and issuer not in candidates:
        raise UpstreamUnauthorized(f"its authorization server is {', '.join(candidates)[:200]}, not {issuer}")
    server = await _first(web, [issuer] if issuer is not None else candidates)
    scopes = None if resource.scopes_supported is None else " ".join(resource.scopes_supported)
    return Found(server, resource.resource, scopes)


async def _resource(web: Web, url: str, challenge: Challenge) -> _Resource | None:
    for place in resource_metadata_urls(challenge.resource_metadata, url):
        answer = await web.get(place)
        found = answer.decoded(_Resource) if answer.status == 200 else None
        if found is None or not found.authorization_servers:
            _log.debug("no resource metadata at %s (HTTP %d)", place, answer.status)
            continue
        if not covers(found.resource, url):
            raise UpstreamUnauthorized(f"its metadata is about another server, {found.resource[:200]}")
        return found
    return None


async def _first(web: Web, issuers: list[str]) -> AuthorizationServer:
    """The first authorization server that has usable metadata."""
    fault: UpstreamUnauthorized | None = None
    for issuer in issuers:
        try:
            found = await _metadata(web, issuer, (issuer,))
        except UpstreamUnauthorized as refused:
            fault = fault or refused
            continue
        if found is not None:
            return found
    raise fault or UpstreamUnauthorized(f"its authorization server {issuers[0][:200]} has no metadata")


async def _metadata(web: Web, base: str, issuers: tuple[str, ...]) -> AuthorizationServer | None:
    """The metadata under `base`. Its issuer has to be one of these, letter by letter (RFC 8414 §3.3)."""
    web.checked(base)
    for place in server_metadata_urls(base):
        answer = await web.get(place)
        found = answer.decoded(AuthorizationServer) if answer.status == 200 else None
        if found is None:
            _log.debug("no authorization server metadata at %s (HTTP %d)", place, answer.status)
            continue
        if found.issuer not in issuers:
            raise UpstreamUnauthorized(f"the metadata of {base[:200]} is another issuer's, {found.issuer[:200]}")
        for endpoint in (found.token_endpoint, found.authorization_endpoint, found.registration_endpoint):
            if endpoint is not None:
                web.checked(endpoint)
        return found
    return None


async def _without_resource(web: Web, url: str) -> AuthorizationServer:
    """The server is its own authorization server, with default endpoints where it has no metadata either."""
    base = origin(url)
    found = await _metadata(web, base, (base, f"{base}/"))
    return found or AuthorizationServer(
        issuer=base,
        token_endpoint=f"{base}/token",
        authorization_endpoint=f"{base}/authorize",
        registration_endpoint=f"{base}/register",
        code_challenge_methods_supported=["S256"],
    )
