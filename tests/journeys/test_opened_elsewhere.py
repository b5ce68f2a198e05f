"""What is seen on one replica is seen on the other: tools that a session opened, or that all have open, and views."""

from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from tests.journeys.matrix import proves
from tests.journeys.test_held_calls import CAPABLE, ROUNDS, accepted, required
from tests.journeys.test_shared_sessions import listening
from tests.support import hub as hubs
from tests.support.clients import RawClient, raw_session
from tests.support.hub import Hub
from tests.support.processes import EVERYTHING, serving, stdio_entry
from tests.support.redis_server import redis_process
from tests.support.replicas import Replicas, replicas
from tests.support.waiting import until

UPSTREAMS: Final = ("http", "stdio", "own")
TOOL: Final = "http__echo"
PROMPT: Final = "Echo a text back to me"
SEEN_S: Final = 15.0
TOGETHER: Final = {"promptBasedFiltering": {"sessionIsolation": False}}

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Generator[Replicas]:
    """Two replicas that show nothing but the hub's own tools at first, with a view of one server, and one in which all
    sessions open tools together."""
    with ExitStack() as stack:
        servers: dict[str, object] = {
            "http": {"url": stack.enter_context(serving(EVERYTHING, "--era", "handshake", "--name", "http"))},
            "stdio": stdio_entry(EVERYTHING, "--era", "handshake", "--name", "stdio"),
            "own": {**stdio_entry(EVERYTHING, "--era", "handshake", "--name", "own"), "isolation": "session"},
        }
        allowed = {"mode": "allowlist", "servers": ["own", "stdio"]}
        yield stack.enter_context(
            replicas(
                servers,
                tmp_path_factory.mktemp("opened"),
                toolFiltering={"enabled": True, "mode": "prompt-based"},
                views={
                    "together": {"toolFiltering": TOGETHER},
                    "narrow": {"toolFiltering": {"mode": "server-allowlist", "serverFilter": allowed}},
                },
            )
        )


async def _listed(client: RawClient) -> list[str]:
    return [tool["name"] for tool in (await client.request("tools/list")).json()["result"]["tools"]]


async def _echoed(client: RawClient) -> Any:
    return (await client.call(TOOL, {"text": "hello"})).json()


def _view(hub: Hub, name: str) -> str:
    return f"{hub.url}/v/{name}" if name else hub.url


def _there(hub: Hub, client: RawClient, view: str = "") -> RawClient:
    return RawClient(_view(hub, view), client.session_id)


async def _kill_and_start_both(pair: Replicas) -> None:
    for hub in (pair.one, pair.other):
        hub.kill()
    for hub in (pair.one, pair.other):
        hub.start_again()
        await hub.until_ready(*UPSTREAMS)


@proves("opened-elsewhere")
async def test_what_a_session_opened_on_one_replica_is_open_on_the_other_and_after_a_kill(pair: Replicas) -> None:
    async with raw_session(pair.one.url) as client:
        there = _there(pair.other, client)
        assert TOOL not in await _listed(there)
        assert "error" in await _echoed(there)
        async with listening(pair.other, there) as stream:
            await stream.primed()
            answer = await client.call("hub__analyze_prompt", {"prompt": PROMPT})
            assert TOOL in answer.json()["result"]["content"][0]["text"]
            await stream.next("notifications/tools/list_changed")
            assert TOOL in await _listed(there)
        assert (await _echoed(there))["result"]["content"][0]["text"] == "hello"
        await _kill_and_start_both(pair)

        async def listed() -> list[str]:
            return await _listed(there)

        await until(listed, lambda names: TOOL in names, SEEN_S, "what was opened before the kill")
        assert (await _echoed(there))["result"]["content"][0]["text"] == "hello"
        assert TOOL in await _listed(client)


@proves("opened-elsewhere")
async def test_what_one_session_opens_for_all_is_open_on_every_replica_and_after_a_kill(pair: Replicas) -> None:
    async with (
        raw_session(_view(pair.one, "together")) as opens,
        raw_session(_view(pair.other, "together")) as sees,
        raw_session(pair.other.url) as another_view,
    ):
        assert TOOL not in await _listed(sees)
        async with listening(pair.other, sees, view="together") as stream:
            await stream.primed()
            await opens.call("hub__analyze_prompt", {"prompt": PROMPT})
            await stream.next("notifications/tools/list_changed")
            assert TOOL in await _listed(sees)
        assert (await _echoed(sees))["result"]["content"][0]["text"] == "hello"
        assert TOOL not in await _listed(another_view)
        await _kill_and_start_both(pair)
        async with raw_session(_view(pair.one, "together")) as late:

            async def listed() -> list[str]:
                return await _listed(late)

            await until(listed, lambda names: TOOL in names, SEEN_S, "what was opened for all before the kill")
            await late.call("hub__analyze_prompt", {"reset": True})
            assert TOOL not in await _listed(late)
            assert TOOL not in await _listed(sees)
        assert TOOL not in await _listed(RawClient(_view(pair.one, "together"))), "a stateless list does not vary"


@proves("opened-elsewhere")
async def test_what_is_opened_for_all_while_redis_is_away_is_open_everywhere_when_it_is_back(pair: Replicas) -> None:
    async with raw_session(_view(pair.one, "together")) as opens, raw_session(_view(pair.other, "together")) as sees:
        assert TOOL not in await _listed(sees)
        pair.redis.kill()
        await opens.call("hub__analyze_prompt", {"prompt": PROMPT})
        assert TOOL in await _listed(opens)
        pair.redis.start()

        async def listed() -> list[str]:
            return await _listed(sees)

        await until(listed, lambda names: TOOL in names, SEEN_S, "it is known on the other")
        await opens.call("hub__analyze_prompt", {"reset": True})


@proves("opened-elsewhere")
async def test_what_was_opened_before_there_was_another_replica_is_closed_on_both(tmp_path: Path) -> None:
    with ExitStack() as stack:
        environ = {"HUB_REDIS_URL": stack.enter_context(redis_process()).url}
        config: dict[str, Any] = {
            "mcpServers": {"http": {"url": stack.enter_context(serving(EVERYTHING, "--name", "http"))}},
            "toolFiltering": {"enabled": True, "mode": "prompt-based"},
        }

        async def started(name: str) -> Hub:
            (tmp_path / name).mkdir()
            hub = stack.enter_context(hubs.running(config, tmp_path / name, environ=environ))
            await hub.until_ready("http")
            return hub

        one = await started("one")
        async with raw_session(one.url) as client:
            await client.call("hub__analyze_prompt", {"prompt": PROMPT})
            there = _there(await started("other"), client)
            assert TOOL in await _listed(there)
            await client.call("hub__analyze_prompt", {"reset": True})

            async def listed() -> list[str]:
                return await _listed(there)

            await until(listed, lambda names: TOOL not in names, SEEN_S, "what was closed")
            assert TOOL not in await _listed(client)


@proves("opened-elsewhere")
async def test_a_call_that_goes_to_another_replica_keeps_the_policy_of_its_view(pair: Replicas) -> None:
    here, there = (RawClient(_view(hub, "narrow"), capabilities=CAPABLE) for hub in (pair.one, pair.other))
    hidden = (await there.call("http__echo", {"text": "hello"})).json()
    assert hidden["error"]["code"] == -32602
    asked = required(await here.call(f"stdio__{ROUNDS}"))
    answers = dict.fromkeys(asked["inputRequests"], accepted(name="Ada"))
    params = {"name": f"stdio__{ROUNDS}", "arguments": {}, "inputResponses": answers}
    elsewhere = RawClient(pair.other.url, capabilities=CAPABLE)
    stolen = await elsewhere.request("tools/call", {**params, "requestState": asked["requestState"]})
    assert "error" in stolen.json(), "it was asked for in another view"
    second = required(await there.request("tools/call", {**params, "requestState": asked["requestState"]}))
    answers = dict.fromkeys(second["inputRequests"], accepted(color="green"))
    params = {**params, "inputResponses": answers, "requestState": second["requestState"]}
    done = (await there.request("tools/call", params)).json()["result"]
    assert done["content"][0]["text"] == "Ada likes green."
    hidden_retry = {**params, "name": f"http__{ROUNDS}", "requestState": asked["requestState"]}
    assert "error" in (await there.request("tools/call", hidden_retry)).json()


@proves("opened-elsewhere")
async def test_a_session_of_a_view_has_one_home_and_is_refused_what_the_view_hides(pair: Replicas) -> None:
    async with raw_session(_view(pair.one, "narrow")) as client:
        there = _there(pair.other, client, "narrow")
        first = (await client.call("own__process_id")).json()["result"]["content"]
        assert (await there.call("own__process_id")).json()["result"]["content"] == first
        for way in (client, there):
            assert (await way.call("http__echo", {"text": "hello"})).json()["error"]["code"] == -32602
        assert (await _there(pair.other, client).request("ping")).status == 404, "it belongs to its view"
