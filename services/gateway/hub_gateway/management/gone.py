"""Routes of MCP Hub 4 that are no more, and what does their work now.

In step with `docs/migration.md`, section "What is gone".
"""

from __future__ import annotations

from hub_gateway.errors import CallerError

_CONFIG = (
    "edit the config file and run the hub with --watch; POST /api/filtering/dry-run says beforehand what a policy "
    "would show"
)
_RESTART = (
    "with --watch an edit of the config starts anew what it concerns; POST /api/servers/stop and /api/servers/start "
    "restart one server, and the service manager the hub"
)
_STREAMS = "MCP clients are told with list_changed; /metrics, traces and the log on stderr tell operators"
_MARKETPLACE = "nothing takes its place; a server is added in the config file"

INSTEAD = {
    "/api/config": _CONFIG,
    "/api/restart": _RESTART,
    "/api/hard-restart": _RESTART,
    "/api/events": _STREAMS,
    "/api/logs": _STREAMS,
    "/api/marketplace": _MARKETPLACE,
    "/api/marketplace/details": _MARKETPLACE,
}


class Gone(CallerError):
    """The route was one of MCP Hub 4."""

    http_status = 410
    rest_code = "GONE"

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is gone since MCP Hub 5: {INSTEAD[path]}")
