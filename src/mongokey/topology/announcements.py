"""What listeners and loggers are told of a topology, in the order of the specification.

Knows descriptions and the publisher. Nothing is told before `Publisher.deliver`: the topology's
lock is held while these are called.
"""

from __future__ import annotations

from mongokey.topology.server_description import ServerDescription
from mongokey.topology.topology_description import TopologyDescription
from mongokey.topology.topology_types import LOAD_BALANCED, UNKNOWN

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable

    from mongokey._support.address import AddressLike
    from mongokey.events.publisher import Publisher


class Announcements:
    """Tells `publisher` what becomes of one topology."""

    __slots__ = ("_publisher",)

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def opening(self, description: TopologyDescription) -> None:
        """The servers of `description` are going to be looked for."""
        publisher = self._publisher
        if publisher.topology:
            publisher.defer(publisher.topology_opening, publisher.topology_id)
            balanced = description.topology_type_name == LOAD_BALANCED
            empty = TopologyDescription(UNKNOWN, {})
            self.changed(empty, _unasked(description) if balanced else description)

    def balancers(self, description: TopologyDescription) -> None:
        """Load balancers, which nobody checks: what would be told of a first check."""
        before, publisher = _unasked(description), self._publisher
        for address, after in description.server_descriptions().items():
            unknown = before.get(address)
            if publisher.servers and unknown is not None:
                publisher.defer(
                    publisher.server_changed, unknown, after, address, publisher.topology_id
                )
        self.changed(before, description)

    def closing(self, description: TopologyDescription) -> None:
        """Nothing is looked for any more."""
        publisher = self._publisher
        if publisher.servers:
            for address in description.server_descriptions():
                self.server_closed(address)
        if publisher.topology:
            self.changed(description, TopologyDescription(UNKNOWN, {}))
            publisher.defer(publisher.topology_closed, publisher.topology_id)

    def changed(self, old: TopologyDescription, new: TopologyDescription) -> None:
        """The description is another one."""
        publisher = self._publisher
        if publisher.topology:
            publisher.defer(publisher.topology_changed, old, new, publisher.topology_id)

    def checked(
        self, old: TopologyDescription, new: TopologyDescription, server: ServerDescription
    ) -> None:
        """`server` was checked, which made `new` of `old`."""
        publisher = self._publisher
        if not (publisher.servers or publisher.topology):
            return
        before, after = old.get(server.address), new.get(server.address) or server
        if before == after:
            return
        if publisher.servers:
            publisher.defer(
                publisher.server_changed, before, after, server.address, publisher.topology_id
            )
        self.changed(old, new)

    def server_opening(self, address: AddressLike) -> None:
        """A server is one of the deployment's from now on."""
        self._tell_server(self._publisher.server_opening, address)

    def server_closed(self, address: AddressLike) -> None:
        """It is not any more."""
        self._tell_server(self._publisher.server_closed, address)

    def _tell_server(self, method: Callable[..., None], address: AddressLike) -> None:
        publisher = self._publisher
        if publisher.servers:
            publisher.defer(method, address, publisher.topology_id)


def _unasked(description: TopologyDescription) -> TopologyDescription:
    """Load balancers before anything is known of them, which there is nobody to ask for."""
    servers = description.server_descriptions()
    return TopologyDescription(LOAD_BALANCED, {each: ServerDescription(each) for each in servers})


__all__ = ["Announcements"]
