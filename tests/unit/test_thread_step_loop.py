"""The thread of a loop of steps: what it does, and that it ends."""

from __future__ import annotations

from mongokey.connection.thread_step_loop import ThreadStepLoop


def test_a_closed_loop_begins_nothing_more_of_what_waits() -> None:
    # As where a set names thousands of members, each of which is yet to be watched.
    loop = ThreadStepLoop()
    done: list[int] = []
    loop.call(lambda: done.append(1))
    loop.call(loop.close)
    loop.call(lambda: done.append(2))
    loop.run()
    assert done == [1]
