"""Step `dns`: SRV and TXT records of a mongodb+srv name, then the addresses of each host.

Knows whom to ask (the machine's resolver, or `--name-server`) and which further question tells the
cause of a failure. Must not connect to a server.
"""

from __future__ import annotations

import socket
import warnings
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from mongokey._support.deadline import Deadline, Timeout, shortest
from mongokey._support.portable import Portable
from mongokey._support.secrets import keeps_secrets
from mongokey.cli.check.report import SKIPPED, WARNED, Found, Step
from mongokey.cli.check.state import Host, State, StepFailed
from mongokey.client_options import ClientOptions
from mongokey.diagnostics import CERTAIN, Diagnosis, surest_first
from mongokey.errors import ConfigurationError, MongoError
from mongokey.options.connection_string import DNSAnswer, SRVQuestion
from mongokey.transport.causes import name_causes

if TYPE_CHECKING:
    from mongokey.dns import Resolver
    from mongokey.options.connection_string import ConnectionString

_SECOND_S = 2.0
# How a host without addresses answers, in the words of getaddrinfo's errors.
_NO_NAME = frozenset(
    getattr(socket, name)
    for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY")
    if hasattr(socket, name)
)


class LookUpFailed(Portable, Exception):
    """A host has no address: `said` by whom; `again` where that could not be found out."""

    def __init__(self, said: str, *, again: bool = False, timed_out: bool = False) -> None:
        super().__init__(said)
        self.again = again
        self.timed_out = timed_out


def check_dns(state: State, step: Step) -> None:
    """Find the hosts and their addresses."""
    assert state.options is not None
    string = state.options.connection_string
    if string is not None and string.is_srv:
        _resolve_srv(state, step)
    assert state.options is not None
    for address in state.options.hosts:
        state.hosts[address] = Host(address, seed=True)
    hosts = list(state.hosts.values())
    if all(_is_literal(host) for host in hosts) and not step.facts:
        for host in hosts:
            host.ips = [host.address[0]]
        step.status = SKIPPED
        step.lines.append("no names to look up")
        return
    look_up_all(state, hosts)
    step.facts["addresses"] = {host.name: host.ips for host in hosts}
    step.lines += [f"{host.name} is {', '.join(host.ips) or 'unknown'}" for host in hosts]
    lost = [host for host in hosts if not host.ips]
    if not lost:
        return
    found = _explain_names(state, lost)
    if len(lost) == len(hosts):
        facts = {"hosts": [host.name for host in lost], **_servers(state)}
        timed_out = all(host.timed_out for host in lost)
        raise StepFailed([Found(each, facts) for each in found], timed_out=timed_out)
    state.warn(*found)
    step.status = WARNED


# ---------------------------------------------------------------- SRV and TXT


def make_resolver(state: State) -> Resolver:
    """What asks for SRV and TXT records."""
    from mongokey.dns import Resolver

    if state.name_server is None:
        return Resolver()
    return Resolver(name_servers=[state.name_server[0]], port=state.name_server[1])


@keeps_secrets
def _resolve_srv(state: State, step: Step) -> None:
    resolver = make_resolver(state)
    noted: list[Any] = []

    def resolve(question: SRVQuestion) -> DNSAnswer:
        question.timeout = shortest(
            question.timeout, Timeout(state.deadline.left_ns(), state.timeout.option)
        )
        answer = resolver(question)
        noted.extend(answer.attempts)
        return answer

    uri, keywords = state.given.reveal()
    own = keywords.get("srv_resolver")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state.options = ClientOptions.build(
                uri, _resolve=None if own is not None else resolve, **keywords
            )
    except MongoError as error:
        attempts = getattr(error, "attempts", ())
        step.facts["asked"] = [_as_fact(each) for each in attempts]
        raise StepFailed(
            _explain_srv(state, error, attempts), timed_out=bool(error.timeout)
        ) from None
    step.facts["asked"] = [_as_fact(each) for each in noted]
    step.facts["seeds"] = [f"{host}:{port}" for host, port in state.options.hosts]
    step.lines.append(f"SRV names {', '.join(step.facts['seeds'])}")
    state.warn(*_over_tcp_only(noted))
    if state.report.warnings:
        step.status = WARNED


def _as_fact(attempt: Any) -> dict[str, Any]:
    return {
        "question": attempt.question,
        "server": attempt.server,
        "transport": attempt.transport,
        "outcome": attempt.outcome,
        "ms": round(attempt.seconds * 1e3, 1),
    }


def _over_tcp_only(attempts: list[Any]) -> list[Diagnosis]:
    from mongokey.dns.errors import ANSWERED, MALFORMED

    bad = {each.question for each in attempts if each.outcome == MALFORMED}
    good = {each.question for each in attempts if each.outcome == ANSWERED}
    if not bad & good:
        return []
    return [
        Diagnosis(
            "DNS-TCP-ONLY",
            CERTAIN,
            "a name server's answers over UDP are broken, and right over TCP, as behind some "
            "routers and older systemd-resolved: mongokey asks again over TCP, other tools do not",
            [str(each) for each in attempts],
            "use another name server, or update the one on this machine",
        )
    ]


def _explain_srv(state: State, error: MongoError, attempts: Any) -> list[Found]:
    options = state.options
    assert options is not None
    string = options.connection_string
    assert string is not None
    facts = {"name": string.fqdn, **_servers(state)}
    diagnoses = list(error.diagnoses)
    if not diagnoses:
        diagnoses = [Diagnosis("DNS-FAILED", CERTAIN, str(error))]
    code = diagnoses[0].code
    if code in ("DNS-NXDOMAIN", "DNS-NO-SRV"):
        diagnoses[:0] = _has_address(state, string)
    elif code in ("DNS-TIMEOUT", "DNS-FAILED", "DNS-UNREACHABLE"):
        diagnoses[:0] = _asked_over_tcp(state, string, attempts)
    return [Found(each, facts) for each in surest_first(diagnoses)]


def _has_address(state: State, string: ConnectionString) -> list[Diagnosis]:
    """A name without SRV records that has an address is one server's."""
    name = string.fqdn
    assert name is not None
    try:
        ips = look_up(state, name, state.probe())
    except LookUpFailed:
        return []
    return [
        Diagnosis(
            "DNS-ADDRESS-ONLY",
            CERTAIN,
            f"{name} has an address and no SRV record: it is the name of one server, which "
            "mongodb:// leads to",
            [f"{name} is {', '.join(ips)}"],
            str(string).replace("mongodb+srv://", "mongodb://"),
        )
    ]


def _asked_over_tcp(state: State, string: ConnectionString, attempts: Any) -> list[Diagnosis]:
    """The same question over TCP, of the servers that were silent over UDP."""
    import dns.exception
    import dns.message
    import dns.query
    import dns.rdatatype

    asked = dict.fromkeys(
        (each.server, each.question.partition(" ")[2])
        for each in attempts
        if each.question.startswith("SRV ") and each.transport == "UDP"
    )
    deadline = state.probe()
    for server, name in list(asked)[:3]:
        place, _, port = server.rpartition(":")
        query = dns.message.make_query(name, dns.rdatatype.SRV)
        try:
            reply = dns.query.tcp(
                query, place.strip("[]"), timeout=max(deadline.left_s, 0.05), port=int(port)
            )
        except (OSError, EOFError, ValueError, dns.exception.DNSException):
            continue
        hosts = [
            f"{record.target.to_text(omit_final_dot=True)}:{record.port}"
            for rrset in reply.answer
            if rrset.rdtype == dns.rdatatype.SRV
            for record in rrset
        ]
        if hosts:
            long_form = (
                str(string)
                .replace(f"mongodb+srv://{''}", "mongodb://")
                .replace(str(string.fqdn), ",".join(hosts))
            )
            return [
                Diagnosis(
                    "DNS-TCP-ONLY",
                    CERTAIN,
                    f"{server} answers the question for the SRV records over TCP, and not over UDP",
                    [f"over TCP: {', '.join(hosts)}", *map(str, attempts)],
                    "have UDP port 53 let through, use another name server, or the long form: "
                    f"{long_form}{'&' if '?' in long_form else '?'}tls=true",
                )
            ]
    return []


# ---------------------------------------------------------------- addresses


def look_up_all(state: State, hosts: list[Host]) -> None:
    """Find the addresses of hosts, side by side; `found` and `timed_out` are set of those that
    have none."""

    def ask(host: Host) -> None:
        if _is_literal(host):
            host.ips = [host.address[0]]
            return
        try:
            host.ips = look_up(state, host.address[0], state.limit())
        except LookUpFailed as error:
            host.timed_out = error.timed_out
            host.error = error
            host.found = name_causes(
                [host.address[0]], str(error), again=error.again, timed_out=error.timed_out
            )

    for host, result in zip(hosts, state.side_by_side(ask, hosts), strict=True):
        if isinstance(result, Exception):
            raise result
        if not host.ips and not host.found:  # its thread still waits
            host.timed_out = True
            said = f"no answer within {state.timeout}"
            host.found = name_causes([host.address[0]], said, timed_out=True)


def _is_literal(host: Host) -> bool:
    name, port = host.address
    if port is None:
        return True
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def look_up(state: State, name: str, deadline: Deadline) -> list[str]:
    """The addresses of a name, at least one; raises LookUpFailed."""
    if state.name_server is not None and "." in name:
        return _ask_name_server(state.name_server, name, deadline)
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.append(error)

    import threading

    # The system's resolver has no deadline: its thread is left to end by itself.
    thread = threading.Thread(target=ask, name="mongokey look-up", daemon=True)
    thread.start()
    thread.join(deadline.left_s)
    if not answers:
        raise LookUpFailed(deadline.timed_out("resolving the host name"), timed_out=True)
    answer = answers[0]
    if isinstance(answer, Exception):
        said = getattr(answer, "strerror", None) or str(answer)
        number = getattr(answer, "errno", None)
        raise LookUpFailed(
            f"the system's resolver said: {said}",
            again=isinstance(answer, OSError) and number not in _NO_NAME,
        )
    return list(dict.fromkeys(str(each[4][0]) for each in answer))


def _ask_name_server(server: tuple[str, int], name: str, deadline: Deadline) -> list[str]:
    import dns.exception
    import dns.resolver

    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [server[0]], server[1]
    found: list[str] = []
    said = ""
    for kind in ("A", "AAAA"):
        # Who has an IPv4 address does not wait long for whether there is another.
        left = min(deadline.left_s, _SECOND_S) if found else deadline.left_s
        try:
            answer = resolver.resolve(name, kind, lifetime=max(left, 0.05), search=False)
            found += [record.to_text() for record in answer]
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer) as error:
            said = str(error)
        except dns.exception.DNSException as error:
            if found:
                break
            if not isinstance(error, dns.exception.Timeout):
                raise LookUpFailed(str(error), again=True) from None
            raise LookUpFailed(
                f"{server[0]}:{server[1]} did not answer the question {kind} {name}",
                timed_out=True,
            ) from None
    if not found:
        raise LookUpFailed(f"{server[0]}:{server[1]} said: {said}")
    return found


def _explain_names(state: State, lost: list[Host]) -> list[Diagnosis]:
    """The causes of names without an address, and whether one is a cluster's after all."""
    found = explain_names(lost)
    if len(lost) == 1 and lost[0].seed:
        found[:0] = _has_srv(state, lost[0].address[0])
    return list(surest_first(found))


def explain_names(lost: list[Host]) -> list[Diagnosis]:
    """Why hosts have no address: one cause for all that share it."""
    kinds: dict[str, list[Host]] = {}
    for host in lost:
        kinds.setdefault(host.found[0].code, []).append(host)
    found: list[Diagnosis] = []
    for code, hosts in kinds.items():
        said = "; ".join(dict.fromkeys(line for host in hosts for line in host.found[0].evidence))
        names = [host.address[0] for host in hosts]
        found += name_causes(
            names,
            said,
            again=code == "DNS-HOST-FAILED",
            timed_out=code == "DNS-HOST-TIMEOUT",
        )
    return found


def _has_srv(state: State, name: str) -> list[Diagnosis]:
    assert state.options is not None
    if name.count(".") < 2:
        return []
    timeout = Timeout(state.probe().left_ns())
    try:
        answer = make_resolver(state)(SRVQuestion(name, timeout=timeout))
    except ConfigurationError:
        return []
    hosts = ", ".join(f"{host}:{port}" for host, port in answer.hosts)
    string = state.options.connection_string
    fix = f"mongodb+srv://{name}"
    if string is not None:
        port = state.options.hosts[0][1]
        fix = str(string).replace("mongodb://", "mongodb+srv://").replace(f"{name}:{port}", name)
    return [
        Diagnosis(
            "DNS-SRV-ONLY",
            CERTAIN,
            f"{name} has no address, but SRV records: it is a cluster's name, which mongodb+srv:// "
            "leads to",
            [f"its SRV records name {hosts}"],
            fix,
        )
    ]


def _servers(state: State) -> dict[str, Any]:
    """Which name servers are asked."""
    if state.name_server is not None:
        return {"name_servers": [f"{state.name_server[0]}:{state.name_server[1]}"]}
    import dns.exception
    import dns.resolver

    try:
        return {
            "name_servers": [str(each) for each in dns.resolver.get_default_resolver().nameservers]
        }
    except (dns.exception.DNSException, OSError):
        return {"name_servers": []}


__all__ = ["LookUpFailed", "check_dns", "explain_names", "look_up", "look_up_all", "make_resolver"]
