"""Numbers of GridFS that both faces share."""

from __future__ import annotations

EMPTY = b""
NEWLN = b"\n"

#: Bytes of a chunk, unless told otherwise: a little less than a power of 2, as the specification
#: has it.
DEFAULT_CHUNK_SIZE = 255 * 1024

#: Chunks go to the server and come from it in batches of about so many bytes, which a core's own
#: cache holds: of larger ones each copy goes to the main memory, and costs more.
BATCH_BYTES = 1024 * 1024
#: What a chunk costs besides its data, in memory.
CHUNK_OVERHEAD = 512


def batch_of(chunk_size: int) -> int:
    """How many chunks of that size make a batch."""
    return max(1, BATCH_BYTES // (chunk_size + CHUNK_OVERHEAD))
