"""Reading connection strings: text in, `ConnectionString` out, no I/O.

Knows the grammar of connection-string-spec.md and the start of a mongodb+srv string; what DNS
says about the latter is handed in with `with_dns`. Must not know sockets, DNS or what a client
does with an option. Options are looked up in `mongokey.options.table`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from mongokey._support.address import DEFAULT_PORT, Address, format_address
from mongokey._support.deadline import Timeout
from mongokey._support.hostnames import host_problem
from mongokey._support.reprs import with_safe_repr
from mongokey._support.secrets import Secret, keeps_secrets, unguarded
from mongokey.diagnostics import CERTAIN, Diagnosis
from mongokey.errors import ConfigurationError, InvalidURI
from mongokey.options import uri_errors
from mongokey.options.escapes import BrokenEscape, unquote_plus
from mongokey.options.table import (
    FROM_DEFAULT,
    FROM_TXT,
    FROM_URI,
    LOOKUP,
    OPTIONS,
    SRV_RULES,
    TOPOLOGY_RULES,
    TXT,
    check_rules,
)
from mongokey.options.uri_errors import is_advice
from mongokey.options.uri_options import options_are_meant, read_options

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

__all__ = ["DEFAULT_PORT", "ConnectionString", "parse"]

SCHEME = "mongodb://"
SRV_SCHEME = "mongodb+srv://"

# A Unix socket has no port.


@with_safe_repr
class SRVQuestion:
    """What a resolver has to know to find the hosts of a mongodb+srv string.

    `max_hosts` 0 is no limit; `timeout` is what the look-up may take in all, None leaves that to
    the resolver; `allowed_hosts_suffix` or `host_validator` go instead of the parent domain's rule.
    """

    __slots__ = (
        "allowed_hosts_suffix",
        "fqdn",
        "host_validator",
        "max_hosts",
        "service_name",
        "timeout",
    )

    def __init__(
        self,
        fqdn: str,
        service_name: str = "mongodb",
        max_hosts: int = 0,
        timeout: Timeout | None = None,
        allowed_hosts_suffix: str | None = None,
        host_validator: Callable[[str], bool] | None = None,
    ) -> None:
        self.fqdn = fqdn
        self.service_name = service_name
        self.max_hosts = max_hosts
        self.timeout = timeout
        self.allowed_hosts_suffix = allowed_hosts_suffix
        self.host_validator = host_validator

    def __repr__(self) -> str:
        return f"SRVQuestion({', '.join(f'{n}={getattr(self, n)!r}' for n in self.__slots__)})"


@with_safe_repr
class DNSAnswer:
    """What DNS said: the targets of the SRV records, and the TXT record's text if there is one.

    `ttl_s` is the least time to live of the SRV records in seconds, None if it is not known;
    `attempts` says how the answer was come by (`mongokey.dns.Attempt`).
    """

    __slots__ = ("attempts", "hosts", "ttl_s", "txt")

    def __init__(
        self,
        hosts: Iterable[Address],
        txt: str | None = None,
        ttl_s: float | None = None,
        attempts: Iterable[Any] = (),
    ) -> None:
        self.hosts = tuple(hosts)
        self.txt = txt
        self.ttl_s = ttl_s
        self.attempts = tuple(attempts)

    def __repr__(self) -> str:
        return f"DNSAnswer(hosts={self.hosts!r}, txt={self.txt!r}, ttl_s={self.ttl_s!r})"


# What asks DNS. `mongokey.dns.Resolver` is one; (hosts, txt) will do as an answer.
Resolve = Callable[[SRVQuestion], DNSAnswer | tuple[Sequence[Address], str | None]]


@with_safe_repr
class ConnectionString:
    """A connection string that was understood; immutable. `str` and `repr` mask its secrets.

    Made by `parse`. Values of options are validated; times are seconds where the table of
    options says so.
    """

    __slots__ = (
        "_collection",
        "_database",
        "_findings",
        "_fqdn",
        "_hosts",
        "_options",
        "_password",
        "_raw_plus",
        "_spelled",
        "_srv_attempts",
        "_srv_ttl_s",
        "_txt",
        "_username",
    )

    _hosts: tuple[Address, ...]
    _username: str | None
    _password: Secret[str] | None
    _database: str | None
    _collection: str | None
    _options: dict[str, Any]
    _fqdn: str | None
    _findings: list[Diagnosis]
    _raw_plus: bool
    _spelled: dict[str, str] | None
    _txt: tuple[str, ...]
    _srv_ttl_s: float | None
    _srv_attempts: tuple[Any, ...]

    @property
    def hosts(self) -> tuple[Address, ...]:
        """(host, port) of each seed; the port of a Unix socket is None; empty before DNS is asked.

        Address names are in lower case, IPv6 addresses without brackets.
        """
        return self._hosts

    @property
    def username(self) -> str | None:
        """The user name, decoded, or None."""
        return self._username

    @property
    def password(self) -> str | None:
        """The password, decoded; "" if it was given empty, None if it was not given."""
        return None if self._password is None else self._password.reveal()

    @property
    def database(self) -> str | None:
        """The database named in the path, without what follows a dot, or None."""
        return self._database

    @property
    def collection(self) -> str | None:
        """What follows the first dot of the path, or None."""
        return self._collection

    @property
    def options(self) -> Mapping[str, Any]:
        """Canonical name -> validated value, of the options that were given."""
        return MappingProxyType(self._options)

    @property
    def origins(self) -> Mapping[str, str]:
        """Canonical name -> "URI", "TXT" or (tls of mongodb+srv) "default"."""
        origins = dict.fromkeys(self._options, FROM_URI)
        for name in self._txt:
            origins[name] = FROM_DEFAULT if name == "tls" else FROM_TXT
        return origins

    @property
    def is_srv(self) -> bool:
        """Whether the hosts come from DNS (mongodb+srv)."""
        return self._fqdn is not None

    @property
    def fqdn(self) -> str | None:
        """The name to ask DNS about, of a mongodb+srv string."""
        return self._fqdn

    @property
    def srv_ttl_s(self) -> float | None:
        """Seconds that DNS's answer about the hosts holds; None before DNS is asked.

        `mongokey.dns.poll_interval_s` says from it when to ask again.
        """
        return self._srv_ttl_s

    @property
    def srv_attempts(self) -> tuple[Any, ...]:
        """What each name server did when DNS was asked (`mongokey.dns.Attempt`)."""
        return self._srv_attempts

    @property
    def findings(self) -> tuple[Diagnosis, ...]:
        """What was ignored, deprecated or is probably not meant so."""
        return tuple(self._findings)

    @property
    def warnings(self) -> tuple[str, ...]:
        """The texts of `findings`."""
        return tuple(finding.text for finding in self._findings)

    @property
    def raw_plus(self) -> bool:
        """Whether a `+` in the user information was read as a blank."""
        return self._raw_plus

    @keeps_secrets
    def with_dns(self, hosts: Iterable[Address], txt: str | None = None) -> ConnectionString:
        """This mongodb+srv string with what DNS said about it, as a new ConnectionString.

        :param hosts: the targets of the SRV records
        :param txt: the TXT record's text, or None

        Options of the string go before those of the TXT record; tls is on unless the string says
        otherwise. Raises ConfigurationError when the record holds anything but authSource,
        replicaSet and loadBalanced, or contradicts the string.
        """
        given = dict(self._options)
        added: list[str] = []
        rules = 0
        if txt:
            for name, value in self._read_txt(txt).items():
                if name not in given:
                    given[name] = value
                    added.append(name)
        if "tls" not in given:
            given["tls"] = True
            added.append("tls")
        seeds = tuple(hosts)
        for name in given:
            if name in OPTIONS:  # without validation, unknown names are kept
                rules |= OPTIONS[name].rules
        check_rules(rules, given, given, len(seeds), True)
        resolved = _new(ConnectionString)
        for slot in ConnectionString.__slots__:
            setattr(resolved, slot, getattr(self, slot))
        resolved._hosts = seeds
        resolved._options = given
        resolved._txt = tuple(added)
        return resolved

    def _read_txt(self, txt: str) -> dict[str, Any]:
        """The options of a TXT record; raises ConfigurationError for what may not be in one."""
        for pair in txt.split("&"):
            name, equals, value = pair.partition("=")
            option = LOOKUP.get(name.lower())
            if option is None or not option.sources & TXT:
                raise _bad_txt(
                    f"the TXT record of {self._fqdn} may only hold authSource, replicaSet and "
                    "loadBalanced"
                )
            # Else a ';' would begin an option that was not looked at.
            if not equals or ";" in value:
                raise _bad_txt(
                    f"the TXT record of {self._fqdn} is malformed: it must be name=value pairs "
                    "with '&' between them"
                )
        try:
            return read_options(txt, True, False, [], False)[0]
        except ConfigurationError as error:
            raise _bad_txt(f"the TXT record of {self._fqdn}: {error}") from error

    def __str__(self) -> str:
        from urllib.parse import quote

        parts = [SRV_SCHEME if self._fqdn is not None else SCHEME]
        if self._username is not None:
            parts.append(quote(self._username, safe="", errors="replace"))
            parts.append("@" if self._password is None else ":***@")
        if self._fqdn is not None:
            parts.append(self._fqdn)
        else:
            parts.append(",".join(map(host_in_uri, self._hosts)))
        parts.append("/")
        if self._database is not None:
            parts.append(quote(self._database, safe="", errors="replace"))
            if self._collection is not None:
                parts.append("." + quote(self._collection, safe="", errors="replace"))
        names = [name for name in self._options if name not in self._txt]
        if names:
            parts.append("?" + "&".join(f"{name}=..." for name in names))
        return "".join(parts)

    def __repr__(self) -> str:
        return f"<ConnectionString {self}>"

    def __reduce__(self) -> Any:
        raise TypeError("a ConnectionString holds a secret and cannot be pickled or copied")


def _bad_txt(text: str) -> ConfigurationError:
    failed = ConfigurationError(text)
    fix = "have the record corrected; other options belong into the string"
    failed.diagnoses = (Diagnosis("DNS-TXT-OPTION", CERTAIN, text, fix=fix),)
    return failed


_new = object.__new__


@keeps_secrets
def ask_dns(
    string: ConnectionString, resolve: Resolve, keywords: Mapping[str, Any] | None = None
) -> ConnectionString:
    """A mongodb+srv string with its hosts, as `resolve` finds them.

    `keywords` (canonical name -> validated value) go before the string's own options. Raises
    ConfigurationError when the options exclude one another, and whatever `resolve` raises.
    """
    assert string.fqdn is not None
    options = {**string.options, **(keywords or {})}
    check_rules(SRV_RULES, options, options, 1, True)

    answer = resolve(srv_question(string.fqdn, options))
    if isinstance(answer, tuple):
        answer = DNSAnswer(*answer)
    check_targets(string.fqdn, answer.hosts)
    resolved = string.with_dns(answer.hosts, answer.txt)
    resolved._srv_ttl_s = answer.ttl_s
    resolved._srv_attempts = answer.attempts
    merged = {**resolved.options, **(keywords or {})}
    check_rules(SRV_RULES | TOPOLOGY_RULES, merged, merged, len(answer.hosts), True)
    return resolved


def srv_question(fqdn: str, options: Mapping[str, Any]) -> SRVQuestion:
    """What to ask DNS about `fqdn`; `options` are canonical name -> value."""

    def value(name: str) -> Any:
        option = OPTIONS[name]
        given = options.get(name, option.default)
        # Without validation it may still be as it was written.
        return option.validate(name, given) if isinstance(given, str) else given

    return SRVQuestion(
        fqdn,
        value("srvServiceName") or OPTIONS["srvServiceName"].default,
        value("srvMaxHosts") or 0,
        Timeout.from_seconds(value("connectTimeoutMS"), "connectTimeoutMS"),
        value("srvAllowedHostsSuffix"),
        options.get("srv_host_validator"),
    )


def check_targets(fqdn: str, hosts: Iterable[Address]) -> None:
    """Refuse what a resolver of the user's may give and no SRV record can mean, such as paths."""
    for host in hosts:
        name, port = host
        if not isinstance(name, str) or host_problem(name) is not None:
            raise ConfigurationError(f"DNS names a host of {fqdn} that is no host name: {name!r}")
        if not isinstance(port, int) or not 0 < port < 65536:
            raise ConfigurationError(f"DNS names a host of {fqdn} with the port {port!r}")


def host_in_uri(address: Address) -> str:
    """A host as a connection string has it."""
    name, port = address
    if name.endswith(".sock"):
        from urllib.parse import quote

        return quote(name, safe="", errors="replace")
    if port is None:
        return f"[{name}]" if ":" in name else name
    return format_address(address)


@keeps_secrets
def parse(
    uri: str,
    default_port: int | None = DEFAULT_PORT,
    *,
    validate: bool = True,
    lenient: bool = False,
) -> ConnectionString:
    """Read a connection string.

    :param uri: the string; mongodb:// or mongodb+srv://
    :param default_port: the port of hosts that name none
    :param validate: False leaves the values of options as they are written
    :param lenient: True turns unknown options and wrong values into findings and ignores them

    Raises InvalidURI when the string cannot be read or its options exclude one another, and
    ConfigurationError for an unknown option or a wrong value (these are ValueError or TypeError
    too). No message holds a piece of the password.
    """
    if uri.startswith("mongodb://"):
        is_srv = False
        scheme = SCHEME
        rest = uri[10:]
    elif uri.startswith("mongodb+srv://"):
        is_srv = True
        scheme = SRV_SCHEME
        rest = uri[14:]
    else:
        raise uri_errors.bad_scheme(uri)

    authority, _, query = rest.partition("?")
    authority, _, path = authority.partition("/")
    userinfo, at, hosts_text = authority.rpartition("@")
    findings: list[Diagnosis] = []

    # What has to be escaped shows up somewhere else if it is not: a '/' in a password ends the
    # hosts, a '?' begins the options. An '@' further on says so.
    if "@" in path:
        raise uri_errors.bad_userinfo(scheme, rest)

    username = password = None
    raw_plus = False
    if at:
        username, colon, password = userinfo.partition(":")
        if (
            not username
            or ":" in password
            or "@" in userinfo
            or "#" in userinfo
            or "[" in userinfo
            or "]" in userinfo
        ):
            raise uri_errors.bad_userinfo(scheme, rest)
        if "+" in userinfo:
            raw_plus = True
            what = "user name" if "+" in username else "password"
            findings.append(uri_errors.raw_plus(what))
        if raw_plus or "%" in userinfo:
            try:
                username = unquote_plus(username, "user name", strict=True)
                password = unquote_plus(password, "password", strict=True)
            except BrokenEscape:
                raise uri_errors.bad_userinfo(scheme, rest) from None
        if not colon:
            password = None

    fqdn = None
    seeds: tuple[Address, ...]
    try:
        if not hosts_text:
            raise uri_errors.no_host(path)
        if is_srv:
            fqdn = _srv_host(hosts_text)
            seeds = ()
        elif "," in hosts_text:
            seeds = tuple(split_hosts(hosts_text, default_port))
        else:
            seeds = (read_host(hosts_text, default_port, 1),)
    except InvalidURI:
        # Without '@' before it, what does not look like a port may be an unescaped password.
        if not at and "@" in query:
            raise uri_errors.bad_userinfo(scheme, rest) from None
        raise

    database = collection = None
    if path:
        if "%" in path or "+" in path:
            path = unquote_plus(path, "database name")
        database, dot, rest_of_name = path.partition(".")
        if dot:
            collection = rest_of_name
        if not database or not uri_errors.BAD_DATABASE.isdisjoint(database):
            raise uri_errors.bad_database(database)

    spelled: dict[str, str] | None = None
    options: dict[str, Any]
    if query:
        hide = "@" in query
        if hide and not options_are_meant(query, None):
            raise uri_errors.bad_userinfo(scheme, rest, unsure=True)
        options, given, spelled, rules = read_options(query, validate, lenient, findings, hide)
        if hide and not options_are_meant(query, options):
            raise uri_errors.bad_userinfo(scheme, rest, unsure=True)
        if rules:
            check_rules(rules, options, given, len(seeds), is_srv)
    else:
        options = {}

    string = _new(ConnectionString)
    string._hosts = seeds
    string._username = username
    string._password = None if password is None else Secret(password)
    string._database = database
    string._collection = collection
    string._options = options
    string._fqdn = fqdn
    string._findings = findings
    string._raw_plus = raw_plus
    string._spelled = spelled
    string._txt = ()
    string._srv_ttl_s = None
    string._srv_attempts = ()
    return string


# For functions that keep secrets themselves.
parse_unguarded = unguarded(parse)


# ---------------------------------------------------------------- hosts


def split_hosts(text: str, default_port: int | None = DEFAULT_PORT) -> list[Address]:
    """The (host, port) pairs of hosts with commas between them."""
    return [
        read_host(entity, default_port, number) for number, entity in enumerate(text.split(","), 1)
    ]


def read_host(entity: str, default_port: int | None, number: int = 1) -> Address:
    """The (host, port) of one host, the one at place `number`, which errors name.

    A name that ends in `.sock` is a Unix socket and has no port (None).
    """
    host, colon, port_text = entity.partition(":")
    bare = host.replace(".", "")
    plain = bare.isalnum() or bare.replace("-", "").isalnum()
    if not plain or (not colon and entity.endswith(".sock")):
        return _read_odd_host(entity, default_port, number)
    port = read_port(port_text, number) if colon else default_port
    # Nearly all names, at a glance: a letter at both ends, nothing odd around the dots, no number
    # in the last label. Letters come after "9".
    name = host.lower()
    usual = (
        name[0] > "9"
        and name[-1] > "9"
        and name.isascii()
        and len(name) < 64
        and ".." not in name
        and ".0" not in name
        and ("-" not in name or ("-." not in name and ".-" not in name))
    )
    if not usual and not _is_host(host):
        raise uri_errors.bad_host(host, number)
    return Address((name, port))


def _read_odd_host(entity: str, default_port: int | None, number: int) -> Address:
    if "%" in entity or "+" in entity:
        entity = unquote_plus(entity, "host")
    if entity.endswith(".sock"):
        if "\0" in entity:
            raise uri_errors.bad_host(entity, number)
        if uri_errors.holds_a_login(entity):
            raise uri_errors.bad_socket(number)
        return Address((entity, None))
    port: int | None = default_port
    if entity.startswith("["):
        host, bracket, after = entity[1:].partition("]")
        if not bracket or not host or (after and not after.startswith(":")):
            raise uri_errors.InvalidHost(
                f"host {number}: an IPv6 address must stand in '[' and ']', as in [::1]:27017"
            )
        if after:
            port = read_port(after[1:], number)
        if not _is_host(host):
            raise uri_errors.bad_host(host, number)
        # The zone is the name of an interface: its case matters (RFC 6874).
        address, percent, zone = host.partition("%")
        return Address((address.lower() + percent + zone, port))
    host, colon, port_text = entity.partition(":")
    if colon:
        port = read_port(port_text, number)
    if not _is_host(host):
        raise uri_errors.bad_host(host, number)
    return Address((host.lower(), port))


def _is_host(host: str) -> bool:
    if host_problem(host) is None:
        return True
    # connection-string-spec.md's tests want 256.0.0.1 read as a host name; TLS refuses it.
    labels = host.split(".")
    return all(label.isascii() and label.isdigit() and len(label) < 64 for label in labels)


def read_port(text: str, number: int) -> int:
    """The port of the host at place `number`; raises InvalidHost unless from 1 to 65535."""
    if text.isdigit() and text.isascii() and len(text) < 10:
        port = int(text)
        if 0 < port < 65536:
            return port
    raise uri_errors.bad_port(text, number)


def _srv_host(text: str) -> str:
    if "," in text:
        raise InvalidURI(
            "a mongodb+srv:// string names exactly one host, DNS tells the servers: for a list "
            "of hosts use mongodb://"
        )
    if "%" in text or "+" in text:
        text = unquote_plus(text, "host")
    host, colon, port = text.partition(":")
    if colon:
        raise (
            uri_errors.srv_with_port(port)
            if not port or port.isdigit()
            else uri_errors.bad_port(port, 1)
        )
    if host.endswith(".sock") or not _is_host(host):
        raise uri_errors.bad_host(host, 1)
    return host.lower()


def lint(string: ConnectionString) -> list[Diagnosis]:
    """ADVICE about what a connection string most likely does not mean."""
    found = []
    if string._findings:
        found = [finding for finding in string._findings if is_advice(finding)]
    if string._username is not None:
        found += uri_errors.lint_secret(string._username, "user name")
    if string._password is not None:
        found += uri_errors.lint_secret(string._password.reveal(), "password")
    return found
