"""One conversation: its streams are bounded, its calls can be cancelled, its levels are those of RFC 5424."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.sessions.outbox import Sent
from hub_gateway.sessions.session import LOG_LEVELS, MAX_KEPT_BYTES, MAX_KEPT_STREAMS, Session, log_level_at_least
from hub_gateway.wire import codec
from hub_gateway.wire.meta import Caller
from tests.unit.gateway.sessions.test_outbox import read_all
from tests.unit.gateway.sessions.test_reverse import Answers, asked

MIB = 1024 * 1024


def session() -> Session:
    """A session of a client that can be asked for its roots."""
    return Session("id", "2025-11-25", Caller(), {"roots": {}})


def test_a_stream_is_found_by_its_id() -> None:
    one = session()
    first, second = one.open_stream(b"1"), one.open_stream(b"1")
    assert first.stream_id != second.stream_id
    assert [one.stream(each.stream_id) for each in (first, second, one.standing)] == [first, second, one.standing]
    assert one.stream("other") is None


@given(st.lists(st.tuples(st.booleans(), st.sampled_from((1, MIB, 3 * MIB, 16 * MIB))), max_size=12))
def test_ended_streams_are_bounded_and_open_ones_stay(streams: list[tuple[bool, int]]) -> None:
    one = session()
    made = [one.open_stream(b"1") for _ in streams]
    for stream, (ends, size_bytes) in zip(made, streams, strict=True):
        stream.put(bytes(size_bytes))
        if ends:
            one.end_stream(stream)
    kept = [one.stream(stream.stream_id) for stream in made]
    assert all(found is not None for found, (ends, _) in zip(kept, streams, strict=True) if not ends)
    ended = [found.size_bytes for found, (ends, _) in zip(kept, streams, strict=True) if ends and found is not None]
    assert sum(ended) <= MAX_KEPT_BYTES or len(ended) == 1
    if any(ends for ends, _ in streams):
        newest = max(place for place, (ends, _) in enumerate(streams) if ends)
        assert kept[newest] is not None, "the newest may be the one that a client comes back for"


def test_many_ended_streams_are_bounded_by_number() -> None:
    one = session()
    made = [one.open_stream(b"1") for _ in range(MAX_KEPT_STREAMS * 2)]
    for stream in made:
        one.end_stream(stream)
    assert sum(one.stream(stream.stream_id) is not None for stream in made) == MAX_KEPT_STREAMS
    assert one.stream(made[-1].stream_id) is made[-1]


@pytest.mark.parametrize(
    ("params", "cancelled"),
    (
        (b'{"requestId":1}', [b"1"]),
        (rb'{"requestId":"\ud800"}', [rb'"\ud800"']),
        (b'{"requestId":"1"}', [b'"1"']),
        (b'{"requestId":2}', []),
        (b"{}", []),
    ),
)
def test_a_cancellation_reaches_its_call(params: bytes, cancelled: list[bytes]) -> None:
    one, heard = session(), list[bytes]()
    for id_raw in (b"1", b'"1"', rb'"\ud800"'):
        one.running[id_raw] = lambda _reason, id_raw=id_raw: heard.append(id_raw)
    one.take(codec.decode(codec.notification("notifications/cancelled", params)))
    one.take(codec.decode(codec.notification("notifications/other", params)))
    assert heard == cancelled


def test_a_response_reaches_who_asked() -> None:
    one, answers = session(), Answers()
    question = one.reverse.ask(asked(), answers)
    assert question is not None
    one.take(codec.decode(codec.result(question.id_raw, b'{"roots":[]}')))
    assert answers == [(b'{"roots":[]}', b"")]


def test_the_end_of_a_session_is_the_end_of_all_it_has() -> None:
    one, answers, heard = session(), Answers(), list[str]()
    stream = one.open_stream(b"1")
    one.reverse.ask(asked(), answers)
    one.running[b"1"] = lambda _reason: heard.append("cancelled")
    one.close()
    assert heard == ["cancelled"]
    assert len(answers) == 1
    assert (one.running, stream.ended, one.standing.ended) == ({}, True, True)


def test_what_belongs_to_no_call_goes_on_the_standing_stream() -> None:
    one = session()
    one.tell(b"1")
    one.close()
    assert read_all(one.standing) == [Sent(1, b"1")]


def test_levels_are_in_order() -> None:
    for (low, lower), (high, higher) in itertools.product(enumerate(LOG_LEVELS), repeat=2):
        assert log_level_at_least(lower, higher) == (low >= high)


@pytest.mark.parametrize(("level", "wanted"), (("debug", None), (None, "error"), ("loud", "error"), ("debug", "loud")))
def test_what_nobody_ranked_passes(level: str | None, wanted: str | None) -> None:
    assert log_level_at_least(level, wanted)
