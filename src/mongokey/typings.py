"""Types for annotations, under PyMongo's import path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from mongokey.bson.typings import _DocumentOut, _DocumentType, _DocumentTypeArg
from mongokey.collation import Collation

__all__ = [
    "ClusterTime",
    "_Address",
    "_CollationIn",
    "_DocumentOut",
    "_DocumentType",
    "_DocumentTypeArg",
    "_Pipeline",
    "strip_optional",
]

_T = TypeVar("_T")

_Address = tuple[str, int | None]
_CollationIn = Mapping[str, Any] | Collation
_Pipeline = Sequence[Mapping[str, Any]]
ClusterTime = Mapping[str, Any]


def strip_optional(elem: _T | None) -> _T:
    """`elem`, which is not None: for type checkers."""
    assert elem is not None
    return elem
