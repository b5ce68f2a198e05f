"""One hub for all journeys, with every kind of upstream behind it."""

from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.matrix import BOTH_RAW_UPSTREAMS, BOTH_UPSTREAMS, RAW_UPSTREAMS, UPSTREAMS, Cell, speaks
from tests.support import hub as hubs
from tests.support.hub import Hub
from tests.support.processes import EVERYTHING, RAW, serving, stdio_entry

LONG = "a-server.with_an extraordinarily/long name"
FILTERING = {"enabled": True, "mode": "server-allowlist", "serverFilter": {"mode": "denylist", "servers": ["shut"]}}
"""Every journey runs with filtering on."""


def _entries(stack: ExitStack, logs: Path) -> dict[str, object]:
    """The config entries of every upstream; the HTTP ones are started."""
    entries: dict[str, object] = {}
    for name in (*UPSTREAMS, *BOTH_UPSTREAMS):
        options = ("--era", speaks(name), "--name", name)
        if "http" in name:
            entries[name] = {"url": stack.enter_context(serving(EVERYTHING, *options, log=logs / f"{name}.log"))}
        else:
            entries[name] = stdio_entry(EVERYTHING, *options)
    for name in (*RAW_UPSTREAMS, *BOTH_RAW_UPSTREAMS):
        options = ("--era", speaks(name), "--page", "3", "--tools", "40", "--extras")
        if "http" in name:
            entries[name] = {"url": stack.enter_context(serving(RAW, *options)), "timeoutSeconds": 2}
        else:
            entries[name] = {**stdio_entry(RAW, *options), "timeoutSeconds": 2}
    entries[LONG] = stdio_entry(RAW, "--tools", "3")
    entries["shut"] = stdio_entry(RAW)
    return entries


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Generator[Hub]:
    """The hub of the matrix, with all its upstreams ready."""
    directory = tmp_path_factory.mktemp("hub")
    with ExitStack() as stack:
        entries = _entries(stack, directory)
        running = stack.enter_context(hubs.running({"mcpServers": entries, "toolFiltering": FILTERING}, directory))
        hubs.wait_ready_sync(running, *entries)
        yield running


@pytest.fixture
def cell(request: pytest.FixtureRequest, hub: Hub) -> Cell:
    """One cell of the matrix, see `matrix.journey`."""
    parameters: Any = request.param
    (transport, era), upstream = parameters
    return Cell(transport, era, upstream, hub)
