"""Child processes and what they cost.

Owns starting a child so that it never outlives the measurement, and reading CPU time and memory of its whole tree from
/proc (Linux). Does not know what the children do.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STOP_TIMEOUT_S = 5.0

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_DROPPED = ("HUB_", "MCP_HUB_", "OTEL_", "GEMINI_", "GOOGLE_", "PYTHON", "UVICORN_", "FASTMCP_", "MCP_")
_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def free_port() -> int:
    """A loopback port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Child:
    """A running child and its own children."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    def cpu_s(self, tree: bool = True) -> float:
        """CPU seconds of the tree since it began: of what runs, and of what has finished and was waited for. Without
        `tree` those of the process itself."""
        if not tree:
            return sum(map(int, (_stat(self.process.pid) or [])[11:13])) * _TICK_S
        return sum(sum(map(int, fields[11:15])) for fields in self._stats()) * _TICK_S

    def rss_bytes(self) -> int:
        """Resident memory of the tree; pages that several processes share count for each."""
        return sum(int(fields[21]) for fields in self._stats()) * _PAGE_BYTES

    def tail(self, size: int = 600) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-size:].strip()

    def end(self) -> None:
        """Ask it to stop; kill what is left of its tree."""
        tree = self._tree()
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_TIMEOUT_S)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(STOP_TIMEOUT_S)
        for pid in tree[1:]:
            with contextlib.suppress(OSError):
                if os.getsid(pid) == self.process.pid:  # else the number is somebody else's by now
                    os.kill(pid, signal.SIGKILL)

    def _tree(self) -> list[int]:
        children: dict[int, list[int]] = {}
        for pid, fields in _all_stats():
            children.setdefault(int(fields[1]), []).append(pid)
        tree = [self.process.pid]
        for pid in tree:
            tree.extend(children.get(pid, ()))
        return tree

    def _stats(self) -> list[list[str]]:
        return [fields for pid in self._tree() if (fields := _stat(pid)) is not None]


@contextlib.contextmanager
def running(
    command: Sequence[str], log: Path, environ: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> Generator[Child]:
    """Run a command until the block ends. What it prints goes to `log`; its state and caches stand beside that.

    The kernel kills it when this process is gone in whatever way.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
    homes = {f"XDG_{kind}_HOME": str(log.parent / kind.lower()) for kind in ("STATE", "DATA", "CONFIG", "CACHE")}
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            env={**kept, **homes, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )
    child = Child(process, log)
    try:
        yield child
    finally:
        child.end()


def _die_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third (the state) on; None where the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def _all_stats() -> Iterator[tuple[int, list[str]]]:
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))) is not None:
            yield int(name), fields
