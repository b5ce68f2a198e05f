"""The container stack as a test drives it: compose commands, what the engine says of containers, and recorded spans.

Owns the project's name, its files and every wait on the engine. Knows the REST paths and tools the tests ask for.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.support import raw_http
from tests.support.clients import RawClient
from tests.support.hub import free_port
from tests.support.processes import ROOT

PROJECT: Final = "mcp-hub-test"
TAG: Final = "test"
FILES: Final = (
    "deploy/docker-compose.yml",
    "deploy/docker-compose.observability.yml",
    "tests/compose/docker-compose.test.yml",
)
BUILD_TIMEOUT_S: Final = 240.0
UP_TIMEOUT_S: Final = 90.0
COMMAND_TIMEOUT_S: Final = 30.0


class CommandFailed(AssertionError):
    """A docker command failed or took too long; the message holds the end of its output."""


def docker(*line: str, timeout_s: float = COMMAND_TIMEOUT_S, environ: Mapping[str, str] | None = None) -> str:
    """Run a docker command at the top of the checkout; its standard output.

    Raises:
        CommandFailed: it failed, or took longer than `timeout_s`.
    """
    try:
        done = subprocess.run(
            ["docker", *line],
            cwd=ROOT,
            env={**os.environ, **(environ or {})},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"docker {' '.join(line)}: not within {timeout_s} s") from None
    if done.returncode:
        raise CommandFailed(f"docker {' '.join(line)}: {(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def engine_fault() -> str | None:
    """Why no container can be run here; None where an engine with Compose answers."""
    try:
        docker("version", "--format", "{{.Server.Version}}", timeout_s=10)
        docker("compose", "version", timeout_s=10)
    except FileNotFoundError:
        return "the docker command is not installed"
    except CommandFailed as fault:
        return " ".join(str(fault).split())
    return None


@dataclass(frozen=True)
class Span:
    """A span as the receiver in the stack wrote it down. `peer` is the address of the replica that sent it."""

    service: str
    peer: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str


class Stack:
    """The stack under a project name, a port and image tags of its own, so that it meets no other."""

    def __init__(self) -> None:
        port = free_port()
        self.base = f"http://127.0.0.1:{port}"
        self.url = f"{self.base}/mcp"
        self.client = RawClient(self.url)
        self._environ = {"HUB_PUBLISH": f"127.0.0.1:{port}", "HUB_IMAGE_TAG": TAG}

    def compose(self, *line: str, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Run a compose command on the stack."""
        files = [word for file in FILES for word in ("-f", file)]
        return docker("compose", "-p", PROJECT, *files, *line, timeout_s=timeout_s, environ=self._environ)

    def build(self) -> None:
        """Build every image of the stack."""
        self.compose("build", timeout_s=BUILD_TIMEOUT_S)

    def up(self, *options: str) -> None:
        """Start what is not running, and wait until all of it is healthy."""
        self.compose("up", "--wait", "--no-build", *options, timeout_s=UP_TIMEOUT_S)

    def down(self) -> None:
        """End the stack and forget what it kept."""
        self.compose("down", "--volumes", "--remove-orphans", timeout_s=UP_TIMEOUT_S)

    def kill(self, service: str) -> None:
        """End every replica of a service as a crash would, for good."""
        self.compose("kill", "--signal", "KILL", service)

    def containers(self, *services: str) -> list[dict[str, Any]]:
        """What the engine says of the running containers of these services, or of all."""
        ids = self.compose("ps", "--quiet", *services).split()
        return json.loads(docker("inspect", *ids))

    def run_in(self, container: str, *line: str) -> str:
        """Run a command in a container; its standard output."""
        return docker("exec", container, *line)

    def spans(self) -> list[Span]:
        """All spans recorded so far."""
        lines = self.compose("logs", "--no-log-prefix", "--no-color", "traces").splitlines()
        return [Span(**json.loads(line)) for line in lines if line.startswith("{")]

    async def health(self) -> dict[str, Any]:
        """The body of `GET /api/health`, whatever its status says."""
        answer = await raw_http.send("GET", f"{self.base}/api/health")
        return {**answer.json(), "http_status": answer.status}

    async def call(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The result of a tool."""
        return _result(await self.client.call(name, arguments))

    async def tool_names(self) -> set[str]:
        """The names in `tools/list`."""
        return {tool["name"] for tool in _result(await self.client.request("tools/list"))["tools"]}

    async def analyze(self, prompt: str, meta: Mapping[str, str] | None = None, **headers: str) -> list[str]:
        """The names of the tools `hub__analyze_prompt` finds; `meta` goes into `_meta`, `headers` to HTTP."""
        params = {"name": "hub__analyze_prompt", "arguments": {"prompt": prompt}, "_meta": dict(meta or {})}
        sent = {**self.client.headers("tools/call", params), **headers}
        answer = await raw_http.post(self.url, self.client.body("tools/call", params), sent)
        (text,) = _result(answer)["content"]
        return [line.partition("(")[0] for line in json.loads(text["text"])["tools"]]

    def logs(self) -> str:
        """The end of every service's log but the receiver's, for a failed test."""
        services = ("gateway", "filter", "categorizer", "redis", "everything", "fetch")
        return self.compose("logs", "--no-color", "--tail", "60", *services)


def _result(answer: raw_http.Answer) -> dict[str, Any]:
    message = answer.json()
    assert answer.status == 200 and "result" in message, answer
    return message["result"]
