"""Opens the provider the settings name.

Owns which package each provider needs. Importing one costs its SDK, so it happens in a thread and only where a key is
given.
"""

from __future__ import annotations

import asyncio
import logging
import time

from hub_categorizer.llm import Llm, Patience, Provider
from hub_categorizer.llm_faults import ProviderAbsent
from hub_categorizer.pace import Pace
from hub_categorizer.settings import Settings
from hub_common.breaker import Breaker
from hub_common.logs import add_secret

_EXTRAS = {"gemini": "categorizer", "openai": "openai", "anthropic": "anthropic"}

_log = logging.getLogger(__name__)


async def open_llm(settings: Settings) -> Llm | None:
    """The LLM, asked nothing yet; None where there is no key.

    Raises:
        ProviderAbsent: its package is not installed.
    """
    if not settings.key:
        return None
    for secret in settings.secrets:
        add_secret(secret)
    provider = await asyncio.to_thread(_open, settings, settings.key)
    patience = Patience(
        settings.llm_timeout_s, settings.llm_retries, settings.llm_backoff_s, settings.llm_max_backoff_s
    )
    breaker = Breaker(settings.breaker_threshold, settings.breaker_open_s, time.monotonic)
    _log.info("categories are refined by %s %s", provider.name, provider.model)
    return Llm(provider, patience, breaker, Pace(settings.llm_starts_per_s))


def _open(settings: Settings, key: str) -> Provider:
    try:
        return _opened(settings, key)
    except ImportError as fault:
        extra = _EXTRAS[settings.provider]
        raise ProviderAbsent(
            f"the package of {settings.provider} is not installed ({fault}): pip install 'mcp-hub[{extra}]'"
        ) from None


def _opened(settings: Settings, key: str) -> Provider:
    model, base_url = settings.model, settings.base_url
    match settings.provider:
        case "gemini":
            from hub_categorizer.llm_gemini import open_gemini

            return open_gemini(key, model, base_url, settings.temperature)
        case "openai":
            from hub_categorizer.llm_openai import open_openai

            return open_openai(key, model, base_url, settings.temperature)
        case "anthropic":
            from hub_categorizer.llm_anthropic import open_anthropic

            return open_anthropic(key, model, base_url, settings.anthropic_version)
