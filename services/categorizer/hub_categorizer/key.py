"""Whether the provider takes the key: asked once at start, again on demand, and learnt from every question.

Owns the status and when it is asked for. Does not know how a provider is asked. Whatever the answer is, the service
stays up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

from hub_categorizer.llm_faults import LlmFault, LlmRefused, LlmTransient, what_is_read

State = Literal["unchecked", "ok", "refused", "unreachable", "no-package"]

TIMEOUT_S = 10.0
"""How long a check may take."""

AGAIN_S = 60.0
"""When a provider that did not answer is asked again."""

_log = logging.getLogger(__name__)


class Checked(Protocol):
    """What can be asked whether its key is taken."""

    @property
    def name(self) -> str: ...

    async def check(self) -> None: ...


class Status(NamedTuple):
    """`http_status` is None where no HTTP answer came, or a good one; `reason` is "" where all is well and holds no
    secret; `at_ms` is Unix time, 0 before the first answer."""

    state: State = "unchecked"
    http_status: int | None = None
    reason: str = ""
    at_ms: int = 0


class Key:
    """The key's status. `clock` gives Unix seconds."""

    def __init__(self, provider: Checked, clock: Callable[[], float] = time.time) -> None:
        self._provider = provider
        self._clock = clock
        self._asking = asyncio.Lock()
        self.status = Status()

    async def check(self) -> Status:
        """Ask the provider now and return what is known then. Those who come while it is asked share the answer."""
        before = self.status
        async with self._asking:
            if self.status is not before:
                return self.status
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    with what_is_read():
                        await self._provider.check()
            except TimeoutError:
                self._learn(Status("unreachable", None, f"no answer within {TIMEOUT_S:g} s"))
            except LlmRefused as fault:
                self._learn(Status("refused", fault.status, str(fault)))
            except LlmTransient as fault:
                self._learn(Status("unreachable", fault.status, str(fault)))
            except LlmFault as fault:
                self._learn(Status("unreachable", None, str(fault)))
            else:
                self._learn(Status("ok"))
            return self.status

    async def watch(self) -> None:
        """Check until the provider has said yes or no; then return."""
        while (await self.check()).state == "unreachable":
            await asyncio.sleep(AGAIN_S)

    def taken(self) -> None:
        """A question was answered: the key is good."""
        if self.status.state != "ok":
            self._learn(Status("ok"))

    def refused(self, fault: LlmRefused) -> None:
        """A question was refused. Only what concerns the key counts here."""
        if fault.of_key and self.status.state != "refused":
            self._learn(Status("refused", fault.status, str(fault)))

    def _learn(self, status: Status) -> None:
        if status.state != self.status.state:
            if status.state == "ok":
                _log.info("%s takes the key", self._provider.name)
            else:
                _log.warning("%s: the key is %s: %s", self._provider.name, status.state, status.reason)
        self.status = status._replace(at_ms=int(self._clock() * 1000))
