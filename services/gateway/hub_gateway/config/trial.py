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
    document_filtering: ToolFiltering
    """The document's own, which gives entries their categories for every view."""
    warnings: tuple[str, ...]


def trial(written: Any, view_name: str, document: Document, below: Any = None) -> Trial:
    """Check a `toolFiltering` for the document's clients, or for those of a view, where it stands on the document's.

    Args:
        written: the policy.
        view_name: whose it is; "" for the document's clients.
        document: the one in force.
        below: another `toolFiltering` of a document for the view's to stand on; None takes the one in force.

    Raises:
        ConfigError: it cannot be used; `faults` lists every reason as "path: sentence".
    """
    findings = Findings()
    known: dict[str, Mapping[str, Any]] = {name: {"prefix": each.prefix} for name, each in document.servers.items()}
    servers = servers_of(known | {name: {} for name in document.invalid})
    if not view_name:
        filtering = of_document = policy_of(written, servers, "toolFiltering", findings)
    else:
        of_document = document.tool_filtering
        if below is None:
            below = msgspec.json.decode(msgspec.json.encode(of_document))
        else:
            of_document = policy_of(below, servers, "toolFiltering", findings)
        filtering = None
        if of_document is not None:
            given = {view_name: {"toolFiltering": written}}
            found = views_of(given, below, servers, of_document.category_filter, findings)
            filtering = found[view_name].tool_filtering if view_name in found else None
    if filtering is None or of_document is None or findings.faults:
        raise ConfigError(findings.faults)
    return Trial(filtering, of_document, tuple(findings.warnings))
