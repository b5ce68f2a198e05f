"""Whether a satellite is waited for: not by every call, where it has let some run out of time.

A process that is frozen, or on a machine that is cut off, refuses nothing, and gRPC may not notice for long.
Owns when a call is not made at all. Does not know what is asked.
"""

from __future__ import annotations

import logging
import time
from typing import Any

import grpc.aio

from hub_common.breaker import Breaker

FAILURES = 2
"""Calls in a row that run out of time before the next one waits no more: one of two replicas may be frozen."""

PAUSE_S = 5.0
"""How long no call is made after that; then one is tried."""

_log = logging.getLogger(__name__)


class NotAsked(Exception):
    """The call is not made; the text says why."""


class Patience:
    """The patience with one satellite, or with one thing it is asked, which has answered so far."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._breaker = Breaker(FAILURES, PAUSE_S, time.monotonic)

    @property
    def in_doubt(self) -> bool:
        """Whether the last call ran out of time."""
        return self._breaker.failures > 0

    async def ask(self, method: Any, request: Any, timeout_s: float) -> Any:
        """Make a call and return its answer.

        Raises:
            NotAsked: it let the last calls run out of time.
            grpc.aio.AioRpcError: the call failed.
        """
        breaker = self._breaker
        if not breaker.allow():
            raise NotAsked(f"it let {breaker.failures} calls in a row run out of time")
        try:
            answer = await method(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as fault:
            if fault.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                self._late()
            else:
                self._in_time(fault.code())  # whatever it says, it is said at once
            raise
        self._in_time(grpc.StatusCode.OK)
        return answer

    def _late(self) -> None:
        was_closed = self._breaker.state == "closed"
        self._breaker.failure()
        if was_closed and self._breaker.state != "closed":
            _log.warning(
                "%s: it let %d calls in a row run out of time; now one is tried every %g s",
                self._name,
                self._breaker.failures,
                PAUSE_S,
            )

    def _in_time(self, code: grpc.StatusCode) -> None:
        was_closed = self._breaker.state == "closed"
        self._breaker.success()
        if not was_closed:
            _log.info("%s: calls end in time again (%s)", self._name, code.name)
