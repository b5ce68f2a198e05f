"""Traces against a real OTLP receiver, and across a real rpc between two services of one process."""

from __future__ import annotations

import queue
import subprocess
import sys
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from hub.filter.v1 import filter_pb2, filter_pb2_grpc
from hub_common import telemetry
from hub_common.rpc_channel import open_channel
from hub_common.rpc_server import probe, serve

pytestmark = pytest.mark.anyio

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def no_otel_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.requests: queue.Queue[Any] = queue.Queue()

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.requests.put(request)
        return trace_service_pb2.ExportTraceServiceResponse()

    def spans(self) -> dict[tuple[str, str], Any]:
        """What has come so far, by service and span name."""
        found: dict[tuple[str, str], Any] = {}
        while not self.requests.empty():
            for resource_spans in self.requests.get().resource_spans:
                attributes = {a.key: a.value.string_value for a in resource_spans.resource.attributes}
                for scope in resource_spans.scope_spans:
                    for span in scope.spans:
                        found[attributes["service.name"], f"{span.name} {span.kind}"] = span
        return found


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    receiver = Receiver()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    yield receiver
    server.stop(None).wait()


class Filter(filter_pb2_grpc.FilterServiceServicer):
    async def Search(self, request: Any, context: Any) -> filter_pb2.SearchResponse:
        return filter_pb2.SearchResponse()


def register(server: grpc.aio.Server) -> None:
    filter_pb2_grpc.add_FilterServiceServicer_to_server(Filter(), server)


def test_off_unless_an_endpoint_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    off = telemetry.configure("gateway")
    assert not off.enabled
    assert off.server_interceptors() == []
    assert off.client_interceptors() == []
    with off.tracer.start_as_current_span("nothing") as span:
        assert not span.is_recording()
    off.shutdown()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not telemetry.configure("gateway").enabled


def test_off_costs_no_import() -> None:
    program = (
        "import sys; from hub_common import telemetry; telemetry.configure('gateway').server_interceptors(); "
        "sys.exit(any(n.startswith(('opentelemetry.sdk', 'opentelemetry.exporter', 'grpc')) for n in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], env={}, timeout=60, check=False).returncode == 0


async def test_one_trace_through_two_services(receiver: Receiver) -> None:
    gateway, filter_ = telemetry.configure("gateway"), telemetry.configure("filter")
    server = await serve("127.0.0.1:0", register, name="filter", interceptors=filter_.server_interceptors())
    async with open_channel(server.address, gateway.client_interceptors()) as channel:
        with gateway.tracer.start_as_current_span("tools/call", telemetry.context_from(PARENT, "k=v")):
            await filter_pb2_grpc.FilterServiceStub(channel).Search(filter_pb2.SearchRequest(), timeout=10)
    assert await probe(server.address)
    await server.stop(1)
    gateway.shutdown()
    filter_.shutdown()
    spans = receiver.spans()
    assert len(spans) == 3, "health checks are not traced"
    top = spans["gateway", "tools/call 1"]
    client = spans["gateway", "/hub.filter.v1.FilterService/Search 3"]
    served = spans["filter", "/hub.filter.v1.FilterService/Search 2"]
    assert top.trace_id.hex() == PARENT.split("-")[1]
    assert top.parent_span_id.hex() == PARENT.split("-")[2]
    assert top.trace_state == "k=v"
    assert client.parent_span_id == top.span_id
    assert served.parent_span_id == client.span_id
    assert {client.trace_id, served.trace_id} == {top.trace_id}


def test_a_collector_that_is_away_does_not_hold_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "SHUTDOWN_S", 0.05)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1")
    on = telemetry.configure("gateway")
    assert on.enabled
    with on.tracer.start_as_current_span("lost"):
        pass
    on.shutdown()
    on.shutdown()


@pytest.mark.parametrize("traceparent", [None, "", "garbage", "00-0-0-0"])
def test_no_context_from_nothing(traceparent: str | None) -> None:
    context = telemetry.context_from(traceparent, "k=v")
    assert not trace.get_current_span(context).get_span_context().is_valid
