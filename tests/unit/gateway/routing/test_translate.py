"""Results and errors between the eras: what must be added is added once, and every other byte stays."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.routing.translate import error_for, result_for
from hub_gateway.wire import rewrite
from hub_gateway.wire.errors import INVALID_PARAMS, RESOURCE_NOT_FOUND_HANDSHAKE, error_object
from hub_gateway.wire.meta import SERVER_INFO
from hub_gateway.wire.revisions import CACHEABLE_METHODS, Era
from tests.support import json_text

INFO = b'{"name":"up","n":1E5}'
METHODS = st.sampled_from(sorted({"tools/call", "prompts/get", "completion/complete", *CACHEABLE_METHODS}))
RESULTS = st.one_of(
    json_text.objects,
    json_text.object_of({"_meta": json_text.values, "content": json_text.values}),
    json_text.object_of({"resultType": json_text.values, "ttlMs": json_text.numbers}),
    json_text.object_of(
        {"resultType": st.sampled_from(('"complete"', '"input_required"')), "_meta": json_text.objects}
    ),
)
ADDED = {"resultType", "ttlMs", "cacheScope", "_meta"}


@given(RESULTS, METHODS, st.sampled_from(((Era.HANDSHAKE, Era.HANDSHAKE), (Era.HANDSHAKE, Era.STATELESS))))
def test_a_handshake_client_gets_the_bytes_as_they_came(result: str, method: str, eras: tuple[Era, Era]) -> None:
    raw = result.encode()
    assert result_for(*eras, method, raw, INFO) is raw


@given(RESULTS, METHODS)
def test_within_the_stateless_era_what_is_owed_is_added_and_nothing_else(result: str, method: str) -> None:
    raw = result.encode()
    members = rewrite.members(raw)
    owed: dict[str, bytes] = {"resultType": b'"complete"'}
    if method in CACHEABLE_METHODS and rewrite.text(members.get("resultType")) in (None, "complete"):
        owed |= {"ttlMs": b"0", "cacheScope": b'"private"'}
    if not isinstance(json.loads(result).get("_meta", {}), dict):
        owed = {}
    after = result_for(Era.STATELESS, Era.STATELESS, method, raw, INFO)
    added = {name: value for name, value in owed.items() if name not in members}
    cut = [(name, bytes(value)) for name, value in rewrite.members(after).items()]
    assert cut == [*added.items(), *((name, bytes(value)) for name, value in members.items())]
    assert added or after is raw


FRESH = b'"ttlMs":9,"cacheScope":"public"'
USUAL = (
    b'{"resultType":"complete",%b,"contents":[{"text":"}} {"}]}' % FRESH,
    b'{"_meta":{}, "resultType":"complete", "ttlMs": 0 , "cacheScope": "private", "contents": [{"uri":"x"}]}',
    b'{"_meta":{"a":{"b":1}},"contents":[{"uri":"x","text":"\\"resultType\\": {}"}],%b,"resultType":"complete"}'
    % FRESH,
    b'{"contents":[{"uri":"x","text":"%b"}],%b,"resultType":"complete","_meta":{"a":{"b":1}}}' % (b"{" * 999, FRESH),
)


@pytest.mark.parametrize("raw", USUAL)
@pytest.mark.parametrize("method", ("tools/call", "resources/read"))
def test_a_right_answer_within_the_stateless_era_is_not_cut_open(
    raw: bytes, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rewrite, "members", None)
    assert result_for(Era.STATELESS, Era.STATELESS, method, raw, INFO) is raw


@pytest.mark.parametrize(
    "raw",
    (
        b'{"content":[],"structuredContent":{"resultType":"complete","ttlMs":1,"cacheScope":"public"}}',
        b'{"content":["resultType","ttlMs","cacheScope"]}',
        b'{"structuredContent":{"resultType":"complete","a":{}},"ttlMs":1,"x":2}',
        b'{"x":"%b","structuredContent":{"a":{},"resultType":"complete","ttlMs":1,"cacheScope":"public"}}'
        % (b"x" * 999),
    ),
)
def test_what_only_another_object_says_is_owed_still(raw: bytes) -> None:
    before = json.loads(raw)
    after = json.loads(result_for(Era.STATELESS, Era.STATELESS, "resources/read", raw, INFO))
    assert after == {"resultType": "complete", "ttlMs": 0, "cacheScope": "private", **before}


@given(RESULTS, METHODS, st.sampled_from((b"", INFO)))
def test_a_stateless_client_gets_what_its_revision_requires(result: str, method: str, info: bytes) -> None:
    before = json.loads(result)
    raw = result_for(Era.STATELESS, Era.HANDSHAKE, method, result.encode(), info)
    after = json.loads(raw)
    if not isinstance(before.get("_meta", {}), dict):
        assert raw == result.encode(), "what is malformed passes as it came"
        return
    assert after["resultType"] == before.get("resultType", "complete")
    if method in CACHEABLE_METHODS and after["resultType"] == "complete":
        assert {"ttlMs", "cacheScope"} <= after.keys()
    if info:
        assert SERVER_INFO in after["_meta"]
    cut_before, cut_after = rewrite.members(result.encode()), rewrite.members(raw)
    assert [(k, bytes(v)) for k, v in cut_after.items() if k not in ADDED] == [
        (k, bytes(v)) for k, v in cut_before.items() if k not in ADDED
    ]
    assert raw.count(b'"resultType"') <= max(1, result.count('"resultType"'))


@given(json_text.values, METHODS)
def test_what_is_no_object_passes_as_it_came(value: str, method: str) -> None:
    if not isinstance(json.loads(value), dict):
        assert result_for(Era.STATELESS, Era.HANDSHAKE, method, value.encode(), INFO) == value.encode()


@pytest.mark.parametrize(
    ("client", "upstream", "method", "code", "translated"),
    (
        (Era.STATELESS, Era.HANDSHAKE, "resources/read", RESOURCE_NOT_FOUND_HANDSHAKE, INVALID_PARAMS),
        (Era.HANDSHAKE, Era.STATELESS, "resources/read", INVALID_PARAMS, RESOURCE_NOT_FOUND_HANDSHAKE),
        (Era.HANDSHAKE, Era.HANDSHAKE, "resources/read", RESOURCE_NOT_FOUND_HANDSHAKE, RESOURCE_NOT_FOUND_HANDSHAKE),
        (Era.HANDSHAKE, Era.STATELESS, "tools/call", INVALID_PARAMS, INVALID_PARAMS),
        (Era.STATELESS, Era.HANDSHAKE, "resources/read", -32603, -32603),
        (Era.STATELESS, Era.HANDSHAKE, "tools/call", RESOURCE_NOT_FOUND_HANDSHAKE, INVALID_PARAMS),
        (Era.STATELESS, Era.HANDSHAKE, "tools/call", -32042, -32000),
        (Era.STATELESS, Era.HANDSHAKE, "tools/call", -32020, -32000),
        (Era.STATELESS, Era.HANDSHAKE, "tools/call", -32099, -32000),
        (Era.STATELESS, Era.HANDSHAKE, "tools/call", -32019, -32019),
        (Era.STATELESS, Era.HANDSHAKE, "tools/call", -32100, -32100),
        (Era.STATELESS, Era.STATELESS, "tools/call", -32020, -32020),
        (Era.STATELESS, Era.STATELESS, "tools/call", -32021, -32021),
        (Era.STATELESS, Era.STATELESS, "tools/call", -32050, -32000),
        (Era.STATELESS, Era.STATELESS, "resources/read", RESOURCE_NOT_FOUND_HANDSHAKE, INVALID_PARAMS),
        (Era.STATELESS, Era.STATELESS, "tools/call", RESOURCE_NOT_FOUND_HANDSHAKE, INVALID_PARAMS),
        (Era.STATELESS, Era.STATELESS, "tools/call", -32042, -32000),
        (Era.STATELESS, Era.STATELESS, "tools/call", -32123, -32123),
        (Era.HANDSHAKE, Era.STATELESS, "tools/call", -32021, -32021),
    ),
)
def test_the_codes_that_moved(client: Era, upstream: Era, method: str, code: int, translated: int) -> None:
    raw = error_for(client, upstream, method, error_object(code, "no such thing", {"uri": "x"}))
    assert json.loads(raw) == {"code": translated, "message": "no such thing", "data": {"uri": "x"}}


@given(json_text.object_of({"code": st.just("-32002"), "data": json_text.values}))
def test_all_else_of_an_error_keeps_its_bytes(error: str) -> None:
    before = rewrite.members(error.encode())
    after = rewrite.members(error_for(Era.STATELESS, Era.HANDSHAKE, "resources/read", error.encode()))
    moved = {key: bytes(value) for key, value in before.items()}
    if json.loads(error).get("code") == -32002 and isinstance(json.loads(error).get("message", ""), str):
        moved["code"] = b"-32602"
    assert {key: bytes(value) for key, value in after.items()} == moved
    assert list(after) == list(before)


@pytest.mark.parametrize("said", ("[1, 2.50]", '"x"', "1E5", "true", "null"))
@pytest.mark.parametrize("blocks", ("[]", '[{"type":"text","text":"it"}]', '[{"type":"image"}]'))
def test_an_older_client_is_told_in_words_what_is_no_object(said: str, blocks: str) -> None:
    raw = f'{{"structuredContent":{said},"content":{blocks},"x":1E5}}'.encode()
    complete = rewrite.prepended(raw, b'"resultType":"complete"')
    assert result_for(Era.STATELESS, Era.STATELESS, "tools/call", complete, b"") == complete
    assert result_for(Era.HANDSHAKE, Era.HANDSHAKE, "tools/call", raw, b"") == raw
    told = json.loads(result_for(Era.HANDSHAKE, Era.STATELESS, "tools/call", raw, b""))
    words = [block for block in json.loads(blocks) if block["type"] == "text"] or [{"type": "text", "text": said}]
    assert told["content"] == [each for each in json.loads(blocks) if each["type"] != "text"] + words
    assert told.keys() == {"content", "x"}


@given(json_text.object_of({"structuredContent": json_text.objects, "content": json_text.values}))
def test_an_older_client_gets_an_object_as_it_came(result: str) -> None:
    assert result_for(Era.HANDSHAKE, Era.STATELESS, "tools/call", result.encode(), b"") == result.encode()
