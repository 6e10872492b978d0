"""The pool of server sessions and the cluster time, as values: no server, no clock."""

from __future__ import annotations

import uuid

from mongokey.sessions.server_session import ClusterTime, ServerSession, ServerSessionPool

MINUTE = 60 * 10**9
TIMEOUT = 30 * MINUTE


def test_a_session_is_a_random_uuid_of_version_4() -> None:
    identifiers = {uuid.UUID(bytes=ServerSession().session_id) for _ in range(100)}
    assert len(identifiers) == 100
    assert {(each.version, each.variant) for each in identifiers} == {(4, uuid.RFC_4122)}


def test_the_session_used_last_is_used_next() -> None:
    pool = ServerSessionPool()
    taken = [pool.take(0, TIMEOUT) for _ in range(4)]
    assert len({each.session_id for each in taken}) == 4
    for session in taken:
        pool.give_back(session)
    assert pool.idle == taken
    assert [pool.take(0, TIMEOUT) for _ in range(4)] == taken[::-1]
    assert pool.idle == []


def test_a_session_is_not_used_in_the_last_minute_that_its_server_keeps_it() -> None:
    pool = ServerSessionPool()
    session = pool.take(0, TIMEOUT)
    session.last_used_ns = 5 * MINUTE
    pool.give_back(session)
    end = 5 * MINUTE + TIMEOUT - MINUTE
    assert pool.take(end - 1, TIMEOUT) is session
    pool.give_back(session)
    assert pool.take(end, TIMEOUT) is not session
    assert pool.idle == []


def test_sessions_that_are_too_old_make_room_for_those_below_that_are_not() -> None:
    pool = ServerSessionPool()
    young, old, older = (pool.take(0, TIMEOUT) for _ in range(3))
    young.last_used_ns = 20 * MINUTE
    for session in (young, old, older):
        pool.give_back(session)
    assert pool.take(40 * MINUTE, TIMEOUT) is young
    assert pool.idle == []


def test_a_server_that_forgets_at_once_gets_a_new_session_each_time() -> None:
    pool = ServerSessionPool()
    session = pool.take(0, MINUTE)
    pool.give_back(session)
    assert pool.take(0, MINUTE) is not session


def test_a_dirty_session_is_dropped() -> None:
    pool = ServerSessionPool()
    session = pool.take(0, TIMEOUT)
    session.dirty = True
    pool.give_back(session)
    assert pool.idle == []
    assert pool.take(0, TIMEOUT) is not session


def test_a_closed_pool_keeps_nothing() -> None:
    pool = ServerSessionPool()
    kept, held = pool.take(0, TIMEOUT), pool.take(0, TIMEOUT)
    pool.give_back(kept)
    pool.close()
    pool.give_back(held)
    assert pool.idle == []


def test_looking_at_the_idle_sessions_takes_none() -> None:
    pool = ServerSessionPool()
    session = pool.take(0, TIMEOUT)
    pool.give_back(session)
    pool.idle.clear()
    assert pool.idle == [session]


def test_after_a_fork_the_parents_sessions_are_not_used() -> None:
    pool = ServerSessionPool()
    idle, held = pool.take(0, TIMEOUT), pool.take(0, TIMEOUT)
    pool.give_back(idle)
    pool.reset_after_fork()
    pool.give_back(held)
    assert pool.idle == []
    assert pool.forks == 1
    own = pool.take(0, TIMEOUT)
    pool.give_back(own)
    assert pool.idle == [own]


def test_there_is_no_cluster_time_at_first() -> None:
    assert ClusterTime().encoded is None
