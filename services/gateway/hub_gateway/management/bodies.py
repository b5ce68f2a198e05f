"""JSON bodies of the REST interface: how they are read, checked and written.

Owns the limits of a request's body and the sentences about what is wrong with it. Does not know any route.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from hub_gateway.errors import CallerError, TooLarge

T = TypeVar("T", bound=msgspec.Struct)

Endpoint = Callable[[Request], Awaitable[Response]]

_encoder = msgspec.json.Encoder()


class UnsupportedMediaType(CallerError):
    """The body says that it is no JSON. Refused unread: web pages of others can only send such bodies unasked."""

    http_status = 415
    rest_code = "UNSUPPORTED_MEDIA_TYPE"


def iso(unix_s: float) -> str:
    """A time as RFC 3339 text in UTC with milliseconds."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer that nobody keeps. A `msgspec.Raw` anywhere in the body is copied byte for byte."""
    kept = {"cache-control": "no-store", **(headers or {})}
    return Response(_encoder.encode(body), status_code=status, headers=kept, media_type="application/json")


async def read(request: Request, shape: type[T], limit_bytes: int) -> T:
    """Read the request's body as one JSON object of this shape; members the shape does not name are ignored.

    Raises:
        TooLarge: it is longer than the limit.
        UnsupportedMediaType: its type is given and is not JSON.
        CallerError: it is no JSON, or not of this shape; the text names the member.
    """
    body = await _read_bytes(request, limit_bytes)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if body and media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMediaType(f"The body must be application/json, not {media_type[:80] or 'of no type'}")
    try:
        return msgspec.json.decode(body or b"{}", type=shape)
    except msgspec.ValidationError as fault:
        raise CallerError(f"Invalid body: {_sentence(fault)}") from fault
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise CallerError(f"The body is no JSON: {fault}") from fault


async def _read_bytes(request: Request, limit_bytes: int) -> bytes:
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > limit_bytes:
        raise TooLarge(f"The body is {said} bytes long; the limit is {limit_bytes}")
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit_bytes:
            raise TooLarge(f"The body is longer than the limit of {limit_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def _sentence(fault: msgspec.ValidationError) -> str:
    """The fault with the member named as people write it: `$.mode` becomes `mode`."""
    return str(fault).replace("`$.", "`").replace("`$`", "the body")


def rate(part: int | None, whole: int | None) -> float | None:
    """A fraction from 0 to 1; None where there is nothing to divide by."""
    return None if part is None or not whole else round(part / whole, 4)
