"""Load by wrk: the same request again and again on a fixed number of connections.

Owns the files that tell wrk what to send and what to expect. An answer other than the expected bytes,
or under an id that nobody waits for, is an error.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.client import REQUEST_ID, Request

_SCRIPT = Path(__file__).with_name("load.lua")


class Figures(msgspec.Struct):
    """What wrk saw. `errors` counts wrong answers and broken or late ones."""

    calls: int
    duration_us: int
    p50_us: int
    p99_us: int
    errors: int
    complaint: str = ""

    @property
    def calls_per_s(self) -> float:
        """Answers in a second, of whatever kind."""
        return self.calls / self.duration_us * 1e6


class Load(NamedTuple):
    """How hard to press: one thread of wrk in any case."""

    connections: int
    seconds: float


def press(url: str, request: Request, load: Load) -> Figures:
    """Send the request on every connection as fast as it is answered, for as long as the load says."""
    with tempfile.TemporaryDirectory(prefix="mcp-hub-bench-") as name:
        folder = Path(name)
        (folder / "headers").write_text("".join(f"{key}: {value}\n" for key, value in request.headers.items()))
        (folder / "body").write_bytes(request.body)
        (folder / "expected").write_bytes(request.expected)
        (folder / "sessions").write_text("\n".join(request.session_ids))
        seconds = max(1, round(load.seconds))
        command = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "20s", "-s", str(_SCRIPT), url]
        done = subprocess.run(
            [*command, "--", name, str(REQUEST_ID)], capture_output=True, text=True, timeout=seconds + 30, check=False
        )
    line = done.stdout.strip().rpartition("\n")[2]
    if done.returncode or not line.startswith("{"):
        raise RuntimeError(f"wrk failed: {(done.stdout + done.stderr)[-600:]}")
    figures = msgspec.json.decode(line, type=Figures)
    figures.complaint = done.stderr.strip().partition("\n")[0]
    return figures
