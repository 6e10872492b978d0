"""DBRef, a reference to a document in some collection, kept as a document with `$ref`."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from mongokey._support.reprs import with_safe_repr
from mongokey.bson.slots import getstate_slots, setstate_slots
from mongokey.bson.son import SON

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DBRef"]


@with_safe_repr
class DBRef:
    """A reference to a document.

    `collection` names its collection, `id` is its `_id`, `database` its database (None: the
    same one); keyword arguments become further fields, readable as attributes. Raises
    `TypeError` when a name is not a str.
    """

    __slots__ = ("__collection", "__database", "__id", "__kwargs")

    __getstate__ = getstate_slots
    __setstate__ = setstate_slots

    _type_marker = 100

    def __init__(
        self,
        collection: str,
        id: Any,
        database: str | None = None,
        _extra: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if not isinstance(collection, str):
            raise TypeError(f"collection must be an instance of str, not {type(collection)}")
        if database is not None and not isinstance(database, str):
            raise TypeError(f"database must be an instance of str, not {type(database)}")
        self.__collection = collection
        self.__id = id
        self.__database = database
        kwargs.update(_extra or {})
        self.__kwargs = kwargs

    @property
    def collection(self) -> str:
        """The name of the collection."""
        return self.__collection

    @property
    def id(self) -> Any:
        """The document's `_id`."""
        return self.__id

    @property
    def database(self) -> str | None:
        """The name of the database, or None for the one the reference stands in."""
        return self.__database

    def __getattr__(self, key: str) -> Any:
        # Names with an underscore in front are asked for before the fields exist (unpickling).
        if not key.startswith("_"):
            try:
                return self.__kwargs[key]
            except KeyError:
                pass
        elif key != "_DBRef__kwargs" and key in self.__kwargs:
            return self.__kwargs[key]
        raise AttributeError(key)

    def as_doc(self) -> SON[str, Any]:
        """The document by which BSON represents the reference."""
        doc: SON[str, Any] = SON([("$ref", self.__collection), ("$id", self.__id)])
        if self.__database is not None:
            doc["$db"] = self.__database
        doc.update(self.__kwargs)
        return doc

    def __repr__(self) -> str:
        extra = "".join(f", {key}={value!r}" for key, value in self.__kwargs.items())
        if self.__database is None:
            return f"DBRef({self.__collection!r}, {self.__id!r}{extra})"
        return f"DBRef({self.__collection!r}, {self.__id!r}, {self.__database!r}{extra})"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DBRef):
            mine = (self.__database, self.__collection, self.__id, self.__kwargs)
            return mine == (other.__database, other.__collection, other.__id, other.__kwargs)
        return NotImplemented

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        extra = tuple(sorted(self.__kwargs.items()))
        return hash((self.__collection, self.__id, self.__database, extra))

    def __deepcopy__(self, memo: Any) -> DBRef:
        return DBRef(
            deepcopy(self.__collection, memo),
            deepcopy(self.__id, memo),
            deepcopy(self.__database, memo),
            deepcopy(self.__kwargs, memo),
        )
