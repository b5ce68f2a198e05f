"""URLs and headers on the wire."""

from __future__ import annotations

import pytest

from hub_gateway.errors import UpstreamDown
from hub_gateway.upstreams.transports.address import encode_headers, parse, request_head


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://host/mcp", ("http", "host", 80, "/mcp")),
        ("https://host:8443", ("https", "host", 8443, "/")),
        ("http://[::1]:7/a?b=c%20d", ("http", "::1", 7, "/a?b=c%20d")),
        ("http://host/a b", ("http", "host", 80, "/a%20b")),
        ("http://h\u00f6st/\u00e9", ("http", "xn--hst-sna", 80, "/%C3%A9")),
    ],
)
def test_a_url_is_cut_into_its_parts(url: str, expected: tuple[str, str, int, str]) -> None:
    assert tuple(parse(url)) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host/mcp",
        "ftp://host",
        "http://",
        "http://host:99999/",
        "file:///etc/passwd",
        "http://[",
        f"http://{'h' * 64}.\u00e9/",
        "http://\u00e9..h/",
        "http://a..h/",
        f"http://{'h' * 64}/",
    ],
)
def test_what_is_no_http_url_is_refused(url: str) -> None:
    with pytest.raises(UpstreamDown, match="url is not valid"):
        parse(url)


@pytest.mark.parametrize(
    ("url", "authority"),
    [("http://h/", "h"), ("https://h:443/", "h"), ("http://h:81/", "h:81"), ("http://[::1]:81/", "[::1]:81")],
)
def test_the_host_header_leaves_out_the_default_port(url: str, authority: str) -> None:
    assert parse(url).authority == authority


def test_a_head_is_a_request_line_a_host_and_the_headers() -> None:
    head = request_head("POST", parse("http://h/mcp?x=1"), encode_headers({"A": "b"}))
    assert head == b"POST /mcp?x=1 HTTP/1.1\r\nHost: h\r\nA: b\r\n"


@pytest.mark.parametrize("header", [("A", "b\r\nEvil: 1"), ("A\n", "b"), ("A B", "c"), ("", "x"), ("A", "x\0")])
def test_a_header_that_would_break_the_head_is_refused_without_its_value(header: tuple[str, str]) -> None:
    with pytest.raises(UpstreamDown) as caught:
        encode_headers(dict([header]))
    assert "Evil" not in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "expected"),
    [("/x", "http://h:1/x"), ("y?z=1", "http://h:1/a/y?z=1"), ("http://other/z", "http://other/z")],
)
def test_a_reference_is_read_from_where_it_was_found(reference: str, expected: str) -> None:
    address = parse("http://h:1/a/b").joined(reference)
    assert address.origin + address.target == expected


@pytest.mark.parametrize("reference", ["http://[", "//[::1", "http://\u00e9..h/", "http://h:x/"])
def test_a_reference_that_is_no_url_is_refused(reference: str) -> None:
    with pytest.raises(UpstreamDown, match="url is not valid"):
        parse("http://h:1/a/b").joined(reference)
