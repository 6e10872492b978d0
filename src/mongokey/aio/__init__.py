"""The asyncio classes: PyMongo's asyncio names, awaited in the running loop.

`collection.py`, `cursor.py`, `database.py` and `mongo_client.py` in here are also what the blocking
files of the same names at the top level are made from, by `tools/blocking_face.py`.
"""

from mongokey._support.lazy import loader

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.aio.collection import AsyncCollection
    from mongokey.aio.cursor import AsyncCommandCursor, AsyncCursor
    from mongokey.aio.database import AsyncDatabase
    from mongokey.aio.mongo_client import AsyncMongoClient

_HOMES = {
    "AsyncCollection": "mongokey.aio.collection",
    "AsyncCommandCursor": "mongokey.aio.cursor",
    "AsyncCursor": "mongokey.aio.cursor",
    "AsyncDatabase": "mongokey.aio.database",
    "AsyncMongoClient": "mongokey.aio.mongo_client",
}

__all__ = [
    "AsyncCollection",
    "AsyncCommandCursor",
    "AsyncCursor",
    "AsyncDatabase",
    "AsyncMongoClient",
]

__getattr__ = loader(__name__, _HOMES)
