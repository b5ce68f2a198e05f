"""A stdio server with `dev` is another one after its sources changed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio
import pytest
from watchfiles import Change

from hub_gateway.config.filter_model import ToolFiltering
from hub_gateway.config.model import Document
from hub_gateway.config.server_model import Dev
from hub_gateway.upstreams.dev_reload import Sources
from hub_gateway.upstreams.fleet import Fleet
from tests.unit.gateway.upstreams.everything import CONTEXT, config
from tests.unit.gateway.upstreams.eyes import until

_SERVER = """
from mcp.server.mcpserver import MCPServer
server = MCPServer("made here")
@server.tool(name="{tool}")
def tool() -> str:
    return ""
server.run()
"""


def _tools(fleet: Fleet) -> list[str]:
    return [json.loads(tool)["name"] for tool in fleet.get("made").offering.tools]


@pytest.mark.anyio
async def test_the_server_is_restarted_with_its_new_sources(tmp_path: Path) -> None:
    main = tmp_path / "main.py"
    main.write_text(_SERVER.format(tool="before"))
    made = config("made", command=sys.executable, args=(str(main),), dev=Dev(cwd=str(tmp_path)))
    fleet = Fleet(CONTEXT, lambda name: None, lambda name, message: None)
    try:
        await fleet.apply(Document({"made": made}, {}, ToolFiltering(), (), ()))
        await until(lambda: _tools(fleet), lambda tools: tools == ["before"], "the first tool")
        main.write_text("this does not compile")
        await until(lambda: fleet.get("made").status, lambda status: status.attempt > 0, "a start that fails")
        main.write_text(_SERVER.format(tool="after"))
        await until(lambda: _tools(fleet), lambda tools: tools == ["after"], "the second tool")
        await fleet.stop("made")
        main.write_text(_SERVER.format(tool="unseen"))
        await anyio.sleep(1.5)
        assert fleet.get("made").status.state == "stopped"
    finally:
        await fleet.close()


@pytest.mark.parametrize(
    ("patterns", "path", "counts"),
    [
        (("**/*.py",), "a.py", True),
        (("**/*.py",), "deep/er/a.py", True),
        (("**/*.py",), "a.pyc", False),
        (("**/*.js",), "node_modules/x/a.js", False),
        (("src/*.ts", "*.json"), "src/a.ts", True),
        (("src/*.ts", "*.json"), "src/deep/a.ts", False),
        (("src/*.ts", "*.json"), "b.json", True),
    ],
)
def test_the_patterns_say_which_files_matter(
    tmp_path: Path, patterns: tuple[str, ...], path: str, counts: bool
) -> None:
    assert Sources(tmp_path, patterns)(Change.modified, str(tmp_path / path)) == counts
