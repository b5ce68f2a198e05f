"""Server and channel together, over real sockets."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hub.filter.v1 import filter_pb2, filter_pb2_grpc
from hub_common import rpc_channel
from hub_common.rpc_channel import open_channel
from hub_common.rpc_server import RpcServer, main, probe, serve

pytestmark = pytest.mark.anyio

SERVICE = "hub.filter.v1.FilterService"
BOUND_S = 20.0


class Filter(filter_pb2_grpc.FilterServiceServicer):
    """Counts calls; behaves as the query says."""

    def __init__(self) -> None:
        self.calls = 0
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()

    async def Search(self, request: filter_pb2.SearchRequest, context: Any) -> filter_pb2.SearchResponse:
        self.calls += 1
        if request.query == "crash":
            raise RuntimeError("holds a secret")
        if request.query == "abort":
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "unknown catalog")
        if request.query == "wait":
            self.started.set()
            await self.go_on.wait()
        return filter_pb2.SearchResponse()

    def register(self, server: grpc.aio.Server) -> None:
        filter_pb2_grpc.add_FilterServiceServicer_to_server(self, server)


Start = Callable[..., Any]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts servers that end with the test."""
    servers: list[RpcServer] = []

    async def start_one(servicer: Filter | None = None, address: str = "127.0.0.1:0") -> RpcServer:
        servers.append(await serve(address, (servicer or Filter()).register, name="filter"))
        return servers[-1]

    yield start_one
    for server in servers:
        await server.stop(0)


async def search(channel: grpc.aio.Channel, query: str = "", **options: Any) -> Any:
    stub = filter_pb2_grpc.FilterServiceStub(channel)
    return await stub.Search(filter_pb2.SearchRequest(query=query), timeout=BOUND_S, **options)


async def health_of(channel: grpc.aio.Channel, service: str) -> int:
    reply = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    return reply.status


async def until_answered_by(channel: grpc.aio.Channel, servicers: list[Filter]) -> None:
    """Call until each of `servicers` has answered once more."""
    before = [servicer.calls for servicer in servicers]
    async with asyncio.timeout(BOUND_S):
        while any(servicer.calls == count for servicer, count in zip(servicers, before, strict=True)):
            await search(channel, wait_for_ready=True)


async def test_a_call_over_tcp_and_over_a_unix_socket(start: Start, tmp_path: Path) -> None:
    for address in ("127.0.0.1:0", "0.0.0.0:0", f"unix:{tmp_path}/s"):
        server = await start(address=address)
        async with open_channel(server.address) as channel:
            await search(channel)
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600


async def test_health_names_every_service(start: Start) -> None:
    server = await start()
    async with open_channel(server.address) as channel:
        for service in ("", SERVICE):
            assert await health_of(channel, service) == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health_of(channel, "other.Service")
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_probe_sees_what_health_says(start: Start) -> None:
    server = await start()
    assert await probe(server.address)
    server.set_serving(False)
    assert not await probe(server.address)
    server.set_serving(True)
    assert await probe(server.address)
    await server.stop(0)
    assert not await probe(server.address)


async def test_probe_does_not_wait_for_a_silent_peer() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        async with asyncio.timeout(BOUND_S):
            assert not await probe(f"127.0.0.1:{silent.getsockname()[1]}", 0.2)


async def test_the_probe_command(start: Start) -> None:
    server = await start()

    async def run(*arguments: str) -> int:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "hub_common.rpc_server", *arguments)
        async with asyncio.timeout(BOUND_S):
            return await process.wait()

    assert await run(server.address) == 0
    server.set_serving(False)
    assert await run(server.address) == 1
    assert main([]) == 2


async def test_watch_tells_changes_and_ends_with_the_server(start: Start) -> None:
    server = await start()
    statuses = health_pb2.HealthCheckResponse
    async with open_channel(server.address) as channel, asyncio.timeout(BOUND_S):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert (await watch.read()).status == statuses.SERVING
        server.set_serving(False)
        assert (await watch.read()).status == statuses.NOT_SERVING
        server.set_serving(True)
        assert (await watch.read()).status == statuses.SERVING
        unknown = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="x"))
        assert (await unknown.read()).status == statuses.SERVICE_UNKNOWN
        await server.stop(BOUND_S)
        assert (await watch.read()).status == statuses.NOT_SERVING
        assert await watch.read() is grpc.aio.EOF


async def test_a_fault_stays_inside(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    server = await start()
    async with open_channel(server.address) as channel:
        with caplog.at_level(logging.ERROR), pytest.raises(grpc.aio.AioRpcError) as caught:
            await search(channel, "crash")
        assert caught.value.code() == grpc.StatusCode.INTERNAL
        assert caught.value.details() == "internal error in the filter service"
        assert "holds a secret" in caplog.text
        await search(channel)


async def test_an_answer_with_a_status_is_no_fault(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    server = await start()
    async with open_channel(server.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await search(channel, "abort")
        assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert caught.value.details() == "unknown catalog"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/no.Such/Method")(b"")
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "failed" not in caplog.text


async def test_stop_lets_a_running_call_end(start: Start) -> None:
    servicer = Filter()
    server = await start(servicer)
    async with open_channel(server.address) as channel, asyncio.timeout(BOUND_S):
        call = asyncio.ensure_future(search(channel, "wait"))
        await servicer.started.wait()
        stopping = asyncio.ensure_future(server.stop(BOUND_S))
        servicer.go_on.set()
        assert await call == filter_pb2.SearchResponse()
        await stopping
        await server.wait()


async def test_a_large_message(start: Start) -> None:
    server = await start()
    async with open_channel(server.address) as channel:
        await search(channel, "x" * (32 * 1024 * 1024))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await search(channel, "x" * (rpc_channel.MAX_MESSAGE_BYTES + 1))
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_an_address_in_use(start: Start) -> None:
    server = await start()
    with pytest.raises(OSError, match="filter: cannot listen on"):
        await start(address=server.address)


async def test_nobody_there_is_told_soon() -> None:
    async with open_channel("127.0.0.1:1") as channel, asyncio.timeout(BOUND_S):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await search(channel)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_calls_are_spread_over_replicas_and_shun_one_not_serving(start: Start) -> None:
    servicers = [Filter(), Filter()]
    servers = [await start(servicer) for servicer in servicers]
    async with open_channel("ipv4:" + ",".join(server.address for server in servers)) as channel:
        await until_answered_by(channel, servicers)
        servers[0].set_serving(False)
        async with asyncio.timeout(BOUND_S):
            # The change reaches the channel by itself; then a row of calls all go to the other one.
            settled = 0
            while settled < 10:
                before = servicers[0].calls
                await search(channel)
                settled = settled + 1 if servicers[0].calls == before else 0
        servers[0].set_serving(True)
        await until_answered_by(channel, servicers)


async def test_a_replica_that_goes_away_costs_no_call(start: Start) -> None:
    servicers = [Filter(), Filter()]
    servers = [await start(servicer) for servicer in servicers]
    async with open_channel("ipv4:" + ",".join(server.address for server in servers)) as channel:
        await until_answered_by(channel, servicers)
        stopping = asyncio.ensure_future(servers[0].stop(5))
        for _ in range(50):
            await search(channel)
        await stopping
        for _ in range(50):
            await search(channel)


async def test_a_server_that_comes_back_is_found(start: Start) -> None:
    first = await start()
    async with open_channel(first.address) as channel:
        await search(channel)
        await first.stop(0)
        with pytest.raises(grpc.aio.AioRpcError):
            await search(channel)
        again = Filter()
        await start(again, first.address)
        await until_answered_by(channel, [again])


async def test_a_stale_unix_socket_is_replaced(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(path))
    server = await start(address=f"unix:{path}")
    assert await probe(server.address)


@pytest.mark.parametrize(
    ("target", "uri"),
    [
        ("filter:7001", "dns:///filter:7001"),
        ("127.0.0.1:7001", "dns:///127.0.0.1:7001"),
        ("[::1]:7001", "dns:///[::1]:7001"),
        ("dns:///filter:7001", "dns:///filter:7001"),
        ("xds:///filter", "xds:///filter"),
        ("unix:/run/x", "unix:/run/x"),
        ("ipv4:10.0.0.1:1,10.0.0.2:1", "ipv4:10.0.0.1:1,10.0.0.2:1"),
    ],
)
def test_targets(target: str, uri: str) -> None:
    assert rpc_channel._uri(target) == uri
