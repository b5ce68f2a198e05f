"""Word that config files changed: written, replaced by an editor, created or removed.

Knows nothing of what is in them. The folders are watched rather than the files, since most editors write a new file and
rename it; a look at the files themselves every `LOOK_S` covers file systems that tell nothing (network mounts,
bind mounts in containers).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType] - names a type of trio, which is not there

STABLE_MS = 200
"""A change is told once nothing more was written for this long."""
LONGEST_WAIT_MS = 2_000
"""A change is told after this long even when writing goes on."""
LOOK_S = 0.5
"""Also the longest that closing takes: the watching thread hears of it only then."""

_Fingerprint = tuple[tuple[int, int, int] | None, ...]


def changes(paths: Sequence[Path]) -> AsyncIterator[None]:
    """Yield once per change of any of the files, however many writes it took.

    What counts as a change is measured from the moment of this call, so load after it and nothing is missed. Ends when
    the iterator is closed or its task is cancelled; holds no other resource.
    """
    return _changes([path.absolute() for path in paths], _fingerprint(paths))


async def _changes(paths: Sequence[Path], known: _Fingerprint) -> AsyncIterator[None]:
    while True:
        folders = _folders(paths)
        signs = awatch(
            *folders,
            watch_filter=None,
            step=STABLE_MS,
            debounce=LONGEST_WAIT_MS,
            rust_timeout=int(LOOK_S * 1_000),
            yield_on_timeout=True,
            recursive=False,
            ignore_permission_denied=True,
        )
        try:
            # An empty sign is the regular look; the first pass catches what changed before the folders were watched.
            if (now := _fingerprint(paths)) != known:
                known = now
                yield
            async for _ in signs:
                if (now := _fingerprint(paths)) != known:
                    known = now
                    yield
                if _folders(paths) != folders:
                    break
        finally:
            await signs.aclose()


def _fingerprint(paths: Sequence[Path]) -> _Fingerprint:
    """What the files are now: inode, change time and size of what each path leads to; None where there is nothing."""
    result: list[tuple[int, int, int] | None] = []
    for path in paths:
        try:
            found = path.stat()
        except (OSError, ValueError):
            result.append(None)
        else:
            result.append((found.st_ino, found.st_ctime_ns, found.st_size))
    return tuple(result)


def _folders(paths: Sequence[Path]) -> list[Path]:
    """The folders to watch: of the paths as written and of what they lead to, or the nearest ones that exist."""
    folders = {_nearest(path.parent) for path in paths} | {_nearest(path.resolve().parent) for path in paths}
    return sorted(folders)


def _nearest(folder: Path) -> Path:
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder
