"""What the categorizer says of itself, its cache and its LLM, under the names of the REST interface.

Owns those names and their units: rates as fractions from 0 to 1, latencies in milliseconds, null where there is no
data. Asks nobody; `/metrics` says the same in `llm_metrics`.
"""

from __future__ import annotations

from typing import Any

from hub.categorizer.v1 import categorizer_pb2 as pb
from hub_gateway.management.bodies import iso, rate

_OF_LLM = (
    "successRate",
    "timeouts",
    "totalRetries",
    "fallbacksUsed",
    "circuitBreakerTrips",
    "circuitBreakerState",
    "circuitBreakerFailures",
    "queueDepth",
)
"""Members of `llm` that mean nothing without one."""

_KEY_STATES = {
    pb.KEY_STATE_UNCHECKED: "unchecked",
    pb.KEY_STATE_OK: "ok",
    pb.KEY_STATE_REFUSED: "refused",
    pb.KEY_STATE_UNREACHABLE: "unreachable",
    pb.KEY_STATE_NO_PACKAGE: "no-package",
}


def llm_stats(said: pb.DescribeResponse | None) -> dict[str, Any]:
    """The part that only the categorizer knows; null throughout while it is away, and where there is no data."""
    size, hits, lookups = (said.cache_size, said.cache_hits, said.cache_lookups) if said else (None, None, None)
    misses = lookups - hits if lookups is not None and hits is not None else None
    hit_rate = rate(hits, lookups)
    llm = said.llm if said and said.HasField("llm") else None
    return {
        "cacheHitRate": rate(said.category_hits, said.category_lookups) if said else None,
        "llmCacheSize": size,
        "llmCacheHitRate": hit_rate,
        "llm": {
            "enabled": said.llm_configured if said else None,
            "provider": said.provider or None if said else None,
            "model": said.model or None if said else None,
            "key": key_status(said),
            **_calls(said, llm),
            **_latency(llm),
        },
        "llmCache": {
            "size": size,
            "entryCount": size,
            "hits": hits,
            "misses": misses,
            "hitRate": hit_rate,
            "ttlSeconds": said.cache_ttl_s if said else None,
            "memoryUsageBytes": said.cache_memory_bytes if said else None,
            "memoryUsageMB": round(said.cache_memory_bytes / 1_000_000, 3) if said else None,
        },
        "promptCache": _prompts(llm),
        "queue": {
            "depth": llm.queue_depth if llm else None,
            "processed": llm.queue_processed if llm else None,
        },
        "circuitBreaker": {
            "state": llm.breaker_state if llm else None,
            "consecutiveFailures": llm.consecutive_failures if llm else None,
        },
        "categorizer": "ok" if said else "away",
    }


def _calls(said: pb.DescribeResponse | None, llm: pb.LlmStats | None) -> dict[str, Any]:
    """Questions by their end. Without an LLM none was asked, and that is no success rate."""
    if said is None or llm is None:
        none = None if said is None else 0
        ended = dict.fromkeys(("totalRequests", "totalCalls", "successfulCalls", "failedCalls"), none)
        return {**ended, **dict.fromkeys(_OF_LLM)}
    return {
        "totalRequests": llm.calls,
        "totalCalls": llm.calls,
        "successfulCalls": llm.successes,
        "failedCalls": llm.failures,
        "successRate": rate(llm.successes, llm.successes + llm.failures),
        "timeouts": llm.timeouts,
        "totalRetries": llm.retries,
        "fallbacksUsed": llm.failures,
        "circuitBreakerTrips": llm.breaker_trips,
        "circuitBreakerState": llm.breaker_state,
        "circuitBreakerFailures": llm.consecutive_failures,
        "queueDepth": llm.queue_depth,
    }


def _latency(llm: pb.LlmStats | None) -> dict[str, float | None]:
    """In milliseconds."""
    if llm is None or not llm.HasField("latency"):
        return dict.fromkeys(("averageLatency", "p50Latency", "p95Latency", "p99Latency"))
    took = llm.latency
    parts = {"average": took.average_ms, "p50": took.p50_ms, "p95": took.p95_ms, "p99": took.p99_ms}
    return {f"{name}Latency": round(value_ms, 1) for name, value_ms in parts.items()}


def _prompts(llm: pb.LlmStats | None) -> dict[str, Any]:
    if llm is None:
        return {"hits": None, "misses": None, "hitRate": None}
    misses = llm.prompt_lookups - llm.prompt_hits
    return {"hits": llm.prompt_hits, "misses": misses, "hitRate": rate(llm.prompt_hits, llm.prompt_lookups)}


def key_status(said: pb.DescribeResponse | None) -> dict[str, Any] | None:
    """Whether the provider takes the key; None where no LLM is configured or nobody can say."""
    if said is None or not said.HasField("provider_status"):
        return None
    status = said.provider_status
    return {
        "status": _KEY_STATES.get(status.key, "unchecked"),
        "httpStatus": status.http_status or None,
        "reason": status.reason or None,
        "checkedAt": iso(status.checked_at_ms / 1000) if status.checked_at_ms else None,
    }
