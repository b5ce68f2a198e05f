"""The envelope: what comes in is a message or is refused with a reply, and what goes out keeps its bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.wire import codec, rewrite
from hub_gateway.wire.codec import MalformedMessage
from hub_gateway.wire.errors import INVALID_REQUEST, PARSE_ERROR
from hub_gateway.wire.message import Kind, Message, own
from tests.support import json_text

METHODS = st.sampled_from(("tools/call", "ping", "notifications/x", 'a "quoted" é'))
DEEP = 200_000


def _refused(body: bytes) -> MalformedMessage:
    with pytest.raises(MalformedMessage) as caught:
        codec.decode(body)
    return caught.value


@given(json_text.ids, METHODS, json_text.objects)
def test_a_request_comes_back_with_its_bytes(id_text: str, method: str, params: str) -> None:
    message = codec.decode(codec.request(id_text.encode(), method, params.encode()))
    assert message.kind is Kind.REQUEST
    assert (own(message.id), message.method, own(message.params)) == (id_text.encode(), method, params.encode())


@given(METHODS, st.none() | json_text.objects)
def test_a_notification_comes_back_with_its_bytes(method: str, params: str | None) -> None:
    sent = b"" if params is None else params.encode()
    message = codec.decode(codec.notification(method, sent))
    assert message.kind is Kind.NOTIFICATION
    assert (message.method, own(message.params)) == (method, sent)


@given(json_text.ids, json_text.values, st.booleans())
def test_a_response_comes_back_with_its_bytes(id_text: str, value: str, is_error: bool) -> None:
    encode = codec.error if is_error else codec.result
    message = codec.decode(encode(id_text.encode(), value.encode()))
    assert message.kind is Kind.RESPONSE
    assert own(message.id) == id_text.encode()
    assert own(message.error if is_error else message.result) == value.encode()


@given(
    json_text.object_of(
        {"jsonrpc": st.just('"2.0"'), "id": json_text.ids, "method": st.just('"x/y"'), "params": json_text.objects}
    ).filter(lambda body: not json.loads(body).keys() & {"result", "error"})
)
def test_unknown_members_and_any_order_are_taken(body: str) -> None:
    message = codec.decode(body.encode())
    assert json.loads(own(message.params)) == json.loads(body)["params"]
    assert message.kind is Kind.REQUEST


@given(st.binary(max_size=200) | json_text.values.map(str.encode) | json_text.objects.map(str.encode))
def test_garbage_is_refused_with_a_reply(body: bytes) -> None:
    try:
        message = codec.decode(body)
    except MalformedMessage as fault:
        reply = json.loads(fault.reply)
        assert reply["error"]["code"] in (PARSE_ERROR, INVALID_REQUEST)
        assert fault.id_raw or reply["id"] is None
    else:
        assert isinstance(message, Message)


@given(
    st.builds(
        lambda *members: "{" + ",".join(filter(None, members)) + "}",
        st.sampled_from(('"jsonrpc":"2.0"', '"jsonrpc":"1.0"', '"jsonrpc":2', "")),
        st.just("") | json_text.values.map('"id":{}'.format),
        st.just("") | json_text.values.map('"method":{}'.format),
        st.just("") | json_text.values.map('"params":{}'.format),
        st.just("") | json_text.values.map('"result":{}'.format),
        st.just("") | json_text.values.map('"error":{}'.format),
    )
)
def test_what_is_decoded_is_one_of_the_three_kinds(body: str) -> None:
    try:
        message = codec.decode(body.encode())
    except MalformedMessage:
        return
    said = json.loads(body)
    assert said["jsonrpc"] == "2.0"
    has_id = "id" in said
    assert not has_id or (isinstance(said["id"], str | int | float) and not isinstance(said["id"], bool))
    if message.kind is Kind.RESPONSE:
        assert ("result" in said) != ("error" in said)
    else:
        assert isinstance(said["method"], str)
        assert said.get("params") is None or isinstance(said["params"], dict)
        assert (message.kind is Kind.REQUEST) == has_id
        assert rewrite.members(message.params).keys() == (said.get("params") or {}).keys()


@pytest.mark.parametrize(
    ("body", "code", "id_raw"),
    (
        (b"", PARSE_ERROR, b""),
        (b"{", PARSE_ERROR, b""),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"\xff"}}', PARSE_ERROR, b""),
        (b'{"a":' + b"[" * DEEP, PARSE_ERROR, b""),
        (
            b'{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":' + json_text.nested(DEEP).encode() + b"}}",
            PARSE_ERROR,
            b"",
        ),
        (b"[]", INVALID_REQUEST, b""),
        (b"7", INVALID_REQUEST, b""),
        (b'{"jsonrpc":"2.0","id":null,"method":"x"}', INVALID_REQUEST, b""),
        (b'{"jsonrpc":"2.0","id":true,"method":"x"}', INVALID_REQUEST, b""),
        (b'{"jsonrpc":"2.0","id":[1],"method":"x"}', INVALID_REQUEST, b""),
        (b'{"jsonrpc":"1.0","id":1,"method":"x"}', INVALID_REQUEST, b"1"),
        (b'{"jsonrpc":"2.0","id":"a","method":"x","params":[1]}', INVALID_REQUEST, b'"a"'),
        (b'{"jsonrpc":"2.0","id":1,"method":"x","result":{}}', INVALID_REQUEST, b"1"),
        (b'{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', INVALID_REQUEST, b"1"),
        (b'{"jsonrpc":"2.0","id":1,"method":""}', INVALID_REQUEST, b"1"),
    ),
)
def test_a_refusal_says_why_and_keeps_the_id(body: bytes, code: int, id_raw: bytes) -> None:
    fault = _refused(body)
    assert (fault.code, fault.id_raw) == (code, id_raw)
    reply = json.loads(fault.reply)
    assert (reply["error"]["code"], reply["id"]) == (code, json.loads(id_raw or b"null"))


def test_params_that_are_null_are_absent() -> None:
    message = codec.decode(b'{"jsonrpc":"2.0","id":1,"method":"ping","params":null}')
    assert own(message.params) == b""


@given(st.lists(json_text.values, min_size=1, max_size=5), json_text.spaces)
def test_a_batch_is_cut_into_its_messages(parts: list[str], before: str) -> None:
    body = f"{before}[{','.join(parts)}]".encode()
    assert codec.is_batch(body)
    assert [own(raw) for raw in codec.decode_batch(body)] == [part.encode() for part in parts]


@given(json_text.objects)
def test_an_object_is_no_batch(body: str) -> None:
    assert not codec.is_batch(body.encode())


@pytest.mark.parametrize(
    "body", (b"[", b"[]", b"{}", b"[1,]", b'["\xff"]', b"[" * DEEP, json_text.nested(DEEP).encode())
)
def test_a_malformed_batch_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedMessage):
        codec.decode_batch(body)


def test_a_batch_is_known_behind_any_amount_of_space() -> None:
    assert codec.is_batch(b" \r\n\t" * 100 + b"[]")
    assert not codec.is_batch(b"")


@pytest.mark.parametrize(
    ("body", "params"),
    (
        (b'\xef\xbb\xbf{"jsonrpc":"2.0","method":"x","params":{"a":1E5}}', b'{"a":1E5}'),
        (rb'{"jsonrpc":"2.0","method":"x","params":{"a":"cut \ud83d","n":1E5}}', rb'{"a":"cut \ufffd","n":1E5}'),
        (
            rb'{"jsonrpc":"2.0","method":"x","params":{"\uDFFF\uD83D\uDE00":"\\\\ud83d \\"}}',
            rb'{"\ufffd\uD83D\uDE00":"\\\\ud83d \\"}',
        ),
        (rb'{"jsonrpc":"2.0","method":"x","params":{"a":"\ud83d\ud83d\ude00\n"}}', rb'{"a":"\ufffd\ud83d\ude00\n"}'),
    ),
)
def test_a_mark_before_a_message_and_half_a_letter_lose_nothing_else(body: bytes, params: bytes) -> None:
    assert bytes(codec.decode(body).params) == params


@pytest.mark.parametrize("id_raw", (rb'"\ud800"', rb'"a\uDFFF \ufffd\ud83d\ude00\\ud800"', b"1", b""))
@pytest.mark.parametrize("mark", (b"", codec.BOM))
def test_an_id_keeps_half_a_letter(id_raw: bytes, mark: bytes) -> None:
    member = b'"id":' + id_raw + b"," if id_raw else b""
    body = mark + b'{"params":{"id":"\\udc00"},' + member + b'"method":"x","jsonrpc":"2.0"}'
    message = codec.decode(body)
    assert (bytes(message.id), bytes(message.params)) == (id_raw, b'{"id":"\\ufffd"}')
