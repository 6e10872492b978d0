"""Connections on an asyncio loop whose task is cancelled: at every turn of the loop, and in every
kind of task. Nothing is left then, and nothing is lost."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mongokey.client_options import ClientOptions
from mongokey.connection.establish_aio import open_connection, reauthenticate
from mongokey.transport.tls.context import ClientTLS
from tests.loops import each_loop, eager_tasks, logging_in, registered, run, settings
from tests.protocol.test_async_connection_tls import files, server_context
from tests.servers.needs import need_module
from tests.servers.scripted import Login, Reply, ScriptedServer, Silence

pytestmark = pytest.mark.usefixtures("each_loop")
__all__ = ["each_loop", "files"]

#: So many turns are tried one by one; then a tenth more each time.
EACH = 25


async def connect(server: ScriptedServer, what: Any) -> Any:
    connection, _ = await open_connection(("127.0.0.1", server.port), what)
    return connection


async def cancelled_after(make: Callable[[], Awaitable[Any]], turns: int) -> Any:
    """What `make()` comes to in a task that is cancelled after so many turns of the loop; None if
    it was cancelled."""

    async def awaited() -> Any:
        return await make()

    task = asyncio.ensure_future(awaited())
    for _ in range(turns):
        await asyncio.sleep(0)
        if task.done():
            break
    task.cancel()
    try:
        return await task
    except asyncio.CancelledError:
        return None


async def at_every_turn(make: Callable[[], Awaitable[Any]], done: Callable[[Any], Any]) -> int:
    """Cancel `make()` after each number of turns, until it has its result first, five times."""
    turns = finished = tried = 0
    while finished < 5:
        result = await cancelled_after(make, turns)
        tried += 1
        if result is not None:
            finished += 1
            done(result)
        turns += 1 if turns < EACH else max(1, turns // 10)
        assert registered() == []
    return tried


@pytest.mark.parametrize("login", [False, True])
def test_opening_a_connection(login: bool) -> None:
    async def main() -> None:
        shared = logging_in() if login else settings()
        if login:
            (await connect(server, shared)).close()
        tried = await at_every_turn(lambda: connect(server, shared), lambda made: made.close())
        assert tried > 5
        if login:
            # Nobody waits for a login that was given up.
            (await connect(server, shared)).close()

    with ScriptedServer(login=Login() if login else None) as server:
        run(main)
        assert server.wait_for(lambda: server.open == 0)


def test_the_first_login_of_a_user() -> None:
    """The keys are derived in a thread meanwhile."""

    async def main() -> None:
        for turns in (0, 1, 2, 5, 20, 100, 400, 1000):
            shared = logging_in()
            made = await cancelled_after(lambda shared=shared: connect(server, shared), turns)  # type: ignore[misc]
            other = await connect(server, shared)
            other.close()
            if made is not None:
                made.close()

    with ScriptedServer(login=Login()) as server:
        run(main)
        assert server.wait_for(lambda: server.open == 0)


@pytest.mark.parametrize("engine", ["openssl", "ssl"])
def test_opening_one_over_tls(files: dict[str, str], engine: str) -> None:
    options = ClientOptions.build("localhost", tls=True, tlsCAFile=files["ca"]).tls
    assert options is not None
    tls = ClientTLS(options, bindings=engine == "openssl")

    async def main() -> None:
        shared = settings(tls=tls)
        await at_every_turn(lambda: connect(server, shared), lambda made: made.close())

    with ScriptedServer(tls=server_context(files["server"])) as server:
        run(main)
        assert server.wait_for(lambda: server.open == 0)


def test_logging_in_again() -> None:
    async def main() -> None:
        shared = logging_in()

        async def again() -> Any:
            connection = await connect(server, shared)
            try:
                await reauthenticate(connection)
            finally:
                connection.close()
            return connection

        await at_every_turn(again, lambda made: None)

    with ScriptedServer(login=Login()) as server:
        run(main)
        assert server.wait_for(lambda: server.open == 0)


def test_an_exchange_is_cancelled_or_has_its_reply() -> None:
    async def main() -> None:
        shared = settings()
        connection = await connect(server, shared)
        seen = set()
        for turns in (*range(1, 12), 50, 1000) * 3:
            made = await cancelled_after(
                lambda: connection.command("x", {"echo": 1}),  # noqa: B023
                turns,
            )
            seen.add(made is not None)
            assert connection.closed == (made is None)
            if made is None:
                connection = await connect(server, shared)
            else:
                assert made["a"] == 5
        assert seen == {False, True}
        connection.close()

    with ScriptedServer(on={"echo": Reply({"ok": 1, "a": 5})}) as server:
        run(main)
        assert server.wait_for(lambda: server.open == 0)


# -- kinds of tasks ------------------------------------------------------------------------------


def use_by(start: Callable[[Any], Awaitable[Any]]) -> None:
    """Exchange messages in what `start` makes of a coroutine; then have it cancelled."""

    async def main() -> None:
        connection = await connect(server, settings())

        async def use() -> int:
            for _ in range(5):
                assert (await connection.command("x", {"ping": 1}))["ok"] == 1
            return 5

        assert await start(use()) == 5
        task = asyncio.ensure_future(start(connection.command("x", {"silent": 1})))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert connection.closed

    with ScriptedServer(on={"silent": Silence()}) as server:
        run(main)


def test_tasks_written_in_python() -> None:
    kind: Any = asyncio.tasks._PyTask  # type: ignore[attr-defined]

    def start(work: Any) -> Any:
        return kind(work, loop=asyncio.get_running_loop())

    use_by(start)


def test_gathered_tasks() -> None:
    async def start(work: Any) -> Any:
        return (await asyncio.gather(work))[0]

    use_by(start)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="TaskGroup is of Python 3.11")
def test_groups_of_tasks() -> None:
    async def start(work: Any) -> Any:
        async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined, unused-ignore]
            task = group.create_task(work)
        return task.result()

    use_by(start)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are of Python 3.12")
def test_eager_tasks() -> None:
    async def start(work: Any) -> Any:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(eager_tasks)
        try:
            return await asyncio.create_task(work)
        finally:
            loop.set_task_factory(None)

    use_by(start)


def test_cancel_scopes_of_anyio() -> None:
    anyio = need_module("anyio", extra="test")

    async def start(work: Any) -> Any:
        async with anyio.create_task_group():
            with anyio.CancelScope():
                return await work

    use_by(start)

    async def main() -> None:
        connection = await connect(server, settings())
        with anyio.move_on_after(0.05) as scope:
            await connection.command("x", {"silent": 1})
        assert scope.cancel_called
        assert connection.closed

    with ScriptedServer(on={"silent": Silence()}) as server:
        run(main)
