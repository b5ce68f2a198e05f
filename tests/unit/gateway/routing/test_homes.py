"""Where a session's own connection is, when sessions end at awkward moments."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hub_common.bus import LocalBus
from hub_common.store_embedded import EmbeddedStore
from hub_common.tasks import Tasks
from hub_gateway.errors import UpstreamBusy
from hub_gateway.routing.exchange import Bound, Exchange, Response
from hub_gateway.routing.homes import SPACE, Homes
from hub_gateway.satellites.peers import Peers
from hub_gateway.sessions.archive import Archive
from hub_gateway.sessions.registry import Sessions
from hub_gateway.sessions.session import Session
from hub_gateway.upstreams.fleet import Fleet
from hub_gateway.upstreams.supervisor import Supervisor
from hub_gateway.wire import rewrite
from hub_gateway.wire.message import Message
from hub_gateway.wire.meta import Caller
from hub_gateway.wire.revisions import Era
from tests.support.waiting import until
from tests.unit.gateway.upstreams.everything import CONTEXT

pytestmark = pytest.mark.anyio


class _Slow(EmbeddedStore):
    """A store that answers when it is let."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.reading, self.answer = asyncio.Event(), asyncio.Event()

    async def get_many(self, space: str, keys: Iterable[str]) -> dict[str, bytes]:
        found = await super().get_many(space, keys)
        if not self.answer.is_set() and len(found) > 1:
            self.reading.set()
            await self.answer.wait()
        return found


async def _nobody(
    _exchange: Exchange, _replica: str, _bound: Bound | None, _params: rewrite.Members | None
) -> Response:
    raise AssertionError("there is no other replica")


async def test_a_session_may_end_while_it_is_looked_up_whether_its_home_has_moved(tmp_path: Path) -> None:
    store = _Slow(tmp_path)
    fleet = Fleet(CONTEXT, lambda name: None, lambda name, message: None)

    def ended(session: Session) -> None:
        homes.forget(session)

    sessions = Sessions(10, 60.0, time.monotonic, ended)
    homes = Homes(Peers(LocalBus(tmp_path), store, time.monotonic), _nobody, sessions, fleet, store, 60.0)
    session = sessions.open("2025-11-25", Caller(), {})
    assert await homes.is_here(session.id, "a")
    await store.put(SPACE, f"{session.id}.a.1", b"another")
    keeping = asyncio.ensure_future(homes.keep())
    await asyncio.wait_for(store.reading.wait(), 10)
    sessions.close(session.id)
    store.answer.set()
    await keeping
    await fleet.close()
    await store.close()


class _Full(Fleet):
    """Servers that have no room for one more connection."""

    async def own(self, name: str, session_id: str) -> Supervisor:
        raise UpstreamBusy(f"{name}: no room for {session_id}")


async def test_a_home_without_room_is_given_up_for_whoever_is_called_next(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        store = EmbeddedStore(tmp_path)
        stack.push_async_callback(store.close)

        async def replica() -> tuple[Peers, Archive, Sessions, Homes]:
            tasks, archive = Tasks("replica"), Archive(store, 60.0)
            peers = Peers(LocalBus(tmp_path), store, time.monotonic)
            fleet = _Full(CONTEXT, lambda name: None, lambda name, message: None)
            sessions = Sessions(10, 60.0, time.monotonic, lambda _: None, archive)
            homes = Homes(peers, _nobody, sessions, fleet, store, 60.0)
            homes.serve(lambda session, name: None)
            tasks.spawn(peers.run(), "peers")
            for close in (peers.close, fleet.close, tasks.close):
                stack.push_async_callback(close)
            return peers, archive, sessions, homes

        (one_peers, archive, here, one), (other_peers, _, there, other) = await replica(), await replica()

        async def have_met() -> bool:
            return not (one_peers.alone or other_peers.alone)

        await until(have_met, bool, 10.0, "they know each other")
        session = here.open("2025-11-25", Caller(), {})
        archive.note(session)
        await archive.flush()
        assert await there.recall(session.id) is not None
        assert await one.is_here(session.id, "a")
        assert not await other.is_here(session.id, "a")
        with pytest.raises(UpstreamBusy):
            await one.own(
                Exchange(
                    Message(method="tools/call"), era=Era.HANDSHAKE, caller=Caller(), session=session, outlet=None
                ),
                Bound("a"),
                {},
            )

        async def is_there() -> bool:
            return await other.is_here(session.id, "a")

        await until(is_there, bool, 10.0, "the other is the home")
        assert not await one.is_here(session.id, "a")
