"""How a connection string is understood: hosts, login, database, options and where each is from.

Knows how to put a client's options into words and plain values, with every secret left out. Of a
mongodb+srv string it says what DNS would be asked; it asks only with the resolver it is given.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

from mongokey._support.secrets import HIDDEN, keeps_secrets
from mongokey.auth.credential import MongoCredential
from mongokey.auth.registry import FALLBACK, PREFERRED, find_rules
from mongokey.cli.mistakes import find_mistakes
from mongokey.client_options import ClientOptions
from mongokey.diagnostics import Diagnosis
from mongokey.options import validators
from mongokey.options.connection_string import ConnectionString, Resolve, host_in_uri
from mongokey.options.table import MS_KEPT_AS_S, OPTIONS, Option

if TYPE_CHECKING:
    from mongokey.cli.explain_tls import TLSFacts


class ShownOption(NamedTuple):
    """An option as people write it; `origin` is "URI", "TXT" or "default"."""

    name: str
    value: Any
    origin: str


class Login(NamedTuple):
    """Who logs in and how; `mechanism` is None when it is negotiated with the server."""

    username: str | None
    password_given: bool
    mechanism: str | None
    source: str
    source_origin: str
    properties: dict[str, Any]

    @property
    def how(self) -> str:
        """The mechanism in words."""
        if self.mechanism is None:
            return f"negotiated: {PREFERRED} if the server has it for this user, else {FALLBACK}"
        return self.mechanism


class Query(NamedTuple):
    """A question to a name server, and what came of it."""

    question: str
    server: str
    transport: str
    outcome: str
    milliseconds: float


class Resolution(NamedTuple):
    """What asking DNS took: for how many seconds the answer holds, and each question."""

    ttl_s: float | None
    poll_interval_s: float
    queries: list[Query]


class Explanation(NamedTuple):
    """All there is to say about a connection string. Holds no secret.

    `srv_name` is the name of the SRV records when DNS knows the hosts; `hosts` is empty then unless
    DNS was asked, which `dns` tells about.
    """

    uri: str
    hosts: list[str]
    srv_name: str | None
    login: Login | None
    database: str | None
    tls: bool
    tls_facts: TLSFacts | None
    options: list[ShownOption]
    findings: list[Diagnosis]
    mistakes: list[Diagnosis]
    dns: Resolution | None

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        plain = self._asdict()
        plain["login"] = None if self.login is None else self.login._asdict()
        plain["tls_facts"] = None if self.tls_facts is None else self.tls_facts.as_json()
        plain["options"] = [option._asdict() for option in self.options]
        plain["findings"] = [finding.as_dict() for finding in self.findings]
        plain["mistakes"] = [mistake.as_dict() for mistake in self.mistakes]
        if self.dns is not None:
            plain["dns"] = {
                **self.dns._asdict(),
                "queries": [query._asdict() for query in self.dns.queries],
            }
        return plain


@keeps_secrets
def explain(
    uri: str,
    *,
    defaults: bool = False,
    resolve: Resolve | None = None,
    from_shell: bool = False,
) -> Explanation:
    """Say how `uri` is understood.

    :param uri: a connection string, or anything else that `MongoClient` takes as a host
    :param defaults: list the options that were not given too
    :param resolve: asks DNS for the hosts and TXT options of a mongodb+srv string; None leaves
        them out
    :param from_shell: True if `uri` came through a shell, which has mistakes of its own

    Raises InvalidURI or ConfigurationError as the client would.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are among the findings
        # What DNS would answer is left out: no hosts, no TXT record.
        options = ClientOptions.build(uri, _resolve=resolve or (lambda question: ((), None)))
    string = options.connection_string
    srv_name = None
    if string is not None and string.fqdn is not None:
        srv_name = f"_{options.srv_service_name}._tcp.{string.fqdn}"
    return Explanation(
        uri=str(string) if string is not None else ",".join(map(host_in_uri, options.hosts)),
        hosts=[host_in_uri(host) for host in options.hosts],
        srv_name=srv_name,
        login=None if options.credential is None else _describe(options.credential),
        database=options.database,
        tls=options.tls is not None,
        tls_facts=_describe_tls(options),
        options=shown_options(options, defaults),
        findings=list(options.findings),
        mistakes=find_mistakes(uri, from_shell=from_shell),
        dns=_describe_dns(string) if string is not None and resolve is not None else None,
    )


def _describe_tls(options: ClientOptions) -> TLSFacts | None:
    if options.tls is None:
        return None
    # It loads ssl and cryptography, which strings without TLS need not wait for.
    from mongokey.cli.explain_tls import describe_tls

    return describe_tls(options.tls)


def _describe_dns(string: ConnectionString) -> Resolution | None:
    from mongokey.dns import poll_interval_s

    if not string.is_srv:
        return None
    queries = [
        Query(
            each.question, each.server, each.transport, each.outcome, round(each.seconds * 1e3, 1)
        )
        for each in string.srv_attempts
    ]
    return Resolution(string.srv_ttl_s, poll_interval_s(string.srv_ttl_s), queries)


def _describe(credential: MongoCredential) -> Login:
    rules = find_rules(credential.mechanism).properties
    properties = {
        name: HIDDEN if name in rules and rules[name].secret else _plain(value)
        for name, value in credential.mechanism_properties.items()
    }
    return Login(
        credential.username,
        credential.password is not None,
        credential.mechanism,
        credential.source,
        credential.source_origin,
        properties,
    )


def shown_options(options: ClientOptions, defaults: bool = False) -> list[ShownOption]:
    """The options as people write them, and where each came from; with `defaults`, those that were
    not given too. Secrets are hidden."""
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
    if option.validate is validators.uuid_representation:
        names = validators.UUID_REPRESENTATIONS
        return next(name for name, number in names.items() if number == value)
    if option.unit == MS_KEPT_AS_S:
        if value is None:
            return "no limit"
        value *= 1000  # as people know it, by the milliseconds of its name
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
