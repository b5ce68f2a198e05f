"""A person lets the hub into a server: from the 401 to the first call, in front of a real authorization server."""

from __future__ import annotations

import stat
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support import raw_http
from tests.support.protected_server import site
from tests.unit.gateway.upstreams.logins import Desk, desk

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Desk]:
    """One gateway for all tests; each configures it anew."""
    async with desk(tmp_path_factory.mktemp("hub")) as running:
        yield running


async def test_a_server_that_wants_a_login_says_so_and_is_used_after_it(
    hub: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    async with site(challenge_scope="mcp:basic") as protected:
        up = await hub.add(protected)
        told = await hub.server()
        assert told["status"] == "unauthorized"
        assert "authorizationUrl" in told["reason"]
        (line,) = [each for each in caplog.records if "to let the hub in, open" in each.getMessage()]
        assert (line.levelname, line.getMessage().split()[-1]) == ("WARNING", told["authorizationUrl"])
        page = await hub.log_in(up)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert b"The login worked" in page.body
        assert (await hub.server())["authorizationUrl"] is None
        assert (await hub.call())[1]["result"]["content"][0]["text"] == "read as mcp:basic"
        (registered,) = protected.issuer.seen.of("register")
        (asked,) = protected.issuer.seen.of("authorize")
        (exchanged,) = protected.issuer.seen.of("token")
    callback = f"{hub.base}/api/oauth/callback"
    assert registered["redirect_uris"] == [callback]
    assert registered["application_type"] == "native"
    assert registered["grant_types"] == ["authorization_code", "refresh_token"]
    assert (asked["redirect_uri"], asked["code_challenge_method"], asked["scope"]) == (callback, "S256", "mcp:basic")
    assert asked["resource"] == exchanged["resource"] == protected.url
    assert len(asked["state"]) >= 43
    assert (exchanged["redirect_uri"], exchanged["authorization"]) == (callback, None)


@pytest.mark.parametrize("resource_metadata", ["challenge", "path", "root"])
@pytest.mark.parametrize(
    ("metadata", "tenant"),
    [("oauth", ""), ("openid", ""), ("oauth", "/one"), ("openid", "/one"), ("openid-appended", "/one")],
)
async def test_metadata_is_found_wherever_it_may_be(
    hub: Desk, resource_metadata: str, metadata: str, tenant: str
) -> None:
    async with site(resource_metadata=resource_metadata, metadata=metadata, tenant=tenant) as protected:
        await hub.log_in(await hub.add(protected))
        assert (await hub.call())[0] == 200


@pytest.mark.parametrize("metadata", ["oauth", "none"])
async def test_a_server_of_2025_03_26_is_its_own_authorization_server(hub: Desk, metadata: str) -> None:
    async with site(
        together=True, resource_metadata="none", metadata=metadata, iss="none", says_iss=False
    ) as protected:
        await hub.log_in(await hub.add(protected))
        assert (await hub.call())[0] == 200


@pytest.mark.parametrize(
    ("manners", "scope"),
    [
        ({"challenge_scope": "a b", "resource_scopes": ("c",)}, "a b"),
        ({"resource_scopes": ("c", "d")}, "c d"),
        ({}, None),
        ({"resource_scopes": ("c",), "server_scopes": ("c", "offline_access")}, "c offline_access"),
        ({"server_scopes": ("x", "offline_access")}, None),
    ],
)
async def test_scopes_are_those_that_the_server_names(hub: Desk, manners: dict[str, Any], scope: str | None) -> None:
    async with site(**manners) as protected:
        await hub.log_in(await hub.add(protected))
        (asked,) = protected.issuer.seen.of("authorize")
    assert asked.get("scope") == scope
    assert asked.get("prompt") == ("consent" if scope and "offline_access" in scope else None)


async def test_scopes_of_the_config_are_asked_for_too(hub: Desk) -> None:
    async with site(challenge_scope="a", resource_scopes=("c",)) as protected:
        await hub.log_in(await hub.add(protected, oauth={"scopes": ["mine"]}))
        assert protected.issuer.seen.of("authorize")[0]["scope"] == "mine a"


@pytest.mark.parametrize(
    ("manners", "works"),
    [
        ({"iss": "right"}, True),
        ({"iss": "none", "says_iss": False}, True),
        ({"iss": "right", "says_iss": False}, True),
        ({"iss": "none"}, False),
        ({"iss": "wrong"}, False),
        ({"iss": "wrong", "says_iss": False}, False),
        ({"iss": "slash"}, False),
        ({"iss": "wrong", "login_error": {"error": "access_denied", "error_description": "from evil"}}, False),
    ],
)
async def test_an_answer_of_another_issuer_is_not_used(hub: Desk, manners: dict[str, Any], works: bool) -> None:
    async with site(**manners) as protected:
        up = await hub.add(protected)
        page = await hub.open((await hub.server())["authorizationUrl"])
        assert (page.status == 200) is works
        assert bool(protected.issuer.seen.of("token")) is works
        if works:
            await hub.ready(up)
        else:
            assert b"authorization server" in page.body
            assert b"evil" not in page.body


async def test_a_refused_login_is_told_escaped_and_can_be_tried_again(hub: Desk) -> None:
    async with site(login_error={"error": "access_denied", "error_description": "<script>x</script>&"}) as protected:
        up = await hub.add(protected)
        first = (await hub.server())["authorizationUrl"]
        page = await hub.open(first)
        assert page.status == 400
        assert b"<script>" not in page.body
        assert b"access_denied: &lt;script&gt;x&lt;/script&gt;&amp;" in page.body
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert page.headers["referrer-policy"] == "no-referrer"
        await hub.until(lambda: "access_denied" in str(up.status.reason), "the reason is told")
        protected.issuer.manners.login_error = None
        assert (await hub.server())["authorizationUrl"] != first
        await hub.log_in(up)
        assert len(protected.issuer.seen.of("register")) == 1


async def test_an_answer_counts_once_and_only_where_it_was_waited_for(hub: Desk) -> None:
    async with site() as protected:
        up = await hub.add(protected)
        back = await hub.asked_back((await hub.server())["authorizationUrl"])
        for foreign in ("", "?code=x", "?code=x&state=guessed", "?code=x&state=a&state=b"):
            page = await raw_http.send("GET", f"{hub.base}/api/oauth/callback{foreign}")
            assert page.status == 400
        assert not protected.issuer.seen.of("token")
        assert (await raw_http.send("GET", back)).status == 200
        await hub.ready(up)
        assert (await raw_http.send("GET", back)).status == 400
        assert len(protected.issuer.seen.of("token")) == 1
        assert up.status.state == "ready"


async def test_the_answer_can_be_brought_by_hand(hub: Desk) -> None:
    async with site() as protected:
        up = await hub.add(protected)
        back = await hub.asked_back((await hub.server())["authorizationUrl"])
        query = urlsplit(back).query
        elsewhere = f"http://localhost:1/cut/off?{query}"
        status, body = await hub.api("POST", "/api/oauth/manual_callback", {"url": elsewhere})
        assert (status, body["status"], body["server_name"]) == (200, "ok", "up")
        await hub.ready(up)
        status, body = await hub.api("POST", "/api/oauth/manual_callback", {"url": elsewhere})
        assert (status, body["code"]) == (400, "LOGIN_REFUSED")


async def test_a_login_is_begun_on_request(hub: Desk) -> None:
    async with site() as protected:
        up = await hub.add(protected)
        shown = (await hub.server())["authorizationUrl"]
        status, body = await hub.api("POST", "/api/servers/authorize", {"server_name": "up"})
        assert (status, body["authorizationUrl"]) == (200, shown)
        await hub.log_in(up)
        first_client = protected.issuer.seen.of("authorize")[0]["client_id"]
        status, body = await hub.api("POST", "/api/servers/authorize", {"server_name": "up", "forget": True})
        assert f"client_id={first_client}&" not in body["authorizationUrl"]
        await hub.until(lambda: up.status.state == "unauthorized", "what was forgotten is not used")
        assert (await hub.open(body["authorizationUrl"])).status == 200
        await hub.ready(up)


async def test_nobody_logs_in_where_there_is_nothing_to_log_in_to(hub: Desk) -> None:
    async with site(clients={"own": "its-secret"}, methods=("client_secret_basic",)) as protected:
        await hub.configure(
            local={"command": "no-such-program"},
            static={"url": protected.url, "headers": {"authorization": "Bearer mine"}},
            machine={
                "url": protected.url,
                "oauth": {"grant": "client_credentials", "clientId": "own", "clientSecret": "its-secret"},
            },
        )
        for name in ("local", "static", "machine"):
            status, body = await hub.api("POST", "/api/servers/authorize", {"server_name": name})
            assert (status, body["code"]) == (409, "CONFLICT"), body
        assert (await hub.api("POST", "/api/servers/authorize", {"server_name": "none"}))[0] == 404
        static = hub.house.gateway.fleet.get("static")
        await hub.until(lambda: static.status.state == "unauthorized", "the configured header is refused")
        assert (await hub.server("static"))["authorizationUrl"] is None


@pytest.mark.parametrize(
    ("manners", "words"),
    [
        ({"resource": "https://evil.example/mcp"}, "another server"),
        ({"issuer": "https://attacker.example"}, "another issuer"),
        ({"pkce": False}, "PKCE"),
        ({"registers": False}, "oauth.clientId"),
        ({"resource_metadata": "none"}, "does not register"),
        ({"metadata": "none"}, "has no metadata"),
    ],
)
async def test_what_contradicts_itself_ends_before_the_login(hub: Desk, manners: dict[str, Any], words: str) -> None:
    async with site(**manners) as protected:
        up = await hub.add(protected)
        assert up.status.state == "unauthorized"
        assert words in str(up.status.reason)
        assert (await hub.server())["authorizationUrl"] is None
        status, body = await hub.api("POST", "/api/servers/authorize", {"server_name": "up"})
        assert (status, body["code"]) == (502, "UNAUTHORIZED")
        assert words in body["error"]
        for what in ("register", "authorize", "token"):
            assert not protected.issuer.seen.of(what)


async def test_tokens_outlive_the_hub_in_a_file_for_its_user_only(tmp_path: Path) -> None:
    async with site(life_s=None) as protected:
        async with desk(tmp_path) as first:
            await first.log_in(await first.add(protected))
        kept = tmp_path / "state" / "oauth.json"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        async with desk(tmp_path) as second:
            up = await second.add(protected)
            assert up.status.state == "ready"
            other = await second.add(protected, "other")
            assert other.status.state == "unauthorized"
        assert len(protected.issuer.seen.of("token")) == 1


async def test_a_login_begun_before_a_restart_is_taken_after_it(tmp_path: Path) -> None:
    async with site() as protected:
        async with desk(tmp_path) as first:
            await first.add(protected)
            back = await first.asked_back((await first.server())["authorizationUrl"])
        async with desk(tmp_path) as second:
            up = await second.add(protected)
            answered = f"{second.base}/api/oauth/callback?{urlsplit(back).query}"
            assert (await raw_http.send("GET", answered)).status == 200
            await second.ready(up)


async def test_a_hub_with_a_public_address_is_known_by_its_document(tmp_path: Path) -> None:
    public = "https://hub.example/sub"
    async with site(documents=True) as protected, desk(tmp_path, public_url=f"{public}/") as hub:
        up = await hub.add(protected)
        back = await hub.asked_back((await hub.server())["authorizationUrl"])
        assert back.startswith(f"{public}/api/oauth/callback?")
        answered = f"{hub.base}/api/oauth/callback?{urlsplit(back).query}"
        assert (await raw_http.send("GET", answered)).status == 200
        await hub.ready(up)
        (asked,) = protected.issuer.seen.of("authorize")
        status, document = await hub.api("GET", "/oauth/client-metadata.json")
        assert (status, document["client_id"]) == (200, f"{public}/oauth/client-metadata.json")
        assert document["client_id"] == asked["client_id"]
        assert document["redirect_uris"] == [asked["redirect_uri"]]
        assert "refresh_token" in document["grant_types"]
        assert not protected.issuer.seen.of("register")
