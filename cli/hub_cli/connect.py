"""`mcp-hub connect`: a stdio server for clients that know only stdio, in front of a hub that runs elsewhere.

Owns the process: its options, its signals, its end. Standard output carries messages and nothing else; logs go to
standard error. Exit codes: 0 the input ended or a signal came, 1 the conversation could not go on, 2 usage.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

import uvloop

from hub_cli.connect_bridge import Bridge
from hub_cli.connect_http import Endpoint
from hub_cli.connect_stdio import Stdin, Stdout
from hub_common import logs
from hub_gateway.errors import UpstreamDown

_log = logging.getLogger("hub_cli.connect")

_GRACE_S = 5.0
"""For what is in flight when the input ends. A client that cannot wait sends SIGTERM."""
_HURRY_S = 1.0
"""For what is in flight at SIGTERM: SIGKILL follows soon."""
_FLUSH_S = 1.0


def connect(url: str, header: Sequence[str], timeout_s: float) -> int:
    """Serve standard input and output until the input ends, SIGINT or SIGTERM; return the exit code.

    Args:
        url: of the hub's MCP endpoint.
        header: `Name: value` lines for every HTTP request.
        timeout_s: how long a message waits for a hub that is away.
    """
    try:
        endpoint = Endpoint(url, _headers(header))
        if not timeout_s > 0:
            raise ValueError("--timeout must be more than 0")
    except (UpstreamDown, ValueError) as fault:
        print(f"mcp-hub connect: {fault}", file=sys.stderr)
        return 2
    logs.configure("info", "console")
    # Whatever else would print goes where logs go.
    out = os.dup(1)
    os.dup2(2, 1)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stdout, reason = runner.run(_run(endpoint, out, timeout_s))
    stdout.close(_FLUSH_S)
    if reason is not None:
        _log.error("%s", reason)
        return 1
    return 0


async def _run(endpoint: Endpoint, out: int, timeout_s: float) -> tuple[Stdout, str | None]:
    loop = asyncio.get_running_loop()
    ending, hurry = asyncio.Event(), asyncio.Event()

    def stop() -> None:
        hurry.set()
        ending.set()

    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, stop)
    stdout = Stdout(out, stop)
    bridge = Bridge(endpoint, stdout, timeout_s, ending)
    Stdin(0, bridge.take, ending.set).start()
    _log.info("connecting standard input and output to %s", endpoint.url)
    await ending.wait()
    if bridge.reason is not None:
        hurry.set()
    await bridge.finish(_GRACE_S, hurry, _HURRY_S)
    return stdout, bridge.reason


def _headers(given: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in given:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise ValueError("--header must be 'Name: value'")
        found[name.strip()] = value.strip()
        for secret in (value.strip(), value.split()[-1] if value.strip() else ""):
            logs.add_secret(secret)
    return found
