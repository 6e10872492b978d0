"""What GridFS allows and how it names it: arguments, transactions, indexes, the server's errors.

Both faces share it. It does no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey._support.server_codes import DUPLICATE_KEY_CODES
from mongokey._support.server_errors import raise_write_concern_error, raise_write_error
from mongokey.bson.objectid import ObjectId
from mongokey.errors import ConfigurationError, InvalidOperation
from mongokey.faces.sessions import session_for
from mongokey.gridfs.errors import FileExists, NoFile
from mongokey.gridfs.grid_file_shared import DEFAULT_CHUNK_SIZE

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from mongokey.errors import BulkWriteError

#: The index that the files need, and the one that the chunks need, which is unique.
FILES_INDEX = {"filename": 1, "uploadDate": 1}
CHUNKS_INDEX = {"files_id": 1, "n": 1}
#: So many files are deleted at a time.
MOST_IDS = 10_000
#: A chunk size is stored as a 32-bit integer.
_MOST_CHUNK_SIZE = 2**31 - 1


def just(field: str, value: Any) -> dict[str, Any]:
    """A filter for what has that very value. A user's value may be a document with operators, or a
    regular expression, which would find, or delete, other files than one that has it."""
    return {field: {"$eq": value}}


def filter_or_id(value: Any) -> Any:
    """The filter for files that a method was given, or the one for an ``_id``; None stays None."""
    return value if value is None or isinstance(value, Mapping) else just("_id", value)


def require(kind: type, name: str, value: object) -> None:
    """Raise `TypeError` unless an argument is of that class."""
    if not isinstance(value, kind):
        raise TypeError(
            f"{name} must be an instance of {kind.__name__}, not {type(value).__name__}"
        )


def require_acknowledged(owner: Any, what: str) -> None:
    """Raise `ConfigurationError` where writes are not answered (w=0): a file that is only
    half there would not be noticed."""
    if not owner.write_concern.acknowledged:
        raise ConfigurationError(f"{what} must have an acknowledged write_concern, not w=0")


def refuse_transaction(session: Any, collection: Any) -> None:
    """Raise `InvalidOperation` in a transaction: GridFS has none."""
    found = session_for(session, collection._executor)
    if found is not None and found.in_transaction:
        raise InvalidOperation("GridFS does not support multi-document transactions")


def plain(owner: Any, **options: Any) -> Any:
    """A database or collection without the types that an application has registered, which are
    not for what GridFS stores itself; with other options, where given. For a database of a
    subclass, one of the driver's own class, as PyMongo does it: Flask-PyMongo's has children that
    cannot tell their own."""
    options["codec_options"] = owner.codec_options.with_options(type_registry=None)
    if not hasattr(type(owner), "client"):
        return owner.with_options(**options)
    for name in ("read_preference", "write_concern", "read_concern"):
        options.setdefault(name, getattr(owner, name))
    return owner.client.get_database(owner.name, **options)


def file_fields(given: dict[str, Any]) -> dict[str, Any]:
    """The document of a new file, of the arguments of `GridIn`: under the names that are stored,
    with an ``_id`` and a chunk size."""
    fields = dict(given)
    for name, stored in (("content_type", "contentType"), ("chunk_size", "chunkSize")):
        if name in fields:
            fields[stored] = fields.pop(name)
    fields.setdefault("_id", ObjectId())
    fields["chunkSize"] = checked_chunk_size(fields.get("chunkSize", DEFAULT_CHUNK_SIZE))
    return fields


def checked_chunk_size(value: Any) -> int:
    """A chunk size that was given, if it can be one."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"chunk size must be an integer, not {type(value).__name__}")
    if not 1 <= value <= _MOST_CHUNK_SIZE:
        raise ValueError(f"chunk size must be from 1 to {_MOST_CHUNK_SIZE} bytes, not {value}")
    return value


def as_bytes(data: Any, encoding: str | None) -> bytes:
    """What is written to a file at once, as bytes; texts in the file's encoding."""
    if isinstance(data, str):
        if encoding is None:
            raise TypeError(
                "must specify an encoding for file in order to write str: encoding='utf-8'"
            )
        return data.encode(encoding)
    if not isinstance(data, bytes):
        raise TypeError(
            f"can only write bytes, str or file-like objects, not {type(data).__name__}"
        )
    return data


def read_bytes(piece: Any) -> bytes:
    """What a file-like object has given, if it is bytes."""
    if isinstance(piece, bytes):
        return piece
    if isinstance(piece, bytearray | memoryview):
        return bytes(piece)
    if piece is None:
        raise BlockingIOError("the source has no data at the moment; it must be a blocking one")
    raise TypeError(
        f"the source's read() must return bytes, not {type(piece).__name__}: open it in binary mode"
    )


def has_index(indexes: list[dict[str, Any]], wanted: Mapping[str, int]) -> bool:
    """Whether one of the indexes has those keys, in that order; numbers are compared by value."""
    keys = list(wanted.items())
    return any(list(each.get("key", {}).items()) == keys for each in indexes)


def raise_chunk_error(error: BulkWriteError, file_id: Any) -> NoReturn:
    """Raise what `insert_one` would have, for the error of inserting chunks."""
    refused = error.details.get("writeErrors") or []
    if any(each.get("code") in DUPLICATE_KEY_CODES for each in refused):
        raise_file_exists(file_id)
    if refused:
        raise_write_error(refused[0])
    concerns = error.details.get("writeConcernErrors") or []
    if concerns:
        raise_write_concern_error(concerns[-1])
    raise error


def raise_file_exists(file_id: Any) -> NoReturn:
    """Raise `FileExists`."""
    raise FileExists(f"file with _id {file_id!r} already exists")


def no_version(version: int, filename: str | None) -> NoFile:
    """The error where a file has no such version."""
    return NoFile(f"no version {version} for filename {filename!r}")


def place_of_version(version: int) -> tuple[int, int]:
    """How many files to leave out, and the direction of the upload dates, to find a version: 0 is
    the first, -1 the last."""
    if not isinstance(version, int):
        raise TypeError(f"the version of a file must be an integer, not {type(version).__name__}")
    return (-version - 1, -1) if version < 0 else (version, 1)
