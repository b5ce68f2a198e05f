"""Sessions that outlive their process: what is kept comes back, and what ended stays ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_common.store import Store, StoreUnavailable
from hub_common.store_embedded import EmbeddedStore
from hub_common.store_redis import RedisStore
from hub_common.tasks import Tasks
from hub_gateway.exposure.audience import NOTHING, Opened
from hub_gateway.sessions import archive
from hub_gateway.sessions.archive import SPACE, Archive, kept, revived
from hub_gateway.sessions.registry import Sessions, SessionUnknown
from hub_gateway.sessions.session import LOG_LEVELS, Session
from hub_gateway.wire.meta import Caller
from tests.support import json_text
from tests.support.redis_server import RedisProcess, redis_process
from tests.support.waiting import until

pytestmark = pytest.mark.anyio
NAMES = st.frozensets(st.text(st.characters(codec="utf-8"), max_size=5), max_size=3)


@given(
    st.builds(
        Caller, json_text.objects.map(str.encode), json_text.objects.map(str.encode), st.sampled_from(LOG_LEVELS)
    ),
    st.none() | st.sampled_from(LOG_LEVELS),
    st.none() | st.builds(Opened, st.booleans(), st.booleans(), NAMES, NAMES, NAMES),
    NAMES,
)
def test_what_is_kept_comes_back(
    caller: Caller, level: str | None, opened: Opened | None, uris: frozenset[str]
) -> None:
    session = Session("id", "2025-06-18", caller, {})
    session.log_level, session.opened, session.subscribed = level, opened, set(uris)
    again = revived("id", kept(session))
    assert (again.id, again.revision, again.caller) == (session.id, session.revision, session.caller)
    assert (again.log_level, again.opened, again.subscribed) == (level, opened, set(uris))
    assert again.standing.stream_id != session.standing.stream_id, "old event ids must not pass for new ones"


class Replica:
    """One process's sessions over the store that all share."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.archive = Archive(self.store, 60.0)
        self.revived: list[Session] = []
        self.now_s = 0.0
        self.sessions = Sessions(2, 60.0, lambda: self.now_s, lambda _: None, self.archive, self.revived.append)
        self.tasks = Tasks("replica")
        self.tasks.spawn(self.archive.run(), "archive")

    async def open(self) -> Session:
        """A session that is kept."""
        session = self.sessions.open("2025-11-25", Caller(b'{"name":"x","n":1E5}', b'{"roots":{}}'), {"roots": {}})
        await self.sessions.commit(session)
        return session

    async def stop(self) -> None:
        """End the process in good order."""
        await self.tasks.close()
        await self.archive.flush()
        await self.store.close()


@pytest.fixture
async def replicas(tmp_path: Path) -> AsyncGenerator[tuple[Replica, Replica]]:
    both = Replica(EmbeddedStore(tmp_path / "state")), Replica(EmbeddedStore(tmp_path / "state"))
    yield both
    for replica in both:
        await replica.stop()


async def test_another_replica_goes_on_with_a_session(replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    session = await one.open()
    session.opened = NOTHING.adding(frozenset({"web"}), frozenset({"a__x"}))
    await one.sessions.changed(session)
    await one.archive.flush()
    again = await other.sessions.recall(session.id)
    assert again is not None
    assert (again.opened, again.caller, again.capabilities) == (session.opened, session.caller, {"roots": {}})
    assert other.revived == [again]
    assert await other.sessions.recall(session.id) is again
    assert other.sessions.find(session.id) is again


async def test_a_session_that_ended_stays_ended_everywhere(replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    session = await one.open()
    one.sessions.close(session.id)
    assert await one.sessions.recall(session.id) is None, "at once here"
    await one.archive.flush()
    assert await other.sessions.recall(session.id) is None
    assert await other.archive.news([session, Session("nobody's", "2025-11-25", Caller(), {})]) == [(session, None)]


async def test_what_another_replica_wrote_is_news_once(replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    session = await one.open()
    again = await other.sessions.recall(session.id)
    assert again is not None
    assert await other.archive.news([again]) == []
    session.set_log_level("error")
    assert await one.archive.news([session]) == []
    await one.sessions.changed(session)
    assert await one.archive.news([session]) == [], "it is its own"
    assert await other.archive.news([again]) == [(again, kept(session))]
    assert await other.archive.news([again]) == []


async def test_a_record_that_the_store_lost_is_written_again(replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    session = await one.open()
    await one.store.delete(SPACE, session.id)
    assert await one.archive.news([session]) == []
    await one.archive.flush()
    assert await other.sessions.recall(session.id) is not None


async def test_a_stopping_gateway_ends_no_session(replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    session = await one.open()
    one.sessions.close_all()
    await one.archive.flush()
    assert await other.sessions.recall(session.id) is not None


async def test_the_limit_holds_for_sessions_that_come_back_too(replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    session = await one.open()
    for _ in range(2):
        await other.open()
    with pytest.raises(SessionUnknown, match="limit of 2"):
        await other.sessions.recall(session.id)
    other.now_s = 61.0
    again = await other.sessions.recall(session.id)
    assert list(other.sessions) == [again], "those that were idle made room"


async def test_a_session_that_ends_with_its_stream_is_not_kept(replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    session = one.sessions.open("2024-11-05", Caller(), {})
    session.single_stream = True
    await one.sessions.changed(session)
    await one.archive.flush()
    assert await other.sessions.recall(session.id) is None


@pytest.mark.parametrize("session_id", ("", "nobody's", "../x", "\x00"))
async def test_an_id_nobody_was_given_is_no_session(replicas: tuple[Replica, Replica], session_id: str) -> None:
    assert await replicas[0].sessions.recall(session_id) is None


async def test_what_is_being_written_while_the_gateway_stops_is_written_with_its_last_words() -> None:
    with redis_process() as redis:
        replica = Replica(RedisStore(redis.url))
        session = await replica.open()
        session.set_log_level("error")
        redis.freeze()
        replica.sessions.adopted(session)
        await asyncio.sleep(0)  # the writer begins
        await replica.tasks.close()
        redis.kill()  # what was on its way to it is lost
        redis.start()
        assert await replica.archive.flush()
        again = await replica.archive.recall(session.id)
        assert again is not None and again.log_level == "error"
        await replica.stop()


async def test_a_store_that_came_back_empty_does_not_end_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that hears that there is no such session gives it up."""
    with redis_process() as redis:
        await _lose_everything(redis, monkeypatch)


async def _lose_everything(redis: RedisProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Replica(RedisStore(redis.url)), Replica(RedisStore(redis.url))
    session = await one.open()
    redis.kill()
    for replica in (one, other):
        with pytest.raises(StoreUnavailable):
            await replica.store.get(SPACE, "any")
    redis.start()
    await until(lambda: _answers(other.store), bool, 20.0, "the store answers again")
    with pytest.raises(SessionUnknown):
        await other.sessions.recall(session.id)
    await until(lambda: _answers(one.store), bool, 20.0, "the store answers again")
    await one.sessions.heed()
    await one.archive.flush()
    again = await other.sessions.recall(session.id)
    assert again is not None and again.id == session.id
    monkeypatch.setattr(archive, "SETTLED_S", 0.0)
    assert await other.sessions.recall("0" * 32) is None, "after a while there is none"
    for replica in (one, other):
        await replica.stop()


async def _answers(store: Store) -> bool:
    try:
        await store.get(SPACE, "any")
    except StoreUnavailable:
        return False
    return True
