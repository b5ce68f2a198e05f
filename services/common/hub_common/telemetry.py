"""Traces: off, and then nearly free, unless an OTLP endpoint is set in the environment.

Owns the tracer of a service and how a trace goes from one process to the next. Does not know what is traced. Nothing
here is global: three services in one process have three tracers, and each span names its own service.

Source: OpenTelemetry specification, Environment Variable Specification; W3C Trace Context.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    import grpc.aio
    from opentelemetry.sdk.trace import TracerProvider

SHUTDOWN_S = 3.0
"""How long the end of the process may wait for a collector to take the last spans."""

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_TRACE_CONTEXT = TraceContextTextMapPropagator()


class Telemetry:
    """The tracing of one service; whoever configured it shuts it down. `tracer` is always usable."""

    def __init__(self, provider: TracerProvider | None) -> None:
        self._provider = provider
        self.enabled = provider is not None
        self.tracer: trace.Tracer = (provider or trace.NoOpTracerProvider()).get_tracer("hub")

    def server_interceptors(self) -> list[grpc.aio.ServerInterceptor]:
        """What `rpc_server.serve` needs to continue a caller's trace; empty when off."""
        if self._provider is None:
            return []
        # Imported here: when tracing is off a process does not pay for the instrumentation.
        from opentelemetry.instrumentation import grpc as instrumentation

        return [_untyped(instrumentation).aio_server_interceptor(self._provider, filter_=_is_traced)]

    def client_interceptors(self) -> list[grpc.aio.ClientInterceptor]:
        """What `rpc_channel.open_channel` needs to pass a trace on; empty when off."""
        if self._provider is None:
            return []
        from opentelemetry.instrumentation import grpc as instrumentation

        return list(_untyped(instrumentation).aio_client_interceptors(self._provider, filter_=_is_traced))

    def shutdown(self) -> None:
        """Send what is left, for at most `SHUTDOWN_S` seconds; blocks. Idempotent."""
        provider, self._provider = self._provider, None
        if provider is not None:
            # In a thread that may be left behind: the library's own limit is 30 s, long past any stop grace.
            last = threading.Thread(target=provider.shutdown, name="telemetry-shutdown", daemon=True)
            last.start()
            last.join(SHUTDOWN_S)


def configure(service_name: str) -> Telemetry:
    """Trace as `service_name` ("gateway", "filter", "categorizer") when the environment names an OTLP endpoint.

    Spans go in batches over OTLP gRPC; the exporter reads its own `OTEL_EXPORTER_OTLP_*` variables, the sampler
    `OTEL_TRACES_SAMPLER`. A collector that is away costs log lines and spans, never a call.
    """
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled or not any(os.environ.get(name, "").strip() for name in _ENDPOINTS):
        return Telemetry(None)
    # Imported here: the SDK and the exporter cost start time and memory that only a traced process should pay.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": service_name}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Telemetry(provider)


def context_from(traceparent: str | None, tracestate: str | None = None) -> Context:
    """The context to start a span in so that it continues the caller's trace; empty for none or a bad one."""
    carrier = {"traceparent": traceparent, "tracestate": tracestate}
    return _TRACE_CONTEXT.extract({name: value for name, value in carrier.items() if value}, context=Context())


def _is_traced(call: Any) -> bool:
    # The client's side of the instrumentation gives bytes, the server's gives text.
    method = call.method
    return not (method.decode() if isinstance(method, bytes) else method).startswith("/grpc.health.")


def _untyped(module: Any) -> Any:
    return module
