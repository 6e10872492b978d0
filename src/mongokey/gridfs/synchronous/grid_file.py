"""PyMongo's import path of the blocking classes of GridFS."""

from mongokey.gridfs.synchronous.bucket import GridFSBucket
from mongokey.gridfs.synchronous.grid_fs import GridFS
from mongokey.gridfs.synchronous.grid_in import GridIn
from mongokey.gridfs.synchronous.grid_out import GridOut, GridOutCursor

__all__ = ["GridFS", "GridFSBucket", "GridIn", "GridOut", "GridOutCursor"]
