"""Views, their credentials and rules for single entries, over the real hub; and why, and what another policy would do,
asked with the real command."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
import pytest

from tests.journeys.matrix import proves
from tests.support import hub as hubs
from tests.support.clients import RawClient, raw_session
from tests.support.hub import Hub, free_port
from tests.support.small_server import small_server, tool

pytestmark = pytest.mark.anyio
TOKEN: Final = "reader-token"
READING: Final = {**tool("read", "Read a page"), "annotations": {"readOnlyHint": True}}
DROPPING: Final = {**tool("drop", "Drop a table"), "annotations": {"readOnlyHint": True}}
TOOLS: Final = (READING, DROPPING, tool("write", "Write a page"))
ALL: Final = {"tools": {"wiki__read", "wiki__drop", "wiki__write", "mail__read", "mail__drop", "mail__write"}}
ALL["prompts"], ALL["resources"] = {"wiki__p", "mail__p"}, {"one", "two"}
VIEWS: Final[dict[str, Any]] = {
    "mail": {"toolFiltering": {"mode": "server-allowlist", "serverFilter": {"mode": "allowlist", "servers": ["mail"]}}},
    "reader": {
        "credentials": ["${env:READER_TOKEN}"],
        "toolFiltering": {"annotations": {"readOnly": True}, "tools": {"deny": ["*__drop", "wiki:*"]}},
    },
}
SEEN: Final = {
    "mail": {"tools": {"mail__read", "mail__drop", "mail__write"}, "prompts": {"mail__p"}, "resources": {"two"}},
    "reader": {"tools": {"wiki__read", "mail__read"}, "prompts": {"wiki__p", "mail__p"}, "resources": {"two"}},
}


@pytest.fixture(scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Hub]:
    """A hub in front of two servers, with an open view and one behind a token."""
    async with AsyncExitStack() as stack:
        entries: dict[str, object] = {}
        for name, resource in (("wiki", "one"), ("mail", "two")):
            offered = [{"uri": f"{name}:{resource}", "name": resource}]
            server = small_server(*TOOLS, resources=offered, prompts=[{"name": "p"}])
            entries[name] = {"url": (await stack.enter_async_context(server)).url}
        document = {"mcpServers": entries, "views": VIEWS}
        directory = tmp_path_factory.mktemp("policy")
        running = stack.enter_context(hubs.running(document, directory, environ={"READER_TOKEN": TOKEN}))
        await running.until_ready(*entries)
        yield running


async def seen(client: RawClient) -> dict[str, set[str]]:
    """The names a client lists, by kind."""
    answers = {kind: (await client.request(f"{kind}/list")).json()["result"][kind] for kind in ALL}
    return {kind: {each["name"] for each in listed} for kind, listed in answers.items()}


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@proves("views")
async def test_a_view_by_url_shows_its_own_in_both_eras(hub: Hub) -> None:
    assert await seen(RawClient(hub.url)) == ALL
    assert await seen(RawClient(f"{hub.url}/v/mail")) == SEEN["mail"]
    async with raw_session(f"{hub.url}/v/mail") as client:
        assert await seen(client) == SEEN["mail"]
        assert (await client.call("wiki__read")).json()["error"]["code"] == -32602
    unknown = await RawClient(f"{hub.url}/v/male").request("tools/list")
    assert (unknown.status, unknown.json()["error"]["data"]) == (404, {"views": ["mail"]})
    assert "did you mean 'mail'?" in unknown.json()["error"]["message"]


@proves("view-credentials", "entry-rules")
async def test_a_token_opens_its_view_and_nothing_else_does(hub: Hub) -> None:
    for url in (hub.url, f"{hub.url}/v/reader"):
        assert await seen(RawClient(url, headers=bearing(TOKEN))) == SEEN["reader"]
        async with raw_session(url, headers=bearing(TOKEN)) as client:
            assert await seen(client) == SEEN["reader"]
            assert (await client.call("wiki__drop")).json()["error"]["code"] == -32602
        assert (await RawClient(url, headers=bearing("wrong")).request("tools/list")).status == 401
    assert (await RawClient(f"{hub.url}/v/reader").request("tools/list")).status == 401
    assert TOKEN not in hub.log.read_text(errors="replace")


async def command(*words: str) -> tuple[int, str, str]:
    """Run `mcp-hub filter`; its exit code, what it prints, and that without the spaces of the layout."""

    def run() -> subprocess.CompletedProcess[str]:
        line = [str(hubs.COMMAND), "filter", *words]
        environ = {"COLUMNS": "160", "NO_PROXY": "127.0.0.1"}
        return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, env=environ)

    done = await anyio.to_thread.run_sync(run)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, re.sub(r" +", " ", done.stdout)


@proves("explained")
async def test_the_command_says_why(hub: Hub) -> None:
    at = ("--url", hub.base)
    code, _, told = await command("explain", "wiki__drop", "--view", "reader", *at)
    lines = hub.config.read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if '"*__drop"' in text)
    assert code == 0
    assert "tool wiki__drop of wiki, in reader" in told
    assert "rule tools.deny:*__drop" in told
    assert f"where views.reader.toolFiltering.tools.deny[0] ({hub.config}:{line})" in told
    assert "allowed no" in told
    code, printed, _ = await command("explain", "mail:two", "--kind", "resource", "--view", "mail", "--json", *at)
    said = json.loads(printed)
    assert (code, said["visible"], said["callable"], said["rule"]) == (0, True, True, "server-allowlist:listed")


@proves("explained")
async def test_the_command_says_what_is_wrong(hub: Hub) -> None:
    code, _, told = await command("explain", "wiki__dorp", "--url", hub.base)
    assert code == 1
    assert "wiki__drop" in told
    code, _, told = await command("explain", "wiki__drop", "--view", "male", "--url", hub.base)
    assert (code, "there are mail, reader" in told) == (1, True)
    nobody = f"http://127.0.0.1:{free_port()}"
    code, _, told = await command("explain", "wiki__drop", "--url", nobody)
    assert (code, f"No hub answers at {nobody}" in told) == (1, True)
    assert (await command("explain", "x", "--url", "nowhere"))[0] == 1


@proves("dry-run")
async def test_a_policy_is_tried_and_nothing_changes(hub: Hub, tmp_path: Path) -> None:
    file, at = tmp_path / "policy.json5", ("--url", hub.base)
    file.write_text("{ tools: { deny: ['wiki__*'], }, } // nothing of the wiki")
    code, _, told = await command("dry-run", str(file), *at)
    assert code == 0
    assert "nothing is changed" in told
    assert re.search(r"^ ?tools 6 3 6 3 ?$", told, re.MULTILINE)
    assert re.search(r"^ ?tools\.deny:wiki__\* hidden 5 ?$", told, re.MULTILINE)
    assert "- tool wiki__read (tools.deny:wiki__*)" in told
    code, printed, _ = await command("dry-run", str(file), "--json", *at)
    said = json.loads(printed)
    assert said["allowed"]["now"] == {"tools": 6, "prompts": 2, "resources": 2, "resourceTemplates": 0}
    assert said["allowed"]["then"] == {"tools": 3, "prompts": 1, "resources": 1, "resourceTemplates": 0}
    gone = {(each["kind"], each["name"]) for each in said["visibleAtStart"]["disappear"]["entries"]}
    assert {("prompt", "wiki__p"), ("resource", "wiki:one")} < gone
    assert said["allowed"]["appear"] == {"total": 0, "entries": []}
    assert 0 < said["tokens"]["then"]["atStart"] < said["tokens"]["now"]["atStart"]
    assert await seen(RawClient(hub.url)) == ALL
    _, config = await hub.api("GET", "/api/filtering/stats")
    assert config["exposedTools"] == 6


@proves("dry-run")
async def test_a_view_is_tried_from_a_config_file(hub: Hub, tmp_path: Path) -> None:
    file, at = tmp_path / "config.json", ("--url", hub.base)
    changed = {"toolFiltering": {"tools": {"deny": ["*__drop"]}}}
    file.write_text(json.dumps({"mcpServers": {}, "views": {"mail": changed}}))
    code, printed, _ = await command("dry-run", str(file), "--view", "mail", "--json", *at)
    said = json.loads(printed)
    assert (code, said["view"]) == (0, "mail")
    appear = {each["name"] for each in said["allowed"]["appear"]["entries"]}
    assert appear == {"wiki__read", "wiki__write", "wiki__p", "wiki:one"}
    assert [each["name"] for each in said["allowed"]["disappear"]["entries"]] == ["mail__drop"]
    async with raw_session(f"{hub.url}/v/mail") as client:
        assert await seen(client) == SEEN["mail"]


@proves("dry-run")
async def test_a_view_of_a_file_stands_on_that_files_own_policy(hub: Hub, tmp_path: Path) -> None:
    file, at = tmp_path / "config.json5", ("--json", "--url", hub.base)
    file.write_text(
        """{
          mcpServers: {}, // of whoever runs it
          toolFiltering: {
            tools: { deny: ['mail__*'] },
            categoryFilter: { categories: [], customMappings: { 'wiki__*': 'pages' } },
          },
          views: {
            mail: { toolFiltering: { annotations: { readOnly: true } } },
            coming: { toolFiltering: { mode: 'category', categoryFilter: { categories: ['pages'] } } },
          },
        }"""
    )
    code, printed, _ = await command("dry-run", str(file), "--view", "mail", *at)
    said = json.loads(printed)
    assert (code, said["view"], said["mode"]) == (0, "mail", None)
    assert {rule["rule"]: rule["tools"] for rule in said["rules"] if rule["tools"]} == {
        "tools.deny:mail__*": 3,
        "annotations:readOnly": 1,
        "mode:off": 2,
    }
    code, printed, _ = await command("dry-run", str(file), "--view", "coming", *at)
    said = json.loads(printed)
    assert (code, said["view"], said["allowed"]["now"]["tools"], said["allowed"]["then"]["tools"]) == (
        0,
        "coming",
        0,
        3,
    )
    assert said["tokens"]["now"] == {"all": 0, "exposed": 0, "atStart": 0}
    file.write_text("{ mcpServers: {}, toolFiltering: { mode: 'x' }, views: { mail: {} } }")
    code, _, told = await command("dry-run", str(file), "--view", "mail", "--url", hub.base)
    assert (code, "toolFiltering.mode: expected one of" in told) == (2, True)


@proves("dry-run")
async def test_a_policy_that_cannot_be_used_is_refused(hub: Hub, tmp_path: Path) -> None:
    file, at = tmp_path / "policy.json5", ("--url", hub.base)
    file.write_text('{ mode: "categry", tools: { deny: ["wikki__*"], alow: [] } }')
    code, _, told = await command("dry-run", str(file), *at)
    assert code == 2
    assert "toolFiltering.mode: expected one of" in told
    assert "did you mean 'category'" in told
    assert "toolFiltering.tools.alow: unknown key" in told
    file.write_text('{ tools: { deny: ["wikki__*"] } }')
    code, _, told = await command("dry-run", str(file), *at)
    assert (code, "toolFiltering.tools.deny[0]" in told, "'wiki'" in told) == (2, True, True)
    file.write_text("{ mcpServers: {}, views: { mail: {} } }")
    code, _, told = await command("dry-run", str(file), "--view", "male", *at)
    assert (code, "did you mean 'mail'" in told) == (2, True)
    assert (await command("dry-run", str(tmp_path / "none"), *at))[0] == 2
    file.write_text("{}")
    code, _, told = await command("dry-run", str(file), "--view", "gone", *at)
    assert (code, "there are mail, reader" in told) == (1, True)
    assert (await command("dry-run", str(file), "--url", f"http://127.0.0.1:{free_port()}"))[0] == 1
    status, refused = await hub.api("POST", "/api/filtering/dry-run", {"veiw": "mail", "toolFiltering": {}})
    assert (status, "veiw" in refused["error"]) == (400, True)
