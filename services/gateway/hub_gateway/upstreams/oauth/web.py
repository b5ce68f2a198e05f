"""Small documents over HTTP, fetched and sent for the sake of OAuth.

Owns their limits and which addresses may be asked. Knows no OAuth. What carries them is what carries calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import msgspec

from hub_gateway.config.server_model import ConnectionPool
from hub_gateway.errors import UpstreamError, UpstreamUnauthorized
from hub_gateway.upstreams.transports.address import Address, encode_headers, parse, request_head
from hub_gateway.upstreams.transports.pool import Pool

T = TypeVar("T")

TIMEOUT_S = 10.0
_LIMIT_BYTES = 1_048_576
_REDIRECTS = (301, 302, 303, 307, 308)
_MAX_REDIRECTS = 3
_OWN = {"Accept": "application/json", "User-Agent": "mcp-hub"}


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: bytes

    def decoded(self, shape: type[T]) -> T | None:
        """The body as this shape, or None where it is something else."""
        try:
            return msgspec.json.decode(self.body, type=shape, strict=False)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None


class Web:
    """Asks for documents on behalf of one upstream.

    Args:
        plain: whether unencrypted addresses may be asked. Where the upstream itself is reached over https they may not:
            it must not send the hub's secrets in the clear, nor the hub to addresses inside its own network.
    """

    def __init__(self, plain: bool) -> None:
        self._plain = plain

    async def get(self, url: str) -> Answer:
        """Fetch a document, over a few redirects.

        Raises:
            UpstreamUnauthorized: the address may not be asked, or does not answer.
        """
        address = self.checked(url)
        for _ in range(_MAX_REDIRECTS):
            answer, location = await self._ask("GET", address, _OWN, None)
            if answer.status not in _REDIRECTS or location is None:
                return answer
            address = self.checked(_joined(address, location))
        raise UpstreamUnauthorized(f"{address.origin} redirects in a circle")

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send a document. A redirect is not followed: the body may hold secrets.

        Raises:
            UpstreamUnauthorized: the address may not be asked, or does not answer.
        """
        return (await self._ask("POST", self.checked(url), {**_OWN, **headers}, body))[0]

    def checked(self, url: str) -> Address:
        """The address of a URL that may be asked.

        Raises:
            UpstreamUnauthorized: it is none, or may not be asked.
        """
        try:
            address = parse(url)
        except UpstreamError as fault:
            raise UpstreamUnauthorized("its authorization names an address that is no http or https URL") from fault
        if not address.tls and not self._plain:
            raise UpstreamUnauthorized(f"its authorization leads to {address.origin}, which is not encrypted")
        return address

    async def _ask(
        self, verb: str, address: Address, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[Answer, str | None]:
        pool = Pool(address, ConnectionPool(enabled=False))
        try:
            async with asyncio.timeout(TIMEOUT_S):
                response = await pool.exchange(request_head(verb, address, encode_headers(headers)), body)
        except TimeoutError as fault:
            raise UpstreamUnauthorized(f"{address.origin} does not answer") from fault
        except UpstreamError as fault:
            raise UpstreamUnauthorized(f"{address.origin} cannot be asked: {fault}") from fault
        finally:
            await pool.close()
        if len(response.body) > _LIMIT_BYTES:
            raise UpstreamUnauthorized(f"{address.origin} answers with more than {_LIMIT_BYTES} bytes")
        return Answer(response.status, response.body), response.header(b"location")


def _joined(address: Address, location: str) -> str:
    try:
        joined = address.joined(location)
    except UpstreamError as fault:
        raise UpstreamUnauthorized(f"{address.origin} redirects to what is no http or https URL") from fault
    return joined.origin + joined.target
