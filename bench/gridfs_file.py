"""The file of GridFS that both faces' cases upload and download: its size, its chunks, what must be
seen of it.

It must not know a driver's methods, nor how the server answers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from bench.case import Seen

if TYPE_CHECKING:
    from bench.case import Api

FILE_BYTES = 64 * 1024 * 1024
CHUNK_BYTES = 255 * 1024
CHUNKS = -(-FILE_BYTES // CHUNK_BYTES)
# Of no driver's own type: to import one here would bring in its C extensions.
FILE_ID = "64 MiB file"

#: How many chunks a batch has that is downloaded: those that mongokey asks for, or as many as a
#: server puts into one. The canned server does not look at batchSize: each has its bucket.
BATCHES = (4, 64)
#: The bucket that files are uploaded to.
UPLOADED = "up"

UPLOAD_TITLE = "GridFS, upload of 64 MiB"
# The chunks, and the document of the file.
UPLOAD_SEEN = Seen({}, frozenset({"find", "insert"}), documents=CHUNKS + 1)
DOWNLOAD_TITLE = "GridFS, download of 64 MiB"
DOWNLOAD_SEEN = Seen({"find": 2}, frozenset({"getMore"}))


def downloaded(api: Api) -> str:
    """The bucket that has the file in the batches that this driver asks for."""
    few, many = BATCHES
    if api.module != "mongokey":
        return f"down{many}"
    asked = importlib.import_module("mongokey.gridfs.grid_file_shared").batch_of(CHUNK_BYTES)
    assert asked == few, asked
    return f"down{few}"


class Sink:
    """A destination that counts what it is given."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)

    def check(self) -> None:
        """Raise if it was not the whole file."""
        assert self.size == FILE_BYTES, self.size
