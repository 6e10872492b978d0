"""What `Publisher` tells of pools and connections.

Knows the events and log records of connection-monitoring-and-pooling. Must not know who calls it.
"""

from __future__ import annotations

from mongokey._support.lazy import imported_once
from mongokey.events.publisher_base import PublisherBase, Repr, host

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.bson.objectid import ObjectId

# connection-monitoring-and-pooling, "Connection Pool Logging".
_CLOSED_REASONS = {
    "stale": "Connection became stale because the pool was cleared",
    "idle": "Connection has been available but unused for longer than the configured max idle time",
    "error": "An error occurred while using the connection",
    "poolClosed": "Connection pool was closed",
}
_CHECK_OUT_REASONS = {
    "timeout": "Wait queue timeout elapsed without a connection becoming available",
    "connectionError": "An error occurred while trying to establish a new connection",
    "poolClosed": "Connection pool was closed",
}


class PoolPublisher(PublisherBase):
    """The part of `Publisher` about pools."""

    # -- pools --------------------------------------------------------------------------------

    def _log_connection(self, message: str, address: AddressLike, /, **fields: Any) -> None:
        self._log("connection", message, clientId=self.topology_id, **host(address), **fields)

    def pool_created(self, address: AddressLike, options: dict[str, Any]) -> None:
        """A pool was made; `options` are those that differ from their defaults."""
        self._log_connection("Connection pool created", address, **options)
        if self._pools:
            event = _pool_events().PoolCreatedEvent(address, options)
            self._tell(self._pools, "pool_created", event)

    def pool_ready(self, address: AddressLike) -> None:
        """A pool may open connections."""
        self._log_connection("Connection pool ready", address)
        if self._pools:
            self._tell(self._pools, "pool_ready", _pool_events().PoolReadyEvent(address))

    def pool_cleared(
        self, address: AddressLike, service_id: ObjectId | None = None, interrupt: bool = False
    ) -> None:
        """A pool's connections are not used any more; with `interrupt`, those in use are closed."""
        shown = None if service_id is None else str(service_id)
        self._log_connection("Connection pool cleared", address, serviceId=shown)
        if self._pools:
            event = _pool_events().PoolClearedEvent(address, service_id, interrupt)
            self._tell(self._pools, "pool_cleared", event)

    def pool_closed(self, address: AddressLike) -> None:
        """A pool is closed for good."""
        self._log_connection("Connection pool closed", address)
        if self._pools:
            self._tell(self._pools, "pool_closed", _pool_events().PoolClosedEvent(address))

    def connection_created(self, address: AddressLike, connection_id: int) -> None:
        """A connection is going to be opened."""
        self._log_connection("Connection created", address, driverConnectionId=connection_id)
        if self._pools:
            event = _pool_events().ConnectionCreatedEvent(address, connection_id)
            self._tell(self._pools, "connection_created", event)

    def connection_ready(self, address: AddressLike, connection_id: int, duration_ns: int) -> None:
        """A connection has been opened and logged in."""
        self._log_connection(
            "Connection ready",
            address,
            driverConnectionId=connection_id,
            durationMS=duration_ns / 1e6,
        )
        if self._pools:
            event = _pool_events().ConnectionReadyEvent(address, connection_id, duration_ns / 1e9)
            self._tell(self._pools, "connection_ready", event)

    def connection_closed(
        self,
        address: AddressLike,
        connection_id: int,
        reason: str,
        error: BaseException | None = None,
    ) -> None:
        """A connection was closed; `reason` is one of `ConnectionClosedReason`."""
        self._log_connection(
            "Connection closed",
            address,
            driverConnectionId=connection_id,
            reason=_CLOSED_REASONS.get(reason, reason),
            error=_error_shown(error, reason == "error"),
        )
        if self._pools:
            event = _pool_events().ConnectionClosedEvent(address, connection_id, reason)
            self._tell(self._pools, "connection_closed", event)

    def checkout_started(self, address: AddressLike) -> None:
        """Somebody wants a connection."""
        self._log_connection("Connection checkout started", address)
        if self._pools:
            event = _pool_events().ConnectionCheckOutStartedEvent(address)
            self._tell(self._pools, "connection_check_out_started", event)

    def checkout_failed(
        self,
        address: AddressLike,
        reason: str,
        duration_ns: int,
        error: BaseException | None = None,
    ) -> None:
        """There was no connection; `reason` is one of `ConnectionCheckOutFailedReason`."""
        self._log_connection(
            "Connection checkout failed",
            address,
            reason=_CHECK_OUT_REASONS.get(reason, reason),
            error=_error_shown(error, reason == "connectionError"),
            durationMS=duration_ns / 1e6,
        )
        if self._pools:
            event = _pool_events().ConnectionCheckOutFailedEvent(address, reason, duration_ns / 1e9)
            self._tell(self._pools, "connection_check_out_failed", event)

    def checked_out(self, address: AddressLike, connection_id: int, duration_ns: int) -> None:
        """Who wanted a connection has got it."""
        self._log_connection(
            "Connection checked out",
            address,
            driverConnectionId=connection_id,
            durationMS=duration_ns / 1e6,
        )
        if self._pools:
            event = _pool_events().ConnectionCheckedOutEvent(
                address, connection_id, duration_ns / 1e9
            )
            self._tell(self._pools, "connection_checked_out", event)

    def checked_in(self, address: AddressLike, connection_id: int) -> None:
        """A connection was given back."""
        self._log_connection("Connection checked in", address, driverConnectionId=connection_id)
        if self._pools:
            event = _pool_events().ConnectionCheckedInEvent(address, connection_id)
            self._tell(self._pools, "connection_checked_in", event)


def _error_shown(error: BaseException | None, expected: bool) -> object:
    return Repr(error) if error is not None and expected else None


def _pool_events() -> Any:
    return imported_once("mongokey.events.pool_events")
