"""Servers that other people wrote, as config entries of the hub and as processes of their own.

Owns their command lines, which are those of the example config with versions. Knows nothing of what they offer.
"""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mcp import StdioServerParameters

from tests.support.cache_dir import cache_dir
from tests.support.packages import NPM_SERVERS, PYPI_SERVERS, node_packages

UVX: Final = Path(sys.executable).with_name("uvx")
FIRST_START_S: Final = 240
"""The first start fetches the package."""
_FETCHING: Final = re.compile(r"UV_.*|SSL_CERT_.*|NODE_EXTRA_CA_CERTS|.*_PROXY", re.IGNORECASE)


def environ() -> dict[str, str]:
    """What fetching packages needs of this process's environment, and where they are kept between runs."""
    found = {name: value for name, value in os.environ.items() if _FETCHING.fullmatch(name)}
    return {"UV_CACHE_DIR": str(cache_dir() / "uv"), **found}


def entry(name: str, *arguments: str, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A hub config entry of the server of that name."""
    if name in NPM_SERVERS:
        program = node_packages("servers", *NPM_SERVERS.values()) / "node_modules" / ".bin" / f"mcp-server-{name}"
        line = [str(program), *arguments]
    else:
        line = [str(UVX), PYPI_SERVERS[name], *arguments]
    found: dict[str, Any] = {"command": line[0], "args": line[1:], "connectTimeoutSeconds": FIRST_START_S}
    return {**found, "env": dict(environ)} if environ else found


def process(entry: Mapping[str, Any]) -> StdioServerParameters:
    """What an SDK client starts to speak to the same server without a hub."""
    variables = {**environ(), **entry.get("env", {})}
    return StdioServerParameters(command=entry["command"], args=entry["args"], env=variables)
