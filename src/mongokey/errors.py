"""Every exception that mongokey raises, under PyMongo's names.

This module knows error classes and their attributes; it must not know how a reply is read
(`_support.server_errors`) nor do any I/O. BSON's own errors live in `mongokey.bson.errors` and are
reachable from here too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mongokey._support.portable import Portable
from mongokey._support.server_codes import MAX_TIME_MS_EXPIRED, MULTIPLE_ERRORS_OCCURRED
from mongokey.bson.errors import (
    BSONError,
    InvalidBSON,
    InvalidDocument,
    InvalidId,
    InvalidStringData,
)

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.commands.client_bulk_result import ClientBulkWriteResult
    from mongokey.diagnostics import Diagnosis
    from mongokey.results import BulkWriteResult

__all__ = [
    "AutoReconnect",
    "BSONError",
    "BulkWriteError",
    "ClientBulkWriteException",
    "CollectionInvalid",
    "ConfigurationError",
    "ConnectionFailure",
    "CursorNotFound",
    "DocumentTooLarge",
    "DuplicateKeyError",
    "EncryptedCollectionError",
    "EncryptionError",
    "ExecutionTimeout",
    "InsecureConnectionWarning",
    "InvalidBSON",
    "InvalidDocument",
    "InvalidId",
    "InvalidName",
    "InvalidOperation",
    "InvalidStringData",
    "InvalidURI",
    "ManyClientsWarning",
    "MongoError",
    "NetworkTimeout",
    "NotPrimaryError",
    "OperationFailure",
    "PoolClearedError",
    "ProtocolError",
    "PyMongoError",
    "ServerSelectionTimeoutError",
    "TLSError",
    "WTimeoutError",
    "WaitQueueTimeoutError",
    "WriteConcernError",
    "WriteError",
]


class MongoError(Portable, Exception):
    """Base class of all errors of the driver; `PyMongoError` is the same class.

    `partial_result` is set on an error that ends a bulk (`insert_many`, `bulk_write`) in its midst,
    such as a lost connection: a `BulkWriteResult` of what the server had confirmed by then. It is
    None on all others, also on `BulkWriteError`, whose `details` tell it. Errors that are not of
    this class, such as `InvalidDocument`, have the attribute only when it is set.

    `diagnoses` says what most likely is wrong and what to do, the surest first; it is empty where
    the error is all there is to say.
    """

    partial_result: BulkWriteResult | ClientBulkWriteResult | None = None
    diagnoses: tuple[Diagnosis, ...] = ()

    def __init__(self, message: str = "", error_labels: Iterable[str] | None = None) -> None:
        super().__init__(message)
        self._message = message
        self._error_labels = set(error_labels or ())

    def has_error_label(self, label: str) -> bool:
        """Whether the server, or the driver for it, put `label` on this error."""
        return label in self._error_labels

    def _add_error_label(self, label: str) -> None:
        self._error_labels.add(label)

    def _remove_error_label(self, label: str) -> None:
        self._error_labels.discard(label)

    @property
    def timeout(self) -> bool:
        """True when the error was caused by a time-out."""
        return False


PyMongoError = MongoError


class ProtocolError(MongoError):
    """The server sent something that is not MongoDB's wire protocol.

    `permanent` says that trying again cannot help: another protocol is spoken there.
    """

    def __init__(self, message: str = "", permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent


class ConnectionFailure(MongoError):
    """A connection to the server could not be made, or was lost."""

    #: Whether the host name could not be resolved: no server was asked.
    resolving: bool = False


class WaitQueueTimeoutError(ConnectionFailure):
    """No connection of the pool became free within `waitQueueTimeoutMS`."""

    @property
    def timeout(self) -> bool:
        return True


class AutoReconnect(ConnectionFailure):
    """The connection was lost; the next operation opens a new one.

    `errors` and `details` hold what each server said, where there is more than one.
    """

    errors: Mapping[Any, Any] | Sequence[Any]
    details: Mapping[Any, Any] | Sequence[Any]

    def __init__(
        self, message: str = "", errors: Mapping[Any, Any] | Sequence[Any] | None = None
    ) -> None:
        super().__init__(message, labels_in(errors))
        self.errors = self.details = errors if errors is not None else []


class NetworkTimeout(AutoReconnect):
    """A read or write on an open connection did not end within its time.

    The server may or may not have carried out what was asked.
    """

    @property
    def timeout(self) -> bool:
        return True


class PoolClearedError(AutoReconnect):
    """No connection could be had, or the one in use was closed, as the server's pool was cleared:
    another operation, or a check of the server, has failed before.

    It says nothing new about the server, so an operation that may be retried is.
    """


class TLSError(AutoReconnect):
    """TLS with the server could not be set up, or its certificate is not to be trusted.

    `diagnoses` has the cause (docs/tls.md lists the codes). `permanent` says that trying again
    cannot help: certificates, host names, keys or options have to be changed first.
    """

    def __init__(
        self,
        message: str = "",
        diagnosis: Diagnosis | None = None,
        permanent: bool = False,
    ) -> None:
        super().__init__(message)
        if diagnosis is not None:
            self.diagnoses = (diagnosis,)
        self.permanent = permanent

    @property
    def reason(self) -> str:
        """The code of the surest diagnosis."""
        return self.diagnoses[0].code if self.diagnoses else "TLS-FAILED"


class NotPrimaryError(AutoReconnect):
    """The server answered that it is not the primary, or is shutting down."""

    #: The wire version of the connection that the answer came on; None: not known.
    _max_wire_version: int | None = None

    def __init__(
        self, message: str = "", errors: Mapping[str, Any] | list[Any] | None = None
    ) -> None:
        super().__init__(_with_full_error(message, errors), errors=errors)


class ServerSelectionTimeoutError(AutoReconnect):
    """No server fit for the operation was found within `serverSelectionTimeoutMS`."""

    @property
    def timeout(self) -> bool:
        return True


class ConfigurationError(MongoError):
    """An option, or a combination of options, is not valid."""


class CodedError(ConfigurationError):
    """A `ConfigurationError` whose text is its one cause: `cause` is its code and confidence."""

    cause: tuple[str, str] = ("OPTION-INVALID", "certain")

    @property
    def diagnoses(self) -> tuple[Diagnosis, ...]:
        """The cause, made of the text when it is asked for, unless others were given."""
        given: tuple[Diagnosis, ...] | None = self.__dict__.get("diagnoses")
        if given is not None:
            return given
        from mongokey.diagnostics import Diagnosis

        code, confidence = self.cause
        return (Diagnosis(code, confidence, self._message),)

    @diagnoses.setter
    def diagnoses(self, diagnoses: tuple[Diagnosis, ...]) -> None:
        self.__dict__["diagnoses"] = diagnoses


class InvalidURI(CodedError):
    """The connection string cannot be understood."""

    cause = ("URI-INVALID", "certain")


class OperationFailure(MongoError):
    """The server answered a command with an error.

    `code` is the server's error code, `details` its whole answer; either may be None when the
    server sent none.
    """

    def __init__(
        self,
        error: str,
        code: int | None = None,
        details: Mapping[str, Any] | None = None,
        max_wire_version: int | None = None,
    ) -> None:
        super().__init__(_with_full_error(error, details), labels_in(details))
        self.__code = code
        self.__details = details
        self.__max_wire_version = max_wire_version

    @property
    def _max_wire_version(self) -> int | None:
        return self.__max_wire_version

    @property
    def code(self) -> int | None:
        """The server's error code."""
        return self.__code

    @property
    def details(self) -> Mapping[str, Any] | None:
        """The server's complete answer."""
        return self.__details

    @property
    def timeout(self) -> bool:
        return self.__code == MAX_TIME_MS_EXPIRED


class CursorNotFound(OperationFailure):
    """The server no longer has the cursor (code 43)."""


class ExecutionTimeout(OperationFailure):
    """The operation ran longer than its `maxTimeMS` (code 50)."""

    @property
    def timeout(self) -> bool:
        return True


class WriteConcernError(OperationFailure):
    """A write was done but its write concern was not met."""


class WriteError(OperationFailure):
    """A write was refused."""


class WTimeoutError(WriteConcernError):
    """A write concern was not met within its `wtimeout`."""

    @property
    def timeout(self) -> bool:
        return True


class DuplicateKeyError(WriteError):
    """A write would have made two documents with one key in a unique index (code 11000)."""


def _wtimeout(error: Any) -> bool:
    info = error.get("errInfo")
    return error.get("code") == MAX_TIME_MS_EXPIRED or (
        isinstance(info, Mapping) and "wtimeout" in info
    )


class BulkWriteError(OperationFailure):
    """One or more writes of a bulk were refused; `details` holds the full result."""

    details: Mapping[str, Any]

    def __init__(self, results: Mapping[str, Any]) -> None:
        super().__init__("batch op errors occurred", MULTIPLE_ERRORS_OCCURRED, results)

    @property
    def timeout(self) -> bool:
        concern_errors = self.details.get("writeConcernErrors", [])
        if concern_errors and _wtimeout(concern_errors[-1]):
            return True
        errors = self.details.get("writeErrors", [])
        return bool(errors) and errors[-1].get("code") == MAX_TIME_MS_EXPIRED


class ClientBulkWriteException(OperationFailure):
    """`MongoClient.bulk_write` has failed, wholly or in part.

    `error` is the error that ended it in its midst, such as a lost connection, or None where it
    came to its end; it has the labels and diagnoses of that. `partial_result` is a
    `ClientBulkWriteResult` of what was done, or None where nothing is known to be.
    """

    details: Mapping[str, Any]
    partial_result: ClientBulkWriteResult | None

    def __init__(self, results: Mapping[str, Any], verbose: bool) -> None:
        super().__init__("batch op errors occurred", MULTIPLE_ERRORS_OCCURRED, results)
        #: Whether results of single operations were asked for.
        self.verbose = verbose
        if isinstance(self.error, MongoError):
            self._error_labels |= self.error._error_labels
            self.diagnoses = self.error.diagnoses

    @property
    def error(self) -> Any:
        """The error that ended the bulk in its midst, or None."""
        return self.details.get("error")

    @property
    def write_errors(self) -> list[dict[str, Any]]:
        """A document for each operation that was refused: ``idx`` (in the list of models),
        ``code``, ``errmsg``, ``op``."""
        found: list[dict[str, Any]] = self.details.get("writeErrors", [])
        return found

    @property
    def write_concern_errors(self) -> list[dict[str, Any]]:
        """A document for each command whose write concern was not met."""
        found: list[dict[str, Any]] = self.details.get("writeConcernErrors", [])
        return found

    @property
    def timeout(self) -> bool:
        if isinstance(self.error, MongoError):
            return self.error.timeout
        concern_errors = self.write_concern_errors
        return bool(concern_errors) and _wtimeout(concern_errors[-1])


class InvalidOperation(MongoError):
    """The client cannot do this, or cannot do it now."""


class InvalidName(MongoError):
    """The name of a database or collection is not valid."""


class CollectionInvalid(MongoError):
    """The collection failed its validation, or exists already."""


class DocumentTooLarge(InvalidDocument):
    """The document is larger than the server accepts."""


class _TooLargeForBSON(DocumentTooLarge, ValueError):
    """No server is asked how large it may be: PyMongo raises `ValueError` there."""


class EncryptionError(MongoError):
    """Encrypting or decrypting failed; `cause` is the error that says why."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self._cause = cause

    @property
    def cause(self) -> Exception:
        """What went wrong."""
        return self._cause

    @property
    def timeout(self) -> bool:
        """Whether it ran out of time."""
        return isinstance(self._cause, MongoError) and self._cause.timeout


class EncryptedCollectionError(EncryptionError):
    """A collection with encrypted fields could not be created.

    `encrypted_fields` is the document of its fields, with the data keys made until then.
    """

    def __init__(self, cause: Exception, encrypted_fields: Mapping[str, Any]) -> None:
        super().__init__(cause)
        self._encrypted_fields = encrypted_fields

    @property
    def encrypted_fields(self) -> Mapping[str, Any]:
        """The document of its fields, with the data keys made until then."""
        return self._encrypted_fields


class ManyClientsWarning(UserWarning):
    """A process made its third client of one and the same deployment and user.

    A client holds a pool and monitors: made anew for each request, it makes every request slow and
    uses up the server's connections. Given once for each such deployment and user.
    """


class InsecureConnectionWarning(UserWarning):
    """A login is about to send a secret over a connection to another machine without TLS.

    Where a warnings filter makes it an error, the secret is not sent.
    """


# Characters of the server's answer that a message shows.
_LONGEST_DETAILS = 64 * 1024


def labels_in(answer: Any) -> list[str]:
    """The labels of a server's answer, which may be anything."""
    labels = answer.get("errorLabels") if isinstance(answer, Mapping) else None
    return [each for each in labels if isinstance(each, str)] if isinstance(labels, list) else []


def _with_full_error(message: str, details: Mapping[str, Any] | list[Any] | None) -> str:
    if details is None:
        return message
    text = str(details)
    if len(text) > _LONGEST_DETAILS:
        # It may hold a document of 16 MB, which `details` has too.
        more = len(text) - _LONGEST_DETAILS
        text = f"{text[:_LONGEST_DETAILS]}... ({more} characters more in `details`)"
    return f"{message}, full error: {text}"
