"""The second table: what the hub costs beyond a call. Lists, memory, sessions that wait, clients that do not read, and
the start.

Owns those measurements. Each has a hub of its own, so that none sees what another left behind.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import time
from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from bench import tables
from bench.calls import READY_TIMEOUT_S, fast_upstream, greet
from bench.client import HANDSHAKE_REVISION, Client, Request, WrongAnswer, eventually
from bench.load import Load, press
from bench.processes import Child, free_port, running
from bench.subjects import hub_command
from bench.upstream import HANDSHAKE, MEGABYTES, STATELESS

LIST_TOOLS = 5_000
LIST_CONNECTIONS = 2
SESSIONS = 1_000
STARTS = 3
SLOW = (0, 20, 100)
"""Clients that do not read."""
SLOW_S = 6.0
_TOOL = "fast__echo"
_SETTLE_S = 1.0
_POLL_S = 0.005

Row = tuple[str, str, str]


class Started(NamedTuple):
    """A hub that is coming up."""

    child: Child
    url: str


@contextlib.contextmanager
def hub(folder: Path, upstream_url: str) -> Generator[Started]:
    """Run a hub in a new folder of that name."""
    folder.mkdir()
    port = free_port()
    with running(hub_command(folder, port, upstream_url), folder / "log", cwd=folder) as child:
        yield Started(child, f"http://127.0.0.1:{port}/mcp")


def table(rows: list[Row]) -> str:
    """The rows, each a figure with its unit."""
    return tables.markdown(("hub", "value", "unit"), rows)


def lists(folder: Path, rounds: int, seconds: float) -> list[Row]:
    """`tools/list` with thousands of tools on one page."""
    cpu_us: list[float] = []
    p50_ms: list[float] = []
    with fast_upstream(HANDSHAKE, folder, LIST_TOOLS) as upstream, hub(folder / "hub-lists", upstream) as started:
        request = eventually(lambda: _whole_list(started.url), READY_TIMEOUT_S)
        load = Load(LIST_CONNECTIONS, seconds)
        press(started.url, request, load._replace(seconds=1))
        errors = 0
        for _ in range(rounds):
            before_s = started.child.cpu_s()
            figures = press(started.url, request, load)
            cpu_us.append((started.child.cpu_s() - before_s) / max(1, figures.calls) * 1e6)
            p50_ms.append(figures.p50_us / 1e3)
            errors += figures.errors
    head = f"tools/list, {LIST_TOOLS:,} tools"
    return [
        (f"{head}: CPU", tables.number(statistics.median(cpu_us)), "µs"),
        (f"{head}: p50, {LIST_CONNECTIONS} connections", f"{statistics.median(p50_ms):.2f}", "ms"),
        (f"{head}: size of the answer", f"{len(request.expected):,}", "bytes"),
        (f"{head}: errors", str(errors), ""),
    ]


def memory(folder: Path) -> list[Row]:
    """Resident memory at the start, with sessions that wait, and with a stream open on each."""
    with fast_upstream(HANDSHAKE, folder) as upstream, hub(folder / "hub-memory", upstream) as started:
        eventually(lambda: greet(started.url, HANDSHAKE, _TOOL), READY_TIMEOUT_S)
        time.sleep(_SETTLE_S)
        at_start = started.child.rss_bytes()
        client = Client(started.url, HANDSHAKE)
        ids = [client.open() for _ in range(SESSIONS)]
        client.close()
        time.sleep(_SETTLE_S)
        waiting = started.child.rss_bytes()
        with contextlib.ExitStack() as streams:
            for session_id in ids:
                _open_stream(started.url, session_id, streams)
            time.sleep(_SETTLE_S)
            listening = started.child.rss_bytes()
    each = f"{SESSIONS:,} idle sessions"
    return [
        ("memory at start", _mb(at_start), "MB"),
        (f"memory with {each}", _mb(waiting), "MB"),
        (f"{each}: each", f"{(waiting - at_start) / SESSIONS / 1e3:.1f}", "kB"),
        (f"memory with {each}, a stream open on each", _mb(listening), "MB"),
        (f"{each}, a stream open on each: each", f"{(listening - at_start) / SESSIONS / 1e3:.1f}", "kB"),
    ]


def slow(folder: Path) -> list[Row]:
    """Memory, and how long a calm client waits, while many ask for 16 MiB each and do not read it."""
    rows: list[Row] = []
    with (
        fast_upstream(STATELESS, folder) as upstream,
        hub(folder / "hub-slow", upstream) as started,
        contextlib.ExitStack() as sockets,
    ):
        eventually(lambda: greet(started.url, STATELESS, _TOOL), READY_TIMEOUT_S)
        calm = Client(started.url, STATELESS)
        asked = 0
        for count in SLOW:
            for _ in range(count - asked):
                _ask_and_leave(started.url, f"fast__{MEGABYTES}", sockets)
            asked = count
            took_s: list[float] = []
            most = 0
            ends_s = time.monotonic() + SLOW_S
            while time.monotonic() < ends_s:
                began_s = time.monotonic()
                calm.call(_TOOL)
                took_s.append(time.monotonic() - began_s)
                most = max(most, started.child.rss_bytes())
            head = f"{count} clients that do not read 16 MiB each"
            rows += [
                (f"{head}: memory, at most", _mb(most), "MB"),
                (f"{head}: another's slowest call", f"{max(took_s) * 1e3:.0f}", "ms"),
            ]
        sockets.close()
        time.sleep(_SETTLE_S)
        rows.append(("memory after they left", _mb(started.child.rss_bytes()), "MB"))
        calm.close()
    return rows


def start(folder: Path) -> list[Row]:
    """Seconds from the start of the process to its first answers."""
    first_s: list[float] = []
    call_s: list[float] = []
    with fast_upstream(HANDSHAKE, folder) as upstream:
        for number in range(STARTS):
            began_s = time.monotonic()
            with hub(folder / f"hub-start-{number}", upstream) as started:
                client = Client(started.url, HANDSHAKE)
                eventually(client.open, READY_TIMEOUT_S, _POLL_S)
                first_s.append(time.monotonic() - began_s)
                eventually(lambda client=client: client.call(_TOOL), READY_TIMEOUT_S, _POLL_S)
                call_s.append(time.monotonic() - began_s)
                client.close()
    return [
        ("process start to first answer (initialize)", f"{statistics.median(first_s):.2f}", "s"),
        ("process start to first tools/call answered", f"{statistics.median(call_s):.2f}", "s"),
    ]


def _whole_list(url: str) -> Request:
    client = Client(url, HANDSHAKE)
    try:
        client.open()
        request, names = client.tools()
    finally:
        client.close()
    if len(names) != LIST_TOOLS:
        raise WrongAnswer(f"{len(names)} tools instead of {LIST_TOOLS}")
    return request


def _open_stream(url: str, session_id: str, streams: contextlib.ExitStack) -> None:
    """Open a session's standing stream and leave it open until the stack is closed."""
    parts = urlsplit(url)
    stream = streams.enter_context(socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10))
    stream.sendall(
        f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: text/event-stream\r\n"
        f"Mcp-Session-Id: {session_id}\r\nMcp-Protocol-Version: {HANDSHAKE_REVISION}\r\n\r\n".encode()
    )
    head = stream.recv(4096)
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise WrongAnswer(f"no stream: {head[:200]!r}")


def _ask_and_leave(url: str, tool: str, sockets: contextlib.ExitStack) -> None:
    """Call a tool and read nothing of the answer until the stack is closed."""
    parts, request = urlsplit(url), Client(url, STATELESS).unanswered(tool)
    asking = sockets.enter_context(socket.create_connection((parts.hostname or "", parts.port or 0), timeout=10))
    fields = {**request.headers, "Host": parts.netloc, "Content-Length": str(len(request.body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    asking.sendall(f"POST {parts.path} HTTP/1.1\r\n{lines}\r\n".encode() + request.body)


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f}"
