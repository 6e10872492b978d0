from collections.abc import Callable

from mongokey._support.deadline import Deadline

class Keys:
    """The keys of RFC 5802 section 3, made by `derive_keys` only; may be shared by threads."""

    def prove(self, message: bytes) -> bytes:
        """ClientProof for the AuthMessage `message`, in base64."""
    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` is the ServerSignature for `message`, in base64."""

def derive_keys(
    digest: str,
    password: bytes,
    salt: bytes,
    iterations: int,
    deadline: Deadline | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Keys:
    """The keys for a password as the mechanism takes it; `digest` is "sha256" or "sha1".

    Raises TimeoutError when `deadline` passes, or as soon as it is certain that it will, and `Cancelled` soon after `cancelled()` has become true.
    """

def equal(one: bytes, two: bytes) -> bool:
    """Whether the two are the same, in a time that depends on nothing but their lengths."""

def pbkdf2(
    digest: str,
    password: bytes,
    salt: bytes,
    iterations: int,
    deadline: Deadline | None = None,
    *,
    portable: bool = False,
) -> bytes:
    """PBKDF2-HMAC with one block of output, as `derive_keys` computes it; for tests."""

def hmac(digest: str, key: bytes, message: bytes, *, portable: bool = False) -> bytes:
    """HMAC of `message`; for tests."""
