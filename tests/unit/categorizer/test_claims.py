"""Two replicas, one Redis: each definition is asked about once."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hub.categorizer.v1 import categorizer_pb2 as pb
from hub_categorizer.claims import SPACE, Claims
from hub_common.shared_state import open_store
from hub_common.store import Store
from tests.support.redis_server import redis_url  # noqa: F401 - a fixture
from tests.support.waiting import until
from tests.unit.categorizer.conftest import categorizer
from tests.unit.categorizer.gemini_stand_in import all_as
from tests.unit.categorizer.stand_ins import stand_in

pytestmark = pytest.mark.anyio

TIMEOUT_S = 30.0


def request(*names: str) -> pb.CategorizeRequest:
    return pb.CategorizeRequest(
        definitions=[pb.Definition(hash=name, upstream_name="things", local_name=name) for name in names]
    )


async def refine(stub: Any, asked: pb.CategorizeRequest) -> dict[str, pb.Assignment]:
    return {one.hash: one async for one in stub.Refine(asked, timeout=TIMEOUT_S)}


async def had_its_turn(stub: Any) -> None:
    async def processed() -> int:
        return (await stub.Describe(pb.DescribeRequest(), timeout=TIMEOUT_S)).llm.queue_processed

    await until(processed, bool, TIMEOUT_S, "the question has had its turn")


@pytest.mark.parametrize("first_fails", [False, True])
async def test_two_replicas_ask_once_between_them(
    redis_url: str,  # noqa: F811 - the fixture
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    first_fails: bool,
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    said = threading.Event()

    def answer(data: dict[str, Any]) -> Any:
        assert said.wait(TIMEOUT_S)
        return all_as("database")(data)

    asked = request("read_file", "git_commit")
    stores = [open_store(redis_url, tmp_path) for _ in range(2)]
    with stand_in("openai") as served:
        # A model of one's own: the tests share the Redis.
        settings = served.settings(llm_model=f"model-{tmp_path.name}", llm_retries=0)
        served.answer = (lambda _: said.wait(TIMEOUT_S)) if first_fails else answer
        async with categorizer(settings, stores[0]) as one, categorizer(settings, stores[1]) as two:
            first = asyncio.ensure_future(refine(one, asked))
            assert await asyncio.to_thread(served.asked.wait, TIMEOUT_S)
            second = asyncio.ensure_future(refine(two, asked))
            await had_its_turn(two)
            served.answer = answer
            said.set()
            mine, theirs = await first, await second
        asked_about = Counter(
            item["name"] for place in range(len(served.requests)) for item in served.data(place)["items"]
        )
    assert asked_about == dict.fromkeys(("read_file", "git_commit"), 1 + first_fails)
    assert len(mine) == (0 if first_fails else 2)
    assert {one.category for one in theirs.values()} == {"database"}
    assert {one.cached for one in theirs.values()} == {not first_fails}
    for each in stores:
        await each.close()


async def test_what_a_replica_claimed_that_is_gone_is_asked_about_later(
    redis_url: str,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    here, there = open_store(redis_url, tmp_path), open_store(redis_url, tmp_path)
    gone, alive = Claims(there, 0.5), Claims(here, 30.0)
    key = f"key-{tmp_path.name}"
    assert await gone.take([key]) == {key}
    assert await alive.take([key]) == frozenset()

    async def take() -> frozenset[str]:
        return await alive.take([key])

    assert await until(take, bool, TIMEOUT_S, "the claim has ended") == {key}
    await alive.release(frozenset({key}))
    assert await here.get(SPACE, key) is None
    for each in (here, there):
        await each.close()


async def test_what_a_caller_claimed_who_went_meanwhile_is_asked_about_by_the_next(
    redis_url: str,  # noqa: F811 - the fixture
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, key = open_store(redis_url, tmp_path), f"key-{tmp_path.name}"
    claims = Claims(store, 30.0)

    async def claimed_and_gone(*asked: Any) -> bytes:
        await claim(*asked)
        raise asyncio.CancelledError

    claim = store.claim
    monkeypatch.setattr(store, "claim", claimed_and_gone)
    with pytest.raises(asyncio.CancelledError):
        await claims.take([key])
    monkeypatch.undo()
    assert await claims.take([key]) == {key}
    await claims.release(frozenset({key}))
    assert await store.get(SPACE, key) is None
    await store.close()


async def test_two_callers_of_one_replica_ask_once_between_them(store: Store) -> None:
    claims = Claims(store, 30.0)
    mine = await claims.take(["a", "b", "a"])
    assert mine == {"a", "b"}
    assert await claims.take(["b", "c"]) == {"c"}
    await claims.release(mine)
    assert await claims.take(["a", "c"]) == {"a"}


async def test_with_the_store_away_everybody_asks(tmp_path: Path) -> None:
    away = open_store("redis://127.0.0.1:9", tmp_path)
    claims = Claims(away, 30.0)
    mine = await claims.take(["a"])
    assert mine == {"a"}
    await claims.release(mine)
    await away.close()
