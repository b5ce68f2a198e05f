"""What the categorizer process is told by its environment, `HUB_CATEGORIZER_*`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hub_common import settings as environment
from hub_common.shared_state import redis_url_fault

PREFIX = "HUB_CATEGORIZER"

Provider = Literal["gemini", "openai", "anthropic"]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One field per setting. Without a key of the provider no LLM is asked, and the patterns decide alone."""

    address: Annotated[str, Meta(description="Where to listen: `host:port` or `unix:/path`.", min_length=1)] = (
        "0.0.0.0:7002"
    )
    redis_url: Annotated[
        str | None,
        Meta(
            description="Redis for the category cache. Without it, files.",
            extra={"env": ("HUB_REDIS_URL",), "check": redis_url_fault},
        ),
    ] = None
    state_dir: Annotated[
        str | None, Meta(description="Directory of the files. Without it, the XDG state directory's `mcp-hub`.")
    ] = None
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least level that is logged.")
    ] = "info"
    log_style: Annotated[Literal["console", "json"], Meta(description="Lines for people or for machines.")] = "console"
    provider: Annotated[
        Provider, Meta(description="Whose LLM is asked. `openai` and `anthropic` need the extra of that name.")
    ] = "gemini"
    llm_api_key: Annotated[str | None, Meta(description="Key of the provider; turns the LLM on.")] = None
    llm_model: Annotated[
        str | None,
        Meta(
            description="Model that is asked. Without it, `gemini_model`, `gpt-5.4-mini` (openai) or "
            "`claude-haiku-4-5` (anthropic)."
        ),
    ] = None
    llm_base_url: Annotated[
        str | None,
        Meta(description="Another address of the provider; OpenAI's ends in the version, as in `https://host/v1`."),
    ] = None
    gemini_api_key: Annotated[
        str | None,
        Meta(description="The same for Gemini alone; `llm_api_key` wins.", extra={"env": ("GEMINI_API_KEY",)}),
    ] = None
    gemini_model: Annotated[str, Meta(description="Gemini's model, where `llm_model` does not say.", min_length=1)] = (
        "gemini-2.5-flash"
    )
    gemini_base_url: Annotated[str | None, Meta(description="Another address of the Gemini API.")] = None
    openai_api_key: Annotated[
        str | None, Meta(description="The same for OpenAI alone.", extra={"env": ("OPENAI_API_KEY",)})
    ] = None
    anthropic_api_key: Annotated[
        str | None, Meta(description="The same for Anthropic alone.", extra={"env": ("ANTHROPIC_API_KEY",)})
    ] = None
    anthropic_version: Annotated[str | None, Meta(description="`anthropic-version` header. Without it, the SDK's.")] = (
        None
    )
    temperature: Annotated[float, Meta(description="Sampling temperature, for models that take one.", ge=0, le=2)] = 0.0
    llm_timeout_s: Annotated[float, Meta(description="Limit of one attempt, in seconds.", gt=0, le=600)] = 15.0
    llm_retries: Annotated[int, Meta(description="Attempts after a transient failure.", ge=0, le=10)] = 3
    llm_backoff_s: Annotated[float, Meta(description="First pause between attempts, in seconds.", gt=0, le=600)] = 1.0
    llm_max_backoff_s: Annotated[float, Meta(description="Longest such pause, in seconds.", gt=0, le=600)] = 30.0
    llm_deadline_s: Annotated[
        float, Meta(description="Limit of one question with all its attempts, in seconds.", gt=0, le=3600)
    ] = 120.0
    llm_starts_per_s: Annotated[float, Meta(description="Attempts that may start each second.", gt=0, le=1000)] = 10.0
    llm_queue: Annotated[
        int, Meta(description="Questions that may wait; for more there is no room, and they are asked later.", ge=1)
    ] = 1_000
    llm_concurrency: Annotated[int, Meta(description="Questions under way at a time.", ge=1, le=100)] = 5
    llm_batch: Annotated[int, Meta(description="Definitions of one server put into one question.", ge=1, le=100)] = 20
    breaker_threshold: Annotated[
        int, Meta(description="Failures in a row after which the LLM is left alone.", ge=1, le=1000)
    ] = 5
    breaker_open_s: Annotated[float, Meta(description="How long it is left alone, in seconds.", gt=0, le=3600)] = 30.0
    cache_ttl_s: Annotated[float, Meta(description="How long an LLM's answer is kept, in seconds.", gt=0)] = 2_592_000.0

    @property
    def key(self) -> str | None:
        """The key of the provider in force, None where there is none."""
        own = {"gemini": self.gemini_api_key, "openai": self.openai_api_key, "anthropic": self.anthropic_api_key}
        return self.llm_api_key or own[self.provider] or None

    @property
    def model(self) -> str:
        """The model in force."""
        own = {"gemini": self.gemini_model, "openai": "gpt-5.4-mini", "anthropic": "claude-haiku-4-5"}
        return self.llm_model or own[self.provider]

    @property
    def base_url(self) -> str | None:
        """The provider's address, None for its own."""
        return self.llm_base_url or (self.gemini_base_url if self.provider == "gemini" else None)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not appear in the log."""
        held = (self.llm_api_key, self.gemini_api_key, self.openai_api_key, self.anthropic_api_key, self.redis_url)
        return tuple(each for each in held if each)

    def __repr__(self) -> str:
        """Without the keys and the URLs, which may hold a password."""
        return f"Settings(address={self.address!r}, provider={self.provider!r}, model={self.model!r})"


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings.

    Raises:
        hub_common.settings.SettingsError: with every fault, each by the variable's name.
    """
    return environment.load(Settings, PREFIX, environ)
