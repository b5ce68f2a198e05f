"""How transport and era are found."""

from __future__ import annotations

import asyncio
import re
import sys

import msgspec
import pytest

from hub_gateway.errors import ConfigError, UpstreamDown, UpstreamTimeout, UpstreamUnauthorized
from hub_gateway.upstreams.pending import Owner
from hub_gateway.upstreams.starts import Starts
from hub_gateway.wire.revisions import Era
from tests.support import processes
from tests.unit.gateway.upstreams.everything import CALLER, Ear, Linked, config, linked, serving, text
from tests.unit.gateway.upstreams.scripted import Request, Write, answer, scripted

pytestmark = pytest.mark.anyio

DISCOVERED = b'{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}'
INITIALIZED = b'{"protocolVersion":"%s","capabilities":{"tools":{}},"serverInfo":{"name":"s","version":"1"}}'

STDIO_SERVER = """
import json, sys
manner = sys.argv[1]
def say(m, **members):
    print(json.dumps({"jsonrpc": "2.0", "id": m["id"], **members}), flush=True)
for line in sys.stdin:
    m = json.loads(line)
    sys.stderr.write(m["method"] + "\\n"); sys.stderr.flush()
    if m["method"] == "server/discover":
        if manner == "exits": sys.exit(1)
        if manner == "refuses": say(m, error={"code": -32602, "message": "not initialized"})
        if manner == "slow":
            sys.stdin.readline()
            say(m, result={"supportedVersions": ["2026-07-28"], "capabilities": {}})
    elif m["method"] == "initialize":
        say(m, result={"protocolVersion": "2024-11-05", "capabilities": {}, "serverInfo": {"name": "old"}})
"""


def _stdio(manner: str, **fields: object):
    return config(command=sys.executable, args=("-c", STDIO_SERVER, manner), **fields)


@pytest.mark.parametrize("transport", ["http", "stdio"])
@pytest.mark.parametrize(
    ("era", "expected"), [("both", Era.STATELESS), ("stateless", Era.STATELESS), ("handshake", Era.HANDSHAKE)]
)
@pytest.mark.parametrize("module", [processes.EVERYTHING, processes.RAW])
async def test_the_newest_era_the_server_speaks_is_chosen(transport: str, era: str, expected: Era, module: str) -> None:
    with serving(transport, "--era", era, module=module) as server:
        async with linked(server) as link:
            assert link.connection.era is expected
            tool = "echo" if module == processes.EVERYTHING else "raw_exotic"
            assert "content" in await link.call(tool, {"text": "hi"})


@pytest.mark.parametrize("transport", ["http", "stdio"])
@pytest.mark.parametrize("module", [processes.EVERYTHING, processes.RAW])
async def test_a_server_of_both_eras_is_spoken_to_in_the_one_that_the_config_wants(transport: str, module: str) -> None:
    with serving(transport, "--era", "both", module=module, era="handshake") as server:
        async with linked(server) as link:
            assert (link.connection.era, link.connection.revision) == (Era.HANDSHAKE, "2025-11-25")


@pytest.mark.parametrize("transport", ["http", "stdio"])
@pytest.mark.parametrize("module", [processes.EVERYTHING, processes.RAW])
async def test_a_server_that_lacks_the_one_era_that_the_config_wants_is_not_spoken_to(
    transport: str, module: str
) -> None:
    with (
        serving(transport, "--era", "handshake", module=module, era="stateless") as server,
        pytest.raises(UpstreamDown, match="2026-07-28"),
    ):
        async with linked(server):
            pass


@pytest.mark.parametrize("transport", ["http", "stdio"])
@pytest.mark.parametrize("module", [processes.EVERYTHING, processes.RAW])
@pytest.mark.parametrize(
    ("era", "expected"), [("both", Era.HANDSHAKE), ("stateless", Era.STATELESS), ("handshake", Era.HANDSHAKE)]
)
async def test_a_session_s_own_connection_is_a_session_where_there_are_any(
    transport: str, module: str, era: str, expected: Era
) -> None:
    with serving(transport, "--era", era, module=module) as server:
        async with linked(server, owner=Owner(CALLER, Ear())) as link:
            assert link.connection.era is expected
            again = await link.dialer.dial(lambda _: None)
            assert again.era is expected
            await again.close()


@pytest.mark.parametrize("kind", ["sse", None])
async def test_a_server_of_2024_is_found_by_its_event_stream(kind: str | None) -> None:
    with serving("sse", type=kind) as server:
        async with linked(server) as link:
            assert link.connection.era is Era.HANDSHAKE
            assert text(await link.call("echo", {"text": "old"})) == "old"


@pytest.mark.parametrize("kind", ["http", "streamable-http"])
async def test_a_forced_type_does_not_fall_back(kind: str) -> None:
    with serving("sse", type=kind) as server, pytest.raises(UpstreamDown, match="HTTP 405"):
        async with linked(server):
            pass


@pytest.mark.parametrize(
    ("manner", "era"),
    [("silent", Era.HANDSHAKE), ("refuses", Era.HANDSHAKE), ("exits", Era.HANDSHAKE), ("slow", Era.STATELESS)],
)
async def test_a_child_decides_by_what_it_answers_and_not_by_when(manner: str, era: Era) -> None:
    async with linked(_stdio(manner), stdio_probe_s=0.5) as link:
        assert link.connection.era is era
        if era is Era.HANDSHAKE:
            assert link.connection.revision == "2024-11-05"


async def test_a_child_that_cannot_bear_the_probe_is_not_probed_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with linked(_stdio("exits")) as link:
        first = caplog.text.count("server/discover")
        again = await link.dialer.dial(lambda _: None)
        assert again.era is Era.HANDSHAKE
        await again.close()
    assert (first, caplog.text.count("server/discover")) == (1, 1)


async def test_a_server_that_says_nothing_is_a_timeout() -> None:
    silent = config(command=sys.executable, args=("-c", "import sys; sys.stdin.read()"), connect_timeout_s=0.6)
    with pytest.raises(UpstreamTimeout, match=r"handshake within 0\.6 seconds"):
        async with linked(silent, stdio_probe_s=0.1):
            pass


async def test_a_process_that_was_too_slow_gets_twice_the_time() -> None:
    silent = config(command=sys.executable, args=("-c", "import sys; sys.stdin.read()"), connect_timeout_s=0.2)
    link = Linked(silent, stdio_probe_s=0.1)
    for seconds in ("0.2", "0.4", "0.8"):
        with pytest.raises(UpstreamTimeout, match=rf"within {seconds} seconds"):
            await link.dialer.dial(lambda _: None)


async def test_a_process_waits_for_its_turn_to_start() -> None:
    starts = Starts(width=1)
    link = Linked(_stdio("exits"), starts=starts)
    async with starts.turn():
        dialing = asyncio.ensure_future(link.dialer.dial(lambda _: None))
        await asyncio.sleep(0.05)
        assert not dialing.done()
    await (await dialing).close()
    async with starts.turn():
        pass  # the place was given back


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("no token given", "no token given"),
        ("one\ntwo\n\n", "two"),
        (
            "x Nothing fits\n  | since it wants\n    what is not there",
            "x Nothing fits | since it wants what is not there",
        ),
        (
            "npm error code E404\nnpm error 404 Not Found - GET https://r/srv\nnpm error 404\n"
            "npm error A complete log of this run can be found in: /root/.npm/_logs/x-debug-0.log",
            "npm error code E404 404 Not Found - GET https://r/srv",
        ),
        (
            "a line before\nnode:internal/modules/cjs/loader:1210\n  throw err;\n  ^\n\n"
            "Error: Cannot find module '/srv.js'\n"
            + "    at load (node:internal/modules/cjs/loader:1207:15)\n" * 10
            + "    at node:internal/main/run_main_module:28:49 {\n  code: 'MODULE_NOT_FOUND',\n}\n\nNode.js v20.20.2\n",
            "Error: Cannot find module '/srv.js'",
        ),
        ("Node.js v20.20.2 is too old", "Node.js v20.20.2 is too old"),
    ],
)
async def test_a_child_that_ends_tells_why(said: str, told: str) -> None:
    failing = config(command=sys.executable, args=("-c", f"raise SystemExit({said!r})"))
    with pytest.raises(UpstreamDown, match=re.escape(f"exited with code 1: {told}") + "$"):
        async with linked(failing):
            pass


async def test_a_missing_variable_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="NO_SUCH_VARIABLE"):
        async with linked(config(url="http://127.0.0.1:1/${NO_SUCH_VARIABLE}")):
            pass


async def test_a_server_that_is_not_there_is_down() -> None:
    with pytest.raises(UpstreamDown, match=r"cannot reach http://127\.0\.0\.1:1:"):
        async with linked(config(url="http://127.0.0.1:1/mcp")):
            pass


async def test_credentials_that_are_missing_are_told() -> None:
    async def play(request: Request, write: Write) -> bool:
        await write(answer(b"", status="401 Unauthorized"))
        return True

    async with scripted(play) as server:
        with pytest.raises(UpstreamUnauthorized):
            async with linked(config(url=server.url)):
                pass
        assert len(server.requests) == 1


async def _answered(request: Request, write: Write, **results: bytes) -> bool:
    """Answer by method, with an underscore for the slash; None and DELETE get nothing."""
    message = msgspec.json.decode(request.body) if request.body else {}
    result = results.get(message.get("method", "").replace("/", "_"))
    if "id" not in message:
        await write(answer(b"", status="202 Accepted" if request.body else "405 Method Not Allowed"))
    elif result is None:
        await write(answer(b"Bad Request", status="400 Bad Request", content_type="text/plain"))
    else:
        await write(answer(b'{"jsonrpc":"2.0","id":%d,%b}' % (message["id"], result)))
    return True


@pytest.mark.parametrize(
    ("discover", "initialize", "expected"),
    [
        (b'"error":{"code":-32022,"message":"","data":{"supported":["2025-03-26"]}}', b"2025-03-26", "2025-03-26"),
        (b'"result":{"supportedVersions":["2025-06-18"],"capabilities":{}}', b"2025-06-18", "2025-06-18"),
        (b'"error":{"code":-32601,"message":"no"}', b"2025-11-25", "2025-11-25"),
        (b'"result":' + DISCOVERED, b"2025-11-25", "2026-07-28"),
    ],
)
async def test_the_revision_is_one_that_the_server_names(discover: bytes, initialize: bytes, expected: str) -> None:
    async def play(request: Request, write: Write) -> bool:
        return await _answered(
            request, write, server_discover=discover, initialize=b'"result":' + INITIALIZED % initialize
        )

    async with scripted(play) as server, linked(config(url=server.url)) as link:
        assert link.connection.revision == expected
        assert server.requests[0].headers["mcp-protocol-version"] == "2026-07-28"
        posts = [msgspec.json.decode(request.body) for request in server.requests if request.body]
        if expected == "2026-07-28":
            assert len(posts) == 1
        else:
            assert posts[1]["params"]["protocolVersion"] in (expected, "2025-11-25")
            assert "mcp-protocol-version" not in server.requests[1].headers
            assert posts[2] == {"jsonrpc": "2.0", "method": "notifications/initialized"}


async def test_a_cancelled_dial_leaves_no_process() -> None:
    link = asyncio.ensure_future(_dial_forever())
    await asyncio.sleep(0)
    link.cancel()
    with pytest.raises(asyncio.CancelledError):
        await link


async def _dial_forever() -> None:
    async with linked(config(command=sys.executable, args=("-c", "import sys; sys.stdin.read()"))):
        pass
