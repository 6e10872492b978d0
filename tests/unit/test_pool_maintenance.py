"""Who prunes and fills pools, and when: the thread and the clock are the test's."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from mongokey._support.jobs import run_job
from mongokey.pool.maintenance import PoolMaintenance


class FakeJob:
    def __init__(self, job: Callable[[], object]) -> None:
        self.job = job
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeBackground:
    """Does what it is given when the test says so."""

    def __init__(self) -> None:
        self.jobs: list[FakeJob] = []
        self.beside: list[Callable[[], object]] = []
        self.has_threads = True
        self.restarted = 0

    def call_every(self, period_ns: int, job: Callable[[], object]) -> FakeJob:
        assert period_ns == 1_000_000_000
        self.jobs.append(FakeJob(job))
        return self.jobs[-1]

    def run_beside(self, job: Callable[[], object]) -> bool:
        self.beside.append(job)
        return self.has_threads

    def restart(self) -> None:
        self.restarted += 1

    def pass_a_period(self) -> None:
        for each in [each for each in self.jobs if not each.cancelled]:
            each.job()

    def work_off(self) -> None:
        while self.beside:
            run_job(self.beside.pop(0))


class FakePool:
    def __init__(self, wanted: int = 0, error: Exception | None = None) -> None:
        self.wanted = wanted
        self.error = error
        self.pruned = self.filled = 0

    def prune(self) -> None:
        self.pruned += 1

    def wants_connections(self) -> bool:
        return self.wanted > 0

    def fill(self) -> None:
        self.filled += 1
        if self.error is not None:
            raise self.error
        self.wanted = 0


class FakeTopology:
    def __init__(self, *pools: Any) -> None:
        self.pools = list(pools)


@pytest.fixture
def background() -> FakeBackground:
    return FakeBackground()


def test_pools_are_pruned_each_period_and_filled_beside(background: FakeBackground) -> None:
    topology = FakeTopology(FakePool(), FakePool(wanted=2))
    kept = PoolMaintenance(topology, background)
    background.pass_a_period()
    assert not background.jobs
    kept.maintain()
    kept.maintain()
    assert len(background.jobs) == 1
    background.pass_a_period()
    assert [each.pruned for each in topology.pools] == [1, 1]
    assert [each.filled for each in topology.pools] == [0, 0]
    # Filling takes longer than a period: it is not begun twice.
    background.pass_a_period()
    assert len(background.beside) == 1
    background.work_off()
    assert [each.filled for each in topology.pools] == [0, 1]
    background.pass_a_period()
    assert not background.beside
    assert topology.pools[0].pruned == 3


def test_filling_goes_on_after_an_error_or_without_a_thread(background: FakeBackground) -> None:
    topology = FakeTopology(FakePool(wanted=1, error=ValueError("unforeseen")))
    kept = PoolMaintenance(topology, background)
    kept.maintain()
    background.pass_a_period()
    with pytest.raises(ValueError, match="unforeseen"):
        background.work_off()
    background.has_threads = False
    background.pass_a_period()
    background.has_threads = True
    background.pass_a_period()
    topology.pools[0].error = None
    background.work_off()
    assert topology.pools[0].wanted == 0


def test_housekeeping_is_called_once_however_often_it_is_woken(
    background: FakeBackground,
) -> None:
    calls: list[int] = []
    topology = FakeTopology()
    kept = PoolMaintenance(topology, background, lambda: calls.append(1))
    for _ in range(100):
        assert kept.wake()
    assert len(background.beside) == 1
    background.work_off()
    assert calls == [1]
    assert kept.wake()
    background.work_off()
    assert calls == [1, 1]
    assert not background.jobs


def test_housekeeping_that_is_not_done_is_tried_each_period(background: FakeBackground) -> None:
    outcomes = [False, False, True]
    topology = FakeTopology()
    kept = PoolMaintenance(topology, background, lambda: outcomes.pop(0))
    kept.wake()
    background.work_off()
    assert len(background.jobs) == 1
    for left in (1, 0):
        background.pass_a_period()
        background.work_off()
        assert len(outcomes) == left
    assert [each.cancelled for each in background.jobs] == [True]


def test_without_a_thread_it_is_woken_again_by_the_next(background: FakeBackground) -> None:
    calls: list[int] = []
    topology = FakeTopology()
    kept = PoolMaintenance(topology, background, lambda: calls.append(1))
    background.has_threads = False
    assert not kept.wake()
    background.has_threads = True
    assert kept.wake()
    background.work_off()
    assert calls


def test_other_jobs_are_done_beside(background: FakeBackground) -> None:
    calls: list[int] = []
    topology = FakeTopology()
    kept = PoolMaintenance(topology, background)
    assert kept.wake(lambda: calls.append(1))
    kept.stop()
    background.work_off()
    assert calls == [1]
    assert not kept.wake(lambda: calls.append(2))


def test_nothing_is_done_after_the_end(background: FakeBackground) -> None:
    topology = FakeTopology(FakePool(wanted=1))
    kept = PoolMaintenance(topology, background, lambda: False)
    kept.maintain()
    kept.wake()
    background.work_off()
    kept.stop()
    assert all(each.cancelled for each in background.jobs)
    for each in background.jobs:
        each.job()
    assert topology.pools[0].pruned == 0
    kept.maintain()
    assert len(background.jobs) == 2


def test_the_jobs_keep_neither_pools_nor_maintenance_alive(background: FakeBackground) -> None:
    topology = FakeTopology(FakePool())
    kept = PoolMaintenance(topology, background, lambda: False)
    kept.maintain()
    kept.wake()
    background.work_off()
    gone = weakref.ref(topology), weakref.ref(kept)
    del topology
    background.pass_a_period()
    background.work_off()
    del kept
    gc.collect()
    assert [each() for each in gone] == [None, None]
    background.pass_a_period()


def test_a_forked_child_goes_on_with_what_it_was_to_do(background: FakeBackground) -> None:
    topology = FakeTopology(FakePool(wanted=1))
    kept = PoolMaintenance(topology, background, lambda: True)
    kept.restart_after_fork()
    assert background.restarted == 0
    kept.maintain()
    background.pass_a_period()
    assert kept.wake()
    # What waited for its turn was the parent's.
    background.beside.clear()
    kept.reset_after_fork()
    kept.restart_after_fork()
    assert background.restarted == 1
    assert kept.wake()
    background.pass_a_period()
    background.work_off()
    assert topology.pools[0].filled == 1


def test_a_pool_that_becomes_ready_is_filled_at_once_even_while_others_are(
    background: FakeBackground,
) -> None:
    late = FakePool()

    class Early(FakePool):
        def fill(self) -> None:
            super().fill()
            late.wanted = 1  # becomes ready now, after it was looked at
            kept.fill_soon()

    topology = FakeTopology(late, Early(wanted=1))
    kept = PoolMaintenance(topology, background)
    kept.fill_soon()
    kept.fill_soon()
    assert len(background.beside) == 1
    background.work_off()
    assert (late.filled, late.wanted) == (1, 0)
    assert not background.beside
    kept.stop()
    kept.fill_soon()
    assert not background.beside
