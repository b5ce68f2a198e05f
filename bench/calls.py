"""The first table: what a `tools/call` costs through each subject, in turn, several rounds.

Owns readiness, the proof that answers are right, and the figures of each round. Each subject says what it is compared
with.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from bench import tables
from bench.client import FAULTS, TEXT, Client, Request, eventually
from bench.load import Load, press
from bench.processes import Child, free_port, running
from bench.subjects import UPSTREAM_TOOLS, Place, Subject, Unavailable
from bench.upstream import HANDSHAKE, STATELESS

READY_TIMEOUT_S = 40.0
_WARM_UP_S = 1.0


class Ready(NamedTuple):
    """A subject that answers rightly, and the request that goes to it."""

    subject: Subject
    child: Child
    url: str
    request: Request


class Turn(NamedTuple):
    """One subject's figures in one round."""

    cpu_us: float
    calls_per_s: float
    p50_ms: float
    p99_ms: float
    rss_mb: float
    calls: int
    errors: int
    complaint: str


@contextmanager
def fast_upstream(era: str, folder: Path, tools: int = UPSTREAM_TOOLS) -> Generator[str]:
    """Run the fast server and give its URL."""
    port = free_port()
    command = [sys.executable, "-m", "bench.upstream", "--port", str(port), "--era", era, "--tools", str(tools)]
    url = f"http://127.0.0.1:{port}/mcp"
    with running(command, folder / f"upstream-{era}.log"):
        eventually(lambda: greet(url, era, "echo"), READY_TIMEOUT_S)
        yield url


def measure(
    subjects: Sequence[Subject], rounds: int, seconds: float, folder: Path, turns: dict[str, list[Turn]]
) -> None:
    """Take turns and add the figures of each to `turns` by its subject's name, as they come.

    What cannot be measured is named on stderr and left out.
    """
    with ExitStack() as stack:
        urls = {era: stack.enter_context(fast_upstream(era, folder)) for era in (HANDSHAKE, STATELESS)}
        started: list[Ready] = []
        for subject in subjects:
            try:
                started.append(_start(subject, folder, urls, stack))
            except Unavailable as fault:
                print(f"SKIPPED {subject.name}: {fault}", file=sys.stderr, flush=True)
        for ready in started:
            press(ready.url, ready.request, Load(ready.subject.connections, _WARM_UP_S))
        for number in range(1, rounds + 1):
            for ready in started:
                turn = _take(ready, seconds)
                turns.setdefault(ready.subject.name, []).append(turn)
                _tell(number, ready.subject.name, turn)
        for ready in started:
            if ready.subject.filters:
                _check(ready, sum(turn.calls for turn in turns[ready.subject.name]))


def table(subjects: Sequence[Subject], turns: dict[str, list[Turn]]) -> str:
    """Medians over the rounds; the ratio is taken within each round."""
    head = ("tools/call", "CPU µs/call", "(range)", "× nginx", "calls/s", "p50 ms", "p99 ms", "RSS MB", "errors")
    rows: list[tuple[str, ...]] = []
    for subject in subjects:
        if not (taken := turns.get(subject.name)):
            continue
        measured = turns.get(subject.measure, [])
        cpu = [turn.cpu_us for turn in taken]
        ratios = [turn.cpu_us / floor.cpu_us for turn, floor in zip(taken, measured, strict=False) if floor.cpu_us]
        rows.append(
            (
                subject.label,
                tables.number(statistics.median(cpu)),
                f"{tables.number(min(cpu))}–{tables.number(max(cpu))}",
                f"{statistics.median(ratios):.2f}" if ratios else "–",
                tables.number(statistics.median(turn.calls_per_s for turn in taken)),
                f"{statistics.median(turn.p50_ms for turn in taken):.2f}",
                f"{statistics.median(turn.p99_ms for turn in taken):.2f}",
                tables.number(statistics.median(turn.rss_mb for turn in taken)),
                str(sum(turn.errors for turn in taken)),
            )
        )
    return tables.markdown(head, rows)


def sessions(url: str, subject: Subject) -> Request:
    """Open as many sessions as connections and return the right call with all of their ids."""
    client, ids = Client(url, HANDSHAKE), list[str]()
    try:
        for _ in range(subject.connections):
            ids.append(client.open())
        request = client.call(subject.tool, subject.text, subject.progress)
    finally:
        client.close()
    return request._replace(session_ids=tuple(filter(None, ids)))


def greet(url: str, era: str, tool: str, text: str = TEXT, progress: bool = False) -> Request:
    """Call a tool once as a new client; the right answer is in what is returned."""
    client = Client(url, era)
    try:
        if era == HANDSHAKE:
            client.open()
        return client.call(tool, text, progress)
    finally:
        client.close()


def _start(subject: Subject, folder: Path, urls: dict[str, str], stack: ExitStack) -> Ready:
    own = folder / subject.name
    own.mkdir()
    place = Place(own, free_port(), urls)
    child = stack.enter_context(running(subject.command(place), own / "log", cwd=own))
    url = f"http://127.0.0.1:{place.port}/mcp"

    def attempt() -> Request:
        if child.process.poll() is not None:
            raise Unavailable(f"it ended with {child.process.returncode}: {child.tail()}")
        return greet(url, subject.era, subject.tool, subject.text, subject.progress)

    try:
        request = eventually(attempt, READY_TIMEOUT_S)
    except FAULTS as fault:
        raise Unavailable(f"no right answer within {READY_TIMEOUT_S:g} s: {fault}; {child.tail()}") from fault
    if subject.era == HANDSHAKE:
        request = sessions(url, subject)
    return Ready(subject, child, url, request)


def _take(ready: Ready, seconds: float) -> Turn:
    before_s = ready.child.cpu_s(ready.subject.tree)
    figures = press(ready.url, ready.request, Load(ready.subject.connections, seconds))
    spent_s = ready.child.cpu_s(ready.subject.tree) - before_s
    if spent_s <= 0:
        raise RuntimeError(f"{ready.subject.name} used no CPU time: its processes are not the ones measured")
    return Turn(
        cpu_us=spent_s / max(1, figures.calls) * 1e6,
        calls_per_s=figures.calls_per_s,
        p50_ms=figures.p50_us / 1e3,
        p99_ms=figures.p99_us / 1e3,
        rss_mb=ready.child.rss_bytes() / 1e6,
        calls=figures.calls,
        errors=figures.errors,
        complaint=figures.complaint,
    )


def _check(ready: Ready, calls: int) -> None:
    """Say on stderr when the filter or the metrics were not at work while the calls were measured."""
    client = Client(ready.url, HANDSHAKE)
    try:
        client.open()
        _, names = client.tools()
        text = client.text("/metrics")
    finally:
        client.close()
    if not names or any(name.startswith("other__") for name in names):
        print(f"NOTE: {ready.subject.name}: the filter hides nothing: {', '.join(names[:40])}", file=sys.stderr)
    counted = [line for line in text.splitlines() if line.startswith('mcp_hub_calls_total{server="fast"}')]
    if not counted or float(counted[0].split()[-1]) < calls:
        print(f"NOTE: {ready.subject.name}: the metrics did not count: {counted or text[:200]}", file=sys.stderr)


def _tell(number: int, name: str, turn: Turn) -> None:
    line = f"round {number}  {name:14} {turn.cpu_us:9.1f} µs  {turn.calls_per_s:8.0f} calls/s  p50 {turn.p50_ms:.2f} ms"
    wrong = f"  {turn.errors} errors {turn.complaint[:200]}" if turn.errors else ""
    print(f"{time.strftime('%H:%M:%S')} {line}{wrong}", file=sys.stderr, flush=True)
