from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from hub_categorizer import cache as cache_module
from hub_categorizer.cache import SPACE, Cache, Decision, key_of
from hub_categorizer.llm_prompts import Subject
from hub_common.store import Store
from hub_common.store_embedded import EmbeddedStore

pytestmark = pytest.mark.anyio

DECISION = Decision("web", 0.9, "llm", "gemini", "gemini-2.5-flash", 1_700_000_000_000)
SUBJECT = Subject("github", "search", "Search")
TTL_S = 3600.0


def test_the_key_is_of_all_the_answer_depends_on() -> None:
    keys = {
        key_of("d1", SUBJECT, "gemini", "m1", ("a", "b")),
        key_of("d2", SUBJECT, "gemini", "m1", ("a", "b")),
        key_of("d1", SUBJECT._replace(upstream_name="gitlab"), "gemini", "m1", ("a", "b")),
        key_of("d1", SUBJECT, "openai", "m1", ("a", "b")),
        key_of("d1", SUBJECT, "gemini", "m2", ("a", "b")),
        key_of("d1", SUBJECT, "gemini", "m1", ("a",)),
    }
    assert len(keys) == 6
    assert key_of("d1", SUBJECT, "gemini", "m1", ("a", "b")) in keys


async def test_decisions_outlive_the_process(store: Store) -> None:
    await Cache(store, TTL_S).keep({"k1": DECISION})
    again = Cache(store, TTL_S)
    assert await again.find(["k1", "k2"]) == {"k1": DECISION}
    assert (again.hits, again.lookups, await again.size()) == (1, 2, 1)
    assert await again.look(["k1", "k2"]) == {"k1": DECISION}
    assert (again.hits, again.lookups) == (1, 2)


async def test_an_unreadable_decision_is_unknown(store: Store) -> None:
    await store.put_many(SPACE, {"k1": b"{", "k2": b'{"category": 3}'}, TTL_S)
    assert await Cache(store, TTL_S).find(["k1", "k2"]) == {}


async def test_with_the_store_away_memory_goes_on(tmp_path: Path) -> None:
    # A file where the directory should be: every question fails, for root as well.
    blocked = tmp_path / "state"
    blocked.write_text("")
    cache = Cache(EmbeddedStore(blocked), TTL_S)
    await cache.keep({"k1": DECISION})
    assert await cache.find(["k1", "k2"]) == {"k1": DECISION}
    assert await cache.size() == 1


async def test_memory_is_bounded_and_the_oldest_go_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "IN_MEMORY", 2)
    cache = Cache(store, TTL_S)
    for key in ("k1", "k2", "k3"):
        await cache.keep({key: DECISION})
    assert await cache.find(["k1"]) == {"k1": DECISION}
    await store.delete(SPACE, "k2")
    await store.delete(SPACE, "k3")
    assert await cache.find(["k1", "k2", "k3"]) == {"k1": DECISION, "k3": DECISION}
    assert cache.memory_bytes == 2 * len(msgspec.json.encode(DECISION))
