"""Commands and replies as they go over the wire, decoded only if and as far as somebody looks.

An event keeps the bytes, as the buffers that they come from are used again. A log record needs but
their beginning, so it walks through them element by element. Knows BSON's lengths and nothing of
commands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mongokey._support.reprs import with_safe_repr

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.bson.codec_options import CodecOptions

_DOCUMENT, _ARRAY = 3, 4
# Bytes of the values whose type has one size.
_SIZES = {1: 8, 6: 0, 7: 12, 8: 1, 9: 8, 10: 0, 16: 4, 17: 8, 18: 8, 19: 16, 127: 0, 255: 0}
# What is added to the length that stands in front of other values, itself included.
_LENGTHS = {2: 4, 5: 5, 13: 4, 14: 4, 15: 0}

_options: CodecOptions[dict[str, Any]] | None = None


def _lenient() -> CodecOptions[dict[str, Any]]:
    """What reads any document: text that is no UTF-8, dates that Python does not have."""
    global _options
    if _options is None:
        from mongokey.bson.codec_options import CodecOptions, DatetimeConversion

        _options = CodecOptions(
            unicode_decode_error_handler="replace",
            datetime_conversion=DatetimeConversion.DATETIME_AUTO,
        )
    return _options


def _decode(raw: bytes) -> dict[str, Any]:
    from mongokey.bson import decode

    return decode(raw, _lenient())


@with_safe_repr
class RawDocument(Mapping[str, "Any"]):
    """The document `raw`; `sections` are the document sequences sent along with a command, which
    count as arrays of it: their names and BSON documents one after another."""

    __slots__ = ("_decoded", "name", "raw", "sections")

    def __init__(
        self, raw: bytes, name: str = "", sections: tuple[tuple[str, bytes], ...] = ()
    ) -> None:
        self.raw = raw
        #: The command's name; empty for a reply.
        self.name = name
        self.sections = sections
        self._decoded: dict[str, Any] | None = None

    def decode(self) -> dict[str, Any]:
        """The whole document; the same dict each time."""
        decoded = self._decoded
        if decoded is None:
            from mongokey.bson import decode_all

            decoded = _decode(self.raw)
            for name, documents in self.sections:
                decoded[name] = decode_all(documents, _lenient())
            self._decoded = decoded
        return decoded

    def __getitem__(self, key: str) -> Any:
        return self.decode()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.decode())

    def __len__(self) -> int:
        return len(self.decode())

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return repr(self.decode())

    def walk(self) -> Walk:
        """Its elements, for who wants but the first of them."""
        return Walk(self.raw, sections=self.sections)


class Walk:
    """Goes through a BSON document element by element: keys with values, or with another `Walk`
    for a document or an array. Raises `InvalidBSON` or `IndexError` where the bytes are wrong."""

    __slots__ = ("_data", "_end", "_sections", "_start", "is_array")

    def __init__(
        self,
        data: bytes,
        start: int = 0,
        *,
        is_array: bool = False,
        sections: tuple[tuple[str, bytes], ...] = (),
    ) -> None:
        self._data = data
        self._start = start
        self._end = start + _length(data, start)
        if self._end > len(data):
            raise IndexError("a document is longer than what it stands in")
        self._sections = sections
        self.is_array = is_array

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        data = self._data
        at = self._start + 4
        while at < self._end - 1:
            kind = data[at]
            name_end = data.find(b"\0", at + 1, self._end)
            if name_end < 0:
                raise IndexError("a key without an end")
            value = name_end + 1
            if kind in (_DOCUMENT, _ARRAY):
                end = value + _length(data, value)
                inner: Any = Walk(data, value, is_array=kind == _ARRAY)
            else:
                end = _end_of(data, kind, value)
                element = data[at:end]
                size = len(element) + 5
                alone = _decode(b"%b%b\0" % (size.to_bytes(4, "little"), element))
                inner = next(iter(alone.values()))
            if end > self._end - 1:
                raise IndexError("a value is longer than its document")
            yield data[at + 1 : name_end].decode(errors="replace"), inner
            at = end
        for name, documents in self._sections:
            yield name, Sequence(documents)


class Sequence:
    """Goes through the documents of a section as through an array's."""

    __slots__ = ("_documents",)

    is_array = True

    def __init__(self, documents: bytes) -> None:
        self._documents = documents

    def __iter__(self) -> Iterator[tuple[str, Walk]]:
        at = 0
        while at < len(self._documents):
            yield "", Walk(self._documents, at)
            at += _length(self._documents, at)


def _length(data: bytes, at: int) -> int:
    length = int.from_bytes(data[at : at + 4], "little", signed=True)
    if length < 1:
        raise IndexError("a length is not positive")
    return length


def _end_of(data: bytes, kind: int, at: int) -> int:
    """Where the value of a `kind` that is no container ends."""
    size = _SIZES.get(kind)
    if size is not None:
        return at + size
    if kind == 11:  # a regular expression: two strings that end with a NUL
        return data.index(b"\0", data.index(b"\0", at) + 1) + 1
    if kind == 12:  # a DBPointer: a string and an ObjectId
        return at + 4 + _length(data, at) + 12
    return at + _LENGTHS[kind] + (_length(data, at) if kind != 5 else _binary_length(data, at))


def _binary_length(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")
