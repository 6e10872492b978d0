"""PyMongo's import path of the blocking classes of GridFS."""

from mongokey.gridfs.synchronous.grid_file import (
    GridFS,
    GridFSBucket,
    GridIn,
    GridOut,
    GridOutCursor,
)

__all__ = ["GridFS", "GridFSBucket", "GridIn", "GridOut", "GridOutCursor"]
