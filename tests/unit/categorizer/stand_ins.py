"""An HTTP server that speaks as much of each provider's API as its SDK needs, in one vocabulary for all three.

It takes the key `KEY` for questions and for the check of a key. Questions are answered from `replies` in turn, and when
those are used up with what `answer` makes of the data it was asked about. Runs in a thread with a loop of its own.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hub_categorizer.settings import Settings
from tests.unit.categorizer.gemini_stand_in import KEY, all_as

Provider = Literal["gemini", "openai", "anthropic"]
PROVIDERS: tuple[Provider, ...] = ("gemini", "openai", "anthropic")

_WAITING = ThreadPoolExecutor(64)
"""For questions that wait until the model is ready."""

_GEMINI_STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}


class Say(NamedTuple):
    """A text as the model's answer."""

    text: str


class Fail(NamedTuple):
    """A refusal in the provider's own form."""

    status: int
    message: str = "no"
    headers: Mapping[str, str] = MappingProxyType({})
    code: str = "some_code"


class Raw(NamedTuple):
    """Bytes with status 200 that are no answer of the API."""

    body: str


class Never(NamedTuple):
    """The connection stays open and nothing comes."""


Reply = Say | Fail | Raw | Never


class StandIn:
    def __init__(self, provider: Provider, url: str) -> None:
        self.provider: Provider = provider
        self.url = url
        self.replies: list[Reply] = []
        self.check_replies: list[Reply] = []
        self.answer: Callable[[dict[str, Any]], Any] = all_as("web")
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.checks: list[str] = []
        self.asked = threading.Event()
        self.ready = threading.Event()
        """Cleared, it says nothing of tools until it is set again."""
        self.ready.set()
        self.hung_up = threading.Event()

    def settings(self, **changes: Any) -> Settings:
        """Settings with this as the provider, and pauses that a test can wait for."""
        defaults: dict[str, Any] = {
            "provider": self.provider,
            "llm_api_key": KEY,
            "llm_base_url": f"{self.url}/v1" if self.provider == "openai" else self.url,
            "llm_backoff_s": 0.001,
            "llm_max_backoff_s": 0.01,
            "llm_starts_per_s": 1000.0,
        }
        return Settings(**(defaults | changes))

    def data(self, place: int = -1) -> dict[str, Any]:
        """The data of a question that was asked."""
        return json.loads(self._parts(self.requests[place])[1])

    def system(self, place: int = -1) -> str:
        """What the model was told in a question that was asked."""
        return self._parts(self.requests[place])[0]

    def schema(self, place: int = -1) -> dict[str, Any]:
        """The schema the answer was to fit."""
        request = self.requests[place]
        if self.provider == "gemini":
            return request["generationConfig"]["responseJsonSchema"]
        if self.provider == "openai":
            return request["response_format"]["json_schema"]["schema"]
        return request["output_config"]["format"]["schema"]

    def _parts(self, request: dict[str, Any]) -> tuple[str, str]:
        if self.provider == "gemini":
            return request["systemInstruction"]["parts"][0]["text"], request["contents"][0]["parts"][0]["text"]
        if self.provider == "openai":
            return request["messages"][0]["content"], request["messages"][1]["content"]
        return request["system"], request["messages"][0]["content"]

    async def respond(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        self.asked.set()
        if not _has_key(request):
            return self._response(Fail(401, f"bad key {_key(request)}"))
        place = len(self.requests) - 1
        if not self.ready.is_set() and "prompt" not in self.data(place):
            await asyncio.get_running_loop().run_in_executor(_WAITING, self.ready.wait)
        reply = self.replies.pop(0) if self.replies else Say(json.dumps(self.answer(self.data(place))))
        if isinstance(reply, Never):
            await self._until_gone(request)
        return self._response(reply)

    async def check(self, request: Request) -> Response:
        self.checks.append(request.path_params["model"])
        if not _has_key(request):
            return self._response(Fail(401, "bad key"))
        reply = self.check_replies.pop(0) if self.check_replies else None
        if isinstance(reply, Never):
            await self._until_gone(request)
        if reply is not None:
            return self._response(reply)
        model = request.path_params["model"]
        return JSONResponse({"id": model, "name": f"models/{model}", "object": "model", "type": "model"})

    async def _until_gone(self, request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self.hung_up.set()

    def _response(self, reply: Reply) -> Response:
        if isinstance(reply, Say):
            return JSONResponse(self._message(reply.text))
        if isinstance(reply, Fail):
            return JSONResponse(self._error(reply), reply.status, dict(reply.headers))
        return Response(reply.body if isinstance(reply, Raw) else "", media_type="application/json")

    def _message(self, text: str) -> dict[str, Any]:
        if self.provider == "gemini":
            parts = {"role": "model", "parts": [{"text": text}]}
            return {"candidates": [{"content": parts, "finishReason": "STOP"}]}
        if self.provider == "openai":
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        content = [{"type": "text", "text": text}]
        usage = {"input_tokens": 1, "output_tokens": 1}
        return {
            "id": "m",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": content,
            "stop_reason": "end_turn",
            "usage": usage,
        }

    def _error(self, fail: Fail) -> dict[str, Any]:
        if self.provider == "gemini":
            status = _GEMINI_STATUS.get(fail.status, "UNAVAILABLE")
            return {"error": {"code": fail.status, "status": status, "message": fail.message}}
        if self.provider == "openai":
            return {"error": {"message": fail.message, "type": "some_error", "code": fail.code, "param": None}}
        return {"type": "error", "error": {"type": "some_error", "message": fail.message}}


def _key(request: Request) -> str:
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    return request.headers.get("x-goog-api-key") or request.headers.get("x-api-key") or bearer


def _has_key(request: Request) -> bool:
    return _key(request) == KEY


@contextmanager
def stand_in(provider: Provider) -> Iterator[StandIn]:
    listening = socket.create_server(("127.0.0.1", 0))
    served = StandIn(provider, f"http://127.0.0.1:{listening.getsockname()[1]}")
    asking = {
        "gemini": "/{version}/models/{call}",
        "openai": "/v1/chat/completions",
        "anthropic": "/v1/messages",
    }
    base = "/{version}" if provider == "gemini" else "/v1"
    app = Starlette(
        routes=[
            Route(asking[provider], served.respond, methods=["POST"]),
            Route(f"{base}/models/{{model}}", served.check, methods=["GET"]),
        ]
    )
    config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
