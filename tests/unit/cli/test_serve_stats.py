"""One process and three: the statistics and the metrics have the same members, and the key is in none of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import raw_http
from tests.support.hub import KEPT, free_port, running
from tests.support.processes import RAW, ROOT, end, stdio_entry
from tests.support.waiting import until
from tests.unit.categorizer.gemini_stand_in import KEY
from tests.unit.categorizer.stand_ins import StandIn, stand_in

pytestmark = pytest.mark.anyio

START_S = 60.0
CONFIG = {"mcpServers": {"raw": stdio_entry(RAW, "--era", "handshake", "--tools", "2")}}


def _llm(provider: StandIn) -> dict[str, str]:
    """What the environment says of the LLM."""
    settings = provider.settings()
    return {
        "HUB_CATEGORIZER_PROVIDER": settings.provider,
        "HUB_CATEGORIZER_LLM_API_KEY": KEY,
        "HUB_CATEGORIZER_LLM_BASE_URL": str(settings.llm_base_url),
        "NO_PROXY": "127.0.0.1",
    }


@contextmanager
def _one_process(provider: StandIn, directory: Path) -> Generator[str]:
    with running(CONFIG, directory, environ=_llm(provider)) as hub:
        yield hub.base


@contextmanager
def _three_processes(provider: StandIn, directory: Path) -> Generator[str]:
    config, port = directory / "mcp-servers.json", free_port()
    config.write_text(json.dumps(CONFIG))
    filter_target, categorizer_target = f"unix:{directory}/filter", f"unix:{directory}/categorizer"
    environ = {
        "HUB_GATEWAY_PORT": str(port),
        "HUB_GATEWAY_CONFIG": str(config),
        "HUB_GATEWAY_FILTER_TARGET": filter_target,
        "HUB_GATEWAY_CATEGORIZER_TARGET": categorizer_target,
        "HUB_GATEWAY_STATE_DIR": str(directory / "state"),
        "HUB_FILTER_ADDRESS": filter_target,
        "HUB_CATEGORIZER_ADDRESS": categorizer_target,
        "HUB_CATEGORIZER_STATE_DIR": str(directory / "state"),
        **_llm(provider),
    }
    with ExitStack() as stack, (directory / "hub.log").open("ab") as log:
        for name in ("hub_filter", "hub_categorizer", "hub_gateway"):
            mine = {key: value for key, value in environ.items() if key.startswith((name.upper(), "NO_PROXY"))}
            process = subprocess.Popen(
                [sys.executable, "-m", name],
                cwd=ROOT,
                env={**{key: value for key, value in os.environ.items() if key in KEPT}, **mine},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            stack.callback(end, process)
        yield f"http://127.0.0.1:{port}"


async def _seen(base: str) -> tuple[dict[str, Any], set[str], str]:
    """The statistics once the LLM has decided on everything, the names of all metrics, and all that is told."""

    async def stats() -> dict[str, Any]:
        answer = await raw_http.send("GET", f"{base}/api/filtering/stats", b"", {})
        return json.loads(answer.body) if answer.status == 200 else {}

    found = await until(stats, lambda told: set(told.get("categorySources", ())) == {"llm"}, START_S, "all is refined")
    pages = [await raw_http.send("GET", f"{base}{path}", b"", {}) for path in ("/metrics", "/api/health", "/api/tools")]
    families = text_string_to_metric_families(pages[0].body.decode())
    told = "\n".join([json.dumps(found), *(page.body.decode() for page in pages)])
    return found, {family.name for family in families}, told


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shape(each) for key, each in value.items()}
    return [_shape(each) for each in value[:1]] if isinstance(value, list) else type(value).__name__


async def test_one_process_and_three_tell_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    seen: list[tuple[Any, set[str]]] = []
    for number, arrangement in enumerate((_one_process, _three_processes)):
        directory = tmp_path / str(number)
        directory.mkdir()
        with stand_in("openai") as provider, arrangement(provider, directory) as base:
            found, metrics, told = await _seen(base)
        assert found["llm"]["successRate"] == 1.0
        assert KEY not in told
        assert KEY not in (directory / "hub.log").read_text(errors="replace")
        seen.append((_shape(found), metrics))
    assert seen[0] == seen[1]
