"""One server of the config document: what a person may write under `mcpServers`, its defaults and its limits.

Part of the `model`. A text may still hold `${...}` here.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

TransportType = Literal["stdio", "streamable-http", "http", "sse"]
Isolation = Literal["shared", "session"]
EraChoice = Literal["auto", "handshake", "stateless"]
Grant = Literal["authorization_code", "client_credentials"]
TokenAuthMethod = Literal["none", "client_secret_basic", "client_secret_post"]
Text = Annotated[str, Meta(min_length=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Prefix = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]*$", max_length=32)]
MAX_CONNECTIONS = 1_000

ADDRESSES = ("httpUrl", "serverUrl")
"""What `url` of a server is called by Gemini CLI, and by Windsurf."""


class ConnectionPool(msgspec.Struct, frozen=True, rename="camel"):
    """How HTTP connections to one remote server are kept. Times are in milliseconds, as they are written."""

    enabled: Annotated[bool, Meta(description="Keep connections open between requests.")] = True
    keep_alive_timeout_ms: Annotated[
        int,
        Meta(
            ge=1_000,
            le=600_000,
            description="How long an idle connection is kept, in milliseconds; without TLS no more than 4 seconds "
            "where the server does not say how long it keeps it.",
        ),
    ] = field(default=60_000, name="keepAliveTimeout")
    keep_alive_max_timeout_ms: Annotated[
        int, Meta(ge=1_000, le=3_600_000, description="The most a server may ask for in `Keep-Alive`, in milliseconds.")
    ] = field(default=600_000, name="keepAliveMaxTimeout")
    max_connections: Annotated[
        int,
        Meta(
            ge=1,
            le=MAX_CONNECTIONS,
            description="Connections open at one time. Where it is not written, `maxInFlight` if that is more, so that "
            "no call that has its turn waits again for a connection.",
        ),
    ] = 50
    max_free_connections: Annotated[int, Meta(ge=0, le=100, description="Idle connections kept.")] = 10
    timeout_ms: Annotated[
        int, Meta(ge=1_000, le=300_000, description="How long opening a connection may take, in milliseconds.")
    ] = field(default=30_000, name="timeout")
    pipelining: Annotated[
        int, Meta(ge=0, le=10, description="Accepted for compatibility; requests are never pipelined.")
    ] = 0


class Dev(msgspec.Struct, frozen=True, rename="camel"):
    """Restart a stdio server when its sources change."""

    cwd: Annotated[Text, Meta(description="Absolute path of the folder that is watched.")]
    enabled: Annotated[bool, Meta(description="Watch the folder.")] = True
    watch: Annotated[tuple[str, ...], Meta(description="Patterns of the files that matter, relative to `cwd`.")] = (
        "**/*.js",
        "**/*.ts",
        "**/*.py",
        "**/*.json",
    )


class OAuth(msgspec.Struct, frozen=True, rename="camel"):
    """How the hub gets access to a remote server that wants OAuth. Only what the hub cannot find out by itself.

    `clientId` and `clientSecret` may hold placeholders.
    """

    grant: Annotated[
        Grant,
        Meta(
            description="`authorization_code`: a person logs in. `client_credentials`: the hub has access of its own; "
            "needs `clientId` and `clientSecret`."
        ),
    ] = "authorization_code"
    client_id: Annotated[
        Text | None,
        Meta(description="Client registered at the authorization server by hand. Without it, the hub registers."),
    ] = None
    client_secret: Annotated[Text | None, Meta(description="Secret of that client, best as `${NAME}`.")] = None
    token_endpoint_auth_method: Annotated[
        TokenAuthMethod | None,
        Meta(description="How that client authenticates. Without it, as the authorization server says it can."),
    ] = None
    scopes: Annotated[
        tuple[Text, ...],
        Meta(description="Scopes to ask for from the start. Without them, those that the server names."),
    ] = ()
    issuer: Annotated[
        Text | None,
        Meta(
            description="The only authorization server to trust. Without it, the one that the server names; a "
            "`clientId` then belongs to the first one it was used with."
        ),
    ] = None
    client_metadata_url: Annotated[
        Text | None,
        Meta(
            description="Address (https) of a client metadata document that stands for the hub, where "
            "`MCP_HUB_PUBLIC_URL` is none that authorization servers can reach."
        ),
    ] = None

    def __repr__(self) -> str:
        """Without the secret."""
        return f"OAuth({self.grant})"


class ServerEntry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One server as a person writes it: `command` for a local process, or `url` for a remote one.

    `command`, `args`, `env`, `cwd`, `url` and `headers` may hold placeholders.
    """

    command: Annotated[Text | None, Meta(description="Program that speaks MCP on stdin and stdout.")] = None
    args: Annotated[tuple[str, ...], Meta(description="Arguments of the program.")] = ()
    env: Annotated[
        dict[str, str | None],
        Meta(
            description="Environment of the program; also what `${NAME}` in the other keys sees first. "
            '`null` or `""` takes the hub\'s own variable of that name.'
        ),
    ] = field(default_factory=dict[str, str | None])
    cwd: Annotated[Text | None, Meta(description="Working directory; a relative path starts at the hub's own.")] = None
    url: Annotated[
        Text | None,
        Meta(description="Address of a remote server (http or https); user and password in it are sent as Basic."),
    ] = None
    headers: Annotated[dict[str, str], Meta(description="HTTP headers sent with every request.")] = field(
        default_factory=dict[str, str]
    )
    oauth: Annotated[
        OAuth | None,
        Meta(description="Only with `url`. Details of the access to a server that wants OAuth; most need none."),
    ] = None
    type: Annotated[
        TransportType | None,
        Meta(
            description="Transport. Not needed: `command` means stdio; for `url` Streamable HTTP is tried first, then "
            "HTTP+SSE. `sse` and `streamable-http` (or `http`) force one of the two."
        ),
    ] = None
    disabled: Annotated[bool, Meta(description="Keep the entry but do not start the server.")] = False
    display_name: Annotated[str | None, Meta(description="Name shown to people. Without it, the key of the entry.")] = (
        field(default=None, name="name")
    )
    description: Annotated[str, Meta(description="One line about the server, shown to people.")] = ""
    prefix: Annotated[
        Prefix | None,
        Meta(
            description="What stands before `__` in the names clients see. Without it, the key of the entry; "
            '`""` gives the names no prefix.'
        ),
    ] = None
    timeout_s: Annotated[
        Seconds,
        Meta(
            description="How long one request may take, in seconds. Progress and questions begin that anew, up to "
            "twelve times. The result of a task may be waited for until the task has ended."
        ),
    ] = field(default=300.0, name="timeoutSeconds")
    connect_timeout_s: Annotated[
        Seconds,
        Meta(
            description="How long start and handshake may take, in seconds. A process that took longer, since it was "
            "installed first or the machine is busy, gets twice the time with each attempt, up to five minutes."
        ),
    ] = field(default=60.0, name="connectTimeoutSeconds")
    max_in_flight: Annotated[int, Meta(ge=1, le=10_000, description="Requests running on the server at one time.")] = 64
    ping_interval_s: Annotated[
        Seconds,
        Meta(
            description="How often the link is checked while nothing else shows it alive, in seconds. A list that is "
            "fresh no more (`ttlMs`) is then asked for anew, where the server does not tell of changes."
        ),
    ] = field(default=30.0, name="pingIntervalSeconds")
    era: Annotated[
        EraChoice,
        Meta(
            description="`auto`: each client is served in its own era where the server has both; those with sessions "
            "on a second link. `handshake`: speak 2025-11-25 or older for all clients. `stateless`: speak 2026-07-28 "
            "for all, and have no second link."
        ),
    ] = "auto"
    isolation: Annotated[
        Isolation,
        Meta(description="`shared`: one link for all clients. `session`: each client session has a link of its own."),
    ] = "shared"
    connection_pool: Annotated[
        ConnectionPool,
        Meta(description="Only with `url`. Keys not given here come from the document's `connectionPool`."),
    ] = field(default_factory=ConnectionPool)
    dev: Annotated[Dev | None, Meta(description="Only with `command`. Restart the server when its sources change.")] = (
        None
    )


class ServerConfig(ServerEntry, frozen=True, kw_only=True, rename="camel"):
    """One valid server: its entry with the key it stands under and the file it came from."""

    name: str = field(name="key")
    """The key under `mcpServers`: the upstream's name everywhere in the hub."""
    config_source: str

    @property
    def is_stdio(self) -> bool:
        """Whether the hub starts this server as a process of its own."""
        return self.command is not None

    @property
    def shown_name(self) -> str:
        """The name for people: `name` of the entry, or the key."""
        return self.display_name or self.name

    def __repr__(self) -> str:
        """Without `args`, `env`, `url` and `headers`, which hold secrets."""
        return f"ServerConfig(name={self.name!r}, {'stdio' if self.is_stdio else 'remote'})"


class InvalidServer(msgspec.Struct, frozen=True):
    """A server whose entry cannot be used. `reason` names every fault by its path, and no value."""

    name: str
    reason: str
    config_source: str
    faults: tuple[str, ...] = ()
    """What `reason` says, sentence by sentence, each with its file and line."""
