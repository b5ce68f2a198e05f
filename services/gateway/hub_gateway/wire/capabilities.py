"""What somebody declares to be able to do beyond the protocol.

Pure. Owns the names of the extensions the hub knows, and where others are declared (2025-11-25 basic/lifecycle
§Capability Negotiation: `experimental`; 2026-07-28 basic §Extension Negotiation: `extensions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

TASKS: Final = "io.modelcontextprotocol/tasks"
APPS: Final = "io.modelcontextprotocol/ui"

_KNOWN: Final = frozenset({TASKS, APPS})


def has_unknown(capabilities: Mapping[str, Any]) -> bool:
    """Whether an extension or an experiment is among them that the hub knows nothing of."""
    declared: set[str] = set()
    for word in ("experimental", "extensions"):
        members = capabilities.get(word)
        if isinstance(members, Mapping):
            declared.update(cast("Mapping[str, Any]", members))
    return not declared <= _KNOWN
