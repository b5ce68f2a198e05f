"""What crosses the hub beside a call's answer: progress, logs, cancellation and changes."""

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import mcp_types as types
import pytest
from mcp import Client

from tests.journeys.matrix import Cell, journey
from tests.support.clients import all_tools, text_of

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning")]
TOLD_TIMEOUT_S = 10.0


def fresh_key() -> str:
    return uuid.uuid4().hex[:8]


@journey("progress")
async def test_progress_reaches_its_own_call_only(cell: Cell) -> None:
    meeting, heard = fresh_key(), {"a": list[tuple[float, str | None]](), "b": list[tuple[float, str | None]]()}

    async def call(client: Client, label: str) -> None:
        async def progressed(progress: float, total: float | None, message: str | None) -> None:
            assert total == 4
            heard[label].append((progress, message))

        arguments = {"label": label, "steps": 4, "meet": meeting}
        result = await client.call_tool(cell.name("progress"), arguments, progress_callback=progressed)
        assert text_of(result) == label

    async with cell.client() as client, anyio.create_task_group() as group:
        group.start_soon(call, client, "a")
        group.start_soon(call, client, "b")
    assert heard == {label: [(float(step), label) for step in range(1, 5)] for label in "ab"}


@journey("logging")
async def test_a_log_entry_reaches_who_wants_its_level(cell: Cell) -> None:
    heard: list[tuple[str, object]] = []

    async def logged(params: types.LoggingMessageNotificationParams) -> None:
        heard.append((params.level, params.data))

    level = {"log_level": "warning"} if cell.stateless else {}
    async with cell.client(logging_callback=logged, **level) as client:
        if not cell.stateless:
            await client.set_logging_level("warning")  # pyright: ignore[reportDeprecated]
        await client.call_tool(cell.name("log"), {"text": "too quiet", "level": "info"})
        await client.call_tool(cell.name("log"), {"text": "loud", "level": "error"})
        with anyio.fail_after(TOLD_TIMEOUT_S):
            while not heard:
                await anyio.lowlevel.checkpoint()
    assert heard == [("error", "loud")]


@journey("cancellation")
async def test_a_cancelled_call_is_cancelled_at_the_server(cell: Cell) -> None:
    gate = fresh_key()
    async with cell.client() as client, cell.client() as watcher:

        async def state(wanted: str) -> str:
            return text_of(await watcher.call_tool(cell.name("slow_state"), {"key": gate, "state": wanted}))

        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, cell.name("slow"), {"key": gate})
            assert await state("waiting") == "waiting"
            group.cancel_scope.cancel()
        assert await state("cancelled") == "cancelled"
        assert text_of(await client.call_tool(cell.name("echo"), {"text": "still here"})) == "still here"


class Told:
    """The kinds of change a client was told of, to be waited for."""

    def __init__(self) -> None:
        self._send, self.receive = anyio.create_memory_object_stream[str](1000)

    async def message(self, message: object) -> None:
        """The message handler of a client with a session."""
        if isinstance(message, types.ServerNotification):
            await self._send.send(message.method)

    async def event(self, event: object) -> None:
        """One event of a `subscriptions/listen` stream, under the name of the notification it stands for."""
        methods = {
            "ToolsListChanged": "notifications/tools/list_changed",
            "PromptsListChanged": "notifications/prompts/list_changed",
            "ResourcesListChanged": "notifications/resources/list_changed",
            "ResourceUpdated": "notifications/resources/updated",
        }
        await self._send.send(methods[type(event).__name__])

    async def until(self, method: str, check: Callable[[], Awaitable[bool]]) -> None:
        """Wait for a notification after which the check holds; others may come before and between."""
        with anyio.fail_after(TOLD_TIMEOUT_S):
            async for told in self.receive:
                if told == method and await check():
                    return


@asynccontextmanager
async def listening(cell: Cell, uri: str | None = None) -> AsyncGenerator[tuple[Client, Told]]:
    """A client that hears of changes in the manner of its era; `uri` is subscribed to."""
    told = Told()
    async with cell.client(message_handler=None if cell.stateless else told.message) as client:
        if not cell.stateless:
            if uri:
                await client.subscribe_resource(uri)  # pyright: ignore[reportDeprecated]
            yield client, told
            return
        async with (
            client.listen(
                tools_list_changed=True,
                prompts_list_changed=True,
                resources_list_changed=True,
                resource_subscriptions=(uri,) if uri else (),
            ) as subscription,
            anyio.create_task_group() as group,
        ):

            async def pump() -> None:
                async for event in subscription:
                    await told.event(event)

            group.start_soon(pump)
            yield client, told
            group.cancel_scope.cancel()


@journey("list-changed")
async def test_a_change_of_tools_is_told_and_listed(cell: Cell) -> None:
    local = f"added_{fresh_key()}"
    async with listening(cell) as (client, told):

        async def has(present: bool) -> bool:
            return (cell.name(local) in await all_tools(client)) is present

        method = "notifications/tools/list_changed"
        await client.call_tool(cell.name("change_tools"), {"action": "add", "name": local})
        await told.until(method, lambda: has(True))
        assert text_of(await client.call_tool(cell.name(local), {})) == "dynamic"
        await client.call_tool(cell.name("change_tools"), {"action": "remove", "name": local})
        await told.until(method, lambda: has(False))


@journey("prompts-and-resources-changed")
async def test_changes_of_prompts_and_resources_are_told_and_listed(cell: Cell) -> None:
    local = f"added-{fresh_key()}"
    async with listening(cell) as (client, told):

        async def has_prompt(present: bool) -> bool:
            names = {prompt.name for prompt in (await client.list_prompts()).prompts}
            return (cell.name(local) in names) is present

        async def has_resource(present: bool) -> bool:
            uris = {resource.uri for resource in (await client.list_resources()).resources}
            return (f"test://{local}" in uris) is present

        await client.call_tool(cell.name("change_prompts"), {"action": "add", "name": local})
        await told.until("notifications/prompts/list_changed", lambda: has_prompt(True))
        await client.call_tool(cell.name("change_resources"), {"action": "add", "name": local})
        await told.until("notifications/resources/list_changed", lambda: has_resource(True))
        await client.call_tool(cell.name("change_prompts"), {"action": "remove", "name": local})
        await told.until("notifications/prompts/list_changed", lambda: has_prompt(False))
        await client.call_tool(cell.name("change_resources"), {"action": "remove", "name": local})
        await told.until("notifications/resources/list_changed", lambda: has_resource(False))


@journey("resource-updated")
async def test_an_update_of_a_resource_is_told(cell: Cell) -> None:
    uri = f"test://only-{cell.upstream}"

    async def yes() -> bool:
        return True

    async with listening(cell, uri) as (client, told):
        await client.call_tool(cell.name("touch_resource"), {"uri": uri})
        await told.until("notifications/resources/updated", yes)
