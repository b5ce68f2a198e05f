"""One upstream's access: the header that every request to it carries, and when another takes its place.

Owns the token in use, its renewal before it ends and after it is refused, and the login that is waited for. How a token
is asked for is `applicant`; what the header is put on, the transports know. Nothing here opens a browser.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

import msgspec

from hub_common.logs import add_secret, forget_secret
from hub_common.tasks import Tasks
from hub_gateway.config.server_model import OAuth
from hub_gateway.errors import Conflict, UpstreamUnauthorized
from hub_gateway.upstreams.oauth import challenge as challenges
from hub_gateway.upstreams.oauth.applicant import Applicant, Shared
from hub_gateway.upstreams.oauth.challenge import Challenge
from hub_gateway.upstreams.oauth.pending import LIFE_S, Pending
from hub_gateway.upstreams.oauth.tokens import Refused, Tokens
from hub_gateway.upstreams.oauth.urls import united
from hub_gateway.upstreams.oauth.vault import Kept

_log = logging.getLogger(__name__)

_MARGIN_S = 30.0
"""This long before its end, up to twice that, a token is renewed; a short-lived one after four fifths of its life."""

_YOUNG_S = 10.0
"""A refreshed token that was never accepted and is refused at this age is not refreshed again: another one would be
refused too."""

_AGAIN_S = 30.0
_LOOK_S = 0.2
_SHORTEST_TIMER_S, _LONGEST_TIMER_S = 1.0, 86_400.0
_STEP_UPS = 2


class Credential:
    """The access to one upstream. `prepare` before each connect; `rest` when nobody connects any more."""

    def __init__(self, name: str, shared: Shared) -> None:
        self.name = name
        self.header = b""
        """The encoded header line that requests carry; b"" while there is no token. Swapped as a whole."""
        self.logins = 0
        """How many logins were answered, well or not."""
        self._shared = shared
        self._applicant = Applicant(name, "", OAuth(), shared)
        self._kept = Kept()
        self._retired: frozenset[str] = frozenset()
        self._pending: Pending | None = None
        self._challenge = Challenge()
        self._step_ups: dict[str, int] = {}
        self._untried = b""
        """The header that a refresh made of a refused one, until it is accepted."""
        self._failure = ""
        self._watchers: list[Callable[[], None]] = []
        self._tasks = Tasks(f"oauth.{name}")
        self._working = asyncio.Lock()
        self._renewal: asyncio.Task[UpstreamUnauthorized | None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def key(self) -> str:
        """Of the upstream as it was last prepared, in the vault."""
        return self._applicant.key

    @property
    def authorization_url(self) -> str | None:
        """What a person opens to let the hub in; None while nobody has to."""
        pending = self._pending
        return None if pending is None or self._age_s(pending) >= LIFE_S else pending.url

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        """Have `changed` called whenever the header is another, or a login failed; returns what ends that."""
        self._watchers.append(changed)
        return lambda: self._watchers.remove(changed) if changed in self._watchers else None

    async def prepare(self, url: str, oauth: OAuth | None) -> None:
        """Take what is kept for the upstream at this address, renewed where its time is over. Never fails."""
        applicant = Applicant(self.name, url, oauth or OAuth(), self._shared)
        async with self._working:
            if applicant.key != self.key:
                self._pending, self._challenge, self._failure = None, Challenge(), ""
                self._step_ups.clear()
                self._kept = Kept()
            self._applicant = applicant
            kept = await self._latest()
            if applicant.oauth.issuer is not None and kept.issuer != applicant.oauth.issuer:
                kept = msgspec.structs.replace(kept, tokens=None, scope=None)
            self._use(kept)
            if self._ends_within(0.0):
                await self._renew_unasked()

    async def renew(self, refused: bytes, status: int, challenge: str | None) -> None:
        """Have another header than the `refused` one, which was answered with 401 or 403 and this `WWW-Authenticate`.
        Many callers share one renewal, and cancelling one does not end it.

        Raises:
            UpstreamUnauthorized: there is no other; `data.authorizationUrl` is what a person has to open, if anything.
        """
        read = challenges.read(challenge)
        if status == 403 and not read.wants_scope:
            raise UpstreamUnauthorized("it refuses (HTTP 403)")
        if self.header != refused:
            return
        if self._renewal is None or self._renewal.done():
            self._renewal = self._tasks.spawn(self._renew(refused, status, read), "renew")
        renewal = self._renewal
        await asyncio.wait((renewal,))
        if renewal.cancelled():  # by `rest`, which is no reason to cancel who waits for it
            raise UpstreamUnauthorized("it was stopped, or is configured anew, while its token was renewed")
        fault = renewal.result()
        if fault is not None and self.header == refused:
            raise UpstreamUnauthorized(str(fault), fault.data)

    def accepted(self, header: bytes) -> None:
        """A request with this header, which took the place of a refused one, was let in."""
        if header == self._untried:
            self._untried = b""

    async def authorize(self, forget: bool = False) -> str:
        """Begin a login, unless one is under way, and return what a person has to open. With `forget` everything that
        is kept of the upstream is thrown away before.

        Raises:
            Conflict: nobody logs in to this upstream.
            UpstreamUnauthorized: no login can be begun; the text says why.
        """
        applicant = self._applicant
        if applicant.oauth.grant == "client_credentials":
            raise Conflict(f"nobody logs in to {self.name}: the hub has access of its own (client_credentials)")
        async with self._working:
            self._step_ups.clear()
            self._failure = ""
            if forget:
                self._pending = None
                await self._keep(Kept())
            elif (url := self.authorization_url) is not None:
                return url
            found, kept = await applicant.find(await self._latest(), self._challenge)
            self._pending = await applicant.begin(found, kept, self._challenge, None)
            return self._pending.url

    async def redeem(self, pending: Pending, code: str) -> None:
        """Make a token of what a login brought.

        Raises:
            UpstreamUnauthorized: the authorization server gives none.
        """
        async with self._working:
            try:
                kept = await self._applicant.redeem(pending, code, await self._latest())
            except UpstreamUnauthorized as fault:
                self._failed(pending, str(fault))
                raise
            self._count(pending.challenged)
            self._pending, self._failure = None, ""
            self.logins += 1
            await self._keep(kept)
        _log.info("%s: the hub is let in", self.name)

    async def refuse(self, pending: Pending, reason: str, *, scope_at_fault: bool) -> None:
        """A login came to nothing; the next attempt to connect begins another. With `scope_at_fault` that one asks for
        no scope only because it was asked for before."""
        async with self._working:
            if scope_at_fault:
                self._kept = msgspec.structs.replace(await self._latest(), scope=None)
                await self._shared.vault.put(self.key, self._kept)
            self._failed(pending, reason)

    async def rest(self) -> None:
        """Stop renewing. `prepare` begins again."""
        if self._timer is not None:
            self._timer.cancel()
        tasks, self._tasks = self._tasks, Tasks(self._tasks.name)
        await tasks.close()

    # Renewal of a refused token

    async def _renew(self, refused: bytes, status: int, challenge: Challenge) -> UpstreamUnauthorized | None:
        try:
            async with self._working:
                if self.header == refused:
                    await self._replace(refused, status, challenge)
        except UpstreamUnauthorized as fault:
            return fault
        return None

    async def _replace(self, refused: bytes, status: int, challenge: Challenge) -> None:
        kept = await self._latest()
        if _header(kept.tokens) != refused:
            self._use(kept)  # another process of the hub was quicker
            return
        self._challenge = challenge
        challenged = self._challenged(challenge) if status == 403 else None
        refreshable = challenged is None and self._can_refresh(kept)
        if not refreshable:
            self._raise_if_waiting(challenge)
        found, kept = await self._applicant.find(kept, challenge)
        if refreshable and kept.tokens is not None:
            kept = msgspec.structs.replace(kept, token_endpoint=found.server.token_endpoint)
            try:
                kept = await self._again(kept)
            except Refused as fault:
                _log.info("%s: the token is not refreshed: %s", self.name, fault)
                kept = msgspec.structs.replace(await self._latest(), tokens=None)
            except UpstreamUnauthorized as fault:  # it may be another time: a login is only another way in
                _log.info("%s: the token is not refreshed yet: %s", self.name, fault)
            if self.header != refused:
                self._untried = self.header
                if self._pending is not None and self._pending.challenged is None:
                    self._pending = None
                return
        if self._applicant.oauth.grant == "client_credentials":
            kept = await self._applicant.take_own(found, kept, challenge)
            self._count(challenged)
            await self._keep(kept)
            return
        self._raise_if_waiting(challenge)
        self._pending = await self._applicant.begin(found, kept, challenge, challenged)
        raise self._wants_login(self._pending)

    def _can_refresh(self, kept: Kept) -> bool:
        tokens = kept.tokens
        if tokens is None or tokens.refresh_token is None or kept.client is None:
            return False
        return self.header != self._untried or self._shared.clock() - tokens.obtained_at >= _YOUNG_S

    async def _again(self, kept: Kept) -> Kept:
        """Use another token from now on, made here or by another process of the hub, and return what is kept then: a
        refresh token is used by one alone, since a second use is taken for theft (RFC 9700 §4.14.2). Raises what
        `Applicant.again` does."""
        tokens, vault = kept.tokens, self._shared.vault
        while tokens is not None and tokens.refresh_token and not await vault.may_refresh(tokens):
            await asyncio.sleep(_LOOK_S)
            latest = await self._latest()
            if latest.tokens != tokens:
                self._use(latest)
                return latest
        again = await self._applicant.again(kept)
        await self._keep(again)
        return again

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

    def _count(self, challenged: str | None) -> None:
        if challenged is not None:
            self._step_ups[challenged] = self._step_ups.get(challenged, 0) + 1

    # Logins

    def _raise_if_waiting(self, challenge: Challenge) -> None:
        """Leave a login that is under way alone, as long as it is wide enough and has time."""
        pending = self._pending
        if pending is None or self._age_s(pending) >= LIFE_S / 2:
            return
        if challenge.scope is None or united(pending.scope, challenge.scope) == pending.scope:
            raise self._wants_login(pending)

    def _wants_login(self, pending: Pending) -> UpstreamUnauthorized:
        wants = "it wants a login" if pending.challenged is None else f"it wants more permission{_named(pending.scope)}"
        before = f" (the last one failed: {self._failure})" if self._failure else ""
        return UpstreamUnauthorized(f"{wants}: open its authorizationUrl{before}", {"authorizationUrl": pending.url})

    def _failed(self, pending: Pending, reason: str) -> None:
        if self._pending is not None and self._pending.state == pending.state:
            self._pending = None
        self._failure = reason
        self.logins += 1
        self._tell()

    def _age_s(self, pending: Pending) -> float:
        return self._shared.clock() - pending.begun_at

    # The token in use

    async def _latest(self) -> Kept:
        """What is kept, unless this process has a newer token than the store could take."""
        kept, own = await self._shared.vault.get(self.key), self._kept
        if kept.tokens is not None and own.tokens is not None and own.tokens.obtained_at > kept.tokens.obtained_at:
            return own
        return kept

    async def _keep(self, kept: Kept) -> None:
        await self._shared.vault.put(self.key, kept)
        self._use(kept)

    def _use(self, kept: Kept) -> None:
        before, self._kept = _secrets(self._kept.tokens), kept
        self._schedule()
        header = _header(kept.tokens)
        if header == self.header:
            return
        now = _secrets(kept.tokens)
        for secret in now:
            add_secret(secret)
        # Those just replaced may still be on their way; those before them are nowhere any more.
        for secret in self._retired - now - before:
            forget_secret(secret)
        self._retired = before
        self.header = header
        self._tell()

    def _tell(self) -> None:
        for changed in tuple(self._watchers):
            changed()

    # Renewal in time

    def _ends_within(self, time_s: float) -> bool:
        """Whether the token can be renewed without asking anybody, and its life ends within this time."""
        kept, tokens = self._kept, self._kept.tokens
        if tokens is None or tokens.expires_at is None or kept.client is None:
            return False
        renewable = tokens.refresh_token is not None or self._applicant.oauth.grant == "client_credentials"
        return renewable and tokens.expires_at - self._shared.clock() <= time_s

    def _schedule(self, pause_s: float | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        tokens = self._kept.tokens
        if tokens is None or tokens.expires_at is None or not self._ends_within(float("inf")):
            return
        if pause_s is None:
            margin_s = min(_MARGIN_S, (tokens.expires_at - tokens.obtained_at) / 10)
            # Several processes with one token do not all come at once: the later ones find the new token.
            pause_s = tokens.expires_at - margin_s * (1 + random.random()) - self._shared.clock()
        pause_s = min(max(pause_s, _SHORTEST_TIMER_S), _LONGEST_TIMER_S)
        self._timer = asyncio.get_running_loop().call_later(pause_s, self._ring)

    def _ring(self) -> None:
        if self._ends_within(2 * _MARGIN_S):
            self._tasks.spawn(self._renew_in_time(), "early")
        else:
            self._schedule()

    async def _renew_in_time(self) -> None:
        async with self._working:
            if self._ends_within(2 * _MARGIN_S):
                await self._renew_unasked()

    async def _renew_unasked(self) -> None:
        """Renew a token nobody has refused. On failure it is used as long as it lives."""
        kept = await self._latest()
        if kept.tokens is None or kept.client is None or _header(kept.tokens) != self.header:
            self._use(kept)
            return
        try:
            await self._again(kept)
        except Refused as fault:
            _log.info("%s: the token is not renewed: %s", self.name, fault)
        except UpstreamUnauthorized as fault:
            _log.info("%s: the token is not renewed yet: %s", self.name, fault)
            self._schedule(_AGAIN_S)


def _header(tokens: Tokens | None) -> bytes:
    return b"" if tokens is None else f"Authorization: Bearer {tokens.access_token}\r\n".encode()


def _secrets(tokens: Tokens | None) -> frozenset[str]:
    return frozenset() if tokens is None else frozenset(filter(None, (tokens.access_token, tokens.refresh_token)))


def _named(scope: str | None) -> str:
    return f" ({scope[:200]})" if scope and scope.isprintable() else ""
