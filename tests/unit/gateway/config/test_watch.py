"""A change of a config file is noticed however it is made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from hub_gateway.config.watch import changes

pytestmark = pytest.mark.anyio


def rewrite(path: Path) -> None:
    path.write_text("second, and longer")


def replace(path: Path) -> None:
    fresh = path.with_name("fresh.tmp")
    fresh.write_text("other")
    fresh.rename(path)


def remove(path: Path) -> None:
    path.unlink()


def remove_folder(path: Path) -> None:
    path.unlink()
    path.parent.rmdir()


def link_elsewhere(path: Path) -> None:
    other = path.parent / "other"
    other.mkdir()
    (other / "data").write_text("mapped")
    link = path.parent / "link.tmp"
    link.symlink_to(other / "data")
    link.rename(path)


@pytest.mark.parametrize("change", [rewrite, replace, remove, remove_folder, link_elsewhere])
async def test_one_change_is_told_once(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "conf" / "a.json"
    path.parent.mkdir()
    path.write_text("first")
    watched = changes([path])
    with anyio.fail_after(20):
        change(path)  # before the first look: measured from the call of `changes`
        await anext(watched)
        with anyio.move_on_after(0.8) as scope:
            await anext(watched)
    assert scope.cancelled_caught


async def test_changes_go_on_being_told(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.json"
    watched = changes([path, tmp_path / "b.json"])

    with anyio.fail_after(30):
        (tmp_path / "unrelated").write_text("x")
        path.parent.mkdir(parents=True)
        path.write_text("created with its folder")
        await anext(watched)
        async with anyio.create_task_group() as group:

            async def writes() -> None:
                for text in ("in", "many", "small steps"):
                    path.write_text(text)

            group.start_soon(writes)
            await anext(watched)
        (tmp_path / "b.json").write_text("the second file")
        await anext(watched)
        replace(path)
        await anext(watched)


async def test_whoever_listens_can_be_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("1")
    watched = changes([path])
    heard = anyio.Event()

    async def listen() -> None:
        async for _ in watched:
            heard.set()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            path.write_text("22")
            await heard.wait()
            group.cancel_scope.cancel()
