"""The MONGODB-OIDC login: one step with an access token, or two with the server's word on which
identity provider to use.

Knows the two flows of auth.md ("Credential Caching"): which of the cached access token, the
refresh token and a new call comes next, and what a refusal (18) makes of it. Must not know how a
token is got.
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey._support.lazy import late_imports
from mongokey._support.server_codes import AUTHENTICATION_FAILED
from mongokey.auth import sasl
from mongokey.auth.conversation import Conversation, Document, OffloadedCall, Step
from mongokey.auth.errors import ServerProofError
from mongokey.auth.oidc.claims import Evidence
from mongokey.auth.oidc.token_source import Provider, provider_of
from mongokey.auth.oidc.tokens import Failure, Token, TokenStore, tokens_of
from mongokey.bson import decode, encode
from mongokey.bson.errors import InvalidBSON

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.auth.credential import MongoCredential
    from mongokey.auth_oidc import OIDCCallbackResult, OIDCIdPInfo
    from mongokey.diagnostics import Diagnosis

_MECHANISM = "MONGODB-OIDC"
# The longest honest way is cached token, refresh token, new login; others' tokens may come between.
_MOST_REFUSALS = 4


class FetchToken(OffloadedCall):
    """Gets an access token from the provider, or waits for the one that another login fetches."""

    interactive = True

    def __init__(
        self,
        provider: Provider,
        store: TokenStore,
        since: int,
        refresh_token: Any,
        idp_info: OIDCIdPInfo | None,
    ) -> None:
        self.what = f"fetching an access token from {provider.name}"
        self.timed = not provider.human
        self.outcome: Token | Failure | None = None
        self._provider = provider
        self._store = store
        self._since = since
        self._refresh_token = refresh_token
        self._idp_info = idp_info

    def _work(self) -> None:
        provider = self._provider
        whole = provider.deadline(self.deadline)
        # A time of its own begins now; the login's has begun before.
        timeout_s = whole.left_s if whole is self.deadline else whole.timeout.ns / 1e9
        context = provider.context(timeout_s, self._refresh_token, self._idp_info)
        self.outcome = self._store.fetch(
            lambda: provider.ask(context, self.await_result),
            since=self._since,
            whole=whole,
            deadline=self.deadline,
            what=self.what,
            too_late=provider.too_late,
            keep=self._keep if provider.human else None,
            cancelled=self.cancelled,
        )

    def _keep(self, store: TokenStore, result: OIDCCallbackResult) -> None:
        refresh_token = getattr(result, "refresh_token", None)
        store.idp_info = self._idp_info
        # A call with a refresh token need not give a new one.
        if refresh_token is not None or self._refresh_token is None:
            store.refresh_token = refresh_token


class OIDCConversation(Conversation):
    """One login with a token.

    `_token` is the specification's connection cache: the token that was sent last. `_since` tells
    calls that began before this login, whose tokens count as cached, from those that did not.
    """

    mechanism = _MECHANISM

    def __init__(self, credential: MongoCredential, address: AddressLike) -> None:
        self.source = credential.source
        self._username = credential.username
        self._provider = provider_of(credential)
        # Before anything is sent, cached tokens too.
        self._provider.check_host(address[0])
        self._store = tokens_of(credential)
        self._since = self._store.calls
        self._token: Token | None = None
        self._refresh_token: Any = None
        self._principal: sasl.SaslReply | None = None
        self._asked_for_idp = False
        self._refusals = 0
        self._hint: Diagnosis | None = None
        self._work: FetchToken | None = None

    def speculative(self) -> Document | None:
        token = self._store.current
        if token is None:
            return None
        command = self._send(token)
        command["db"] = self.source
        return command

    def start(self, speculative_reply: Mapping[str, Any] | None = None) -> Step:
        if speculative_reply is not None and speculative_reply.get("done") is True:
            return self._next(speculative_reply)
        # Without an answer the token may still be good: a proxy may have taken the question out.
        return self._begin()

    def step(self, reply: Mapping[str, Any]) -> Step:
        refused = not reply.get("ok") and reply.get("code") == AUTHENTICATION_FAILED
        if refused and self._refused():
            return self._begin()
        return super().step(reply)

    def restore(self, saved_state: Any) -> None:
        if isinstance(saved_state, Token):
            self._store.drop(saved_state)

    def saved_state(self) -> Token | None:
        return self._token

    def credential_description(self) -> str:
        return f"access token from {self._provider.name}"

    def diagnostic_context(self) -> Evidence:
        return Evidence(None if self._token is None else self._token.text, self._hint)

    def _begin(self) -> Step:
        """The first command with what the cache has now."""
        self._refresh_token = None
        self._principal = None
        self._token = None
        token = self._store.current
        if token is not None:
            return self._send(token)
        if not self._provider.human:
            return self._fetch(None)
        idp_info = self._store.idp_info
        self._refresh_token = self._store.refresh_token
        if self._refresh_token is not None and idp_info is not None:
            return self._fetch(idp_info)
        self._asked_for_idp = True
        principal = {} if self._username is None else {"n": self._username}
        return sasl.start(_MECHANISM, encode(principal))

    def _refused(self) -> bool:
        """Forget the token that was refused; whether there is another way to log in."""
        token = self._token
        if token is None:
            return False
        self._store.drop(token, refused=True)
        self._refusals += 1
        if self._principal is not None or self._refusals >= _MOST_REFUSALS:
            return False
        if self._refresh_token is not None:
            self._store.drop_refresh(self._refresh_token)
            # What the refresh token gave was no use; the next call is to be a new one.
            self._since = max(self._since, token.call)
            return True
        return self._provider.human or token.call <= self._since

    def _next(self, reply: Mapping[str, Any]) -> Step:
        answer = sasl.read(reply, _MECHANISM)
        if self._asked_for_idp:
            self._asked_for_idp = False
            if answer.done:
                raise ServerProofError(
                    f"{_MECHANISM}: the server says the login is done before it got a token"
                )
            self._principal = answer
            return self._fetch(read_idp_info(answer.payload))
        if not answer.done:
            raise ServerProofError(
                f"{_MECHANISM}: the server wants to go on, but the token was the last message"
            )
        return None

    def _fetch(self, idp_info: OIDCIdPInfo | None) -> Step:
        self._work = FetchToken(
            self._provider, self._store, self._since, self._refresh_token, idp_info
        )
        return self._work

    def _resumed(self, work: OffloadedCall) -> Step:
        if not isinstance(work, FetchToken) or work is not self._work or work.outcome is None:
            raise RuntimeError("this work is not this conversation's, or was not run")
        self._work = None
        outcome = work.outcome
        if isinstance(outcome, Failure):
            self._hint = outcome.hint
            if self._refresh_token is not None:
                # Else every later login would fail with it again.
                self._store.drop_refresh(self._refresh_token)
            raise outcome.error()
        return self._send(outcome)

    def _send(self, token: Token) -> Document:
        self._token = token
        payload = encode({"jwt": token.text})
        if self._principal is not None:
            return sasl.proceed(self._principal, payload)
        return sasl.start(_MECHANISM, payload)


def read_idp_info(payload: bytes) -> OIDCIdPInfo:
    """What the server says of the identity provider (auth.md, "Two-Step").

    Raises ServerProofError when it is not what it should be.
    """
    with late_imports:
        from mongokey.auth_oidc import OIDCIdPInfo

    try:
        info = decode(payload)
    except InvalidBSON as error:
        raise ServerProofError(
            f"{_MECHANISM}: the server's identity provider is not a BSON document: {error}"
        ) from None
    issuer, client_id, scopes = (info.get(n) for n in ("issuer", "clientId", "requestScopes"))
    if not isinstance(issuer, str) or not issuer:
        raise ServerProofError(
            f"{_MECHANISM}: the server names no issuer to log in at: is the user one of an "
            "identity provider with human flow (supportsHumanFlows)?"
        )
    if client_id is not None and not isinstance(client_id, str):
        raise ServerProofError(f"{_MECHANISM}: the server's clientId is not a string")
    if scopes is not None and not (
        isinstance(scopes, list) and all(isinstance(each, str) for each in scopes)
    ):
        raise ServerProofError(f"{_MECHANISM}: the server's requestScopes are not strings")
    return OIDCIdPInfo(issuer, client_id, scopes)
