"""Selecting servers in tasks: the rules are the topology's, tested in test_topology; here is how
tasks wait, and what they leave behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from typing import Any

import pytest

from mongokey.errors import ConfigurationError, InvalidOperation, ServerSelectionTimeoutError
from mongokey.topology.aio_selection import drive, open_topology, select
from mongokey.topology.topology import Topology
from tests.servers.scripted import primary, secondary, standalone
from tests.unit.test_topology import A, B, Deployment, replica_set


def watchers(topology: Topology) -> int:
    return len(topology._watchers)


def test_a_server_that_is_known_is_selected_at_once() -> None:
    deployment = replica_set()
    assert asyncio.run(select(deployment.topology)) is deployment.topology.pool(A)


def test_tasks_wait_together_for_a_server_and_go_on_when_it_is_found() -> None:
    deployment = Deployment(A)

    async def main() -> None:
        tasks = [asyncio.create_task(select(deployment.topology)) for _ in range(100)]
        await asyncio.sleep(0.02)
        assert watchers(deployment.topology) == 100
        # As the monitor of a blocking client would: in another thread.
        await asyncio.to_thread(deployment.say, A, standalone())
        assert {pool.address for pool in await asyncio.gather(*tasks)} == {A}
        assert watchers(deployment.topology) == 0

    asyncio.run(main())


def test_a_change_that_helps_nobody_lets_them_wait_on() -> None:
    deployment = replica_set()
    topology = deployment.topology
    deployment.say(A, secondary(hosts=["a:1", "b:2", "c:3"], me="a:1"))

    async def main() -> None:
        task = asyncio.create_task(select(topology))
        await asyncio.sleep(0.02)
        deployment.say(B, secondary(hosts=["a:1", "b:2", "c:3"], me="b:2"))
        await asyncio.sleep(0.02)
        assert not task.done()
        deployment.say(B, primary(hosts=["a:1", "b:2", "c:3"], me="b:2", primary="b:2"))
        assert (await task).address == B

    asyncio.run(main())


def test_who_waits_too_long_is_told_what_is_known() -> None:
    deployment = Deployment(A, timeout=0.05)

    async def main() -> None:
        with pytest.raises(ServerSelectionTimeoutError, match="no answer yet from a:1"):
            await select(deployment.topology)

    asyncio.run(main())
    assert watchers(deployment.topology) == 0


def test_a_cancelled_task_leaves_no_watcher() -> None:
    deployment = Deployment(A)

    async def main() -> None:
        task = asyncio.create_task(select(deployment.topology))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert watchers(deployment.topology) == 0

    asyncio.run(main())


def test_closing_wakes_who_waits() -> None:
    deployment = Deployment(A)

    async def main() -> None:
        task = asyncio.create_task(select(deployment.topology))
        await asyncio.sleep(0.02)
        deployment.topology.close()
        with pytest.raises(InvalidOperation, match="after close"):
            await task

    asyncio.run(main())


def test_a_loop_that_is_gone_is_no_trouble_for_a_change() -> None:
    deployment = Deployment(A)
    loop = asyncio.new_event_loop()
    waiting = select(deployment.topology)

    async def begin() -> None:
        waiting.send(None)

    loop.run_until_complete(begin())
    loop.close()
    deployment.say(A, standalone())
    waiting.close()
    assert watchers(deployment.topology) == 0


def test_a_paused_server_is_waited_for() -> None:
    deployment = Deployment(A)
    topology = deployment.topology
    topology.open()
    pool = topology.pool(A)
    assert pool is not None

    async def main() -> None:
        task = asyncio.create_task(drive(topology, topology.availability(pool)))
        await asyncio.sleep(0.02)
        assert not task.done()
        deployment.say(A, standalone())
        await task
        assert not pool.paused

    asyncio.run(main())


# -- DNS ------------------------------------------------------------------------------------------


class Dns:
    """Answers when it is let, in the thread that asks; counts the questions."""

    def __init__(self, answer: Any = ([A], None, False)) -> None:
        self.answer = answer
        self.may_answer = threading.Event()
        self.asked_in: list[int] = []

    def __call__(self) -> Any:
        self.asked_in.append(threading.get_ident())
        assert self.may_answer.wait(20)
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def test_dns_is_asked_once_for_all_who_wait_and_not_in_the_loops_thread() -> None:
    dns = Dns()
    deployment = Deployment(resolve_srv=dns, servers={"a": standalone()})

    async def main() -> None:
        tasks = [asyncio.create_task(select(deployment.topology)) for _ in range(20)]
        began = time.monotonic()
        await asyncio.sleep(0.05)
        assert time.monotonic() - began < 10
        dns.may_answer.set()
        assert {pool.address for pool in await asyncio.gather(*tasks)} == {A}

    asyncio.run(main())
    assert len(dns.asked_in) == 1
    assert threading.get_ident() not in dns.asked_in


def test_an_error_of_dns_is_everybodys_and_the_next_asks_again() -> None:
    dns = Dns(ConfigurationError("no such name"))
    dns.may_answer.set()
    deployment = Deployment(resolve_srv=dns, servers={"a": standalone()})

    async def main() -> None:
        tasks = [asyncio.create_task(select(deployment.topology)) for _ in range(3)]
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, ConfigurationError)
        dns.answer = ([A], None, False)
        assert (await select(deployment.topology)).address == A

    asyncio.run(main())
    assert len(dns.asked_in) == 2


def test_the_question_goes_on_when_who_asked_is_cancelled() -> None:
    dns = Dns()
    deployment = Deployment(resolve_srv=dns, servers={"a": standalone()})

    async def main() -> None:
        first = asyncio.create_task(select(deployment.topology))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(select(deployment.topology))
        await asyncio.sleep(0.01)
        first.cancel()
        dns.may_answer.set()
        assert (await second).address == A
        assert first.cancelled()

    asyncio.run(main())
    assert len(dns.asked_in) == 1


def test_a_name_server_that_is_silent_is_given_up() -> None:
    dns = Dns()
    deployment = Deployment(resolve_srv=dns, timeout=0.05)

    async def main() -> None:
        with pytest.raises(ServerSelectionTimeoutError, match="DNS has not yet said"):
            await open_topology(deployment.topology)
        dns.may_answer.set()

    asyncio.run(main())


def test_a_question_of_a_loop_that_is_gone_is_asked_again() -> None:
    dns = Dns()
    deployment = Deployment(resolve_srv=dns, servers={"a": standalone()})

    async def give_up() -> None:
        task = asyncio.create_task(select(deployment.topology))
        await asyncio.sleep(0.02)
        task.cancel()

    asyncio.run(give_up())
    dns.may_answer.set()
    assert asyncio.run(select(deployment.topology)).address == A


def test_a_loop_that_is_closed_before_dns_has_answered_says_nothing(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    dns = Dns()
    deployment = Deployment(resolve_srv=dns)
    loop = asyncio.new_event_loop()

    async def begin() -> None:
        task = asyncio.ensure_future(select(deployment.topology))
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.wait([task])

    loop.run_until_complete(begin())
    loop.close()
    deployment.topology.question = None
    gc.collect()
    dns.may_answer.set()
    assert [str(each.message) for each in recwarn] == []
    assert caplog.records == []
