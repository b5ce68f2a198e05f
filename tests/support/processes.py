"""Test servers as processes: started, their URL read off the first line, ended with whoever started them.

Owns the life of a child process. Knows the command lines of the test servers, nothing of MCP.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
START_TIMEOUT_S: Final = 20.0
STOP_TIMEOUT_S: Final = 8.0

EVERYTHING: Final = "tests.support.everything_server"
RAW: Final = "tests.support.raw_server"
BOTH: Final = "tests.support.both_eras_server"
TASKS: Final = "tests.support.tasks_server"


def command(module: str, *arguments: str) -> list[str]:
    """The command line of a test server, to be run in the checkout."""
    return [sys.executable, "-m", module, *arguments]


def stdio_entry(module: str, *arguments: str) -> dict[str, object]:
    """A hub config entry for a test server over stdio."""
    line = command(module, "--transport", "stdio", *arguments)
    return {"command": line[0], "args": line[1:], "cwd": str(ROOT)}


def first_line(process: subprocess.Popen[bytes], timeout_s: float) -> str:
    """The first line of the child's standard output.

    Raises:
        RuntimeError: the child ended, or said nothing in time.
    """
    assert process.stdout is not None
    end, line = time.monotonic() + timeout_s, b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))
        byte = os.read(process.stdout.fileno(), 1) if ready else b""
        if not byte:
            raise RuntimeError(f"{process.args!r} printed no line: {line!r}, exit code {process.poll()}")
        line += byte
    return line.decode().strip()


def end(process: subprocess.Popen[bytes], timeout_s: float = STOP_TIMEOUT_S) -> int:
    """Ask the child to end, kill its group when it does not, and return its exit code."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait(timeout_s)


@contextlib.contextmanager
def serving(module: str, *arguments: str, log: Path | None = None) -> Generator[str]:
    """Run a test server over HTTP and give its URL. It ends with the block, and with this process in any case."""
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context(log.open("ab")) if log else subprocess.DEVNULL
        process = subprocess.Popen(
            command(module, *arguments, "--until-eof"),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
        stack.callback(_close_pipes, process)
        stack.callback(end, process)
        yield first_line(process, START_TIMEOUT_S)


def _close_pipes(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
