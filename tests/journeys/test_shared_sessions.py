"""One session on two replicas at once: its client is spread over them and notices nothing."""

import asyncio
import json
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager
from typing import Any, Final

import pytest

from tests.journeys.matrix import proves
from tests.journeys.test_streams import fresh_key
from tests.support import raw_http
from tests.support.clients import RawClient, raw_session
from tests.support.hub import Hub
from tests.support.processes import EVERYTHING, serving, stdio_entry
from tests.support.raw_http import Answer
from tests.support.replicas import Replicas, replicas
from tests.support.waiting import until

UPSTREAMS: Final = ("http", "stdio")
TOLD_S: Final = 15.0
WATCHED: Final = "test://watched-resource"
UPDATED: Final = "notifications/resources/updated"

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Generator[Replicas]:
    """Two replicas in front of servers with sessions, over HTTP and over stdio: there each has a child of its own."""
    with ExitStack() as stack:
        servers: dict[str, object] = {
            "http": {"url": stack.enter_context(serving(EVERYTHING, "--era", "handshake", "--name", "http"))},
            "stdio": stdio_entry(EVERYTHING, "--era", "handshake", "--name", "stdio"),
        }
        yield stack.enter_context(replicas(servers, tmp_path_factory.mktemp("shared")))


class Spread:
    """The client of one session: `one` and `other` are the ways to the two replicas."""

    def __init__(self, pair: Replicas, session_id: str | None) -> None:
        self.one = RawClient(pair.one.url, session_id)
        self.other = RawClient(pair.other.url, session_id)
        self.session_id = session_id

    async def known_to_both(self) -> None:
        """Use both replicas once."""
        for client in (self.one, self.other):
            assert (await client.request("ping")).status == 200


@asynccontextmanager
async def spread(pair: Replicas, **capabilities: Any) -> AsyncGenerator[Spread]:
    """A session opened on the first replica."""
    async with raw_session(pair.one.url, capabilities=capabilities) as client:
        yield Spread(pair, client.session_id)


class Heard:
    """A stream of events."""

    def __init__(self, exchange: raw_http.Exchange) -> None:
        self.status = exchange.status
        self.last_id = ""
        """Of the last event."""
        self._blocks = exchange.blocks()

    async def primed(self) -> str:
        """The id of the first event, which has no data."""
        async with asyncio.timeout(TOLD_S):
            self.last_id = raw_http.event_id(await anext(self._blocks))
        return self.last_id

    async def next(self, method: str) -> dict[str, Any]:
        """The next message of that method; `""` is a response."""
        async with asyncio.timeout(TOLD_S):
            async for block in self._blocks:
                self.last_id = raw_http.event_id(block) or self.last_id
                if data := raw_http.event_data(block):
                    message: dict[str, Any] = json.loads(data)
                    if message.get("method", "") == method:
                        return message
        raise AssertionError(f"the stream ended without {method}")


@asynccontextmanager
async def listening(hub: Hub, client: RawClient, last_id: str = "", view: str = "") -> AsyncGenerator[Heard]:
    """The client's GET stream on one replica, at the URL of its view."""
    fields = {"Accept": "text/event-stream", **client.headers("", {})}
    if last_id:
        fields["Last-Event-ID"] = last_id
    async with raw_http.opened("GET", f"{hub.url}/v/{view}" if view else hub.url, headers=fields) as exchange:
        yield Heard(exchange)


@asynccontextmanager
async def calling(client: RawClient, name: str, arguments: dict[str, Any], call_id: object) -> AsyncGenerator[Heard]:
    """A call whose answer is read as a stream."""
    params = {"name": name, "arguments": arguments}
    fields = {"Content-Type": "application/json", "Accept": raw_http.ACCEPT, **client.headers("tools/call", params)}
    async with raw_http.opened("POST", client.url, client.body("tools/call", params, call_id), fields) as exchange:
        yield Heard(exchange)


async def _post(client: RawClient, message: dict[str, Any]) -> None:
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    assert (await raw_http.post(client.url, body, client.headers("", {}))).status == 202


def _text(answer: Answer) -> str:
    return answer.json()["result"]["content"][0]["text"]


@proves("shared-session")
@pytest.mark.parametrize("upstream", UPSTREAMS)
async def test_a_question_of_one_replica_is_answered_to_the_other(pair: Replicas, upstream: str) -> None:
    async with spread(pair, elicitation={}) as client:
        async with calling(client.one, f"{upstream}__ask_watched", {"key": fresh_key()}, "c") as stream:
            question = await stream.next("elicitation/create")
            result = {"action": "accept", "content": {"name": "Ada"}}
            await _post(client.other, {"id": question["id"], "result": result})
            answer = await stream.next("")
        assert answer["result"]["content"][0]["text"] == "Hello, Ada!"


@proves("shared-session", "question-progress")
@pytest.mark.parametrize("upstream", UPSTREAMS)
async def test_progress_toward_a_question_of_one_replica_is_told_to_the_other(pair: Replicas, upstream: str) -> None:
    async with spread(pair, elicitation={}) as client:
        await client.known_to_both()
        async with calling(client.one, f"{upstream}__ask_progress", {}, "c") as stream:
            question = await stream.next("elicitation/create")
            for step in (1, 2):
                params = {"progressToken": question["params"]["_meta"]["progressToken"], "progress": step, "total": 3}
                await _post(client.other, {"method": "notifications/progress", "params": {**params, "message": "m"}})
            await _post(client.other, {"id": question["id"], "result": {"action": "decline"}})
            answer = await stream.next("")
        assert answer["result"]["content"][0]["text"] == "1/3 m, 2/3 m"


@proves("shared-session", "roots-changed")
async def test_other_roots_are_told_to_the_servers_of_every_replica(pair: Replicas) -> None:
    async with spread(pair, roots={"listChanged": True}) as client:
        await client.known_to_both()
        await _post(client.one, {"method": "notifications/roots/list_changed"})
        for way in (client.one, client.other):
            assert _text(await way.call("stdio__roots_told", {})) == "changed"


@proves("shared-session")
@pytest.mark.parametrize("upstream", UPSTREAMS)
async def test_a_call_on_one_replica_is_cancelled_through_the_other(pair: Replicas, upstream: str) -> None:
    key = fresh_key()
    async with spread(pair) as client:
        await client.known_to_both()

        async def state(wanted: str) -> str:
            return _text(await client.one.call(f"{upstream}__slow_state", {"key": key, "state": wanted}))

        params = {"name": f"{upstream}__slow", "arguments": {"key": key}}
        fields = {"Content-Type": "application/json", "Accept": raw_http.ACCEPT, **client.one.headers("", {})}
        body = client.one.body("tools/call", params, "to-be-cancelled")
        async with raw_http.opened_early("POST", client.one.url, body, fields):
            assert await state("waiting") == "waiting"
            await _post(client.other, {"method": "notifications/cancelled", "params": {"requestId": "to-be-cancelled"}})
            assert await state("cancelled") == "cancelled"


@proves("shared-session")
async def test_what_is_set_on_one_replica_holds_on_the_other_at_once(pair: Replicas) -> None:
    async with spread(pair) as client:
        await client.known_to_both()
        for level, other, heard in (("error", "info", False), ("debug", "info", True), ("alert", "error", False)):
            await client.one.request("logging/setLevel", {"level": level})
            told = await client.other.call("http__log", {"text": "a word", "level": other})
            assert (b"a word" in told.body) is heard, (level, other)
            client.one, client.other = client.other, client.one


@proves("shared-session")
async def test_subscriptions_made_on_both_at_the_same_time_both_stand(pair: Replicas) -> None:
    other_uri = "test://static-text"
    async with spread(pair) as client:
        await client.known_to_both()
        await asyncio.gather(
            client.one.request("resources/subscribe", {"uri": f"stdio__{WATCHED}"}),
            client.other.request("resources/subscribe", {"uri": f"stdio__{other_uri}"}),
        )
        for hub, way in ((pair.one, client.other), (pair.other, client.one)):
            async with listening(hub, client.one) as stream:
                await stream.primed()
                for uri in (WATCHED, other_uri):
                    await way.call("stdio__touch_resource", {"uri": uri})
                    assert (await stream.next(UPDATED))["params"]["uri"] == f"stdio__{uri}"


@proves("shared-session")
async def test_what_happens_on_one_replica_reaches_the_stream_on_the_other(pair: Replicas) -> None:
    """The servers over stdio are two: only the first replica's changes."""
    async with spread(pair) as client:
        await client.known_to_both()
        async with listening(pair.other, client.other) as stream:
            await stream.primed()
            await client.one.call("stdio__change_tools", {"action": "add", "name": "fresh"})
            await stream.next("notifications/tools/list_changed")
        await client.one.call("stdio__change_tools", {"action": "remove", "name": "fresh"})


@proves("shared-session")
async def test_what_came_while_no_stream_was_open_waits_for_one_on_any_replica(pair: Replicas) -> None:
    async with spread(pair) as client:
        await client.known_to_both()
        await client.one.request("resources/subscribe", {"uri": f"stdio__{WATCHED}"})
        await client.one.call("stdio__touch_resource", {"uri": WATCHED})
        async with listening(pair.other, client.other) as stream:
            assert (await stream.next(UPDATED))["params"]["uri"] == f"stdio__{WATCHED}"
        await client.one.call("stdio__touch_resource", {"uri": WATCHED})
        async with listening(pair.one, client.one) as stream:
            assert (await stream.next(UPDATED))["params"]["uri"] == f"stdio__{WATCHED}"


@proves("shared-session")
async def test_a_session_ended_on_one_replica_is_ended_on_the_other_at_once(pair: Replicas) -> None:
    async with spread(pair) as client:
        await client.known_to_both()
        async with listening(pair.other, client.other) as stream:
            await stream.primed()
            assert (await raw_http.send("DELETE", pair.one.url, headers=client.one.headers("", {}))).status == 200
            with pytest.raises(AssertionError, match="the stream ended"):
                await stream.next("anything")
        assert (await client.other.request("ping")).status == 404
        assert (await client.one.request("ping")).status == 404


@proves("streams-elsewhere")
async def test_a_standing_stream_is_taken_up_on_another_replica(pair: Replicas) -> None:
    async with spread(pair) as client:
        await client.one.request("resources/subscribe", {"uri": f"stdio__{WATCHED}"})
        async with listening(pair.one, client.one) as stream:
            await client.one.call("stdio__touch_resource", {"uri": WATCHED})
            await stream.next(UPDATED)
            last_id = stream.last_id
        await client.one.call("stdio__touch_resource", {"uri": WATCHED})
        async with listening(pair.other, client.other, last_id) as stream:
            await stream.next(UPDATED)
            assert stream.last_id.rpartition("-")[0] == last_id.rpartition("-")[0], "it is the same stream"
            await client.other.call("stdio__touch_resource", {"uri": WATCHED})
            await stream.next(UPDATED)


@proves("streams-elsewhere")
@pytest.mark.parametrize("upstream", UPSTREAMS)
async def test_a_call_s_stream_is_taken_up_on_another_replica(pair: Replicas, upstream: str) -> None:
    async with spread(pair, elicitation={}) as client:
        async with calling(client.one, f"{upstream}__ask_watched", {"key": fresh_key()}, "the-call") as stream:
            question = await stream.next("elicitation/create")
        async with listening(pair.other, client.other, stream.last_id) as again:
            assert again.status == 200
            result = {"action": "accept", "content": {"name": "Ada"}}
            await _post(client.other, {"id": question["id"], "result": result})
            answer = await again.next("")
        assert (answer["id"], answer["result"]["content"][0]["text"]) == ("the-call", "Hello, Ada!")


@proves("streams-elsewhere")
async def test_streams_of_a_replica_that_died_are_said_to_be_gone(pair: Replicas) -> None:
    async with spread(pair, elicitation={}) as client:
        await client.known_to_both()
        async with listening(pair.other, client.other) as stream:
            standing = await stream.primed()
        async with calling(client.other, "http__ask_watched", {"key": fresh_key()}, "lost") as call:
            await call.next("elicitation/create")
        pair.other.kill()
        async with listening(pair.one, client.one, call.last_id) as answer:
            lost = await answer.next("")
            assert (answer.status, lost["id"]) == (200, "lost")
            assert "whether the request has run is not known" in lost["error"]["message"]
        async with listening(pair.one, client.one, standing) as anew:
            assert (anew.status, (await anew.primed()).rpartition("-")[2]) == (200, "0")
            await client.one.call("stdio__change_tools", {"action": "add", "name": "fresh"})
            await anew.next("notifications/tools/list_changed")
        await client.one.call("stdio__change_tools", {"action": "remove", "name": "fresh"})
        pair.other.start_again()
        await pair.other.until_ready(*UPSTREAMS)


@proves("shared-session")
async def test_with_redis_away_each_replica_goes_on_and_they_find_each_other_again(pair: Replicas) -> None:
    async with spread(pair) as client:
        await client.known_to_both()
        pair.redis.kill()
        for way in (client.one, client.other):
            assert _text(await way.call("http__echo", {"text": "still here"})) == "still here"
            assert "result" in (await way.request("logging/setLevel", {"level": "alert"})).json()
        pair.redis.start()

        async def told() -> bool:
            await client.one.request("logging/setLevel", {"level": "debug"})
            return b"a word" in (await client.other.call("http__log", {"text": "a word", "level": "info"})).body

        await until(told, bool, TOLD_S, "the other replica is told again")


@proves("shared-session")
async def test_an_answer_given_while_redis_is_away_is_heard_when_it_is_back(pair: Replicas) -> None:
    async with spread(pair, elicitation={}) as client:
        await client.known_to_both()
        async with calling(client.one, "http__ask_watched", {"key": fresh_key()}, "c") as stream:
            question = await stream.next("elicitation/create")
            pair.redis.kill()
            result = {"action": "accept", "content": {"name": "Ada"}}
            await _post(client.other, {"id": question["id"], "result": result})
            assert _text(await client.other.call("http__echo", {"text": "still here"})) == "still here"
            pair.redis.start()
            answer = await stream.next("")
        assert answer["result"]["content"][0]["text"] == "Hello, Ada!"


@proves("shared-session")
async def test_with_redis_away_a_session_of_another_replica_is_not_said_to_be_gone(pair: Replicas) -> None:
    async with spread(pair) as client:
        pair.redis.kill()
        answer = await client.other.request("ping")
        assert (answer.status, answer.headers.get("retry-after")) == (503, "2"), "404 would have it opened anew"
        assert answer.json()["error"]["code"] == -32000
        assert (await client.one.request("ping")).status == 200
        pair.redis.start()

        async def found() -> int:
            return (await client.other.request("ping")).status

        await until(found, lambda status: status == 200, TOLD_S, "the session is found, once it is kept again")
