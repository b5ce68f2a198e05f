"""The HTTP/1.1 client against servers that take every liberty."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from hub_gateway.config.server_model import ConnectionPool
from hub_gateway.errors import UpstreamDown, UpstreamGarbage
from hub_gateway.upstreams.transports.address import parse, request_head
from hub_gateway.upstreams.transports.http1 import Broken, Link, Response, Unreachable
from hub_gateway.upstreams.transports.pool import Pool
from tests.unit.gateway.upstreams.eyes import until
from tests.unit.gateway.upstreams.scripted import (
    STREAM_END,
    STREAM_HEAD,
    Play,
    Request,
    Write,
    answer,
    chunk,
    scripted,
)

pytestmark = pytest.mark.anyio
BODY = b'{"a":1}'


def _pool(url: str, **limits: int | bool) -> Pool:
    return Pool(parse(url), ConnectionPool(**limits))  # pyright: ignore[reportArgumentType]


async def _post(pool: Pool, url: str, body: bytes = BODY) -> Response:
    async with asyncio.timeout(10):
        return await pool.exchange(request_head("POST", parse(url), b""), body)


def _says(*parts: bytes, keep: bool = True) -> Play:
    async def play(request: Request, write: Write) -> bool:
        for part in parts:
            await write(part)
            await asyncio.sleep(0)
        return keep

    return play


@pytest.mark.parametrize(
    ("parts", "keep"),
    [
        ([answer(b"hello")], True),
        ([bytes([byte]) for byte in answer(b"hello")], True),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunk(b"he"), chunk(b"llo"), STREAM_END], True),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nTrailer: x\r\n\r\n"], True),
        ([b"HTTP/1.1 200 OK\r\n\r\nhel", b"lo"], False),
        ([b"HTTP/1.0 200 OK\r\n\r\nhello"], False),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer(b"hello")], True),
    ],
    ids=["length", "byte-by-byte", "chunked", "extensions-and-trailers", "until-close", "http-1.0", "interim"],
)
async def test_a_body_ends_where_the_server_says(parts: list[bytes], keep: bool) -> None:
    async with scripted(_says(*parts, keep=keep)) as server:
        pool = _pool(server.url)
        for _ in range(2):
            response = await _post(pool, server.url)
            assert (response.status, response.body) == (200, b"hello")
        assert server.links == (1 if keep else 2)
        await pool.close()


_ENDLESS = b"x" * 60_000


@pytest.mark.parametrize(
    ("begin", "again"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"X-More: " + _ENDLESS + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nX-Long: ", _ENDLESS),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: " + _ENDLESS + b"\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n", b"X-More: " + _ENDLESS + b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", _ENDLESS),
    ],
    ids=["headers", "header", "interim", "trailers", "extension"],
)
async def test_what_has_no_end_beside_a_body_is_not_kept(begin: bytes, again: bytes) -> None:
    written = 0

    async def play(_request: Request, write: Write) -> bool:
        nonlocal written
        await write(begin)
        while written < 1_000 * len(again):
            await write(again)
            written += len(again)
        return False

    async with scripted(play) as server:
        pool = _pool(server.url)
        with pytest.raises(UpstreamGarbage):
            await _post(pool, server.url)
        assert written < 1_000 * len(again), "the socket was closed long before"
        await pool.close()


async def test_the_request_is_written_with_its_length() -> None:
    async with scripted(_says(answer(b""))) as server:
        pool = _pool(server.url)
        big = b"x" * 3_000_000
        await _post(pool, server.url, BODY)
        await _post(pool, server.url, big)
        assert [request.body for request in server.requests] == [BODY, big]
        assert server.requests[0].headers["host"] == f"127.0.0.1:{server.port}"
        await pool.close()


@pytest.mark.parametrize(
    "said",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Le", answer(b"hello")[:-2], STREAM_HEAD.replace(b"text/event-stream", b"a/b")],
    ids=["nothing", "half-a-head", "half-a-body", "no-last-chunk"],
)
async def test_a_cut_answer_is_broken_and_never_asked_for_again(said: bytes) -> None:
    async with scripted(_says(said, keep=False)) as server:
        pool = _pool(server.url)
        with pytest.raises(Broken):
            await _post(pool, server.url)
        assert len(server.requests) == 1
        await pool.close()


@pytest.mark.parametrize("said", [b"<html>", b"\0\0\0\0", b"HTTP/1.1 2xx OK\r\n\r\n", b"SSH-2.0-OpenSSH_9\r\n"])
async def test_what_is_no_http_is_garbage(said: bytes) -> None:
    async with scripted(_says(said)) as server:
        pool = _pool(server.url)
        with pytest.raises(UpstreamGarbage, match="does not speak HTTP"):
            await _post(pool, server.url)
        await pool.close()


async def test_a_refused_connection_says_that_nothing_was_sent() -> None:
    async with scripted(_says()) as server:
        url = server.url
    pool = _pool(url)
    with pytest.raises(Unreachable, match=r"cannot reach http://127\.0\.0\.1"):
        await _post(pool, url)
    await pool.close()


async def test_a_socket_that_the_server_closed_while_idle_is_not_used_again() -> None:
    async def play(request: Request, write: Write) -> bool:
        await write(answer(b"ok"))
        return False

    async with scripted(play) as server:
        pool = _pool(server.url)
        for _ in range(3):
            assert (await _post(pool, server.url)).body == b"ok"
            await until(lambda: pool.idle, lambda idle: idle == 0, "the closed socket leaves the pool")
        assert server.links == 3
        await pool.close()


@pytest.mark.parametrize(
    ("url", "said", "kept_s"),
    (
        ("http://127.0.0.1/mcp", b"", 4.0),
        ("https://127.0.0.1/mcp", b"", 60.0),
        ("http://127.0.0.1/mcp", b"timeout=75", 74.0),
    ),
)
async def test_how_long_an_idle_socket_is_kept(url: str, said: bytes, kept_s: float) -> None:
    pool = _pool(url)
    assert (pool.keep_s_of(said) if said else pool.keep_s) == kept_s
    link = Link(pool)
    link.keep_s = kept_s
    assert not link.usable(kept_s), "it may be closing just now"
    await pool.close()


async def test_connection_close_is_obeyed() -> None:
    async with scripted(_says(answer(b"ok", "Connection: close"))) as server:
        pool = _pool(server.url)
        await _post(pool, server.url)
        await _post(pool, server.url)
        assert server.links == 2
        await pool.close()


async def test_without_keep_alive_every_request_has_its_own_socket() -> None:
    async with scripted(_says(answer(b"ok"))) as server:
        pool = _pool(server.url, enabled=False)
        await _post(pool, server.url)
        await _post(pool, server.url)
        assert server.links == 2
        await pool.close()


async def test_no_more_sockets_than_the_limit_and_everyone_is_served() -> None:
    async with scripted(_says(answer(b"ok"))) as server:
        pool = _pool(server.url, max_connections=3)
        responses = await asyncio.gather(*(_post(pool, server.url) for _ in range(50)))
        assert {response.body for response in responses} == {b"ok"}
        assert server.links <= 3
        await pool.close()


async def test_who_waits_for_a_socket_comes_next_where_none_could_be_opened_for_another() -> None:
    async with scripted(_says()) as server:
        url = server.url
    pool = _pool(url, max_connections=1)
    outcomes = await asyncio.gather(*(_post(pool, url) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Unreachable] * 3
    await pool.close()


async def test_a_cancelled_exchange_closes_its_socket_and_frees_its_place() -> None:
    release = asyncio.Event()

    async def play(request: Request, write: Write) -> bool:
        if request.body == BODY:
            await release.wait()
        await write(answer(b"ok"))
        return True

    async with scripted(play) as server:
        pool = _pool(server.url, max_connections=1)
        task = asyncio.ensure_future(_post(pool, server.url))
        await server.seen(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            await server.hung_up.wait()
        assert (await _post(pool, server.url, b"{}")).body == b"ok"
        release.set()
        await pool.close()


async def test_a_feed_that_has_enough_settles_the_exchange_gets_the_rest_and_keeps_the_socket() -> None:
    heard: list[bytes] = []

    def feed(data: bytes) -> bool:
        heard.append(data)
        return b"enough" in data

    async def play(request: Request, write: Write) -> bool:
        await write(STREAM_HEAD + chunk(b"some"))
        await write(chunk(b"enough") + chunk(b"more") + STREAM_END)
        return True

    async with scripted(play) as server:
        pool = _pool(server.url)
        head = request_head("POST", parse(server.url), b"")
        for _ in range(2):
            heard.clear()
            response = await pool.exchange(head, BODY, feed)
            assert response.streamed
            assert b"".join(heard) == b"someenoughmore"
        assert server.links == 1
        await pool.close()


_EVENTS = chunk(b"some") + chunk(b"what") + chunk(b"else")


@pytest.mark.parametrize(
    "stream",
    [
        STREAM_HEAD + _EVENTS + STREAM_END,
        STREAM_HEAD + _EVENTS.replace(b"4\r\n", b"4;x=y\r\n", 2) + STREAM_END,
        STREAM_HEAD + _EVENTS + b"0\r\nTrailer: x\r\n\r\n",
        STREAM_HEAD + _EVENTS.replace(b"4\r\n", b"00000000004\r\n", 1) + STREAM_END,
        STREAM_HEAD.replace(b"\r\n\r\n", b"\r\nVia: a\r\nVia: b\r\n\r\n") + _EVENTS + STREAM_END,
    ],
    ids=["usual", "extensions", "trailers", "long-size", "odd-head"],
)
async def test_a_stream_is_the_same_in_whatever_pieces_it_comes(stream: bytes) -> None:
    cuts = [*range(1, len(stream))]
    heard: list[bytes] = []

    def feed(data: bytes) -> bool:
        heard.append(data)
        return False

    async def play(_request: Request, write: Write) -> bool:
        at = cuts.pop()
        await write(stream[:at])
        await asyncio.sleep(0)
        await write(stream[at:])
        return True

    async with scripted(play) as server:
        pool = _pool(server.url)
        while cuts:
            heard.clear()
            response = await pool.exchange(request_head("POST", parse(server.url), b""), BODY, feed)
            assert (response.status, response.streamed, response.body) == (200, True, b"")
            assert response.header(b"content-type") == "text/event-stream"
            assert b"".join(heard) == b"somewhatelse"
        assert server.links == 1
        await pool.close()


@pytest.mark.parametrize("garbage", [b"x\r\nsome", b"4\r\nsomewhat\r\n", b"-4\r\nsome\r\n", b"\r\n"])
async def test_a_stream_whose_chunks_are_none_is_garbage(garbage: bytes) -> None:
    async def play(_request: Request, write: Write) -> bool:
        await write(STREAM_HEAD + chunk(b"some"))
        await write(garbage)
        return True

    async with scripted(play) as server:
        pool = _pool(server.url)
        with pytest.raises(UpstreamGarbage):
            async with asyncio.timeout(5):
                await pool.exchange(request_head("POST", parse(server.url), b""), BODY, lambda _: False)
        await pool.close()


async def test_a_stream_that_stays_open_after_the_feed_had_enough_blocks_nobody() -> None:
    async def play(request: Request, write: Write) -> bool:
        await write(STREAM_HEAD + chunk(b"enough"))
        await asyncio.Event().wait()
        return True

    async with scripted(play) as server:
        pool = _pool(server.url)
        async with asyncio.timeout(5):
            for _ in range(2):
                await pool.exchange(request_head("POST", parse(server.url), b""), BODY, lambda _: True)
        await pool.close()


async def test_closing_the_pool_fails_what_is_under_way() -> None:
    async def play(request: Request, write: Write) -> bool:
        await asyncio.Event().wait()
        return True

    async with scripted(play) as server:
        pool = _pool(server.url)
        task = asyncio.ensure_future(_post(pool, server.url))
        await server.seen(1)
        await pool.close()
        with pytest.raises(UpstreamDown):
            await task


async def test_tls_checks_the_certificate(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = await asyncio.create_subprocess_exec(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1",
        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate),
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert await make.wait() == 0
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with scripted(_says(answer(b"secret")), tls) as server:
        pool = _pool(server.url)
        with pytest.raises(Unreachable, match="certificate is not trusted"):
            await _post(pool, server.url)
        await pool.close()
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SSL_CERT_FILE", str(certificate))
            pool = _pool(server.url)
        assert (await _post(pool, server.url)).body == b"secret"
        await pool.close()
