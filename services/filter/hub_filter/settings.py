"""What the filter process is told by its environment, `HUB_FILTER_*`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hub_common import settings as environment

PREFIX = "HUB_FILTER"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """One field per setting."""

    address: Annotated[str, Meta(description="Where to listen: `host:port` or `unix:/path`.", min_length=1)] = (
        "0.0.0.0:7001"
    )
    metrics_port: Annotated[
        int,
        Meta(description="Port of the Prometheus text at `/metrics`, on the address's host; 0 is off.", ge=0, le=65535),
    ] = 9101
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="Least level that is logged.")
    ] = "info"
    log_style: Annotated[Literal["console", "json"], Meta(description="Lines for people or for machines.")] = "console"
    catalogs_held: Annotated[
        int, Meta(description="Catalogs held at a time; the one unused for longest makes room.", ge=1, le=10_000)
    ] = 16
    default_limit: Annotated[int, Meta(description="Hits of a search that names no limit.", ge=1, le=10_000)] = 20


def load(environ: Mapping[str, str]) -> Settings:
    """Read the settings.

    Raises:
        hub_common.settings.SettingsError: with every fault, each by the variable's name.
    """
    return environment.load(Settings, PREFIX, environ)
