"""Pools in tests: connections over socket pairs, nobody behind; what is done to a client's pool.

Knows nothing of servers.
"""

from __future__ import annotations

import socket

from mongokey import MongoClient
from mongokey.connection.connection import Connection
from mongokey.connection.settings import Opening
from mongokey.pool.blocking import BlockingPool
from mongokey.transport.stream import SocketStream

ADDRESS = ("host", 27017)


class ConnectionFactory:
    """Makes connections; `peers` are the other ends."""

    def __init__(self) -> None:
        self.peers: list[socket.socket] = []
        self.made: list[Connection] = []
        self.error: Exception | None = None

    def __call__(self, opening: Opening | None = None) -> Connection:
        if self.error is not None:
            raise self.error
        ours, theirs = socket.socketpair()
        self.peers.append(theirs)
        connection = Connection(SocketStream(ours.detach(), "host:27017"), ADDRESS)
        self.made.append(connection)
        return connection

    def close(self) -> None:
        for peer in self.peers:
            peer.close()
        for connection in self.made:
            connection.close()


def open_one(pool: BlockingPool) -> None:
    """Have `pool` open a connection, which is idle then."""
    pool.check_in(pool.check_out())


def drop_connections(client: MongoClient) -> None:
    """Have the next operations of `client` open new connections."""
    pool = client._pool()
    pool.clear()
    pool.ready()
