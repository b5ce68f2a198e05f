"""A test server whose tools run as tasks of the `io.modelcontextprotocol/tasks` extension (2026-07-28), over HTTP.

Owns the tasks, their states and what the conformance suite's `tasks-*` scenarios ask for by name. No SDK is involved.
`python -m tests.support.tasks_server --port 0` prints its URL as the first line.
"""

import argparse
import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.serving import serve_http

EXTENSION: Final = "io.modelcontextprotocol/tasks"
CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
NEEDED: Final = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
COMPLETE: Final = {"resultType": "complete"}
CACHED: Final = {**COMPLETE, "ttlMs": 0, "cacheScope": "private"}
FAST_S: Final = 0.2
FORM: Final = {
    "method": "elicitation/create",
    "params": {
        "mode": "form",
        "message": "Go on?",
        "requestedSchema": {"type": "object", "properties": {"confirm": {"type": "boolean"}}},
    },
}

Params = dict[str, Any]


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, code: int, message: str, data: object = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, **({"data": data} if data is not None else {})}


def _text(text: str, **more: Any) -> Params:
    return {"content": [{"type": "text", "text": text}], **more}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Task:
    """One task; its work runs beside the requests."""

    id: str
    created: str = field(default_factory=_now)
    updated: str = field(default_factory=_now)
    status: str = "working"
    outcome: Params = field(default_factory=dict[str, Any])
    asked: dict[str, asyncio.Future[Params]] = field(default_factory=dict[str, asyncio.Future[Params]])
    work: asyncio.Task[None] | None = None

    def move(self, status: str, **outcome: Any) -> None:
        """Go on to another state; the last one stands."""
        if self.status not in ("completed", "failed", "cancelled"):
            self.status, self.outcome, self.updated = status, outcome, _now()

    def brief(self) -> Params:
        """What the answer that makes a task says of it."""
        times = {"createdAt": self.created, "lastUpdatedAt": self.updated, "ttlMs": 60_000, "pollIntervalMs": 200}
        return {"taskId": self.id, "status": self.status, **times}

    def detail(self) -> Params:
        """What `tasks/get` says of it."""
        asked = {"inputRequests": dict.fromkeys(self.asked, FORM)} if self.status == "input_required" else {}
        return {**COMPLETE, **self.brief(), **self.outcome, **asked}

    async def ask(self, *keys: str) -> list[Params]:
        """Ask for these inputs at once and wait for all of them."""
        loop = asyncio.get_running_loop()
        waiting = {key: loop.create_future() for key in keys}
        self.asked = dict(waiting)
        self.move("input_required")
        answers = await asyncio.gather(*waiting.values())
        self.move("working")
        return answers


async def slow_compute(_task: Task, arguments: Params) -> Params:
    """Sleep for so many `seconds`."""
    await asyncio.sleep(float(arguments.get("seconds", 0)))
    return _text(f"computed {arguments.get('label', '')}")


async def failing_job(_task: Task, _arguments: Params) -> Params:
    """Fail as a tool does."""
    await asyncio.sleep(FAST_S)
    return _text("it failed", isError=True)


async def protocol_error_job(_task: Task, _arguments: Params) -> Params:
    """Fail as a server does."""
    await asyncio.sleep(FAST_S)
    raise Refused(-32603, "it broke")


async def confirm_delete(task: Task, arguments: Params) -> Params:
    """Ask once."""
    (answer,) = await task.ask("confirm")
    return _text(f"{arguments.get('filename')}: {answer.get('action')}")


async def multi_input(task: Task, _arguments: Params) -> Params:
    """Ask for two things at once."""
    answers = await task.ask("first", "second")
    return _text(", ".join(str(answer.get("action")) for answer in answers))


async def named(_task: Task, arguments: Params) -> Params:
    """Say the name that was asked for before the task was made."""
    await asyncio.sleep(FAST_S)
    return _text(f"Hello, {arguments['user_name']}!")


Work = Callable[[Task, Params], Awaitable[Params]]
TASKS: Final[dict[str, Work]] = {
    work.__name__: work for work in (slow_compute, failing_job, protocol_error_job, confirm_delete, multi_input)
}
NAMES: Final = ("greet", "test_tool_with_task", *TASKS)


class Server:
    """Answers requests; remembers tasks."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}
        self._ids = itertools.count(1)

    async def answer(self, method: str, params: Params) -> Params:
        """The result of one request.

        Raises:
            Refused: with the error it is answered with.
        """
        if method == "server/discover":
            offered = {"tools": {}, "extensions": {EXTENSION: {}}}
            return {**CACHED, "supportedVersions": ["2026-07-28"], "capabilities": offered}
        if method == "tools/list":
            return {**CACHED, "tools": [{"name": name, "inputSchema": {"type": "object"}} for name in NAMES]}
        if method == "tools/call":
            return await self._called(params)
        if not method.startswith("tasks/") or method in ("tasks/list", "tasks/result"):
            raise Refused(-32601, "Method not found")
        if not _capable(params):
            raise Refused(-32021, "Missing required client capability", NEEDED)
        task = self._tasks.get(str(params.get("taskId")))
        if task is None:
            raise Refused(-32602, "Unknown task")
        if method == "tasks/get":
            return task.detail()
        if method == "tasks/update":
            for key, response in params.get("inputResponses", {}).items():
                if (waiting := task.asked.pop(key, None)) is not None:
                    waiting.set_result(response)
            return COMPLETE
        task.move("cancelled")
        if task.work is not None:
            task.work.cancel()
        return COMPLETE

    async def _called(self, params: Params) -> Params:
        name, arguments = params.get("name"), params.get("arguments") or {}
        if name == "greet":
            return {**COMPLETE, **_text(f"Hello, {arguments.get('name')}!")}
        if name == "test_tool_with_task":
            answer = params.get("inputResponses", {}).get("user_name")
            if answer is None:
                return {"resultType": "input_required", "inputRequests": {"user_name": FORM}}
            return self._made(named, {"user_name": answer["content"]["name"]})
        if (work := TASKS.get(str(name))) is None:
            raise Refused(-32602, f"Unknown tool: {name}")
        if _capable(params):
            return self._made(work, arguments)
        if name == "failing_job":
            raise Refused(-32021, "Missing required client capability", NEEDED)
        return {**COMPLETE, **await work(Task(""), arguments)}

    def _made(self, work: Work, arguments: Params) -> Params:
        task = Task(f"task-{next(self._ids)}")
        self._tasks[task.id] = task
        task.work = asyncio.ensure_future(_run(task, work, arguments))
        return {"resultType": "task", **task.brief()}


async def _run(task: Task, work: Work, arguments: Params) -> None:
    try:
        task.move("completed", result=await work(task, arguments))
    except Refused as refused:
        task.move("failed", error=refused.error)


def _capable(params: Params) -> bool:
    return EXTENSION in params.get("_meta", {}).get(CAPABILITIES, {}).get("extensions", {})


def app() -> Starlette:
    """The application at /mcp."""
    server = Server()

    async def post(request: Request) -> Response:
        message = json.loads(await request.body())
        if "id" not in message:
            return Response(status_code=202)
        reply: Params = {"jsonrpc": "2.0", "id": message["id"]}
        try:
            return JSONResponse(
                {**reply, "result": await server.answer(message["method"], message.get("params") or {})}
            )
        except Refused as refused:
            return JSONResponse({**reply, "error": refused.error}, 404 if refused.error["code"] == -32601 else 200)

    return Starlette(routes=[Route("/mcp", post, methods=["POST"])])


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--until-eof", action="store_true", help="end when standard input ends")
    arguments = parser.parse_args()
    serve_http(app(), "/mcp", arguments.port, until_eof=arguments.until_eof)


if __name__ == "__main__":
    main()
