"""Limits, defaults and checks of arguments, under PyMongo's import path.

For programs that import them from there; mongokey's own are in `mongokey.options` and
`mongokey.commands.arguments`. A check returns the value to keep, and raises `TypeError` for a wrong
type and `ValueError` for a wrong value; both name the option.
"""

from __future__ import annotations

import datetime
from collections import OrderedDict
from collections.abc import Mapping, MutableMapping, Sequence

from mongokey._support.address import DEFAULT_PORT
from mongokey.bson import has_c
from mongokey.bson.codec_options import DatetimeConversion, TypeRegistry
from mongokey.bson.raw_bson import RawBSONDocument
from mongokey.bson.son import SON
from mongokey.commands import arguments
from mongokey.commands.inherited_options import OptionsHolder as BaseObject
from mongokey.driver_info import DriverInfo
from mongokey.handshake import reply
from mongokey.options import validators
from mongokey.options.table import OPTIONS
from mongokey.read_preferences import _ServerMode
from mongokey.server_api import ServerApi
from mongokey.write_concern import DEFAULT_WRITE_CONCERN, WriteConcern, validate_boolean

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = [
    "COMMAND_NOT_FOUND_CODES",
    "CONNECT_TIMEOUT",
    "DEFAULT_WRITE_CONCERN",
    "HEARTBEAT_FREQUENCY",
    "LOCAL_THRESHOLD_MS",
    "MAX_BSON_SIZE",
    "MAX_CONNECTING",
    "MAX_IDLE_TIME_MS",
    "MAX_IDLE_TIME_SEC",
    "MAX_MESSAGE_SIZE",
    "MAX_POOL_SIZE",
    "MAX_SUPPORTED_WIRE_VERSION",
    "MAX_WIRE_VERSION",
    "MAX_WRITE_BATCH_SIZE",
    "MIN_POOL_SIZE",
    "MIN_SUPPORTED_SERVER_VERSION",
    "MIN_SUPPORTED_WIRE_VERSION",
    "MIN_WIRE_VERSION",
    "ORDERED_TYPES",
    "RETRY_READS",
    "RETRY_WRITES",
    "SERVER_MONITORING_MODE",
    "SERVER_SELECTION_TIMEOUT",
    "SRV_SERVICE_NAME",
    "UNAUTHORIZED_CODES",
    "WAIT_QUEUE_TIMEOUT",
    "WRITE_CONCERN_OPTIONS",
    "BaseObject",
    "WriteConcern",
    "clean_node",
    "has_c",
    "partition_node",
    "validate_appname_or_none",
    "validate_auto_encryption_opts_or_none",
    "validate_boolean",
    "validate_boolean_or_string",
    "validate_datetime_conversion",
    "validate_document_class",
    "validate_driver_or_none",
    "validate_integer",
    "validate_is_callable_or_none",
    "validate_is_document_type",
    "validate_is_mapping",
    "validate_list",
    "validate_list_or_mapping",
    "validate_list_or_none",
    "validate_non_negative_int_or_basestring",
    "validate_non_negative_integer",
    "validate_non_negative_integer_or_none",
    "validate_ok_for_replace",
    "validate_ok_for_update",
    "validate_positive_float",
    "validate_positive_float_or_zero",
    "validate_positive_integer",
    "validate_read_preference",
    "validate_read_preference_mode",
    "validate_server_api_or_none",
    "validate_string",
    "validate_string_or_none",
    "validate_timeout_or_none",
    "validate_timeout_or_none_or_zero",
    "validate_timeout_or_zero",
    "validate_timeoutms",
    "validate_type_registry",
    "validate_tzinfo",
    "validate_unicode_decode_error_handler",
    "validate_uuid_representation",
]

# Limits of servers that have not told theirs.
MAX_BSON_SIZE = 16 * 1024 * 1024
MAX_MESSAGE_SIZE = 48_000_000
MAX_WRITE_BATCH_SIZE = 100_000
MIN_WIRE_VERSION = 0
MAX_WIRE_VERSION = 0
MIN_SUPPORTED_SERVER_VERSION = reply.MIN_SERVER
MIN_SUPPORTED_WIRE_VERSION = reply.MIN_WIRE_VERSION
MAX_SUPPORTED_WIRE_VERSION = reply.MAX_WIRE_VERSION

# Defaults of options; times in seconds, but where the name says otherwise.
HEARTBEAT_FREQUENCY = 10
SERVER_SELECTION_TIMEOUT = 30
CONNECT_TIMEOUT = 20.0
WAIT_QUEUE_TIMEOUT: int | None = None
LOCAL_THRESHOLD_MS = 15
MAX_POOL_SIZE = 100
MIN_POOL_SIZE = 0
MAX_CONNECTING = 2
MAX_IDLE_TIME_MS: int | None = None
MAX_IDLE_TIME_SEC: int | None = None
RETRY_WRITES = True
RETRY_READS = True
SRV_SERVICE_NAME: str = OPTIONS["srvServiceName"].default
SERVER_MONITORING_MODE: str = OPTIONS["serverMonitoringMode"].default
WRITE_CONCERN_OPTIONS = frozenset({"w", "wtimeout", "wtimeoutms", "fsync", "j", "journal"})

COMMAND_NOT_FOUND_CODES: Sequence[int] = (59,)
UNAUTHORIZED_CODES: Sequence[int] = (13, 16547, 16548)

ORDERED_TYPES: Sequence[type[Any]] = (SON, OrderedDict)

# Their numbers, by the names that the option uuidRepresentation has for them.
_UUID_REPRESENTATIONS = dict(validators.UUID_REPRESENTATIONS)


def partition_node(node: str) -> tuple[str, int]:
    """``host:port``, as servers name each other, as a pair; without a port, 27017."""
    host, colon, port = node.rpartition(":")
    if not colon:
        host, port = node, str(DEFAULT_PORT)
    return host[1:-1] if host.startswith("[") else host, int(port)


def clean_node(node: str) -> tuple[str, int]:
    """The same with the host in lower case: names are told apart without it."""
    host, port = partition_node(node)
    return host.lower(), port


def _wrong(option: object, expected: str, value: object) -> TypeError:
    return TypeError(f"{option} must be {expected}, not {type(value).__name__}")


def _or_none(check: Callable[[Any, Any], Any], option: Any, value: Any) -> Any:
    return None if value is None else check(option, value)


def validate_boolean_or_string(option: str, value: Any) -> bool:
    """True or False, or the words of them."""
    if not isinstance(value, str):
        return validate_boolean(option, value)
    if value not in ("true", "false"):
        raise ValueError(f"{option} must be 'true' or 'false'")
    return value == "true"


def validate_integer(option: str, value: Any) -> int:
    """An int, or the digits of one."""
    if isinstance(value, int):
        return value
    if not isinstance(value, str):
        raise _wrong(option, "an integer", value)
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"{option} must be an integer") from None


def validate_positive_integer(option: str, value: Any) -> int:
    """An integer above 0."""
    number = validate_integer(option, value)
    if number <= 0:
        raise ValueError(f"{option} must be a positive integer")
    return number


def validate_non_negative_integer(option: str, value: Any) -> int:
    """An integer, 0 or more."""
    number = validate_integer(option, value)
    if number < 0:
        raise ValueError(f"{option} must be an integer that is not negative")
    return number


def validate_non_negative_integer_or_none(option: str, value: Any) -> int | None:
    """The same, or None."""
    return _or_none(validate_non_negative_integer, option, value)  # type: ignore[no-any-return]


def validate_non_negative_int_or_basestring(option: Any, value: Any) -> int | str:
    """An integer, 0 or more where it is written in digits, or any other string (`w`)."""
    if isinstance(value, int):
        return value
    if not isinstance(value, str):
        raise _wrong(option, "an integer that is not negative or a string", value)
    try:
        number = int(value)
    except ValueError:
        return value
    return validate_non_negative_integer(option, number)


def validate_string(option: str, value: Any) -> str:
    """A str."""
    arguments.check_string(option, value)
    return value  # type: ignore[no-any-return]


def validate_string_or_none(option: str, value: Any) -> str | None:
    """A str or None."""
    return _or_none(validate_string, option, value)  # type: ignore[no-any-return]


def validate_positive_float(option: str, value: Any) -> float:
    """A number above 0 and below a billion, as a float."""
    try:
        number = float(value)
    except ValueError:
        raise ValueError(f"{option} must be a number") from None
    except TypeError:
        raise _wrong(option, "a number", value) from None
    if not 0 < number < 1e9:
        raise ValueError(f"{option} must be greater than 0 and less than one billion")
    return number


def validate_positive_float_or_zero(option: str, value: Any) -> float:
    """The same, or 0."""
    return 0 if value in (0, "0") else validate_positive_float(option, value)


def validate_timeout_or_none(option: str, value: Any) -> float | None:
    """Milliseconds, as seconds; None for none."""
    return None if value is None else validate_positive_float(option, value) / 1000.0


def validate_timeout_or_zero(option: str, value: Any) -> float:
    """Milliseconds, as seconds; 0 is one, None raises `ConfigurationError`."""
    if value is None:
        from mongokey.errors import ConfigurationError

        raise ConfigurationError(f"{option} cannot be None")
    return validate_positive_float_or_zero(option, value) / 1000.0


def validate_timeout_or_none_or_zero(option: Any, value: Any) -> float | None:
    """Milliseconds, as seconds; 0 and None stand for no limit."""
    return None if value in (None, 0, "0") else validate_timeout_or_none(option, value)


def validate_timeoutms(option: Any, value: Any) -> float | None:
    """Milliseconds, as seconds; 0 and None stand for themselves (`timeoutMS`)."""
    return None if value is None else validate_positive_float_or_zero(option, value) / 1000.0


def validate_read_preference(dummy: Any, value: Any) -> _ServerMode:
    """An object of `mongokey.read_preferences`."""
    if not isinstance(value, _ServerMode):
        raise TypeError(f"{value!r} is not a read preference")
    return value


def validate_read_preference_mode(dummy: Any, value: Any) -> _ServerMode:
    """The name of a read preference's mode, such as ``"nearest"``."""
    if value not in validators.READ_PREFERENCES:
        known = ", ".join(validators.READ_PREFERENCES)
        raise ValueError(f"a read preference must be one of {known}")
    return value  # type: ignore[no-any-return]


def validate_uuid_representation(dummy: Any, value: Any, from_uri: bool = False) -> int:
    """The number of a UUID representation, given by its name."""
    if value not in _UUID_REPRESENTATIONS:
        shown = "" if from_uri else f", not {value!r}"
        raise ValueError(
            f"a UUID representation must be one of {tuple(_UUID_REPRESENTATIONS)}{shown}"
        )
    return _UUID_REPRESENTATIONS[value]


def validate_document_class(
    option: str, value: Any
) -> type[MutableMapping[str, Any] | RawBSONDocument]:
    """A class of mappings, subscripted or not, or `RawBSONDocument`."""
    cls = getattr(value, "__origin__", value)
    if not isinstance(cls, type):
        raise _wrong(option, "a class of mutable mappings or RawBSONDocument", value)
    if not issubclass(cls, (MutableMapping, RawBSONDocument)):
        raise TypeError(
            f"{option} must be a class of mutable mappings or RawBSONDocument, not {cls.__name__}"
        )
    return value  # type: ignore[no-any-return]


def validate_type_registry(option: Any, value: Any) -> TypeRegistry | None:
    """A `TypeRegistry` or None."""
    if value is not None and not isinstance(value, TypeRegistry):
        raise _wrong(option, "a TypeRegistry", value)
    return value


def validate_list(option: str, value: Any) -> list[Any]:
    """A list."""
    arguments.check_list(option, value)
    return value  # type: ignore[no-any-return]


def validate_list_or_none(option: Any, value: Any) -> list[Any] | None:
    """A list or None."""
    return _or_none(validate_list, option, value)  # type: ignore[no-any-return]


def validate_list_or_mapping(option: Any, value: Any) -> None:
    """A list or a mapping."""
    if not isinstance(value, (list, Mapping)):
        raise _wrong(option, "a list or a mapping", value)


def validate_is_mapping(option: str, value: Any) -> None:
    """A mapping."""
    arguments.check_mapping(option, value)


def validate_is_document_type(option: str, value: Any) -> None:
    """What can be written as a document and take an ``_id``: a mutable mapping, or a
    `RawBSONDocument`."""
    if not isinstance(value, (MutableMapping, RawBSONDocument)):
        raise _wrong(option, "a mutable mapping (dict, SON…) or a RawBSONDocument", value)


def validate_appname_or_none(option: str, value: Any) -> str | None:
    """A str of at most 128 bytes in UTF-8, or None."""
    if value is not None and len(validate_string(option, value).encode()) > 128:
        raise ValueError(f"{option} must be at most 128 bytes long")
    return value  # type: ignore[no-any-return]


def validate_driver_or_none(option: Any, value: Any) -> DriverInfo | None:
    """A `DriverInfo` or None."""
    if value is not None and not isinstance(value, DriverInfo):
        raise _wrong(option, "a DriverInfo", value)
    return value


def validate_server_api_or_none(option: Any, value: Any) -> ServerApi | None:
    """A `ServerApi` or None."""
    if value is not None and not isinstance(value, ServerApi):
        raise _wrong(option, "a ServerApi", value)
    return value


def validate_is_callable_or_none(option: Any, value: Any) -> Callable[[Any, Any], Any] | None:
    """Something that can be called, or None."""
    if value is not None and not callable(value):
        raise _wrong(option, "callable", value)
    return value  # type: ignore[no-any-return]


def validate_auto_encryption_opts_or_none(option: Any, value: Any) -> Any | None:
    """An `AutoEncryptionOpts`, or None."""
    return validators.auto_encryption_opts(option, value)


def validate_ok_for_replace(replacement: Mapping[str, Any]) -> None:
    """A document without ``$`` operators."""
    arguments.check_replacement(replacement)


def validate_ok_for_update(update: Any) -> None:
    """A document of ``$`` operators, or a pipeline."""
    validate_list_or_mapping("update", update)
    arguments.check_update(update)


def validate_unicode_decode_error_handler(dummy: Any, value: str) -> str:
    """One of ``"strict"``, ``"replace"``, ``"ignore"``."""
    if value not in ("strict", "replace", "ignore"):
        raise ValueError("a Unicode error handler must be one of strict, replace, ignore")
    return value


def validate_tzinfo(dummy: Any, value: Any) -> datetime.tzinfo | None:
    """A time zone or None."""
    if value is not None and not isinstance(value, datetime.tzinfo):
        raise _wrong("tzinfo", "a datetime.tzinfo", value)
    return value


def validate_datetime_conversion(
    option: Any, value: Any, from_uri: bool = False
) -> DatetimeConversion | None:
    """A `DatetimeConversion`, given as it is, by its number or by its name; None is the default.

    Raises `KeyError` for a name that there is not.
    """
    if value is None:
        return DatetimeConversion.DATETIME
    if isinstance(value, str) and not value.isdigit():
        if value not in DatetimeConversion.__members__:
            raise KeyError(f"{option} has no such value" if from_uri else value)
        return DatetimeConversion[value]
    if not isinstance(value, (int, str)):
        raise _wrong(option, "a DatetimeConversion, its number or its name", value)
    return DatetimeConversion(int(value))
