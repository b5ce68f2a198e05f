"""Journey A: a call goes to the one upstream that owns the entry, and its answer comes back.

`tools/call`, `prompts/get`, `resources/read` and `completion/complete`. No rpc, no Redis and no re-encoding happens
here.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import msgspec

from hub_gateway.catalog import links
from hub_gateway.catalog.entry import Entry, EntryKind
from hub_gateway.catalog.snapshot import parse
from hub_gateway.errors import CallerError, HubError, UnknownEntry, UpstreamError
from hub_gateway.exposure.audience import Opened
from hub_gateway.exposure.current import Audience, Current
from hub_gateway.exposure.view import View
from hub_gateway.routing import questions, undeclared
from hub_gateway.routing.coming import unknown
from hub_gateway.routing.exchange import Bound, Exchange, Response
from hub_gateway.routing.held import MAY_ASK, Holding, MissingCapability, declared
from hub_gateway.routing.homes import Homes
from hub_gateway.routing.log_levels import LogLevels
from hub_gateway.routing.states import STATE, States
from hub_gateway.routing.task_handles import TaskCall, TaskHandles
from hub_gateway.routing.translate import error_for, result_for, says_complete, visits_of, visits_required
from hub_gateway.routing.usage import Usage
from hub_gateway.sessions.reverse import can_answer, required
from hub_gateway.sessions.session import Session
from hub_gateway.upstreams.fleet import Fleet
from hub_gateway.upstreams.hop import EraChanged, HeadersRefused
from hub_gateway.upstreams.pending import Listener, Reply
from hub_gateway.upstreams.supervisor import Supervisor
from hub_gateway.wire import codec, param_headers, rewrite
from hub_gateway.wire.errors import (
    HEADER_MISMATCH,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    RESOURCE_NOT_FOUND_HANDSHAKE,
    error_object,
    read_error,
)
from hub_gateway.wire.revisions import Era

_NOT_MINE = frozenset({RESOURCE_NOT_FOUND_HANDSHAKE, INVALID_PARAMS, METHOD_NOT_FOUND})
"""Codes of who does not have a resource; one that reads none at all has not this one either."""

_NOT_MINE_WORDS = re.compile(r"not found|unknown (resource|uri)|no such|does not exist|unsupported (uri|scheme)", re.I)
"""How servers say the same under codes of their own: SDKs before 2025-11-25 named none for it."""

_Again = Callable[..., Coroutine[Any, Any, Reply]]
"""`_request` with all but its last two arguments."""


class HeaderMismatch(CallerError):
    """The headers say another thing than the body (2026-07-28 transports/streamable-http §Server Validation)."""

    code = HEADER_MISMATCH


class Calls:
    """The calls of all clients."""

    def __init__(
        self,
        fleet: Fleet,
        current: Current,
        usage: Usage,
        holding: Holding,
        log_levels: LogLevels,
        handles: TaskHandles,
        homes: Homes,
        states: States,
    ) -> None:
        self._fleet = fleet
        self.handles = handles
        self._current = current
        self.log_levels = log_levels
        self.holding = holding
        """Calls of stateless clients that wait for an answer."""
        self.homes = homes
        """Where sessions' own connections are."""
        self._states = states
        self.usage = usage
        """Told of every call of a tool."""

    def audience(self, exchange: Exchange) -> Audience:
        """Who asks."""
        return self._current.of(exchange.view_name)

    def allowed(self, exchange: Exchange) -> View:
        """Everything the policy allows the asking audience, opened or not."""
        return self.audience(exchange).allowed

    def view(self, exchange: Exchange) -> View:
        """What the asking audience sees."""
        return self._seen(self._current.of(exchange.view_name), exchange.session)

    def session_view(self, session: Session) -> View:
        """What a session sees."""
        return self._seen(self._current.of(session.view_name), session)

    def stateless_view(self, view_name: str = "") -> View:
        """What a client sees that has no session, and that asks for this view."""
        return self._seen(self._current.of(view_name), None)

    def _seen(self, audience: Audience, session: Session | None) -> View:
        return audience.view(self.opened(audience, session))

    def opened(self, audience: Audience, session: Session | None) -> Opened:
        """What a session of that audience has opened, the start included; None stands for who has no session."""
        opened = audience.exposure.at_start
        if session is not None and not opened.everything:
            for beyond in (session.opened, audience.opened_by_all):
                if beyond is not None:
                    opened = opened.followed_by(beyond)
        return opened

    def call_tool(self, exchange: Exchange, name: str) -> Awaitable[Response]:
        """Answer `tools/call` for a tool of an upstream.

        What is not for models no prompt opens: apps call it whatever is opened (MCP Apps extension).
        """
        entry = self.view(exchange).resolve(EntryKind.TOOL, name)
        if entry is None:
            entry = self.allowed(exchange).resolve(EntryKind.TOOL, name)
            if entry is None or entry.is_for_models:
                raise self.unknown(exchange, name, f"Unknown tool: {name}")
        self.usage.count(entry)
        return self.forward(exchange, entry, exchange.params, "name", name)

    def unknown(self, exchange: Exchange, name: str, text: str) -> HubError:
        """The error for a name that nothing of what the audience sees has; see `coming`."""
        return unknown(self.audience(exchange).exposure, self._fleet.supervisors, name, text)

    def bound(self, exchange: Exchange, bound: Bound) -> Awaitable[Response]:
        """Answer a request that another replica has resolved already."""
        return self._ask(exchange, bound.upstream_name, exchange.params, bound.local_name, bound.mirrored or None)

    def pass_on(self, exchange: Exchange, upstream_name: str, params: rewrite.Members) -> Awaitable[Response]:
        """Have an upstream answer a request that only it knows the meaning of."""
        return self._ask(exchange, upstream_name, params, None)

    def get_prompt(self, exchange: Exchange) -> Awaitable[Response]:
        """Answer `prompts/get`."""
        name = exchange.text("name")
        entry = self.view(exchange).resolve(EntryKind.PROMPT, name)
        if entry is None:
            raise self.unknown(exchange, name, f"Unknown prompt: {name}")
        return self.forward(exchange, entry, exchange.params, "name", name)

    async def read_resource(self, exchange: Exchange) -> Response:
        """Answer `resources/read`: the owner is asked, or whoever may own what no list names."""
        uri = exchange.text("uri")
        owners = self._asked_again(exchange, self.owners(self.view(exchange), uri))
        refusal: Response | None = None
        for upstream_name, local_uri in owners:
            params = exchange.params
            if local_uri != uri:
                params = {**params, "uri": msgspec.Raw(rewrite.encode_text(local_uri))}
            try:
                response = await self._ask(exchange, upstream_name, params, local_uri)
            except UpstreamError:
                if len(owners) == 1:
                    raise
                continue  # the next one may own it
            if response.error_code is None:
                return response
            if refusal is None or _is_not_mine(refusal):
                refusal = response
        if refusal is None or refusal.error_code == METHOD_NOT_FOUND or (len(owners) > 1 and _is_not_mine(refusal)):
            return self._not_found(exchange, uri)
        return refusal

    async def complete(self, exchange: Exchange) -> Response:
        """Answer `completion/complete` for a prompt's argument or a template's variable."""
        ref = _members(exchange, "ref")
        view = self.view(exchange)
        if (name := rewrite.text(ref.get("name"))) is not None:
            entry, member = view.resolve(EntryKind.PROMPT, name), "name"
        elif (name := rewrite.text(ref.get("uri"))) is not None:
            entry, member = view.resolve(EntryKind.TEMPLATE, name), "uri"
            entry = entry or view.resolve(EntryKind.RESOURCE, name) or _sole_template(view, name)
        else:
            raise CallerError("Invalid params of completion/complete: ref must name a prompt or a resource template")
        if entry is None:
            raise UnknownEntry(f"Unknown reference: {name}")
        params = exchange.params
        if entry.local_name != name:
            local_ref = rewrite.join({**ref, member: rewrite.encode_text(entry.local_name)})
            params = {**params, "ref": msgspec.Raw(local_ref)}
        return await self._ask(exchange, entry.upstream_name, params, None)

    def forward(
        self,
        exchange: Exchange,
        entry: Entry,
        params: rewrite.Members,
        member: str,
        asked_name: str,
        *,
        direct: bool = True,
    ) -> Awaitable[Response]:
        """Forward a request about an entry under the entry's own name.

        A `direct` one names the entry itself, by whichever of its names: its headers mirror the arguments. One through
        a tool of the hub mirrors what that tool's schema asks for, which is nothing.

        Raises:
            HeaderMismatch: the headers do not say what the arguments say.
        """
        if entry.local_name != asked_name:
            params = {**params, member: rewrite.text_raw(entry.local_name)}
        if not entry.mirrors:
            return self._ask(exchange, entry.upstream_name, params, entry.local_name)
        arguments = _arguments(params)
        if direct and exchange.headers is not None:
            why = param_headers.mismatch(entry.mirrors, arguments, param_headers.sent(exchange.headers))
            if why is not None:
                raise HeaderMismatch(f"Header mismatch: {why}")
        mirrored = param_headers.mirrored(entry.mirrors, arguments)
        return self._ask(exchange, entry.upstream_name, params, entry.local_name, mirrored)

    def _asked_again(self, exchange: Exchange, owners: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Of those to ask, the one that asked the client something, where the request is a retry with the answers.

        Raises:
            CallerError: it is none of them.
        """
        asker = None if exchange.session is not None else self._states.asker(exchange)
        if asker is None:
            return owners
        if not (found := [owner for owner in owners if owner[0] == asker]):
            raise CallerError("Invalid requestState: it belongs to another request")
        return found

    def owners(self, view: View, uri: str) -> list[tuple[str, str]]:
        """The upstreams to ask for a URI, best first, each with the URI as that upstream knows it.

        A URI that is listed, or that a listed template matches, has its owner. One that is prefixed names its owner.
        Any other may be a link from a tool's result: every allowed upstream with resources is asked in turn, and
        reading changes nothing. An upstream whose own entry for the URI is hidden is not asked, by whatever name.
        """
        catalog = view.catalog
        split = catalog.split_uri(uri)
        listed = [entry for entry in catalog.owners(uri) if split is None or entry.kind is EntryKind.RESOURCE]
        if found := [entry for entry in listed if view.shows(entry)]:
            return [(e.upstream_name, e.local_name if e.kind is EntryKind.RESOURCE else uri) for e in found]
        known = listed if split is None else [*listed, *catalog.owners(split[1])]
        hidden = {entry.upstream_name for entry in known if not view.shows(entry)}
        allowed = self._current.of(view.name).allowed.upstreams - hidden
        if split is not None:
            return [split] if split[0] in allowed else []
        return [
            (supervisor.name, uri)
            for supervisor in self._fleet.supervisors.values()
            if supervisor.name in allowed
            and supervisor.connection is not None
            and "resources" in supervisor.connection.capabilities
        ]

    async def _ask(
        self,
        exchange: Exchange,
        upstream_name: str,
        params: rewrite.Members,
        name: str | None,
        mirrored: Sequence[tuple[str, str]] | None = None,
        *,
        again: bool = False,
    ) -> Response:
        supervisor = self._fleet.get(upstream_name)
        if exchange.session is not None and supervisor.apart:
            if supervisor.isolated:
                own = await self.homes.own(exchange, Bound(upstream_name, name, list(mirrored or ())), params)
                if isinstance(own, Response):
                    return _under_its_uri(exchange, own, name, params)
                supervisor = own
                await supervisor.log_level.want(exchange.session.log_level)
            else:
                supervisor = self._fleet.for_sessions(supervisor)
                if supervisor.apart:  # the second link is not up
                    supervisor = await self._fleet.own(upstream_name, exchange.session.id)
        method = exchange.message.method
        if supervisor.connection is None:
            await supervisor.renewed()
        connection = supervisor.connection
        era = exchange.era if connection is None else connection.agreement.era
        if "_meta" in params:
            params = self.handles.addressed(upstream_name, params)
        bare, given = exchange.session is None and era is Era.STATELESS, params
        if bare and STATE in params and method in MAY_ASK:
            params = self._states.opened(exchange, upstream_name, name, params)
        try:
            if exchange.era is not era:
                request = partial(_request, supervisor, exchange, name, mirrored or ())
                reply = await self._ask_across(exchange, supervisor, request, params)
            elif exchange.session is None or "task" not in params:
                reply = await _request(supervisor, exchange, name, mirrored or (), params)
            else:
                listener = TaskCall(exchange, exchange.session)
                try:
                    reply = await _request(supervisor, exchange, name, mirrored or (), params, listener)
                finally:
                    listener.end()
        except HeadersRefused:
            fresh = None if again else await _mirrored_anew(supervisor, name, params)
            if fresh is None or fresh == list(mirrored or ()):
                raise
            return await self._ask(exchange, upstream_name, given, name, fresh, again=True)
        except EraChanged:
            if again or STATE in params or "inputResponses" in params:
                raise  # it goes on with what the server had begun, and knows no more
            return await self._ask(exchange, upstream_name, given, name, mirrored, again=True)
        if reply.error_raw:
            return _refused(exchange, upstream_name, era, reply.error_raw)
        result_raw = reply.result_raw
        if bare and not says_complete(result_raw):
            undeclared.check(exchange, upstream_name, result_raw)
            result_raw = self._states.sealed(exchange, upstream_name, name, result_raw)
        if method == "tools/call":
            result_raw = self.handles.created(exchange, upstream_name, result_raw)
            if (moved := self._current.exposure.catalog.moved.get(upstream_name)) is not None:
                result_raw = links.result(result_raw, moved)
        elif method == "resources/read" and _has_another_uri(exchange, params):
            result_raw = links.contents(result_raw, {name or "": exchange.text("uri")})
        info = b"" if connection is None else connection.server_info_raw
        return exchange.result(result_for(exchange.era, era, method, result_raw, info))

    async def _ask_across(
        self, exchange: Exchange, supervisor: Supervisor, request: _Again, params: rewrite.Members
    ) -> Reply:
        """Ask an upstream of the other era: what it asks in turn takes another way there."""
        if exchange.session is not None:
            return await questions.answered(exchange, params, await request(params), request)
        if self.holding.owns(exchange):
            return await self.holding.resume(exchange)
        if "inputResponses" in params:
            params = {key: value for key, value in params.items() if key != "inputResponses"}
        made = partial(request, params)
        if exchange.caller.log_level is not None:
            made = partial(self._logging, supervisor, exchange, request, params)
        return await self.holding.call(exchange, made)

    async def _logging(
        self, supervisor: Supervisor, exchange: Exchange, request: _Again, params: rewrite.Members, listener: Listener
    ) -> Reply:
        """Make a stateless client's call at the log level that it asks for: a server with sessions has one for all."""
        async with self.log_levels.raised(supervisor, exchange.caller.log_level):
            return await request(params, listener)

    def _not_found(self, exchange: Exchange, uri: str) -> Response:
        # 2026-07-28 changelog, minor change 6: the code moved.
        code = INVALID_PARAMS if exchange.era is Era.STATELESS else RESOURCE_NOT_FOUND_HANDSHAKE
        return exchange.error(error_object(code, f"Resource not found: {uri}", {"uri": uri}))


def _is_not_mine(refusal: Response) -> bool:
    """Whether an upstream's error says that it does not have what was asked for."""
    if refusal.error_code in _NOT_MINE:
        return True
    said = read_error(rewrite.members(refusal.body)["error"]).message
    return _NOT_MINE_WORDS.search(said) is not None


def _sole_template(view: View, local_name: str) -> Entry | None:
    """The template of that spelling where the view shows one upstream's alone."""
    shown = [entry for entry in view.catalog.templates(local_name) if view.shows(entry)]
    return shown[0] if len(shown) == 1 else None


def _has_another_uri(exchange: Exchange, params: rewrite.Members) -> bool:
    """Whether what is read is known to its upstream by another URI than the one that was asked for."""
    return params.get("uri") != exchange.params.get("uri")


def _under_its_uri(exchange: Exchange, answered: Response, name: str | None, params: rewrite.Members) -> Response:
    """What another replica read, who was asked for it by its upstream's own URI."""
    if (
        exchange.message.method != "resources/read"
        or answered.error_code is not None
        or not _has_another_uri(exchange, params)
    ):
        return answered
    result_raw = bytes(codec.decode(answered.body).result)
    return exchange.result(links.contents(result_raw, {name or "": exchange.text("uri")}))


def _members(exchange: Exchange, member: str) -> rewrite.Members:
    try:
        return rewrite.members(exchange.params.get(member, msgspec.Raw(b"")))
    except msgspec.MsgspecError as fault:
        raise CallerError(f"Invalid params of {exchange.message.method}: {member} must be an object") from fault


def _request(
    supervisor: Supervisor,
    exchange: Exchange,
    name: str | None,
    mirrored: Sequence[tuple[str, str]],
    params: rewrite.Members,
    listener: Listener | None = None,
) -> Coroutine[Any, Any, Reply]:
    """The exchange's request to an upstream; made again where the upstream asks for more."""
    return supervisor.request(
        exchange.message.method,
        params,
        caller=exchange.caller,
        listener=listener or exchange,
        progress_token_raw=exchange.progress_token_raw,
        name=name,
        mirrored=mirrored,
        client=exchange.client,
    )


def _refused(exchange: Exchange, upstream_name: str, era: Era, error_raw: bytes) -> Response:
    """Answer with an upstream's error. Pages it wants visited are remembered, so that their end is told."""
    if visits := visits_of(error_raw):
        if exchange.session is not None:
            for elicitation_id in visits:
                exchange.session.reverse.note_visit(upstream_name, elicitation_id)
        elif exchange.message.method in MAY_ASK:
            asked = ("elicitation/create", msgspec.Raw(next(iter(visits.values()))))
            if not can_answer(declared(exchange), *asked):
                missing = {"requiredCapabilities": required(*asked)}
                raise MissingCapability("The server needs the client capability elicitation.url", missing)
            return exchange.result(visits_required(visits))
    return exchange.error(error_for(exchange.era, era, exchange.message.method, error_raw))


async def _mirrored_anew(
    supervisor: Supervisor, name: str | None, params: rewrite.Members
) -> list[tuple[str, str]] | None:
    """What is to be mirrored of a call that a stateless upstream refused for its headers, and so has not run: its tools
    are listed again, since the schema the hub knows is not its own any more (2026-07-28 transports/streamable-http
    §Client Behavior). None where it has no such tool."""
    try:
        await supervisor.refresh((EntryKind.TOOL,))
    except UpstreamError:
        return None
    for each in parse(supervisor.name, supervisor.offering).definitions:
        if each.kind is EntryKind.TOOL and each.local_name == name:
            return param_headers.mirrored(each.mirrors, _arguments(params))
    return None


def _arguments(params: rewrite.Members) -> dict[str, Any]:
    """A call's arguments, decoded only because some of them go into headers."""
    try:
        return msgspec.json.decode(params.get("arguments", b"{}"), type=dict[str, Any])
    except msgspec.MsgspecError as fault:
        raise CallerError("Invalid params of tools/call: arguments must be an object") from fault
