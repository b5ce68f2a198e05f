"""What servers ask of clients during a call: sampling, elicitation and roots, in every combination of eras."""

from typing import Any

import anyio
import mcp_types as types
import pytest
from pydantic import FileUrl

from tests.journeys.matrix import Cell, journey
from tests.journeys.test_streams import fresh_key
from tests.support.clients import refusal, text_of
from tests.support.everything_asking import DEFAULTS, SIGN_IN, URL_ID

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]
TOLD_TIMEOUT_S = 10.0


class Person:
    """Whoever sits in front of a client: answers what is asked and remembers it."""

    def __init__(self, action: str = "accept", **content: Any) -> None:
        self.forms: list[types.ElicitRequestParams] = []
        self.prompts: list[types.CreateMessageRequestParams] = []
        self.action: Any = action
        self.content = content

    async def elicit(self, _ctx: object, params: types.ElicitRequestParams) -> types.ElicitResult:
        """Fill in a form, or visit a page."""
        self.forms.append(params)
        accepted = self.action == "accept" and not isinstance(params, types.ElicitRequestURLParams)
        return types.ElicitResult(action=self.action, content=self.content if accepted else None)

    async def sample(self, _ctx: object, params: types.CreateMessageRequestParams) -> types.CreateMessageResult:
        """Answer in the model's place, with the question in the answer so that a mix-up shows."""
        self.prompts.append(params)
        (asked,) = params.messages
        assert isinstance(asked.content, types.TextContent)
        said = types.TextContent(text=f"re: {asked.content.text}")
        return types.CreateMessageResult(role="assistant", content=said, model="test-model")

    async def roots(self, _ctx: object) -> types.ListRootsResult:
        """The folders a server may use."""
        return types.ListRootsResult(roots=[types.Root(uri=FileUrl("file:///home/someone/project"))])

    @property
    def callbacks(self) -> dict[str, Any]:
        """What makes a client ask this person everything."""
        return {
            "elicitation_callback": self.elicit,
            "sampling_callback": self.sample,
            "list_roots_callback": self.roots,
        }


@journey("sampling")
async def test_a_server_asks_the_client_s_model(cell: Cell) -> None:
    person = Person()
    async with cell.client(**person.callbacks) as client:
        result = await client.call_tool(cell.name("test_sampling"), {"prompt": "the way?"})
    assert text_of(result) == "LLM response: re: the way?"
    assert [params.max_tokens for params in person.prompts] == [100]


@journey("elicitation-form")
async def test_a_form_is_filled_in(cell: Cell) -> None:
    person = Person(name="Ada", age=36)
    async with cell.client(**person.callbacks) as client:
        result = await client.call_tool(cell.name("test_elicitation_sep1034_defaults"), {})
    assert text_of(result) == 'Elicitation completed: action=accept, content={"name": "Ada", "age": 36}'
    (form,) = person.forms
    assert isinstance(form, types.ElicitRequestFormParams)
    assert form.requested_schema == DEFAULTS


@journey("elicitation-form")
@pytest.mark.parametrize("action", ("decline", "cancel"))
async def test_a_form_may_be_refused(cell: Cell, action: str) -> None:
    person = Person(action)
    async with cell.client(**person.callbacks) as client:
        result = await client.call_tool(cell.name("test_elicitation"), {"message": "Who?"})
    assert text_of(result) == f"User response: action={action}, content={{}}"
    assert [form.message for form in person.forms] == ["Who?"]


@journey("elicitation-url")
async def test_a_page_is_visited(cell: Cell) -> None:
    person = Person()
    async with cell.client(**person.callbacks) as client:
        result = await client.call_tool(cell.name("elicit_url"), {})
    assert text_of(result) == "Visited: action=accept, content={}"
    (page,) = person.forms
    assert isinstance(page, types.ElicitRequestURLParams)
    assert page.url == SIGN_IN
    if not cell.stateless:
        # 2025-11-25 requires an id, which a stateless server does not give.
        assert page.elicitation_id
    if "handshake" in cell.upstream and not cell.stateless:
        assert page.elicitation_id == URL_ID


@journey("elicitation-complete")
async def test_the_end_of_a_visit_is_told(cell: Cell) -> None:
    told = anyio.Event()

    async def heard(message: object) -> None:
        if isinstance(message, types.ElicitCompleteNotification) and message.params.elicitation_id == URL_ID:
            told.set()

    async with cell.client(**Person().callbacks, message_handler=heard) as client:
        await client.call_tool(cell.name("elicit_url"), {})
        await client.call_tool(cell.name("complete_url"), {})
        with anyio.fail_after(TOLD_TIMEOUT_S):
            await told.wait()


@journey("roots")
async def test_a_server_asks_for_roots(cell: Cell) -> None:
    async with cell.client(**Person().callbacks) as client:
        result = await client.call_tool(cell.name("test_list_roots"), {})
    assert text_of(result) == "roots: ['file:///home/someone/project']"


@journey("several-questions")
async def test_several_questions_of_one_call(cell: Cell) -> None:
    person = Person(name="Ada")
    async with cell.client(**person.callbacks) as client:
        result = await client.call_tool(cell.name("test_input_required_result_multiple_inputs"), {})
    assert text_of(result) == "All inputs received."
    assert (len(person.forms), len(person.prompts)) == (1, 1)


@journey("several-questions")
async def test_several_rounds_of_one_call(cell: Cell) -> None:
    person = Person(name="Ada", color="green")
    async with cell.client(**person.callbacks) as client:
        result = await client.call_tool(cell.name("test_input_required_result_multi_round"), {})
    assert text_of(result) == "Ada likes green."
    assert [form.message for form in person.forms] == ["Step 1: your name?", "Step 2: your colour?"]


@journey("asking-prompt")
async def test_a_prompt_asks(cell: Cell) -> None:
    async with cell.client(**Person(context="rain").callbacks) as client:
        result = await client.get_prompt(cell.name("test_input_required_result_prompt"))
    (message,) = result.messages
    assert isinstance(message.content, types.TextContent)
    assert message.content.text == "Use this context: rain"


@journey("own-questions")
async def test_two_clients_are_asked_each_its_own(cell: Cell) -> None:
    """Over stdio nothing ties a question to a call but that the call is the only one, so these go one after the other
    there; over HTTP they overlap."""
    heard: dict[str, str] = {}

    async def one(name: str) -> None:
        person = Person(name=name)
        async with cell.client(**person.callbacks) as client:
            result = await client.call_tool(cell.name("test_input_required_result_elicitation"), {})
        heard[name] = text_of(result)

    if cell.upstream.endswith("stdio_handshake"):
        for name in ("Ada", "Bob"):
            await one(name)
    else:
        async with anyio.create_task_group() as group:
            for name in ("Ada", "Bob", "Cyd"):
                group.start_soon(one, name)
    assert heard == {name: f"Hello, {name}!" for name in heard}
    assert len(heard) >= 2


@journey("missing-capability")
async def test_a_client_that_cannot_be_asked_is_told_so(cell: Cell) -> None:
    local, arguments = "test_sampling", {"prompt": "?"}
    if "stateless" in cell.upstream:
        local, arguments = "test_missing_capability", {}  # asks nobody who did not declare it, as the revision requires
    async with cell.client() as client:
        error = await refusal(client.call_tool(cell.name(local), arguments))
        if cell.stateless or "stateless" in cell.upstream:
            assert error.code == types.MISSING_REQUIRED_CLIENT_CAPABILITY
            assert error.data == {"requiredCapabilities": {"sampling": {}}}
        else:
            assert error.code == types.METHOD_NOT_FOUND
            assert "sampling" in error.message
        assert text_of(await client.call_tool(cell.name("echo"), {"text": "on"})) == "on"


@journey("cancelled-question")
async def test_cancelling_a_call_that_asks_cancels_it_at_the_server(cell: Cell) -> None:
    gate, asked = fresh_key(), anyio.Event()

    async def never(_ctx: object, _params: types.ElicitRequestParams) -> types.ElicitResult:
        asked.set()
        await anyio.sleep_forever()
        raise AssertionError

    async with cell.client(elicitation_callback=never) as client, cell.client() as watcher:

        async def state(wanted: str) -> str:
            return text_of(await watcher.call_tool(cell.name("slow_state"), {"key": gate, "state": wanted}))

        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, cell.name("ask_watched"), {"key": gate})
            with anyio.fail_after(TOLD_TIMEOUT_S):
                await asked.wait()
            assert await state("waiting") == "waiting"
            group.cancel_scope.cancel()
        assert await state("cancelled") == "cancelled"


@journey("roots-changed")
async def test_other_roots_are_told(cell: Cell) -> None:
    async with cell.client(**Person().callbacks) as client:
        await client.send_roots_list_changed()  # pyright: ignore[reportDeprecated]
        assert text_of(await client.call_tool(cell.name("roots_told"), {})) == "changed"


@journey("question-progress")
async def test_how_far_an_answer_is_reaches_who_asked(cell: Cell) -> None:
    async def elicit(ctx: Any, _params: types.ElicitRequestParams) -> types.ElicitResult:
        token = ctx.meta["progress_token"]
        for step in (1, 2):
            await ctx.session.send_progress_notification(token, step, 3, "on the way")
        return types.ElicitResult(action="decline")

    async with cell.client(elicitation_callback=elicit) as client:
        told = await client.call_tool(cell.name("ask_progress"), {})
    assert text_of(told) == "1/3 on the way, 2/3 on the way"
