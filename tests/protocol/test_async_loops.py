"""Clients and event loops: one loop after the other, two at once, loops that end in the middle of
something, forked children, clients that nobody closes. Nothing is left, and nothing is said."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

import mongokey
from mongokey import AsyncMongoClient
from mongokey.errors import InvalidOperation
from mongokey.pool import maintenance
from tests.monitors import own_threads
from tests.protocol.test_async_connection_tls import files as pem_files
from tests.protocol.test_async_connection_tls import server_context
from tests.servers.scripted import (
    Hold,
    ScriptedServer,
    Silence,
    primary,
    secondary,
)

KEPT_OPEN = {"ok": 1.0, "cursor": {"id": 7, "ns": "x.y", "firstBatch": [{"_id": 1}, {"_id": 2}]}}
PATIENCE = 20.0
__all__ = ["pem_files"]  # a fixture
LOOPS = ["asyncio"] if sys.platform == "win32" else ["asyncio", "uvloop"]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(hello=primary(), on={"find": KEPT_OPEN}) as server:
        yield server


class Runner:
    """Runs coroutines as `asyncio.run` does, in debug mode; what the loops complain of is kept."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.complaints: list[str] = []

    def new_loop(self) -> asyncio.AbstractEventLoop:
        if self.kind == "uvloop":
            import uvloop

            loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        else:
            loop = asyncio.new_event_loop()
        loop.set_debug(True)
        loop.slow_callback_duration = 10.0
        loop.set_exception_handler(lambda _, context: self.complaints.append(repr(context)))
        return loop

    def run(self, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        """What `asyncio.run(work())` does."""
        loop = self.new_loop()
        try:
            return loop.run_until_complete(work())
        finally:
            try:
                tasks = asyncio.all_tasks(loop)
                for task in tasks:
                    task.cancel()
                if tasks:
                    loop.run_until_complete(asyncio.wait(tasks))
                loop.run_until_complete(loop.shutdown_asyncgens())
                loop.run_until_complete(loop.shutdown_default_executor())
            finally:
                loop.close()


@pytest.fixture(params=LOOPS)
def runner(request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]) -> Iterator[Runner]:
    made = Runner(request.param)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield made
        gc.collect()
    # Python 3.12 warns of every fork where there are threads, as those of a scripted server are.
    words = "was never closed", "use of fork() may lead to deadlocks"
    allowed = [each for each in caught if any(word in str(each.message) for word in words)]
    made.complaints += [str(each) for each in caught if each not in allowed]
    assert made.complaints == []
    assert capfd.readouterr().err == ""
    assert own_threads() == []


async def ping(client: AsyncMongoClient[Any]) -> None:
    assert (await client.admin.command("ping"))["ok"] == 1


async def soon(condition: Callable[[], object], seconds: float = PATIENCE) -> bool:
    """Whether `condition` holds within that time; the loop goes on meanwhile."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.005)
    return True


def no_socket_is_left(server: ScriptedServer) -> bool:
    return server.wait_for(lambda: server.open == 0)


# One loop after the other


def test_a_client_made_before_any_loop_is_used_in_one_after_the_other(
    server: ScriptedServer, runner: Runner
) -> None:
    client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri())
    for count in range(1, 4):
        runner.run(lambda: ping(client))
        assert server.count("ping") == count
        # `asyncio.run` has ended the loop; nobody has closed the client.
        assert no_socket_is_left(server)
        assert own_threads() == []
    runner.run(client.close)
    with pytest.raises(InvalidOperation, match="after close"):
        runner.run(lambda: ping(client))


def test_a_loop_that_is_run_again_and_again_keeps_its_connections(
    server: ScriptedServer, runner: Runner
) -> None:
    client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri())
    loop = runner.new_loop()
    for _ in range(3):
        loop.run_until_complete(ping(client))
    assert server.used == 1
    loop.run_until_complete(client.close())
    loop.close()
    assert no_socket_is_left(server)


@pytest.mark.parametrize("closed", [True, False])
def test_a_loop_that_just_stopped_or_was_just_closed_is_followed_by_the_next(
    server: ScriptedServer, runner: Runner, closed: bool
) -> None:
    client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri(minPoolSize=2))
    first, second = runner.new_loop(), runner.new_loop()
    first.run_until_complete(ping(client))
    if closed:
        first.close()
    for _ in range(2):
        second.run_until_complete(ping(client))
    # Of the first one nothing is left.
    assert server.wait_for(lambda: server.open <= 4)
    if not closed:
        first.run_until_complete(ping(client))
        first.run_until_complete(client.close())
        first.close()
    else:
        second.run_until_complete(client.close())
    second.close()
    assert no_socket_is_left(server)


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_bare_close_of_the_loop_closes_all_sockets_at_once(
    runner: Runner, encrypted: bool, pem_files: dict[str, str]
) -> None:
    """Nobody says that such a loop ends, and the client is kept, and used no more."""
    context = server_context(pem_files["server"]) if encrypted else None
    options = {"tls": "true", "tlsCAFile": pem_files["ca"]} if encrypted else {}
    with ScriptedServer(hello=primary(), tls=context, on={"silence": Silence()}) as server:
        client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri(minPoolSize=3, **options))

        async def main() -> asyncio.Future[Any]:
            await ping(client)
            busy = asyncio.ensure_future(client.admin.command("silence"))
            assert await soon(lambda: server.count("silence") == 1)
            # Those of the pool, one of which is in use, and those of the monitors.
            assert await soon(lambda: server.open >= 4)
            return busy

        loop = runner.new_loop()
        busy: Any = loop.run_until_complete(main())
        # The application's own task, which it has just dropped.
        busy._log_destroy_pending = False
        loop.close()
        assert no_socket_is_left(server)
        runner.run(lambda: ping(client))
        runner.run(client.close)
        del busy


def test_sessions_and_cursors_live_on_in_the_next_loop(
    server: ScriptedServer, runner: Runner
) -> None:
    client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri())
    cursors = []

    async def first() -> None:
        await ping(client)
        cursor = client["x"]["y"].find()
        await cursor.next()
        cursors.append(cursor)

    runner.run(first)
    server.on["getMore"] = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "nextBatch": [{"_id": 3}]}}

    async def second() -> None:
        cursor = cursors.pop()
        assert [each["_id"] async for each in cursor] == [2, 3]
        await ping(client)

    runner.run(second)
    pings = server.commands("ping")
    assert pings[0]["lsid"] == pings[1]["lsid"]
    runner.run(client.close)


def test_a_cursor_that_was_let_go_as_its_loop_ended_is_killed_in_the_next(
    server: ScriptedServer, runner: Runner
) -> None:
    client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri())
    cursors = []

    async def first() -> None:
        cursor = client["x"]["y"].find()
        await cursor.next()
        cursors.append(cursor)

    runner.run(first)
    cursors.clear()
    gc.collect()
    assert server.count("killCursors") == 0

    async def second() -> None:
        await ping(client)
        assert await soon(lambda: server.count("killCursors") == 1)
        await client.close()

    runner.run(second)


def test_the_generators_of_the_application_may_use_the_client_as_the_loop_ends(
    server: ScriptedServer, runner: Runner
) -> None:
    client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri())
    through: list[str] = []
    generators = []

    async def lines() -> Any:
        try:
            yield 1
        finally:
            for _ in range(3):
                await ping(client)
            through.append("finally")

    async def main() -> None:
        for _ in range(3):
            generator = lines()
            await generator.__anext__()
            generators.append(generator)
            await ping(client)

    runner.run(main)
    assert through == ["finally"] * 3
    runner.run(client.close)


# Two loops at once


def test_a_second_loop_is_told_where_the_first_one_was_entered(
    server: ScriptedServer, runner: Runner
) -> None:
    client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri())

    def refused() -> str:
        with pytest.raises(InvalidOperation) as caught:
            runner.run(lambda: ping(client))
        return str(caught.value)

    async def main() -> None:
        await ping(client)
        text = await asyncio.to_thread(refused)
        assert f"{Path(__file__).name}, line " in text
        assert "in ping" in text
        # The first one is as it was.
        await ping(client)
        assert server.used == 1
        await client.close()

    runner.run(main)


# Closing while others wait


async def end_of(client: AsyncMongoClient[Any], work: list[Awaitable[Any]], ready: Any) -> None:
    """All that wait get InvalidOperation at once when the client is closed."""
    tasks = [asyncio.ensure_future(each) for each in work]
    assert await soon(ready)
    await asyncio.sleep(0.05)
    assert not any(task.done() for task in tasks)
    began = time.monotonic()
    await client.close()
    done, pending = await asyncio.wait(tasks, timeout=PATIENCE)
    assert not pending
    assert time.monotonic() - began < 5
    assert {type(task.exception()) for task in done} == {InvalidOperation}


def test_closing_wakes_those_who_wait_for_a_server(runner: Runner) -> None:
    with ScriptedServer(hello=secondary()) as server:
        client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri())
        work = [client["x"]["y"].insert_one({}) for _ in range(50)]
        runner.run(lambda: end_of(client, list(work), lambda: server.count("hello") > 0))
        assert no_socket_is_left(server)


def test_closing_wakes_those_who_wait_for_a_connection(
    server: ScriptedServer, runner: Runner
) -> None:
    hold = Hold()
    server.on["hold"] = hold
    client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri(maxPoolSize=1))

    async def main() -> None:
        busy = asyncio.ensure_future(client.admin.command("hold"))
        assert await soon(lambda: server.count("hold") == 1)
        await end_of(client, [ping(client) for _ in range(50)], lambda: True)
        hold.event.set()
        assert (await busy)["ok"] == 1

    runner.run(main)
    assert no_socket_is_left(server)


def test_closing_ends_what_is_being_opened(server: ScriptedServer, runner: Runner) -> None:
    client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri())

    async def main() -> None:
        await client.aconnect()
        assert await soon(lambda: client.nodes)
        server.on["hello"] = Silence()
        count = server.count("hello")
        await end_of(
            client, [ping(client) for _ in range(10)], lambda: server.count("hello") > count
        )

    runner.run(main)
    assert no_socket_is_left(server)


def test_closing_twice_and_from_many_tasks(server: ScriptedServer, runner: Runner) -> None:
    client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri())

    async def main() -> None:
        await ping(client)
        await asyncio.gather(*[client.close() for _ in range(20)])
        await client.close()

    runner.run(main)
    assert server.count("endSessions") == 1
    assert no_socket_is_left(server)


def test_a_close_that_is_cancelled_closes_all_the_same(
    server: ScriptedServer, runner: Runner
) -> None:
    server.on["endSessions"] = Silence()
    client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri())

    async def main() -> None:
        await ping(client)
        task = asyncio.ensure_future(client.close())
        assert await soon(lambda: server.count("endSessions") == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    runner.run(main)
    assert no_socket_is_left(server)


def test_a_client_of_a_silent_server_is_closed_soon(server: ScriptedServer, runner: Runner) -> None:
    client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri())

    async def main() -> None:
        cursor = client["x"]["y"].find()
        await cursor.next()
        server.on["killCursors"] = server.on["endSessions"] = Silence()
        del cursor
        gc.collect()
        began = time.monotonic()
        await client.close()
        assert time.monotonic() - began < 5

    runner.run(main)
    assert no_socket_is_left(server)


# No thread


def test_a_client_has_no_thread_whatever_it_does(
    server: ScriptedServer, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_PERIOD_S", 0.02)
    started: list[str] = []
    start = threading.Thread.start

    def note(self: threading.Thread) -> None:
        started.append(self.name)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", note)
    client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri(minPoolSize=3, maxIdleTimeMS=100))

    async def main() -> None:
        await ping(client)
        # Filled in the background, pruned, and filled again.
        assert await soon(lambda: server.accepted >= 1 + 3)
        assert await soon(lambda: server.accepted >= 1 + 6)
        cursor = client["x"]["y"].find()
        await cursor.next()
        del cursor
        gc.collect()
        assert await soon(lambda: server.count("killCursors") == 1)
        await client.close()

    runner.run(main)
    assert [name for name in started if name.startswith("mongokey")] == []
    assert no_socket_is_left(server)


# Nobody closes it


def unclosed(work: Callable[[], object]) -> int:
    """How often it was said that a client was never closed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        work()
        gc.collect()
    assert {each.category for each in caught} <= {ResourceWarning}
    return len(caught)


def test_a_client_that_is_garbage_is_told_of_once_and_leaves_no_socket(
    server: ScriptedServer, runner: Runner
) -> None:
    async def main() -> None:
        client: AsyncMongoClient[Any] | None = AsyncMongoClient(server.uri())
        await ping(client)  # type: ignore[arg-type]
        gone = weakref.ref(client)  # type: ignore[arg-type]
        client = None
        gc.collect()
        assert gone() is None
        # The loop still runs: nothing waits for its end.
        assert await soon(lambda: server.open == 0)

    assert unclosed(lambda: runner.run(main)) == 1


def test_a_client_that_was_never_used_is_not_told_of(
    server: ScriptedServer, runner: Runner
) -> None:
    async def main() -> None:
        AsyncMongoClient(server.uri())

    assert unclosed(lambda: runner.run(main)) == 0
    assert unclosed(lambda: AsyncMongoClient(server.uri())) == 0


@pytest.mark.parametrize("state", ["running elsewhere", "stopped", "closed", "ended"])
def test_a_client_may_become_garbage_in_any_thread_and_state_of_its_loop(
    server: ScriptedServer, runner: Runner, state: str
) -> None:
    loop = runner.new_loop()

    def use() -> None:
        client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri())
        if state == "ended":
            runner.run(lambda: ping(client))
        else:
            loop.run_until_complete(ping(client))
        cycle: list[Any] = [client]
        cycle.append(cycle)

    use()

    def collect() -> None:
        thread = threading.Thread(target=gc.collect)
        thread.start()
        thread.join()

    if state == "running elsewhere":

        async def main() -> None:
            await asyncio.to_thread(collect)
            assert await soon(lambda: server.open == 0)

        assert unclosed(lambda: loop.run_until_complete(main())) == 1
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    else:
        if state == "closed":
            loop.close()
        assert unclosed(collect) == 1
    assert no_socket_is_left(server)
    loop.close()


def test_the_cursors_of_a_client_that_is_garbage_are_killed(
    server: ScriptedServer, runner: Runner
) -> None:
    async def main() -> None:
        client: AsyncMongoClient[Any] | None = AsyncMongoClient(server.uri())
        cursor: Any = client["x"]["y"].find()  # type: ignore[index]
        await cursor.next()
        client = cursor = None
        gc.collect()
        assert await soon(lambda: server.count("killCursors") == 1)
        assert await soon(lambda: server.open == 0)

    assert unclosed(lambda: runner.run(main)) == 1


@pytest.mark.parametrize("answer", ["hold", "hello", "full", "selection"])
def test_a_loop_that_is_closed_in_the_middle_says_nothing_but_of_its_own_tasks(
    server: ScriptedServer, runner: Runner, answer: str
) -> None:
    """Without cancelling what runs there, as `asyncio.run` would."""
    client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri(maxPoolSize=1))
    hold = Hold()
    server.on["hold"] = hold
    loop = runner.new_loop()
    if answer == "selection":
        server.hello = secondary()
    else:
        loop.run_until_complete(ping(client))
    tasks = []

    async def main() -> None:
        if answer == "selection":
            work: list[Any] = [ping(client) for _ in range(3)]
        elif answer == "hello":
            server.on["hello"] = Silence()
            client._topology.pools[0].clear()
            client._topology.pools[0].ready()
            work = [ping(client) for _ in range(3)]
        else:
            work = [client.admin.command("hold")]
            if answer == "full":
                work.append(ping(client))
        for each in work:
            task = asyncio.ensure_future(each)
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            tasks.append(task)
        await asyncio.sleep(0.1)

    loop.run_until_complete(main())
    loop.close()
    hold.event.set()
    tasks.clear()
    gc.collect()
    server.on.pop("hello", None)
    server.hello = primary()
    # And the next one is as good as new.
    runner.run(lambda: ping(client))
    runner.run(client.close)
    assert no_socket_is_left(server)


def test_tasks_of_a_loop_that_was_left_for_another_do_not_wait_for_ever(
    server: ScriptedServer, runner: Runner
) -> None:
    hold = Hold()
    server.on["hold"] = hold
    client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri(maxPoolSize=1))
    first, second = runner.new_loop(), runner.new_loop()
    tasks: list[Any] = []

    async def begin() -> None:
        tasks.append(asyncio.ensure_future(client.admin.command("hold")))
        assert await soon(lambda: server.count("hold") == 1)
        tasks.append(asyncio.ensure_future(ping(client)))
        await asyncio.sleep(0.05)

    first.run_until_complete(begin())
    second.run_until_complete(ping(client))
    hold.event.set()

    async def go_on() -> None:
        held, waited = await asyncio.wait_for(
            asyncio.gather(*tasks, return_exceptions=True), PATIENCE
        )
        assert held["ok"] == 1
        assert isinstance(waited, InvalidOperation)
        assert "another event loop" in str(waited)
        await ping(client)
        await client.close()

    first.run_until_complete(go_on())
    for loop in (first, second):
        loop.close()
    assert no_socket_is_left(server)


# Forks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("where", ["between runs", "within a run", "while tasks wait"])
def test_a_forked_child_has_connections_of_its_own_and_the_parent_goes_on(
    server: ScriptedServer, runner: Runner, where: str
) -> None:
    hold = Hold()
    server.on["hold"] = hold
    client: AsyncMongoClient[Any] = AsyncMongoClient(server.uri(minPoolSize=2))

    def fork() -> None:
        before = server.count("ping")
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                gc.collect()
                Runner(runner.kind).run(lambda: ping(client))
                gc.collect()
                status = 0
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert server.count("ping") == before + 1

    async def within() -> None:
        await ping(client)
        used = server.used
        task = None
        if where == "while tasks wait":
            task = asyncio.ensure_future(client.admin.command("hold"))
            assert await soon(lambda: server.count("hold") == 1)
        assert used >= 1
        fork()
        hold.event.set()
        if task is not None:
            assert (await task)["ok"] == 1
        # The parent's connections are as they were, and its loop still looks at them.
        accepted = server.accepted
        for _ in range(3):
            await ping(client)
        assert server.accepted <= accepted + 2
        await client.close()

    if where == "between runs":
        loop = runner.new_loop()
        loop.run_until_complete(ping(client))
        fork()
        accepted = server.accepted
        loop.run_until_complete(ping(client))
        assert server.accepted <= accepted + 2
        loop.run_until_complete(client.close())
        loop.close()
    else:
        runner.run(within)
    assert no_socket_is_left(server)


# Programs

PROGRAMS = {
    "a client that is a global": """
        client = AsyncMongoClient(sys.argv[1])
        async def main():
            await client.admin.command("ping")
        run(main())
        """,
    "cursors that live to the end": """
        client = AsyncMongoClient(sys.argv[1])
        cursors = []
        async def main():
            for _ in range(3):
                cursor = client["x"]["y"].find()
                await cursor.next()
                cursors.append(cursor)
        run(main())
        """,
    "tasks that are left": """
        client = AsyncMongoClient(sys.argv[1], maxPoolSize=1)
        async def main():
            await client.admin.command("ping")
            for _ in range(5):
                asyncio.ensure_future(client.admin.command("silence"))
            await asyncio.sleep(0.1)
        run(main())
        """,
    "a loop that nobody closes": """
        client = AsyncMongoClient(sys.argv[1])
        loop = new_loop()
        loop.slow_callback_duration = 60
        loop.run_until_complete(client.admin.command("ping"))
        import warnings
        warnings.simplefilter("ignore")  # of the loop itself
        loop.set_debug(False)  # or Python 3.13 says of its own pipe that it came too late
        """,
    "two runs": """
        client = AsyncMongoClient(sys.argv[1])
        for _ in range(2):
            run(client.admin.command("ping"))
        run(client.close())
        """,
    "a client that is closed": """
        async def main():
            async with AsyncMongoClient(sys.argv[1]) as client:
                await client.admin.command("ping")
        run(main())
        """,
    "a client that was never used": "client = AsyncMongoClient(sys.argv[1])",
}
HEAD = """
import asyncio, sys
from mongokey import AsyncMongoClient
def new_loop():
    if sys.argv[2] == "uvloop":
        import uvloop
        return uvloop.new_event_loop()
    return asyncio.new_event_loop()
def run(coroutine):
    async def awaited():
        asyncio.get_running_loop().slow_callback_duration = 60
        return await coroutine
    if sys.version_info < (3, 11):
        if sys.argv[2] == "uvloop":
            import uvloop
            uvloop.install()
        return asyncio.run(awaited(), debug=True)
    with asyncio.Runner(debug=True, loop_factory=new_loop) as runner:
        return runner.run(awaited())
"""


def run_program(server: ScriptedServer, body: str, loop: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", HEAD + textwrap.dedent(body), server.uri(), loop],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(mongokey.__file__).parent.parent)},
    )


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("body", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_a_program_ends_quietly(server: ScriptedServer, body: str, loop: str) -> None:
    server.on["silence"] = Silence()
    with run_program(server, body, loop) as program:
        out, err = program.communicate(timeout=60)
    assert (program.returncode, out, err) == (0, "", "")
    assert no_socket_is_left(server)


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("where", ["exchange", "selection", "close"])
def test_an_interrupt_ends_the_program_with_no_more_than_its_own_traceback(
    server: ScriptedServer, loop: str, where: str
) -> None:
    server.on["silence"] = server.on["endSessions"] = Silence()
    body = """
        client = AsyncMongoClient(sys.argv[1])
        async def main():
            if "insert" not in '{}':
                await client.admin.command("ping")
            print("begins", flush=True)
            await {}
        try:
            run(main())
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """
    waits = {
        "exchange": 'client.admin.command("silence")',
        "close": "client.close()",
        "selection": 'client["x"]["y"].insert_one({})',
    }[where]
    if where == "selection":
        server.hello = secondary()
    with run_program(server, body.replace("{}", waits), loop) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "begins\n"
        name = {"exchange": "silence", "close": "endSessions", "selection": "hello"}[where]
        assert server.wait_for(lambda: server.count(name) > 0)
        time.sleep(0.2)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=60)
    assert (program.returncode, out, err) == (0, "interrupted\n", "")
    assert no_socket_is_left(server)
