"""The `oauth` block of a server: what may stand in it, and its placeholders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from hub_common.logs import redacted
from hub_gateway.config.context import Context
from hub_gateway.config.load import load
from hub_gateway.config.model import Document
from hub_gateway.config.placeholders import resolve, unknown_variables
from hub_gateway.config.schema import schema
from hub_gateway.config.server_model import OAuth
from hub_gateway.errors import ConfigError

pytestmark = pytest.mark.anyio
MACHINE = {"grant": "client_credentials", "clientId": "${ID}", "clientSecret": "${CLIENT_SECRET_OF_UP}"}


def loaded(folder: Path, entry: dict[str, Any]) -> Document:
    document = {"mcpServers": {"up": entry}}
    path = folder / "a.json"
    path.write_text(json.dumps(document))
    jsonschema.validate(document, schema())
    return load([path])


def test_every_key(tmp_path: Path) -> None:
    oauth = {
        **MACHINE,
        "tokenEndpointAuthMethod": "client_secret_post",
        "scopes": ["a", "b:c"],
        "issuer": "https://as.example",
        "clientMetadataUrl": "https://h.example/c.json",
    }
    document = loaded(tmp_path, {"url": "https://a.example", "oauth": oauth})
    assert not document.warnings
    assert document.servers["up"].oauth == OAuth(
        "client_credentials",
        "${ID}",
        "${CLIENT_SECRET_OF_UP}",
        "client_secret_post",
        ("a", "b:c"),
        "https://as.example",
        "https://h.example/c.json",
    )


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({"oauth": {"grant": "client_credentials"}}, '.oauth: grant "client_credentials" needs'),
        ({"oauth": {"clientSecret": "x"}}, '.oauth: needs "clientId"'),
        ({"oauth": {"clientId": "x", "tokenEndpointAuthMethod": "client_secret_basic"}}, 'needs "clientSecret"'),
        ({"oauth": {"scopes": ["a b"]}}, ".oauth.scopes[0]: no name of a scope"),
        ({"oauth": {"issuer": "as.example"}}, ".oauth.issuer: must start with"),
        ({"oauth": {"clientMetadataUrl": "http://h.example/c"}}, ".oauth.clientMetadataUrl: must start with https"),
        ({"oauth": {"clientMetadataUrl": "https://h.example/"}}, ".oauth.clientMetadataUrl: must start with https"),
        ({"oauth": {}, "headers": {"authorization": "Bearer x"}}, '.headers.authorization: contradicts "oauth"'),
    ],
)
def test_what_makes_the_server_invalid(tmp_path: Path, entry: dict[str, Any], reason: str) -> None:
    assert reason in loaded(tmp_path, {"url": "https://a.example", **entry}).invalid["up"].reason


def test_only_remote_servers_have_it(tmp_path: Path) -> None:
    with pytest.raises(jsonschema.ValidationError):
        loaded(tmp_path, {"command": "x", "oauth": {}})
    assert ".oauth: only with" in load([tmp_path / "a.json"]).invalid["up"].reason


async def test_placeholders_are_resolved_and_the_secret_is_never_logged(tmp_path: Path) -> None:
    server = loaded(tmp_path, {"url": "https://a.example", "oauth": MACHINE}).servers["up"]
    context = Context.from_environ({"ID": "me", "CLIENT_SECRET_OF_UP": "hush-hush"}, tmp_path)
    resolved = await resolve(server, context)
    assert resolved.oauth == OAuth("client_credentials", "me", "hush-hush")
    assert redacted("x hush-hush x") == "x [redacted] x"
    assert "hush-hush" not in repr(resolved) + repr(resolved.oauth)


async def test_a_variable_that_is_not_set_is_told_by_its_path(tmp_path: Path) -> None:
    server = loaded(tmp_path, {"url": "https://a.example", "oauth": MACHINE}).servers["up"]
    context = Context.from_environ({"CLIENT_SECRET_OF_UP": " "}, tmp_path)
    with pytest.raises(ConfigError) as caught:
        await resolve(server, context)
    assert caught.value.faults == [
        "mcpServers.up.oauth.clientId: variable 'ID' is not set",
        "mcpServers.up.oauth.clientSecret: is empty",
    ]
    assert list(unknown_variables(server, context)) == ["mcpServers.up.oauth.clientId: variable 'ID' is not set"]
