"""The `views` of the document: checked, and each put on top of the document's own policy.

A key that nobody reads is refused here and not only warned of: a view exists to hide, and a slip of the pen would show.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from hub_gateway.config.faults import Findings, checked, member
from hub_gateway.config.filter_model import CategoryFilter, ToolFiltering
from hub_gateway.config.filtering import Servers, check, check_mode
from hub_gateway.config.model import ViewConfig, ViewEntry

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_RULES = ("mode", "serverFilter", "categoryFilter", "tools", "annotations")
_OF_THE_DOCUMENT = "only in the document's own toolFiltering: an entry has one category for all views"


def views_of(
    written: Any, filtering: Mapping[str, Any], servers: Servers, mappings: CategoryFilter | None, findings: Findings
) -> dict[str, ViewConfig]:
    """The views by name; faults go to `findings`, under the path `views`.

    Args:
        written: the value of `views`.
        filtering: the document's `toolFiltering` as written, which is valid.
        servers: of the document.
        mappings: what gives categories beside the built-in ones.
        findings: of the file the views stand in.
    """
    if not isinstance(written, Mapping):
        findings.fault("views", "must be an object")
        return {}
    own = Findings(strict=True)
    views: dict[str, ViewConfig] = {}
    for name, value in cast("Mapping[str, Any]", written).items():
        path = member("views", name)
        if not _NAME.fullmatch(name):
            own.fault(path, "a name of a view has letters, digits, - and _, begins with none of the two, at most 64")
        entry = checked(value, ViewEntry, path, own)
        if entry is None:
            continue
        if entry.credentials == ():
            own.fault(f"{path}.credentials", "must not be empty; a view that needs none has no such key")
        given: Mapping[str, Any] = value.get("toolFiltering", {})
        _check_own(entry.tool_filtering, given, f"{path}.toolFiltering", own)
        check(entry.tool_filtering, servers, mappings, f"{path}.toolFiltering", own)
        merged = _merged(given, filtering, f"{path}.toolFiltering", own)
        views[name] = ViewConfig(name, entry.description, entry.credentials, merged)
    findings.faults += own.faults
    findings.warnings += own.warnings
    return views


def _check_own(filtering: ToolFiltering, given: Mapping[str, Any], path: str, own: Findings) -> None:
    if "llmCategorization" in given:
        own.fault(f"{path}.llmCategorization", _OF_THE_DOCUMENT)
    chosen = filtering.category_filter
    if chosen is not None and (chosen.custom_mappings or chosen.category_overrides):
        word = "customMappings" if chosen.custom_mappings else "categoryOverrides"
        own.fault(f"{path}.categoryFilter.{word}", _OF_THE_DOCUMENT)


def _merged(given: Mapping[str, Any], document: Mapping[str, Any], path: str, own: Findings) -> ToolFiltering:
    both = {**document, **given}
    if "enabled" not in given and any(key in given for key in _RULES):
        if document.get("enabled") is False:
            own.fault(path, "the document's `enabled: false` turns these rules off; say here whether they are in force")
        if document.get("enabled") is None and "mode" in given:
            both["enabled"] = True
    merged = checked(both, ToolFiltering, path, Findings()) or ToolFiltering()
    check_mode(merged, path, own)
    return merged
