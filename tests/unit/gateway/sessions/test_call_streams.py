"""The names of calls' streams."""

from __future__ import annotations

import pytest

from hub_gateway.sessions.call_streams import MAX_ID_BYTES, answered_by, call_stream_id
from hub_gateway.sessions.outbox import event_id, parse_event_id
from hub_gateway.sessions.session import replica_in

EPOCH = "0123abcdfedcba"


@pytest.mark.parametrize("id_raw", [b"1", b"-7", b"1.5E3", b'"my id"', '"é~-\\n"'.encode(), b'"' + b"x" * 94 + b'"'])
def test_the_name_of_a_call_s_stream_tells_what_it_answers(id_raw: bytes) -> None:
    name = call_stream_id(3, EPOCH, id_raw)
    assert name.isascii() and name.isprintable()
    assert answered_by(name) == id_raw
    assert parse_event_id(event_id(name, 12)) == (name, 12)
    assert replica_in(name) == EPOCH[:8]


def test_two_calls_of_one_id_have_streams_of_their_own() -> None:
    assert call_stream_id(1, EPOCH, b"1") != call_stream_id(2, EPOCH, b"1")


@pytest.mark.parametrize(
    "name",
    [
        call_stream_id(1, EPOCH, b'"' + b"x" * MAX_ID_BYTES + b'"'),
        f"call1~{EPOCH}",
        f"call1.bnVsbA~{EPOCH}",
        f"call1.e30~{EPOCH}",
        f"call1.dHJ1ZQ~{EPOCH}",
        f"call1.a~{EPOCH}",
        f"call1._w~{EPOCH}",
        f"standing~{EPOCH}",
        "",
    ],
    ids=["long", "none", "null", "object", "true", "no-base64", "no-utf8", "standing", "empty"],
)
def test_other_names_tell_nothing(name: str) -> None:
    assert answered_by(name) is None
