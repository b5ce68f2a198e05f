"""The seal that all replicas share: known from any of them, over restarts, and when the store was away or lost it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub_common.store import StoreUnavailable
from hub_common.store_embedded import EmbeddedStore
from hub_gateway.routing.seal import KEY, SPACE, Seal

pytestmark = pytest.mark.anyio


async def test_replicas_know_each_other_s_seals_after_a_restart_too(tmp_path: Path) -> None:
    one, other, unshared = Seal(), Seal(), Seal()
    before = one.sealed("made.before")
    assert one.opened(before) == "made.before"
    assert other.opened(before) is None
    for seal in (other, one):
        await seal.share(EmbeddedStore(tmp_path))
    assert one.opened(before) == "made.before", "what was sealed before the store was there is not lost"
    made = other.sealed("a.b")
    assert one.opened(made) == "a.b"
    restarted = Seal()
    await restarted.share(EmbeddedStore(tmp_path))
    assert restarted.opened(made) == "a.b"
    assert unshared.opened(made) is None


async def test_a_key_that_the_store_lost_is_given_back(tmp_path: Path) -> None:
    store, one, late = EmbeddedStore(tmp_path), Seal(), Seal()
    await one.share(store)
    made = one.sealed("x")
    await store.delete(SPACE, KEY)
    await one.share(store)
    await late.share(store)
    assert late.opened(made) == "x"


async def test_without_a_store_the_seal_is_this_process_s(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    seal = Seal()
    with pytest.raises(StoreUnavailable):
        await seal.share(EmbeddedStore(tmp_path / "file" / "state"))
    assert seal.opened(seal.sealed("x")) == "x"


@pytest.mark.parametrize("forged", ("", ".", "x", "x.", "x.0", "é.é", "x." + "0" * 32))
def test_what_nobody_sealed_is_not_opened(forged: str) -> None:
    assert Seal().opened(forged) is None
