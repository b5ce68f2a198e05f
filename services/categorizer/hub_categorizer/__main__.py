"""The categorizer as a process of its own: `python -m hub_categorizer`, until SIGTERM or SIGINT.

Exit status 0 when asked to stop, 1 when the address cannot be listened on, 2 for unusable settings.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import uvloop

from hub_categorizer.servicer import start
from hub_categorizer.settings import Settings, load
from hub_common import logs, telemetry
from hub_common.settings import SettingsError
from hub_common.shared_state import open_store, state_dir

STOP_GRACE_S = 5.0


async def run(settings: Settings) -> None:
    """Serve until a signal asks to stop.

    Raises:
        OSError: the address cannot be listened on.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    tracing = telemetry.configure("categorizer")
    store = open_store(settings.redis_url, Path(settings.state_dir) if settings.state_dir else state_dir())
    try:
        server = await start(settings, settings.address, store, tracing.server_interceptors())
        await stopping.wait()
        await server.stop(STOP_GRACE_S)
    finally:
        await store.close()
        await asyncio.to_thread(tracing.shutdown)


def main() -> int:
    """Run the process; return its exit status."""
    try:
        settings = load(os.environ)
    except SettingsError as fault:
        sys.stderr.write("".join(f"categorizer: {sentence}\n" for sentence in fault.faults))
        return 2
    logs.configure(settings.log_level, settings.log_style, settings.secrets)
    try:
        uvloop.run(run(settings))
    except OSError as fault:
        sys.stderr.write(f"categorizer: {fault}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
