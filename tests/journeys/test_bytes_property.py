"""Byte fidelity with random JSON: what the hub need not rewrite crosses it as it was spelled, both ways."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.journeys.matrix import RAW_UPSTREAMS, proves
from tests.support import json_text, raw_http
from tests.support.clients import RawClient, raw_session
from tests.support.hub import Hub
from tests.support.raw_http import Answer

EXAMPLES = 60

random_json = st.one_of(json_text.objects, st.integers(1, 200).map(json_text.nested))


def one_line(raw: bytes) -> bytes:
    """Line breaks between tokens are all that a line of stdio, or an event, may not have."""
    return raw.replace(b"\r", b" ").replace(b"\n", b" ")


async def _crosses(hub: Hub, upstream: str, era: str, arguments: bytes, member: bytes) -> None:
    if era == "stateless":
        await _everywhere(RawClient(hub.url), upstream, arguments, member)
        return
    async with raw_session(hub.url) as client:
        await _everywhere(client, upstream, arguments, member)


async def _everywhere(client: RawClient, upstream: str, arguments: bytes, member: bytes) -> None:
    await _there_and_back(client, upstream, arguments, member)
    await _said(client, upstream, arguments, member)
    await _asked_for(client, upstream, arguments, member)


async def _sent(client: RawClient, method: str, params: dict[str, Any], **texts: bytes) -> Answer:
    """Send a request in whose params these texts stand for `@@NAME@@`."""
    body = client.body(method, params)
    for name, raw in texts.items():
        body = body.replace(f'"@@{name}@@"'.encode(), raw)
    return await raw_http.post(client.url, body, client.headers(method, params))


async def _said(client: RawClient, upstream: str, arguments: bytes, member: bytes) -> None:
    """A log message in front of a result, or of an error."""
    for outcome in ("result", "error"):
        params = {
            "name": f"{upstream}__raw_say",
            "arguments": {"note": "@@member@@", outcome: "@@arguments@@"},
            "_meta": {"io.modelcontextprotocol/logLevel": "debug"} if not client.handshake else {},
        }
        answer = await _sent(client, "tools/call", params, member=member, arguments=arguments)
        note, last = raw_http.events_of(answer)
        assert b'"data":' + one_line(member) + b',"x-more":' + one_line(member) + b"}" in note
        name = b"structuredContent" if outcome == "result" else b"data"
        assert b'"' + name + b'":' + one_line(arguments) in last
        assert b'"x-more":1E5' in last


async def _asked_for(client: RawClient, upstream: str, arguments: bytes, member: bytes) -> None:
    """A prompt and a resource."""
    params: dict[str, Any] = {"name": f"{upstream}__prompt_1", "arguments": "@@arguments@@"}
    answer = await _sent(client, "prompts/get", params, arguments=arguments)
    assert b'"x-echo":' + one_line(arguments) in one_line(answer.message_raw)
    params = {"uri": f"{upstream}__raw://r/1", "x-unknown": "@@member@@"}
    answer = await _sent(client, "resources/read", params, member=member)
    assert b'"_meta":' + one_line(member) + b',"x-n":1E5' in one_line(answer.message_raw)


async def _there_and_back(client: RawClient, upstream: str, arguments: bytes, member: bytes) -> None:
    params = {
        "name": f"{upstream}__raw_echo",
        "x-unknown": "@@member@@",
        "_meta": {"com.example/mark": "@@member@@"},
        "arguments": "@@arguments@@",
    }
    body = client.body("tools/call", params)
    body = body.replace(b'"@@member@@"', member).replace(b'"@@arguments@@"', arguments)
    answer = await raw_http.post(client.url, body, client.headers("tools/call", params))
    assert b'"structuredContent":{"echo":' + one_line(arguments) + b"}" in one_line(answer.message_raw)
    seen = (await client.call(f"{upstream}__raw_seen")).json()["result"]["structuredContent"]["seen"]
    (call,) = [each.encode() for each in seen if "raw_echo" in each][-1:]
    assert b'"x-unknown":' + one_line(member) in one_line(call)
    assert b'"com.example/mark":' + one_line(member) in one_line(call)
    assert b'"arguments":' + one_line(arguments) in one_line(call)
    assert json.loads(call)["params"]["name"] == "raw_echo"
    if "http" in upstream:
        assert arguments in call


@proves("result-bytes", "argument-bytes", "error-bytes")
@pytest.mark.parametrize("era", ("handshake", "stateless"))
@pytest.mark.parametrize("upstream", RAW_UPSTREAMS)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=(HealthCheck.function_scoped_fixture, HealthCheck.too_slow),
)
@given(arguments=json_text.objects, member=random_json)
def test_random_json_crosses_as_it_is_spelled(hub: Hub, upstream: str, era: str, arguments: str, member: str) -> None:
    asyncio.run(_crosses(hub, upstream, era, arguments.encode(), member.encode()))
