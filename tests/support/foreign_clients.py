"""Clients that are programs of their own: the SDKs 1.x for Python and for TypeScript, the Inspector's command line.

Owns how they are run and read. They are fetched on first use (`cache_dir`), bounded in time.
"""

import asyncio
import contextlib
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any, Final

from tests.support.cache_dir import sdk1_python
from tests.support.hub import COMMAND
from tests.support.packages import INSPECTOR, SDK_TYPESCRIPT, node_packages, not_run

SCRIPT: Final = Path(__file__).with_name("sdk1_client.py")
TS_SCRIPT: Final = Path(__file__).with_name("ts_client.mjs")
CALL_TIMEOUT_S: Final = 40.0
FETCH_TIMEOUT_S: Final = 240.0
"""Long enough for npx to fetch the Inspector on its first run."""


async def _output(*line: str, timeout_s: float) -> Any:
    """Run a program and decode the JSON it prints."""
    process = await asyncio.create_subprocess_exec(
        *line,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        raise AssertionError(f"{line} ended with {process.returncode}: {(out + err).decode()[-3000:]}")
    return json.loads(out)


async def sdk1(url: str, tool: str, arguments: dict[str, Any], transport: str = "http") -> dict[str, Any]:
    """List and call with the SDK 1.x: `{"revision", "tools": [name], "texts": [text], "error": bool}`."""
    python = await asyncio.to_thread(sdk1_python)
    line = (str(python), str(SCRIPT), transport, url, tool, json.dumps(arguments))
    return await _output(*line, timeout_s=CALL_TIMEOUT_S)


async def typescript(url: str, upstream: str, transport: str) -> dict[str, Any]:
    """List, call, be asked, hear and read with the TypeScript SDK; see the script. Without Node.js it is left out."""
    packages = await asyncio.to_thread(node_packages, "sdk-typescript", SDK_TYPESCRIPT)
    line = ("node", str(TS_SCRIPT), str(packages), transport, url, upstream, str(COMMAND))
    return await _output(*line, timeout_s=CALL_TIMEOUT_S)


async def inspector(url: str, method: str, *arguments: str) -> dict[str, Any]:
    """Run the Inspector's command line; its printed result. Without npx the test is left out."""
    npx = shutil.which("npx")
    if npx is None:
        not_run("npx is not installed or not on PATH")
    line = (npx, "--yes", INSPECTOR, "--cli", url, "--transport", "http", "--method", method, *arguments)
    return await _output(*line, timeout_s=FETCH_TIMEOUT_S)
