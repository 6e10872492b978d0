"""What is known of one server: its last answer to hello, or why there is none. A pure value.

Knows the fields and the equality of server-discovery-and-monitoring.md, "ServerDescription". Must
not know sockets, clocks, or what a topology makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

from mongokey._support.address import AddressLike, format_address
from mongokey._support.reprs import with_safe_repr
from mongokey.bson.objectid import ObjectId
from mongokey.handshake.reply import (
    LOAD_BALANCER,
    MONGOS,
    RS_ARBITER,
    RS_GHOST,
    RS_OTHER,
    RS_PRIMARY,
    RS_SECONDARY,
    STANDALONE,
)

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.handshake import HelloReply

UNKNOWN = "Unknown"

# In the order of PyMongo's numbers (`mongokey.server_type.SERVER_TYPE`).
SERVER_TYPE_NAMES = (
    UNKNOWN,
    MONGOS,
    RS_PRIMARY,
    RS_SECONDARY,
    RS_ARBITER,
    RS_OTHER,
    RS_GHOST,
    STANDALONE,
    LOAD_BALANCER,
)
_NUMBERS = {name: number for number, name in enumerate(SERVER_TYPE_NAMES)}
WRITABLE_TYPES = frozenset((RS_PRIMARY, STANDALONE, MONGOS, LOAD_BALANCER))
READABLE_TYPES = WRITABLE_TYPES | {RS_SECONDARY}
# Whose word on the members of its set counts.
MEMBER_TYPES = frozenset((RS_PRIMARY, RS_SECONDARY, RS_ARBITER, RS_OTHER))

# Wire version 6 (MongoDB 3.6) is the first with sessions and retryable writes.
_RETRYABLE_WRITES_VERSION = 6


@with_safe_repr
class ServerDescription:
    """One server as it was last seen. Immutable.

    :param address: (host, port), or (path, None) of a Unix socket
    :param hello: its answer to hello, or None: then its type is Unknown
    :param round_trip_time: average round trip time of hello in seconds
    :param error: why nothing more is known, an exception
    :param min_round_trip_time: the least of the last ten round trips, in seconds
    :param last_update_time: monotonic seconds of the answer; 0.0 is long ago
    :param topology_version: that of an error, for a description that has no `hello`
    :param server_type: only for a load balancer, which is known by the URI
    """

    __slots__ = (
        "_address",
        "_error",
        "_hello",
        "_last_update_time",
        "_min_round_trip_time",
        "_round_trip_time",
        "_server_type_name",
        "_topology_version",
    )

    def __init__(
        self,
        address: AddressLike,
        hello: HelloReply | None = None,
        round_trip_time: float | None = None,
        error: BaseException | None = None,
        min_round_trip_time: float = 0.0,
        last_update_time: float = 0.0,
        topology_version: Mapping[str, Any] | None = None,
        server_type: str | None = None,
    ) -> None:
        self._address = address
        self._hello = hello
        self._server_type_name = server_type or (UNKNOWN if hello is None else hello.server_type)
        known = self._server_type_name != UNKNOWN
        self._round_trip_time = round_trip_time if known else None
        self._min_round_trip_time = min_round_trip_time
        self._error = error
        self._last_update_time = last_update_time
        if hello is not None:
            topology_version = hello.topology_version
        self._topology_version = topology_version

    @property
    def address(self) -> AddressLike:
        """(host, port) as the client connects to it."""
        return self._address

    @property
    def hello(self) -> HelloReply | None:
        """The answer to hello, or None."""
        return self._hello

    @property
    def server_type(self) -> int:
        """PyMongo's number of the type (`mongokey.server_type.SERVER_TYPE`)."""
        return _NUMBERS[self._server_type_name]

    @property
    def server_type_name(self) -> str:
        """The type by the specification's name, such as ``RSPrimary`` or ``Unknown``."""
        return self._server_type_name

    @property
    def is_server_type_known(self) -> bool:
        """Whether the server has answered and is in order."""
        return self._server_type_name != UNKNOWN

    @property
    def all_hosts(self) -> set[AddressLike]:
        """The members of its set that the server names: hosts, passives and arbiters."""
        hello = self._hello
        if hello is None:
            return set()
        return {*hello.hosts, *hello.passives, *hello.arbiters}

    @property
    def tags(self) -> Mapping[str, Any]:
        """The tags of a replica set's member."""
        tags = self._field("tags")
        return tags if isinstance(tags, Mapping) else {}

    @property
    def replica_set_name(self) -> str | None:
        """The name of the set the server is a member of."""
        return None if self._hello is None else self._hello.set_name

    @property
    def primary(self) -> AddressLike | None:
        """Whom the server takes for the primary."""
        return None if self._hello is None else self._hello.primary

    @property
    def me(self) -> AddressLike | None:
        """The address that the set's configuration has for the server."""
        return None if self._hello is None else self._hello.me

    @property
    def election_id(self) -> ObjectId | None:
        """The election that made the server primary."""
        found = self._field("electionId")
        return found if isinstance(found, ObjectId) else None

    @property
    def set_version(self) -> int | None:
        """The version of the set's configuration that the server has."""
        found = self._field("setVersion")
        return found if isinstance(found, int) else None

    @property
    def max_bson_size(self) -> int:
        """The most bytes of one document."""
        return 16777216 if self._hello is None else self._hello.max_bson_size

    @property
    def max_message_size(self) -> int:
        """The most bytes of one message."""
        return 48000000 if self._hello is None else self._hello.max_message_size

    @property
    def max_write_batch_size(self) -> int:
        """The most statements of one write command."""
        return 100000 if self._hello is None else self._hello.max_write_batch_size

    @property
    def min_wire_version(self) -> int:
        """The oldest wire version the server speaks."""
        return 0 if self._hello is None else self._hello.min_wire_version

    @property
    def max_wire_version(self) -> int:
        """The newest wire version the server speaks."""
        return 0 if self._hello is None else self._hello.max_wire_version

    @property
    def logical_session_timeout_minutes(self) -> int | None:
        """After how many idle minutes the server ends a session; None without sessions."""
        return None if self._hello is None else self._hello.logical_session_timeout_minutes

    @property
    def topology_version(self) -> Mapping[str, Any] | None:
        """How fresh the server's word on itself is: `processId` and `counter`."""
        return self._topology_version

    @property
    def round_trip_time(self) -> float | None:
        """The average round trip time of hello in seconds; None while the type is Unknown."""
        return self._round_trip_time

    @property
    def min_round_trip_time(self) -> float:
        """The least of the last ten round trips in seconds; 0.0 before the second one."""
        return self._min_round_trip_time

    @property
    def error(self) -> BaseException | None:
        """The last error, of a server whose type is Unknown."""
        return self._error

    @property
    def last_update_time(self) -> float:
        """Monotonic seconds of the last check; 0.0 before the first."""
        return self._last_update_time

    @property
    def last_write_date(self) -> float | None:
        """When the server last applied a write, seconds since 1970 by the primary's clock."""
        last = self._field("lastWrite")
        found = last.get("lastWriteDate") if isinstance(last, Mapping) else None
        if isinstance(found, datetime):
            if found.tzinfo is None:
                found = found.replace(tzinfo=timezone.utc)
            return found.timestamp()
        try:
            return int(found) / 1000  # type: ignore[arg-type]  # milliseconds, as a DatetimeMS is
        except (TypeError, ValueError, OverflowError):
            return None

    @property
    def is_writable(self) -> bool:
        """Whether the server takes writes."""
        return self._server_type_name in WRITABLE_TYPES

    @property
    def is_readable(self) -> bool:
        """Whether the server has data that can be read."""
        return self._server_type_name in READABLE_TYPES

    @property
    def mongos(self) -> bool:
        """Whether this is the router of a sharded cluster."""
        return self._server_type_name == MONGOS

    @property
    def retryable_writes_supported(self) -> bool:
        """Whether writes can be sent twice and are carried out once."""
        return (
            self.logical_session_timeout_minutes is not None
            and self._server_type_name in (MONGOS, RS_PRIMARY)
            and self.max_wire_version >= _RETRYABLE_WRITES_VERSION
        ) or self._server_type_name == LOAD_BALANCER

    @property
    def retryable_reads_supported(self) -> bool:
        """Whether reads are tried again here: on every server that has answered."""
        return self._hello is not None

    @property
    def cluster_time(self) -> Mapping[str, Any] | None:
        """The ``$clusterTime`` that came with its last answer."""
        found = self._field("$clusterTime")
        return found if isinstance(found, Mapping) else None

    def _field(self, name: str) -> Any:
        return None if self._hello is None else self._hello.document.get(name)

    def with_error(
        self, error: BaseException, topology_version: Mapping[str, Any] | None = None
    ) -> ServerDescription:
        """The same server of type Unknown, because of `error`."""
        return ServerDescription(
            self._address,
            error=error,
            last_update_time=self._last_update_time,
            topology_version=topology_version,
        )

    def _identity(self) -> tuple[Any, ...]:
        """The fields by which descriptions are equal ("Server Description Equality")."""
        hello = self._hello
        error = self._error
        lists = () if hello is None else (hello.hosts, hello.passives, hello.arbiters)
        return (
            self._address,
            self._server_type_name,
            None if error is None else (type(error), str(error)),
            self.min_wire_version,
            self.max_wire_version,
            self.me,
            tuple(frozenset(each) for each in lists),
            dict(self.tags),
            self.replica_set_name,
            self.election_id,
            self.set_version,
            self.primary,
            self.logical_session_timeout_minutes,
            self._topology_version,
            self._field("iscryptd"),
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ServerDescription):
            return NotImplemented
        return self._identity() == other._identity()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = f"{format_address(self._address)} {self._server_type_name}"
        if self.replica_set_name is not None:
            shown += f" of set {self.replica_set_name!r}"
        if self._round_trip_time is not None:
            shown += f", round trip {self._round_trip_time * 1000:.1f} ms"
        if self._error is not None:
            shown += f", error={self._error!r}"
        return f"<ServerDescription {shown}>"


def is_older(
    first: Mapping[str, Any] | None, second: Mapping[str, Any] | None, *, or_equal: bool = False
) -> bool:
    """Whether topologyVersion `first` is older than `second`, or, `or_equal`, as old.

    False where that is not known: either is missing, or they are of different processes
    ("topologyVersion Comparison").
    """
    if first is None or second is None:
        return False  # as of nearly all servers that do not stream; the rest costs more
    if not isinstance(first, Mapping) or not isinstance(second, Mapping):
        return False
    if first.get("processId") != second.get("processId"):
        return False
    one, other = first.get("counter"), second.get("counter")
    if not isinstance(one, int) or not isinstance(other, int):
        return False
    return one <= other if or_equal else one < other


__all__ = ["SERVER_TYPE_NAMES", "UNKNOWN", "ServerDescription", "is_older"]
