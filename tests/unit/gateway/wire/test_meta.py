"""`_meta` on its way upstream: one hop's own keys are written anew, everybody else's keep their bytes."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.wire import meta, rewrite
from hub_gateway.wire.meta import Caller
from hub_gateway.wire.revisions import Era
from tests.support import json_text

HOP = (meta.PROTOCOL_VERSION, meta.CLIENT_INFO, meta.CLIENT_CAPABILITIES, meta.LOG_LEVEL)
OWN = {*HOP, meta.PROGRESS_TOKEN}
REVISIONS = {Era.HANDSHAKE: "2025-11-25", Era.STATELESS: "2026-07-28"}


METAS = json_text.object_of(
    {
        meta.PROGRESS_TOKEN: json_text.ids,
        meta.PROTOCOL_VERSION: st.just('"2026-07-28"'),
        meta.CLIENT_INFO: json_text.objects,
        meta.TRACEPARENT: json_text.strings,
    }
)
PARAMS = st.one_of(json_text.objects, json_text.object_of({"_meta": METAS, "name": json_text.strings}))
CALLERS = st.builds(
    Caller,
    st.just(b"") | json_text.objects.map(str.encode),
    json_text.objects.map(str.encode),
    st.none() | st.sampled_from(("debug", "error")),
)


def _cut(raw: bytes) -> dict[str, bytes]:
    return {key: bytes(value) for key, value in rewrite.members(raw).items()}


@given(PARAMS, st.sampled_from(Era), CALLERS, st.none() | json_text.ids.map(str.encode))
def test_what_is_nobody_s_business_keeps_its_bytes_and_order(
    params: str, era: Era, caller: Caller, token: bytes | None
) -> None:
    members = rewrite.members(params.encode())
    before_meta = _cut(bytes(members["_meta"])) if "_meta" in members else {}
    sent = meta.for_upstream(members, era=era, revision=REVISIONS[era], caller=caller, progress_token_raw=token)
    after = _cut(sent)
    assert [(k, v) for k, v in after.items() if k != "_meta"] == [
        (k, bytes(v)) for k, v in members.items() if k != "_meta"
    ]
    after_meta = _cut(after["_meta"]) if "_meta" in after else {}
    assert [(k, v) for k, v in after_meta.items() if k not in OWN] == [
        (k, v) for k, v in before_meta.items() if k not in OWN
    ]
    assert after_meta.get(meta.PROGRESS_TOKEN) == token
    assert members == rewrite.members(params.encode()), "the client's own params are not changed"


@given(PARAMS, CALLERS)
def test_a_stateless_upstream_is_told_who_asks(params: str, caller: Caller) -> None:
    sent = meta.for_upstream(
        rewrite.members(params.encode()),
        era=Era.STATELESS,
        revision="2026-07-28",
        caller=caller,
        progress_token_raw=None,
    )
    told = _cut(_cut(sent)["_meta"])
    assert told[meta.PROTOCOL_VERSION] == b'"2026-07-28"'
    assert told[meta.CLIENT_CAPABILITIES] == caller.capabilities_raw
    assert told.get(meta.CLIENT_INFO, b"") == caller.client_info_raw
    assert told.get(meta.LOG_LEVEL) == (None if caller.log_level is None else json.dumps(caller.log_level).encode())


@given(PARAMS, CALLERS)
def test_a_handshake_upstream_hears_nothing_of_the_other_hop(params: str, caller: Caller) -> None:
    sent = meta.for_upstream(
        rewrite.members(params.encode()),
        era=Era.HANDSHAKE,
        revision="2025-11-25",
        caller=caller,
        progress_token_raw=None,
    )
    told = _cut(sent).get("_meta")
    assert told is None or (not _cut(told).keys() & OWN and _cut(told))


def test_an_empty_meta_is_left_out() -> None:
    members = rewrite.members(b'{"_meta":{"progressToken":1},"a":1E5}')
    sent = meta.for_upstream(
        members, era=Era.HANDSHAKE, revision="2025-11-25", caller=Caller(), progress_token_raw=None
    )
    assert sent == b'{"a":1E5}'


def test_the_caller_is_read_off_a_stateless_request() -> None:
    raw = (
        b'{"io.modelcontextprotocol/clientInfo":{"name":"x","n":1E5},'
        b'"io.modelcontextprotocol/clientCapabilities":{"roots":{ }},"io.modelcontextprotocol/logLevel":"error"}'
    )
    assert meta.read_caller(rewrite.members(raw)) == Caller(b'{"name":"x","n":1E5}', b'{"roots":{ }}', "error")
    assert meta.read_caller({}) == Caller(b"", b"{}", None)
