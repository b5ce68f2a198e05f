"""A stateless client in front of a server with sessions that asks: the call waits, and the client's retry finds it."""

import json
from typing import Any

import pytest

from tests.journeys.matrix import Cell, journey, proves
from tests.journeys.test_streams import fresh_key
from tests.support import raw_http
from tests.support.clients import RawClient
from tests.support.hub import Hub
from tests.support.raw_http import Answer
from tests.support.speakers import Said, Speaker

OLD = ("http_handshake", "stdio_handshake")
CAPABLE: dict[str, Any] = {"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}}
ROUNDS = "test_input_required_result_multi_round"

pytestmark = pytest.mark.anyio


def accepted(**content: Any) -> dict[str, Any]:
    """A filled-in form."""
    return {"action": "accept", "content": content}


def required(answer: Said) -> dict[str, Any]:
    """The result of an answer that asks for something."""
    result = answer.json()["result"]
    assert result["resultType"] == "input_required", result
    return result


async def _retry(client: Speaker, name: str, asked: dict[str, Any], answers: list[Any], **changed: Any) -> Said:
    responses = dict(zip(asked["inputRequests"], answers, strict=False))
    params = {"name": name, "arguments": {}, "inputResponses": responses, "requestState": asked["requestState"]}
    return await client.request("tools/call", {**params, **changed})


def _text(answer: Said) -> str:
    return answer.json()["result"]["content"][0]["text"]


async def _finish(client: Speaker, name: str, asked: dict[str, Any]) -> None:
    """Answer what is still open, so that nothing of this test waits in the next one."""
    again = required(await _retry(client, name, asked, [accepted(name="Ada")]))
    assert _text(await _retry(client, name, again, [accepted(color="green")])) == "Ada likes green."


@journey("held-call")
async def test_a_question_becomes_a_result_and_the_retry_goes_on(cell: Cell) -> None:
    name = cell.name(ROUNDS)
    async with cell.speaking(CAPABLE) as client:
        first = required(await client.call(name))
        (question,) = first["inputRequests"].values()
        assert question["method"] == "elicitation/create"
        assert question["params"]["message"] == "Step 1: your name?"
        second = required(await _retry(client, name, first, [accepted(name="Ada")]))
        assert second["requestState"] != first["requestState"]
        answer = await _retry(client, name, second, [accepted(color="green")])
        assert _text(answer) == "Ada likes green."
        assert answer.json()["result"]["resultType"] == "complete"


@journey("held-call")
async def test_another_connection_of_the_client_may_retry(cell: Cell) -> None:
    name = cell.name(ROUNDS)
    async with cell.speaking(CAPABLE) as client, cell.speaking(CAPABLE) as other:
        await _finish(other, name, required(await client.call(name)))


@journey("held-call")
async def test_what_was_not_answered_is_asked_again(cell: Cell) -> None:
    name = cell.name(ROUNDS)
    async with cell.speaking(CAPABLE) as client:
        first = required(await client.call(name))
        for answers in ({}, {"nobody-asked-this": accepted()}):
            again = required(await _retry(client, name, first, [], inputResponses=answers))
            assert again["inputRequests"] == first["inputRequests"]
            first = again
        await _finish(client, name, first)


@journey("request-state")
async def test_a_state_that_is_not_the_hub_s_is_refused(cell: Cell) -> None:
    name = cell.name(ROUNDS)
    async with cell.speaking(CAPABLE) as client:
        first = required(await client.call(name))
        state = first["requestState"]
        flipped = state[:-1] + ("0" if state[-1] != "0" else "1")
        for forged in (
            flipped,
            "",
            "hub1.",
            "hub1.x.y",
            state + "0",
            "hub1." + state.split(".")[1],
            "other",
            "\u00e9",
            7,
        ):
            answer = await _retry(client, name, first, [accepted(name="Eve")], requestState=forged)
            assert answer.json()["error"]["code"] == -32602, (forged, answer)
        await _finish(client, name, first)


@journey("request-state")
async def test_a_state_is_good_for_its_own_request_and_once(cell: Cell) -> None:
    name = cell.name(ROUNDS)
    async with cell.speaking(CAPABLE) as client:
        first = required(await client.call(name))
        other = cell.name("test_input_required_result_elicitation")
        answer = await _retry(client, other, first, [accepted(name="Eve")])
        assert answer.json()["error"]["code"] == -32602
        second = required(await _retry(client, name, first, [accepted(name="Ada")]))
        replayed = await _retry(client, name, first, [accepted(name="Eve")])
        assert replayed.json()["error"]["code"] == -32602
        assert "requestState" in replayed.json()["error"]["message"]
        assert _text(await _retry(client, name, second, [accepted(color="red")])) == "Ada likes red."


@journey("request-state")
async def test_responses_that_are_no_object_are_refused(cell: Cell) -> None:
    name = cell.name(ROUNDS)
    async with cell.speaking(CAPABLE) as client:
        first = required(await client.call(name))
        wrongs: tuple[object, ...] = ([], "x", 1)
        for wrong in wrongs:
            answer = await _retry(client, name, first, [], inputResponses=wrong)
            assert answer.json()["error"]["code"] == -32602
        await _finish(client, name, first)


@journey("held-call", "missing-capability")
async def test_only_what_the_client_declared_is_asked(cell: Cell) -> None:
    async with cell.speaking({"sampling": {}}) as client:
        answer = await client.call(cell.name(ROUNDS))
        assert answer.json()["error"]["code"] == -32021
        assert answer.json()["error"]["data"] == {"requiredCapabilities": {"elicitation": {}}}
        assert not isinstance(answer, Answer) or answer.status == 400


@proves("held-call")
@pytest.mark.parametrize("upstream", OLD)
async def test_hanging_up_on_a_retry_cancels_the_call(hub: Hub, upstream: str) -> None:
    """The retry is the call's only request then, so closing its stream cancels the call."""
    client, gate = RawClient(hub.url, capabilities=CAPABLE), fresh_key()
    name, arguments = f"{upstream}__ask_then_wait", {"key": gate}
    asked = required(await client.call(name, arguments))
    params = {
        "name": name,
        "arguments": arguments,
        "inputResponses": dict.fromkeys(asked["inputRequests"], accepted(name="Ada")),
        "requestState": asked["requestState"],
    }
    watcher = RawClient(hub.url)

    async def state(wanted: str) -> str:
        return _text(await watcher.call(f"{upstream}__slow_state", {"key": gate, "state": wanted}))

    fields = {"Content-Type": "application/json", "Accept": raw_http.ACCEPT, **client.headers("tools/call", params)}
    async with raw_http.opened_early("POST", hub.url, client.body("tools/call", params), fields):
        assert await state("waiting") == "waiting"
    assert await state("cancelled") == "cancelled"


@journey("held-call", "progress")
async def test_progress_of_a_resumed_call_has_the_retry_s_token(cell: Cell) -> None:
    name = cell.name("ask_then_progress")
    async with cell.speaking(CAPABLE) as client:
        asked = required(await client.request("tools/call", {"name": name, "_meta": {"progressToken": "first"}}))
        answer = await _retry(client, name, asked, [accepted(name="Ada")], _meta={"progressToken": "second"})
    told = [json.loads(data) for data in answer.before]
    assert [each["params"]["progressToken"] for each in told] == ["second", "second"]
    assert _text(answer) == "Ada"
