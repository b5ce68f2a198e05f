"""`mcp-hub serve` where something is missing: what is said has to be enough to go on."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hub_cli.__main__ import GONE
from hub_common.shared_state import redis_url_fault
from hub_gateway.config.load import load
from tests.support.processes import EVERYTHING, stdio_entry

COMMAND = (sys.executable, "-m", "hub_cli")


def serve(folder: Path, *arguments: str, words: tuple[str, ...] = ("serve",), **environ: str) -> tuple[int, str]:
    """Run it where it cannot run, and return its exit code and its words."""
    done = subprocess.run(
        [*COMMAND, *words, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"HOME": "/", **environ},
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("arguments", ((), ("--config", "mine.json")))
def test_without_a_config_one_is_shown_that_works(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code, words = serve(tmp_path, *arguments)
    assert (code, words.splitlines()[0]) == (
        2,
        f"mcp-hub: {arguments[-1] if arguments else 'mcp-servers.json'}: no such file",
    )
    assert "--config" in words
    shown = next(line for line in words.splitlines() if line.lstrip().startswith("{"))
    path = tmp_path / "mcp-servers.json"
    path.write_text(shown)
    assert list(load([path]).servers) == ["time"]


def test_of_a_config_that_is_wrong_the_place_is_told_and_no_other_is_shown(tmp_path: Path) -> None:
    (tmp_path / "mcp-servers.json").write_text('{"mcpServers": {"a": {"command": "x"},\n  }, oops')
    code, words = serve(tmp_path)
    assert (code, words.splitlines()[0][: len("mcp-hub: mcp-servers.json: line 2, column ")]) == (
        2,
        "mcp-hub: mcp-servers.json: line 2, column ",
    )
    assert "for example" not in words


def test_a_port_that_is_taken_is_named_with_what_to_do(tmp_path: Path) -> None:
    servers: dict[str, Any] = {"mcpServers": {}}
    (tmp_path / "mcp-servers.json").write_text(json.dumps(servers))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, words = serve(tmp_path, "--port", str(port))
    assert code == 1
    assert f"127.0.0.1:{port}" in words
    assert "--port" in words


def test_an_address_that_is_not_here_is_told_apart_from_a_port_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "mcp-servers.json").write_text('{"mcpServers": {}}')
    code, words = serve(tmp_path, "--port", "0", "--host", "203.0.113.5")  # RFC 5737: for documents only
    assert (code, words.endswith("; another address is given with --host\n")) == (1, True), words


def test_a_redis_url_that_is_none_is_named_and_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "mcp-servers.json").write_text('{"mcpServers": {}}')
    code, words = serve(tmp_path, HUB_REDIS_URL="http://:hunter2@redis:6379")
    assert (code, words.splitlines()) == (2, [f"mcp-hub: HUB_REDIS_URL: {redis_url_fault('http://')}"])


def test_what_is_behind_the_endpoint_is_counted_once_the_servers_are_there(tmp_path: Path) -> None:
    servers = {"slow": stdio_entry(EVERYTHING, "--era", "handshake"), "off": {"command": "x", "disabled": True}}
    (tmp_path / "mcp-servers.json").write_text(json.dumps({"mcpServers": servers}))
    environ = {"HOME": str(tmp_path), "HUB_GATEWAY_STATE_DIR": str(tmp_path / "state")}
    with subprocess.Popen(
        [*COMMAND, "--port", "0"], cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=environ
    ) as hub:
        assert hub.stdout is not None
        lines: list[str] = []
        for line in hub.stdout:
            lines.append(line.rstrip())
            if "behind one endpoint" in line:
                break
        hub.terminate()
    assert lines[0].endswith("1 server starting"), "what is disabled is not"
    (ready,) = [line.split() for line in lines if " slow " in line]
    assert ready[2] == "ready"
    assert lines[-1].startswith(f"{ready[3]} tools behind one endpoint")
    assert any("off  stopped  disabled in the config" in line for line in lines)


@pytest.mark.parametrize("arguments", (("--port", "7000", "--config", "mine.json", "--watch"), ("-c", "mine.json")))
def test_options_without_a_word_are_those_of_serve(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code, words = serve(tmp_path, *arguments, words=())
    assert (code, words.splitlines()[0]) == (2, "mcp-hub: mine.json: no such file")


@pytest.mark.parametrize("words", ((), ("serve",)))
@pytest.mark.parametrize("option", (("--auto-shutdown",), ("--shutdown-delay", "5000"), ("--shutdown-delay=5000",)))
def test_an_option_that_is_no_more_says_what_is_done_now(
    tmp_path: Path, option: tuple[str, ...], words: tuple[str, ...]
) -> None:
    code, said = serve(tmp_path, "--port", "7000", *option, words=words)
    name = option[0].partition("=")[0]
    assert (code, said) == (2, f"mcp-hub: {name} is gone since MCP Hub 5: {GONE[name]}\n")
