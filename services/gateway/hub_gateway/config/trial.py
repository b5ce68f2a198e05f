"""A policy that is not in the config, checked as if it stood there. Knows no file; puts nothing in force."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from hub_gateway.config.faults import Findings
from hub_gateway.config.filter_model import ToolFiltering
from hub_gateway.config.filtering import policy_of, servers_of
from hub_gateway.config.model import Document
from hub_gateway.config.views import views_of
from hub_gateway.errors import ConfigError


class Trial(NamedTuple):
    """The policy as it would be in force, and what a person should know of it."""

    filtering: ToolFiltering
    warnings: tuple[str, ...]


def trial(written: Any, view_name: str, document: Document) -> Trial:
    """Check a `toolFiltering` for the document's clients, or for those of a view, where it stands on the document's.

    Raises:
        ConfigError: it cannot be used; `faults` lists every reason as "path: sentence".
    """
    findings = Findings()
    known: dict[str, Mapping[str, Any]] = {name: {"prefix": each.prefix} for name, each in document.servers.items()}
    servers = servers_of(known | {name: {} for name in document.invalid})
    if view_name:
        base: Any = msgspec.json.decode(msgspec.json.encode(document.tool_filtering))
        given = {view_name: {"toolFiltering": written}}
        found = views_of(given, base, servers, document.tool_filtering.category_filter, findings)
        filtering = found[view_name].tool_filtering if view_name in found else None
    else:
        filtering = policy_of(written, servers, "toolFiltering", findings)
    if filtering is None or findings.faults:
        raise ConfigError(findings.faults)
    return Trial(filtering, tuple(findings.warnings))
