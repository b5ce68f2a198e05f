"""Calls are counted, and the most used tools are chosen once for a catalog, by all replicas alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub_common.store import Store
from hub_common.store_embedded import EmbeddedStore
from hub_common.tasks import Tasks
from hub_gateway.catalog.snapshot import Catalog
from hub_gateway.routing import usage as module
from hub_gateway.routing.usage import CHOICES, COUNTS, Usage
from tests.support.waiting import until
from tests.unit.gateway.catalog.offerings import catalog, entry, offering

pytestmark = pytest.mark.anyio
CATALOG = catalog({"a": offering(["x", "y", "z"]), "b": offering(["x"], ["p"])})
OTHER = catalog({"a": offering(["x", "y"]), "b": offering(["x"])})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return EmbeddedStore(tmp_path)


def _called(usage: Usage, *names: str, of: Catalog = CATALOG) -> None:
    for name in names:
        usage.count(entry(of, name))


async def test_a_choice_is_made_once_for_a_catalog(store: Store) -> None:
    usage = Usage(store)
    _called(usage, "a__z", "a__x", "a__z", "b__x")
    await usage.flush()
    first = await usage.most_used(CATALOG)
    assert first == {"a__z": 0.5, "a__x": 0.25, "b__x": 0.25}
    _called(usage, *["b__x"] * 9)
    await usage.flush()
    assert await usage.most_used(CATALOG) == first, "calls do not move it"
    assert await usage.most_used(OTHER) == {"b__x": 0.7692, "a__x": 0.0769}, "another catalog does"
    assert await usage.most_used(CATALOG) == first


async def test_replicas_and_restarts_agree(store: Store) -> None:
    one, other = Usage(store), Usage(store)
    _called(one, "a__x")
    _called(other, "a__y", "a__y", "a__x")
    await one.flush()
    await other.flush()
    assert await one.most_used(CATALOG) == await other.most_used(CATALOG) == {"a__x": 0.5, "a__y": 0.5}
    assert await Usage(store).most_used(CATALOG) == {"a__x": 0.5, "a__y": 0.5}
    await one.flush()
    assert {each.public_name: calls for each, calls in one.of(CATALOG.entries)} == {"a__x": 2, "a__y": 2}


class _Before(EmbeddedStore):
    """A store as a replica sees it that looked a moment before another one chose."""

    async def get(self, space: str, key: str) -> bytes | None:
        return None if space == CHOICES else await super().get(space, key)


async def test_of_two_that_see_a_catalog_in_the_same_moment_one_chooses(tmp_path: Path) -> None:
    one, late = Usage(EmbeddedStore(tmp_path)), Usage(_Before(tmp_path))
    _called(one, "a__x")
    await one.flush()
    first = await one.most_used(CATALOG)
    _called(late, "a__y", "a__y")
    await late.flush()
    assert await late.most_used(CATALOG) == first == {"a__x": 1.0}


async def test_what_is_not_written_yet_is_not_chosen_by(store: Store) -> None:
    usage = Usage(store)
    _called(usage, "a__x")
    assert await usage.most_used(CATALOG) == {}


async def test_garbage_in_the_store_is_nobody_s_call(store: Store) -> None:
    usage = Usage(store)
    await store.put(COUNTS, "odd", b'{"a__x": "many"}')
    _called(usage, "a__y")
    await usage.flush()
    assert await usage.most_used(CATALOG) == {"a__y": 1.0}
    await store.put(CHOICES, OTHER.digest, b"[]")
    assert await usage.most_used(OTHER) == {"a__y": 1.0}, "the last choice holds"


async def test_while_the_store_is_away_the_last_choice_holds(tmp_path: Path) -> None:
    place = tmp_path / "state"
    usage = Usage(EmbeddedStore(place))
    _called(usage, "a__x")
    await usage.flush()
    assert await usage.most_used(CATALOG) == {"a__x": 1.0}
    for file in place.iterdir():
        file.unlink()
    place.rmdir()
    place.write_bytes(b"no directory")
    _called(usage, "a__y")
    await usage.flush()
    assert await usage.most_used(OTHER) == {"a__x": 1.0}
    assert {each.public_name for each, _ in usage.of(CATALOG.entries)} == {"a__x", "a__y"}


async def test_a_person_may_have_it_chosen_anew(store: Store) -> None:
    usage, other = Usage(store), Usage(store)
    assert await usage.most_used(CATALOG) == await other.most_used(CATALOG) == {}
    _called(usage, "a__x", "a__x", "a__y")
    assert await usage.choose(CATALOG) == {"a__x": 0.6667, "a__y": 0.3333}
    for each in (usage, other, Usage(store)):
        assert await each.most_used(CATALOG) == {"a__x": 0.6667, "a__y": 0.3333}


async def test_a_choice_in_use_is_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the store lost it, and calls came meanwhile."""
    monkeypatch.setattr(module, "FLUSH_S", 0.0)
    usage, tasks = Usage(store), Tasks("test")
    _called(usage, "a__x")
    await usage.flush()
    chosen = await usage.most_used(CATALOG)
    await store.delete(CHOICES, CATALOG.digest)
    _called(usage, "a__y", "a__y")
    tasks.spawn(usage.run(lambda: None), "usage")
    await until(lambda: store.get(CHOICES, CATALOG.digest), bool, 10.0, "the choice is back")
    await tasks.close()
    assert await Usage(store).most_used(CATALOG) == chosen == {"a__x": 1.0}


class _Heard(Exception):
    pass


async def test_another_choice_of_another_replica_is_heard_of(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_S", 0.0)
    usage = Usage(store)
    assert await usage.most_used(CATALOG) == {}
    await store.put(CHOICES, CATALOG.digest, b'{"a__x":1.0}')

    def moved() -> None:
        raise _Heard

    with pytest.raises(_Heard):
        await usage.run(moved)
