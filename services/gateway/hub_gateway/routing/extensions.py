"""Methods and notifications of extensions that the hub does not know, passed to the upstreams that declare some.

Owns which upstream an unknown method goes to. What it means is between the two ends (2025-11-25 basic/lifecycle
§Capability Negotiation: `experimental`; 2026-07-28 basic §Extension Negotiation: `extensions`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from hub_common.tasks import Tasks
from hub_gateway.catalog.entry import EntryKind
from hub_gateway.errors import UpstreamError
from hub_gateway.exposure.current import Current
from hub_gateway.routing.calls import Calls
from hub_gateway.routing.exchange import Exchange, Response
from hub_gateway.sessions.session import Session
from hub_gateway.upstreams.fleet import Fleet
from hub_gateway.upstreams.supervisor import Supervisor
from hub_gateway.wire import rewrite
from hub_gateway.wire.capabilities import has_unknown
from hub_gateway.wire.errors import METHOD_NOT_FOUND
from hub_gateway.wire.message import Message, own
from hub_gateway.wire.revisions import PROTOCOL_METHODS, Era

_NAMED: Final = (EntryKind.TOOL, EntryKind.PROMPT)


class Extensions:
    """Passes on what only the two ends know. Whoever makes it closes it."""

    def __init__(self, fleet: Fleet, current: Current, calls: Calls) -> None:
        self._fleet = fleet
        self._current = current
        self._calls = calls
        self._tasks = Tasks("extensions")

    def owns(self, exchange: Exchange) -> bool:
        """Whether somebody behind the hub may know the method of a request that the hub does not."""
        method = exchange.message.method
        if method in PROTOCOL_METHODS or method.startswith("notifications/"):
            return False
        return any(True for _ in self._able(exchange.view_name))

    async def answer(self, exchange: Exchange) -> Response:
        """Answer with what an upstream says: the owner of the entry that the request names, else the first of those
        with extensions of their own that knows the method. One that does not know it did nothing."""
        refusal: Response | None = None
        for upstream_name, params in self._asked(exchange):
            response = await self._calls.pass_on(exchange, upstream_name, params)
            if response.error_code != METHOD_NOT_FOUND:
                return response
            refusal = refusal or response
        assert refusal is not None  # somebody is asked, see `owns`
        return refusal

    def notified(self, session: Session, message: Message) -> None:
        """Pass a session's notification to every upstream with sessions that may know it."""
        own_ones = {supervisor.name: supervisor for supervisor in self._fleet.owned_by(session.id)}
        for supervisor in self._able(session.view_name):
            target = own_ones.get(supervisor.name) if supervisor.isolated else self._fleet.for_sessions(supervisor)
            if target is not None and target.connection is not None and target.connection.era is Era.HANDSHAKE:
                self._tasks.spawn(_quietly(target, message.method, own(message.params)), f"tell {target.name}")

    def own_task(self, session: Session, message: Message) -> None:
        """Tell how a task of the client's own is (2025-11-25 basic/utilities/tasks §Task Status Notification): the
        upstreams of the connections that are its alone, since no other has asked it for a task."""
        for target in self._fleet.owned_by(session.id):
            if target.connection is not None and target.connection.era is Era.HANDSHAKE:
                self._tasks.spawn(_quietly(target, message.method, own(message.params)), f"tell {target.name}")

    async def close(self) -> None:
        """Tell nobody any more."""
        await self._tasks.close()

    def _able(self, view_name: str) -> Iterator[Supervisor]:
        """The upstreams of a view that declare what the hub does not know."""
        shown = self._current.of(view_name).allowed.upstreams
        for supervisor in self._fleet.supervisors.values():
            connection = supervisor.connection
            if connection is not None and supervisor.name in shown and has_unknown(connection.capabilities):
                yield supervisor

    def _asked(self, exchange: Exchange) -> Iterator[tuple[str, rewrite.Members]]:
        """The upstreams to ask, each with the request's params."""
        params, view = exchange.params, self._calls.view(exchange)
        name, uri = rewrite.text(params.get("name")), rewrite.text(params.get("uri"))
        able = [supervisor.name for supervisor in self._able(exchange.view_name)]
        for kind in _NAMED if name is not None else ():
            entry = view.resolve(kind, name or "")
            if entry is not None and entry.upstream_name in able:
                yield entry.upstream_name, {**params, "name": rewrite.text_raw(entry.local_name)}
                return
        for upstream_name, local_uri in self._calls.owners(view, uri) if uri is not None else ():
            if upstream_name in able:
                yield upstream_name, {**params, "uri": msgspec.Raw(rewrite.encode_text(local_uri))}
                return
        for upstream_name in able:
            yield upstream_name, params


async def _quietly(supervisor: Supervisor, method: str, params_raw: bytes) -> None:
    try:
        await supervisor.notify(method, params_raw)
    except UpstreamError:
        return
