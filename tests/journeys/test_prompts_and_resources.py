"""Prompts, resources, templates and completion through the hub."""

import json

import mcp_types as types
import pytest
from mcp import Client

from tests.journeys.matrix import Cell, journey
from tests.support.clients import refusal
from tests.support.everything_tools import PNG

pytestmark = pytest.mark.anyio
TEMPLATE = "test://template/{id}/data"


async def _text(client: Client, uri: str) -> str:
    (contents,) = (await client.read_resource(uri)).contents
    assert isinstance(contents, types.TextResourceContents)
    return contents.text


async def _uris(client: Client) -> list[str]:
    uris: list[str] = []
    cursor: str | None = None
    while True:
        page = await client.list_resources(cursor=cursor)
        uris += [resource.uri for resource in page.resources]
        if (cursor := page.next_cursor) is None:
            return uris


@journey("prompts")
async def test_prompts_are_listed_and_got(cell: Cell) -> None:
    name = cell.name("test_prompt_with_arguments")
    async with cell.client() as client:
        listed: dict[str, types.Prompt] = {}
        cursor: str | None = None
        while True:
            page = await client.list_prompts(cursor=cursor)
            listed |= {prompt.name: prompt for prompt in page.prompts}
            if (cursor := page.next_cursor) is None:
                break
        got = await client.get_prompt(name, {"arg1": "one", "arg2": "two"})
    assert [argument.name for argument in listed[name].arguments or ()] == ["arg1", "arg2"]
    content = got.messages[0].content
    assert isinstance(content, types.TextContent)
    assert content.text == "Prompt with arguments: arg1='one', arg2='two'"


@journey("unknown-prompt")
async def test_an_unknown_prompt_is_an_error(cell: Cell) -> None:
    async with cell.client() as client:
        error = await refusal(client.get_prompt(cell.name("nothing_of_that_name")))
    assert error.code == -32602


@journey("resources")
async def test_a_resource_keeps_its_uri(cell: Cell) -> None:
    uri = f"test://only-{cell.upstream}"
    async with cell.client() as client:
        assert (await _uris(client)).count(uri) == 1
        (contents,) = (await client.read_resource(uri)).contents
    assert isinstance(contents, types.TextResourceContents)
    assert (contents.uri, contents.text) == (uri, f"{uri} of {cell.upstream}")


@journey("prefixed-uri")
async def test_the_prefixed_form_of_a_uri_is_accepted(cell: Cell) -> None:
    uri = f"test://only-{cell.upstream}"
    async with cell.client() as client:
        assert await _text(client, cell.name(uri)) == f"{uri} of {cell.upstream}"


@journey("same-uri")
async def test_the_same_uri_of_two_servers_is_told_apart(cell: Cell) -> None:
    async with cell.client() as client:
        uris = await _uris(client)
        assert uris.count(cell.uri("test://whoami")) == 1
        assert "test://whoami" not in uris
        (contents,) = (await client.read_resource(cell.uri("test://whoami"))).contents
        assert isinstance(contents, types.TextResourceContents)
        assert (contents.uri, contents.text) == (cell.uri("test://whoami"), cell.upstream)
        assert await _text(client, cell.name("test://whoami")) == cell.upstream


@journey("binary-resource")
async def test_a_binary_resource_passes(cell: Cell) -> None:
    async with cell.client() as client:
        (contents,) = (await client.read_resource(cell.uri("test://static-binary"))).contents
    assert isinstance(contents, types.BlobResourceContents)
    assert (contents.blob, contents.mime_type) == (PNG, "image/png")


@journey("unknown-resource")
async def test_an_unknown_resource_is_an_error_of_the_client_s_era(cell: Cell) -> None:
    async with cell.client() as client:
        unknown = "test://nobody-has-this"
        for uri in (unknown, cell.uri(unknown), cell.name(unknown)):
            error = await refusal(client.read_resource(uri))
            assert error.code == (-32602 if cell.stateless else -32002), uri


@journey("templates")
async def test_templates_are_listed_and_read(cell: Cell) -> None:
    async with cell.client() as client:
        page = await client.list_resource_templates()
        templates = [template.uri_template for template in page.resource_templates]
        while page.next_cursor:
            page = await client.list_resource_templates(cursor=page.next_cursor)
            templates += [template.uri_template for template in page.resource_templates]
        text = await _text(client, cell.uri("test://template/42/data"))
    assert templates.count(cell.uri(TEMPLATE)) == 1
    assert json.loads(text) == {"id": "42", "templateTest": True, "data": "Data for ID: 42"}


@journey("completion")
async def test_completion_is_asked_of_the_owner(cell: Cell) -> None:
    prompt = types.PromptReference(name=cell.name("test_prompt_with_arguments"))
    template = types.ResourceTemplateReference(uri=cell.uri(TEMPLATE))
    async with cell.client() as client:
        of_prompt = await client.complete(prompt, {"name": "arg1", "value": "par"})
        of_template = await client.complete(template, {"name": "id", "value": "test"})
    assert of_prompt.completion.values == ["paris", "park", "party"]
    assert of_template.completion.values == ["test1", "test2"]
