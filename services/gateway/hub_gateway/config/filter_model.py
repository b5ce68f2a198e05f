"""The policy of the config document: what a person may write under `toolFiltering`, its defaults and its limits.

Part of the `model`. What a policy means is `exposure.policy`'s and the filter's.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, field

from hub_gateway.config.server_model import Text

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
FilterMode = Literal["server-allowlist", "category", "hybrid", "prompt-based", "auto"]
Exposure = Literal["zero", "meta-only", "minimal", "all"]
WhenUnavailable = Literal["last-known", "open", "closed"]
Retries = Annotated[int, Meta(ge=0, le=10)]
Temperature = Annotated[float, Meta(ge=0, le=2)]


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
    def texts(self) -> dict[str, str]:
        """Those of the texts that may hold placeholders that are given, by key of the document."""
        given = {"apiKey": self.api_key, "model": self.model, "baseURL": self.base_url}
        return {key: text for key, text in given.items() if text}

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
            "hidden, unless the policy hides nothing: mode `prompt-based` or `auto` without other rules), `open` shows "
            "everything, `closed` shows nothing."
        ),
    ] = "last-known"
