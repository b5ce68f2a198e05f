"""The tools and the prompt of the everything server that ask the client: elicitation, sampling, roots.

Owns one way to ask that fits both eras: a request to the client in the handshake era, an `input_required` result in
the stateless era (2026-07-28, basic/patterns, multi round-trip requests). Knows nothing of transports.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import anyio
import mcp_types as types
from mcp.shared.message import ServerMessageMetadata

from tests.support.everything_toolbox import Answer, Call, Toolbox, schema

DEFAULTS: Final = schema(
    name={"type": "string", "description": "User name", "default": "John Doe"},
    age={"type": "integer", "description": "User age", "default": 30},
    score={"type": "number", "description": "User score", "default": 95.5},
    status={"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    verified={"type": "boolean", "description": "Verified", "default": True},
)


SIGN_IN: Final = "https://example.com/sign-in"
URL_ID: Final = "sign-in-1"


def _titled(*options: str) -> list[dict[str, str]]:
    return [{"const": option, "title": option.title()} for option in options]


ENUMS: Final = schema(
    untitledSingle={"type": "string", "enum": ["option1", "option2", "option3"]},
    titledSingle={"type": "string", "oneOf": _titled("value1", "value2", "value3")},
    legacyEnum={"type": "string", "enum": ["opt1", "opt2"], "enumNames": ["Option One", "Option Two"]},
    untitledMulti={"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
    titledMulti={"type": "array", "items": {"anyOf": _titled("value1", "value2", "value3")}},
)


def elicitation(message: str, requested: dict[str, Any]) -> types.ElicitRequest:
    """A form to be filled in by the client's user."""
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=requested))


def sampling(text: str, max_tokens: int) -> types.CreateMessageRequest:
    """A question to the client's model."""
    message = types.SamplingMessage(role="user", content=types.TextContent(text=text))
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[message], max_tokens=max_tokens)
    )


def _form(member: str, kind: str = "string") -> dict[str, Any]:
    return schema((member,), **{member: kind})


async def _request(call: Call, request: types.InputRequest) -> types.InputResponse:
    """Send one request on the call's own stream and await its answer (handshake era)."""
    results: dict[str, type[types.ElicitResult | types.CreateMessageResult | types.ListRootsResult]] = {
        "elicitation/create": types.ElicitResult,
        "sampling/createMessage": types.CreateMessageResult,
        "roots/list": types.ListRootsResult,
    }
    metadata = ServerMessageMetadata(related_request_id=call.ctx.request_id)
    return await call.ctx.session.send_request(request, results[request.method], metadata=metadata)


async def ask(
    call: Call, requests: dict[str, types.InputRequest], state: str | None = None
) -> types.InputResponses | types.InputRequiredResult:
    """The client's answers by key, or the result that asks for those which are still missing."""
    if not call.stateless:
        return {key: await _request(call, request) for key, request in requests.items()}
    if all(key in call.responses for key in requests) and state in (None, call.request_state):
        return call.responses
    return types.InputRequiredResult(input_requests=requests, request_state=state)


def content_of(answer: types.InputResponse, member: str) -> str:
    """One member of an accepted form, or the action when it was not accepted."""
    if not isinstance(answer, types.ElicitResult):
        return "?"
    return str((answer.content or {}).get(member, "?")) if answer.action == "accept" else answer.action


def text_of(answer: types.InputResponse) -> str:
    """The text the client's model answered."""
    content = getattr(answer, "content", None)
    return content.text if isinstance(content, types.TextContent) else "?"


Finish = Callable[[types.InputResponses], str]


def _asking(requests: Callable[[Call], dict[str, types.InputRequest]], finish: Finish, state: str | None = None) -> Any:
    """A tool that asks once and then answers with `finish`."""

    async def run(call: Call) -> Answer:
        answers = await ask(call, requests(call), state)
        return answers if isinstance(answers, types.InputRequiredResult) else finish(answers)

    return run


def _outcome(label: str, key: str = "form") -> Finish:
    def finish(answers: types.InputResponses) -> str:
        answer = answers[key]
        if not isinstance(answer, types.ElicitResult):
            return f"{label}: ?"
        return f"{label}: action={answer.action}, content={json.dumps(answer.content or {})}"

    return finish


def add_asking_tools(box: Toolbox) -> None:
    """Register every tool of this module."""
    _add_requests(box)
    _add_rounds(box)
    _add_watched(box)

    @box.tool("test_input_required_result_capabilities", "Ask only for what the client declared.")
    async def capabilities(call: Call) -> Answer:
        declared = call.ctx.session.client_capabilities
        requests: dict[str, types.InputRequest] = {}
        if declared is None or declared.sampling is not None:
            requests["sample"] = sampling("Say hello", 50)
        if declared is None or declared.elicitation is not None:
            requests["ask"] = elicitation("What is your name?", _form("name"))
        answers = await ask(call, requests, "by capability")
        return answers if isinstance(answers, types.InputRequiredResult) else f"asked for {sorted(answers)}"

    _ = capabilities


def _add_requests(box: Toolbox) -> None:
    """Tools with one round: the names of the handshake era and those of the stateless era."""

    def add(name: str, request: Callable[[Call], types.InputRequest], key: str, finish: Finish, **options: Any) -> None:
        function: Callable[[Call], Awaitable[Answer]] = _asking(
            lambda call: {key: request(call)}, finish, options.pop("state", None)
        )
        box.tool(name, f"Ask the client: {name}.", **options)(function)

    def user(call: Call) -> types.InputRequest:
        required = schema(("username", "email"), username="string", email="string")
        return elicitation(str(call.arguments.get("message", "Who are you?")), required)

    def model(call: Call) -> types.InputRequest:
        return sampling(str(call.arguments["prompt"]), 100)

    def named(_call: Call) -> types.InputRequest:
        return elicitation("What is your name?", _form("name"))

    def defaults(_call: Call) -> types.InputRequest:
        return elicitation("Please provide user information", DEFAULTS)

    def enums(_call: Call) -> types.InputRequest:
        return elicitation("Please select values", ENUMS)

    def capital(_call: Call) -> types.InputRequest:
        return sampling("What is the capital of France?", 100)

    def confirm(_call: Call) -> types.InputRequest:
        return elicitation("Please confirm", _form("ok", "boolean"))

    def roots(_call: Call) -> types.InputRequest:
        return types.ListRootsRequest()

    def page(call: Call) -> types.InputRequest:
        # Required in the handshake era, and gone in the stateless one.
        identity = None if call.stateless else URL_ID
        return types.ElicitRequest(
            params=types.ElicitRequestURLParams(message="Please sign in", url=SIGN_IN, elicitation_id=identity)
        )

    def hello(answers: types.InputResponses) -> str:
        return f"Hello, {content_of(answers['user_name'], 'name')}!"

    def counted(answers: types.InputResponses) -> str:
        answer = answers["client_roots"]
        return f"roots: {[str(r.uri) for r in answer.roots]}" if isinstance(answer, types.ListRootsResult) else "?"

    prompt = schema(("prompt",), prompt="string")
    message = schema(("message",), message="string")
    add("test_sampling", model, "m", lambda a: f"LLM response: {text_of(a['m'])}", input_schema=prompt)
    add("test_elicitation", user, "form", _outcome("User response"), input_schema=message)
    add("test_streaming_elicitation", user, "form", _outcome("User response"))
    add("test_elicitation_sep1034_defaults", defaults, "form", _outcome("Elicitation completed"))
    add("test_elicitation_sep1330_enums", enums, "form", _outcome("Elicitation completed"))
    add("elicit_url", page, "page", _outcome("Visited", "page"))
    add("test_list_roots", roots, "client_roots", counted)
    add("test_input_required_result_elicitation", named, "user_name", hello)
    add("test_input_required_result_list_roots", roots, "client_roots", counted)
    add("test_input_required_result_request_state", confirm, "confirm", lambda _: "state-ok", state="nonce")
    add("test_input_required_result_tampered_state", confirm, "confirm", lambda _: "state-ok", state="round-1")
    add(
        "test_input_required_result_sampling",
        capital,
        "capital_question",
        lambda answers: f"Model said: {text_of(answers['capital_question'])}",
    )


def _add_rounds(box: Toolbox) -> None:
    several = _asking(
        lambda _call: {
            "user_name": elicitation("What is your name?", _form("name")),
            "greeting": sampling("Generate a greeting", 50),
            "client_roots": types.ListRootsRequest(),
        },
        lambda _answers: "All inputs received.",
        "several",
    )
    box.tool("test_input_required_result_multiple_inputs", "Ask three things at once.")(several)

    @box.tool("test_input_required_result_multi_round", "Ask a name, then a colour.")
    async def rounds(call: Call) -> Answer:
        step1: dict[str, types.InputRequest] = {"step1": elicitation("Step 1: your name?", _form("name"))}
        step2: dict[str, types.InputRequest] = {"step2": elicitation("Step 2: your colour?", _form("color"))}
        carried: dict[str, Any] = json.loads(call.request_state) if call.request_state else {}
        if "name" in carried:
            name = str(carried["name"])
        else:
            first = await ask(call, step1, json.dumps({"round": 1}))
            if isinstance(first, types.InputRequiredResult):
                return first
            name = content_of(first["step1"], "name")
        second = await ask(call, step2, json.dumps({"round": 2, "name": name}))
        if isinstance(second, types.InputRequiredResult):
            return second
        return f"{name} likes {content_of(second['step2'], 'color')}."

    _ = rounds


def _add_watched(box: Toolbox) -> None:
    @box.tool(
        "ask_watched",
        "Ask a name; `slow_state` of the same key tells whether the call still waits for it.",
        schema(("key",), key="string"),
    )
    async def watched(call: Call) -> Answer:
        gate = call.state.gate(str(call.arguments["key"]))
        await gate.move("waiting")
        try:
            answers = await ask(call, {"user_name": elicitation("What is your name?", _form("name"))})
        except BaseException:
            with anyio.CancelScope(shield=True):
                await gate.move("cancelled")
            raise
        if isinstance(answers, types.InputRequiredResult):
            return answers
        await gate.move("answered")
        return f"Hello, {content_of(answers['user_name'], 'name')}!"

    named: dict[str, types.InputRequest] = {"user_name": elicitation("What is your name?", _form("name"))}

    @box.tool("ask_then_wait", "Ask a name, then do as `slow`.", schema(("key",), key="string"))
    async def then_wait(call: Call) -> Answer:
        answers = await ask(call, named)
        if not isinstance(answers, types.InputRequiredResult):
            await call.state.gate(str(call.arguments["key"])).wait()
            return "released"
        return answers

    @box.tool("ask_then_progress", "Ask a name, then report progress twice.")
    async def then_progress(call: Call) -> Answer:
        answers = await ask(call, named)
        if isinstance(answers, types.InputRequiredResult):
            return answers
        for step in (1, 2):
            await call.ctx.session.report_progress(step, 2, "on the way")
        return content_of(answers["user_name"], "name")

    @box.tool("ask_progress", "Ask a name and hear how far the answer is; answer the steps.")
    async def progressed(call: Call) -> Answer:
        steps = list[str]()

        async def heard(progress: float, total: float | None, message: str | None) -> None:
            steps.append(f"{progress:g}/{total:g} {message}" if total else f"{progress:g}")

        metadata = ServerMessageMetadata(related_request_id=call.ctx.request_id)
        await call.ctx.session.send_request(
            named["user_name"], types.ElicitResult, metadata=metadata, progress_callback=heard
        )
        return ", ".join(steps)

    @box.tool("roots_told", "Wait (bounded) until a client says that its roots changed; `changed`, or `new`.")
    async def roots_told(call: Call) -> Answer:
        gate = call.state.gate("roots")
        state = await gate.reach("changed")
        await gate.move("new")
        return state

    @box.tool("complete_url", "Say that what `elicit_url` asked for is done.")
    async def complete_url(call: Call) -> Answer:
        if not call.stateless:
            await call.ctx.session.send_elicit_complete(URL_ID)
        return "told"

    _ = (watched, then_wait, then_progress, progressed, roots_told, complete_url)
