"""`python -m bench.run`: measures the hub beside others in one run and prints two tables. It judges nothing.

Owns the command line, the order of the measurements and their end: when its time is up it prints what there is.
Everything listens on loopback, on ports that were free, and every child is ended with the run.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator, Sequence
from importlib.metadata import version
from pathlib import Path

from bench import calls, hub
from bench.subjects import CONNECTIONS, SUBJECTS, Subject, Unavailable, install_fastmcp

LIMIT_S = 200
"""Of a run as long as the default; one that is asked to press longer may take as much longer."""
SECONDS, ROUNDS = 2, 3
OWN = ("lists", "memory", "slow", "start")
"""Names of the second table's measurements."""

_LIST_SECONDS = 2.0


class OutOfTime(Exception):
    """The whole run took longer than it may."""


def main() -> int:
    """Measure, print, and return 0; 1 where time ran out or nothing could be measured, 2 where a tool is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.run",
        description=f"Measure the hub beside others, by default in {ROUNDS} rounds of {SECONDS} s each.",
    )
    parser.add_argument("--seconds", type=int, default=SECONDS, help="how long each is pressed in a round")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds, in each of which all take turns")
    names = [*(subject.name for subject in SUBJECTS), *OWN]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"of {', '.join(names)}")
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        print("wrk is not installed (Debian: wrk)", file=sys.stderr)
        return 2
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 16_384)), hard))
    subjects = [subject for subject in SUBJECTS if not given.only or subject.name in given.only]
    if any(subject.name == "fastmcp" for subject in subjects):
        try:
            install_fastmcp()
        except Unavailable as fault:
            print(f"SKIPPED fastmcp: {fault}", file=sys.stderr, flush=True)
            subjects = [subject for subject in subjects if subject.name != "fastmcp"]
    print(_conditions(given.seconds, given.rounds), flush=True)
    limit_s = LIMIT_S + max(0, given.seconds * given.rounds - SECONDS * ROUNDS) * len(subjects)
    with _limited(limit_s), tempfile.TemporaryDirectory(prefix="mcp-hub-bench-") as name:
        return _measure(subjects, [each for each in OWN if not given.only or each in given.only], given, Path(name))


def _measure(subjects: Sequence[Subject], own: Sequence[str], given: argparse.Namespace, folder: Path) -> int:
    turns: dict[str, list[calls.Turn]] = {}
    rows: list[hub.Row] = []
    steps: dict[str, Callable[[], list[hub.Row]]] = {
        "lists": lambda: hub.lists(folder, given.rounds, min(given.seconds, _LIST_SECONDS)),
        "memory": lambda: hub.memory(folder),
        "slow": lambda: hub.slow(folder),
        "start": lambda: hub.start(folder),
    }
    code = 0
    try:
        if subjects:
            calls.measure(subjects, given.rounds, given.seconds, folder, turns)
        for each in own:
            print(f"hub: {each}", file=sys.stderr, flush=True)
            rows += steps[each]()
    except OutOfTime:
        print("STOPPED because time is up: the tables hold what was measured until then", file=sys.stderr)
        code = 1
    if turns:
        print(f"\n{calls.table(subjects, turns)}")
    if rows:
        print(f"\n{hub.table(rows)}")
    return code if turns or rows else 1


@contextlib.contextmanager
def _limited(seconds: int) -> Generator[None]:
    """Raise OutOfTime in the block after that long, and end it in order when the process is told to stop."""

    def late(_signal: int, _frame: object) -> None:
        raise OutOfTime

    def told(_signal: int, _frame: object) -> None:
        sys.exit(143)

    signal.signal(signal.SIGALRM, late)
    signal.signal(signal.SIGTERM, told)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def _conditions(seconds: int, rounds: int) -> str:
    nginx = subprocess.run(
        ["nginx", "-v"], capture_output=True, text=True, check=False, env={"PATH": f"{os.environ['PATH']}:/usr/sbin"}
    )
    return (
        f"{os.cpu_count()} CPUs ({_cpu()}), Linux {platform.release()}, Python {platform.python_version()}, "
        f"{nginx.stderr.strip().removeprefix('nginx version: ')}, mcp {version('mcp')}. "
        f"{CONNECTIONS} connections, {rounds} rounds of {seconds} s each, medians; "
        f"load average before: {os.getloadavg()[0]:.1f}"
    )


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    sys.exit(main())
