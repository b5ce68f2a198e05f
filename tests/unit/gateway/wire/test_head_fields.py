"""Header lines read at once: what is read is what a full parser reads, and what is not usual is left to it."""

from __future__ import annotations

import time

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hub_gateway.wire.head_fields import Heads, body_size, keeps, read_fields

NAMES = st.sampled_from(
    [b"Accept", b"accept", b"X-A", b"Content-Length", b"Connection", b"Transfer-Encoding", b"T raceparent"]
)
TEXTS = st.binary(max_size=12) | st.text("abc \t,;=:", max_size=12).map(str.encode) | st.just(b"12")
LINES = st.lists(st.tuples(NAMES, TEXTS).map(lambda pair: b"%b:%b" % pair) | TEXTS, min_size=1, max_size=5)


class Seen:
    """What the full parser reads."""

    def __init__(self, head: bytes) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(head)
        self.keep = parser.should_keep_alive()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self.headers.append((name.lower(), value))


@given(LINES)
@example([b"A: \x80 b\t"])
@example([b"A: b\x00"])
@example([b"A:\x0bb"])
@example([b"A : b"])
@example([b" folded: b"])
def test_what_is_read_is_what_a_full_parser_reads(lines: list[bytes]) -> None:
    for _ in range(2):  # the second time from memory
        fields = read_fields(lines)
        if (
            fields is None
            or b"transfer-encoding" in fields
            or (b"content-length" in fields and body_size(fields) is None)
        ):
            return
        seen = Seen(b"POST / HTTP/1.1\r\n" + b"\r\n".join(lines) + b"\r\n\r\n")
        assert sorted(fields.items()) == sorted((name, value.rstrip(b" \t")) for name, value in seen.headers)
        assert keeps(fields) in (None, seen.keep) or (body_size(fields) or 0) > 0


@pytest.mark.parametrize(
    "lines", ([b"a: 1", b"A: 2"], [b"a: 1", b""], [b"no colon"], [b"a: b\nc: d"], [b"a: b\rc"], [b": nameless"])
)
def test_an_unusual_head_is_not_read(lines: list[bytes]) -> None:
    assert read_fields(lines) is None


@pytest.mark.parametrize(
    ("lines", "size"),
    (
        ([b"Content-Length: 12"], 12),
        ([b"content-length:0"], 0),
        ([b"A: b"], None),
        ([b"Content-Length: +1"], None),
        ([b"Content-Length: 1, 1"], None),
        ([b"Content-Length: 1234567890123"], None),
        ([b"Content-Length: 5", b"Transfer-Encoding: chunked"], None),
    ),
)
def test_a_body_is_as_long_as_one_field_alone_says(lines: list[bytes], size: int | None) -> None:
    assert body_size(read_fields(lines) or {}) == size


@pytest.mark.parametrize(
    ("value", "kept"), ((b"keep-alive", True), (b"Keep-Alive", True), (b"close", False), (b"keep-alive, upgrade", None))
)
def test_a_socket_is_kept_as_connection_says(value: bytes, kept: bool | None) -> None:
    assert keeps({b"connection": value}) is kept
    assert keeps({}) is True


def test_a_line_of_blanks_takes_no_longer_than_another() -> None:
    line = b"A:" + b" " * 60_000 + b"\x00"
    before_s = time.process_time()
    assert read_fields([line]) is None
    assert time.process_time() - before_s < 1.0, "the square of its length is many times as much"


def test_a_head_that_comes_again_is_the_same_with_its_notes() -> None:
    heads, raw = Heads(), b"Host: a\r\nContent-Length: 3"
    head = heads.read(raw)
    assert head is not None and head is heads.known[raw]
    assert (head.fields, head.size, head.keeps) == ({b"host": b"a", b"content-length": b"3"}, 3, True)


@pytest.mark.parametrize("raw", (b"Traceparent: 00-1-2-01", b"a: 1\r\nbaggage: x", b"long: " + b"x" * 5_000))
def test_a_head_that_will_not_come_again_is_not_kept(raw: bytes) -> None:
    heads = Heads()
    assert heads.read(raw) is not None
    assert not heads.known


def test_what_is_kept_of_heads_has_an_end() -> None:
    heads = Heads()
    for number in range(10_000):
        assert heads.read(b"x: %d" % number) is not None
    assert 0 < len(heads.known) <= 4_096
    assert heads.read(b"no colon") is None
