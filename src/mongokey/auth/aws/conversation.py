"""The MONGODB-AWS conversation (auth.md, "MONGODB-AWS"): two messages each way, in BSON.

The story: the client sends a nonce; the server adds its own and names its STS host; the client
signs a GetCallerIdentity for that host over both nonces, which the server has STS check. Knows
the messages and when keys have to be fetched; must not know where they come from, nor how the
signature is made. Does no I/O itself: fetching is `OffloadedCall`.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping
from datetime import datetime, timezone

from mongokey._support.lazy import late_imports
from mongokey._support.reprs import with_safe_repr
from mongokey.auth import sasl
from mongokey.auth.aws.environment import chain_store
from mongokey.auth.aws.keys import AwsKeys, KeyStore, mask
from mongokey.auth.aws.problems import AwsProblem
from mongokey.auth.conversation import AbandonableCall, Conversation, Document, OffloadedCall, Step
from mongokey.auth.errors import AuthenticationFailed, LoginTimeout, ServerProofError
from mongokey.bson import decode, encode
from mongokey.bson.errors import BSONError
from mongokey.errors import ConfigurationError, NetworkTimeout

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey._support.deadline import Deadline
    from mongokey.auth.aws.signing import Signer
    from mongokey.auth.aws.sources import Search
    from mongokey.auth.credential import MongoCredential
    from mongokey.diagnostics import Diagnosis

MECHANISM = "MONGODB-AWS"
NONCE_BYTES = 32
SERVER_NONCE_BYTES = 64
# "n" of SCRAM's gs2-cb-flag: no channel binding, which servers do not support.
NO_CHANNEL_BINDING = ord("n")
# The server's message has about 100 bytes, with the longest host 350.
MAX_SERVER_FIRST = 4096

GIVEN = "username and password"


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


@with_safe_repr
class AwsState:
    """What logins share: those of one client that asks boto3's chain, or of all clients that were
    given the same keys or the same provider.

    `ready` says that boto3 is imported, `store` keeps fetched keys (those of the chain for all
    clients that see the same environment), `given` are those that the user gave, and `signer` is
    the last one used.
    """

    __slots__ = ("given", "provider", "ready", "signer", "store")

    def __init__(self, credential: MongoCredential) -> None:
        properties = credential.mechanism_properties
        self.provider = properties.get("AWS_CREDENTIAL_PROVIDER")
        chain = self.provider is None and credential.username is None
        self.store = chain_store() if chain else KeyStore()
        self.ready = False
        self.signer: Signer | None = None
        self.given: AwsKeys | None = None
        if credential.username is not None:
            token = properties.get("AWS_SESSION_TOKEN")
            self.given = AwsKeys(credential.username, credential.password or "", token, GIVEN)

    def __repr__(self) -> str:
        return f"<AwsState given={self.given!r} store={self.store!r}>"


class LoadBoto(OffloadedCall):
    """Imports what signs; only the first login of a process takes its time."""

    what = "loading boto3"

    def __init__(self, state: AwsState) -> None:
        self._state = state

    def _work(self) -> None:
        _load_boto(self._state)


class FetchKeys(AbandonableCall):
    """Gets keys from the user's provider or from boto3's chain, or from a login that does so at
    this moment. `keys` are there afterwards."""

    what = "getting AWS credentials"

    def __init__(self, state: AwsState, now: Callable[[], datetime]) -> None:
        self._state = state
        self._now = now
        self.search: Search | None = None
        self.keys: AwsKeys | None = None

    def run(self, deadline: Deadline | None = None) -> None:
        try:
            super().run(deadline)
        finally:
            # In time or not (or Ctrl-C): later logins do not wait for this search.
            self._state.store.abandon(self)

    def _work(self) -> None:
        self.keys = self._state.store.obtain(self, self._fetch, self._now())

    def _fetch(self) -> AwsKeys:
        state = self._state
        _load_boto(state)
        if state.provider is not None:
            with late_imports:
                from mongokey.auth.aws.custom_provider import ask_provider

            return ask_provider(state.provider, self.await_result)
        with late_imports:
            from mongokey.auth.aws.sources import Search

        self.search = Search()
        return self.search.run(self.deadline)

    def tell(self) -> str:
        """How far the search came, for a login that it took too long."""
        if self.search is None:
            return ""
        tried = self.search.tell()
        return f" (it waited for {self.search.place}" + (f"; before: {tried})" if tried else ")")


class AwsConversation(Conversation):
    """One MONGODB-AWS login.

    `now` gives the time as an aware datetime and is asked once per step; `_nonce` fixes the
    client's nonce, for tests.
    """

    mechanism = MECHANISM

    def __init__(
        self,
        credential: MongoCredential,
        address: AddressLike,
        *,
        now: Callable[[], datetime] = utc_now,
        _nonce: bytes | None = None,
    ) -> None:
        self.source = credential.source
        self._now = now
        self._nonce = _nonce if _nonce is not None else os.urandom(NONCE_BYTES)
        self._state = _state_of(credential)
        self._keys: AwsKeys | None = None
        self._signed = False
        self._evidence = Evidence()

    def start(self, speculative_reply: Mapping[str, Any] | None = None) -> Step:
        state = self._state
        if state.given is not None:
            return self._client_first(state.given) if state.ready else LoadBoto(state)
        keys = state.store.current(self._now())
        if keys is None and state.ready and state.provider is None:
            keys = self._in_environment()
        return self._client_first(keys) if keys is not None else FetchKeys(state, self._now)

    def resume(self, work: OffloadedCall) -> Step:
        error = work.error
        if isinstance(error, AwsProblem):
            raise self._error_of(error) from error.__cause__
        if isinstance(error, NetworkTimeout):
            raise LoginTimeout(f"{error}{work.tell() if isinstance(work, FetchKeys) else ''}")
        return super().resume(work)

    def _resumed(self, work: OffloadedCall) -> Step:
        keys = work.keys if isinstance(work, FetchKeys) else self._state.given
        assert keys is not None, "work without an error has keys"
        return self._client_first(keys)

    def step(self, reply: Mapping[str, Any]) -> Step:
        try:
            if not reply.get("ok"):
                self._evidence.answer = reply.get("errmsg")
            return super().step(reply)
        except Exception:
            # auth.md, "Caching Credentials": if it fails for any reason.
            if self._keys is not None:
                self._state.store.drop(self._keys)
            raise

    def _in_environment(self) -> AwsKeys | None:
        # Read anew by each login: another part of the program may have refreshed them.
        if not os.environ.get("AWS_ACCESS_KEY_ID"):
            return None
        with late_imports:
            from mongokey.auth.aws.sources import from_environment

        try:
            keys = from_environment()
        except AwsProblem as problem:
            failure = self._error_of(problem)
        else:
            signer = self._state.signer
            if keys is not None and signer is not None and keys.same_as(signer.keys):
                return signer.keys  # its signer is there
            return keys
        raise failure  # without the context of what boto3 raised

    def _client_first(self, keys: AwsKeys) -> Document:
        self._keys = keys
        return sasl.start(MECHANISM, encode({"r": self._nonce, "p": NO_CHANNEL_BINDING}))

    def _next(self, reply: Mapping[str, Any]) -> Step:
        answer = sasl.read(reply, MECHANISM)
        if self._signed:
            if not answer.done:
                raise ServerProofError(f"{MECHANISM}: the server does not end the login")
            return None
        if answer.done:
            raise ServerProofError(
                f"{MECHANISM}: the server says the login is done before it saw a signature"
            )
        nonce, host = self._read_server_first(answer.payload)
        keys = self._keys
        if keys is None:
            raise RuntimeError("a reply was given to a conversation that has sent nothing")
        state = self._state
        signer = state.signer
        if signer is None or signer.keys is not keys or signer.host != host:
            state.signer = signer = _make_signer(keys, host)
        at = self._now()
        authorization, date = signer.authorize(nonce, at)
        self._evidence.signed_at = at
        self._signed = True
        final = {"a": authorization, "d": date}
        if keys.token is not None:
            final["t"] = keys.token
        return sasl.proceed(answer, encode(final))

    def _read_server_first(self, payload: bytes) -> tuple[bytes, str]:
        """Both nonces and the STS host."""
        if len(payload) > MAX_SERVER_FIRST:
            raise _broken(f"it has {len(payload)} bytes, more than {MAX_SERVER_FIRST}")
        try:
            document = decode(payload)
        except BSONError as error:
            raise _broken(f"it is not BSON: {error}") from None
        nonce, host = document.get("s"), document.get("h")
        if not isinstance(nonce, bytes) or len(nonce) != SERVER_NONCE_BYTES:
            raise _broken(f"its nonce (s) is not binary data of {SERVER_NONCE_BYTES} bytes")
        if not hmac.compare_digest(nonce[:NONCE_BYTES], self._nonce):
            raise ServerProofError(
                f"{MECHANISM}: the server's nonce does not continue ours; the answer belongs to "
                "another login or was made up"
            )
        if not isinstance(host, str):
            raise _broken("its STS host (h) is not a string")
        return nonce, host

    def _error_of(self, problem: AwsProblem) -> Exception:
        self._evidence.problem = problem.diagnosis
        if problem.settings:
            error = ConfigurationError(str(problem.diagnosis))
            error.diagnoses = (problem.diagnosis,)
            return error
        return AuthenticationFailed(str(problem))

    @property
    def keys(self) -> AwsKeys | None:
        """The keys of this login; None before there were any."""
        return self._keys

    @property
    def sts_host(self) -> str | None:
        """The STS host that the server named; None before it did."""
        signer = self._state.signer
        return signer.host if signer is not None and self._signed else None

    def credential_description(self) -> str | None:
        keys = self._keys
        if keys is None:
            return None
        return f"credentials {mask(keys.access_key)} from {keys.origin}"

    def diagnostic_context(self) -> Evidence:
        keys = self._keys
        if keys is not None:
            self._evidence.describe(keys, given=keys is self._state.given)
        return self._evidence


def _state_of(credential: MongoCredential) -> AwsState:
    state = credential.state
    # What the chain finds hangs on the environment, which may be another one for a later client.
    chain = credential.username is None and not credential.mechanism_properties
    cache = state.cache if chain else state.shared.cache
    return cache(MECHANISM, lambda: AwsState(credential))


class Evidence:
    """What hints about a failed login look at; no secret is in it.

    `key` is the masked key id, `kind` its first four letters (AKIA is a user's, ASIA a temporary
    one's), `fixed` says that nobody but the user can renew the keys, `answer` is the server's
    errmsg, `problem` why no keys could be had.
    """

    __slots__ = (
        "answer",
        "expires",
        "fixed",
        "has_token",
        "key",
        "kind",
        "origin",
        "problem",
        "signed_at",
    )

    def __init__(self) -> None:
        self.answer: Any = None
        self.expires: datetime | None = None
        self.fixed = False
        self.has_token = False
        self.key: str | None = None
        self.kind = ""
        self.origin: str | None = None
        self.problem: Diagnosis | None = None
        self.signed_at: datetime | None = None

    def describe(self, keys: AwsKeys, given: bool) -> None:
        self.key = mask(keys.access_key)
        self.kind = self.key[:4]
        self.origin = keys.origin
        self.has_token = keys.token is not None
        self.expires = keys.expires
        self.fixed = given or not keys.keep


def _make_signer(keys: AwsKeys, host: str) -> Signer:
    with late_imports:
        from mongokey.auth.aws.signing import Signer

    try:
        return Signer(keys, host)
    except ValueError as error:
        raise _broken(f"its STS host (h), {host[:100]!a}, is no host name: {error}") from None


def _load_boto(state: AwsState) -> None:
    """Import boto3 and what this package builds on it. Raises AwsProblem when it is not there."""
    try:
        with late_imports:
            import boto3  # noqa: F401 - the extra is there or it is not

            # In the thread that waits for it: the steps of a login may run in an event loop.
            from mongokey.auth.aws import signing, sources  # noqa: F401
    except ImportError as error:
        import sys

        raise AwsProblem(
            "AWS-NO-BOTO3",
            f"MONGODB-AWS needs boto3, which {sys.executable} cannot import ({error})",
            f"install it for this Python: {sys.executable} -m pip install 'mongokey[aws]'",
            settings=True,
        ) from error
    state.ready = True


def _broken(problem: str) -> ServerProofError:
    return ServerProofError(
        f"{MECHANISM}: the server's first message cannot be understood: {problem}"
    )
