"""What the REST interface is given to work with. Owns nothing of it: whoever made a part closes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from hub_common.store import Store
from hub_gateway.config.model import Document
from hub_gateway.exposure.current import Current
from hub_gateway.management.metrics import Metrics
from hub_gateway.management.workspaces import Workspaces
from hub_gateway.routing.calls import Calls
from hub_gateway.routing.republish import Republish
from hub_gateway.satellites.categorizer import Categorizer
from hub_gateway.satellites.filter import Filter
from hub_gateway.sessions.registry import Sessions
from hub_gateway.settings import GatewaySettings
from hub_gateway.upstreams.fleet import Fleet
from hub_gateway.upstreams.oauth.authorizations import Authorizations


class Refused(NamedTuple):
    """Why what stands in the config files now is not in force, or not wholly, and since when (Unix time in seconds);
    empty where it is."""

    faults: tuple[str, ...] = ()
    since: float | None = None


@dataclass(frozen=True, kw_only=True)
class Deps:
    """The parts of the running gateway.

    Attributes:
        settings: as in force; `filter_target` and `categorizer_target` are the addresses really dialled.
        document: returns the config document in force now.
        refused: returns why what stands in its files now is not in force.
        authorizations: which the fleet was given.
        metrics: whose `observe` the fleet was given.
        state: returns "starting", "ready" or "stopping".
        started_at: Unix time at which the process began to serve, in seconds.
        clock: Unix time in seconds.
    """

    settings: GatewaySettings
    document: Callable[[], Document]
    refused: Callable[[], Refused]
    fleet: Fleet
    authorizations: Authorizations
    current: Current
    calls: Calls
    sessions: Sessions
    republish: Republish
    filter: Filter
    categorizer: Categorizer
    store: Store
    workspaces: Workspaces
    state: Callable[[], str]
    started_at: float
    clock: Callable[[], float]
    metrics: Metrics
