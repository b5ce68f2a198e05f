"""stdio toward an upstream: a child process that reads and writes one message a line.

Owns the process, its group and its three pipes. Knows no MCP beyond that a message starts with a brace (2026-07-28
transports/stdio).
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

from hub_common.logs import redacted
from hub_gateway.backlog import LONG_BYTES
from hub_gateway.errors import UpstreamDown
from hub_gateway.intake import Intake, set_reading
from hub_gateway.outgoing import Outgoing
from hub_gateway.turns import FLOOD_BYTES, TURNS_BYTES
from hub_gateway.upstreams.transports.last_words import LINES, last_sentence
from hub_gateway.upstreams.transports.log_budget import LogBudget
from hub_gateway.upstreams.transports.transport import MESSAGE_LIMIT_BYTES, Lost, Receive
from hub_gateway.wire.codec import BOM
from hub_gateway.wire.framing import FrameTooLarge, LineBuffer, one_line

_STDIN, _STDOUT, _STDERR = 0, 1, 2
_GRACE_S = 2.0
_LAST_WORDS_S = 0.5
_LOG_LINE = 2_000
_STDERR_LINE_BYTES = 65_536


class Stdio:
    """One child. `hidden` are texts (secrets of the config) that its last words, told to people, must not show."""

    kind = "stdio"
    streams = False
    has_session = True

    def __init__(
        self, name: str, command: list[str], env: dict[str, str], cwd: str | None, hidden: frozenset[str] = frozenset()
    ) -> None:
        self._name = name
        self._command = command
        self._env = env
        self._cwd = cwd
        self._hidden = hidden
        self._process: asyncio.SubprocessTransport | None = None
        self._child: _Child | None = None

    async def open(self, receive: Receive, lost: Lost) -> None:
        """Start the child in a process group of its own."""
        argv = find_runner(self._command, self._env, self._cwd)
        child = _Child(self._name, receive, lost, self._hidden)
        try:
            self._process, _ = await asyncio.get_running_loop().subprocess_exec(
                lambda: child, *argv, env=self._env, cwd=self._cwd, start_new_session=True
            )
        except OSError as fault:
            if self._cwd is not None and fault.filename == self._cwd:
                raise UpstreamDown(f"the working directory {self._cwd} does not exist") from fault
            raise UpstreamDown(f"'{argv[0]}' cannot be started: {fault.strerror or fault}") from fault
        self._child = child

    def speak(self, revision: str) -> None:
        """Nothing to tell: stdio has no headers."""

    async def send(
        self,
        message: bytes,
        *,
        upstream_id: int | None,
        method: str,
        name: str | None,
        mirrored: Sequence[tuple[str, str]] = (),
    ) -> None:
        """Write one line; waits while the child does not read."""
        if self._child is None:
            raise UpstreamDown("the process is not running")
        await self._child.write(message)

    async def close(self) -> None:
        """Close stdin, wait, then end the whole group: SIGTERM, wait, SIGKILL. Cancelling kills at once."""
        process, child = self._process, self._child
        self._process = self._child = None
        if process is None or child is None:
            return
        group = process.get_pid()
        child.silence()
        try:
            if not await child.exited(_GRACE_S):
                _signal(group, signal.SIGTERM)
                await child.exited(_GRACE_S)
        finally:
            # Also after a tidy exit: `npx` and shells may leave the real server behind.
            _signal(group, signal.SIGKILL)
            try:
                await child.exited(_GRACE_S)
            finally:
                process.close()


class _Child(asyncio.SubprocessProtocol):
    """What happens on the pipes of one process."""

    def __init__(self, name: str, receive: Receive, lost: Lost, hidden: frozenset[str]) -> None:
        self._name = name
        self._receive = receive
        self._lost: Lost | None = lost
        self._hidden = hidden
        self._log = logging.getLogger(f"{__name__}.{name}")
        self._loop = asyncio.get_running_loop()
        self._stdin: asyncio.WriteTransport | None = None
        self._process: asyncio.SubprocessTransport | None = None
        self._lines = LineBuffer(MESSAGE_LIMIT_BYTES)
        self._intake = Intake(self, shared=True)
        self._outgoing = Outgoing()
        self._stdout: asyncio.ReadTransport | None = None
        self._stderr = LineBuffer(_STDERR_LINE_BYTES)
        self._last_words: deque[bytes] = deque(maxlen=LINES)
        self._budget = LogBudget()
        self._writable = asyncio.Event()
        self._writable.set()
        self._gone = asyncio.Event()
        self._stdout_ended = False

    async def write(self, message: bytes) -> None:
        """Write one line."""
        if self._stdin is None or self._lost is None or self._gone.is_set():
            raise UpstreamDown(self._reason())
        self._outgoing.write(self._stdin, one_line(message) + b"\n")
        if not self._writable.is_set():
            await self._writable.wait()
            if self._lost is None:
                raise UpstreamDown(self._reason())

    def silence(self) -> None:
        """Close stdin and report nothing any more: the end that comes was asked for."""
        self._lost = None
        self._writable.set()
        if self._stdin is not None:
            self._outgoing.flush()
            self._stdin.close()

    async def exited(self, within_s: float) -> bool:
        """Wait until the process has exited."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._gone.wait()
        return self._gone.is_set()

    # asyncio.SubprocessProtocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._process = cast("asyncio.SubprocessTransport", transport)
        self._stdin = cast("asyncio.WriteTransport", self._process.get_pipe_transport(_STDIN))
        self._stdout = cast("asyncio.ReadTransport", self._process.get_pipe_transport(_STDOUT))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd != _STDOUT:
            with suppress(FrameTooLarge):
                for line in self._stderr.feed(data):
                    self._stderr_line(line)
        elif self._lines.open_bytes > TURNS_BYTES or len(data) > FLOOD_BYTES or self._intake.is_behind:
            self._intake.piece(lambda: self._read(data))
        else:
            self._read(data)

    def _read(self, data: bytes) -> None:
        try:
            for line in self._lines.feed(data):
                self._line(line)
        except FrameTooLarge as fault:
            self._report(f"it wrote garbage to stdout: {fault}")
        if self._intake.room_bytes or self._lines.open_bytes > LONG_BYTES:
            self._size_up()

    def pause_reading(self) -> None:
        """There is no room for the line that comes, or it is the turn of others."""
        set_reading(self._stdout, on=False)

    def resume_reading(self) -> None:
        """There is room again, or it was this one's turn."""
        set_reading(self._stdout, on=True)

    def cut(self) -> None:
        """Nothing: other messages come this way too."""

    def _size_up(self) -> None:
        """Take room for the line that is open, and give back that of the one before."""
        size_bytes = self._lines.open_bytes
        if size_bytes < self._intake.moved_bytes:
            self._intake.gone_on()
        if size_bytes > LONG_BYTES:
            self._intake.came(size_bytes)

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if fd == _STDOUT:
            self._intake.flush()
            self._intake.gone_on()
            self._stdout_ended = True
            self._end()

    def process_exited(self) -> None:
        self._gone.set()
        self._writable.set()
        self._end()

    def _end(self) -> None:
        """Report when both have ended; one alone gets a moment: an exit follows the end of stdout and gives the better
        reason, and answers written before an exit may still be in the pipe."""
        if self._gone.is_set() and self._stdout_ended:
            self._report()
        else:
            self._loop.call_later(_LAST_WORDS_S, self._report)

    # Lines

    def _line(self, line: bytes) -> None:
        line = line.removeprefix(BOM)
        if line.lstrip()[:1] in (b"{", b"["):
            self._receive(line, None)
        else:
            self._say(logging.WARNING, "%s wrote to stdout what is no message: %s", line)

    def _stderr_line(self, line: bytes) -> None:
        self._last_words.append(line[:_LOG_LINE])
        self._say(logging.INFO, "%s: %s", line)

    def _say(self, level: int, words: str, line: bytes) -> None:
        left_out = self._budget.take(self._loop.time())
        if left_out is None:
            return
        if left_out:
            self._log.warning("%s: %d lines of what it wrote were left out here", self._name, left_out)
        self._log.log(level, words, self._name, _shown(line))

    def _report(self, reason: str | None = None) -> None:
        lost, self._lost = self._lost, None
        self._writable.set()
        if lost is not None:
            lost(reason or self._reason())

    def _reason(self) -> str:
        code = self._process.get_returncode() if self._process is not None else None
        if code is None:
            return "it closed its stdout" if self._stdout_ended else "the process is not running"
        how = f"was ended by {_signal_name(-code)}" if code < 0 else f"exited with code {code}"
        words = last_sentence([*map(_shown, self._last_words)]) if code else ""
        for secret in self._hidden:
            words = words.replace(secret, "***")
        return f"the process {how}: {words[:300]}" if words else f"the process {how}"


def find_runner(command: list[str], env: dict[str, str], cwd: str | None = None) -> list[str]:
    """Return the command with its program found on the child's own PATH; `uv` and `uvx` come with the hub if need be.

    Raises:
        UpstreamDown: it is not installed.
    """
    program, *args = command
    if cwd is not None and os.sep in program:
        program = os.fspath(Path(cwd) / program)
    if (found := shutil.which(program, path=env.get("PATH", os.defpath))) is not None:
        return [found, *args]
    if program in ("uv", "uvx") and (bundled := _bundled_uv()) is not None:
        return [bundled, *(("tool", "run") if program == "uvx" else ()), *args]
    if os.sep in program:
        raise UpstreamDown(f"'{program}' does not exist or is not executable")
    raise UpstreamDown(f"runner '{program}' is not installed or not on PATH")


def _bundled_uv() -> str | None:
    try:
        import uv  # only where the command line is installed; a gateway image may go without
    except ImportError:
        return None
    with suppress(FileNotFoundError):
        return os.fspath(uv.find_uv_bin())
    return None


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _shown(line: bytes) -> str:
    return redacted(line[: 2 * _LOG_LINE].decode(errors="replace"))[:_LOG_LINE].rstrip()
