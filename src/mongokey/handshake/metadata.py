"""The `client` document of the handshake: built once per client, encoded once, at most 512 bytes.

Knows the fields, how wrapping libraries append to them and in which order they are cut
(source/mongodb-handshake/handshake.md). Must not know when or how it is sent.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from mongokey._support.lazy import late_imports
from mongokey._support.reprs import with_safe_repr
from mongokey._version import __version__
from mongokey.errors import ConfigurationError
from mongokey.handshake.environment import (
    Environment,
    describe_environment,
    describe_os,
    describe_platform,
)

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.bson.raw_bson import RawBSONDocument

MAX_METADATA_SIZE = 512
MAX_APP_NAME_SIZE = 128
DRIVER_NAME = "mongokey"
DELIMITER = "|"

_Info = tuple[str, str, str]


@with_safe_repr
class ClientMetadata:
    """What a client tells each server about itself; append-only and thread-safe.

    :param app_name: the appName option, at most 128 bytes of UTF-8
    :param driver_info: name, version and platform of a library that wraps the driver, or None
    :param env: environment variables, by default the process's
    :param docker: whether this is a Docker container, by default whether /.dockerenv exists

    `raw` is the encoded document, ready to be copied into a hello. Raises ConfigurationError
    when `app_name` is too long or a part of `driver_info` contains "|".
    """

    __slots__ = ("_app_name", "_env", "_infos", "_lock", "raw")

    raw: RawBSONDocument

    def __init__(
        self,
        app_name: str | None = None,
        driver_info: Iterable[str | None] | None = None,
        *,
        env: Environment | None = None,
        docker: bool | None = None,
    ) -> None:
        if app_name is not None:
            _check_app_name(app_name)
        self._app_name = app_name
        self._env = describe_environment(env, docker)
        self._lock = threading.RLock()
        self._infos: tuple[_Info, ...] = ()
        if driver_info is not None:
            self._infos = (_read_info(driver_info),)
        self.raw = self._encode()

    def append(self, driver_info: Iterable[str | None]) -> None:
        """Add a wrapping library; connections opened from now on send it.

        What was appended before, field by field the same, is not appended again; None and ""
        mean the same.
        """
        info = _read_info(driver_info)
        with self._lock:
            if info not in self._infos and any(info):
                self._infos = (*self._infos, info)
                self.raw = self._encode()

    @property
    def document(self) -> dict[str, Any]:
        """The document as it is sent, cut to size, as a new dict."""
        with late_imports:
            from mongokey.bson import decode

        return dict(decode(self.raw.raw))

    def _full_document(self) -> dict[str, Any]:
        names, versions, platforms = zip(
            (DRIVER_NAME, __version__, describe_platform()), *self._infos, strict=True
        )
        document: dict[str, Any] = {}
        if self._app_name:
            document["application"] = {"name": self._app_name}
        document["driver"] = {"name": _join(names), "version": _join(versions)}
        document["os"] = describe_os()
        document["platform"] = _join(platforms)
        if self._env:
            document["env"] = dict(self._env)
        return document

    def _encode(self) -> RawBSONDocument:
        """The document, encoded; the same one for clients that have the same to say."""
        global _encoded_last
        told = (self._app_name, self._env, self._infos)
        before, encoded = _encoded_last
        if encoded is None or told != before:
            encoded = self._encode_anew()
            _encoded_last = told, encoded
        return encoded

    def _encode_anew(self) -> RawBSONDocument:
        with late_imports:
            from mongokey.bson import encode
            from mongokey.bson.raw_bson import RawBSONDocument

        document = self._full_document()
        encoded = encode(document)
        for cut in _CUTS:
            if len(encoded) <= MAX_METADATA_SIZE:
                break
            cut(document, len(encoded) - MAX_METADATA_SIZE)
            encoded = encode(document)
        return RawBSONDocument(encoded)

    def __repr__(self) -> str:
        return f"<ClientMetadata of {len(self.raw.raw)} bytes>"


def _check_app_name(app_name: str) -> None:
    if not isinstance(app_name, str):
        raise TypeError(f"appName must be a str, not {type(app_name).__name__}")
    size = len(app_name.encode())
    if size > MAX_APP_NAME_SIZE:
        raise ConfigurationError(
            f"appName has {size} bytes of UTF-8, and servers take at most {MAX_APP_NAME_SIZE}"
        )


def _read_info(info: Iterable[str | None]) -> _Info:
    fields = tuple(info)
    if len(fields) != 3:
        raise TypeError("driver info is a DriverInfo: a name, a version and a platform")
    for field, value in zip(("name", "version", "platform"), fields, strict=True):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"driver info: {field} must be a str, not {type(value).__name__}")
        if value and DELIMITER in value:
            raise ConfigurationError(
                f"driver info: {field} contains {DELIMITER!r}, which separates the libraries' names"
            )
    name, version, platform = fields
    return name or "", version or "", platform or ""


def _join(parts: Iterable[str]) -> str:
    return DELIMITER.join(filter(None, parts))


# What was encoded last, and the document: a process mostly has one kind of client.
_encoded_last: tuple[Any, RawBSONDocument | None] = (None, None)


# handshake.md, "Limitations": the order in which fields go until the document fits.
def _keep_env_name(document: dict[str, Any], over: int) -> None:
    env = document.get("env")
    if env is not None:
        document["env"] = {"name": env["name"]} if "name" in env else {}
        if not document["env"]:
            del document["env"]


def _keep_os_type(document: dict[str, Any], over: int) -> None:
    document["os"] = {"type": document["os"]["type"]}


def _drop_env(document: dict[str, Any], over: int) -> None:
    document.pop("env", None)


def _shorten_platform(document: dict[str, Any], over: int) -> None:
    document["platform"] = _shorten(document["platform"], over, 0)
    if not document["platform"]:
        del document["platform"]


# Beyond the specification, as PyMongo: what wrapping libraries added to the driver's own.
def _shorten_version(document: dict[str, Any], over: int) -> None:
    driver = document["driver"]
    driver["version"] = _shorten(driver["version"], over, len(__version__))


def _shorten_name(document: dict[str, Any], over: int) -> None:
    driver = document["driver"]
    driver["name"] = _shorten(driver["name"], over, len(DRIVER_NAME))


_CUTS: tuple[Callable[[dict[str, Any], int], None], ...] = (
    _keep_env_name,
    _keep_os_type,
    _drop_env,
    _shorten_platform,
    _shorten_version,
    _shorten_name,
)


def _shorten(text: str, over: int, keep: int) -> str:
    """`text` with `over` bytes fewer, but at least `keep` bytes, never half a character."""
    data = text.encode()
    return data[: max(keep, len(data) - over)].decode(errors="ignore")
