"""What a conversation has to remember so that a hub that was restarted can be told it again.

Owns the client's own `initialize`, its log level and subscriptions, and the questions of the hub that are still open
(2025-11-25 basic/lifecycle, utilities/logging, server/resources §Subscriptions). Sends nothing.
"""

from __future__ import annotations

import msgspec

from hub_cli.connect_call import Call, Key, key_of
from hub_gateway.wire import codec, rewrite
from hub_gateway.wire.message import Kind, Message, own
from hub_gateway.wire.revisions import BATCHING_REVISIONS


class _Lists(msgspec.Struct):
    listChanged: bool = False


class _Capabilities(msgspec.Struct):
    tools: _Lists = msgspec.field(default_factory=_Lists)
    prompts: _Lists = msgspec.field(default_factory=_Lists)
    resources: _Lists = msgspec.field(default_factory=_Lists)


class Greeting(msgspec.Struct):
    """What is looked at in an `InitializeResult`."""

    protocolVersion: str = ""
    capabilities: _Capabilities = msgspec.field(default_factory=_Capabilities)

    @property
    def batches(self) -> bool:
        """Whether the client may send several messages in one array."""
        return self.protocolVersion in BATCHING_REVISIONS

    def changing(self) -> list[str]:
        """The lists whose changes the client was promised to hear of."""
        offered = self.capabilities
        lists = {"tools": offered.tools, "prompts": offered.prompts, "resources": offered.resources}
        return [word for word, list_ in lists.items() if list_.listChanged]


_greeting = msgspec.json.Decoder(Greeting)


def greeting_of(message: Message) -> Greeting | None:
    """The greeting in a response to `initialize`; None where it is an error."""
    try:
        return _greeting.decode(message.result) if len(message.result) else None
    except msgspec.MsgspecError:
        return Greeting()


class Memory:
    """One conversation's memory. `hello` is the client's `initialize` as it came."""

    def __init__(self, hello: bytes) -> None:
        self.hello = hello
        self.greeting: Greeting | None = None
        """What the client was answered, which every later session must keep to."""
        self.initialized = b""
        self.level_raw = b""
        self.subscribed: dict[str, bytes] = {}
        """The params of every subscription by its URI."""
        self.unrestored: set[str] = set()
        """The subscribed URIs that the present session of the hub has refused."""
        self._questions: dict[Key, Call | None] = {}

    def heard(self, message: Message, call: Call | None) -> None:
        """Take note of what the hub sent: for this call, or for none."""
        if message.kind is Kind.REQUEST:
            self._questions[key_of(own(message.id))] = call
        elif message.method == "notifications/cancelled":
            self._take_back(message)
        elif message.kind is Kind.RESPONSE and call is not None and len(message.result):
            self._done(call)

    def answered(self, response: Message) -> bool:
        """Whether the hub still waits for this response of the client; from now on it does not."""
        return self._questions.pop(key_of(own(response.id)), self) is not self

    def forget(self, call: Call | None = None) -> list[bytes]:
        """Drop the open questions of this call, or all, and return what tells the client so (2025-11-25
        utilities/cancellation)."""
        gone = [key for key, owner in self._questions.items() if call is None or owner is call]
        for key in gone:
            del self._questions[key]
        return [_cancellation(key) for key in gone]

    def _take_back(self, message: Message) -> None:
        """The hub wants no answer to a question any more, and has told the client so."""
        try:
            id_raw = rewrite.members(message.params).get("requestId")
            if id_raw is not None:
                self._questions.pop(key_of(own(id_raw)), None)
        except (msgspec.MsgspecError, TypeError):
            return

    def _done(self, call: Call) -> None:
        if call.method == "logging/setLevel":
            self.level_raw = call.params_raw
        elif call.method in ("resources/subscribe", "resources/unsubscribe"):
            uri = rewrite.text(rewrite.members(call.params_raw).get("uri")) or ""
            self.unrestored.discard(uri)
            if call.method == "resources/subscribe":
                self.subscribed[uri] = call.params_raw
            else:
                self.subscribed.pop(uri, None)


def _cancellation(key: Key) -> bytes:
    params = {"requestId": key[1], "reason": "The connection to the hub was lost"}
    return codec.notification("notifications/cancelled", msgspec.json.encode(params))
