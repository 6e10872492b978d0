"""What the pool and the TLS layer were told: two groups of a client's options, as values.

Knows which options belong to them, and when TLS is on. Must not know sockets or files; paths are
handed on unopened.
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey._support.reprs import with_safe_repr
from mongokey.errors import ConfigurationError
from mongokey.options.table import OPTIONS

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.auth.credential import MongoCredential

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

    def __repr__(self) -> str:
        shown = [
            f"{name}={'<hidden>' if name.endswith('password') else repr(value)}"
            for name in self.__slots__
            if (value := getattr(self, name))
        ]
        return f"TLSOptions({', '.join(shown)})"


@with_safe_repr
class PoolOptions(Frozen):
    """What a pool was told. Times are nanoseconds (`_ns`) or seconds, None is no limit.

    `max_pool_size` 0 is no limit.
    """

    __slots__ = (
        "appname",
        "compressors",
        "connect_timeout",
        "connect_timeout_ns",
        "credential",
        "driver",
        "load_balanced",
        "max_connecting",
        "max_idle_time_ns",
        "max_idle_time_seconds",
        "max_pool_size",
        "min_pool_size",
        "server_api",
        "socket_timeout",
        "socket_timeout_ns",
        "tls",
        "wait_queue_timeout",
        "wait_queue_timeout_ns",
        "zlib_compression_level",
    )

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

    def __init__(
        self,
        value: Values,
        tls: TLSOptions | None,
        credential: MongoCredential | None,
    ) -> None:
        largest = value("maxPoolSize")
        smallest = value("minPoolSize")
        if largest and smallest > largest:
            raise ConfigurationError(
                f"minPoolSize ({smallest}) must not be greater than maxPoolSize ({largest})"
            )
        set_once(self, "max_pool_size", largest)
        set_once(self, "min_pool_size", smallest)
        set_once(self, "max_connecting", value("maxConnecting"))
        for name, option in (
            ("max_idle_time_seconds", "maxIdleTimeMS"),
            ("wait_queue_timeout", "waitQueueTimeoutMS"),
            ("connect_timeout", "connectTimeoutMS"),
            ("socket_timeout", "socketTimeoutMS"),
        ):
            set_once(self, name, value(option))
            set_once(self, name.replace("_seconds", "") + "_ns", nanoseconds(value(option)))
        set_once(self, "tls", tls)
        set_once(self, "credential", credential)
        set_once(self, "appname", value("appname"))
        set_once(self, "driver", value("driver"))
        set_once(self, "server_api", value("server_api"))
        set_once(self, "load_balanced", bool(value("loadBalanced")))
        set_once(self, "compressors", tuple(value("compressors")))
        set_once(self, "zlib_compression_level", value("zlibCompressionLevel"))

    def __repr__(self) -> str:
        shown = [
            f"{name}={value!r}"
            for name in self.__slots__
            if not name.endswith("_ns") and (value := getattr(self, name)) is not None
        ]
        return f"PoolOptions({', '.join(shown)})"


def read_tls_options(options: Mapping[str, Any]) -> TLSOptions | None:
    """The TLS options, or None when TLS is off; canonical name -> value in.

    Raises ConfigurationError when tls=false is given with an option that needs it.
    """
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


def nanoseconds(seconds: float | None) -> int | None:
    """Seconds as nanoseconds; None stays None."""
    return None if seconds is None else round(seconds * 1e9)
