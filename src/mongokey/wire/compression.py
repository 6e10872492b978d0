"""Compressors of wire messages: what is offered and agreed on, and bytes compressed and inflated.

Knows the compression specification (OP_COMPRESSED.md), and the libraries, which are imported when
they are first used. Nothing that a peer says of a size is believed: more is never inflated than it
announced, and that was compared with the limit before. Must not know messages beyond their bytes.
"""

from __future__ import annotations

import sys

from mongokey._support.lazy import late_imports
from mongokey._support.reprs import with_safe_repr
from mongokey._support.warning_level import outside_level
from mongokey.errors import ConfigurationError, ProtocolError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

NOOP = 0
SNAPPY = 1
ZLIB = 2
ZSTD = 3
IDS = {"snappy": SNAPPY, "zlib": ZLIB, "zstd": ZSTD}
_NAMES = {NOOP: "noop", **{number: name for name, number in IDS.items()}}

# OP_COMPRESSED.md, "Messages not allowed to be compressed"; in lower case, as old servers take any.
NEVER_COMPRESSED = frozenset(
    (
        *("hello", "ismaster", "saslstart", "saslcontinue", "getnonce", "authenticate"),
        *("createuser", "updateuser", "copydbsaslstart", "copydbgetnonce", "copydb"),
    )
)

# A copy of 64 bytes takes 3, so that is how much longer Snappy's data can get.
_SNAPPY_MOST = 64 / 3
# The window that a Zstandard frame may ask for, as a power of 2: 8 MiB, or the message's own size.
_WINDOW_LOG = 23

# Compressors whose missing library was warned of: once is enough.
_told: set[str] = set()


@with_safe_repr
class Compression:
    """Compressors, best first: `names` are to be offered in hello, whose answer tells which of them
    the server has too (`common`).

    `zlib_level` is zlib's: -1 (its default, 6), 0 (none) to 9 (best). Raises `ConfigurationError`
    for a name that is none or whose library is missing; objects do not change.
    """

    __slots__ = ("_accepted", "names", "zlib_level")

    def __init__(self, names: Iterable[str], zlib_level: int = -1) -> None:
        self.names = (names,) if isinstance(names, str) else tuple(names)
        self.zlib_level = zlib_level
        for name in self.names:
            if name not in IDS:
                raise ConfigurationError(
                    f"{name!r} is no compressor: there are {', '.join(sorted(IDS))}"
                )
            if _library(name) is None:
                raise ConfigurationError(_missing(name))
        if not self.names:
            raise ConfigurationError("no compressor is given")
        if not isinstance(zlib_level, int) or not -1 <= zlib_level <= 9:
            raise ConfigurationError(f"zlib_level must be from -1 to 9, not {zlib_level!r}")
        self._accepted = frozenset((NOOP, *(IDS[name] for name in self.names)))

    def __repr__(self) -> str:
        return f"Compression({list(self.names)!r}, {self.zlib_level})"

    def common(self, names: Iterable[str]) -> Compression | None:
        """Those that a server has too, which names `names`; None if there are none."""
        theirs = frozenset(names)
        both = [name for name in self.names if name in theirs]
        if len(both) == len(self.names):
            return self
        return Compression(both, self.zlib_level) if both else None

    def allows(self, command: str) -> bool:
        """Whether a message of the command with that name may be compressed: logins never are."""
        return command.lower() not in NEVER_COMPRESSED

    def compress(self, data: bytes) -> tuple[int, bytes]:
        """The first compressor's id, and what it makes of `data`."""
        name = self.names[0]
        library = _library(name)
        if name == "zlib":
            return ZLIB, library.compress(data, self.zlib_level)
        return IDS[name], bytes(library.compress(data))

    def inflate(self, compressor: int, data: bytes, size: int) -> bytes:
        """What `data` was made of by the compressor with this id: `size` bytes, which the caller
        has compared with the most that it takes.

        Raises `ProtocolError` for a compressor that is not among these, data that is none of its,
        and any other size; no more than `size` bytes are made to find that out.
        """
        if compressor not in self._accepted:
            name = _NAMES.get(compressor, f"compressor {compressor}")
            raise ProtocolError(
                f"invalid wire message at byte 24: it is compressed with {name}, and agreed on "
                f"{'is' if len(self.names) == 1 else 'are'} {', '.join(self.names)}"
            )
        found = _INFLATE[compressor](data, size)
        if len(found) != size:
            raise _wrong_size(compressor, len(found), size)
        return found


def available(names: Iterable[str], zlib_level: int) -> Compression | None:
    """The compressors among `names` whose libraries are there; None for none."""
    found = [name for name in names if _library(name) is not None]
    return Compression(found, zlib_level) if found else None


def warn_of_missing(names: Iterable[str]) -> None:
    """Warn, once in a process, of each compressor among `names` that has no library."""
    for name in names:
        if name not in _told and _library(name) is None:
            import warnings

            _told.add(name)
            warnings.warn(f"compressors: {_missing(name)}", UserWarning, outside_level())


def _missing(name: str) -> str:
    """What is missing for a compressor, and how one gets it."""
    if name == "zlib" or (name == "zstd" and sys.version_info >= (3, 14)):
        module = "zlib" if name == "zlib" else "compression.zstd"
        return f"{name} is not used: this Python was built without its module {module}"
    return f'{name} is not used, as its library is missing: pip install "mongokey[{name}]"'


_libraries: dict[str, Any] = {}


def _library(name: str) -> Any:
    """The module that compresses and inflates; None where it is not installed."""
    found = _libraries.get(name)
    if found is None:
        try:
            with late_imports:
                found = _IMPORTS[name]()
        except ImportError:
            return None  # it may be installed later
        _libraries[name] = found
    return found


def _import_zlib() -> Any:
    import zlib

    return zlib


def _import_snappy() -> Any:
    import snappy

    return snappy


def _import_zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


_IMPORTS: dict[str, Callable[[], Any]] = {
    "snappy": _import_snappy,
    "zlib": _import_zlib,
    "zstd": _import_zstd,
}


def _wrong_size(compressor: int, found: int | str, size: int) -> ProtocolError:
    return ProtocolError(
        f"invalid wire message at byte 20: uncompressedSize is {size}, and its "
        f"{_NAMES[compressor]} data has {found} bytes"
    )


def _wrong_data(compressor: int, what: object) -> ProtocolError:
    return ProtocolError(
        f"invalid wire message at byte 25: its {_NAMES[compressor]} data cannot be read: {what}"
    )


def _inflate_noop(data: bytes, size: int) -> bytes:
    return data


def _inflate_zlib(data: bytes, size: int) -> bytes:
    zlib = _library("zlib")
    stream = zlib.decompressobj()
    try:
        found: bytes = stream.decompress(data, size)
        if not stream.eof and stream.decompress(stream.unconsumed_tail, 1):
            raise _wrong_size(ZLIB, "more", size)
    except zlib.error as error:
        raise _wrong_data(ZLIB, error) from None
    return _whole(ZLIB, stream, found)


def _inflate_zstd(data: bytes, size: int) -> bytes:
    zstd = _library("zstd")
    try:
        # Servers say it in the frame too, where it costs nothing to look.
        announced = zstd.get_frame_info(data).decompressed_size
        if announced is not None and announced != size:
            raise _wrong_size(ZSTD, announced, size)
        # The memory for the window is taken before a byte comes out.
        window = max(_WINDOW_LOG, (size - 1).bit_length())
        stream = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: window})
        found: bytes = stream.decompress(data, size)
        if not (stream.eof or stream.needs_input) and stream.decompress(b"", 1):
            raise _wrong_size(ZSTD, "more", size)
    except zstd.ZstdError as error:
        raise _wrong_data(ZSTD, error) from None
    return _whole(ZSTD, stream, found)


def _inflate_snappy(data: bytes, size: int) -> bytes:
    # The library makes room for as much as the data says, so that is looked at first.
    announced = shift = at = 0
    while at < 5 and at < len(data):
        announced |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            break
    if announced != size or size > len(data) * _SNAPPY_MOST:
        raise _wrong_size(SNAPPY, f"{announced} (in {len(data)})", size)
    try:
        return bytes(_library("snappy").uncompress(data))
    except Exception as error:
        # Each version of the library has errors of its own.
        raise _wrong_data(SNAPPY, error) from None


def _whole(compressor: int, stream: Any, found: bytes) -> bytes:
    """`found`, if it is all of the data, and the data all of it."""
    if not stream.eof:
        raise _wrong_data(compressor, "its end is missing")
    if stream.unused_data:
        raise _wrong_data(compressor, f"{len(stream.unused_data)} bytes come after its end")
    return found


_INFLATE: dict[int, Callable[[bytes, int], bytes]] = {
    NOOP: _inflate_noop,
    SNAPPY: _inflate_snappy,
    ZLIB: _inflate_zlib,
    ZSTD: _inflate_zstd,
}

__all__ = ["Compression", "available", "warn_of_missing"]
