"""A policy that means nothing is refused with its place and the nearest name that means something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hub_gateway.config.filter_model import AnnotationFilter, NameFilter, ToolFiltering
from hub_gateway.config.load import load
from hub_gateway.config.schema import schema
from hub_gateway.errors import ConfigError

SERVERS: dict[str, Any] = {
    "github": {"command": "x"},
    "a-b": {"command": "x", "disabled": True},
    "mail": {"command": "x", "prefix": "post"},
    "broken": {"command": "x", "url": "http://x"},
}


def loaded(directory: Path, filtering: dict[str, Any], servers: dict[str, Any] = SERVERS) -> ToolFiltering:
    path = directory / "a.json"
    path.write_text(json.dumps({"mcpServers": servers, "toolFiltering": filtering}))
    return load([path]).tool_filtering


@pytest.mark.parametrize(
    ("filtering", "fault"),
    (
        ({"mode": "catgory"}, "toolFiltering.mode: expected one of"),
        ({"mode": "catgory"}, "did you mean 'category'?"),
        ({"mode": "Hybrid"}, "did you mean 'hybrid'?"),
        (
            {"categoryFilter": {"categories": ["web", "serach"]}},
            "toolFiltering.categoryFilter.categories[1]: nothing gives the category 'serach'; did you mean 'search'?",
        ),
        ({"categoryFilter": {"categories": ["game"]}}, "'game'; there are filesystem, web,"),
        ({"tools": {"deny": ["a", "b[c"]}}, "toolFiltering.tools.deny[1]: 'b[c' is no glob: a [ is never closed"),
        ({"tools": {"allow": [""]}}, "toolFiltering.tools.allow[0]: must not be empty"),
        ({"tools": {"denny": ["*"]}}, "toolFiltering.tools.denny: unknown key; did you mean 'deny'?"),
        ({"tools": ["*"]}, "toolFiltering.tools: expected an object"),
        ({"toolz": {"deny": ["*"]}}, "toolFiltering.toolz: unknown key; did you mean 'tools'?"),
        (
            {"categoryFilter": {"categories": ["search"], "customMappings": {"github__*": "serch"}}},
            "toolFiltering.categoryFilter.customMappings[\"github__*\"]: no category is called 'serch'; "
            "did you mean 'search'?",
        ),
        (
            {"categoryFilter": {"categories": ["web"], "categoryOverrides": {"gihtub__x": "web"}}},
            "toolFiltering.categoryFilter.categoryOverrides.gihtub__x: 'gihtub__x' matches nothing: no server has the "
            "prefix 'gihtub'; did you mean 'github'?",
        ),
        (
            {"annotations": {"readonly": True}},
            "toolFiltering.annotations.readonly: unknown key; did you mean 'readOnly'?",
        ),
        ({"annotations": {"readOnly": "yes"}}, "toolFiltering.annotations.readOnly: expected true or false"),
        (
            {"tools": {"deny": ["gihtub__delete_*"]}},
            "toolFiltering.tools.deny[0]: 'gihtub__delete_*' matches nothing: no server has the prefix 'gihtub'; "
            "did you mean 'github'?",
        ),
        (
            {"categoryFilter": {"categories": [], "categoryOverrides": {"github__*": "web"}}},
            'toolFiltering.categoryFilter.categoryOverrides["github__*"]: is to be the whole name of one entry; '
            "patterns stand in `customMappings`",
        ),
    ),
)
def test_what_is_refused(tmp_path: Path, filtering: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError) as refused:
        loaded(tmp_path, filtering)
    assert any(fault in each for each in refused.value.faults), refused.value.faults


@pytest.mark.parametrize(
    "glob",
    (
        "github__*",
        "a_b__x",
        "post__*",
        "mail__*",
        "broken__x",
        "*__delete_*",
        "gith*",
        "[g]ithub__*",
        "file:///a__b*",
        "x",
    ),
)
def test_a_glob_may_name_any_server_of_the_document(tmp_path: Path, glob: str) -> None:
    found = loaded(tmp_path, {"tools": {"allow": [glob], "deny": [glob]}, "annotations": {"readOnly": True}})
    assert found.tools == NameFilter((glob,), (glob,))
    assert found.annotations == AnnotationFilter(read_only=True)
    assert load([tmp_path / "a.json"]).warnings == ()


def test_where_names_have_no_prefix_a_glob_may_begin_with_anything(tmp_path: Path) -> None:
    bare = {**SERVERS, "bare": {"command": "x", "prefix": ""}}
    assert loaded(tmp_path, {"tools": {"deny": ["gihtub__*"]}}, bare).tools == NameFilter(deny=("gihtub__*",))


def test_a_category_that_a_mapping_or_an_override_gives_is_known(tmp_path: Path) -> None:
    filtering = {
        "categories": ["games", "toys"],
        "customMappings": {"github__*": "games"},
        "categoryOverrides": {"github__x": "toys"},
    }
    found = loaded(tmp_path, {"categoryFilter": filtering}).category_filter
    assert found is not None
    assert found.categories == ("games", "toys")


@pytest.mark.parametrize(
    ("filtering", "accepted"),
    (
        ({"tools": {"deny": ["*"], "comment": "why"}}, True),
        ({"tools": {"denny": ["*"]}}, False),
        ({"tools": {"allow": []}, "annotations": {"openWorld": False, "_x": 1}}, True),
        ({"annotations": {"readonly": True}}, False),
    ),
)
def test_the_schema_and_the_hub_agree(tmp_path: Path, filtering: dict[str, Any], accepted: bool) -> None:
    document = {"mcpServers": SERVERS, "toolFiltering": filtering}
    document["mcpServers"] = {"github": {"command": "x"}}
    assert jsonschema.Draft202012Validator(schema()).is_valid(document) == accepted
    try:
        loaded(tmp_path, filtering)
    except ConfigError:
        assert not accepted
    else:
        assert accepted


def test_a_category_of_one_s_own_may_be_near_another_where_it_is_asked_for(tmp_path: Path) -> None:
    own = {"categories": ["clouds"], "customMappings": {"github__*": "clouds"}, "categoryOverrides": {"x": "finance"}}
    assert loaded(tmp_path, {"mode": "category", "categoryFilter": own}).category_filter is not None


def test_a_key_that_is_near_none_is_ignored(tmp_path: Path) -> None:
    assert loaded(tmp_path, {"mode": "auto", "owner": "me"}).mode == "auto"
