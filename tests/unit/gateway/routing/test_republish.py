"""What changed is published once, told to those who see a difference and to nobody else, whoever is away."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hub_gateway.catalog.entry import EntryKind
from hub_gateway.config.model import Document
from hub_gateway.routing import republish
from tests.support.clients import RawClient, raw_session
from tests.support.gateway import House, Stream, heard_before, posted, standing
from tests.support.small_server import tool
from tests.unit.categorizer.conftest import llm_settings
from tests.unit.categorizer.gemini_stand_in import NEVER, GeminiStandIn, all_as, error_reply, gemini_stand_in
from tests.unit.gateway.routing.menu import ALL, ANALYZE, MENU, OWN, SEARCH, Menu, analyzed, listed, menu, told

pytestmark = pytest.mark.anyio
TOOLS, PROMPTS, RESOURCES = (f"notifications/{word}/list_changed" for word in ("tools", "prompts", "resources"))
DENY_MAIL: dict[str, Any] = {
    "enabled": True,
    "mode": "server-allowlist",
    "serverFilter": {"mode": "denylist", "servers": ["mail"]},
}
MAIL = {name for name in ALL if name.startswith("mail__")}


@pytest.fixture(scope="module")
async def built(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Menu]:
    async with menu(tmp_path_factory.mktemp("menu")) as made:
        yield made


@pytest.fixture
async def house(built: Menu) -> Menu:
    """The menu with nothing filtered and every list as it was."""
    for name, server in built.servers.items():
        server.lists["tools"] = list(MENU[name])
        server.lists["prompts"] = [{"name": "p"}]
        await built.house.gateway.fleet.refresh(name)
    await built.house.filtering()
    return built


class Listener:
    """A session and its standing stream."""

    def __init__(self, house: House, client: RawClient, stream: Stream) -> None:
        self._house = house
        self.client = client
        self.stream = stream

    async def told(self) -> list[str]:
        """What it was told of until now."""
        return await heard_before(self._house, self.client.session_id, self.stream)


@asynccontextmanager
async def listening(house: Menu, count: int = 1) -> AsyncGenerator[list[Listener]]:
    """Sessions that hear what they are told."""
    async with AsyncExitStack() as stack:
        listeners: list[Listener] = []
        for _ in range(count):
            client = await stack.enter_async_context(raw_session(house.house.url))
            stream = await stack.enter_async_context(standing(house.house, client.session_id))
            listeners.append(Listener(house.house, client, stream))
        yield listeners


async def test_a_change_of_one_list_is_told_once_and_listed(house: Menu) -> None:
    async with listening(house) as (one,):
        house.servers["weather"].change("tools", [*MENU["weather"], tool("now")])
        assert (await one.stream.next())["method"] == TOOLS
        assert await listed(one.client) == ALL | {"weather__now"}
        house.servers["weather"].change("prompts", [])
        assert (await one.stream.next())["method"] == PROMPTS
        assert await one.told() == []


async def test_changes_that_come_together_are_told_together(house: Menu) -> None:
    async with listening(house) as (one,):
        for name in ("weather", "mail", "memory"):
            house.servers[name].lists["tools"] = [tool("only")]
        for name in ("weather", "mail", "memory"):
            await house.house.gateway.fleet.refresh(name)
        await house.house.settled()
        assert 1 <= len(await one.told()) <= 3
        assert {"weather__only", "mail__only", "memory__only"} <= await listed(one.client)


async def test_what_an_upstream_says_is_passed_on_though_the_list_came_out_the_same(house: Menu) -> None:
    async with listening(house) as (one,):
        house.servers["mail"].tell(RESOURCES)
        assert (await one.stream.next())["method"] == RESOURCES
        await house.house.filtering(**DENY_MAIL)
        await one.told()
        house.servers["mail"].tell(RESOURCES)
        await house.servers["mail"].saw(lambda message: len(house.servers["mail"].seen) > 0)
        await house.house.gateway.fleet.refresh("mail")
        await house.house.settled()
        assert await one.told() == [], "nobody sees anything of it"


async def test_an_upstream_that_stops_and_starts_takes_its_lists_along(house: Menu) -> None:
    async with listening(house) as (one,):
        await house.house.gateway.fleet.stop("mail")
        await house.house.settled()
        assert set(await one.told()) == {TOOLS, PROMPTS, RESOURCES}
        assert await listed(one.client) == ALL - MAIL
        await house.house.gateway.fleet.start("mail")
        await house.house.ready("mail")
        assert set(await one.told()) == {TOOLS, PROMPTS, RESOURCES}
        assert await listed(one.client) == ALL


async def test_another_policy_is_in_force_at_once_and_told(house: Menu) -> None:
    async with listening(house) as (one,):
        await house.house.filtering(**DENY_MAIL)
        assert set(await one.told()) == {TOOLS, PROMPTS, RESOURCES}
        assert await listed(one.client) == ALL - MAIL
        await house.house.filtering(**DENY_MAIL)
        assert await one.told() == []
        await house.house.filtering()
        assert set(await one.told()) == {TOOLS, PROMPTS, RESOURCES}


async def test_only_sessions_whose_list_changed_are_told(house: Menu) -> None:
    await house.prompt_based()
    async with listening(house, 3) as (opener, other, nobody):
        await analyzed(opener.client, "forecast")
        await analyzed(other.client, "recall")
        assert [await each.told() for each in (opener, other, nobody)] == [[TOOLS], [TOOLS], []]
        forecast = {**MENU["weather"][0], "description": "The forecast, in other words"}
        house.servers["weather"].lists["tools"] = [forecast]
        await house.house.gateway.fleet.refresh("weather")
        await house.house.settled()
        assert [await each.told() for each in (opener, other, nobody)] == [[TOOLS], [], []]


async def test_a_stateless_listener_is_told_of_what_it_asked_for(house: Menu) -> None:
    client = house.stateless
    params = {"notifications": {"toolsListChanged": True}}
    body = client.body("subscriptions/listen", params, "my-id")
    async with posted(house.house, body, client.headers("subscriptions/listen", params)) as stream:
        acknowledged = await stream.next()
        assert acknowledged["method"] == "notifications/subscriptions/acknowledged"
        house.servers["weather"].change("prompts", [])
        house.servers["weather"].change("tools", [tool("now")])
        told = await stream.next()
        assert told["method"] == TOOLS
        assert told["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": "my-id"}


async def test_leaving_prompt_based_mode_is_told_to_whoever_sees_a_difference(house: Menu) -> None:
    await house.prompt_based("zero")
    async with listening(house, 2) as (opener, other):
        await analyzed(opener.client, "forecast")
        await opener.told()
        nothing = {"mode": "allowlist", "servers": ["nobody"]}
        await house.house.filtering(enabled=True, mode="server-allowlist", serverFilter=nothing)
        assert TOOLS in await opener.told()
        assert TOOLS not in await other.told(), "it saw no tool before and sees none now"
        await house.prompt_based("all")
        assert await listed(opener.client) == await listed(other.client) == ALL | OWN
        await house.prompt_based()
        assert {"weather__forecast", ANALYZE} <= await listed(opener.client), "what it asked for is not taken back"
        assert await listed(other.client) == OWN


@pytest.mark.parametrize("choice", ("open", "closed", "last-known"))
async def test_the_filter_s_absence_has_a_written_answer_and_an_end(house: Menu, choice: str) -> None:
    policy = {**DENY_MAIL, "onFilterUnavailable": choice}
    await house.house.filtering(**policy)
    before = await listed(house.stateless)
    await house.house.stop_filter()
    try:
        house.servers["weather"].lists["tools"] = [*MENU["weather"], tool("unseen")]
        await house.house.gateway.fleet.refresh("weather")
        await house.house.settled()
        away = {"open": ALL | {"weather__unseen"}, "closed": set[str](), "last-known": before}[choice]
        assert await listed(house.stateless) == away
    finally:
        await house.house.start_filter()
    async with listening(house) as (one,):
        stale = house.house.gateway.current
        await house.house.published(lambda _: not stale.exposure.verdicts.stale, "the filter decides again")
        assert await listed(house.stateless) == before | {"weather__unseen"}
        assert TOOLS in await one.told()


async def test_another_policy_while_the_filter_is_away_hides_all(house: Menu) -> None:
    await house.house.filtering(**DENY_MAIL)
    await house.house.stop_filter()
    try:
        other = {**DENY_MAIL, "serverFilter": {"mode": "denylist", "servers": ["weather"]}}
        await house.house.filtering(**other)
        assert await listed(house.stateless) == set(), "nobody can say what the new policy allows"
        await house.house.filtering()
        assert await listed(house.stateless) == ALL, "and nobody needs to be asked where there is none"
    finally:
        await house.house.start_filter()
    await house.house.filtering(**DENY_MAIL)
    await house.house.published(lambda gateway: not gateway.current.exposure.verdicts.stale, "the filter decides again")


@pytest.mark.parametrize("mode", ("prompt-based", "auto"))
async def test_a_policy_that_hides_nothing_needs_no_filter(house: Menu, mode: str) -> None:
    policy = {"enabled": True, "mode": mode, "auto": {"tokenBudget": 0}}
    await house.house.filtering(**DENY_MAIL)
    await house.house.stop_filter()
    try:
        await house.house.filtering(**policy)
        found = await told(house.stateless, SEARCH, {"query": "send an email"})
        assert "mail__send_email(" in found
        await house.house.filtering(**policy, tools={"deny": ["x"]})
        refused = json.loads(await told(house.stateless, SEARCH, {"query": "send an email"}, is_error=True))
        assert refused["error"] == "there are no tools"
        assert "moment" in refused["message"]
        await house.house.filtering(**policy, onFilterUnavailable="closed")
        await told(house.stateless, SEARCH, {"query": "send an email"}, is_error=True)
    finally:
        await house.house.start_filter()
    await house.house.filtering(**DENY_MAIL)
    await house.house.published(lambda gateway: not gateway.current.exposure.verdicts.stale, "the filter decides again")


CATEGORIES: dict[str, Any] = {"enabled": True, "mode": "category"}


async def test_other_mappings_are_asked_for_again(house: Menu) -> None:
    mine = {"categories": ["mine"], "customMappings": {"mail__*": "mine"}}
    await house.house.filtering(**CATEGORIES, categoryFilter=mine)
    assert await listed(house.stateless) == MAIL
    theirs = {"categories": ["mine"], "customMappings": {"weather__*": "mine"}}
    await house.house.filtering(**CATEGORIES, categoryFilter=theirs)
    assert await listed(house.stateless) == {"weather__forecast"}


async def test_while_the_categorizer_is_away_categories_stay(house: Menu) -> None:
    mine = {"categories": ["mine"], "customMappings": {"mail__*": "mine"}}
    await house.house.filtering(**CATEGORIES, categoryFilter=mine)
    await house.house.stop_categorizer()
    try:
        both = {"categories": ["mine"], "customMappings": {"mail__*": "mine", "weather__*": "mine"}}
        await house.house.filtering(**CATEGORIES, categoryFilter=both)
        assert await listed(house.stateless) == MAIL
        house.servers["memory"].lists["tools"] = [tool("fresh")]
        await house.house.gateway.fleet.refresh("memory")
        await house.house.settled()
        assert await listed(house.stateless) == MAIL, "what has no category yet is hidden"
    finally:
        await house.house.start_categorizer()
    wanted = MAIL | {"weather__forecast"}
    await house.house.published(lambda _: _tools(house) == wanted, "the categorizer answers again")


async def test_the_threshold_turns_filtering_on_by_itself(house: Menu, caplog: pytest.LogCaptureFixture) -> None:
    await house.house.filtering(autoEnableThreshold=len(ALL) - 1)
    assert house.house.gateway.republish.policy.automatic
    assert f"filtering is on, by category: there are more than {len(ALL) - 1} tools" in caplog.text
    assert await listed(house.stateless) < ALL
    await house.house.filtering(autoEnableThreshold=len(ALL))
    assert await listed(house.stateless) == ALL
    await house.house.filtering(autoEnableThreshold=0)
    assert await listed(house.stateless) == ALL


async def test_a_definition_without_a_name_is_left_out_and_the_rest_is_listed(house: Menu) -> None:
    house.servers["weather"].lists["tools"] = [{"description": "no name"}, tool("odd"), {"name": 5}]
    await house.house.gateway.fleet.refresh("weather")
    await house.house.settled()
    assert await listed(house.stateless) == ALL - {"weather__forecast"} | {"weather__odd"}


async def test_servers_of_another_document_are_listed_without_a_restart(house: Menu) -> None:
    gateway = house.house.gateway
    document = gateway.document
    without = msgspec.structs.replace(
        document, servers={name: server for name, server in document.servers.items() if name != "mail"}
    )
    renamed = msgspec.structs.replace(
        without,
        servers={
            name: msgspec.structs.replace(server, prefix="w") if name == "weather" else server
            for name, server in without.servers.items()
        },
    )
    try:
        assert await _applied(house, without) == ALL - MAIL
        assert await _applied(house, renamed) == {n.replace("weather__", "w__") for n in ALL - MAIL}
    finally:
        await gateway.apply(document)
        await house.house.ready(*MENU)
    assert await listed(house.stateless) == ALL


async def _applied(house: Menu, document: Document) -> set[str]:
    await house.house.gateway.apply(document)
    await house.house.settled()
    return await listed(house.stateless)


@pytest.fixture
def gemini(monkeypatch: pytest.MonkeyPatch) -> Iterator[GeminiStandIn]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with gemini_stand_in() as stand_in:
        yield stand_in


async def test_a_category_refined_later_changes_the_view(gemini: GeminiStandIn, tmp_path: Path) -> None:
    gemini.answer = all_as("cloud")
    policy = {**CATEGORIES, "categoryFilter": {"categories": ["cloud"]}}
    batches = llm_settings(gemini, llm_batch=1, llm_concurrency=4)
    async with menu(tmp_path, categorizing=batches, filtering=policy) as house:
        await house.house.published(lambda _: _tools(house) == ALL, "every tool is refined")
        entries = house.house.gateway.current.exposure
        assert {entries.category(each).source for each in entries.catalog.entries} == {"llm"}
        asked = len(gemini.requests)
        async with listening(house) as (one,):
            house.servers["mail"].lists["tools"] = [*MENU["mail"], tool("fresh")]
            await house.house.gateway.fleet.refresh("mail")
            assert (await one.stream.next())["method"] == TOOLS
            assert await listed(one.client) == ALL | {"mail__fresh"}
        assert len(gemini.requests) == asked + 1, "what is decided is not asked again"


def _tools(house: Menu) -> set[str]:
    """The tools that everybody sees at first."""
    gateway = house.house.gateway
    visible = gateway.current.view(gateway.current.at_start).visible
    return {each.public_name for each in visible if each.kind is EntryKind.TOOL}


async def test_what_was_not_refined_when_the_categorizer_went_is_refined_later(
    gemini: GeminiStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(republish, "REFINE_AGAIN_S", 0.05)
    gemini.answer = all_as("cloud")
    gemini.replies = [NEVER] * 4
    policy = {**CATEGORIES, "categoryFilter": {"categories": ["cloud"]}}
    async with menu(tmp_path, categorizing=llm_settings(gemini), filtering=policy) as house:
        await house.house.published(lambda _: bool(gemini.requests), "the LLM is asked")
        assert _tools(house) < ALL
        await house.house.stop_categorizer()
        gemini.replies.clear()
        await house.house.start_categorizer()
        await house.house.published(lambda _: _tools(house) == ALL, "every tool is refined after all")


@pytest.mark.parametrize("status", [403, 429])
async def test_what_the_llm_did_not_answer_is_refined_once_it_does(
    gemini: GeminiStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(republish, "REFINE_AGAIN_S", 0.05)
    gemini.answer = all_as("cloud")
    gemini.replies = [error_reply(status, "NO", "not now")] * 1_000
    policy = {**CATEGORIES, "categoryFilter": {"categories": ["cloud"]}}
    settings = llm_settings(gemini, llm_retries=0, breaker_threshold=2, breaker_open_s=0.05)
    async with menu(tmp_path, categorizing=settings, filtering=policy) as house:
        await house.house.published(lambda _: len(gemini.requests) > 3, "the LLM is asked, and asked again")
        assert _tools(house) < ALL
        assert house.house.gateway.categorizer.reason is None, "the service itself is there"
        gemini.replies.clear()
        await house.house.published(lambda _: _tools(house) == ALL, "every tool is refined after all")
