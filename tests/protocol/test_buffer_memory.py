"""How much memory a connection keeps from message to message: that of a large one while there are
more of them, as fresh memory costs more than what is done with it; and of few connections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.connection.connection import Connection
from tests.servers.scripted import Request, ScriptedServer, primary

MIB = 1 << 20
SMALL = 300 * 1024


def answer(request: Request) -> dict[str, Any]:
    size = request.document["answer"]
    return {"ok": 1.0, "data": b"x" * size}


@pytest.fixture
def client() -> Iterator[MongoClient]:
    with ScriptedServer(hello=primary(), on={"echo": answer}) as server:
        with MongoClient(server.uri()) as client:
            yield client


def run(client: MongoClient, sent: int, received: int) -> None:
    client["x"].command({"echo": 1, "data": b"x" * sent, "answer": received})


def kept(client: MongoClient) -> int:
    """What the connection keeps that was used last."""
    pool = client._pool()
    connection = pool.check_out()
    pool.check_in(connection)
    return connection.kept_memory


@pytest.mark.parametrize(("sent", "received"), [(MIB, 0), (0, MIB)])
def test_memory_is_kept_while_messages_are_large(
    client: MongoClient, sent: int, received: int
) -> None:
    for _ in range(3):
        run(client, sent, received)
        assert MIB < kept(client) < 4 * MIB
        # Such as a cursor's end, and what finds the next thing to read.
        run(client, 0, 0)
        run(client, 0, 0)
        assert kept(client) > MIB


@pytest.mark.parametrize(("sent", "received"), [(MIB, 0), (0, MIB), (MIB, MIB)])
def test_memory_is_given_back_once_they_are_small(
    client: MongoClient, sent: int, received: int
) -> None:
    run(client, sent, received)
    for _ in range(10):
        run(client, 0, 0)
    assert kept(client) < SMALL


@pytest.mark.parametrize(("sent", "received"), [(5 * MIB, 0), (0, 5 * MIB)])
def test_the_memory_of_a_very_large_message_is_never_kept(
    client: MongoClient, sent: int, received: int
) -> None:
    run(client, sent, received)
    assert kept(client) < SMALL


def test_of_several_connections_the_one_used_last_keeps_it(client: MongoClient) -> None:
    pool = client._pool()
    connections: list[Connection] = [pool.check_out() for _ in range(3)]
    for connection in connections:
        connection.command("x", {"echo": 1, "data": b"x" * MIB, "answer": MIB})
        assert connection.kept_memory > 2 * MIB
    for connection in connections:
        pool.check_in(connection)
    assert [connection.kept_memory > MIB for connection in connections] == [False, False, True]
    assert connections[0].kept_memory < SMALL
