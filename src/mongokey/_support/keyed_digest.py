"""Digests that only this process can compute: they tell secrets apart and give none away, not even
to somebody who finds them in memory and guesses.

Must not know what is digested. A forked child has its parent's key.
"""

from __future__ import annotations

from os import urandom

from mongokey._support.lazy import imported_once

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

DIGEST_BYTES = 32

# The key, made at the first use. `setdefault` is one step: threads that come at once get one key.
_made: dict[str, bytes] = {}


def keyed_hasher(content: bytes = b"") -> Any:
    """A hash object (BLAKE2b, RFC 7693, with the key of this process) to `update` by parts."""
    key = _made.get("key")
    if key is None:
        key = _made.setdefault("key", urandom(32))
    return _blake2b()(content, key=key, digest_size=DIGEST_BYTES)


def keyed_digest(content: bytes) -> bytes:
    """The digest of `content`."""
    found: bytes = keyed_hasher(content).digest()
    return found


def _blake2b() -> Any:
    """hashlib's blake2b, from where hashlib takes it: loading OpenSSL's digests with it would cost
    a process that needs none of them 10 ms."""
    try:
        return imported_once("_blake2").blake2b
    except ImportError:  # not CPython
        return imported_once("hashlib").blake2b


__all__ = ["DIGEST_BYTES", "keyed_digest", "keyed_hasher"]
