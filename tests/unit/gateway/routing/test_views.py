"""Who asks for a view by URL or by token sees that view and nothing else, in both eras, and hears of its changes."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from tests.support import raw_http
from tests.support.clients import STATELESS, RawClient, raw_session
from tests.support.gateway import Stream, gateway, heard_before, posted, standing
from tests.support.raw_http import Answer
from tests.support.small_server import Call, small_server, tool
from tests.unit.gateway.routing.menu import ALL, ANALYZE, CALL, Menu, analyzed, listed, menu, names_of

pytestmark = pytest.mark.anyio
TOOLS = "notifications/tools/list_changed"
READER, OTHER = "reader-token-1", "reader-token-2"
MAIL = {"mail__send_email", "mail__list_inbox"}
VIEWS: dict[str, Any] = {
    "mail": {"description": "Only mail", "toolFiltering": {"tools": {"allow": ["mail__*"]}}},
    "reader": {
        "credentials": ["${VIEW_TOKEN}", OTHER],
        "toolFiltering": {"tools": {"deny": ["*__write_*", "*__send_*"]}},
    },
    "asking": {"toolFiltering": {"mode": "prompt-based", "tools": {"deny": ["mail__send_*"]}}},
}
SEEN = {"mail": MAIL, "reader": ALL - {"filesystem__write_file", "mail__send_email"}}


@pytest.fixture(scope="module")
async def built(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Menu]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VIEW_TOKEN", READER)
        async with menu(tmp_path_factory.mktemp("views"), views=VIEWS) as made:
            yield made


@pytest.fixture
async def house(built: Menu) -> Menu:
    """The menu with its views as they were."""
    await built.house.views(VIEWS)
    return built


def at(house: Menu, view: str = "") -> str:
    """The URL of a view."""
    return f"{house.house.url}/v/{view}" if view else house.house.url


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_view_by_url_is_the_same_in_both_eras(house: Menu) -> None:
    assert await listed(RawClient(at(house, "mail"))) == MAIL
    async with raw_session(at(house, "mail")) as client:
        assert await listed(client) == MAIL
        assert await listed(client, "resources/list", "resources") == {"inbox"}
        assert await listed(client, "prompts/list", "prompts") == {"mail__p"}
    assert await listed(house.stateless) == ALL, "the default is another"


async def test_a_view_by_url_over_http_sse(house: Menu) -> None:
    async with raw_http.opened("GET", at(house, "mail"), headers={"Accept": "text/event-stream"}) as exchange:
        events = exchange.events()
        endpoint = house.house.url.removesuffix("/mcp") + (await anext(events)).decode()
        params = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}}
        for number, (method, sent) in enumerate((("initialize", params), ("tools/list", {}))):
            body = {"jsonrpc": "2.0", "id": number, "method": method, "params": sent}
            assert (await raw_http.post(endpoint, json.dumps(body).encode())).status == 202
        await anext(events)
        tools = json.loads(await anext(events))["result"]["tools"]
    assert {each["name"] for each in tools} == MAIL


@pytest.mark.parametrize("name", ("filesystem__read_file", "weather__forecast"))
async def test_what_a_view_hides_is_not_called(house: Menu, name: str) -> None:
    answer = (await RawClient(at(house, "mail")).call(name, {"path": "x", "city": "y"})).json()
    assert answer["error"]["code"] == -32602
    async with raw_session(at(house, "mail")) as client:
        assert (await client.call(name)).json()["error"]["code"] == -32602
    assert "result" in (await house.stateless.call(name, {"path": "x", "city": "y"})).json()


async def test_instructions_and_resources_are_the_view_s(house: Menu) -> None:
    hidden = await RawClient(at(house, "asking")).request("resources/read", {"uri": "mail:inbox"})
    assert "result" in hidden.json()
    await house.house.views({"none": {"toolFiltering": {"tools": {"allow": []}}}})
    gone = (await RawClient(at(house, "none")).request("resources/read", {"uri": "mail:inbox"})).json()
    assert gone["error"]["code"] == -32602


@pytest.mark.parametrize("token", (READER, OTHER))
async def test_a_token_opens_its_view_by_url_and_selects_it_without(house: Menu, token: str) -> None:
    for url in (at(house, "reader"), at(house)):
        assert await listed(RawClient(url, headers=bearing(token))) == SEEN["reader"]
        async with raw_session(url, headers={"Authorization": f"bearer  {token}"}) as client:
            assert await listed(client) == SEEN["reader"]


@pytest.mark.parametrize(
    ("view", "headers", "challenge"),
    (
        ("reader", {}, 'Bearer realm="mcp-hub"'),
        ("reader", {"Authorization": "Basic cmVhZGVyOng="}, 'Bearer realm="mcp-hub"'),
        ("reader", {"Authorization": "Bearer"}, 'Bearer realm="mcp-hub"'),
        ("reader", bearing(READER[:-1]), 'Bearer realm="mcp-hub", error="invalid_token"'),
        ("", bearing("wrong"), 'Bearer realm="mcp-hub", error="invalid_token"'),
    ),
)
async def test_without_its_token_a_view_is_refused(
    house: Menu, view: str, headers: dict[str, str], challenge: str
) -> None:
    client = RawClient(at(house, view), headers=headers)
    refused: list[Answer] = [
        await client.request("tools/list"),
        await raw_http.send("GET", client.url, headers={"Accept": "text/event-stream", **headers}),
        await raw_http.send("DELETE", client.url, headers={"Mcp-Session-Id": "x", **headers}),
        await raw_http.post(client.url, b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}', headers),
    ]
    assert {(each.status, each.headers["www-authenticate"]) for each in refused} == {(401, challenge)}
    assert all(READER not in each.body.decode() and "reader" not in each.body.decode() for each in refused)


async def test_who_sends_no_token_gets_the_default_view(house: Menu) -> None:
    assert await listed(house.stateless) == ALL
    await house.house.views({"mail": VIEWS["mail"]})
    ignored = RawClient(at(house), headers=bearing("whatever"))
    assert await listed(ignored) == ALL, "no view has a token, so nobody looks at it"


async def test_a_view_without_tokens_does_not_look_at_any(house: Menu) -> None:
    assert await listed(RawClient(at(house, "mail"), headers=bearing("whatever"))) == MAIL


async def test_an_unknown_view_is_told_the_open_ones(house: Menu) -> None:
    answer = await RawClient(at(house, "male")).request("tools/list")
    assert answer.status == 404
    assert answer.json()["error"]["data"] == {"views": ["mail", "asking"]}
    assert (await raw_http.send("GET", at(house, "a/b"))).status == 404


async def test_a_session_belongs_to_its_view(house: Menu) -> None:
    async with raw_session(at(house, "mail")) as client, raw_session(at(house)) as plain:
        for url, headers in ((at(house), {}), (at(house, "reader"), bearing(READER)), (at(house), bearing(READER))):
            other = RawClient(url, client.session_id, headers=headers)
            assert (await other.request("tools/list")).status == 404
            fields = {"Accept": "text/event-stream", **other.headers("", {})}
            assert (await raw_http.send("GET", url, headers=fields)).status == 404
            assert (await raw_http.send("DELETE", url, headers=fields)).status == 404
        assert (await RawClient(at(house, "mail"), plain.session_id).request("tools/list")).status == 404
        assert await listed(client) == MAIL


async def test_only_those_are_told_whose_view_changed(house: Menu) -> None:
    async with raw_session(at(house, "mail")) as mail, raw_session(at(house)) as plain:
        fields = mail.headers("", {})
        async with (
            raw_http.opened("GET", mail.url, headers={"Accept": "text/event-stream", **fields}) as exchange,
            standing(house.house, plain.session_id) as other,
        ):
            stream = Stream(exchange)
            changed = {**VIEWS, "mail": {"toolFiltering": {"tools": {"allow": ["mail__send*"]}}}}
            await house.house.views(changed)
            await stream.until(lambda message: message["method"] == TOOLS)
            assert await heard_before(house.house, plain.session_id, other) == []
            assert await listed(mail) == {"mail__send_email"}


async def test_a_listener_is_told_of_its_own_view(house: Menu) -> None:
    client = RawClient(at(house, "mail"))
    params = {"notifications": {"toolsListChanged": True}}
    headers = {**client.headers("subscriptions/listen", params), "Content-Type": "application/json"}
    body = client.body("subscriptions/listen", params)
    async with (
        raw_http.opened("POST", client.url, body, {**headers, "Accept": raw_http.ACCEPT}) as exchange,
        posted(house.house, body, headers) as plain,
    ):
        stream = Stream(exchange)
        await stream.next()
        await plain.next()
        await house.house.views({**VIEWS, "mail": {"toolFiltering": {"tools": {"allow": []}}}})
        await stream.until(lambda message: message["method"] == TOOLS)
        await house.house.filtering(tools={"deny": ["weather__*"]})
        assert (await plain.next())["method"] == TOOLS
        await house.house.views({})
        await stream.until(lambda message: "result" in message)
    await house.house.filtering()


async def test_logs_of_a_hidden_server_are_not_heard(house: Menu) -> None:
    async with raw_session(at(house, "mail")) as mail, raw_session(at(house)) as plain:
        for client in (mail, plain):
            await client.request("logging/setLevel", {"level": "info"})
        async with (
            raw_http.opened("GET", mail.url, headers={"Accept": "text/event-stream", **mail.headers("", {})}) as one,
            standing(house.house, plain.session_id) as all_of_them,
        ):
            for server in ("weather", "mail"):
                house.servers[server].tell("notifications/message", level="error", data=server)
                told = await all_of_them.until(lambda message: message["method"] == "notifications/message")
                assert told[-1]["params"]["data"] == server
            heard = await Stream(one).until(lambda message: message["method"] == "notifications/message")
    assert heard[-1]["params"]["data"] == "mail"


async def test_tasks_belong_to_the_view_they_were_made_in(tmp_path: Path) -> None:
    async def made(_: Call) -> dict[str, Any]:
        return {"task": {"taskId": "1", "status": "working"}}

    async def told(_: Call) -> dict[str, Any]:
        return {"taskId": "1", "status": "working"}

    async def all_of_them(_: Call) -> dict[str, Any]:
        return {"tasks": [{"taskId": "1", "status": "working"}]}

    async with small_server(tool("secret"), tool("plain")) as server:
        server.capabilities = {"tasks": {"list": {}, "requests": {"tools": {"call": {}}}}}
        server.handlers |= {"secret": made, "tasks/get": told, "tasks/list": all_of_them}
        async with gateway({"a": {"url": server.url}}, tmp_path) as house:
            await house.views({"low": {"toolFiltering": {"tools": {"allow": ["a__plain"]}}}})
            async with raw_session(house.url) as plain, raw_session(f"{house.url}/v/low") as low:
                params: dict[str, Any] = {"name": "a__secret", "arguments": {}, "task": {}}
                task_id = (await plain.request("tools/call", params)).json()["result"]["task"]["taskId"]
                for client, seen in ((plain, [task_id]), (low, [])):
                    listed_ids = (await client.request("tasks/list")).json()["result"]["tasks"]
                    assert [each["taskId"] for each in listed_ids] == seen
                assert "result" in (await plain.request("tasks/get", {"taskId": task_id})).json()
                refused = (await low.request("tasks/get", {"taskId": task_id})).json()
                assert refused["error"]["message"] == f"Unknown task: {task_id}"


async def test_a_view_that_goes_takes_its_sessions_along(house: Menu) -> None:
    async with raw_session(at(house, "mail")) as mail, raw_session(at(house)) as plain:
        await house.house.views({})
        assert (await mail.request("tools/list")).status == 404
        assert house.house.gateway.sessions.find(mail.session_id or "") is None
        assert await listed(plain) == ALL
        await house.house.views(VIEWS)
        assert (await mail.request("tools/list")).status == 404, "it was ended, and does not come back"


async def test_a_token_that_is_taken_away_shuts_out_who_had_it(house: Menu) -> None:
    async with raw_session(at(house, "reader"), headers=bearing(OTHER)) as client:
        await house.house.views({**VIEWS, "reader": {**VIEWS["reader"], "credentials": ["${VIEW_TOKEN}", OTHER, "x"]}})
        assert await listed(client) == SEEN["reader"], "one more token shuts out nobody"
        await house.house.views({**VIEWS, "reader": {**VIEWS["reader"], "credentials": ["${VIEW_TOKEN}"]}})
        assert (await client.request("tools/list")).status == 401
        assert house.house.gateway.sessions.find(client.session_id or "") is None


async def test_a_view_whose_token_is_not_set_stays_shut(house: Menu) -> None:
    await house.house.views({"reader": {**VIEWS["reader"], "credentials": ["${NOT_SET_ANYWHERE}"]}})
    for token in ("", "${NOT_SET_ANYWHERE}", READER):
        client = RawClient(at(house, "reader"), headers=bearing(token))
        assert (await client.request("tools/list")).status == 401


async def test_a_search_never_finds_and_a_call_never_calls_what_the_view_hides(house: Menu) -> None:
    stateless = RawClient(at(house, "asking"))
    found = names_of(await analyzed(stateless, "send an email to somebody"))
    assert found
    assert "mail__send_email" not in found
    refused = (await stateless.call(CALL, {"name": "mail__send_email", "arguments": {"to": "x"}})).json()
    assert refused.get("error", refused.get("result", {}).get("isError"))
    async with raw_session(at(house, "asking")) as client:
        assert "mail__send_email" not in names_of(await analyzed(client, "send an email to somebody"))
        assert "mail__send_email" not in await listed(client)
    async with raw_session(at(house)) as plain:
        assert ANALYZE not in await listed(plain), "the default has no such tool"
        assert (await plain.call(ANALYZE, {"prompt": "x"})).json()["error"]["code"] == -32602


async def test_views_are_described_without_their_tokens(house: Menu) -> None:
    answer = await raw_http.send("GET", house.house.url.removesuffix("/mcp") + "/api/views")
    body = answer.json()
    shown = {each["name"]: each for each in body["views"]}
    assert list(shown) == [None, "mail", "reader", "asking"]
    assert [each["needsCredential"] for each in shown.values()] == [False, False, True, False]
    assert [each["path"] for each in shown.values()] == ["/mcp", "/mcp/v/mail", "/mcp/v/reader", "/mcp/v/asking"]
    assert shown["mail"]["description"] == "Only mail"
    assert shown["mail"]["visibleAtStart"] == {"tools": 2, "prompts": 1, "resources": 1, "resourceTemplates": 0}
    assert (shown["asking"]["mode"], shown["asking"]["visibleAtStart"]["tools"]) == ("prompt-based", 0)
    assert shown["asking"]["allowed"]["tools"] == len(ALL) - 1
    assert not any(token in answer.body.decode() for token in (READER, OTHER, "VIEW_TOKEN"))


async def test_a_session_of_a_view_goes_on_elsewhere(house: Menu, tmp_path: Path) -> None:
    async with raw_session(at(house, "mail")) as client:
        gateway = house.house.gateway
        session = house.house.session(client.session_id)
        await gateway.sessions.commit(session)
        recalled = await gateway.sessions._archive.recall(session.id)  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
        assert recalled is not None
        assert recalled.view_name == "mail"
        assert STATELESS not in session.revision


async def explained(house: Menu, question: str) -> tuple[int, Any]:
    base = house.house.url.removesuffix("/mcp")
    answer = await raw_http.send("GET", f"{base}/api/filtering/explain?{question}")
    return answer.status, answer.json()


async def test_why_an_entry_is_seen_or_not(house: Menu) -> None:
    _, hidden = await explained(house, "tool=weather__forecast&view=mail")
    assert (hidden["allowed"], hidden["visible"], hidden["callable"]) == (False, False, False)
    assert (hidden["rule"], hidden["path"]) == ("tools.allow:no-match", "views.mail.toolFiltering.tools.allow")
    assert hidden["place"] == {"file": str(house.house.directory / "mcp-servers.json"), "line": 1}
    _, denied = await explained(house, "tool=mail__send_email&view=asking")
    assert denied["rule"] == "tools.deny:mail__send_*"
    assert denied["path"] == "views.asking.toolFiltering.tools.deny[0]"
    _, shown = await explained(house, "resource=mail:inbox&view=mail")
    assert (shown["visible"], shown["callable"], shown["rule"]) == (True, True, "tools.allow:mail__*")
    async with raw_session(at(house, "asking")) as client:
        question = f"tool=weather__forecast&session={client.session_id}"
        _, before = await explained(house, question)
        assert (before["allowed"], before["opened"], before["visible"]) == (True, False, False)
        await analyzed(client, "what will the weather be like")
        _, after = await explained(house, question)
        assert (after["opened"], after["visible"], after["callable"]) == (True, True, True)


async def test_what_cannot_be_explained(house: Menu) -> None:
    assert (await explained(house, "view=mail"))[0] == 400
    status, body = await explained(house, "tool=weather__forcast")
    assert (status, body["data"]["nearest"][0]) == (404, "weather__forecast")
    status, body = await explained(house, "tool=x&view=male")
    assert (status, body["data"]["views"]) == (404, ["mail", "reader", "asking"])
    assert (await explained(house, "tool=x&session=nobody"))[0] == 404


async def test_views_are_followed_though_the_folder_of_the_hub_is_gone(
    house: Menu, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    await house.house.views({"other": VIEWS["mail"]})
    assert await listed(RawClient(at(house, "other"))) == MAIL
