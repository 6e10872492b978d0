"""The words of client-side field level encryption, under PyMongo's import path."""

from __future__ import annotations

import enum

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.results import BulkWriteResult

__all__ = ["Algorithm", "QueryType", "RewrapManyDataKeyResult"]


class Algorithm(str, enum.Enum):
    """How a value is encrypted."""

    AEAD_AES_256_CBC_HMAC_SHA_512_Deterministic = "AEAD_AES_256_CBC_HMAC_SHA_512-Deterministic"
    AEAD_AES_256_CBC_HMAC_SHA_512_Random = "AEAD_AES_256_CBC_HMAC_SHA_512-Random"
    INDEXED = "Indexed"
    UNINDEXED = "Unindexed"
    RANGE = "Range"
    STRING = "String"
    TEXTPREVIEW = "TextPreview"


class QueryType(str, enum.Enum):
    """What an encrypted value is to be found by."""

    EQUALITY = "equality"
    RANGE = "range"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    SUBSTRING = "substring"


class RewrapManyDataKeyResult:
    """What rewrapping data keys has done.

    :param bulk_write_result: of the update of the keys; None where no key matched
    """

    def __init__(self, bulk_write_result: BulkWriteResult | None = None) -> None:
        self._bulk_write_result = bulk_write_result

    @property
    def bulk_write_result(self) -> BulkWriteResult | None:
        """Of the update of the keys; None where no key matched."""
        return self._bulk_write_result

    def __repr__(self) -> str:
        return f"{type(self).__name__}({getattr(self, '_bulk_write_result', None)!r})"
