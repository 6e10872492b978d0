"""Why a deployment has no server for an operation, from what its servers say of it.

Knows sets' names, members that cannot be reached under the names their set gives them, primaries
and versions. Pure: it is given descriptions and errors, asks nobody, and has no clock. The client's
topology and `mongokey check` ask it alike.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from mongokey._support.address import AddressLike, format_address
from mongokey.diagnostics import CERTAIN, LIKELY, Diagnosis, surest_first
from mongokey.handshake.reply import (
    MAX_WIRE_VERSION,
    MIN_SERVER,
    MIN_WIRE_VERSION,
    MONGOS,
    RS_ARBITER,
    RS_GHOST,
    RS_SECONDARY,
    SERVER_RELEASES,
    STANDALONE,
)
from mongokey.topology.topology_types import (
    REPLICA_SET_NO_PRIMARY,
    REPLICA_SET_WITH_PRIMARY,
)

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.topology.server_description import ServerDescription
    from mongokey.topology.topology_description import TopologyDescription

# What waiting alone does not mend: somebody has to change something first.
_INCURABLE = frozenset(
    {"TCP-REFUSED", "TCP-CONTAINER-LOCALHOST", "DNS-HOST-UNKNOWN", "TOPOLOGY-SET-NAME"}
    | {"TOPOLOGY-NOT-A-SET", "TOPOLOGY-UNINITIATED"}
)
# Causes of a member's not being reached that its name, or the way to it, has.
_NAME_CODES = frozenset({"DNS-HOST-UNKNOWN", "DNS-HOST-FAILED", "DNS-HOST-TIMEOUT"})


def why_removed(
    new: TopologyDescription, server: ServerDescription, option: str | None
) -> tuple[str, Diagnosis]:
    """Why a server that answered is no part of the deployment `new`: in words, and its cause.

    `option` is the replicaSet that was given, None without one.
    """
    wanted = new.replica_set_name or option
    called = server.replica_set_name
    if wanted is not None and called != wanted:
        is_called = f"is called {called!r}" if called else "is not in a set"
        meant = f"replicaSet={wanted!r}" if option else f"the set {wanted!r}"
        return f"the server {is_called}, not {meant}", _other_set(server, wanted, bool(option))
    if server.me is not None and server.me != server.address:
        reason = f"its set knows it as {format_address(server.me)}"
        return reason, _other_names([server.address], [server.me], [])
    reason = (
        f"a {server.server_type_name} server, which is no part of a deployment of type "
        f"{new.topology_type_name}"
    )
    return reason, _no_part(server, new)


def set_name_cause(server: ServerDescription, wanted: str) -> Diagnosis:
    """The cause of a server's not being in the set that replicaSet names."""
    return _other_set(server, wanted, True)


def _other_set(server: ServerDescription, wanted: str, by_option: bool) -> Diagnosis:
    name, called = format_address(server.address), server.replica_set_name
    if called:
        return Diagnosis(
            "TOPOLOGY-SET-NAME",
            CERTAIN,
            f"the set is called {called!r}, not {wanted!r}"
            + (" as replicaSet has it" if by_option else " as other servers say"),
            [f"{name} said setName {called!r}"],
            f"write replicaSet={called}" if by_option else "list members of one set only",
        )
    what = "a router (mongos)" if server.server_type_name == MONGOS else "not in a replica set"
    if server.server_type_name == RS_GHOST:
        return _uninitiated([server.address])
    return Diagnosis(
        "TOPOLOGY-NOT-A-SET",
        CERTAIN,
        f"{name} is {what}, and a member of the set {wanted!r} is asked for",
        [f"{name} said no setName ({server.server_type_name})"],
        "leave replicaSet out" if by_option else "list members of one set only",
    )


def _no_part(server: ServerDescription, new: TopologyDescription) -> Diagnosis:
    name = format_address(server.address)
    alone = server.server_type_name == STANDALONE
    return Diagnosis(
        "TOPOLOGY-MIXED",
        CERTAIN,
        f"{name} is a server of its own (standalone), and is not used where several hosts are given"
        if alone
        else f"{name} is of the type {server.server_type_name}, which does not go together with a "
        f"deployment of the type {new.topology_type_name}",
        [f"{name} said that it is {server.server_type_name}"],
        "name it alone, or name the members of one set (or the routers of one cluster) only",
    )


def _uninitiated(hosts: Collection[AddressLike]) -> Diagnosis:
    names = ", ".join(map(format_address, hosts))
    return Diagnosis(
        "TOPOLOGY-UNINITIATED",
        CERTAIN,
        f"{names} was started as a member of a replica set, and the set was never initiated (or "
        "this member was never added to it)",
        [f"{names} said isreplicaset"],
        "run rs.initiate() there, once",
    )


def _other_names(
    answered: Collection[AddressLike], named: Collection[AddressLike], evidence: Collection[str]
) -> Diagnosis:
    seeds = ", ".join(map(format_address, answered))
    members = ", ".join(map(format_address, named))
    return Diagnosis(
        "TOPOLOGY-MEMBER-NAMES",
        CERTAIN,
        f"the set calls its members {members}, and these names lead to no server from here; the "
        f"client has to use them, though {seeds} answered",
        evidence,
        "make the names known here (DNS, hosts file), or have the set use names that are "
        "(rs.reconfig, horizons); directConnection=true uses the one host that is given, without "
        "the set",
    )


def topology_causes(
    description: TopologyDescription,
    errors: Mapping[AddressLike, BaseException],
    *,
    preference: Any = None,
    removed: Mapping[AddressLike, Diagnosis] | None = None,
) -> tuple[Diagnosis, ...]:
    """Why no server of `description` does for an operation, the surest first.

    :param errors: by address, why a server could not be asked
    :param preference: the read preference; None for a write
    :param removed: by address, the causes of `why_removed`

    Causes that are the errors' own are not among them.
    """
    incompatible = version_causes(description)
    if incompatible:
        return incompatible
    removed = removed or {}
    servers = description.server_descriptions()
    known = [each for each in servers.values() if each.is_server_type_known]
    ghosts = [each.address for each in known if each.server_type_name == RS_GHOST]
    others = [each for each in removed.values() if each.code != "TOPOLOGY-MEMBER-NAMES"]
    found: list[Diagnosis] = list(dict.fromkeys(others))
    if ghosts:
        found.append(_uninitiated(ghosts))
    answered = [
        *(address for address, each in removed.items() if each.code == "TOPOLOGY-MEMBER-NAMES"),
        *(each.address for each in known),
    ]
    of_set = description.topology_type_name in (REPLICA_SET_NO_PRIMARY, REPLICA_SET_WITH_PRIMARY)
    lost = [address for address in servers if address in errors]
    if of_set and answered and lost:
        found.append(_lost_members(answered, lost, errors))
    members = [each for each in known if each.server_type_name != RS_GHOST]
    if description.topology_type_name == REPLICA_SET_NO_PRIMARY and members:
        found.append(_no_primary(members, lost))
    elif of_set and members and preference is not None and not lost:
        found.append(_no_match(preference, members))
    return surest_first(found)


def _lost_members(
    answered: Collection[AddressLike],
    lost: list[AddressLike],
    errors: Mapping[AddressLike, BaseException],
) -> Diagnosis:
    evidence = [str(errors[each]) for each in lost]
    unnamed = [each for each in lost if _is_nameless(errors[each])]
    if unnamed and (len(unnamed) == len(lost) or not set(answered) - set(lost)):
        return _other_names(answered, unnamed, evidence)
    members = ", ".join(map(format_address, lost))
    return Diagnosis(
        "TOPOLOGY-MEMBERS-UNREACHABLE",
        CERTAIN,
        f"{members} cannot be reached from here under the {'name' if len(lost) == 1 else 'names'} "
        "that the set has for its members",
        evidence,
        "see that they run, and that these names and ports lead to them from here; "
        "directConnection=true uses the one host that is given, without the set",
    )


def _is_nameless(error: BaseException) -> bool:
    return any(each.code in _NAME_CODES for each in getattr(error, "diagnoses", ()))


def _no_primary(members: list[ServerDescription], lost: Collection[AddressLike]) -> Diagnosis:
    said = [
        f"{format_address(each.address)} ({each.server_type_name}) says that the primary is "
        + (format_address(each.primary) if each.primary else "none")
        for each in members
    ]
    data = [each for each in members if each.server_type_name in (RS_SECONDARY, RS_ARBITER)]
    known = {each for member in members for each in member.all_hosts}
    minority = 2 * len(data) <= len(known)
    summary = "the set has no primary"
    if minority and lost:
        summary += f": {len(data)} of its {len(known)} members are up, which are no majority"
        fix = "start the others; reads alone go on with readPreference=secondaryPreferred"
    elif any(each.primary for each in members):
        summary = "the set's primary cannot be reached from here"
        fix = "see why, or read from the others with readPreference=secondaryPreferred"
    else:
        fix = (
            "an election takes some seconds: try again, and look at rs.status() if it stays so; "
            "reads alone go on with readPreference=secondaryPreferred"
        )
    return Diagnosis("TOPOLOGY-NO-PRIMARY", CERTAIN, summary, said, fix)


def _no_match(preference: Any, members: list[ServerDescription]) -> Diagnosis:
    said = [
        f"{format_address(each.address)} is {each.server_type_name}, tags {dict(each.tags)}"
        for each in members
    ]
    return Diagnosis(
        "TOPOLOGY-NO-MATCH",
        LIKELY,
        f"no member fits the read preference {preference!r}",
        said,
        "compare readPreference, readPreferenceTags and maxStalenessSeconds with the members",
    )


def version_causes(description: TopologyDescription) -> tuple[Diagnosis, ...]:
    """The servers whose versions this driver does not speak."""
    found = []
    for address, each in description.server_descriptions().items():
        if each.hello is None:
            continue
        name = format_address(address)
        if each.max_wire_version < MIN_WIRE_VERSION:
            release = SERVER_RELEASES.get(each.max_wire_version)
            is_called = f" (MongoDB {release})" if release else ""
            found.append(
                Diagnosis(
                    "TOPOLOGY-SERVER-OLD",
                    CERTAIN,
                    f"{name} is too old: it speaks wire versions up to {each.max_wire_version}"
                    f"{is_called}, and mongokey needs {MIN_WIRE_VERSION} (MongoDB {MIN_SERVER})",
                    [f"{name} said maxWireVersion {each.max_wire_version}"],
                    "upgrade the server; in Azure Cosmos DB the account's server version",
                )
            )
        elif each.min_wire_version > MAX_WIRE_VERSION:
            found.append(
                Diagnosis(
                    "TOPOLOGY-SERVER-NEW",
                    CERTAIN,
                    f"{name} is too new: it speaks wire versions from {each.min_wire_version}, and "
                    f"this mongokey up to {MAX_WIRE_VERSION}",
                    [f"{name} said minWireVersion {each.min_wire_version}"],
                    "upgrade mongokey",
                )
            )
    return tuple(found)


def is_incurable(server: ServerDescription) -> bool:
    """Whether waiting alone does not make a server usable: nobody listens there, its name is not
    known, it is of another set, or its set was never initiated."""
    if server.error is None:
        return server.server_type_name == RS_GHOST
    return any(each.code in _INCURABLE for each in getattr(server.error, "diagnoses", ()))


def hint_of_host(host: str) -> Diagnosis | None:
    """What a host is by its name alone that is no cluster's member."""
    if host.lower().endswith((".query.mongodb.net", ".query.mongodbgov.net")):
        return Diagnosis(
            "TOPOLOGY-ATLAS-SQL",
            LIKELY,
            f"{host} is an endpoint of Atlas SQL or Data Federation, not a cluster",
            [f"the host's name ends in {'.'.join(host.lower().split('.')[-3:])}"],
            "take the cluster's own string: Connect, Drivers, in Atlas",
        )
    return None


__all__ = [
    "hint_of_host",
    "is_incurable",
    "set_name_cause",
    "topology_causes",
    "version_causes",
    "why_removed",
]
