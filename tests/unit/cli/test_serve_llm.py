"""In one process, what the document says of the LLM is what the categorizer is started with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hub_categorizer.settings import Settings, load
from hub_cli.serve import _with_llm  # pyright: ignore[reportPrivateUsage]
from hub_gateway.config.context import Context
from hub_gateway.config.load import load as load_document

pytestmark = pytest.mark.anyio


async def started_with(settings: Settings, llm: dict[str, Any], directory: Path) -> Settings:
    path = directory / "mcp-servers.json"
    path.write_bytes(msgspec.json.encode({"mcpServers": {}, "toolFiltering": {"llmCategorization": llm}}))
    context = Context.from_environ(os.environ, directory)
    return await _with_llm(settings, load_document([path]).tool_filtering, context)


@pytest.mark.parametrize("provider", ["gemini", "openai", "anthropic"])
async def test_the_documents_provider_is_asked(provider: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "key-of-mine")
    said = {"enabled": True, "provider": provider, "apiKey": "${MY_KEY}", "model": "m", "baseURL": "http://h/v1"}
    made = await started_with(Settings(gemini_api_key="of the environment"), said, tmp_path)
    assert (made.provider, made.key, made.model, made.base_url) == (provider, "key-of-mine", "m", "http://h/v1")


async def test_without_a_key_of_its_own_the_document_takes_the_services(tmp_path: Path) -> None:
    settings = load({"OPENAI_API_KEY": "o", "GEMINI_API_KEY": "g", "HUB_CATEGORIZER_LLM_MODEL": "gemini-3-flash"})
    made = await started_with(settings, {"enabled": True, "provider": "openai"}, tmp_path)
    assert (made.key, made.model) == ("o", "gpt-5.4-mini")


async def test_keys_for_other_programs_turn_nothing_on(tmp_path: Path) -> None:
    settings = load({"GEMINI_API_KEY": "g"})
    assert (await started_with(settings, {"enabled": False, "provider": "gemini"}, tmp_path)).key is None


async def test_a_key_that_is_not_there_leaves_the_patterns(tmp_path: Path) -> None:
    said = {"enabled": True, "provider": "anthropic", "apiKey": "${NO_SUCH_VARIABLE_AT_ALL}"}
    assert (await started_with(Settings(), said, tmp_path)).key is None


async def test_that_no_key_is_given_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    said = {"enabled": True, "provider": "openai"}
    assert (await started_with(Settings(gemini_api_key="another provider's"), said, tmp_path)).key is None
    assert "llmCategorization: no key of openai is given: categories come from patterns alone" in caplog.text
