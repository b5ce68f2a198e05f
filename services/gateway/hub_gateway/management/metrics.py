"""Prometheus text at `/metrics`.

Owns the names of the metrics and the durations of calls. Everything else is read from its owner when a scrape comes,
so that counting costs a call next to nothing. Knows the parts it reads, no route of anybody else's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator, Mapping
from importlib.metadata import version
from typing import Any, NamedTuple, get_args

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub.categorizer.v1 import categorizer_pb2 as pb
from hub_common.store import StoreStatus
from hub_gateway.backlog import backlog
from hub_gateway.exposure.policy import Policy
from hub_gateway.management.filter_metrics import filter_families, view_families
from hub_gateway.management.filter_stats import Counts
from hub_gateway.management.llm_metrics import llm_families
from hub_gateway.upstreams.status import Outcome, State
from hub_gateway.upstreams.supervisor import Supervisor

BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the duration buckets, in seconds."""

_TOP = len(BOUNDS_S)


class Durations:
    """How long the calls to one upstream took: calls per bucket, the last one open to the top, and their sum."""

    __slots__ = ("buckets", "sum_s")

    def __init__(self) -> None:
        self.buckets = [0] * (_TOP + 1)
        self.sum_s = 0.0


class Reading(NamedTuple):
    """What a scrape reads.

    Attributes:
        filtering: the tools as they are shown now, by the policy in force.
        views: the same by view.
        up: by satellite, whether it can be reached.
        categorizer: what it says of itself; None while it is away.
    """

    supervisors: Mapping[str, Supervisor]
    filtering: Counts
    views: Mapping[str, Counts]
    policy: Policy
    sessions: int
    kept_bytes: int
    up: Mapping[str, bool]
    store: StoreStatus
    started_at: float
    categorizer: pb.DescribeResponse | None = None


class Metrics:
    """The durations of calls. `observe` is given to the fleet and runs after every call."""

    def __init__(self) -> None:
        self.durations: dict[str, Durations] = {}

    def observe(self, upstream_name: str, duration_s: float, outcome: Outcome) -> None:
        """Count one call that ended, however it ended."""
        del outcome  # the supervisor counts these
        found = self.durations.get(upstream_name)
        if found is None:
            found = self.durations[upstream_name] = Durations()
        found.buckets[bisect_left(BOUNDS_S, duration_s)] += 1
        found.sum_s += duration_s

    def text(self, reading: Reading) -> bytes:
        """The whole page. Durations of upstreams that are no longer configured are forgotten here."""
        for gone in self.durations.keys() - reading.supervisors.keys():
            del self.durations[gone]
        registry = CollectorRegistry(auto_describe=False)
        families = [*_calls(reading, self.durations), *_links(reading), *_hub(reading)]
        families += [*filter_families(reading.filtering, reading.policy), *view_families(reading.views)]
        families += [*llm_families(reading.categorizer)]
        registry.register(_Page(families))  # pyright: ignore[reportArgumentType]
        return generate_latest(registry)


class _Page:
    """Families that were made already, as the registry wants to be given them."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        return self._families


def _calls(reading: Reading, durations: Mapping[str, Durations]) -> Iterator[Metric]:
    label = ["server"]
    calls = CounterMetricFamily("mcp_hub_calls", "Requests sent to a server.", labels=label)
    errors = CounterMetricFamily("mcp_hub_call_errors", "Of these, answered with an error or not at all.", labels=label)
    timeouts = CounterMetricFamily("mcp_hub_call_timeouts", "Of these, not answered in time.", labels=label)
    running = GaugeMetricFamily("mcp_hub_calls_in_flight", "Requests running on a server.", labels=label)
    took = HistogramMetricFamily("mcp_hub_call_duration_seconds", "How long requests to a server took.", labels=label)
    for name, supervisor in reading.supervisors.items():
        calls.add_metric([name], supervisor.stats.calls)
        errors.add_metric([name], supervisor.stats.errors)
        timeouts.add_metric([name], supervisor.stats.timeouts)
        running.add_metric([name], supervisor.in_flight)
        if (each := durations.get(name)) is not None:
            took.add_metric([name], _cumulated(each.buckets), each.sum_s)
    yield from (calls, errors, timeouts, running, took)


def _cumulated(buckets: list[int]) -> list[Any]:
    pairs: list[tuple[str, int]] = []
    total = 0
    for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), buckets, strict=True):
        total += count
        pairs.append((bound, total))
    return pairs


def _links(reading: Reading) -> Iterator[Metric]:
    states = GaugeMetricFamily("mcp_hub_server_state", "1 for the state a server is in.", labels=["server", "state"])
    broken = GaugeMetricFamily(
        "mcp_hub_server_breaker_open", "1 while calls to a server are refused.", labels=["server"]
    )
    for name, supervisor in reading.supervisors.items():
        for state in get_args(State):
            states.add_metric([name, state], float(supervisor.status.state == state))
        broken.add_metric([name], float(supervisor.breaker == "open"))
    yield from (states, broken)


def _hub(reading: Reading) -> Iterator[Metric]:
    satellites = GaugeMetricFamily("mcp_hub_satellite_up", "1 while a satellite can be reached.", labels=["satellite"])
    for name, up in reading.up.items():
        satellites.add_metric([name], float(up))
    store = GaugeMetricFamily("mcp_hub_store_up", "1 while the store answers.", labels=["kind"])
    store.add_metric([reading.store.kind], float(reading.store.healthy))
    yield from (satellites, store)
    yield GaugeMetricFamily("mcp_hub_sessions", "Sessions of MCP clients.", value=reading.sessions)
    kept = "Bytes kept for clients with a session: what they have not read, and what they may come back for."
    yield GaugeMetricFamily("mcp_hub_session_kept_bytes", kept, value=reading.kept_bytes)
    held = "Bytes of long messages on their way, and of what clients have not read."
    yield GaugeMetricFamily("mcp_hub_backlog_bytes", held, value=backlog.held_bytes)
    yield GaugeMetricFamily("mcp_hub_backlog_waiting", "Long messages that wait for room.", value=backlog.waiting)
    slow = "Sockets that were closed, since they were slow and others waited for room."
    yield CounterMetricFamily("mcp_hub_slow_sockets_closed", slow, value=backlog.closed)
    yield GaugeMetricFamily("mcp_hub_start_time_seconds", "Unix time of the start.", value=reading.started_at)
    yield InfoMetricFamily("mcp_hub_build", "The hub that runs.", value={"version": version("mcp-hub")})


def routes(metrics: Metrics, read: Callable[[], Awaitable[Reading]]) -> list[Route]:
    """The one route; `read` is asked at every scrape."""

    async def page(_request: Request) -> Response:
        return Response(metrics.text(await read()), headers={"content-type": CONTENT_TYPE_LATEST})

    return [Route("/metrics", page, methods=["GET"])]
