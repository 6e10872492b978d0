"""An OpenID provider on loopback: keys, discovery, JWKS, and a token endpoint for programs and
people.

It knows JOSE (through joserfc), OpenID Connect Discovery 1.0, and of OAuth 2.0 the client
credentials (RFC 6749 section 4.4), the device flow (RFC 8628) and refresh tokens that are good
for one use. Must not know MongoDB, nor the code under test.

`python -m tests.servers.oidc_issuer` starts one to play with.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from tests.servers.needs import need_module
from tests.servers.web import WebReply, WebRequest, WebServer

if TYPE_CHECKING:
    from joserfc import jwk, jwt
    from joserfc.jwk import ECKey, RSAKey
else:
    jwk = need_module("joserfc.jwk", extra="test")
    jwt = need_module("joserfc.jwt", extra="test")

RS256 = "RS256"
ES256 = "ES256"
DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
DEVICE_LIFETIME = 300


@dataclass(frozen=True)
class OAuthClient:
    """A registered client: `audience` is what its tokens are for, `subject` whom its own
    credentials stand for (a program's); without `secret` it is a public client (a person's)."""

    audience: str
    subject: str | None = None
    secret: str | None = None
    scopes: frozenset[str] = frozenset({"openid", "offline_access"})


@dataclass
class _Device:
    """A device flow in progress."""

    client_id: str
    scopes: frozenset[str]
    user_code: str
    expires_at: float
    subject: str | None = None
    denied: bool = False


@dataclass(frozen=True)
class _Grant:
    """What a refresh token stands for."""

    client_id: str
    subject: str
    scopes: frozenset[str]


@dataclass
class Counts:
    """What was issued: access tokens by grant type, and how many refresh tokens were refused."""

    by_grant: dict[str, int] = field(default_factory=dict)
    refused_refreshes: int = 0


class Issuer(WebServer):
    """The provider, from `with` on; `url` is its issuer identifier.

    Time is the machine's, moved forward by `advance`. Tokens come from `token()` (as a test wants
    them) or from the token endpoint (as the protocol wants them).
    """

    def __init__(
        self,
        *,
        clients: Mapping[str, OAuthClient] | None = None,
        lifetime: float = 300.0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(host, port)
        self.clients = dict(clients or {})
        self.lifetime = lifetime
        self.counts = Counts()
        self._ahead = 0.0
        self._state = threading.Lock()
        self._devices: dict[str, _Device] = {}
        self._grants: dict[str, _Grant] = {}
        self._keys: dict[str, RSAKey | ECKey] = {}
        self._published: list[RSAKey | ECKey] = []
        self.rotate()
        self.routes = {
            ("GET", "/.well-known/openid-configuration"): lambda _: WebReply(body=self.discovery()),
            ("GET", "/keys"): lambda _: WebReply(body=self.jwks()),
            ("POST", "/token"): self._token_endpoint,
            ("POST", "/device"): self._device_endpoint,
            ("POST", "/verify"): self._verify_endpoint,
        }

    # Time and keys

    def now(self) -> float:
        """Seconds since 1970, as this issuer and those who follow it see it."""
        return time.time() + self._ahead

    def advance(self, seconds: float) -> None:
        """Move the clock forward: what was issued before grows older."""
        self._ahead += seconds

    def rotate(self, *, keep_old: bool = False) -> None:
        """Sign with new keys from now on. The old ones leave the JWKS unless kept."""
        keys: dict[str, RSAKey | ECKey] = {}
        for algorithm, key in (
            (RS256, jwk.RSAKey.generate_key(2048, {"use": "sig", "alg": RS256})),
            (ES256, jwk.ECKey.generate_key("P-256", {"use": "sig", "alg": ES256})),
        ):
            key.ensure_kid()
            keys[algorithm] = key
        with self._state:
            self._published = [*(self._published if keep_old else []), *keys.values()]
            self._keys = keys

    def jwks(self) -> dict[str, Any]:
        """The public keys (RFC 7517 section 5)."""
        with self._state:
            document: Any = jwk.KeySet(list(self._published)).as_dict(private=False)
        return dict(document)

    def discovery(self) -> dict[str, Any]:
        """The provider's metadata (OpenID Connect Discovery 1.0 section 3)."""
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/keys",
            "token_endpoint": f"{self.url}/token",
            "device_authorization_endpoint": f"{self.url}/device",
            "authorization_endpoint": f"{self.url}/verify",
            "response_types_supported": ["code", "token", "id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [RS256, ES256],
            "grant_types_supported": ["client_credentials", "refresh_token", DEVICE_GRANT],
        }

    # Tokens as a test wants them

    def token(
        self,
        subject: str,
        audience: str | Sequence[str],
        *,
        lifetime: float | None = None,
        algorithm: str = RS256,
        claims: Mapping[str, Any] | None = None,
        key: RSAKey | ECKey | None = None,
    ) -> str:
        """A signed token. A negative `lifetime` makes one that has expired; `claims` override the
        usual ones (None leaves one out); `key` signs with a key of somebody else's."""
        now = int(self.now())
        content: dict[str, Any] = {
            "iss": self.url,
            "sub": subject,
            "aud": audience,
            "iat": now,
            "nbf": now,
            "exp": now + int(self.lifetime if lifetime is None else lifetime),
            "jti": secrets.token_hex(8),
            **(claims or {}),
        }
        content = {name: value for name, value in content.items() if value is not None}
        with self._state:
            own = self._keys[algorithm]
        header = {"alg": algorithm, "kid": own.kid, "typ": "JWT"}
        return jwt.encode(header, content, own if key is None else key)

    # The token endpoint

    def _token_endpoint(self, request: WebRequest) -> WebReply:
        form = request.form
        grant = form.get("grant_type", "")
        client_id = form.get("client_id", "")
        client = self.clients.get(client_id)
        if client is None or form.get("client_secret") != client.secret:
            return _error("invalid_client", 401)
        if grant == "client_credentials" and client.subject is not None and client.secret:
            return self._issue(grant, client_id, client.subject, frozenset())
        if grant == "refresh_token":
            return self._refresh(client_id, form.get("refresh_token", ""))
        if grant == DEVICE_GRANT:
            return self._poll(client_id, form.get("device_code", ""))
        return _error("unsupported_grant_type")

    def _refresh(self, client_id: str, token: str) -> WebReply:
        with self._state:
            found = self._grants.pop(token, None)
            if found is None or found.client_id != client_id:
                self.counts.refused_refreshes += 1
                return _error("invalid_grant")
        return self._issue("refresh_token", client_id, found.subject, found.scopes)

    def _poll(self, client_id: str, code: str) -> WebReply:
        with self._state:
            device = self._devices.get(code)
            if device is None or device.client_id != client_id:
                return _error("invalid_grant")
            if device.expires_at < self.now():
                return _error("expired_token")
            if device.denied:
                return _error("access_denied")
            if device.subject is None:
                return _error("authorization_pending")
            del self._devices[code]
        return self._issue(DEVICE_GRANT, client_id, device.subject, device.scopes)

    def _issue(self, grant: str, client_id: str, subject: str, scopes: frozenset[str]) -> WebReply:
        document: dict[str, Any] = {
            "access_token": self.token(subject, self.clients[client_id].audience),
            "token_type": "Bearer",
            "expires_in": int(self.lifetime),
            "scope": " ".join(sorted(scopes)),
        }
        with self._state:
            self.counts.by_grant[grant] = self.counts.by_grant.get(grant, 0) + 1
            if "offline_access" in scopes:
                refresh = secrets.token_urlsafe(24)
                self._grants[refresh] = _Grant(client_id, subject, scopes)
                document["refresh_token"] = refresh
        return WebReply(body=document, headers={"Cache-Control": "no-store"})

    def revoke_refresh_tokens(self) -> None:
        """Make every refresh token given out so far worthless."""
        with self._state:
            self._grants.clear()

    # People: the device flow

    def _device_endpoint(self, request: WebRequest) -> WebReply:
        client = self.clients.get(request.form.get("client_id", ""))
        scopes = frozenset(request.form.get("scope", "").split())
        if client is None or client.secret is not None:
            return _error("invalid_client", 401)
        if not scopes <= client.scopes:
            return _error("invalid_scope")
        code, user_code = secrets.token_urlsafe(24), secrets.token_hex(4).upper()
        with self._state:
            self._devices[code] = _Device(
                request.form["client_id"], scopes, user_code, self.now() + DEVICE_LIFETIME
            )
        return WebReply(
            body={
                "device_code": code,
                "user_code": user_code,
                "verification_uri": f"{self.url}/verify",
                "verification_uri_complete": f"{self.url}/verify?user_code={quote(user_code)}",
                "expires_in": DEVICE_LIFETIME,
                "interval": 1,
            }
        )

    def _verify_endpoint(self, request: WebRequest) -> WebReply:
        """What a browser posts: the code that the person was shown, and who the person is."""
        form = request.form
        with self._state:
            for device in self._devices.values():
                if device.user_code == form.get("user_code") and device.subject is None:
                    device.subject = form.get("username")
                    device.denied = "deny" in form
                    return WebReply(body="You may close this window.")
        return WebReply(404, "no such code")


def _error(name: str, status: int = 400) -> WebReply:
    return WebReply(status, {"error": name})


def main() -> None:
    clients = {"mongokey-shell": OAuthClient("mongodb")}
    with Issuer(clients=clients) as issuer:
        print(f"{issuer.url}/.well-known/openid-configuration   Ctrl-C ends it")
        print(issuer.token("ann", "mongodb"))
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
