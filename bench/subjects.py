"""What is measured side by side, and how each is started in front of the same fast server.

Owns command lines and config files. Does not know how anything is measured.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from bench.client import TEXT
from bench.processes import ROOT
from bench.upstream import HANDSHAKE, MEGABYTE, MEGABYTE_TEXT, STATELESS, STREAMED

FASTMCP = "fastmcp>=4,<5"
INSTALL_TIMEOUT_S = 150.0
UPSTREAM_TOOLS = 10
CONNECTIONS = 16
_WHOLE = "whole"


class Unavailable(Exception):
    """It cannot be measured here; the text says why."""


class Place(NamedTuple):
    """Where a subject runs: a folder of its own, its port, and the URL of the fast server of each era."""

    folder: Path
    port: int
    upstream_urls: Mapping[str, str]


class Subject(NamedTuple):
    """One line of the table.

    Attributes:
        era: in which the client speaks to it.
        tool: public name of the echo tool.
        command: makes the command line, and whatever file it names.
        filters: it is to hide the server "other" and to count its calls at /metrics.
        connections: fewer for what is so slow that calls cut off at the end would outweigh those answered.
        text: what the tool answers.
        progress: the call asks for progress.
        measure: name of the subject that it is compared with.
        tree: the CPU of its children is its own; not where the server that is called is one of them.
    """

    name: str
    label: str
    era: str
    tool: str
    command: Callable[[Place], list[str]]
    filters: bool = False
    connections: int = CONNECTIONS
    text: str = TEXT
    progress: bool = False
    measure: str = "nginx"
    tree: bool = True


def document(url: str, fast: Mapping[str, object] | None = None) -> dict[str, object]:
    """A config with two servers, of which the filter allows the first: `fast`, or the one at the URL."""
    return {
        "mcpServers": {"fast": fast or {"url": url}, "other": {"url": url}},
        "toolFiltering": {
            "enabled": True,
            "mode": "server-allowlist",
            "serverFilter": {"mode": "allowlist", "servers": ["fast"]},
        },
    }


def hub_command(folder: Path, port: int, upstream_url: str, fast: Mapping[str, object] | None = None) -> list[str]:
    """The hub in front of the server at that URL, and of `fast` where that is another."""
    path = folder / "mcp-servers.json"
    path.write_text(json.dumps(document(upstream_url, fast), indent=1))
    command = str(Path(sys.executable).with_name("mcp-hub"))
    return [command, "serve", "--port", str(port), "--config", str(path)]


def _hub(era: str) -> Callable[[Place], list[str]]:
    return lambda place: hub_command(place.folder, place.port, place.upstream_urls[era])


def _hub_stdio(place: Place) -> list[str]:
    arguments = ["-m", "bench.upstream", "--stdio", "--era", HANDSHAKE]
    fast = {"command": sys.executable, "args": arguments, "cwd": str(ROOT)}
    return hub_command(place.folder, place.port, place.upstream_urls[HANDSHAKE], fast)


def _nginx(era: str, options: str = "") -> Callable[[Place], list[str]]:
    return lambda place: _nginx_command(place, era, options)


def _nginx_command(place: Place, era: str, options: str) -> list[str]:
    program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        raise Unavailable("nginx is not installed (Debian: nginx-light)")
    upstream = place.upstream_urls[era].split("/")[2]
    temporary = "".join(
        f"{kind}_temp_path {place.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (place.folder / "nginx.conf").write_text(
        f"daemon off; master_process off; pid {place.folder}/pid; error_log stderr;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ access_log off; {temporary}\n"
        f"  keepalive_requests 10000000;\n"
        f"  upstream fast {{ server {upstream}; keepalive 64; keepalive_requests 10000000; }}\n"
        f"  server {{ listen 127.0.0.1:{place.port} backlog=1024;\n"
        '    location / { proxy_pass http://fast; proxy_http_version 1.1; proxy_set_header Connection ""; '
        f"{options} }} }} }}\n"
    )
    return [program, "-p", str(place.folder), "-e", "stderr", "-c", str(place.folder / "nginx.conf")]


def _sdk(place: Place) -> list[str]:
    return [sys.executable, str(ROOT / "bench" / "sdk_server.py"), str(place.port)]


def _fastmcp(place: Place) -> list[str]:
    python = _environment() / "bin" / "python"
    path = place.folder / "config.json"
    path.write_text(json.dumps(document(place.upstream_urls[HANDSHAKE])))
    return [str(python), str(ROOT / "bench" / "fastmcp_proxy.py"), str(place.port), str(path)]


def _environment() -> Path:
    """The virtual environment with FastMCP, kept in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mcp-hub-bench"
    return cache / f"fastmcp-py{sys.version_info.major}.{sys.version_info.minor}"


def install_fastmcp() -> None:
    """Make the virtual environment on first use; a half-finished one is made anew.

    Raises:
        Unavailable: that failed, or took longer than `INSTALL_TIMEOUT_S`.
    """
    wanted = _environment()
    if (wanted / _WHOLE).exists():
        return
    print(f"installing {FASTMCP} into {wanted} (once)", file=sys.stderr, flush=True)
    try:
        shutil.rmtree(wanted, ignore_errors=True)
        for line in (
            [sys.executable, "-m", "venv", str(wanted)],
            [str(wanted / "bin" / "python"), "-m", "pip", "install", "--quiet", "--prefer-binary", FASTMCP],
        ):
            subprocess.run(line, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.TimeoutExpired as fault:
        raise Unavailable(f"{FASTMCP} was not installed within {INSTALL_TIMEOUT_S:g} s") from fault
    except subprocess.CalledProcessError as fault:
        raise Unavailable(f"{FASTMCP} cannot be installed: {fault.stderr.strip()[-300:]}") from fault
    (wanted / _WHOLE).touch()


_MEGABYTE_CONNECTIONS = 4

SUBJECTS = (
    Subject("nginx", "nginx, plain reverse proxy", HANDSHAKE, "echo", _nginx(HANDSHAKE)),
    Subject("hub", "**hub**, session era", HANDSHAKE, "fast__echo", _hub(HANDSHAKE), True),
    Subject("hub-stateless", "**hub**, stateless era", STATELESS, "fast__echo", _hub(STATELESS), True),
    Subject("hub-old-to-new", "hub, session client, stateless server", HANDSHAKE, "fast__echo", _hub(STATELESS), True),
    Subject("hub-new-to-old", "hub, stateless client, session server", STATELESS, "fast__echo", _hub(HANDSHAKE), True),
    Subject("hub-stdio", "hub, session era, stdio server", HANDSHAKE, "fast__echo", _hub_stdio, True, tree=False),
    Subject("hub-sse", "hub, the server answers by SSE", HANDSHAKE, f"fast__{STREAMED}", _hub(HANDSHAKE), True),
    Subject(
        "nginx-progress",
        "nginx, progress (SSE, unbuffered)",
        STATELESS,
        "echo",
        _nginx(STATELESS, "proxy_buffering off;"),
        progress=True,
        measure="nginx-progress",
    ),
    Subject(
        "hub-progress",
        "hub, progress (SSE both ways), × nginx with the same",
        STATELESS,
        "fast__echo",
        _hub(STATELESS),
        True,
        progress=True,
        measure="nginx-progress",
    ),
    Subject(
        "nginx-1mib",
        "nginx, 1 MiB result (4 connections)",
        HANDSHAKE,
        MEGABYTE,
        _nginx(HANDSHAKE),
        connections=_MEGABYTE_CONNECTIONS,
        text=MEGABYTE_TEXT,
        measure="nginx-1mib",
    ),
    Subject(
        "hub-1mib",
        "hub, 1 MiB result (4 connections), × nginx with the same",
        HANDSHAKE,
        f"fast__{MEGABYTE}",
        _hub(HANDSHAKE),
        True,
        connections=_MEGABYTE_CONNECTIONS,
        text=MEGABYTE_TEXT,
        measure="nginx-1mib",
    ),
    Subject("sdk", "Python SDK server alone, JSON answers", HANDSHAKE, "echo", _sdk),
    Subject("fastmcp", "FastMCP multi-server proxy (4 connections)", HANDSHAKE, "fast_echo", _fastmcp, connections=4),
)
"""In the order in which they take turns."""
