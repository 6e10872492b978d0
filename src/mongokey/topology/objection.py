"""What is against logging in to a server that has just said hello. A pure rule.

Knows descriptions. Must not know connections or pools.
"""

from __future__ import annotations

from mongokey._support.address import format_address
from mongokey._support.server_codes import NOT_PRIMARY_OR_SECONDARY, NOT_WRITABLE_PRIMARY
from mongokey.errors import AutoReconnect, NotPrimaryError
from mongokey.topology.server_description import ServerDescription
from mongokey.topology.topology_types import LOAD_BALANCED, SINGLE

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey._support.address import AddressLike
    from mongokey.handshake import HelloReply
    from mongokey.topology.topology_description import TopologyDescription


def objection(
    description: TopologyDescription, address: AddressLike, hello: HelloReply
) -> AutoReconnect | None:
    """What is against logging in to the server that said `hello` on a new connection of the
    pool for `address`, or None.

    It may not be what it was when it was checked: another set's member must not learn a secret,
    and a member that recovers has no users to know one by.
    """
    name = description._replica_set_name
    if name is not None and hello.set_name != name:
        is_called = f"is called {hello.set_name!r}" if hello.set_name else "is not in a set"
        return AutoReconnect(
            f"{format_address(address)}: the server {is_called}, not replicaSet={name!r}"
        )
    if description._topology_type_name in (SINGLE, LOAD_BALANCED):
        return None
    before, now = description.get(address), ServerDescription(address, hello)
    if not now.is_readable:
        code, is_not = NOT_PRIMARY_OR_SECONDARY, "neither primary nor secondary any more"
    elif before is not None and before.is_writable and not now.is_writable:
        code, is_not = NOT_WRITABLE_PRIMARY, "not primary any more"
    else:
        return None
    reason = f"the server is {is_not} ({now.server_type_name})"
    details = {"ok": 0, "errmsg": reason, "code": code}
    return NotPrimaryError(f"{format_address(address)}: {reason}", details)


__all__ = ["objection"]
