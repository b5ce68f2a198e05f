"""Servers with state behind several replicas: a session's own process is on one of them, whichever is asked."""

import asyncio
import json
import signal
from collections.abc import Generator
from typing import Any, Final

import pytest

from tests.journeys.matrix import proves
from tests.journeys.test_isolation import gone
from tests.journeys.test_shared_sessions import UPDATED, calling, listening, spread
from tests.journeys.test_streams import fresh_key
from tests.support import raw_http
from tests.support.clients import RawClient
from tests.support.processes import EVERYTHING, stdio_entry
from tests.support.replicas import Replicas, replicas
from tests.support.waiting import until

UPSTREAMS: Final = ("own_handshake", "own_stateless")
ERROR_S: Final = 10.0
"""Within this a client hears that its server's replica is gone."""

pytestmark = pytest.mark.anyio
of_each_era = pytest.mark.parametrize("upstream", UPSTREAMS)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Generator[Replicas]:
    """Two replicas in front of isolated servers."""
    servers: dict[str, object] = {
        name: {**stdio_entry(EVERYTHING, "--era", name.split("_")[1], "--name", name), "isolation": "session"}
        for name in UPSTREAMS
    }
    filtering = {"mode": "prompt-based", "promptBasedFiltering": {"enabled": True, "defaultExposure": "all"}}
    with replicas(servers, tmp_path_factory.mktemp("homes"), toolFiltering={"enabled": True, **filtering}) as started:
        yield started


async def _process(client: RawClient, upstream: str) -> int:
    return int((await client.call(f"{upstream}__process_id")).json()["result"]["content"][0]["text"])


async def _refused(client: RawClient, name: str, **arguments: Any) -> str:
    """The message of the error that a call is answered with, which comes in time."""
    async with asyncio.timeout(ERROR_S):
        return str((await client.call(name, arguments)).json()["error"]["message"])


@proves("session-home")
@of_each_era
async def test_one_process_whichever_replica_is_asked(pair: Replicas, upstream: str) -> None:
    async with spread(pair) as client, spread(pair) as another:
        first, *rest = await asyncio.gather(
            *(_process(way, upstream) for way in (client.one, client.other, client.one, client.other))
        )
        assert rest == [first] * 3
        theirs = await _process(another.other, upstream)
        assert theirs != first
        assert await _process(another.one, upstream) == theirs


@proves("session-home")
async def test_the_process_ends_with_its_session_wherever_it_is(pair: Replicas) -> None:
    async with spread(pair) as client:
        pid = await _process(client.one, UPSTREAMS[0])
        assert (await raw_http.send("DELETE", pair.other.url, headers=client.other.headers("", {}))).status == 200
        await gone(pid)


@proves("session-home")
@of_each_era
async def test_questions_and_progress_come_through_the_replica_that_was_asked(pair: Replicas, upstream: str) -> None:
    async with spread(pair, elicitation={}) as client:
        await _process(client.one, upstream)
        async with calling(client.other, f"{upstream}__ask_watched", {"key": fresh_key()}, "c") as stream:
            question = await stream.next("elicitation/create")
            result = {"action": "accept", "content": {"name": "Ada"}}
            body = json.dumps({"jsonrpc": "2.0", "id": question["id"], "result": result}).encode()
            assert (await raw_http.post(client.other.url, body, client.other.headers("", {}))).status == 202
            assert (await stream.next(""))["result"]["content"][0]["text"] == "Hello, Ada!"
        params = {"name": f"{upstream}__test_tool_with_progress", "arguments": {}, "_meta": {"progressToken": "mine"}}
        told = [
            json.loads(data) for data in raw_http.events_of(await client.other.request("tools/call", params)) if data
        ]
        assert {each["params"]["progressToken"] for each in told if "method" in each} == {"mine"}


@proves("session-home")
@of_each_era
async def test_a_call_is_cancelled_at_its_home(pair: Replicas, upstream: str) -> None:
    key = fresh_key()
    async with spread(pair) as client:

        async def state(way: RawClient, wanted: str) -> str:
            answer = await way.call(f"{upstream}__slow_state", {"key": key, "state": wanted})
            return str(answer.json()["result"]["content"][0]["text"])

        await _process(client.one, upstream)
        params = {"name": f"{upstream}__slow", "arguments": {"key": key}}
        fields = {"Content-Type": "application/json", "Accept": raw_http.ACCEPT, **client.other.headers("", {})}
        body = client.other.body("tools/call", params, "slow")
        async with raw_http.opened_early("POST", client.other.url, body, fields):
            assert await state(client.one, "waiting") == "waiting"
            cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "slow"}}
            await raw_http.post(client.other.url, json.dumps(cancel).encode(), client.other.headers("", {}))
            assert await state(client.other, "cancelled") == "cancelled"


@proves("session-home")
@of_each_era
async def test_what_is_subscribed_through_one_replica_is_told_by_the_home(pair: Replicas, upstream: str) -> None:
    uri = "test://only-here"
    async with spread(pair) as client:
        pid = await _process(client.one, upstream)
        assert "result" in (await client.other.request("resources/subscribe", {"uri": f"{upstream}__{uri}"})).json()
        async with listening(pair.other, client.other) as stream:
            await stream.primed()
            for way in (client.one, client.other):
                await way.call(f"{upstream}__touch_resource", {"uri": uri})
                assert (await stream.next(UPDATED))["params"]["uri"].endswith(uri)
        assert await _process(client.other, upstream) == pid


@proves("session-home")
async def test_the_hub_s_own_call_tool_goes_home_and_explains_once(pair: Replicas) -> None:
    async with spread(pair) as client:
        pid = await _process(client.one, UPSTREAMS[0])
        asked: dict[str, Any] = {"name": f"{UPSTREAMS[0]}__process_id", "arguments": {}}
        answer = (await client.other.call("hub__call_tool", asked)).json()["result"]
        assert answer["content"][0]["text"] == str(pid)
        wrong = (await client.other.call("hub__call_tool", {"name": f"{UPSTREAMS[0]}__echo", "arguments": {}})).json()
        assert json.dumps(wrong).count("From the schema of") == 1


@proves("session-home")
async def test_a_home_that_dies_is_told_of_and_a_new_one_is_taken(pair: Replicas) -> None:
    upstream, uri = UPSTREAMS[0], "test://only-here"
    async with spread(pair) as client, spread(pair) as idle:
        pid, sleeping = await _process(client.other, upstream), await _process(idle.other, upstream)
        await client.one.request("resources/subscribe", {"uri": f"{upstream}__{uri}"})
        await client.one.request("ping")
        async with calling(client.one, f"{upstream}__slow", {"key": fresh_key()}, "in-flight") as stream:
            await idle.one.call(f"{upstream}__echo", {"text": "the call before is under way"})
            pair.other.kill()
            async with asyncio.timeout(ERROR_S):
                told = (await stream.next(""))["error"]["message"]
        assert "state that the server had for this session" in told
        assert "whether the call has run is not known" in told
        fresh = await _process(client.one, upstream)
        assert fresh != pid
        told = await _refused(idle.one, f"{upstream}__process_id")
        assert "state that the server had for this session" in told
        assert "the call was not made" in told
        assert await _process(idle.one, upstream) != sleeping
        pair.other.start_again()
        await pair.other.until_ready(*UPSTREAMS)
        assert await _process(client.other, upstream) == fresh
        async with listening(pair.other, client.other) as heard:
            await heard.primed()
            await client.other.call(f"{upstream}__touch_resource", {"uri": uri})
            assert (await heard.next(UPDATED))["params"]["uri"].endswith(uri)


@proves("session-home")
async def test_a_home_that_only_stood_still_lets_go_when_it_wakes(pair: Replicas) -> None:
    upstream = UPSTREAMS[0]
    async with spread(pair) as client:
        pid = await _process(client.other, upstream)
        await client.one.request("ping")
        pair.other.process.send_signal(signal.SIGSTOP)
        try:
            told = await _refused(client.one, f"{upstream}__process_id")
            assert "state that the server had for this session" in told
            fresh = await _process(client.one, upstream)
            assert fresh != pid
        finally:
            pair.other.process.send_signal(signal.SIGCONT)
        await gone(pid)
        assert await _process(client.other, upstream) == fresh


@proves("session-home")
async def test_while_redis_is_away_the_home_goes_on_and_others_say_what_is_wrong(pair: Replicas) -> None:
    upstream = UPSTREAMS[0]
    async with spread(pair) as client, spread(pair) as fresh:
        pid = await _process(client.one, upstream)
        assert await _process(client.other, upstream) == pid
        pair.redis.kill()
        assert await _process(client.one, upstream) == pid
        assert "cannot be reached" in await _refused(client.other, f"{upstream}__process_id")
        made_meanwhile = await _process(fresh.one, upstream)
        pair.redis.start()

        async def there() -> object:
            return (await client.other.call(f"{upstream}__process_id")).json()

        await until(there, lambda answer: str(pid) in str(answer), 15.0, "the home is found again")
        assert await _process(fresh.one, upstream) == made_meanwhile

        async def known() -> int:
            return (await fresh.other.request("ping")).status

        await until(known, lambda status: status == 200, 15.0, "the session is known again: Redis came back empty")
        assert await _process(fresh.other, upstream) == made_meanwhile


@proves("session-home")
@of_each_era
async def test_what_two_servers_have_under_one_uri_is_read_under_the_one_that_was_asked_for(
    pair: Replicas, upstream: str
) -> None:
    async with spread(pair) as client:
        await _process(client.one, upstream)
        for way in (client.one, client.other):
            listed = (await way.request("resources/list")).json()["result"]["resources"]
            uri = next(each["uri"] for each in listed if f"://{upstream}__" in each["uri"])
            read = (await way.request("resources/read", {"uri": uri})).json()["result"]["contents"]
            assert [each["uri"] for each in read] == [uri]
