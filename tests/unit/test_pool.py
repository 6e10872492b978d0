"""What can be seen of a pool without a client: connections over socket pairs, nobody behind."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from mongokey.errors import AutoReconnect
from mongokey.pool.blocking import BlockingPool
from tests.pools import ADDRESS, ConnectionFactory, open_one


@pytest.fixture
def factory() -> Iterator[ConnectionFactory]:
    factory = ConnectionFactory()
    yield factory
    factory.close()


def ready_pool(connect: ConnectionFactory, **options: Any) -> BlockingPool:
    pool = BlockingPool(ADDRESS, connect, **options)
    pool.ready()
    return pool


def test_a_new_pool_is_empty_and_says_so(factory: ConnectionFactory) -> None:
    pool = BlockingPool(ADDRESS, factory, max_size=7, min_size=1, max_connecting=3)
    assert (pool.idle_count, pool.in_use, pool.connecting) == (0, 0, 0)
    assert (pool.max_size, pool.min_size, pool.max_connecting) == (7, 1, 3)
    assert pool.address == ADDRESS
    assert not pool.closed
    assert "host:27017" in repr(pool)
    assert "[::1]:5" in repr(BlockingPool(("::1", 5), factory))
    assert "/tmp/x.sock" in repr(BlockingPool(("/tmp/x.sock", None), factory))


def test_a_connection_that_was_closed_is_not_taken_back(factory: ConnectionFactory) -> None:
    pool = ready_pool(factory)
    connection = pool.check_out()
    connection.close()
    pool.check_in(connection)
    assert (pool.idle_count, pool.in_use) == (0, 0)


def test_pruning_opens_up_to_min_size(factory: ConnectionFactory) -> None:
    pool = ready_pool(factory, min_size=3, max_connecting=1)
    pool.fill()
    assert pool.idle_count == 3
    pool.fill()
    assert len(factory.made) == 3


def test_pruning_closes_what_is_idle_for_too_long(factory: ConnectionFactory) -> None:
    pool = ready_pool(factory, max_idle_ns=1000)
    open_one(pool)
    threading.Event().wait(0.01)
    pool.prune()
    assert pool.idle_count == 0
    assert factory.made[0].closed
    steady = ready_pool(factory, max_idle_ns=60_000_000_000)
    open_one(steady)
    steady.prune()
    assert steady.idle_count == 1


def test_a_connection_that_cannot_be_opened_leaves_the_counts_right(
    factory: ConnectionFactory,
) -> None:
    pool = ready_pool(factory, min_size=2)
    factory.error = AutoReconnect("refused")
    pool.fill()
    assert (pool.idle_count, pool.in_use, pool.connecting) == (0, 0, 0)
    factory.error = None
    pool.fill()
    assert pool.idle_count == 2


def test_clearing_closes_what_is_idle(factory: ConnectionFactory) -> None:
    pool = ready_pool(factory)
    open_one(pool)
    generation = pool.generation
    pool.clear()
    assert pool.idle_count == 0
    assert factory.made[0].closed
    assert pool.generation == generation + 1
    pool.ready()
    open_one(pool)
    assert pool.idle_count == 1


def test_closing_is_for_good(factory: ConnectionFactory) -> None:
    pool = ready_pool(factory, min_size=2)
    pool.fill()
    lent = pool.check_out()
    pool.close()
    pool.close()
    pool.check_in(lent)
    assert pool.closed
    assert all(each.closed for each in factory.made)
    pool.fill()
    assert pool.idle_count == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_child_starts_with_an_empty_pool_and_leaves_the_parent_s_open(
    factory: ConnectionFactory,
) -> None:
    pool = ready_pool(factory)
    open_one(pool)
    pid = os.fork()
    if pid == 0:
        right = pool.idle_count == pool.in_use == pool.connecting == 0
        os._exit(0 if right and factory.made[0].closed else 1)
    _, status = os.waitpid(pid, 0)
    assert status == 0
    assert pool.idle_count == 1
    factory.peers[0].setblocking(False)
    # The child's exit did not end the connection for the other side.
    with pytest.raises(BlockingIOError):
        factory.peers[0].recv(1)
