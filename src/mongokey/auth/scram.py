"""SCRAM-SHA-256 and SCRAM-SHA-1 (RFC 5802, RFC 7677, and MongoDB's auth.md about both).

The story: the client sends its name and a nonce; the server answers with its own nonce, salt
and iteration count; the client proves that it has the key derived from the password; the server
proves the same with a signature, without which no login is complete. `scram_steps` holds that
conversation; here is what its credential must be, and how its keys are derived, as
`OffloadedCall`, and kept in the credential's shared state. Does no I/O.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Mapping
from functools import partial

from mongokey._support.lazy import late_imports
from mongokey._support.secrets import keeps_secrets
from mongokey.auth.conversation import Conversation, OffloadedCall
from mongokey.auth.errors import LoginTimeout, ServerProofError
from mongokey.auth.keycache import KeyCache
from mongokey.auth.mechanism import FIRST_STEP, REQUIRED, Mechanism
from mongokey.auth.saslprep import saslprep
from mongokey.auth.scram_keys import Keys, derive_keys
from mongokey.auth.scram_steps import (
    MAX_ITERATIONS,
    MAX_SERVER_FIRST,
    MIN_ITERATIONS,
    NONCE_BYTES,
    ScramSteps,
)
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.deadline import Deadline
    from mongokey.auth.credential import MongoCredential

# MongoDB's salts have 16 (SHA-1) and 28 (SHA-256) bytes. RFC 5802 sets no bounds; below 8 a
# salt does not protect, above 1024 it is no salt.
MIN_SALT, MAX_SALT = 8, 1024

_SHA_256 = "SCRAM-SHA-256"
_SHA_1 = "SCRAM-SHA-1"
_DIGESTS = {_SHA_256: "sha256", _SHA_1: "sha1"}


class DeriveKeys(OffloadedCall):
    """Turns the password into SCRAM keys; in the credential's cache afterwards.

    Ends by its deadline, whether it computes or waits for another login that does; a failure
    leaves nothing in the cache.
    """

    def __init__(
        self,
        cache: KeyCache,
        key: tuple[bytes, int],
        compute: Callable[[Deadline | None, Callable[[], bool]], Keys],
        mechanism: str,
    ) -> None:
        self._cache = cache
        self._key = key
        self._compute = compute
        self.what = f"deriving the {mechanism} key with {key[1]} iterations"
        self.keys: Keys | None = None

    def _work(self) -> None:
        deadline = self.deadline
        try:
            self.keys = self._cache.derive(
                self._key,
                partial(self._compute, deadline, self.cancelled),
                deadline,
                self.cancelled,
            )
        except TimeoutError as error:
            raise LoginTimeout(
                f"{self.what}, as the server asks, does not fit into the time this login has: "
                f"{error}. Raise connectTimeoutMS (or timeoutMS, where that is shorter), or have "
                "the user's password stored with fewer iterations; an impostor may ask for many "
                "to keep this machine busy"
            ) from None


class ScramConversation(ScramSteps, Conversation):
    """One SCRAM login, and where its keys come from."""

    __slots__ = ()

    def _derivation(self, salt: bytes, iterations: int) -> DeriveKeys:
        raw = self._salt(salt)
        compute = partial(_derive, self.mechanism, self.credential, raw, iterations)
        return DeriveKeys(self.state.keys, (salt, iterations), compute, self.mechanism)

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


@keeps_secrets
def _derive(
    mechanism: str,
    credential: MongoCredential,
    salt: bytes,
    iterations: int,
    deadline: Deadline | None,
    cancelled: Callable[[], bool],
) -> Keys:
    # The password as the mechanism takes it is in no variable: error reports print those.
    return derive_keys(
        _DIGESTS[mechanism],
        _password(mechanism, credential),
        salt,
        iterations,
        deadline,
        cancelled,
    )


def _password(mechanism: str, credential: MongoCredential) -> bytes:
    """The password as the mechanism takes it."""
    password = credential.password or ""
    if mechanism == _SHA_256:
        return _prepare(password)
    # auth.md, "SCRAM-SHA-1": MongoDB's older password digest stands in for the password.
    with late_imports:
        from hashlib import md5

    digest = md5(f"{credential.username}:mongo:{password}".encode(), usedforsecurity=False)
    return digest.hexdigest().encode()


def _check_encodable(
    username: str | None, password: str | None, properties: Mapping[str, Any]
) -> None:
    for option, value in (("username", username), ("password", password)):
        if value and not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
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


def _mechanism(name: str, check: Any) -> Mechanism:
    return Mechanism(
        name,
        username=REQUIRED,
        password=REQUIRED,
        default_source="admin",
        takes_external=False,
        check=check,
        conversation=partial(ScramConversation, name),
        speculates=FIRST_STEP,
    )


SHA_256 = _mechanism(_SHA_256, _check_sha_256)
SHA_1 = _mechanism(_SHA_1, _check_encodable)

__all__ = [
    "MAX_ITERATIONS",
    "MAX_SERVER_FIRST",
    "MIN_ITERATIONS",
    "NONCE_BYTES",
    "SHA_1",
    "SHA_256",
    "DeriveKeys",
    "ScramConversation",
]
