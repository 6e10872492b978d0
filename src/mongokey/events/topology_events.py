"""What is told of servers, deployments and heartbeats (server-discovery-and-monitoring, "Events
API").

Values only, with PyMongo's names and reprs. Durations of heartbeats are in seconds, as PyMongo's
are whatever its documentation says; an address is ``(host, port)``, or ``(path, None)``.
"""

from __future__ import annotations

from mongokey._support.reprs import with_safe_repr

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey._support.address import AddressLike
    from mongokey.bson.objectid import ObjectId
    from mongokey.handshake.reply import HelloReply
    from mongokey.topology.server_description import ServerDescription
    from mongokey.topology.topology_description import TopologyDescription


@with_safe_repr
class _ServerEvent:
    __slots__ = ("_server_address", "_topology_id")

    def __init__(self, server_address: AddressLike, topology_id: ObjectId) -> None:
        self._server_address = server_address
        self._topology_id = topology_id

    @property
    def server_address(self) -> AddressLike:
        """The server's address."""
        return self._server_address

    @property
    def topology_id(self) -> ObjectId:
        """What tells the client's deployment from others."""
        return self._topology_id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.server_address} topology_id: {self.topology_id}>"


@with_safe_repr
class ServerDescriptionChangedEvent(_ServerEvent):
    """A server is not what it was."""

    __slots__ = ("_new_description", "_previous_description")

    def __init__(
        self,
        previous_description: ServerDescription,
        new_description: ServerDescription,
        server_address: AddressLike,
        topology_id: ObjectId,
    ) -> None:
        super().__init__(server_address, topology_id)
        self._previous_description = previous_description
        self._new_description = new_description

    @property
    def previous_description(self) -> ServerDescription:
        """What it was, a `ServerDescription`."""
        return self._previous_description

    @property
    def new_description(self) -> ServerDescription:
        """What it is, a `ServerDescription`."""
        return self._new_description

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.server_address} "
            f"changed from: {self.previous_description}, to: {self.new_description}>"
        )


class ServerOpeningEvent(_ServerEvent):
    """A server is going to be watched."""

    __slots__ = ()


class ServerClosedEvent(_ServerEvent):
    """A server is not watched any more."""

    __slots__ = ()


@with_safe_repr
class TopologyEvent:
    """Base of the events about a deployment."""

    __slots__ = ("_topology_id",)

    def __init__(self, topology_id: ObjectId) -> None:
        self._topology_id = topology_id

    @property
    def topology_id(self) -> ObjectId:
        """What tells the client's deployment from others."""
        return self._topology_id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} topology_id: {self.topology_id}>"


@with_safe_repr
class TopologyDescriptionChangedEvent(TopologyEvent):
    """The deployment is not what it was."""

    __slots__ = ("_new_description", "_previous_description")

    def __init__(
        self,
        previous_description: TopologyDescription,
        new_description: TopologyDescription,
        topology_id: ObjectId,
    ) -> None:
        super().__init__(topology_id)
        self._previous_description = previous_description
        self._new_description = new_description

    @property
    def previous_description(self) -> TopologyDescription:
        """What it was, a `TopologyDescription`."""
        return self._previous_description

    @property
    def new_description(self) -> TopologyDescription:
        """What it is, a `TopologyDescription`."""
        return self._new_description

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} topology_id: {self.topology_id} "
            f"changed from: {self.previous_description}, to: {self.new_description}>"
        )


class TopologyOpenedEvent(TopologyEvent):
    """A client begins to look at its deployment."""

    __slots__ = ()


class TopologyClosedEvent(TopologyEvent):
    """The client is closed."""

    __slots__ = ()


@with_safe_repr
class _ServerHeartbeatEvent:
    __slots__ = ("_awaited", "_connection_id")

    def __init__(self, connection_id: AddressLike, awaited: bool = False) -> None:
        self._connection_id = connection_id
        self._awaited = awaited

    @property
    def connection_id(self) -> AddressLike:
        """The server's address."""
        return self._connection_id

    @property
    def awaited(self) -> bool:
        """Whether the server was to answer only when something changes. The duration is then that
        of the wait, not of the way."""
        return self._awaited

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.connection_id} awaited: {self.awaited}>"


class ServerHeartbeatStartedEvent(_ServerHeartbeatEvent):
    """A check begins."""

    __slots__ = ()


@with_safe_repr
class ServerHeartbeatSucceededEvent(_ServerHeartbeatEvent):
    """The server has answered."""

    __slots__ = ("_duration", "_reply")

    def __init__(
        self,
        duration: float,
        reply: HelloReply,
        connection_id: AddressLike,
        awaited: bool = False,
    ) -> None:
        super().__init__(connection_id, awaited)
        self._duration = duration
        self._reply = reply

    @property
    def duration(self) -> float:
        """How long it took, in seconds."""
        return self._duration

    @property
    def reply(self) -> HelloReply:
        """The answer; its `document` is the whole of it."""
        return self._reply

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.connection_id} duration: {self.duration}, "
            f"awaited: {self.awaited}, reply: {self.reply}>"
        )


@with_safe_repr
class ServerHeartbeatFailedEvent(_ServerHeartbeatEvent):
    """The check has failed."""

    __slots__ = ("_duration", "_reply")

    def __init__(
        self,
        duration: float,
        reply: BaseException,
        connection_id: AddressLike,
        awaited: bool = False,
    ) -> None:
        super().__init__(connection_id, awaited)
        self._duration = duration
        self._reply = reply

    @property
    def duration(self) -> float:
        """How long it took, in seconds."""
        return self._duration

    @property
    def reply(self) -> BaseException:
        """The error."""
        return self._reply

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.connection_id} duration: {self.duration}, "
            f"awaited: {self.awaited}, reply: {self.reply!r}>"
        )
