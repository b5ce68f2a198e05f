"""What `mcp-hub serve` outlives: who reads its output, a terminal without its marks, and with nohup the terminal."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from tests.support.processes import EVERYTHING, stdio_entry
from tests.unit.cli.test_serve_first import COMMAND

pytestmark = pytest.mark.timeout(60)


@contextmanager
def hub(folder: Path, *before: str, **options: Any) -> Generator[subprocess.Popen[str]]:
    """A hub with one server that works and one that does not, under the command `before`."""
    servers = {"slow": stdio_entry(EVERYTHING, "--era", "handshake"), "absent": {"command": "no-such-command"}}
    (folder / "mcp-servers.json").write_text(json.dumps({"mcpServers": servers}))
    (folder / "scratch").mkdir(exist_ok=True)
    environ = {
        "HOME": str(folder),
        "PATH": os.environ["PATH"],
        "HUB_GATEWAY_STATE_DIR": str(folder / "state"),
        "TMPDIR": str(folder / "scratch"),
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        **options.pop("environ", {}),
    }
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    with subprocess.Popen([*before, *COMMAND, "serve", "--port", "0"], cwd=folder, env=environ, **options) as running:
        try:
            yield running
        finally:
            running.kill()


def endpoint_of(first_line: str) -> str:
    """The base of its URLs, from what it says first."""
    return first_line.split(" serves ")[1].split("/mcp")[0]


def until_said(lines: Any, words: str) -> list[str]:
    """Read until a line has these words."""
    heard: list[str] = []
    for line in lines:
        heard.append(line)
        if words in line:
            return heard
    raise AssertionError(f"{words!r} is not in {heard}")


def asked_to_stop(running: subprocess.Popen[str], number: signal.Signals = signal.SIGTERM) -> int:
    """Its exit code. What it goes on to say is read, so that it does not wait for room."""
    running.send_signal(number)
    with suppress(ValueError):
        running.communicate(timeout=30)
    return running.wait(30)


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    with hub(tmp_path) as running:
        assert running.stdout is not None
        base = endpoint_of(running.stdout.readline())
        running.stdout.close()
        until_said(running.stderr, "standard output is gone (Broken pipe)")
        with urlopen(f"{base}/readyz", timeout=10) as answer:
            assert answer.status == 200
        assert asked_to_stop(running) == 0


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full, hub(tmp_path, stdout=full) as running:
        until_said(running.stderr, "standard output is gone (No space left on device)")
        assert asked_to_stop(running) == 0


def test_an_encoding_without_the_marks(tmp_path: Path) -> None:
    with hub(tmp_path, environ={"PYTHONIOENCODING": "ascii"}) as running:
        heard = until_said(running.stdout, "slow  ready")
        assert heard[-1].startswith("  ? slow  ready")
        assert asked_to_stop(running) == 0


def test_the_end_of_the_terminal_asks_it_to_stop(tmp_path: Path) -> None:
    # The tests themselves may run under nohup.
    with hub(tmp_path, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL)) as running:
        until_said(running.stdout, "serves")
        assert asked_to_stop(running, signal.SIGHUP) == 0
    assert not list((tmp_path / "scratch").iterdir()), "its sockets are gone with it"


def test_in_the_background_of_a_script_it_is_asked_to_stop_too(tmp_path: Path) -> None:
    # A shell has what it starts there ignore SIGINT.
    with hub(tmp_path, "sh", "-c", 'trap "" INT; exec "$@"', "sh") as running:
        until_said(running.stdout, "serves")
        assert asked_to_stop(running, signal.SIGINT) == 0


def test_under_nohup_it_outlives_the_terminal(tmp_path: Path) -> None:
    with hub(tmp_path, "nohup") as running:
        base = endpoint_of(until_said(running.stdout, " serves ")[-1])
        running.send_signal(signal.SIGHUP)
        until_said(running.stdout, "behind one endpoint")
        with urlopen(f"{base}/readyz", timeout=10) as answer:
            assert answer.status == 200
        assert asked_to_stop(running) == 0


@pytest.mark.parametrize("level", ({}, {"HUB_GATEWAY_LOG_LEVEL": "warning"}))
def test_on_a_terminal_what_happens_to_a_server_is_said_once_unless_the_log_is_asked_for(
    tmp_path: Path, level: dict[str, str]
) -> None:
    ours, its = pty.openpty()
    with hub(tmp_path, stdout=its, stderr=its, environ={"TERM": "dumb", **level}) as running:
        os.close(its)
        with open(ours, encoding="utf-8", errors="replace", newline="\n") as screen:
            heard = until_said(screen, "behind one endpoint")
            running.terminate()
            with suppress(OSError):  # of a terminal whose last program has ended
                for _ in screen:
                    pass
        assert running.wait(30) == 0
    told = [line for line in heard if "runner 'no-such-command' is not installed" in line]
    assert len(told) == (2 if level else 1)
