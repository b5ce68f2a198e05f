"""The access to all upstreams, and what becomes of a browser's answer.

Owns the check of an authorization response before anything is done with it (RFC 6749 §10.12, RFC 9207 §2.4). How a
person is told is `management/oauth`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakValueDictionary

from hub_common.store import Store
from hub_gateway.errors import CallerError, UpstreamUnauthorized
from hub_gateway.upstreams.oauth.applicant import Shared
from hub_gateway.upstreams.oauth.credential import Credential
from hub_gateway.upstreams.oauth.pending import Pending, Pendings
from hub_gateway.upstreams.oauth.registration import Identity
from hub_gateway.upstreams.oauth.vault import Vault

_SHOWN = 300


class LoginRefused(CallerError):
    """The answer of a login is not the one that was waited for, or says no."""

    rest_code = "LOGIN_REFUSED"


class Authorizations:
    """Makes the credentials, and takes the answers of logins.

    Args:
        store: keeps registrations, tokens and logins; closed by whoever opened it.
        base_url: where browsers and authorization servers reach the hub, without a slash at its end.
        clock: Unix seconds.
    """

    def __init__(self, store: Store, base_url: str, clock: Callable[[], float] = time.time) -> None:
        self._shared = Shared(Vault(store), Pendings(store), Identity(base_url), clock)
        self._credentials: WeakValueDictionary[str, Credential] = WeakValueDictionary()

    @property
    def document(self) -> Mapping[str, Any] | None:
        """The hub's client id metadata document; None where nobody outside could read it."""
        return self._shared.identity.document

    def credential(self, name: str) -> Credential:
        """A new credential for the upstream of that name. Answers of logins go to the last one made for a name."""
        credential = self._credentials[name] = Credential(name, self._shared)
        return credential

    async def complete(self, answer: Mapping[str, str]) -> str:
        """Take the parameters that a login was answered with, and return the name of the upstream that is open now.

        Raises:
            LoginRefused: nobody waits for this answer, it is from another server than the one asked, or it says no.
            UpstreamUnauthorized: the authorization server gives no token for it.
        """
        shared = self._shared
        pending = await shared.pendings.take(answer.get("state", ""), shared.clock())
        if pending is None:
            raise LoginRefused("nobody waits for this login: it was answered already, or took too long")
        credential = self._credentials.get(pending.name)
        if credential is None or credential.key != pending.key:
            raise LoginRefused(f"{pending.name} is not configured any more as it was when this login began")
        stranger = _stranger(pending, answer)
        fault = stranger or _refusal(answer)
        if fault is not None:
            scope_at_fault = stranger is None and answer.get("error") == "invalid_scope"
            await credential.refuse(pending, fault, scope_at_fault=scope_at_fault)
            raise LoginRefused(f"{pending.name}: {fault}")
        try:
            await credential.redeem(pending, answer["code"])
        except UpstreamUnauthorized as refused:
            raise UpstreamUnauthorized(f"{pending.name}: {refused}") from refused
        return pending.name


def _stranger(pending: Pending, answer: Mapping[str, str]) -> str | None:
    """Why an answer is not from the server that was asked; nothing it says is repeated (2026-07-28 §Authorization
    Response Validation)."""
    issuer = answer.get("iss")
    if issuer is None and pending.says_issuer:
        return "the answer does not say which authorization server it is from"
    if issuer is not None and issuer != pending.issuer:
        return "the answer is from another authorization server than the one that was asked"
    return None


def _refusal(answer: Mapping[str, str]) -> str | None:
    """Why an answer brings nothing."""
    if (error := answer.get("error")) is not None:
        told = ": ".join(filter(None, (error, answer.get("error_description"))))
        return "the login was refused: " + "".join(c for c in told if c.isprintable())[:_SHOWN]
    return None if answer.get("code") else "the answer holds no code"
