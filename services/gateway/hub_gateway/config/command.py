"""`${cmd: ...}`: one shell command, its output, and the end of everything it started."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from pathlib import Path

TIMEOUT_S = 30.0
LIMIT_BYTES = 1024 * 1024


class CommandFailed(Exception):
    """The command gave no value. The text tells why, and nothing of the command or of what it printed."""


async def output(command: str, environ: Mapping[str, str], cwd: Path, timeout_s: float = TIMEOUT_S) -> str:
    """Run `command` through the shell and return what it printed, without surrounding white space.

    The command has a process group of its own, which is killed at the timeout, on cancellation and when the output is
    over `LIMIT_BYTES`. What it prints on stderr is dropped, since that may tell a secret.

    Raises:
        CommandFailed: it cannot be started, ended with another status than 0, or ran into a limit.
    """
    try:
        process = await asyncio.create_subprocess_shell(
            command, stdin=DEVNULL, stdout=PIPE, stderr=DEVNULL, env=dict(environ), cwd=cwd, start_new_session=True
        )
    except OSError as error:
        raise CommandFailed(f"the command cannot be started: {error.strerror}") from None
    try:
        async with asyncio.timeout(timeout_s):
            printed = await _read(process)
            status = await process.wait()
    except TimeoutError:
        raise CommandFailed(f"the command did not end within {timeout_s:g} seconds") from None
    finally:
        await _end(process)
    if status:
        hint = " (not found)" if status == 127 else ""
        raise CommandFailed(f"the command ended with status {status}{hint}")
    try:
        return printed.decode().strip()
    except UnicodeDecodeError:
        raise CommandFailed("the command printed what is not UTF-8 text") from None


async def _read(process: Process) -> bytes:
    assert process.stdout is not None  # asked for with PIPE
    printed = bytearray()
    while chunk := await process.stdout.read(65_536):
        printed += chunk
        if len(printed) > LIMIT_BYTES:
            raise CommandFailed(f"the command printed more than {LIMIT_BYTES} bytes")
    return bytes(printed)


async def _end(process: Process) -> None:
    """Kill what is left of the group. The shell itself is reaped, so nothing stays behind as a zombie."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    if process.returncode is None:
        # asyncio knows of the end only once the pipe was read to its own, and it stops reading where nobody takes it.
        assert process.stdout is not None  # asked for with PIPE
        while await process.stdout.read(65_536):
            pass
        await process.wait()
