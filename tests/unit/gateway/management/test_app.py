"""Errors are JSON, whatever went wrong."""

from __future__ import annotations

import msgspec
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hub_gateway.management.app import management_app
from hub_gateway.management.gone import INSTEAD
from tests.unit.gateway.management.asgi import Answer, ask
from tests.unit.gateway.management.house import BODY_LIMIT_BYTES, House

pytestmark = pytest.mark.anyio


def told(answer: Answer, status: int, code: str) -> str:
    """The error's text, after the shape of the answer is checked."""
    body = answer.json()
    assert (answer.status, body["code"]) == (status, code), body
    assert set(body) <= {"error", "code", "data", "timestamp"}
    assert body["timestamp"].endswith("Z")
    return body["error"]


@pytest.mark.parametrize("path", ["/api", "/api/nothing", "/api/servers/", "/", "/api/servers/nothing", "/health"])
async def test_unknown_path(house: House, path: str) -> None:
    told(await house.get(path), 404, "NOT_FOUND")


@pytest.mark.parametrize("path", INSTEAD)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_route_that_is_no_more_says_what_does_its_work(house: House, path: str, method: str) -> None:
    assert INSTEAD[path] in told(await ask(house.app(), method, path), 410, "GONE")


async def test_wrong_method(house: House) -> None:
    answer = await ask(house.app(), "DELETE", "/api/servers")
    told(answer, 405, "METHOD_NOT_ALLOWED")
    assert "GET" in answer.headers["allow"]


@pytest.mark.parametrize("body", [b"{", b"nonsense", b'{"server_name":"raw"', b"\xff\xfe", b"[" * 2000])
async def test_body_that_is_no_json(house: House, body: bytes) -> None:
    told(await ask(house.app(), "POST", "/api/servers/info", body), 400, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    ("body", "word"), [(None, "server_name"), ({}, "server_name"), ({"server_name": 1}, "server_name"), ([], "object")]
)
async def test_body_of_another_shape(house: House, body: object, word: str) -> None:
    assert word in told(await house.post("/api/servers/info", body), 400, "VALIDATION_ERROR")


@pytest.mark.parametrize("pieces", [1, 5])
async def test_body_over_the_limit(house: House, pieces: int) -> None:
    body = {"server_name": "x" * BODY_LIMIT_BYTES}
    told(await ask(house.app(), "POST", "/api/servers/info", body, pieces=pieces), 413, "PAYLOAD_TOO_LARGE")


async def test_length_over_the_limit_is_refused_unread(house: House) -> None:
    answer = await ask(house.app(), "POST", "/api/servers/info", b"{}", {"content-length": "99999999"})
    told(answer, 413, "PAYLOAD_TOO_LARGE")


async def test_body_of_another_type(house: House) -> None:
    headers = {"content-type": "text/plain"}
    answer = await ask(house.app(), "POST", "/api/servers/start", {"server_name": "off"}, headers)
    told(answer, 415, "UNSUPPORTED_MEDIA_TYPE")
    assert house.deps.fleet.get("off").status.state == "stopped"


async def test_what_nobody_expected(house: House, caplog: pytest.LogCaptureFixture) -> None:
    app = management_app(house.deps)

    async def stumble(_request: Request) -> Response:
        raise ZeroDivisionError("secret inside")

    app.router.routes.append(Route("/api/stumble", stumble))
    answer = await ask(app, "GET", "/api/stumble")
    told(answer, 500, "UNEXPECTED_ERROR")
    assert b"secret inside" not in answer.body
    assert b"Traceback" not in answer.body
    assert "secret inside" in caplog.text


async def test_answers_are_not_kept(house: House) -> None:
    answer = await house.get("/api/servers")
    assert answer.headers["cache-control"] == "no-store"
    assert msgspec.json.decode(answer.body)
