"""What answers to the two handshakes mean."""

from __future__ import annotations

import msgspec
import pytest

from hub_gateway.errors import UpstreamDown, UpstreamGarbage
from hub_gateway.upstreams.handshake import (
    AS_RELAY,
    Agreement,
    Initialize,
    Retry,
    initialize_params,
    judge_discover,
    judge_initialize,
)
from hub_gateway.upstreams.pending import Reply
from hub_gateway.wire import rewrite
from hub_gateway.wire.errors import error_object
from hub_gateway.wire.revisions import Era

MODERN = "2026-07-28"


def _refusal(code: int, supported: list[str] | None = None) -> Reply:
    return Reply(error_raw=error_object(code, "no", None if supported is None else {"supported": supported}))


def _result(value: object) -> Reply:
    return Reply(msgspec.json.encode(value))


def test_a_discover_result_settles_the_stateless_era_and_keeps_raw_members() -> None:
    raw = (
        b'{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{"x":1E5}},"instructions":"hi",'
        b'"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s","version":"1"}}}'
    )
    agreement = judge_discover(Reply(raw), MODERN)
    assert isinstance(agreement, Agreement)
    assert (agreement.era, agreement.revision, agreement.instructions) == (Era.STATELESS, MODERN, "hi")
    assert agreement.capabilities_raw == b'{"tools":{"x":1E5}}'
    assert agreement.capabilities == {"tools": {"x": 1e5}}
    assert agreement.server_info_raw == b'{"name":"s","version":"1"}'


@pytest.mark.parametrize("code", [-32601, -32602, -32600, -32000, 0])
def test_any_error_that_is_not_modern_asks_for_initialize(code: int) -> None:
    assert judge_discover(_refusal(code), MODERN) == Initialize()


@pytest.mark.parametrize(
    ("supported", "expected"),
    [
        (["2025-06-18", "2024-11-05"], Initialize("2025-06-18")),
        ([MODERN], Initialize()),
        ([], Initialize()),
        (None, Initialize()),
    ],
)
def test_an_unsupported_revision_chooses_among_the_supported_ones(
    supported: list[str] | None, expected: object
) -> None:
    if supported == [MODERN]:
        assert judge_discover(_refusal(-32022, supported), "2099-01-01") == Retry(MODERN)
    else:
        assert judge_discover(_refusal(-32022, supported), MODERN) == expected


def test_a_server_of_unknown_revisions_only_is_an_error_that_names_them() -> None:
    with pytest.raises(UpstreamDown, match="2099-01-01"):
        judge_discover(_refusal(-32022, ["2099-01-01"]), MODERN)


def test_another_modern_error_is_no_reason_to_fall_back() -> None:
    with pytest.raises(UpstreamDown):
        judge_discover(_refusal(-32020), MODERN)


def test_a_discover_result_without_a_stateless_revision_asks_for_initialize() -> None:
    assert judge_discover(_result({"supportedVersions": ["2025-11-25"], "capabilities": {}}), MODERN) == Initialize()


@pytest.mark.parametrize(
    "value", [{}, [], {"supportedVersions": 1}, {"supportedVersions": [MODERN], "capabilities": 1}]
)
def test_what_is_no_discover_result_asks_for_initialize(value: object) -> None:
    assert judge_discover(_result(value), MODERN) == Initialize()


@pytest.mark.parametrize("revision", ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"])
def test_initialize_settles_the_revision_the_upstream_chose(revision: str) -> None:
    result = {"protocolVersion": revision, "capabilities": {"tools": {}}, "serverInfo": {"name": "s"}}
    agreement = judge_initialize(_result(result))
    assert isinstance(agreement, Agreement)
    assert (agreement.era, agreement.revision) == (Era.HANDSHAKE, revision)
    assert agreement.server_info_raw == b'{"name":"s"}'


def test_initialize_with_an_unknown_revision_is_an_error() -> None:
    with pytest.raises(UpstreamDown, match="1999-01-01"):
        judge_initialize(_result({"protocolVersion": "1999-01-01"}))


def test_initialize_refused_with_a_stateless_revision_asks_again() -> None:
    assert judge_initialize(_refusal(-32022, [MODERN])) == Retry(MODERN)


def test_initialize_refused_otherwise_is_an_error() -> None:
    with pytest.raises(UpstreamDown, match="refused initialize: no"):
        judge_initialize(_refusal(-32601))


def test_initialize_answered_with_garbage_is_an_error() -> None:
    with pytest.raises(UpstreamGarbage):
        judge_initialize(_result([1]))


def test_initialize_declares_what_the_gateway_relays() -> None:
    params = msgspec.json.decode(rewrite.join(initialize_params("2025-11-25", AS_RELAY)))
    assert params["protocolVersion"] == "2025-11-25"
    assert params["capabilities"] == {
        "sampling": {"tools": {}, "context": {}},
        "elicitation": {"form": {}, "url": {}},
        "roots": {"listChanged": True},
        "extensions": {"io.modelcontextprotocol/ui": {"mimeTypes": ["text/html;profile=mcp-app"]}},
    }
    assert params["clientInfo"]["name"] == "mcp-hub"
