"""Config files become one document, and every fault is named by file and path."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hub_gateway.config.load import load
from hub_gateway.config.model import Document
from hub_gateway.config.schema import schema
from hub_gateway.errors import ConfigError


def write(folder: Path, document: object, name: str = "a.json") -> Path:
    path = folder / name
    path.write_text(document if isinstance(document, str) else json.dumps(document), "utf-8")
    return path


def loaded(folder: Path, document: object) -> Document:
    return load([write(folder, document)])


def faults(folder: Path, document: object) -> list[str]:
    path = write(folder, document)
    with pytest.raises(ConfigError) as caught:
        load([path])
    return [re.sub(r"^(:\d+)?: ", "", fault.removeprefix(str(path))) for fault in caught.value.faults]


def test_every_key_of_a_server(tmp_path: Path) -> None:
    text = """
    // JSON5: comments, bare keys, single quotes, trailing commas
    { mcpServers: {
        local: { command: 'npx', args: ['-y', 'x'], env: { A: null, B: "b" }, cwd: "/", disabled: true, name: "Shown",
                 description: "d", prefix: "", timeoutSeconds: 1.5, connectTimeoutSeconds: 2, maxInFlight: 3.0,
                 pingIntervalSeconds: 4, isolation: "session", dev: { cwd: "/src" }, type: "stdio" },
        far: { url: "https://example.com/mcp", headers: { Authorization: "Bearer ${T}" }, type: "streamable-http",
               connectionPool: { maxConnections: 7 } },
    }, connectionPool: { maxConnections: 5, timeout: 2000 } }"""
    document = loaded(tmp_path, text)
    assert not document.warnings
    local, far = document.servers["local"], document.servers["far"]
    assert (local.name, local.display_name, local.shown_name, local.is_stdio) == ("local", "Shown", "Shown", True)
    assert (local.args, local.env, local.cwd, local.disabled) == (("-y", "x"), {"A": None, "B": "b"}, "/", True)
    assert (local.prefix, local.timeout_s, local.connect_timeout_s, local.max_in_flight) == ("", 1.5, 2.0, 3)
    assert (local.ping_interval_s, local.isolation) == (4.0, "session")
    assert local.dev is not None and local.dev.enabled and "**/*.py" in local.dev.watch
    assert local.config_source == str(tmp_path / "a.json")
    assert (far.type, far.prefix, far.timeout_s, far.shown_name) == ("streamable-http", None, 300.0, "far")
    assert (far.connection_pool.max_connections, far.connection_pool.timeout_ms) == (7, 2000)
    assert far.connection_pool.keep_alive_timeout_ms == 60_000


def test_as_many_connections_as_calls_unless_their_number_is_written(tmp_path: Path) -> None:
    server = {"url": "https://example.com/mcp"}
    servers = {
        "plain": server,
        "few": {**server, "maxInFlight": 3},
        "many": {**server, "maxInFlight": 70, "connectionPool": {"timeout": 1000}},
        "huge": {**server, "maxInFlight": 10_000},
        "own": {**server, "maxInFlight": 70, "connectionPool": {"maxConnections": 7}},
    }
    for pool, expected in (({}, [64, 50, 70, 1000, 7]), ({"maxConnections": 50}, [50, 50, 50, 50, 7])):
        document = loaded(tmp_path, {"mcpServers": servers, "connectionPool": pool})
        assert [each.connection_pool.max_connections for each in document.servers.values()] == expected


def test_a_later_file_replaces_whole_servers_and_whole_keys(tmp_path: Path) -> None:
    one = write(
        tmp_path,
        {
            "mcpServers": {"a": {"command": "one", "args": ["x"]}, "b": {"command": "b"}},
            "toolFiltering": {"enabled": True, "autoEnableThreshold": 3},
        },
    )
    two = write(
        tmp_path,
        {"servers": {"a": {"command": "two"}, "c": {"command": "c"}}, "toolFiltering": {"mode": "prompt-based"}},
        "b.json",
    )
    document = load([one, two])
    assert list(document.servers) == ["a", "b", "c"]
    assert (document.servers["a"].command, document.servers["a"].args) == ("two", ())
    assert document.servers["a"].config_source == str(two)
    assert (document.tool_filtering.enabled, document.tool_filtering.auto_enable_threshold) == (None, 1000)
    assert document.tool_filtering.mode == "prompt-based"
    assert document.sources == (one, two)
    assert f"{two}:1: toolFiltering: replaces the one of {one}, of which nothing holds any more" in document.warnings


@pytest.mark.parametrize("key", ["url", "httpUrl", "serverUrl"])
def test_the_address_is_read_as_other_clients_call_it(tmp_path: Path, key: str) -> None:
    document = loaded(tmp_path, {"mcpServers": {"far": {"headers": {"A": "b"}, key: "https://example.com/mcp"}}})
    far = document.servers["far"]
    assert (far.url, far.headers) == ("https://example.com/mcp", {"A": "b"})
    assert not document.warnings


def test_what_is_given_as_text_may_be_written_as_a_number_or_a_truth_value(tmp_path: Path) -> None:
    entry = {"command": "x", "args": ["--port", 8080, True, 0.5], "env": {"DEBUG": True, "N": 3, "OUT": None}}
    document = loaded(tmp_path, {"mcpServers": {"a": entry, "b": {"url": "http://x", "headers": {"X-N": 3}}}})
    assert document.servers["a"].args == ("--port", "8080", "true", "0.5")
    assert document.servers["a"].env == {"DEBUG": "true", "N": "3", "OUT": None}
    assert document.servers["b"].headers == {"X-N": "3"}


def test_both_server_keys_in_one_file_are_merged(tmp_path: Path) -> None:
    servers = {"mcpServers": {"a": {"command": "m"}, "b": {"command": "m"}}, "servers": {"a": {"command": "s"}}}
    document = loaded(tmp_path, servers)
    assert [server.command for server in document.servers.values()] == ["s", "m"]
    assert any("replaces the servers of the same name" in warning for warning in document.warnings)


def test_an_invalid_server_is_set_aside_with_every_fault(tmp_path: Path) -> None:
    document = loaded(
        tmp_path,
        {
            "mcpServers": {
                "github": {
                    "command": "npx",
                    "args": ["-y", {}],
                    "env": {"A": []},
                    "disabled": "yes",
                    "timeoutSeconds": 0,
                },
                "good": {"command": "x"},
                "odd name": {"url": "ftp://x"},
                "list": [],
                "": {"command": "x"},
            }
        },
    )
    assert list(document.servers) == ["good"]
    wrong = (
        "mcpServers.github.args[1]: expected a string",
        "mcpServers.github.env.A: expected a string",
        "mcpServers.github.disabled: expected true or false",
        "mcpServers.github.timeoutSeconds: must be more than 0",
    )
    assert document.invalid["github"].faults == tuple(f"{tmp_path / 'a.json'}:1: {each}" for each in wrong)
    assert document.invalid["github"].reason == "; ".join(wrong)
    assert document.invalid["odd name"].reason == 'mcpServers["odd name"].url: must start with http:// or https://'
    assert document.invalid["list"].reason == "mcpServers.list: expected an object"
    assert document.invalid[""].reason == 'mcpServers[""]: a server needs a name'


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({}, 'needs "command" or "url"'),
        ({"command": "x", "url": "http://h"}, 'has both "command" and "url"'),
        ({"command": ""}, "command: must not be empty"),
        ({"command": "x", "type": "sse"}, 'type: contradicts "command"'),
        ({"url": "http://h", "type": "stdio"}, 'type: contradicts "url"'),
        ({"url": "http://h", "type": "grpc"}, "type: expected one of"),
        ({"url": "http://"}, "url: names no host"),
        ({"url": "http://[::1"}, "url: not a URL"),
        ({"url": "http://h:port"}, "url: not a URL"),
        ({"url": "http://h", "headers": {"A B": "x"}}, "no name of an HTTP header"),
        ({"url": "http://h", "headers": {"A": "x\r\nB: y"}}, "headers.A: must not hold a line break"),
        ({"url": "http://h", "headers": ["A"]}, "headers: expected an object"),
        ({"url": "http://h", "dev": {"cwd": "/x"}}, 'dev: only with "command"'),
        ({"url": "http://h", "connectionPool": {"maxConnections": 0}}, "maxConnections: must be at least 1"),
        ({"url": "http://h", "connectionPool": {"pipelining": 11}}, "pipelining: must be at most 10"),
        ({"command": "x", "timeoutSeconds": 10**400}, "timeoutSeconds: must be at most 86400"),
        ({"command": "x", "maxInFlight": -(10**400)}, "maxInFlight: must be at least 1"),
        ({"command": "x", "connectionPool": {}}, 'connectionPool: only with "url"'),
        ({"command": "x", "dev": {}}, "dev.cwd: missing"),
        ({"command": "x", "dev": {"cwd": "rel"}}, "dev.cwd: must be an absolute path"),
        ({"command": "x", "env": {"A=B": "x"}}, "no name of a variable"),
        ({"command": "x", "prefix": "a.b"}, "prefix: must match"),
        ({"command": "x", "prefix": "a" * 33}, "prefix: at most 32 characters"),
        ({"command": "x", "args": "y"}, "args: expected a list"),
        ({"command": "x", "args": None}, "args: expected a list"),
        ({"command": "x\0"}, "command: must not hold a NUL character"),
        ({"command": "x", "maxInFlight": 1.5}, "maxInFlight: expected a whole number"),
        ({"command": "x", "maxInFlight": True}, "maxInFlight: expected a whole number"),
        ({"command": "x", "isolation": "none"}, 'isolation: expected one of "session", "shared"'),
    ],
)
def test_what_makes_a_server_invalid(tmp_path: Path, entry: dict[str, Any], reason: str) -> None:
    document = loaded(tmp_path, {"mcpServers": {"x": entry}})
    assert reason in document.invalid["x"].reason


def test_a_url_may_hold_placeholders_anywhere(tmp_path: Path) -> None:
    urls = ["${URL}", "${SCHEME}://${HOST}/x", "https://${HOST}/x"]
    document = loaded(tmp_path, {"mcpServers": {str(i): {"url": url} for i, url in enumerate(urls)}})
    assert not document.invalid


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ('{"mcpServers": {\n  "a" }', "line 2, column 7: unexpected"),
        ("", "the file is empty"),
        ("[]", "expected an object"),
        ("[" * 100_000, "nested too deep"),
        ("{}", 'no server object: "mcpServers" (or "servers") is missing'),
        ({"mcpServers": []}, "mcpServers: must be an object"),
        ({"mcpServers": {}, "toolFiltering": {"mode": "static"}}, "toolFiltering.mode: expected one of"),
        (
            {"mcpServers": {}, "toolFiltering": {"serverFilter": {"mode": "x"}}},
            "toolFiltering.serverFilter.mode: expected",
        ),
        ({"mcpServers": {}, "toolFiltering": {"serverFilter": {"mode": "denylist"}}}, "serverFilter.servers: missing"),
        (
            {
                "mcpServers": {"github": {"command": "x"}},
                "toolFiltering": {"serverFilter": {"mode": "denylist", "servers": ["gihtub"]}},
            },
            "toolFiltering.serverFilter.servers[0]: no server is called 'gihtub'; did you mean 'github'?",
        ),
        ({"mcpServers": {}, "toolFiltering": {"llmCategorization": {}}}, "llmCategorization.enabled: missing"),
        ({"mcpServers": {}, "toolFiltering": {"llmCategorization": {"enabled": True}}}, "provider: missing"),
        (
            {"mcpServers": {}, "toolFiltering": {"categoryFilter": {"categories": [], "customMappings": {"": "web"}}}},
            "a pattern must not be empty",
        ),
        ({"mcpServers": {}, "toolFiltering": {"autoEnableThreshold": -1}}, "must be at least 0"),
        ({"mcpServers": {}, "connectionPool": {"timeout": -5}}, "connectionPool.timeout: must be at least 1000"),
    ],
)
def test_what_makes_a_document_unusable(tmp_path: Path, document: object, expected: str) -> None:
    assert any(expected in fault for fault in faults(tmp_path, document))


def test_all_faults_of_a_document_are_told_at_once(tmp_path: Path) -> None:
    bad = {"mcpServers": [], "toolFiltering": {"enabled": 1, "mode": 2}, "connectionPool": {"enabled": "x"}}
    assert faults(tmp_path, bad) == [
        "mcpServers: must be an object",
        "connectionPool.enabled: expected true or false",
        "toolFiltering.enabled: expected true or false",
        'toolFiltering.mode: expected one of "auto", "category", "hybrid", "prompt-based", "server-allowlist"',
    ]


def test_faults_and_warnings_name_the_line_or_that_of_what_is_around(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """{
  mcpServers: {
    "odd.name": { command: "x",
      argz: [] },
  },
  toolFiltering: {
    mode: "hybird",
    categoryFilter: {
      categories: ["web",
        "serach"] },
    serverFilter: { mode: "denylist" },
  },
  note: 1, other: 2,
}""",
    )
    with pytest.raises(ConfigError) as caught:
        load([path])
    assert [fault.removeprefix(str(path)).split(": ")[:2] for fault in caught.value.faults] == [
        [":7", "toolFiltering.mode"],
        [":11", "toolFiltering.serverFilter.servers"],
    ]
    good = path.read_text().replace("hybird", "hybrid").replace('"denylist"', '"denylist", servers: []')
    path.write_text(good)
    with pytest.raises(ConfigError, match=r"a.json:10: toolFiltering.categoryFilter.categories\[1\]: nothing gives"):
        load([path])
    warnings = loaded(tmp_path, good.replace("serach", "search")).warnings
    assert f"{path}:13: other: unknown key, ignored" in warnings
    assert f"""{path}:4: mcpServers["odd.name"].argz: unknown key, ignored; did you mean 'args'?""" in warnings


@pytest.mark.parametrize(
    ("key", "refused"),
    [("toolFilterng", True), ("toolfiltering", True), ("view", True), ("_toolFiltering", False), ("settings", False)],
)
def test_a_key_that_would_have_hidden_things_is_refused_where_it_is_nearly_there(
    tmp_path: Path, key: str, refused: bool
) -> None:
    document = {"mcpServers": {}, key: {}}
    if refused:
        assert any(f"{key}: unknown key; did you mean" in fault for fault in faults(tmp_path, document))
    else:
        loaded(tmp_path, document)


def test_missing_files(tmp_path: Path) -> None:
    there, away = write(tmp_path, {"mcpServers": {}}), tmp_path / "away.json"
    assert load([away, there]).warnings == (f"{away}: no such file, skipped",)
    with pytest.raises(ConfigError, match="no such file"):
        load([away])
    with pytest.raises(ConfigError, match="no config file"):
        load([])


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load([tmp_path])
    (tmp_path / "latin.json").write_bytes(b'{"mcpServers": {"\xe9": {}}}')
    with pytest.raises(ConfigError, match="not UTF-8"):
        load([tmp_path / "latin.json"])


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "bom.json"
    path.write_text('{"mcpServers": {}}', "utf-8-sig")
    assert load([path]).servers == {}


def test_filtering_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    one = write(tmp_path, {"toolFiltering": {"enabled": False}})
    assert load([one, write(tmp_path, {"servers": {}}, "b.json")]).tool_filtering.enabled is False


@pytest.mark.parametrize(
    ("document", "warning"),
    [
        ({"mcpServers": {"a": {"command": "x", "timeoutSecond": 3}}}, "did you mean 'timeoutSeconds'?"),
        ({"mcpServers": {"a": {"command": "x", "zzz": 3}}}, "mcpServers.a.zzz: unknown key, ignored"),
        ({"mcpservers": {}, "servers": {}}, "did you mean 'mcpServers'?"),
        ({"servers": {}, "inputs": []}, "MCP_HUB_ENV"),
        ({"mcpServers": {"a": {"command": "x", "args": ["$HOME"]}}}, "args[0]: $NAME is an old form"),
        ({"mcpServers": {"a": {"command": "x", "env": {"A": "$: date"}}}}, "write ${cmd: ...}"),
        ({"mcpServers": {"a": {"command": "x", "headers": {"A": "b"}}}}, 'headers: ignored: only with "url"'),
        ({"mcpServers": {"a": {"url": "http://x", "args": ["b"]}}}, "are ignored"),
        ('{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}', "key 'a' stands twice"),
        ("{mcpServers: {a: {command: 'x'}, a: {command: 'y'}}}", "key 'a' stands twice"),
        (
            {"mcpServers": {}, "toolFiltering": {"serverFilter": {"mode": "allowlist", "servers": ["gone"]}}},
            "no server is called 'gone'",
        ),
        (
            {"mcpServers": {"git": {"command": "x"}}, "toolFiltering": {"tools": {"deny": ["mail__*"]}}},
            "tools.deny[0]: 'mail__*' matches nothing: no server has the prefix 'mail'",
        ),
        ({"mcpServers": {}, "toolFiltering": {"mode": "category"}}, "categoryFilter"),
        (
            {"mcpServers": {"a_b": {"command": "x"}, "a-b": {"command": "y"}}},
            "mcpServers.a-b: its names begin with a_b_ and a hash, to differ from those of 'a_b'",
        ),
        (
            {"mcpServers": {"git.hub": {"command": "x"}, "b": {"command": "y", "prefix": "git_hub"}}},
            "mcpServers.b: `prefix`: names of 'git.hub' may begin with git_hub__ too, and rules mean both",
        ),
        (
            {"mcpServers": {"a": {"command": "x", "prefix": "z"}, "b": {"command": "y", "prefix": "a"}}},
            "mcpServers.b: `prefix`: names of 'a' may begin with a__ too, and rules mean both",
        ),
        (
            {"mcpServers": {n: {"command": "x", "prefix": "db"} for n in ("a", "b", "c")}},
            "mcpServers.a: `prefix`: names of 'b', 'c' may begin with db__ too, and rules mean both",
        ),
        (
            {
                "mcpServers": {"git": {"command": "x"}},
                "toolFiltering": {"enabled": True, "serverFilter": {"mode": "allowlist", "servers": ["git"]}},
            },
            'toolFiltering.serverFilter: decides nothing without a "mode"',
        ),
        (
            {"mcpServers": {}, "toolFiltering": {"enabled": True}},
            'toolFiltering.enabled: decides nothing without a "mode", "tools" or "annotations"',
        ),
        (
            {"mcpServers": {}, "toolFiltering": {"enabled": True, "mode": "hybrid"}},
            'toolFiltering: mode "hybrid" has no rule without "serverFilter" or "categoryFilter"',
        ),
        (
            {"mcpServers": {}, "toolFiltering": {"mode": "prompt-based", "autoEnableThreshold": 9}},
            'toolFiltering.mode: is off until there are more than 9 tools; `"enabled": true` turns it on',
        ),
        (
            {"mcpServers": {}, "toolFiltering": {"mode": "prompt-based", "autoEnableThreshold": 0}},
            'toolFiltering.mode: is off; `"enabled": true` turns it on',
        ),
        (
            {
                "mcpServers": {},
                "toolFiltering": {
                    "enabled": True,
                    "mode": "prompt-based",
                    "promptBasedFiltering": {"enableMetaTools": False},
                },
            },
            "promptBasedFiltering.enableMetaTools: without them no client ever sees a tool",
        ),
    ],
)
def test_what_a_person_is_warned_of(tmp_path: Path, document: object, warning: str) -> None:
    assert any(warning in said for said in loaded(tmp_path, document).warnings)


def test_servers_with_prefixes_of_their_own_share_none(tmp_path: Path) -> None:
    servers = {"a_b": {"command": "x"}, "a-b": {"command": "y", "prefix": "other"}, "c": {"command": "z"}}
    servers |= {name: {"command": "x", "prefix": prefix} for name, prefix in {"d": "", "e": "", "f": "f"}.items()}
    assert loaded(tmp_path, {"mcpServers": servers}).warnings == ()


def test_remarks_are_ignored_in_silence(tmp_path: Path) -> None:
    remarks = {"comment": "c", "note": "n", "_x": 1, "//": "r", "x-own": {}}
    document = loaded(tmp_path, {"$schema": "s", **remarks, "mcpServers": {"a": {"command": "x", **remarks}}})
    assert document.warnings == ()


def test_no_sentence_and_no_repr_holds_a_value(tmp_path: Path) -> None:
    secret = "s3cr3t-value"
    path = write(
        tmp_path,
        {
            "mcpServers": {
                "a": {"command": "x", "args": [[secret]], "env": {"T": [secret]}, "type": secret},
                "b": {"url": f"ftp://{secret}", "headers": {"A": f"{secret}\n"}, "timeoutSeconds": secret},
                "c": {"command": "x", "args": [secret], "env": {"T": secret}},
            },
            "toolFiltering": {"llmCategorization": {"enabled": True, "provider": "gemini", "apiKey": secret}},
        },
    )
    document = load([path])
    assert set(document.invalid) == {"a", "b"}
    assert secret not in repr(document)


ACCEPTED = [
    {"command": "x"},
    {"command": "x", "type": "stdio", "dev": {"cwd": "/x"}, "args": ["a"], "env": {"A": None}},
    {"url": "https://h/", "type": "http", "connectionPool": {"timeout": 1000}, "note": "n"},
    {"url": "https://h/", "type": None},
    {"command": "x", "unknown": 1},
    {"command": "x", "args": [1, True], "env": {"A": 0.5}},
    {"httpUrl": "https://h/"},
    {"serverUrl": "https://h/", "type": "sse", "headers": {"A": 1}},
]
REJECTED = [
    {},
    {"command": "x", "url": "https://h/"},
    {"command": "x", "type": "http"},
    {"url": "https://h/", "type": "stdio"},
    {"url": "https://h/", "dev": {"cwd": "/x"}},
    {"command": "x", "connectionPool": {}},
    {"command": "x", "args": [None]},
    {"command": "x", "httpUrl": "https://h/"},
    {"command": "x", "maxInFlight": 0},
    {"command": "x", "prefix": "a b"},
    {"command": ""},
]


@pytest.mark.parametrize("entry", ACCEPTED + REJECTED)
def test_the_schema_and_the_hub_agree(tmp_path: Path, entry: dict[str, Any]) -> None:
    document = {"mcpServers": {"a": entry}}
    judged = jsonschema.Draft202012Validator(schema()).is_valid(document)
    assert judged == (entry in ACCEPTED)
    assert judged == (not loaded(tmp_path, document).invalid)
