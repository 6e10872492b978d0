"""BSON for Python: encode and decode, and the types that Python does not have.

Usable alone, without a server. The names are those of PyMongo's `bson` package, whose objects
encode here too (and ours there). This package does no I/O and knows nothing of the driver.

=========================  ==================  ===========================================
Python                     BSON                remarks
=========================  ==================  ===========================================
None                       null                undefined decodes to None too
bool                       bool
int                        int32 / int64       by size; more than 64 bits: `OverflowError`
`Int64`                    int64               int64 decodes to this
float                      double
str                        string              symbol decodes to str too
bytes                      binary, subtype 0
`Binary`                   binary
uuid.UUID                  binary              see `CodecOptions.uuid_representation`
list, tuple                array               decodes to list
dict, any Mapping          document            see `CodecOptions.document_class`
datetime, `DatetimeMS`     date                milliseconds; UTC
`ObjectId`                 objectid
`Regex`, re.Pattern        regex               decodes to `Regex`
`Code`                     code, with scope
`Timestamp`                timestamp
`Decimal128`               decimal128
`DBRef`                    document            DBPointer decodes to this
`MinKey`, `MaxKey`         min and max key
=========================  ==================  ===========================================

Documents may nest 200 levels deep.
"""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Mapping

from mongokey._support.lazy import loader
from mongokey.bson.binary import (
    ALL_UUID_SUBTYPES,
    CSHARP_LEGACY,
    JAVA_LEGACY,
    OLD_UUID_SUBTYPE,
    STANDARD,
    UUID_SUBTYPE,
    Binary,
    UuidRepresentation,
)
from mongokey.bson.code import Code
from mongokey.bson.codec import decode, decode_all, decode_iter, encode
from mongokey.bson.codec_options import DEFAULT_CODEC_OPTIONS, CodecOptions, DatetimeConversion
from mongokey.bson.datetime_ms import EPOCH_AWARE, EPOCH_NAIVE, DatetimeMS
from mongokey.bson.datetime_ms import _datetime_to_millis as _datetime_to_millis
from mongokey.bson.errors import BSONError, InvalidBSON, InvalidDocument, InvalidStringData
from mongokey.bson.int64 import Int64
from mongokey.bson.max_key import MaxKey
from mongokey.bson.min_key import MinKey
from mongokey.bson.objectid import ObjectId
from mongokey.bson.timestamp import Timestamp
from mongokey.bson.tz_util import utc

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import IO, Any, BinaryIO

    from mongokey.bson.dbref import DBRef
    from mongokey.bson.decimal128 import Decimal128
    from mongokey.bson.regex import Regex
    from mongokey.bson.son import RE_TYPE, SON

__all__ = [
    "ALL_UUID_SUBTYPES",
    "BSON",
    "BSONARR",
    "BSONBIN",
    "BSONBOO",
    "BSONCOD",
    "BSONCWS",
    "BSONDAT",
    "BSONDEC",
    "BSONINT",
    "BSONLON",
    "BSONMAX",
    "BSONMIN",
    "BSONNUL",
    "BSONNUM",
    "BSONOBJ",
    "BSONOID",
    "BSONREF",
    "BSONRGX",
    "BSONSTR",
    "BSONSYM",
    "BSONTIM",
    "BSONUND",
    "CSHARP_LEGACY",
    "DEFAULT_CODEC_OPTIONS",
    "EPOCH_AWARE",
    "EPOCH_NAIVE",
    "JAVA_LEGACY",
    "OLD_UUID_SUBTYPE",
    "RE_TYPE",
    "SON",
    "STANDARD",
    "UUID_SUBTYPE",
    "BSONError",
    "Binary",
    "Code",
    "CodecOptions",
    "DBRef",
    "DatetimeConversion",
    "DatetimeMS",
    "Decimal128",
    "Int64",
    "InvalidBSON",
    "InvalidDocument",
    "InvalidStringData",
    "MaxKey",
    "MinKey",
    "ObjectId",
    "Regex",
    "Timestamp",
    "UuidRepresentation",
    "decode",
    "decode_all",
    "decode_file_iter",
    "decode_iter",
    "encode",
    "gen_list_name",
    "get_data_and_view",
    "has_c",
    "is_valid",
    "utc",
]

__getattr__ = loader(
    __name__,
    # Loaded late: these bring more modules with them than the codec needs.
    {
        "DBRef": "mongokey.bson.dbref",
        "Decimal128": "mongokey.bson.decimal128",
        "RE_TYPE": "mongokey.bson.son",
        "Regex": "mongokey.bson.regex",
        "SON": "mongokey.bson.son",
    },
    ("dbref", "decimal128", "json_util", "raw_bson", "regex", "son", "typings"),
)

_READ_AT_ONCE = 1 << 20

BSONNUM = b"\x01"
BSONSTR = b"\x02"
BSONOBJ = b"\x03"
BSONARR = b"\x04"
BSONBIN = b"\x05"
BSONUND = b"\x06"
BSONOID = b"\x07"
BSONBOO = b"\x08"
BSONDAT = b"\x09"
BSONNUL = b"\x0a"
BSONRGX = b"\x0b"
BSONREF = b"\x0c"
BSONCOD = b"\x0d"
BSONSYM = b"\x0e"
BSONCWS = b"\x0f"
BSONINT = b"\x10"
BSONTIM = b"\x11"
BSONLON = b"\x12"
BSONDEC = b"\x13"
BSONMIN = b"\xff"
BSONMAX = b"\x7f"


def _built_in_types() -> tuple[type, ...]:
    """The Python types that BSON has an encoding for: no type codec may change it."""
    import datetime
    import uuid

    from mongokey.bson.dbref import DBRef
    from mongokey.bson.decimal128 import Decimal128
    from mongokey.bson.regex import Regex
    from mongokey.bson.son import RE_TYPE, SON

    python = (bool, bytes, datetime.datetime, dict, float, int, list, str, tuple, type(None))
    ours = (Binary, Code, DBRef, DatetimeMS, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex)
    return (*python, *ours, SON, Timestamp, RE_TYPE, uuid.UUID, Mapping)


def decode_file_iter(
    file_obj: BinaryIO | IO[bytes], codec_options: CodecOptions[Any] | None = None
) -> Iterator[Any]:
    """Decode the BSON documents of a binary file (a mongodump, say), one at a time.

    Each document is read as it is asked for. Raises `InvalidBSON` when the file ends within
    one or holds something else.
    """
    if codec_options is not None and not isinstance(codec_options, CodecOptions):
        raise TypeError("codec_options must be an instance of CodecOptions")
    return _decode_file(file_obj, codec_options)


def _decode_file(
    file_obj: BinaryIO | IO[bytes], codec_options: CodecOptions[Any] | None
) -> Generator[Any, None, None]:
    while head := _read_whole(file_obj, 4):
        if len(head) != 4:
            raise InvalidBSON("cut off in middle of objsize")
        size = int.from_bytes(head, "little", signed=True)
        # A length that is too small, or more than there is, is left for decode() to report.
        document = head + _read_whole(file_obj, max(0, size - 4))
        yield decode(document, codec_options) if codec_options else decode(document)


def _read_whole(file_obj: BinaryIO | IO[bytes], size: int) -> bytes:
    """`size` bytes of a file, or fewer at its end.

    Unbuffered files, pipes and sockets may give less at a time than they were asked for.
    """
    chunks = []
    while size:
        # Not all at once: a document of 2 GB may only be said to be there.
        chunk = file_obj.read(min(size, _READ_AT_ONCE))
        if chunk is None:
            raise BlockingIOError("decode_file_iter cannot read a file that does not block")
        if not isinstance(chunk, (bytes, bytearray)):
            raise TypeError(f"the file gave {type(chunk)}, not bytes: open it in binary mode")
        if len(chunk) > size:
            raise ValueError(f"the file gave {len(chunk)} bytes when asked for {size}")
        if not chunk:
            break
        chunks.append(bytes(chunk))
        size -= len(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def is_valid(bson: bytes) -> bool:
    """Whether `bson` is one valid document. Raises `TypeError` when it is not bytes."""
    if not isinstance(bson, bytes):
        raise TypeError(f"BSON data must be an instance of a subclass of bytes, not {type(bson)}")
    try:
        decode(bson)
    except BSONError:
        return False
    return True


class BSON(bytes):
    """Bytes that are BSON, with `encode` and `decode` at hand; the functions are faster."""

    @classmethod
    def encode(
        cls,
        document: Mapping[str, Any],
        check_keys: bool = False,
        codec_options: CodecOptions[Any] = DEFAULT_CODEC_OPTIONS,
    ) -> BSON:
        """As `mongokey.bson.encode`."""
        return cls(encode(document, check_keys, codec_options))

    def decode(  # type: ignore[override]
        self, codec_options: CodecOptions[Any] = DEFAULT_CODEC_OPTIONS
    ) -> Any:
        """As `mongokey.bson.decode`."""
        return decode(self, codec_options)


def get_data_and_view(data: Any) -> tuple[Any, memoryview]:
    """`data`, or its bytes where it is a buffer that may change, and a view of them."""
    kept = data if isinstance(data, (bytes, bytearray)) else bytes(data)
    return kept, memoryview(kept)


def gen_list_name() -> Iterator[bytes]:
    """The keys of an array's items: ``b"0\\0"``, ``b"1\\0"`` and so on, without end."""
    for number in itertools.count():
        yield b"%d\0" % number


def has_c() -> bool:
    """Whether the codec is compiled; here it always is."""
    return True
