"""The registry of what a forked child makes anew: weak, cheap, and nobody is left out."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mongokey._support import fork
from mongokey._support.fork import call_after_fork, run_after_fork
from mongokey._support.single_flight import SingleFlight

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


class Object:
    """Notes its resets."""

    def __init__(self) -> None:
        self.resets = 0
        call_after_fork(self)

    def reset_after_fork(self) -> None:
        self.resets += 1


def in_child(call: Callable[[], bool]) -> bool:
    child = os.fork()
    if child == 0:
        code = 2
        try:
            code = 0 if call() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_objects_are_reset_in_the_child_and_only_there() -> None:
    one, two = Object(), Object()
    assert in_child(lambda: one.resets == two.resets == 1)
    assert one.resets == two.resets == 0


def test_a_grandchild_resets_again() -> None:
    one = Object()
    assert in_child(lambda: in_child(lambda: one.resets == 2) and one.resets == 1)


def test_an_object_is_not_kept_alive() -> None:
    gone: list[int] = []

    class Ending(Object):
        def __del__(self) -> None:
            gone.append(1)

    Ending()
    gc.collect()
    assert gone == [1]


def test_dead_objects_do_not_fill_the_memory() -> None:
    kept = [Object() for _ in range(100)]
    before = len(fork._objects)
    for _ in range(10_000):
        Object()
    assert len(fork._objects) <= 4 * before
    assert in_child(lambda: all(each.resets == 1 for each in kept))


def test_objects_that_begin_while_dead_ones_are_dropped_are_not_lost() -> None:
    kept: list[Object] = []

    def work() -> None:
        for number in range(2000):
            made = Object()
            if number % 50 == 0:
                kept.append(made)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept) == 8 * 40
    assert in_child(lambda: all(each.resets == 1 for each in kept))


def test_a_child_forked_while_dead_ones_are_dropped_drops_them_itself() -> None:
    with fork._dropping:
        assert in_child(lambda: not fork._dropping.locked())


def test_restarts_come_when_all_are_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    class First(Object):
        def reset_after_fork(self) -> None:
            order.append("reset")

        def restart_after_fork(self) -> None:
            order.append("restart")

    class Second(Object):
        def reset_after_fork(self) -> None:
            order.append("reset")

    objects: list[Any] = [First(), Second()]
    assert in_child(lambda: len(objects) == 2 and order == ["reset", "reset", "restart"])


def test_an_object_that_fails_is_reported_and_leaves_nobody_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reported: list[str] = []
    monkeypatch.setattr("sys.unraisablehook", lambda found: reported.append(str(found.exc_value)))

    class Failing(Object):
        def reset_after_fork(self) -> None:
            raise ValueError("cannot be reset")

    bad, good = Failing(), Object()
    assert in_child(lambda: (good.resets, bad.resets, reported) == (1, 0, ["cannot be reset"]))


def test_functions_are_run_before_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork, "_functions", list(fork._functions))
    order: list[str] = []

    class Last(Object):
        def reset_after_fork(self) -> None:
            order.append("object")

    last = Last()

    @run_after_fork
    def reset() -> None:
        order.append("function")

    assert in_child(lambda: last is not None and order == ["function", "object"])
    assert order == []


def test_c_classes_are_objects_too() -> None:
    flights = SingleFlight()
    flights.join("key")
    gone = threading.Thread(target=flights.join, args=("other",))
    gone.start()
    gone.join()
    # The child's only thread makes the one; who made the other does not exist there.
    assert in_child(lambda: set(flights._flights) == {"key"})
    assert set(flights._flights) == {"key", "other"}


def test_an_object_without_weak_references_is_refused() -> None:
    with pytest.raises(TypeError, match="weak reference"):
        call_after_fork(object())  # type: ignore[arg-type]
