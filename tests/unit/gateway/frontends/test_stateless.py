"""The ladder of 2026-07-28: every rung is climbed in order, and the first that fails answers with 400."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.frontends.asked import read_asked
from hub_gateway.frontends.stateless import Refusal, open_exchange, says_stateless
from hub_gateway.wire import codec
from hub_gateway.wire.codec import MalformedMessage
from tests.support import json_text
from tests.support.clients import RawClient
from tests.unit.gateway.frontends.conftest import Front

pytestmark = pytest.mark.anyio
PREFIX = "io.modelcontextprotocol/"
META: dict[str, Any] = {f"{PREFIX}protocolVersion": "2026-07-28", f"{PREFIX}clientCapabilities": {}}
CALL: dict[str, Any] = {"name": "a__echo", "arguments": {}}
HEADERS = {"MCP_Protocol_Version": "2026-07-28", "Mcp_Method": "tools/call", "Mcp_Name": "a__echo"}
INVALID_PARAMS, MISMATCH, UNSUPPORTED = -32602, -32020, -32022


def _call(meta: object = META, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {**CALL, **params, "_meta": meta}}


def _without(key: str) -> dict[str, Any]:
    return {name: value for name, value in META.items() if name != PREFIX + key}


RUNGS: tuple[tuple[str, object, dict[str, str | None], int], ...] = (
    ("_meta is no object", _call(5), {}, INVALID_PARAMS),
    ("no revision", _call(_without("protocolVersion")), {}, INVALID_PARAMS),
    ("no capabilities", _call(_without("clientCapabilities")), {}, INVALID_PARAMS),
    ("no _meta", {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": CALL}, {}, INVALID_PARAMS),
    ("no params", {"jsonrpc": "2.0", "id": 7, "method": "tools/call"}, {}, INVALID_PARAMS),
    ("the revision is no text", _call({**META, f"{PREFIX}protocolVersion": 5}), {}, INVALID_PARAMS),
    ("capabilities are no object", _call({**META, f"{PREFIX}clientCapabilities": []}), {}, INVALID_PARAMS),
    ("the client is no object", _call({**META, f"{PREFIX}clientInfo": "x"}), {}, INVALID_PARAMS),
    ("no header of the revision", _call(), {"MCP_Protocol_Version": None}, MISMATCH),
    ("another revision in the header", _call(), {"MCP_Protocol_Version": "2027-01-01"}, MISMATCH),
    ("a handshake revision in the header", _call(), {"MCP_Protocol_Version": "2025-11-25"}, MISMATCH),
    ("another method in the header", _call(), {"Mcp_Method": "tools/list"}, MISMATCH),
    ("a method in other letters", _call(), {"Mcp_Method": "Tools/Call"}, MISMATCH),
    ("no header of the method", _call(), {"Mcp_Method": None}, MISMATCH),
    ("another name in the header", _call(), {"Mcp_Name": "a__hold"}, MISMATCH),
    ("a malformed name in the header", _call(), {"Mcp_Name": "=?base64?!?="}, MISMATCH),
    ("no header of the name", _call(), {"Mcp_Name": None}, MISMATCH),
    (
        "another task in the header",
        {"jsonrpc": "2.0", "id": 7, "method": "tasks/get", "params": {"taskId": "a__1", "_meta": META}},
        {"Mcp_Method": "tasks/get", "Mcp_Name": "a__2"},
        MISMATCH,
    ),
    (
        "a revision nobody knows",
        _call({**META, f"{PREFIX}protocolVersion": "2099-01-01"}),
        {"MCP_Protocol_Version": "2099-01-01"},
        UNSUPPORTED,
    ),
    (
        "a revision that wants a handshake",
        _call({**META, f"{PREFIX}protocolVersion": "2025-11-25"}),
        {"MCP_Protocol_Version": "2025-11-25"},
        UNSUPPORTED,
    ),
)


@pytest.mark.parametrize(("body", "changed", "code"), [rung[1:] for rung in RUNGS], ids=[rung[0] for rung in RUNGS])
async def test_a_rung_that_fails_answers(front: Front, body: object, changed: dict[str, str | None], code: int) -> None:
    headers = {name: value for name, value in {**HEADERS, **changed}.items() if value is not None}
    answer = await front.send(body, **headers)
    assert answer.status == 400
    assert (answer.json()["error"]["code"], answer.json()["id"]) == (code, 7)
    if code == UNSUPPORTED:
        supported = answer.json()["error"]["data"]["supported"]
        assert supported == sorted(supported, reverse=True)
        assert "2026-07-28" in supported
    assert front.server.seen == [], "nothing of it reaches an upstream"


async def test_a_request_that_climbs_them_all_is_answered(front: Front) -> None:
    answer = await front.send(_call({**META, "com.example/x": 1e5}), **HEADERS)
    assert answer.status == 200
    assert answer.json()["result"]["resultType"] == "complete"
    assert "mcp-session-id" not in answer.headers
    encoded = await front.send(_call(), **{**HEADERS, "Mcp_Name": "=?base64?YV9fZWNobw==?="})
    assert encoded.status == 200
    ignored = await front.send(_call(), **HEADERS, Mcp_Session_Id="nobody's", Last_Event_ID="x-1")
    assert ignored.status == 200, "session ids mean nothing here"


TWICE: tuple[tuple[dict[str, str], dict[str, str], str], ...] = (
    ({"Mcp_Name": "a__hold", "mcp_name": "a__echo"}, {}, "Mcp-Name"),
    ({"Mcp_Name": "a__echo", "mcp_name": "a__hold"}, {}, "Mcp-Name"),
    ({"Mcp_Method": "tools/list", "mcp_method": "tools/call"}, {}, "Mcp-Method"),
    ({"MCP_Protocol_Version": "2025-11-25", "mcp_protocol_version": "2026-07-28"}, {}, "Mcp-Protocol-Version"),
    ({"MCP_Protocol_Version": "2026-07-28", "mcp_protocol_version": "2025-11-25"}, {}, "Mcp-Protocol-Version"),
    (
        {"MCP_Protocol_Version": "2026-07-28", "mcp_protocol_version": "2025-11-25"},
        {"Mcp_Session_Id": "nobody's"},
        "Mcp-Protocol-Version",
    ),
    ({"Mcp_Param_X": "1", "mcp_param_x": "2"}, {}, "Mcp-Param-X"),
    ({"Mcp_Param_X": "1", "mcp_param_x": "1", "MCP_PARAM_X": "2"}, {}, "Mcp-Param-X"),
)
"""Headers in two spellings, which are one header twice; what is sent besides; and who is named in the refusal."""


@pytest.mark.parametrize(("twice", "more", "named"), TWICE)
async def test_a_header_that_says_two_things_is_refused(
    front: Front, twice: dict[str, str], more: dict[str, str], named: str
) -> None:
    for _ in range(2):
        answer = await front.send(_call(), **{**HEADERS, **more, **twice})
        assert (answer.status, answer.json()["error"]["code"], answer.json()["id"]) == (400, MISMATCH, 7)
        assert answer.json()["error"]["message"].endswith(f": {named}")
    assert front.server.seen == []


async def test_a_header_that_says_the_same_twice_is_taken(front: Front) -> None:
    answer = await front.send(_call(), **HEADERS, mcp_name="a__echo", Mcp_Param_X="1", mcp_param_x="1")
    assert answer.status == 200
    other = await front.send(_call(), **HEADERS, X_Other="1", x_other="2")
    assert other.status == 200, "what mirrors nothing is nobody's business"


async def test_a_session_has_no_headers_that_mirror_its_body(front: Front) -> None:
    client = await front.session()
    named = {"Mcp_Session_Id": client.session_id or "", "MCP_Protocol_Version": "2025-11-25"}
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    assert (await front.send(ping, **named, Mcp_Name="a", mcp_name="b")).status == 200


@pytest.mark.parametrize(
    ("method", "status"), (("no/such/method", 404), ("ping", 404), ("initialize", 404), ("server/discover", 200))
)
async def test_the_methods_of_the_era(front: Front, method: str, status: int) -> None:
    answer = await RawClient(front.url).request(method)
    assert answer.status == status
    if status == 404:
        assert answer.json()["error"]["code"] == -32601


async def test_an_error_of_the_request_is_400_and_of_an_upstream_is_200(front: Front) -> None:
    client = RawClient(front.url)
    unknown = await client.call("nobody__knows")
    assert (unknown.status, unknown.json()["error"]["code"]) == (400, INVALID_PARAMS)
    await front.house.gateway.fleet.stop("a")
    down = await client.call("a__echo")
    await front.house.gateway.fleet.start("a")
    await front.house.ready("a")
    assert (down.status, down.json()["error"]["code"]) in ((200, -32000), (400, INVALID_PARAMS))


@pytest.mark.parametrize(
    ("body", "status"),
    (
        ({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}, 202),
        ({"jsonrpc": "2.0", "id": 1, "result": {}}, 400),
    ),
)
async def test_what_is_no_request_is_dropped(front: Front, body: object, status: int) -> None:
    answer = await front.send(body, MCP_Protocol_Version="2026-07-28")
    assert (answer.status, answer.body) == (status, b"")


@pytest.mark.parametrize("method", ("GET", "DELETE"))
async def test_the_era_has_no_streams_to_get_and_no_sessions_to_delete(front: Front, method: str) -> None:
    answer = await front.send(b"", method, MCP_Protocol_Version="2026-07-28")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


@given(
    json_text.object_of(
        {
            "jsonrpc": st.just('"2.0"'),
            "id": json_text.ids,
            "method": st.just('"tools/call"'),
            "params": st.one_of(
                json_text.objects, json_text.object_of({"_meta": json_text.values, "name": json_text.values})
            ),
        }
    ),
    st.dictionaries(
        st.sampled_from((b"mcp-protocol-version", b"mcp-method", b"mcp-name")), st.binary(max_size=12), max_size=3
    ),
)
def test_any_request_is_refused_or_opened(body: str, headers: dict[bytes, bytes]) -> None:
    try:
        message = codec.decode(body.encode())
    except MalformedMessage:
        return
    asked = read_asked(headers)
    assert asked.stateless in (True, False, None)
    assert says_stateless(message) in (True, False)
    with pytest.raises(Refusal) as refused:
        open_exchange(headers, asked, message, None)
    assert json.loads(refused.value.reply)["error"]["code"] in (INVALID_PARAMS, MISMATCH, UNSUPPORTED)


@pytest.mark.parametrize("slash", ["/", "\\/", "\\u002f"])
def test_a_message_says_that_it_is_stateless_however_a_slash_is_spelled(slash: str) -> None:
    meta = f'{{"io.modelcontextprotocol{slash}protocolVersion":"2026-07-28"}}'
    body = f'{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{meta}}}}}'
    assert says_stateless(codec.decode(body.encode()))
