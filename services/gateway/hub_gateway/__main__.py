"""The gateway as a process of its own: `python -m hub_gateway`.

Exit codes: 0 asked to stop, 1 failed, 2 unusable settings or config.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from hub_common import logs, telemetry
from hub_common.settings import SettingsError, load
from hub_gateway.config.dotenv import load_dotenv
from hub_gateway.errors import ConfigError, HubError
from hub_gateway.settings import PREFIX, GatewaySettings
from hub_gateway.wiring import Gateway, spare_the_collector

_log = logging.getLogger("hub_gateway")

DEFAULT_CONFIG = "mcp-servers.json"


async def serve(settings: GatewaySettings, paths: list[Path]) -> None:
    """Run a gateway until SIGINT or SIGTERM.

    Raises:
        HubError: it could not start.
    """
    tracing = telemetry.configure("gateway")
    gateway = Gateway(settings, paths, tracing)
    spare_the_collector()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(each, gateway.stop)
    try:
        _log.info("serving %s", gateway.endpoint)
        await gateway.run()
    finally:
        await gateway.close()
        tracing.shutdown()


def main() -> int:
    """Read the environment and serve."""
    load_dotenv(Path(".env"), os.environ)
    try:
        settings = load(GatewaySettings, PREFIX, os.environ)
    except SettingsError as fault:
        print("\n".join(fault.faults), file=sys.stderr)  # noqa: T201
        return 2
    logs.configure(settings.log_level, settings.log_style)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(serve(settings, [Path(path) for path in settings.config or (DEFAULT_CONFIG,)]))
    except ConfigError as fault:
        for each in fault.faults:
            _log.error("%s", each)
        return 2
    except HubError as fault:
        _log.error("%s", fault)
        return 1
    return 0


def _loop_factory():
    import uvloop  # not on Windows

    return uvloop.new_event_loop


if __name__ == "__main__":
    sys.exit(main())
