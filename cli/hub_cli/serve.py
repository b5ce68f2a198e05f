"""`mcp-hub serve`: the three services in one process, over unix sockets, with nothing else installed.

Owns what a person sees while the hub starts. The services are the same as in the container stack.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from rich.console import Console
from rich.text import Text

import hub_categorizer.servicer as categorizer
import hub_filter.servicer as filter_service
from hub_categorizer.settings import Settings as CategorizerSettings
from hub_common import logs, telemetry
from hub_common.rpc_server import RpcServer
from hub_common.settings import SettingsError, load
from hub_common.tasks import Tasks
from hub_filter.settings import Settings as FilterSettings
from hub_gateway.config.context import Context
from hub_gateway.config.dotenv import load_dotenv
from hub_gateway.config.filter_model import ToolFiltering
from hub_gateway.config.placeholders import resolve_text
from hub_gateway.errors import ConfigError, HubError
from hub_gateway.settings import PREFIX, GatewaySettings
from hub_gateway.wiring import Gateway, spare_the_collector

_log = logging.getLogger("hub_cli")

STOP_GRACE_S = 0.5
"""What calls under way get when a satellite stops."""

DEFAULT_CONFIG = "mcp-servers.json"
SETTLED_AFTER_S = 45.0
"""A server that has said nothing by then is named as still starting, and the summary is shown."""

_STDOUT = 1

_KEYS = ("gemini_api_key", "openai_api_key", "anthropic_api_key")
"""The categorizer's settings that are also read from variables that other programs know."""

_SETTINGS = {"apiKey": "llm_api_key", "model": "llm_model", "baseURL": "llm_base_url"}
"""The categorizer's setting for each key of the document's `llmCategorization` that may hold placeholders."""

_PATTERNS_ALONE = "categories come from patterns alone"

_MARKS = {
    "ready": ("✓", "green"),
    "degraded": ("!", "yellow"),
    "unauthorized": ("✗", "yellow"),
    "stopped": ("–", "dim"),
    "invalid": ("✗", "red"),
    "connecting": ("…", "dim"),
}


_FIRST_CONFIG = """
Name a config with --config, or write mcp-servers.json, for example:

    {"mcpServers": {"time": {"command": "uvx", "args": ["mcp-server-time"]}}}
"""


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _servers(gateway: Gateway) -> list[str]:
    """Of the config: the fleet has none of them before the endpoint answers."""
    return [*gateway.document.servers, *gateway.document.invalid]


class Screen(Console):
    """Standard output. Whoever reads it may go away, and its disk may be full: the hub goes on without a word more."""

    def __init__(self) -> None:
        super().__init__(highlight=False, soft_wrap=True)

    def print(self, *objects: Any, **options: Any) -> None:
        try:
            super().print(*objects, **options)
        except OSError as fault:
            self._fall_silent(fault)

    def on_broken_pipe(self) -> None:
        """Rich's own ends the process."""
        self._fall_silent(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))

    def _fall_silent(self, fault: OSError) -> None:
        self.quiet = True
        _log.warning("standard output is gone (%s): the hub goes on, and only its log says how it does", fault.strerror)
        with suppress(OSError), Path(os.devnull).open("wb") as nothing:
            os.dup2(nothing.fileno(), _STDOUT)  # what Python still holds back for it is written at the end


class Progress:
    """What a person sees: a line per server when it has settled, then where to go next."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._gateway: Gateway | None = None
        self._shown: dict[str, tuple[str, str | None]] = {}
        self._settled = asyncio.Event()

    def watch(self, gateway: Gateway) -> None:
        """Say where the hub is and which servers are coming."""
        self._gateway = gateway
        servers = _counted(sum(not each.disabled for each in gateway.document.servers.values()), "server")
        self._console.print(Text.assemble(("MCP Hub", "bold"), f" serves {gateway.endpoint} · {servers} starting"))

    def changed(self, name: str) -> None:
        """A server's status changed."""
        if self._gateway is None:
            return
        supervisor = self._gateway.fleet.supervisors.get(name)
        if supervisor is None:  # it is not in the config any more, and says that it stops
            self._shown.pop(name, None)
            return
        status = supervisor.status
        seen = (status.state, status.reason)
        if self._shown.get(name) == seen or (status.state == "connecting" and not status.last_error):
            return
        self._shown[name] = seen
        mark, style = _MARKS[status.state]
        about = status.reason or status.last_error or ""
        if status.state == "ready":
            about = _counted(len(supervisor.offering.tools), "tool")
        self._console.print(Text.assemble(("  " + mark, style), f" {name}  {status.state}  ", (about, "dim")))
        if all(each in self._shown for each in _servers(self._gateway)):
            self._settled.set()

    async def summary(self) -> None:
        """Wait until every server has settled, or long enough, and say what to do next."""
        gateway = self._gateway
        if gateway is None:
            return
        try:
            async with asyncio.timeout(SETTLED_AFTER_S):
                if _servers(gateway):
                    await self._settled.wait()
        except TimeoutError:
            late = [name for name in _servers(gateway) if name not in self._shown]
            self._console.print(f"  … still starting: {', '.join(late)}")
        await gateway.republish.settled()
        tools = sum(len(each.offering.tools) for each in gateway.fleet.supervisors.values())
        base = gateway.endpoint.removesuffix("/mcp")
        self._console.print(
            f"\n{_counted(tools, 'tool')} behind one endpoint. Point your MCP client at\n\n    {gateway.endpoint}\n\n"
            f"Try:  npx @modelcontextprotocol/inspector --cli {gateway.endpoint} --transport http --method tools/list\n"
            f"See:  curl {base}/api/health    Stop: Ctrl-C",
            markup=False,
        )


def serve(config: Sequence[Path], *, port: int | None, host: str | None, watch: bool | None) -> int:
    """Run the hub until SIGINT or SIGTERM and return the exit code. Options that are None leave the environment's."""
    load_dotenv(Path(".env"), os.environ)
    if not os.environ.get("HUB_GATEWAY_LOG_LEVEL", "").strip():
        os.environ["HUB_GATEWAY_LOG_LEVEL"] = "warning"
        if sys.stdout.isatty() and sys.stderr.isatty():  # what happens to servers is on the screen already
            logging.getLogger("hub_gateway.upstreams.supervisor").setLevel(logging.ERROR)
    try:
        settings = load(GatewaySettings, PREFIX, os.environ)
        satellites = (load(FilterSettings, "HUB_FILTER", os.environ), _categorizer_settings())
    except SettingsError as fault:
        for each in fault.faults:
            print(f"mcp-hub: {each}", file=sys.stderr)
        return 2
    given = {"port": port, "host": host, "watch": watch, "config": tuple(map(str, config)) or None}
    settings = msgspec.structs.replace(settings, **{key: value for key, value in given.items() if value is not None})
    logs.configure(settings.log_level, settings.log_style)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, *satellites))
    except ConfigError as fault:
        for each in fault.faults:
            print(f"mcp-hub: {each}", file=sys.stderr)
        if not any(Path(path).exists() for path in settings.config or (DEFAULT_CONFIG,)):
            print(_FIRST_CONFIG, end="", file=sys.stderr)
        return 2
    except HubError as fault:
        print(f"mcp-hub: {fault}", file=sys.stderr)
        return 1
    return 0


async def _serve(settings: GatewaySettings, filtering: FilterSettings, categorizing: CategorizerSettings) -> None:
    traced = {name: telemetry.configure(name) for name in ("gateway", "filter", "categorizer")}
    progress = Progress(Screen())
    with tempfile.TemporaryDirectory(prefix="mcp-hub-") as folder:
        settings = msgspec.structs.replace(
            settings, filter_target=f"unix:{folder}/filter", categorizer_target=f"unix:{folder}/categorizer"
        )
        paths = [Path(path) for path in settings.config or (DEFAULT_CONFIG,)]
        edited = asyncio.Event()
        gateway = Gateway(settings, paths, traced["gateway"], progress.changed, edited.set)
        spare_the_collector()
        loop = asyncio.get_running_loop()
        under_nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        for each in (signal.SIGINT, signal.SIGTERM, *(() if under_nohup else (signal.SIGHUP,))):
            loop.add_signal_handler(each, gateway.stop)
        filter_server = await filter_service.start(
            filtering, settings.filter_target, traced["filter"].server_interceptors()
        )
        following = Following(gateway, categorizing, settings.categorizer_target, traced["categorizer"])
        await following.start()
        tasks = Tasks("serve")
        try:
            progress.watch(gateway)
            tasks.spawn(progress.summary(), "summary")
            tasks.spawn(following.follow(edited), "llm")
            await gateway.run()
        finally:
            await tasks.close()
            await gateway.close()
            await asyncio.gather(filter_server.stop(STOP_GRACE_S), following.stop())
            for each in traced.values():
                each.shutdown()


class Following:
    """The categorizer, with the LLM that the document names; it starts anew where an edit names another."""

    def __init__(
        self, gateway: Gateway, settings: CategorizerSettings, address: str, tracing: telemetry.Telemetry
    ) -> None:
        self._gateway = gateway
        self._settings = settings
        self._address = address
        self._tracing = tracing
        self._server: RpcServer | None = None
        self._in_force = settings

    async def start(self) -> None:
        """Serve as the document says."""
        await self._start(await self._wanted())

    async def follow(self, edited: asyncio.Event) -> None:
        """Serve as each edit of the document says, until cancelled."""
        while True:
            await edited.wait()
            edited.clear()
            wanted = await self._wanted()
            if wanted == self._in_force:
                continue
            await self.stop()
            try:
                await self._start(wanted)
            except OSError:
                _log.exception("the categorizer is away until the next edit of toolFiltering.llmCategorization")
                continue
            self._gateway.republish.recategorize()

    async def stop(self) -> None:
        """Stop serving."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(STOP_GRACE_S)

    async def _wanted(self) -> CategorizerSettings:
        return await _with_llm(self._settings, self._gateway.document.tool_filtering, self._gateway.context)

    async def _start(self, settings: CategorizerSettings) -> None:
        self._in_force = settings
        self._server = await categorizer.start(
            settings, self._address, self._gateway.store, self._tracing.server_interceptors()
        )


def _categorizer_settings() -> CategorizerSettings:
    return load(CategorizerSettings, "HUB_CATEGORIZER", os.environ)


async def _with_llm(settings: CategorizerSettings, filtering: ToolFiltering, context: Context) -> CategorizerSettings:
    """What the document says of the LLM: in one process, its key need not be said twice.

    A key that stands in the environment for other programs is not used unless the document turns the LLM on.
    """
    llm = filtering.llm_categorization
    if llm is None or not llm.enabled or llm.provider is None:
        own = {name: os.environ.get(f"HUB_CATEGORIZER_{name.upper()}") or None for name in _KEYS}
        return msgspec.structs.replace(settings, **own)
    resolved: dict[str, str] = {}
    for key, text in llm.texts.items():
        try:
            resolved[_SETTINGS[key]] = await resolve_text(text, context, f"toolFiltering.llmCategorization.{key}")
        except ConfigError as fault:
            _log.warning("%s: %s", fault, _PATTERNS_ALONE)
            return msgspec.structs.replace(settings, **dict.fromkeys(("llm_api_key", *_KEYS)))
    if settings.provider != llm.provider:
        # What the environment says of another provider's model does not concern this one.
        resolved = {**dict.fromkeys(_SETTINGS.values(), ""), **resolved}
    if key := resolved.get("llm_api_key"):
        logs.add_secret(key)
    patience: dict[str, float] = {
        "llm_retries": llm.retries,
        "llm_backoff_s": llm.backoff_base_ms / 1000,
        "llm_max_backoff_s": llm.max_backoff_ms / 1000,
        "breaker_threshold": llm.circuit_breaker_threshold,
        "breaker_open_s": llm.circuit_breaker_timeout_ms / 1000,
        "cache_ttl_s": llm.cache_ttl_s,
    }
    if llm.temperature is not None:
        patience["temperature"] = llm.temperature
    if llm.anthropic_version:
        resolved["anthropic_version"] = llm.anthropic_version
    given = {name: value or None for name, value in resolved.items()}
    told = msgspec.structs.replace(settings, provider=llm.provider, **given, **patience)
    if not told.key:
        _log.warning("toolFiltering.llmCategorization: no key of %s is given: %s", llm.provider, _PATTERNS_ALONE)
    return told
