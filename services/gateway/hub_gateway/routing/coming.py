"""Why an entry may be unknown only for now: the upstream whose name it bears is connecting, or has connected and is not
published yet.

Pure. After a start, and while an upstream comes back, nothing of it is listed; a client that goes on with a name it was
given before is not told that there is no such thing.
"""

from __future__ import annotations

from collections.abc import Mapping

from hub_common.globs import Globs
from hub_gateway.catalog.entry import Offering
from hub_gateway.catalog.names import DELIMITER, prefixes
from hub_gateway.catalog.snapshot import Catalog
from hub_gateway.config.server_model import ServerConfig
from hub_gateway.errors import HubError, UnknownEntry, UpstreamDown
from hub_gateway.exposure.current import Exposure
from hub_gateway.exposure.policy import Policy
from hub_gateway.upstreams.supervisor import Supervisor


def unknown(exposure: Exposure, supervisors: Mapping[str, Supervisor], name: str, text: str) -> HubError:
    """The error for a name that nothing visible has: `text`, or that its upstream is connecting, where it is one that
    the policy does not hide."""
    catalog = exposure.catalog
    own_prefixes = catalog.own_prefixes or prefixes(sorted(supervisors))  # before anything is published there are none
    for upstream_name, own_prefix in own_prefixes.items():
        supervisor = supervisors.get(upstream_name)
        if supervisor is None:
            continue
        chosen = supervisor.config.prefix if isinstance(supervisor.config, ServerConfig) else None
        if not name.startswith(tuple(prefix + DELIMITER for prefix in (own_prefix, chosen) if prefix)):
            continue
        fault = _absence(supervisor, catalog)  # looked for among all entries, so not for every upstream
        if fault is not None and _may_show(exposure.policy, upstream_name, name):
            return fault
    return UnknownEntry(text)


def _absence(supervisor: Supervisor, catalog: Catalog) -> HubError | None:
    """Why nothing of an upstream is in the catalog now; None where that is not to change by itself."""
    if supervisor.status.state == "connecting":
        return supervisor.absence()
    if supervisor.offering == Offering() or any(each.upstream_name == supervisor.name for each in catalog.entries):
        return None
    return UpstreamDown(f"{supervisor.name} is connecting: what it offers is not listed yet")


def _may_show(policy: Policy, upstream_name: str, name: str) -> bool:
    """Whether the rules that need no definition leave room for an entry of that name."""
    if not policy.in_force:
        return True
    listed, rules = policy.filtering.server_filter, policy.filtering.tools
    if policy.mode == "server-allowlist" and listed is not None:
        is_allowed = (upstream_name in listed.servers) == (listed.mode == "allowlist")
    else:
        is_allowed = True
    if rules is not None and is_allowed:
        is_allowed = rules.allow is None or Globs(rules.allow).first(name) is not None
        is_allowed = is_allowed and Globs(rules.deny).first(name) is None
    return is_allowed
