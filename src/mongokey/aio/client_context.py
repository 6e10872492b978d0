"""`AsyncClientContext`: what makes the connections and pools of one client of an asyncio loop.

It knows which loop that is, and how connections are made there. It refers to no client, and does
not know operations.
"""

from __future__ import annotations

from functools import partial

# What operations and logins need, and the telling of why they failed, is imported with the client:
# none may hold the loop up.
from mongokey._support import awaiting  # noqa: F401
from mongokey._support.weakly import weakly
from mongokey.auth.registry import load_ahead
from mongokey.commands import (  # noqa: F401
    aggregate,
    bulk_write,
    client_bulk,
    collections,
    databases,
    find_and_modify,
    indexes,
    reads,
)
from mongokey.connection import loop_establishing, missing_tls, rotation  # noqa: F401
from mongokey.connection.establish_aio import open_connection
from mongokey.diagnostics import table  # noqa: F401
from mongokey.execution.aio import LoopBinding
from mongokey.faces.client_context import ClientContext
from mongokey.pool import backpressure, maintenance  # noqa: F401
from mongokey.pool import causes as pool_causes  # noqa: F401
from mongokey.pool.aio import AsyncPool
from mongokey.topology import aio_selection  # noqa: F401
from mongokey.topology import causes as topology_causes  # noqa: F401
from mongokey.topology.aio_monitors import LoopMonitors
from mongokey.transport import causes, other_protocols  # noqa: F401
from mongokey.transport.tls import errors  # noqa: F401

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.address import AddressLike
    from mongokey.client_options import ClientOptions
    from mongokey.connection.connection import Connection
    from mongokey.connection.settings import Opening


class AsyncClientContext(ClientContext):
    """The context of the asyncio client that was told `options`."""

    _pool_class = AsyncPool

    def __init__(self, options: ClientOptions) -> None:
        super().__init__(options)
        #: Which loop the client belongs to.
        self.binding = LoopBinding(weakly(self.new_loop), weakly(self.loop_ends))
        # Now: certificates, and the modules of TLS and of the login, are read here.
        settings = self.settings()
        if settings.tls is not None:
            settings.tls.load_ahead()
        self.publisher.load_ahead()
        if options.credential is not None:
            load_ahead(options.credential.mechanism)

    def _monitors_class(self) -> Any:
        return partial(LoopMonitors, current_loop=partial(getattr, self.binding, "loop"))

    async def connect_for_pool(self, address: AddressLike, opening: Opening) -> Connection:
        """One more connection of the pool for `address`, logged in."""
        self.answer_from_memory()
        connection: Connection
        connection, result = await open_connection(
            address, self.settings(), partial(self._judge, address), opening=opening
        )
        if self.on_login is not None:
            self.on_login(address, result)
        return connection

    def loop_ends(self) -> None:
        """The loop that the client belongs to is about to be closed, and nobody has closed the
        client: no socket is to be left. What still runs there keeps what it uses."""
        topology, monitors = self.topology(), self.__dict__.get("_monitors")
        if monitors is not None:
            monitors.pause()
        for pool in () if topology is None else topology.pools:
            pool.close_idle()  # type: ignore[attr-defined]

    def new_loop(self) -> None:
        """The loop that the client belonged to is over, with all that its connections were at:
        everything is made anew in the next one."""
        executor, topology = self.executor(), self.topology()
        if executor is not None:
            executor.new_loop()  # type: ignore[attr-defined]
        monitors = self.__dict__.get("_monitors")
        if monitors is not None:
            monitors.reset_for_new_loop()
        if topology is not None:
            for pool in topology.pools:
                pool.reset_for_new_loop()  # type: ignore[attr-defined]
            topology.reset_after_fork()


__all__ = ["AsyncClientContext"]
