"""The validators of options: each turns a given value, from a string or a keyword, into its own.

A validator is called with the option's name and the value and returns the value to keep, or
raises InvalidOption or InvalidOptionType. Times come in milliseconds and leave as seconds
(PyMongo's convention) unless the docstring says otherwise. No option is named here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mongokey._support.lazy import imported_once, late_imports
from mongokey._support.secrets import Secret, keeps_secrets
from mongokey.errors import InvalidURI
from mongokey.options.escapes import unquote_plus
from mongokey.options.uri_errors import InvalidOption, InvalidOptionType

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

_INT32_MAX = 2**31 - 1
_INT64_MAX = 2**63 - 1

# PyMongo's ceiling for times, in milliseconds: as good as for ever.
_FOREVER_MS = 1e9

UUID_REPRESENTATIONS = {
    "unspecified": 0,
    "standard": 4,
    "pythonLegacy": 3,
    "javaLegacy": 5,
    "csharpLegacy": 6,
}
READ_PREFERENCES = ("primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest")
COMPRESSORS = ("snappy", "zlib", "zstd")


def boolean(name: str, value: Any) -> bool:
    """True or False, or the words of them."""
    if value == "true":
        return True
    if value == "false":
        return False
    if value is True or value is False:
        return bool(value)
    if isinstance(value, str):
        raise InvalidOption(f"{name} must be 'true' or 'false'{_given(value)}")
    raise _wrong_type(name, "True or False", value)


def _integer(name: str, value: Any) -> int:
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            raise InvalidOption(f"{name} must be an integer{_given(value)}") from None
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _wrong_type(name, "an integer", value)


def _integer_from(low: int, high: int = _INT32_MAX) -> Callable[[str, Any], int]:
    def validate(name: str, value: Any) -> int:
        # Nearly all are a few digits.
        digits = type(value) is str and value.isdecimal() and len(value) < 20
        number = int(value) if digits else _integer(name, value)
        if low <= number <= high:
            return number
        raise InvalidOption(f"{name} must be an integer from {low} to {high}")

    return validate


not_negative = _integer_from(0)
not_negative_64 = _integer_from(0, _INT64_MAX)
positive = _integer_from(1)
zlib_level = _integer_from(-1, 9)
port = _integer_from(0, 65535)


def pool_size(name: str, value: Any) -> int:
    """A number of connections; 0 and None mean no limit."""
    return 0 if value is None else not_negative(name, value)


def max_staleness(name: str, value: Any) -> int:
    """Seconds, positive, or -1 for no limit (max-staleness.md)."""
    number = _integer(name, value)
    if number == -1 or 0 < number <= _INT32_MAX:
        return number
    raise InvalidOption(f"{name} must be -1 (no limit) or a positive number of seconds")


def _utf8(name: str, value: str) -> str:
    """`value`, if UTF-8 can write it: text from an environment or a file may have surrogates."""
    if value.isascii() or _can_be_written(value):
        return value
    raise InvalidOption(
        f"{name} has a character that UTF-8 cannot write (a lone surrogate): it was read from "
        f"bytes that are no UTF-8"
    )


def _can_be_written(value: str) -> bool:
    # By itself: the error, which has the text, is no context of another.
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def write_concern_w(name: str, value: Any) -> int | str:
    """A number of members, not negative, or the name of a write concern mode."""
    if isinstance(value, str):
        if value[:1].isalpha():
            return _utf8(name, value)
        try:
            number = int(value)
        except ValueError:
            if value:
                return _utf8(name, value)
            raise InvalidOption(f"{name} has no value") from None
        return not_negative(name, number)
    if isinstance(value, int) and not isinstance(value, bool):
        return not_negative(name, value)
    raise _wrong_type(name, "an integer that is not negative or a string", value)


def _milliseconds(name: str, value: Any) -> float:
    if type(value) is str and value.isdecimal() and len(value) < 10:
        return float(value)
    if isinstance(value, (str, int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except ValueError:
            raise InvalidOption(f"{name} must be a number of milliseconds{_given(value)}") from None
        except OverflowError:
            number = _FOREVER_MS
        if 0 <= number < _FOREVER_MS:
            return number
        raise InvalidOption(f"{name} must be a number of milliseconds from 0 to one billion")
    raise _wrong_type(name, "a number of milliseconds", value)


def milliseconds(name: str, value: Any) -> float:
    """A time kept in milliseconds; 0 is allowed."""
    return _milliseconds(name, value)


def seconds(name: str, value: Any) -> float:
    """A time; 0 is allowed and means 0."""
    return _milliseconds(name, value) / 1000.0


def seconds_or_none(name: str, value: Any) -> float | None:
    """A time; None means none is set, 0 means 0."""
    return None if value is None else _milliseconds(name, value) / 1000.0


def positive_seconds_or_none(name: str, value: Any) -> float | None:
    """A time that is not 0; None means no limit."""
    if value is None:
        return None
    number = _milliseconds(name, value)
    if number:
        return number / 1000.0
    raise InvalidOption(f"{name} must be greater than 0")


def seconds_0_is_none(name: str, value: Any) -> float | None:
    """A time; 0 and None mean no limit. Zero is written `0`: `0.0` is refused, as in PyMongo."""
    if value is None or value == "0":
        return None
    # Nearly all are a few digits.
    usual = type(value) is str and value.isdecimal() and len(value) < 10
    number = float(value) if usual else _milliseconds(name, value)
    if number:
        return number / 1000.0
    if isinstance(value, str):
        raise InvalidOption(f"{name} must be 0 (no limit) or a positive number of milliseconds")
    return None


def string(name: str, value: Any) -> str:
    """Any string."""
    if isinstance(value, str):
        return _utf8(name, value)
    raise _wrong_type(name, "a string", value)


def string_or_none(name: str, value: Any) -> str | None:
    """Any string, or None for not given."""
    return None if value is None else string(name, value)


def filled_string_or_none(name: str, value: Any) -> str | None:
    """A string that is not empty, or None for not given."""
    if value == "":
        raise InvalidOption(f"{name} has no value")
    return value if value is None else string(name, value)


def path_or_none(name: str, value: Any) -> str | None:
    """A file's path, str or os.PathLike (whether it exists is seen when it is opened); or PEM, str
    or bytes, which becomes a `Pem`."""
    if isinstance(value, bytes) or (isinstance(value, str) and _PEM in value):
        return _pem(name, value)
    if value is None or isinstance(value, str):
        # A file's name need not be UTF-8.
        return value or filled_string_or_none(name, value)
    path = getattr(type(value), "__fspath__", None)
    text = path(value) if path is not None else None
    if not isinstance(text, str):
        raise _wrong_type(name, "a path", value)
    return text


def provider(name: str, value: Any) -> Any:
    """What gives a login's secret (`mongokey.credentials`): a callable, or an object with `fetch`.
    None for not given."""
    if value is None or callable(value) or callable(getattr(value, "fetch", None)):
        return value
    raise _wrong_type(
        name, "a callable that takes a Request, or an object with such a method `fetch`", value
    )


_PEM = "-----BEGIN "


@keeps_secrets
def _pem(name: str, value: str | bytes) -> str:
    with late_imports:
        from mongokey.transport.tls.pem import Pem

    if isinstance(value, bytes) and _PEM.encode() not in value:
        raise _wrong_type(name, "a path, or PEM", value)
    return Pem(value)


def secret_or_none(name: str, value: Any) -> str | None:
    """A password, str or bytes in UTF-8; None for not given."""
    if not isinstance(value, bytes):
        return string_or_none(name, value)
    try:
        return value.decode()
    except UnicodeDecodeError:
        # From None: the error would show the bytes.
        raise InvalidOption(f"{name} is not UTF-8 text") from None


def auth_source(name: str, value: Any) -> str:
    """The name of a database; an empty one is an error even where errors are forgiven."""
    if value == "":
        raise InvalidURI(f"{name} is empty: name the database that holds the user")
    return string(name, value)


def app_name(name: str, value: Any) -> str | None:
    """At most 128 bytes of UTF-8 (mongodb-handshake, `client.application.name`)."""
    text = string_or_none(name, value)
    if text is not None and len(text.encode("utf-8", "surrogatepass")) > 128:
        raise InvalidOption(f"{name} must be at most 128 bytes long")
    return text


def one_of(*words: str) -> Callable[[str, Any], str]:
    """One of a few words, case as given."""

    def validate(name: str, value: Any) -> str:
        if isinstance(value, str):
            if value in words:
                return value
            raise InvalidOption(f"{name} must be one of {', '.join(words)}{_given(value)}")
        raise _wrong_type(name, f"one of {', '.join(words)}", value)

    return validate


read_preference_mode = one_of(*READ_PREFERENCES)
uuid_representation_name = one_of(*UUID_REPRESENTATIONS)


def uuid_representation(name: str, value: Any) -> int:
    """The number behind the name of a UUID representation."""
    return UUID_REPRESENTATIONS[uuid_representation_name(name, value)]


def auth_mechanism(name: str, value: Any) -> str:
    """The name of an authentication mechanism, as `mongokey.auth.registry` lists them."""
    registry = imported_once("mongokey.auth.registry")
    if isinstance(value, str):
        if value in registry.MECHANISMS or value == registry.DEFAULT:
            return value
        known = ", ".join(registry.MECHANISMS)
        raise InvalidOption(f"{name} must be one of {known}{_given(value)}")
    raise _wrong_type(name, "a string", value)


def mechanism_properties(name: str, value: Any) -> dict[str, Any]:
    """`key:value,key:value` or a mapping; the mechanism checks the keys.

    Of a string, the pairs are split first and then decoded one by one, so that a value may hold an
    escaped comma. The InvalidOption for a pair that cannot be read has the others as its `kept`.
    """
    properties: dict[str, Any] = {}
    if isinstance(value, str):
        if ":" not in value and "%" in value:
            # The whole of it was escaped, the colons and commas between the pairs too.
            value = unquote_plus(value, name)
        wrong = None
        for number, pair in enumerate(value.split(","), 1):
            key, _, text = pair.partition(":")
            if not key or not text:
                wrong = wrong or _bad_pair(name, number, key, pair)
                continue
            if "%" in text or "+" in text:
                text = unquote_plus(text, f"value of {_pair_name(name, number, key)}")
            if "%" in key or "+" in key:
                key = unquote_plus(key, f"name of pair {number} of {name}")
            properties[key] = text
        if wrong is not None:
            wrong.kept = Secret(properties) if properties else None
            raise wrong
        return properties
    if not hasattr(value, "items"):
        raise _wrong_type(name, "a dict or a string of key:value pairs", value)
    for key, part in value.items():
        properties[key] = ("true" if part else "false") if isinstance(part, bool) else part
    return properties


def escaped_commas(name: str, value: Any) -> tuple[str, str] | None:
    """The warning that connection-string-spec.md's tests demand of a comma inside a value."""
    if not isinstance(value, str) or ":" not in value:
        return None
    for number, pair in enumerate(value.split(","), 1):
        if "%2c" in pair.lower():
            return (
                "OPTION-COMMA",
                f"the value of {_pair_name(name, number, pair.partition(':')[0])} contains an "
                "escaped comma, at which drivers that decode before they split would cut it: give "
                "that value by keyword where they use this string too",
            )
    return None


def _bad_pair(name: str, number: int, key: str, pair: str) -> InvalidOption:
    """The error for a pair without a colon, a key or a value; it shows no value."""
    what = "has no value behind its ':'" if key and ":" in pair else "is not key:value"
    if not pair:
        what = "is empty (there is a comma too many)"
    return InvalidOption(
        f"{_pair_name(name, number, key)} {what}: {name} must be key:value pairs with commas "
        "between them, and a comma inside a value must be written as %2C"
    )


def _pair_name(name: str, number: int, key: str) -> str:
    """What an error calls a pair: by its key only where that is the name of a property, as the
    rest of a session token with a comma in it would stand here too."""
    from mongokey.auth.registry import property_names

    shown = f" ({key})" if key.upper() in property_names() else ""
    return f"pair {number}{shown} of {name}"


def read_preference_tags(name: str, value: Any) -> list[dict[str, str]]:
    """Tag sets: each `key:value,key:value`, or empty for any member, or a mapping.

    The InvalidOption for a tag set that cannot be read has the others as its `kept`: without one
    of its pairs a set would match more members than meant.
    """
    tag_sets = []
    wrong = None
    for number, text in enumerate(value if isinstance(value, list) else [value], 1):
        if isinstance(text, dict):
            tag_sets.append(dict(text))
            continue
        if not isinstance(text, str):
            raise _wrong_type(name, "a list of strings", value)
        tags = {}
        for place, pair in enumerate(text.split(",") if text else (), 1):
            parts = pair.split(":")
            if len(parts) != 2:
                wrong = wrong or InvalidOption(
                    f"pair {place} of tag set {number} of {name} is not key:value: {name} must be "
                    "key:value pairs with commas between them, and a comma or colon inside a value "
                    "must be written as %2C or %3A"
                )
                break
            if "%" in pair or "+" in pair:
                parts = [unquote_plus(part, name) for part in parts]
            tags[parts[0]] = parts[1]
        else:
            tag_sets.append(tags)
    if wrong is not None:
        wrong.kept = Secret(tag_sets) if tag_sets else None
        raise wrong
    return tag_sets


def compressors(name: str, value: Any) -> list[str]:
    """The compressors we know among those given, in the order given."""
    if isinstance(value, str):
        value = value.split(",")
    elif not isinstance(value, (list, tuple)):
        raise _wrong_type(name, "a list of strings, or a string with commas", value)
    return [word for word in value if word in COMPRESSORS]


def unknown_compressors(name: str, value: Any) -> tuple[str, str] | None:
    """A warning when some of the compressors given are not known."""
    words = value.split(",") if isinstance(value, str) else value
    unknown = sum(word not in COMPRESSORS for word in words)
    if not unknown:
        return None
    return (
        "OPTION-INVALID",
        f"{name}: {unknown} of the compressors given is not one of {', '.join(COMPRESSORS)}",
    )


def service_name(name: str, value: Any) -> str:
    """A service name for DNS (RFC 6335 section 5.1, up to 62 characters)."""
    text = string(name, value)
    bare = text.replace("-", "")
    if 0 < len(text) <= 62 and bare.isascii() and bare.isalnum():
        return text
    raise InvalidOption(f"{name} must be letters, digits and hyphens, at most 62 of them")


def datetime_conversion(name: str, value: Any) -> Any:
    """A member of DatetimeConversion, its number or its name; None is DATETIME."""
    from mongokey.bson.codec_options import DatetimeConversion

    if value is None:
        return DatetimeConversion.DATETIME
    try:
        if isinstance(value, str):
            return DatetimeConversion(int(value)) if value.isdigit() else DatetimeConversion[value]
        if isinstance(value, int):
            return DatetimeConversion(value)
    except (KeyError, ValueError):
        names = ", ".join(member.name for member in DatetimeConversion)
        raise InvalidOption(f"{name} must be one of {names}") from None
    raise _wrong_type(name, "a DatetimeConversion", value)


# ---------------------------------------------------------------- given by keyword only


def anything(name: str, value: Any) -> Any:
    """A value that is checked where it is used."""
    return value


def callable_or_none(name: str, value: Any) -> Any:
    """A callable, or None."""
    if value is None or callable(value):
        return value
    raise InvalidOptionType(f"{name} must be a callable, not {type(value).__name__}")


def resolver_or_none(name: str, value: Any) -> Any:
    """What asks DNS: a callable as `mongokey.dns.Resolver`, or a `dns.resolver.Resolver`."""
    if value is None or callable(value) or hasattr(value, "nameservers"):
        return value
    raise _wrong_type(name, "a mongokey.dns.Resolver or a dns.resolver.Resolver", value)


def list_of_strings(name: str, value: Any) -> list[str]:
    """A list of strings."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value
    raise _wrong_type(name, "a list of strings", value)


def listeners(name: str, value: Any) -> list[Any]:
    """Event listeners in a list or tuple, each of a class derived from one of `monitoring`'s."""
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        raise _wrong_type(name, "a list or tuple of listeners", value)
    from mongokey.events.listeners import KINDS, is_listener

    for each in value:
        if not is_listener(each):
            expected = f"listeners derived from {', '.join(KINDS[:-1])} or {KINDS[-1]}"
            raise _wrong_type(name, expected, each)
    return list(value)


def tracing(name: str, value: Any) -> dict[str, Any] | None:
    """A mapping of ``enabled``, ``query_text_max_length`` and ``tracer_provider``, or None."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise _wrong_type(name, "a dict such as {'enabled': True}", value)
    unknown = [key for key in value if key not in _OF_TRACING]
    if unknown:
        raise InvalidOption(f"{name} has no {unknown[0]!r}: it takes {', '.join(_OF_TRACING)}")
    enabled, length = value.get("enabled"), value.get("query_text_max_length")
    if not (enabled is None or isinstance(enabled, bool)):
        raise _wrong_type(f"{name}['enabled']", "True, False or None", enabled)
    if length is not None:
        key = f"{name}['query_text_max_length']"
        if isinstance(length, bool) or not isinstance(length, int):
            raise _wrong_type(key, "a number of bytes", length)
        if length < 0:
            raise InvalidOption(f"{key} must not be negative, as {length} is: give 0 for no text")
    provider = value.get("tracer_provider")
    if provider is not None and not callable(getattr(provider, "get_tracer", None)):
        raise _wrong_type(f"{name}['tracer_provider']", "a TracerProvider", provider)
    return dict(value)


_OF_TRACING = ("enabled", "query_text_max_length", "tracer_provider")


def with_attributes(kind: str, *attributes: str) -> Callable[[str, Any], Any]:
    """An object that has what class `kind` has; PyMongo's own objects will do."""

    def validate(name: str, value: Any) -> Any:
        if value is None or all(hasattr(value, attribute) for attribute in attributes):
            return value
        raise _wrong_type(name, f"a {kind}", value)

    return validate


def auto_encryption_opts(name: str, value: Any) -> Any:
    """An `AutoEncryptionOpts`, or None."""
    if value is None:
        return None
    with late_imports:
        from mongokey.options.auto_encryption import check_auto_encryption_opts

    return check_auto_encryption_opts(name, value)


def _wrong_type(name: str, expected: str, value: Any) -> InvalidOptionType:
    return InvalidOptionType(f"{name} must be {expected}, not {type(value).__name__}")


def _given(value: Any) -> str:
    # The value itself is not shown: with an unescaped '?' it may be a piece of a password.
    return "; it has no value" if value == "" else ""
