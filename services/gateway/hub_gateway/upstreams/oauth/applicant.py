"""The hub as it asks for tokens of one upstream: at which server, as which client, for which scopes, by which grant.

Owns the steps of a request and what is kept of them. Holds no state of its own: what is known comes in as `Kept` and
goes out as `Kept`. Does not know when a token is wanted (`credential`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from hub_gateway.config.server_model import OAuth
from hub_gateway.errors import UpstreamUnauthorized
from hub_gateway.upstreams.oauth.challenge import Challenge
from hub_gateway.upstreams.oauth.discovery import Found, discover
from hub_gateway.upstreams.oauth.pending import Pending, Pendings, begun
from hub_gateway.upstreams.oauth.registration import Client, Identity, known_client, register
from hub_gateway.upstreams.oauth.tokens import Refused, TokenEndpoint
from hub_gateway.upstreams.oauth.urls import united
from hub_gateway.upstreams.oauth.vault import Kept, Vault
from hub_gateway.upstreams.oauth.web import Web

_log = logging.getLogger(__name__)

_OFFLINE = "offline_access"


class Shared(NamedTuple):
    """What all upstreams' access works with. `clock` gives Unix seconds."""

    vault: Vault
    pendings: Pendings
    identity: Identity
    clock: Callable[[], float]


class Applicant:
    """Asks for one upstream. Every method raises UpstreamUnauthorized where it cannot be done, with the reason.

    Args:
        name: of the upstream.
        url: its address, with nothing left to replace.
        oauth: its config, likewise.
    """

    def __init__(self, name: str, url: str, oauth: OAuth, shared: Shared) -> None:
        self.key = Vault.key(name, url, oauth)
        self.oauth = oauth
        self._name = name
        self._url = url
        self._shared = shared
        self._web = Web(plain=url.lower().startswith("http:"))

    async def find(self, kept: Kept, challenge: Challenge) -> tuple[Found, Kept]:
        """Find the authorization server now in charge; what came from another one is left out of what is kept."""
        oauth = self.oauth
        pinned = oauth.issuer or (kept.pinned.get(oauth.client_id) if oauth.client_id is not None else None)
        found = await discover(self._web, self._url, challenge, pinned)
        issuer = found.server.issuer
        if kept.issuer not in ("", issuer):
            _log.warning("%s: its authorization server is another one now, %s", self._name, issuer)
            kept = msgspec.structs.replace(kept, issuer="", client=None, tokens=None, scope=None)
        if oauth.client_id is not None:
            kept = msgspec.structs.replace(kept, pinned={**kept.pinned, oauth.client_id: issuer})
        return found, kept

    async def begin(self, found: Found, kept: Kept, challenge: Challenge, challenged: str | None) -> Pending:
        """Begin a person's login; `challenged` are the scopes that a 403 named, None where none did."""
        server = found.server
        if server.authorization_endpoint is None:
            raise UpstreamUnauthorized(f"nobody can log in at its authorization server {server.issuer}")
        if "S256" not in (server.code_challenge_methods_supported or ()):
            # 2026-07-28 security-considerations §Authorization Code Protection: clients refuse to proceed.
            raise UpstreamUnauthorized(f"its authorization server {server.issuer} does not say that it knows PKCE")
        scope = self._wanted_scope(found, kept, challenge)
        client = await self._client(found, kept, scope)
        pending = begun(found, client, self.key, self._name, (scope, challenged), self._shared.clock())
        await self._shared.pendings.put(pending)
        _log.warning("%s: to let the hub in, open %s", self._name, pending.url)
        return pending

    async def redeem(self, pending: Pending, code: str, kept: Kept) -> Kept:
        """Exchange what a login brought for a token."""
        bound = msgspec.structs.replace(
            kept,
            issuer=pending.issuer,
            token_endpoint=pending.token_endpoint,
            resource=pending.resource,
            client=pending.client,
            scope=pending.scope,
        )
        endpoint = self._endpoint(bound, pending.client)
        try:
            tokens = await endpoint.redeem(code, pending.verifier, pending.client.redirect_uri, pending.scope)
        except Refused as fault:
            await self._disown(pending.client, kept, pending.issuer, fault)
            raise
        return msgspec.structs.replace(bound, tokens=tokens)

    async def take_own(self, found: Found, kept: Kept, challenge: Challenge) -> Kept:
        """Get a token for the hub itself (client credentials grant)."""
        scope = self._wanted_scope(found, kept, challenge)
        client = await self._client(found, kept, scope)
        server = found.server
        bound = msgspec.structs.replace(
            kept,
            issuer=server.issuer,
            token_endpoint=server.token_endpoint,
            resource=found.resource,
            client=client,
            scope=scope,
        )
        return msgspec.structs.replace(bound, tokens=await self._endpoint(bound, client).for_itself(scope))

    async def again(self, kept: Kept) -> Kept:
        """Get another token for the one that is kept, without asking anybody; there is one, and a client.

        Raises:
            Refused: that does not work any more; a registration that is at fault is not kept.
        """
        assert kept.tokens is not None and kept.client is not None
        endpoint = self._endpoint(kept, kept.client)
        try:
            if kept.tokens.refresh_token is not None:
                tokens = await endpoint.refresh(kept.tokens)
            else:
                tokens = await endpoint.for_itself(kept.scope)
        except Refused as fault:
            await self._disown(kept.client, kept, kept.issuer, fault)
            raise
        return msgspec.structs.replace(kept, tokens=tokens)

    def _wanted_scope(self, found: Found, kept: Kept, challenge: Challenge) -> str | None:
        """What to ask for (2026-07-28 §Scope Selection Strategy), with all that was asked before."""
        named = united(*self.oauth.scopes, challenge.scope)
        scope = united(kept.scope, named or found.scopes)
        if scope and self.oauth.grant == "authorization_code" and _OFFLINE in (found.server.scopes_supported or ()):
            return united(scope, _OFFLINE)
        return scope

    async def _client(self, found: Found, kept: Kept, scope: str | None) -> Client:
        shared, server = self._shared, found.server
        registered = kept.registrations.get(server.issuer)
        client = known_client(server, self.oauth, shared.identity, registered, scope, shared.clock())
        if client is None:
            client = await register(self._web, server, shared.identity, scope)
            kept = msgspec.structs.replace(kept, registrations={**kept.registrations, server.issuer: client})
        await shared.vault.put(self.key, kept)
        return client

    async def _disown(self, client: Client, kept: Kept, issuer: str, fault: Refused) -> None:
        """Forget a registration that the authorization server does not know any more."""
        if client.source == "registered" and fault.error in ("invalid_client", "unauthorized_client"):
            others = {key: other for key, other in kept.registrations.items() if key != issuer}
            await self._shared.vault.put(self.key, msgspec.structs.replace(kept, registrations=others))

    def _endpoint(self, kept: Kept, client: Client) -> TokenEndpoint:
        if client.source == "config":
            client = msgspec.structs.replace(client, client_secret=self.oauth.client_secret)
        return TokenEndpoint(self._web, kept.token_endpoint, client, kept.resource, self._shared.clock)
