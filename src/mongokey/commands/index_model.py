"""`IndexModel`: an index to create, as a value (`mongokey.operations.IndexModel`)."""

from __future__ import annotations

from mongokey._support.reprs import with_safe_repr
from mongokey.commands import arguments
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


@with_safe_repr
class IndexModel:
    """An index to create: its keys, and options such as ``name``, ``unique``, ``sparse``,
    ``expireAfterSeconds``, ``partialFilterExpression``, ``collation``, ``hidden``."""

    __slots__ = ("__document",)

    def __init__(self, keys: Any, **kwargs: Any) -> None:
        if "key" in kwargs:
            raise ConfigurationError("the option 'key' cannot be given by keyword: keys come first")
        key = arguments.index_document(arguments.index_pairs(keys))
        if kwargs.get("name") is None:
            kwargs["name"] = arguments.index_name(key)
        if kwargs.get("bucket_size") is not None:
            kwargs["bucketSize"] = kwargs.pop("bucket_size")
        if "collation" in kwargs:
            kwargs["collation"] = arguments.collation_document(kwargs["collation"])
        self.__document = {**{k: v for k, v in kwargs.items() if v is not None}, "key": key}

    @property
    def document(self) -> dict[str, Any]:
        """The index as the ``createIndexes`` command has it."""
        return self.__document

    def __repr__(self) -> str:
        options = {k: v for k, v in self.__document.items() if k != "key"}
        shown = "".join(f", {name}={value!r}" for name, value in options.items())
        return f"IndexModel({self.__document['key']!r}{shown})"


def index_documents(indexes: Sequence[IndexModel]) -> list[dict[str, Any]]:
    """The documents of `indexes`, a list of `IndexModel`."""
    arguments.check_list("indexes", indexes)
    for index in indexes:
        if not isinstance(index, IndexModel):
            arguments.refuse_type("each of the indexes", "a mongokey.operations.IndexModel", index)
    return [index.document for index in indexes]
