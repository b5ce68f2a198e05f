"""What the filter counts and times, and the Prometheus text of it.

Owns the metrics' names and their HTTP port. Does not know what the rpcs do. Each service has a registry of its own, so
several in one process do not mix.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

Stop = Callable[[], None]

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Metrics:
    """The filter's metrics in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.calls = Counter(
            "hub_filter_calls", "Rpcs answered, by rpc and outcome.", ["rpc", "outcome"], registry=registry
        )
        self.seconds = Histogram(
            "hub_filter_call_seconds", "Time to answer, by rpc.", ["rpc"], buckets=_SECONDS, registry=registry
        )
        self.index_seconds = Histogram(
            "hub_filter_index_seconds", "Time to make a ranking.", buckets=_SECONDS, registry=registry
        )
        self.catalogs = Gauge("hub_filter_catalogs", "Catalogs held.", registry=registry)
        self.embedding = Gauge(
            "hub_filter_embedding", "1 when meaning takes part in rankings, 0 when terms alone do.", registry=registry
        )


def serve(port: int, host: str, registry: CollectorRegistry) -> Stop:
    """Serve the text of `registry` over HTTP in a thread of its own; return what stops it.

    Raises:
        OSError: the port cannot be listened on.
    """
    # The library's hint names a subclass of this without its methods.
    server: Any
    server, thread = prometheus_client.start_http_server(port, host, registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
