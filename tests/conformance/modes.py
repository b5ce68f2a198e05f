"""Every kind of filtering that the conformance suite is run with; each lets the server behind the hub through whole.

Owns the policies. What each of them means is `docs/configuration.md`'s.
"""

from dataclasses import dataclass
from typing import Any, Final

BY_SERVER: Final = {"mode": "allowlist", "servers": ["everything"]}
NOBODY: Final = {"mode": "denylist", "servers": ["everything"]}
BY_CATEGORY: Final = {"categories": ["suite"], "customMappings": {"*": "suite"}}


@dataclass(frozen=True)
class Mode:
    """One way to filter: what the config document has beside its servers, and what the endpoint's URL ends with."""

    config: dict[str, Any]
    path: str = ""


def _filtering(**policy: Any) -> Mode:
    return Mode({"toolFiltering": {"enabled": True, **policy}})


MODES: Final[dict[str, Mode]] = {
    "off": Mode({"toolFiltering": {"enabled": False}}),
    "server-allowlist": _filtering(mode="server-allowlist", serverFilter=BY_SERVER),
    "category": _filtering(mode="category", categoryFilter=BY_CATEGORY),
    "hybrid": _filtering(
        mode="hybrid",
        serverFilter=NOBODY,
        categoryFilter=BY_CATEGORY,
    ),
    "prompt-based": _filtering(mode="prompt-based", promptBasedFiltering={"defaultExposure": "all"}),
    # The suite calls tools by their own names: all of them have to be listed.
    "auto": _filtering(mode="auto", auto={"tokenBudget": 100_000}),
    "view": Mode(
        {
            "toolFiltering": {"enabled": True, "mode": "server-allowlist", "serverFilter": NOBODY},
            "views": {"suite": {"toolFiltering": {"serverFilter": BY_SERVER}}},
        },
        "/v/suite",
    ),
    "rules": _filtering(tools={"allow": ["*"], "deny": ["*__secret_*"]}),
}
