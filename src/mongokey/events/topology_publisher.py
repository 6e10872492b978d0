"""What `Publisher` tells of topologies, servers, heartbeats and selections.

Knows the events and log records of server-discovery-and-monitoring and server-selection. Must not
know who calls it.
"""

from __future__ import annotations

from mongokey._support.lazy import imported_once
from mongokey.events.publisher_base import PublisherBase, host, shown

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.bson.objectid import ObjectId
    from mongokey.handshake.reply import HelloReply
    from mongokey.topology.server_description import ServerDescription
    from mongokey.topology.topology_description import TopologyDescription


class TopologyPublisher(PublisherBase):
    """The part of `Publisher` about servers."""

    # -- topology -----------------------------------------------------------------------------

    def topology_opening(self, topology_id: ObjectId) -> None:
        """Discovery begins; called once, before any other event, and whatever the flag says."""
        self.start()
        self._log("topology", "Starting topology monitoring", topologyId=topology_id)
        if self._topology:
            self._tell(
                self._topology, "opened", _topology_events().TopologyOpenedEvent(topology_id)
            )

    def topology_changed(
        self, previous: TopologyDescription, new: TopologyDescription, topology_id: ObjectId
    ) -> None:
        """The deployment is not what it was."""
        self._log(
            "topology",
            "Topology description changed",
            topologyId=topology_id,
            previousDescription=shown(previous),
            newDescription=shown(new),
        )
        if self._topology:
            event = _topology_events().TopologyDescriptionChangedEvent(previous, new, topology_id)
            self._tell(self._topology, "description_changed", event)

    def topology_closed(self, topology_id: ObjectId) -> None:
        """The client is closed; no other event follows."""
        self._log("topology", "Stopped topology monitoring", topologyId=topology_id)
        if self._topology:
            self._tell(
                self._topology, "closed", _topology_events().TopologyClosedEvent(topology_id)
            )

    def server_opening(self, address: AddressLike, topology_id: ObjectId) -> None:
        """A server is going to be watched."""
        self._log("topology", "Starting server monitoring", topologyId=topology_id, **host(address))
        if self._servers:
            event = _topology_events().ServerOpeningEvent(address, topology_id)
            self._tell(self._servers, "opened", event)

    def server_changed(
        self,
        previous: ServerDescription,
        new: ServerDescription,
        address: AddressLike,
        topology_id: ObjectId,
    ) -> None:
        """A server is not what it was. Not logged: the topology's change is."""
        if self._servers:
            event = _topology_events().ServerDescriptionChangedEvent(
                previous, new, address, topology_id
            )
            self._tell(self._servers, "description_changed", event)

    def server_closed(self, address: AddressLike, topology_id: ObjectId) -> None:
        """A server is not watched any more."""
        self._log("topology", "Stopped server monitoring", topologyId=topology_id, **host(address))
        if self._servers:
            event = _topology_events().ServerClosedEvent(address, topology_id)
            self._tell(self._servers, "closed", event)

    # -- heartbeats: the ids are those of the monitor's connection, None while there is none ------

    def heartbeat_started(
        self,
        address: AddressLike,
        awaited: bool,
        *,
        connection_id: int | None = None,
        server_connection_id: int | None = None,
    ) -> None:
        """A check of a server begins."""
        self._log(
            "topology",
            "Server heartbeat started",
            **self._heartbeat_fields(address, awaited, connection_id, server_connection_id),
        )
        if self._heartbeats:
            event = _topology_events().ServerHeartbeatStartedEvent(address, awaited)
            self._tell(self._heartbeats, "started", event)

    def heartbeat_succeeded(
        self,
        address: AddressLike,
        duration_ns: int,
        reply: HelloReply,
        awaited: bool,
        *,
        connection_id: int | None = None,
        server_connection_id: int | None = None,
    ) -> None:
        """The server has answered the check."""
        self._log(
            "topology",
            "Server heartbeat succeeded",
            **self._heartbeat_fields(address, awaited, connection_id, server_connection_id),
            durationMS=duration_ns / 1e6,
            reply=reply.document,
        )
        if self._heartbeats:
            event = _topology_events().ServerHeartbeatSucceededEvent(
                duration_ns / 1e9, reply, address, awaited
            )
            self._tell(self._heartbeats, "succeeded", event)

    def heartbeat_failed(
        self,
        address: AddressLike,
        duration_ns: int,
        error: BaseException,
        awaited: bool,
        *,
        connection_id: int | None = None,
        server_connection_id: int | None = None,
    ) -> None:
        """The check has failed."""
        self._log(
            "topology",
            "Server heartbeat failed",
            **self._heartbeat_fields(address, awaited, connection_id, server_connection_id),
            durationMS=duration_ns / 1e6,
            failure=error,
        )
        if self._heartbeats:
            event = _topology_events().ServerHeartbeatFailedEvent(
                duration_ns / 1e9, error, address, awaited
            )
            self._tell(self._heartbeats, "failed", event)

    def _heartbeat_fields(
        self,
        address: AddressLike,
        awaited: bool,
        connection_id: int | None,
        server_connection_id: int | None,
    ) -> dict[str, Any]:
        return {
            "topologyId": self.topology_id,
            **host(address),
            "awaited": awaited,
            "driverConnectionId": connection_id,
            "serverConnectionId": server_connection_id,
        }

    # -- selection: `selector` is a read preference, or what else is to be logged as its repr ------

    def selection_started(
        self,
        selector: object,
        operation: str,
        operation_id: int | None,
        description: TopologyDescription,
    ) -> None:
        """A server is looked for, for the command `operation`."""
        self._log_selection(
            "Server selection started", selector, operation, operation_id, description
        )

    def selection_waiting(
        self,
        selector: object,
        operation: str,
        operation_id: int | None,
        description: TopologyDescription,
        remaining_ns: int,
    ) -> None:
        """There is none yet; called once for an operation, whatever the flag `selection` says, as
        this record is of level INFO."""
        if self._wants_info("serverSelection"):
            self._log_info(
                "serverSelection",
                "Waiting for suitable server to become available",
                self._selection_fields(
                    selector,
                    operation,
                    operation_id,
                    description,
                    {"remainingTimeMS": remaining_ns // 1_000_000},
                ),
            )

    def selection_succeeded(
        self,
        selector: object,
        operation: str,
        operation_id: int | None,
        description: TopologyDescription,
        address: AddressLike,
    ) -> None:
        """The server at `address` was chosen."""
        self._log_selection(
            "Server selection succeeded",
            selector,
            operation,
            operation_id,
            description,
            **host(address),
        )

    def selection_failed(
        self,
        selector: object,
        operation: str,
        operation_id: int | None,
        description: TopologyDescription,
        failure: str,
    ) -> None:
        """There was none in time; `failure` says so, without the description."""
        self._log_selection(
            "Server selection failed",
            selector,
            operation,
            operation_id,
            description,
            failure=failure,
        )

    def _log_selection(
        self,
        message: str,
        selector: object,
        operation: str,
        operation_id: int | None,
        description: TopologyDescription,
        /,
        **more: Any,
    ) -> None:
        self._log(
            "serverSelection",
            message,
            **self._selection_fields(selector, operation, operation_id, description, more),
        )

    def _selection_fields(
        self,
        selector: object,
        operation: str,
        operation_id: int | None,
        description: TopologyDescription,
        more: dict[str, Any],
    ) -> dict[str, Any]:
        return {
            "clientId": self.topology_id,
            "selector": shown(selector),
            "operation": operation,
            "operationId": operation_id,
            "topologyDescription": shown(description),
            **more,
        }


def _topology_events() -> Any:
    return imported_once("mongokey.events.topology_events")
