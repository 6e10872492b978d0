"""What is known of a deployment, and how a server's new description changes that. Pure values.

Knows the update rules of server-discovery-and-monitoring.md ("Updating the TopologyDescription").
Must not know sockets, clocks, threads or pools.
"""

from __future__ import annotations

from collections.abc import Iterable, KeysView, Mapping

from mongokey import __version__
from mongokey._support.address import AddressLike, format_address
from mongokey._support.lazy import imported_once
from mongokey._support.reprs import with_safe_repr
from mongokey.errors import ConfigurationError, NotPrimaryError
from mongokey.handshake.reply import (
    LOAD_BALANCER,
    MAX_WIRE_VERSION,
    MIN_SERVER,
    MIN_WIRE_VERSION,
    MONGOS,
    RS_GHOST,
    RS_PRIMARY,
    STANDALONE,
)
from mongokey.read_preferences import ReadPreference
from mongokey.topology.selection import candidates
from mongokey.topology.server_description import (
    MEMBER_TYPES,
    READABLE_TYPES,
    ServerDescription,
    is_older,
)
from mongokey.topology.topology_types import (
    LOAD_BALANCED,
    REPLICA_SET_NO_PRIMARY,
    REPLICA_SET_WITH_PRIMARY,
    SHARDED,
    SINGLE,
    TOPOLOGY_TYPE_NAMES,
    UNKNOWN,
)

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.bson.objectid import ObjectId
    from mongokey.read_preferences import _ServerMode

_NUMBERS = {name: number for number, name in enumerate(TOPOLOGY_TYPE_NAMES)}

# The release since which an election's id goes before the version of the set's configuration.
_ELECTION_ID_FIRST = 17  # MongoDB 6.0


@with_safe_repr
class TopologyDescription:
    """A deployment as it is known at one moment. Immutable.

    Made by `initial_topology` and `updated_topology_description`.
    """

    __slots__ = (
        "_compatibility_error",
        "_logical_session_timeout_minutes",
        "_max_election_id",
        "_max_set_version",
        "_replica_set_name",
        "_servers",
        "_single_seed",
        "_topology_type_name",
    )

    def __init__(
        self,
        topology_type_name: str,
        servers: Mapping[AddressLike, ServerDescription],
        replica_set_name: str | None = None,
        max_set_version: int | None = None,
        max_election_id: ObjectId | None = None,
        single_seed: bool = False,
    ) -> None:
        self._topology_type_name = topology_type_name
        self._servers = dict(servers)
        self._replica_set_name = replica_set_name
        self._max_set_version = max_set_version
        self._max_election_id = max_election_id
        # A standalone is used only where it is all that the user named.
        self._single_seed = single_seed
        self._compatibility_error = _compatibility_error(self._servers.values())
        self._logical_session_timeout_minutes = _session_timeout(self._servers.values())

    @property
    def topology_type(self) -> int:
        """PyMongo's number of the type (`mongokey.topology_description.TOPOLOGY_TYPE`)."""
        return _NUMBERS[self._topology_type_name]

    @property
    def topology_type_name(self) -> str:
        """The type by the specification's name, such as ``ReplicaSetWithPrimary``."""
        return self._topology_type_name

    @property
    def replica_set_name(self) -> str | None:
        """The set's name, from the user or from its first member."""
        return self._replica_set_name

    @property
    def max_set_version(self) -> int | None:
        """The newest version of the set's configuration that a primary has told."""
        return self._max_set_version

    @property
    def max_election_id(self) -> ObjectId | None:
        """The latest election that a primary has told of."""
        return self._max_election_id

    @property
    def logical_session_timeout_minutes(self) -> int | None:
        """The shortest session timeout of all members with data; None if one has no sessions."""
        return self._logical_session_timeout_minutes

    @property
    def compatibility_error(self) -> str | None:
        """Why a server's version does not fit this driver, or None."""
        return self._compatibility_error

    @property
    def is_compatible(self) -> bool:
        """Whether every known server speaks a wire version that this driver speaks."""
        return self._compatibility_error is None

    def check_compatible(self) -> None:
        """Raise `ConfigurationError` if some server's version does not fit this driver."""
        if self._compatibility_error is not None:
            raise ConfigurationError(self._compatibility_error)

    def has_server(self, address: AddressLike) -> bool:
        """Whether a server has that address."""
        return address in self._servers

    @property
    def _addresses(self) -> KeysView[AddressLike]:
        """The addresses of all servers, which can be compared with others' and with a set."""
        return self._servers.keys()

    def server_descriptions(self) -> dict[AddressLike, ServerDescription]:
        """Address -> description of every server; a copy."""
        return self._servers.copy()

    @property
    def known_servers(self) -> list[ServerDescription]:
        """The servers that have answered."""
        return [each for each in self._servers.values() if each.is_server_type_known]

    @property
    def has_known_servers(self) -> bool:
        """Whether any server has answered."""
        return any(each.is_server_type_known for each in self._servers.values())

    @property
    def readable_servers(self) -> list[ServerDescription]:
        """The servers that have data which can be read."""
        return [each for each in self._servers.values() if each.is_readable]

    @property
    def common_wire_version(self) -> int | None:
        """The newest wire version that all known servers speak; None without a known server."""
        known = self.known_servers
        return min(each.max_wire_version for each in known) if known else None

    def primary(self) -> ServerDescription | None:
        """The primary, if one is known."""
        for each in self._servers.values():
            if each.server_type_name == RS_PRIMARY:
                return each
        return None

    def has_readable_server(self, read_preference: _ServerMode = ReadPreference.PRIMARY) -> bool:
        """Whether a server is there that `read_preference` may read from."""
        return bool(candidates(self, read_preference))

    def has_writable_server(self) -> bool:
        """Whether a server is there that takes writes."""
        return bool(candidates(self, None))

    def get(self, address: AddressLike) -> ServerDescription | None:
        """The description of the server at `address`, None if it is not one of the deployment's."""
        return self._servers.get(address)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TopologyDescription):
            return NotImplemented
        return (
            self._topology_type_name == other._topology_type_name
            and self._replica_set_name == other._replica_set_name
            and self._max_set_version == other._max_set_version
            and self._max_election_id == other._max_election_id
            and self._servers == other._servers
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        servers = sorted(self._servers.values(), key=lambda each: format_address(each.address))
        name = "" if self._replica_set_name is None else f" {self._replica_set_name!r}"
        return f"<TopologyDescription {self._topology_type_name}{name}, servers: {servers!r}>"


# A process makes one client after another of the same deployment.
_initial: dict[tuple[Any, ...], TopologyDescription] = {}
_MOST_INITIAL = 16


def initial_topology(
    seeds: Iterable[AddressLike],
    *,
    direct_connection: bool = False,
    replica_set: str | None = None,
    load_balanced: bool = False,
) -> TopologyDescription:
    """What is known before anybody has answered ("Initial TopologyDescription")."""
    seeds = tuple(seeds)
    # With the types: an Address equals a plain tuple, and a description shows what was given.
    key = (seeds, tuple(map(type, seeds)), direct_connection, replica_set, load_balanced)
    known = _initial.get(key)
    if known is not None:
        return known
    servers = {seed: ServerDescription(seed) for seed in seeds}
    if load_balanced:
        kind = LOAD_BALANCED
        servers = {
            seed: ServerDescription(seed, server_type=LOAD_BALANCER, round_trip_time=0.0)
            for seed in servers
        }
    elif direct_connection:
        kind = SINGLE
    else:
        kind = UNKNOWN if replica_set is None else REPLICA_SET_NO_PRIMARY
    made = TopologyDescription(kind, servers, replica_set, single_seed=len(servers) == 1)
    if len(_initial) >= _MOST_INITIAL:
        _initial.clear()
    _initial[key] = made
    return made


def updated_topology_description(
    topology: TopologyDescription, server: ServerDescription
) -> TopologyDescription:
    """`topology` after `server` was checked, or has failed.

    The same object where the news is none: of a server that is no longer one of the deployment's,
    or older than what is known of it.
    """
    current = topology._servers.get(server._address)
    if current is None or is_older(server._topology_version, current._topology_version):
        return topology
    update = _Update(topology, server)
    update.run()
    return TopologyDescription(
        update.kind,
        update.servers,
        update.set_name,
        update.max_set_version,
        update.max_election_id,
        topology._single_seed,
    )


class _Update:
    """One application of the TopologyType table."""

    def __init__(self, topology: TopologyDescription, server: ServerDescription) -> None:
        self.kind = topology._topology_type_name
        self.set_name = topology._replica_set_name
        self.max_set_version = topology._max_set_version
        self.max_election_id = topology._max_election_id
        self.servers = topology._servers.copy()
        self._single_seed = topology._single_seed
        self._server = server
        self.servers[server._address] = server

    def run(self) -> None:
        server, role = self._server, self._server.server_type_name
        if self.kind == SINGLE:
            self._check_single()
        elif self.kind == UNKNOWN:
            self._from_unknown()
        elif self.kind == SHARDED:
            if role not in (UNKNOWN, MONGOS):
                self._remove(server)
        elif self.kind in (REPLICA_SET_NO_PRIMARY, REPLICA_SET_WITH_PRIMARY):
            if role in (STANDALONE, MONGOS):
                self._remove(server)
            elif role == RS_PRIMARY:
                self._update_from_primary()
            elif role in MEMBER_TYPES:
                self._update_from_member()
            if self.kind == REPLICA_SET_WITH_PRIMARY:
                self._check_if_has_primary()

    def _check_single(self) -> None:
        """ "Verifying setName with TopologyType Single"."""
        server = self._server
        if (
            self.set_name is not None
            and server.is_server_type_known
            and server.replica_set_name != self.set_name
        ):
            called = (
                "is not in a replica set"
                if server.replica_set_name is None
                else f"is a member of set {server.replica_set_name!r}"
            )
            error = _stale(f"the server {called}, not of replicaSet={self.set_name!r}")
            causes = imported_once("mongokey.topology.causes")
            error.diagnoses = (causes.set_name_cause(server, self.set_name),)
            self.servers[server.address] = ServerDescription(
                server.address,
                error=error,
                last_update_time=server.last_update_time,
            )

    def _from_unknown(self) -> None:
        server, role = self._server, self._server.server_type_name
        if role == STANDALONE:
            if self._single_seed:
                self.kind = SINGLE
            else:
                self._remove(server)
        elif role == MONGOS:
            self.kind = SHARDED
        elif role == RS_PRIMARY:
            self.kind = REPLICA_SET_WITH_PRIMARY
            self._update_from_primary()
            self._check_if_has_primary()
        elif role in MEMBER_TYPES and role != RS_GHOST:
            self.kind = REPLICA_SET_NO_PRIMARY
            self._update_from_member()

    def _update_from_member(self) -> None:
        """updateRSWithoutPrimary and updateRSWithPrimaryFromMember."""
        server = self._server
        has_primary = self.kind == REPLICA_SET_WITH_PRIMARY
        if self.set_name is None and not has_primary:
            self.set_name = server.replica_set_name
        elif self.set_name != server.replica_set_name:
            self._remove(server)
            return
        if not has_primary:
            self._add_unknown(server.all_hosts)
        if server.me is not None and server.address != server.me:
            self._remove(server)

    def _update_from_primary(self) -> None:
        """updateRSFromPrimary."""
        server = self._server
        self.kind = REPLICA_SET_WITH_PRIMARY
        if self.set_name is None:
            self.set_name = server.replica_set_name
        elif self.set_name != server.replica_set_name:
            self._remove(server)
            return
        if self._is_stale(server):
            election = _tuple_of(server.election_id, server.set_version)
            newest = _tuple_of(self.max_election_id, self.max_set_version)
            self.servers[server.address] = server.with_error(
                _stale(
                    "primary marked stale due to electionId/setVersion mismatch, "
                    f"{election} is stale compared to {newest}"
                )
            )
            return
        for address, each in self.servers.items():
            if address != server.address and each.server_type_name == RS_PRIMARY:
                self.servers[address] = each.with_error(
                    _stale("primary marked stale due to discovery of newer primary")
                )
        members = server.all_hosts
        self._add_unknown(members)
        for address in [each for each in self.servers if each not in members]:
            del self.servers[address]

    def _is_stale(self, server: ServerDescription) -> bool:
        """Whether a later primary is known already; notes this one's election where it is none."""
        election, version = server.election_id, server.set_version
        if server.max_wire_version >= _ELECTION_ID_FIRST:
            if (_rank(election), _rank(version)) < (
                _rank(self.max_election_id),
                _rank(self.max_set_version),
            ):
                return True
            self.max_election_id, self.max_set_version = election, version
            return False
        if election is not None and version is not None:
            if (
                self.max_set_version is not None
                and self.max_election_id is not None
                and (self.max_set_version, self.max_election_id) > (version, election)
            ):
                return True
            self.max_election_id = election
        if version is not None and _rank(version) > _rank(self.max_set_version):
            self.max_set_version = version
        return False

    def _check_if_has_primary(self) -> None:
        roles = [each.server_type_name for each in self.servers.values()]
        self.kind = REPLICA_SET_WITH_PRIMARY if RS_PRIMARY in roles else REPLICA_SET_NO_PRIMARY

    def _add_unknown(self, addresses: Iterable[AddressLike]) -> None:
        for address in addresses:
            if address not in self.servers:
                self.servers[address] = ServerDescription(address)

    def _remove(self, server: ServerDescription) -> None:
        self.servers.pop(server.address, None)


def _rank(value: Any) -> tuple[bool, Any]:
    """Orders None before everything else."""
    return (value is not None, value if value is not None else 0)


def _tuple_of(election: Any, version: Any) -> str:
    return f"(electionId: {election}, setVersion: {version})"


def _stale(text: str) -> NotPrimaryError:
    return NotPrimaryError(text)


def _session_timeout(servers: Iterable[ServerDescription]) -> int | None:
    """driver-sessions.md: the least of the members with data, None if one has no sessions."""
    least: int | None = None
    for each in servers:
        if each._server_type_name in READABLE_TYPES:
            minutes = each.logical_session_timeout_minutes
            if minutes is None:
                return None
            if least is None or minutes < least:
                least = minutes
    return least


def _compatibility_error(servers: Iterable[ServerDescription]) -> str | None:
    """ "Checking wire protocol compatibility"."""
    for each in servers:
        hello = each._hello
        if hello is None:
            continue
        if hello.min_wire_version > MAX_WIRE_VERSION:
            name = format_address(each.address)
            return (
                f"Server at {name} requires wire version {hello.min_wire_version}, but this "
                f"version of mongokey ({__version__}) only supports up to {MAX_WIRE_VERSION}."
            )
        if hello.max_wire_version < MIN_WIRE_VERSION:
            name = format_address(each.address)
            return (
                f"Server at {name} reports wire version {hello.max_wire_version}, but this version "
                f"of mongokey ({__version__}) requires at least {MIN_WIRE_VERSION} "
                f"(MongoDB {MIN_SERVER})."
            )
    return None


__all__ = [
    "TOPOLOGY_TYPE_NAMES",
    "TopologyDescription",
    "initial_topology",
    "updated_topology_description",
]
