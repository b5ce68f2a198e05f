"""The categorizer, its caches and its LLM as metrics: what `/api/filtering/stats` says, under Prometheus names.

Owns those names. Gauges throughout, since another replica may answer the next scrape. What there is no data for is left
out, never 0.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from hub.categorizer.v1 import categorizer_pb2 as pb
from hub_gateway.management.bodies import rate

_BREAKER_STATES = ("closed", "open", "half-open")


def llm_families(said: pb.DescribeResponse | None) -> Iterator[Metric]:
    """What the replica of the categorizer that was asked says; nothing while none answers."""
    if said is None:
        return
    if said.HasField("provider_status"):
        ok = said.provider_status.key == pb.KEY_STATE_OK
        yield _gauge("llm_key_ok", "1 while the LLM's provider takes the key.", ok)
    yield _gauge("llm_enabled", "1 where there is an LLM to ask.", said.llm_configured)
    yield _gauge("category_lookups", "Definitions whose category was asked for.", said.category_lookups)
    yield _gauge("category_hits", "Of these, answered without thought.", said.category_hits)
    yield from _fraction(
        "category_hit_ratio", "category_hits / category_lookups.", said.category_hits, said.category_lookups
    )
    yield _gauge("llm_cache_size", "Categories by the LLM that are kept.", said.cache_size)
    yield _gauge("llm_cache_hits", "Definitions that were found there.", said.cache_hits)
    yield _gauge("llm_cache_misses", "Definitions that were not.", said.cache_lookups - said.cache_hits)
    yield _gauge("llm_cache_memory_bytes", "Categories by the LLM in memory, as encoded.", said.cache_memory_bytes)
    yield _gauge("llm_cache_ttl_seconds", "How long an answer of the LLM is kept.", said.cache_ttl_s)
    yield from _fraction("llm_cache_hit_ratio", "Hits / lookups there.", said.cache_hits, said.cache_lookups)
    if said.HasField("llm"):
        yield from _llm(said.llm)


def _llm(llm: pb.LlmStats) -> Iterator[Metric]:
    yield _gauge("llm_calls", "Questions to the LLM.", llm.calls)
    yield _gauge("llm_successes", "Of these, answered usably.", llm.successes)
    yield _gauge("llm_failures", "Of these, come to nothing.", llm.failures)
    yield from _fraction(
        "llm_success_ratio", "Successes / questions that ended.", llm.successes, llm.successes + llm.failures
    )
    yield _gauge("llm_timeouts", "Attempts and questions that took too long.", llm.timeouts)
    yield _gauge("llm_retries", "Attempts after a question's first.", llm.retries)
    yield _gauge("llm_queue_depth", "Questions that wait for their turn.", llm.queue_depth)
    yield _gauge("llm_queue_processed", "Questions that had their turn.", llm.queue_processed)
    yield _gauge("llm_prompt_hits", "Analyses of prompts found in the cache.", llm.prompt_hits)
    yield _gauge("llm_prompt_misses", "Analyses of prompts not found there.", llm.prompt_lookups - llm.prompt_hits)
    yield from _fraction("llm_prompt_hit_ratio", "Hits / lookups there.", llm.prompt_hits, llm.prompt_lookups)
    yield from _breaker(llm)
    if llm.HasField("latency"):
        yield from _latency(llm.latency)


def _breaker(llm: pb.LlmStats) -> Iterator[Metric]:
    yield _gauge("llm_breaker_open", "1 while the LLM is left alone after failures.", llm.breaker_state != "closed")
    states = GaugeMetricFamily("mcp_hub_llm_breaker_state", "1 for the state of the LLM's breaker.", labels=["state"])
    for state in _BREAKER_STATES:
        states.add_metric([state], float(llm.breaker_state == state))
    yield states
    yield _gauge("llm_breaker_failures", "Failures in a row.", llm.consecutive_failures)
    yield _gauge("llm_breaker_trips", "How often the breaker opened.", llm.breaker_trips)


def _latency(latency: pb.Latency) -> Iterator[Metric]:
    took = GaugeMetricFamily("mcp_hub_llm_latency_seconds", "The last 1000 questions.", labels=["quantile"])
    for quantile, value_ms in (("0.5", latency.p50_ms), ("0.95", latency.p95_ms), ("0.99", latency.p99_ms)):
        took.add_metric([quantile], value_ms / 1000)
    yield took
    yield _gauge("llm_latency_average_seconds", "Their average.", latency.average_ms / 1000)


def _fraction(name: str, documentation: str, part: int, whole: int) -> Iterator[Metric]:
    """From 0 to 1; left out where there is nothing to divide by."""
    if (value := rate(part, whole)) is not None:
        yield _gauge(name, documentation, value)


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(f"mcp_hub_{name}", documentation, value=float(value))
