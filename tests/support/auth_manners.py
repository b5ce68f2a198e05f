"""How a protected site behaves, and what it was asked. Shared by the authorization server and the one it protects."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

TIMEOUT_S = 15.0


@dataclass(kw_only=True)
class Manners:
    """How a site behaves; may be changed while it runs."""

    metadata: Literal["oauth", "openid", "openid-appended", "none"] = "oauth"
    tenant: str = ""
    """Path of the issuer."""
    resource_metadata: Literal["challenge", "path", "root", "none"] = "challenge"
    resource: str | None = None
    """What the resource metadata says it is about, where that is a lie."""
    issuer: str | None = None
    """What the metadata says the issuer is, where that is a lie."""
    iss: Literal["right", "wrong", "slash", "none"] = "right"
    says_iss: bool = True
    pkce: bool = True
    registers: bool = True
    documents: bool = False
    methods: tuple[str, ...] = ("none",)
    clients: dict[str, str] = field(default_factory=dict[str, str])
    """Clients registered by hand, with their secrets."""
    server_scopes: tuple[str, ...] | None = None
    resource_scopes: tuple[str, ...] | None = None
    challenge_scope: str | None = None
    needs: dict[str, str] = field(default_factory=dict[str, str])
    """The scope that a method, or a tool, needs besides a token."""
    never_enough: bool = False
    """A scope that is needed is refused even when it was granted."""
    life_s: float | None = 3600.0
    refreshes: bool = True
    refreshing_s: float = 0.0
    """How long refreshing takes; the refresh token is used up before."""
    refresh_error: tuple[int, str] | None = None
    """Status and error that refreshing is answered with."""
    login_error: dict[str, str] | None = None
    """What the authorization endpoint answers instead of a code."""


@dataclass
class Grant:
    """What a token, or a code, stands for."""

    client_id: str
    scope: str
    resource: str
    ends_at: float = float("inf")
    challenge: str = ""
    redirect_uri: str = ""


@dataclass(frozen=True)
class Asked:
    """One request: what it was for, and its parameters."""

    what: str
    with_: Mapping[str, Any]


class Seen:
    """Everything that was asked, and a way to wait for more."""

    def __init__(self) -> None:
        self.all: list[Asked] = []
        self._more = asyncio.Condition()

    async def add(self, what: str, with_: Mapping[str, Any]) -> None:
        async with self._more:
            self.all.append(Asked(what, with_))
            self._more.notify_all()

    def of(self, what: str) -> list[Mapping[str, Any]]:
        """The parameters of every request of this kind."""
        return [asked.with_ for asked in self.all if asked.what == what]

    async def until(self, what: str, count: int = 1) -> list[Mapping[str, Any]]:
        """Wait until there are so many requests of this kind."""
        async with asyncio.timeout(TIMEOUT_S), self._more:
            await self._more.wait_for(lambda: len(self.of(what)) >= count)
        return self.of(what)
