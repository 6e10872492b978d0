"""SCRAM-SHA-256 and SCRAM-SHA-1 (RFC 5802, RFC 7677, and MongoDB's auth.md about both).

The story: the client sends its name and a nonce; the server answers with its own nonce, salt
and iteration count; the client proves that it has the key derived from the password; the server
proves the same with a signature, without which no login is complete. Does no I/O; keys are
derived as `OffloadedCall` and kept in the credential's shared state.
"""

from __future__ import annotations

import os
import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping
from functools import partial

from mongokey._support.clock import monotonic_ns
from mongokey._support.secrets import keeps_secrets
from mongokey.auth import sasl
from mongokey.auth.conversation import Conversation, Document, OffloadedCall, Step
from mongokey.auth.errors import AuthenticationFailed, LoginTimeout, ServerProofError
from mongokey.auth.keycache import KeyCache
from mongokey.auth.mechanism import FIRST_STEP, REQUIRED, Mechanism
from mongokey.auth.saslprep import saslprep
from mongokey.auth.scram_keys import Keys, derive_keys, equal
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.auth.credential import MongoCredential

# auth.md: a lower count is what a man in the middle would ask for.
MIN_ITERATIONS = 4096
# What holds even without a deadline: one or two seconds of a processor with SHA instructions. A
# server that could ask for more could keep it busy for minutes with one message. A login with a
# deadline ends by that, and before the work where it cannot be done in time.
MAX_ITERATIONS = 10_000_000
# MongoDB's salts have 16 (SHA-1) and 28 (SHA-256) bytes. RFC 5802 sets no bounds; below 8 a
# salt does not protect, above 1024 it is no salt.
MIN_SALT, MAX_SALT = 8, 1024
# 192 random bits; 32 base64 letters.
NONCE_BYTES = 24
MAX_SERVER_FIRST = 4096

# "n,," = no channel binding, no authorization identity; "biws" is its base64.
_GS2_HEADER = b"n,,"
_CHANNEL = b"c=biws,"

_OPTIONS = {"skipEmptyExchange": True}

# RFC 5802 section 7, server-first-message without reserved-mext. The nonce is printable ASCII
# without the comma; extensions may follow and are ignored.
_read_server_first = re.compile(
    rb"r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/]+={0,2}),i=([1-9][0-9]{0,18})(?:,[A-Za-z]=[^,\0]+)*"
).fullmatch
_read_server_final = re.compile(
    rb"(?:v=([A-Za-z0-9+/]+={0,2})|e=([^,\0]+))(?:,[A-Za-z]=[^,\0]+)*"
).fullmatch


class _Hash:
    """What tells the two mechanisms apart."""

    __slots__ = ("digest", "mechanism")

    def __init__(self, mechanism: str, digest: str) -> None:
        self.mechanism = mechanism
        self.digest = digest


_SHA_256 = _Hash("SCRAM-SHA-256", "sha256")
_SHA_1 = _Hash("SCRAM-SHA-1", "sha1")


class DeriveKeys(OffloadedCall):
    """Turns the password into SCRAM keys; in the credential's cache afterwards.

    Ends by its deadline, whether it computes or waits for another login that does; a failure
    leaves nothing in the cache.
    """

    def __init__(
        self,
        cache: KeyCache,
        key: tuple[bytes, int],
        compute: Callable[[int, Callable[[], bool]], Keys],
        mechanism: str,
    ) -> None:
        self._cache = cache
        self._key = key
        self._compute = compute
        self._deadline_ns = 0
        self.what = f"deriving the {mechanism} key with {key[1]} iterations"
        self.keys: Keys | None = None

    def run(self, within_s: float | None = None) -> None:
        if within_s is not None:
            self._deadline_ns = max(1, monotonic_ns() + int(within_s * 1e9))
        super().run(within_s)

    def _work(self) -> None:
        deadline_ns = self._deadline_ns
        try:
            self.keys = self._cache.derive(
                self._key,
                partial(self._compute, deadline_ns, self.cancelled),
                deadline_ns,
                self.cancelled,
            )
        except TimeoutError as error:
            raise LoginTimeout(
                f"{self.what}, as the server asks, does not fit into the time this login has: "
                f"{error}. Raise connectTimeoutMS (or timeoutMS, where that is shorter), or have "
                "the user's password stored with fewer iterations; an impostor may ask for many "
                "to keep this machine busy"
            ) from None


class ScramConversation(Conversation):
    """One SCRAM login.

    `max_iterations` is the most a server may ask for; `_nonce` fixes the client's nonce and is
    for tests with the RFCs' vectors.
    """

    __slots__ = (
        "_credential",
        "_final",
        "_first_bare",
        "_hash",
        "_keys",
        "_max_iterations",
        "_nonce",
        "_pending",
        "_state",
        "_test_nonce",
        "_work",
        "mechanism",
        "source",
    )

    def __init__(
        self,
        credential: MongoCredential,
        address: AddressLike,
        *,
        hash_: _Hash,
        max_iterations: int = MAX_ITERATIONS,
        _nonce: bytes | None = None,
    ) -> None:
        self.mechanism = hash_.mechanism
        self.source = credential.source
        self._hash = hash_
        self._credential = credential
        self._max_iterations = max_iterations
        self._test_nonce = _nonce
        # The function, not the bound method: that would make each login a reference cycle.
        self._state = ScramConversation._begin
        self._work: DeriveKeys | None = None
        self._keys: KeyCache = credential.state.cache(hash_.mechanism, KeyCache)

    def speculative(self) -> Document:
        command = self._client_first()
        command["db"] = self.source
        return command

    def start(self, speculative_reply: Mapping[str, Any] | None = None) -> Step:
        # An answer without a message, as imitations of MongoDB give, is none.
        if speculative_reply is not None and "payload" in speculative_reply:
            return self._next(speculative_reply)
        return self._client_first()

    def _next(self, reply: Mapping[str, Any]) -> Step:
        return self._state(self, sasl.read(reply, self.mechanism))

    def _client_first(self) -> Document:
        nonce = self._test_nonce or b2a_base64(os.urandom(NONCE_BYTES), newline=False)
        name = self._credential.state.cache("SCRAM user name", self._escape_name)
        self._nonce = nonce
        self._first_bare = name + nonce
        self._state = ScramConversation._server_first
        return sasl.start(self.mechanism, _GS2_HEADER + self._first_bare, _OPTIONS)

    def _escape_name(self) -> bytes:
        # RFC 5802 section 5.1; auth.md forbids SASLprep on user names.
        name = (self._credential.username or "").replace("=", "=3D").replace(",", "=2C")
        return b"n=" + name.encode() + b",r="

    def _begin(self, reply: sasl.SaslReply) -> Step:
        raise RuntimeError("a reply was given to a conversation that has sent nothing")

    def _server_first(self, reply: sasl.SaslReply) -> Step:
        if reply.done:
            raise ServerProofError(
                f"{self.mechanism}: the server says the login is done before it proved that it "
                "knows the password"
            )
        match = _read_server_first(reply.payload)
        if match is None or len(reply.payload) > MAX_SERVER_FIRST:
            raise self._explain_first(reply.payload)
        nonce, salt, count = match.groups()
        iterations = int(count)
        own = self._nonce
        if not equal(nonce[: len(own)], own) or len(nonce) == len(own):
            raise ServerProofError(
                f"{self.mechanism}: the server's nonce does not continue ours; the answer belongs "
                "to another login or was made up"
            )
        if iterations < MIN_ITERATIONS:
            raise ServerProofError(
                f"{self.mechanism}: the server asks for {iterations} iterations, fewer than the "
                f"{MIN_ITERATIONS} that the specification demands; the password may have been "
                "stored with a weakened setting, or someone is in the middle"
            )
        if iterations > self._max_iterations:
            raise ServerProofError(
                f"{self.mechanism}: the server asks for {iterations} iterations, more than the "
                f"{self._max_iterations} this client computes"
            )
        keys = self._keys.get((salt, iterations))
        self._pending = (reply, nonce)
        if keys is not None:
            return self._client_final(keys)
        compute = partial(_derive, self._hash, self._credential, self._salt(salt), iterations)
        self._work = DeriveKeys(self._keys, (salt, iterations), compute, self.mechanism)
        return self._work

    def _resumed(self, work: OffloadedCall) -> Step:
        if not isinstance(work, DeriveKeys) or work is not self._work or work.keys is None:
            raise RuntimeError("this work is not this conversation's, or was not run")
        self._work = None
        return self._client_final(work.keys)

    def _client_final(self, keys: Keys) -> Document:
        reply, nonce = self._pending
        without_proof = _CHANNEL + b"r=" + nonce
        message = b",".join((self._first_bare, reply.payload, without_proof))
        self._final = (keys, message)
        self._state = ScramConversation._server_final
        return sasl.proceed(reply, without_proof + b",p=" + keys.prove(message))

    def _server_final(self, reply: sasl.SaslReply) -> Step:
        match = _read_server_final(reply.payload)
        if match is None:
            raise ServerProofError(
                f"{self.mechanism}: the server's last message holds neither its signature nor an "
                f"error{_say_done(reply)}"
            )
        if match[2] is not None:
            raise self._server_error(match[2])
        keys, message = self._final
        if not keys.verify(message, match[1]):
            raise ServerProofError(
                f"{self.mechanism}: the server could not prove that it knows the password: its "
                "signature is wrong. It may be an impostor; check the host and use TLS"
            )
        if reply.done:
            return self._finish()
        # A server that does not know skipEmptyExchange wants one more, empty, exchange.
        self._state = ScramConversation._server_empty
        return sasl.proceed(reply, b"")

    def _server_empty(self, reply: sasl.SaslReply) -> Step:
        if not reply.done:
            raise ServerProofError(
                f"{self.mechanism}: the server does not end the login after its last message"
            )
        return self._finish()

    def _finish(self) -> Step:
        self._state = ScramConversation._begin
        return None

    def _salt(self, encoded: bytes) -> bytes:
        try:
            salt = a2b_base64(encoded)
        except Base64Error:
            salt = b""
        # b64 that does not come back the same has padding or bits it should not have.
        if b2a_base64(salt, newline=False) != encoded:
            raise ServerProofError(f"{self.mechanism}: the server's salt is not valid base64")
        if not MIN_SALT <= len(salt) <= MAX_SALT:
            raise ServerProofError(
                f"{self.mechanism}: the server's salt has {len(salt)} bytes, expected {MIN_SALT} "
                f"to {MAX_SALT}"
            )
        return salt

    def _server_error(self, value: bytes) -> AuthenticationFailed:
        # The value is shown as the server's word, shortened and without control characters.
        word = ascii(value[:100].decode("ascii", "replace"))
        return AuthenticationFailed(f"{self.mechanism}: the server refused the login: {word}")

    def _explain_first(self, payload: bytes) -> AuthenticationFailed:
        if payload.startswith(b"e="):
            return self._server_error(payload[2:])
        if len(payload) > MAX_SERVER_FIRST:
            problem = f"it has {len(payload)} bytes, more than {MAX_SERVER_FIRST}"
        elif payload.startswith(b"m="):
            problem = "it demands an extension (m=) that no version of SCRAM defines"
        elif not payload:
            problem = "it is empty"
        else:
            problem = "it is not r=<nonce>,s=<salt>,i=<iterations>"
        return ServerProofError(
            f"{self.mechanism}: the server's first message cannot be understood: {problem}"
        )


@keeps_secrets
def _derive(
    hash_: _Hash,
    credential: MongoCredential,
    salt: bytes,
    iterations: int,
    deadline_ns: int,
    cancelled: Callable[[], bool],
) -> Keys:
    # The password as the mechanism takes it is in no variable: error reports print those.
    return derive_keys(
        hash_.digest, _password(hash_, credential), salt, iterations, deadline_ns, cancelled
    )


def _password(hash_: _Hash, credential: MongoCredential) -> bytes:
    """The password as the mechanism takes it."""
    password = credential.password or ""
    if hash_ is _SHA_256:
        return _prepare(password)
    # auth.md, "SCRAM-SHA-1": MongoDB's older password digest stands in for the password.
    from hashlib import md5

    digest = md5(f"{credential.username}:mongo:{password}".encode(), usedforsecurity=False)
    return digest.hexdigest().encode()


def _say_done(reply: sasl.SaslReply) -> str:
    return ", and yet it says that the login is done" if reply.done else ""


def _check_encodable(
    username: str | None, password: str | None, properties: Mapping[str, Any]
) -> None:
    for option, value in (("username", username), ("password", password)):
        if any("\ud800" <= c <= "\udfff" for c in value or ""):
            raise ConfigurationError(f"{option} contains a lone surrogate, which has no UTF-8 form")


def _check_sha_256(
    username: str | None, password: str | None, properties: Mapping[str, Any]
) -> None:
    _check_encodable(username, password, properties)
    _prepare(password or "")


def _prepare(password: str) -> bytes:
    try:
        return saslprep(password).encode()
    except ValueError as error:
        hint = ""
        if password[-1:] in ("\n", "\r"):
            hint = (
                "; it ends with a line break: make the secret with printf or echo -n, or strip it"
            )
        raise ConfigurationError(
            f"password cannot be used with SCRAM-SHA-256: {error}{hint}"
        ) from None


def _mechanism(hash_: _Hash, check: Any) -> Mechanism:
    return Mechanism(
        hash_.mechanism,
        username=REQUIRED,
        password=REQUIRED,
        default_source="admin",
        takes_external=False,
        check=check,
        conversation=partial(ScramConversation, hash_=hash_),
        speculates=FIRST_STEP,
    )


SHA_256 = _mechanism(_SHA_256, _check_sha_256)
SHA_1 = _mechanism(_SHA_1, _check_encodable)
