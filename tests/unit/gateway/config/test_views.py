"""Views stand on the document's policy; whatever could show more than was meant is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hub_gateway.config.load import load
from hub_gateway.config.model import Document
from hub_gateway.config.schema import schema
from hub_gateway.errors import ConfigError
from hub_gateway.exposure.policy import effective

SERVERS: dict[str, Any] = {"github": {"command": "x"}, "mail": {"command": "x"}}


def loaded(directory: Path, views: Any, filtering: dict[str, Any] | None = None) -> Document:
    path = directory / "a.json"
    document = {"mcpServers": SERVERS, "views": views}
    path.write_text(json.dumps(document if filtering is None else {**document, "toolFiltering": filtering}))
    return load([path])


def test_what_a_view_does_not_say_is_the_document_s(tmp_path: Path) -> None:
    filtering = {
        "enabled": True,
        "mode": "server-allowlist",
        "serverFilter": {"mode": "allowlist", "servers": ["mail"]},
        "tools": {"deny": ["*__send_*"]},
    }
    own = {"annotations": {"readOnly": True}, "tools": {"allow": ["mail__*"]}}
    views = loaded(tmp_path, {"reader": {"description": "d", "toolFiltering": own}, "same": {}}, filtering).views
    reader, same = views["reader"], views["same"]
    assert same.tool_filtering == load([tmp_path / "a.json"]).tool_filtering
    assert reader.description == "d"
    assert reader.tool_filtering.mode == "server-allowlist"
    assert reader.tool_filtering.server_filter == same.tool_filtering.server_filter
    assert reader.tool_filtering.tools is not None
    assert reader.tool_filtering.tools.deny == (), "a key is taken whole, as in files that are merged"
    assert (reader.credentials, same.credentials) == (None, None)


@pytest.mark.parametrize(
    ("own", "document", "mode"),
    (
        ({"mode": "prompt-based"}, {}, "prompt-based"),
        ({"mode": "prompt-based", "enabled": False}, {}, None),
        ({}, {"mode": "hybrid"}, None),
        ({"mode": "category"}, {"enabled": True, "mode": "hybrid"}, "category"),
    ),
)
def test_a_mode_that_a_view_says_is_on(
    tmp_path: Path, own: dict[str, Any], document: dict[str, Any], mode: str | None
) -> None:
    found = loaded(tmp_path, {"v": {"toolFiltering": own}}, document).views["v"]
    assert effective(found.tool_filtering, 0).mode == mode


@pytest.mark.parametrize(
    ("views", "fault"),
    (
        ([], "views: must be an object"),
        ({"a/b": {}}, 'views["a/b"]: a name of a view has letters'),
        ({"v": 3}, "views.v: expected an object"),
        ({"v": {"toolFiltreing": {}}}, "views.v.toolFiltreing: unknown key; did you mean 'toolFiltering'?"),
        ({"v": {"credential": ["x"]}}, "views.v.credential: unknown key; did you mean 'credentials'?"),
        ({"v": {"credentials": []}}, "views.v.credentials: must not be empty"),
        ({"v": {"credentials": [""]}}, "views.v.credentials[0]: must not be empty"),
        ({"v": {"credentials": "x"}}, "views.v.credentials: expected a list"),
        (
            {"v": {"toolFiltering": {"annotation": {"readOnly": True}}}},
            "views.v.toolFiltering.annotation: unknown key; did you mean 'annotations'?",
        ),
        ({"v": {"toolFiltering": {"mode": "hybird"}}}, "views.v.toolFiltering.mode: expected one of"),
        (
            {"v": {"toolFiltering": {"categoryFilter": {"categories": ["wep"]}}}},
            "views.v.toolFiltering.categoryFilter.categories[0]: nothing gives the category 'wep'; did you mean 'web'?",
        ),
        (
            {"v": {"toolFiltering": {"tools": {"deny": ["gihtub__*"]}}}},
            "views.v.toolFiltering.tools.deny[0]: 'gihtub__*'",
        ),
        ({"v": {"toolFiltering": {"tools": {"deny": ["x["]}}}}, "views.v.toolFiltering.tools.deny[0]: 'x[' is no glob"),
        (
            {"v": {"toolFiltering": {"llmCategorization": {"enabled": False}}}},
            "views.v.toolFiltering.llmCategorization: only in the document's own",
        ),
        (
            {"v": {"toolFiltering": {"categoryFilter": {"categories": [], "customMappings": {"a": "web"}}}}},
            "views.v.toolFiltering.categoryFilter.customMappings: only in the document's own",
        ),
    ),
)
def test_what_is_refused(tmp_path: Path, views: Any, fault: str) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, views)
    assert any(f"a.json:1: {fault}" in each for each in refused.value.faults), refused.value.faults


def test_rules_that_the_document_turns_off_are_refused(tmp_path: Path) -> None:
    own = {"tools": {"deny": ["mail__*"]}}
    with pytest.raises(ConfigError, match="say here whether they are in force"):
        loaded(tmp_path, {"v": {"toolFiltering": own}}, {"enabled": False})
    found = loaded(tmp_path, {"v": {"toolFiltering": {**own, "enabled": True}}}, {"enabled": False})
    assert effective(found.views["v"].tool_filtering, 0).in_force


def test_a_category_of_the_document_s_mappings_is_known_to_a_view(tmp_path: Path) -> None:
    filtering = {"categoryFilter": {"categories": [], "customMappings": {"github__*": "code"}}}
    own = {"toolFiltering": {"mode": "category", "categoryFilter": {"categories": ["code"]}}}
    chosen = loaded(tmp_path, {"v": own}, filtering).views["v"].tool_filtering.category_filter
    assert chosen is not None
    assert chosen.categories == ("code",)


def test_no_repr_holds_a_token(tmp_path: Path) -> None:
    document = loaded(tmp_path, {"v": {"credentials": ["s3cr3t"]}})
    assert "s3cr3t" not in repr(document)
    assert document.views["v"].credentials == ("s3cr3t",)


def test_the_schema_accepts_views(tmp_path: Path) -> None:
    validator = jsonschema.Draft202012Validator(schema())
    own = {"description": "d", "credentials": ["${T}"], "toolFiltering": {"annotations": {"readOnly": True}}}
    assert validator.is_valid({"mcpServers": {}, "views": {"reader": own, "all": {}}})
    for wrong in ({"a b": {}}, {"v": {"credential": ["x"]}}, {"v": {"credentials": []}}):
        assert not validator.is_valid({"mcpServers": {}, "views": wrong})
