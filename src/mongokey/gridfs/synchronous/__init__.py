"""The blocking classes of GridFS, under PyMongo's names."""

from mongokey.gridfs.errors import NoFile
from mongokey.gridfs.grid_file_shared import DEFAULT_CHUNK_SIZE
from mongokey.gridfs.synchronous.grid_file import (
    GridFS,
    GridFSBucket,
    GridIn,
    GridOut,
    GridOutCursor,
)

__all__ = [
    "DEFAULT_CHUNK_SIZE",
    "GridFS",
    "GridFSBucket",
    "GridIn",
    "GridOut",
    "GridOutCursor",
    "NoFile",
]
