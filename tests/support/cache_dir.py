"""Where tools that tests fetch on demand are kept: outside the checkout, shared by all runs.

Owns the directory and the rule that a half-finished installation is never taken for a whole one.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

INSTALL_TIMEOUT_S: Final = 300.0
SDK_1: Final = "mcp<2"


class ToolMissing(RuntimeError):
    """A program that is needed to fetch a tool is not installed."""


def cache_dir() -> Path:
    """`$XDG_CACHE_HOME/mcp-hub-tests`, or the same under ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "mcp-hub-tests"


def installed(name: str, install: Callable[[Path], None]) -> Path:
    """The directory of a tool, installed on first use; `install` fills a fresh directory that is then moved there."""
    wanted = cache_dir() / name
    if wanted.exists():
        return wanted
    wanted.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=wanted.parent))
    try:
        install(fresh)
        if not wanted.exists():
            fresh.rename(wanted)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return wanted


def run(*line: str) -> None:
    """Run an installer.

    Raises:
        RuntimeError: with the end of its output, when it fails or takes longer than `INSTALL_TIMEOUT_S`.
    """
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{line[0]} took longer than {INSTALL_TIMEOUT_S} s") from error
    if done.returncode:
        raise RuntimeError(f"{' '.join(line)} failed: {(done.stdout + done.stderr)[-2000:]}")


def npm_packages(name: str, *packages: str) -> Path:
    """A directory whose `node_modules` has these npm packages.

    Raises:
        ToolMissing: npm is not installed.
    """
    npm = shutil.which("npm")
    if npm is None and not (cache_dir() / name).exists():
        raise ToolMissing("npm is not installed or not on PATH")
    return installed(
        name, lambda to: run(str(npm), "install", "--no-audit", "--no-fund", "--prefix", str(to), *packages)
    )


def sdk1_python() -> Path:
    """The interpreter of a virtual environment that has the Python SDK 1.x."""

    def install(to: Path) -> None:
        run(sys.executable, "-m", "venv", str(to))
        run(str(to / "bin" / "python"), "-m", "pip", "install", "--quiet", SDK_1)

    return installed("sdk1", install) / "bin" / "python"
