"""The satellites as services of their own, and the gateway's clients of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path

import pytest

import hub_categorizer.servicer as categorizer_service
import hub_filter.servicer as filter_service
from hub_categorizer.settings import Settings as CategorizerSettings
from hub_common.rpc_server import RpcServer
from hub_common.store_embedded import EmbeddedStore
from hub_filter.settings import Settings as FilterSettings
from hub_gateway.satellites.categorizer import Categorizer
from hub_gateway.satellites.filter import Filter

TIMEOUT_S = 5.0


@dataclass
class Satellites:
    """Both services and both clients."""

    directory: Path
    filter: Filter
    categorizer: Categorizer
    filter_server: RpcServer
    categorizer_server: RpcServer

    async def restart_filter(self) -> None:
        """Another filter at the same address, which has seen no catalog."""
        await self.filter_server.stop(0)
        self.filter_server = await filter_service.start(FilterSettings(), f"unix:{self.directory}/filter")


@pytest.fixture
async def satellites(tmp_path: Path) -> AsyncGenerator[Satellites]:
    store = EmbeddedStore(tmp_path / "state")
    both = Satellites(
        tmp_path,
        Filter(f"unix:{tmp_path}/filter", TIMEOUT_S),
        Categorizer(f"unix:{tmp_path}/categorizer", TIMEOUT_S, TIMEOUT_S),
        await filter_service.start(FilterSettings(catalogs_held=2), f"unix:{tmp_path}/filter"),
        await categorizer_service.start(CategorizerSettings(), f"unix:{tmp_path}/categorizer", store),
    )
    yield both
    await both.filter.close()
    await both.categorizer.close()
    await both.filter_server.stop(0)
    await both.categorizer_server.stop(0)
    await store.close()
