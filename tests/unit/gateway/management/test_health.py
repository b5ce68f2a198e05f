"""Health says what is true, and readiness waits for nobody."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from hub_gateway.wire.meta import Caller
from tests.support import raw_http
from tests.support.gateway import gateway
from tests.support.processes import RAW, stdio_entry
from tests.support.waiting import until
from tests.unit.gateway.management.asgi import ask
from tests.unit.gateway.management.conftest import until_ready
from tests.unit.gateway.management.house import House, built

pytestmark = pytest.mark.anyio


@pytest.fixture
async def small(tmp_path: Path) -> AsyncGenerator[House]:
    """A gateway where all is well."""
    async with built({"mcpServers": {"raw": stdio_entry(RAW, "--era", "handshake")}}, tmp_path) as house:
        await until_ready(house, "raw")
        await house.deps.workspaces.beat()
        yield house


async def test_all_is_well(small: House) -> None:
    small.deps.sessions.open("2025-11-25", Caller(), {})
    answer = await small.get("/api/health")
    body = answer.json()
    assert answer.status == 200
    assert (body["status"], body["state"], body["server_id"]) == ("ok", "ready", "mcp-hub")
    assert body["version"] == version("mcp-hub")
    assert body["activeClients"] == 1
    assert body["servers"] == [{"name": "raw", "status": "ready"}]
    assert body["satellites"] == {"filter": {"status": "ok"}, "categorizer": {"status": "ok"}}
    assert body["store"] == {"kind": "embedded", "healthy": True, "reason": None}
    assert body["config"]["files"] == [str(path) for path in small.document.sources]
    endpoint = body["mcpEndpoint"]
    assert (endpoint["activeClients"], endpoint["registeredCapabilities"]["tools"] > 0) == (1, True)
    assert endpoint["totalCapabilities"] == sum(endpoint["registeredCapabilities"].values())
    assert body["workspaces"]["allActive"][body["workspaces"]["current"]]["state"] == "ready"


async def test_server_that_is_missing_degrades(house: House) -> None:
    answer = await house.get("/api/health")
    body = answer.json()
    servers = {line["name"]: line for line in body["servers"]}
    assert (answer.status, body["status"]) == (200, "degraded")
    assert list(servers) == ["raw", "far", "off", "gone", "broken"]
    assert servers["raw"] == {"name": "raw", "status": "ready"}
    assert servers["off"]["status"] == "stopped"
    assert servers["broken"]["status"] == "invalid"
    assert "broken" in servers["broken"]["reason"]
    assert "no-such-program-anywhere" in servers["gone"]["reason"]


@pytest.mark.parametrize("name", ["filter", "categorizer"])
async def test_satellite_away(small: House, name: str) -> None:
    server = {"filter": small.filter_server, "categorizer": small.categorizer_server}[name]
    await server.stop(0)
    answer = await small.get("/api/health")
    body = answer.json()
    assert (answer.status, body["status"]) == (200, "degraded")
    assert body["satellites"][name] == {"status": "away", "reason": "it does not answer"}


@pytest.mark.parametrize("state", ["starting", "stopping"])
async def test_not_serving(small: House, state: str) -> None:
    small.state = state
    answer = await small.get("/api/health")
    assert (answer.status, answer.json()["status"], answer.json()["state"]) == (503, "error", state)
    assert (await small.get("/readyz")).status == 503
    assert (await small.get("/healthz")).status == 200


async def test_ready_without_waiting_for_servers_or_satellites(small: House) -> None:
    await small.deps.fleet.stop("raw")
    await small.filter_server.stop(0)
    assert (await small.get("/readyz")).json() == {"status": "ok"}


async def test_it_is_told_where_the_hubs_own_folder_is_gone(
    small: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert (await small.get("/api/health")).json()["status"] == "ok"


async def test_many_questions_are_one_probe(small: House) -> None:
    app = small.app()
    before = (await ask(app, "GET", "/api/health")).json()["satellites"]["filter"]
    await small.filter_server.stop(0)
    assert (await ask(app, "GET", "/api/health")).json()["satellites"]["filter"] == before


async def test_an_edit_that_could_be_read_and_not_applied_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway({}, tmp_path, watch=True) as house:

        async def told() -> dict[str, Any]:
            answer = await raw_http.send("GET", f"http://127.0.0.1:{house.gateway.port}/api/health", b"", {})
            return answer.json()["config"]

        def edit(views: dict[str, object]) -> None:
            document = {"mcpServers": {}, "views": views, "toolFiltering": {"mode": "auto"}}
            (tmp_path / "mcp-servers.json").write_text(json.dumps(document))

        def fail() -> None:
            raise RuntimeError("who follows the edits cannot follow this one")

        assert ((await told())["refused"], (await told())["refusedAt"]) == ([], None)
        monkeypatch.setattr(house.gateway, "_applied", fail)
        edit({"v": {}})
        config = await until(told, lambda config: config["refused"], 20.0, "the fault is told")
        assert config["refused"] == ["not wholly in force: RuntimeError; the log says more"]
        assert datetime.fromisoformat(config["refusedAt"]).tzinfo == UTC
        monkeypatch.undo()
        edit({"w": {}})
        config = await until(told, lambda config: not config["refused"], 20.0, "the next edit is applied")
        assert config["refusedAt"] is None
        await house.settled()
        assert house.gateway.republish.policy.mode == "auto", "what stood in the edit before is in force as well"


async def test_calls_go_on_while_a_config_is_read(tmp_path: Path) -> None:
    path, slow, edited = tmp_path / "mcp-servers.json", tmp_path / "slow", tmp_path / "edited"
    os.mkfifo(slow)
    edited.write_text(json.dumps({"mcpServers": {}, "views": {"edited": {}}}))
    async with gateway({}, tmp_path, watch=True) as house:

        async def writer() -> int | None:
            try:
                return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                return None  # nobody reads it yet

        async def views() -> list[str]:
            return list(house.gateway.current.named)

        slow.replace(path)
        opened = await until(writer, lambda found: found is not None, 20.0, "the config is being read")
        assert opened is not None
        edited.replace(path)
        answer = await raw_http.send("GET", f"http://127.0.0.1:{house.gateway.port}/healthz", b"", {})
        assert answer.status == 200
        os.write(opened, b'{"mcpServers": {}}')
        os.close(opened)
        await until(views, lambda names: names == ["edited"], 20.0, "the edit after it is applied")
