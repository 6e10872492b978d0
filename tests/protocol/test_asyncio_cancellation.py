"""A task that is cancelled, wherever it waits, leaves its client in order: no connection is lost or
handed out in the middle of a message, no session used again that the server may still use, and
nobody who waits is forgotten."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mongokey import AsyncMongoClient
from mongokey.errors import AutoReconnect, InvalidOperation, NetworkTimeout
from tests.faces.cancelling import MOMENTS, cancelled_at, run
from tests.servers.scripted import (
    Close,
    Delay,
    Error,
    Hold,
    Login,
    Reply,
    Request,
    ScriptedServer,
    in_turn,
    make_set,
    primary,
    secondary,
)

FIRST = {"ok": 1.0, "cursor": {"id": 7, "ns": "x.y", "firstBatch": [{"_id": 1}, {"_id": 2}]}}
NEXT = {"ok": 1.0, "cursor": {"id": 7, "ns": "x.y", "nextBatch": [{"_id": 3}]}}
LAST = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "nextBatch": [{"_id": 4}]}}
INSERTED = {"ok": 1.0, "n": 1}
#: More points to wait at than any of these operations has.
MOST = 200


def echo(request: Request) -> Any:
    """Answers with what it was asked: an answer to another message does not go unseen."""
    return Reply({"ok": 1.0, "is": request.document["echo"]})


def some_cursor(request: Request) -> Any:
    """The second batch, and then the last."""
    return Reply(LAST if request.document.get("comment") == "last" else NEXT)


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.005)
    return True


async def check(client: Any, server: ScriptedServer) -> None:
    """The client works, and its pool has forgotten nothing."""
    number = random.getrandbits(60)
    assert (await client.admin.command("echo", number))["is"] == number
    pool = await client._pool()
    counts = (pool.in_use, pool.connecting, pool.waiting_count)
    if counts != (0, 0, 0):
        # What was cancelled may still be told to the server, by another task.
        assert await until(
            lambda: (pool.in_use, pool.connecting, pool.waiting_count) == (0, 0, 0)
        ), (pool.in_use, pool.connecting, pool.waiting_count)
    # Every connection that is open is known: none was lost with its task.
    assert await until(lambda: len(open_pool(server)) == pool.idle_count), (
        open_pool(server),
        pool.idle_count,
    )


def open_pool(server: ScriptedServer) -> list[int]:
    """The connections that are open and are not a monitor's."""
    with server._lock:
        numbers = list(server._connections)
    return [each for each in numbers if each in server._used()]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    on: dict[str, Any] = {"echo": echo, "find": FIRST, "getMore": some_cursor, "insert": INSERTED}
    with ScriptedServer(on=on) as server:
        yield server


async def at_each_wait(
    begin: Callable[[], Any], work: Callable[[Any], Any], server: ScriptedServer, moment: str
) -> int:
    """Cancel `work(client)` at its first wait, its second, ..., each time with a new client, until
    it ends by itself; gives how many waits it has."""
    for at in range(1, MOST):
        async with await begin() as client:
            reached = await cancelled_at(lambda c=client: work(c), at, moment)
            await check(client, server)
        assert await until(lambda: not open_pool(server))
        if not reached:
            return at - 1
    raise AssertionError("it never ends")


async def warm(server: ScriptedServer, **options: Any) -> Any:
    """A client that has a connection."""
    client: Any = AsyncMongoClient(server.uri(**options))
    await client.admin.command("ping")
    return client


# -- a login ------------------------------------------------------------------------------------


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_first_operation_with_its_login(moment: str) -> None:
    async def main() -> None:
        async def begin() -> Any:
            return AsyncMongoClient(server.uri())

        waits = await at_each_wait(
            begin, lambda client: client.admin.command("ping"), server, moment
        )
        assert waits >= 2
        assert server.logins > 0

    with ScriptedServer(login=Login(), on={"echo": echo}) as server:
        run(main)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_login_that_another_task_waits_for_too(moment: str) -> None:
    async def main() -> None:
        async def both(client: Any) -> Any:
            return await client.admin.command("ping")

        for at in range(1, MOST):
            async with AsyncMongoClient(server.uri(maxConnecting=1, maxPoolSize=1)) as client:
                other = asyncio.ensure_future(both(client))
                reached = await cancelled_at(lambda c=client: both(c), at, moment)
                assert (await asyncio.wait_for(other, 20))["ok"] == 1
                await check(client, server)
            if not reached:
                return
        raise AssertionError("it never ends")

    with ScriptedServer(login=Login(), on={"echo": echo}) as server:
        run(main)


# -- a connection that is there ----------------------------------------------------------------


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_insert(server: ScriptedServer, moment: str) -> None:
    async def main() -> None:
        waits = await at_each_wait(
            lambda: warm(server), lambda client: client.x.y.insert_one({"a": 1}), server, moment
        )
        assert waits >= 1

    run(main)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_find_with_get_more(server: ScriptedServer, moment: str) -> None:
    async def read(client: Any) -> None:
        seen = []
        cursor = client.x.y.find(comment="last")
        async for document in cursor:
            seen.append(document["_id"])
        assert seen == [1, 2, 4]

    async def main() -> None:
        waits = await at_each_wait(lambda: warm(server), read, server, moment)
        assert waits >= 2

    run(main)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_list_of_all_documents(server: ScriptedServer, moment: str) -> None:
    async def read(client: Any) -> None:
        assert len(await client.x.y.find(comment="last").to_list()) == 3

    async def main() -> None:
        await at_each_wait(lambda: warm(server), read, server, moment)

    run(main)


@pytest.mark.parametrize("moment", MOMENTS)
def test_closing_a_cursor(server: ScriptedServer, moment: str) -> None:
    async def close(client: Any) -> None:
        cursor = client.x.y.find()
        await cursor.next()
        await cursor.close()

    async def main() -> None:
        await at_each_wait(lambda: warm(server), close, server, moment)

    run(main)


@pytest.mark.parametrize("moment", MOMENTS)
def test_closing_a_client(server: ScriptedServer, moment: str) -> None:
    async def main() -> None:
        for at in range(1, MOST):
            client = await warm(server)
            await client.x.y.find().next()
            reached = await cancelled_at(client.close, at, moment)
            # Cancelled or not, it is closed: no socket and no task is left.
            assert await until(lambda: server.open == 0)
            with pytest.raises(InvalidOperation):
                await client.admin.command("ping")
            await client.close()
            if not reached:
                return
        raise AssertionError("it never ends")

    run(main)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_write_that_is_tried_again_on_the_next_primary(moment: str) -> None:
    refused = Error(code=10107, labels=["RetryableWriteError"])
    answers: Any = {"echo": echo}
    with (
        ScriptedServer(hello=primary(), on=dict(answers)) as old,
        ScriptedServer(hello=secondary(), on=dict(answers)) as new,
    ):
        make_set(old, new)
        hosts = ",".join([old.address, new.address])

        async def main() -> None:
            for at in range(1, MOST):
                old.hello, new.hello = primary(), secondary()
                old.on["insert"], new.on["insert"] = INSERTED, refused
                uri = f"mongodb://{hosts}/?replicaSet=rs&heartbeatFrequencyMS=500"
                async with AsyncMongoClient(uri) as client:
                    await client.x.y.insert_one({})
                    old.hello, new.hello = secondary(), primary()
                    old.on["insert"], new.on["insert"] = refused, INSERTED
                    reached = await cancelled_at(lambda c=client: c.x.y.insert_one({}), at, moment)
                    assert (await client.x.y.insert_one({})).acknowledged
                    await check(client, new)
                if not reached:
                    return
            raise AssertionError("it never ends")

        run(main)


# -- what a cancelled exchange leaves -----------------------------------------------------------


def test_a_connection_in_the_middle_of_an_exchange_is_closed(server: ScriptedServer) -> None:
    hold = Hold()
    server.on["hold"] = hold

    async def main() -> None:
        async with await warm(server, maxPoolSize=1) as client:
            (before,) = open_pool(server)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.admin.command("hold"), 0.1)
            hold.event.set()
            await check(client, server)
            assert before not in open_pool(server)
            assert server.names(before)[-1] == "hold"

    run(main)


def test_the_session_of_a_cancelled_exchange_is_not_used_again(server: ScriptedServer) -> None:
    hold = Hold()

    async def main() -> None:
        async with await warm(server) as client:
            server.on["find"] = hold
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.x.y.find_one(), 0.1)
            hold.event.set()
            (find,) = server.commands("find")
            server.on["find"] = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "firstBatch": []}}
            for _ in range(3):
                await client.x.y.find_one()
            later = {bytes(each["lsid"]["id"]) for each in server.commands("find")[1:]}
            assert bytes(find["lsid"]["id"]) not in later
            assert len(later) == 1

    run(main)


def test_a_cancelled_operation_says_nothing_against_its_server(server: ScriptedServer) -> None:
    hold = Hold()
    server.on["hold"] = hold

    async def main() -> None:
        async with await warm(server) as client:
            generation = (await client._pool()).generation
            kept = asyncio.ensure_future(client.admin.command("hold"))
            assert await until(lambda: server.count("hold") == 1)
            task = asyncio.ensure_future(client.admin.command("hold"))
            assert await until(lambda: server.count("hold") == 2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await client._pool()).generation == generation
            hold.event.set()
            assert (await kept)["ok"] == 1
            await check(client, server)

    run(main)


@pytest.mark.skipif(not hasattr(asyncio, "timeout"), reason="asyncio.timeout is Python 3.11's")
def test_a_timeout_of_asyncio_ends_an_operation_in_time(server: ScriptedServer) -> None:
    hold = server.on["hold"] = Hold()

    async def main() -> None:
        async with await warm(server) as client:
            began = time.monotonic()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await client.admin.command("hold")
            assert time.monotonic() - began < 5
            hold.event.set()  # else it does not see that the connection is closed
            await check(client, server)

    run(main)


def test_a_cancelled_get_more_leaves_no_cursor_on_the_server(server: ScriptedServer) -> None:
    hold = Hold(answer=Reply(NEXT))
    server.on["getMore"] = hold

    async def main() -> None:
        async with await warm(server) as client:
            cursor = client.x.y.find()
            assert await cursor.next()
            assert await cursor.next()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(cursor.next(), 0.1)
            hold.event.set()
            del cursor
            await check(client, server)
            assert await until(lambda: server.count("killCursors") == 1)

    run(main)


# -- those who wait for a connection -------------------------------------------------------------


@pytest.mark.parametrize("moment", MOMENTS)
def test_one_who_waits_for_a_connection(server: ScriptedServer, moment: str) -> None:
    async def main() -> None:
        for at in range(1, MOST):
            hold = server.on["hold"] = Hold()
            async with await warm(server, maxPoolSize=1) as client:
                held = server.count("hold")
                busy = asyncio.ensure_future(client.admin.command("hold"))
                assert await until(lambda n=held: server.count("hold") > n)
                asyncio.get_running_loop().call_later(0.02, hold.event.set)
                reached = await cancelled_at(lambda c=client: c.admin.command("ping"), at, moment)
                hold.event.set()
                assert (await asyncio.wait_for(busy, 20))["ok"] == 1
                await check(client, server)
            if not reached:
                return
        raise AssertionError("it never ends")

    run(main)


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_one_behind_a_cancelled_one_gets_the_connection(
    server: ScriptedServer, moment: str
) -> None:
    async def main() -> None:
        hold = server.on["hold"] = Hold()
        async with await warm(server, maxPoolSize=1) as client:
            busy = asyncio.ensure_future(client.admin.command("hold"))
            assert await until(lambda: server.count("hold") == 1)
            asyncio.get_running_loop().call_later(0.05, hold.event.set)
            first = asyncio.ensure_future(
                cancelled_at(lambda: client.admin.command("ping"), 1, moment)
            )
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            behind = [asyncio.ensure_future(client.admin.command("ping")) for _ in range(3)]
            assert await first
            for each in (busy, *behind):
                assert (await asyncio.wait_for(each, 20))["ok"] == 1
            await check(client, server)
            assert len(open_pool(server)) == 1

    run(main)


def test_many_tasks_of_which_many_are_cancelled(server: ScriptedServer) -> None:
    server.on["slow"] = Delay(0.002, Reply({"ok": 1.0}))
    chance = random.Random(7)

    async def main() -> None:
        async with await warm(server, maxPoolSize=5) as client:
            tasks = [asyncio.ensure_future(client.admin.command("slow")) for _ in range(600)]
            to_cancel = chance.sample(tasks, 250)
            while to_cancel:
                await asyncio.sleep(chance.uniform(0, 0.004))
                for _ in range(min(len(to_cancel), chance.randrange(1, 12))):
                    to_cancel.pop().cancel()
            outcomes = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
            failed = [each for each in outcomes if isinstance(each, Exception)]
            assert failed == []
            cancelled = sum(isinstance(each, asyncio.CancelledError) for each in outcomes)
            assert 0 < cancelled <= 250
            await check(client, server)
            assert len(open_pool(server)) <= 5

    run(main)


def test_tasks_that_wait_when_the_client_is_closed_are_told(server: ScriptedServer) -> None:
    hold = server.on["hold"] = Hold()

    async def main() -> None:
        client = await warm(server, maxPoolSize=1)
        tasks = [asyncio.ensure_future(client.admin.command("hold")) for _ in range(10)]
        assert await until(lambda: server.count("hold") == 1)
        await asyncio.wait_for(client.close(), 20)
        # Not the one that has the connection: its answer may still come.
        done, (busy,) = await asyncio.wait(tasks, timeout=0.5)
        assert {type(each.exception()) for each in done} == {InvalidOperation}
        hold.event.set()
        assert (await asyncio.wait_for(busy, 20))["ok"] == 1
        assert await until(lambda: server.open == 0)

    run(main)


@pytest.mark.usefixtures("soon_checked")
def test_a_cancelled_task_and_a_server_that_hangs_up_at_the_same_moment(
    server: ScriptedServer,
) -> None:
    server.on["gone"] = in_turn(*[Close()] * 50)

    async def main() -> None:
        async with await warm(server) as client:
            for number in range(25):
                task = asyncio.ensure_future(client.admin.command("gone"))
                assert await until(lambda n=number: server.count("gone") > n)
                task.cancel()
                with pytest.raises((asyncio.CancelledError, AutoReconnect)):
                    await task
            await check(client, server)

    run(main)


def test_a_socket_timeout_is_no_cancellation(server: ScriptedServer) -> None:
    hold = server.on["hold"] = Hold()

    async def main() -> None:
        async with await warm(server, socketTimeoutMS=100) as client:
            with pytest.raises(NetworkTimeout):
                await client.admin.command("hold")
            task: Any = asyncio.current_task()
            assert not hasattr(task, "cancelling") or task.cancelling() == 0  # Python 3.11
            hold.event.set()
            await check(client, server)

    run(main)
