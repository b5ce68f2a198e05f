"""Satellites that answer what does not fit the question: a SatelliteError, never another exception."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from hub.categorizer.v1 import categorizer_pb2, categorizer_pb2_grpc
from hub.filter.v1 import filter_pb2, filter_pb2_grpc
from hub_common import rpc_server
from hub_gateway.config.filter_model import ToolFiltering
from hub_gateway.errors import SatelliteError
from hub_gateway.exposure.current import Exposure
from hub_gateway.satellites.categorizer import Categorizer
from hub_gateway.satellites.filter import Asked, Filter
from tests.unit.gateway.catalog.offerings import catalog, offering

pytestmark = pytest.mark.anyio
CATALOG = catalog({"a": offering(["x", "y"])})


class OddFilter(filter_pb2_grpc.FilterServiceServicer):
    """A filter of another catalog's."""

    def __init__(self) -> None:
        self.decision = filter_pb2.DecideResponse()

    async def Decide(self, request: Any, context: Any) -> filter_pb2.DecideResponse:
        return self.decision

    async def Search(self, request: Any, context: Any) -> filter_pb2.SearchResponse:
        return filter_pb2.SearchResponse(hits=[filter_pb2.Hit(index=7, score=1.0)])


class OddCategorizer(categorizer_pb2_grpc.CategorizerServiceServicer):
    """A categorizer that says too little."""

    async def Categorize(self, request: Any, context: Any) -> categorizer_pb2.CategorizeResponse:
        return categorizer_pb2.CategorizeResponse()

    async def Refine(self, request: Any, context: Any) -> AsyncGenerator[categorizer_pb2.Assignment]:
        yield categorizer_pb2.Assignment(hash=request.definitions[0].hash)
        await context.abort(grpc.StatusCode.UNAVAILABLE, "gone")


@pytest.fixture
async def address(tmp_path: Path) -> AsyncGenerator[tuple[str, OddFilter]]:
    """Both odd services at one address."""
    odd = OddFilter()

    def register(server: grpc.aio.Server) -> None:
        filter_pb2_grpc.add_FilterServiceServicer_to_server(odd, server)
        categorizer_pb2_grpc.add_CategorizerServiceServicer_to_server(
            OddCategorizer(),  # pyright: ignore[reportAbstractUsage] - the other rpcs are not asked for
            server,
        )

    server = await rpc_server.serve(f"unix:{tmp_path}/odd", register, name="odd")
    yield server.address, odd
    await server.stop(0)


@pytest.mark.parametrize(
    "decision",
    (
        filter_pb2.DecideResponse(),
        filter_pb2.DecideResponse(rule_of_entry=[0], rules=[filter_pb2.Rule(id="r", allows=True)]),
        filter_pb2.DecideResponse(rule_of_entry=[0, 1], rules=[filter_pb2.Rule(id="r", allows=True)]),
    ),
)
async def test_a_decision_for_another_catalog(
    address: tuple[str, OddFilter], decision: filter_pb2.DecideResponse
) -> None:
    target, odd = address
    odd.decision = decision
    client = Filter(target, 5.0)
    with pytest.raises(SatelliteError, match="does not fit"):
        await client.decide(CATALOG, ToolFiltering(), "server-allowlist", [])
    with pytest.raises(SatelliteError, match="does not fit"):
        await client.search(Exposure(CATALOG), Asked(query="x", limit=1), CATALOG.entries)
    assert client.reason is not None
    await client.close()


async def test_categories_for_other_entries(address: tuple[str, OddFilter]) -> None:
    client = Categorizer(address[0], 5.0, 5.0)
    with pytest.raises(SatelliteError, match="does not fit"):
        await client.categorize(CATALOG.entries, ToolFiltering())
    assert client.reason is not None
    await client.close()


async def test_a_categorizer_that_goes_away_in_between_says_so(address: tuple[str, OddFilter]) -> None:
    client = Categorizer(address[0], 5.0, 5.0)
    refined: list[str] = []
    with pytest.raises(SatelliteError, match="UNAVAILABLE"):
        async for digest in client.refine(CATALOG.entries, ToolFiltering()):
            refined.append(digest)  # noqa: PERF401 - what came before the fault counts
    assert refined == [CATALOG.entries[0].digest]
    await client.close()
