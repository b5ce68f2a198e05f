"""Logins that were begun: what the answer of a browser is held against.

Owns the store's space `oauth-pending`, so that any replica takes an answer, also after a restart. Each is answered once
at most, and within `LIFE_S`.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets

import msgspec

from hub_common.store import Store, StoreUnavailable
from hub_gateway.upstreams.oauth.discovery import Found
from hub_gateway.upstreams.oauth.registration import Client
from hub_gateway.upstreams.oauth.urls import with_query

SPACE = "oauth-pending"
LIFE_S = 3_600.0
"""How long a login may take."""

_LIMIT = 1_000
_log = logging.getLogger(__name__)


class Pending(msgspec.Struct, frozen=True):
    """One authorization request (2026-07-28 basic/authorization §Authorization Flow Steps). Holds a secret."""

    state: str
    key: str
    """Of the upstream, in the vault."""
    name: str
    issuer: str
    says_issuer: bool
    """The answer has to carry `iss` (RFC 9207 §2.4)."""
    token_endpoint: str
    resource: str
    client: Client
    verifier: str
    scope: str | None
    challenged: str | None
    """The scopes that a 403 asked for, where one began this."""
    url: str
    """What a person opens."""
    begun_at: float
    """Unix seconds."""

    def __repr__(self) -> str:
        """Without state and verifier."""
        return f"Pending({self.name!r})"


def begun(
    found: Found, client: Client, key: str, name: str, scopes: tuple[str | None, str | None], now_s: float
) -> Pending:
    """Begin a login; `scopes` are those asked for, and of these the ones that a 403 named.

    `found` has an authorization endpoint.
    """
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(64)
    parameters = {
        "response_type": "code",
        "client_id": client.client_id,
        "redirect_uri": client.redirect_uri,
        "state": state,
        "code_challenge": code_challenge(verifier),
        "code_challenge_method": "S256",
        "resource": found.resource,
    }
    scope, challenged = scopes
    if scope:
        parameters["scope"] = scope
    if scope and "offline_access" in scope.split():
        parameters["prompt"] = "consent"  # OpenID Connect Core §11: without it offline_access is ignored
    server = found.server
    return Pending(
        state=state,
        key=key,
        name=name,
        issuer=server.issuer,
        says_issuer=bool(server.authorization_response_iss_parameter_supported),
        token_endpoint=server.token_endpoint,
        resource=found.resource,
        client=client,
        verifier=verifier,
        scope=scope,
        challenged=challenged,
        url=with_query(server.authorization_endpoint or "", parameters),
        begun_at=now_s,
    )


def code_challenge(verifier: str) -> str:
    """The S256 challenge (RFC 7636 §4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


class Pendings:
    """All logins under way. While the store is away, this process's own."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._own: dict[str, tuple[Pending, bool]] = {}

    async def put(self, pending: Pending) -> None:
        """Remember a login."""
        try:
            await self._store.put(SPACE, pending.state, msgspec.json.encode(pending), LIFE_S)
            stored = True
        except StoreUnavailable as fault:
            _log.debug("a login is known to this process only: %s", fault)
            stored = False
        while len(self._own) >= _LIMIT:
            self._own.pop(next(iter(self._own)))
        self._own[pending.state] = pending, stored

    async def take(self, state: str, now_s: float) -> Pending | None:
        """Give the login of that state, once; None where there is none or it took too long."""
        pending, stored = self._own.pop(state, (None, True))
        if stored:
            try:
                body = await self._store.get(SPACE, state)
                await self._store.delete(SPACE, state)
                # Without a body it was answered already, here or on another replica.
                pending = None if body is None else msgspec.json.decode(body, type=Pending)
            except StoreUnavailable as fault:
                _log.debug("a login is looked up in this process only: %s", fault)
            except msgspec.MsgspecError:
                return None
        return pending if pending is not None and now_s - pending.begun_at < LIFE_S else None
