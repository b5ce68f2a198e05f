"""Restart stdio servers whose sources change: the config's `dev`.

Owns the watching of source folders. How a server is restarted is `fleet`'s.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from watchfiles import (
    Change,
    DefaultFilter,
    awatch,  # pyright: ignore[reportUnknownVariableType] - names a type of trio, which is not there
)

from hub_common.tasks import Tasks
from hub_gateway.config.server_model import Dev, InvalidServer, ServerConfig

_log = logging.getLogger(__name__)

_QUIET_MS = 500
"""Changes that follow each other this closely are one: an editor or a build writes many files."""
_LONGEST_WAIT_MS = 5_000
_LOOK_MS = 500
"""Also the longest that an end of watching takes: the watching thread hears of it only then."""
_ABSENT_S = 2.0
"""How often it is looked whether a folder that is not there has come."""

Restart = Callable[[str], Awaitable[None]]
"""Restarts the upstream of that name, unless it was stopped."""

_PIECE = re.compile(r"\*\*/|\*\*|\*|\?|[^*?]+")
_MEANS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


class DevReload:
    """The watched folders, by upstream. Its maker closes it."""

    def __init__(self, restart: Restart) -> None:
        self._restart = restart
        self._tasks = Tasks("dev")
        self._watching: dict[str, asyncio.Task[None]] = {}

    def watch(self, config: ServerConfig | InvalidServer) -> None:
        """Restart this server from now on whenever a file of its `dev` changes; without `dev`, no more."""
        self.forget(config.name)
        if isinstance(config, ServerConfig) and config.is_stdio and config.dev is not None and config.dev.enabled:
            self._watching[config.name] = self._tasks.spawn(self._watch(config.name, config.dev), config.name)

    def forget(self, name: str) -> None:
        """Watch no longer. Nothing to do where nothing is watched."""
        if (task := self._watching.pop(name, None)) is not None:
            task.cancel()

    async def close(self) -> None:
        """Watch nothing any more."""
        await self._tasks.close()

    async def _watch(self, name: str, dev: Dev) -> None:
        folder = Path(dev.cwd)
        while True:
            await _come(name, folder)
            async for changes in awatch(
                folder,
                watch_filter=Sources(folder, dev.watch),
                step=_QUIET_MS,
                debounce=_LONGEST_WAIT_MS,
                rust_timeout=_LOOK_MS,
                ignore_permission_denied=True,
            ):
                changed = sorted({str(Path(path).relative_to(folder)) for _, path in changes})
                _log.info("%s: restarted, since %s changed", name, ", ".join(changed[:5]))
                await self._restart(name)


async def _come(name: str, folder: Path) -> None:
    """Wait until the folder is there."""
    told = False
    while not await asyncio.to_thread(folder.is_dir):
        if not told:
            _log.warning("%s: dev.cwd is no folder (%s); it is watched once it is there", name, folder)
        told = True
        await asyncio.sleep(_ABSENT_S)


class Sources(DefaultFilter):
    """The files that matter: those the patterns name, without what tools write (`node_modules`, `__pycache__`, …)."""

    def __init__(self, folder: Path, patterns: tuple[str, ...]) -> None:
        super().__init__()
        self._folder = folder
        self._matches = re.compile("|".join(map(_expression, patterns)) or r"(?!)", re.DOTALL).fullmatch

    def __call__(self, change: Change, path: str) -> bool:
        """Whether a change of this path counts."""
        return self._matches(Path(path).relative_to(self._folder).as_posix()) is not None and super().__call__(
            change, path
        )


def _expression(pattern: str) -> str:
    """A pattern of `dev.watch` as a regular expression: `**/` any folders, `*` and `?` within one name."""
    return "".join(_MEANS.get(piece) or re.escape(piece) for piece in _PIECE.findall(pattern))
