"""One upstream's access: the header that every request to it carries, and how another comes about.

Owns when a token is renewed and which way: refreshed, got for the hub itself, or by a person's login. Does not know what
the header is put on, nor how a login is answered (`authorizations`). Nothing here opens a browser.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from hub_common.logs import add_secret, forget_secret
from hub_common.tasks import Tasks
from hub_gateway.config.model import OAuth
from hub_gateway.errors import Conflict, UpstreamUnauthorized
from hub_gateway.upstreams.oauth.challenge import Challenge
from hub_gateway.upstreams.oauth.discovery import Found, discover
from hub_gateway.upstreams.oauth.pending import LIFE_S, Pending, Pendings, begun
from hub_gateway.upstreams.oauth.registration import Client, Identity, known_client, register
from hub_gateway.upstreams.oauth.tokens import Refused, TokenEndpoint, Tokens
from hub_gateway.upstreams.oauth.urls import united
from hub_gateway.upstreams.oauth.vault import Kept, Vault
from hub_gateway.upstreams.oauth.web import Web

_log = logging.getLogger(__name__)

RENEW_AT_LEAST_S = 30.0
"""A token of which this much is left is renewed before it is refused; of a short-lived one, a fifth of its life."""

_YOUNG_S = 10.0
_AGAIN_S = 30.0
_LONGEST_TIMER_S = 86_400.0
_STEP_UPS = 2


class Shared(NamedTuple):
    """What all credentials work with. `clock` gives Unix seconds."""

    vault: Vault
    pendings: Pendings
    identity: Identity
    clock: Callable[[], float]


class Credential:
    """The access to one upstream. `prepare` before each connect; `rest` when nobody connects any more."""

    def __init__(self, name: str, shared: Shared) -> None:
        self.name = name
        self.key = ""
        """Of the upstream as it was last prepared, in the vault."""
        self.header = b""
        """The encoded header line that requests carry; b"" while there is no token. Swapped as a whole."""
        self._shared = shared
        self._url = ""
        self._oauth = OAuth()
        self._kept = Kept()
        self._retired = ""
        self._pending: Pending | None = None
        self._challenge = Challenge()
        self._step_ups: dict[str, int] = {}
        self._failure = ""
        self._watchers: list[Callable[[], None]] = []
        self._tasks = Tasks(f"oauth.{name}")
        self._working = asyncio.Lock()
        self._renewal: asyncio.Task[UpstreamUnauthorized | None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def authorization_url(self) -> str | None:
        """What a person opens to let the hub in; None while nobody has to."""
        pending = self._pending
        if pending is None or self._shared.clock() - pending.begun_at >= LIFE_S:
            return None
        return pending.url

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Have `changed` called whenever the header is another, or a login failed; returns what ends that."""
        self._watchers.append(changed)
        return lambda: self._watchers.remove(changed) if changed in self._watchers else None

    async def prepare(self, url: str, oauth: OAuth | None) -> None:
        """Take what is kept for the upstream at this address, renewed where its time is over. Never fails."""
        oauth = oauth or OAuth()
        key = Vault.key(self.name, url, oauth)
        if key != self.key:
            self._pending, self._challenge, self._failure = None, Challenge(), ""
            self._step_ups.clear()
        self.key, self._url, self._oauth = key, url, oauth
        if self._tasks.closed:
            self._tasks = Tasks(f"oauth.{self.name}")
        async with self._working:
            kept = await self._shared.vault.get(key)
            if oauth.issuer is not None and kept.issuer != oauth.issuer:
                kept = msgspec.structs.replace(kept, tokens=None, scope=None)
            self._use(kept)
            if self._is_due(0.0):
                await self._renew_early()

    async def renew(self, refused: bytes, status: int, challenge: Challenge) -> None:
        """Have another header than the `refused` one, which got this status. Many callers share one renewal, and
        cancelling one does not end it.

        Raises:
            UpstreamUnauthorized: there is no other; `data.authorizationUrl` is what a person has to open, if anything.
        """
        if self.header != refused:
            return
        if self._renewal is None or self._renewal.done():
            self._renewal = self._tasks.spawn(self._renew(refused, status, challenge), "renew")
        fault = await asyncio.shield(self._renewal)
        if fault is not None and self.header == refused:
            raise UpstreamUnauthorized(str(fault), fault.data)

    async def authorize(self, forget: bool = False) -> str:
        """Begin a login, unless one is under way, and return what a person has to open. With `forget` everything that
        is kept of the upstream is thrown away before.

        Raises:
            Conflict: nobody logs in to this upstream.
            UpstreamUnauthorized: no login can be begun; the text says why.
        """
        if self._oauth.grant == "client_credentials":
            raise Conflict(f"nobody logs in to {self.name}: the hub has access of its own (client_credentials)")
        async with self._working:
            self._step_ups.clear()
            self._failure = ""
            if forget:
                self._pending = None
                await self._keep(Kept())
            if (url := self.authorization_url) is not None:
                return url
            kept = await self._shared.vault.get(self.key)
            found, kept = await self._find(kept, self._challenge)
            return (await self._begin(found, kept, self._challenge, None)).url

    async def redeem(self, pending: Pending, code: str) -> None:
        """Make a token of what a login brought.

        Raises:
            UpstreamUnauthorized: the authorization server gives none.
        """
        async with self._working:
            web, client = self._web(), self._with_secret(pending.client)
            endpoint = TokenEndpoint(web, pending.token_endpoint, client, pending.resource, self._shared.clock)
            try:
                tokens = await endpoint.redeem(code, pending.verifier, client.redirect_uri, pending.scope)
            except UpstreamUnauthorized as fault:
                self.failed(pending, str(fault))
                if isinstance(fault, Refused):
                    await self._disown(pending.client, pending.issuer, fault.error)
                raise
            kept = await self._shared.vault.get(self.key)
            self._count(pending.challenged)
            self._pending, self._failure = None, ""
            await self._keep(
                msgspec.structs.replace(
                    kept,
                    issuer=pending.issuer,
                    token_endpoint=pending.token_endpoint,
                    resource=pending.resource,
                    client=pending.client,
                    tokens=tokens,
                    scope=pending.scope,
                )
            )
            _log.info("%s: the hub is let in", self.name)

    def failed(self, pending: Pending, reason: str, *, unlearn: bool = False) -> None:
        """A login came to nothing; the next attempt to connect begins another. With `unlearn` the next one asks for
        no scope that was asked before."""
        if self._pending is not None and self._pending.state == pending.state:
            self._pending = None
        self._failure = reason
        if unlearn:
            self._kept = msgspec.structs.replace(self._kept, scope=None)
            self._tasks.spawn(self._shared.vault.put(self.key, self._kept), "unlearn")
        self._tell()

    async def rest(self) -> None:
        """Stop renewing. `prepare` begins again."""
        if self._timer is not None:
            self._timer.cancel()
        await self._tasks.close()

    # Renewal

    async def _renew(self, refused: bytes, status: int, challenge: Challenge) -> UpstreamUnauthorized | None:
        try:
            async with self._working:
                await self._replace(refused, status, challenge)
        except UpstreamUnauthorized as fault:
            return fault
        return None

    async def _replace(self, refused: bytes, status: int, challenge: Challenge) -> None:
        if self.header != refused:
            return
        kept = await self._shared.vault.get(self.key)
        if kept.tokens is not None and _header(kept.tokens) != refused:
            self._use(kept)  # another process of the hub was quicker
            return
        self._challenge = challenge
        challenged = self._challenged(challenge) if status == 403 else None
        self._raise_if_waiting(challenge)
        found, kept = await self._find(kept, challenge)
        if challenged is None and await self._refreshed(found, kept):
            return
        if self._oauth.grant == "client_credentials":
            await self._take_own(found, kept, challenge, challenged)
            return
        raise self._wants_login(await self._begin(found, kept, challenge, challenged))

    def _challenged(self, challenge: Challenge) -> str:
        """The scopes of a 403, in one order.

        Raises:
            UpstreamUnauthorized: they were got several times, and it still refuses (2026-07-28 §Step-Up Authorization
                Flow: no more than a few times).
        """
        challenged = " ".join(sorted((challenge.scope or "").split()))
        if self._step_ups.get(challenged, 0) >= _STEP_UPS:
            raise UpstreamUnauthorized(f"it wants more permission{_named(challenged)} and refuses what it gets for it")
        return challenged

    def _raise_if_waiting(self, challenge: Challenge) -> None:
        """Leave a login that is under way alone, as long as it is wide enough and has time."""
        pending = self._pending
        if pending is None or self._shared.clock() - pending.begun_at >= LIFE_S / 2:
            return
        if challenge.scope is None or united(pending.scope, challenge.scope) == pending.scope:
            raise self._wants_login(pending)

    async def _find(self, kept: Kept, challenge: Challenge) -> tuple[Found, Kept]:
        """Find the authorization server now in charge; what came from another one is left out of what is kept."""
        oauth = self._oauth
        pinned = oauth.issuer or (kept.pinned.get(oauth.client_id) if oauth.client_id is not None else None)
        found = await discover(self._web(), self._url, challenge, pinned)
        if kept.issuer not in ("", found.server.issuer):
            _log.warning("%s: its authorization server is another now, %s", self.name, found.server.issuer)
            kept = msgspec.structs.replace(kept, issuer="", client=None, tokens=None, scope=None)
        if oauth.client_id is not None:
            kept = msgspec.structs.replace(kept, pinned={**kept.pinned, oauth.client_id: found.server.issuer})
        return found, kept

    async def _refreshed(self, found: Found, kept: Kept) -> bool:
        """Refresh the refused token, unless it is too young for that to help. A refused refresh token is forgotten."""
        tokens, client = kept.tokens, kept.client
        if tokens is None or tokens.refresh_token is None or client is None:
            return False
        if self._shared.clock() - tokens.obtained_at < _YOUNG_S:
            return False
        kept = msgspec.structs.replace(kept, token_endpoint=found.server.token_endpoint)
        try:
            tokens = await self._endpoint(kept, client).refresh(tokens)
        except Refused as fault:
            _log.info("%s: the token is not refreshed: %s", self.name, fault)
            await self._shared.vault.put(self.key, msgspec.structs.replace(kept, tokens=None))
            await self._disown(client, kept.issuer, fault.error)
            return False
        await self._keep(msgspec.structs.replace(kept, tokens=tokens))
        return True

    async def _take_own(self, found: Found, kept: Kept, challenge: Challenge, challenged: str | None) -> None:
        """Get a token for the hub itself."""
        scope = self._wanted_scope(found, kept, challenge)
        client = await self._client(found, kept, scope)
        kept = _bound(kept, found, client, scope)
        tokens = await self._endpoint(kept, client).for_itself(scope)
        self._count(challenged)
        await self._keep(msgspec.structs.replace(kept, tokens=tokens))

    # Login

    async def _begin(self, found: Found, kept: Kept, challenge: Challenge, challenged: str | None) -> Pending:
        server = found.server
        if server.authorization_endpoint is None:
            raise UpstreamUnauthorized(f"nobody can log in at its authorization server {server.issuer}")
        if "S256" not in (server.code_challenge_methods_supported or ()):
            # 2026-07-28 security-considerations §Authorization Code Protection: clients refuse to proceed.
            raise UpstreamUnauthorized(f"its authorization server {server.issuer} does not say that it knows PKCE")
        scope = self._wanted_scope(found, kept, challenge)
        client = await self._client(found, kept, scope)
        pending = begun(found, client, self.key, self.name, (scope, challenged), self._shared.clock())
        await self._shared.pendings.put(pending)
        self._pending = pending
        _log.info("%s: to let the hub in, open %s", self.name, pending.url)
        return pending

    def _wanted_scope(self, found: Found, kept: Kept, challenge: Challenge) -> str | None:
        """What to ask for (2026-07-28 §Scope Selection Strategy), with all that was asked before."""
        named = united(*self._oauth.scopes, challenge.scope)
        scope = united(kept.scope, named or found.scopes)
        offline = "offline_access"
        if scope and self._oauth.grant == "authorization_code" and offline in (found.server.scopes_supported or ()):
            return united(scope, offline)
        return scope

    async def _client(self, found: Found, kept: Kept, scope: str | None) -> Client:
        shared, server = self._shared, found.server
        registered = kept.registrations.get(server.issuer)
        client = known_client(server, self._oauth, shared.identity, registered, scope, shared.clock())
        if client is None:
            client = await register(self._web(), server, shared.identity, scope)
            kept = msgspec.structs.replace(kept, registrations={**kept.registrations, server.issuer: client})
        await shared.vault.put(self.key, kept)
        return client

    async def _disown(self, client: Client, issuer: str, error: str) -> None:
        """Forget a registration that the authorization server does not know any more."""
        if client.source == "registered" and error in ("invalid_client", "unauthorized_client"):
            kept = await self._shared.vault.get(self.key)
            others = {key: other for key, other in kept.registrations.items() if key != issuer}
            await self._shared.vault.put(self.key, msgspec.structs.replace(kept, registrations=others))

    def _wants_login(self, pending: Pending) -> UpstreamUnauthorized:
        wants = "it wants a login" if pending.challenged is None else f"it wants more permission{_named(pending.scope)}"
        before = f" (the last one failed: {self._failure})" if self._failure else ""
        return UpstreamUnauthorized(f"{wants}: open its authorizationUrl{before}", {"authorizationUrl": pending.url})

    # The token in use

    async def _keep(self, kept: Kept) -> None:
        await self._shared.vault.put(self.key, kept)
        self._use(kept)

    def _use(self, kept: Kept) -> None:
        self._kept = kept
        self._schedule()
        header = b"" if kept.tokens is None else _header(kept.tokens)
        if header == self.header:
            return
        if kept.tokens is not None:
            add_secret(kept.tokens.access_token)
            # The one before may still be on its way; the one before that is nowhere.
            forget_secret(self._retired)
            self._retired = self.header.decode().strip().rpartition(" ")[2]
        self.header = header
        self._tell()

    def _tell(self) -> None:
        for changed in tuple(self._watchers):
            changed()

    def _is_due(self, within_s: float) -> bool:
        """Whether the token can be renewed without asking anybody, and ends within this time."""
        kept, tokens = self._kept, self._kept.tokens
        if tokens is None or tokens.expires_at is None or kept.client is None:
            return False
        renewable = tokens.refresh_token is not None or self._oauth.grant == "client_credentials"
        return renewable and tokens.expires_at - self._shared.clock() <= within_s

    def _schedule(self, pause_s: float | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        tokens = self._kept.tokens
        if tokens is None or tokens.expires_at is None or not self._is_due(float("inf")):
            return
        if pause_s is None:
            margin_s = min(RENEW_AT_LEAST_S, (tokens.expires_at - tokens.obtained_at) / 5)
            # Several processes with the same token do not all come at once: the others find the new one.
            pause_s = max(0.0, tokens.expires_at - margin_s * (1 + random.random()) - self._shared.clock())
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(min(pause_s, _LONGEST_TIMER_S), self._ring)

    def _ring(self) -> None:
        if self._is_due(2 * RENEW_AT_LEAST_S):
            self._tasks.spawn(self._renew_in_time(), "early")
        else:
            self._schedule()

    async def _renew_in_time(self) -> None:
        async with self._working:
            await self._renew_early()

    async def _renew_early(self) -> None:
        """Renew a token nobody has refused. On failure it is used as long as it lives."""
        used = self._kept
        kept = await self._shared.vault.get(self.key)
        if kept.tokens is not None and kept.tokens != used.tokens and kept.tokens.obtained_at > 0:
            self._use(kept)
            return
        if kept.tokens is None or kept.client is None:
            return
        endpoint = self._endpoint(kept, kept.client)
        try:
            if kept.tokens.refresh_token is not None:
                tokens = await endpoint.refresh(kept.tokens)
            else:
                tokens = await endpoint.for_itself(kept.scope)
        except Refused as fault:
            _log.info("%s: the token is not renewed: %s", self.name, fault)
        except UpstreamUnauthorized as fault:
            _log.info("%s: the token is not renewed yet: %s", self.name, fault)
            self._schedule(_AGAIN_S)
        else:
            await self._keep(msgspec.structs.replace(kept, tokens=tokens))

    def _endpoint(self, kept: Kept, client: Client) -> TokenEndpoint:
        return TokenEndpoint(
            self._web(), kept.token_endpoint, self._with_secret(client), kept.resource, self._shared.clock
        )

    def _with_secret(self, client: Client) -> Client:
        if client.source != "config":
            return client
        return msgspec.structs.replace(client, client_secret=self._oauth.client_secret)

    def _count(self, challenged: str | None) -> None:
        if challenged is not None:
            self._step_ups[challenged] = self._step_ups.get(challenged, 0) + 1

    def _web(self) -> Web:
        return Web(plain=self._url.lower().startswith("http:"))


def _header(tokens: Tokens) -> bytes:
    return f"Authorization: Bearer {tokens.access_token}\r\n".encode()


def _named(scope: str | None) -> str:
    return f" ({scope[:200]})" if scope and scope.isprintable() else ""


def _bound(kept: Kept, found: Found, client: Client, scope: str | None) -> Kept:
    """What is kept of a token of this server and client."""
    server = found.server
    return msgspec.structs.replace(
        kept,
        issuer=server.issuer,
        token_endpoint=server.token_endpoint,
        resource=found.resource,
        client=client,
        tokens=None,
        scope=scope,
    )
