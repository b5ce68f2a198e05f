"""Servers nobody here wrote, behind the hub with filtering on: what they answer is what they answer without it."""

import subprocess
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import anyio
import mcp_types as types
import pytest
from mcp import Client

from tests.journeys.conftest import FILTERING
from tests.journeys.matrix import proves
from tests.journeys.test_questions import Person
from tests.journeys.test_streams import Told
from tests.support import hub as hubs
from tests.support.clients import all_tools, session, stateless, text_of
from tests.support.hub import Hub
from tests.support.real_servers import FIRST_START_S, entry, environ, process

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning"),
    pytest.mark.timeout(FIRST_START_S + 120),
]
KINDS: Final = (session, stateless)
HEARD_S: Final = 15.0
PAGE: Final = b"<html><body><h1>Real</h1><p>words of a page</p></body></html>"
DOCUMENT: Final = "demo://resource/static/document/features.md"
Kind = Callable[..., Client]


@dataclass(frozen=True)
class House:
    """The hub, the entries of the servers behind it, and the page that one of them fetches."""

    hub: Hub
    entries: dict[str, dict[str, Any]]
    page: str

    def forget(self) -> None:
        """Let the server that remembers start from nothing."""
        Path(self.entries["memory"]["env"]["MEMORY_FILE_PATH"]).unlink(missing_ok=True)

    def calls(self, name: str) -> tuple[tuple[str, dict[str, Any]], ...]:
        """Calls of one server whose answers depend on nothing but the call."""
        folder = self.entries["filesystem"]["args"][-1]
        noon = {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"}
        ada = {"name": "Ada", "entityType": "person", "observations": ["counts"]}
        return {
            "everything": (("get-sum", {"a": 2, "b": 40}), ("get-structured-content", {"location": "Chicago"})),
            "memory": (("create_entities", {"entities": [ada]}), ("search_nodes", {"query": "Ada"})),
            "filesystem": (("read_text_file", {"path": f"{folder}/a.txt"}), ("list_directory", {"path": folder})),
            "time": (("convert_time", noon), ("get_current_time", {"timezone": "Nowhere/At_all"})),
            "git": (("git_log", {"repo_path": self.entries["git"]["args"][-1]}),),
            "fetch": (("fetch", {"url": self.page}),),
        }[name]


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/page" else 404)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def _repository(directory: Path) -> Path:
    directory.mkdir()
    (directory / "a.txt").write_text("first\n")
    author = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    for line in (("init", "-q"), ("add", "a.txt"), (*author, "commit", "-q", "-m", "The first one")):
        subprocess.run(("git", *line), cwd=directory, check=True, capture_output=True, timeout=30)
    return directory


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Generator[House]:
    """The hub in front of six real servers, all ready."""
    directory = tmp_path_factory.mktemp("real")
    files = directory / "files"
    files.mkdir()
    (files / "a.txt").write_text("naïve \N{GRINNING FACE}\n")
    with ExitStack() as stack:
        pages = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), _Page))
        threading.Thread(target=pages.serve_forever, daemon=True).start()
        stack.callback(pages.shutdown)
        entries = {
            "everything": entry("everything", "stdio"),
            "memory": entry("memory", environ={"MEMORY_FILE_PATH": str(directory / "memory.jsonl")}),
            "filesystem": entry("filesystem", str(files)),
            "time": entry("time", "--local-timezone", "UTC"),
            "git": entry("git", "--repository", str(_repository(directory / "repository"))),
            "fetch": entry("fetch", "--ignore-robots-txt"),
        }
        hidden = {"shut": {"command": "nothing", "disabled": True}}
        document = {"mcpServers": {**entries, **hidden}, "toolFiltering": FILTERING}
        hub = stack.enter_context(hubs.running(document, directory, environ=environ()))
        hubs.wait_ready_sync(hub, *entries, timeout_s=FIRST_START_S)
        yield House(hub, entries, f"http://127.0.0.1:{pages.server_port}/page")


async def _answers(client: Client, calls: tuple[tuple[str, dict[str, Any]], ...], prefix: str = "") -> list[Any]:
    """What the calls are answered with; the members that name the server of a stateless result left out."""
    found: list[Any] = []
    for tool, arguments in calls:
        result = (await client.call_tool(prefix + tool, arguments)).model_dump(mode="json", by_alias=True)
        found.append({name: result[name] for name in ("content", "structuredContent", "isError")})
    return found


@proves("real-servers")
@pytest.mark.parametrize("name", ("everything", "memory", "filesystem", "time", "git", "fetch"))
async def test_a_server_is_listed_whole_and_answers_the_same(house: House, name: str, tmp_path: Path) -> None:
    alone = house.entries[name]
    if name == "memory":
        alone = {**alone, "env": {"MEMORY_FILE_PATH": str(tmp_path / "memory.jsonl")}}
    calls = house.calls(name)
    async with Client(process(alone), mode="legacy", cache=None, **Person().callbacks) as direct:
        own = await all_tools(direct)
        expected = await _answers(direct, calls)
    for kind in KINDS:
        if name == "memory":
            house.forget()
        async with kind(house.hub.url) as client:
            tools = await all_tools(client)
            listed = {public.removeprefix(f"{name}__"): tools[public] for public in tools if public.startswith(name)}
            assert set(own) <= set(listed)
            for local, tool in own.items():
                assert listed[local].model_copy(update={"name": local}) == tool
            assert await _answers(client, calls, f"{name}__") == expected


@proves("real-servers")
@pytest.mark.parametrize("kind", KINDS)
async def test_progress_of_a_real_server(house: House, kind: Kind) -> None:
    heard: list[tuple[float, float | None]] = []

    async def progressed(progress: float, total: float | None, _message: str | None) -> None:
        heard.append((progress, total))

    async with kind(house.hub.url) as client:
        arguments = {"duration": 0.3, "steps": 3}
        name = "everything__trigger-long-running-operation"
        result = await client.call_tool(name, arguments, progress_callback=progressed)
    assert text_of(result).startswith("Long running operation completed.")
    assert heard == [(1, 3), (2, 3), (3, 3)]


@proves("real-servers")
@pytest.mark.parametrize("kind", KINDS)
async def test_a_real_server_asks(house: House, kind: Kind) -> None:
    person = Person(name="Ada", check=True)
    async with kind(house.hub.url, **person.callbacks) as client:
        sampled = await client.call_tool("everything__trigger-sampling-request", {"prompt": "the way?"})
        filled = await client.call_tool("everything__trigger-elicitation-request", {})
    assert "re: Resource trigger-sampling-request context: the way?" in text_of(sampled)
    texts = [content.text for content in filled.content if isinstance(content, types.TextContent)]
    assert any('"name": "Ada"' in text for text in texts), texts
    assert (len(person.prompts), len(person.forms)) == (1, 1)


@proves("real-servers")
@pytest.mark.parametrize("kind", KINDS)
async def test_resources_prompts_and_completion_of_a_real_server(house: House, kind: Kind) -> None:
    department = types.PromptReference(name="everything__completable-prompt")
    async with kind(house.hub.url) as client:
        uris = {resource.uri for resource in (await client.list_resources()).resources}
        (document,) = (await client.read_resource(DOCUMENT)).contents
        (made,) = (await client.read_resource("demo://resource/dynamic/text/7")).contents
        prompts = {prompt.name for prompt in (await client.list_prompts()).prompts}
        got = await client.get_prompt("everything__args-prompt", {"city": "Paris"})
        completed = await client.complete(department, {"name": "department", "value": "S"})
    assert DOCUMENT in uris
    assert isinstance(document, types.TextResourceContents)
    assert document.text
    assert isinstance(made, types.TextResourceContents)
    assert "7" in made.text
    assert {"everything__simple-prompt", "everything__args-prompt", "everything__resource-prompt"} <= prompts
    (message,) = got.messages
    assert isinstance(message.content, types.TextContent)
    assert "Paris" in message.content.text
    assert completed.completion.values == ["Sales", "Support"]


async def _yes() -> bool:
    return True


@proves("real-servers")
async def test_updates_and_logs_of_a_real_server_reach_a_session(house: House) -> None:
    """It sends the first of each at once when it is switched on."""
    told, logged = Told(), anyio.Event()

    async def log(_params: types.LoggingMessageNotificationParams) -> None:
        logged.set()

    async with session(house.hub.url, message_handler=told.message, logging_callback=log) as client:
        await client.set_logging_level("debug")  # pyright: ignore[reportDeprecated]
        await client.subscribe_resource(DOCUMENT)  # pyright: ignore[reportDeprecated]
        for switch in ("toggle-subscriber-updates", "toggle-simulated-logging"):
            assert "Started" in text_of(await client.call_tool(f"everything__{switch}", {}))
        try:
            await told.until("notifications/resources/updated", _yes)
            with anyio.fail_after(HEARD_S):
                await logged.wait()
        finally:
            for switch in ("toggle-subscriber-updates", "toggle-simulated-logging"):
                await client.call_tool(f"everything__{switch}", {})


@proves("real-servers")
async def test_updates_of_a_real_server_reach_a_client_without_a_session(house: House) -> None:
    async with (
        stateless(house.hub.url) as client,
        client.listen(resource_subscriptions=(DOCUMENT,)) as subscription,
    ):
        await client.call_tool("everything__toggle-subscriber-updates", {})
        try:
            with anyio.fail_after(HEARD_S):
                async for event in subscription:
                    assert type(event).__name__ == "ResourceUpdated"
                    break
        finally:
            await client.call_tool("everything__toggle-subscriber-updates", {})
