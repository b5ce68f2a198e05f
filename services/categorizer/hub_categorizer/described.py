"""What the categorizer says of itself: the message of the rpc Describe.

Owns the translation of counts and status into the contract. Counts nothing itself.
"""

from __future__ import annotations

from hub.categorizer.v1 import categorizer_pb2 as pb
from hub_categorizer.cache import Analyzed
from hub_categorizer.key import Status
from hub_categorizer.llm import Llm
from hub_categorizer.llm_counts import Latency
from hub_categorizer.queue import Queue

_KEY_STATES = {
    "unchecked": pb.KEY_STATE_UNCHECKED,
    "ok": pb.KEY_STATE_OK,
    "refused": pb.KEY_STATE_REFUSED,
    "unreachable": pb.KEY_STATE_UNREACHABLE,
    "no-package": pb.KEY_STATE_NO_PACKAGE,
}


def provider_status(status: Status) -> pb.ProviderStatus:
    """The status of a key as a message."""
    return pb.ProviderStatus(
        key=_KEY_STATES[status.state],
        http_status=status.http_status or 0,
        reason=status.reason,
        checked_at_ms=status.at_ms,
    )


def llm_stats(llm: Llm, queue: Queue, analyzed: Analyzed) -> pb.LlmStats:
    """How an LLM, the line in front of it and the cache of its prompts do."""
    counts = llm.counts
    return pb.LlmStats(
        calls=counts.calls,
        successes=counts.successes,
        failures=counts.failures,
        timeouts=counts.timeouts,
        retries=counts.retries,
        latency=_latency(counts.latency),
        breaker_state=llm.breaker.state,
        consecutive_failures=llm.breaker.failures,
        breaker_trips=counts.breaker_trips,
        queue_depth=queue.depth,
        queue_processed=queue.processed,
        prompt_lookups=analyzed.lookups,
        prompt_hits=analyzed.hits,
    )


def _latency(latency: Latency | None) -> pb.Latency | None:
    if latency is None:
        return None
    return pb.Latency(
        average_ms=latency.average_s * 1000,
        p50_ms=latency.p50_s * 1000,
        p95_ms=latency.p95_s * 1000,
        p99_ms=latency.p99_s * 1000,
        samples=latency.samples,
    )
