"""GridFS: files of any size in a database, in chunks; under the names of PyMongo's `gridfs`.

It stands on the faces' databases and collections alone. The asyncio files in `asynchronous` are
what those in `synchronous` are made from, by `tools/blocking_face.py`; what both faces share
stands beside these packages.
"""

from mongokey._support.lazy import loader
from mongokey.gridfs.errors import CorruptGridFile, FileExists, NoFile
from mongokey.gridfs.grid_file_shared import DEFAULT_CHUNK_SIZE

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.gridfs.asynchronous.grid_file import (
        AsyncGridFS,
        AsyncGridFSBucket,
        AsyncGridIn,
        AsyncGridOut,
        AsyncGridOutCursor,
    )
    from mongokey.gridfs.synchronous.grid_file import (
        GridFS,
        GridFSBucket,
        GridIn,
        GridOut,
        GridOutCursor,
    )

# Whoever uses one face does not load the other.
_HOMES = {
    "AsyncGridFS": "mongokey.gridfs.asynchronous.grid_file",
    "AsyncGridFSBucket": "mongokey.gridfs.asynchronous.grid_file",
    "AsyncGridIn": "mongokey.gridfs.asynchronous.grid_file",
    "AsyncGridOut": "mongokey.gridfs.asynchronous.grid_file",
    "AsyncGridOutCursor": "mongokey.gridfs.asynchronous.grid_file",
    "GridFS": "mongokey.gridfs.synchronous.grid_file",
    "GridFSBucket": "mongokey.gridfs.synchronous.grid_file",
    "GridIn": "mongokey.gridfs.synchronous.grid_file",
    "GridOut": "mongokey.gridfs.synchronous.grid_file",
    "GridOutCursor": "mongokey.gridfs.synchronous.grid_file",
}

__all__ = [
    "DEFAULT_CHUNK_SIZE",
    "AsyncGridFS",
    "AsyncGridFSBucket",
    "AsyncGridIn",
    "AsyncGridOut",
    "AsyncGridOutCursor",
    "CorruptGridFile",
    "FileExists",
    "GridFS",
    "GridFSBucket",
    "GridIn",
    "GridOut",
    "GridOutCursor",
    "NoFile",
]

__getattr__ = loader(
    __name__, _HOMES, ("asynchronous", "errors", "grid_file", "grid_file_shared", "synchronous")
)
