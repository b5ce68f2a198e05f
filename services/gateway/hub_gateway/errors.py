"""The error tree: who is at fault, with the JSON-RPC code and the HTTP status each fault is told with.

    HubError
    ├── CallerError            what was asked cannot be answered, whoever asks
    │   ├── UnknownEntry       no such tool, prompt, resource, or none this audience may see
    │   ├── UnknownUpstream    REST named an upstream that is not configured
    │   ├── Conflict           not now: the thing asked for contradicts the present state
    │   └── TooLarge           the body is over the limit
    ├── UpstreamError          an MCP server behind the hub is at fault
    │   ├── UpstreamDown       no connection to it
    │   ├── UpstreamBusy       its in-flight limit is reached, or its breaker is open
    │   ├── UpstreamTimeout    it did not answer in time
    │   ├── UpstreamUnauthorized   it wants credentials the hub does not have
    │   └── UpstreamGarbage    it answered what is no MCP
    ├── SatelliteError         the filter, the categorizer or the store is away
    └── ConfigError            the document is unusable, with the path of every fault

An upstream's own JSON-RPC error, or a tool result with `isError`, is data: it is forwarded and never raised. What one
says of the hop between hub and upstream is no client's, and is raised (`upstreams/hop`).
"""

from __future__ import annotations

from typing import Any, ClassVar

from hub_common.logs import redacted
from hub_gateway.wire import errors as codes


class HubError(Exception):
    """Root. `data` is told to the caller, so it holds no secret."""

    code: ClassVar[int] = codes.INTERNAL_ERROR
    http_status: ClassVar[int] = 500
    rest_code: ClassVar[str] = "UNEXPECTED_ERROR"

    def __init__(self, message: str, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.data = data

    @property
    def error_raw(self) -> bytes:
        """The JSON-RPC error object."""
        return codes.error_object(self.code, str(self), self.data)


class CallerError(HubError):
    """The request itself is at fault."""

    code = codes.INVALID_PARAMS
    http_status = 400
    rest_code = "VALIDATION_ERROR"


class UnknownEntry(CallerError):
    """No entry of that name is visible to this audience."""

    http_status = 404
    rest_code = "NOT_FOUND"


class UnknownUpstream(CallerError):
    """No upstream of that name is configured."""

    http_status = 404
    rest_code = "SERVER_NOT_FOUND"


class Conflict(CallerError):
    """The request contradicts the present state."""

    http_status = 409
    rest_code = "CONFLICT"


class TooLarge(CallerError):
    """The body is larger than the limit."""

    http_status = 413
    rest_code = "PAYLOAD_TOO_LARGE"


class UpstreamError(HubError):
    """An upstream is at fault. Its own words may be in the message, and repeat a secret that it was shown."""

    code = codes.SERVER_ERROR
    http_status = 502
    rest_code = "SERVER_ERROR"

    def __init__(self, message: str, data: dict[str, Any] | None = None) -> None:
        super().__init__(redacted(message), data)


class UpstreamDown(UpstreamError):
    """There is no connection to the upstream, or it broke before the answer came."""

    http_status = 503
    rest_code = "CONNECTION_ERROR"


class UpstreamBusy(UpstreamError):
    """The upstream's in-flight limit is reached, or its breaker is open."""

    http_status = 503
    rest_code = "SERVER_BUSY"


class UpstreamTimeout(UpstreamError):
    """The upstream did not answer before the deadline."""

    http_status = 504
    rest_code = "TIMEOUT"


class UpstreamUnauthorized(UpstreamError):
    """The upstream answered 401 or 403."""

    http_status = 502
    rest_code = "UNAUTHORIZED"


class UpstreamGarbage(UpstreamError):
    """The upstream answered what is no MCP message."""


class SatelliteError(HubError):
    """The filter, the categorizer or the store did not answer."""

    http_status = 503
    rest_code = "SATELLITE_ERROR"


class ConfigError(HubError):
    """The config document is unusable. `faults` are sentences, each with file and path."""

    http_status = 400
    rest_code = "CONFIG_ERROR"

    def __init__(self, faults: list[str]) -> None:
        super().__init__("; ".join(faults), {"faults": faults})
        self.faults = faults
