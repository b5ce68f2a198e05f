"""A gRPC server as all services run it: health, limits, faults kept inside, and an end in good order.

Owns the options of the server and its health service. Does not know the services that are registered on it.

`python -m hub_common.rpc_server TARGET` asks one for its health: exit status 0 when it serves, 1 when not, 2 for
misuse.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc  # pyright: ignore[reportMissingTypeStubs]

from hub_common import rpc_channel

MAX_CONNECTION_AGE_S = 30.0
"""After this a client is asked to connect anew, and so resolves the name again and finds added replicas."""

MAX_CONNECTION_AGE_GRACE_S = 120.0
"""What calls already running on an aged connection still get."""

TURN_AWAY_S = 0.2
"""From NOT_SERVING to the end of accepting, so that a channel that watches health sends its next call elsewhere."""

PROBE_TIMEOUT_S = 3.0

_log = logging.getLogger(__name__)
_pb: Any = health_pb2
_pb_grpc: Any = health_pb2_grpc
_SERVING: int = _pb.HealthCheckResponse.SERVING
_NOT_SERVING: int = _pb.HealthCheckResponse.NOT_SERVING
_UNKNOWN: int = _pb.HealthCheckResponse.SERVICE_UNKNOWN

_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", rpc_channel.MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", rpc_channel.MAX_MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),
    ("grpc.max_connection_age_ms", int(MAX_CONNECTION_AGE_S * 1000)),
    ("grpc.max_connection_age_grace_ms", int(MAX_CONNECTION_AGE_GRACE_S * 1000)),
    # Clients ping idle connections (rpc_channel): without these two the server would take that for an attack.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
]


class RpcServer:
    """A running server; whoever got it from `serve` stops it."""

    def __init__(self, server: grpc.aio.Server, health: _Health, address: str) -> None:
        self._server = server
        self._health = health
        self._address = address

    @property
    def address(self) -> str:
        """What a client on this machine dials: `unix:/path` or `host:port` with the real port."""
        return self._address

    def set_serving(self, serving: bool) -> None:
        """Say through health, for every service, whether calls are welcome; calls are answered either way."""
        self._health.set_serving(serving)

    async def stop(self, grace_s: float) -> None:
        """Say NOT_SERVING and go on while clients turn away; then refuse calls and cancel what runs after `grace_s`
        seconds. Idempotent; with 0 all of it happens at once.
        """
        if not self._health.ended:
            self._health.set_serving(False)
            await asyncio.sleep(min(grace_s, TURN_AWAY_S))
            self._health.end()
        await self._server.stop(grace_s)

    async def wait(self) -> None:
        """Return once the server has stopped."""
        await self._server.wait_for_termination()


async def serve(
    address: str,
    register: Callable[[grpc.aio.Server], None],
    *,
    name: str,
    interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
) -> RpcServer:
    """Listen on `address` and answer at once; health says SERVING for "" and each registered service.

    `address` is `unix:/path` (then only its owner can connect) or `host:port`, port 0 meaning any free one. `register`
    adds the servicers. `name` goes into the log and into what a peer is told of a fault.

    Raises:
        OSError: the address cannot be listened on.
    """
    server = grpc.aio.server(interceptors=interceptors, options=_OPTIONS)
    registrar = _Registrar(server, name)
    register(cast(grpc.aio.Server, registrar))
    health = _Health(registrar.service_names)
    _pb_grpc.add_HealthServicer_to_server(health, registrar)
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as fault:
        raise OSError(f"{name}: cannot listen on {address}: {fault}") from None
    await server.start()
    if address.startswith("unix:"):
        _keep_private(Path(address.removeprefix("unix:")))
        dialable = address
    else:
        host = address.rpartition(":")[0]
        dialable = f"{_dialable_host(host)}:{port}"
        address = f"{host}:{port}"
    _log.info("%s: listening on %s", name, address)
    return RpcServer(server, health, dialable)


async def probe(target: str, timeout_s: float = PROBE_TIMEOUT_S) -> bool:
    """Tell whether the server at `target` says SERVING within `timeout_s` seconds. Never raises for a server away."""
    async with rpc_channel.open_channel(target) as channel:
        stub = _pb_grpc.HealthStub(channel)
        try:
            async with asyncio.timeout(timeout_s):
                reply = await stub.Check(_pb.HealthCheckRequest(service=""), timeout=timeout_s)
        except (grpc.RpcError, TimeoutError):
            return False
        return reply.status == _SERVING


def _keep_private(socket: Path) -> None:
    socket.chmod(0o600)


def _dialable_host(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}.get(host, host)


class _Registrar:
    """Passes registrations on to the server, guarded, and remembers the services' names, which health answers for."""

    def __init__(self, server: grpc.aio.Server, name: str) -> None:
        self._server: Any = server
        self._name = name
        self.service_names: list[str] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        self.service_names += [h.service_name() for h in handlers if isinstance(h, grpc.ServiceRpcHandler)]
        self._server.add_generic_rpc_handlers([_FaultsInside(handler, self._name) for handler in handlers])

    def add_registered_method_handlers(self, service_name: str, handlers: dict[str, Any]) -> None:
        """Do nothing: generated code registers the same methods as generic handlers too, and those are guarded."""


class _Health(_pb_grpc.HealthServicer):
    """grpc.health.v1 (gRPC Health Checking Protocol). The library's own servicer can only be told from a coroutine, and
    its Watch streams never end, which would use up the whole grace of a stop."""

    def __init__(self, service_names: Sequence[str]) -> None:
        self._names = frozenset(["", *service_names])
        self._status = _SERVING
        self.ended = False
        self._changed = asyncio.Event()

    def set_serving(self, serving: bool) -> None:
        if not self.ended:
            self._status = _SERVING if serving else _NOT_SERVING
            self._changed.set()
            self._changed = asyncio.Event()

    def end(self) -> None:
        self.set_serving(False)
        self.ended = True

    async def Check(self, request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:  # noqa: N802
        if request.service not in self._names:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return _pb.HealthCheckResponse(status=self._status)

    async def Watch(  # noqa: N802
        self, request: Any, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[Any]:
        del context
        told: int | None = None
        while True:
            changed = self._changed
            status = self._status if request.service in self._names else _UNKNOWN
            if status != told:
                told = status
                yield _pb.HealthCheckResponse(status=status)
            if self.ended:
                return
            await changed.wait()


class _FaultsInside(grpc.GenericRpcHandler):
    """An unexpected exception is logged here and told to the peer as INTERNAL without its text.

    It wraps each handler once, where an interceptor would wrap it anew for every call.
    """

    def __init__(self, handler: grpc.GenericRpcHandler, name: str) -> None:
        self._handler = handler
        self._name = name
        self._guarded: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = handler_call_details.method
        guarded = self._guarded.get(method)
        if guarded is None and (handler := self._handler.service(handler_call_details)) is not None:
            guarded = self._guarded[method] = self._guard(handler, method)
        return guarded

    def _guard(self, handler: grpc.RpcMethodHandler[Any, Any], method: str) -> grpc.RpcMethodHandler[Any, Any]:
        kind = ("stream" if handler.request_streaming else "unary") + (
            "_stream" if handler.response_streaming else "_unary"
        )
        behavior: Any = getattr(handler, kind)
        wrap = self._stream if inspect.isasyncgenfunction(behavior) else self._unary
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(
            wrap(behavior, method),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _unary(self, behavior: Any, method: str) -> Any:
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
            try:
                return await behavior(request, context)
            except grpc.aio.BaseError:
                raise
            except Exception:
                await self._abort(context, method)

        return call

    def _stream(self, behavior: Any, method: str) -> Any:
        async def call(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            try:
                async for reply in behavior(request, context):
                    yield reply
            except grpc.aio.BaseError:
                raise
            except Exception:
                await self._abort(context, method)

        return call

    async def _abort(self, context: grpc.aio.ServicerContext[Any, Any], method: str) -> None:
        _log.exception("%s: %s failed", self._name, method)
        await context.abort(grpc.StatusCode.INTERNAL, f"internal error in the {self._name} service")


def main(arguments: Sequence[str]) -> int:
    """Probe the one target named in `arguments`; return the exit status."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m hub_common.rpc_server TARGET\n")
        return 2
    # Without this the library explains every refused connection on stderr, once per probe.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    if asyncio.run(probe(arguments[0])):
        return 0
    sys.stderr.write(f"{arguments[0]}: not serving\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
