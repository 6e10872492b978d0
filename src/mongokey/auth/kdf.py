"""Key derivation and keyed hashes, by whichever of OpenSSL's doors suits the size of the job.

Knows hashlib, `cryptography` and the interpreter lock; must not know SCRAM.
"""

from __future__ import annotations

import hashlib
import sys

# Up to this many iterations `cryptography` derives: about twice as fast here, but it holds the
# interpreter lock. 20 000 take it 4 ms (SHA-256), which other threads can bear, and both counts
# that servers use by default (15 000 and 10 000) are below. Above it hashlib derives, which
# lets the other threads run.
HOLD_LOCK_ITERATIONS = 20_000

# Importing `cryptography` takes about 28 ms and saves 3 ms a derivation: it pays after this many.
IMPORT_AFTER = 8

_derivations = 0

_TRANS_5C = bytes(x ^ 0x5C for x in range(256))
_TRANS_36 = bytes(x ^ 0x36 for x in range(256))


def pbkdf2(digest: str, password: bytes, salt: bytes, iterations: int) -> bytes:
    """PBKDF2-HMAC (RFC 8018) with one block of output: the digest's own size.

    `digest` is "sha256" or "sha1". Blocks; releases the interpreter lock unless it is done in
    a few milliseconds.
    """
    global _derivations
    _derivations += 1
    if iterations > HOLD_LOCK_ITERATIONS or not _have_cryptography():
        return hashlib.pbkdf2_hmac(digest, password, salt, iterations)
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

    algorithm = hashes.SHA256() if digest == "sha256" else hashes.SHA1()  # noqa: S303
    return PBKDF2HMAC(algorithm, algorithm.digest_size, salt, iterations).derive(password)


def _have_cryptography() -> bool:
    return _derivations > IMPORT_AFTER or "cryptography.hazmat.primitives.kdf.pbkdf2" in sys.modules


class HmacKey:
    """HMAC (RFC 2104) with one key, its two padded blocks hashed once.

    Copying a hash costs a third of setting up OpenSSL's HMAC each time; a warm login signs
    twice.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes, digest: str) -> None:
        self._inner = hashlib.new(digest)
        self._outer = hashlib.new(digest)
        block = self._inner.block_size
        if len(key) > block:
            key = hashlib.new(digest, key).digest()
        key = key.ljust(block, b"\0")
        self._inner.update(key.translate(_TRANS_36))
        self._outer.update(key.translate(_TRANS_5C))

    @classmethod
    def of_digest(cls, data: bytes, digest: str) -> HmacKey:
        """The HMAC whose key is the digest of `data`."""
        return cls(hashlib.new(digest, data).digest(), digest)

    def sign(self, message: bytes) -> bytes:
        """HMAC of `message`."""
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def __repr__(self) -> str:
        return "<HmacKey>"
