"""Writes of one round of the loop go out together, in their order."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from hub_gateway.outgoing import JOINED_BYTES, Outgoing

pytestmark = pytest.mark.anyio


class _Pair(NamedTuple):
    near: asyncio.WriteTransport
    far: socket.socket

    async def received(self, size: int) -> bytes:
        got = b""
        while len(got) < size:
            got += await asyncio.get_running_loop().sock_recv(self.far, size - len(got))
        return got

    def silent(self) -> bool:
        try:
            return not self.far.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True


@asynccontextmanager
async def _pair() -> AsyncGenerator[_Pair]:
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
    try:
        yield _Pair(transport, far)
    finally:
        transport.close()
        far.close()


async def test_what_one_round_writes_goes_out_at_its_end_and_in_its_order() -> None:
    outgoing = Outgoing()
    async with _pair() as one, _pair() as other:
        outgoing.write(one.near, b"a")
        outgoing.write(other.near, b"x")
        outgoing.write(one.near, b"b")
        assert one.silent() and other.silent()
        assert (await one.received(2), await other.received(1)) == (b"ab", b"x")
        outgoing.write(one.near, b"c")  # a round later
        assert await one.received(1) == b"c"


async def test_who_flushes_may_write_behind_it() -> None:
    outgoing = Outgoing()
    async with _pair() as pair:
        outgoing.write(pair.near, b"a")
        outgoing.flush()
        pair.near.write(b"b")
        outgoing.write(pair.near, b"c")
        assert await pair.received(3) == b"abc"


async def test_long_writes_are_not_joined_and_keep_their_order() -> None:
    outgoing = Outgoing()
    parts = [b"%d" % n * size for n, size in enumerate((10, JOINED_BYTES, JOINED_BYTES - 5, 10, 10))]
    async with _pair() as pair:
        for part in parts:
            outgoing.write(pair.near, part)
        assert await pair.received(sum(map(len, parts))) == b"".join(parts)


async def test_what_is_closed_meanwhile_gets_nothing() -> None:
    outgoing = Outgoing()
    async with _pair() as closed, _pair() as open_:
        outgoing.write(closed.near, b"a")
        outgoing.write(open_.near, b"b")
        closed.near.abort()
        assert await open_.received(1) == b"b"
