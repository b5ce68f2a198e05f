"""A question to the REST interface of a running hub: its answer, or a sentence for people about why there is none."""

from __future__ import annotations

import http.client
import json
from typing import Any, cast
from urllib.error import HTTPError
from urllib.request import Request, urlopen

TIMEOUT_S = 20.0


class Unanswered(Exception):
    """The sentence to print. `is_refused` where the hub answered and what it was given cannot be used."""

    def __init__(self, sentence: str, *, is_refused: bool = False) -> None:
        super().__init__(sentence)
        self.is_refused = is_refused


def ask(url: str, path: str, body: object = None) -> dict[str, Any]:
    """GET, or POST with a body, and return the decoded answer.

    Raises:
        Unanswered: no hub is there, or it refuses.
    """
    sent = None if body is None else json.dumps(body).encode()
    try:
        request = Request(f"{url.rstrip('/')}{path}", sent, {"Content-Type": "application/json"} if sent else {})
        with urlopen(request, timeout=TIMEOUT_S) as answer:
            return _decoded(answer.read(), url)
    except HTTPError as refused:
        with refused:
            raise _refusal(_decoded(refused.read(), url)) from None
    except (OSError, ValueError, http.client.HTTPException) as fault:
        raise Unanswered(f"No hub answers at {url}: {getattr(fault, 'reason', fault)}") from fault


def _decoded(told: bytes, url: str) -> dict[str, Any]:
    try:
        found = json.loads(told)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unanswered(f"What answers at {url} is no hub")
    return cast("dict[str, Any]", found)


def _refusal(said: dict[str, Any]) -> Unanswered:
    data: dict[str, Any] = said.get("data") or {}
    if faults := data.get("faults"):
        return Unanswered("\n".join(faults), is_refused=True)
    near = data.get("nearest") or data.get("views") or ()
    return Unanswered(str(said.get("error")) + (f"; there are {', '.join(near)}" if near else ""))
