"""A gRPC channel as all services open it: spread over replicas, quick to notice a dead one, quick to come back.

Owns the channel's options. Does not know what is called over it; deadlines belong to each call.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import grpc.aio

MAX_MESSAGE_BYTES = 64 * 1024 * 1024

_SERVICE_CONFIG: dict[str, Any] = {
    "loadBalancingConfig": [{"round_robin": {}}],
    # A replica whose health says NOT_SERVING gets no calls before it drops its connections.
    "healthCheckConfig": {"serviceName": ""},
    # A call that a dying replica did not answer is asked once more, of another one: no rpc of the hub has side effects
    # that a second run would double. CANCELLED is what a call gets that reaches a server in the moment it stops.
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 2,
                "initialBackoff": "0.02s",
                "maxBackoff": "0.1s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ],
}

_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.service_config_disable_resolution", 1),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # This one is also how long an attempt to connect may take.
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
]


def open_channel(target: str, interceptors: Sequence[grpc.aio.ClientInterceptor] = ()) -> grpc.aio.Channel:
    """Open a channel to every address `target` stands for; the caller closes it. Must be called on a running loop.

    `target` is `host:port` (resolved by DNS, every address gets its share), `unix:/path`, or any URI gRPC knows
    (gRPC Name Resolution). Does not connect: calls fail with UNAVAILABLE while nobody answers.
    """
    return grpc.aio.insecure_channel(_uri(target), options=_OPTIONS, interceptors=list(interceptors))


def _uri(target: str) -> str:
    scheme, colon, rest = target.partition(":")
    is_uri = colon and (rest.startswith("//") or scheme in {"unix", "unix-abstract", "dns", "ipv4", "ipv6"})
    return target if is_uri else f"dns:///{target}"
