"""What every store promises, asserted over each of them; then what each one does when it is away."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hub_common import store_embedded
from hub_common.shared_state import open_store
from hub_common.store import Store, StoreUnavailable
from hub_common.store_embedded import EmbeddedStore
from tests.support.redis_server import MovingAddress, redis_process, redis_url  # noqa: F401
from tests.support.waiting import until

pytestmark = pytest.mark.anyio

BOUND_S = 10.0

Open = Callable[[], Store]


@pytest.fixture(params=["embedded", "redis"])
async def opener(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens stores that see the same data; closes them all."""
    url = request.getfixturevalue("redis_url") if request.param == "redis" else None
    opened: list[Store] = []

    def open_another() -> Store:
        opened.append(open_store(url, tmp_path / "state"))
        return opened[-1]

    yield open_another
    for store in opened:
        await store.close()


@pytest.fixture
def store(opener: Open) -> Store:
    return opener()


@pytest.fixture
def space() -> str:
    return f"test-{uuid.uuid4().hex}"


async def expires(store: Store, space: str, key: str) -> None:
    """Return when the key is gone."""
    async with asyncio.timeout(BOUND_S):
        while await store.get(space, key) is not None:
            await asyncio.sleep(0.01)


async def test_what_is_put_is_got(store: Store, space: str) -> None:
    await store.put(space, "k", b"\x00\xff bytes")
    assert await store.get(space, "k") == b"\x00\xff bytes"
    await store.put(space, "k", b"")
    assert await store.get(space, "k") == b""


async def test_an_empty_space_has_nothing(store: Store, space: str) -> None:
    assert await store.get(space, "k") is None
    assert await store.get_many(space, ["k"]) == {}
    assert await store.get_many(space, []) == {}
    assert await store.items(space) == {}
    assert await store.count(space) == 0
    await store.delete(space, "k")


async def test_many_at_once(store: Store, space: str) -> None:
    many = {f"key:{n}": str(n).encode() for n in range(1200)}
    await store.put_many(space, many)
    assert await store.items(space) == many
    assert await store.count(space) == 1200
    assert await store.get_many(space, ["key:7", "absent", "key:7"]) == {"key:7": b"7"}
    await store.put_many(space, {})
    await store.delete(space, "key:7")
    assert await store.count(space) == 1199


async def test_keys_are_any_text(store: Store, space: str) -> None:
    keys = ["", "a:b", "*", "[x]?", "ключ", "with space", "../up", '"q"\\']
    await store.put_many(space, {key: key.encode() for key in keys})
    assert await store.items(space) == {key: key.encode() for key in keys}


async def test_spaces_are_apart(store: Store, space: str) -> None:
    await store.put(space, "k", b"1")
    await store.put(f"{space}-2", "k", b"2")
    assert await store.items(space) == {"k": b"1"}
    assert await store.items(f"{space}-2") == {"k": b"2"}


@pytest.mark.parametrize("name", ["", "A", "a/b", "a:b", "a*", "x" * 65])
async def test_a_bad_name_of_a_space_is_refused(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="no name of a space"):
        await store.get(name, "k")
    with pytest.raises(ValueError, match="no name of a space"):
        await store.put(name, "k", b"")


async def test_values_expire(store: Store, space: str) -> None:
    await store.put(space, "short", b"1", 0.2)
    await store.put(space, "long", b"2", 3600)
    await store.put(space, "ever", b"3", None)
    assert await store.get(space, "short") == b"1"
    await expires(store, space, "short")
    assert await store.items(space) == {"long": b"2", "ever": b"3"}
    assert await store.count(space) == 2


async def test_a_new_put_sets_a_new_age(store: Store, space: str) -> None:
    await store.put_many(space, {"a": b"1", "b": b"1"}, 0.2)
    await store.put(space, "a", b"1", None)
    await expires(store, space, "b")
    assert await store.get(space, "a") == b"1"


@pytest.mark.parametrize("ttl_s", [0, -1.0])
async def test_an_age_is_positive(store: Store, space: str, ttl_s: float) -> None:
    with pytest.raises(ValueError, match="ttl_s"):
        await store.put(space, "k", b"", ttl_s)


async def test_two_stores_share(opener: Open, space: str) -> None:
    one, other = opener(), opener()
    for round_number in range(50):
        value = str(round_number % 10).encode()
        await one.put(space, "k", value)
        assert await other.get(space, "k") == value
    await other.delete(space, "k")
    assert await one.get(space, "k") is None


async def test_all_who_claim_get_the_same(opener: Open, space: str) -> None:
    stores = [opener() for _ in range(4)]
    got = await asyncio.gather(*(store.claim(space, "k", str(n).encode()) for n, store in enumerate(stores)))
    assert len(set(got)) == 1
    assert await stores[0].get(space, "k") == got[0]
    await stores[0].put(space, "k", b"another")
    assert await stores[1].claim(space, "k", b"late") == b"another"


async def test_a_claim_ends_with_its_age(opener: Open, space: str) -> None:
    one, other = opener(), opener()
    assert await one.claim(space, "k", b"one", 0.2) == b"one"
    assert await other.claim(space, "k", b"other", 60.0) == b"one"

    async def claimed() -> bytes:
        return await other.claim(space, "k", b"other", 60.0)

    assert await until(claimed, lambda value: value == b"other", 10.0, "the first claim has ended") == b"other"
    with pytest.raises(ValueError, match="ttl_s"):
        await one.claim(space, "k", b"", 0.0)


async def test_writers_at_the_same_time_lose_nothing(opener: Open, space: str) -> None:
    stores = [opener() for _ in range(3)]
    await asyncio.gather(*(s.put(space, f"{i}-{n}", b"v") for i, s in enumerate(stores) for n in range(10)))
    assert await stores[0].count(space) == 30


async def test_the_status_follows_the_last_answer(store: Store, space: str) -> None:
    assert store.status().kind == store.kind
    assert not store.status().healthy
    await store.get(space, "k")
    assert store.status() == (store.kind, True, None, float("inf")), "it was never away"


async def test_closing_twice_is_fine(store: Store, space: str) -> None:
    await store.get(space, "k")
    await store.close()
    await store.close()


async def test_redis_away_is_told_at_once_and_it_comes_back(space: str, tmp_path: Path) -> None:
    with redis_process() as server:
        store = open_store(server.url, tmp_path)
        await store.put(space, "k", b"1")
        server.kill()
        with pytest.raises(StoreUnavailable):
            await store.get(space, "k")
        assert not store.status().healthy
        assert store.status().reason
        server.start()
        async with asyncio.timeout(BOUND_S):
            while not store.status().healthy:
                try:
                    await store.put(space, "k", b"2")
                except StoreUnavailable:
                    await asyncio.sleep(0.02)
        assert await store.get(space, "k") == b"2"
        assert 0 <= store.status().back_for_s < BOUND_S
        await store.close()


async def test_a_restart_of_redis_between_two_questions_goes_unnoticed(space: str, tmp_path: Path) -> None:
    with redis_process() as server:
        store = open_store(server.url, tmp_path)
        await store.put(space, "k", b"1")
        server.kill()
        server.start()
        await store.put(space, "k", b"2")
        assert await store.get(space, "k") == b"2"
        await store.close()


async def test_a_frozen_redis_costs_one_deadline_and_then_nothing(space: str, tmp_path: Path) -> None:
    with redis_process() as server:
        store = open_store(server.url, tmp_path)
        await store.get(space, "k")
        server.freeze()
        async with asyncio.timeout(BOUND_S):
            with pytest.raises(StoreUnavailable):
                await store.get(space, "k")
        assert store.status().reason == "no answer in time"
        # These would take minutes if each waited.
        async with asyncio.timeout(BOUND_S):
            for _ in range(100):
                with pytest.raises(StoreUnavailable):
                    await store.get(space, "k")
        server.thaw()
        await store.close()


async def test_a_redis_that_refuses_writes_is_still_read(
    space: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with redis_process() as server:
        store = open_store(server.url, tmp_path)
        await store.put(space, "k", b"1")
        server.ask("config", "set", "maxmemory", "1")
        for _ in range(3):
            with pytest.raises(StoreUnavailable, match="maxmemory"):
                await store.put(space, "k", b"secret")
            assert not store.status().healthy
            assert await store.get(space, "k") == b"1"
            assert store.status().back_for_s < BOUND_S, "what it refused it does not hold"
        assert len(caplog.records) == 1
        with pytest.raises(StoreUnavailable):
            await store.claim(space, "of-a-session", b"secret")
        for told in (caplog.text, store.status().reason or ""):
            assert "secret" not in told
            assert space not in told, "not even a key, which may be the id of a session"
        server.ask("config", "set", "maxmemory", "0")
        await store.put(space, "k", b"2")
        await store.close()


async def test_a_primary_that_became_a_replica_is_left_for_the_new_one(space: str, tmp_path: Path) -> None:
    with redis_process() as first, redis_process() as second:
        async with MovingAddress(first) as address:
            store = open_store(address.url, tmp_path)
            await store.put(space, "k", b"1")
            address.fail_over(second)
            await store.put(space, "k", b"2")
            assert await store.claim(space, "k", b"3") == b"2"
            await store.close()


async def test_redis_over_a_unix_socket(space: str, tmp_path: Path) -> None:
    with redis_process() as server:
        store = open_store(server.unix_url, tmp_path)
        await store.put(space, "k", b"1", 60)
        assert await store.get(space, "k") == b"1"
        await store.close()


@pytest.mark.parametrize("url", ["http://user:hunter22@host", "redis://:hunter22/x@host:1", "nonsense hunter22"])
async def test_a_bad_redis_url_is_not_repeated(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no URL of a Redis") as caught:
        open_store(url, tmp_path)
    assert "hunter22" not in str(caught.value)


async def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path / "state")
    await store.put("s", "k", b"1")
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "state").iterdir()} == {0o600}
    assert {path.name for path in (tmp_path / "state").iterdir()} == {"s.json", "s.lock"}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"version":1,"items":{"k":{"value":"!"}}}', b"\xff\xfe"])
async def test_a_corrupt_file_is_set_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.json").write_bytes(content)
    store = EmbeddedStore(tmp_path)
    assert await store.get("s", "k") is None
    (aside,) = (name for name in os.listdir(tmp_path) if name.startswith("s.json.corrupt-"))
    assert (tmp_path / aside).read_bytes() == content
    await store.put("s", "k", b"1")
    assert await EmbeddedStore(tmp_path).get("s", "k") == b"1"


async def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    store = EmbeddedStore(tmp_path / "file" / "state")
    with pytest.raises(StoreUnavailable):
        await store.put("s", "k", b"1")
    assert not store.status().healthy


async def test_files_that_cannot_be_written_are_still_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = EmbeddedStore(tmp_path)
    await store.put("space", "k", b"1")
    lock = tmp_path / "space.lock"
    lock.unlink()
    lock.mkdir()
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="directory"):
            await store.put("space", "k", b"2")
        assert not store.status().healthy
        assert await store.get("space", "k") == b"1"
    assert len(caplog.records) == 1, "and the log is not full of it"
    lock.rmdir()
    await store.put("space", "k", b"2")
    await store.close()


async def test_a_lock_that_is_never_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_embedded, "LOCK_TIMEOUT_S", 0.05)
    store = EmbeddedStore(tmp_path)
    await store.put("s", "k", b"1")
    with (tmp_path / "s.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(StoreUnavailable, match="another process"):
            await store.put("s", "k", b"2")


async def test_several_processes_share_the_files(tmp_path: Path) -> None:
    program = (
        "import asyncio, sys, pathlib\n"
        "from hub_common.store_embedded import EmbeddedStore\n"
        "async def main():\n"
        "    store = EmbeddedStore(pathlib.Path(sys.argv[1]))\n"
        "    for n in range(20):\n"
        "        await store.put('s', f'{sys.argv[2]}-{n}', b'v')\n"
        "asyncio.run(main())\n"
    )
    writers = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(tmp_path), str(n)) for n in range(3)
    ]
    async with asyncio.timeout(30):
        assert [await writer.wait() for writer in writers] == [0, 0, 0]
    assert await EmbeddedStore(tmp_path).count("s") == 60


async def test_expired_items_leave_the_file_with_the_next_write(tmp_path: Path) -> None:
    now = [1000.0]
    store = EmbeddedStore(tmp_path, clock=lambda: now[0])
    await store.put("s", "old-key", b"1", 5)
    now[0] = 1005.0
    assert await store.count("s") == 0
    await store.put("s", "new-key", b"1")
    assert b"old-key" not in (tmp_path / "s.json").read_bytes()
