"""An OTLP/gRPC endpoint that writes each span it is sent to stdout, one JSON object a line.

Runs inside the stack in the place of a collector. Owns the form of a line, which `stack.Span` reads. Knows nothing of
what the spans mean; `peer` is the address of the process that sent it, which tells replicas apart.
"""

import asyncio
import json
from typing import Any

import grpc.aio
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as rpc

from hub_common.rpc_server import serve

_stubs: Any = rpc  # has no types
ADDRESS = "0.0.0.0:4317"


class Receiver(rpc.TraceServiceServicer):
    """The OTLP trace service (opentelemetry-proto 1.x)."""

    async def Export(self, request: Any, context: Any) -> Any:
        """Write down what came."""
        peer = context.peer().rpartition(":")[0]
        for resource in request.resource_spans:
            attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    line = {
                        "service": attributes.get("service.name", ""),
                        "peer": peer,
                        "name": span.name,
                        "trace_id": span.trace_id.hex(),
                        "span_id": span.span_id.hex(),
                        "parent_id": span.parent_span_id.hex(),
                    }
                    print(json.dumps(line), flush=True)
        return pb.ExportTraceServiceResponse()


async def run() -> None:
    """Serve until the process is ended."""

    def register(server: grpc.aio.Server) -> None:
        _stubs.add_TraceServiceServicer_to_server(Receiver(), server)

    await (await serve(ADDRESS, register, name="traces")).wait()


if __name__ == "__main__":
    asyncio.run(run())
