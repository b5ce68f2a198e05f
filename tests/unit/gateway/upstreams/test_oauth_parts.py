"""The parts of OAuth that need no login: challenges, addresses, the hub's own metadata, what is kept. The SDK's client
is the oracle where it has the same function."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.client.auth import utils as sdk
from mcp.shared.auth_utils import check_resource_allowed, resource_url_from_server_url

from hub_common.store import StoreStatus, StoreUnavailable
from hub_common.store_embedded import EmbeddedStore
from hub_gateway.config.server_model import OAuth
from hub_gateway.errors import UpstreamUnauthorized
from hub_gateway.upstreams.oauth import urls
from hub_gateway.upstreams.oauth.challenge import Challenge, read
from hub_gateway.upstreams.oauth.discovery import AuthorizationServer, Found
from hub_gateway.upstreams.oauth.pending import LIFE_S, Pending, Pendings, begun, code_challenge
from hub_gateway.upstreams.oauth.registration import Client, Identity, known_client
from hub_gateway.upstreams.oauth.tokens import TokenEndpoint, Tokens
from hub_gateway.upstreams.oauth.vault import SPACE, Kept, Vault
from hub_gateway.upstreams.oauth.web import Web
from tests.unit.gateway.upstreams.scripted import Request, Write, answer, scripted

pytestmark = pytest.mark.anyio
SERVERS = ["https://a.example", "https://a.example/", "https://a.example:8443/mcp", "http://127.0.0.1:1/x/mcp/"]
ISSUERS = ["https://as.example", "https://as.example/", "https://as.example/one", "https://as.example/one/two/"]
CLIENT = Client("me", "registered", redirect_uri="http://127.0.0.1:7000/api/oauth/callback")
SERVER = AuthorizationServer("https://as.example", "https://as.example/token", "https://as.example/login?x=1")


@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        (None, Challenge()),
        ("", Challenge()),
        ("Bearer", Challenge()),
        ('Basic realm="x", scope="no"', Challenge()),
        ('Bearer scope="a b"', Challenge(scope="a b")),
        ("bearer error=insufficient_scope,scope=a", Challenge(scope="a", error="insufficient_scope")),
        ('Basic realm="Bearer scope=x", Bearer scope="a"', Challenge(scope="a")),
        ('Bearer scope="a", Basic scope="b"', Challenge(scope="a")),
        ('Negotiate, Bearer error_description="scope=\\"no\\", x", scope="yes"', Challenge(scope="yes")),
        ("Bearer resource_metadata=https://a.example/m?x=1", Challenge("https://a.example/m?x=1")),
        ('NTLM TlRMTVNTUAAB==, Bearer error="invalid_token"', Challenge(error="invalid_token")),
        ('Bearer realm="open, scope="a"', Challenge()),
    ],
)
def test_a_challenge_is_read(header: str | None, challenge: Challenge) -> None:
    assert read(header) == challenge


@given(st.text(max_size=200))
def test_no_header_is_too_odd_to_be_read(header: str) -> None:
    read(header)


@pytest.mark.parametrize("url", SERVERS)
@pytest.mark.parametrize("named", [None, "https://a.example/elsewhere"])
def test_resource_metadata_is_looked_for_where_the_sdk_does(url: str, named: str | None) -> None:
    assert urls.resource_metadata_urls(named, url) == sdk.build_protected_resource_metadata_discovery_urls(named, url)


@pytest.mark.parametrize("issuer", ISSUERS)
def test_server_metadata_is_looked_for_where_the_sdk_does(issuer: str) -> None:
    expected = sdk.build_oauth_authorization_server_metadata_discovery_urls(issuer, "https://a.example/mcp")
    assert urls.server_metadata_urls(issuer) == expected


@pytest.mark.parametrize("url", SERVERS)
@pytest.mark.parametrize("resource", [*SERVERS, "https://a.example:8443/mc", "https://A.example", "http://a.example"])
def test_a_resource_covers_what_the_sdk_allows(resource: str, url: str) -> None:
    assert urls.covers(resource, url) is check_resource_allowed(url, resource)


@pytest.mark.parametrize("url", [*SERVERS, "HTTPS://A.Example/Mcp#part"])
def test_the_resource_indicator_is_the_sdks(url: str) -> None:
    assert urls.canonical(url) == resource_url_from_server_url(url)


def test_the_resource_indicator_holds_no_secret() -> None:
    assert urls.canonical("https://me:pass@a.example/mcp?key=1") == "https://a.example/mcp"


@pytest.mark.parametrize("scopes", [(None, None), ("a b", None), (None, "a"), ("a b", "c b d"), ("", "x")])
def test_scopes_are_united_as_the_sdk_does(scopes: tuple[str | None, str | None]) -> None:
    assert urls.united(*scopes) == sdk.union_scopes(*scopes)


@pytest.mark.parametrize("url", ["https://h.example/a.json", "http://h.example/a", "https://h.example/", "x"])
def test_a_document_url_is_what_the_sdk_takes(url: str) -> None:
    assert urls.is_document_url(url) is sdk.is_valid_client_metadata_url(url)


def test_the_challenge_of_rfc_7636_appendix_b() -> None:
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert code_challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.mark.parametrize(
    ("base", "document", "kind"),
    [
        ("http://127.0.0.1:7000", None, "native"),
        ("http://[::1]:7000", None, "native"),
        ("https://localhost:7000", None, "native"),
        ("http://hub.example", None, "web"),
        ("https://hub.example/sub", "https://hub.example/sub/oauth/client-metadata.json", "web"),
    ],
)
def test_the_hub_shows_itself_as_it_is_reached(base: str, document: str | None, kind: str) -> None:
    identity = Identity(base)
    assert identity.document_url == document
    assert identity.metadata["application_type"] == kind
    if document is None:
        assert identity.document is None
    else:
        assert identity.document is not None
        assert identity.document["client_id"] == document
        assert identity.document["redirect_uris"] == [f"{base}/api/oauth/callback"]
        assert identity.document["token_endpoint_auth_method"] == "none"


@pytest.mark.parametrize(
    ("kept", "scope", "used"),
    [
        (CLIENT, None, True),
        (msgspec.structs.replace(CLIENT, asked_scope="a b"), "b", True),
        (msgspec.structs.replace(CLIENT, asked_scope="a b"), "b c", False),
        (msgspec.structs.replace(CLIENT, redirect_uri="http://127.0.0.1:7001/api/oauth/callback"), None, False),
        (msgspec.structs.replace(CLIENT, expires_at=99.0), None, False),
        (msgspec.structs.replace(CLIENT, expires_at=101.0), None, True),
    ],
)
def test_a_registration_is_used_again_while_it_fits(kept: Client, scope: str | None, used: bool) -> None:
    found = known_client(SERVER, OAuth(), Identity("http://127.0.0.1:7000"), kept, scope, 100.0)
    assert found == (kept if used else None)


def test_a_login_keeps_the_query_of_the_authorization_endpoint() -> None:
    pending = begun(Found(SERVER, "https://a.example", None), CLIENT, "k", "up", ("a b", None), 1.0)
    assert pending.url.startswith("https://as.example/login?x=1&response_type=code&client_id=me&")
    assert "scope=a%20b" in pending.url
    assert pending.verifier not in pending.url
    assert pending.verifier not in repr(pending)


@pytest.mark.parametrize("url", ["http://169.254.169.254/latest", "http://127.0.0.1:1/x", "file:///etc/passwd", "x"])
async def test_an_encrypted_server_does_not_lead_elsewhere(url: str) -> None:
    with pytest.raises(UpstreamUnauthorized):
        await Web(plain=False).get(url)


async def test_redirects_of_documents_end_and_those_of_secrets_are_not_followed() -> None:
    async def play(request: Request, write: Write) -> bool:
        await write(answer(b"", f"Location: {request.target}x", status="307 Temporary Redirect"))
        return True

    async with scripted(play) as server:
        with pytest.raises(UpstreamUnauthorized, match="circle"):
            await Web(plain=True).get(server.url)
        asked = len(server.requests)
        assert (await Web(plain=True).post(server.url, b"secret", {})).status == 307
        assert len(server.requests) == asked + 1


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (answer(b"no json"), "no token"),
        (answer(b'{"access_token":"a","token_type":"DPoP"}'), "another type"),
        (answer(b'{"access_token":"a\\r\\nX: y","token_type":"Bearer"}'), "no token"),
        (answer(b'{"error":"invalid_grant"}', status="400 Bad Request"), "HTTP 400: invalid_grant"),
        (answer(b'{"error":"x\\u001b[2J"}', status="400 Bad Request"), r"\(HTTP 400\)"),
        (answer(b"x" * 1_100_000), "more than"),
    ],
)
async def test_an_answer_that_is_no_token_is_refused(said: bytes, words: str) -> None:
    async def play(request: Request, write: Write) -> bool:
        await write(said)
        return False

    async with scripted(play) as server:
        endpoint = TokenEndpoint(Web(plain=True), server.url, CLIENT, "https://a.example", lambda: 0.0)
        with pytest.raises(UpstreamUnauthorized, match=words):
            await endpoint.for_itself(None)


@pytest.mark.parametrize(
    ("more", "tokens"),
    [
        (b"", Tokens("t", None, "asked", 5.0, None)),
        (b',"token_type":"bearer","expires_in":"60"', Tokens("t", None, "asked", 5.0, 65.0)),
        (b',"expires_in":0,"scope":"less","refresh_token":"r"', Tokens("t", "r", "less", 5.0, None)),
    ],
)
async def test_tokens_are_read_as_servers_write_them(more: bytes, tokens: Tokens) -> None:
    async def play(request: Request, write: Write) -> bool:
        await write(answer(b'{"access_token":"t"' + more + b"}"))
        return False

    async with scripted(play) as server:
        endpoint = TokenEndpoint(Web(plain=True), server.url, CLIENT, "https://a.example", lambda: 5.0)
        assert await endpoint.for_itself("asked") == tokens


def _pending(state: str = "s", begun_at: float = 0.0) -> Pending:
    pending = begun(Found(SERVER, "https://a.example", None), CLIENT, "k", "up", (None, None), begun_at)
    return msgspec.structs.replace(pending, state=state)


async def test_a_login_is_taken_once_by_whichever_replica_is_asked(tmp_path: Path) -> None:
    one, other = (Pendings(EmbeddedStore(tmp_path)) for _ in range(2))
    pending = _pending()
    await one.put(pending)
    assert await other.take("s", 1.0) == pending
    assert await one.take("s", 1.0) is None


async def test_a_login_that_took_too_long_is_none(tmp_path: Path) -> None:
    pendings = Pendings(EmbeddedStore(tmp_path))
    await pendings.put(_pending())
    assert await pendings.take("s", LIFE_S) is None


class Away:
    """A store that cannot be asked."""

    kind = "redis"

    def status(self) -> StoreStatus:
        return StoreStatus("redis", False, "away")

    def __getattr__(self, name: str) -> object:
        async def fail(*_: object) -> None:
            raise StoreUnavailable("away")

        return fail


async def test_without_its_store_the_hub_goes_on_with_what_it_knows() -> None:
    pendings, vault = Pendings(Away()), Vault(Away())  # pyright: ignore[reportArgumentType]
    await pendings.put(_pending())
    assert await pendings.take("s", 1.0) is not None
    assert await pendings.take("s", 1.0) is None
    assert await vault.get("k") == Kept()
    await vault.put("k", Kept(issuer="x"))
    assert (await vault.get("k")).issuer == "x"


async def test_what_cannot_be_read_is_begun_anew(tmp_path: Path) -> None:
    store = EmbeddedStore(tmp_path)
    await store.put(SPACE, "k", b'{"tokens": 1}')
    assert await Vault(store).get("k") == Kept()


def test_each_address_and_client_has_a_key_of_its_own() -> None:
    keys = {
        Vault.key("up", "https://a.example/?key=1", OAuth()),
        Vault.key("up", "https://a.example/?key=2", OAuth()),
        Vault.key("up", "https://a.example/?key=1", OAuth(client_id="x")),
        Vault.key("other", "https://a.example/?key=1", OAuth()),
    }
    assert len(keys) == 4
    assert not any("example" in key for key in keys)


@pytest.mark.parametrize("value", [CLIENT, Kept(client=CLIENT), Tokens("secret"), OAuth(client_secret="secret")])
def test_what_holds_a_secret_does_not_show_it(value: object) -> None:
    shown = msgspec.structs.replace(CLIENT, client_secret="secret") if value is CLIENT else value
    assert "secret" not in repr(shown).replace("client_secret", "")
