"""RawBSONDocument, a document kept as the bytes it came in and decoded when a field is asked for.

Moving documents between collections, or storing them, then costs no decoding at all.
"""

from __future__ import annotations

import copyreg
from collections.abc import ItemsView, Iterator, Mapping

from mongokey._support.reprs import with_safe_repr
from mongokey.bson import codec
from mongokey.bson.codec_options import _RAW_BSON_DOCUMENT_MARKER, CodecOptions
from mongokey.bson.codec_options import DEFAULT_CODEC_OPTIONS as DEFAULT

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

__all__ = ["DEFAULT_RAW_BSON_OPTIONS", "RawBSONDocument"]


@with_safe_repr
class RawBSONDocument(Mapping[str, "Any"]):
    """A read-only mapping over the bytes of one BSON document.

    `codec_options` say how fields decode; their `document_class` must be RawBSONDocument
    (`TypeError` otherwise), and is what embedded documents become. Raises `InvalidBSON` when
    the bytes are not one whole document; its fields are checked when they are first read.
    """

    __slots__ = ("__codec_options", "__inflated_doc", "__raw")

    _type_marker = _RAW_BSON_DOCUMENT_MARKER

    def __init__(
        self,
        bson_bytes: bytes | memoryview,
        codec_options: CodecOptions[RawBSONDocument] | None = None,
    ) -> None:
        if codec_options is None:
            codec_options = DEFAULT_RAW_BSON_OPTIONS
        elif not issubclass(codec_options.document_class, RawBSONDocument):
            raise TypeError(
                "RawBSONDocument cannot use CodecOptions with document class"
                f" {codec_options.document_class}"
            )
        codec.check_size(bson_bytes)
        self.__raw = bson_bytes
        self.__codec_options = codec_options
        self.__inflated_doc: dict[str, Any] | None = None

    @property
    def raw(self) -> bytes | memoryview:
        """The bytes of the document.

        A document of 4096 bytes or more that was decoded from `bytes` is a read-only view of
        them; ``bytes(document.raw)`` is a copy that holds nothing else in memory.
        """
        return self.__raw

    def _fields(self) -> dict[str, Any]:
        if self.__inflated_doc is None:
            self.__inflated_doc = codec.inflate(self.__raw, self.__codec_options)
        return self.__inflated_doc

    def items(self) -> ItemsView[str, Any]:
        """The fields, decoded."""
        return self._fields().items()

    def __getitem__(self, item: str) -> Any:
        return self._fields()[item]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields())

    def __len__(self) -> int:
        return len(self._fields())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, RawBSONDocument):
            return self.__raw == other.raw
        return NotImplemented

    __hash__: Any = None

    def __getstate__(self) -> Any:
        # As PyMongo's; a derived class may have fields and slots of its own.
        slots = {
            name: getattr(self, name)
            for name in copyreg._slotnames(type(self))  # type: ignore[attr-defined]
            if hasattr(self, name)
        }
        slots["_RawBSONDocument__raw"] = bytes(self.__raw)
        slots["_RawBSONDocument__inflated_doc"] = None
        return getattr(self, "__dict__", None), slots

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({bytes(self.__raw)!r}, codec_options={self.__codec_options!r})"
        )


DEFAULT_RAW_BSON_OPTIONS: CodecOptions[RawBSONDocument] = DEFAULT.with_options(
    document_class=RawBSONDocument
)
"""The options of a RawBSONDocument that is given none."""
