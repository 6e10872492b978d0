"""`BlockingClientBase`: what the blocking client does in a way of its own.

It knows the blocking executor. What both faces do alike stands in `ClientBase`; PyMongo's names, in
`mongokey.mongo_client`.
"""

from __future__ import annotations

from mongokey._support.jobs import run_steps
from mongokey.execution.blocking import BlockingExecutor
from mongokey.faces.client_base import ClientBase

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeVar

    from mongokey.pool.pool import Pool
    from mongokey.topology.topology_description import TopologyDescription

    _Document = TypeVar("_Document", bound=Mapping[str, Any])


class BlockingClientBase(ClientBase["_Document"]):
    """Base of `MongoClient`."""

    _carry_out = staticmethod(run_steps)

    def _make_executor(self, **options: Any) -> BlockingExecutor:
        return BlockingExecutor(self._topology, **options)

    def _open(self) -> None:
        """Start to look for the servers."""
        self._topology.open()

    def _begin_to_connect(self) -> None:
        self._open()

    def _close_encrypter(self) -> None:
        """Close what encrypts and decrypts, if anything does."""
        if self._encrypter is not None:
            run_steps(self._encrypter.close())

    def _connect(self) -> None:
        """`_open` by PyMongo's name, which Motor wraps."""
        self._open()

    def _close_pools(self) -> None:
        """Close every pool."""
        self._executor.close()

    @property
    def topology_description(self) -> TopologyDescription:
        """What is known of the deployment now, a `TopologyDescription`; starts to look for it."""
        self._open()
        return self._topology.description

    def _pool(self) -> Pool:
        """The pool of a server that takes writes, found if need be."""
        return self._topology.select(until=self._deadline())
