"""`mcp-hub config check` says everything that is wrong, and no value."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from hub_cli.config_check import OK, UNUSABLE, check


def checked(*paths: Path) -> tuple[int, str]:
    out = io.StringIO()
    status = check(paths, Console(file=out, soft_wrap=True))
    return status, out.getvalue()


def test_a_good_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SET_NOWHERE", raising=False)
    Path(".env").write_text("SET_IN_FILE=1")
    Path("a.json").write_text(
        """{ mcpServers: {
          a: { command: "x", args: ["${SET_NOWHERE}", "${SET_IN_FILE}"] },
          b: { url: "http://h", disabled: true, headers: { A: "${ALSO_NOWHERE}" } },
        } }"""
    )
    status, out = checked(Path("a.json"))
    assert status == OK
    assert "mcpServers.a.args[0]: variable 'SET_NOWHERE' is not set" in out
    assert "SET_IN_FILE" not in out
    assert "ALSO_NOWHERE" not in out
    assert "1 servers to start, 1 disabled, 0 invalid" in out


def test_programs_that_are_not_on_this_machine(tmp_path: Path) -> None:
    program = tmp_path / "mine"
    program.touch(0o755)
    path = tmp_path / "a.json"
    path.write_text(
        f"""{{
          mcpServers: {{
            absent: {{ command: "no-such-program" }},
            "not there": {{ command: "./mine", cwd: "{tmp_path}/away" }},
            there: {{ command: "mine", env: {{ PATH: "{tmp_path}" }} }},
            below: {{ command: "./mine", cwd: "{tmp_path}" }},
            bundled: {{ command: "uvx" }},
            later: {{ command: "${{cmd: exit 1}}/x" }},
            off: {{ command: "no-such-program", disabled: true }},
          }},
        }}"""
    )
    status, out = checked(path)
    assert status == OK
    assert [line.removeprefix("warning ") for line in out.splitlines() if line.startswith("warning")] == [
        f"{path}: mcpServers{place}.command: this program is not on this machine, or not on PATH"
        for place in (".absent", '["not there"]')
    ]


def test_an_invalid_server(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"mcpServers": {"a": {"command": "x", "args": [null], "env": []}, "b": {"command": "[red]"}}}')
    status, out = checked(path)
    assert status == UNUSABLE
    assert f"{path}:1: mcpServers.a.args[0]: expected a string" in out
    assert f"{path}:1: mcpServers.a.env: expected an object" in out
    assert "1 servers to start, 0 disabled, 1 invalid" in out


def test_an_unusable_document(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"mcpServers": ')
    status, out = checked(path)
    assert status == UNUSABLE
    assert f"{path}: line 1, column 16: unexpected end of input" in out
    assert checked(tmp_path / "away.json")[0] == UNUSABLE


def test_views_are_named_and_their_unset_tokens_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SET_NOWHERE", raising=False)
    path = tmp_path / "a.json"
    path.write_text("""{ mcpServers: {}, views: { reader: { credentials: ["s3cret", "${SET_NOWHERE}"] }, all: {} } }""")
    status, out = checked(path)
    assert status == OK
    assert "views.reader.credentials[1]: variable 'SET_NOWHERE' is not set" in out
    assert "reader (with credentials)" in out
    assert "all (open)" in out
    assert "s3cret" not in out


def test_what_the_llm_needs_and_nothing_sets_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SET_NOWHERE", raising=False)
    path = tmp_path / "a.json"
    llm = """{ enabled: true, provider: "openai", apiKey: "${SET_NOWHERE}" }"""
    path.write_text(f"{{ mcpServers: {{}}, toolFiltering: {{ llmCategorization: {llm} }} }}")
    status, out = checked(path)
    assert status == OK
    assert "toolFiltering.llmCategorization.apiKey: variable 'SET_NOWHERE' is not set" in out


@pytest.mark.parametrize(
    ("filtering", "said"),
    (
        ("{}", "filtering off, by category with more than 1000 tools;"),
        ("{ mode: 'auto' }", "filtering on (auto);"),
        ("{ mode: 'hybrid', autoEnableThreshold: 20 }", "filtering off, by hybrid with more than 20 tools;"),
        ("{ tools: { deny: ['*x'] }, autoEnableThreshold: 0 }", "filtering on (rules for single entries);"),
        ("{ enabled: false, tools: { deny: ['*x'] } }", "filtering off;"),
        ("{ enabled: true, mode: 'prompt-based' }", "filtering on (prompt-based);"),
    ),
)
def test_it_says_whether_filtering_is_on(tmp_path: Path, filtering: str, said: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(f"{{ mcpServers: {{}}, toolFiltering: {filtering} }}")
    assert said in checked(path)[1]
