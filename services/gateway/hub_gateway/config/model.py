"""The config document as typed, immutable values: what a person may write, its defaults and its limits.

The JSON schema, the documentation's tables and the check of a document are all read off these classes, so a key is
described once. Knows neither files nor placeholders: a text may still hold `${...}` here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

CATEGORIES = (
    "filesystem",
    "web",
    "search",
    "database",
    "version-control",
    "docker",
    "cloud",
    "development",
    "communication",
    "other",
)
"""The categories every categorizer knows; `customMappings` and `categoryOverrides` may name more."""

TransportType = Literal["stdio", "streamable-http", "http", "sse"]
FilterMode = Literal["server-allowlist", "category", "hybrid", "prompt-based", "auto"]
Exposure = Literal["zero", "meta-only", "minimal", "all"]
WhenUnavailable = Literal["last-known", "open", "closed"]
Isolation = Literal["shared", "session"]
EraChoice = Literal["auto", "handshake"]
Grant = Literal["authorization_code", "client_credentials"]
TokenAuthMethod = Literal["none", "client_secret_basic", "client_secret_post"]

Text = Annotated[str, Meta(min_length=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Prefix = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]*$", max_length=32)]
Retries = Annotated[int, Meta(ge=0, le=10)]
Temperature = Annotated[float, Meta(ge=0, le=2)]


MAX_CONNECTIONS = 1_000


class ConnectionPool(msgspec.Struct, frozen=True, rename="camel"):
    """How HTTP connections to one remote server are kept. Times are in milliseconds, as they are written."""

    enabled: Annotated[bool, Meta(description="Keep connections open between requests.")] = True
    keep_alive_timeout_ms: Annotated[
        int, Meta(ge=1_000, le=600_000, description="How long an idle connection is kept, in milliseconds.")
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
    url: Annotated[Text | None, Meta(description="Address of a remote server (http or https).")] = None
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
    timeout_s: Annotated[Seconds, Meta(description="How long one request may take, in seconds.")] = field(
        default=300.0, name="timeoutSeconds"
    )
    connect_timeout_s: Annotated[Seconds, Meta(description="How long start and handshake may take, in seconds.")] = (
        field(default=60.0, name="connectTimeoutSeconds")
    )
    max_in_flight: Annotated[int, Meta(ge=1, le=10_000, description="Requests running on the server at one time.")] = 64
    ping_interval_s: Annotated[
        Seconds, Meta(description="How often the link is checked while nothing else shows it alive, in seconds.")
    ] = field(default=30.0, name="pingIntervalSeconds")
    era: Annotated[
        EraChoice,
        Meta(
            description="`auto`: the newest that hub and server share. `handshake`: speak 2025-11-25 or older with a "
            "server that could do newer, for one that asks its client only there."
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
    """What `reason` says, sentence by sentence."""


class ServerFilter(msgspec.Struct, frozen=True, rename="camel"):
    """Allow or deny whole servers."""

    mode: Annotated[
        Literal["allowlist", "denylist"], Meta(description="Whether `servers` are the ones shown or the ones hidden.")
    ]
    servers: Annotated[tuple[Text, ...], Meta(description="Keys of servers.")]


class CategoryFilter(msgspec.Struct, frozen=True, rename="camel"):
    """Allow entries by their category."""

    categories: Annotated[
        tuple[Text, ...],
        Meta(
            description="Categories that are shown: "
            + ", ".join(CATEGORIES)
            + ", or one named in `customMappings` or `categoryOverrides`."
        ),
    ]
    custom_mappings: Annotated[
        dict[str, Text],
        Meta(
            description="Pattern (`*`, `?`) of a public name (`github__*`) or of the server's own name for it, "
            "to the category it gets. First match wins, before every built-in pattern."
        ),
    ] = field(default_factory=dict[str, str])
    category_overrides: Annotated[
        dict[str, Text],
        Meta(
            description="Public name of one entry (`github__search_code`), in full, to the category it gets. Wins over "
            "`customMappings` and the language model."
        ),
    ] = field(default_factory=dict[str, str])


class NameFilter(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Allow or deny single entries by name, in every mode.

    A name is what clients see (`github__search`), or the URI of a resource or template; `SERVER__URI` stands for a
    resource of that server. Globs: `*` any text, `?` one character, `[abc]`, `[a-z]`, `[!abc]`; case counts.
    """

    allow: Annotated[
        tuple[Text, ...] | None,
        Meta(description="Where given, only what one of these matches is shown, of what the mode allows."),
    ] = None
    deny: Annotated[
        tuple[Text, ...], Meta(description="What one of these matches is hidden, whatever else allows it.")
    ] = ()


class AnnotationFilter(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What a tool must say of itself to be shown, in every mode; what is not given here does not matter.

    A tool that does not say counts as the protocol has it: it writes, it destroys, not twice the same, and into the
    open world. One that only reads destroys nothing and may be repeated. Prompts, resources and templates only read.
    Annotations are the server's own word: for a server that is not trusted, use `tools`.
    """

    read_only: Annotated[bool | None, Meta(description="`true`: only tools that change nothing.")] = None
    destructive: Annotated[bool | None, Meta(description="`false`: no tools that may delete or overwrite.")] = None
    idempotent: Annotated[
        bool | None, Meta(description="`true`: only tools that may be called twice with the same effect as once.")
    ] = None
    open_world: Annotated[
        bool | None, Meta(description="`false`: no tools that deal with what is outside, such as the web.")
    ] = None


class PromptBasedFiltering(msgspec.Struct, frozen=True, rename="camel"):
    """What a client sees at first in mode `prompt-based`, and how it comes to see more in it and in mode `auto`."""

    enabled: Annotated[bool | None, Meta(description="Accepted for compatibility; `mode` decides.")] = None
    default_exposure: Annotated[
        Exposure,
        Meta(
            description="Which tools a new session sees: `zero` none, `meta-only` the hub's own, `minimal` also "
            "category filesystem and the servers filesystem and memory, `all` everything."
        ),
    ] = "meta-only"
    enable_meta_tools: Annotated[
        bool,
        Meta(
            description="Offer the hub's own tools: `hub__analyze_prompt`, `hub__search_tools`, `hub__describe_tool` "
            "and `hub__call_tool`."
        ),
    ] = True
    call_variants: Annotated[
        bool,
        Meta(
            description="Offer `hub__call_tool_read`, `hub__call_tool_write` and `hub__call_tool_destructive` instead "
            "of `hub__call_tool`, so that a client can ask before some calls. A tool's annotations say which one "
            "takes it."
        ),
    ] = False
    session_isolation: Annotated[
        bool, Meta(description="Each session opens tools for itself; false: what one opens, all see.")
    ] = True


class Auto(msgspec.Struct, frozen=True, rename="camel"):
    """Which tools a client sees in mode `auto`."""

    token_budget: Annotated[
        int,
        Meta(
            ge=0,
            description="While the definitions of all tools cost a model no more tokens than this (an estimate), every "
            "client sees all of them. Else it sees those below, within the same budget, and finds the others with the "
            "hub's own tools.",
        ),
    ] = 1_000
    pinned: Annotated[
        tuple[Text, ...],
        Meta(description="Globs of public names (`github__*`) of tools that every client sees, whatever they cost."),
    ] = ()
    most_used: Annotated[
        int,
        Meta(
            ge=0,
            le=100,
            description="At most so many of the tools that were called most are seen too, those whose definition costs "
            "less than the searches it spares. They are chosen when servers or their tools change, never by a call.",
        ),
    ] = 8


class LlmCategorization(msgspec.Struct, frozen=True, rename="camel"):
    """The language model that refines categories. `apiKey`, `baseURL` and `model` may hold placeholders."""

    enabled: Annotated[bool, Meta(description="Ask the model about what no pattern fits.")]
    provider: Annotated[
        Literal["gemini", "openai", "anthropic"] | None, Meta(description="Whose model. Required when enabled.")
    ] = None
    api_key: Annotated[
        str | None,
        Meta(description="Key of the provider, best as `${NAME}`. Without it, the categorizer service's own is used."),
    ] = None
    model: Annotated[Text | None, Meta(description="Model name. Without it, the categorizer's default.")] = None
    base_url: Annotated[Text | None, Meta(description="Another address of the provider.")] = field(
        default=None, name="baseURL"
    )
    anthropic_version: Annotated[Text | None, Meta(description="`anthropic-version` header.")] = None
    temperature: Annotated[Temperature | None, Meta(description="Sampling temperature.")] = None
    max_retries: Annotated[
        Retries | None, Meta(description="Another word for `retryCount`, which wins where both are given.")
    ] = None
    retry_count: Annotated[Retries | None, Meta(description="Attempts after a transient failure. Without it, 3.")] = (
        None
    )
    backoff_base_ms: Annotated[
        int, Meta(ge=1, le=600_000, description="First pause between attempts, in milliseconds.")
    ] = field(default=1_000, name="backoffBase")
    max_backoff_ms: Annotated[
        int, Meta(ge=1, le=600_000, description="Longest pause between attempts, in milliseconds.")
    ] = field(default=30_000, name="maxBackoff")
    circuit_breaker_threshold: Annotated[
        int, Meta(ge=1, le=1_000, description="Failures in a row after which the model is left alone for a while.")
    ] = 5
    circuit_breaker_timeout_ms: Annotated[
        int, Meta(ge=1, le=3_600_000, description="How long it is left alone, in milliseconds.")
    ] = field(default=30_000, name="circuitBreakerTimeout")
    cache_ttl_s: Annotated[float, Meta(gt=0, description="How long an answer of the model is kept, in seconds.")] = (
        field(default=86_400.0, name="cacheTTL")
    )

    @property
    def retries(self) -> int:
        """Attempts after the first one."""
        if self.retry_count is not None:
            return self.retry_count
        return 3 if self.max_retries is None else self.max_retries

    def __repr__(self) -> str:
        """Without the key."""
        return f"LlmCategorization(enabled={self.enabled}, provider={self.provider!r}, model={self.model!r})"


class ToolFiltering(msgspec.Struct, frozen=True, rename="camel"):
    """Which entries clients see. Applies to tools, resources, templates and prompts alike."""

    enabled: Annotated[
        bool | None, Meta(description="Filter at all. Not given: off, until `autoEnableThreshold` is passed.")
    ] = None
    mode: Annotated[
        FilterMode | None,
        Meta(
            description="`server-allowlist`: by server. `category`: by category. `hybrid`: by server or by category. "
            "`prompt-based`: each session opens what it needs. `auto`: all tools while they are few, else the most "
            "important ones and a search for the others; on unless `enabled` is `false`."
        ),
    ] = None
    server_filter: Annotated[ServerFilter | None, Meta(description="Rule by server.")] = None
    category_filter: Annotated[CategoryFilter | None, Meta(description="Rule by category.")] = None
    tools: Annotated[
        NameFilter | None,
        Meta(
            description="Rule by name, for every kind of entry. Holds unless `enabled` is `false`, also without `mode`."
        ),
    ] = None
    annotations: Annotated[
        AnnotationFilter | None,
        Meta(description="Rule by annotations. Holds unless `enabled` is `false`, also without `mode`."),
    ] = None
    prompt_based_filtering: Annotated[PromptBasedFiltering, Meta(description="Details of mode `prompt-based`.")] = (
        field(default_factory=PromptBasedFiltering)
    )
    auto: Annotated[Auto, Meta(description="Details of mode `auto`.")] = field(default_factory=Auto)
    llm_categorization: Annotated[
        LlmCategorization | None, Meta(description="The language model that refines categories.")
    ] = None
    auto_enable_threshold: Annotated[
        int,
        Meta(
            ge=0,
            description="With more tools than this, and `enabled` not given, filtering goes on by itself: in the "
            "configured `mode`, else by category. 0: never.",
        ),
    ] = 1_000
    on_filter_unavailable: Annotated[
        WhenUnavailable,
        Meta(
            description="While the filter service is away: `last-known` its last answer (an entry it never saw is "
            "hidden), `open` shows everything, `closed` shows nothing."
        ),
    ] = "last-known"


class ViewEntry(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A view under a URL of its own, `/mcp/v/NAME`: what its clients see, and who may have it."""

    description: Annotated[str, Meta(description="One line about the view, shown to people.")] = ""
    credentials: Annotated[
        tuple[Text, ...] | None,
        Meta(
            description="Bearer tokens, best as `${NAME}`: only who sends one of them has the view, and who sends it "
            "to `/mcp` gets this view too. Without the key, the view needs none."
        ),
    ] = None
    tool_filtering: Annotated[
        ToolFiltering,
        Meta(
            description="As the document's, whose keys stand where none is given here. A `mode` that is given here is "
            "on unless `enabled` says otherwise. Categories are the document's: no `llmCategorization`, "
            "`customMappings` or `categoryOverrides`."
        ),
    ] = field(default_factory=ToolFiltering)

    def __repr__(self) -> str:
        """Without the tokens."""
        return f"ViewEntry({self.description!r})"


class ViewConfig(msgspec.Struct, frozen=True):
    """A valid view: as it was written, with the document's policy where it has none of its own."""

    name: str
    description: str
    credentials: tuple[str, ...] | None
    """With placeholders. None where the view needs none."""
    tool_filtering: ToolFiltering

    def __repr__(self) -> str:
        """Without the tokens."""
        return f"ViewConfig({self.name!r})"


class Place(msgspec.Struct, frozen=True):
    """Where something is written."""

    file: str
    line: int


class Document(msgspec.Struct, frozen=True):
    """All config files merged. Replaced as a whole when a file changes, never edited."""

    servers: dict[str, ServerConfig]
    """Valid servers, disabled ones too, in the order they were first written."""
    invalid: dict[str, InvalidServer]
    tool_filtering: ToolFiltering
    sources: tuple[Path, ...]
    """The files that were there, in the order they were merged."""
    warnings: tuple[str, ...]
    """Sentences a person should read; nothing was rejected for them."""
    views: dict[str, ViewConfig] = field(default_factory=dict[str, ViewConfig])
    """In the order they were written."""
    places: dict[str, Place] = field(default_factory=dict[str, Place])
    """Where the keys of `toolFiltering` and `views` are written, by path."""
