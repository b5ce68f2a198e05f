"""The container stack on a real engine: it serves real tools, goes on without each satellite, spreads its rpcs, keeps
traces in one piece, and runs with no more rights than it needs.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from tests.compose.stack import Span, Stack, docker
from tests.support import clients
from tests.support.processes import ROOT
from tests.support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.docker, pytest.mark.timeout(360)]

SERVERS = {"everything", "fetch", "time", "git", "memory"}
FIRST_RUN_S = 90.0
"""npx and uvx fetch their packages on the first start."""

NOTICED_S = 30.0
"""Within this health tells that something went or came back."""

SPREAD_S = 90.0
"""Connections live half a minute; then new replicas are found."""

CONVERSION = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
PROMPT = "convert a time to another timezone"


@pytest.fixture
async def ready(stack: Stack) -> Stack:
    """The stack with every server up."""
    await until(stack.health, lambda seen: seen["status"] == "ok", FIRST_RUN_S, "all servers ready")
    return stack


async def test_real_tools_of_every_server_answer(ready: Stack) -> None:
    names = await ready.tool_names()
    assert {name.partition("__")[0] for name in names} == SERVERS | {"hub"}

    echo = await ready.call("everything__echo", {"message": "through the stack"})
    converted = await ready.call("time__convert_time", CONVERSION)
    status = await ready.call("git__git_status", {"repo_path": "/var/lib/hub/repository"})
    graph = await ready.call("memory__read_graph", {})
    assert "through the stack" in echo["content"][0]["text"]
    assert converted["structuredContent"]["time_difference"] == "+9.0h"
    assert "On branch" in status["content"][0]["text"]
    assert not graph.get("isError")

    # It reached the tool, and the tool does not look around in the network of the stack.
    refused = await ready.call("fetch__fetch", {"url": "http://everything:3001/mcp"})
    assert refused["isError"] and "not a public address" in refused["content"][0]["text"]


@pytest.mark.parametrize("connect", [clients.stateless, clients.session], ids=["stateless", "session"])
async def test_the_sdks_client_lists_and_calls(ready: Stack, connect: Callable[[str], Any]) -> None:
    async with connect(ready.url) as client:
        assert "time__convert_time" in await clients.all_tools(client)
        result = await client.call_tool("everything__get-sum", {"a": 19, "b": 23})
        assert "42" in clients.text_of(result)


def _filter_is(status: str) -> Callable[[dict[str, Any]], bool]:
    return lambda seen: seen["satellites"]["filter"]["status"] == status


def _categorizer_is(status: str) -> Callable[[dict[str, Any]], bool]:
    return lambda seen: seen["satellites"]["categorizer"]["status"] == status


def _redis_is(status: str) -> Callable[[dict[str, Any]], bool]:
    return lambda seen: seen["store"]["healthy"] is (status == "ok")


@pytest.mark.parametrize(
    ("service", "service_is"), [("filter", _filter_is), ("categorizer", _categorizer_is), ("redis", _redis_is)]
)
async def test_goes_on_without(
    ready: Stack, service: str, service_is: Callable[[str], Callable[[dict[str, Any]], bool]]
) -> None:
    before = _start_of_gateway(ready)
    listed = await ready.tool_names()
    try:
        async with _steady(ready, listed) as answered:
            await asyncio.to_thread(ready.kill, service)
            seen = await until(ready.health, service_is("away"), NOTICED_S, f"health says that {service} is away")
            assert (seen["status"], seen["http_status"]) == ("degraded", 200)
            assert "time__convert_time" in await ready.analyze(PROMPT)
            await answered.more()
            await asyncio.to_thread(ready.up)
            seen = await until(ready.health, service_is("ok"), NOTICED_S, f"health says that {service} is back")
            await answered.more()
    finally:
        await asyncio.to_thread(ready.up)
    assert seen["status"] == "ok"
    assert "time__convert_time" in await ready.analyze(PROMPT)
    assert _start_of_gateway(ready) == before


class _Answered:
    """How often steady traffic was answered."""

    def __init__(self) -> None:
        self.count = 0
        self.ended = asyncio.Event()

    async def more(self, times: int = 10) -> None:
        """Wait for that many further answers."""
        wanted = self.count + times

        async def count() -> int:
            return self.count

        await until(count, lambda seen: seen >= wanted, NOTICED_S, "calls and lists go on")


class _steady:
    """Calls and lists that must all be answered, from the start of the block to its end."""

    def __init__(self, stack: Stack, listed: set[str]) -> None:
        self._stack = stack
        self._listed = listed
        self._group = asyncio.TaskGroup()
        self._answered = _Answered()

    async def __aenter__(self) -> _Answered:
        await self._group.__aenter__()
        self._group.create_task(self._go_on())
        return self._answered

    async def __aexit__(self, *raised: Any) -> None:
        self._answered.ended.set()
        await self._group.__aexit__(*raised)

    async def _go_on(self) -> None:
        while not self._answered.ended.is_set():
            assert await self._stack.tool_names() == self._listed
            assert not (await self._stack.call("everything__echo", {"message": "on"})).get("isError")
            assert not (await self._stack.call("time__convert_time", CONVERSION)).get("isError")
            self._answered.count += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(self._answered.ended.wait(), 0.1)


def _start_of_gateway(stack: Stack) -> tuple[str, int]:
    (gateway,) = stack.containers("gateway")
    return gateway["State"]["StartedAt"], gateway["RestartCount"]


@pytest.mark.parametrize("carrier", ["header", "meta"])
async def test_one_trace_from_the_client_to_both_satellites(ready: Stack, carrier: str) -> None:
    trace_id, client_span = secrets.token_hex(16), secrets.token_hex(8)
    traceparent = f"00-{trace_id}-{client_span}-01"
    if carrier == "header":
        await ready.analyze(PROMPT, traceparent=traceparent)
    else:
        await ready.analyze(PROMPT, meta={"traceparent": traceparent})

    async def spans() -> dict[str, Span]:
        return {span.span_id: span for span in ready.spans() if span.trace_id == trace_id}

    def whole(seen: dict[str, Span]) -> bool:
        return {span.service for span in seen.values()} == {"gateway", "filter", "categorizer"} and all(
            span.parent_id in seen or span.parent_id == client_span for span in seen.values()
        )

    seen = await until(spans, whole, NOTICED_S, "spans of all three services, each with its parent")
    (root,) = (span for span in seen.values() if span.parent_id == client_span)
    assert (root.service, root.name) == ("gateway", "mcp tools/call")
    for service, rpc in (("filter", "FilterService/Search"), ("categorizer", "CategorizerService/AnalyzePrompt")):
        served = [span for span in seen.values() if span.service == service and span.name.endswith(rpc)]
        assert served, f"{service} has no span of {rpc}"
        for span in served:
            asked = seen[span.parent_id]
            assert (asked.service, asked.parent_id) == ("gateway", root.span_id)


async def test_rpcs_take_turns_among_replicas(ready: Stack) -> None:
    await asyncio.to_thread(ready.up, "--no-recreate", "--scale", "filter=3", "--scale", "categorizer=2")
    await until(_asked(ready, 12), _reached(3, 2), SPREAD_S, "rpcs reach every replica")
    # Connections may be renewed meanwhile, so turns are not exactly equal.
    seen = await until(_asked(ready, 60), _reached(3, 2), SPREAD_S, "sixty rpcs reach every replica")
    for counts in seen.values():
        assert min(counts.values()) >= counts.total() / len(counts) / 2, seen
    # Each came to know the catalog, so none of these turns was in vain.
    assert seen["filter"].total() == seen["categorizer"].total() == 60


def _asked(stack: Stack, times: int) -> Callable[[], Awaitable[dict[str, Counter[str]]]]:
    """Ask so many prompts, and count the rpcs each replica answered for them."""

    async def ask() -> dict[str, Counter[str]]:
        trace_id = secrets.token_hex(16)
        for _ in range(times):
            await stack.analyze(PROMPT, traceparent=f"00-{trace_id}-{secrets.token_hex(8)}-01")

        async def served() -> dict[str, Counter[str]]:
            spans = [span for span in stack.spans() if span.trace_id == trace_id]
            return {
                service: Counter(span.peer for span in spans if span.service == service)
                for service in ("filter", "categorizer")
            }

        def told(seen: dict[str, Counter[str]]) -> bool:
            return all(counts.total() >= times for counts in seen.values())

        return await until(served, told, NOTICED_S, "the replicas' spans of these rpcs")

    return ask


def _reached(filters: int, categorizers: int) -> Callable[[dict[str, Counter[str]]], bool]:
    return lambda seen: len(seen["filter"]) == filters and len(seen["categorizer"]) == categorizers


async def test_containers_have_no_more_rights_than_they_need(ready: Stack) -> None:
    found = [each for each in ready.containers() if _service(each) != "traces"]
    assert {_service(each) for each in found} == {"gateway", "filter", "categorizer", "redis", "everything", "fetch"}
    for each in found:
        name, config, host = _service(each), each["Config"], each["HostConfig"]
        assert int(config["User"].partition(":")[0]) > 0, name
        assert host["ReadonlyRootfs"], name
        assert host["CapDrop"] == ["ALL"] and not host["CapAdd"], name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
        assert host["Memory"] and host["NanoCpus"] and host["PidsLimit"], name
        published: list[list[dict[str, str]]] = [*(host["PortBindings"] or {}).values()]
        assert [port["HostIp"] for (port,) in published] == (["127.0.0.1"] if name == "gateway" else []), name
    ids = {_service(each): each["Id"] for each in found}
    assert ready.run_in(ids["gateway"], "id", "-u").strip() == "10001"
    assert "Read-only" in ready.run_in(ids["gateway"], "sh", "-c", "touch /opt/hub/here 2>&1 || true")


async def test_servers_reach_the_gateway_and_nothing_behind_it(ready: Stack) -> None:
    (fetch,) = ready.containers("fetch")
    script = """if True:
        import http.client, socket
        gateway = http.client.HTTPConnection("gateway", 7000, timeout=5)
        gateway.request("GET", "/readyz")
        print(gateway.getresponse().status)
        for name in ("redis", "filter", "categorizer"):
            try:
                print(socket.gethostbyname(name))
            except OSError:
                print("unknown")
    """
    assert ready.run_in(fetch["Id"], "python", "-c", script).split() == ["200", "unknown", "unknown", "unknown"]


def _service(container: dict[str, Any]) -> str:
    return container["Config"]["Labels"]["com.docker.compose.service"]


@pytest.mark.usefixtures("engine")
async def test_the_gateway_without_runners_serves_alone() -> None:
    image = "mcp-hub/gateway-slim:test"
    docker("build", "--tag", image, "--file", "services/gateway/Dockerfile", ".", timeout_s=240)
    config = f"{ROOT}/deploy/config:/etc/mcp-hub:ro"
    hardened = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
    container = docker("run", "--detach", "--rm", *hardened, "--volume", config, image).strip()

    async def status() -> str:
        return docker("inspect", "--format", "{{.State.Health.Status}}", container).strip()

    try:
        await until(status, lambda seen: seen == "healthy", NOTICED_S, "healthy with nothing else there")
    finally:
        docker("kill", container)
