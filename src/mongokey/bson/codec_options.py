"""CodecOptions, how BSON is turned into Python values and back, and custom type codecs.

These are plain values that the codec compiles once (`_context.pyx`); they know none of the
BSON types but the UUID representations.
"""

from __future__ import annotations

import abc
import datetime
import enum
from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, MutableMapping

from mongokey._support.reprs import with_safe_repr
from mongokey.bson.binary import (
    ALL_UUID_REPRESENTATIONS,
    UUID_REPRESENTATION_NAMES,
    UuidRepresentation,
)

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any, Generic

__all__ = [
    "DEFAULT_CODEC_OPTIONS",
    "CodecOptions",
    "DatetimeConversion",
    "TypeCodec",
    "TypeDecoder",
    "TypeEncoder",
    "TypeRegistry",
]

_RAW_BSON_DOCUMENT_MARKER = 101


def _raw_document_class(document_class: Any) -> bool:
    """Whether `document_class` is RawBSONDocument or derived from it."""
    marker = getattr(document_class, "_type_marker", None)
    return bool(marker == _RAW_BSON_DOCUMENT_MARKER)


class TypeEncoder(abc.ABC):
    """Says how values of one Python type become something BSON can encode."""

    @property
    @abc.abstractmethod
    def python_type(self) -> Any:
        """The type whose values (not those of its subclasses) are transformed."""

    @abc.abstractmethod
    def transform_python(self, value: Any) -> Any:
        """`value` as a type that BSON can encode."""


class TypeDecoder(abc.ABC):
    """Says what values of one decoded type become."""

    @property
    @abc.abstractmethod
    def bson_type(self) -> Any:
        """The type, as the codec decodes it, whose values are transformed."""

    @abc.abstractmethod
    def transform_bson(self, value: Any) -> Any:
        """The decoded `value` as one's own type."""


class TypeCodec(TypeEncoder, TypeDecoder):
    """Both ways in one class."""


_Codec = TypeEncoder | TypeDecoder | TypeCodec
_Fallback = Callable[["Any"], "Any"]


@with_safe_repr
class TypeRegistry:
    """The type codecs in use, and a function for values of any other type.

    `type_codecs` are instances of the classes above; for one type the last one counts.
    `fallback_encoder` is called with a value that nothing else can encode and returns one that
    can be. Raises `TypeError` for other objects, and for an encoder of a type that BSON has
    already.
    """

    def __init__(
        self,
        type_codecs: Iterable[_Codec] | None = None,
        fallback_encoder: _Fallback | None = None,
    ) -> None:
        self.__type_codecs = list(type_codecs or [])
        self._fallback_encoder = fallback_encoder
        self._encoder_map: dict[Any, Any] = {}
        self._decoder_map: dict[Any, Any] = {}
        if fallback_encoder is not None and not callable(fallback_encoder):
            raise TypeError(f"fallback_encoder {fallback_encoder!r} is not a callable")
        for codec in self.__type_codecs:
            if not isinstance(codec, (TypeEncoder, TypeDecoder)):
                raise TypeError(
                    "Expected an instance of TypeEncoder, TypeDecoder, or TypeCodec, got"
                    f" {codec!r} instead"
                )
            if isinstance(codec, TypeEncoder):
                self._validate_type_encoder(codec)
                self._encoder_map[codec.python_type] = codec.transform_python
            if isinstance(codec, TypeDecoder):
                self._decoder_map[codec.bson_type] = codec.transform_bson

    @property
    def codecs(self) -> list[TypeEncoder | TypeDecoder | TypeCodec]:
        """The type codecs, in the order given."""
        return self.__type_codecs

    @property
    def fallback_encoder(self) -> _Fallback | None:
        """The function for values of any other type."""
        return self._fallback_encoder

    def _validate_type_encoder(self, codec: TypeEncoder) -> None:
        from mongokey.bson import _built_in_types

        for built_in in _built_in_types():
            if issubclass(codec.python_type, built_in):
                raise TypeError(
                    "TypeEncoders cannot change how built-in types are encoded (encoder"
                    f" {codec} transforms type {built_in})"
                )

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(type_codecs={self.__type_codecs!r},"
            f" fallback_encoder={self._fallback_encoder!r})"
        )

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, type(self)):
            return NotImplemented
        return (
            self._decoder_map == other._decoder_map
            and self._encoder_map == other._encoder_map
            and self._fallback_encoder == other._fallback_encoder
        )

    __hash__: Any = None


class DatetimeConversion(int, enum.Enum):
    """What BSON dates decode to."""

    DATETIME = 1
    """`datetime.datetime`; one out of its range raises `InvalidBSON`."""
    DATETIME_CLAMP = 2
    """`datetime.datetime`; one out of its range becomes the nearest that it can hold."""
    DATETIME_MS = 3
    """`DatetimeMS`, always."""
    DATETIME_AUTO = 4
    """`datetime.datetime` where it can hold the date, otherwise `DatetimeMS`."""


if TYPE_CHECKING:
    from mongokey.bson.typings import _DocumentType

    class CodecOptions(tuple[Any, ...], Generic[_DocumentType]):
        document_class: type[_DocumentType]
        tz_aware: bool
        uuid_representation: int
        unicode_decode_error_handler: str
        tzinfo: datetime.tzinfo | None
        type_registry: TypeRegistry
        datetime_conversion: int | None

        def __new__(
            cls,
            document_class: type[_DocumentType] | None = ...,
            tz_aware: bool = ...,
            uuid_representation: int | None = ...,
            unicode_decode_error_handler: str = ...,
            tzinfo: datetime.tzinfo | None = ...,
            type_registry: TypeRegistry | None = ...,
            datetime_conversion: int | None = ...,
        ) -> CodecOptions[_DocumentType]: ...

        def with_options(self, **kwargs: Any) -> CodecOptions[Any]: ...
        def _arguments_repr(self) -> str: ...
        @classmethod
        def _make(cls, obj: Iterable[Any]) -> CodecOptions[_DocumentType]: ...
        def _asdict(self) -> dict[str, Any]: ...
        def _replace(self, **kwargs: Any) -> CodecOptions[_DocumentType]: ...

else:

    class CodecOptions(
        namedtuple(
            "CodecOptions",
            (
                "document_class",
                "tz_aware",
                "uuid_representation",
                "unicode_decode_error_handler",
                "tzinfo",
                "type_registry",
                "datetime_conversion",
            ),
        )
    ):
        """How BSON is decoded and encoded; immutable, compared by value.

        document_class: the type documents decode to: dict (the default), another
            MutableMapping, or RawBSONDocument.
        tz_aware: whether dates decode to aware datetimes; False by default.
        uuid_representation: of `UuidRepresentation`; UNSPECIFIED by default.
        unicode_decode_error_handler: what to do with strings that are not UTF-8: "strict" (the
            default), "replace", "backslashreplace", "surrogateescape" or "ignore". Documents
            read with any but the first must not be written back.
        tzinfo: the time zone of aware datetimes; None: UTC.
        type_registry: custom type codecs; none by default.
        datetime_conversion: of `DatetimeConversion`; DATETIME by default.

        Raises `TypeError` or `ValueError` when an option is of another type or value.
        """

        def __new__(
            cls,
            document_class=None,
            tz_aware=False,
            uuid_representation=UuidRepresentation.UNSPECIFIED,
            unicode_decode_error_handler="strict",
            tzinfo=None,
            type_registry=None,
            datetime_conversion=DatetimeConversion.DATETIME,
        ):
            document_class = document_class or dict
            # SON[str, Any] is no class; what it stands for is.
            origin = getattr(document_class, "__origin__", document_class)
            is_mapping = isinstance(origin, type) and issubclass(origin, MutableMapping)
            if not (is_mapping or _raw_document_class(document_class)):
                raise TypeError(
                    "document_class must be dict, bson.son.SON, bson.raw_bson.RawBSONDocument,"
                    " or a subclass of collections.abc.MutableMapping"
                )
            if not isinstance(tz_aware, bool):
                raise TypeError(f"tz_aware must be True or False, was: tz_aware={tz_aware}")
            if uuid_representation not in ALL_UUID_REPRESENTATIONS:
                raise ValueError(
                    "uuid_representation must be a value from bson.binary.UuidRepresentation"
                )
            if not isinstance(unicode_decode_error_handler, str):
                raise TypeError(
                    "unicode_decode_error_handler must be a string, not"
                    f" {type(unicode_decode_error_handler)}"
                )
            if tzinfo is not None:
                if not isinstance(tzinfo, datetime.tzinfo):
                    raise TypeError(
                        f"tzinfo must be an instance of datetime.tzinfo, not {type(tzinfo)}"
                    )
                if not tz_aware:
                    raise ValueError("cannot specify tzinfo without also setting tz_aware=True")
            if type_registry is None:
                type_registry = TypeRegistry()
            elif not isinstance(type_registry, TypeRegistry):
                raise TypeError(
                    f"type_registry must be an instance of TypeRegistry, not {type(type_registry)}"
                )
            return tuple.__new__(
                cls,
                (
                    document_class,
                    tz_aware,
                    uuid_representation,
                    unicode_decode_error_handler,
                    tzinfo,
                    type_registry,
                    datetime_conversion,
                ),
            )

        def __getstate__(self):
            # The instance's dict holds only what the codec compiled from the options.
            return None

        def _arguments_repr(self):
            kind = "dict" if self.document_class is dict else repr(self.document_class)
            uuids = UUID_REPRESENTATION_NAMES.get(self.uuid_representation)
            return (
                f"document_class={kind}, tz_aware={self.tz_aware!r}, uuid_representation={uuids},"
                f" unicode_decode_error_handler={self.unicode_decode_error_handler!r},"
                f" tzinfo={self.tzinfo!r}, type_registry={self.type_registry!r},"
                f" datetime_conversion={self.datetime_conversion!s}"
            )

        def __repr__(self):
            return f"{type(self).__name__}({self._arguments_repr()})"

        def with_options(self, **kwargs):
            """A copy with the options given by keyword replaced."""
            return CodecOptions(**{**self._asdict(), **kwargs})


DEFAULT_CODEC_OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions()

_URI_OPTION_NAMES = {
    "document_class": "document_class",
    "tz_aware": "tz_aware",
    "uuidrepresentation": "uuid_representation",
    "unicode_decode_error_handler": "unicode_decode_error_handler",
    "tzinfo": "tzinfo",
    "type_registry": "type_registry",
    "datetime_conversion": "datetime_conversion",
}


def _parse_codec_options(options: Mapping[str, Any]) -> CodecOptions[Any]:
    """The CodecOptions among a client's options (lower-case names)."""
    return CodecOptions(
        **{ours: options[name] for name, ours in _URI_OPTION_NAMES.items() if name in options}
    )
