"""Every form of placeholder, the order of `env`, and what a server's process inherits."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from hub_gateway.config import command
from hub_gateway.config.placeholders import Context, ResolvedServer, resolve, resolve_text, unknown_variables
from hub_gateway.config.server_model import ServerConfig
from hub_gateway.errors import ConfigError
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

SHELL = {"PATH": os.environ["PATH"], "HOME": "/home/me"}


def context(environ: Mapping[str, str] | None = None, hub_env: object = None, cwd: Path = Path("/tmp")) -> Context:
    given = {} if hub_env is None else {"MCP_HUB_ENV": hub_env if isinstance(hub_env, str) else json.dumps(hub_env)}
    return Context.from_environ({**SHELL, **(environ or {}), **given}, cwd)


def server(**keys: Any) -> ServerConfig:
    if "url" not in keys:
        keys.setdefault("command", "run")
    return ServerConfig(name="s", config_source="c.json", **keys)


async def env_of(env: dict[str, str | None], at: Context) -> dict[str, str]:
    found = await resolve(server(env=env), at)
    return {name: found.env[name] for name in env}


async def faults_of(one: ServerConfig, at: Context) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        await resolve(one, at)
    return caught.value.faults


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plain", "plain"),
        ("${A}", "a"),
        ("<${A}${env:A}>", "<aa>"),
        ("${ A }", "a"),
        ("${input:id}", "given"),
        ("${workspaceFolder}", "/tmp"),
        ("${cwd}", "/tmp"),
        ("${workspaceFolderBasename}", "tmp"),
        ("${userHome}", "/home/me"),
        ("a${/}b${pathSeparator}c", f"a{os.sep}b{os.sep}c"),
        ("${cmd: echo '  hi  '}", "hi"),
        ("${cmd: echo ${A}-${cmd: echo in}}", "a-in"),
        ("${cmd: printf '%s\\n' 'x y' | awk '{print $2}'}", "y"),
        ("${cmd: printf $A}", "a"),
        ("${NAME_${A}}", "named"),
        ('{"k": {"v": "${A}"}}', '{"k": {"v": "a"}}'),
        ("${unclosed ${A}", "${unclosed a"),
        ("$A $${A} {A}", "$A $a {A}"),
        ("${HOLDS}", "${A}"),
        ("${OVER}", "hub"),
    ],
)
async def test_forms(text: str, value: str) -> None:
    environ = {"A": "a", "NAME_a": "named", "HOLDS": "${A}", "OVER": "environment"}
    at = context(environ, {"input:id": "given", "OVER": "hub"})
    assert await resolve_text(text, at) == value
    found = await resolve(server(args=(text,), env={"X": text}), at)
    assert (found.args, found.env["X"]) == ((value,), value)


async def test_a_value_never_becomes_a_command(tmp_path: Path) -> None:
    at = context({"EVIL": f"cmd: touch {tmp_path}/made"}, cwd=tmp_path)
    with pytest.raises(ConfigError, match="is not set"):
        await resolve_text("${${EVIL}}", at)
    assert not (tmp_path / "made").exists()


async def test_every_text_of_a_server_is_resolved(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    at = context({"P": "prog", "T": "tok"}, cwd=tmp_path)
    local = await resolve(server(command="${P}", args=("--t=${T}", "$T"), cwd="${D}", env={"D": "sub"}), at)
    assert (local.command, local.args, local.cwd) == ("prog", ("--t=tok", "tok"), str(tmp_path / "sub"))
    far = await resolve(server(url="${U}", headers={"A": "Bearer ${T}"}, env={"U": "https://h/${T}"}), at)
    assert (far.url, far.headers, far.command, far.cwd) == ("https://h/tok", {"A": "Bearer tok"}, None, None)


async def test_siblings_are_resolved_in_whatever_order_they_stand() -> None:
    env: dict[str, str | None] = {"C": "${B}c", "B": "${A}b", "A": "${BASE}a", "PATH": "${PATH}:/opt"}
    assert await env_of(env, context({"BASE": "0"})) == {
        "C": "0abc",
        "B": "0ab",
        "A": "0a",
        "PATH": f"{SHELL['PATH']}:/opt",
    }
    assert list(await env_of(env, context({"BASE": "0"}))) == list(env)


async def test_the_servers_own_env_wins_over_everything() -> None:
    at = context({"X": "environment"}, {"X": "hub"})
    found = await resolve(server(env={"X": "own"}, args=("${X}",)), at)
    assert (found.args, found.env["X"]) == (("own",), "own")
    assert (await resolve(server(args=("${X}",)), at)).args == ("hub",)


async def test_null_and_empty_take_the_variable_of_that_name() -> None:
    assert await env_of({"A": None, "B": "", "GONE": ""}, context({"A": "1", "B": "2"})) == {
        "A": "1",
        "B": "2",
        "GONE": "",
    }
    assert await faults_of(server(env={"GONE": None}), context()) == [
        "mcpServers.s.env.GONE: variable 'GONE' is not set"
    ]


async def test_a_cycle_is_told_once_with_its_path() -> None:
    env: dict[str, str | None] = {"A": "${B}", "B": "x${C}", "C": "${cmd: echo ${A}}", "D": "${A}", "E": "fine"}
    assert await faults_of(server(env=env), context()) == ["mcpServers.s.env.A: refers to itself: A → B → C → A"]


@pytest.mark.parametrize(
    ("cwd", "why"),
    [("~nobody-has-this-name/x", "names a user that is not there"), ("x" * 5_000, "cannot be looked at")],
)
async def test_a_folder_that_none_can_be_is_told(cwd: str, why: str) -> None:
    (fault,) = await faults_of(server(cwd=cwd), context())
    assert fault.startswith(f"mcpServers.s.cwd: {why}")


async def test_every_fault_is_told_with_its_path() -> None:
    one = server(args=("ok", "${NO1}"), headers={"X-A": "${NO2}"}, cwd="/nowhere/at/all", command="${NO3}")
    assert await faults_of(one, context()) == [
        "mcpServers.s.command: variable 'NO3' is not set",
        "mcpServers.s.args[1]: variable 'NO1' is not set",
        "mcpServers.s.cwd: no such folder",
        "mcpServers.s.headers.X-A: variable 'NO2' is not set",
    ]
    assert await faults_of(server(env={"A": "${NO}", "B": "${A}"}), context()) == [
        "mcpServers.s.env.A: variable 'NO' is not set"
    ]


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"url": "${A}"}, "url: must start with http:// or https://"),
        ({"url": "http://h", "headers": {"X": "${LINES}"}}, "headers.X: must not hold a line break"),
        ({"command": "${EMPTY}"}, "command: is empty"),
        ({"args": ("${cmd: exit 3}",)}, "args[0]: the command ended with status 3"),
        ({"args": ("${cmd: no-such-program-here}",)}, "status 127 (not found)"),
        ({"args": ("${cmd: printf '\\0'}",)}, "args[0]: must not hold a NUL"),
        ({"args": ("${cmd: printf '\\377'}",)}, "not UTF-8"),
        ({"args": ("${" * 11 + "A" + "}" * 11,)}, "nested deeper than 10"),
    ],
)
async def test_what_a_resolved_text_may_not_be(keys: dict[str, Any], reason: str) -> None:
    at = context({"A": "ftp://x", "LINES": "a\nb", "EMPTY": ""})
    assert reason in (await faults_of(server(**keys), at))[0]


async def test_nothing_is_remembered(tmp_path: Path) -> None:
    token = tmp_path / "token"
    one = server(env={"T": f"${{cmd: cat {token}}}"})
    token.write_text("old")
    assert (await resolve(one, context())).env["T"] == "old"
    token.write_text("rotated")
    assert (await resolve(one, context())).env["T"] == "rotated"


async def test_a_command_that_hangs_is_killed_with_all_it_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with pytest.raises(command.CommandFailed, match=r"within 0\.5 seconds"):
        await command.output(f"sleep 300 & echo $! > {pid_file}; wait", SHELL, tmp_path, timeout_s=0.5)
    await _gone(int(pid_file.read_text()))


async def test_a_command_is_killed_when_nobody_waits_any_more(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    with anyio.move_on_after(0.5) as scope:
        await command.output(f"echo $$ > {pid_file}; exec sleep 300", SHELL, tmp_path)
    assert scope.cancelled_caught
    await _gone(int(pid_file.read_text()))


async def test_a_command_that_prints_without_end_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(command.CommandFailed, match="printed more than"):
        await command.output("yes", SHELL, tmp_path)


async def _gone(pid: int) -> None:
    async def look() -> bool:
        return _runs(pid)

    await until(look, lambda runs: not runs, 5, f"process {pid} is gone")


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z")


async def test_a_process_inherits_little() -> None:
    environ = {"LANG": "C", "HTTPS_PROXY": "http://p", "AWS_SECRET_ACCESS_KEY": "no", "TERM": "() { :; }"}
    found = await resolve(server(env={"OWN": "1"}), context(environ, {"SHARED": "s", "input:id": "i", "N": 5}))
    assert found.env == {**SHELL, "LANG": "C", "HTTPS_PROXY": "http://p", "SHARED": "s", "N": "5", "OWN": "1"}


@pytest.mark.parametrize("text", ["not json", "[1]", '{"A": {"b": 1}, "": "x"}', '"x"'])
async def test_an_unusable_hub_env_is_ignored_aloud(text: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = await resolve(server(), context({}, text))
    assert found.env == SHELL
    assert "MCP_HUB_ENV" in caplog.text


async def test_a_secret_is_in_no_error_and_no_repr() -> None:
    at = context({"GITHUB_TOKEN": "s3cr3t-value"})
    found = await resolve(server(env={"T": "${GITHUB_TOKEN}"}, args=("${GITHUB_TOKEN}",)), at)
    assert found.args == ("s3cr3t-value",)
    assert "s3cr3t" not in repr(found) + repr(at)
    assert "s3cr3t" not in str(await faults_of(server(url="${GITHUB_TOKEN}"), at))
    assert "s3cr3t" not in str(await faults_of(server(args=("${cmd: echo ${GITHUB_TOKEN}; exit 1}",)), at))


def test_unknown_variables_are_found_without_running_anything(tmp_path: Path) -> None:
    one = server(
        env={"A": "${B}", "B": "b", "SELF": "${SELF}", "NULL": None, "EMPTY": ""},
        args=("${A}", f"${{cmd: touch {tmp_path}/made ${{NO}}}}", "${HOME}"),
        headers={"X": "${input:id}"},
    )
    assert list(unknown_variables(one, context())) == [
        "mcpServers.s.env.SELF: variable 'SELF' is not set",
        "mcpServers.s.env.NULL: variable 'NULL' is not set",
        "mcpServers.s.args[1]: variable 'NO' is not set",
        "mcpServers.s.headers.X: variable 'input:id' is not set",
    ]
    assert not (tmp_path / "made").exists()


def test_defaults_of_a_resolved_server() -> None:
    assert ResolvedServer("x") == ResolvedServer(
        name="x", command=None, args=(), env={}, cwd=None, url=None, headers={}
    )


@pytest.mark.parametrize(
    ("url", "headers", "clean", "authorization"),
    [
        ("https://h.test/mcp", {}, "https://h.test/mcp", None),
        ("https://me:p%40ss@h.test:8443/mcp?a=b", {}, "https://h.test:8443/mcp?a=b", "Basic bWU6cEBzcw=="),
        ("https://${WHO}@[::1]/mcp", {}, "https://[::1]/mcp", "Basic aW5uZXI6"),
        ("https://me:pass@h.test/mcp", {"authorization": "Bearer t"}, "https://h.test/mcp", None),
    ],
)
async def test_user_and_password_of_a_url_become_a_header_that_the_config_may_overrule(
    url: str, headers: dict[str, str], clean: str, authorization: str | None
) -> None:
    found = await resolve(server(url=url, headers=headers), context({"WHO": "inner"}))
    assert found.url == clean
    assert found.headers == headers | ({} if authorization is None else {"Authorization": authorization})
