"""The method table: every request of a client starts here and its response comes back here.

Owns which journey answers which method in which era, and the border where an exception becomes a reply.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial

from hub_common.telemetry import Telemetry, context_from
from hub_gateway.catalog.entry import EntryKind
from hub_gateway.errors import CallerError, HubError
from hub_gateway.exposure.view import invalid_cursor
from hub_gateway.routing.calls import Calls
from hub_gateway.routing.discovery import Discovery
from hub_gateway.routing.elsewhere import Elsewhere
from hub_gateway.routing.exchange import Exchange, Response
from hub_gateway.routing.extensions import Extensions
from hub_gateway.routing.hello import Hello
from hub_gateway.routing.lists import answer_list, cursor_of
from hub_gateway.routing.subscriptions import Subscriptions
from hub_gateway.satellites.letters import PeerAbsent
from hub_gateway.wire import rewrite
from hub_gateway.wire.errors import INTERNAL_ERROR, METHOD_NOT_FOUND, error_object
from hub_gateway.wire.meta import TRACEPARENT
from hub_gateway.wire.revisions import HANDSHAKE_ONLY_METHODS, STATELESS_ONLY_METHODS, Era

_log = logging.getLogger(__name__)

_OF_ENTRIES = frozenset({"tools/call", "prompts/get", "resources/read", "completion/complete"})

Journey = Callable[[Exchange], Awaitable[Response]]


class UnknownMethod(CallerError):
    """The hub has no such method in this era."""

    code = METHOD_NOT_FOUND
    http_status = 404


class Router:
    """Answers requests. One for all frontends; holds no state of a request."""

    def __init__(
        self,
        hello: Hello,
        calls: Calls,
        discovery: Discovery,
        subscriptions: Subscriptions,
        elsewhere: Elsewhere,
        extensions: Extensions,
        telemetry: Telemetry,
    ) -> None:
        self._calls = calls
        self._discovery = discovery
        self._elsewhere = elsewhere
        self._extensions = extensions
        self._telemetry = telemetry
        self._journeys: dict[str, Journey] = {
            "ping": _at_once(hello.ping),
            "server/discover": _at_once(hello.discover),
            **{kind.list_method: self._list for kind in EntryKind},
            "tools/call": self._call_tool,
            "logging/setLevel": hello.set_level,
            "prompts/get": calls.get_prompt,
            "resources/read": calls.read_resource,
            "completion/complete": calls.complete,
            **{f"tasks/{deed}": self._task for deed in ("get", "result", "update", "cancel")},
            "tasks/list": self._tasks,
            "resources/subscribe": subscriptions.subscribe,
            "resources/unsubscribe": subscriptions.unsubscribe,
            "subscriptions/listen": subscriptions.listen,
        }

    async def answer(self, exchange: Exchange, traceparent: str | None = None) -> Response:
        """Answer one request, whatever happens; only cancellation passes through.

        Args:
            exchange: the request; `read` was not called yet.
            traceparent: of the HTTP request; `_meta` is looked at where there is none.
        """
        try:
            exchange.read()
            if self._telemetry.enabled:
                return await self._traced(exchange, traceparent)
            return await self._journey(exchange)(exchange)
        except HubError as fault:
            return exchange.error(fault.error_raw)
        except Exception:
            _log.exception("%s id %s failed", exchange.message.method, exchange.id_raw.decode())
            return exchange.error(error_object(INTERNAL_ERROR, f"Internal error in {exchange.message.method}"))
        finally:
            if exchange.asked:
                exchange.withdraw()

    def _journey(self, exchange: Exchange) -> Journey:
        method = exchange.message.method
        if (
            exchange.session is None
            and "requestState" in exchange.params
            and (replica := self._calls.holding.elsewhere(exchange)) is not None
        ):
            return partial(self._elsewhere.resume, replica=replica)
        journey = self._journeys.get(method)
        if exchange.bound is not None and (method in _OF_ENTRIES or journey is None):
            return partial(self._calls.bound, bound=exchange.bound)
        if journey is None and self._extensions.owns(exchange):
            return self._extensions.answer
        absent = STATELESS_ONLY_METHODS if exchange.era is Era.HANDSHAKE else HANDSHAKE_ONLY_METHODS
        if journey is None or method in absent:
            raise UnknownMethod(f"Method not found: {method}")
        return journey

    async def _traced(self, exchange: Exchange, traceparent: str | None) -> Response:
        if traceparent is None and (meta_raw := exchange.params.get("_meta")) is not None:
            traceparent = rewrite.text(rewrite.members(meta_raw).get(TRACEPARENT))
        method = exchange.message.method
        attributes = {"mcp.method.name": method, "rpc.system": "mcp"}
        if (name := rewrite.text(exchange.params.get("name"))) is not None:
            attributes["gen_ai.tool.name" if method == "tools/call" else "mcp.entry.name"] = name
        with self._telemetry.tracer.start_as_current_span(
            f"mcp {method}", context=context_from(traceparent, None), attributes=attributes
        ) as span:
            response = await self._journey(exchange)(exchange)
            if response.error_code is not None:
                span.set_attribute("rpc.jsonrpc.error_code", response.error_code)
            return response

    def _call_tool(self, exchange: Exchange) -> Awaitable[Response]:
        name = exchange.text("name")
        if exchange.era is Era.STATELESS and "task" in exchange.params:
            _forget_task(exchange)
        if self._discovery.owns(exchange, name):
            return self._discovery.call(exchange, name)
        return self._calls.call_tool(exchange, name)

    async def _task(self, exchange: Exchange) -> Response:
        replica = self._calls.handles.elsewhere(exchange)
        if replica is not None:
            try:
                return await self._elsewhere.answer(exchange, replica)
            except PeerAbsent:
                pass  # nobody was asked, and a server that is reached over HTTP may know its task by any connection
        return await self._calls.handles.forward(exchange)

    async def _tasks(self, exchange: Exchange) -> Response:
        if (cursor := cursor_of(exchange)) is not None:  # all of them are on one page
            raise invalid_cursor("tasks/list", cursor)
        others = await self._elsewhere.answers(exchange) if exchange.bound is None else ()
        return await self._calls.handles.list_all(exchange, others)

    async def _list(self, exchange: Exchange) -> Response:
        return answer_list(self._calls, exchange)


def _forget_task(exchange: Exchange) -> None:
    """Take `task` out of a stateless client's call: 2026-07-28 has it no more, and servers must ignore it (SEP-2663
    §Backward Compatibility). A server with sessions would make a task of the call that its client knows nothing of."""
    exchange.params = {key: raw for key, raw in exchange.params.items() if key != "task"}


def _at_once(answer: Callable[[Exchange], Response]) -> Journey:
    """A journey that waits for nothing."""

    async def journey(exchange: Exchange) -> Response:
        return answer(exchange)

    return journey
