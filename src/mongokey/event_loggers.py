"""Ready-made listeners that write a line of the `logging` module for each event, under PyMongo's
import path.

They log on the root logger, at level INFO (what failed or went away at WARNING), as PyMongo's do.
Give them to a client, or to `mongokey.monitoring.register`. The driver's own records, which need no
listener, are on the loggers `mongokey.command` and so on.
"""

from __future__ import annotations

import logging

from mongokey import monitoring
from mongokey.read_preferences import ReadPreference
from mongokey.topology.selection import candidates


class CommandLogger(monitoring.CommandListener):
    """Logs commands: their names, servers and durations."""

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        logging.info(f"{_command(event)} started on server {event.connection_id}")

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        logging.info(
            f"{_command(event)} on server {event.connection_id} "
            f"succeeded in {event.duration_micros} microseconds"
        )

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        logging.info(
            f"{_command(event)} on server {event.connection_id} "
            f"failed in {event.duration_micros} microseconds"
        )


def _command(
    event: monitoring.CommandStartedEvent
    | monitoring.CommandSucceededEvent
    | monitoring.CommandFailedEvent,
) -> str:
    return f"Command {event.command_name} with request id {event.request_id}"


class ServerLogger(monitoring.ServerListener):
    """Logs the servers that come and go, and what they become."""

    def opened(self, event: monitoring.ServerOpeningEvent) -> None:
        logging.info(f"Server {event.server_address} added to topology {event.topology_id}")

    def description_changed(self, event: monitoring.ServerDescriptionChangedEvent) -> None:
        before, now = event.previous_description, event.new_description
        if before.server_type != now.server_type:
            logging.info(
                f"Server {event.server_address} changed type from {before.server_type_name} to "
                f"{now.server_type_name}"
            )

    def closed(self, event: monitoring.ServerClosedEvent) -> None:
        logging.warning(f"Server {event.server_address} removed from topology {event.topology_id}")


class HeartbeatLogger(monitoring.ServerHeartbeatListener):
    """Logs the checks of servers."""

    def started(self, event: monitoring.ServerHeartbeatStartedEvent) -> None:
        logging.info(f"Heartbeat sent to server {event.connection_id}")

    def succeeded(self, event: monitoring.ServerHeartbeatSucceededEvent) -> None:
        logging.info(
            f"Heartbeat to server {event.connection_id} succeeded with reply {event.reply.document}"
        )

    def failed(self, event: monitoring.ServerHeartbeatFailedEvent) -> None:
        logging.warning(
            f"Heartbeat to server {event.connection_id} failed with error {event.reply}"
        )


class TopologyLogger(monitoring.TopologyListener):
    """Logs what the deployment becomes, and whether it can be written to and read from."""

    def opened(self, event: monitoring.TopologyOpenedEvent) -> None:
        logging.info(f"Topology with id {event.topology_id} opened")

    def description_changed(self, event: monitoring.TopologyDescriptionChangedEvent) -> None:
        before, now = event.previous_description, event.new_description
        logging.info(f"Topology description updated for topology id {event.topology_id}")
        if before.topology_type != now.topology_type:
            logging.info(
                f"Topology {event.topology_id} changed type from {before.topology_type_name} to "
                f"{now.topology_type_name}"
            )
        if not candidates(now, None):
            logging.warning("No writable servers available.")
        if not candidates(now, ReadPreference.PRIMARY):
            logging.warning("No readable servers available.")

    def closed(self, event: monitoring.TopologyClosedEvent) -> None:
        logging.info(f"Topology with id {event.topology_id} closed")


class ConnectionPoolLogger(monitoring.ConnectionPoolListener):
    """Logs what becomes of pools and their connections."""

    def pool_created(self, event: monitoring.PoolCreatedEvent) -> None:
        logging.info(f"[pool {event.address}] pool created")

    def pool_ready(self, event: monitoring.PoolReadyEvent) -> None:
        logging.info(f"[pool {event.address}] pool ready")

    def pool_cleared(self, event: monitoring.PoolClearedEvent) -> None:
        logging.info(f"[pool {event.address}] pool cleared")

    def pool_closed(self, event: monitoring.PoolClosedEvent) -> None:
        logging.info(f"[pool {event.address}] pool closed")

    def connection_created(self, event: monitoring.ConnectionCreatedEvent) -> None:
        logging.info(f"{_connection(event)} connection created")

    def connection_ready(self, event: monitoring.ConnectionReadyEvent) -> None:
        logging.info(f"{_connection(event)} connection setup succeeded")

    def connection_closed(self, event: monitoring.ConnectionClosedEvent) -> None:
        logging.info(f'{_connection(event)} connection closed, reason: "{event.reason}"')

    def connection_check_out_started(
        self, event: monitoring.ConnectionCheckOutStartedEvent
    ) -> None:
        logging.info(f"[pool {event.address}] connection check out started")

    def connection_check_out_failed(self, event: monitoring.ConnectionCheckOutFailedEvent) -> None:
        logging.info(f"[pool {event.address}] connection check out failed, reason: {event.reason}")

    def connection_checked_out(self, event: monitoring.ConnectionCheckedOutEvent) -> None:
        logging.info(f"{_connection(event)} connection checked out of pool")

    def connection_checked_in(self, event: monitoring.ConnectionCheckedInEvent) -> None:
        logging.info(f"{_connection(event)} connection checked into pool")


def _connection(
    event: monitoring.ConnectionCreatedEvent
    | monitoring.ConnectionReadyEvent
    | monitoring.ConnectionClosedEvent
    | monitoring.ConnectionCheckedOutEvent
    | monitoring.ConnectionCheckedInEvent,
) -> str:
    return f"[pool {event.address}][conn #{event.connection_id}]"


__all__ = [
    "CommandLogger",
    "ConnectionPoolLogger",
    "HeartbeatLogger",
    "ServerLogger",
    "TopologyLogger",
]
