"""What is written to a file, cut into the documents of its chunks.

It holds no more than a batch of them, and does no I/O.
"""

from __future__ import annotations

from io import BytesIO

from mongokey.gridfs.grid_file_shared import batch_of

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any


class ChunkBuffer:
    """Takes bytes, and hands out the documents of whole chunks in batches.

    `written` is how many bytes were taken, `sent` how many chunks were handed out and confirmed.
    """

    __slots__ = ("_batch", "_file_id", "_held", "_partial", "_size", "documents", "sent", "written")

    def __init__(self, file_id: Any, chunk_size: int) -> None:
        self._file_id = file_id
        self._size = chunk_size
        self._batch = batch_of(chunk_size)
        self._partial = BytesIO()
        self._held = 0
        self.written = 0
        self.sent = 0
        #: The chunks that are whole and not confirmed.
        self.documents: list[dict[str, Any]] = []

    @property
    def space(self) -> int:
        """How many bytes the chunk that was begun still takes; at least 1."""
        return self._size - self._held

    @property
    def is_full(self) -> bool:
        """Whether there is a whole batch."""
        return len(self.documents) >= self._batch

    def add(self, data: bytes, start: int = 0) -> int:
        """Take bytes from `start` on, as many as the chunk that was begun has space for; returns
        where those begin that were not taken."""
        space = self._size - self._held
        end = min(len(data), start + space)
        taken = end - start
        self.written += taken
        if taken < space:
            # Into memory that becomes the chunk's, once it is whole.
            self._partial.write(memoryview(data)[start:end])
            self._held += taken
        elif self._held:
            self._partial.write(memoryview(data)[start:end])
            self.finish()
        else:
            self._close_chunk(data[start:end])
        return end

    def finish(self) -> None:
        """Make a chunk of what is left, if there is anything."""
        if self._held:
            self._held = 0
            partial, self._partial = self._partial, BytesIO()
            # No copy: the buffer is handed over, as nobody else has it.
            self._close_chunk(partial.getvalue())

    def _close_chunk(self, data: bytes) -> None:
        number = self.sent + len(self.documents)
        self.documents.append({"files_id": self._file_id, "n": number, "data": data})

    def confirm(self, count: int | None = None) -> None:
        """The first `count` of the documents, or all, have arrived."""
        count = len(self.documents) if count is None else count
        self.sent += count
        del self.documents[:count]
