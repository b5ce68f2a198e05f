"""Streamable HTTP against scripted endpoints."""

from __future__ import annotations

import asyncio
import gzip

import pytest

from hub_gateway.config.server_model import ConnectionPool
from hub_gateway.errors import UpstreamBusy, UpstreamDown, UpstreamGarbage, UpstreamUnauthorized
from hub_gateway.upstreams.transports.http1 import Broken
from hub_gateway.upstreams.transports.refusals import excerpt
from hub_gateway.upstreams.transports.streamable_http import StreamableHttp
from hub_gateway.upstreams.transports.transport import Forgotten, Refused
from tests.unit.gateway.upstreams.scripted import (
    STREAM_END,
    STREAM_HEAD,
    Request,
    Scripted,
    Write,
    answer,
    chunk,
    scripted,
)

pytestmark = pytest.mark.anyio
REPLY = b'{"jsonrpc":"2.0","id":1,"result":{}}'
NOTE = b'{"jsonrpc":"2.0","method":"notifications/message","params":{}}'
ASK = b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}'


class _Link:
    """A transport with what it received and why it was lost."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self.received: list[tuple[bytes, int | None]] = []
        self.arrived = asyncio.Event()
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.transport = StreamableHttp("test", url, headers or {}, ConnectionPool())

    async def __aenter__(self) -> _Link:
        await self.transport.open(self._receive, self.lost.set_result)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.transport.close()

    def _receive(self, body: bytes, upstream_id: int | None) -> bool:
        self.received.append((body, upstream_id))
        self.arrived.set()
        return b'"result"' in body or b'"error"' in body

    async def call(self, method: str = "tools/call", name: str | None = "t") -> None:
        async with asyncio.timeout(10):
            await self.transport.send(ASK, upstream_id=1, method=method, name=name)

    async def tell(self, method: str) -> None:
        async with asyncio.timeout(10):
            await self.transport.send(NOTE, upstream_id=None, method=method, name=None)


def _play(*replies: bytes):
    script = iter(replies)

    async def play(request: Request, write: Write) -> bool:
        await write(next(script))
        return True

    return play


async def test_a_json_answer_is_received_for_its_request() -> None:
    async with scripted(_play(answer(REPLY))) as server, _Link(server.url) as link:
        await link.call()
        assert link.received == [(REPLY, 1)]


async def test_a_stream_is_received_message_by_message_up_to_the_response() -> None:
    stream = b": hello\n\ndata: " + NOTE + b"\r\n\r\nid: 7\nevent: message\ndata: " + REPLY + b"\n\n"
    parts = b"".join(chunk(stream[at : at + 3]) for at in range(0, len(stream), 3))
    async with scripted(_play(STREAM_HEAD + parts + STREAM_END)) as server, _Link(server.url) as link:
        await link.call()
        assert link.received == [(NOTE, 1), (REPLY, 1)]


@pytest.mark.parametrize("at_once", [True, False])
async def test_what_follows_the_response_on_its_stream_is_received_too(at_once: bool) -> None:
    last = chunk(b"data: " + NOTE + b"\n\n") + STREAM_END
    answered = asyncio.Event()

    async def play(_request: Request, write: Write) -> bool:
        first = STREAM_HEAD + chunk(b"data: " + REPLY + b"\n\n")
        if at_once:
            await write(first + last)
        else:
            await write(first)
            await answered.wait()
            await write(last)
        return True

    async with scripted(play) as server, _Link(server.url) as link:
        await link.call()
        assert link.received[0] == (REPLY, 1)
        link.arrived.clear()
        answered.set()
        if len(link.received) == 1:
            async with asyncio.timeout(10):
                await link.arrived.wait()
        assert link.received[1:] == [(NOTE, 1)]
        await link.call()
        assert {request.link for request in server.requests} == {1}, "the socket carries the next call"


async def test_an_answer_may_come_on_the_standing_stream() -> None:
    accepted = asyncio.Event()

    async def play(request: Request, write: Write) -> bool:
        if request.method == "GET":
            await write(STREAM_HEAD)
            await accepted.wait()
            await write(chunk(b"data: " + REPLY + b"\n\n"))
            await asyncio.Event().wait()
        elif b'"tools/call"' in request.body and "mcp-session-id" in request.headers:
            await write(answer(b"", status="202 Accepted"))
        else:
            await write(answer(REPLY, "Mcp-Session-Id: s1"))
        return True

    async with scripted(play) as server, _Link(server.url) as link:
        await _shake(link)
        await link.call()
        link.arrived.clear()
        accepted.set()
        async with asyncio.timeout(10):
            await link.arrived.wait()
        assert link.received[-1] == (REPLY, None)


async def test_where_there_is_no_standing_stream_accepted_is_no_answer() -> None:
    async def play(request: Request, write: Write) -> bool:
        if request.method == "GET":
            await write(answer(b"", status="405 Method Not Allowed"))
        else:
            known = "mcp-session-id" in request.headers
            await write(answer(b"", status="202 Accepted") if known else answer(REPLY, "Mcp-Session-Id: s1"))
        return True

    async with scripted(play) as server, _Link(server.url) as link:
        await _shake(link)
        with pytest.raises(UpstreamGarbage, match="HTTP 202"):
            await link.call()


async def test_standard_headers_of_the_stateless_era() -> None:
    async with scripted(_play(answer(REPLY), answer(REPLY))) as server:
        async with _Link(server.url, {"Authorization": "Bearer x", "Mcp-Method": "evil", "Accept": "no"}) as link:
            link.transport.speak("2026-07-28")
            await link.call("tools/call", "h\u00f6st")
            await link.call("tools/list", None)
        first, second = server.requests
        assert first.headers["mcp-protocol-version"] == "2026-07-28"
        assert (first.headers["mcp-method"], first.headers["mcp-name"]) == ("tools/call", "=?base64?aMO2c3Q=?=")
        assert (second.headers["mcp-method"], "mcp-name" in second.headers) == ("tools/list", False)
        assert first.headers["authorization"] == "Bearer x"
        assert first.headers["accept"] == "application/json, text/event-stream"
        assert first.headers["content-type"] == "application/json"
        assert "mcp-session-id" not in first.headers


def _session(gets: list[bytes] | None = None):
    """A server with a session; GETs are answered from `gets`, then with 405."""
    left = list(gets or [])

    async def play(request: Request, write: Write) -> bool:
        if request.method == "GET":
            await write(left.pop(0) if left else answer(b"", status="405 Method Not Allowed"))
        elif request.method == "DELETE" or b'"id"' not in request.body:
            await write(answer(b"", status="202 Accepted"))
        else:
            await write(answer(REPLY, "Mcp-Session-Id: s1"))
        return True

    return play


async def _shake(link: _Link) -> None:
    await link.call("initialize", None)
    link.transport.speak("2025-11-25")
    await link.tell("notifications/initialized")


async def test_the_session_id_is_sent_along_and_the_session_ended_on_close() -> None:
    async with scripted(_session()) as server:
        async with _Link(server.url) as link:
            await _shake(link)
            await link.call()
        assert "mcp-session-id" not in server.requests[0].headers
        assert "mcp-protocol-version" not in server.requests[0].headers
        assert {request.headers["mcp-session-id"] for request in server.requests[1:]} == {"s1"}
        assert {request.headers["mcp-protocol-version"] for request in server.requests[1:]} == {"2025-11-25"}
        assert "mcp-method" not in server.requests[1].headers
        assert server.requests[-1].method == "DELETE"


async def test_the_standing_stream_brings_messages_and_is_opened_again_where_it_ended() -> None:
    first = STREAM_HEAD + chunk(b"retry: 1\nid: e1\ndata: " + NOTE + b"\n\n") + STREAM_END
    async with scripted(_session([first])) as server, _Link(server.url) as link:
        await _shake(link)
        async with asyncio.timeout(10):
            await link.arrived.wait()
        await server.seen(4)
        gets = [request for request in server.requests if request.method == "GET"]
        assert link.received[-1] == (NOTE, None)
        assert gets[0].headers["accept"] == "text/event-stream"
        assert "last-event-id" not in gets[0].headers
        assert gets[1].headers["last-event-id"] == "e1"


@pytest.mark.parametrize("head", [STREAM_HEAD, STREAM_HEAD.replace(b"HTTP/1.1 200 OK", b"HTTP/1.1 200 Fine"), b""])
async def test_nothing_is_asked_before_the_standing_stream_is_open_or_is_late(head: bytes) -> None:
    begun = list[str]()
    usual = _session()

    async def play(request: Request, write: Write) -> bool:
        if request.method != "GET":
            return await usual(request, write)
        await write(head)
        begun.append("stream")
        await asyncio.Event().wait()
        return False

    async with scripted(play) as server, _Link(server.url) as link:
        await _shake(link)
        assert begun == ["stream"]
        await link.call()


async def test_a_standing_stream_that_is_refused_for_a_while_is_opened_again() -> None:
    stream = STREAM_HEAD + chunk(b"retry: 1\nid: e1\n\n") + STREAM_END
    refused = ("409 Conflict", "429 Too Many Requests", "502 Bad Gateway", "503 Service Unavailable")
    later = STREAM_HEAD + chunk(b"data: " + NOTE + b"\n\n")
    gets = [stream, *(answer(b"", status=status) for status in refused), later]
    async with scripted(_session(gets)) as server, _Link(server.url) as link:
        await _shake(link)
        async with asyncio.timeout(10):
            await link.arrived.wait()
            link.arrived.clear()
            await link.arrived.wait()
        assert link.received[-1] == (NOTE, None)


async def test_a_standing_stream_that_cannot_be_opened_again_is_the_end_of_the_link() -> None:
    stream = STREAM_HEAD + chunk(b"retry: 1\ndata: " + NOTE + b"\n\n") + STREAM_END
    left: list[Scripted] = []

    async def play(request: Request, write: Write) -> bool:
        if request.method != "GET":
            return await _session()(request, write)
        left[0].stop()
        await write(stream)
        return False

    async with scripted(play) as server, _Link(server.url) as link:
        left.append(server)
        await _shake(link)
        async with asyncio.timeout(10):
            assert "cannot reach" in await link.lost


@pytest.mark.parametrize(
    "gone",
    [
        answer(b"", status="404 Not Found"),
        answer(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"No valid session ID"}}',
               status="400 Bad Request"),
    ],
    ids=["404", "400-that-says-session"],
)  # fmt: skip
async def test_a_session_the_server_forgot_is_the_end_of_the_link(gone: bytes) -> None:
    async def play(request: Request, write: Write) -> bool:
        if b"initialize" in request.body or request.method == "GET" or b'"id"' not in request.body:
            return await _session()(request, write)
        await write(gone)
        return True

    async with scripted(play) as server, _Link(server.url) as link:
        await link.transport.send(
            ASK.replace(b"tools/call", b"initialize"), upstream_id=1, method="initialize", name=None
        )
        link.transport.speak("2025-11-25")
        with pytest.raises(Forgotten, match="ended the session"):
            await link.call()
        assert "ended the session" in link.lost.result()


async def test_a_broken_stream_is_carried_on_by_its_last_event_id() -> None:
    async def play(request: Request, write: Write) -> bool:
        if request.method == "POST":
            await write(STREAM_HEAD + chunk(b"retry: 5\nid: e1\ndata:\n\n") + chunk(b"data: half"))
            return False
        if request.headers["last-event-id"] == "e1":
            await write(STREAM_HEAD + chunk(b"id: e2\ndata: " + NOTE + b"\n\n") + STREAM_END)
        else:
            await write(STREAM_HEAD + chunk(b"id: e3\ndata: " + REPLY + b"\n\n") + STREAM_END)
        return True

    async with scripted(play) as server, _Link(server.url) as link:
        link.transport.speak("2025-11-25")
        await link.call()
        assert [(request.method, request.headers.get("last-event-id")) for request in server.requests] == [
            ("POST", None),
            ("GET", "e1"),
            ("GET", "e2"),
        ]
        assert link.received == [(NOTE, 1), (REPLY, 1)]


async def test_a_stream_is_carried_on_however_often_the_server_ends_it_or_refuses_for_a_while() -> None:
    nothing_new = STREAM_HEAD + chunk(b": wait\n\n") + STREAM_END
    refused = [answer(b"", status=status) for status in ("409 Conflict", "503 Service Unavailable")]
    end = STREAM_HEAD + chunk(b"id: e2\ndata: " + REPLY + b"\n\n") + STREAM_END
    begun = STREAM_HEAD + chunk(b"retry: 1\nid: e1\ndata:\n\n") + STREAM_END
    async with (
        scripted(_play(begun, *refused, *[nothing_new] * 12, *refused, end)) as server,
        _Link(server.url) as link,
    ):
        link.transport.speak("2025-11-25")
        await link.call()
        assert link.received == [(REPLY, 1)]


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
@pytest.mark.parametrize("ended", [True, False])
async def test_a_stream_without_the_response_is_broken_and_the_request_not_sent_again(
    revision: str, ended: bool
) -> None:
    said = STREAM_HEAD + chunk(b"data: " + NOTE + b"\n\n") + (STREAM_END if ended else b"")

    async def play(request: Request, write: Write) -> bool:
        await write(said)
        return ended

    async with scripted(play) as server, _Link(server.url) as link:
        link.transport.speak(revision)
        with pytest.raises(Broken):
            await link.call()
        assert len(server.requests) == 1


async def test_no_coding_is_asked_for_and_one_that_comes_is_named_and_not_shown() -> None:
    coded = answer(gzip.compress(REPLY)).replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1)
    async with scripted(_play(coded)) as server, _Link(server.url) as link:
        with pytest.raises(UpstreamGarbage, match=r"coded as gzip, which was not asked for\) is no answer[a-z ]*$"):
            await link.call()
        assert server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"no  such\n tool", ": no such tool"),
        ("é".encode() * 2_001, ": " + "é" * 200),
        (b"x" + "é".encode() * 2_001, ": x" + "é" * 199),
        (b"<html>", ""),
        (b"\x1f\x8b\x08", ""),
        (b"a\x1bb", ""),
        (b"caf\xe9!", ""),
    ],
)
def test_of_a_refusal_s_body_people_see_what_is_text(body: bytes, shown: str) -> None:
    assert excerpt(body) == shown


async def test_initialized_is_said_again_where_the_server_closed_the_socket_after_its_answer() -> None:
    said: list[bytes] = []

    async def play(request: Request, write: Write) -> bool:
        if request.method == "GET":
            await write(answer(b"", status="405 Method Not Allowed"))
            return True
        said.append(request.body)
        if len(said) == 2:
            return False
        await write(answer(REPLY) if len(said) == 1 else answer(b"", status="202 Accepted"))
        return True

    async with scripted(play) as server, _Link(server.url) as link:
        await link.call("initialize", None)
        await link.tell("notifications/initialized")
        assert said[1:] == [NOTE, NOTE]


@pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])
async def test_what_changes_nothing_is_written_again_where_the_server_closed_an_idle_socket(revision: str) -> None:
    async def play(request: Request, write: Write) -> bool:
        if request.link in broken:
            return False
        await write(answer(REPLY))
        return True

    broken: set[int] = set()
    async with scripted(play) as server, _Link(server.url) as link:
        link.transport.speak(revision)
        await link.call()
        broken.add(1)
        await link.call("resources/read", "x:1")
        assert [request.link for request in server.requests] == [1, 1, 2]
        broken.add(2)
        with pytest.raises(Broken):
            await link.call()
        assert len(server.requests) == 4, "a call may have run"
        broken |= {3, 4}
        with pytest.raises(Broken):
            await link.call("resources/read", "x:1")
        assert len(server.requests) == 6, "once more, not for ever"


@pytest.mark.parametrize("upstream_id", [1, None])
async def test_what_may_be_written_again_is_not_where_the_link_is_closed(upstream_id: int | None) -> None:
    async def play(_request: Request, _write: Write) -> bool:
        await asyncio.Event().wait()
        return False

    async with scripted(play) as server, _Link(server.url) as link:
        asking = asyncio.ensure_future(link.transport.send(ASK, upstream_id=upstream_id, method="ping", name=None))
        await server.seen(1)
        await link.transport.close()
        with pytest.raises(UpstreamDown, match="the link is closed"):
            await asking


@pytest.mark.parametrize("status", ["307 Temporary Redirect", "308 Permanent Redirect"])
async def test_a_redirect_is_followed_once_and_remembered(status: str) -> None:
    async def play(request: Request, write: Write) -> bool:
        if request.target == "/mcp":
            await write(answer(b"", "Location: /mcp/", status=status))
        else:
            await write(answer(REPLY))
        return True

    async with scripted(play) as server, _Link(server.url) as link:
        await link.call()
        await link.call()
        assert [request.target for request in server.requests] == ["/mcp", "/mcp/", "/mcp/"]
        assert server.requests[1].body == ASK


async def test_calls_that_are_redirected_at_the_same_time_are_each_made_as_they_were() -> None:
    both = asyncio.Barrier(2)

    async def play(request: Request, write: Write) -> bool:
        if request.target == "/a/mcp":
            await both.wait()
            await write(answer(b"", "Location: mcp/", status="307 Temporary Redirect"))
        else:
            await write(answer(REPLY))
        return True

    async with scripted(play) as server, _Link(server.url.replace("/mcp", "/a/mcp")) as link:
        await asyncio.gather(link.call(), link.call())
        first, second, *moved = server.requests
        assert [request.target for request in moved] == ["/a/mcp/", "/a/mcp/"]
        assert [request.headers for request in moved] == [first.headers, second.headers]


async def test_a_call_under_way_goes_on_where_another_is_redirected_to_another_port() -> None:
    release = asyncio.Event()

    async def play(request: Request, write: Write) -> bool:
        if len(old.requests) == 1:
            await release.wait()
            await write(answer(REPLY))
        else:
            moved = f"Location: {new.url}"
            await write(answer(b"", moved, status="307 Temporary Redirect"))
        return True

    async with scripted(play) as old, scripted(_play(answer(REPLY))) as new, _Link(old.url) as link:
        first = asyncio.ensure_future(link.call())
        await old.seen(1)
        await link.call()
        assert len(new.requests) == 1
        release.set()
        await first
        assert len(link.received) == 2


async def test_a_redirect_to_another_host_is_not_followed() -> None:
    moved = answer(b"", "Location: http://evil.example/mcp", status="307 Temporary Redirect")
    async with scripted(_play(moved)) as server, _Link(server.url, {"Authorization": "Bearer x"}) as link:
        with pytest.raises(UpstreamDown, match=r"redirects to http://evil\.example"):
            await link.call()


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found", "500 Internal Server Error"])
async def test_a_json_rpc_error_is_the_answer_whatever_the_status(status: str) -> None:
    error = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"no"}}'
    async with scripted(_play(answer(error, status=status))) as server, _Link(server.url) as link:
        await link.call()
        assert link.received == [(error, 1)]


@pytest.mark.parametrize("id_raw", (b'"id":null,', b""))
async def test_an_error_without_an_id_is_the_answer_where_its_code_proves_a_stateless_server(id_raw: bytes) -> None:
    error = b'{"jsonrpc":"2.0",' + id_raw + b'"error":{"code":%d,"message":"no"}}'
    said = [answer(error % code, status="400 Bad Request") for code in (-32022, -32600)]
    async with scripted(_play(*said)) as server, _Link(server.url) as link:
        await link.call()
        assert link.received == [(b'{"jsonrpc":"2.0","id":1,"error":{"code":-32022,"message":"no"}}', 1)]
        with pytest.raises(Refused, match="HTTP 400"):
            await link.call()


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (answer(b"", status="401 Unauthorized"), UpstreamUnauthorized, "credentials"),
        (answer(b"", status="403 Forbidden"), UpstreamUnauthorized, "credentials"),
        (answer(b"", status="429 Too Many Requests"), UpstreamBusy, "fewer"),
        (answer(b"gone fishing", status="503 Service Unavailable"), Refused, "HTTP 503: gone fishing"),
        (answer(b"<html>x</html>", status="404 Not Found"), Refused, "HTTP 404$"),
        (answer(b"<html>hello</html>", content_type="text/html"), UpstreamGarbage, "no answer"),
        (answer(b"", status="202 Accepted"), UpstreamGarbage, "HTTP 202"),
    ],
)
async def test_what_a_refusal_means(said: bytes, kind: type[Exception], words: str) -> None:
    async with scripted(_play(said)) as server, _Link(server.url) as link:
        with pytest.raises(kind, match=words):
            await link.call()


async def test_a_challenge_is_kept_for_whoever_authorizes() -> None:
    said = answer(b"", 'WWW-Authenticate: Bearer resource_metadata="http://x"', status="401 Unauthorized")
    async with scripted(_play(said)) as server, _Link(server.url) as link:
        with pytest.raises(UpstreamUnauthorized) as caught:
            await link.call()
        assert caught.value.data == {"challenge": 'Bearer resource_metadata="http://x"'}


async def test_cancelling_a_call_closes_its_stream() -> None:
    async def play(request: Request, write: Write) -> bool:
        await write(STREAM_HEAD + chunk(b"data: " + NOTE + b"\n\n"))
        await asyncio.Event().wait()
        return True

    async with scripted(play) as server, _Link(server.url) as link:
        task = asyncio.ensure_future(link.call())
        async with asyncio.timeout(10):
            await link.arrived.wait()
            task.cancel()
            await server.hung_up.wait()
        with pytest.raises(asyncio.CancelledError):
            await task
