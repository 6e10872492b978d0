"""Requests of bulk writes and models of indexes, under PyMongo's import path.

The values themselves stand in `mongokey.commands`.
"""

from __future__ import annotations

from mongokey._support.lazy import loader

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.commands.index_model import IndexModel
    from mongokey.commands.search_indexes import SearchIndexModel
    from mongokey.commands.write_requests import (
        DeleteMany,
        DeleteOne,
        InsertOne,
        ReplaceOne,
        UpdateMany,
        UpdateOne,
    )

__all__ = [
    "DeleteMany",
    "DeleteOne",
    "IndexModel",
    "InsertOne",
    "ReplaceOne",
    "SearchIndexModel",
    "UpdateMany",
    "UpdateOne",
]

_REQUESTS = ("DeleteMany", "DeleteOne", "InsertOne", "ReplaceOne", "UpdateMany", "UpdateOne")
_HOMES = dict.fromkeys(_REQUESTS, "mongokey.commands.write_requests")
_HOMES |= {
    "IndexModel": "mongokey.commands.index_model",
    "SearchIndexModel": "mongokey.commands.search_indexes",
}
__getattr__ = loader(__name__, _HOMES)
