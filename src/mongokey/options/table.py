"""The option table: one row for each option of a connection string or of `MongoClient`.

A row says how a value is checked, what holds when it is not given, under which other names it
may come and from where. Below the table stand the rules that span several options. Knows nothing
of how a connection string is read (`connection_string`) or what a client does with a value
(`client_options`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from mongokey._support.lazy import late_imports
from mongokey._support.reprs import with_safe_repr
from mongokey.errors import ConfigurationError, InvalidURI
from mongokey.options import validators
from mongokey.options.uri_errors import UnknownOption

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

# Where an option may come from.
URI = 1
KEYWORD = 2
TXT = 4  # a TXT record of DNS (initial-dns-seedlist-discovery.md)

# Which of the rules below an option takes part in.
TOPOLOGY_RULES = 1
TLS_RULES = 2
SRV_RULES = 4
PROXY_RULES = 8

# The unit that a number is given in, if it has one, and that it is kept in.
MILLISECONDS = ("ms", "ms")
MS_KEPT_AS_S = ("ms", "s")
SECONDS = ("s", "s")

FROM_URI = "URI"
FROM_KEYWORD = "keyword"
FROM_TXT = "TXT"
FROM_DEFAULT = "default"


@with_safe_repr
class Option:
    """One row of the table.

    :param name: canonical name (uri-options.md)
    :param validate: `validate(name, value)` returns the value to keep or raises
    :param default: the value that holds when the option is not given, in `validate`'s unit
    :param aliases: other names of it, without a word
    :param deprecated: other names of it that give a DeprecationWarning
    :param sources: URI, KEYWORD and TXT, added up
    :param key: the name `parse_uri` returns it under, as PyMongo does
    :param rules: the rules that span several options which need to look at it
    :param secret: True if its value must never be shown
    :param fatal: True if a client must not ignore a wrong value of it
    :param repeats: True if it may be given several times, which makes a list
    :param raw: True if `validate` decodes percent-escapes itself
    :param unit: the units a number is given and kept in, such as `MILLISECONDS`; None for others
    :param advise: returns the code and text of a warning about a value that can be read, or None

    `plain` is True for a URI's row that nothing but `validate` has to be done for. `alias` is None
    in the table's rows; the rows that `find` returns for another name have that name there.
    """

    __slots__ = (
        "advise",
        "alias",
        "aliases",
        "default",
        "deprecated",
        "fatal",
        "key",
        "name",
        "plain",
        "raw",
        "repeats",
        "rules",
        "secret",
        "sources",
        "unit",
        "validate",
    )

    def __init__(
        self,
        name: str,
        validate: Callable[[str, Any], Any],
        default: Any = None,
        *,
        aliases: tuple[str, ...] = (),
        deprecated: tuple[str, ...] = (),
        sources: int = URI | KEYWORD,
        key: str | None = None,
        rules: int = 0,
        secret: bool = False,
        fatal: bool = False,
        repeats: bool = False,
        raw: bool = False,
        unit: tuple[str, str] | None = None,
        advise: Callable[[str, Any], tuple[str, str] | None] | None = None,
        alias: str | None = None,
    ) -> None:
        self.name = name
        self.validate = validate
        self.default = default
        self.aliases = aliases
        self.deprecated = deprecated
        self.sources = sources
        self.key = key or name
        self.rules = rules
        self.secret = secret
        self.fatal = fatal
        self.repeats = repeats
        self.raw = raw
        self.unit = unit
        self.advise = advise
        self.alias = alias
        self.plain = bool(sources & URI) and not (raw or repeats or alias or advise)

    def spelled(self, alias: str) -> Option:
        """This row under another name."""
        return Option(
            self.name,
            self.validate,
            self.default,
            aliases=self.aliases,
            deprecated=self.deprecated,
            sources=self.sources,
            key=self.key,
            rules=self.rules,
            secret=self.secret,
            fatal=self.fatal,
            repeats=self.repeats,
            raw=self.raw,
            unit=self.unit,
            advise=self.advise,
            alias=alias,
        )

    def __repr__(self) -> str:
        return f"<Option {self.alias or self.name}>"


_TABLE: tuple[Option, ...] = (
    # ------------------------------------------------ who logs in
    Option("username", validators.string_or_none, sources=KEYWORD),
    Option("password", validators.secret_or_none, sources=KEYWORD, secret=True),
    Option("authSource", validators.auth_source, sources=URI | KEYWORD | TXT),
    Option("authMechanism", validators.auth_mechanism, fatal=True),
    Option(
        "authMechanismProperties",
        validators.mechanism_properties,
        secret=True,
        raw=True,
        fatal=True,
        advise=validators.escaped_commas,
    ),
    # Ours: where the secret comes from (mongokey.credentials).
    Option("credentials", validators.provider, sources=KEYWORD, secret=True),
    Option("credentialsFile", validators.filled_string_or_none, fatal=True),
    Option("credentialsEnv", validators.filled_string_or_none, fatal=True),
    Option("authOIDCAllowedHosts", validators.list_of_strings, sources=KEYWORD),
    Option("gssapiServiceName", validators.string, key="gssapiservicename"),
    # Ours: no specification has them.
    Option("loginBackoffMS", validators.milliseconds, 1000, unit=MILLISECONDS),
    Option("maxLoginBackoffMS", validators.milliseconds, 60_000, unit=MILLISECONDS),
    # ------------------------------------------------ which servers
    # Its rule is looked at where loadBalanced is given.
    Option("replicaSet", validators.filled_string_or_none, sources=URI | KEYWORD | TXT),
    Option("directConnection", validators.boolean, rules=TOPOLOGY_RULES),
    Option("loadBalanced", validators.boolean, sources=URI | KEYWORD | TXT, rules=TOPOLOGY_RULES),
    Option("srvServiceName", validators.service_name, "mongodb", rules=SRV_RULES),
    Option("srvMaxHosts", validators.not_negative, 0, rules=SRV_RULES),
    Option("srvAllowedHostsSuffix", validators.filled_string_or_none, rules=SRV_RULES),
    Option("srv_host_validator", validators.callable_or_none, sources=KEYWORD, rules=SRV_RULES),
    Option("srv_resolver", validators.resolver_or_none, sources=KEYWORD),
    Option("localThresholdMS", validators.milliseconds, 15, unit=MILLISECONDS),
    Option("serverSelectionTimeoutMS", validators.seconds, 30.0, unit=MS_KEPT_AS_S),
    Option("failFast", validators.boolean, False),
    # For drivers without threads only: known, so that a shared string gives no warning.
    Option("serverSelectionTryOnce", validators.boolean),
    Option(
        "heartbeatFrequencyMS",
        validators.positive_seconds_or_none,
        10.0,
        unit=MS_KEPT_AS_S,
    ),
    Option("serverMonitoringMode", validators.one_of("auto", "stream", "poll"), "auto"),
    Option("server_selector", validators.callable_or_none, sources=KEYWORD),
    Option("connect", validators.boolean),
    # ------------------------------------------------ connections
    Option("connectTimeoutMS", validators.seconds_0_is_none, 20.0, unit=MS_KEPT_AS_S),
    Option("socketTimeoutMS", validators.seconds_0_is_none, unit=MS_KEPT_AS_S),
    Option("timeoutMS", validators.seconds_or_none, key="timeoutms", unit=MS_KEPT_AS_S),
    Option("maxPoolSize", validators.pool_size, 100),
    Option("minPoolSize", validators.not_negative, 0),
    Option("maxConnecting", validators.positive, 2),
    Option("maxIdleTimeMS", validators.seconds_0_is_none, unit=MS_KEPT_AS_S),
    Option("waitQueueTimeoutMS", validators.positive_seconds_or_none, unit=MS_KEPT_AS_S),
    Option("appname", validators.app_name),
    Option("driver", validators.with_attributes("DriverInfo", "name", "version"), sources=KEYWORD),
    Option(
        "server_api",
        validators.with_attributes("ServerApi", "version", "strict", "deprecation_errors"),
        sources=KEYWORD,
    ),
    Option("compressors", validators.compressors, (), advise=validators.unknown_compressors),
    Option("zlibCompressionLevel", validators.zlib_level, -1),
    Option("proxyHost", validators.filled_string_or_none, rules=PROXY_RULES),
    Option("proxyPort", validators.port, 1080, rules=PROXY_RULES),
    Option("proxyUsername", validators.filled_string_or_none, rules=PROXY_RULES),
    Option("proxyPassword", validators.secret_or_none, rules=PROXY_RULES, secret=True),
    # ------------------------------------------------ TLS
    Option("tls", validators.boolean, aliases=("ssl",), rules=TLS_RULES, fatal=True),
    Option("tlsCAFile", validators.path_or_none, rules=TLS_RULES),
    Option("tlsCertificateKeyFile", validators.path_or_none, rules=TLS_RULES),
    Option(
        "tlsCertificateKeyFilePassword", validators.secret_or_none, rules=TLS_RULES, secret=True
    ),
    Option("tlsCRLFile", validators.path_or_none, rules=TLS_RULES, key="tlscrlfile"),
    Option("tlsInsecure", validators.boolean, False, rules=TLS_RULES),
    Option("tlsAllowInvalidCertificates", validators.boolean, False, rules=TLS_RULES),
    Option("tlsAllowInvalidHostnames", validators.boolean, False, rules=TLS_RULES),
    Option("tlsDisableOCSPEndpointCheck", validators.boolean, False, rules=TLS_RULES),
    Option("tlsDisableCertificateRevocationCheck", validators.boolean, False, rules=TLS_RULES),
    Option(
        "ssl_context",
        validators.with_attributes("ssl.SSLContext", "wrap_socket", "verify_mode"),
        rules=TLS_RULES,
        sources=KEYWORD,
    ),
    # ------------------------------------------------ reads and writes
    Option("readPreference", validators.read_preference_mode, "primary"),
    Option("readPreferenceTags", validators.read_preference_tags, repeats=True, raw=True),
    Option("maxStalenessSeconds", validators.max_staleness, -1, unit=SECONDS),
    Option("read_preference", validators.anything, sources=KEYWORD),
    Option("readConcernLevel", validators.string_or_none),
    Option("w", validators.write_concern_w),
    Option("wTimeoutMS", validators.not_negative_64, deprecated=("wtimeout",), unit=MILLISECONDS),
    Option("journal", validators.boolean, deprecated=("j",)),
    Option("fsync", validators.boolean),
    Option("retryWrites", validators.boolean, True),
    Option("retryReads", validators.boolean, True),
    Option(
        "maxAdaptiveRetries",
        validators.not_negative,
        2,
        aliases=("max_adaptive_retries",),
        key="maxadaptiveretries",
    ),
    Option(
        "enableOverloadRetargeting",
        validators.boolean,
        False,
        aliases=("enable_overload_retargeting",),
        key="enableoverloadretargeting",
    ),
    # ------------------------------------------------ documents
    Option("document_class", validators.anything, dict, sources=KEYWORD),
    Option("type_registry", validators.anything, sources=KEYWORD),
    Option("tzinfo", validators.anything, sources=KEYWORD),
    Option("tz_aware", validators.boolean, False),
    Option("uuidRepresentation", validators.uuid_representation, 0, key="uuidrepresentation"),
    Option(
        "unicode_decode_error_handler", validators.one_of("strict", "replace", "ignore"), "strict"
    ),
    Option("datetime_conversion", validators.datetime_conversion),
    # ------------------------------------------------ the rest
    Option("event_listeners", validators.listeners, (), sources=KEYWORD),
    # Not in connection strings: who copies one should not be traced by it.
    Option("tracing", validators.tracing, sources=KEYWORD),
    Option(
        "auto_encryption_opts",
        validators.auto_encryption_opts,
        sources=KEYWORD,
    ),
)

OPTIONS: dict[str, Option] = {option.name: option for option in _TABLE}

# Canonical name, the same in lower case, and every other name in lower case -> row.
LOOKUP: dict[str, Option] = {}
for _option in _TABLE:
    LOOKUP[_option.name] = LOOKUP[_option.name.lower()] = _option
    for _alias in _option.aliases + _option.deprecated:
        LOOKUP[_alias.lower()] = _option.spelled(_alias)
del _option, _alias

# Names that PyMongo 3 or other drivers know: what to write instead.
_NAMES_ELSEWHERE = {
    "ssl_cert_reqs": "certificates are always checked; tlsAllowInvalidCertificates=true is what "
    "switches that off, for tests",
    "ssl_match_hostname": "host names are always checked; tlsAllowInvalidHostnames=true is what "
    "switches that off, for tests",
    "ssl_ca_certs": "use tlsCAFile",
    "ssl_certfile": "use tlsCertificateKeyFile, one file with certificate and key",
    "ssl_keyfile": "use tlsCertificateKeyFile, one file with certificate and key",
    "ssl_pem_passphrase": "use tlsCertificateKeyFilePassword",
    "ssl_crlfile": "use tlsCRLFile",
    "waitqueuemultiple": "it has no effect any more",
    "socketkeepalive": "keepalive is always on",
    "slaveok": "use readPreference=secondaryPreferred",
    "safe": "use w=1",
    "usenewurlparser": "it is an option of Mongoose's, and has no effect here",
    "useunifiedtopology": "it is an option of Mongoose's, and has no effect here",
    "auth_source": "use authSource",
    "authdb": "use authSource",
    "authenticationdatabase": "use authSource",
}


def find(name: str) -> Option | None:
    """The row for a name in any case, or None."""
    return LOOKUP.get(name) or LOOKUP.get(name.lower())


def unknown_option(name: str, source: int = KEYWORD) -> UnknownOption:
    """The error for a name that is no option of `source`, with the name it may be meant for."""
    option = find(name)
    if option is not None:
        return UnknownOption(
            f"option {name} can only be given by keyword: MongoClient(..., {option.name}=...)"
        )
    advice = _NAMES_ELSEWHERE.get(name.lower())
    if advice is not None:
        return UnknownOption(f"unknown option {name}: {advice}")
    meant = " or ".join(closest_options(name, source))
    hint = f"; did you mean {meant}?" if meant else ""
    return UnknownOption(f"unknown option {name}{hint}")


# By source: the options' names, as those that are misspelt are compared with them.
_flat: dict[int, dict[str, str]] = {}
# Nothing longer is close to any of them.
_LONGEST_NAME = 64


def closest_options(name: str, source: int = KEYWORD) -> list[str]:
    """The options of `source` that `name` may be meant for, the likeliest first; at most 3."""
    with late_imports:
        from difflib import get_close_matches

    bare = name.lower().replace("_", "")
    if len(bare) > _LONGEST_NAME:
        return []
    # `max_pool_size` is as close to `maxPoolSize` as it can be.
    flat = _flat.get(source)
    if flat is None:
        flat = _flat[source] = {
            key.lower().replace("_", ""): row.alias or row.name
            for key, row in LOOKUP.items()
            if row.sources & source
        }
    close = get_close_matches(bare, flat, n=1, cutoff=0.7)
    if not close and len(bare) > 2:
        close = [key for key in flat if key.startswith(bare)]
    return list(dict.fromkeys(flat[key] for key in close[:3]))


# ---------------------------------------------------------------- rules across options

# The options that must not be given twice, whatever the values (socks5.md).
ONCE_ONLY = frozenset(["proxyHost", "proxyPort", "proxyUsername", "proxyPassword"])

# uri-options.md, "Conflicting TLS options": present together, whatever their values.
_EXCLUSIVE = (
    ("tlsInsecure", "tlsAllowInvalidCertificates"),
    ("tlsInsecure", "tlsAllowInvalidHostnames"),
    ("tlsInsecure", "tlsDisableOCSPEndpointCheck"),
    ("tlsInsecure", "tlsDisableCertificateRevocationCheck"),
    ("tlsAllowInvalidCertificates", "tlsDisableOCSPEndpointCheck"),
    ("tlsAllowInvalidCertificates", "tlsDisableCertificateRevocationCheck"),
    ("tlsDisableOCSPEndpointCheck", "tlsDisableCertificateRevocationCheck"),
)
_NO_CRL_WITH = (
    "tlsInsecure",
    "tlsAllowInvalidCertificates",
    "tlsDisableOCSPEndpointCheck",
    "tlsDisableCertificateRevocationCheck",
)
_SRV_ONLY = ("srvServiceName", "srvMaxHosts", "srvAllowedHostsSuffix", "srv_host_validator")
_TRUE = (True, "true")


def check_rules(
    rules: int, options: Mapping[str, Any], given: Collection[str], hosts: int, is_srv: bool
) -> None:
    """Raise ConfigurationError or InvalidURI where options exclude one another.

    :param rules: the `rules` of all the options given, joined with `|`
    :param options: canonical name -> value (validated, or as written)
    :param given: canonical names of all the options given, even those with a value not valid
    :param hosts: how many hosts there are
    :param is_srv: whether they come from DNS
    """
    if rules & TLS_RULES:
        _check_tls(options, given)
    if rules & SRV_RULES:
        _check_srv(options, is_srv)
    if rules & TOPOLOGY_RULES:
        _check_topology(options, hosts, is_srv)
    if rules & PROXY_RULES:
        _check_proxy(given)


# What may be given with an ssl_context: revocation is not checked by the context, but beside it.
_WITH_CONTEXT = ("tls", "tlsDisableOCSPEndpointCheck", "tlsDisableCertificateRevocationCheck")


def _check_tls(options: Mapping[str, Any], given: Collection[str]) -> None:
    for one, other in _EXCLUSIVE:
        if one in given and other in given:
            raise InvalidURI(f"{one} and {other} cannot be given together: keep one of them")
    if options.get("ssl_context") is not None:
        for name in given:
            if name.startswith("tls") and name not in _WITH_CONTEXT:
                raise ConfigurationError(
                    f"ssl_context and {name} cannot be given together: the context is used as it "
                    "is; make that setting on the context, or leave ssl_context out"
                )
    if options.get("tlsCRLFile"):
        for name in _NO_CRL_WITH:
            if options.get(name) in _TRUE:
                raise InvalidURI(
                    f"{name}=true and tlsCRLFile cannot be given together: the list of revoked "
                    "certificates would not be looked at"
                )


def _check_srv(options: Mapping[str, Any], is_srv: bool) -> None:
    if not is_srv:
        for name in _SRV_ONLY:
            # srvMaxHosts=0 asks for nothing; PyMongo lets it pass too.
            if options.get(name) not in (None, 0, "0"):
                raise ConfigurationError(
                    f"{name} only goes with a mongodb+srv:// string: remove it, or use that scheme"
                )
        return
    if options.get("srvAllowedHostsSuffix") and options.get("srv_host_validator"):
        raise ConfigurationError(
            "srvAllowedHostsSuffix and srv_host_validator cannot be given together: keep one of "
            "them"
        )
    if options.get("srvMaxHosts") in (None, 0, "0"):
        return
    if options.get("replicaSet"):
        raise InvalidURI("srvMaxHosts and replicaSet cannot be given together")
    if options.get("loadBalanced") in _TRUE:
        raise InvalidURI("srvMaxHosts and loadBalanced=true cannot be given together")


def _check_topology(options: Mapping[str, Any], hosts: int, is_srv: bool) -> None:
    direct = options.get("directConnection") in _TRUE
    if direct:
        if is_srv:
            raise ConfigurationError(
                "directConnection=true does not go with mongodb+srv://, which may name several "
                "hosts"
            )
        if hosts > 1:
            raise ConfigurationError(
                f"directConnection=true needs exactly one host, but there are {hosts}"
            )
    if options.get("loadBalanced") not in _TRUE:
        return
    if hosts > 1:
        raise ConfigurationError(f"loadBalanced=true needs exactly one host, but there are {hosts}")
    if direct:
        raise ConfigurationError("loadBalanced=true and directConnection=true exclude each other")
    if options.get("replicaSet"):
        raise ConfigurationError("loadBalanced=true and replicaSet exclude each other")
    if options.get("srvMaxHosts") not in (None, 0, "0"):
        raise InvalidURI("srvMaxHosts and loadBalanced=true cannot be given together")


def _check_proxy(given: Collection[str]) -> None:
    if "proxyHost" not in given:
        raise InvalidURI("proxyPort, proxyUsername and proxyPassword need proxyHost")
    if ("proxyUsername" in given) != ("proxyPassword" in given):
        raise InvalidURI("proxyUsername and proxyPassword must be given together")
