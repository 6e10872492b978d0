"""What the driver calls when something happens: it tells listeners and loggers.

Knows what there is to be told; how it is told stands in `publisher_base`. Must not know who calls
it.
"""

from __future__ import annotations

from mongokey._support.lazy import imported_once
from mongokey.events.pool_publisher import PoolPublisher
from mongokey.events.topology_publisher import TopologyPublisher

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey._support.address import AddressLike
    from mongokey.bson.objectid import ObjectId
    from mongokey.events.command_publisher import CommandUnderWay


class Publisher(PoolPublisher, TopologyPublisher):
    """Tells the listeners and loggers of one client.

    `event_listeners` are the client's own; those that `register` was given come before them.

    The flags `commands`, `pools`, `topology`, `servers`, `heartbeats` and `selection` say whether
    anybody wants to know, and may change at any time, as loggers are turned on and off. Callers ask
    first::

        if publisher is not None and publisher.pools:
            publisher.pool_ready(address)

    From C (``from mongokey.events.flags cimport PublisherFlags``) that is one load. Every other
    method calls listeners: hold no lock then, or have it done later, in order, by `defer` and
    `deliver`. A listener's error is printed and goes no further, but for a `KeyboardInterrupt` and
    its kin. Durations are nanoseconds.
    """

    def load_ahead(self) -> None:
        """Load now what makes the events and log records that somebody wants to know of."""
        for wanted, module in (
            (self.commands, "command_publisher"),
            (self.commands, "command_events"),
            (self.commands, "redaction"),
            (self.pools, "pool_events"),
            (self.topology or self.servers or self.heartbeats, "topology_events"),
        ):
            if wanted:
                imported_once(f"mongokey.events.{module}")
        if self._logs_something():
            # Records are extended JSON.
            imported_once("mongokey.bson.json_util")

    def client_of_imitation(self, host: str, service: str) -> None:
        """A client was made for a server that is no MongoDB."""
        self.start()
        self._log_info(
            "client",
            f"{host} is {service}, which is not MongoDB but an imitation: some commands differ or "
            f"are missing there",
            {"serverHost": host, "service": service},
        )

    def command(
        self,
        name: str,
        database: str,
        *,
        request_id: int,
        operation_id: int,
        address: AddressLike,
        connection_id: int | None,
        server_connection_id: int | None,
        service_id: ObjectId | None,
    ) -> CommandUnderWay:
        """The command `name` is going to be sent in the message `request_id`, to `address` on the
        connection of these ids. What is returned has to be told so, and how it ends."""
        module = imported_once("mongokey.events.command_publisher")
        command: CommandUnderWay = module.CommandUnderWay(
            self,
            name,
            database,
            request_id=request_id,
            operation_id=operation_id,
            address=address,
            connection_id=connection_id,
            server_connection_id=server_connection_id,
            service_id=service_id,
        )
        return command
