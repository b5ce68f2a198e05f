"""Secrets stand wherever a config may hold one, everybody who is shown one refuses and repeats it, and the hub tells
nobody: not its log, its REST answers, its metrics, its traces, its clients, its command or what it keeps."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import anyio.to_thread
import grpc.aio
import pytest
import redis
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as rpc

from hub_common.rpc_server import serve
from tests.journeys.matrix import proves
from tests.support import hub as hubs
from tests.support import raw_http
from tests.support.clients import RawClient, raw_session
from tests.support.hub import Hub
from tests.support.processes import ROOT
from tests.support.redis_server import RedisProcess, redis_process
from tests.support.telltale import Telltale, telltale
from tests.support.waiting import until

pytestmark = pytest.mark.anyio
_stubs: Any = rpc  # has no types
_redis: Any = redis.Redis  # is typed in part

SECRETS: Final = {
    "env": "zq9-env/+==",
    "env-variable": "zq9-env-variable",
    "env-url": "zq9-database",
    "argument": "zq9-argument",
    "argument-next": "zq9-argument-next",
    "argument-variable": "zq9-argument-variable",
    "command": "zq9-printed-by-a-command",
    "header": "zq9-header é",
    "header-bearer": "zq9-header-bearer",
    "header-variable": "zq9-header-variable",
    "url-user": "zq9-userinfo",
    "url-query": "zq9-query",
    "url-variable": "zq9-query-variable/+",
    "oauth": "zq9-oauth-client",
    "llm": "zq9-llm-key",
    "redis": "zq9-redis",
    "view": "zq9-view-token",
    "view-literal": "zq9-view-literal",
    "collector": "zq9-collector",
}
ENVIRON: Final = {
    "THE_TOKEN": SECRETS["env-variable"],
    "ARGUMENT_KEY": SECRETS["argument-variable"],
    "WEATHER": SECRETS["header-variable"],
    "MAP": SECRETS["url-variable"],
    "LLM_API_KEY": SECRETS["llm"],
    "READER_TOKEN": SECRETS["view"],
    "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{SECRETS['collector']}",
    "NO_PROXY": "127.0.0.1",
}
TELLS: Final = "import os, sys; sys.exit('wrong: ' + ' '.join(sys.argv[1:]) + ' ' + str(os.environ))"
TELLS_BRIEFLY: Final = "import os, sys; print(os.environ['PLAIN'], file=sys.stderr); sys.exit(' '.join(sys.argv[1:]))"
"""Programs that end at once, saying all they were given."""

PAGES: Final = (
    "/api/filtering/explain?tool=tells__x",
    "/api/filtering/explain?tool=hub__search_tools&view=reader",
    "/api/health",
    "/api/servers",
    "/api/tools",
    "/api/filtering/stats",
    "/api/views",
    "/api/workspaces",
)
BAD: Final = ("tells", "briefly", "absent", "refuses", "forbids", "fails", "breaks", "nobody", "closed", "shut")


def document(told: Telltale) -> dict[str, Any]:
    """A config with a secret in every place that can hold one, in front of those who tell."""
    host = told.base.removeprefix("http://")
    headers = {
        "Authorization": f"Bearer {SECRETS['header-bearer']}",
        "X-Api-Key": SECRETS["header"],
        "X-Weather": "${WEATHER}",
    }
    query = f"api_key={SECRETS['url-query']}&map=${{MAP}}"
    arguments = [f"--api-key={SECRETS['argument']}", "--token", SECRETS["argument-next"], "${ARGUMENT_KEY}"]
    env = {
        "API_KEY": SECRETS["env"],
        "PLAIN": "${THE_TOKEN}",
        "DATABASE_URL": f"postgres://hub:{SECRETS['env-url']}@db/hub",
        "PRINTED": f"${{cmd: echo {SECRETS['command']}}}",
    }

    def remote(kind: str) -> dict[str, Any]:
        return {"url": f"http://hub:{SECRETS['url-user']}@{host}/{kind}/mcp?{query}", "headers": headers}

    client = {"grant": "client_credentials", "clientId": "hub", "clientSecret": SECRETS["oauth"]}
    servers: dict[str, Any] = {
        "tells": {"command": sys.executable, "args": ["-c", TELLS, *arguments], "env": env},
        "briefly": {"command": sys.executable, "args": ["-c", TELLS_BRIEFLY, *arguments], "env": env},
        "absent": {"command": f"no-such-program-{SECRETS['argument']}", "args": arguments, "env": env},
        "refuses": remote("401"),
        "forbids": remote("403"),
        "fails": remote("500"),
        "breaks": remote("rpc"),
        "nobody": {"url": f"http://hub:{SECRETS['url-user']}@127.0.0.1:1/mcp?{query}", "headers": headers},
        "closed": {"url": f"{told.base}/oauth/mcp", "oauth": client},
        "shut": {"url": f"{told.base}/oauth/mcp", "oauth": {**client, "tokenEndpointAuthMethod": "client_secret_post"}},
    }
    llm = {"enabled": True, "provider": "openai", "apiKey": "${LLM_API_KEY}", "baseURL": f"{told.base}/403/v1"}
    return {
        "mcpServers": servers,
        "toolFiltering": {"mode": "prompt-based", "enabled": True, "llmCategorization": llm},
        "views": {"reader": {"credentials": ["${READER_TOKEN}", SECRETS["view-literal"]]}},
    }


def forms(secret: str) -> set[str]:
    """How a secret may look: as it is, in JSON, in Python, in a URL, in Basic credentials."""
    quoted = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret), quote(secret, safe="")}
    encoded = {base64.b64encode(f"{user}:{secret}".encode()).decode() for user in ("hub", "")}
    return quoted | encoded | {secret.encode().decode("latin-1")}


def leaks(text: str | bytes) -> set[str]:
    """The places whose secret is in a text."""
    shown = text.decode(errors="replace") if isinstance(text, bytes) else text
    return {place for place, secret in SECRETS.items() if any(form in shown for form in forms(secret))}


class Collector(rpc.TraceServiceServicer):
    """Keeps the bytes of the spans it is sent (opentelemetry-proto 1.x)."""

    def __init__(self) -> None:
        self.spans = b""

    async def Export(self, request: Any, context: Any) -> Any:
        """Take what came."""
        self.spans += request.SerializeToString()
        return pb.ExportTraceServiceResponse()


class Scene(NamedTuple):
    """Who took part."""

    hub: Hub
    told: Telltale
    collector: Collector
    store: RedisProcess


@pytest.fixture(scope="module", params=["console", "json"])
async def scene(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Scene]:
    """A hub whose servers have all failed; with style `json` Redis does not take its password either."""
    directory, collector, style = tmp_path_factory.mktemp("secrets"), Collector(), request.param

    def register(server: grpc.aio.Server) -> None:
        _stubs.add_TraceServiceServicer_to_server(collector, server)

    port = hubs.free_port()
    traces = await serve(f"127.0.0.1:{port}", register, name="traces")
    with ExitStack() as stack:
        told, store = stack.enter_context(telltale()), stack.enter_context(redis_process())
        password = SECRETS["redis"] if style == "console" else "another"
        server = _redis.from_url(store.url)
        server.config_set("rdbcompression", "no")  # which `DUMP` heeds, too
        server.config_set("requirepass", password)
        environ = {
            **ENVIRON,
            "HUB_GATEWAY_LOG_LEVEL": "debug",
            "HUB_CATEGORIZER_LOG_LEVEL": "debug",
            "HUB_GATEWAY_LOG_STYLE": style,
            "HUB_REDIS_URL": store.url.replace("//", f"//:{SECRETS['redis']}@"),
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        hub = stack.enter_context(hubs.running(document(told), directory, environ=environ))

        async def settled() -> Mapping[str, Any]:
            return await hub.servers()

        def failed(servers: Mapping[str, Any]) -> bool:
            return all(servers[name]["lastError"] for name in BAD)

        try:
            await until(settled, failed, 60, f"every server has failed ({hub.tail()})")
            yield Scene(hub, told, collector, store)
        finally:
            await traces.stop(0)


@proves("secrets")
async def test_those_who_tell_were_shown_the_secrets(scene: Scene) -> None:
    shown = leaks("\n".join(scene.told.heard))
    assert shown >= {"header-bearer", "header-variable", "url-query", "url-variable", "oauth"}
    await scene.hub.api("POST", "/api/filtering/llm/check")
    assert "llm" in leaks("\n".join(scene.told.heard))


@proves("secrets")
async def test_no_answer_tells_a_secret(scene: Scene) -> None:
    hub = scene.hub
    answers = [await raw_http.send("GET", f"{hub.base}{path}", b"", {}) for path in (*PAGES, "/metrics")]
    for name in BAD:
        for path in ("info", "refresh", "tools", "authorize", "stop", "start"):
            body = json.dumps({"server_name": name, "tool": "x", "forget": True}).encode()
            fields = {"Content-Type": "application/json"}
            answers.append(await raw_http.send("POST", f"{hub.base}/api/servers/{path}", body, fields))
    for path, asked in (
        ("llm/check", {}),
        ("dry-run", {"toolFiltering": {"mode": "category"}}),
        ("mode", {"mode": "x"}),
    ):
        sent = json.dumps(asked).encode()
        url = f"{hub.base}/api/filtering/{path}"
        answers.append(await raw_http.send("POST", url, sent, {"Content-Type": "application/json"}))
    assert {place for answer in answers for place in leaks(answer.body)} == set()
    assert "refused" in answers[-3].body.decode()


@proves("secrets")
async def test_no_client_is_told_a_secret(scene: Scene) -> None:
    hub, said = scene.hub, list[bytes]()
    for headers in ({}, {"Authorization": f"Bearer {SECRETS['view']}"}, {"Authorization": "Bearer wrong"}):
        stateless = RawClient(hub.url, headers=headers)
        said.append((await stateless.request("tools/list")).body)
        if headers:
            continue
        async with raw_session(hub.url) as session:
            for client in (stateless, session):
                for name in (*(f"{name}__x" for name in BAD), "hub__analyze_prompt", "hub__call_tool"):
                    arguments = {"prompt": "read a page", "name": "tells__x"}
                    said.append((await client.call(name, arguments)).body)
                said.append((await client.request("resources/read", {"uri": "nothing:here"})).body)
    assert {place for each in said for place in leaks(each)} == set()


@proves("secrets")
async def test_the_command_tells_no_secret(scene: Scene) -> None:
    hub = scene.hub

    def run(*words: str) -> str:
        line = [str(hubs.COMMAND), *words]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, env=ENVIRON, cwd=ROOT)
        return done.stdout + done.stderr

    broken = hub.config.with_name("broken.json")
    text = hub.config.read_text()
    wrong = text.replace('"url": "http://hub:', '"url": "htp://hub:', 1).replace('"-c"', "7", 1)
    broken.write_text(wrong.replace('"env": {', '"env": {"NUMBER": [1],', 1).replace('"headers": {', '"haeders": {', 1))
    torn = hub.config.with_name("torn.json")
    torn.write_text(text[: text.index(SECRETS["url-query"]) + len(SECRETS["url-query"])])
    port = str(hubs.free_port())
    commands = (
        ("config", "check", str(hub.config)),
        ("config", "check", str(broken)),
        ("config", "check", str(torn)),
        ("serve", "--port", port, "--config", str(torn)),
        ("filter", "explain", "tells__x", "--url", hub.base),
        ("filter", "dry-run", str(hub.config), "--url", hub.base),
        ("filter", "dry-run", str(broken), "--url", hub.base),
    )
    for words in commands:
        said = await anyio.to_thread.run_sync(lambda words=words: run(*words))
        assert (words, leaks(said)) == (words, set())
        assert re.search(r"\w", said)


@proves("secrets")
async def test_no_trace_tells_a_secret(scene: Scene) -> None:
    await RawClient(scene.hub.url).call("tells__x")

    async def spans() -> bytes:
        return scene.collector.spans

    found = await until(spans, lambda bytes_: b"mcp tools/call" in bytes_, 20, "a span came")
    assert leaks(found) == set()


@proves("secrets")
async def test_nothing_kept_is_a_secret(scene: Scene) -> None:
    """The log last, when all of the above has been written to it."""
    kept: dict[str, bytes] = {}
    for password in (SECRETS["redis"], "another"):
        store = _redis.from_url(scene.store.url, password=password)
        with contextlib.suppress(redis.AuthenticationError):
            kept |= {str(key): store.dump(key) for key in store.scan_iter()}
            assert bool(kept) == (password == SECRETS["redis"])
    directory = scene.hub.log.parent
    files = [path for path in directory.rglob("*") if path.is_file() and path.parent != directory]
    kept |= {str(path): path.read_bytes() for path in [*files, scene.hub.log]}
    assert {(where, place) for where, content in kept.items() for place in leaks(content)} == set()
    assert "debug" in scene.hub.log.read_text(errors="replace").lower()
