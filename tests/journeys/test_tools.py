"""Tools through the hub: listing, calling, results, failures and names."""

import mcp_types as types
import pytest

from tests.journeys.matrix import HTTP_UPSTREAMS, UPSTREAMS, Cell, journey
from tests.support.clients import all_tools, refusal, text_of
from tests.support.everything_tools import APP_TYPE, PNG, WAV, app_uri

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]


@journey("list-tools", "name-length")
async def test_tools_are_listed_once_under_their_public_names(cell: Cell) -> None:
    async with cell.client() as client:
        tools = await all_tools(client)
    assert {cell.name("echo"), cell.name("add"), cell.name("fail")} <= set(tools)
    assert tools[cell.name("add")].input_schema["required"] == ["a", "b"]
    assert all(0 < len(name) <= 64 for name in tools)


@journey("call-tool")
async def test_a_call_is_answered(cell: Cell) -> None:
    text = 'naïve "text" \u2028 with \\ and \N{GRINNING FACE}\n'
    async with cell.client() as client:
        result = await client.call_tool(cell.name("echo"), {"text": text})
    assert text_of(result) == text
    assert not result.is_error


@journey("structured-result")
async def test_structured_content_passes(cell: Cell) -> None:
    async with cell.client() as client:
        tools = await all_tools(client)
        result = await client.call_tool(cell.name("add"), {"a": 2, "b": 40})
    definition = tools[cell.name("add")]
    assert definition.output_schema is not None
    assert definition.annotations is not None
    assert definition.annotations.read_only_hint is True
    assert result.structured_content == {"sum": 42}


@journey("content-kinds")
async def test_every_kind_of_content_passes(cell: Cell) -> None:
    async with cell.client() as client:

        async def content(local: str) -> list[types.ContentBlock]:
            return (await client.call_tool(cell.name(local), {})).content

        (image,) = await content("test_image_content")
        (sound,) = await content("test_audio_content")
        (embedded,) = await content("test_embedded_resource")
        (link,) = await content("resource_link")
    assert isinstance(image, types.ImageContent)
    assert (image.data, image.mime_type) == (PNG, "image/png")
    assert isinstance(sound, types.AudioContent)
    assert (sound.data, sound.mime_type) == (WAV, "audio/wav")
    assert isinstance(embedded, types.EmbeddedResource)
    assert isinstance(embedded.resource, types.TextResourceContents)
    assert embedded.resource.text == "This is an embedded resource content."
    assert isinstance(link, types.ResourceLink)
    assert (link.uri, link.name) == (cell.uri("test://static-text"), "static-text"), "every server has one of that URI"


@journey("apps")
async def test_an_app_of_a_tool_is_found_and_read(cell: Cell) -> None:
    uri = app_uri(cell.upstream)
    async with cell.client() as client:
        tool = (await all_tools(client))[cell.name("show_app")]
        listed = {resource.uri: resource for resource in (await client.list_resources()).resources}[uri]
        (contents,) = (await client.read_resource(uri)).contents
    assert tool.meta is not None
    assert (tool.meta["ui"], tool.meta["com.example/more"]) == ({"resourceUri": uri}, [1])
    assert tool.icons is not None
    assert (tool.icons[0].mime_type, tool.icons[0].sizes) == ("image/png", ["1x1"])
    assert tool.annotations is not None
    assert (tool.annotations.title, tool.annotations.open_world_hint) == ("App", False)
    assert (listed.mime_type, listed.meta) == (APP_TYPE, {"ui": {"domain": "a.b"}})
    assert isinstance(contents, types.TextResourceContents)
    assert (contents.mime_type, contents.text) == (APP_TYPE, f"{uri} of {cell.upstream}")


@journey("tool-failure")
async def test_a_failure_of_the_tool_is_a_result(cell: Cell) -> None:
    async with cell.client() as client:
        result = await client.call_tool(cell.name("fail"), {"text": "as asked"})
    assert result.is_error
    assert text_of(result) == "as asked"


@journey("unknown-tool")
async def test_an_unknown_tool_is_an_error(cell: Cell) -> None:
    async with cell.client() as client:
        error = await refusal(client.call_tool(cell.name("nothing_of_that_name"), {}))
    assert error.code == -32602


@journey("same-names", upstreams=HTTP_UPSTREAMS)
async def test_servers_with_the_same_tools_are_told_apart(cell: Cell) -> None:
    async with cell.client() as client:
        answers = [text_of(await client.call_tool(f"{name}__whoami", {})) for name in UPSTREAMS]
    assert answers == list(UPSTREAMS)


@journey("instructions", upstreams=HTTP_UPSTREAMS)
async def test_instructions_of_the_servers_reach_the_client(cell: Cell) -> None:
    async with cell.client() as client:
        assert client.instructions is not None
        assert "Use echo to test whether the way is open." in client.instructions


@journey("ping", upstreams=HTTP_UPSTREAMS)
async def test_ping_is_answered(cell: Cell) -> None:
    async with cell.client() as client:
        await client.send_ping()  # pyright: ignore[reportDeprecated]
