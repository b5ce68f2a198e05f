"""A stateless server's `requestState`: it comes back to who gave it, from who got it, for what it was given for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest

from tests.journeys.matrix import proves
from tests.support import hub as hubs
from tests.support.clients import RawClient
from tests.support.hub import Hub
from tests.support.small_server import STATELESS, Answer, Call, SmallServer, small_server, text, tool

pytestmark = pytest.mark.anyio
TOKENS: Final = {"a": "token-of-ada", "b": "token-of-bob"}
VIEWS: Final[dict[str, Any]] = {name: {"credentials": [f"${{env:TOKEN_{name}}}"]} for name in TOKENS}
CAPABLE: Final[dict[str, Any]] = {"elicitation": {"form": {}}}
FORM: Final = {
    "method": "elicitation/create",
    "params": {"mode": "form", "message": "Your badge?", "requestedSchema": {"type": "object", "properties": {}}},
}
BADGE: Final = {"badge": {"action": "accept", "content": {"n": "42"}}}
STATE: Final = 'a state."\\ with . dots \u2603'


def asking(state: str | None) -> Any:
    """Asks once, and then says what came back."""

    async def answer(call: Call) -> Answer:
        params = call.params
        if "inputResponses" in params:
            said = text(f"{params.get('requestState')!r} {params['inputResponses']['badge']['content']['n']}")
            return said if call.method == "tools/call" else {"contents": [{"uri": params["uri"], **said["content"][0]}]}
        given = {} if state is None else {"requestState": state}
        return {"resultType": "input_required", "inputRequests": {"badge": FORM}, **given}

    return answer


@pytest.fixture(scope="module")
async def servers() -> AsyncGenerator[dict[str, SmallServer]]:
    """Two stateless servers; the second one owns what no list names, and asks."""
    async with AsyncExitStack() as stack:
        found = {
            name: await stack.enter_async_context(small_server(tool("work"), tool("rest"), era=STATELESS))
            for name in ("first", "second")
        }
        found["second"].handlers |= {
            "work": asking(STATE),
            "rest": asking(None),
            "hidden://badge": asking(None),
            "hidden://state": asking(STATE),
        }
        yield found


@pytest.fixture(scope="module")
def hub(servers: dict[str, SmallServer], tmp_path_factory: pytest.TempPathFactory) -> Any:
    document = {"mcpServers": {name: {"url": server.url} for name, server in servers.items()}, "views": VIEWS}
    environ = {f"TOKEN_{name}": token for name, token in TOKENS.items()}
    with hubs.running(document, tmp_path_factory.mktemp("state"), environ=environ) as running:
        yield running


def client_of(hub: Hub, view: str = "") -> RawClient:
    """A client of nobody's view, or of one that wants a token."""
    if not view:
        return RawClient(hub.url, capabilities=CAPABLE)
    return RawClient(f"{hub.url}/v/{view}", capabilities=CAPABLE, headers={"Authorization": f"Bearer {TOKENS[view]}"})


async def asked(client: RawClient, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """The params of the retry of a request that is answered with a question."""
    result = (await client.request(method, params)).json()["result"]
    assert (result["resultType"], result["inputRequests"]) == ("input_required", {"badge": FORM})
    return {**params, "inputResponses": BADGE, "requestState": result["requestState"]}


@proves("sealed-state")
@pytest.mark.parametrize(("name", "state"), [("second__work", STATE), ("second__rest", None)])
async def test_the_state_comes_back_as_it_was_given(hub: Hub, name: str, state: str | None) -> None:
    await hub.until_ready("first", "second")
    client = client_of(hub)
    again = await asked(client, "tools/call", {"name": name, "arguments": {}})
    answer = (await client.request("tools/call", again)).json()
    assert answer["result"]["content"] == text(f"{state!r} 42")["content"]


@proves("sealed-state")
@pytest.mark.parametrize(("uri", "state"), [("hidden://badge", None), ("hidden://state", STATE)])
async def test_answers_go_to_who_asked_and_to_nobody_else(
    hub: Hub, servers: dict[str, SmallServer], uri: str, state: str | None
) -> None:
    await hub.until_ready("first", "second")
    client = client_of(hub)
    again = await asked(client, "resources/read", {"uri": uri})
    servers["first"].seen.clear()
    answer = (await client.request("resources/read", again)).json()
    assert answer["result"]["contents"][0]["text"] == f"{state!r} 42"
    assert not [message for message in servers["first"].seen if "inputResponses" in message.get("params", {})]


@proves("sealed-state")
async def test_another_principal_another_tool_and_a_forger_are_refused(
    hub: Hub, servers: dict[str, SmallServer]
) -> None:
    await hub.until_ready("first", "second")
    ada, bob = client_of(hub, "a"), client_of(hub, "b")
    again = await asked(ada, "tools/call", {"name": "second__work", "arguments": {}})
    seen = len(servers["second"].seen)
    state: str = again["requestState"]
    for client, changed in (
        (bob, {}),
        (client_of(hub), {}),
        (ada, {"name": "second__rest"}),
        (ada, {"name": "first__work"}),
        (ada, {"requestState": STATE}),
        (ada, {"requestState": state + "x"}),
        (ada, {"requestState": state.replace("second", "first")}),
    ):
        answer = (await client.request("tools/call", {**again, **changed})).json()
        assert answer["error"]["code"] == -32602, changed
        assert answer["error"]["message"].startswith("Invalid requestState: "), changed
    assert len(servers["second"].seen) == seen, "it was told of none of them"
    answer = (await ada.request("tools/call", again)).json()
    assert answer["result"]["content"] == text(f"{STATE!r} 42")["content"]
