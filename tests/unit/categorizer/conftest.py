from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hub.categorizer.v1 import categorizer_pb2_grpc
from hub_categorizer.servicer import start
from hub_categorizer.settings import Settings
from hub_common.rpc_channel import open_channel
from hub_common.store import Store
from hub_common.store_embedded import EmbeddedStore
from tests.unit.categorizer.gemini_stand_in import KEY, GeminiStandIn, gemini_stand_in


@pytest.fixture
def gemini(monkeypatch: pytest.MonkeyPatch) -> Iterator[GeminiStandIn]:
    # A proxy of the machine has no business between two ends on one machine.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with gemini_stand_in() as stand_in:
        yield stand_in


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return EmbeddedStore(tmp_path / "state")


def llm_settings(gemini: GeminiStandIn, **changes: Any) -> Settings:
    """Settings with the stand-in as Gemini, and pauses that a test can wait for."""
    defaults: dict[str, Any] = {
        "gemini_api_key": KEY,
        "gemini_base_url": gemini.url,
        "llm_backoff_s": 0.001,
        "llm_max_backoff_s": 0.01,
        "llm_timeout_s": 10.0,
    }
    return Settings(**(defaults | changes))


@asynccontextmanager
async def categorizer(settings: Settings, store: Store) -> AsyncIterator[Any]:
    """A served categorizer, seen through a channel as the gateway opens it."""
    server = await start(settings, "127.0.0.1:0", store)
    channel = open_channel(server.address)
    try:
        yield categorizer_pb2_grpc.CategorizerServiceStub(channel)
    finally:
        await channel.close(None)
        await server.stop(0)
