"""Why DNS could not say which hosts a mongodb+srv string means, in words that lead to the fix.

Knows the facts of one look-up: the names asked for, and what each name server answered. Must not
ask anything itself: an error only says what is known when it is raised.
"""

from __future__ import annotations

from collections.abc import Sequence

from mongokey._support.hostnames import host_problem
from mongokey._support.reprs import with_safe_repr
from mongokey.diagnostics import CERTAIN, Diagnosis
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey._support.deadline import Timeout
    from mongokey.options.connection_string import SRVQuestion

# What a name server did; an Attempt's outcome is one of these or an rcode such as SERVFAIL.
ANSWERED = "NOERROR"
NO_SUCH_NAME = "NXDOMAIN"
TIMED_OUT = "no answer"
TRUNCATED = "truncated"
MALFORMED = "malformed"
UNREACHABLE = "not reachable"

_LONG_FORM = (
    "use another name server, or the long form of the string, which needs no SRV records: "
    "mongodb://host1:27017,host2:27017,.../?tls=true"
)


@with_safe_repr
class Attempt:
    """One question to one name server, and what came of it.

    :param question: the record type and the name, as in "SRV _mongodb._tcp.example.com"
    :param server: address and port of the name server
    :param transport: "UDP", "TCP", or what else the name server speaks
    :param outcome: one of this module's words, or the name of the rcode it answered with
    :param detail: more about the outcome, or ""
    :param seconds: how long it took
    """

    __slots__ = ("detail", "outcome", "question", "seconds", "server", "transport")

    def __init__(
        self,
        question: str,
        server: str,
        transport: str,
        outcome: str,
        detail: str = "",
        seconds: float = 0.0,
    ) -> None:
        self.question = question
        self.server = server
        self.transport = transport
        self.outcome = outcome
        self.detail = detail
        self.seconds = seconds

    def __str__(self) -> str:
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.server} over {self.transport}: {self.outcome}{detail}"

    def __repr__(self) -> str:
        return f"<Attempt {self.question} {self}>"


class SRVError(ConfigurationError):
    """The hosts of a mongodb+srv string could not be found, or may not be connected to.

    `diagnoses` has the cause; `name` is the name that was asked for; `attempts` says which name
    server did what.
    """

    def __init__(
        self,
        message: str,
        diagnosis: Diagnosis,
        name: str | None = None,
        attempts: Sequence[Attempt] = (),
    ) -> None:
        super().__init__(message)
        self.diagnoses = (diagnosis,)
        self.name = name
        self.attempts = tuple(attempts)

    @property
    def code(self) -> str:
        """The code of the diagnosis."""
        return self.diagnoses[0].code

    @property
    def timeout(self) -> bool:
        """True when no name server answered in time."""
        return self.code == "DNS-TIMEOUT"


def _error(
    code: str,
    summary: str,
    name: str | None = None,
    attempts: Sequence[Attempt] = (),
    *,
    fix: str = "",
) -> SRVError:
    diagnosis = Diagnosis(code, CERTAIN, summary, dict.fromkeys(map(str, attempts)), fix)
    return SRVError(f"{diagnosis.text}{_asked(attempts)}", diagnosis, name, attempts)


# ---------------------------------------------------------------- the name in the string


def bad_name(name: str) -> SRVError:
    """`name` cannot be asked for: a label is empty or too long."""
    return _error(
        "DNS-NAME",
        f"{name!r} is not a name that DNS can be asked for: its labels must have 1 to 63 "
        "characters, and all of it at most 253",
        name,
    )


def address_not_name(name: str) -> SRVError:
    """The string names an IP address."""
    return _error(
        "DNS-ADDRESS",
        f"mongodb+srv:// needs a name to look up, but {name} is an IP address",
        name,
        fix="write mongodb://",
    )


def no_resolver(reason: object) -> SRVError:
    """This machine has no name server configured."""
    return _error(
        "DNS-NO-RESOLVER",
        f"this machine has no usable resolver configuration ({reason}), so no DNS server can be "
        "asked for the hosts",
        fix="give the hosts with mongodb://, or name servers with "
        "srv_resolver=mongokey.dns.Resolver(name_servers=[...])",
    )


# ---------------------------------------------------------------- what name servers did


def no_such_name(
    question: SRVQuestion, asked: str, attempts: Sequence[Attempt], host_exists: bool | None
) -> SRVError:
    """NXDOMAIN for the SRV name; `host_exists` is what the TXT question told, or None."""
    fqdn = question.fqdn
    summary = f"DNS has no name {asked}, so mongodb+srv://{fqdn} leads to no hosts"
    if "-shard-00-" in fqdn:
        fix = f"this is the name of one server of a cluster: use mongodb://{fqdn}:27017/?tls=true"
    elif question.service_name != "mongodb":
        fix = f"is srvServiceName={question.service_name} right, and the name spelt so?"
    elif host_exists:
        fix = (
            f"{fqdn} itself exists, so it is most likely the name of one server: use "
            f"mongodb://{fqdn}"
        )
    else:
        fix = (
            "was the cluster deleted or renamed, or is the name misspelt? If it is the name of "
            "one server, use mongodb://"
        )
    return _error("DNS-NXDOMAIN", summary, asked, attempts, fix=fix)


def no_records(question: SRVQuestion, asked: str, attempts: Sequence[Attempt]) -> SRVError:
    """The SRV name exists but has no such record."""
    return _error(
        "DNS-NO-SRV",
        f"{asked} has no SRV record, so mongodb+srv://{question.fqdn} leads to no hosts",
        asked,
        attempts,
        fix=f"is it the name of one server? Then use mongodb://{question.fqdn}",
    )


def no_service(question: SRVQuestion, asked: str) -> SRVError:
    """The SRV record's target is the root (RFC 2782: decidedly not available)."""
    return _error(
        "DNS-NO-SERVICE",
        f"the SRV record of {asked} says that {question.fqdn} does not offer this service (its "
        "target is '.')",
        asked,
        fix="ask whoever keeps the DNS zone",
    )


def failed(
    question: SRVQuestion, asked: str, kind: str, attempts: Sequence[Attempt], timeout: Timeout
) -> SRVError:
    """No name server gave a usable answer to the question of type `kind` about `asked`."""
    own = [attempt for attempt in attempts if attempt.question == f"{kind} {asked}"]
    last = {attempt.server: attempt for attempt in own}.values()
    outcomes = {attempt.outcome for attempt in last}
    what = f"the {kind} record of {asked}, which mongodb+srv://{question.fqdn} needs"
    # A cause is named only if it is all that happened; a mixture is told as it is.
    if outcomes <= {TIMED_OUT}:
        text = f"no name server answered the question for {what}, within {timeout.ns / 1e9:g} s"
        if timeout.option is not None:
            text += f" ({timeout.option})"
        other = {a.server for a in attempts if a not in own and a.outcome == ANSWERED}
        if other:
            text += (
                f"; {', '.join(sorted(other))} did answer another question meanwhile, so it "
                f"drops {kind} questions, as routers, VPNs and phones' hotspots do"
            )
        return _unanswered("DNS-TIMEOUT", text, own, asked, attempts)
    code, text = "DNS-FAILED", f"no name server could tell {what}"
    if outcomes == {"SERVFAIL"}:
        code = "DNS-SERVFAIL"
        text += ": it failed to find out itself (SERVFAIL), so the zone's own servers or its "
        text += "DNSSEC signatures are likely at fault; it may pass"
    elif outcomes == {"REFUSED"}:
        code = "DNS-REFUSED"
        text += ": it refuses to answer this machine (REFUSED), so it is the wrong name server "
        text += "here, or a filter stands before it"
    elif outcomes == {MALFORMED}:
        code = "DNS-MALFORMED"
        text += ": what it answered is not a DNS message, over UDP nor over TCP"
    elif outcomes == {UNREACHABLE}:
        code = "DNS-UNREACHABLE"
        text += ": it could not be reached"
    return _unanswered(code, text, own, asked, attempts)


def _unanswered(
    code: str, summary: str, own: Sequence[Attempt], asked: str, attempts: Sequence[Attempt]
) -> SRVError:
    diagnosis = Diagnosis(code, CERTAIN, summary, dict.fromkeys(map(str, own)), _LONG_FORM)
    return SRVError(f"{summary}{_asked(own)}; {_LONG_FORM}", diagnosis, asked, attempts)


def _asked(attempts: Sequence[Attempt]) -> str:
    counted = dict.fromkeys(str(attempt) for attempt in attempts)
    return f" [asked {'; '.join(counted)}]" if counted else ""


# ---------------------------------------------------------------- what the records say


def several_txt(name: str, count: int) -> SRVError:
    """More than one TXT record."""
    return _error(
        "DNS-TXT-SEVERAL",
        f"{name} has {count} TXT records, but a mongodb+srv string allows one, with all options "
        "in it (it may be split into several strings)",
        name,
    )


def undecodable_txt(name: str) -> SRVError:
    """The TXT record is no text."""
    return _error("DNS-TXT-TEXT", f"the TXT record of {name} is not UTF-8 text", name)


def no_host_name(host: str, fqdn: str) -> SRVError:
    """A target that is no host name, such as a path."""
    return _error(
        "SRV-HOST-NAME",
        f"the SRV record of {fqdn} names the host {host!r}, which is no host name: it "
        f"{host_problem(host)}; ask whoever keeps the DNS zone",
        host,
    )


def foreign_host(host: str, fqdn: str, parent: str, same: bool) -> SRVError:
    """A target outside of the parent domain, or (`same`) the asked name itself."""
    if same:
        text = (
            f"the SRV record of {fqdn} names {fqdn} itself, but with fewer than three parts in "
            "that name a host must have one part more"
        )
    else:
        text = (
            f"the SRV record of {fqdn} names the host {host}, which is not under {parent}: a host "
            "must be in the domain of the name asked for, or whoever forges a DNS answer could "
            "lead the client, and its login, anywhere"
        )
    return _error(
        "SRV-HOST-FOREIGN",
        f"{text}. If a VPN or captive portal rewrites DNS, leave it; if the zone is private and "
        "meant so, name the hosts' domain with srvAllowedHostsSuffix",
        host,
    )


def outside_suffix(host: str, suffix: str) -> SRVError:
    """A target that srvAllowedHostsSuffix does not cover."""
    return _error(
        "SRV-HOST-SUFFIX",
        f"DNS names the host {host}, which is not under srvAllowedHostsSuffix={suffix}",
        host,
    )


def refused_host(host: str, why: str) -> SRVError:
    """srv_host_validator said no, or did not say yes or no."""
    return _error("SRV-HOST-REFUSED", f"DNS names the host {host}, but srv_host_validator {why}")


def bad_suffix(suffix: str, why: str) -> SRVError:
    """srvAllowedHostsSuffix would allow too much."""
    return _error("SRV-SUFFIX", f"srvAllowedHostsSuffix={suffix!r} {why}", suffix)


def no_suffix_list() -> SRVError:
    """The package with the Public Suffix List is missing."""
    import sys

    return _error(
        "SRV-SUFFIX-LIST",
        "srvAllowedHostsSuffix is checked against the Public Suffix List, for which the package "
        "publicsuffixlist must be installed in the Python that runs this "
        f"({sys.executable})",
        fix="pip install 'mongokey[srv]'",
    )
