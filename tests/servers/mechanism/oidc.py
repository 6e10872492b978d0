"""MONGODB-OIDC for the mechanism server: tokens are verified as MongoDB verifies them.

It knows identity providers as `oidcIdentityProviders` configures them, fetches their keys over
HTTP from where their discovery document says, and checks signature and claims through a JOSE
library (joserfc). Written from source/auth/auth.md; must not know the code under test, nor the
provider beyond its documents.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import bson

from tests.servers.mechanism.acceptor import Acceptor, Continue, Done, Exchange, Refused, Session
from tests.servers.needs import need_module

if TYPE_CHECKING:
    from joserfc import errors, jwk, jwt
else:
    errors = need_module("joserfc.errors", extra="test")
    jwk = need_module("joserfc.jwk", extra="test")
    jwt = need_module("joserfc.jwt", extra="test")

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "PS256", "PS384", "PS512")
FETCH_TIMEOUT = 5.0


@dataclass(frozen=True)
class IdentityProvider:
    """One entry of `oidcIdentityProviders`.

    `issuer` is a URL that serves the discovery document and equals the tokens' `iss`; `prefix`
    is authNamePrefix; `match` is matchPattern, tried on the principal that the client names;
    `claim` is principalName. `human` providers (supportsHumanFlows) are offered to a client that
    names nobody; a program's has no `client_id`.
    """

    issuer: str
    audience: str
    prefix: str
    client_id: str | None = None
    scopes: Sequence[str] = ()
    match: str | None = None
    claim: str = "sub"
    human: bool = True

    def info(self) -> dict[str, Any]:
        """The server's answer to a principal (IdpInfo)."""
        document: dict[str, Any] = {"issuer": self.issuer}
        if self.client_id is not None:
            document["clientId"] = self.client_id
        if self.scopes:
            document["requestScopes"] = list(self.scopes)
        return document


class OIDCAcceptor(Acceptor):
    """Logs the bearers of `providers`' tokens in, as ``<prefix>/<subject>``.

    `users` are the identities that exist (None: all). `clock` gives the server's time. To read:
    `principals` (each principal step's name), `tokens` (each token received), `accepted` (those
    that logged somebody in). `revoke` and `forgive` act on the next logins.
    """

    mechanism = "MONGODB-OIDC"
    speculates = True

    def __init__(
        self,
        *providers: IdentityProvider,
        users: Collection[str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.providers = providers
        self.users = users
        self.clock = clock
        self.principals: list[str | None] = []
        self.tokens: list[str] = []
        self.accepted: list[str] = []
        self._revoked: set[str] = set()
        self._keys: dict[str, Any] = {}
        self._lock = threading.Lock()

    def begin(self, session: Session) -> Exchange:
        return _Exchange(self)

    def revoke(self, *tokens: str) -> None:
        """Refuse these tokens from now on; without any, all that were accepted so far."""
        with self._lock:
            self._revoked.update(tokens or self.accepted)

    def forgive(self) -> None:
        """Forget what was revoked."""
        with self._lock:
            self._revoked.clear()

    # What an exchange asks

    def choose(self, principal: str | None) -> IdentityProvider:
        """The provider for a principal; without one, the only one for people."""
        with self._lock:
            self.principals.append(principal)
        if principal is None:
            found = [provider for provider in self.providers if provider.human]
            if len(found) != 1:
                raise Refused(detail=f"no principal named, and {len(found)} providers for people")
            return found[0]
        for provider in self.providers:
            if provider.match is None or re.search(provider.match, principal):
                return provider
        raise Refused(detail=f"no provider for principal {principal!r}")

    def admit(self, token: str, provider: IdentityProvider | None) -> str:
        """The identity that a token proves; it must be `provider`'s where one was chosen."""
        with self._lock:
            self.tokens.append(token)
            revoked = token in self._revoked
        if revoked:
            raise Refused(detail="the token is revoked")
        claimed = _claims_unverified(token)
        audience = claimed.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        for known in self.providers:
            if known.issuer == claimed.get("iss") and known.audience in audiences:
                break
        else:
            raise Refused(detail=f"no provider for iss {claimed.get('iss')!r}, aud {audience!r}")
        if provider is not None and provider != known:
            raise Refused(detail="the token is another provider's than the one named")
        identity = f"{known.prefix}/{self._verify(token, known)}"
        if self.users is not None and identity not in self.users:
            raise Refused(detail=f"there is no user {identity} in $external")
        with self._lock:
            self.accepted.append(token)
        return identity

    def _verify(self, token: str, provider: IdentityProvider) -> str:
        wanted: dict[str, Any] = {
            "iss": {"essential": True, "value": provider.issuer},
            "aud": {"essential": True, "value": provider.audience},
            "exp": {"essential": True},
            provider.claim: {"essential": True},
        }
        registry = jwt.JWTClaimsRegistry(now=int(self.clock()), **wanted)
        try:
            decoded = self._decode(token, provider)
            registry.validate(decoded.claims)
        except (errors.JoseError, ValueError, OSError) as error:
            raise Refused(detail=f"{type(error).__name__}: {error}") from error
        return str(decoded.claims[provider.claim])

    def _decode(self, token: str, provider: IdentityProvider) -> Any:
        """The token with its signature verified. Keys are fetched again for one not known yet,
        as happens after the provider rotated them."""
        with self._lock:
            keys = self._keys.get(provider.issuer)
        kid = _part(token, 0).get("kid")
        if keys is None or kid not in {key.kid for key in keys.keys}:
            keys = jwk.KeySet.import_key_set(_fetch_keys(provider.issuer))
            with self._lock:
                self._keys[provider.issuer] = keys
        return jwt.decode(token, keys, algorithms=ALGORITHMS)


class _Exchange(Exchange):
    def __init__(self, acceptor: OIDCAcceptor) -> None:
        self._acceptor = acceptor
        self._provider: IdentityProvider | None = None

    def step(self, payload: bytes) -> Continue | Done:
        document = _decode_payload(payload)
        if "jwt" in document:
            return Done(self._acceptor.admit(document["jwt"], self._provider))
        if self._provider is not None:
            raise Refused(detail="a token was due, not another principal")
        self._provider = self._acceptor.choose(document.get("n"))
        return Continue(bson.encode(self._provider.info()))


def _decode_payload(payload: bytes) -> Mapping[str, Any]:
    """{"jwt": token} or {"n": principal} or {}: nothing else (MongoDB parses it strictly)."""
    try:
        document: Mapping[str, Any] = bson.decode(payload)
    except bson.errors.InvalidBSON as error:
        raise Refused(f"payload: {error}", 22, "InvalidBSON") from error
    if len(document) > 1 or not set(document) <= {"jwt", "n"}:
        raise Refused(f"unknown fields: {list(document)}", 40415, "IDLUnknownField")
    if not all(isinstance(value, str) for value in document.values()):
        raise Refused("jwt and n are strings", 14, "TypeMismatch")
    return document


def _part(token: str, index: int) -> dict[str, Any]:
    """The token's header or claims, as it says them."""
    parts = token.split(".")
    if len(parts) != 3:
        raise Refused(detail="not a compact JWS: three parts were due")
    text = parts[index]
    try:
        part = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except ValueError as error:
        raise Refused(detail=f"not a compact JWS: {error}") from error
    if not isinstance(part, dict):
        raise Refused(detail="not a compact JWS: a part is no object")
    return part


def _claims_unverified(token: str) -> dict[str, Any]:
    _part(token, 0)
    return _part(token, 1)


def _fetch_keys(issuer: str) -> Any:
    """The provider's keys, from where its discovery document says they are."""
    discovery = _fetch(f"{issuer}/.well-known/openid-configuration")
    if discovery["issuer"] != issuer:
        raise ValueError(f"the discovery document is {discovery['issuer']}'s")
    return _fetch(discovery["jwks_uri"])


def _fetch(url: str) -> Any:
    # No proxy: a developer's environment must not be asked for what is on loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=FETCH_TIMEOUT) as response:
        return json.load(response)
