"""Byte fidelity with random JSON: what the hub need not rewrite crosses it as it was spelled, both ways."""

import asyncio
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.journeys.matrix import RAW_UPSTREAMS, proves
from tests.support import json_text, raw_http
from tests.support.clients import RawClient, raw_session
from tests.support.hub import Hub

EXAMPLES = 60

random_json = st.one_of(json_text.objects, st.integers(1, 200).map(json_text.nested))


def one_line(raw: bytes) -> bytes:
    """Line breaks between tokens are all that a line of stdio, or an event, may not have."""
    return raw.replace(b"\r", b" ").replace(b"\n", b" ")


async def _crosses(hub: Hub, upstream: str, era: str, arguments: bytes, member: bytes) -> None:
    if era == "stateless":
        await _there_and_back(RawClient(hub.url), upstream, arguments, member)
        return
    async with raw_session(hub.url) as client:
        await _there_and_back(client, upstream, arguments, member)


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


@proves("result-bytes", "argument-bytes")
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
