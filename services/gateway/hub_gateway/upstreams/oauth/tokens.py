"""The token endpoint: what the hub proves there, and what it gets.

Owns the requests of every grant with the client's own authentication (RFC 6749 §2.3.1, §3.2, §4.4, §6; RFC 8707 §2.2)
and the reading of their answers. Does not know when a token is wanted, nor where it is kept.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Mapping
from urllib.parse import quote, urlencode

import msgspec

from hub_common.logs import add_secret
from hub_gateway.errors import UpstreamUnauthorized
from hub_gateway.upstreams.oauth.registration import Client
from hub_gateway.upstreams.oauth.web import Answer, Web

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_HEADER_SAFE = re.compile(r"[\x21-\x7e]+")
_WORD = re.compile(r"[\x20-\x7e]{1,100}")
_NO_TOKEN = "its authorization server answers with no token"
_PASSING_STATUSES = (408, 425, 429)
_PASSING_ERRORS = ("temporarily_unavailable", "server_error", "slow_down")


class Refused(UpstreamUnauthorized):
    """The authorization server gives no token. `error` is its own word for the reason (RFC 6749 §5.2), "" for none."""

    def __init__(self, message: str, error: str) -> None:
        super().__init__(message)
        self.error = error


class Tokens(msgspec.Struct, frozen=True):
    """What the authorization server gave. Holds secrets: never log or return it."""

    access_token: str
    refresh_token: str | None = None
    scope: str | None = None
    """The scopes granted."""
    obtained_at: float = 0.0
    """Unix seconds."""
    expires_at: float | None = None
    """Unix seconds; None where the server did not say."""

    def __repr__(self) -> str:
        """Nothing of it."""
        return "Tokens()"


class _Granted(msgspec.Struct):
    access_token: str
    token_type: str | None = None
    expires_in: float | None = None
    refresh_token: str | None = None
    scope: str | None = None


class _Error(msgspec.Struct):
    error: str = ""


class TokenEndpoint:
    """One client at one token endpoint, for tokens of one resource."""

    def __init__(self, web: Web, url: str, client: Client, resource: str, clock: Callable[[], float]) -> None:
        self._web = web
        self._url = url
        self._client = client
        self._resource = resource
        self._clock = clock

    async def redeem(self, code: str, verifier: str, redirect_uri: str, asked: str | None) -> Tokens:
        """Exchange an authorization code; `asked` are the scopes of its request.

        Raises:
            Refused: the code or the client is not accepted.
            UpstreamUnauthorized: the server cannot be asked now, or answers with no token.
        """
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
        return await self._ask({**form, "redirect_uri": redirect_uri}, asked)

    async def for_itself(self, asked: str | None) -> Tokens:
        """Get a token for the hub itself (client credentials grant). Raises as `redeem` does."""
        return await self._ask({"grant_type": "client_credentials", **({"scope": asked} if asked else {})}, asked)

    async def refresh(self, old: Tokens) -> Tokens:
        """Exchange a refresh token; what the answer leaves out stays as it was (RFC 6749 §6). Raises as `redeem`."""
        assert old.refresh_token is not None
        new = await self._ask({"grant_type": "refresh_token", "refresh_token": old.refresh_token}, old.scope)
        return new if new.refresh_token else msgspec.structs.replace(new, refresh_token=old.refresh_token)

    async def _ask(self, form: Mapping[str, str], asked: str | None) -> Tokens:
        headers, own = _proof(self._client)
        body = urlencode({**form, **own, "resource": self._resource}).encode()
        answer = await self._web.post(self._url, body, {**_FORM, **headers})
        granted = answer.decoded(_Granted) if answer.status == 200 else None
        if granted is None:
            raise _no_token(answer)
        if not _HEADER_SAFE.fullmatch(granted.access_token):
            raise UpstreamUnauthorized(_NO_TOKEN)
        if granted.token_type is not None and granted.token_type.lower() != "bearer":
            raise UpstreamUnauthorized("its authorization server gives tokens of another type than Bearer")
        now, lives_s = self._clock(), granted.expires_in
        expires_at = now + lives_s if lives_s is not None and math.isfinite(lives_s) and lives_s > 0 else None
        return Tokens(granted.access_token, granted.refresh_token or None, granted.scope or asked, now, expires_at)


def _no_token(answer: Answer) -> UpstreamUnauthorized:
    """Why an answer holds no token. Some servers refuse with status 200; and one that is busy, or broken, refuses
    nothing."""
    error = (answer.decoded(_Error) or _Error()).error
    if answer.status == 200 and not error:
        return UpstreamUnauthorized(_NO_TOKEN)
    shown = f": {error}" if _WORD.fullmatch(error) else ""
    text = f"its authorization server gives no token (HTTP {answer.status}{shown})"
    passes = answer.status >= 500 or answer.status in _PASSING_STATUSES or error in _PASSING_ERRORS
    return UpstreamUnauthorized(text) if passes else Refused(text, error)


def _proof(client: Client) -> tuple[dict[str, str], dict[str, str]]:
    """Headers and form members by which the client shows who it is."""
    secret = client.client_secret
    if client.method == "client_secret_basic" and secret is not None:
        pair = f"{quote(client.client_id, safe='')}:{quote(secret, safe='')}"
        credentials = base64.b64encode(pair.encode()).decode()
        add_secret(credentials)
        return {"Authorization": f"Basic {credentials}"}, {}
    if client.method == "client_secret_post" and secret is not None:
        return {}, {"client_id": client.client_id, "client_secret": secret}
    return {}, {"client_id": client.client_id}
