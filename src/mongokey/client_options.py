"""Everything a client was told, in typed form: the host, the string and the keywords made one.

Knows how `MongoClient`'s arguments combine (keywords go before the connection string, that before
a TXT record) and what follows from them: credential, TLS, concerns, read preference, pool. Must
not know what any of them is used for, and does no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from weakref import WeakValueDictionary

from mongokey._support.address import DEFAULT_PORT, Address
from mongokey._support.keyed_digest import keyed_digest
from mongokey._support.lazy import imported_once
from mongokey._support.reprs import with_safe_repr
from mongokey._support.secrets import HIDDEN, Secret, keeps_secrets
from mongokey.errors import ConfigurationError, InvalidURI
from mongokey.options.connection_string import (
    ConnectionString,
    Resolve,
    SRVQuestion,
    ask_dns,
    host_in_uri,
    lint,
    parse_unguarded,
    split_hosts,
    srv_question,
)
from mongokey.options.table import (
    FROM_DEFAULT,
    FROM_KEYWORD,
    FROM_TXT,
    KEYWORD,
    OPTIONS,
    check_rules,
    find,
    unknown_option,
)
from mongokey.options.uri_errors import (
    diagnose,
    emit,
    holds_a_login,
    is_advice,
    lint_secret,
)
from mongokey.pool_options import (
    Frozen,
    PoolOptions,
    TLSOptions,
    Values,
    nanoseconds,
    read_tls_options,
    set_once,
    take_options,
)
from mongokey.read_concern import DEFAULT_READ_CONCERN, ReadConcern
from mongokey.read_preferences import (
    ReadPreference,
    _ServerMode,
    make_read_preference,
    read_pref_mode_from_name,
)
from mongokey.write_concern import DEFAULT_WRITE_CONCERN, WriteConcern

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.auth.credential import MongoCredential
    from mongokey.auth.provided import ProvidedCredential
    from mongokey.bson.codec_options import CodecOptions
    from mongokey.diagnostics import Diagnosis
    from mongokey.handshake.metadata import ClientMetadata
    from mongokey.options.auto_encryption import AutoEncryptionOpts
    from mongokey.pool_options import Following

__all__ = ["ClientOptions", "PoolOptions", "TLSOptions"]

# server-discovery-and-monitoring.md, "heartbeatFrequencyMS"
_MIN_HEARTBEAT_S = 0.5


@with_safe_repr
class ClientOptions(Frozen):
    """The options of one client; immutable, made by `build`.

    Names of PyMongo's ClientOptions mean the same here. Attributes that end in `_ns` are
    nanoseconds, None means no limit.
    """

    _options: dict[str, Any]
    _codec_options: CodecOptions[Any] | None
    # Of `build`, while DNS is still to be asked; else None.
    _arguments: Secret[tuple[Any, ...]] | None
    # The seeds in the order given, each once; the port of a Unix socket is None.
    hosts: tuple[Address, ...]
    # The string among the hosts, or None where there were only host names.
    connection_string: ConnectionString | None
    # The database of the string's path, for get_default_database, and what follows its dot.
    database: str | None
    collection: str | None
    credential: MongoCredential | None
    # The same where its secret comes from a provider (`credentials` and its kin), else None.
    provided: ProvidedCredential | None
    tls: TLSOptions | None
    pool_options: PoolOptions
    read_preference: _ServerMode
    read_concern: ReadConcern
    write_concern: WriteConcern
    retry_writes: bool
    retry_reads: bool
    replica_set_name: str | None
    direct_connection: bool | None
    load_balanced: bool | None
    srv_service_name: str
    srv_max_hosts: int
    fail_fast: bool
    connect: bool | None
    server_selector: Any
    server_monitoring_mode: str
    _event_listeners: tuple[Any, ...]
    # What the option says, None where it was not given: then the environment does.
    tracing: Mapping[str, Any] | None
    login_backoff_ns: int
    max_login_backoff_ns: int
    max_adaptive_retries: int
    enable_overload_retargeting: bool
    # What `LoginScope` has found out of the secret, for all clients with these arguments; or None.
    _login_digests: dict[str, bytes] | None = None
    # Whether it is the driver's own, see `_for_driver`.
    _is_for_driver: bool = False
    # Seconds, but for the one that says ms.
    server_selection_timeout: float
    server_selection_timeout_ns: int
    heartbeat_frequency: float
    heartbeat_frequency_ns: int
    local_threshold_ms: float
    local_threshold_ns: int
    # timeoutMS: None when not given, 0 for no limit.
    timeout: float | None
    timeout_ns: int | None
    # Canonical name -> "keyword", "URI", "TXT" or "default", of every option that was given.
    origins: Mapping[str, str]
    findings: tuple[Diagnosis, ...]

    @classmethod
    @keeps_secrets
    def build(
        cls,
        host: str | Iterable[str] | None = None,
        port: int | None = None,
        _resolve: Resolve | None = None,
        _stacklevel: int = 2,
        _may_defer: bool = False,
        _must_defer: bool = False,
        **keywords: Any,
    ) -> ClientOptions:
        """The options of a client from the arguments of its constructor.

        :param host: a host name, `host:port`, a connection string, the path of a Unix socket, or
            several host names of which one may be a connection string; None is localhost
        :param port: the port of hosts that name none; None is 27017
        :param _resolve: what asks DNS (`Resolve` of `mongokey.options.connection_string`); None
            is the keyword `srv_resolver`, or else `mongokey.dns.Resolver()`
        :param _stacklevel: which caller warnings point at, as in `warnings.warn`; 0 gives none
        :param _may_defer: True leaves DNS to `resolved` where a client is not to connect at once
        :param _must_defer: True leaves it there in any case
        :param keywords: options by any spelling; they go before the connection string's. None
            counts as not given, but for limits, where it is no limit

        Wrong values in the string are warned about and ignored, except where that would log in
        or connect in another way than meant; wrong keywords raise. Raises InvalidURI,
        ConfigurationError (also a ValueError or TypeError where one value is wrong), TypeError.
        """
        key = _key_of(host, port, keywords)
        if key is not None:
            known = _with_secrets.get(key) if isinstance(key, bytes) else _known.get(key)
            if known is not None:
                return known if known.credential is None else known._for_another_client()
        seeds, string, findings = _read_hosts(host, port)
        named, repeated = _read_keywords(keywords)
        findings += repeated
        if string is not None and "authMechanismProperties" in string._options:
            _check_properties(string, named)
        if string is not None and named.get("tls") is not None and "tls" in string._options:
            _check_tls_is_meant(string, named["tls"], keywords)
        arguments = None
        if string is not None and string.is_srv:
            if _must_defer or (_may_defer and _connects_later(string, named)):
                arguments = Secret((host, port, keywords))
                string = string.with_dns(())
            else:
                resolve = _resolve or named.get("srv_resolver")
                if not callable(resolve):  # none, or a resolver of dnspython's
                    resolve = imported_once("mongokey.dns").Resolver(resolve)
                string = ask_dns(string, resolve, named)
                seeds += string.hosts
        options: dict[str, Any] = {}
        origins: dict[str, str] = {}
        if string is not None and string._options:
            options.update(string._options)
            origins.update(string.origins)
        for name, value in named.items():
            options[name] = value
            origins[name] = FROM_KEYWORD
        hosts = tuple(dict.fromkeys(seeds))
        if not hosts and arguments is None and _resolve is None:
            # Only what a program has for dnspython's resolver, or a `srv_resolver`, does so.
            raise ConfigurationError(
                f"DNS names no host for mongodb+srv://{string and string.fqdn}: a client needs one "
                "at least"
            )
        rules = 0
        for name in options:
            rules |= OPTIONS[name].rules
        if rules:
            is_srv = string is not None and string.is_srv
            check_rules(rules, options, options, len(hosts), is_srv)
        for name in ("username", "password"):
            if isinstance(named.get(name), str):
                findings += lint_secret(named[name], "user name" if name == "username" else name)
        findings += _lint_options(options)

        self = object.__new__(cls)
        _fill(self, hosts, string, options, origins)
        set_once(self, "findings", tuple(findings))
        set_once(self, "_arguments", arguments)
        if _stacklevel:
            emit(findings, True, _stacklevel + 1)  # the decorator's
        if key is not None and not findings and _may_be_kept(self):
            if isinstance(key, bytes):
                set_once(self, "_login_digests", {})
                _with_secrets[key] = self
            elif self.credential is None:
                if len(_known) >= _MOST_KNOWN:
                    _known.clear()
                _known[key] = self
        return self

    def _for_another_client(self) -> ClientOptions:
        """The same for one more client, whose logins have a state of their own."""
        made = object.__new__(type(self))
        attributes = self.__dict__.copy()
        assert self.credential is not None, "others are shared as they are"
        credential = attributes["credential"] = self.credential._with_own_state()
        attributes["pool_options"] = self.pool_options._with("credential", credential)
        # For as long as a client has the secret, others need not read it anew.
        attributes["_read_first"] = self
        set_once(made, "__dict__", attributes)
        return made

    def _with_metadata(self, metadata: ClientMetadata) -> ClientOptions:
        """The same of a client that tells servers more than others that have these options."""
        made = object.__new__(type(self))
        pool_options = self.pool_options._with("_metadata", metadata)
        set_once(made, "__dict__", {**self.__dict__, "pool_options": pool_options})
        return made

    @property
    def srv_question(self) -> SRVQuestion | None:
        """What DNS is asked for the hosts; None where the string names them itself."""
        string = self.connection_string
        if string is None or not string.is_srv or string.fqdn is None:
            return None
        return srv_question(string.fqdn, self._options)

    @property
    def needs_dns(self) -> bool:
        """Whether the hosts are still to be found by DNS, with `resolved`."""
        return self._arguments is not None

    def resolved(self) -> ClientOptions:
        """These options with what DNS says; themselves when it was asked already.

        Raises ConfigurationError when DNS does not lead to hosts, or its options do not fit.
        """
        if self._arguments is None:
            return self
        given = self._arguments
        return type(self).build(
            given.reveal()[0], given.reveal()[1], _stacklevel=0, **given.reveal()[2]
        )

    @property
    def codec_options(self) -> CodecOptions[Any]:
        """The CodecOptions of document_class, tz_aware, uuidRepresentation and the like."""
        made: CodecOptions[Any] | None = self._codec_options
        if made is None:
            module = imported_once("mongokey.bson.codec_options")
            given = {
                _CODEC_OPTIONS[name]: value
                for name, value in self._options.items()
                if value is not None and name in _CODEC_OPTIONS
            }
            made = module.CodecOptions(**given) if given else module.DEFAULT_CODEC_OPTIONS
            set_once(self, "_codec_options", made)
        return made

    @property
    def options(self) -> Mapping[str, Any]:
        """Canonical name -> value, of every option that was given; holds secrets."""
        return MappingProxyType(self._options)

    @property
    def event_listeners(self) -> list[Any]:
        """The client's own listeners, a new list of them."""
        return list(self._event_listeners)

    @property
    def auto_encryption_opts(self) -> AutoEncryptionOpts | None:
        """What the client encrypts and decrypts by itself, an `AutoEncryptionOpts` or None."""
        found: AutoEncryptionOpts | None = self._options.get("auto_encryption_opts")
        return found

    @property
    def _connects_at_once(self) -> bool:
        # By default the first operation does it, whose connection then is the first check too.
        return self._options.get("connect") is True and not self._is_for_driver

    def _for_driver(self) -> ClientOptions:
        """The same for a client that is the driver's own, beside the user's: it encrypts nothing
        and keeps no connections ready, and nobody counts it."""
        left = {"auto_encryption_opts", "minPoolSize"}
        options = {name: value for name, value in self._options.items() if name not in left}
        made = object.__new__(type(self))
        _fill(made, self.hosts, self.connection_string, options, dict(self.origins))
        arguments = None
        if self._arguments is not None:
            host, port, given = self._arguments.reveal()
            arguments = Secret(
                (host, port, {name: value for name, value in given.items() if name not in left})
            )
        set_once(made, "findings", ())
        set_once(made, "_arguments", arguments)
        set_once(made, "_is_for_driver", True)
        return made

    def origin(self, name: str) -> str:
        """Where the value in force of option `name` comes from."""
        return self.origins.get(name, FROM_DEFAULT)

    def __repr__(self) -> str:
        shown = [f"host=[{', '.join(repr(host_in_uri(host)) for host in self.hosts)}]"]
        for name, value in self._options.items():
            if name == "username" and self.credential is not None:
                value = self.credential.shown_user
            shown.append(f"{name}={HIDDEN if OPTIONS[name].secret else repr(value)}")
        return f"ClientOptions({', '.join(shown)})"


# Options are immutable: a process that makes one client after another from the same arguments reads
# these once. Here is what holds no secret.
_known: dict[tuple[Any, ...], ClientOptions] = {}
_MOST_KNOWN = 16
_PLAIN = frozenset((str, int, float, bool, type(None)))
_LOGIN = frozenset(("username", "password"))


# The same where there is a secret: by a digest of the arguments, for as long as a client has it.
_with_secrets: WeakValueDictionary[bytes, ClientOptions] = WeakValueDictionary()


@keeps_secrets
def _key_of(
    host: object, port: object, keywords: Mapping[str, Any]
) -> tuple[Any, ...] | bytes | None:
    """What tells these arguments of `build` from others: a digest where they may hold a login; None
    where they are not plain. Types too, as True equals 1."""
    if type(host) is not str or type(port) not in _PLAIN:
        return None
    key: tuple[Any, ...] = (host, type(port), port)
    for name, value in keywords.items():
        if type(value) not in _PLAIN:
            return None
        key = (*key, name, type(value), value)
    if "@" in host or not _LOGIN.isdisjoint(keywords):
        return keyed_digest(repr(key).encode("utf-8", "backslashreplace"))
    return key


def _may_be_kept(made: ClientOptions) -> bool:
    """Whether options depend on nothing but the arguments, and nothing in them can be changed by
    who has them; of secrets, only a password."""
    string, credential = made.connection_string, made.credential
    return (
        (
            credential is None
            or (credential.password is not None and credential.mechanism in _BY_PASSWORD)
        )
        and made.provided is None
        and made.tls is None
        and (string is None or not string.is_srv)
        and not any(
            (OPTIONS[name].secret and name != "password") or type(value) not in _PLAIN
            for name, value in made._options.items()
        )
    )


# Nothing but user, password and source goes into these logins.
_BY_PASSWORD = frozenset((None, "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"))


# Option -> the parameter of CodecOptions.
_CODEC_OPTIONS = {
    "document_class": "document_class",
    "tz_aware": "tz_aware",
    "uuidRepresentation": "uuid_representation",
    "unicode_decode_error_handler": "unicode_decode_error_handler",
    "tzinfo": "tzinfo",
    "type_registry": "type_registry",
    "datetime_conversion": "datetime_conversion",
}


def _connects_later(string: ConnectionString, named: Mapping[str, Any]) -> bool:
    """Whether DNS waits for the first operation: as PyMongo, with connect=False, and by default
    in function services, which freeze a process between its start and its first call."""
    connect = named.get("connect", string.options.get("connect"))
    if connect is None:
        environment = imported_once("mongokey.handshake.environment")
        connect = "name" not in environment.describe_environment(docker=False)
    return not connect


def _read_hosts(
    host: str | Iterable[str] | None, port: int | None
) -> tuple[tuple[Address, ...], ConnectionString | None, list[Diagnosis]]:
    if port is None:
        port = DEFAULT_PORT
    elif not isinstance(port, int) or isinstance(port, bool):
        raise TypeError(f"port must be an int, not {type(port).__name__}")
    elif not 0 < port < 65536:
        raise ConfigurationError("port must be from 1 to 65535")
    if host is None:
        host = "localhost"
    entities: list[str] = [host] if isinstance(host, str) else _listed(host)
    if not entities:
        raise ConfigurationError("host is an empty list: name at least one host")
    seeds: tuple[Address, ...] = ()
    string: ConnectionString | None = None
    findings: list[Diagnosis] = []
    for entity in entities:
        if not isinstance(entity, str):
            raise TypeError(f"host must be a str or a list of str, not of {type(entity).__name__}")
        if "/" not in entity and "@" not in entity:
            seeds += tuple(split_hosts(entity, port))
        elif entity.endswith(".sock") and not holds_a_login(entity):
            seeds += (Address((entity, None)),)
        elif string is not None:
            raise ConfigurationError("host may contain one connection string, but has several")
        else:
            string = parse_unguarded(entity, port, lenient=True)
            seeds += string._hosts
            for finding in string._findings:
                fatal = finding.option is not None and OPTIONS[finding.option].fatal
                if fatal and finding.code == "OPTION-INVALID":
                    raise ConfigurationError(finding.text.removesuffix("; it is ignored"))
                if not is_advice(finding):
                    findings.append(finding)
            findings += lint(string)
    return seeds, string, findings


def _listed(host: Any) -> list[str]:
    if isinstance(host, (bytes, bytearray)):
        raise TypeError("host must be a str or a list of str, not bytes: decode it")
    try:
        return list(host)
    except TypeError:
        raise TypeError(f"host must be a str or a list of str, not {type(host).__name__}") from None


def _read_keywords(keywords: Mapping[str, Any]) -> tuple[dict[str, Any], list[Diagnosis]]:
    named: dict[str, Any] = {}
    findings: list[Diagnosis] = []
    spelled: dict[str, str] = {}
    for key, value in keywords.items():
        option = find(key)
        if option is None or not option.sources & KEYWORD:
            raise unknown_option(key)
        name = option.name
        if value is None and name not in _NONE_IS_NO_LIMIT:
            continue
        checked = option.validate(key, value)
        if option.alias in option.deprecated:
            findings.append(
                diagnose(
                    "OPTION-DEPRECATED",
                    f"option {key} is deprecated: use {name}",
                    name,
                )
            )
            if name in named:
                continue
        if name in named and named[name] != checked and spelled[name] not in option.deprecated:
            if key.lower() != spelled[name].lower():
                raise InvalidURI(  # as PyMongo, though it is in no URI
                    f"{spelled[name]} and {key} are the same option, given with different values"
                )
            # As in a string, and as with PyMongo: MongoEngine gives its own and the user's.
            findings.append(
                diagnose(
                    "OPTION-REPEATED",
                    f"option {name} is given twice, as {spelled[name]} and as {key}: the last one "
                    f"holds",
                    option=name,
                )
            )
        if option.advise is not None and (advice := option.advise(key, value)) is not None:
            findings.append(diagnose(*advice, option=name))
        named[name] = checked
        spelled[name] = key
    service = named.pop("gssapiServiceName", None)
    if service is not None:
        named.setdefault("authMechanismProperties", {}).setdefault("SERVICE_NAME", service)
        findings.append(
            diagnose(
                "OPTION-DEPRECATED",
                "option gssapiServiceName is deprecated: use "
                "authMechanismProperties={'SERVICE_NAME': ...}",
            )
        )
    return named, findings


# None means "not given", so that `MongoClient(uri, username=settings.get("user"))` keeps the
# string's user; but for these it means "no limit".
_NONE_IS_NO_LIMIT = frozenset(
    [
        "connectTimeoutMS",
        "maxIdleTimeMS",
        "maxPoolSize",
        "socketTimeoutMS",
        "timeoutMS",
        "waitQueueTimeoutMS",
    ]
)


def _lint_options(options: Mapping[str, Any]) -> list[Diagnosis]:
    found = []
    if "serverSelectionTryOnce" in options:
        found.append(
            diagnose(
                "OPTION-NO-EFFECT",
                "serverSelectionTryOnce has no effect: it is for drivers that run in one thread",
                option="serverSelectionTryOnce",
            )
        )
    return found


def _fill(
    self: ClientOptions,
    hosts: tuple[Address, ...],
    string: ConnectionString | None,
    options: dict[str, Any],
    origins: dict[str, str],
) -> None:
    if options.get("proxyHost") is not None:
        raise ConfigurationError(
            "proxyHost: this version of mongokey cannot connect through a SOCKS5 proxy, and "
            "will not connect past it: remove the proxy options"
        )
    credential = _credential(string, options, origins)
    provided: ProvidedCredential | None = None
    if not options.keys().isdisjoint(_PROVIDERS):
        module = imported_once("mongokey.auth.provided")
        if isinstance(credential, module.ProvidedCredential):
            provided = credential
    tls = read_tls_options(options) if options else None
    if provided is not None and provided.is_certificate:
        tls = _tls_for_certificate(options, tls)
    attributes = _DEFAULTS.copy()
    if options:
        take_options(attributes, options, _FOLLOWING)
        if attributes["heartbeat_frequency"] < _MIN_HEARTBEAT_S:
            raise ConfigurationError("heartbeatFrequencyMS must be at least 500")
        if not options.keys().isdisjoint(_READ_PREFERENCE):
            attributes["read_preference"] = _read_preference(options, Values(options))
        if not options.keys().isdisjoint(_WRITE_CONCERN):
            attributes["write_concern"] = WriteConcern(*map(Values(options), _WRITE_CONCERN))
    attributes["_options"] = options
    attributes["hosts"] = hosts
    attributes["connection_string"] = string
    if string is not None:
        attributes["database"] = string._database
        attributes["collection"] = string._collection
    attributes["credential"] = credential
    attributes["provided"] = provided
    attributes["tls"] = tls
    attributes["pool_options"] = PoolOptions(options, tls, credential)
    attributes["origins"] = MappingProxyType(origins)
    set_once(self, "__dict__", attributes)


def _heartbeat(seconds: float | None) -> float:
    default: float = OPTIONS["heartbeatFrequencyMS"].default
    return seconds or default


def _ms_to_ns(milliseconds: float) -> int:
    return round(milliseconds * 1e6)


# The attributes that follow from one option each, and how.
_FOLLOWING: Following = {
    "retryWrites": (("retry_writes", None),),
    "retryReads": (("retry_reads", None),),
    "replicaSet": (("replica_set_name", None),),
    "directConnection": (("direct_connection", None),),
    "loadBalanced": (("load_balanced", None),),
    "srvServiceName": (("srv_service_name", None),),
    "srvMaxHosts": (("srv_max_hosts", None),),
    "connect": (("connect", None),),
    "failFast": (("fail_fast", None),),
    "server_selector": (("server_selector", None),),
    "serverMonitoringMode": (("server_monitoring_mode", None),),
    "event_listeners": (("_event_listeners", tuple),),
    "tracing": (("tracing", None),),
    "maxAdaptiveRetries": (("max_adaptive_retries", None),),
    "enableOverloadRetargeting": (("enable_overload_retargeting", None),),
    "readConcernLevel": (("read_concern", ReadConcern),),
    "serverSelectionTimeoutMS": (
        ("server_selection_timeout", None),
        ("server_selection_timeout_ns", nanoseconds),
    ),
    "heartbeatFrequencyMS": (
        ("heartbeat_frequency", _heartbeat),
        ("heartbeat_frequency_ns", lambda seconds: nanoseconds(_heartbeat(seconds))),
    ),
    "localThresholdMS": (
        ("local_threshold_ms", None),
        ("local_threshold_ns", _ms_to_ns),
    ),
    "loginBackoffMS": (("login_backoff_ns", _ms_to_ns),),
    "maxLoginBackoffMS": (("max_login_backoff_ns", _ms_to_ns),),
    "timeoutMS": (("timeout", None), ("timeout_ns", nanoseconds)),
}
# Those that follow from several options, and in which order WriteConcern takes them.
_READ_PREFERENCE = (
    "read_preference",
    "readPreference",
    "readPreferenceTags",
    "maxStalenessSeconds",
)
_WRITE_CONCERN = ("w", "wTimeoutMS", "journal", "fsync")
# What holds where no option says otherwise: worked out once, as most are never given.
_DEFAULTS: dict[str, Any] = {
    "_codec_options": None,
    "database": None,
    "collection": None,
    "read_preference": ReadPreference.PRIMARY,
    "write_concern": DEFAULT_WRITE_CONCERN,
}
take_options(_DEFAULTS, {name: OPTIONS[name].default for name in _FOLLOWING}, _FOLLOWING)
_DEFAULTS["read_concern"] = DEFAULT_READ_CONCERN


def _check_tls_is_meant(
    string: ConnectionString, wanted: bool, keywords: Mapping[str, Any]
) -> None:
    """Refuse ``ssl=true`` in a URI with the keyword ``tls=False`` and the like, as PyMongo does: a
    keyword of the same name is meant to go before the string's, of the other one it is not."""
    if string._options["tls"] == wanted:
        return
    in_string = (string._spelled or {}).get("tls") or "tls"
    in_keywords = next(key for key in keywords if key.lower() in ("tls", "ssl"))
    if in_keywords.lower() != in_string.lower():
        raise InvalidURI(
            f"{in_string} of the URI and {in_keywords} are the same option, given with different "
            f"values: keep one of them"
        )


def _check_properties(string: ConnectionString, named: Mapping[str, Any]) -> None:
    """Refuse mechanism properties that may not stand in a URI (ALLOWED_HOSTS), before DNS is asked
    and also where a keyword replaces them."""
    mechanism = named.get("authMechanism", string.options.get("authMechanism"))
    if mechanism is None:
        return
    registry = imported_once("mongokey.auth.registry")
    rules = registry.find_rules(None if mechanism == registry.DEFAULT else mechanism)
    rules.clean_properties(string.options["authMechanismProperties"])


def _credential(
    string: ConnectionString | None, options: Mapping[str, Any], origins: Mapping[str, str]
) -> MongoCredential | None:
    username = options.get("username")
    password = options.get("password")
    if string is not None:
        if username is None:
            username = string.username
        if password is None:
            # `user:@host` gives no password, as in PyMongo.
            password = string.password or None
    mechanism = options.get("authMechanism")
    provider = None
    if not options.keys().isdisjoint(_PROVIDERS):
        provider = _provider(options, password is not None)
    if username is None and password is None and mechanism is None and provider is None:
        return None
    properties = options.get("authMechanismProperties")
    allowed = options.get("authOIDCAllowedHosts")
    if allowed is not None:
        properties = {"ALLOWED_HOSTS": allowed, **(properties or {})}
    source = options.get("authSource")
    if source is not None and origins.get("authSource") == FROM_TXT and mechanism is not None:
        # Hosted clusters say authSource=admin to all; it is not meant for $external's users.
        registry = imported_once("mongokey.auth.registry")
        if mechanism != registry.DEFAULT and registry.find_rules(mechanism).external:
            source = None
    if provider is not None:
        provided: ProvidedCredential = imported_once("mongokey.auth.provided").ProvidedCredential(
            provider,
            mechanism,
            username,
            string.database if string is not None else None,
            source,
            properties,
        )
        return provided
    found: MongoCredential | None = imported_once("mongokey.auth.credential").build_credential(
        mechanism,
        username,
        password,
        string.database if string is not None else None,
        source,
        properties,
    )
    return found


# The options that say where the secret comes from, of which one is given at most.
_PROVIDERS = ("credentials", "credentialsFile", "credentialsEnv")


def _provider(options: Mapping[str, Any], has_password: bool) -> Any:
    given = [name for name in _PROVIDERS if options.get(name) is not None]
    if not given:
        return None
    name = given[0]
    if len(given) > 1:
        raise ConfigurationError(
            f"{name} and {given[1]} cannot be given together: both say where the secret comes from"
        )
    if has_password:
        raise ConfigurationError(
            f"a password and {name} cannot be given together: the secret comes from one or the "
            "other; leave the password out"
        )
    value = options[name]
    if name == "credentials":
        return value
    ready = imported_once("mongokey.credentials")
    return ready.from_file(value) if name == "credentialsFile" else ready.from_env(value)


def _tls_for_certificate(options: Mapping[str, Any], tls: TLSOptions | None) -> TLSOptions:
    """The TLS that shows the certificate a provider gives."""
    if options.get("tls") is False:
        raise ConfigurationError(
            "tls=false, but the certificate of authMechanism=MONGODB-X509 only goes with TLS: set "
            "tls=true or remove it"
        )
    for name in ("tlsCertificateKeyFile", "ssl_context"):
        if options.get(name) is not None:
            raise ConfigurationError(
                f"credentials and {name} cannot be given together: both say which certificate "
                "the client shows"
            )
    return tls if tls is not None else TLSOptions(options, "authMechanism")


def _read_preference(options: Mapping[str, Any], value: Values) -> _ServerMode:
    preference = options.get("read_preference")
    if preference is not None:
        if not isinstance(preference, _ServerMode):
            raise TypeError(
                "read_preference must be an object of mongokey.read_preferences, such as "
                f"ReadPreference.SECONDARY, not {type(preference).__name__}"
            )
        return preference
    mode = read_pref_mode_from_name(value("readPreference"))
    return make_read_preference(mode, value("readPreferenceTags"), value("maxStalenessSeconds"))
