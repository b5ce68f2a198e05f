"""A real Redis for tests: a `redis-server` process where one is installed, else a container, else a loud failure."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub_common.tasks import Tasks

READY_TIMEOUT_S = 10.0


class RedisProcess:
    """One `redis-server` on a loopback port of its own, which it keeps over restarts; it puts nothing on disk."""

    def __init__(self) -> None:
        self.port = _free_port()
        self._directory = tempfile.TemporaryDirectory(prefix="hub-redis-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_url(self) -> str:
        return f"unix://{self._socket}?db=0"

    @property
    def _socket(self) -> Path:
        return Path(self._directory.name) / "redis.sock"

    def start(self) -> None:
        """Start and return once Redis says that it takes connections."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self._socket)]
        options += ["--save", "", "--appendonly", "no", "--dir", self._directory.name]
        self._process = subprocess.Popen(["redis-server", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._wait_until_ready(self._process)

    def ask(self, *words: str) -> None:
        """Give Redis a command that it says OK to."""
        lines = (f"${len(word)}\r\n{word}\r\n" for word in words)
        with socket.create_connection(("127.0.0.1", self.port), READY_TIMEOUT_S) as asking:
            asking.sendall(f"*{len(words)}\r\n{''.join(lines)}".encode())
            answer = asking.recv(1_024)
        assert answer.startswith(b"+OK"), answer

    def freeze(self) -> None:
        """Stop answering without closing anything, as a hung server does."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Answer again."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End at once, as `kill -9` does. Nothing happens when it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdout is not None:
                self._process.stdout.close()
            self._process = None

    def close(self) -> None:
        """End and remove every trace."""
        self.kill()
        self._directory.cleanup()

    def _signal(self, number: int) -> None:
        assert self._process is not None, "not running"
        self._process.send_signal(number)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        output = b""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while b"eady to accept connections" not in output:
            readable, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
            chunk = os.read(process.stdout.fileno(), 65536) if readable else b""
            if not chunk:
                self.kill()
                raise RuntimeError(f"redis-server did not start: {output.decode(errors='replace')}")
            output += chunk


class MovingAddress:
    """An address behind which another Redis may be: a name in a cluster, or a load balancer. What is connected stays
    where it is."""

    def __init__(self, primary: RedisProcess) -> None:
        self._primary = primary
        self._tasks = Tasks("moving address")
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        assert self._server is not None, "not open"
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def __aenter__(self) -> MovingAddress:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None, "not open"
        self._server.close()
        await self._tasks.close()

    def fail_over(self, primary: RedisProcess) -> None:
        """Have the Redis of before be a replica of this one, which is reached from now on."""
        self._primary.ask("replicaof", "127.0.0.1", str(primary.port))
        self._primary = primary

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_connection("127.0.0.1", self._primary.port)
        self._tasks.spawn(_carry(reader, behind[1]), "there")
        self._tasks.spawn(_carry(behind[0], writer), "back")


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def redis_process() -> Iterator[RedisProcess]:
    """A started `RedisProcess` of the caller's own, to freeze and kill; fails the test where none is installed."""
    if shutil.which("redis-server") is None:
        pytest.fail("redis-server is not installed: apt-get install redis-server, or brew install redis")
    server = RedisProcess()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The address of a real Redis that all tests of the run share; each test uses keys or spaces of its own."""
    if shutil.which("redis-server") is not None:
        with redis_process() as server:
            yield server.url
    elif shutil.which("docker") is not None:
        from testcontainers.redis import RedisContainer

        with RedisContainer("redis:7-alpine") as container:
            yield f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(6379)}/0"
    else:
        pytest.fail("no Redis to test with: install redis-server or Docker")
