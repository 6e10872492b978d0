"""libmongocrypt by way of `pymongocrypt`: made from options, and its errors.

It knows how that package is called. It must not know what is encrypted, nor do any I/O.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock

from mongokey import bson
from mongokey._support.fork import call_after_fork
from mongokey._support.lazy import late_imports
from mongokey._support.secrets import keeps_secrets
from mongokey.bson.errors import BSONError
from mongokey.errors import ConfigurationError, EncryptionError, InvalidOperation

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any


@contextmanager
def as_encryption_errors() -> Iterator[None]:
    """What goes wrong within is an `EncryptionError`; but wrong documents are what they are, and a
    wrong configuration too."""
    try:
        yield
    except (BSONError, EncryptionError, ConfigurationError):
        raise
    except Exception as error:
        raise EncryptionError(error) from error


class _Opened:
    """A `MongoCrypt` and how many use it now; None until it is asked for."""

    def __init__(self, crypt: Any) -> None:
        self.crypt = crypt
        self.users = 0


class Library:
    """A `MongoCrypt` of pymongocrypt for several threads or tasks. Its memory is freed when it is
    closed and nobody uses it any more.

    :param make: () -> a `MongoCrypt`. It is called now, and in a forked child when it is first
        used there: a thread that is not in the child may have held one of libmongocrypt's locks.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._lock = Lock()
        self._opened = _Opened(make())
        self._closed = False
        call_after_fork(self)

    def reset_after_fork(self) -> None:
        """Have it opened anew; what is the parent's is never freed, which could wait for a lock."""
        if self._opened.crypt is not None:
            _OF_PARENTS.append(self._opened.crypt)
        self._lock = Lock()
        self._opened = _Opened(None)

    @contextmanager
    def used(self) -> Iterator[Any]:
        """The `MongoCrypt`, for as long as the block goes. Raises `InvalidOperation` once it is
        closed."""
        with self._lock:
            if self._closed:
                raise InvalidOperation("what encrypts and decrypts was closed")
            opened = self._opened
            if opened.crypt is None:
                opened.crypt = self._make()
            opened.users += 1
        try:
            yield opened.crypt
        finally:
            with self._lock:
                opened.users -= 1
            self._free()

    def close(self) -> None:
        """Let it be used no more."""
        self._closed = True
        self._free()

    def _free(self) -> None:
        with self._lock:
            opened = self._opened
            if opened.users or not self._closed:
                return
            crypt, opened.crypt = opened.crypt, None
        if crypt is not None:
            crypt.close()


#: What forked children have of their parents.
_OF_PARENTS: list[Any] = []


@keeps_secrets
def open_library(
    kms_providers: Mapping[str, Any],
    *,
    schema_map: Mapping[str, Any] | None = None,
    encrypted_fields_map: Mapping[str, Any] | None = None,
    crypt_shared_lib_path: str | None = None,
    crypt_shared_lib_required: bool = False,
    bypass_encryption: bool = False,
    bypass_query_analysis: bool = False,
    key_expiration_ms: int | None = None,
) -> Library:
    """A `Library`, which is to be closed. Raises `EncryptionError` and, for
    options that it does not take, what pymongocrypt raises."""
    with late_imports:
        from pymongocrypt.mongocrypt import MongoCrypt, MongoCryptOptions

    options = MongoCryptOptions(
        # A copy: pymongocrypt takes dicts only.
        {name: dict(provider) for name, provider in kms_providers.items()},
        None if schema_map is None else bson.encode(schema_map),
        encrypted_fields_map=None
        if encrypted_fields_map is None
        else bson.encode(encrypted_fields_map),
        bypass_query_analysis=bypass_query_analysis,
        crypt_shared_lib_path=crypt_shared_lib_path,
        crypt_shared_lib_required=crypt_shared_lib_required,
        bypass_encryption=bypass_encryption,
        enable_multiple_collinfo=True,
        **({} if key_expiration_ms is None else {"key_expiration_ms": key_expiration_ms}),
    )
    encoder = _encoder()
    with as_encryption_errors():
        return Library(lambda: MongoCrypt(options, encoder))


def _encoder() -> Any:
    """What pymongocrypt has documents encoded by. Its I/O is done elsewhere."""
    global _ENCODER
    if _ENCODER is None:
        with late_imports:
            from pymongocrypt.synchronous.state_machine import MongoCryptCallback

        def encode(self: Any, document: Any) -> bytes:
            return bson.encode(document)

        def refuse(self: Any, *arguments: Any) -> Any:
            raise NotImplementedError("the driver does this itself, in mongokey.crypt.machine")

        members: dict[str, Any] = dict.fromkeys(MongoCryptCallback.__abstractmethods__, refuse)
        members["bson_encode"] = encode
        _ENCODER = type("Encoder", (MongoCryptCallback,), members)()
    return _ENCODER


_ENCODER: Any = None

__all__ = ["Library", "as_encryption_errors", "open_library"]
