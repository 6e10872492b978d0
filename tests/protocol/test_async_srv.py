"""DNS for asyncio clients: the names of a mongodb+srv string are asked for in a thread, and again
now and then; the loop goes on meanwhile."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mongokey import AsyncMongoClient
from mongokey.dns import polling as polling_module
from mongokey.errors import ConfigurationError, InvalidOperation, ServerSelectionTimeoutError
from mongokey.options.connection_string import DNSAnswer, SRVQuestion
from tests.monitors import own_threads
from tests.protocol.test_async_loops import LOOPS, Runner, ping, soon
from tests.servers.scripted import ScriptedServer, mongos

URI = "mongodb+srv://db.example.test/?tls=false"


class Names:
    """A resolver of the application's: it takes its time, and notes who asks."""

    def __init__(self, *answers: Any, takes_s: float = 0.2) -> None:
        self.answers = list(answers)
        self.takes_s = takes_s
        self.asked: list[str] = []

    def __call__(self, question: SRVQuestion) -> DNSAnswer:
        self.asked.append(threading.current_thread().name)
        time.sleep(self.takes_s)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return DNSAnswer(answer)


@pytest.fixture(params=LOOPS)
def runner(request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]) -> Iterator[Runner]:
    made = Runner(request.param)
    yield made
    gc.collect()
    assert made.complaints == []
    assert capfd.readouterr().err == ""
    deadline = time.monotonic() + 10
    while own_threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert own_threads() == []


@pytest.fixture
def routers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ScriptedServer]]:
    """Two routers; the names of hosts are those of this machine."""
    from mongokey.connection import step_loop
    from mongokey.transport import names

    def here(host: str, port: int) -> Any:
        return names.known_addresses("127.0.0.1", port)

    monkeypatch.setattr(step_loop, "known_addresses", here)
    with ScriptedServer(hello=mongos()) as one, ScriptedServer(hello=mongos()) as other:
        yield [one, other]


def named(*servers: ScriptedServer) -> list[tuple[str, int]]:
    return [(f"host{at}.example.test", server.port) for at, server in enumerate(servers)]


class Watchdog:
    """How long the loop was held up at most, in seconds, between its entry and its exit."""

    async def __aenter__(self) -> Watchdog:
        self.longest_s = 0.0
        self._task = asyncio.ensure_future(self._tick())
        await asyncio.sleep(0)
        return self

    async def _tick(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.001)
            now = time.monotonic()
            self.longest_s, last = max(self.longest_s, now - last), now

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


def test_names_are_asked_for_once_by_the_first_operations_in_a_thread(
    routers: list[ScriptedServer], runner: Runner
) -> None:
    names = Names(named(*routers), takes_s=2.0)
    client: AsyncMongoClient[Any] = AsyncMongoClient(URI, srv_resolver=names)
    assert names.asked == []

    async def main() -> None:
        assert names.asked == []
        async with Watchdog() as dog:
            await asyncio.gather(*[client.admin.command("ping") for _ in range(20)])
        assert names.asked == ["mongokey-look-up"]
        assert dog.longest_s < 1.8
        assert {port for _, port in client.nodes} <= {each.port for each in routers}
        await client.close()

    runner.run(main)


def test_what_dns_says_against_it_is_told_and_it_is_asked_again(
    routers: list[ScriptedServer], runner: Runner
) -> None:
    names = Names(ConfigurationError("no such name"), named(*routers), takes_s=0.05)
    client: AsyncMongoClient[Any] = AsyncMongoClient(URI, srv_resolver=names)

    async def main() -> None:
        work = [client.admin.command("ping") for _ in range(3)]
        outcomes = await asyncio.gather(*work, return_exceptions=True)
        assert [type(each) for each in outcomes] == [ConfigurationError] * 3
        await ping(client)
        assert len(names.asked) == 2
        await client.close()

    runner.run(main)


def test_who_is_cancelled_while_dns_is_asked_leaves_the_others_their_answer(
    routers: list[ScriptedServer], runner: Runner
) -> None:
    names = Names(named(*routers))
    client: AsyncMongoClient[Any] = AsyncMongoClient(URI, srv_resolver=names)

    async def main() -> None:
        tasks = [asyncio.ensure_future(ping(client)) for _ in range(3)]
        assert await soon(lambda: names.asked)
        tasks[0].cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(outcomes.pop(0), asyncio.CancelledError)
        assert outcomes == [None, None]
        # All of them.
        await client.close()

    runner.run(main)
    assert len(names.asked) == 1


@pytest.mark.parametrize("end", ["close", "timeout", "loop"])
def test_nobody_waits_for_a_dns_that_is_silent(
    routers: list[ScriptedServer], runner: Runner, end: str
) -> None:
    names = Names(named(*routers), takes_s=4.0)
    client: AsyncMongoClient[Any] = AsyncMongoClient(
        URI, srv_resolver=names, serverSelectionTimeoutMS=300 if end == "timeout" else 20_000
    )

    async def main() -> None:
        began = time.monotonic()
        task = asyncio.ensure_future(ping(client))
        assert await soon(lambda: names.asked)
        if end == "loop":
            return
        if end == "close":
            await client.close()
        with pytest.raises(InvalidOperation if end == "close" else ServerSelectionTimeoutError):
            await task
        assert time.monotonic() - began < 3.8
        await client.close()

    runner.run(main)
    if end == "loop":
        # In the next one it is asked anew.
        runner.run(lambda: ping(client))
        assert len(names.asked) == 2
        runner.run(client.close)


def test_names_are_asked_for_again_now_and_then_and_the_loop_goes_on(
    routers: list[ScriptedServer], runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling_module, "poll_interval_s", lambda ttl_s: 0.05)
    one, other = routers
    names = Names(named(one), named(one), named(one, other), takes_s=1.0)
    client: AsyncMongoClient[Any] = AsyncMongoClient(URI, srv_resolver=names)

    async def main() -> None:
        await ping(client)
        async with Watchdog() as dog:
            assert await soon(lambda: {port for _, port in client.nodes} == {one.port, other.port})
        assert set(names.asked[1:]) == {"mongokey-background"}
        assert dog.longest_s < 0.95
        # One at a time, and only as long as the client is there.
        await client.close()

    runner.run(main)
    asked = len(names.asked)
    time.sleep(1.5)
    assert len(names.asked) <= asked + 1


def test_in_each_loop_there_is_one_who_asks(
    routers: list[ScriptedServer], runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling_module, "poll_interval_s", lambda ttl_s: 0.2)
    names = Names(named(routers[0]), takes_s=0.0)
    client: AsyncMongoClient[Any] = AsyncMongoClient(URI, srv_resolver=names)

    async def main() -> None:
        await ping(client)
        names.asked.clear()
        began = time.monotonic()
        assert await soon(lambda: len(names.asked) >= 4)
        assert len(names.asked) <= (time.monotonic() - began) / 0.2 + 1

    for _ in range(4):
        runner.run(main)
    runner.run(client.close)
