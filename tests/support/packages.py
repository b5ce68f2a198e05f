"""The packages that tests fetch when they run, each with its version: the one place where these are pinned.

Owns names and versions, and what it means that the program that fetches them is missing. Fetching is `cache_dir`'s.
"""

import os
import shutil
from pathlib import Path
from typing import Final, NoReturn

import pytest

from tests.support.cache_dir import ToolMissing, npm_packages

NODE: Final = "node@22"
CONFORMANCE: Final = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
INSPECTOR: Final = "@modelcontextprotocol/inspector@2.12.0"
SDK_TYPESCRIPT: Final = "@modelcontextprotocol/sdk@1.32.2"
NPM_SERVERS: Final = {
    "everything": "@modelcontextprotocol/server-everything@2026.8.31",
    "memory": "@modelcontextprotocol/server-memory@2026.8.31",
    "filesystem": "@modelcontextprotocol/server-filesystem@2026.8.31",
}
PYPI_SERVERS: Final = {
    "time": "mcp-server-time@2026.10.19",
    "git": "mcp-server-git@2026.10.19",
    "fetch": "mcp-server-fetch@2026.10.24",
}

REQUIRED: Final = "HUB_REQUIRE_NODE"
"""Set where what needs Node.js must not be left out."""


def node_packages(name: str, *packages: str) -> Path:
    """A directory whose `node_modules` has these; the test is skipped, and says so, where there is no Node.js."""
    if shutil.which("node") is None:
        not_run("node is not installed or not on PATH")
    try:
        return npm_packages(name, *packages)
    except ToolMissing as missing:
        not_run(str(missing))


def not_run(why: str) -> NoReturn:
    """Leave the test out loudly; where Node.js is required, fail."""
    if os.environ.get(REQUIRED):
        pytest.fail(f"{REQUIRED} is set, but {why}")
    pytest.skip(f"NOT RUN: {why}")
