"""Binary, bytes with a BSON subtype, and how UUIDs are kept in them.

Older drivers stored UUIDs under subtype 3 in three byte orders; `UuidRepresentation` names
them (bson-binary-encoding specification). The uuid module is loaded when a UUID is made.
"""

from __future__ import annotations

from mongokey._support.lazy import loader

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from array import array
    from mmap import mmap
    from typing import Any
    from uuid import UUID

    from typing_extensions import Self

    from mongokey.bson.vector import BinaryVector, BinaryVectorDtype

__all__ = [
    "ALL_UUID_REPRESENTATIONS",
    "ALL_UUID_SUBTYPES",
    "BINARY_SUBTYPE",
    "COLUMN_SUBTYPE",
    "CSHARP_LEGACY",
    "FUNCTION_SUBTYPE",
    "JAVA_LEGACY",
    "MD5_SUBTYPE",
    "OLD_BINARY_SUBTYPE",
    "OLD_UUID_SUBTYPE",
    "PYTHON_LEGACY",
    "SENSITIVE_SUBTYPE",
    "STANDARD",
    "USER_DEFINED_SUBTYPE",
    "UUID_REPRESENTATION_NAMES",
    "UUID_SUBTYPE",
    "VECTOR_SUBTYPE",
    "Binary",
    "BinaryVector",
    "BinaryVectorDtype",
    "UuidRepresentation",
]

BINARY_SUBTYPE = 0
"""Plain bytes; decodes to `bytes`."""
FUNCTION_SUBTYPE = 1
OLD_BINARY_SUBTYPE = 2
"""Deprecated: the data repeats its length."""
OLD_UUID_SUBTYPE = 3
"""A UUID in the byte order of some older driver."""
UUID_SUBTYPE = 4
"""A UUID in RFC 4122 byte order."""
MD5_SUBTYPE = 5
COLUMN_SUBTYPE = 7
SENSITIVE_SUBTYPE = 8
"""Data that must not be shown: `repr` hides it."""
VECTOR_SUBTYPE = 9
"""A vector of numbers: see `Binary.from_vector`."""
USER_DEFINED_SUBTYPE = 128


class UuidRepresentation:
    """How `uuid.UUID` values are written to and read from BSON."""

    UNSPECIFIED = 0
    """UUIDs are refused when encoding, and decode to `Binary`: the default."""
    STANDARD = UUID_SUBTYPE
    """Subtype 4 in RFC 4122 byte order: what new applications use."""
    PYTHON_LEGACY = OLD_UUID_SUBTYPE
    """Subtype 3 in RFC 4122 byte order, as PyMongo wrote it before 4.0."""
    JAVA_LEGACY = 5
    """Subtype 3 with each half reversed, as the Java driver wrote it."""
    CSHARP_LEGACY = 6
    """Subtype 3 in the byte order of .NET's Guid, as the C# driver wrote it."""


STANDARD = UuidRepresentation.STANDARD
PYTHON_LEGACY = UuidRepresentation.PYTHON_LEGACY
JAVA_LEGACY = UuidRepresentation.JAVA_LEGACY
CSHARP_LEGACY = UuidRepresentation.CSHARP_LEGACY

ALL_UUID_SUBTYPES = (OLD_UUID_SUBTYPE, UUID_SUBTYPE)
UUID_REPRESENTATION_NAMES = {
    value: f"UuidRepresentation.{name}"
    for name, value in vars(UuidRepresentation).items()
    if name.isupper()
}
ALL_UUID_REPRESENTATIONS = tuple(UUID_REPRESENTATION_NAMES)


def _reverse_halves(data: bytes) -> bytes:
    return data[7::-1] + data[:7:-1]


def _check_representation(representation: int, unspecified: str) -> None:
    if representation not in ALL_UUID_REPRESENTATIONS:
        raise ValueError("uuid_representation must be a value from bson.binary.UuidRepresentation")
    if representation == UuidRepresentation.UNSPECIFIED:
        raise ValueError(unspecified)


class Binary(bytes):
    """Bytes with a BSON subtype (0..255).

    `data` is anything with the buffer protocol. Raises `TypeError` when `subtype` is not an
    int and `ValueError` when it is out of range. Subtype 0 decodes to `bytes`, not to this.
    """

    _type_marker = 5
    __subtype: int

    def __new__(
        cls,
        data: memoryview | bytes | bytearray | mmap | array[Any],
        subtype: int = BINARY_SUBTYPE,
    ) -> Self:
        if not isinstance(subtype, int):
            raise TypeError(f"subtype must be an instance of int, not {type(subtype)}")
        if not 0 <= subtype < 256:
            raise ValueError("subtype must be contained in [0, 256)")
        # memoryview refuses str and int, which bytes() would take in its own way.
        self = bytes.__new__(cls, data if type(data) is bytes else memoryview(data).tobytes())
        self.__subtype = subtype
        return self

    @classmethod
    def from_uuid(
        cls, uuid: UUID, uuid_representation: int = UuidRepresentation.STANDARD
    ) -> Binary:
        """`uuid` as Binary, in the byte order of `uuid_representation`.

        Raises `TypeError` when it is not a `uuid.UUID` and `ValueError` when the
        representation is unknown or UNSPECIFIED.
        """
        from uuid import UUID

        if not isinstance(uuid, UUID):
            raise TypeError(f"uuid must be an instance of uuid.UUID, not {type(uuid)}")
        _check_representation(
            uuid_representation,
            "cannot encode native uuid.UUID with UuidRepresentation.UNSPECIFIED: set"
            " uuidRepresentation=standard in the URI, or uuid_representation in CodecOptions, or"
            " wrap the value with Binary.from_uuid()",
        )
        if uuid_representation == STANDARD:
            return cls(uuid.bytes, UUID_SUBTYPE)
        if uuid_representation == JAVA_LEGACY:
            return cls(_reverse_halves(uuid.bytes), OLD_UUID_SUBTYPE)
        if uuid_representation == CSHARP_LEGACY:
            return cls(uuid.bytes_le, OLD_UUID_SUBTYPE)
        return cls(uuid.bytes, OLD_UUID_SUBTYPE)

    def as_uuid(self, uuid_representation: int = UuidRepresentation.STANDARD) -> UUID:
        """This value as a `uuid.UUID`, read in the byte order of `uuid_representation`.

        Raises `ValueError` when it is not 16 bytes of a UUID subtype, or the representation
        does not go with that subtype.
        """
        from uuid import UUID

        if self.__subtype not in ALL_UUID_SUBTYPES:
            raise ValueError(f"cannot decode subtype {self.__subtype} as a uuid")
        _check_representation(uuid_representation, "uuid_representation cannot be UNSPECIFIED")
        if len(self) != 16:
            raise ValueError(f"cannot decode a uuid from a {len(self)}-byte payload, expected 16")
        wanted = UUID_SUBTYPE if uuid_representation == STANDARD else OLD_UUID_SUBTYPE
        if self.__subtype != wanted:
            raise ValueError(
                f"cannot decode subtype {self.__subtype} to"
                f" {UUID_REPRESENTATION_NAMES[uuid_representation]}"
            )
        if uuid_representation == JAVA_LEGACY:
            return UUID(bytes=_reverse_halves(bytes(self)))
        if uuid_representation == CSHARP_LEGACY:
            return UUID(bytes_le=bytes(self))
        return UUID(bytes=bytes(self))

    @classmethod
    def from_vector(
        cls,
        vector: BinaryVector | list[int] | list[float] | Any,
        dtype: BinaryVectorDtype | None = None,
        padding: int | None = None,
    ) -> Binary:
        """A vector of numbers as Binary of subtype 9.

        `vector` is a BinaryVector, or a list or one-dimensional numpy array of `dtype`.
        `padding` is how many low bits of the last byte a packed-bit vector does not use; they
        must be zero. Raises `ValueError` or `struct.error` when a value or the padding is out
        of range and `TypeError` for other types.
        """
        from mongokey.bson.vector import pack_vector

        return cls(pack_vector(vector, dtype, padding), VECTOR_SUBTYPE)

    def as_vector(self, return_numpy: bool = False) -> BinaryVector:
        """The vector in this Binary; its data a list, or a numpy array if `return_numpy`.

        Raises `ValueError` when the subtype is not 9 or the data is corrupt.
        """
        if self.__subtype != VECTOR_SUBTYPE:
            raise ValueError(f"Cannot decode subtype {self.__subtype} as a vector")
        from mongokey.bson.vector import unpack_vector

        return unpack_vector(bytes(self), return_numpy)

    @property
    def subtype(self) -> int:
        """The BSON subtype."""
        return self.__subtype

    def __getnewargs__(self) -> tuple[bytes, int]:  # type: ignore[override]
        return bytes(self), self.__subtype

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Binary):
            return (self.__subtype, bytes(self)) == (other.subtype, bytes(other))
        # Not NotImplemented: bytes would then find itself equal.
        return False

    def __hash__(self) -> int:
        return super().__hash__() ^ hash(self.__subtype)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __repr__(self) -> str:
        if self.__subtype == SENSITIVE_SUBTYPE:
            return f"<Binary(REDACTED, {self.__subtype})>"
        return f"Binary({bytes.__repr__(self)}, {self.__subtype})"


# Vectors are for few: what they need is loaded when they are asked for.
__getattr__ = loader(
    __name__, dict.fromkeys(("BinaryVector", "BinaryVectorDtype"), "mongokey.bson.vector")
)
