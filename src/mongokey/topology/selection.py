"""Which servers an operation may go to, and which of those it goes to. Pure rules.

Knows server-selection.md and max-staleness.md: modes, tag sets, staleness, deprioritized servers,
the latency window, the less loaded of two. Must not know threads, pools, or how long one waits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from mongokey.errors import ConfigurationError
from mongokey.handshake.reply import MONGOS, RS_PRIMARY, RS_SECONDARY
from mongokey.read_preferences import (
    NEAREST,
    PRIMARY,
    PRIMARY_PREFERRED,
    SECONDARY_PREFERRED,
)
from mongokey.topology.server_description import UNKNOWN, ServerDescription
from mongokey.topology.topology_types import LOAD_BALANCED, SHARDED, SINGLE

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    import random

    from mongokey._support.address import AddressLike
    from mongokey.read_preferences import _ServerMode
    from mongokey.topology.topology_description import TopologyDescription

    Servers = list[ServerDescription]
    ServerSelector = Callable[[Servers], Sequence[ServerDescription]]

# max-staleness.md: an idle primary writes a no-op so often; and the least staleness that can be
# asked for.
IDLE_WRITE_PERIOD_S = 10
SMALLEST_MAX_STALENESS_S = 90


def suitable_servers(
    topology: TopologyDescription,
    preference: _ServerMode | None,
    *,
    heartbeat_s: float = 10.0,
    deprioritized: Collection[AddressLike] = (),
    server_selector: ServerSelector | None = None,
    local_threshold_s: float = 0.015,
) -> Servers:
    """The servers that an operation may go to, those out of the latency window left out.

    :param preference: the read preference; None for a write
    :param heartbeat_s: seconds between two checks of a server (`heartbeatFrequencyMS`)
    :param deprioritized: addresses to avoid while there are others (a retry avoids the first one)
    :param server_selector: the application's own choice among the suitable ones
    :param local_threshold_s: how much slower than the nearest one a server may be

    Empty when there is none. Raises ConfigurationError for a max_staleness that cannot be kept.
    """
    found = candidates(topology, preference, heartbeat_s=heartbeat_s, deprioritized=deprioritized)
    if len(found) < 2 and server_selector is None:
        return found
    # Never asked about nothing: one that takes the best of its servers would raise.
    if (
        server_selector is not None
        and found
        and topology.topology_type_name not in (SINGLE, LOAD_BALANCED)
    ):
        chosen = {each.address for each in server_selector(list(found))}
        found = [each for each in found if each.address in chosen]
    return in_latency_window(found, local_threshold_s)


def candidates(
    topology: TopologyDescription,
    preference: _ServerMode | None,
    *,
    heartbeat_s: float = 10.0,
    deprioritized: Collection[AddressLike] = (),
) -> Servers:
    """The servers that the topology's type, the mode, staleness and tags leave."""
    kind = topology.topology_type_name
    if preference is not None:
        _check_max_staleness(preference, topology, heartbeat_s)
    if kind == UNKNOWN:
        return []
    servers = list(topology.server_descriptions().values())
    if kind in (SINGLE, LOAD_BALANCED):
        return [each for each in servers if each.is_server_type_known]
    if deprioritized:
        others = [each for each in servers if each.address not in deprioritized]
        found = _fitting(topology, others, preference, heartbeat_s)
        if found:
            return found
    return _fitting(topology, servers, preference, heartbeat_s)


def _fitting(
    topology: TopologyDescription,
    servers: Servers,
    preference: _ServerMode | None,
    heartbeat_s: float,
) -> Servers:
    if topology.topology_type_name == SHARDED:
        return [each for each in servers if each.server_type_name == MONGOS]
    primaries = [each for each in servers if each.server_type_name == RS_PRIMARY]
    mode = PRIMARY if preference is None else preference.mode
    if preference is None or mode == PRIMARY:
        return primaries
    if mode == PRIMARY_PREFERRED and primaries:
        return primaries
    members = [each for each in servers if each.server_type_name == RS_SECONDARY]
    if mode == NEAREST:
        members = primaries + members
    found = _with_tags(_fresh(topology, members, preference, heartbeat_s), preference)
    return primaries if mode == SECONDARY_PREFERRED and not found else found


def _check_max_staleness(
    preference: _ServerMode, topology: TopologyDescription, heartbeat_s: float
) -> None:
    most = preference.max_staleness
    if most == -1 or not topology.topology_type_name.startswith("ReplicaSet"):
        return
    if most < heartbeat_s + IDLE_WRITE_PERIOD_S:
        raise ConfigurationError(
            f"maxStalenessSeconds={most} is less than heartbeatFrequencyMS and "
            f"{IDLE_WRITE_PERIOD_S} seconds together ({heartbeat_s + IDLE_WRITE_PERIOD_S:g} "
            "seconds), so that no secondary could be known to be fresh enough"
        )
    if most < SMALLEST_MAX_STALENESS_S:
        raise ConfigurationError(
            f"maxStalenessSeconds={most} is less than {SMALLEST_MAX_STALENESS_S}, the least that "
            "can be asked for"
        )


def _fresh(
    topology: TopologyDescription, servers: Servers, preference: _ServerMode, heartbeat_s: float
) -> Servers:
    """Those whose estimated staleness is small enough; a primary has none."""
    most = preference.max_staleness
    if most == -1:
        return servers
    primary = topology.primary()
    newest = max(
        (
            each.last_write_date or 0.0
            for each in topology.server_descriptions().values()
            if each.server_type_name == RS_SECONDARY
        ),
        default=0.0,
    )

    def staleness(server: ServerDescription) -> float:
        if server.server_type_name != RS_SECONDARY:
            return 0.0
        written = server.last_write_date or 0.0
        if primary is None:
            return newest - written + heartbeat_s
        behind = server.last_update_time - written
        return behind - (primary.last_update_time - (primary.last_write_date or 0.0)) + heartbeat_s

    return [each for each in servers if staleness(each) <= most]


def _with_tags(servers: Servers, preference: _ServerMode) -> Servers:
    for tags in preference.tag_sets:
        found = [each for each in servers if tags.items() <= dict(each.tags).items()]
        if found:
            return found
    return []


def in_latency_window(servers: Servers, local_threshold_s: float) -> Servers:
    """Those no more than `local_threshold_s` slower than the nearest one."""
    if len(servers) < 2:
        return servers
    most = min(each.round_trip_time or 0.0 for each in servers) + local_threshold_s
    return [each for each in servers if (each.round_trip_time or 0.0) <= most]


def choose(
    servers: Sequence[ServerDescription],
    operation_count: Callable[[AddressLike], int],
    rng: random.Random,
) -> ServerDescription:
    """One of `servers` (at least one): of two at random the one with fewer operations under way.

    :param operation_count: how many operations a server's pool has under way
    :param rng: where chance comes from
    """
    if len(servers) == 1:
        return servers[0]
    first, second = rng.sample(list(servers), 2)
    return first if operation_count(first.address) <= operation_count(second.address) else second


__all__ = ["candidates", "choose", "in_latency_window", "suitable_servers"]
