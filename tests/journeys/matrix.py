"""The cells a journey is run in: {client transport and era} × {upstream transport and era}, and how a test names them.

Owns the decorators that tie a test to requirements and spread it over cells, the clients of a cell, and the tables of
all cells and of all other promises, which `python -m tests.journeys.matrix` prints. One hub with all upstreams serves
every cell (`conftest.py`).
"""

import importlib
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from mcp import Client

from tests.journeys.requirements import (
    BOTH,
    ERAS,
    HANDSHAKE,
    HTTP,
    REQUIREMENTS,
    SSE,
    STATELESS,
    STDIO,
    TRANSPORTS,
    Requirement,
)
from tests.support import clients, speakers
from tests.support.hub import Hub
from tests.support.speakers import Speaker

Test = TypeVar("Test", bound=Callable[..., Any])
Column = tuple[str, str, str]
"""Client transport, client era, upstream era."""

CLIENTS: Final[dict[tuple[str, str], Callable[..., Client]]] = {
    (HTTP, HANDSHAKE): clients.session,
    (HTTP, STATELESS): clients.stateless,
    (SSE, HANDSHAKE): clients.sse,
    (STDIO, HANDSHAKE): clients.stdio_session,
    (STDIO, STATELESS): clients.stdio_stateless,
}
"""The clients there are; HTTP+SSE has no stateless era (2026-07-28 removed the transport)."""

SPEAKERS: Final = {HTTP: speakers.over_http, SSE: speakers.over_sse, STDIO: speakers.over_stdio}
"""The same without an SDK."""

UPSTREAMS: Final = ("http_handshake", "http_stateless", "stdio_handshake", "stdio_stateless")
"""Names of the everything servers behind the hub: their transport and era."""

BOTH_UPSTREAMS: Final = (
    "both_http_handshake",
    "both_http_stateless",
    "both_stdio_handshake",
    "both_stdio_stateless",
)
"""Names of everything servers that speak both eras: the last word is the era of the clients that meet it."""

RAW_UPSTREAMS: Final = ("raw_http", "raw_http_old", "raw_stdio", "raw_stdio_old")
"""Names of the servers behind the hub that are made of bytes."""

HTTP_UPSTREAMS: Final = (*UPSTREAMS[:2], *BOTH_UPSTREAMS[:2])
"""One everything server of each kind, where its transport makes no difference."""

BOTH_RAW_UPSTREAMS: Final = ("both_raw_http_old", "both_raw_http")
"""Of these, the ones that speak both eras, by the era of the clients that meet them."""


def era_of(upstream: str) -> str:
    """The era of an upstream, by its name."""
    return HANDSHAKE if upstream.endswith(("handshake", "_old")) else STATELESS


def speaks(upstream: str) -> str:
    """The era of an upstream, or that it is of both."""
    return BOTH if upstream.startswith("both") else era_of(upstream)


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
        """The public name of a tool or prompt of this cell's upstream; of a resource a name that is accepted too."""
        return f"{self.upstream}__{local}"

    def uri(self, local: str) -> str:
        """The public URI of a resource or template that other upstreams have as well."""
        scheme, _, rest = local.partition("://")
        return f"{scheme}://{self.upstream}__{rest}"

    def client(self, **options: Any) -> Client:
        """A client of this kind, to be entered."""
        return CLIENTS[self.transport, self.era](self.hub.url, **options)

    def speaking(
        self, capabilities: Mapping[str, Any] | None = None, revision: str = clients.HANDSHAKE
    ) -> AbstractAsyncContextManager[Speaker]:
        """A client of this kind that writes JSON-RPC itself; `revision` is that of a session."""
        speak = SPEAKERS[self.transport]
        return speak(self.hub.url, stateless=self.stateless, capabilities=capabilities or {}, revision=revision)


def proves(*ids: str) -> Callable[[Test], Test]:
    """Mark a test as proof of these requirements."""

    def mark(test: Test) -> Test:
        test.__dict__["requirements"] = ids
        return test

    return mark


def _clients_of(requirement: Requirement) -> list[tuple[str, str]]:
    return [key for key in CLIENTS if key[0] in requirement.transports and key[1] in requirement.eras]


def _meets(client: tuple[str, str], upstream: str, chosen: tuple[str, ...]) -> bool:
    """Whether a client has a cell with the upstream. A client over stdio starts a process in every test: of upstreams
    of one era it meets one, over stdio where the eras are the same, else over HTTP."""
    transport, era = client
    if speaks(upstream) == BOTH:
        return transport == HTTP and era == era_of(upstream)
    alike = [other for other in chosen if speaks(other) == era_of(upstream)]
    return transport != STDIO or len(alike) == 1 or ("stdio" in upstream) == (era_of(upstream) == era)


def journey(
    first: str, *others: str, upstreams: tuple[str, ...] = (*UPSTREAMS, *BOTH_UPSTREAMS)
) -> Callable[[Test], Test]:
    """Mark a test as proof and run it in every cell of the first requirement; the test takes `cell`.

    `upstreams` are whom the client may meet.
    """
    requirement = REQUIREMENTS[first]
    chosen = tuple(name for name in upstreams if era_of(name) in requirement.upstream_eras)
    keys = [
        (client, upstream)
        for client in _clients_of(requirement)
        for upstream in chosen
        if _meets(client, upstream, chosen)
    ]
    labels = [f"{transport}-{era}>{upstream}" for (transport, era), upstream in keys]

    def mark(test: Test) -> Test:
        test.__dict__["cells"] = keys
        return pytest.mark.parametrize("cell", keys, ids=labels, indirect=True)(proves(first, *others)(test))

    return mark


NO_STREAM: Final = (
    'HTTP+SSE begins with a GET, and 2026-07-28 changelog, major change 4: "Replace the HTTP GET endpoint and '
    '`resources/subscribe`/`resources/unsubscribe` with `subscriptions/listen`".'
)
COLUMNS: Final[list[Column]] = [
    *((transport, era, upstream) for transport in TRANSPORTS for era in ERAS for upstream in ERAS),
    *((HTTP, era, BOTH) for era in ERAS),
]
WORDS: Final = {
    HTTP: "Streamable HTTP",
    SSE: "HTTP+SSE",
    STDIO: "stdio",
    HANDSHAKE: "session",
    STATELESS: "stateless",
    BOTH: "both",
}


def _tests() -> Iterator[tuple[str, Any]]:
    """Every test of the journeys that proves something, with the name of its file."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"tests.journeys.{path.stem}")
        for _, test in inspect.getmembers(module, inspect.isfunction):
            if test.__module__ == module.__name__ and "requirements" in test.__dict__:
                yield path.name, test


def cells_run() -> dict[str, set[Column]]:
    """The cells that tests of each requirement run in."""
    found: dict[str, set[Column]] = {}
    for _, test in _tests():
        run = {(*client, speaks(upstream)) for client, upstream in test.__dict__.get("cells", ())}
        for requirement in test.__dict__["requirements"]:
            found.setdefault(requirement, set()).update(run)
    return found


def impossible(requirement: Requirement, column: Column) -> str:
    """Why there is no such cell; empty where there has to be one."""
    transport, era, upstream_era = column
    if upstream_era == BOTH:
        upstream_era = era  # each is served in its own
    if era not in requirement.eras or upstream_era not in requirement.upstream_eras:
        return requirement.impossible
    if (transport, era) not in CLIENTS:
        return NO_STREAM
    return "" if transport in requirement.transports else requirement.elsewhere


def features() -> list[Requirement]:
    """What two ends share, and so what has cells."""
    return [requirement for requirement in REQUIREMENTS.values() if not requirement.own]


def _named(requirement: Requirement) -> str:
    sources = [source for source in requirement.source.split("; ") if source != "hub decision"]
    return requirement.sentence + (f" ({'; '.join(sources)})" if sources else "")


def table() -> str:
    """Every feature in every combination of client and upstream, then every promise of the hub itself, as Markdown."""
    heads = [f"{WORDS[transport]}, {WORDS[era]} → {WORDS[upstream]}" for transport, era, upstream in COLUMNS]
    run, notes, counts = cells_run(), list[str](), Counter[str]()
    lines = [f"| feature | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for requirement in features():
        cells = list[str]()
        for column in COLUMNS:
            why = impossible(requirement, column)
            if why and why not in notes:
                notes.append(why)
            word = "impossible" if why else "passed" if column in run[requirement.id] else "missing"
            counts[word] += 1
            cells.append(f"impossible [{notes.index(why) + 1}]" if why else word)
        lines.append(f"| {_named(requirement)} | {' | '.join(cells)} |")
    counted = ", ".join(f"{number} {word}" for word, number in sorted(counts.items(), reverse=True))
    lines += ["", f"{len(features())} features in {len(COLUMNS)} combinations: {counted}.", ""]
    lines += [f"{n}. {note}" for n, note in enumerate(notes, 1)]
    return "\n".join([*lines, "", *_promises()])


def _promises() -> list[str]:
    proofs: dict[str, set[str]] = {}
    for name, test in _tests():
        for requirement in test.__dict__["requirements"]:
            proofs.setdefault(requirement, set()).add(f"`{name}`")
    return [
        "| promise of the hub itself | proved in |",
        "|---|---|",
        *(f"| {_named(each)} | {', '.join(sorted(proofs[each.id]))} |" for each in REQUIREMENTS.values() if each.own),
    ]


if __name__ == "__main__":
    print(table())
