"""One request of the client on its way to the hub, and how long it may wait for it.

Owns what a failure means for a request: whether it may be sent again, and what the client is told. Knows neither HTTP
nor the eras.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec

from hub_cli.connect_stdio import Stdout
from hub_gateway.errors import HubError
from hub_gateway.wire import codec
from hub_gateway.wire.codec import MalformedMessage
from hub_gateway.wire.errors import SERVER_ERROR, error_object
from hub_gateway.wire.message import Kind, Message, own

_log = logging.getLogger("hub_cli.connect")

REPEATABLE = frozenset(
    {
        "initialize",
        "ping",
        "server/discover",
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "resources/subscribe",
        "resources/unsubscribe",
        "logging/setLevel",
    }
)
"""Methods that may be sent again when nobody knows whether they ran: they only read, or set what may be set twice."""

_MAX_REPEATS = 5
"""What breaks more often than this does not break by chance."""

_FIRST_PAUSE_S = 0.1
_MAX_PAUSE_S = 1.0

Key = tuple[bool, object]
"""An id as something to compare: `1` and `"1"` differ, two spellings of one string do not. A number beyond all bounds
is only itself."""

Reply = Callable[[bytes], None]
"""Takes a response on its way to the client."""


class NotTaken(Exception):
    """The hub did not take the message: sending it again is safe."""


class MayHaveRun(Exception):
    """The message was sent, and no answer came: only the hub can tell whether it ran."""


def key_of(id_raw: bytes) -> Key:
    """The id to compare with others."""
    try:
        value = codec.plain(codec.whole_letters(id_raw))
    except msgspec.MsgspecError:
        return False, id_raw
    return isinstance(value, str), value


def read(data: bytes) -> Message | None:
    """Decode what the hub sent; None, logged, where it is no message and must not reach the client."""
    try:
        return codec.decode(data)
    except MalformedMessage as fault:
        _log.warning("the hub sent what is no message: %s", fault)
        return None


class Patience:
    """How long something may wait for a hub that is away, and the pauses between two looks.

    Only waiting counts: what the hub spends on an answer is `excuse`d.
    """

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._until_s = self._loop.time() + limit_s
        self._pause_s = _FIRST_PAUSE_S

    def excuse(self, since_s: float) -> None:
        """Do not count the time since `since_s` of the loop's clock."""
        self._until_s += self._loop.time() - since_s
        self._pause_s = _FIRST_PAUSE_S

    async def pause(self) -> bool:
        """Wait before the next look, longer each time up to a second; False when the patience is over."""
        left_s = self._until_s - self._loop.time()
        if left_s <= 0:
            return False
        await asyncio.sleep(min(self._pause_s, left_s))
        self._pause_s = min(self._pause_s * 2, _MAX_PAUSE_S)
        return True

    async def wait(self, event: asyncio.Event) -> bool:
        """Wait for the event; False when the patience is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._until_s):
                await event.wait()
        return event.is_set()


class Call:
    """A request of the client, from its line to its one response.

    Args:
        line: the request as it came.
        message: the same, decoded.
        stdout: takes what comes before the response.
        reply: takes the response.
    """

    def __init__(self, line: bytes, message: Message, stdout: Stdout, reply: Reply) -> None:
        self.line = line
        self.method = message.method
        self.id_raw = own(message.id)
        self.params_raw = own(message.params)
        self.key = key_of(self.id_raw)
        self.posted = False
        """Whether the hub may have it: what it has is cancelled there, what it has not is cancelled here."""
        self.cancelled = False
        self.answered = False
        self.ended = asyncio.Event()
        self.noticed: Callable[[Message], object] | None = None
        """Sees every message on the way to the client."""
        self._stdout = stdout
        self._reply = reply

    def hear(self, data: bytes, _stream: int | None = None) -> bool:
        """Pass on what the hub sent for this call; True once it was the response."""
        message = read(data)
        if message is None:
            return False
        response = message.kind is Kind.RESPONSE
        if response and (self.answered or key_of(own(message.id)) != self.key):
            _log.warning("the hub sent a response nobody waits for")
            return False
        if self.noticed is not None:
            self.noticed(message)
        if not response:
            (self._stdout.write if message.kind is Kind.REQUEST else self._stdout.tell)(data)
            return False
        self._answer(data)
        return True

    def refuse(self, error_raw: bytes) -> None:
        """Answer with this error object, unless there was an answer or the client wants none."""
        if not (self.answered or self.cancelled):
            self._answer(codec.error(self.id_raw, error_raw))

    def fail(self, why: str) -> None:
        """Answer with an error in these words: there will be none from the hub."""
        self.refuse(error_object(SERVER_ERROR, why))

    def _answer(self, data: bytes) -> None:
        self.answered = True
        self._reply(data)


async def carry(call: Call, attempt: Callable[[], Awaitable[None]], patience: Patience) -> None:
    """Attempt the call until it is answered, as often as that is safe and the patience lasts."""
    repeats = 0
    while True:
        try:
            await attempt()
            return
        except NotTaken as fault:
            why = str(fault)
        except MayHaveRun as fault:
            if call.method not in REPEATABLE:
                call.fail(f"{fault}; {call.method} may have run, so it is not sent again")
                return
            repeats += 1
            if repeats > _MAX_REPEATS:
                call.fail(f"{fault}, again and again")
                return
            why = str(fault)
        except HubError as fault:
            call.fail(f"The hub's answer is unusable: {fault}")
            return
        if call.cancelled:
            return
        if not await patience.pause():
            call.fail(f"The hub did not take {call.method} within {patience.limit_s:g} s: {why}")
            return
