"""The tools of the everything server that need nothing from the client.

Owns their definitions and answers: contents of every kind, progress, logs, cancellation, list changes and members
no schema knows. The names beginning with `test_` are those the official conformance suite asks for.
"""

import os
from typing import Any, Final

import anyio
import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated, ToolsListChanged

from tests.support.everything_state import conversation
from tests.support.everything_toolbox import Answer, Call, Toolbox, failure, schema

PNG: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV: Final = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
PAUSE_S: Final = 0.05
"""The suite asks for about 50 ms between the steps of its logging and progress tools."""

UNKNOWN_MEMBERS: Final[dict[str, Any]] = {
    "com.example/unknown": {"big": 12345678901234567890, "one": 1.0, "large": 1e5, "nested": [None, {"": "\u2028"}]},
    "x-vendor": True,
}

DRAFT_2020_12: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}

APP_TYPE: Final = "text/html;profile=mcp-app"


def app_uri(name: str) -> str:
    """The URI of the app that a server of this name has."""
    return f"ui://{name}/app"


def add_tools(box: Toolbox) -> None:
    """Register every tool of this module."""
    _add_plain(box)
    _add_contents(box)
    _add_streaming(box)
    _add_waiting(box)
    _add_changing(box)
    _add_checked(box)


def _add_plain(box: Toolbox) -> None:
    @box.tool("echo", "Answer with the text it was given.", schema(("text",), text="string"))
    async def echo(call: Call) -> Answer:
        return str(call.arguments["text"])

    @box.tool(
        "add",
        "Add two numbers.",
        schema(("a", "b"), a="number", b="number"),
        output_schema=schema(("sum",), sum="number"),
        annotations=types.ToolAnnotations(title="Addition", read_only_hint=True, idempotent_hint=True),
    )
    async def add(call: Call) -> Answer:
        total = call.arguments["a"] + call.arguments["b"]
        return types.CallToolResult(content=[types.TextContent(text=str(total))], structured_content={"sum": total})

    @box.tool("whoami", "Tell the name this server was started with.")
    async def whoami(call: Call) -> Answer:
        return call.state.name

    @box.tool("process_id", "Tell the process id of this server.")
    async def process_id(_call: Call) -> Answer:
        return str(os.getpid())

    @box.tool("fail", "Answer with a failure of the tool.", schema(text="string"))
    async def fail(call: Call) -> Answer:
        return failure(str(call.arguments.get("text", "this tool always fails")))

    @box.tool("unknown_members", "Carry members that no schema knows, in the definition and in the result.")
    async def unknown_members(_call: Call) -> Answer:
        return types.CallToolResult(
            content=[types.TextContent(text="see the members")], structured_content={"members": UNKNOWN_MEMBERS}
        )

    @box.tool("test_simple_text", "Answer with one text.")
    async def simple_text(_call: Call) -> Answer:
        return "This is a simple text response for testing."

    @box.tool("test_error_handling", "Answer with a failure of the tool.")
    async def error_handling(_call: Call) -> Answer:
        return failure("This tool intentionally returns an error for testing")

    _ = (echo, add, whoami, process_id, fail, unknown_members, simple_text, error_handling)


def _embedded(uri: str, mime_type: str, text: str) -> types.EmbeddedResource:
    return types.EmbeddedResource(resource=types.TextResourceContents(uri=uri, mime_type=mime_type, text=text))


def _add_contents(box: Toolbox) -> None:
    image = types.ImageContent(data=PNG, mime_type="image/png")

    @box.tool("test_image_content", "Answer with an image.")
    async def image_content(_call: Call) -> Answer:
        return [image]

    @box.tool("test_audio_content", "Answer with a sound.")
    async def audio_content(_call: Call) -> Answer:
        return [types.AudioContent(data=WAV, mime_type="audio/wav")]

    @box.tool("test_embedded_resource", "Answer with an embedded resource.")
    async def embedded_resource(_call: Call) -> Answer:
        return [_embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")]

    @box.tool("test_multiple_content_types", "Answer with a text, an image and a resource.")
    async def multiple(_call: Call) -> Answer:
        document = _embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}')
        return [types.TextContent(text="Multiple content types test:"), image, document]

    @box.tool("resource_link", "Answer with a link to a resource of this server.")
    async def resource_link(_call: Call) -> Answer:
        return [types.ResourceLink(name="static-text", uri="test://static-text", mime_type="text/plain")]

    @box.tool(
        "show_app",
        "Show the app.",
        icons=[types.Icon(src="data:image/png;base64," + PNG, mime_type="image/png", sizes=["1x1"])],
        annotations=types.ToolAnnotations(title="App", open_world_hint=False),
        _meta={"ui": {"resourceUri": app_uri(box.state.name)}, "com.example/more": [1]},
    )
    async def show_app(_call: Call) -> Answer:
        return "shown"

    _ = (image_content, audio_content, embedded_resource, multiple, resource_link, show_app)


async def _log(call: Call, level: types.LoggingLevel, text: str) -> None:
    """Send a log entry on the call's stream when the threshold lets it pass."""
    if call.stateless or call.state.logs(call.ctx, level):
        await call.ctx.session.send_log_message(level, text, "everything", call.ctx.request_id)  # pyright: ignore[reportDeprecated]


def _add_streaming(box: Toolbox) -> None:
    @box.tool("log", "Send one log entry.", schema(("text",), text="string", level="string"))
    async def log(call: Call) -> Answer:
        await _log(call, call.arguments.get("level", "info"), str(call.arguments["text"]))
        return "logged"

    @box.tool("log_threshold", "Answer the level set by `logging/setLevel`, or `none`.")
    async def threshold(call: Call) -> Answer:
        return call.state.thresholds.get(conversation(call.ctx), "none")

    @box.tool(
        "progress",
        "Send progress notifications that carry `label`; with `meet`, wait for `parties` (2) calls of that key first.",
        schema(("label",), label="string", steps="integer", meet="string", parties="integer"),
    )
    async def progress(call: Call) -> Answer:
        if "meet" in call.arguments:
            await call.state.gate(str(call.arguments["meet"])).meet(int(call.arguments.get("parties", 2)))
        steps = int(call.arguments.get("steps", 3))
        for step in range(1, steps + 1):
            await call.ctx.session.report_progress(step, steps, str(call.arguments["label"]))
            await anyio.lowlevel.checkpoint()
        return str(call.arguments["label"])

    async def logging(call: Call) -> Answer:
        for text in ("Tool execution started", "Tool processing data", "Tool execution completed"):
            await _log(call, "info", text)
            await anyio.sleep(PAUSE_S)
        return "Tool with logging executed successfully"

    box.tool("test_tool_with_logging", "Send three log entries.")(logging)
    box.tool("test_logging_tool", "Send three log entries.")(logging)

    @box.tool("test_tool_with_progress", "Report progress three times.")
    async def with_progress(call: Call) -> Answer:
        for done in (0, 50, 100):
            await call.ctx.session.report_progress(done, 100, f"Completed step {done} of 100")
            await anyio.sleep(PAUSE_S)
        return str((call.ctx.meta or {}).get("progress_token", "no token"))

    @box.tool("test_reconnection", "Close its own stream in the middle, so that the client has to resume it.")
    async def reconnection(call: Call) -> Answer:
        await _log(call, "info", "Before disconnect")
        if call.ctx.close_sse_stream is not None:
            await call.ctx.close_sse_stream()
        await anyio.sleep(4 * PAUSE_S)
        await _log(call, "info", "After reconnect")
        return "Reconnection test completed"

    _ = (log, threshold, progress, with_progress, reconnection)


def _add_waiting(box: Toolbox) -> None:
    @box.tool("slow", "Wait until `slow_release` is called with the same key.", schema(("key",), key="string"))
    async def slow(call: Call) -> Answer:
        await call.state.gate(str(call.arguments["key"])).wait()
        return "released"

    @box.tool(
        "slow_state",
        "Wait (bounded) until the `slow` call of that key is waiting, released or cancelled. Answer its state.",
        schema(("key", "state"), key="string", state="string"),
    )
    async def slow_state(call: Call) -> Answer:
        return await call.state.gate(str(call.arguments["key"])).reach(str(call.arguments["state"]))

    @box.tool("slow_release", "Let the `slow` call of that key go on.", schema(("key",), key="string"))
    async def slow_release(call: Call) -> Answer:
        call.state.gate(str(call.arguments["key"])).released.set()
        return "ok"

    @box.tool("gate_state", "Answer the state of the `slow` call of that key at once.", schema(("key",), key="string"))
    async def gate_state(call: Call) -> Answer:
        return call.state.gate(str(call.arguments["key"])).state

    _ = (slow, slow_state, slow_release, gate_state)


def _add_changing(box: Toolbox) -> None:
    async def dynamic(_call: Call) -> Answer:
        return "dynamic"

    @box.tool(
        "change_tools",
        "Add or remove a tool and announce it.",
        schema(("action", "name"), action={"type": "string", "enum": ["add", "remove"]}, name="string"),
    )
    async def change_tools(call: Call) -> Answer:
        name = str(call.arguments["name"])
        if call.arguments["action"] == "add":
            box.tool(name, "A tool that was added while the server ran.")(dynamic)
        else:
            box.remove(name)
        await call.state.announce(ToolsListChanged())
        return "changed"

    @box.tool("test_trigger_tool_change", "Add a tool, remove it again and announce it.")
    async def trigger(call: Call) -> Answer:
        box.tool("test_dynamic_tool", "Gone at once.")(dynamic)
        box.remove("test_dynamic_tool")
        await call.state.announce(ToolsListChanged())
        return "tool list changed"

    @box.tool("touch_resource", "Announce that a resource was updated.", schema(("uri",), uri="string"))
    async def touch(call: Call) -> Answer:
        await call.state.announce(ResourceUpdated(uri=str(call.arguments["uri"])))
        return "touched"

    _ = (change_tools, trigger, touch)


def _add_checked(box: Toolbox) -> None:
    @box.tool("test_missing_capability", "Refuse clients that did not declare sampling.")
    async def missing_capability(call: Call) -> Answer:
        declared = call.ctx.session.client_capabilities
        if declared is None or declared.sampling is None:
            data: dict[str, Any] = {"requiredCapabilities": {"sampling": {}}}
            raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, "This tool needs the client's sampling", data)
        return "Client declared sampling"

    region = {"type": "string", "description": "Repeated in a header", "x-mcp-header": "Region"}

    @box.tool("test_x_mcp_header", "Take an argument that is repeated in a header.", schema(region=region))
    async def x_mcp_header(call: Call) -> Answer:
        return f"region={call.arguments.get('region', '<none>')}"

    @box.tool("json_schema_2020_12_tool", "Carry keywords of JSON Schema 2020-12.", DRAFT_2020_12)
    async def json_schema(_call: Call) -> Answer:
        return "json_schema_2020_12_tool"

    _ = (missing_capability, x_mcp_header, json_schema)
