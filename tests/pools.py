"""What tests do to the pool of a client. Knows nothing of servers."""

from __future__ import annotations

from mongokey import MongoClient


def drop_connections(client: MongoClient) -> None:
    """Have the next operations of `client` open new connections."""
    pool = client._pool()
    pool.clear()
    pool.ready()
