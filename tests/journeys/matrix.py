"""The cells a journey is run in: {client transport and era} × {upstream transport and era}, and how a test names them.

Owns the decorators that tie a test to requirements and spread it over cells, the client of a cell, and the table of
all cells, which `python -m tests.journeys.matrix` prints. One hub with all upstreams serves every cell (`conftest.py`).
"""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from mcp import Client

from tests.journeys.requirements import (
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
from tests.support import clients
from tests.support.hub import Hub

Test = TypeVar("Test", bound=Callable[..., Any])

CLIENTS: Final[dict[tuple[str, str], Callable[..., Client]]] = {
    (HTTP, HANDSHAKE): clients.session,
    (HTTP, STATELESS): clients.stateless,
    (SSE, HANDSHAKE): clients.sse,
    (STDIO, HANDSHAKE): clients.stdio_session,
    (STDIO, STATELESS): clients.stdio_stateless,
}
"""The clients there are; HTTP+SSE has no stateless era (2026-07-28 removed the transport)."""

UPSTREAMS: Final = ("http_handshake", "http_stateless", "stdio_handshake", "stdio_stateless")
"""Names of the everything servers behind the hub: their transport and era."""

CROSSED: Final = {
    HANDSHAKE: ("stdio_handshake", "http_stateless"),
    STATELESS: ("http_handshake", "stdio_stateless"),
}
"""What a client over stdio meets, by its era: it starts a process in every test, so one transport of each era stands
for both."""


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


def journey(first: str, *others: str, upstreams: tuple[str, ...] = ()) -> Callable[[Test], Test]:
    """Mark a test as proof and run it in every cell of the first requirement; the test takes `cell`.

    `upstreams` are fewer than the requirement's, where one stands for all.
    """
    requirement = REQUIREMENTS[first]
    chosen = upstreams or tuple(name for name in UPSTREAMS if name.split("_")[1] in requirement.upstream_eras)
    keys = [
        (client, upstream)
        for client in _clients_of(requirement)
        for upstream in chosen
        if upstreams or client[0] != STDIO or upstream in CROSSED[client[1]]
    ]
    labels = [f"{transport}-{era}>{upstream}" for (transport, era), upstream in keys]

    def mark(test: Test) -> Test:
        test.__dict__["cells"] = (first, keys)
        return pytest.mark.parametrize("cell", keys, ids=labels, indirect=True)(proves(first, *others)(test))

    return mark


NO_STREAM: Final = (
    'HTTP+SSE begins with a GET, and 2026-07-28 changelog, major change 4: "Replace the HTTP GET endpoint and '
    '`resources/subscribe`/`resources/unsubscribe` with `subscriptions/listen`".'
)


def _journeys() -> dict[str, set[tuple[str, str, str]]]:
    """(client transport, client era, upstream era) of every cell that a test of each requirement runs in."""
    found: dict[str, set[tuple[str, str, str]]] = {}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"tests.journeys.{path.stem}")
        for _, test in inspect.getmembers(module, inspect.isfunction):
            if (cells := test.__dict__.get("cells")) is not None:
                requirement, keys = cells
                run = {(*client, upstream.split("_")[1]) for client, upstream in keys}
                found.setdefault(requirement, set()).update(run)
    return found


def _cell(
    requirement: Requirement, column: tuple[str, str, str], run: set[tuple[str, str, str]], notes: list[str]
) -> str:
    transport, era, upstream_era = column
    why = NO_STREAM if (transport, era) not in CLIENTS else ""
    if era not in requirement.eras or upstream_era not in requirement.upstream_eras:
        why = requirement.impossible or why
    if why:
        if why not in notes:
            notes.append(why)
        return f"impossible [{notes.index(why) + 1}]"
    if column in run:
        return "passed"
    return "proved" if transport in requirement.transports else "–"


def table() -> str:
    """Every requirement in every combination of client and upstream, as Markdown."""
    columns = [(transport, era, upstream) for transport in TRANSPORTS for era in ERAS for upstream in ERAS]
    words = {HTTP: "Streamable HTTP", SSE: "HTTP+SSE", STDIO: "stdio", HANDSHAKE: "session", STATELESS: "stateless"}
    heads = [f"{words[transport]}, {words[era]} → {words[upstream]}" for transport, era, upstream in columns]
    run, notes = _journeys(), list[str]()
    lines = [f"| feature | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    for requirement in REQUIREMENTS.values():
        cells = [_cell(requirement, column, run.get(requirement.id, set()), notes) for column in columns]
        sources = [source for source in requirement.source.split("; ") if not source.startswith("issue")]
        named = f" ({'; '.join(sources)})" if sources else ""
        lines.append(f"| {requirement.sentence}{named} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"{n}. {note}" for n, note in enumerate(notes, 1))])


if __name__ == "__main__":
    print(table())
