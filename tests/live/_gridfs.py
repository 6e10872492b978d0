"""GridFS for tests on both faces: the blocking classes, or the asyncio ones, wrapped."""

from __future__ import annotations

from functools import partial
from typing import Any

from mongokey import gridfs
from tests.faces import wrapper


class Classes:
    """PyMongo's names of the classes of GridFS, for the face of the test that runs."""

    def __init__(self, face: str) -> None:
        self.face = face

    def __getattr__(self, name: str) -> Any:
        if self.face == "blocking":
            return getattr(gridfs, name)
        return partial(wrapper.made_of, getattr(gridfs, f"Async{name}"))


class Sink:
    """A destination that keeps what it is given, by whole pieces."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        assert type(data) is bytes
        self.pieces.append(data)
        return len(data)

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)
