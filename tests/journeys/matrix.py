"""The cells a journey is run in: {client transport and era} × {upstream transport and era}, and how a test names them.

Owns the decorators that tie a test to requirements and spread it over cells, and the client of a cell. One hub with
all upstreams serves every cell (`conftest.py`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import pytest
from mcp import Client

from tests.journeys.requirements import HANDSHAKE, HTTP, REQUIREMENTS, SSE, STATELESS, Requirement
from tests.support import clients
from tests.support.hub import Hub

Test = TypeVar("Test", bound=Callable[..., Any])

CLIENTS: Final[dict[tuple[str, str], Callable[..., Client]]] = {
    (HTTP, HANDSHAKE): clients.session,
    (HTTP, STATELESS): clients.stateless,
    (SSE, HANDSHAKE): clients.sse,
}
"""The clients there are; HTTP+SSE has no stateless era (2026-07-28 removed the transport)."""

UPSTREAMS: Final = ("http_handshake", "http_stateless", "stdio_handshake", "stdio_stateless")
"""Names of the everything servers behind the hub: their transport and era."""


@dataclass(frozen=True)
class Cell:
    """One client kind in front of one upstream."""

    transport: str
    era: str
    upstream: str
    hub: Hub

    @property
    def stateless(self) -> bool:
        """Whether the client is of the stateless era."""
        return self.era == STATELESS

    def name(self, local: str) -> str:
        """The public name of a tool, prompt or prefixed URI of this cell's upstream."""
        return f"{self.upstream}__{local}"

    def client(self, **options: Any) -> Client:
        """A client of this kind, to be entered."""
        return CLIENTS[self.transport, self.era](self.hub.url, **options)


def _clients_of(requirement: Requirement) -> list[tuple[str, str]]:
    return [key for key in CLIENTS if key[0] in requirement.transports and key[1] in requirement.eras]


def proves(*ids: str) -> Callable[[Test], Test]:
    """Mark a test as proof of these requirements."""

    def mark(test: Test) -> Test:
        test.__dict__["requirements"] = ids
        return test

    return mark


def journey(first: str, *others: str, upstreams: tuple[str, ...] = UPSTREAMS) -> Callable[[Test], Test]:
    """Mark a test as proof and run it in every cell of the first requirement; the test takes `cell`."""
    keys = [(client, upstream) for client in _clients_of(REQUIREMENTS[first]) for upstream in upstreams]
    labels = [f"{transport}-{era}>{upstream}" for (transport, era), upstream in keys]

    def mark(test: Test) -> Test:
        return pytest.mark.parametrize("cell", keys, ids=labels, indirect=True)(proves(first, *others)(test))

    return mark
