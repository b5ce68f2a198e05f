"""Tokens while they are used: which client gets them, their renewal, more permission, another authorization server."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.support import raw_http
from tests.support.auth_manners import Manners
from tests.support.protected_server import authorization_server, site
from tests.support.redis_server import redis_url  # noqa: F401 - a fixture
from tests.unit.gateway.upstreams.logins import Desk, desk

pytestmark = pytest.mark.anyio
CLIENT = {"clientId": "by-hand", "clientSecret": "s3cret/+ &"}
CLIENTS = {"by-hand": "s3cret/+ &"}
DOCUMENT = "https://elsewhere.example/client.json"


@pytest.fixture(scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Desk]:
    """One gateway for all tests; each configures it anew."""
    async with desk(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
@pytest.mark.parametrize("registered", [True, False])
async def test_a_client_with_a_secret_proves_itself_as_the_server_wants(
    hub: Desk, method: str, registered: bool
) -> None:
    clients = {} if registered else CLIENTS
    async with site(methods=(method,), registers=registered, clients=clients) as protected:
        await hub.log_in(await hub.add(protected, oauth={} if registered else CLIENT))
        assert (await hub.call())[0] == 200
        (asked,) = protected.issuer.seen.of("token")
        assert bool(asked["authorization"]) is (method == "client_secret_basic")
        assert bool(asked.get("client_secret")) is (method == "client_secret_post")


async def test_a_public_client_by_hand_needs_no_secret(hub: Desk) -> None:
    async with site(registers=False) as protected:
        protected.issuer.clients["public"] = None, "none"
        await hub.log_in(await hub.add(protected, oauth={"clientId": "public"}))
        assert protected.issuer.seen.of("authorize")[0]["client_id"] == "public"


async def test_a_client_metadata_document_is_preferred_to_registering(hub: Desk) -> None:
    async with site(documents=True) as protected:
        await hub.log_in(await hub.add(protected, oauth={"clientMetadataUrl": DOCUMENT}))
        assert protected.issuer.seen.of("authorize")[0]["client_id"] == DOCUMENT
        assert not protected.issuer.seen.of("register")
    async with site(documents=False) as protected:
        await hub.log_in(await hub.add(protected, oauth={"clientMetadataUrl": DOCUMENT}))
        assert len(protected.issuer.seen.of("register")) == 1


async def test_a_hub_without_a_public_address_has_no_document(hub: Desk) -> None:
    assert (await hub.api("GET", "/oauth/client-metadata.json"))[0] == 404


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
async def test_a_hub_with_access_of_its_own_needs_nobody(hub: Desk, method: str) -> None:
    async with site(methods=(method,), registers=False, clients=CLIENTS, challenge_scope="m2m") as protected:
        up = await hub.add(protected, oauth={"grant": "client_credentials", **CLIENT})
        await hub.ready(up)
        assert (await hub.call())[1]["result"]["content"][0]["text"] == "read as m2m"
        protected.issuer.revoke()
        assert (await hub.call())[0] == 200
        assert [each["grant_type"] for each in protected.issuer.seen.of("token")] == ["client_credentials"] * 2
        assert {each["resource"] for each in protected.issuer.seen.of("token")} == {protected.url}
        assert not protected.issuer.seen.of("authorize")


async def test_a_wrong_secret_is_told_without_it(hub: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with site(methods=("client_secret_basic",), registers=False, clients={"by-hand": "another"}) as protected:
        up = await hub.add(protected, oauth={"grant": "client_credentials", **CLIENT})
        assert up.status.state == "unauthorized"
        assert "invalid_client" in str(up.status.reason)
        assert CLIENT["clientSecret"] not in caplog.text + str(await hub.server())


async def test_a_refused_token_is_refreshed_once_for_all_calls(hub: Desk) -> None:
    async with site() as protected:
        up = await hub.add(protected)
        await hub.log_in(up)
        _make_old(hub)
        protected.issuer.revoke()
        statuses: list[int] = []

        async def call() -> None:
            statuses.append((await hub.call())[0])

        async with anyio.create_task_group() as calls:
            for _ in range(20):
                calls.start_soon(call)
        assert statuses == [200] * 20
        grants = [each["grant_type"] for each in protected.issuer.seen.of("token")]
        assert grants == ["authorization_code", "refresh_token"]
        assert up.status.state == "ready"


async def test_a_call_whose_token_is_being_refreshed_is_answered_where_its_server_is_removed(hub: Desk) -> None:
    async with site() as protected:
        await hub.log_in(await hub.add(protected))
        _make_old(hub)
        protected.issuer.revoke()
        protected.issuer.manners.refreshing_s = 8.0
        with anyio.fail_after(5):
            async with anyio.create_task_group() as calling:
                answers: list[tuple[int, Any]] = []

                async def call() -> None:
                    answers.append(await hub.call())

                calling.start_soon(call)
                await protected.issuer.seen.until("token", 2)
                await hub.configure()
        ((status, body),) = answers
        assert (status, body["code"]) == (502, "UNAUTHORIZED")
        assert "was stopped" in body["error"]


async def test_a_token_is_renewed_before_its_end(hub: Desk) -> None:
    async with site(life_s=2.0) as protected:
        up = await hub.add(protected)
        await hub.log_in(up)
        protected.issuer.manners.life_s = 3600.0
        await protected.issuer.seen.until("token", 2)
        await hub.until(lambda: any(token in _header(hub) for token in protected.issuer.tokens), "the new one is used")
        assert (await hub.call())[0] == 200
        assert up.status.state == "ready"
        assert len(protected.issuer.seen.of("authorize")) == 1


async def test_a_token_whose_time_is_over_is_renewed_before_the_first_message(hub: Desk) -> None:
    async with site() as protected:
        up = await hub.add(protected)
        await hub.log_in(up)
        await up.stop()
        _make_old(hub, ended=True)
        protected.issuer.revoke()
        before = len(protected.resource.seen.all)
        up.start()
        await hub.ready(up)
        first = protected.resource.seen.all[before]
        assert first.with_["authorization"].removeprefix("Bearer ") in protected.issuer.tokens


async def test_a_token_that_is_refused_soon_is_refreshed_too(hub: Desk) -> None:
    async with site() as protected:
        up = await hub.add(protected)
        await hub.log_in(up)
        for _ in range(3):
            protected.issuer.revoke()
            assert (await hub.call())[0] == 200
        used = [each["refresh_token"] for each in protected.issuer.seen.of("token")[1:]]
        assert len(set(used)) == 3
        assert len(protected.issuer.seen.of("authorize")) == 1


async def test_where_every_new_token_is_refused_a_person_is_asked(hub: Desk) -> None:
    async with site() as protected:
        await hub.log_in(await hub.add(protected))
        protected.resource.lets_in = False
        status, body = await hub.call()
        assert (status, body["code"]) == (502, "UNAUTHORIZED")
        assert body["data"]["authorizationUrl"].startswith(protected.issuer.base)
        assert len(protected.issuer.seen.of("token")) == 2


@pytest.mark.parametrize("refresh_error", [(503, ""), (429, "slow_down"), (400, "temporarily_unavailable")])
async def test_an_authorization_server_that_is_busy_costs_no_login(hub: Desk, refresh_error: tuple[int, str]) -> None:
    async with site(refresh_error=refresh_error) as protected:
        up = await hub.add(protected)
        await hub.log_in(up)
        protected.issuer.revoke()
        status, body = await hub.call()
        assert (status, body["code"]) == (502, "UNAUTHORIZED")
        assert body["data"]["authorizationUrl"].startswith(protected.issuer.base), "or somebody may be quicker"
        protected.issuer.manners.refresh_error = None
        await hub.ready(up)
        assert (await hub.call())[0] == 200
        assert (await hub.server())["authorizationUrl"] is None
        assert len(protected.issuer.seen.of("authorize")) == 1


async def test_a_refusal_with_status_200_is_one(hub: Desk) -> None:
    async with site(refresh_error=(200, "bad_refresh_token")) as protected:
        up = await hub.add(protected)
        await hub.log_in(up)
        _make_old(hub)
        protected.issuer.revoke()
        assert (await hub.call())[1]["code"] == "UNAUTHORIZED"
        await hub.until(lambda: up.status.state == "unauthorized", "the server is unauthorized")
        await hub.log_in(up)


async def test_a_refresh_token_is_used_once_by_all_hubs_of_one_store(
    redis_url: str,  # noqa: F811 - the fixture
    tmp_path: Path,
) -> None:
    ways = [tmp_path / name for name in ("one", "other")]
    for way in ways:
        way.mkdir()
    async with (
        site(refreshing_s=0.5) as protected,
        desk(ways[0], redis_url=redis_url) as one,
        desk(ways[1], redis_url=redis_url) as other,
    ):
        await one.log_in(await one.add(protected))
        await other.ready(await other.add(protected))
        protected.issuer.revoke()
        statuses: list[int] = []

        async def call(way: Desk) -> None:
            statuses.append((await way.call())[0])

        async with anyio.create_task_group() as calls:
            for way in (one, other):
                calls.start_soon(call, way)
        assert statuses == [200, 200]
        grants = [each["grant_type"] for each in protected.issuer.seen.of("token")]
        assert grants == ["authorization_code", "refresh_token"]


async def test_where_refreshing_fails_a_person_is_asked_again(hub: Desk) -> None:
    async with site(challenge_scope="a") as protected:
        up = await hub.add(protected)
        await hub.log_in(up)
        _make_old(hub)
        protected.issuer.revoke()
        protected.issuer.refresh_tokens.clear()
        status, body = await hub.call()
        assert (status, body["code"]) == (502, "UNAUTHORIZED")
        assert body["data"]["authorizationUrl"].startswith(protected.issuer.base)
        await hub.until(lambda: up.status.state == "unauthorized", "the server is unauthorized")
        await hub.log_in(up)
        assert len(protected.issuer.seen.of("register")) == 1


async def test_more_permission_is_asked_for_when_a_call_needs_it(hub: Desk) -> None:
    async with site(challenge_scope="basic", resource_scopes=("other",), needs={"write": "mcp:write"}) as protected:
        up = await hub.add(protected)
        await hub.log_in(up)
        status, body = await hub.call("write")
        assert (status, body["code"]) == (502, "UNAUTHORIZED")
        assert "mcp:write" in body["error"]
        assert up.status.state == "ready"
        assert (await hub.call("read"))[0] == 200
        url = (await hub.server())["authorizationUrl"]
        assert url == body["data"]["authorizationUrl"]
        assert (await hub.open(url)).status == 200
        assert (await hub.call("write"))[1]["result"]["content"][0]["text"] == "write as basic mcp:write"
        assert [each["scope"] for each in protected.issuer.seen.of("authorize")] == ["basic", "basic mcp:write"]
        assert (await hub.server())["authorizationUrl"] is None


async def test_an_mcp_client_is_told_what_to_open(hub: Desk) -> None:
    async with site(needs={"write": "mcp:write"}) as protected:
        await hub.log_in(await hub.add(protected))
        await hub.house.ready("up")
        capable: dict[str, Any] = {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "c", "version": "1"},
        }
        hello: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": capable}
        session = (await raw_http.post(hub.house.url, json.dumps(hello).encode())).headers["mcp-session-id"]
        call: dict[str, Any] = {
            "jsonrpc": "2.0",
            "id": 2,
            "method": "tools/call",
            "params": {"name": "up__write", "arguments": {}},
        }
        answer = await raw_http.post(hub.house.url, json.dumps(call).encode(), {"Mcp-Session-Id": session})
        assert answer.json()["error"]["data"]["authorizationUrl"] == (await hub.server())["authorizationUrl"]


async def test_permission_that_is_never_enough_is_asked_for_a_few_times_only(hub: Desk) -> None:
    async with site(challenge_scope="admin", needs={"tools/list": "admin"}, never_enough=True) as protected:
        up = await hub.add(protected)
        used = ""
        for _ in range(3):
            await hub.until(lambda used=used: _url(hub) not in (None, used), "another login is asked for")
            used = _url(hub)
            assert (await hub.open(used)).status == 200
        await hub.until(lambda: "refuses what it gets" in str(up.status.reason), "it gives up")
        assert (await hub.server())["authorizationUrl"] is None
        assert len(protected.issuer.seen.of("authorize")) == 3


async def test_a_hub_with_access_of_its_own_asks_for_more_itself(hub: Desk) -> None:
    manners: dict[str, Any] = {"methods": ("client_secret_basic",), "registers": False, "clients": CLIENTS}
    async with site(**manners, challenge_scope="basic", needs={"write": "mcp:write"}) as protected:
        await hub.ready(await hub.add(protected, oauth={"grant": "client_credentials", **CLIENT}))
        assert (await hub.call("write"))[1]["result"]["content"][0]["text"] == "write as basic mcp:write"
        protected.issuer.manners.never_enough = True
        for _ in range(3):
            assert (await hub.call("write"))[0] == 502
        assert len(protected.issuer.seen.of("token")) == 3


async def test_another_authorization_server_sees_nothing_of_the_old_ones(hub: Desk) -> None:
    async with site(challenge_scope="old") as protected, authorization_server(Manners(challenge_scope="new")) as second:
        up = await hub.add(protected)
        await hub.log_in(up)
        old = protected.issuer.seen.of("authorize")[0]["client_id"]
        protected.resource.authorization_server = second
        await hub.call()
        await hub.until(lambda: up.status.state == "unauthorized", "the old token is refused")
        await hub.log_in(up)
        assert (await hub.call())[1]["result"]["content"][0]["text"] == "read as new"
        assert len(second.seen.of("register")) == 1
        assert all(old not in str(asked.with_) for asked in second.seen.all)
        protected.resource.authorization_server = protected.issuer
        second.tokens.clear()
        await hub.call()
        await hub.until(lambda: up.status.state == "unauthorized", "back to the first")
        await hub.log_in(up)
        assert len(protected.issuer.seen.of("register")) == 1


async def test_a_client_by_hand_belongs_to_the_first_issuer_it_was_used_with(hub: Desk) -> None:
    manners = Manners(registers=False, clients=CLIENTS, methods=("client_secret_basic",))
    async with site(**vars(manners)) as protected, authorization_server(manners) as second:
        up = await hub.add(protected, oauth=CLIENT)
        await hub.log_in(up)
        protected.resource.authorization_server = second
        await hub.call()
        await hub.until(lambda: up.status.state == "unauthorized", "the old token is refused")
        assert second.issuer in str(up.status.reason)
        assert (await hub.server())["authorizationUrl"] is None
        again = await hub.add(protected, oauth={**CLIENT, "issuer": second.issuer})
        await hub.log_in(again)


async def test_an_issuer_that_the_config_does_not_trust_is_not_asked(hub: Desk) -> None:
    async with site() as protected:
        up = await hub.add(protected, oauth={"issuer": "https://trusted.example"})
        assert "not https://trusted.example" in str(up.status.reason)
        assert not protected.issuer.seen.all


async def test_no_secret_is_logged_or_shown(hub: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with site() as protected:
        up = await hub.add(protected)
        await hub.log_in(up)
        _make_old(hub)
        protected.issuer.revoke()
        await hub.call()
        shown = caplog.text + str(await hub.server()) + str(await hub.api("GET", "/api/health"))
        (code,) = [each["code"] for each in protected.issuer.seen.of("token") if "code" in each]
        (verifier,) = [each["code_verifier"] for each in protected.issuer.seen.of("token") if "code" in each]
        tokens = [*protected.issuer.tokens, *protected.issuer.refresh_tokens]
        assert len(tokens) == 2
        for secret in (code, verifier, *tokens):
            assert secret not in shown


def _credential(hub: Desk) -> Any:
    return hub.house.gateway.fleet.get("up").credential


def _url(hub: Desk) -> Any:
    return _credential(hub).authorization_url


def _header(hub: Desk) -> str:
    return _credential(hub).header.decode()


def _make_old(hub: Desk, *, ended: bool = False) -> None:
    """Let so much time pass for the access, as if the token had been used for a while."""
    shared = _credential(hub)._shared
    step_s = 4000.0 if ended else 60.0
    clock = shared.clock
    later = shared._replace(clock=lambda: clock() + step_s)
    _credential(hub)._shared = _credential(hub)._applicant._shared = later
