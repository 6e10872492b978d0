"""Who gets which connection, and who waits: decided without a thread, a socket or a clock."""

from __future__ import annotations

from typing import Any

import pytest

from mongokey._support.address import Address
from mongokey.connection.connection import Connection
from mongokey.errors import OperationFailure, PoolClearedError
from mongokey.pool.state import CallingWaiter, PoolDecisions, Waiter
from mongokey.transport.stream import Stream

A, B, C = 1, 2, 3  # threads


def make_connection() -> Connection:
    # A stream's base class: nothing is behind it.
    return Connection(Stream(), Address(("host", 27017)))


class Caller:
    """Somebody who wants a connection."""

    def __init__(self, caller: int, *, stops_thread: bool = False) -> None:
        self.caller = caller
        self.woken = 0
        self.waiter = CallingWaiter(self.wake, caller=caller, stops_thread=stops_thread)

    def wake(self) -> None:
        self.woken += 1


def ready_pool(**options: Any) -> PoolDecisions:
    pool = PoolDecisions(**options)
    pool.ready()
    return pool


def opened(pool: PoolDecisions, caller: int) -> Connection:
    """A connection that `caller` is told to open, and has opened."""
    assert pool.ask(Caller(caller).waiter) == "open"
    connection = make_connection()
    pool.opened_by(caller, connection)
    return connection


def counts(pool: PoolDecisions) -> tuple[int, int, int, int]:
    return pool.in_use, pool.idle_count, pool.connecting, pool.waiting_count


def test_a_new_pool_tells_to_open() -> None:
    pool = ready_pool(max_size=5)
    assert pool.take(A, 0) == (None, [])
    assert pool.ask(Caller(A).waiter) == "open"
    assert counts(pool) == (0, 0, 1, 0)
    pool.opened_by(A, make_connection())
    assert counts(pool) == (1, 0, 0, 0)


def test_the_connection_used_last_is_used_first() -> None:
    pool = ready_pool()
    one, two, three = opened(pool, A), opened(pool, B), opened(pool, C)
    for now, each in enumerate((two, one, three)):
        assert pool.give_back(each, now)
    assert counts(pool) == (0, 3, 0, 0)
    assert [pool.take(A, 9)[0] for _ in range(4)] == [three, one, two, None]
    assert counts(pool) == (3, 0, 0, 0)


def test_what_was_idle_for_too_long_is_to_be_closed() -> None:
    pool = ready_pool(max_idle_ns=100)
    one, two, three = opened(pool, A), opened(pool, A), opened(pool, A)
    pool.give_back(one, 0)
    pool.give_back(two, 50)
    pool.give_back(three, 120)
    assert pool.take(A, 151) == (three, [])
    assert pool.take(A, 151) == (None, [two, one])
    assert counts(pool) == (1, 0, 0, 0)
    pool.give_back(three, 200)
    assert pool.take(A, 300) == (three, [])


def test_max_size_is_kept_and_who_comes_first_is_served_first() -> None:
    pool = ready_pool(max_size=2, max_connecting=5)
    one, two = opened(pool, A), opened(pool, A)
    first, second, third = Caller(B), Caller(C), Caller(B)
    for each in (first, second, third):
        assert pool.take(each.caller, 0)[0] is None
        assert pool.ask(each.waiter) == "wait"
    assert counts(pool) == (2, 0, 0, 3)
    assert pool.give_back(one, 1)
    assert (first.woken, second.woken, third.woken) == (1, 0, 0)
    assert first.waiter.connection is one
    # It was handed over: it never was idle, and nobody in between can take it.
    assert counts(pool) == (2, 0, 0, 2)
    assert pool.take(C, 1)[0] is None
    pool.give_back(two, 2)
    assert second.waiter.connection is two
    assert third.waiter.connection is None
    pool.give_back(one, 3)
    assert third.waiter.connection is one
    pool.give_back(one, 4)
    pool.give_back(two, 4)
    assert counts(pool) == (0, 2, 0, 0)


def test_max_connecting_is_kept() -> None:
    pool = ready_pool(max_size=0, max_connecting=2)
    assert pool.ask(Caller(A).waiter) == "open"
    assert pool.ask(Caller(B).waiter) == "open"
    third, fourth = Caller(C), Caller(C)
    assert pool.ask(third.waiter) == pool.ask(fourth.waiter) == "wait"
    pool.opened_by(A, make_connection())
    # A turn, not a connection: it asks again, and keeps its place if it has to wait on.
    assert (third.woken, third.waiter.connection, fourth.woken) == (1, None, 0)
    assert pool.ask(Caller(C).waiter, again=True) == "open"
    pool.failed_to_open(B)
    assert fourth.woken == 1
    assert pool.ask(Caller(C).waiter, again=True) == "open"
    assert counts(pool) == (1, 0, 2, 0)


def test_who_was_woken_in_vain_keeps_the_place_at_the_front() -> None:
    pool = ready_pool(max_size=1)
    one = opened(pool, A)
    behind = Caller(C)
    assert pool.ask(behind.waiter) == "wait"
    again = Caller(B)
    assert pool.ask(again.waiter, again=True) == "wait"
    pool.give_back(one, 0)
    assert (again.waiter.connection, behind.waiter.connection) == (one, None)


def test_a_broken_connection_gives_its_place_to_the_next() -> None:
    pool = ready_pool(max_size=1)
    one = opened(pool, A)
    waiting = Caller(B)
    assert pool.ask(waiting.waiter) == "wait"
    assert not pool.give_back(one, 0, reusable=False)
    assert waiting.woken == 1
    assert waiting.waiter.connection is None
    assert pool.ask(Caller(B).waiter, again=True) == "open"


def test_who_gives_up_passes_on_what_came_meanwhile() -> None:
    pool = ready_pool(max_size=1)
    one = opened(pool, A)
    tired, next_one, last = Caller(B), Caller(C), Caller(B)
    for each in (tired, next_one, last):
        pool.ask(each.waiter)
    assert pool.give_up(next_one.waiter) is None
    pool.give_back(one, 0)
    assert next_one.woken == 0
    # It was handed over just before it gave up.
    assert pool.give_up(tired.waiter) is one
    assert not pool.give_back(one, 0, reusable=False)
    assert last.woken == 1
    # The turn that it does not use goes on too.
    newcomer = Caller(C)
    assert pool.ask(Caller(A).waiter) == "open"
    pool.ask(newcomer.waiter)
    pool.give_up(last.waiter)
    assert newcomer.woken == 1


def test_an_older_generation_is_closed_when_it_comes_back() -> None:
    pool = ready_pool(max_size=3)
    used, idle = opened(pool, A), opened(pool, A)
    pool.give_back(idle, 0)
    before = pool.generation
    assert pool.clear() == ([idle], [used])
    assert pool.generation == before + 1
    assert counts(pool) == (1, 0, 0, 0)
    assert not pool.give_back(used, 1)
    assert counts(pool) == (0, 0, 0, 0)
    pool.ready()
    # One that was begun before the pool was cleared is not new either.
    assert pool.ask(Caller(A).waiter) == "open"
    late = make_connection()
    pool.opened_by(A, late, before)
    assert not pool.give_back(late, 2)
    fresh = opened(pool, A)
    assert pool.give_back(fresh, 3)


def test_who_waits_when_the_pool_is_cleared_is_told_so_at_once() -> None:
    pool = ready_pool(max_size=1)
    one = opened(pool, A)
    waiting = [Caller(B), Caller(C)]
    for each in waiting:
        pool.ask(each.waiter)
    error = PoolClearedError("host: cleared")
    assert pool.clear(error) == ([], [one])
    for each in waiting:
        assert each.woken == 1
        assert type(each.waiter.error) is PoolClearedError
        assert each.waiter.error is not error
    assert counts(pool) == (1, 0, 0, 0)
    assert pool.ask(Caller(B).waiter, again=True) == "paused"
    pool.ready()
    assert pool.ask(Caller(B).waiter) == "wait"
    assert not pool.give_back(one, 0)


def test_a_refused_login_is_told_to_all_who_wait() -> None:
    pool = ready_pool(max_size=0, max_connecting=1)
    assert pool.ask(Caller(A).waiter) == "open"
    waiting = [Caller(B), Caller(C)]
    for each in waiting:
        assert pool.ask(each.waiter) == "wait"
    error = OperationFailure("Authentication failed.", 18)
    pool.failed_to_open(A, error)
    for each in waiting:
        assert each.woken == 1
        assert isinstance(each.waiter.error, OperationFailure)
        # Each raises its own: a traceback must not be shared by threads.
        assert each.waiter.error is not error
    assert waiting[0].waiter.error is not waiting[1].waiter.error
    assert counts(pool) == (0, 0, 0, 0)


def test_a_thread_does_not_wait_for_itself() -> None:
    pool = ready_pool(max_size=1)
    one = opened(pool, A)
    assert pool.ask(Caller(A, stops_thread=True).waiter) == "held by caller"
    # Where the wait stops nobody else in the thread, what it holds may come back.
    assert pool.ask(Caller(A).waiter) == "wait"
    assert pool.ask(Caller(B, stops_thread=True).waiter) == "wait"
    pool.give_back(one, 0)
    assert pool.waiting_count == 1
    opening = ready_pool(max_size=1)
    assert opening.ask(Caller(A, stops_thread=True).waiter) == "open"
    assert opening.ask(Caller(A, stops_thread=True).waiter) == "held by caller"


def test_threads_that_hold_all_do_not_wait_for_each_other() -> None:
    pool = ready_pool(max_size=2)
    one, two = opened(pool, A), opened(pool, B)
    waiting = Caller(A, stops_thread=True)
    assert pool.ask(waiting.waiter) == "wait"
    # A goes on only after B, so that B would wait for itself.
    assert pool.ask(Caller(B, stops_thread=True).waiter) == "held by caller"
    # C holds nothing that anybody waits for.
    assert pool.ask(Caller(C, stops_thread=True).waiter) == "wait"
    pool.give_back(two, 0)
    assert waiting.woken == 1
    pool.give_back(one, 0)


def test_who_waits_for_a_thread_that_goes_on_waits() -> None:
    pool = ready_pool(max_size=3)
    opened(pool, A), opened(pool, B), opened(pool, C)
    assert pool.ask(Caller(A, stops_thread=True).waiter) == "wait"
    assert pool.ask(Caller(B, stops_thread=True).waiter) == "wait"
    # On a loop, others of its thread go on meanwhile.
    loops = ready_pool(max_size=2)
    opened(loops, A), opened(loops, B)
    assert loops.ask(Caller(A).waiter) == "wait"
    assert loops.ask(Caller(B, stops_thread=True).waiter) == "wait"


def test_who_interrupts_a_waiting_thread_goes_before_it() -> None:
    """A signal handler or a destructor: the wait under it goes on only after this one."""
    pool = ready_pool(max_size=1)
    one = opened(pool, A)
    below, other, above = (Caller(each, stops_thread=True) for each in (B, C, B))
    for each in (below, other, above):
        assert pool.ask(each.waiter) == "wait"
    pool.give_back(one, 0)
    assert above.waiter.connection is one
    pool.give_back(one, 0)
    assert below.waiter.connection is one


def test_a_closed_pool_keeps_nothing_and_wakes_everybody() -> None:
    pool = ready_pool(max_size=2)
    used, idle = opened(pool, A), opened(pool, A)
    waiting = [Caller(B), Caller(C)]
    for each in waiting:
        assert pool.ask(each.waiter) == "wait"
    pool.give_back(idle, 0)
    assert waiting[0].waiter.connection is idle
    assert pool.close() == []
    assert pool.closed
    assert [each.woken for each in waiting] == [1, 1]
    assert pool.ask(Caller(B).waiter, again=True) == "closed"
    assert not pool.give_back(used, 1)
    assert not pool.give_back(idle, 1)
    assert counts(pool) == (0, 0, 0, 0)
    assert pool.close() == []


def test_a_forked_child_begins_with_nothing() -> None:
    pool = ready_pool(max_size=2)
    used, idle = opened(pool, A), opened(pool, A)
    pool.give_back(idle, 0)
    pool.ask(Caller(B).waiter)
    assert pool.reset_after_fork() == [idle]
    assert counts(pool) == (0, 0, 0, 0)
    assert not pool.give_back(used, 1)
    assert counts(pool) == (0, 0, 0, 0)
    # Who was opening one in the parent comes back from there.
    pool.failed_to_open(B)
    assert counts(pool) == (0, 0, 0, 0)


def test_many_callers_over_a_long_time_never_pass_the_limits() -> None:
    """A simulation by turns: nobody is forgotten, none is served twice."""
    pool = ready_pool(max_size=3, max_connecting=2)
    waiting: dict[int, Caller] = {}
    held: dict[int, Connection] = {}
    opening: list[int] = []
    served = set()
    for step in range(4000):
        caller = step % 17
        if caller in held:
            pool.give_back(held.pop(caller), step, reusable=step % 5 != 0)
        elif caller in opening:
            opening.remove(caller)
            if step % 7 == 0:
                pool.failed_to_open(caller)
            else:
                held[caller] = make_connection()
                pool.opened_by(caller, held[caller])
                served.add(caller)
        elif caller not in waiting or waiting[caller].woken:
            known = waiting.pop(caller, None)
            assert known is None or known.woken == 1
            got = None if known is None else known.waiter.connection
            if got is None:
                got = pool.take(caller, step)[0]
            if got is not None:
                held[caller] = got
                served.add(caller)
            else:
                new = Caller(caller)
                if pool.ask(new.waiter, again=known is not None) == "open":
                    opening.append(caller)
                else:
                    waiting[caller] = new
        assert pool.in_use + pool.connecting <= 3
        assert pool.connecting == len(opening) <= 2
        assert pool.in_use >= len(held)
        assert pool.waiting_count == sum(not each.woken for each in waiting.values())
    assert served == set(range(17))


def test_a_waiter_without_a_way_to_be_woken_is_refused() -> None:
    pool = ready_pool(max_size=1)
    one = opened(pool, A)
    pool.ask(Waiter())
    with pytest.raises(NotImplementedError):
        pool.give_back(one, 0)
    with pytest.raises(TypeError):
        pool.ask(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        pool.give_back(object(), 0)  # type: ignore[arg-type]
