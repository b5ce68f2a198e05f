"""The real hub as a process of its own, in front of the servers a test names.

Owns its start, its readiness, its REST questions and its end. Knows the command line and the REST paths.
"""

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Final

from tests.support import raw_http
from tests.support.processes import ROOT, end
from tests.support.waiting import NotReached, until

READY_TIMEOUT_S: Final = 30.0
LINK_TIMEOUT_S: Final = 30.0
COMMAND: Final = Path(sys.executable).with_name("mcp-hub")
KEPT: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Hub:
    """A running hub."""

    def __init__(
        self, port: int, config: Path, log: Path, arguments: tuple[str, ...] = (), environ: Mapping[str, str] = {}
    ) -> None:
        self.port = port
        self.config = config
        self.log = log
        self._arguments = arguments
        self._environ = environ
        self.process = self._start()
        self.base = f"http://127.0.0.1:{port}"
        self.url = f"{self.base}/mcp"

    async def api(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Ask the REST interface; the answer's status and decoded body."""
        sent = b"" if body is None else json.dumps(body).encode()
        fields = {"Content-Type": "application/json"} if sent else {}
        answer = await raw_http.send(method, f"{self.base}{path}", sent, fields)
        return answer.status, json.loads(answer.body) if answer.body else None

    async def servers(self) -> dict[str, dict[str, Any]]:
        """The server objects of `GET /api/servers` by name."""
        _, body = await self.api("GET", "/api/servers")
        return {server["name"]: server for server in body["servers"]}

    async def status_of(self, name: str) -> str:
        """The status of one server."""
        return str((await self.servers())[name]["status"])

    async def until_ready(self, *names: str, timeout_s: float = LINK_TIMEOUT_S) -> None:
        """Wait until all these servers are `ready`."""
        await until(
            self.servers,
            lambda servers: all(servers.get(name, {}).get("status") == "ready" for name in names),
            timeout_s,
            f"{', '.join(names)} ready ({self.tail()})",
        )

    def write_config(self, config: Mapping[str, object]) -> None:
        """Replace the config file, atomically as editors do."""
        changed = self.config.with_suffix(".new")
        changed.write_text(json.dumps(config, indent=1))
        changed.replace(self.config)

    def tail(self, size_bytes: int = 1500) -> str:
        """The end of the hub's log, for messages of failed tests."""
        return f"log {self.log}: …{self.log.read_text(errors='replace')[-size_bytes:]}"

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(5)

    def start_again(self) -> None:
        """Start it anew where it was, after `kill`, and wait until `/readyz` says so."""
        self.process = self._start()
        self.wait_until_up()

    def wait_until_up(self) -> None:
        """Wait until `/readyz` says so.

        Raises:
            NotReached: it does not in `READY_TIMEOUT_S`, with the end of its log.
        """
        _wait_ready(self.port, self.process, self.log)

    def _start(self) -> subprocess.Popen[bytes]:
        return start(self.config, self.log.parent, self.port, self._arguments, self._environ)


def wait_ready_sync(hub: Hub, *names: str, timeout_s: float = LINK_TIMEOUT_S) -> None:
    """`Hub.until_ready` for fixtures and programs that have no event loop."""
    asyncio.run(hub.until_ready(*names, timeout_s=timeout_s))


def _wait_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            try:
                connection.request("GET", "/readyz")
                if connection.getresponse().status == 200:
                    return
            finally:
                connection.close()
        time.sleep(0.05)
    told = log.read_text(errors="replace")[-3000:]
    raise NotReached(f"the hub was not ready within {READY_TIMEOUT_S} s, exit code {process.poll()}: {told}")


def start(
    config: Path, directory: Path, port: int, arguments: tuple[str, ...], environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start `mcp-hub serve` with its state under `directory`; the caller ends it."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT}
    homes = {f"XDG_{kind}_HOME": str(directory / kind.lower()) for kind in ("STATE", "DATA", "CONFIG", "CACHE")}
    with (directory / "hub.log").open("ab") as log:
        return subprocess.Popen(
            [str(COMMAND), "serve", "--port", str(port), "--config", str(config), *arguments],
            cwd=ROOT,
            env={**kept, **homes, "HUB_GATEWAY_LOG_LEVEL": "info", **environ},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


@contextlib.contextmanager
def running(
    config: Mapping[str, object],
    directory: Path,
    *arguments: str,
    environ: Mapping[str, str] | None = None,
) -> Generator[Hub]:
    """Run the hub with this config document; its files are under `directory`. Given once `/readyz` says so.

    Raises:
        NotReached: it was not ready in `READY_TIMEOUT_S`, with the end of its log.
    """
    path, port, log = directory / "mcp-servers.json", free_port(), directory / "hub.log"
    path.write_text(json.dumps(config, indent=1))
    hub = Hub(port, path, log, arguments, environ or {})
    try:
        hub.wait_until_up()
        yield hub
    finally:
        end(hub.process)
