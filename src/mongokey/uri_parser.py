"""PyMongo's `uri_parser`: its function names and the shapes they return.

A thin face on `mongokey.options.connection_string`, which does the reading; see there for what is
accepted. Does no I/O of its own: the hosts of mongodb+srv strings come from `mongokey.dns` or a
resolver handed in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence

from mongokey._support.address import DEFAULT_PORT, Address
from mongokey._support.reprs import with_safe_repr
from mongokey._support.secrets import HIDDEN, keeps_secrets
from mongokey.errors import ConfigurationError, InvalidURI
from mongokey.options import uri_errors
from mongokey.options.connection_string import (
    SCHEME,
    SRV_SCHEME,
    ConnectionString,
    Resolve,
    ask_dns,
    parse_unguarded,
    read_host,
)
from mongokey.options.escapes import unquote_plus
from mongokey.options.table import (
    LOOKUP,
    OPTIONS,
    PROXY_RULES,
    TLS_RULES,
    URI,
    check_rules,
    find,
    unknown_option,
)
from mongokey.options.uri_errors import diagnose, emit
from mongokey.options.uri_options import read_options

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.diagnostics import Diagnosis

__all__ = [
    "parse_host",
    "parse_ipv6_literal_host",
    "parse_uri",
    "parse_userinfo",
    "split_hosts",
    "split_options",
    "unquote_plus",
    "validate_options",
]

SCHEME_LEN = len(SCHEME)
SRV_SCHEME_LEN = len(SRV_SCHEME)
URI_OPTIONS = frozenset(option.name for option in OPTIONS.values() if option.sources & URI)

# What tlsInsecure stands for; `normalize` writes it out.
_INSECURE_PARTS = (
    "tlsAllowInvalidCertificates",
    "tlsAllowInvalidHostnames",
    "tlsDisableOCSPEndpointCheck",
)


@keeps_secrets
def parse_uri(
    uri: str,
    default_port: int | None = DEFAULT_PORT,
    validate: bool = True,
    warn: bool = False,
    normalize: bool = True,
    connect_timeout: float | None = None,
    srv_service_name: str | None = None,
    srv_max_hosts: int | None = None,
    srv_allowed_hosts_suffix: str | None = None,
    srv_host_validator: Callable[[str], bool] | None = None,
    *,
    resolve: Resolve | None = None,
) -> dict[str, Any]:
    """Read and check a connection string.

    Returns a dict with `nodelist` (a list of (host, port)), `username`, `password`, `database`,
    `collection`, `options` (name -> value; times in seconds, but localThresholdMS and wTimeoutMS
    in milliseconds) and `fqdn` (of a mongodb+srv string, else None).

    :param uri: the connection string
    :param default_port: the port of hosts that name none
    :param validate: False leaves option values as they are written
    :param warn: True ignores unknown options and wrong values with a UserWarning
    :param normalize: True returns `ssl` as `tls` and writes out tlsInsecure
    :param connect_timeout: seconds that DNS may take
    :param srv_service_name: goes before srvServiceName
    :param srv_max_hosts: goes before srvMaxHosts
    :param srv_allowed_hosts_suffix: goes before srvAllowedHostsSuffix
    :param srv_host_validator: says whether a host that DNS names may be connected to
    :param resolve: what asks DNS for the hosts of a mongodb+srv string; default
        `mongokey.dns.Resolver()`

    Raises InvalidURI or ConfigurationError; errors about hosts and option values are ValueError
    or TypeError too. No message holds a password.
    """
    if not isinstance(uri, str):
        raise TypeError(f"uri must be a str, not {type(uri).__name__}")
    string = parse_unguarded(uri, default_port, validate=validate, lenient=warn)
    if string._findings:
        emit(string._findings, False, 3)
    if string._fqdn is not None:
        keywords = {
            "connectTimeoutMS": connect_timeout,
            "srvServiceName": srv_service_name,
            "srvMaxHosts": srv_max_hosts,
            "srvAllowedHostsSuffix": srv_allowed_hosts_suffix,
            "srv_host_validator": srv_host_validator,
        }
        if resolve is None:
            from mongokey.dns import Resolver

            resolve = Resolver()
        string = ask_dns(
            string, resolve, {name: v for name, v in keywords.items() if v is not None}
        )
    elif srv_max_hosts or srv_host_validator:
        raise ConfigurationError(
            f"srv_max_hosts and srv_host_validator only go with a {SRV_SCHEME} string"
        )
    username = string._username
    held = string._password
    password = None if held is None else held.reveal()
    return {
        "nodelist": list(string._hosts),
        "username": username,
        # PyMongo cannot tell a missing password from an empty one.
        "password": "" if password is None and username is not None else password,
        "database": string._database,
        "collection": string._collection,
        "options": _named_as_pymongo(string, normalize),
        "fqdn": string._fqdn,
    }


def _named_as_pymongo(string: ConnectionString, normalize: bool) -> dict[str, Any]:
    table = OPTIONS
    given = string._options
    try:
        named = {table[name].key: value for name, value in given.items()}
    except KeyError:  # without validation, unknown names are kept
        named = {_key(name): value for name, value in given.items()}
    if normalize:
        if "tlsInsecure" in named:
            for part in _INSECURE_PARTS:
                named[part] = named["tlsInsecure"]
    elif string._spelled and string._spelled.get("tls"):
        named[string._spelled["tls"]] = named.pop("tls", None)
    return named


def _key(name: str) -> str:
    """The name that `parse_uri` returns an option under; unknown names stay as they are."""
    option = OPTIONS.get(name)
    return name if option is None else option.key


def _check_text(argument: str, value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{argument} must be a string, not {type(value).__name__}")


@keeps_secrets
def parse_userinfo(userinfo: str) -> tuple[str, str]:
    """The decoded (user name, password) of `user:password`; the password is "" if there is none.

    Raises InvalidURI when a reserved character is not escaped or the user name is empty.
    """
    _check_text("userinfo", userinfo)
    if not userinfo or userinfo.startswith(":") or uri_errors.first_unescaped(userinfo) >= 0:
        raise uri_errors.bad_userinfo(SCHEME, userinfo + "@...")
    username, _, password = userinfo.partition(":")
    return unquote_plus(username, "user name"), unquote_plus(password, "password")


def parse_ipv6_literal_host(entity: str, default_port: int | None) -> tuple[str, str | int | None]:
    """The (address, port) of `[address]` or `[address]:port`; a port in `entity` stays a str.

    Raises ValueError when the closing bracket is missing.
    """
    address, bracket, after = entity[1:].partition("]")
    if not bracket:
        raise uri_errors.InvalidHost("an IPv6 address must stand in '[' and ']', as in [::1]:27017")
    return address, after[1:] if after.startswith(":") else default_port


@keeps_secrets
def parse_host(entity: str, default_port: int | None = DEFAULT_PORT) -> Address:
    """The (host, port) of `host` or `host:port`, the host in lower case.

    Raises InvalidURI, which is a ValueError too.
    """
    _check_text("entity", entity)
    if entity.endswith(".sock") and not uri_errors.holds_a_login(entity):
        return Address((entity, default_port))
    return read_host(entity, default_port)


@keeps_secrets
def split_hosts(hosts: str, default_port: int | None = DEFAULT_PORT) -> list[Address]:
    """The (host, port) pairs of hosts with commas between them; a Unix socket's port is None.

    Raises ConfigurationError for an empty host, InvalidURI (a ValueError too) for others.
    """
    _check_text("hosts", hosts)
    nodes: list[Address] = []
    for number, entity in enumerate(hosts.split(","), 1):
        if entity.endswith(".sock") and not uri_errors.holds_a_login(entity):
            nodes.append(Address((entity, None)))
        else:
            nodes.append(read_host(entity, default_port, number))
    return nodes


@keeps_secrets
def split_options(
    opts: str, validate: bool = True, warn: bool = False, normalize: bool = True
) -> MutableMapping[str, Any]:
    """The options of a connection string, the part behind `?`, by name in any case.

    The parameters are those of `parse_uri`. Raises InvalidURI when `opts` is not made of
    name=value pairs.
    """
    findings: list[Diagnosis] = []
    options, given, spelled, rules = read_options(opts, validate, warn, findings, False)
    check_rules(rules & (TLS_RULES | PROXY_RULES), options, given, 1, False)
    if findings:
        emit(findings, False, 3)
    if normalize:
        if "tlsInsecure" in options:
            for part in _INSECURE_PARTS:
                options[part] = options["tlsInsecure"]
    elif spelled and spelled.get("tls") and "tls" in options:
        options[spelled["tls"]] = options.pop("tls")
    return _AnyCase(options)


@keeps_secrets
def validate_options(opts: Mapping[str, Any], warn: bool = False) -> MutableMapping[str, Any]:
    """A copy of `opts` with checked values, under the names given.

    With `warn`, unknown options and wrong values give a UserWarning and are left out; without,
    they raise ConfigurationError, ValueError or TypeError.
    """
    checked: dict[str, Any] = {}
    findings: list[Diagnosis] = []
    for name, value in opts.items():
        option = find(name)
        try:
            if option is None or not option.sources & URI:
                raise unknown_option(name, URI)
            checked[name] = option.validate(name, value)
        except (ValueError, TypeError, uri_errors.UnknownOption) as error:
            if not warn:
                raise
            findings.append(diagnose("OPTION-INVALID", f"{error}; it is ignored"))
    emit(findings, False, 3)
    return _AnyCase(checked) if isinstance(opts, _AnyCase) else checked


@with_safe_repr
class _AnyCase(MutableMapping[str, "Any"]):
    """A mapping whose keys are the same in any case; iterates them in lower case."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {key.lower(): value for key, value in values.items()}
        self._cased = {key.lower(): key for key in values}

    def __getitem__(self, key: str) -> Any:
        return self._values[key.lower()]

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[key.lower()] = value
        self._cased[key.lower()] = key

    def __delitem__(self, key: str) -> None:
        del self._values[key.lower()]
        del self._cased[key.lower()]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return self._values == {key.lower(): value for key, value in other.items()}

    def __repr__(self) -> str:
        shown = {
            cased: HIDDEN if (row := LOOKUP.get(key)) and row.secret else self._values[key]
            for key, cased in self._cased.items()
        }
        return repr(shown)


def main(arguments: Sequence[str]) -> int:
    """``python -m mongokey.uri_parser URI``, as PyMongo's: print what is read from it, or what
    is wrong with it, and end with 0. Secrets are not printed."""
    import pprint

    if len(arguments) != 1:
        print("usage: python -m mongokey.uri_parser URI", file=sys.stderr)
        return 2
    try:
        found = parse_uri(arguments[0])
    except (InvalidURI, ConfigurationError) as error:
        print(error)
        return 0
    if found["password"] is not None:
        found["password"] = HIDDEN
    found["options"] = {
        name: HIDDEN if (row := LOOKUP.get(name.lower())) is not None and row.secret else value
        for name, value in found["options"].items()
    }
    pprint.pprint(found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
