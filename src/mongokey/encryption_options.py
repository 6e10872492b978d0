"""Options of client-side encryption, under PyMongo's import path."""

from __future__ import annotations

from mongokey.bson.int64 import Int64
from mongokey.crypt.kms import KMSConnectContext
from mongokey.crypt.proxies import AsyncHTTPProxyKMSConnect, HTTPProxyKMSConnect
from mongokey.options.auto_encryption import AutoEncryptionOpts, require_pymongocrypt

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any, TypedDict

    class SubstringOpts(TypedDict):
        """Of substring queries."""

        strMaxLength: int
        strMinQueryLength: int
        strMaxQueryLength: int

    class PrefixOpts(TypedDict):
        """Of prefix queries."""

        strMinQueryLength: int
        strMaxQueryLength: int

    class SuffixOpts(TypedDict):
        """Of suffix queries."""

        strMinQueryLength: int
        strMaxQueryLength: int

else:
    # They are dicts at run time.
    SubstringOpts = PrefixOpts = SuffixOpts = dict

__all__ = [
    "AsyncHTTPProxyKMSConnect",
    "AutoEncryptionOpts",
    "HTTPProxyKMSConnect",
    "KMSConnectContext",
    "PrefixOpts",
    "RangeOpts",
    "StringOpts",
    "SubstringOpts",
    "SuffixOpts",
    "check_min_pymongocrypt",
]


def check_min_pymongocrypt() -> None:
    """Raise `ConfigurationError` where the extra ``encryption`` is not installed, or too old."""
    require_pymongocrypt("client-side encryption")


class RangeOpts:
    """Of the range algorithm (`Algorithm.RANGE`).

    :param sparsity: how many values share an index entry, a whole number
    :param trim_factor: how many of the coarsest levels of the index are left out
    :param min: the least value, of the field's type
    :param max: the greatest value
    :param precision: digits behind the point, for doubles and decimals
    """

    def __init__(
        self,
        sparsity: int | None = None,
        trim_factor: int | None = None,
        min: Any | None = None,
        max: Any | None = None,
        precision: int | None = None,
    ) -> None:
        self.min = min
        self.max = max
        self.sparsity = sparsity
        self.trim_factor = trim_factor
        self.precision = precision

    @property
    def document(self) -> dict[str, Any]:
        """The options as libmongocrypt takes them."""
        return _without_none(
            sparsity=Int64(self.sparsity) if self.sparsity else None,
            trimFactor=self.trim_factor,
            precision=self.precision,
            min=self.min,
            max=self.max,
        )


class StringOpts:
    """Of the string algorithm (`Algorithm.STRING`).

    :param substring: `SubstringOpts`, for substring queries
    :param prefix: `PrefixOpts`, for prefix queries
    :param suffix: `SuffixOpts`, for suffix queries
    :param case_sensitive: whether upper and lower case differ
    :param diacritic_sensitive: whether letters with and without accents differ
    """

    def __init__(
        self,
        substring: SubstringOpts | None = None,
        prefix: PrefixOpts | None = None,
        suffix: SuffixOpts | None = None,
        case_sensitive: bool | None = None,
        diacritic_sensitive: bool | None = None,
    ) -> None:
        self.substring = substring
        self.prefix = prefix
        self.suffix = suffix
        self.case_sensitive = case_sensitive
        self.diacritic_sensitive = diacritic_sensitive

    @property
    def document(self) -> dict[str, Any]:
        """The options as libmongocrypt takes them."""
        return _without_none(
            substring=self.substring,
            prefix=self.prefix,
            suffix=self.suffix,
            caseSensitive=self.case_sensitive,
            diacriticSensitive=self.diacritic_sensitive,
        )


def _without_none(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}
