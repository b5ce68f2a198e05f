"""Lines and events: whatever the chunks, the same messages come out."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.wire.framing import (
    KEEP_ALIVE,
    Event,
    EventBuffer,
    FrameTooLarge,
    LineBuffer,
    encode_event,
    one_line,
)
from tests.support import json_text

LIMIT = 1 << 20
NAMES = st.text(st.characters(codec="ascii", exclude_categories=("C",)), min_size=1, max_size=8).map(str.strip)


@st.composite
def chunked(draw: st.DrawFn, streams: st.SearchStrategy[bytes]) -> tuple[bytes, list[bytes]]:
    """A byte stream, and the same cut at any places."""
    stream = draw(streams)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    edges = [0, *cuts, len(stream)]
    return stream, [stream[begin:end] for begin, end in itertools.pairwise(edges)]


STREAMS = st.lists(
    st.sampled_from(
        (b"data: ", b"data", b"id: 1", b"event: e", b"retry: 9", b":", b"x", b"\n", b"\r", b"\r\n", b"\0", b" ")
    )
    | st.binary(max_size=4),
    max_size=24,
).map(b"".join)


@given(chunked(STREAMS))
def test_lines_do_not_depend_on_chunks(cut: tuple[bytes, list[bytes]]) -> None:
    stream, chunks = cut
    buffer = LineBuffer(LIMIT)
    assert [line for chunk in chunks for line in buffer.feed(chunk)] == list(LineBuffer(LIMIT).feed(stream))


@given(st.lists(json_text.objects, max_size=5))
def test_messages_come_back_as_lines(messages: list[str]) -> None:
    stream = b"".join(one_line(message.encode()) + b"\n" for message in messages)
    lines = list(LineBuffer(LIMIT).feed(stream))
    assert [json.loads(line) for line in lines] == [json.loads(message) for message in messages]


@given(json_text.values)
def test_one_line_changes_no_value_and_no_length(value: str) -> None:
    line = one_line(value.encode())
    assert b"\n" not in line
    assert b"\r" not in line
    assert len(line) == len(value.encode())
    assert json.loads(line) == json.loads(value)


def test_a_line_that_grows_too_long_is_refused_and_memory_is_given_back() -> None:
    buffer = LineBuffer(8)
    assert list(buffer.feed(b"12345678")) == []
    with pytest.raises(FrameTooLarge):
        list(buffer.feed(b"9"))
    assert list(buffer.feed(b"ok\n")) == [b"ok"]


@given(chunked(STREAMS))
def test_events_do_not_depend_on_chunks(cut: tuple[bytes, list[bytes]]) -> None:
    stream, chunks = cut
    buffer = EventBuffer(LIMIT)
    assert [event for chunk in chunks for event in buffer.feed(chunk)] == list(EventBuffer(LIMIT).feed(stream))


@given(json_text.values, st.none() | NAMES, st.none() | NAMES, st.none() | st.integers(0, 10**9))
def test_an_event_is_parsed_as_it_was_encoded(
    value: str, event_id: str | None, name: str | None, retry_ms: int | None
) -> None:
    encoded = encode_event(value.encode(), event_id=event_id, name=name, retry_ms=retry_ms)
    (event,) = EventBuffer(LIMIT).feed(KEEP_ALIVE + encoded)
    assert event == Event(one_line(value.encode()), name or "message", event_id, retry_ms)


def test_a_priming_event_is_an_id_without_data() -> None:
    assert list(EventBuffer(LIMIT).feed(encode_event(b"", event_id="s-0"))) == [Event(b"", "message", "s-0", None)]


def test_keep_alive_is_no_event() -> None:
    assert list(EventBuffer(LIMIT).feed(KEEP_ALIVE * 3)) == []


def test_an_event_is_told_as_soon_as_its_empty_line_has_begun() -> None:
    buffer = EventBuffer(LIMIT)
    assert [event.data for event in buffer.feed(b"data: a\r\n\r")] == [b"a"]
    assert [event.data for event in buffer.feed(b"\ndata: b\r\r")] == [b"b"]
    assert [event.data for event in buffer.feed(b"data: c\n\n")] == [b"c"]


@pytest.mark.parametrize(
    ("stream", "events"),
    (
        (b"data: a\ndata: b\n\n", [Event(b"a\nb")]),
        (b"data\n\n", [Event(b"")]),
        (b"data:  two spaces\n\n", [Event(b" two spaces")]),
        (b"event: x\n\n", []),
        (b"id: a\0b\ndata: x\n\n", [Event(b"x")]),
        (b"retry: 1e3\ndata: x\n\n", [Event(b"x")]),
        (b"retry: " + b"9" * 5000 + b"\ndata: x\n\n", [Event(b"x")]),
        (b"retry: 250\n\n", [Event(b"", retry_ms=250)]),
        (b"unknown: x\ndata: y\n\n", [Event(b"y")]),
    ),
)
def test_fields_are_read_as_the_standard_says(stream: bytes, events: list[Event]) -> None:
    assert list(EventBuffer(LIMIT).feed(stream)) == events


@pytest.mark.parametrize("stream", (b"x" * 33, b"data: " + b"x" * 33 + b"\n", b"data: aaaaaaaaaaaaaaaa\n" * 3))
def test_an_event_that_grows_too_long_is_refused(stream: bytes) -> None:
    buffer = EventBuffer(32)
    with pytest.raises(FrameTooLarge):
        for at in range(0, len(stream), 5):
            list(buffer.feed(stream[at : at + 5]))


def test_a_byte_order_mark_before_a_stream_is_no_part_of_it() -> None:
    mark = b"\xef\xbb\xbf"
    buffer = EventBuffer(LIMIT)
    assert [event.data for event in buffer.feed(mark + b"data: 1\n\n")] == [b"1"]
    assert [event.data for event in buffer.feed(mark + b"data: 2\n\n")] == [], "only at the beginning"
