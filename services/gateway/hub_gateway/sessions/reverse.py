"""Requests that go the other way: asked by an upstream, answered by a client.

Owns the ids under which a session's client is asked, and who waits for each answer (2025-11-25 client/sampling,
client/elicitation, client/roots). Nothing is invented: a client that lacks the capability is not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import msgspec

from hub_gateway.wire import codec, rewrite
from hub_gateway.wire.capabilities import has_unknown
from hub_gateway.wire.errors import INVALID_PARAMS, METHOD_NOT_FOUND, SERVER_ERROR, error_object
from hub_gateway.wire.message import Message, own
from hub_gateway.wire.meta import PROGRESS_TOKEN

Answer = Callable[[bytes, bytes], None]
"""Called once with `(result_raw, error_raw)`; one of the two is empty."""

Progress = Callable[[bytes], None]
"""Called with the params of a progress notification, under the token that the upstream gave."""

NEEDS = {"sampling/createMessage": "sampling", "elicitation/create": "elicitation", "roots/list": "roots"}
"""The capability a client must have declared to be asked."""

TASK_METHODS = frozenset({"tasks/get", "tasks/result", "tasks/cancel", "tasks/list"})
"""About tasks of the client's own, for those who declared `tasks` (2025-11-25 basic/utilities/tasks)."""

MAX_VISITS = 256
"""Pages a client was sent to whose end may still be told; the oldest is forgotten first."""

_GONE = "The client ended its session"


class Question(NamedTuple):
    """A request as it goes to the client, and the id it has there."""

    id_raw: bytes
    message: bytes


class _Waiting(NamedTuple):
    """Who waits for an answer, and for progress until then."""

    answer: Answer
    progress: Progress | None
    token_raw: bytes
    """What the upstream calls its request where it wants progress; else empty."""


class Reverse:
    """The open questions to one client. Whoever asks withdraws what it waits for no longer.

    `epoch` sets the ids of one life of a session apart from those of the next, so that a late answer settles nothing.
    """

    def __init__(self, capabilities: Mapping[str, Any], epoch: str = "") -> None:
        self._epoch = epoch and f"{epoch}-"
        self._capabilities = capabilities
        self._waiting: dict[bytes, _Waiting] = {}
        self._asked = 0
        self._closed = False
        self._visits: dict[tuple[str, str], None] = {}

    def ask(
        self, message: Message, answer: Answer, progress: Progress | None = None, *, asker: str = ""
    ) -> Question | None:
        """Register a request of the upstream of that name and return it as it goes to the client: under another id,
        which is the token of its progress too, since two upstreams may have chosen the same one.

        Returns None where the client cannot be asked; the upstream then has its error already (2025-11-25
        client/sampling and client/roots §Error Handling: method not found).
        """
        needed = NEEDS.get(message.method)
        # Of what is no request of the protocol's only a client with extensions of its own may know something.
        if message.method in TASK_METHODS:
            able = "tasks" in self._capabilities
        else:
            able = has_unknown(self._capabilities) if needed is None else needed in self._capabilities
        if not able:
            why = f"The client does not support {needed or message.method}"
            answer(b"", error_object(METHOD_NOT_FOUND, why))
            return None
        if needed is not None and not can_answer(self._capabilities, message.method, message.params):
            answer(b"", error_object(INVALID_PARAMS, f"The client does not support this form of {message.method}"))
            return None
        if self._closed:
            answer(b"", error_object(SERVER_ERROR, _GONE))
            return None
        if message.method == "elicitation/create":
            self.note_visit(asker, _text(message.params, "elicitationId"))
        self._asked += 1
        id_raw = b'"hub-%s%d"' % (self._epoch.encode(), self._asked)
        params_raw, token_raw = _retokened(message.params, id_raw)
        self._waiting[id_raw] = _Waiting(answer, progress, token_raw)
        return Question(id_raw, codec.request(id_raw, message.method, params_raw))

    def was_sent_to(self, upstream_name: str, elicitation_id: str | None) -> bool:
        """Whether that upstream asked this client to visit the page of that id: nobody else is told of its end
        (2025-11-25 client/elicitation §Completion Notifications)."""
        return (upstream_name, elicitation_id) in self._visits

    def withdraw(self, id_raw: bytes) -> bool:
        """Forget a question; False where it is answered already."""
        return self._waiting.pop(id_raw, None) is not None

    def resolve(self, response: Message) -> bool:
        """Hand a client's response to whoever waits; False where nobody does."""
        waiting = self._waiting.pop(own(response.id), None)
        if waiting is None:
            return False
        waiting.answer(own(response.result), own(response.error))
        return True

    def progressed(self, params_raw: msgspec.Raw) -> bool:
        """Tell whoever waits how far the client is with its answer (2025-11-25 basic/utilities/progress: either side
        may ask for progress); False where nobody here does."""
        token_raw = token_of(params_raw)
        waiting = self._waiting.get(token_raw)
        if waiting is None or not waiting.token_raw:
            return False
        if waiting.progress is not None:
            waiting.progress(rewrite.replaced(params_raw, PROGRESS_TOKEN, waiting.token_raw))
        return True

    def close(self) -> None:
        """Answer every open question with an error: the client is gone."""
        self._closed = True
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            each.answer(b"", error_object(SERVER_ERROR, _GONE))

    def note_visit(self, upstream_name: str, elicitation_id: str | None) -> None:
        """Remember that an upstream sends the client to the page of that id, which another one may have too."""
        if elicitation_id is not None:
            self._visits[upstream_name, elicitation_id] = None
            if len(self._visits) > MAX_VISITS:
                del self._visits[next(iter(self._visits))]


def token_of(params_raw: msgspec.Raw) -> bytes:
    """The token of a progress notification, as its sender spelled it; b"" where it has none."""
    try:
        return bytes(rewrite.members(params_raw).get(PROGRESS_TOKEN, b""))
    except msgspec.MsgspecError:
        return b""


def _retokened(params_raw: msgspec.Raw, token_raw: bytes) -> tuple[bytes, bytes]:
    """The params of a request with this progress token where they have another, and that other one, or b""."""
    try:
        meta_raw = rewrite.members(params_raw).get("_meta", b"")
        wanted_raw = bytes(rewrite.members(meta_raw).get(PROGRESS_TOKEN, b""))
    except msgspec.MsgspecError:
        return own(params_raw), b""
    if not wanted_raw:
        return own(params_raw), b""
    return rewrite.replaced(params_raw, "_meta", rewrite.replaced(meta_raw, PROGRESS_TOKEN, token_raw)), wanted_raw


def can_answer(capabilities: Mapping[str, Any], method: str, params_raw: msgspec.Raw) -> bool:
    """Whether a client of these capabilities answers this very form of a request: pages only where it declared them
    (2025-11-25 client/elicitation §Error Handling), tools for its model likewise (client/sampling §Tools in Sampling).
    `elicitation: {}` stands for forms."""
    declared: Any = capabilities.get(NEEDS[method])
    if not isinstance(declared, Mapping):
        return False
    modes = cast("Mapping[str, Any]", declared)
    if method == "elicitation/create":
        mode = _text(params_raw, "mode") or "form"
        return mode in modes or (mode == "form" and not modes)
    if method == "sampling/createMessage":
        return "tools" in modes or not _has(params_raw, "tools")
    return True


def required(method: str, params_raw: msgspec.Raw) -> dict[str, Any]:
    """The capabilities a client must have declared to be asked this."""
    if method == "elicitation/create" and _text(params_raw, "mode") == "url":
        return {"elicitation": {"url": {}}}
    if method == "sampling/createMessage" and _has(params_raw, "tools"):
        return {"sampling": {"tools": {}}}
    return {NEEDS[method]: {}}


def _text(params_raw: msgspec.Raw, member: str) -> str | None:
    try:
        return rewrite.text(rewrite.members(params_raw).get(member))
    except msgspec.MsgspecError:
        return None


def _has(params_raw: msgspec.Raw, member: str) -> bool:
    try:
        return member in rewrite.members(params_raw)
    except msgspec.MsgspecError:
        return False
