"""An HTTP server that speaks as much of the Gemini API as the SDK needs: `models/NAME:generateContent`, `models/NAME`.

It takes the key `KEY`, answers from `replies` in turn, and when those are used up with what `answer` makes of the data
it was asked about. Runs in a thread with a loop of its own, so that it is a peer and not a part of what is tested.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

KEY = "stand-in-key-7f3a9c"


class Reply(NamedTuple):
    """`body` is JSON for a dict, else sent as it is. `never` holds the connection open and says nothing."""

    status: int = 200
    body: dict[str, Any] | str = ""
    never: bool = False


NEVER = Reply(never=True)


def text_reply(text: str) -> Reply:
    return Reply(
        body={"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finishReason": "STOP"}]}
    )


def json_reply(value: Any) -> Reply:
    return text_reply(json.dumps(value))


def error_reply(code: int, status: str, message: str, *details: dict[str, Any]) -> Reply:
    return Reply(code, {"error": {"code": code, "status": status, "message": message, "details": list(details)}})


def all_as(category: str) -> Callable[[dict[str, Any]], Any]:
    """Puts every item it is asked about into `category`."""
    return lambda data: {
        "items": [{"index": item["index"], "category": category, "confidence": 0.9} for item in data["items"]]
    }


class GeminiStandIn:
    def __init__(self, url: str) -> None:
        self.url = url
        self.replies: list[Reply] = []
        self.answer: Callable[[dict[str, Any]], Any] = all_as("web")
        self.requests: list[dict[str, Any]] = []
        self.checks: list[str] = []
        self.asked = threading.Event()
        self.checked = threading.Event()
        self.hung_up = threading.Event()

    @property
    def asked_names(self) -> list[str]:
        """The names of all items in all questions, in the order in which they came."""
        return [item["name"] for request in self.requests for item in self.data_of(request)["items"]]

    @staticmethod
    def data_of(request: dict[str, Any]) -> dict[str, Any]:
        return json.loads(request["contents"][0]["parts"][0]["text"])

    async def respond(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(body)
        self.asked.set()
        if request.headers.get("x-goog-api-key") != KEY:
            refusal = error_reply(401, "UNAUTHENTICATED", f"bad key {request.headers.get('x-goog-api-key')}")
            return _response(refusal)
        reply = self.replies.pop(0) if self.replies else json_reply(self.answer(self.data_of(body)))
        if reply.never:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            self.hung_up.set()
        return _response(reply)

    async def check(self, request: Request) -> Response:
        """A model's description: what a key is checked with."""
        self.checks.append(request.path_params["call"])
        self.checked.set()
        if request.headers.get("x-goog-api-key") != KEY:
            return _response(error_reply(401, "UNAUTHENTICATED", "bad key"))
        return JSONResponse({"name": f"models/{request.path_params['call']}"})


def _response(reply: Reply) -> Response:
    if isinstance(reply.body, dict):
        return JSONResponse(reply.body, reply.status)
    return Response(reply.body, reply.status, media_type="text/html")


def _routes(stand_in: GeminiStandIn) -> list[Route]:
    path = "/{version}/models/{call}"
    return [Route(path, stand_in.respond, methods=["POST"]), Route(path, stand_in.check, methods=["GET"])]


@contextmanager
def gemini_stand_in() -> Iterator[GeminiStandIn]:
    listening = socket.create_server(("127.0.0.1", 0))
    stand_in = GeminiStandIn(f"http://127.0.0.1:{listening.getsockname()[1]}")
    app = Starlette(routes=_routes(stand_in))
    config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
