"""What the hub keeps of each upstream's access between starts: registrations and tokens.

Owns the store's space `oauth`. Without Redis that is a file of the state directory with mode 0600, replaced atomically.
While the store is away, this process goes on with what it knows.
"""

from __future__ import annotations

import hashlib
import logging
import secrets

import msgspec

from hub_common.logs import add_secret
from hub_common.store import Store, StoreUnavailable
from hub_gateway.config.server_model import OAuth
from hub_gateway.upstreams.oauth.registration import Client
from hub_gateway.upstreams.oauth.tokens import Tokens
from hub_gateway.upstreams.oauth.web import TIMEOUT_S

SPACE = "oauth"

REFRESHES, REFRESH_S = "oauth-refreshes", TIMEOUT_S + 5.0
"""Space of the store: which process refreshes a token, by its hash, and for how long nobody else does."""

_log = logging.getLogger(__name__)


class Kept(msgspec.Struct, frozen=True):
    """One upstream's access. Holds secrets: never log or return it."""

    issuer: str = ""
    """Who issued the tokens, and to whom they may be shown."""
    token_endpoint: str = ""
    resource: str = ""
    client: Client | None = None
    """Whose the tokens are."""
    tokens: Tokens | None = None
    scope: str | None = None
    """Every scope asked of the issuer so far; what is asked next includes it."""
    registrations: dict[str, Client] = {}
    """Clients registered by the hub, by issuer."""
    pinned: dict[str, str] = {}
    """The issuer that each client id of the config was first used with."""

    def __repr__(self) -> str:
        """Without the secrets."""
        return f"Kept({self.issuer!r})"


class Vault:
    """Keeps by name, address and client, so that another address or client under the same name gets none of it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: dict[str, Kept] = {}
        self._process = secrets.token_bytes(8)

    @staticmethod
    def key(name: str, url: str, oauth: OAuth) -> str:
        """The key of an upstream. The address is hashed: it may hold secrets, and a store may show its keys."""
        told = "\n".join((url, oauth.grant, oauth.client_id or ""))
        return f"{name}:{hashlib.sha256(told.encode()).hexdigest()[:24]}"

    async def get(self, key: str) -> Kept:
        """What is kept; nothing where nothing is, or where it is not readable."""
        try:
            body = await self._store.get(SPACE, key)
            kept = Kept() if body is None else msgspec.json.decode(body, type=Kept)
        except StoreUnavailable as fault:
            _log.debug("kept access is not read: %s", fault)
            return self._seen.get(key, Kept())
        except msgspec.MsgspecError:
            _log.warning("what was kept for %s is not readable and begins anew", key.partition(":")[0])
            return Kept()
        for client in (kept.client, *kept.registrations.values()):
            add_secret((client.client_secret if client is not None else None) or "")
        self._seen[key] = kept
        return kept

    async def may_refresh(self, tokens: Tokens) -> bool:
        """Whether this process may refresh a token; False while another one does."""
        told = f"{tokens.access_token}\n{tokens.refresh_token}"
        try:
            key = hashlib.sha256(told.encode()).hexdigest()
            return await self._store.claim(REFRESHES, key, self._process, REFRESH_S) == self._process
        except StoreUnavailable as fault:
            _log.debug("a token is refreshed unasked: %s", fault)
            return True

    async def put(self, key: str, kept: Kept) -> None:
        """Keep this instead of what was there."""
        self._seen[key] = kept
        try:
            await self._store.put(SPACE, key, msgspec.json.encode(kept))
        except StoreUnavailable as fault:
            _log.warning("new access to %s is lost when the hub ends: %s", key.partition(":")[0], fault)
