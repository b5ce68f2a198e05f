"""What the statistics, health and metrics say of an LLM that answers, refuses or is not there."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hub.categorizer.v1 import categorizer_pb2 as pb
from hub_categorizer.settings import Settings
from hub_gateway.errors import SatelliteError
from tests.support.processes import RAW, stdio_entry
from tests.support.waiting import until
from tests.unit.categorizer.stand_ins import Fail, StandIn, stand_in
from tests.unit.gateway.management.asgi import ask
from tests.unit.gateway.management.conftest import until_ready
from tests.unit.gateway.management.house import House, built

pytestmark = pytest.mark.anyio


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with stand_in("openai") as served:
        yield served


@asynccontextmanager
async def with_llm(settings: Settings, directory: Path) -> AsyncGenerator[House]:
    """A house whose categorizer has an LLM."""
    servers = {"raw": stdio_entry(RAW, "--era", "handshake", "--tools", "2")}
    async with built({"mcpServers": servers}, directory, settings) as house:
        await until_ready(house, "raw")
        yield house


async def refined(house: House) -> None:
    """Ask for the categories of everything that is offered, and wait for the LLM's."""
    await house.deps.republish.settled()
    entries = house.deps.current.exposure.catalog.entries
    with suppress(SatelliteError):  # the LLM does not answer
        async for _ in house.deps.categorizer.refine(entries, house.deps.republish.policy.filtering):
            pass


def _all_decided(entries: int) -> Callable[[pb.DescribeResponse], bool]:
    """Whether the LLM has decided on so many. Until then a question of somebody else would wait for the answer of one
    that is asked already: it has its turn in the queue, and asks nothing.
    """

    def decided(said: pb.DescribeResponse) -> bool:
        return said.cache_size == entries and said.llm.calls == said.llm.successes + said.llm.failures

    return decided


async def stats(house: House) -> dict[str, Any]:
    return (await house.get("/api/filtering/stats")).json()


async def test_an_llm_that_answers(provider: StandIn, tmp_path: Path) -> None:
    async with with_llm(provider.settings(llm_model="m"), tmp_path) as house:
        answer = await house.post("/api/filtering/llm/check")
        assert (answer.status, answer.json()["key"]["status"]) == (200, "ok")
        entries = len(house.deps.current.exposure.catalog.entries)
        await until(house.deps.categorizer.describe, _all_decided(entries), 20.0, "the gateway's questions have ended")
        await refined(house)
        found = await stats(house)
        llm = found["llm"]
        assert (llm["enabled"], llm["provider"], llm["model"], llm["key"]["status"]) == (True, "openai", "m", "ok")
        assert llm["totalCalls"] == llm["totalRequests"] == llm["successfulCalls"] == len(provider.requests) > 0
        assert (llm["failedCalls"], llm["successRate"], llm["totalRetries"], llm["timeouts"]) == (0, 1.0, 0, 0)
        assert 0 < llm["p50Latency"] <= llm["p95Latency"] <= llm["p99Latency"]
        assert llm["averageLatency"] > 0
        cache = found["llmCache"]
        assert cache["size"] == cache["entryCount"] == found["llmCacheSize"] > 0
        assert (cache["ttlSeconds"], cache["memoryUsageBytes"] > 0) == (2_592_000.0, True)
        assert cache["memoryUsageMB"] == round(cache["memoryUsageBytes"] / 1_000_000, 3)
        assert found["queue"] == {"depth": 0, "processed": len(provider.requests)}
        assert found["circuitBreaker"] == {"state": "closed", "consecutiveFailures": 0}
        assert found["promptCache"] == {"hits": 0, "misses": 0, "hitRate": None}
        health = (await house.get("/api/health")).json()
        assert health["satellites"]["categorizer"] == {"status": "ok"}
        text = (await house.get("/metrics")).body.decode()
        assert "mcp_hub_llm_key_ok 1.0" in text
        assert f"mcp_hub_llm_successes {float(len(provider.requests))}" in text
        assert 'mcp_hub_llm_latency_seconds{quantile="0.95"}' in text
        assert "mcp_hub_llm_success_ratio 1.0" in text
        assert 'mcp_hub_llm_breaker_state{state="closed"} 1.0' in text
        told = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("mcp_hub_"))
        same = {
            "enabled": llm["enabled"],
            "calls": llm["totalCalls"],
            "successes": llm["successfulCalls"],
            "failures": llm["failedCalls"],
            "success_ratio": llm["successRate"],
            "timeouts": llm["timeouts"],
            "retries": llm["totalRetries"],
            "queue_depth": found["queue"]["depth"],
            "queue_processed": found["queue"]["processed"],
            "breaker_failures": found["circuitBreaker"]["consecutiveFailures"],
            "breaker_trips": llm["circuitBreakerTrips"],
            "cache_size": cache["size"],
            "cache_hits": cache["hits"],
            "cache_misses": cache["misses"],
            "cache_hit_ratio": cache["hitRate"],
            "cache_memory_bytes": cache["memoryUsageBytes"],
            "cache_ttl_seconds": cache["ttlSeconds"],
            "prompt_hits": found["promptCache"]["hits"],
            "prompt_misses": found["promptCache"]["misses"],
        }
        assert {name: float(told[f"mcp_hub_llm_{name}"]) for name in same} == same
        assert "mcp_hub_llm_prompt_hit_ratio" not in told, "no lookup is no data"
        took = {name: llm[f"{name}Latency"] / 1000 for name in ("p50", "p95", "p99")}
        said = [float(told[f'mcp_hub_llm_latency_seconds{{quantile="0.{n}"}}']) for n in (5, 95, 99)]
        assert said == pytest.approx(list(took.values()), abs=0.0001), "seconds here, milliseconds there"
        average_s = float(told["mcp_hub_llm_latency_average_seconds"])
        assert average_s == pytest.approx(llm["averageLatency"] / 1000, abs=0.0001)


async def test_before_the_first_question_there_is_no_data(provider: StandIn, tmp_path: Path) -> None:
    async with built({"mcpServers": {}}, tmp_path, provider.settings()) as house:
        found = await stats(house)
        llm = found["llm"]
        assert (llm["totalCalls"], llm["successRate"], found["cacheHitRate"]) == (0, None, None)
        assert {llm[f"{name}Latency"] for name in ("average", "p50", "p95", "p99")} == {None}
        assert "mcp_hub_llm_latency_seconds" not in (await house.get("/metrics")).body.decode()


async def test_a_refused_key_is_the_categorizers_reason(provider: StandIn, tmp_path: Path) -> None:
    provider.check_replies = [Fail(403, "billing is off")] * 9
    provider.replies = [Fail(403, "billing is off")] * 999
    async with with_llm(provider.settings(breaker_threshold=2), tmp_path) as house:
        checked = (await house.post("/api/filtering/llm/check")).json()["key"]
        assert (checked["status"], checked["httpStatus"]) == ("refused", 403)
        assert checked["checkedAt"].endswith("Z")
        await refined(house)
        await refined(house)
        found = await stats(house)
        assert found["llm"]["key"]["status"] == "refused"
        assert found["llm"]["successfulCalls"] == 0
        assert found["llm"]["successRate"] == 0.0
        assert found["circuitBreaker"]["consecutiveFailures"] >= 1
        answer = await ask(house.app(), "GET", "/api/health")
        said = answer.json()
        assert (answer.status, said["status"]) == (200, "degraded")
        assert said["satellites"]["categorizer"]["status"] == "degraded"
        assert "403" in said["satellites"]["categorizer"]["reason"]
        assert "mcp_hub_llm_key_ok 0.0" in (await house.get("/metrics")).body.decode()


async def test_a_check_without_the_categorizer(provider: StandIn, tmp_path: Path) -> None:
    async with with_llm(provider.settings(), tmp_path) as house:
        await house.categorizer_server.stop(0)
        answer = await house.post("/api/filtering/llm/check")
        assert (answer.status, answer.json()["code"]) == (503, "SATELLITE_ERROR")
