"""The life of one upstream, with real processes and servers that fail."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from hub_gateway.catalog.entry import Offering
from hub_gateway.config.server_model import InvalidServer, ServerConfig
from hub_gateway.errors import UpstreamBusy, UpstreamDown, UpstreamTimeout, UpstreamUnauthorized
from hub_gateway.upstreams import supervisor
from hub_gateway.upstreams.admission import QUEUE
from hub_gateway.upstreams.hop import HeadersRefused
from hub_gateway.upstreams.status import Outcome
from hub_gateway.upstreams.supervisor import Ears, Supervisor
from hub_gateway.wire.message import Message
from tests.support import processes
from tests.unit.gateway.upstreams.everything import CALLER, CONTEXT, Ear, call, config, plain, serving, text
from tests.unit.gateway.upstreams.eyes import until
from tests.unit.gateway.upstreams.scripted import STREAM_HEAD, Play, Request, Write, answer, chunk, scripted

pytestmark = pytest.mark.anyio


class _Watched:
    """A supervisor with everything it told."""

    def __init__(self, server: ServerConfig | InvalidServer) -> None:
        self.states: list[str] = []
        self.unasked: list[Message] = []
        self.observed: list[tuple[str, Outcome]] = []
        self.up = Supervisor(server, CONTEXT, Ears(self._changed, self._unasked, self._observe))

    def _changed(self, name: str) -> None:
        assert name == self.up.name
        if self.up.status.state not in self.states[-1:]:
            self.states.append(self.up.status.state)

    def _unasked(self, name: str, message: Message) -> None:
        self.unasked.append(message)

    def _observe(self, name: str, seconds: float, outcome: Outcome) -> None:
        assert seconds >= 0
        self.observed.append((name, outcome))

    async def state(self, wanted: str) -> None:
        await until(lambda: self.up.status, lambda status: status.state == wanted, wanted)


@contextlib.asynccontextmanager
async def supervised(server: ServerConfig | InvalidServer, wanted: str = "ready") -> AsyncIterator[_Watched]:
    """Start a supervisor and wait for a state."""
    watched = _Watched(server)
    watched.up.start()
    try:
        await watched.state(wanted)
        yield watched
    finally:
        await watched.up.stop()


async def _pid(up: Supervisor) -> int:
    return int(text(plain(await call(up, "process_id"))))


async def test_what_keeps_a_server_away_is_logged_once_and_not_with_each_attempt(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG", "hub_gateway.upstreams.supervisor")
    async with supervised(config(url="http://127.0.0.1:1/mcp"), "connecting") as watched:
        await until(lambda: watched.up.status, lambda status: status.attempt >= 3, "three attempts")
        said = [record.levelname for record in caplog.records if "cannot reach" in record.message]
    assert said[:3] == ["WARNING", "DEBUG", "DEBUG"]


def _names(offering: Offering) -> set[str]:
    return {msgspec.json.decode(raw)["name"] for raw in offering.tools}


@pytest.mark.parametrize("era", ["stateless", "handshake"])
async def test_a_killed_process_is_noticed_and_comes_back(era: str) -> None:
    with serving("stdio", "--era", era) as server:
        async with supervised(server) as watched:
            up = watched.up
            assert "echo" in _names(up.offering)
            pid = await _pid(up)
            os.kill(pid, signal.SIGKILL)
            await until(lambda: up.status.state, lambda state: state == "connecting", "loss", timeout_s=5)
            assert "SIGKILL" in (up.status.reason or "")
            assert up.offering == Offering()
            with pytest.raises(UpstreamDown, match="up is connecting: the process was ended by SIGKILL"):
                await call(up, "echo", {"text": "x"})
            await watched.state("ready")
            assert await _pid(up) != pid
            assert "echo" in _names(up.offering)
            assert (up.status.reason, up.status.attempt) == (None, 0)
            assert "SIGKILL" in (up.status.last_error or "")
    assert watched.states == ["connecting", "ready", "connecting", "ready", "stopped"]


async def test_a_remote_server_that_goes_is_noticed_within_seconds() -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving("http", "--era", "handshake"))
        async with supervised(server) as watched:
            stack.close()
            await until(lambda: watched.up.status.state, lambda state: state == "connecting", "loss", timeout_s=8)


async def test_a_failed_call_makes_the_supervisor_look_at_once() -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving("http", module=processes.RAW))
        async with supervised(server) as watched:
            stack.close()
            with pytest.raises(UpstreamDown, match=r"^up: "):
                await call(watched.up, "raw_exotic")
            await until(lambda: watched.up.status.state, lambda state: state == "connecting", "loss", timeout_s=8)


@pytest.mark.parametrize(("transport", "era"), [("http", "stateless"), ("stdio", "handshake"), ("stdio", "stateless")])
async def test_a_list_change_is_brought_home_and_told(transport: str, era: str) -> None:
    with serving(transport, "--era", era) as server:
        async with supervised(server) as watched:
            up = watched.up
            await call(up, "change_tools", {"action": "add", "name": "brand_new"})
            await until(lambda: _names(up.offering), lambda names: "brand_new" in names, "the new tool")
            await call(up, "change_tools", {"action": "remove", "name": "brand_new"})
            await until(lambda: _names(up.offering), lambda names: "brand_new" not in names, "its end")
            await until(lambda: watched.unasked, lambda heard: len(heard) == 2, "both changes passed on")
            assert {message.method for message in watched.unasked} == {"notifications/tools/list_changed"}


async def test_what_belongs_to_no_call_is_passed_on() -> None:
    with serving("stdio", "--era", "handshake") as server:
        async with supervised(server) as watched:
            uri = Raw(b'"test://static-text"')
            await watched.up.request("resources/subscribe", {"uri": uri}, caller=CALLER)
            await call(watched.up, "touch_resource", {"uri": "test://static-text"})
            await until(lambda: watched.unasked, lambda heard: len(heard) == 1, "the update")
            assert watched.unasked[0].method == "notifications/resources/updated"


async def test_calls_are_counted_and_observed_by_how_they_ended() -> None:
    with serving("stdio", module=processes.RAW) as server:
        async with supervised(server) as watched:
            await call(watched.up, "raw_exotic")
            await call(watched.up, "raw_error")
            with pytest.raises(UpstreamTimeout, match=r"^up: no answer within 0\.2 seconds$"):
                await call(watched.up, "raw_hang", timeout_s=0.2)
            task = asyncio.ensure_future(call(watched.up, "raw_hang"))
            await until(lambda: watched.up.in_flight, lambda count: count == 1, "the call")
            task.cancel()
            await asyncio.wait([task])
            stats = watched.up.stats
            assert (stats.calls, stats.errors, stats.timeouts, watched.up.in_flight) == (4, 2, 1, 0)
            assert watched.observed == [("up", "ok"), ("up", "error"), ("up", "timeout"), ("up", "cancelled")]


async def test_the_servers_own_limit_holds_where_the_caller_names_none() -> None:
    with serving("stdio", module=processes.RAW, timeout_s=0.2) as server:
        async with supervised(server) as watched:
            with pytest.raises(UpstreamTimeout, match=r"0\.2 seconds"):
                await call(watched.up, "raw_hang", timeout_s=None)


async def test_more_calls_than_the_limit_wait_and_beyond_that_are_refused() -> None:
    with serving("stdio", "--era", "handshake", max_in_flight=2) as server:
        async with supervised(server) as watched:
            up = watched.up
            slow = [asyncio.ensure_future(call(up, "slow", {"key": f"k{n}"})) for n in range(2 + QUEUE)]
            await until(lambda: up.in_flight, lambda count: count == 2, "two calls")
            with pytest.raises(UpstreamBusy, match=f"up: 2 calls are running and {QUEUE} are waiting"):
                await call(up, "echo", {"text": "x"})
            for task in slow:
                task.cancel()
            await asyncio.wait(slow)
            assert text(plain(await call(up, "echo", {"text": "free"}))) == "free"


async def test_failures_in_a_row_open_the_breaker_and_errors_of_the_upstream_do_not() -> None:
    with serving("stdio", module=processes.RAW) as server:
        async with supervised(server) as watched:
            for _ in range(6):
                await call(watched.up, "raw_error")
            assert watched.up.breaker == "closed"
            for _ in range(5):
                with pytest.raises(UpstreamTimeout):
                    await call(watched.up, "raw_hang", timeout_s=0.05)
            assert watched.up.breaker == "open"
            with pytest.raises(UpstreamBusy, match=r"up: it failed 5 times in a row; next try in \d+ s"):
                await call(watched.up, "raw_exotic")


async def test_a_server_that_is_stopped_stays_so_until_it_is_started() -> None:
    with serving("stdio", module=processes.RAW) as server:
        async with supervised(server) as watched:
            up = watched.up
            await up.stop()
            assert (up.status.state, up.status.reason, up.offering) == ("stopped", "stopped by request", Offering())
            with pytest.raises(UpstreamDown, match="up is stopped: stopped by request"):
                await call(up, "raw_exotic")
            with pytest.raises(UpstreamDown):
                await up.refresh()
            up.start()
            await watched.state("ready")
            up.start()
            await call(up, "raw_exotic")


async def test_a_server_that_is_started_before_the_old_link_is_gone_is_not_told_to_be_stopped() -> None:
    play, opened, _ = _forgetful(0)
    ending, end = asyncio.Event(), asyncio.Event()

    async def slow(request: Request, write: Write) -> bool:
        if request.method == "DELETE":
            ending.set()
            await end.wait()
        return await play(request, write)

    async with scripted(slow) as server, supervised(config(url=server.url)) as watched:
        stopping = asyncio.ensure_future(watched.up.stop())
        await asyncio.wait_for(ending.wait(), 10)
        stopping_too = asyncio.ensure_future(watched.up.stop())
        await asyncio.sleep(0)
        assert not stopping_too.done(), "its link is there still"
        watched.up.start()
        end.set()
        await asyncio.wait((stopping, stopping_too))
        await until(lambda: watched.up.connection, lambda link: link is not None, "a link")
        assert (watched.up.status.state, opened) == ("ready", ["s1", "s2"])


_HANGS_ONCE = """
import os, pathlib, signal, sys, time
mark = pathlib.Path(sys.argv[1])
if mark.exists():
    os.execv(sys.argv[2], sys.argv[2:])
signal.signal(signal.SIGTERM, signal.SIG_IGN)
mark.touch()
time.sleep(60)
"""


async def test_a_server_that_is_started_while_its_last_start_is_still_being_ended_is_started_after_it(
    tmp_path: Path,
) -> None:
    mark, line = tmp_path / "mark", processes.command(processes.RAW, "--transport", "stdio")
    server = config(command=sys.executable, args=("-c", _HANGS_ONCE, str(mark), *line), cwd=str(processes.ROOT))
    async with supervised(server, "connecting") as watched:
        await until(mark.exists, bool, "its first process")
        stopping = asyncio.ensure_future(watched.up.stop())
        await asyncio.sleep(0)
        watched.up.start()
        await watched.state("ready")
        ended_before = stopping.done()
        await stopping
        assert plain(await call(watched.up, "raw_exotic"))
        assert ended_before, "there is one process at a time"


async def test_stopping_ends_a_server_that_hangs_at_start() -> None:
    hanging = config(command=sys.executable, args=("-c", "import sys; sys.stdin.read()"))
    async with supervised(hanging, "connecting") as watched:
        await watched.up.stop()
        assert watched.up.status.state == "stopped"


async def test_a_missing_runner_is_the_reason_of_the_status() -> None:
    async with supervised(config(command="npx-that-is-not", args=("-y", "x")), "connecting") as watched:
        await until(lambda: watched.up.status.attempt, lambda attempt: attempt >= 1, "a failed attempt")
        assert watched.up.status.reason == "runner 'npx-that-is-not' is not installed or not on PATH"


async def test_credentials_that_are_missing_make_it_unauthorized() -> None:
    async def play(request: Request, write: Write) -> bool:
        await write(answer(b"", status="401 Unauthorized"))
        return True

    async with scripted(play) as server, supervised(config(url=server.url), "unauthorized") as watched:
        assert "credentials" in (watched.up.status.reason or "")
        with pytest.raises(UpstreamUnauthorized):
            await call(watched.up, "echo")


async def test_a_placeholder_without_a_value_makes_it_invalid() -> None:
    async with supervised(config(url="http://127.0.0.1:1/${NO_SUCH_VARIABLE}"), "invalid") as watched:
        assert "NO_SUCH_VARIABLE" in (watched.up.status.reason or "")


async def test_an_invalid_entry_stays_invalid() -> None:
    watched = _Watched(InvalidServer("bad", "mcpServers.bad: has neither command nor url", "x.json"))
    watched.up.start()
    await watched.up.stop()
    assert (watched.up.status.state, watched.up.status.reason) == (
        "invalid",
        "mcpServers.bad: has neither command nor url",
    )


async def test_a_disabled_entry_is_stopped_and_says_so() -> None:
    assert _Watched(config(url="http://x/", disabled=True)).up.status.reason == "disabled in the config"


def _http(behave: Any):
    """A stateless server whose answers `behave(method)` gives: members, or None for silence."""

    async def play(request: Request, write: Write) -> bool:
        message = msgspec.json.decode(request.body)
        members = behave(message["method"])
        if members is None:
            await asyncio.Event().wait()
        await write(answer(b'{"jsonrpc":"2.0","id":%d,%b}' % (message["id"], members)))
        return True

    return scripted(play)


DISCOVERED = b'"result":{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}'
TOOLS = b'"result":{"tools":[{"name":"a"}]}'


async def test_a_list_that_fails_makes_it_degraded_and_is_asked_for_again() -> None:
    answers = [b'"error":{"code":-32603,"message":"not yet"}']

    def behave(method: str) -> bytes:
        if method == "server/discover":
            return DISCOVERED
        return answers.pop() if answers else TOOLS

    async with (
        _http(behave) as server,
        supervised(config(url=server.url, ping_interval_s=0.2), "degraded") as watched,
    ):
        assert watched.up.status.reason == "tools/list: it answered -32603 not yet"
        await watched.state("ready")
        assert _names(watched.up.offering) == {"a"}


async def test_a_server_that_fails_its_checks_is_degraded_then_connected_anew() -> None:
    ill = False

    def behave(method: str) -> bytes:
        if method == "server/discover":
            return b'"result":5' if ill else DISCOVERED
        return TOOLS

    async def play(request: Request, write: Write) -> bool:
        message = msgspec.json.decode(request.body)
        if ill:
            await write(answer(b"out of order", status="503 Service Unavailable"))
        else:
            await write(answer(b'{"jsonrpc":"2.0","id":%d,%b}' % (message["id"], behave(message["method"]))))
        return True

    async with scripted(play) as server, supervised(config(url=server.url, ping_interval_s=0.1)) as watched:
        ill = True
        await watched.state("degraded")
        assert watched.up.status.reason == "HTTP 503: out of order"
        await watched.state("connecting")
        ill = False
        await watched.state("ready")


async def test_list_changes_are_heard_also_where_the_server_refused_to_tell_them_at_first() -> None:
    asked: list[str] = []
    capable = b'"result":{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true}}}'
    acknowledged = b'{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{}}'

    async def play(request: Request, write: Write) -> bool:
        message = msgspec.json.decode(request.body)
        asked.append(message["method"])
        count = asked.count(message["method"])
        member = capable
        if message["method"] == "tools/list":
            member = b'"result":{"tools":[{"name":"v%d"}]}' % count
        elif message["method"] == "subscriptions/listen":
            if count > 1:
                await write(STREAM_HEAD + chunk(b"data: " + acknowledged + b"\n\n"))
                await asyncio.Event().wait()
            member = b'"error":{"code":-32603,"message":"busy"}'
        await write(answer(b'{"jsonrpc":"2.0","id":%d,%b}' % (message["id"], member)))
        return True

    async with scripted(play) as server, supervised(config(url=server.url)) as watched:
        await until(lambda: _names(watched.up.offering), lambda names: "v2" in names, "the list of after that")
    assert asked.count("subscriptions/listen") == 2


async def test_stale_lists_are_listed_anew_with_each_check_and_once() -> None:
    asked: list[str] = []

    def behave(method: str) -> bytes:
        asked.append(method)
        if method == "server/discover":
            return DISCOVERED
        count = asked.count(method)
        return b'"result":{"ttlMs":0,"tools":[{"name":"v%d"}]}' % count

    async with _http(behave) as server, supervised(config(url=server.url, ping_interval_s=0.2)) as watched:
        await until(lambda: _names(watched.up.offering), lambda names: "v4" in names, "the fourth list")
    checks = "".join({"server/discover": "d", "tools/list": "l"}[method] for method in asked)
    assert checks.startswith("dldldldl")
    assert "ll" not in checks


@pytest.mark.parametrize("hint", [b'"ttlMs":60000,', b""])
async def test_a_list_is_not_asked_for_again_while_it_is_fresh_or_nothing_is_said(hint: bytes) -> None:
    asked: list[str] = []

    def behave(method: str) -> bytes:
        asked.append(method)
        return DISCOVERED if method == "server/discover" else b'"result":{%b"tools":[]}' % hint

    async with _http(behave) as server, supervised(config(url=server.url, ping_interval_s=0.1)):
        await until(lambda: asked.count("server/discover"), lambda count: count >= 4, "three checks")
    assert asked.count("tools/list") == 1


_UNSUPPORTED = b'"error":{"code":-32022,"message":"no","data":{"supported":["2099-01-01"]}}'


async def test_a_server_that_does_not_speak_the_revision_any_more_is_negotiated_with_anew() -> None:
    said = {"server/discover": DISCOVERED, "tools/list": TOOLS}
    async with (
        _http(lambda method: said.get(method, _UNSUPPORTED)) as server,
        supervised(config(url=server.url, ping_interval_s=0.1)) as watched,
    ):
        said.clear()
        await watched.state("connecting")
        assert "does not speak 2026-07-28 any more" in (watched.up.status.reason or "")
        await until(lambda: watched.up.status.reason or "", lambda reason: "2099-01-01" in reason, "another attempt")
        said |= {"server/discover": DISCOVERED, "tools/list": TOOLS}
        await watched.state("ready")


async def test_a_call_whose_revision_is_not_spoken_is_made_on_the_next_link_once() -> None:
    called: list[str] = []

    def behave(refusals: int) -> Callable[[str], bytes]:
        def answers(method: str) -> bytes:
            if method == "tools/call":
                called.append(method)
                return _UNSUPPORTED if len(called) <= refusals else b'"result":{"content":[]}'
            return {"server/discover": DISCOVERED, "tools/list": TOOLS}[method]

        return answers

    async with _http(behave(1)) as server, supervised(config(url=server.url)) as watched:
        link = watched.up.connection
        assert plain(await call(watched.up, "a")) == {"content": []}
        assert watched.up.connection is not link
        assert [outcome for _, outcome in watched.observed] == ["failed", "ok"]
    called.clear()
    async with _http(behave(5)) as server, supervised(config(url=server.url)) as watched:
        with pytest.raises(UpstreamDown, match=r"^up: it does not speak 2026-07-28 any more"):
            await call(watched.up, "a")
        assert len(called) == 2


async def test_headers_that_the_server_finds_wrong_are_no_failure_of_the_link() -> None:
    said = {"server/discover": DISCOVERED, "tools/list": TOOLS}
    mismatch = b'"error":{"code":-32020,"message":"Mcp-Name"}'
    async with (
        _http(lambda method: said.get(method, mismatch)) as server,
        supervised(config(url=server.url, ping_interval_s=0.1)) as watched,
    ):
        del said["server/discover"]
        for _ in range(6):
            with pytest.raises(HeadersRefused, match=r"^up: .*at odds: Mcp-Name"):
                await call(watched.up, "a")
        await asyncio.sleep(0.3)
        assert (watched.up.breaker, watched.up.status.state) == ("closed", "ready")


async def test_a_config_that_leaves_the_link_alone_is_adopted() -> None:
    with serving("stdio", module=processes.RAW) as server:
        async with supervised(server) as watched:
            connection = watched.up.connection
            watched.up.adopt(msgspec.structs.replace(server, timeout_s=0.1, max_in_flight=1))
            with pytest.raises(UpstreamTimeout, match=r"0\.1 seconds"):
                await call(watched.up, "raw_hang", timeout_s=None)
            assert watched.up.connection is connection


async def test_a_listener_hears_through_the_supervisor() -> None:
    with serving("stdio", "--era", "handshake") as server:
        async with supervised(server) as watched:
            ear = Ear()
            await call(watched.up, "progress", {"label": "x"}, listener=ear, progress_token_raw=b'"t"')
            assert len(ear.relayed) == 3


def _forgetful(forgets: int) -> tuple[Play, list[str], list[str]]:
    """A server with sessions that forgets the one it has at each of the first calls, and those that ran."""
    ran: list[str] = []
    opened: list[str] = []

    async def play(request: Request, write: Write) -> bool:
        message: dict[str, Any] = msgspec.json.decode(request.body) if request.body else {}
        method: str = message.get("method", "")
        results: dict[str, Any] = {"tools/list": {"tools": [{"name": "t"}]}, "ping": {}}
        if request.method != "POST":
            await write(answer(b"", status="405 Method Not Allowed"))
            return True
        if method == "initialize":
            opened.append(f"s{len(opened) + 1}")
            results[method] = {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "forgetful", "version": "1"},
            }
        elif method == "tools/call" and len(opened) <= forgets:
            await write(answer(b"", status="404 Not Found"))
            return True
        elif method == "tools/call":
            ran.append(request.headers["mcp-session-id"])
            results[method] = {"content": []}
        if "id" not in message:
            await write(answer(b"", status="202 Accepted"))
        elif method in results:
            body = msgspec.json.encode({"jsonrpc": "2.0", "id": message["id"], "result": results[method]})
            await write(answer(body, f"Mcp-Session-Id: {opened[-1]}"))
        else:
            await write(answer(b"", status="400 Bad Request"))
        return True

    return play, opened, ran


async def test_a_call_that_the_server_did_not_take_is_made_in_a_new_session() -> None:
    play, opened, ran = _forgetful(1)
    async with scripted(play) as server, supervised(config(url=server.url)) as watched:
        reply = plain(await call(watched.up, "t"))
        assert reply == {"content": []}
        assert (opened, ran) == (["s1", "s2"], ["s2"])


async def test_all_calls_that_it_did_not_take_are_made_in_the_new_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_LASTED_S", 0.0)
    play, opened, ran = _forgetful(1)
    async with scripted(play) as server, supervised(config(url=server.url)) as watched:
        replies = await asyncio.gather(*(call(watched.up, "t") for _ in range(5)))
        assert [plain(reply) for reply in replies] == [{"content": []}] * 5
        assert (opened, ran) == (["s1", "s2"], ["s2"] * 5)


async def test_a_call_that_hears_late_that_it_was_not_taken_is_made_in_the_new_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervisor, "_LASTED_S", 0.0)
    play, opened, ran = _forgetful(1)
    tell = asyncio.Event()

    async def late(request: Request, write: Write) -> bool:
        if b'"late"' in request.body and len(opened) == 1:
            await tell.wait()
            await write(answer(b"", status="404 Not Found"))
            return True
        return await play(request, write)

    async with scripted(late) as server, supervised(config(url=server.url)) as watched:
        waiting = asyncio.ensure_future(call(watched.up, "late"))
        await until(lambda: watched.up.in_flight, lambda count: count == 1, "the call")
        assert plain(await call(watched.up, "t")) == {"content": []}
        tell.set()
        assert plain(await waiting) == {"content": []}
        assert (opened, ran) == (["s1", "s2"], ["s2", "s2"])


async def test_what_it_offers_stays_while_a_new_session_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "_LASTED_S", 0.0)
    play, opened, ran = _forgetful(1)
    again = asyncio.Event()

    async def slow(request: Request, write: Write) -> bool:
        if b'"initialize"' in request.body and opened:
            await again.wait()
        return await play(request, write)

    async with scripted(slow) as server, supervised(config(url=server.url)) as watched:
        first = asyncio.ensure_future(call(watched.up, "t"))
        await watched.state("degraded")
        assert watched.up.connection is None
        assert len(watched.up.offering.tools) == 1
        waiting = asyncio.ensure_future(watched.up.renewed())
        again.set()
        await waiting
        assert watched.up.connection is not None
        assert plain(await first) == plain(await call(watched.up, "t")) == {"content": []}
        assert (opened, ran) == (["s1", "s2"], ["s2", "s2"])
        await watched.state("ready")
        assert watched.states == ["connecting", "ready", "degraded", "ready"]


async def test_it_is_made_again_once() -> None:
    play, opened, ran = _forgetful(5)
    async with scripted(play) as server, supervised(config(url=server.url)) as watched:
        with pytest.raises(UpstreamDown, match="ended the session"):
            await call(watched.up, "t")
        assert (opened, ran) == (["s1", "s2"], [])
