"""PyMongo's import path of the asyncio classes of GridFS."""

from mongokey.gridfs.asynchronous.bucket import AsyncGridFSBucket
from mongokey.gridfs.asynchronous.grid_fs import AsyncGridFS
from mongokey.gridfs.asynchronous.grid_in import AsyncGridIn
from mongokey.gridfs.asynchronous.grid_out import AsyncGridOut, AsyncGridOutCursor

__all__ = ["AsyncGridFS", "AsyncGridFSBucket", "AsyncGridIn", "AsyncGridOut", "AsyncGridOutCursor"]
