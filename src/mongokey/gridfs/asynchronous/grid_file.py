"""PyMongo's import path of the asyncio classes of GridFS."""

from mongokey.gridfs.asynchronous.bucket import AsyncGridFSBucket
from mongokey.gridfs.asynchronous.grid_fs import AsyncGridFS
from mongokey.gridfs.asynchronous.grid_in import AsyncGridIn
from mongokey.gridfs.asynchronous.grid_out import AsyncGridOut, AsyncGridOutCursor
from mongokey.gridfs.grid_file_shared import DEFAULT_CHUNK_SIZE as DEFAULT_CHUNK_SIZE

_SEEK_SET, _SEEK_CUR, _SEEK_END = 0, 1, 2

__all__ = ["AsyncGridFS", "AsyncGridFSBucket", "AsyncGridIn", "AsyncGridOut", "AsyncGridOutCursor"]
