"""Resources, templates, prompts and completions of the everything server.

Owns their definitions and answers, and their changes while the server runs. Knows nothing of tools or transports.
"""

import json
import re
from typing import Final

import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import PromptsListChanged, ResourcesListChanged
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from tests.support.everything_asking import ask, content_of, elicitation
from tests.support.everything_state import State, conversation
from tests.support.everything_toolbox import Answer, Call, Ctx, Toolbox, schema
from tests.support.everything_tools import APP_TYPE, PNG, app_uri

RESOURCE_NOT_FOUND: Final = -32002
"""The handshake era's code (2025-11-25, server/resources); the stateless era uses -32602."""
CITIES: Final = ("paris", "park", "party", "test1", "test2")
TEMPLATE: Final = re.compile(r"test://template/(?P<id>[^/]+)/data")


def _words(text: str) -> types.PromptMessage:
    return types.PromptMessage(role="user", content=types.TextContent(text=text))


class Contents:
    """Answers the methods of resources, prompts and completion."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.resources: dict[str, types.Resource] = {}
        self.prompts: dict[str, types.Prompt] = {}
        for name, mime_type in (("static-text", "text/plain"), ("watched-resource", "text/plain")):
            self.add_resource(name, mime_type)
        self.add_resource("static-binary", "image/png")
        self.add_resource("whoami", "text/plain")
        self.add_resource(f"only-{state.name}", "text/plain")
        app = app_uri(state.name)
        self.resources[app] = types.Resource(uri=app, name="app", mime_type=APP_TYPE, _meta={"ui": {"domain": "a.b"}})
        self.add_prompt("test_simple_prompt")
        self.add_prompt("test_prompt_with_arguments", "arg1", "arg2")
        self.add_prompt("test_prompt_with_embedded_resource", "resourceUri")
        self.add_prompt("test_prompt_with_image")
        self.add_prompt("test_input_required_result_prompt")

    def add_resource(self, name: str, mime_type: str) -> None:
        """List `test://NAME`."""
        uri = f"test://{name}"
        self.resources[uri] = types.Resource(uri=uri, name=name, description=f"The {name}", mime_type=mime_type)

    def add_prompt(self, name: str, *arguments: str) -> None:
        """List a prompt whose arguments are all required."""
        taken = [types.PromptArgument(name=argument, description=argument, required=True) for argument in arguments]
        self.prompts[name] = types.Prompt(name=name, description=f"The {name}", arguments=taken or None)

    async def list_resources(
        self, _ctx: Ctx, _params: types.PaginatedRequestParams | None
    ) -> types.ListResourcesResult:
        """Answer `resources/list`."""
        return types.ListResourcesResult(resources=list(self.resources.values()))

    async def list_templates(
        self, _ctx: Ctx, _params: types.PaginatedRequestParams | None
    ) -> types.ListResourceTemplatesResult:
        """Answer `resources/templates/list`."""
        template = types.ResourceTemplate(
            uri_template="test://template/{id}/data",
            name="template",
            description="Data of one id",
            mime_type="application/json",
        )
        return types.ListResourceTemplatesResult(resource_templates=[template])

    async def read(self, ctx: Ctx, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
        """Answer `resources/read`; an unknown URI gets the code of the caller's era."""
        uri = params.uri
        if match := TEMPLATE.fullmatch(uri):
            text = json.dumps({"id": match["id"], "templateTest": True, "data": f"Data for ID: {match['id']}"})
            contents = types.TextResourceContents(uri=uri, mime_type="application/json", text=text)
        elif uri == "test://static-binary":
            contents = types.BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG)
        elif uri in self.resources:
            texts = {
                "test://static-text": "This is the content of the static text resource.",
                "test://whoami": self.state.name,
            }
            text = texts.get(uri, f"{uri} of {self.state.name}")
            mime_type = APP_TYPE if uri == app_uri(self.state.name) else "text/plain"
            contents = types.TextResourceContents(uri=uri, mime_type=mime_type, text=text)
        else:
            modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
            code = types.INVALID_PARAMS if modern else RESOURCE_NOT_FOUND
            raise MCPError(code, "Resource not found", {"uri": uri})
        return types.ReadResourceResult(contents=[contents])

    async def subscribe(self, _ctx: Ctx, params: types.SubscribeRequestParams) -> types.EmptyResult:
        """Answer `resources/subscribe` (handshake era)."""
        self.state.subscribed.add(params.uri)
        return types.EmptyResult()

    async def unsubscribe(self, _ctx: Ctx, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
        """Answer `resources/unsubscribe` (handshake era)."""
        self.state.subscribed.discard(params.uri)
        return types.EmptyResult()

    async def set_level(self, ctx: Ctx, params: types.SetLevelRequestParams) -> types.EmptyResult:
        """Answer `logging/setLevel` (handshake era)."""
        self.state.thresholds[conversation(ctx)] = params.level
        return types.EmptyResult()

    async def list_prompts(self, _ctx: Ctx, _params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
        """Answer `prompts/list`."""
        return types.ListPromptsResult(prompts=list(self.prompts.values()))

    async def get_prompt(
        self, ctx: Ctx, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult | types.InputRequiredResult:
        """Answer `prompts/get`; an unknown name is -32602."""
        if params.name not in self.prompts:
            raise MCPError(types.INVALID_PARAMS, f"Unknown prompt: {params.name}")
        given = params.arguments or {}
        wanted = [argument.name for argument in self.prompts[params.name].arguments or ()]
        if missing := [name for name in wanted if name not in given]:
            raise MCPError(types.INVALID_PARAMS, f"Missing argument: {', '.join(missing)}")
        if params.name == "test_input_required_result_prompt":
            return await self._asking_prompt(Call(ctx, self.state, {}, params.input_responses or {}, None))
        return types.GetPromptResult(description=f"The {params.name}", messages=_messages(params.name, given))

    async def _asking_prompt(self, call: Call) -> types.GetPromptResult | types.InputRequiredResult:
        form = elicitation("What context should the prompt use?", schema(("context",), context="string"))
        answers = await ask(call, {"user_context": form})
        if isinstance(answers, types.InputRequiredResult):
            return answers
        return types.GetPromptResult(
            messages=[_words(f"Use this context: {content_of(answers['user_context'], 'context')}")]
        )

    async def complete(self, _ctx: Ctx, params: types.CompleteRequestParams) -> types.CompleteResult:
        """Answer `completion/complete`: the cities that begin like the value; for an unknown owner -32602."""
        ref = params.ref
        known = (
            ref.name in self.prompts
            if isinstance(ref, types.PromptReference)
            else ref.uri.startswith("test://template")
        )
        if not known:
            raise MCPError(types.INVALID_PARAMS, "Unknown reference")
        values = [city for city in CITIES if city.startswith(params.argument.value)]
        return types.CompleteResult(completion=types.Completion(values=values, total=len(values), has_more=False))

    def add_changing_tools(self, box: Toolbox) -> None:
        """Register the tools that change the lists of this module."""
        arguments = schema(("action", "name"), action={"type": "string", "enum": ["add", "remove"]}, name="string")

        @box.tool("change_prompts", "Add or remove a prompt and announce it.", arguments)
        async def change_prompts(call: Call) -> Answer:
            name = str(call.arguments["name"])
            if call.arguments["action"] == "add":
                self.add_prompt(name)
            else:
                self.prompts.pop(name, None)
            await self.state.announce(PromptsListChanged())
            return "changed"

        @box.tool("change_resources", "Add or remove the resource test://NAME and announce it.", arguments)
        async def change_resources(call: Call) -> Answer:
            name = str(call.arguments["name"])
            if call.arguments["action"] == "add":
                self.add_resource(name, "text/plain")
            else:
                self.resources.pop(f"test://{name}", None)
            await self.state.announce(ResourcesListChanged())
            return "changed"

        @box.tool("test_trigger_prompt_change", "Add a prompt, remove it again and announce it.")
        async def trigger(call: Call) -> Answer:
            self.add_prompt("test_dynamic_prompt")
            self.prompts.pop("test_dynamic_prompt")
            await self.state.announce(PromptsListChanged())
            return "prompt list changed"

        _ = (change_prompts, change_resources, trigger)


def _messages(name: str, given: dict[str, str]) -> list[types.PromptMessage]:
    if name == "test_prompt_with_arguments":
        return [_words(f"Prompt with arguments: arg1='{given['arg1']}', arg2='{given['arg2']}'")]
    if name == "test_prompt_with_embedded_resource":
        document = types.TextResourceContents(
            uri=given["resourceUri"], mime_type="text/plain", text="Embedded resource content for testing."
        )
        embedded = types.PromptMessage(role="user", content=types.EmbeddedResource(resource=document))
        return [embedded, _words("Please process the embedded resource above.")]
    if name == "test_prompt_with_image":
        image = types.PromptMessage(role="user", content=types.ImageContent(data=PNG, mime_type="image/png"))
        return [image, _words("Please analyze the image above.")]
    return [_words("This is a simple prompt for testing.")]
