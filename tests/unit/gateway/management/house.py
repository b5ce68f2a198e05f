"""A gateway without its port: real upstreams, real satellites and a real store, tied together as the composition root
does it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
from starlette.types import ASGIApp

from hub_categorizer.servicer import start as start_categorizer
from hub_categorizer.settings import Settings as CategorizerSettings
from hub_common.rpc_server import RpcServer
from hub_common.shared_state import open_bus
from hub_common.store import Store
from hub_common.store_embedded import EmbeddedStore
from hub_common.tasks import Tasks
from hub_filter.servicer import start as start_filter
from hub_filter.settings import Settings as FilterSettings
from hub_gateway.config.context import Context
from hub_gateway.config.load import load
from hub_gateway.config.model import Document
from hub_gateway.exposure.current import Current
from hub_gateway.exposure.view import Look
from hub_gateway.management.app import management_app
from hub_gateway.management.deps import Deps, Refused
from hub_gateway.management.metrics import Metrics
from hub_gateway.management.workspaces import Workspaces
from hub_gateway.routing.calls import Calls
from hub_gateway.routing.elsewhere import Elsewhere
from hub_gateway.routing.held import Holding
from hub_gateway.routing.homes import Homes
from hub_gateway.routing.log_levels import LogLevels
from hub_gateway.routing.republish import Republish
from hub_gateway.routing.seal import Seal
from hub_gateway.routing.shared_sessions import SharedSessions
from hub_gateway.routing.states import States
from hub_gateway.routing.subscriptions import Subscriptions
from hub_gateway.routing.task_handles import TaskHandles
from hub_gateway.routing.task_ids import TaskIds
from hub_gateway.routing.usage import Usage
from hub_gateway.satellites.categorizer import Categorizer
from hub_gateway.satellites.filter import Filter
from hub_gateway.satellites.peers import Peers
from hub_gateway.sessions.registry import Sessions
from hub_gateway.settings import GatewaySettings
from hub_gateway.upstreams.fleet import Fleet
from hub_gateway.upstreams.oauth.authorizations import Authorizations
from hub_gateway.wire.message import Message
from tests.unit.gateway.management.asgi import Answer, ask

BODY_LIMIT_BYTES = 4096


@dataclass
class House:
    """Everything a test may look at or end."""

    deps: Deps
    document: Document
    filter_server: RpcServer
    categorizer_server: RpcServer
    state: str = "ready"

    def app(self) -> ASGIApp:
        """An application of its own, so that nothing seen earlier is told again."""
        return management_app(self.deps)

    async def get(self, target: str) -> Answer:
        """GET from a new application."""
        return await ask(self.app(), "GET", target)

    async def post(self, target: str, body: object = None) -> Answer:
        """POST JSON to a new application."""
        return await ask(self.app(), "POST", target, body)


def _ignore(_name: str, _message: Message) -> None:
    """Nobody subscribes to anything here."""


@asynccontextmanager
async def built(
    config: dict[str, object], directory: Path, categorizing: CategorizerSettings | None = None
) -> AsyncGenerator[House]:
    """A house with this config document; its files and sockets are under `directory`."""
    path = directory / "mcp-servers.json"
    path.write_bytes(msgspec.json.encode(config))
    document = load([path])
    store = EmbeddedStore(directory / "state")
    filter_server = await start_filter(FilterSettings(), f"unix:{directory}/filter")
    categorizer_server = await start_categorizer(
        categorizing or CategorizerSettings(), f"unix:{directory}/categorizer", store
    )
    settings = GatewaySettings(
        filter_target=filter_server.address,
        categorizer_target=categorizer_server.address,
        body_limit_bytes=BODY_LIMIT_BYTES,
    )
    tasks = Tasks("house")
    told: list[Callable[[], House]] = []
    deps = _tied(settings, document, store, directory, lambda: told[0]().state)
    house = House(deps, document, filter_server, categorizer_server)
    told.append(lambda: house)
    tasks.spawn(deps.republish.run(), "republish")
    try:
        await deps.fleet.apply(document)
        yield house
    finally:
        await tasks.close()
        await deps.fleet.close()
        await deps.filter.close()
        await deps.categorizer.close()
        await filter_server.stop(0)
        await categorizer_server.stop(0)
        await store.close()


def _tied(
    settings: GatewaySettings, document: Document, store: Store, directory: Path, state: Callable[[], str]
) -> Deps:
    current, metrics = Current(Look(b"{}")), Metrics()
    sources: list[Republish] = []
    authorizations = Authorizations(store, "http://127.0.0.1:7000")
    fleet = Fleet(
        Context.from_environ({}, directory),
        lambda name: sources[0].notice(name),
        _ignore,
        metrics.observe,
        authorizations=authorizations,
    )
    sessions = Sessions(100, 3600.0, time.monotonic, lambda session: subscriptions.forget(session))
    peers = Peers(open_bus(None, directory), store, time.monotonic)
    elsewhere = Elsewhere(peers, sessions, SharedSessions(peers))
    homes = Homes(peers, elsewhere.answer, sessions, fleet, None, 3600.0)
    handles = TaskHandles(fleet, current, TaskIds(fleet, current, Seal()), store)
    holding, levels = Holding("", Seal()), LogLevels(fleet, lambda: 0)
    calls = Calls(fleet, current, Usage(store), holding, levels, handles, homes, States(Seal()))
    subscriptions = Subscriptions(fleet, calls, sessions.changed, elsewhere.answer)
    satellites = (
        Filter(settings.filter_target, settings.satellite_timeout_s),
        Categorizer(settings.categorizer_target, settings.satellite_timeout_s, settings.llm_timeout_s),
    )
    republish = Republish(current, fleet, (sessions, subscriptions, calls), satellites, document.tool_filtering)
    sources.append(republish)
    workspaces = Workspaces(
        store,
        port=7000,
        config_files=lambda: document.sources,
        state=state,
        connections=lambda: len(sessions),
        started_at=1_000.0,
    )
    return Deps(
        settings=settings,
        document=lambda: document,
        refused=Refused,
        fleet=fleet,
        authorizations=authorizations,
        current=current,
        calls=calls,
        sessions=sessions,
        republish=republish,
        filter=satellites[0],
        categorizer=satellites[1],
        store=store,
        workspaces=workspaces,
        metrics=metrics,
        state=state,
        started_at=1_000.0,
        clock=time.time,
    )
