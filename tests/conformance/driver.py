"""The hub as the client under test: `python -m tests.conformance.driver URL`, run by the suite once for each scenario.

Owns starting the hub in front of the suite's server, the person who logs in where that is asked for, and the calls a
scenario waits for, made through the hub by an SDK client. The suite says which scenario it is in the environment:
`MCP_CONFORMANCE_SCENARIO`, `MCP_CONFORMANCE_PROTOCOL_VERSION` and, for some, `MCP_CONFORMANCE_CONTEXT` (JSON).
"""

import asyncio
import fcntl
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import mcp_types as types
from mcp import Client, MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from tests.support import clients, raw_http
from tests.support import hub as hubs
from tests.support.hub import Hub
from tests.support.waiting import NotReached, until

SERVER: Final = "suite"
CLIENT_METADATA: Final = "https://conformance-test.local/client-metadata.json"
"""What the suite's authorization server takes for a client metadata document."""

LET_IN_S: Final = 12.0
STEP_UPS: Final = 4
"""How often a call is made again after another login."""

LOGINS: Final = 8
"""Pages opened at most: where a login never works, the hub asks for the next one for ever."""

AT_ONCE: Final = 4
"""Hubs at one time: the suite starts all its scenarios together, and some of them measure time."""

REFUSED: Final = ("invalid", "stopped", "degraded")
SAMPLES: Final[dict[str, Any]] = {
    "number": 2,
    "integer": 3,
    "boolean": True,
    "string": "text",
    "array": [],
    "object": {},
}


def entry(url: str, scenario: str, context: dict[str, Any]) -> dict[str, Any]:
    """The hub's config entry for the suite's server."""
    made: dict[str, Any] = {"url": url, "prefix": "", "timeoutSeconds": 20, "connectTimeoutSeconds": 15}
    if scenario.startswith("auth/"):
        made["oauth"] = {"clientMetadataUrl": CLIENT_METADATA}
        if "client_secret" in context:
            made["oauth"] = {"clientId": context["client_id"], "clientSecret": context["client_secret"]}
        if scenario.startswith("auth/client-credentials"):
            made["oauth"]["grant"] = "client_credentials"
    return made


def sample(schema: dict[str, Any]) -> Any:
    """A value that a schema allows: its default, else something of its type."""
    if "default" in schema:
        return schema["default"]
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("type") == "object" or "properties" in schema:
        return {name: sample(each) for name, each in schema.get("properties", {}).items()}
    return SAMPLES.get(str(schema.get("type", "string")), "text")


async def accept(_ctx: object, params: types.ElicitRequestParams) -> types.ElicitResult:
    """Accept a form with its defaults."""
    if isinstance(params, types.ElicitRequestURLParams):
        return types.ElicitResult(action="accept")
    return types.ElicitResult(action="accept", content=sample(params.requested_schema))


async def answer_for_model(_ctx: object, _params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
    """A model's answer."""
    return types.CreateMessageResult(role="assistant", content=types.TextContent(text="yes"), model="none")


async def no_roots(_ctx: object) -> types.ListRootsResult:
    """No folders."""
    return types.ListRootsResult(roots=[])


class Person:
    """Opens the pages that the hub asks to be opened, each once."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._opened: set[str] = set()

    async def let_in(self) -> bool:
        """Log in until the server is ready; False where the hub, or the server, does not want that."""
        try:
            await until(self._status, lambda status: status in ("ready", "refused"), LET_IN_S, "the server is ready")
        except NotReached:
            return False
        return await self._status() == "ready"

    async def _status(self) -> str:
        server = (await self._hub.servers())[SERVER]
        page = server.get("authorizationUrl")
        if page is not None and page not in self._opened:
            if len(self._opened) >= LOGINS:
                return "refused"
            self._opened.add(page)
            await self._open(page)
        elif server["status"] in REFUSED:
            return "refused"
        return str(server["status"])

    async def _open(self, page: str) -> None:
        """Open a page that says yes at once, and carry its answer to the hub as a browser does."""
        answer = await raw_http.send("GET", page)
        query = urlsplit(answer.headers.get("location", "")).query
        await raw_http.send("GET", f"{self._hub.base}/api/oauth/callback?{query}")


class Scenario:
    """One scenario being driven."""

    def __init__(self, client: Client, person: Person, context: dict[str, Any]) -> None:
        self.client = client
        self.person = person
        self.context = context

    async def tools(self) -> dict[str, types.Tool]:
        """The tools the suite's server offers."""
        return await clients.all_tools(self.client)

    async def call(self, name: str, arguments: dict[str, Any] | None = None) -> None:
        """Call a tool; where the call needs another login, log in and call again."""
        for _ in range(STEP_UPS):
            try:
                await self.client.call_tool(name, arguments or {})
            except MCPError as refused:
                print(f"{name}: {refused.error.message}", file=sys.stderr)
                if not await self.person.let_in():
                    return
            else:
                return

    async def everything(self) -> None:
        """List everything, call every tool, read every resource and get every prompt."""
        for name, tool in (await self.tools()).items():
            await self.call(name, sample(tool.input_schema))
        for resource in (await self.client.list_resources()).resources:
            await self.client.read_resource(resource.uri)
        for prompt in (await self.client.list_prompts()).prompts:
            await self.client.get_prompt(prompt.name, {each.name: "text" for each in prompt.arguments or ()})

    async def listing(self) -> None:
        """List the tools, no more."""
        await self.tools()

    async def given_calls(self) -> None:
        """Make the calls that the suite lists."""
        await self.tools()
        for each in self.context["toolCalls"]:
            await self.call(each["name"], each["arguments"])

    async def echo_schema(self) -> None:
        """Send a schema back as it arrived."""
        schema = (await self.tools())["json_schema_2020_12_tool"].input_schema
        await self.call("json_schema_echo", {"schema": schema})

    async def questions(self) -> None:
        """Call what asks; `unrelated` is called by whoever is asked, between two rounds."""
        for name in ("test_mrtr_echo_state", "test_mrtr_no_state", "test_mrtr_no_result_type"):
            await self.call(name)

    async def after_login(self) -> None:
        """List and call, as anybody does who was let in."""
        for name in await self.tools():
            await self.call(name)


STEPS: Final[dict[str, Callable[[Scenario], Awaitable[None]]]] = {
    "json-schema-ref-no-deref": Scenario.listing,
    "request-metadata": Scenario.listing,
    "initialize": Scenario.listing,
    "http-custom-headers": Scenario.given_calls,
    "json-schema-2020-12-preservation": Scenario.echo_schema,
    "sep-2322-client-request-state": Scenario.questions,
}


async def drive(hub: Hub, name: str, revision: str, context: dict[str, Any]) -> None:
    """Do what a scenario waits for."""
    person = Person(hub)
    if not await person.let_in():
        # What the refusal is worth the suite's own checks say; here it only has to be seen.
        server = (await hub.servers())[SERVER]
        print(f"not let in: {server['status']}: {server['error']}; {hub.tail()}", file=sys.stderr)
        return
    made: list[Scenario] = []

    async def elicit(ctx: object, params: types.ElicitRequestParams) -> types.ElicitResult:
        if name == "sep-2322-client-request-state":
            await made[0].call("test_mrtr_unrelated")
        return await accept(ctx, params)

    kind = clients.stateless if revision in MODERN_PROTOCOL_VERSIONS else clients.session
    callbacks: dict[str, Any] = {
        "elicitation_callback": elicit,
        "sampling_callback": answer_for_model,
        "list_roots_callback": no_roots,
    }
    async with kind(hub.url, **callbacks) as client:
        scenario = Scenario(client, person, context)
        made.append(scenario)
        default = Scenario.after_login if name.startswith("auth/") else Scenario.everything
        await STEPS.get(name, default)(scenario)


def take_turn() -> None:
    """Wait for one of the places for a hub, which is this process's until it ends."""
    place = Path(tempfile.gettempdir()) / f"mcp-hub-conformance-{os.getpid() % AT_ONCE}.lock"
    fcntl.flock(os.open(place, os.O_CREAT | os.O_RDWR, 0o600), fcntl.LOCK_EX)


def main() -> int:
    """Read the environment, drive, and return the exit code."""
    warnings.simplefilter("ignore")
    take_turn()
    url = sys.argv[-1]
    name, revision = os.environ["MCP_CONFORMANCE_SCENARIO"], os.environ["MCP_CONFORMANCE_PROTOCOL_VERSION"]
    context: dict[str, Any] = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    with tempfile.TemporaryDirectory(prefix="conformance-client-") as directory:
        config = {"mcpServers": {SERVER: entry(url, name, context)}}
        with hubs.running(config, Path(directory)) as hub:
            asyncio.run(drive(hub, name, revision, context))
    return 0


if __name__ == "__main__":
    sys.exit(main())
