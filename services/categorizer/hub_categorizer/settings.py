"""What the categorizer process is told by its environment, `HUB_CATEGORIZER_*`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hub_common import settings as environment

PREFIX = "HUB_CATEGORIZER"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One field per setting. Without `gemini_api_key` no LLM is asked, and the patterns decide alone."""

    address: Annotated[str, Meta(description="Where to listen: `host:port` or `unix:/path`.", min_length=1)] = (
        "0.0.0.0:7002"
    )
    redis_url: Annotated[
        str | None,
        Meta(description="Redis for the category cache. Without it, files.", extra={"env": ("HUB_REDIS_URL",)}),
    ] = None
    state_dir: Annotated[
        str | None, Meta(description="Directory of the files. Without it, the XDG state directory's `mcp-hub`.")
    ] = None
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least level that is logged.")
    ] = "info"
    log_style: Annotated[Literal["console", "json"], Meta(description="Lines for people or for machines.")] = "console"
    gemini_api_key: Annotated[
        str | None, Meta(description="Key of the Gemini API; turns the LLM on.", extra={"env": ("GEMINI_API_KEY",)})
    ] = None
    gemini_model: Annotated[str, Meta(description="Model that is asked.", min_length=1)] = "gemini-2.5-flash"
    gemini_base_url: Annotated[str | None, Meta(description="Another address of the Gemini API.")] = None
    temperature: Annotated[float, Meta(description="Sampling temperature.", ge=0, le=2)] = 0.0
    llm_timeout_s: Annotated[float, Meta(description="Limit of one attempt, in seconds.", gt=0, le=600)] = 15.0
    llm_retries: Annotated[int, Meta(description="Attempts after a transient failure.", ge=0, le=10)] = 3
    llm_backoff_s: Annotated[float, Meta(description="First pause between attempts, in seconds.", gt=0, le=600)] = 1.0
    llm_max_backoff_s: Annotated[float, Meta(description="Longest such pause, in seconds.", gt=0, le=600)] = 30.0
    llm_concurrency: Annotated[int, Meta(description="Questions under way at a time.", ge=1, le=100)] = 5
    llm_batch: Annotated[int, Meta(description="Definitions put into one question.", ge=1, le=100)] = 20
    breaker_threshold: Annotated[
        int, Meta(description="Failures in a row after which the LLM is left alone.", ge=1, le=1000)
    ] = 5
    breaker_open_s: Annotated[float, Meta(description="How long it is left alone, in seconds.", gt=0, le=3600)] = 30.0
    cache_ttl_s: Annotated[float, Meta(description="How long an LLM's answer is kept, in seconds.", gt=0)] = 2_592_000.0

    def __repr__(self) -> str:
        """Without the key and the URL, which may hold a password."""
        return f"Settings(address={self.address!r}, gemini_model={self.gemini_model!r})"


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings.

    Raises:
        hub_common.settings.SettingsError: with every fault, each by the variable's name.
    """
    return environment.load(Settings, PREFIX, environ)
