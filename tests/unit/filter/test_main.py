"""The process: it serves, stops when asked, and says why when it cannot."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hub_common.rpc_server import probe
from hub_common.settings import SettingsError
from hub_filter.settings import Settings, load

pytestmark = pytest.mark.anyio

BOUND_S = 30.0


@asynccontextmanager
async def running(**environ: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HUB_", "OTEL_"))}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hub_filter", env={**clean, **environ}, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(BOUND_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def serving(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    while b"listening" not in (line := await process.stderr.readline()):
        assert line, "ended before it listened"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_serves_until_asked_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    address = f"unix:{tmp_path}/filter.sock"
    async with running(HUB_FILTER_ADDRESS=address, HUB_FILTER_METRICS_PORT="0") as process:
        await serving(process)
        assert await probe(address, BOUND_S)
        process.send_signal(number)
        assert await process.wait() == 0


async def test_metrics_are_text_over_http(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"unix:{tmp_path}/filter.sock"
    async with running(HUB_FILTER_ADDRESS=address, HUB_FILTER_METRICS_PORT=str(port)) as process:
        await serving(process)
        assert await probe(address, BOUND_S)
        text = await asyncio.to_thread(read, f"http://127.0.0.1:{port}/metrics")
        assert "hub_filter_catalogs 0.0" in text
        assert "process_resident_memory_bytes" in text
        process.terminate()
        assert await process.wait() == 0


async def test_a_busy_port_ends_it_with_the_reason() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        async with running(HUB_FILTER_ADDRESS=address, HUB_FILTER_METRICS_PORT="0") as process:
            _, stderr = await process.communicate()
            assert process.returncode == 1
            assert f"cannot listen on {address}" in stderr.decode()


async def test_a_busy_metrics_port_ends_it_with_the_reason(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        async with running(HUB_FILTER_ADDRESS=f"unix:{tmp_path}/filter.sock", HUB_FILTER_METRICS_PORT=port) as process:
            _, stderr = await process.communicate()
            assert process.returncode == 1
            assert f"cannot listen on port {port} for metrics" in stderr.decode()


async def test_settings_that_are_none_end_it_with_every_fault() -> None:
    async with running(HUB_FILTER_METRICS_PORT="many", HUB_FILTER_ADRESS="x:1") as process:
        _, stderr = await process.communicate()
        assert process.returncode == 2
        assert "HUB_FILTER_METRICS_PORT" in stderr.decode()
        assert "did you mean HUB_FILTER_ADDRESS" in stderr.decode()


def test_settings_come_from_the_environment() -> None:
    assert load({}) == Settings()
    assert load({"HUB_FILTER_CATALOGS_HELD": "3"}).catalogs_held == 3
    with pytest.raises(SettingsError):
        load({"HUB_FILTER_CATALOGS_HELD": "0"})


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=BOUND_S) as answer:
        return answer.read().decode()
