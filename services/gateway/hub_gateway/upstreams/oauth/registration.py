"""Which client the hub is at an authorization server: named in the config, by its own document, or registered now.

Owns the order of the three (2026-07-28 basic/authorization/client-registration) and the hub's metadata. Credentials
belong to one issuer and are shown to no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from hub_common.logs import add_secret
from hub_gateway.config.server_model import OAuth, TokenAuthMethod
from hub_gateway.errors import UpstreamUnauthorized
from hub_gateway.upstreams.oauth.discovery import AuthorizationServer
from hub_gateway.upstreams.oauth.urls import is_document_url, is_loopback, united
from hub_gateway.upstreams.oauth.web import Web

_NAME = "MCP Hub"
_METHODS: tuple[TokenAuthMethod, ...] = ("none", "client_secret_basic", "client_secret_post")
_JSON = {"Content-Type": "application/json"}


class Client(msgspec.Struct, frozen=True):
    """The hub as one authorization server knows it. Holds a secret: never log or return it."""

    client_id: str
    source: Literal["config", "document", "registered"]
    method: TokenAuthMethod = "none"
    """How it authenticates at the token endpoint."""
    client_secret: str | None = None
    """Not of a client from the config: that one is taken from there each time."""
    redirect_uri: str = ""
    asked_scope: str | None = None
    """The scopes it was registered for."""
    expires_at: float | None = None
    """Unix seconds at which the secret ends."""

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Client({self.client_id!r}, {self.source})"


class Identity(NamedTuple):
    """How the hub is reached, which decides how it shows itself."""

    base_url: str
    """Without a slash at its end."""

    @property
    def redirect_uri(self) -> str:
        """Where browsers are sent back to."""
        return f"{self.base_url}/api/oauth/callback"

    @property
    def document_url(self) -> str | None:
        """The client id that is the address of the hub's own document; None where nobody outside could read it."""
        url = f"{self.base_url}/oauth/client-metadata.json"
        return url if is_document_url(url) and not is_loopback(url) else None

    @property
    def metadata(self) -> dict[str, Any]:
        """What the hub says of itself when it registers (RFC 7591 §2), but for the token endpoint's method."""
        return {
            "client_name": _NAME,
            "redirect_uris": [self.redirect_uri],
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "application_type": "native" if is_loopback(self.base_url) else "web",
        }

    @property
    def document(self) -> dict[str, Any] | None:
        """The client id metadata document; None where there is no `document_url`."""
        if self.document_url is None:
            return None
        own = {"client_id": self.document_url, "client_uri": self.base_url, "token_endpoint_auth_method": "none"}
        return {**own, **self.metadata}


class _Registered(msgspec.Struct):
    client_id: str
    client_secret: str | None = None
    token_endpoint_auth_method: str | None = None
    client_secret_expires_at: float | None = None


class _Error(msgspec.Struct):
    error: str = ""


def known_client(
    server: AuthorizationServer, oauth: OAuth, identity: Identity, kept: Client | None, scope: str | None, now_s: float
) -> Client | None:
    """The client that needs no registration; `kept` is the one registered with this issuer before."""
    if oauth.client_id is not None:
        method = oauth.token_endpoint_auth_method or _secret_method(server, oauth.client_secret)
        return Client(oauth.client_id, "config", method, redirect_uri=identity.redirect_uri)
    document_url = oauth.client_metadata_url or identity.document_url
    if document_url is not None and server.client_id_metadata_document_supported:
        return Client(document_url, "document", redirect_uri=identity.redirect_uri)
    if kept is None or kept.redirect_uri != identity.redirect_uri:
        return None
    if kept.expires_at is not None and kept.expires_at <= now_s:
        return None
    # Some servers let a client ask only for what it registered with.
    return kept if united(kept.asked_scope, scope) == kept.asked_scope else None


async def register(web: Web, server: AuthorizationServer, identity: Identity, scope: str | None) -> Client:
    """Register the hub (RFC 7591).

    Raises:
        UpstreamUnauthorized: the server takes no registration, refuses this one, or answers with what cannot be used.
    """
    if server.registration_endpoint is None:
        raise UpstreamUnauthorized(
            f"its authorization server {server.issuer} registers no clients: register the hub there (redirect URI "
            f"{identity.redirect_uri}) and put oauth.clientId into the config"
        )
    asked = _wanted_method(server)
    metadata = {**identity.metadata, "token_endpoint_auth_method": asked, **({"scope": scope} if scope else {})}
    answer = await web.post(server.registration_endpoint, msgspec.json.encode(metadata), _JSON)
    if answer.status not in (200, 201):
        error = (answer.decoded(_Error) or _Error()).error[:100]
        shown = f": {error}" if error.isprintable() and error else ""
        raise UpstreamUnauthorized(f"its authorization server does not register the hub (HTTP {answer.status}{shown})")
    found = answer.decoded(_Registered)
    if found is None or not found.client_id:
        raise UpstreamUnauthorized("its authorization server answers a registration with no client id")
    add_secret(found.client_secret or "")
    method = _first_of((found.token_endpoint_auth_method or asked,))
    if method is None or (method != "none" and not found.client_secret):
        raise UpstreamUnauthorized("its authorization server wants a client authentication that the hub cannot give")
    expires_at = found.client_secret_expires_at or None  # 0 means never
    return Client(found.client_id, "registered", method, found.client_secret, identity.redirect_uri, scope, expires_at)


def _secret_method(server: AuthorizationServer, secret: str | None) -> TokenAuthMethod:
    if secret is None:
        return "none"
    supported = server.token_endpoint_auth_methods_supported
    if supported is not None and "client_secret_basic" not in supported and "client_secret_post" in supported:
        return "client_secret_post"
    return "client_secret_basic"


def _wanted_method(server: AuthorizationServer) -> TokenAuthMethod:
    """The simplest that the server has; without a word of it, none: the hub is a public client with PKCE."""
    return _first_of(server.token_endpoint_auth_methods_supported or ()) or "none"


def _first_of(offered: Sequence[str]) -> TokenAuthMethod | None:
    for method in _METHODS:
        if method in offered:
            return method
    return None
