"""The errors of BSON, under PyMongo's names, with where in the data they arose.

`InvalidBSON` says the byte offset and, where known, the field path; `InvalidDocument` says the
field path. Nothing here knows of the wire or the driver.
"""

from __future__ import annotations

from mongokey._support.portable import Portable

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any


__all__ = ["BSONError", "InvalidBSON", "InvalidDocument", "InvalidId", "InvalidStringData"]


class BSONError(Portable, Exception):
    """Base class of all errors of `mongokey.bson`."""


class InvalidBSON(BSONError):
    """The bytes are not valid BSON.

    `offset` is the byte at which that was seen, counted from the start of the outermost
    document (None when unknown); `path` the field, dotted, such as ``"a.b.0"``.
    """

    def __init__(self, message: str = "", offset: int | None = None, path: str = "") -> None:
        super().__init__(message)
        self.offset = offset
        self.path = path


class InvalidStringData(BSONError):
    """A string is not valid UTF-8, or cannot be encoded as such."""


class InvalidDocument(BSONError):
    """The document cannot be encoded.

    `document` is the document that was to be encoded, `path` the field at fault, dotted.
    """

    def __init__(self, message: str = "", document: Any = None, path: str = "") -> None:
        super().__init__(message)
        self._document = document
        self.path = path

    @property
    def document(self) -> Any:
        """The document that was to be encoded."""
        return self._document


class _TooDeep(InvalidDocument, RecursionError):
    """A document nests too deep, or contains itself: PyMongo lets Python's own error through."""


class InvalidId(BSONError):
    """A value cannot be made into an ObjectId."""
