from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from hub.categorizer.v1 import categorizer_pb2 as pb
from hub.categorizer.v1 import categorizer_pb2_grpc
from hub_categorizer.settings import PREFIX, Settings, load
from hub_common.rpc_channel import open_channel
from hub_common.rpc_server import probe
from hub_common.settings import SettingsError, describe
from tests.unit.categorizer.gemini_stand_in import KEY
from tests.unit.categorizer.stand_ins import PROVIDERS, Fail, Provider, Reply, Say, stand_in

COMMAND = [sys.executable, "-m", "hub_categorizer"]
TIMEOUT_S = 30


def environment(tmp_path: Path, **variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HUB_", "GEMINI", "OTEL"))}
    return kept | {"HUB_CATEGORIZER_STATE_DIR": str(tmp_path / "state")} | variables


def test_settings_have_defaults_and_wider_names() -> None:
    assert load({}) == Settings()
    loaded = load({"GEMINI_API_KEY": "k", "HUB_REDIS_URL": "redis://r:6379", "HUB_CATEGORIZER_GEMINI_MODEL": "m"})
    assert (loaded.gemini_api_key, loaded.redis_url, loaded.gemini_model) == ("k", "redis://r:6379", "m")


@pytest.mark.parametrize(
    "url", ("r:6379", "redis:6379", "http://r", "redis://r:port", "redis://r/0?socket_timeout=soon")
)
def test_a_redis_url_that_is_none_is_named(url: str) -> None:
    with pytest.raises(SettingsError) as told:
        load({"HUB_REDIS_URL": url})
    (fault,) = told.value.faults
    assert fault.startswith("HUB_REDIS_URL: no URL of a Redis")
    assert url not in fault


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


@pytest.mark.anyio
@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("reply", [Fail(403, f"no {KEY}"), Fail(500, f"no {KEY}"), Say(f"no {KEY}")])
async def test_the_key_is_in_nothing_the_process_writes(name: Provider, reply: Reply, tmp_path: Path) -> None:
    """Its own words, and what the provider's SDK and the HTTP library under it have to say."""
    address = f"unix:{tmp_path / 'categorizer.sock'}"
    with stand_in(name) as provider:
        provider.replies = [reply] * 99
        provider.check_replies = [Fail(403, f"no {KEY}")] * 9
        said = {
            "ADDRESS": address,
            "PROVIDER": name,
            "LLM_API_KEY": KEY,
            "LLM_BASE_URL": provider.settings().llm_base_url or "",
            "LLM_BACKOFF_S": "0.001",
            "LOG_LEVEL": "debug",
        }
        variables = environment(tmp_path, NO_PROXY="127.0.0.1", OPENAI_LOG="debug", ANTHROPIC_LOG="debug")
        variables |= {f"{PREFIX}_{variable}": value for variable, value in said.items()}
        process = await asyncio.create_subprocess_exec(
            *COMMAND, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            channel = open_channel(address)
            stub: Any = categorizer_pb2_grpc.CategorizerServiceStub(channel)
            async with asyncio.timeout(TIMEOUT_S):
                definition = pb.Definition(hash="h", upstream_name="u", local_name="read_file")
                asked = pb.CategorizeRequest(definitions=[definition])
                with contextlib.suppress(grpc.aio.AioRpcError):
                    assert [one async for one in stub.Refine(asked, wait_for_ready=True)] == []
                await stub.Describe(pb.DescribeRequest(check_key=True))
                with pytest.raises(grpc.aio.AioRpcError):
                    await stub.AnalyzePrompt(pb.AnalyzePromptRequest(prompt="x"))
                await channel.close()
                process.send_signal(signal.SIGTERM)
                written, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert len(provider.requests) >= 2
    assert b"not refined" in written
    assert KEY.encode() not in written


def test_unusable_settings_and_addresses_are_told(tmp_path: Path) -> None:
    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            COMMAND, env=environment(tmp_path, **variables), capture_output=True, text=True, timeout=TIMEOUT_S
        )

    unusable = run(HUB_CATEGORIZER_LLM_BATCH="many")
    assert (unusable.returncode, "HUB_CATEGORIZER_LLM_BATCH" in unusable.stderr) == (2, True)
    no_address = run(HUB_CATEGORIZER_ADDRESS="unix:/nowhere/at/all.sock")
    assert (no_address.returncode, "cannot listen" in no_address.stderr) == (1, True)
