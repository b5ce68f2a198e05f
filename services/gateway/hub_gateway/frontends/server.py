"""The HTTP server under every frontend: the port, and uvicorn as the gateway sets it.

Knows no path and no message.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Generator

import uvicorn
from starlette.types import ASGIApp

from hub_gateway.errors import HubError
from hub_gateway.frontends.posts import Link

DRAIN_S = 3
"""How long answers that are under way may take when the gateway stops."""

_KEEP_ALIVE_S = 75


class PortBusy(HubError):
    """Another process listens on the port."""


def listen(host: str, port: int) -> socket.socket:
    """Take the port before anything else is started.

    Raises:
        PortBusy: it is taken, or the address is not this machine's; the text says which, and what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sends without delay (TCP_NODELAY) only where it is.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as fault:
        listening.close()
        is_port = fault.errno in (errno.EADDRINUSE, errno.EACCES)
        instead = "another port is given with --port" if is_port else "another address is given with --host"
        raise PortBusy(f"Cannot listen on {host}:{port}: {fault.strerror or fault}; {instead}") from fault
    listening.setblocking(False)
    return listening


class HttpServer(uvicorn.Server):
    """uvicorn without its signal handling: the process has one place for that, `__main__`."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave the signals alone."""
        yield


def http_server(app: ASGIApp, link: type[Link]) -> HttpServer:
    """A server for the application whose client sockets are `link`s. `serve` it on what `listen` gave."""
    config = uvicorn.Config(
        app,
        http=link,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=DRAIN_S,
    )
    return HttpServer(config)
