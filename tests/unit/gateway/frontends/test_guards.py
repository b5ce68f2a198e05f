"""Host and Origin: a page from elsewhere gets nothing, whatever it sends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_gateway.errors import TooLarge
from hub_gateway.frontends.guards import Guard, headers_of, read_body

pytestmark = pytest.mark.anyio
HOST, ORIGIN = "Host not allowed", "Origin not allowed"


def refusal(guard: Guard, host: str = "localhost:7000", origin: str = "") -> str | None:
    """Why these two headers are refused."""
    headers = {b"host": host.encode("latin-1")} | ({b"origin": origin.encode("latin-1")} if origin else {})
    return guard.refusal(headers)


@pytest.mark.parametrize(
    "host", ("localhost", "LOCALHOST:7000", "127.0.0.1:7000", "[::1]:7000", "[::1]", " localhost ")
)
def test_loopback_names_are_allowed(host: str) -> None:
    assert refusal(Guard(), host) is None


@pytest.mark.parametrize("host", ("", "example.com", "localhost.example.com", "127.0.0.2", "[::2]:7000", "1", "null"))
def test_any_other_host_is_not(host: str) -> None:
    assert refusal(Guard(), host) == HOST


@pytest.mark.parametrize(
    "origin",
    (
        "null",
        "https://example.com",
        "http://localhost.example.com",
        "http://localhost:80@example.com",
        "http://example.com:80@example.org",
        "file://",
        "http://[",
        "localhost",
        "\xff\xfe",
    ),
)
def test_a_page_from_elsewhere_is_refused(origin: str) -> None:
    assert refusal(Guard(), origin=origin) == ORIGIN
    assert refusal(Guard(hosts=["", "example.net"]), origin=origin) == ORIGIN


@pytest.mark.parametrize(
    "origin", ("http://localhost:3000", "https://127.0.0.1", "http://[::1]:80", "HTTP://LOCALHOST")
)
def test_a_page_of_this_machine_is_allowed(origin: str) -> None:
    assert refusal(Guard(), origin=origin) is None


def test_what_the_settings_allow_is_allowed_with_any_port() -> None:
    guard = Guard(["Hub.Example.com", "fd00::1", "other.example:8443"], ["https://App.example.org/"])
    for host in ("hub.example.com:443", "[fd00::1]:7000", "other.example", "other.example:1"):
        assert refusal(guard, host) is None
    for origin in ("https://app.example.org", "https://hub.example.com", "http://[fd00::1]:1"):
        assert refusal(guard, origin=origin) is None
    assert refusal(guard, origin="http://app.example.org") == ORIGIN
    assert refusal(guard, "app.example.org") == HOST


def test_a_star_allows_any() -> None:
    assert refusal(Guard(["*"]), "example.com") is None
    assert refusal(Guard([], ["*"]), origin="https://example.com") is None


@given(st.text(st.characters(max_codepoint=255), max_size=30), st.text(st.characters(max_codepoint=255), max_size=30))
def test_any_headers_are_judged_and_always_the_same(host: str, origin: str) -> None:
    guard = Guard()
    first = refusal(guard, host, origin)
    assert first in (None, HOST, ORIGIN)
    assert refusal(guard, host, origin) == refusal(Guard(), host, origin) == first


def test_what_is_remembered_has_an_end() -> None:
    guard = Guard()
    for number in range(3_000):
        assert refusal(guard, f"host-{number}") == HOST
    assert refusal(guard) is None


async def _read(chunks: list[bytes], limit_bytes: int, said: bytes | None = None, gone: bool = False) -> bytes | None:
    messages: list[dict[str, object]] = [
        {"type": "http.request", "body": chunk, "more_body": gone or place < len(chunks) - 1}
        for place, chunk in enumerate(chunks)
    ]
    messages.append({"type": "http.disconnect"})

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    return await read_body(receive, {} if said is None else {b"content-length": said}, limit_bytes)


@pytest.mark.parametrize("chunks", ([b""], [b"ab"], [b"a", b"b"], [b"", b"ab", b""]))
async def test_a_body_comes_whole(chunks: list[bytes]) -> None:
    assert await _read(chunks, 2) == b"".join(chunks)


@pytest.mark.parametrize(
    ("chunks", "said"),
    (([b"abc"], None), ([b"a", b"bc"], None), ([b""], b"3"), ([b""], b"9" * 5_000), ([b"abc"], b"x")),
)
async def test_a_body_over_the_limit_is_refused(chunks: list[bytes], said: bytes | None) -> None:
    with pytest.raises(TooLarge):
        await _read(chunks, 2, said)


async def test_no_more_is_read_than_tells_that_it_is_too_much() -> None:
    with pytest.raises(TooLarge):
        await _read([b"abc"], 2, gone=True)


@pytest.mark.parametrize("chunks", ([], [b"a"], [b"a", b"b"]))
async def test_a_client_that_goes_before_the_end_is_no_body(chunks: list[bytes]) -> None:
    assert await _read(chunks, 10, gone=True) is None


def test_of_a_repeated_header_the_last_counts() -> None:
    assert headers_of({"headers": [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]}) == {b"a": b"3", b"b": b"2"}


def test_a_list_may_stand_in_several_headers() -> None:
    lines = [(b"accept", b"text/event-stream"), (b"a", b"1"), (b"accept", b"application/json")]
    assert headers_of({"headers": lines}) == {b"accept": b"text/event-stream, application/json", b"a": b"1"}
