"""The store in files: one JSON file per space, shared by the processes of one user on one machine.

Owns the files `<space>.json` and `<space>.lock` in its directory. A writer holds the lock, writes a new file and
renames it over the old one, so a reader needs no lock and sees the old content or the new, and a crash costs nothing.
Does not know what is kept.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from hub_common.store import Availability, Kind, StoreStatus, check_space, check_ttl

T = TypeVar("T")

LOCK_TIMEOUT_S = 1.5
"""How long a writer waits for another one: a stopped process may hold the lock for ever."""

_LOCK_PAUSE_S = 0.005
_TIMESTAMP_TICK_NS = 100_000_000
_log = logging.getLogger(__name__)


class _Item(msgspec.Struct, frozen=True):
    """`value` is base64 in the file, `expires_at_s` a Unix time."""

    value: bytes
    expires_at_s: float | None = None


_Items = dict[str, _Item]
_Signature = tuple[int, int, int]


class _NotWritten(OSError):
    """The file system refuses a write: the disk is full, say. What is there can be read."""


class _Content(msgspec.Struct, frozen=True):
    version: int
    items: _Items


class EmbeddedStore:
    """See `hub_common.store.Store`. File work runs in threads; a space that has not changed is not read again.

    `clock` gives Unix seconds, since several processes and restarts share the expiry times.
    """

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._clock = clock
        self._spaces: dict[str, _Space] = {}
        self._availability = Availability("embedded", (OSError, TimeoutError), refusals=(_NotWritten,))

    @property
    def kind(self) -> Kind:
        return "embedded"

    def status(self) -> StoreStatus:
        return self._availability.status()

    async def get(self, space: str, key: str) -> bytes | None:
        return (await self.get_many(space, [key])).get(key)

    async def get_many(self, space: str, keys: Iterable[str]) -> dict[str, bytes]:
        items = await self._read(space)
        return {key: items[key].value for key in keys if key in items}

    async def put(self, space: str, key: str, value: bytes, ttl_s: float | None = None) -> None:
        await self.put_many(space, {key: value}, ttl_s)

    async def put_many(self, space: str, items: Mapping[str, bytes], ttl_s: float | None = None) -> None:
        ttl_s = check_ttl(ttl_s)
        expires_at_s = None if ttl_s is None else self._clock() + ttl_s
        added = {key: _Item(value, expires_at_s) for key, value in items.items()}
        if added:
            await self._change(space, lambda old: old | added)

    async def claim(self, space: str, key: str, value: bytes, ttl_s: float | None = None) -> bytes:
        ttl_s = check_ttl(ttl_s)
        expires_at_s = None if ttl_s is None else self._clock() + ttl_s
        stands = value

        def claimed(old: _Items) -> _Items:
            nonlocal stands
            stands = old[key].value if key in old else value
            return {key: _Item(value, expires_at_s), **old}

        await self._change(space, claimed)
        return stands

    async def delete(self, space: str, key: str) -> None:
        await self._change(space, lambda old: {other: item for other, item in old.items() if other != key})

    async def items(self, space: str) -> dict[str, bytes]:
        return {key: item.value for key, item in (await self._read(space)).items()}

    async def count(self, space: str) -> int:
        return len(await self._read(space))

    async def close(self) -> None:
        self._spaces.clear()

    async def _read(self, space: str) -> _Items:
        return _unexpired(await self._run(self._space(space).read), self._clock())

    async def _change(self, space: str, change: Callable[[_Items], _Items]) -> None:
        file, now = self._space(space), self._clock()

        def work() -> None:
            try:
                file.change(lambda old: change(_unexpired(old, now)))
            except TimeoutError:
                raise
            except OSError as fault:
                raise _NotWritten(str(fault)) from fault

        await self._run(work)

    async def _run(self, work: Callable[[], T]) -> T:
        with self._availability.asking():
            return await asyncio.to_thread(work)

    def _space(self, space: str) -> _Space:
        if space not in self._spaces:
            self._spaces[check_space(space)] = _Space(self._directory, space)
        return self._spaces[space]


def _unexpired(items: _Items, now: float) -> _Items:
    return {key: item for key, item in items.items() if item.expires_at_s is None or item.expires_at_s > now}


class _Space:
    """One file with its lock. Blocks; several threads may use it. The dicts it gives out are never edited."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._file = directory / f"{name}.json"
        self._lock_file = directory / f"{name}.lock"
        self._threads = threading.Lock()
        self._seen: tuple[_Signature, _Items] | None = None

    def read(self) -> _Items:
        try:
            return self._load()
        except msgspec.DecodeError:
            with self._locked():
                return self._load_or_set_aside()

    def change(self, change: Callable[[_Items], _Items]) -> None:
        """Read, change and write with nobody in between; nothing is written when nothing changes."""
        with self._locked():
            old = self._load_or_set_aside()
            new = change(old)
            if new != old:
                self._write(new)

    def _load(self) -> _Items:
        try:
            with self._file.open("rb") as file:
                stat = os.fstat(file.fileno())
                signature = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
                if self._seen is not None and self._seen[0] == signature:
                    return self._seen[1]
                items = msgspec.json.decode(file.read(), type=_Content).items
                # A file this young may be replaced by one with the same signature, inode and all.
                if time.time_ns() - stat.st_mtime_ns > _TIMESTAMP_TICK_NS:
                    self._seen = (signature, items)
                return items
        except FileNotFoundError:
            return {}

    def _load_or_set_aside(self) -> _Items:
        try:
            return self._load()
        except msgspec.DecodeError as fault:
            aside = self._file.with_name(f"{self._file.name}.corrupt-{time.time_ns()}")
            self._file.rename(aside)
            _log.warning("%s is no store file (%s): set aside as %s", self._file, fault, aside.name)
            return {}

    def _write(self, items: _Items) -> None:
        content = msgspec.json.encode(_Content(1, items))
        # Made by tempfile with mode 0600, in the same directory so that the rename cannot cross file systems.
        descriptor, name = tempfile.mkstemp(prefix=f".{self._file.name}-", dir=self._directory)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            Path(name).replace(self._file)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        self._sync_directory()

    def _sync_directory(self) -> None:
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    @contextmanager
    def _locked(self) -> Generator[None, None, None]:
        """Hold the space against the other threads and processes.

        Raises:
            TimeoutError: another one did not let go within `LOCK_TIMEOUT_S`.
        """
        deadline = time.monotonic() + LOCK_TIMEOUT_S
        if not self._threads.acquire(timeout=LOCK_TIMEOUT_S):
            raise TimeoutError(f"{self._lock_file} is held by another thread")
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._wait_for_lock(descriptor, deadline)
                yield
            finally:
                os.close(descriptor)
        finally:
            self._threads.release()

    def _wait_for_lock(self, descriptor: int, deadline: float) -> None:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{self._lock_file} is held by another process") from None
            time.sleep(_LOCK_PAUSE_S)
