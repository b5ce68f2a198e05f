"""Which view a request is for, and whether whoever sends it may have that view.

Owns the paths of views and the bearer tokens that open them. Knows nothing of what a view shows. Tokens are kept as
digests and compared in constant time; a refusal names no view that needs a token.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.types import Send

from hub_gateway.config.faults import did_you_mean
from hub_gateway.errors import CallerError
from hub_gateway.frontends.guards import Headers, send_body
from hub_gateway.frontends.posts import MCP_PATH, VIEWS_PATH
from hub_gateway.wire import codec
from hub_gateway.wire.errors import INVALID_REQUEST, error_object

_SCHEME = b"bearer "
_NAME_DIGITS = 32


class Denied(CallerError):
    """The request does not get the view it asks for. `challenge` is the `WWW-Authenticate` header of a 401."""

    code = INVALID_REQUEST

    def __init__(self, status: int, why: str, challenge: bytes = b"", data: dict[str, Any] | None = None) -> None:
        super().__init__(why, data)
        self.status = status
        self.challenge = challenge


class Lock(NamedTuple):
    """The tokens of one view. Without any it opens for nobody; a view that needs none has no lock."""

    digests: tuple[bytes, ...]


def lock(tokens: tuple[str, ...]) -> Lock:
    """Make a lock of tokens, which are not kept. They may be any bytes of the environment (`os.fsdecode`)."""
    return Lock(tuple(_digest(token.encode(errors="surrogateescape")) for token in tokens))


def is_shut(before: Lock | None, now: Lock | None) -> bool:
    """Whether somebody who had the view cannot have it any more."""
    return now is not None and (before is None or not set(before.digests) <= set(now.digests))


class Access:
    """The doors of the MCP endpoint."""

    def __init__(self) -> None:
        self._locks: dict[str, Lock | None] = {}
        self._locked = False

    def swap(self, locks: Mapping[str, Lock | None]) -> None:
        """Let there be these views, in this order; None is a view that needs no token."""
        self._locks = dict(locks)
        self._locked = any(each is not None for each in locks.values())

    def view_name(self, asked: str, headers: Headers) -> str:
        """The view a request gets that asks for `asked` by its URL, or by its token alone where that is "".

        Raises:
            Denied: there is no such view, or the token is missing or wrong.
        """
        if not asked and not self._locked:
            return ""  # what an Authorization header says is nobody's business here
        if asked:
            self._admit(asked, headers)
            return asked
        if b"authorization" not in headers:
            return ""
        token = _token(headers)
        opened = [name for name, lock in self._locks.items() if lock is not None and _opens(lock, token)]
        if not opened:
            raise _unauthorized(token)
        return opened[0]

    def credential(self, view_name: str, headers: Headers) -> str:
        """A name for the token with which a request got this view; "" where the view needs none. Nothing is learnt from
        it of the token."""
        if not self._locked or self._locks.get(view_name) is None:
            return ""
        return _digest(_digest(_token(headers))).hex()[:_NAME_DIGITS]

    def _admit(self, name: str, headers: Headers) -> None:
        if name not in self._locks:
            open_names = [each for each, lock in self._locks.items() if lock is None]
            raise Denied(
                404, f"There is no view {name[:64]!r}{did_you_mean(name[:64], open_names)}", data={"views": open_names}
            )
        lock = self._locks[name]
        if lock is not None and not _opens(lock, token := _token(headers)):
            raise _unauthorized(token)


def asked_view(path: str) -> str | None:
    """The view that a path of the MCP endpoint asks for, "" for none in particular; None where it is another path."""
    if path in (MCP_PATH, MCP_PATH + "/"):
        return ""
    # Without a name it is no path of the endpoint, and not the default view either.
    return path[len(VIEWS_PATH) :].removesuffix("/") or None if path.startswith(VIEWS_PATH) else None


async def deny(send: Send, denied: Denied) -> None:
    """Answer a request that was denied."""
    extra = [(b"www-authenticate", denied.challenge)] if denied.challenge else []
    body = codec.error(b"", error_object(INVALID_REQUEST, str(denied), denied.data))
    await send_body(send, denied.status, body, extra=extra)


def _unauthorized(token: bytes) -> Denied:
    """RFC 6750 §3: no error code where no token was sent."""
    if not token:
        return Denied(401, "This view needs a bearer token", b'Bearer realm="mcp-hub"')
    return Denied(401, "No view takes this token", b'Bearer realm="mcp-hub", error="invalid_token"')


def _token(headers: Headers) -> bytes:
    """The bearer token of a request; b"" where there is none."""
    said = headers.get(b"authorization", b"").strip()
    return said[len(_SCHEME) :].strip() if said[: len(_SCHEME)].lower() == _SCHEME else b""


def _opens(lock: Lock, token: bytes) -> bool:
    found = False
    digest = _digest(token)
    for each in lock.digests:  # to the end, whichever fits
        found |= hmac.compare_digest(each, digest)
    return found and bool(token)


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
