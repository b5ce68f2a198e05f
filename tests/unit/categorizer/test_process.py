from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hub_categorizer.settings import PREFIX, Settings, load
from hub_common.rpc_server import probe
from hub_common.settings import SettingsError, describe

COMMAND = [sys.executable, "-m", "hub_categorizer"]
TIMEOUT_S = 30


def environment(tmp_path: Path, **variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HUB_", "GEMINI", "OTEL"))}
    return kept | {"HUB_CATEGORIZER_STATE_DIR": str(tmp_path / "state")} | variables


def test_settings_have_defaults_and_wider_names() -> None:
    assert load({}) == Settings()
    loaded = load({"GEMINI_API_KEY": "k", "HUB_REDIS_URL": "redis://r:6379", "HUB_CATEGORIZER_GEMINI_MODEL": "m"})
    assert (loaded.gemini_api_key, loaded.redis_url, loaded.gemini_model) == ("k", "redis://r:6379", "m")


def test_every_setting_is_described() -> None:
    assert all(setting.doc for setting in describe(Settings, PREFIX))


def test_every_fault_of_the_settings_is_named() -> None:
    with pytest.raises(SettingsError) as fault:
        load({"HUB_CATEGORIZER_LLM_BATCH": "many", "HUB_CATEGORIZER_NONSENSE": "1"})
    assert len(fault.value.faults) == 2


@pytest.mark.anyio
async def test_the_process_serves_until_it_is_asked_to_stop(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'categorizer.sock'}"
    variables = environment(tmp_path, HUB_CATEGORIZER_ADDRESS=address)
    process = await asyncio.create_subprocess_exec(*COMMAND, env=variables, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        async with asyncio.timeout(TIMEOUT_S):
            assert address in (await process.stderr.readline()).decode()
            assert await probe(address)
            process.send_signal(signal.SIGTERM)
            await process.communicate()
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_unusable_settings_and_addresses_are_told(tmp_path: Path) -> None:
    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            COMMAND, env=environment(tmp_path, **variables), capture_output=True, text=True, timeout=TIMEOUT_S
        )

    unusable = run(HUB_CATEGORIZER_LLM_BATCH="many")
    assert (unusable.returncode, "HUB_CATEGORIZER_LLM_BATCH" in unusable.stderr) == (2, True)
    no_address = run(HUB_CATEGORIZER_ADDRESS="unix:/nowhere/at/all.sock")
    assert (no_address.returncode, "cannot listen" in no_address.stderr) == (1, True)
