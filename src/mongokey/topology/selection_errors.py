"""What is said where no server does for an operation, and when that is said at once.

Knows descriptions and the errors in them. Must not know pools, threads, or how long one waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mongokey._support.address import format_address
from mongokey._support.lazy import imported_once
from mongokey._support.shared_errors import own_copy
from mongokey.diagnostics import surest_first
from mongokey.errors import (
    ConfigurationError,
    MongoError,
    OperationFailure,
    ProtocolError,
    ServerSelectionTimeoutError,
    TLSError,
)
from mongokey.handshake.reply import RS_ARBITER, RS_GHOST, RS_PRIMARY, RS_SECONDARY
from mongokey.topology.server_description import ServerDescription
from mongokey.topology.topology_types import UNKNOWN

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey._support.deadline import Deadline
    from mongokey.diagnostics import Diagnosis
    from mongokey.topology.selected_servers import ServerCriteria
    from mongokey.topology.topology_description import TopologyDescription

    # Servers that answered and are no part of the deployment: why, in words and as a cause.
    Removed = Mapping[AddressLike, tuple[str, Diagnosis]]


def raise_if_hopeless(
    description: TopologyDescription, checked_ns: Mapping[AddressLike, int], since_ns: int
) -> None:
    """Certificates do not get better by asking again: told at once, if every server was checked
    after `since_ns` and none can become usable. `checked_ns` says when each was last checked."""
    servers = description.server_descriptions()
    if not servers:
        return
    errors: dict[AddressLike, MongoError] = {}
    for address, server in servers.items():
        error = server.error
        if checked_ns.get(address, 0) < since_ns or not _is_permanent(error):
            return
        assert isinstance(error, MongoError), "`_is_permanent` looked at its class"
        errors[address] = error
    found = list(errors.values())
    first = found[0]
    if len(found) == 1 or isinstance(first, ConfigurationError | OperationFailure):
        raise own_copy(first) from first.__cause__
    text = "; ".join(dict.fromkeys(str(each) for each in found))
    if not any(isinstance(each, TLSError) for each in found):
        raise ProtocolError(text, True)
    failed = TLSError(text, permanent=True)
    failed.diagnoses = _diagnoses_of(found)
    failed.errors = failed.details = dict(errors)
    raise failed


def is_incurable(
    description: TopologyDescription,
    checked_ns: Mapping[AddressLike, int],
    since_ns: int,
    removed: Removed,
) -> bool:
    """Whether every server was checked after `since_ns`, and each has failed for a reason that
    waiting alone does not mend."""
    servers = description.server_descriptions()
    cannot_mend = topology_causes().is_incurable
    return bool(servers or removed) and all(
        checked_ns.get(address, 0) >= since_ns and (_is_permanent(each.error) or cannot_mend(each))
        for address, each in servers.items()
    )


def nothing_found(
    description: TopologyDescription,
    criteria: ServerCriteria | None,
    within: str,
    removed: Removed,
) -> ServerSelectionTimeoutError:
    """The error of a selection that found none; `within` says in which time, or why at once."""
    servers = description.server_descriptions()
    errors = {address: each.error for address, each in servers.items() if each.error is not None}
    wanted = (
        "that takes writes"
        if criteria is None
        else f"for reads with the read preference {criteria.preference!r}"
    )
    lines = [f"no server {wanted} was found {within}"]
    silent = []
    for address, each in servers.items():
        state = state_of(each)
        if state is None:
            silent.append(format_address(address))
            continue
        name = format_address(address)
        lines.append(state if state.startswith(name) else f"{name}: {state}")
    lines += [f"{format_address(address)}: {why}" for address, (why, _) in removed.items()]
    if silent:
        lines.append(f"no answer yet from {', '.join(silent)}")
    if not servers and not removed:
        lines.append("the deployment has no servers")
    causes = topology_causes().topology_causes(
        description,
        errors,
        preference=None if criteria is None else criteria.preference,
        removed={address: cause for address, (_, cause) in removed.items()},
    )
    lines += [f"[{each.code}, {each.confidence}] {each.text}" for each in causes]
    failed = ServerSelectionTimeoutError("; ".join(lines), errors=errors)
    own = _diagnoses_of(errors.values())
    failed.diagnoses = surest_first(dict.fromkeys((*causes, *own)))
    return failed


def state_of(server: ServerDescription) -> str | None:
    """Why operations do not go to a server, None where it has not answered yet."""
    if server.error is not None:
        return str(server.error) or repr(server.error)
    kind = server.server_type_name
    if kind == UNKNOWN:
        return None
    if kind == RS_GHOST:
        return "a replica set member that was never initiated: run rs.initiate()"
    if kind == RS_ARBITER:
        return "an arbiter: it holds no data"
    if kind == RS_PRIMARY:
        return f"the primary of set {server.replica_set_name!r}"
    of_set = f" of set {server.replica_set_name!r}" if server.replica_set_name else ""
    if kind == RS_SECONDARY or of_set:
        primary = format_address(server.primary) if server.primary else "none"
        return f"not writable: a member{of_set} ({kind}) whose primary is {primary}"
    return kind


def dns_is_silent(deadline: Deadline) -> ServerSelectionTimeoutError:
    """The error of who waited for what DNS says of an SRV name."""
    return ServerSelectionTimeoutError(
        f"no server found within {deadline}: DNS has not yet said what the servers are"
    )


def unavailable(
    server: ServerDescription, address: AddressLike, deadline: Deadline
) -> ServerSelectionTimeoutError:
    """The error of who needs this server, and no other, and waited for it."""
    error = server.error
    failed = ServerSelectionTimeoutError(
        f"{format_address(address)}, which has the cursor, could not be used "
        f"within {deadline}: {state_of(server) or 'no answer yet'}",
        errors={} if error is None else {address: error},
    )
    failed.diagnoses = _diagnoses_of(() if error is None else (error,))
    return failed


def topology_causes() -> Any:
    """What knows why no server does; late, as only failures need it."""
    return imported_once("mongokey.topology.causes")


def _is_permanent(error: BaseException | None) -> bool:
    """Whether waiting alone cannot make a server usable that `error` came from."""
    if isinstance(error, TLSError | ProtocolError):
        return error.permanent
    return isinstance(error, ConfigurationError | OperationFailure)


def _diagnoses_of(errors: Iterable[BaseException]) -> Any:
    return surest_first(
        dict.fromkeys(each for error in errors for each in getattr(error, "diagnoses", ()))
    )


__all__ = [
    "dns_is_silent",
    "is_incurable",
    "nothing_found",
    "raise_if_hopeless",
    "state_of",
    "topology_causes",
    "unavailable",
]
