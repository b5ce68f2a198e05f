"""The filter as a process of its own: `python -m hub_filter`, until SIGTERM or SIGINT.

Exit status 0 when asked to stop, 1 when an address cannot be listened on, 2 for unusable settings.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import uvloop
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector

from hub_common import logs, telemetry
from hub_common.settings import SettingsError
from hub_filter import metrics
from hub_filter.servicer import start
from hub_filter.settings import Settings, load

STOP_GRACE_S = 5.0


async def run(settings: Settings) -> None:
    """Serve until a signal asks to stop.

    Raises:
        OSError: an address cannot be listened on.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    tracing = telemetry.configure("filter")
    try:
        server = await start(settings, settings.address, tracing.server_interceptors(), registry)
        stop_metrics = _serve_metrics(settings, registry)
        await stopping.wait()
        await server.stop(STOP_GRACE_S)
        await asyncio.to_thread(stop_metrics)
    finally:
        await asyncio.to_thread(tracing.shutdown)


def _serve_metrics(settings: Settings, registry: CollectorRegistry) -> metrics.Stop:
    if not settings.metrics_port:
        return lambda: None
    try:
        return metrics.serve(settings.metrics_port, _host(settings.address), registry)
    except OSError as fault:
        raise OSError(f"cannot listen on port {settings.metrics_port} for metrics: {fault}") from None


def _host(address: str) -> str:
    """The host part of `host:port`; the loopback for a socket path."""
    return "127.0.0.1" if address.startswith("unix:") else address.rpartition(":")[0].strip("[]")


def main() -> int:
    """Run the process; return its exit status."""
    try:
        settings = load(os.environ)
    except SettingsError as fault:
        sys.stderr.write("".join(f"filter: {sentence}\n" for sentence in fault.faults))
        return 2
    logs.configure(settings.log_level, settings.log_style)
    try:
        uvloop.run(run(settings))
    except OSError as fault:
        sys.stderr.write(f"filter: {fault}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
