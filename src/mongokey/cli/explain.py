"""How a connection string is understood: hosts, login, database, options and where each is from.

Knows how to put a client's options into words and plain values, with every secret left out. Does
no I/O: of a mongodb+srv string it says what DNS would be asked.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

from mongokey import _option_values as v
from mongokey.auth.credential import MongoCredential
from mongokey.auth.registry import FALLBACK, PREFERRED, find_mechanism, find_rules
from mongokey.client_options import ClientOptions
from mongokey.options import OPTIONS, Option
from mongokey.uri import show_host

HIDDEN = "<hidden>"

# Their values are kept in seconds; people know them by the milliseconds of their names.
_KEPT_IN_SECONDS = (
    v.seconds,
    v.seconds_or_none,
    v.positive_seconds_or_none,
    v.seconds_0_is_none,
)


class ShownOption(NamedTuple):
    """An option as people write it; `origin` is "URI" or "default"."""

    name: str
    value: Any
    origin: str


class Login(NamedTuple):
    """Who logs in and how; `mechanism` is None when it is negotiated with the server.

    `spoken` says whether this version can carry the login out.
    """

    username: str | None
    password_given: bool
    mechanism: str | None
    spoken: bool
    source: str
    source_origin: str
    properties: dict[str, Any]

    @property
    def how(self) -> str:
        """The mechanism in words."""
        if self.mechanism is None:
            return f"negotiated: {PREFERRED} if the server has it for this user, else {FALLBACK}"
        return self.mechanism + ("" if self.spoken else " (this version does not speak it yet)")


class Finding(NamedTuple):
    """Something to know about the string; `code` never changes, `kind` is one of a few words."""

    code: str
    kind: str
    message: str


class Explanation(NamedTuple):
    """All there is to say about a connection string. Holds no secret.

    `hosts` is empty and `srv_name` the name of the SRV records when DNS knows the hosts.
    """

    uri: str
    hosts: list[str]
    srv_name: str | None
    login: Login | None
    database: str | None
    tls: bool
    options: list[ShownOption]
    findings: list[Finding]

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        plain = self._asdict()
        plain["login"] = None if self.login is None else self.login._asdict()
        plain["options"] = [option._asdict() for option in self.options]
        plain["findings"] = [finding._asdict() for finding in self.findings]
        return plain


def explain(uri: str, *, defaults: bool = False) -> Explanation:
    """Say how `uri` is understood.

    :param uri: a connection string, or anything else that `MongoClient` takes as a host
    :param defaults: list the options that were not given too

    Raises InvalidURI or ConfigurationError as the client would.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are among the findings
        # What DNS would answer is left out: no hosts, no TXT record.
        options = ClientOptions.build(uri, _resolve=lambda question: ((), None))
    string = options.connection_string
    srv_name = None
    if string is not None and string.fqdn is not None:
        srv_name = f"_{options.srv_service_name}._tcp.{string.fqdn}"
    return Explanation(
        uri=str(string) if string is not None else ",".join(map(show_host, options.hosts)),
        hosts=[show_host(host) for host in options.hosts],
        srv_name=srv_name,
        login=None if options.credential is None else _describe(options.credential),
        database=options.database,
        tls=options.tls is not None,
        options=_list_options(options, defaults),
        findings=[Finding(each.code, each.kind, each.message) for each in options.findings],
    )


def _describe(credential: MongoCredential) -> Login:
    rules = find_rules(credential.mechanism).properties
    properties = {
        name: HIDDEN if name in rules and rules[name].secret else _plain(value)
        for name, value in credential.mechanism_properties.items()
    }
    spoken = (
        credential.mechanism is None
        or find_mechanism(credential.mechanism).conversation is not None
    )
    return Login(
        credential.username,
        credential.password is not None,
        credential.mechanism,
        spoken,
        credential.source,
        credential.source_origin,
        properties,
    )


def _list_options(options: ClientOptions, defaults: bool) -> list[ShownOption]:
    given = options.options
    shown = []
    for option in OPTIONS.values():
        if option.name in given:
            value = given[option.name]
        elif defaults and option.default is not None:
            value = option.default
        else:
            continue
        shown.append(ShownOption(option.name, _show(option, value), options.origin(option.name)))
    return shown


def _show(option: Option, value: Any) -> Any:
    if option.secret:
        return HIDDEN
    if option.validate is v.uuid_representation:
        return next(name for name, number in v.UUID_REPRESENTATIONS.items() if number == value)
    if option.validate in _KEPT_IN_SECONDS:
        if value is None:
            return "no limit"
        value *= 1000
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return _plain(value)


def _plain(value: Any) -> Any:
    """`value` as JSON has it."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return getattr(value, "__name__", None) or str(value)
