"""An authorization server in the test's loop.

Owns its endpoints and their misbehaviour. Logging in needs nobody: the authorization endpoint redirects at once.
Everything that was asked is kept in `seen`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
import time
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from tests.support.auth_manners import Grant, Manners, Seen


class AuthorizationServer:
    """Issues tokens."""

    def __init__(self, base: str, manners: Manners) -> None:
        self.base = base
        self.manners = manners
        self.seen = Seen()
        self.clients: dict[str, tuple[str | None, str]] = {}
        """Secret and method of every client registered by itself."""
        self.codes: dict[str, Grant] = {}
        self.tokens: dict[str, Grant] = {}
        self.refresh_tokens: dict[str, Grant] = {}

    @property
    def issuer(self) -> str:
        """The issuer as it is."""
        return self.base + self.manners.tenant

    def revoke(self) -> None:
        """No access token is good any more; refresh tokens are."""
        self.tokens.clear()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (await self.answer(Request(scope, receive)))(scope, receive, send)

    async def answer(self, request: Request) -> Response:
        tenant, path = self.manners.tenant, request.url.path
        if path == self._metadata_path():
            await self.seen.add("metadata", {"path": path})
            return JSONResponse(self._metadata())
        match (request.method, path.removeprefix(tenant)):
            case ("POST", "/register") if self.manners.registers:
                return await self._register(await request.json())
            case ("GET", "/authorize"):
                return await self._authorize(dict(request.query_params))
            case ("POST", "/token"):
                form = dict(parse_qsl((await request.body()).decode()))
                return await self._token(form, request.headers.get("authorization"))
            case _:
                await self.seen.add("other", {"path": path})
                return Response("nothing here", 404)

    def _metadata_path(self) -> str | None:
        tenant = self.manners.tenant
        return {
            "oauth": f"/.well-known/oauth-authorization-server{tenant}",
            "openid": f"/.well-known/openid-configuration{tenant}",
            "openid-appended": f"{tenant}/.well-known/openid-configuration",
            "none": None,
        }[self.manners.metadata]

    def _metadata(self) -> dict[str, Any]:
        manners, issuer = self.manners, self.issuer
        found: dict[str, Any] = {
            "issuer": manners.issuer or issuer,
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "response_types_supported": ["code"],
            "token_endpoint_auth_methods_supported": list(manners.methods),
            "authorization_response_iss_parameter_supported": manners.says_iss,
            "client_id_metadata_document_supported": manners.documents,
        }
        if manners.registers:
            found["registration_endpoint"] = f"{issuer}/register"
        if manners.pkce:
            found["code_challenge_methods_supported"] = ["S256"]
        if manners.server_scopes is not None:
            found["scopes_supported"] = list(manners.server_scopes)
        return found

    async def _register(self, metadata: dict[str, Any]) -> Response:
        await self.seen.add("register", metadata)
        client_id, method = f"client-{secrets.token_hex(4)}", metadata.get("token_endpoint_auth_method", "none")
        secret = None if method == "none" else secrets.token_urlsafe(16)
        self.clients[client_id] = secret, method
        told = {**metadata, "client_id": client_id, **({"client_secret": secret} if secret else {})}
        return JSONResponse(told, 201)

    async def _authorize(self, asked: dict[str, str]) -> Response:
        await self.seen.add("authorize", asked)
        manners = self.manners
        told = {"state": asked["state"]}
        if manners.login_error is not None:
            told |= manners.login_error
        else:
            code = told["code"] = secrets.token_urlsafe(16)
            self.codes[code] = Grant(
                asked["client_id"],
                asked.get("scope", ""),
                asked["resource"],
                challenge=asked["code_challenge"] if asked["code_challenge_method"] == "S256" else "",
                redirect_uri=asked["redirect_uri"],
            )
        issuers = {"right": self.issuer, "wrong": "https://evil.example", "slash": f"{self.issuer}/"}
        if manners.iss != "none":
            told["iss"] = issuers[manners.iss]
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(told)}", 302)

    async def _token(self, form: dict[str, str], authorization: str | None) -> Response:
        await self.seen.add("token", {**form, "authorization": authorization})
        client_id = self._client(form, authorization)
        if client_id is None:
            return JSONResponse({"error": "invalid_client"}, 401)
        match form["grant_type"]:
            case "authorization_code":
                grant = self.codes.pop(form["code"], None)
                proof = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest())
                good = grant is not None and grant.challenge == proof.rstrip(b"=").decode()
                good = good and grant is not None and grant.redirect_uri == form["redirect_uri"]
            case "refresh_token" if self.manners.refresh_error is not None:
                status, error = self.manners.refresh_error
                return JSONResponse({"error": error}, status)
            case "refresh_token":
                grant, good = self.refresh_tokens.pop(form["refresh_token"], None), True
                await asyncio.sleep(self.manners.refreshing_s)
            case "client_credentials":
                grant, good = Grant(client_id, form.get("scope", ""), form["resource"]), True
            case _:
                return JSONResponse({"error": "unsupported_grant_type"}, 400)
        if grant is None or not good or grant.client_id != client_id or grant.resource != form["resource"]:
            return JSONResponse({"error": "invalid_grant", "error_description": "<no>"}, 400)
        return JSONResponse(self._issue(grant, form["grant_type"]))

    def _client(self, form: dict[str, str], authorization: str | None) -> str | None:
        """Who asks, where it proved that in its way."""
        known = {name: (secret, "") for name, secret in self.manners.clients.items()} | self.clients
        client_id, secret, method = form.get("client_id", ""), form.get("client_secret"), "none"
        if authorization is not None and authorization.startswith("Basic "):
            pair = base64.b64decode(authorization[6:]).decode().partition(":")
            client_id, secret, method = unquote(pair[0]), unquote(pair[2]), "client_secret_basic"
        elif secret is not None:
            method = "client_secret_post"
        if client_id.startswith("https://") and self.manners.documents:
            return client_id if method == "none" else None
        expected = known.get(client_id)
        if expected is None or expected[0] != secret or method not in self.manners.methods:
            return None
        return client_id if expected[1] in ("", method) else None

    def _issue(self, grant: Grant, grant_type: str) -> dict[str, Any]:
        manners = self.manners
        token, refresh_token = f"at-{secrets.token_urlsafe(16)}", f"rt-{secrets.token_urlsafe(16)}"
        ends_at = float("inf") if manners.life_s is None else time.time() + manners.life_s
        self.tokens[token] = Grant(grant.client_id, grant.scope, grant.resource, ends_at)
        told: dict[str, Any] = {"access_token": token, "token_type": "Bearer"}
        if manners.life_s is not None:
            told["expires_in"] = manners.life_s
        if grant.scope:
            told["scope"] = grant.scope
        if manners.refreshes and grant_type != "client_credentials":
            self.refresh_tokens[refresh_token] = grant
            told["refresh_token"] = refresh_token
        return told
