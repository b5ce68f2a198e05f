"""Process settings of the gateway: what needs a restart to change, from `HUB_GATEWAY_*` variables.

The document that may change while running is `config`'s.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hub_common.shared_state import redis_url_fault
from hub_gateway.backlog import LIMIT_BYTES

PREFIX = "HUB_GATEWAY"


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the gateway process runs."""

    host: Annotated[
        str, Meta(description="Address to listen on. Loopback unless you put something in front of it.")
    ] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="Port for MCP clients and the REST API; 0 picks one.")] = (
        7000
    )
    config: Annotated[
        tuple[str, ...], Meta(description="Config files, merged in this order. The command line's win.")
    ] = ()
    watch: Annotated[bool, Meta(description="Apply a config file when it changes.")] = False
    public_url: Annotated[
        str,
        Meta(
            description="Where clients reach the hub from outside, for links; its host is allowed too.",
            extra={"env": ("MCP_HUB_PUBLIC_URL",)},
        ),
    ] = ""
    allowed_hosts: Annotated[
        tuple[str, ...], Meta(description="Host names accepted besides the loopback ones; `*` accepts any.")
    ] = ()
    allowed_origins: Annotated[
        tuple[str, ...],
        Meta(description="Origins of web pages from elsewhere that may use the MCP endpoint (CORS); `*` is any."),
    ] = ()
    body_limit_bytes: Annotated[int, Meta(ge=1024, description="Largest request body; a larger one gets 413.")] = (
        16 * 1024 * 1024
    )
    backlog_limit_bytes: Annotated[
        int,
        Meta(
            ge=1024 * 1024,
            description="Long messages on their way at one time; more of them wait. Half as much is kept of streams.",
        ),
    ] = LIMIT_BYTES
    session_limit: Annotated[int, Meta(ge=1, description="Client sessions at one time; the next one gets 503.")] = (
        10_000
    )
    session_idle_s: Annotated[
        float, Meta(gt=0, description="Seconds after which a session without a message or an open stream ends.")
    ] = 3_600.0
    drain_s: Annotated[
        float,
        Meta(
            ge=0, description="How long calls under way may go on after SIGTERM or SIGINT; a second signal ends them."
        ),
    ] = 5.0
    page_size: Annotated[
        int, Meta(ge=0, description="Entries per page of a list. 0: one page, since many clients read no second one.")
    ] = 0
    list_ttl_s: Annotated[
        float,
        Meta(
            ge=0,
            description="How long a stateless client may keep a list without asking again, in seconds; one at most "
            "while servers are starting.",
        ),
    ] = 60.0
    filter_target: Annotated[str, Meta(description="Address of the filter service (host:port or unix:/path).")] = (
        "filter:7001"
    )
    categorizer_target: Annotated[
        str, Meta(description="Address of the categorizer service (host:port or unix:/path).")
    ] = "categorizer:7002"
    satellite_timeout_s: Annotated[float, Meta(gt=0, description="How long a satellite may take, in seconds.")] = 2.0
    llm_timeout_s: Annotated[
        float, Meta(gt=0, description="How long the analysis of a prompt by an LLM may take, in seconds.")
    ] = 8.0
    redis_url: Annotated[
        str,
        Meta(
            description="Redis for what replicas share. Without it, files under the state directory.",
            extra={"env": ("HUB_REDIS_URL",), "check": redis_url_fault},
        ),
    ] = ""
    state_dir: Annotated[str, Meta(description="Where files are kept. Without it, `$XDG_STATE_HOME/mcp-hub`.")] = ""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="Least level logged.")] = "info"
    log_style: Annotated[Literal["console", "json"], Meta(description="Lines for people, or JSON for machines.")] = (
        "console"
    )
