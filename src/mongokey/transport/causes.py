"""Why hosts cannot be reached: one diagnosis for each cause, however many hosts share it.

Knows what operating systems say of a look-up or a connection that failed, in the words that errors
and `mongokey check` have for it. Must not know sockets, nor ask anybody.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from mongokey._support.address import AddressLike, format_address
from mongokey._support.container import find_mark
from mongokey._support.hosted_services import access_list_of, is_hosted
from mongokey.diagnostics import CERTAIN, LIKELY, POSSIBLE, Diagnosis, surest_first

#: What became of an attempt to connect to an address of which nobody listens.
REFUSED = "refused"
_NO_WAY = ("no route to host", "network is unreachable", "host is down", "host is unreachable")
# EAI_AGAIN and EAI_FAIL, in the words of glibc, macOS and musl.
_TRY_AGAIN = ("temporary failure", "non-recoverable failure", "try again")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

#: What became of each address of each host, in words: "refused", "timed out after ...", ...
Attempts = Mapping[AddressLike, Mapping[str, str]]


def connection_causes(attempts: Attempts) -> tuple[Diagnosis, ...]:
    """Why none of the addresses of these hosts could be connected to, the surest first."""
    by_kind: dict[str, dict[AddressLike, list[str]]] = {}
    mixed = False
    for address, reasons in attempts.items():
        kinds = {_kind_of(reason) for reason in reasons.values()}
        mixed = mixed or len(kinds) > 1
        # A refusal says more of a host than the silence of its other addresses.
        for kind in ("refused", "no way", "silent", "other"):
            if kind in kinds:
                said = [f"connection to {text} {reason}" for text, reason in reasons.items()]
                by_kind.setdefault(kind, {})[address] = said
                break
    found: list[Diagnosis] = []
    for kind, hosts in by_kind.items():
        evidence = [line for lines in hosts.values() for line in lines]
        found += _RULES[kind](list(hosts), evidence)
    if mixed:
        # Which address was to be the right one is not known.
        found = [
            each.replace(confidence=LIKELY) if each.confidence == CERTAIN else each
            for each in found
        ]
    return surest_first(found)


def _kind_of(reason: str) -> str:
    if reason == REFUSED:
        return "refused"
    if any(words in reason.lower() for words in _NO_WAY):
        return "no way"
    return "silent" if reason.startswith(("timed out", "was not tried")) else "other"


def _refused(hosts: list[AddressLike], evidence: Collection[str]) -> list[Diagnosis]:
    names = _listed(hosts)
    mark = find_mark()
    if mark is not None and all(host in _LOOPBACK for host, _ in hosts):
        port = hosts[0][1]
        return [
            Diagnosis(
                "TCP-CONTAINER-LOCALHOST",
                LIKELY,
                f"nobody listens at {names}; this process runs in a container, where localhost is "
                "the container itself",
                [*evidence, mark],
                "name the server as containers reach it: its service's name in compose, or "
                f"host.docker.internal:{port} for a server on the host, which must listen there "
                "too (mongod --bind_ip)",
            ),
            _nobody(names, evidence, hosts),
        ]
    return [_nobody(names, evidence, hosts)]


def _nobody(names: str, evidence: Collection[str], hosts: list[AddressLike]) -> Diagnosis:
    fix = "start the server, or correct host and port"
    if not all(host in _LOOPBACK or port is None for host, port in hosts):
        fix += "; a server that listens on its own 127.0.0.1 only needs --bind_ip"
    return Diagnosis(
        "TCP-REFUSED",
        CERTAIN,
        f"nobody listens at {names}: the connection was refused",
        evidence,
        fix,
    )


def _no_way(hosts: list[AddressLike], evidence: Collection[str]) -> list[Diagnosis]:
    return [
        Diagnosis(
            "TCP-UNREACHABLE",
            CERTAIN,
            f"this machine's network has no way to {_listed(hosts)}",
            evidence,
            "check that the network, or the VPN, is up, and routes and firewalls on the way",
        )
    ]


def _silent(hosts: list[AddressLike], evidence: Collection[str]) -> list[Diagnosis]:
    names = _listed(hosts)
    fix = "have a firewall or security group between here and there let the port through"
    lists = access_list_of(hosts[0][0])
    if lists is not None:
        fix = f"see that the cluster is not paused, and that this machine is in {lists}"
    elif is_hosted(hosts[0][0]):
        fix = "see that the cluster runs, and that its network rules let this machine in"
    return [
        Diagnosis(
            "TCP-TIMEOUT",
            LIKELY,
            f"{names} did not answer at all, as where a firewall or an access list drops packets, "
            "or the server is off",
            evidence,
            fix,
        )
    ]


def _other(hosts: list[AddressLike], evidence: Collection[str]) -> list[Diagnosis]:
    return [
        Diagnosis(
            "TCP-FAILED",
            POSSIBLE,
            f"{_listed(hosts)} could not be connected to; the system's words say why",
            evidence,
        )
    ]


_RULES = {"refused": _refused, "no way": _no_way, "silent": _silent, "other": _other}


def causes_of_peer(peer: str, reasons: Mapping[str, str]) -> tuple[Diagnosis, ...]:
    """Why one host, ``host:port`` or the path of a Unix socket, could not be connected to:
    `reasons` by its addresses."""
    if "/" in peer:
        return connection_causes({(peer, None): reasons})
    host, _, port = peer.rpartition(":")
    return connection_causes({(host.strip("[]"), int(port)): reasons})


def name_causes(
    hosts: Collection[str], said: str, *, again: bool = False, timed_out: bool = False
) -> tuple[Diagnosis, ...]:
    """Why host names have no address: `said` are the resolver's words; `again` says that it could
    not find out, `timed_out` that it did not answer."""
    names = ", ".join(hosts)
    again = again or any(words in said.lower() for words in _TRY_AGAIN)
    if timed_out or again:
        summary = f"no name server could tell the address of {names}"
        fix = "check this machine's network, VPN and name servers"
        code = "DNS-HOST-TIMEOUT" if timed_out else "DNS-HOST-FAILED"
        return (Diagnosis(code, CERTAIN, summary, [said], fix),)
    return (
        Diagnosis(
            "DNS-HOST-UNKNOWN",
            CERTAIN,
            f"{names} {'has' if len(hosts) == 1 else 'have'} no address here",
            [said],
            "is it spelt right, and known on this machine? A name of a container or of a cluster's "
            "inside is known only there; the name of a cluster (without a server's number) needs "
            "mongodb+srv://",
        ),
    )


def _listed(hosts: Collection[AddressLike]) -> str:
    shown = [format_address(each) for each in hosts]
    return ", ".join(shown) if len(shown) < 3 else f"{', '.join(shown[:-1])} and {shown[-1]}"


__all__ = ["REFUSED", "Attempts", "causes_of_peer", "connection_causes", "name_causes"]
