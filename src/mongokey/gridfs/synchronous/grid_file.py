"""PyMongo's import path of the blocking classes of GridFS."""

from mongokey.gridfs.grid_file_shared import DEFAULT_CHUNK_SIZE as DEFAULT_CHUNK_SIZE
from mongokey.gridfs.synchronous.bucket import GridFSBucket
from mongokey.gridfs.synchronous.grid_fs import GridFS
from mongokey.gridfs.synchronous.grid_in import GridIn
from mongokey.gridfs.synchronous.grid_out import GridOut, GridOutCursor

_SEEK_SET, _SEEK_CUR, _SEEK_END = 0, 1, 2

__all__ = ["GridFS", "GridFSBucket", "GridIn", "GridOut", "GridOutCursor"]
