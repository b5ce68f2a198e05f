"""The locks of the config's views: what their tokens are once the placeholders are filled in.

Owns the finding out. What a lock does is `access`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from hub_common.logs import add_secret
from hub_gateway.config.context import Context
from hub_gateway.config.model import ViewConfig
from hub_gateway.config.placeholders import resolve_text
from hub_gateway.errors import ConfigError
from hub_gateway.frontends.access import Lock, lock

_log = logging.getLogger(__name__)


async def locks_of(views: Mapping[str, ViewConfig], context: Context) -> dict[str, Lock | None]:
    """The lock of each view by its name; None for one that needs no token.

    A view whose tokens cannot be found out stays shut; the log says which token and why.
    """
    return {name: await _lock_of(view, context) for name, view in views.items()}


async def _lock_of(view: ViewConfig, context: Context) -> Lock | None:
    if view.credentials is None:
        return None
    tokens: list[str] = []
    for place, text in enumerate(view.credentials):
        path = f"views.{view.name}.credentials[{place}]"
        try:
            token = await resolve_text(text, context, path)
        except ConfigError as fault:
            _log.error("%s: nobody can use this token", fault)
            continue
        if token:
            add_secret(token)
            tokens.append(token)
        else:
            _log.error("%s: it is empty, so nobody can use it", path)
    return lock(tuple(tokens))
