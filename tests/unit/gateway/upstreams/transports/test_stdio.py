"""stdio against children of all manners."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

import pytest

from hub_gateway.errors import UpstreamDown
from hub_gateway.upstreams.transports.stdio import Stdio, find_runner
from tests.unit.gateway.upstreams.eyes import until

pytestmark = pytest.mark.anyio
ENV = {"PATH": os.environ["PATH"]}

ECHO = """
import sys
for line in sys.stdin:
    sys.stdout.write(line); sys.stdout.flush()
"""
NOISY = """
import sys
sys.stdout.write("Welcome to the server!\\n\\n\\x1b[31mred\\x1b[0m\\n42\\n"); sys.stdout.flush()
sys.stderr.write("ready\\n"); sys.stderr.flush()
for line in sys.stdin:
    sys.stdout.write("noise\\n" + line[:5]); sys.stdout.flush()
    sys.stdout.write(line[5:] + "noise\\n"); sys.stdout.flush()
"""
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "300"], stdin=subprocess.DEVNULL)
print('{"pid":%d}' % child.pid, flush=True)
while True:
    time.sleep(60)
"""
LEAVES_A_CHILD = """
import subprocess, sys
none = subprocess.DEVNULL
child = subprocess.Popen(["sleep", "300"], stdin=none, stdout=none, stderr=none)
print('{"pid":%d}' % child.pid, flush=True)
sys.stdin.read()
"""
FAILS = """
import os, sys
print('{"last":1}', flush=True)
sys.stderr.write("config error: token " + os.environ["TOKEN"] + " is not valid\\n")
sys.exit(3)
"""


class _Link:
    """A child with what it sent and why it was lost."""

    def __init__(self, code: str, env: dict[str, str] | None = None) -> None:
        hidden = frozenset((env or {}).values())
        self.transport = Stdio("kid", [sys.executable, "-c", code], ENV | (env or {}), None, hidden)
        self.received: list[bytes] = []
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> _Link:
        await self.transport.open(self._receive, self.lost.set_result)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.transport.close()

    def _receive(self, body: bytes, upstream_id: int | None) -> bool:
        assert upstream_id is None
        self.received.append(body)
        return False

    async def send(self, message: bytes) -> None:
        async with asyncio.timeout(10):
            await self.transport.send(message, upstream_id=1, method="x", name=None)

    async def heard(self, count: int) -> list[bytes]:
        return await until(lambda: self.received, lambda all_: len(all_) >= count, f"{count} messages")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_a_message_is_one_line_whatever_breaks_it_has() -> None:
    async with _Link(ECHO) as link:
        await link.send(b'{"a":\r\n1}')
        await link.send(b'{"b":2}')
        assert await link.heard(2) == [b'{"a":  1}', b'{"b":2}']


async def test_a_byte_order_mark_is_no_noise() -> None:
    async with _Link(ECHO) as link:
        await link.send(b'\xef\xbb\xbf{"a":1}')
        assert await link.heard(1) == [b'{"a":1}']


async def test_a_long_message_goes_both_ways() -> None:
    async with _Link(ECHO) as link:
        message = b'{"a":"' + b"x" * 8_000_000 + b'"}'
        await link.send(message)
        assert await link.heard(1) == [message]


async def test_noise_on_stdout_is_logged_and_skipped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with _Link(NOISY) as link:
        await link.send(b'{"a":1}')
        assert await link.heard(1) == [b'{"a":1}']
        await until(lambda: caplog.text, lambda text: "kid: ready" in text, "stderr in the log")
    assert "kid wrote to stdout what is no message: Welcome to the server!" in caplog.text


async def test_the_end_of_the_child_is_told_at_once_with_its_last_words_but_no_secret() -> None:
    async with _Link(FAILS, {"TOKEN": "s3cret-token"}) as link:
        async with asyncio.timeout(10):
            reason = await link.lost
        assert reason == "the process exited with code 3: config error: token *** is not valid"
        assert link.received == [b'{"last":1}']
        with pytest.raises(UpstreamDown, match="exited with code 3"):
            await link.send(b"{}")


async def test_a_killed_child_is_told_by_its_signal() -> None:
    async with _Link(
        "import os; print('{\"pid\":%d}' % os.getpid(), flush=True); import sys; sys.stdin.read()"
    ) as link:
        pid = int((await link.heard(1))[0][7:-1])
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(5):
            assert await link.lost == "the process was ended by SIGKILL"


async def test_a_child_that_closes_its_stdout_is_lost() -> None:
    # uvloop gives the child a second descriptor of each pipe.
    async with _Link("import os, sys; os.closerange(1, 256); sys.stdin.read()") as link:
        async with asyncio.timeout(10):
            assert await link.lost == "it closed its stdout"


async def test_closing_tells_nobody_that_the_link_is_lost() -> None:
    async with _Link(ECHO) as link:
        await link.send(b"{}")
        await link.heard(1)
    assert not link.lost.done()
    await link.transport.close()
    with pytest.raises(UpstreamDown):
        await link.send(b"{}")


@pytest.mark.parametrize("code", [STUBBORN, LEAVES_A_CHILD], ids=["ignores-everything", "leaves-a-child"])
async def test_closing_ends_the_whole_group(code: str) -> None:
    async with _Link(code) as link:
        pid = int((await link.heard(1))[0][7:-1])
        assert _alive(pid)
    await until(lambda: _alive(pid), lambda alive: not alive, "the grandchild is gone")


async def test_a_missing_runner_is_named() -> None:
    with pytest.raises(UpstreamDown, match="runner 'npx-that-is-not' is not installed or not on PATH"):
        find_runner(["npx-that-is-not", "-y"], ENV)
    with pytest.raises(UpstreamDown, match="'/no/such/program' does not exist or is not executable"):
        find_runner(["/no/such/program"], ENV)


async def test_uvx_falls_back_to_the_uv_of_the_hub(tmp_path: Path) -> None:
    argv = find_runner(["uvx", "mcp-server-time"], {"PATH": str(tmp_path)})
    assert Path(argv[0]).name == "uv"
    assert argv[1:] == ["tool", "run", "mcp-server-time"]


async def test_a_relative_program_is_looked_for_where_the_child_runs(tmp_path: Path) -> None:
    program = tmp_path / "run.sh"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_runner(["./run.sh", "a"], ENV, str(tmp_path)) == [f"{tmp_path}/./run.sh".replace("/./", "/"), "a"]


async def test_what_cannot_be_started_is_an_error_that_says_why(tmp_path: Path) -> None:
    program = tmp_path / "broken"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    transport = Stdio("kid", [str(program)], ENV, None)
    with pytest.raises(UpstreamDown, match="cannot be started"):
        await transport.open(lambda _, __: False, lambda _: None)
    transport = Stdio("kid", [sys.executable], ENV, str(tmp_path / "gone"))
    with pytest.raises(UpstreamDown, match=r"cannot be started|does not exist"):
        await transport.open(lambda _, __: False, lambda _: None)
