"""Step `hello`: what each server is, by its own word, and whether each member can be reached.

Knows how answers become a topology (the client's own rules), how members that were not named are
reached in their turn, and which server a login then goes to. Must not know logins.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from mongokey._support.address import AddressLike, format_address
from mongokey.cli.check.dns_step import explain_names, look_up_all
from mongokey.cli.check.reach_step import (
    connect_all,
    explain_tcp,
    greet_all,
    hints_of_hosts,
)
from mongokey.cli.check.report import WARNED, Found, Step
from mongokey.cli.check.state import Host, State, StepFailed
from mongokey.diagnostics import CERTAIN, LIKELY, POSSIBLE, Diagnosis, surest_first
from mongokey.errors import AutoReconnect, ConfigurationError, MongoError
from mongokey.handshake.reply import RS_ARBITER, SERVER_RELEASES, HelloReply
from mongokey.topology.causes import topology_causes, version_causes, why_removed
from mongokey.topology.selection import candidates
from mongokey.topology.server_description import ServerDescription
from mongokey.topology.topology_description import (
    TopologyDescription,
    initial_topology,
    updated_topology_description,
)
from mongokey.topology.topology_types import LOAD_BALANCED

if TYPE_CHECKING:
    from mongokey.client_options import ClientOptions

# Between two looks, where failFast=false waits for what may still come.
_PAUSE_S = 0.5
_MOST_MEMBERS = 100


class _Seen:
    """One look at the deployment."""

    def __init__(self, options: ClientOptions) -> None:
        self.topology = initial_topology(
            options.hosts,
            direct_connection=bool(options.direct_connection),
            replica_set=options.replica_set_name,
            load_balanced=bool(options.load_balanced),
        )
        self.removed: dict[AddressLike, Diagnosis] = {}
        self.errors: dict[AddressLike, BaseException] = {}


def check_hello(state: State, step: Step) -> None:
    """Make the topology of what the servers say, reach every member, and choose a server."""
    while True:
        try:
            _look(state, step)
            return
        except StepFailed as failed:
            if state.fail_fast or state.deadline.left_s <= _PAUSE_S:
                failed.timed_out = failed.timed_out or not state.fail_fast
                raise
        time.sleep(_PAUSE_S)
        _again(state, step)


def _again(state: State, step: Step) -> None:
    """Ask all servers once more."""
    for host in list(state.hosts.values()):
        host.close()
        if not host.seed:
            del state.hosts[host.address]
            continue
        host.error = host.connection = host.hello = host.tls = None
        host.found, host.tries, host.timed_out = (), {}, False
    hosts = [host for host in state.hosts.values() if host.ips]
    connect_all(state, hosts)
    greet_all(state, [host for host in hosts if host.reached])
    step.facts.clear()
    step.lines.clear()


def _look(state: State, step: Step) -> None:
    options = state.options
    assert options is not None
    seen = _Seen(options)
    named: set[AddressLike] = set()
    while True:
        for host in state.hosts.values():
            if host.address not in named:
                named.add(host.address)
                _take_in(seen, options, host)
        new = [each for each in seen.topology.server_descriptions() if each not in state.hosts]
        # A set has 50 members at most; more are nobody's, and each would be connected to.
        new = new[: max(_MOST_MEMBERS - len(state.hosts), 0)]
        if not new or seen.topology.topology_type_name == LOAD_BALANCED:
            break
        hosts = [Host(address, seed=False) for address in new]
        state.hosts.update({host.address: host for host in hosts})
        _reach(state, hosts)
    state.topology = seen.topology
    _tell(state, seen, step)
    _judge(state, seen, step)


def _reach(state: State, hosts: list[Host]) -> None:
    """Members that were not named: from their names to their hello."""
    look_up_all(state, hosts)
    connect_all(state, [host for host in hosts if host.ips])
    greet_all(state, [host for host in hosts if host.reached])


def _take_in(seen: _Seen, options: ClientOptions, host: Host) -> None:
    before = seen.topology
    error = _error_of(host)
    if error is not None:
        seen.errors[host.address] = error
    description = ServerDescription(
        host.address,
        host.hello,
        host.hello_ns / 1e9 if host.hello is not None else None,
        error,
        last_update_time=time.monotonic(),
    )
    if before.topology_type_name == LOAD_BALANCED:
        return
    seen.topology = updated_topology_description(before, description)
    if host.hello is not None and seen.topology.get(host.address) is None:
        _, seen.removed[host.address] = why_removed(
            seen.topology, description, options.replica_set_name
        )
    now = seen.topology.get(host.address)
    if now is not None and now.error is not None and host.address not in seen.errors:
        seen.errors[host.address] = now.error


def _error_of(host: Host) -> BaseException | None:
    """Why a host is not known; the error of a look-up or a connection carries its diagnoses."""
    if host.hello is not None:
        return None
    if isinstance(host.error, MongoError):
        return host.error
    found = host.found or explain_tcp([host])
    text = "; ".join(each.summary for each in found) or "it was not reached"
    error = AutoReconnect(f"{host.name}: {text}")
    error.diagnoses = tuple(found)
    return error


def _tell(state: State, seen: _Seen, step: Step) -> None:
    topology = seen.topology
    members = []
    for host in state.hosts.values():
        hello = host.hello
        fact: dict[str, Any] = {
            "host": host.name,
            "named": "URI or SRV" if host.seed else "by its set",
            "address": host.reached,
            "type": hello.server_type if hello is not None else "Unknown",
            "ms": round(host.hello_ns / 1e6, 3) if hello is not None else None,
            "error": None,
        }
        if hello is None:
            fact["error"] = str(_error_of(host))
            step.lines.append(f"{host.name}: {fact['error']}")
        else:
            release = _release(hello.max_wire_version)
            text = f"{host.name}: {hello.server_type}, {release}"
            if hello.set_name:
                text += f", set {hello.set_name}"
            if hello.me is not None and hello.me != host.address:
                text += f", its set calls it {format_address(hello.me)}"
            step.lines.append(text)
            fact["max_wire_version"] = hello.max_wire_version
            fact["me"] = None if hello.me is None else format_address(hello.me)
            fact["mechanisms"] = hello.sasl_supported_mechs
            fact["compression"] = _compression(state, host, hello, step)
        members.append(fact)
    step.facts["topology"] = topology.topology_type_name
    step.facts["set"] = topology.replica_set_name
    step.facts["members"] = members
    step.facts["version"] = None
    step.facts["modules"] = None


def _compression(state: State, host: Host, hello: HelloReply, step: Step) -> dict[str, Any] | None:
    """The compressors that were offered, those that the server has too, and the one that is used;
    None where none was offered."""
    assert state.settings is not None
    ours = state.settings.compression
    if ours is None:
        return None
    agreed = ours.common(hello.compression)
    used = None if agreed is None else agreed.names[0]
    offered = ", ".join(ours.names)
    step.lines.append(
        f"{host.name}: compression {used}, of {offered} that were offered"
        if used
        else f"{host.name}: no compression, as the server has none of {offered}"
    )
    return {"offered": list(ours.names), "server": list(hello.compression), "used": used}


def _release(wire_version: int) -> str:
    known = [number for number in SERVER_RELEASES if number <= wire_version]
    release = SERVER_RELEASES[max(known)] if known else "?"
    return f"MongoDB {release} or newer" if wire_version > 25 else f"like MongoDB {release}"


def _judge(state: State, seen: _Seen, step: Step) -> None:
    options = state.options
    assert options is not None
    hosts = list(state.hosts.values())
    greeted = [host for host in hosts if host.hello is not None]
    if not greeted:
        _raise_silent(state, seen, hosts)
    preference = options.read_preference
    incompatible = version_causes(seen.topology)
    fitting: list[ServerDescription] = []
    causes: tuple[Diagnosis, ...] = incompatible
    if not incompatible:
        try:
            fitting = candidates(seen.topology, preference)
        except ConfigurationError as error:
            causes = (Diagnosis("OPTION-INVALID", CERTAIN, str(error)),)
        else:
            causes = topology_causes(
                seen.topology, seen.errors, preference=preference, removed=seen.removed
            )
    if seen.topology.topology_type_name == LOAD_BALANCED:
        fitting = _balanced(state, seen)
    facts = {**state.facts(), "topology": seen.topology.topology_type_name}
    chosen = [
        state.hosts[each.address] for each in fitting if state.hosts[each.address].hello is not None
    ]
    if not chosen:
        found = list(dict.fromkeys([*surest_first(causes), *_own_causes(hosts, seen)]))
        if not found:
            found = [
                Diagnosis(
                    "TOPOLOGY-NO-SERVER",
                    POSSIBLE,
                    "no server of the deployment does for reads with the read preference "
                    f"{preference!r}",
                )
            ]
        raise StepFailed([Found(each, facts) for each in found])
    if state.all_hosts:
        also = [host for host in greeted if _has_data(host) and host not in chosen]
        chosen = [*chosen, *also]
    else:
        chosen = chosen[:1]
    state.chosen = chosen
    _ask_version(state, chosen[0], step)
    # What no member fits is said where none does.
    causes = tuple(each for each in causes if each.code != "TOPOLOGY-NO-MATCH")
    state.warn(*causes, facts=facts)
    if causes or len(greeted) < len(hosts):
        step.status = WARNED


def _own_causes(hosts: list[Host], seen: _Seen) -> list[Diagnosis]:
    """Why hosts could not be asked: one cause that several share is told once."""
    unnamed = [host for host in hosts if host.hello is None and not host.ips]
    lost = [host for host in hosts if host.hello is None and host.ips and host.reached is None]
    found = [*explain_names(unnamed), *explain_tcp(lost)]
    of_all = {each.code for each in found}
    for host in hosts:
        if host not in unnamed and host not in lost:
            error = seen.errors.get(host.address)
            for each in (*host.found, *getattr(error, "diagnoses", ())):
                if each.code not in of_all:
                    of_all.add(each.code)
                    found.append(each)
    return found


def _has_data(host: Host) -> bool:
    return host.hello is not None and host.hello.is_readable and not host.hello.is_arbiter


def _balanced(state: State, seen: _Seen) -> list[ServerDescription]:
    found = []
    for host in state.hosts.values():
        if host.hello is None:
            continue
        if host.hello.service_id is None:
            raise StepFailed(
                [
                    Found(
                        Diagnosis(
                            "TOPOLOGY-NOT-BALANCED",
                            CERTAIN,
                            f"{host.name} is no load balancer, or what is behind it was not told "
                            "that there is one",
                            ["hello was answered without a serviceId"],
                            "remove loadBalanced=true",
                        ),
                        state.facts(host),
                    )
                ]
            )
        found.append(seen.topology.server_descriptions()[host.address])
    return found


def _raise_silent(state: State, seen: _Seen, hosts: list[Host]) -> None:
    """No server answered hello."""
    facts = {**state.facts(), "hosts": [host.name for host in hosts]}
    found = [*hints_of_hosts(state), *(each for host in hosts for each in host.found)]
    errors = dict.fromkeys(str(_error_of(host)) for host in hosts)
    timed_out = all(host.timed_out for host in hosts)
    if not [each for each in found if each.confidence != POSSIBLE]:
        names = ", ".join(host.name for host in hosts)
        what = "did not answer hello" if timed_out else "did not answer hello as MongoDB does"
        found.append(
            Diagnosis(
                "TOPOLOGY-SILENT" if timed_out else "TOPOLOGY-NO-ANSWER",
                LIKELY,
                f"{names} took the connection and {what}",
                list(errors),
                "is it a MongoDB server's port, and is that server up? A proxy, port forward or "
                "tunnel takes connections even when nothing is behind it",
            )
        )
    raise StepFailed(
        [Found(each, facts) for each in surest_first(dict.fromkeys(found))], timed_out=timed_out
    )


def _ask_version(state: State, host: Host, step: Step) -> None:
    """The release and the modules, where the server tells them before a login."""
    assert host.connection is not None
    try:
        reply = host.connection.command("admin", {"buildInfo": 1}, state.limit())
    except MongoError as error:
        # The connection is closed; a login needs another.
        host.error = None
        host.connection = None
        step.facts["version_error"] = str(error)
        return
    if reply.get("ok"):
        step.facts["version"] = str(reply.get("version"))
        modules = reply.get("modules") or []
        step.facts["modules"] = list(map(str, modules)) if isinstance(modules, list) else None
        kind = "Enterprise" if "enterprise" in (step.facts["modules"] or ()) else None
        step.lines.append(
            f"{host.name}: version {step.facts['version']}" + (f" {kind}" if kind else "")
        )
    mechanisms = host.hello.sasl_supported_mechs if host.hello is not None else None
    if mechanisms:
        step.lines.append(f"mechanisms for this user: {', '.join(map(str, mechanisms))}")


def topology_in_words(topology: TopologyDescription) -> str:
    """The deployment in a few words."""
    kind, count = topology.topology_type_name, len(topology.server_descriptions())
    arbiters = [
        each
        for each in topology.server_descriptions().values()
        if each.server_type_name == RS_ARBITER
    ]
    text = f"{kind}, {count} server{'s' if count != 1 else ''}"
    return f"{text}, {len(arbiters)} of them arbiters" if arbiters else text


__all__ = ["check_hello", "topology_in_words"]
