"""What goes wrong with files in GridFS, under PyMongo's names.

It knows nothing of how files are read or written.
"""

from __future__ import annotations

from mongokey.errors import MongoError


class GridFSError(MongoError):
    """Base of the errors of GridFS."""


class CorruptGridFile(GridFSError):
    """What is stored is no whole file: chunks are missing, too many, or of the wrong size."""


class NoFile(GridFSError):
    """There is no such file, or no such version of it."""


class FileExists(GridFSError):
    """There is a file with that ``_id`` already."""
