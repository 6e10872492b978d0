"""What the pool and the TLS layer were told: two groups of a client's options, as values.

Knows which options belong to them, and when TLS is on. Must not know sockets or files; paths are
handed on unopened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mongokey._support.lazy import imported_once
from mongokey._support.reprs import with_safe_repr
from mongokey._support.secrets import HIDDEN
from mongokey.errors import ConfigurationError
from mongokey.options.table import OPTIONS
from mongokey.options.uri_errors import InvalidOption

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.auth.credential import MongoCredential
    from mongokey.handshake.metadata import ClientMetadata

__all__ = ["PoolOptions", "TLSOptions"]

_TLS_FILES = (
    "tlsCertificateKeyFile",
    "tlsCertificateKeyFilePassword",
    "tlsCAFile",
    "tlsCRLFile",
    "ssl_context",
)
_TLS_CHECKS = (
    "tlsInsecure",
    "tlsAllowInvalidCertificates",
    "tlsAllowInvalidHostnames",
    "tlsDisableOCSPEndpointCheck",
    "tlsDisableCertificateRevocationCheck",
)
# Without any of these TLS is off.
_TLS_DECIDING = frozenset(("tls", *_TLS_FILES, *_TLS_CHECKS))


class Frozen:
    """Attributes can be read only, and nothing can be pickled."""

    __slots__ = ()

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable: {name} cannot be deleted")

    def __reduce__(self) -> Any:
        raise TypeError(f"{type(self).__name__} may hold a secret and cannot be pickled or copied")


set_once = object.__setattr__


class Values:
    """The value in force of each option: the one given, or the table's default."""

    __slots__ = ("given",)

    def __init__(self, given: dict[str, Any]) -> None:
        self.given = given

    def __call__(self, name: str) -> Any:
        value = self.given.get(name)
        if value is None and name not in self.given:
            return OPTIONS[name].default
        return value


@with_safe_repr
class TLSOptions(Frozen):
    """What the client was told about TLS, once TLS is on.

    `implied_by` names the option that switched TLS on where `tls` was not given, else None. The
    files are paths, not opened yet.
    """

    __slots__ = (
        "allow_invalid_certificates",
        "allow_invalid_hostnames",
        "ca_file",
        "certificate_key_file",
        "certificate_key_file_password",
        "crl_file",
        "disable_certificate_revocation_check",
        "disable_ocsp_endpoint_check",
        "implied_by",
        "ssl_context",
    )

    ca_file: str | None
    certificate_key_file: str | None
    certificate_key_file_password: str | None
    crl_file: str | None
    allow_invalid_certificates: bool
    allow_invalid_hostnames: bool
    disable_ocsp_endpoint_check: bool
    disable_certificate_revocation_check: bool
    implied_by: str | None
    # A context of the user's own, used as it is; of the other fields only those about revocation
    # mean anything then.
    ssl_context: Any

    def __init__(self, options: Mapping[str, Any], implied_by: str | None) -> None:
        get = options.get
        insecure = bool(get("tlsInsecure"))
        no_certificates = insecure or bool(get("tlsAllowInvalidCertificates"))
        set_once(self, "ca_file", get("tlsCAFile"))
        set_once(self, "certificate_key_file", get("tlsCertificateKeyFile"))
        set_once(self, "certificate_key_file_password", get("tlsCertificateKeyFilePassword"))
        set_once(self, "crl_file", get("tlsCRLFile"))
        set_once(self, "allow_invalid_certificates", no_certificates)
        set_once(self, "allow_invalid_hostnames", insecure or bool(get("tlsAllowInvalidHostnames")))
        # A certificate nobody checks need not be asked about either.
        no_revocation = bool(get("tlsDisableCertificateRevocationCheck"))
        no_endpoint = no_certificates or bool(get("tlsDisableOCSPEndpointCheck"))
        set_once(self, "disable_certificate_revocation_check", no_revocation)
        set_once(self, "disable_ocsp_endpoint_check", no_endpoint or no_revocation)
        set_once(self, "implied_by", implied_by)
        set_once(self, "ssl_context", get("ssl_context"))

    def identity(self) -> tuple[Any, ...]:
        """What two clients must have in common to share what only holds for one setting of TLS. It
        holds the key's password: to be digested, not kept."""
        values = (getattr(self, name) for name in self.__slots__ if name != "implied_by")
        # PEM in place of a path is words to be shown, all alike.
        return tuple(each.content.reveal() if hasattr(each, "content") else each for each in values)

    def with_identity(self, pem: str, password: str | None) -> TLSOptions:
        """The same with another certificate and key."""
        same = object.__new__(TLSOptions)
        for name in self.__slots__:
            set_once(same, name, getattr(self, name))
        set_once(same, "certificate_key_file", pem)
        set_once(same, "certificate_key_file_password", password)
        return same

    def __repr__(self) -> str:
        shown = [
            f"{name}={HIDDEN if name.endswith('password') else repr(value)}"
            for name in self.__slots__
            if (value := getattr(self, name))
        ]
        return f"TLSOptions({', '.join(shown)})"


@with_safe_repr
class PoolOptions(Frozen):
    """What a pool was told. Times are nanoseconds (`_ns`) or seconds, None is no limit.

    `max_pool_size` 0 is no limit.
    """

    max_pool_size: int
    min_pool_size: int
    max_connecting: int
    max_idle_time_seconds: float | None
    max_idle_time_ns: int | None
    wait_queue_timeout: float | None
    wait_queue_timeout_ns: int | None
    connect_timeout: float | None
    connect_timeout_ns: int | None
    socket_timeout: float | None
    socket_timeout_ns: int | None
    tls: TLSOptions | None
    credential: MongoCredential | None
    appname: str | None
    driver: Any
    server_api: Any
    load_balanced: bool
    compressors: tuple[str, ...]
    zlib_compression_level: int
    # Of a client that something was appended to; other clients that were told the same share these
    # options.
    _metadata: ClientMetadata | None = None

    def __init__(
        self,
        options: Mapping[str, Any],
        tls: TLSOptions | None,
        credential: MongoCredential | None,
    ) -> None:
        attributes = _DEFAULTS.copy()
        if options:
            take_options(attributes, options, _FOLLOWING)
            largest, smallest = attributes["max_pool_size"], attributes["min_pool_size"]
            if largest and smallest > largest:
                raise InvalidOption(
                    f"minPoolSize ({smallest}) must not be greater than maxPoolSize ({largest})"
                )
        attributes["tls"] = tls
        attributes["credential"] = credential
        set_once(self, "__dict__", attributes)

    @property
    def metadata(self) -> dict[str, Any]:
        """What a client tells servers of itself in its handshake: the driver, the application, the
        operating system and the platform; a new dict."""
        told = self._metadata
        if told is None:
            told = imported_once("mongokey.handshake.metadata").ClientMetadata(
                self.appname, self.driver
            )
        return told.document

    def _with(self, name: str, value: Any) -> PoolOptions:
        """The same with another value of an attribute."""
        made = object.__new__(type(self))
        set_once(made, "__dict__", {**self.__dict__, name: value})
        return made

    def __repr__(self) -> str:
        shown = [
            f"{name}={value!r}"
            for name, value in sorted(vars(self).items())
            if not name.startswith("_") and not name.endswith("_ns") and value is not None
        ]
        if not shown:
            raise AttributeError("not filled yet")
        return f"PoolOptions({', '.join(shown)})"


def read_tls_options(options: Mapping[str, Any]) -> TLSOptions | None:
    """The TLS options, or None when TLS is off; canonical name -> value in.

    Raises ConfigurationError when tls=false is given with an option that needs it.
    """
    if options.keys().isdisjoint(_TLS_DECIDING):
        return None
    implying = [name for name in _TLS_FILES if options.get(name)]
    # Asking for a check is asking for TLS; switching one off is not.
    implying += [name for name in _TLS_CHECKS if options.get(name) is False]
    wanted = options.get("tls")
    if wanted is False and implying:
        raise ConfigurationError(
            f"tls=false, but {', '.join(implying)} only goes with TLS: set tls=true or remove it"
        )
    if wanted or implying:
        return TLSOptions(options, None if wanted else implying[0])
    return None


# Option -> the attributes that follow from it, each with what makes it of the value, None for the
# value itself.
Following = Mapping[str, "tuple[tuple[str, Callable[[Any], Any] | None], ...]"]


def take_options(
    attributes: dict[str, Any], options: Mapping[str, Any], following: Following
) -> None:
    """Put into `attributes` what follows from the options that are given."""
    for option, value in options.items():
        for name, convert in following.get(option, ()):
            attributes[name] = value if convert is None else convert(value)


def nanoseconds(seconds: float | None) -> int | None:
    """Seconds as nanoseconds; None stays None."""
    return None if seconds is None else round(seconds * 1e9)


# The attributes that follow from one option each, and how.
_FOLLOWING: Following = {
    "maxPoolSize": (("max_pool_size", None),),
    "minPoolSize": (("min_pool_size", None),),
    "maxConnecting": (("max_connecting", None),),
    "maxIdleTimeMS": (("max_idle_time_seconds", None), ("max_idle_time_ns", nanoseconds)),
    "waitQueueTimeoutMS": (
        ("wait_queue_timeout", None),
        ("wait_queue_timeout_ns", nanoseconds),
    ),
    "connectTimeoutMS": (("connect_timeout", None), ("connect_timeout_ns", nanoseconds)),
    "socketTimeoutMS": (("socket_timeout", None), ("socket_timeout_ns", nanoseconds)),
    "appname": (("appname", None),),
    "driver": (("driver", None),),
    "server_api": (("server_api", None),),
    "loadBalanced": (("load_balanced", bool),),
    "compressors": (("compressors", tuple),),
    "zlibCompressionLevel": (("zlib_compression_level", None),),
}
# What holds where no option says otherwise: worked out once, as most are never given.
_DEFAULTS: dict[str, Any] = {}
take_options(_DEFAULTS, {name: OPTIONS[name].default for name in _FOLLOWING}, _FOLLOWING)
