"""Prompt-based mode: what is shown at first, and how a prompt leads to the tools that fit it, in both eras."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.catalog.entry import Entry, Offering
from hub_gateway.routing.finding import by_words, fused
from hub_gateway.wiring import Gateway
from tests.support.clients import RawClient, raw_session
from tests.support.gateway import heard_before, posted, standing
from tests.support.raw_http import post
from tests.support.small_server import tool
from tests.unit.categorizer.conftest import llm_settings
from tests.unit.categorizer.gemini_stand_in import NEVER, GeminiStandIn, error_reply, gemini_stand_in
from tests.unit.gateway.catalog.offerings import catalog
from tests.unit.gateway.routing.menu import (
    ALL,
    ANALYZE,
    CALL,
    DESCRIBE,
    MENU,
    MINIMAL,
    OWN,
    OWN_STATELESS,
    SEARCH,
    Menu,
    analyzed,
    listed,
    menu,
    names_of,
    searched,
    told,
)

pytestmark = pytest.mark.anyio
WEATHER = "what is the weather forecast for the city of Paris"
MAIL = "send an email message to Ada"
CHANGED = "notifications/tools/list_changed"


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Menu]:
    async with menu(tmp_path_factory.mktemp("menu")) as built:
        yield built


@pytest.fixture
async def shown(house: Menu) -> Menu:
    """The menu in prompt-based mode with the hub's own tools only."""
    await house.prompt_based()
    return house


def _knows(gateway: Gateway, local_name: str) -> bool:
    return any(each.local_name == local_name for each in gateway.current.exposure.catalog.entries)


@pytest.mark.parametrize(
    ("exposure", "tools", "lists_meta"),
    (("zero", set[str](), False), ("meta-only", set[str](), True), ("minimal", MINIMAL, True), ("all", ALL, True)),
)
async def test_what_is_shown_at_first(house: Menu, exposure: str, tools: set[str], lists_meta: bool) -> None:
    await house.prompt_based(exposure)
    async with raw_session(house.house.url) as session:
        assert await listed(session) == tools | (OWN if lists_meta else set[str]())
        assert await listed(session, "prompts/list", "prompts") == {f"{name}__p" for name in MENU}
        assert await listed(session, "resources/list", "resources") == {"inbox"}
    assert await listed(house.stateless) == tools | (OWN_STATELESS if lists_meta else set[str]())
    await house.prompt_based(exposure, details={"enableMetaTools": False})
    assert await listed(house.stateless) == tools


@pytest.mark.parametrize("exposure", ("zero", "meta-only", "minimal", "all"))
async def test_a_prompt_opens_tools_on_the_session_that_asked(house: Menu, exposure: str) -> None:
    await house.prompt_based(exposure)
    async with raw_session(house.house.url) as session, raw_session(house.house.url) as other:
        before = await listed(other)
        async with standing(house.house, session.session_id) as heard, standing(house.house, other.session_id) as quiet:
            analysis = await analyzed(session, WEATHER)
            assert names_of(analysis)[0] == "weather__forecast"
            assert analysis["tools"][0] == "weather__forecast(city?): Tell the weather forecast of a city"
            assert set(names_of(analysis)) | OWN <= await listed(session)
            told = await heard_before(house.house, session.session_id, heard)
            assert told == ([] if exposure == "all" else [CHANGED])
            assert await heard_before(house.house, other.session_id, quiet) == []
        assert await listed(other) == before
        answer = (await session.call("weather__forecast", {"city": "Paris"})).json()
        assert "Paris" in answer["result"]["content"][0]["text"]
        if exposure != "all":
            assert (await other.call("weather__forecast", {})).json()["error"]["code"] == -32602


async def test_another_prompt_adds_and_the_same_one_changes_nothing(shown: Menu) -> None:
    async with raw_session(shown.house.url) as session, standing(shown.house, session.session_id) as heard:
        first = await analyzed(session, "forecast")
        before = await listed(session)
        again = await analyzed(session, "forecast")
        assert again["message"] == "these tools were open already"
        assert await listed(session) == before
        second = await analyzed(session, "recall")
        assert {*names_of(first), *names_of(second)} | OWN == await listed(session)
        assert await heard_before(shown.house, session.session_id, heard) in ([CHANGED], [CHANGED, CHANGED])


async def test_a_client_without_a_standing_stream_hears_of_it_on_the_call_s_own(shown: Menu) -> None:
    async with raw_session(shown.house.url) as session:
        params = {"name": ANALYZE, "arguments": {"prompt": WEATHER}}
        body = session.body("tools/call", params)
        async with posted(shown.house, body, session.headers("tools/call", params)) as stream:
            assert stream.headers["content-type"] == "text/event-stream"
            told, answered = await stream.rest()
        assert told["method"] == CHANGED
        assert "weather__forecast" in answered["result"]["content"][0]["text"]


async def test_a_client_that_takes_no_streams_hears_of_it_later(shown: Menu) -> None:
    async with raw_session(shown.house.url) as session:
        params = {"name": ANALYZE, "arguments": {"prompt": WEATHER}}
        fields = {**session.headers("tools/call", params), "Accept": "application/json"}
        answer = await post(shown.house.url, session.body("tools/call", params), fields)
        assert answer.headers["content-type"] == "application/json"
        async with standing(shown.house, session.session_id) as heard:
            assert (await heard.next())["method"] == CHANGED


async def test_without_isolation_all_sessions_see_what_one_opened(shown: Menu) -> None:
    await shown.prompt_based(details={"sessionIsolation": False})
    async with raw_session(shown.house.url) as session, raw_session(shown.house.url) as other:
        before = await shown.stateless.request("tools/list")
        async with standing(shown.house, other.session_id) as heard:
            names = set(names_of(await analyzed(session, WEATHER)))
            assert (await heard.next())["method"] == CHANGED
        assert await listed(session) == await listed(other) == names | OWN
        async with raw_session(shown.house.url) as late:
            assert await listed(late) == names | OWN
        after = await shown.stateless.request("tools/list")
        assert _result_of(before) == _result_of(after), "a stateless list never varies as a side effect"
        await shown.prompt_based()
        assert await listed(other) == OWN, "isolation takes back what was shared"


def _result_of(answer: Any) -> bytes:
    return answer.body.partition(b'"result":')[2]


async def test_a_stateless_client_s_list_stays_the_same_bytes(shown: Menu) -> None:
    client = RawClient(shown.house.url)
    before = _result_of(await client.request("tools/list"))
    async with raw_session(shown.house.url) as session:
        for prompt in (WEATHER, MAIL, "nothing of the kind"):
            await analyzed(client, prompt)
            await analyzed(session, prompt)
            await client.call(CALL, {"name": "weather__forecast", "arguments": {}})
            assert _result_of(await client.request("tools/list")) == before
    assert _result_of(await RawClient(shown.house.url).request("tools/list")) == before


async def test_a_stateless_client_calls_what_it_was_told_of(shown: Menu) -> None:
    analysis = await analyzed(shown.stateless, MAIL, context="Ada is a friend")
    assert names_of(analysis)[0] == "mail__send_email"
    arguments = {"name": "mail__send_email", "arguments": {"to": "Ada", "n": 1e5}}
    answer = (await shown.stateless.call(CALL, arguments)).json()
    said = json.loads(answer["result"]["content"][0]["text"])
    assert said == {"name": "send_email", "arguments": {"to": "Ada", "n": 1e5}}
    assert answer["result"]["resultType"] == "complete"


async def test_arguments_of_the_inner_call_keep_their_bytes(shown: Menu) -> None:
    arguments = b'{ "n":1E5 ,"big":12345678901234567890,"s":"\\u00e9","":[ ]}'
    await shown.stateless.call_raw(CALL, b'{"name":"mail__list_inbox","arguments":' + arguments + b"}")
    (sent,) = [body for body in shown.servers["mail"].bodies if b"list_inbox" in body and b"tools/call" in body]
    assert b'"name":"list_inbox"' in sent
    assert b'"arguments":' + arguments in sent


async def test_a_session_calls_what_its_client_s_list_does_not_show(shown: Menu) -> None:
    async with raw_session(shown.house.url) as session:
        arguments = {"name": "mail__send_email", "arguments": {"to": "Ada"}}
        answer = (await session.call(CALL, arguments)).json()
        assert json.loads(answer["result"]["content"][0]["text"])["name"] == "send_email"
        assert await listed(session) == OWN, "a call opens nothing"


async def test_a_search_names_the_best_first_and_opens_nothing(shown: Menu) -> None:
    assert (await searched(shown.stateless, WEATHER))[0] == "weather__forecast"
    async with raw_session(shown.house.url) as session:
        assert (await searched(session, MAIL, limit=1)) == ["mail__send_email"]
        assert set(await searched(session, "recall a file or an email", server="Mail")) <= {
            "mail__send_email",
            "mail__list_inbox",
        }
        assert await listed(session) == OWN


async def test_a_search_in_a_category(shown: Menu) -> None:
    await shown.house.settled()
    category = shown.house.gateway.current.exposure.category
    files = {each.public_name for each in shown.tools if category(each).name == "filesystem"}
    assert files
    assert set(await searched(shown.stateless, "read a file, send an email", category="filesystem")) <= files


async def test_a_search_where_nothing_is_says_where_to_look(shown: Menu) -> None:
    asked = {"query": "x", "server": "post", "category": "nonsense"}
    body = json.loads(await told(shown.stateless, SEARCH, asked, is_error=True))
    assert body["servers"] == sorted(MENU)
    assert "other" in body["categories"] or body["categories"]
    assert "'post'" in body["error"]


async def test_definitions_are_shown_whole(shown: Menu) -> None:
    text = await told(shown.stateless, DESCRIBE, {"names": ["weather__forecast", "nobody__knows", "weather__forecast"]})
    definition, unknown = text.splitlines()
    assert json.loads(definition) == {**MENU["weather"][0], "name": "weather__forecast"}
    assert unknown == "Unknown tool: nobody__knows"
    assert (
        json.loads(await told(shown.stateless, DESCRIBE, {"names": "mail__list_inbox"}))["name"] == "mail__list_inbox"
    )
    await told(shown.stateless, DESCRIBE, {"names": ["nobody__knows"]}, is_error=True)


async def test_replacing_closes_what_was_open(shown: Menu) -> None:
    async with raw_session(shown.house.url) as session, standing(shown.house, session.session_id) as heard:
        first = set(names_of(await analyzed(session, "forecast")))
        assert await listed(session) == first | OWN
        second = set(names_of(await analyzed(session, "recall", replace=True)))
        assert await listed(session) == second | OWN
        assert first - second
        assert await heard_before(shown.house, session.session_id, heard) == [CHANGED, CHANGED]


async def test_a_reset_closes_everything(shown: Menu) -> None:
    async with raw_session(shown.house.url) as session, standing(shown.house, session.session_id) as heard:
        await analyzed(session, "forecast")
        assert (await analyzed(session, "", reset=True))["tools"] == []
        assert await listed(session) == OWN
        assert await heard_before(shown.house, session.session_id, heard) == [CHANGED, CHANGED]
        third = set(names_of(await analyzed(session, "recall", reset=True)))
        assert await listed(session) == third | OWN


async def test_auto_shows_everything_while_it_is_little(house: Menu) -> None:
    await house.house.filtering(mode="auto", auto={"tokenBudget": 100_000})
    assert await listed(house.stateless) == ALL
    async with raw_session(house.house.url) as session:
        assert await listed(session) == ALL
    assert (await searched(house.stateless, WEATHER))[0] == "weather__forecast", "an older list may still name it"


async def test_auto_shows_what_is_pinned_and_a_search_while_it_is_much(house: Menu) -> None:
    await house.house.filtering(mode="auto", auto={"tokenBudget": 100, "pinned": ["memory__*"]})
    before = _result_of(await house.stateless.request("tools/list"))
    assert await listed(house.stateless) == {"memory__recall"} | OWN_STATELESS - {ANALYZE}
    assert names_of(await analyzed(house.stateless, WEATHER))[0] == "weather__forecast", "called it can be"
    async with raw_session(house.house.url) as session, standing(house.house, session.session_id) as heard:
        assert await listed(session) == {"memory__recall"} | OWN
        assert (await session.call("mail__list_inbox", {})).json()["error"]["code"] == -32602
        opened = set(names_of(await analyzed(session, MAIL)))
        assert await listed(session) == {"memory__recall"} | opened | OWN
        assert await heard_before(house.house, session.session_id, heard) == [CHANGED]
    for _ in range(3):
        await house.stateless.call("memory__recall", {"person": "Ada"})
        await house.stateless.call(CALL, {"name": "mail__list_inbox"})
    await house.house.settled()
    assert _result_of(await house.stateless.request("tools/list")) == before


async def test_auto_shows_what_was_used_most_when_the_tools_change(house: Menu) -> None:
    await house.house.filtering(mode="auto", auto={"tokenBudget": 100, "mostUsed": 1})
    before = await listed(house.stateless)
    for _ in range(20):
        await house.stateless.call(CALL, {"name": "mail__list_inbox"})
    await house.house.gateway.calls.usage.flush()
    await house.house.settled()
    assert await listed(house.stateless) == before
    house.servers["mail"].change("tools", [*MENU["mail"], tool("fresh")])
    try:
        await house.house.published(lambda gateway: _knows(gateway, "fresh"), "the new tool is known")
        assert await listed(house.stateless) == OWN_STATELESS - {ANALYZE} | {"mail__list_inbox"}
    finally:
        house.servers["mail"].change("tools", list(MENU["mail"]))
        await house.house.published(lambda gateway: not _knows(gateway, "fresh"), "the new tool is gone")
    assert await listed(house.stateless) == before, "the same catalog has the same list"


async def test_what_the_policy_hides_is_neither_found_nor_called(shown: Menu) -> None:
    await shown.house.gateway.fleet.stop("mail")
    await shown.house.settled()
    try:
        assert not [name for name in names_of(await analyzed(shown.stateless, MAIL)) if name.startswith("mail")]
        answer = (await shown.stateless.call(CALL, {"name": "mail__send_email"})).json()
        assert answer["error"]["code"] == -32602
    finally:
        await shown.house.gateway.fleet.start("mail")
        await shown.house.ready("mail")


async def test_what_is_for_apps_alone_is_listed_and_called_and_no_model_is_told_of_it(house: Menu) -> None:
    panel = {**tool("send_email_panel", "Send an email message to somebody"), "_meta": {"ui": {"visibility": ["app"]}}}
    both = {**tool("send_email_both", "Send an email message"), "_meta": {"ui": {"visibility": ["model", "app"]}}}
    house.servers["mail"].change("tools", [*MENU["mail"], panel, both])
    try:
        await house.house.published(lambda gateway: _knows(gateway, "send_email_panel"), "the new tools")
        await house.prompt_based("all")
        listed_tools = (await house.stateless.request("tools/list")).json()["result"]["tools"]
        assert {**panel, "name": "mail__send_email_panel"} in listed_tools
        for exposure in ("all", "meta-only"):
            await house.prompt_based(exposure)
            async with raw_session(house.house.url) as session:
                for client in (house.stateless, session):
                    found = await searched(client, MAIL, server="mail", limit=50)
                    assert {"mail__send_email", "mail__send_email_both"} <= set(found)
                    analysis = await analyzed(client, MAIL)
                    assert "mail__send_email_panel" not in json.dumps([found, analysis])
                    text = await told(client, DESCRIBE, {"names": ["mail__send_email_panel"]}, is_error=True)
                    assert text == "Unknown tool: mail__send_email_panel"
                    refused = (await client.call(CALL, {"name": "mail__send_email_panel"})).json()["error"]
                    assert (refused["code"], "for the apps of its server" in refused["message"]) == (-32602, True)
                    hint = (await client.call(CALL, {"name": "post__send_email_panel"})).json()["error"]["message"]
                    assert hint == "Unknown tool: post__send_email_panel"
                    answer = (await client.call("mail__send_email_panel", {})).json()["result"]
                    assert json.loads(answer["content"][0]["text"])["name"] == "send_email_panel"
    finally:
        house.servers["mail"].change("tools", list(MENU["mail"]))
        await house.house.published(lambda gateway: not _knows(gateway, "send_email_panel"), "they are gone")


@pytest.mark.parametrize("prompt", ("", "   \n"))
async def test_an_empty_prompt_is_a_failure_of_the_tool(shown: Menu, prompt: str) -> None:
    assert "prompt" in json.loads(await told(shown.stateless, ANALYZE, {"prompt": prompt}, is_error=True))["error"]
    assert "query" in json.loads(await told(shown.stateless, SEARCH, {"query": prompt}, is_error=True))["error"]


@pytest.mark.parametrize(
    ("name", "arguments"),
    (
        (ANALYZE, {"prompt": 5}),
        (ANALYZE, {"prompt": "x", "context": []}),
        (CALL, {}),
        (CALL, {"name": None}),
        (SEARCH, {"query": ["x"]}),
        (SEARCH, {"query": "x", "limit": -1}),
        (SEARCH, {"query": "x", "limit": 51}),
        (DESCRIBE, {}),
        (DESCRIBE, {"names": []}),
        (DESCRIBE, {"names": ["x"] * 11}),
    ),
)
async def test_arguments_that_do_not_fit_are_told_as_the_tool_s_error(
    shown: Menu, name: str, arguments: dict[str, Any]
) -> None:
    async with raw_session(shown.house.url) as session:
        for client in (shown.stateless, session):
            text = await told(client, name, arguments, is_error=True)
            assert text.startswith(f"Invalid arguments of {name}: ")


@pytest.mark.parametrize("arguments", ({"name": "nobody__knows"}, {"name": CALL, "arguments": {}}))
async def test_a_tool_that_is_not_there_is_not_called(shown: Menu, arguments: dict[str, Any]) -> None:
    assert (await shown.stateless.call(CALL, arguments)).json()["error"]["code"] == -32602


@pytest.mark.parametrize("policy", ({}, {"enabled": True, "mode": "server-allowlist"}))
async def test_in_other_modes_the_hub_has_no_tools(house: Menu, policy: dict[str, Any]) -> None:
    await house.house.filtering(**policy)
    assert await listed(house.stateless) == ALL
    for name in OWN_STATELESS:
        assert (await house.stateless.call(name, {"prompt": "x"})).json()["error"]["code"] == -32602
    await house.prompt_based(details={"enableMetaTools": False})
    assert (await house.stateless.call(ANALYZE, {"prompt": "x"})).json()["error"]["code"] == -32602


async def test_a_prompt_that_fits_nothing_says_so(house: Menu) -> None:
    await house.prompt_based()
    await house.house.stop_filter()
    try:
        analysis = await analyzed(house.stateless, "zzz qqq")
        assert (analysis["tools"], analysis["message"], analysis["confidence"]) == ([], "no tool fits", 0.0)
    finally:
        await house.house.start_filter()
        await house.house.published(lambda gateway: gateway.filter.reason is None, "the filter answers again")


async def test_while_the_filter_is_away_words_decide(house: Menu) -> None:
    await house.prompt_based(onFilterUnavailable="open")
    await house.house.stop_filter()
    try:
        analysis = await analyzed(house.stateless, WEATHER)
        assert names_of(analysis)[0] == "weather__forecast"
        assert "the filter is away" in analysis["reasoning"]
        assert "the filter is away" in await told(house.stateless, SEARCH, {"query": WEATHER})
        async with raw_session(house.house.url) as session:
            opened = set(names_of(await analyzed(session, "email inbox")))
            assert "mail__list_inbox" in opened
            assert await listed(session) == opened | OWN
    finally:
        await house.house.start_filter()
        await house.house.published(lambda gateway: gateway.filter.reason is None, "the filter answers again")
    assert "away" not in (await analyzed(house.stateless, WEATHER))["reasoning"]


@given(st.text(max_size=40), st.lists(st.sampled_from(sorted(ALL)), unique=True))
def test_words_rank_only_what_shares_one(prompt: str, names: list[str]) -> None:
    entries = [entry for entry in _entries() if entry.public_name in names]
    ranked = by_words(prompt, entries)
    scores = [score for _, score in ranked]
    assert scores == sorted(scores, reverse=True)
    assert all(score > 0 for score in scores)
    assert {entry.public_name for entry, _ in ranked} <= set(names)


def _entries() -> tuple[Entry, ...]:
    offered = {name: Offering(tools=tuple(map(msgspec.json.encode, tools))) for name, tools in MENU.items()}
    return catalog(offered).entries


@pytest.fixture
def gemini(monkeypatch: pytest.MonkeyPatch) -> Iterator[GeminiStandIn]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with gemini_stand_in() as stand_in:
        yield stand_in


LLM = {"enabled": True, "provider": "gemini"}


async def test_an_llm_narrows_the_shortlist(gemini: GeminiStandIn, tmp_path: Path) -> None:
    def answer(data: dict[str, Any]) -> Any:
        if "items" in data:
            return {"items": [{"index": item["index"], "category": "web", "confidence": 1} for item in data["items"]]}
        (recall,) = [tool["index"] for tool in data["tools"] if tool["name"] == "memory__recall"]
        return {"categories": ["search"], "tools": [recall], "confidence": 0.75, "reasoning": "a person is meant"}

    gemini.answer = answer
    async with menu(tmp_path, categorizing=llm_settings(gemini)) as house:
        await house.prompt_based(llmCategorization=LLM)
        prompt = "recall what was remembered about a person, read a file, send an email"
        async with raw_session(house.house.url) as session:
            analysis = await analyzed(session, prompt)
            assert names_of(analysis) == ["memory__recall"]
            assert (analysis["confidence"], analysis["reasoning"]) == (0.75, "a person is meant")
            assert "search" in analysis["categories"]
            assert await listed(session) == {"memory__recall"} | OWN
        gemini.answer = lambda _data: {"nonsense": True}
        assert len(names_of(await analyzed(house.stateless, f"{prompt} now"))) > 1, "garbage leaves the shortlist"
        gemini.replies += [error_reply(403, "PERMISSION_DENIED", "no")] * 8
        assert len(names_of(await analyzed(house.stateless, f"{prompt} soon"))) > 1, "a refusal too"
        await house.house.stop_categorizer()
        assert len(names_of(await analyzed(house.stateless, f"{prompt} later"))) > 1, "and its absence"


async def test_a_category_that_the_llm_names_opens_no_tool_that_does_not_fit(
    gemini: GeminiStandIn, tmp_path: Path
) -> None:
    def answer(data: dict[str, Any]) -> Any:
        if "items" in data:
            return {"items": [{"index": item["index"], "category": "web", "confidence": 1} for item in data["items"]]}
        return {"categories": ["web"], "tools": [0], "confidence": 0.75, "reasoning": "the web, then"}

    gemini.answer = answer
    async with menu(tmp_path, categorizing=llm_settings(gemini)) as house:
        await house.prompt_based(llmCategorization=LLM)
        await house.house.published(
            lambda gateway: {each.name for each in gateway.current.exposure.categories.values()} == {"web"}, "refined"
        )
        async with raw_session(house.house.url) as session:
            analysis = await analyzed(session, "recall what was remembered about a person")
            assert analysis["categories"] == ["web"]
            assert await listed(session) == set(names_of(analysis)) | OWN
            assert len(names_of(analysis)) == 1


async def test_an_llm_that_is_slow_leaves_the_local_ranking(gemini: GeminiStandIn, tmp_path: Path) -> None:
    gemini.replies = [NEVER] * 99
    async with menu(tmp_path, categorizing=llm_settings(gemini), llm_timeout_s=1.0) as house:
        await house.prompt_based()
        local = await analyzed(house.stateless, "read a file from the disk")
        await house.prompt_based(llmCategorization=LLM)
        with anyio.fail_after(20):
            assert await analyzed(house.stateless, "read a file from the disk") == local
        assert [request for request in gemini.requests if "prompt" in gemini.data_of(request)], "it was asked"


async def test_words_that_only_the_llm_knew_find_a_tool(gemini: GeminiStandIn, tmp_path: Path) -> None:
    """The keywords an entry is given when it is refined; the prompt itself is asked of nobody."""
    prompt = "zugzwang quibble"

    def answer(data: dict[str, Any]) -> Any:
        items = [
            {
                "index": item["index"],
                "category": "other",
                "confidence": 1,
                "use_when": ["resolve a zugzwang quibble"] if item["name"] == "recall" else [],
            }
            for item in data["items"]
        ]
        return {"items": items}

    gemini.answer = answer
    async with menu(tmp_path) as house:
        await house.prompt_based()
        assert "memory__recall" not in names_of(await analyzed(house.stateless, prompt))[:1]
    (tmp_path / "refined").mkdir()
    async with menu(tmp_path / "refined", categorizing=llm_settings(gemini)) as house:
        await house.prompt_based()
        await house.house.published(
            lambda gateway: any(each.keywords for each in gateway.current.exposure.categories.values()), "keywords"
        )
        assert names_of(await analyzed(house.stateless, prompt))[0] == "memory__recall"
        asked = [gemini.data_of(request) for request in gemini.requests]
        assert all("prompt" not in data for data in asked), "found locally"


async def test_what_the_llm_makes_of_a_prompt_is_ranked_too(gemini: GeminiStandIn, tmp_path: Path) -> None:
    def answer(data: dict[str, Any]) -> Any:
        if "items" in data:
            return {"items": []}
        offered = {tool["name"]: tool["index"] for tool in data["tools"]}
        chosen = [offered["memory__recall"]] if "memory__recall" in offered else []
        requests = ["Forecast the weather of a city", "Send an email to somebody"]
        return {"categories": [], "tools": chosen, "confidence": 0.5, "reasoning": "two things", "requests": requests}

    gemini.answer = answer
    async with menu(tmp_path, categorizing=llm_settings(gemini)) as house:
        await house.prompt_based(llmCategorization=LLM)
        for _ in range(2):
            analysis = await analyzed(house.stateless, "recall what was said")
            names = names_of(analysis)
            assert names[0] == "memory__recall"
            assert {"weather__forecast", "mail__send_email"} <= set(names[:4])
        asked = [request for request in gemini.requests if "prompt" in gemini.data_of(request)]
        assert len(asked) == 1, "the same prompt is asked once"
        await house.house.stop_filter()
        try:
            assert "weather__forecast" in names_of(await analyzed(house.stateless, "recall what was said"))
        finally:
            await house.house.start_filter()
            await house.house.published(lambda gateway: gateway.filter.reason is None, "the filter answers again")


def test_rankings_are_fused_by_their_places() -> None:
    first, second, third, *_ = _entries()
    assert fused([]) == []
    assert fused([[first, second], [second, third], [second]]) == [second, first, third]
    assert fused([[first, second], [second, first]]) == [first, second]
