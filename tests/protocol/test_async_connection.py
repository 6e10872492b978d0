"""Connections on an asyncio loop: exchanges, their ends, and what is left behind then."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mongokey.auth.errors import AuthenticationFailed
from mongokey.connection.async_connection import AsyncConnection
from mongokey.connection.establish_aio import open_connection
from mongokey.connection.settings import ConnectionSettings, Opening
from mongokey.errors import (
    AutoReconnect,
    InvalidOperation,
    NetworkTimeout,
    ProtocolError,
)
from tests.loops import each_loop, logging_in, ms, new_loop, registered, run, settings
from tests.servers.scripted import Close, Drip, Login, Raw, Reply, ScriptedServer, Silence

pytestmark = pytest.mark.usefixtures("each_loop")
__all__ = ["each_loop"]


async def connect(server: ScriptedServer, what: ConnectionSettings | None = None) -> Any:
    connection, _ = await open_connection(
        ("127.0.0.1", server.port), settings() if what is None else what
    )
    return connection


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


def test_a_connection_says_hello_and_exchanges_messages(
    server: ScriptedServer, each_loop: str
) -> None:
    async def main() -> None:
        connection = await connect(server)
        assert isinstance(connection, AsyncConnection)
        for _ in range(3):
            assert (await connection.command("admin", {"ping": 1}))["ok"] == 1
        assert connection.max_wire_version > 8
        assert len(registered()) == (each_loop != "uvloop")
        connection.close()
        assert connection.closed
        connection.close()

    run(main)
    assert server.count("ping") == 3


def test_a_login_by_scram() -> None:
    async def main() -> None:
        connection, result = await open_connection(("127.0.0.1", server.port), logging_in())
        assert (result.mechanism, result.speculative) == ("SCRAM-SHA-256", True)
        assert (await connection.command("x", {"find": "y"}))["ok"] == 1
        connection.close()

    with ScriptedServer(login=Login(), on={"find": {"ok": 1}}) as server:
        run(main)
        assert server.logins == 1


def test_a_wrong_password_is_refused_and_the_socket_closed() -> None:
    async def main() -> None:
        with pytest.raises(AuthenticationFailed, match="user"):
            await connect(server, logging_in("wrong"))

    with ScriptedServer(login=Login()) as server:
        run(main)
        assert server.wait_for(lambda: server.open == 0)


def test_messages_of_megabytes_go_both_ways() -> None:
    big = b"x" * 9_000_000

    async def main() -> None:
        connection = await connect(server)
        reply = await connection.command("x", {"echo": big})
        assert reply["back"] == big
        connection.close()

    with ScriptedServer(on={"echo": Reply({"ok": 1, "back": big})}) as server:
        run(main)
        assert len(server.commands("echo")[-1]["echo"]) == len(big)


def test_a_reply_that_comes_byte_by_byte_is_put_together() -> None:
    async def main() -> None:
        connection = await connect(server)
        assert (await connection.command("x", {"slow": 1}))["a"] == 1
        connection.close()

    with ScriptedServer(on={"slow": Drip(Reply({"ok": 1, "a": 1}))}) as server:
        run(main)


def test_a_deadline_ends_an_exchange_with_a_server_that_is_silent() -> None:
    async def main() -> None:
        connection = await connect(server)
        with pytest.raises(
            NetworkTimeout, match=r"timed out after.*waiting for the server's answer"
        ):
            await connection.command("x", {"silent": 1}, ms(100).start())
        assert connection.closed
        with pytest.raises(AutoReconnect, match="closed"):
            await connection.command("x", {"ping": 1})

    with ScriptedServer(on={"silent": Silence()}) as server:
        run(main)


def test_a_server_that_drips_cannot_stretch_a_deadline() -> None:
    async def main() -> None:
        connection = await connect(server)
        began = time.monotonic()
        with pytest.raises(NetworkTimeout):
            await connection.command("x", {"slow": 1}, ms(200).start())
        assert time.monotonic() - began < 5

    with ScriptedServer(on={"slow": Drip(Reply({"ok": 1, "a": "x" * 5000}), pause=0.01)}) as server:
        run(main)


def test_the_stream_s_timeout_bounds_each_exchange_by_one_timer() -> None:
    async def main() -> None:
        connection = await connect(server, settings(socket_timeout=ms(300, "socketTimeoutMS")))
        loop: Any = asyncio.get_running_loop()
        for _ in range(50):
            await connection.command("x", {"ping": 1})
        if hasattr(loop, "_scheduled"):
            assert len([each for each in loop._scheduled if not each.cancelled()]) <= 1
        await asyncio.sleep(0.5)
        assert not connection.closed  # nobody waited
        with pytest.raises(NetworkTimeout, match="socketTimeoutMS=300"):
            await connection.command("x", {"silent": 1})

    with ScriptedServer(on={"silent": Silence()}) as server:
        run(main)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Close(), AutoReconnect, "connection closed by the server"),
        (Reply({"ok": 1}, response_to=7), ProtocolError, "7"),
        (Raw(b"\x05\0\0\0" + bytes(40)), ProtocolError, "opcode 0"),
        (Raw(b"\xff" * 64), ProtocolError, "-1"),
    ],
)
def test_what_is_no_reply_closes_the_connection(answer: Any, kind: Any, words: str) -> None:
    async def main() -> None:
        connection = await connect(server)
        with pytest.raises(kind, match=words):
            await connection.command("x", {"odd": 1}, ms(10_000).start())
        assert connection.closed

    with ScriptedServer(on={"odd": answer}) as server:
        run(main)


def test_a_server_that_closes_an_idle_connection_is_noticed() -> None:
    async def main() -> None:
        connection = await connect(server)
        server.close_connections()
        for _ in range(100):
            if connection.closed:
                break
            await asyncio.sleep(0.02)
        with pytest.raises(AutoReconnect, match="closed by the server while nothing was sent"):
            await connection.command("x", {"ping": 1})

    with ScriptedServer() as server:
        run(main)


def test_two_tasks_cannot_use_one_connection_at_once() -> None:
    async def main() -> None:
        connection = await connect(server)
        first = asyncio.create_task(connection.command("x", {"silent": 1}))
        await asyncio.sleep(0.05)
        with pytest.raises(InvalidOperation, match="another task"):
            await connection.command("x", {"ping": 1})
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert connection.closed

    with ScriptedServer(on={"silent": Silence()}) as server:
        run(main)


# -- cancellation --------------------------------------------------------------------------------


def test_a_cancelled_exchange_closes_the_connection() -> None:
    async def main() -> None:
        connection = await connect(server)
        task = asyncio.create_task(connection.command("x", {"silent": 1}))
        await asyncio.sleep(0.05)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.args in (("enough",), ())  # 3.11 and later hand it on
        assert connection.closed

    with ScriptedServer(on={"silent": Silence()}) as server:
        run(main)
        assert server.wait_for(lambda: server.open == 0)


def test_a_timeout_of_asyncio_s_ends_an_exchange() -> None:
    async def main() -> None:
        connection = await connect(server)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(connection.command("x", {"silent": 1}), 0.1)
        assert connection.closed

    with ScriptedServer(on={"silent": Silence()}) as server:
        run(main)


def test_a_task_cancelled_before_it_waits_is_cancelled_where_it_waits(
    server: ScriptedServer,
) -> None:
    async def main() -> None:
        connection = await connect(server)

        async def cancels_itself() -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await connection.command("x", {"ping": 1})

        with pytest.raises(asyncio.CancelledError):
            await asyncio.create_task(cancels_itself())
        assert connection.closed

    run(main)


def test_a_coroutine_that_is_closed_in_the_middle_closes_the_connection() -> None:
    async def main() -> None:
        connection = await connect(server)
        coroutine = connection.command("x", {"silent": 1})
        coroutine.send(None)
        coroutine.close()
        assert connection.closed

    with ScriptedServer(on={"silent": Silence()}) as server:
        run(main)


def test_the_task_goes_on_in_its_own_context(server: ScriptedServer) -> None:
    from contextvars import ContextVar

    mark: ContextVar[int] = ContextVar("mark")

    async def main() -> None:
        connections = [await connect(server) for _ in range(3)]

        async def use(number: int) -> None:
            mark.set(number)
            for _ in range(10):
                await connections[number].command("x", {"ping": 1})
                assert mark.get() == number
                assert asyncio.current_task() in tasks

        tasks = [asyncio.create_task(use(number)) for number in range(3)]
        await asyncio.gather(*tasks)
        for each in connections:
            each.close()

    run(main)


def test_a_task_may_catch_an_error_and_go_on_with_another_connection() -> None:
    async def main() -> None:
        for _ in range(5):
            connection = await connect(server)
            with pytest.raises(AutoReconnect):
                await connection.command("x", {"die": 1})
        connection = await connect(server)
        assert (await connection.command("x", {"ping": 1}))["ok"] == 1
        connection.close()

    with ScriptedServer(on={"die": Close()}) as server:
        run(main)


# -- closed by others ----------------------------------------------------------------------------


def test_closing_it_wakes_the_task_that_waits() -> None:
    async def main() -> None:
        connection = await connect(server)
        asyncio.get_running_loop().call_later(0.05, connection.close)
        with pytest.raises(AutoReconnect, match="closed here while it was in use"):
            await connection.command("x", {"silent": 1})

    with ScriptedServer(on={"silent": Silence()}) as server:
        run(main)


def test_another_thread_may_close_it() -> None:
    async def main() -> None:
        connection = await connect(server)
        threading.Timer(0.05, connection.close).start()
        with pytest.raises(AutoReconnect, match="closed"):
            await connection.command("x", {"silent": 1})
        await asyncio.sleep(0.05)

    with ScriptedServer(on={"silent": Silence()}) as server:
        run(main)


def test_a_connection_that_nobody_has_any_more_is_closed(server: ScriptedServer) -> None:
    async def main() -> None:
        connection = await connect(server)
        del connection
        gc.collect()

    run(main)
    assert server.wait_for(lambda: server.open == 0)


def test_connections_outlive_their_loop_and_close_quietly(server: ScriptedServer) -> None:
    kept: list[Any] = []

    async def main() -> None:
        kept.append(await connect(server))
        kept.append(await connect(server))

    loop = new_loop()
    loop.run_until_complete(main())
    loop.close()
    kept.pop().close()
    kept.clear()
    gc.collect()
    assert server.wait_for(lambda: server.open == 0)


def test_a_loop_closed_in_the_middle_of_an_exchange_leaves_no_socket() -> None:
    async def main() -> None:
        connection = await connect(server)
        await connection.command("x", {"silent": 1})

    with ScriptedServer(on={"silent": Silence()}) as server:
        loop = new_loop()
        task = loop.create_task(main())
        with contextlib.suppress(asyncio.TimeoutError):
            loop.run_until_complete(asyncio.wait_for(asyncio.shield(task), 0.1))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.close()
        assert server.wait_for(lambda: server.open == 0)


def test_a_forked_child_leaves_the_parent_s_connection_alone(
    server: ScriptedServer, each_loop: str
) -> None:
    async def main() -> None:
        connection = await connect(server)
        child = os.fork()
        if child == 0:
            try:
                connection.close()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert (await connection.command("x", {"ping": 1}))["ok"] == 1
        assert len(registered()) == (each_loop != "uvloop")
        connection.close()

    run(main)


# -- opening -------------------------------------------------------------------------------------


def test_nobody_listening_is_an_error_that_says_so() -> None:
    async def main() -> None:
        with pytest.raises(AutoReconnect, match=r"refused.*is a server listening there"):
            await open_connection(("127.0.0.1", 1), settings())

    run(main)


def test_one_deadline_bounds_hello_and_login() -> None:
    async def main() -> None:
        with pytest.raises(NetworkTimeout, match=r"connectTimeoutMS=200.*in the login of user"):
            await connect(server, logging_in(connect_timeout=ms(200)))

    with ScriptedServer(login=Login(), on={"saslContinue": Silence()}) as server:
        run(main)
        assert server.wait_for(lambda: server.open == 0)


@pytest.mark.parametrize("after", ["hello", "saslContinue"])
def test_cancelling_who_opens_it_closes_the_socket(after: str) -> None:
    async def main() -> None:
        task = asyncio.create_task(connect(server, logging_in()))
        while not server.count(after):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with ScriptedServer(login=Login(), on={after: Silence()}) as server:
        run(main)
        assert server.wait_for(lambda: server.open == 0)


def test_the_pool_may_give_it_up_from_another_thread() -> None:
    async def main() -> None:
        opening = Opening()
        threading.Timer(0.1, opening.end).start()
        with pytest.raises(AutoReconnect, match="given up while it was being made"):
            await open_connection(("127.0.0.1", server.port), settings(), opening=opening)

    with ScriptedServer(on={"hello": Silence()}) as server:
        run(main)


def test_a_client_that_is_closed_opens_nothing_more() -> None:
    async def main() -> None:
        shared = settings()
        asyncio.get_running_loop().call_later(0.1, shared.openings.end)
        with pytest.raises(InvalidOperation, match="after close"):
            await connect(server, shared)
        with pytest.raises(InvalidOperation, match="after close"):
            await connect(server, shared)

    with ScriptedServer(on={"hello": Silence()}) as server:
        run(main)


def test_who_asks_about_the_server_is_asked_before_the_login() -> None:
    async def main() -> None:
        def judge(hello: Any) -> None:
            raise ValueError("not this one")

        with pytest.raises(ValueError, match="not this one"):
            await open_connection(("127.0.0.1", server.port), logging_in(), judge)

    with ScriptedServer(login=Login()) as server:
        run(main)
        assert server.logins == 0


def test_a_hundred_connections_derive_one_key() -> None:
    async def main() -> None:
        shared = logging_in()
        made = await asyncio.gather(*(connect(server, shared) for _ in range(100)))
        assert len(made) == 100
        for each in made:
            each.close()

    with ScriptedServer(login=Login()) as server:
        run(main)
        assert server.logins == 100


def test_a_server_that_asks_for_another_login_gets_it() -> None:
    from mongokey.connection.establish_aio import reauthenticate

    async def main() -> None:
        connection = await connect(server, logging_in())
        await reauthenticate(connection)
        assert (await connection.command("x", {"ping": 1}))["ok"] == 1
        connection.close()

    with ScriptedServer(login=Login()) as server:
        run(main)
        assert server.logins == 2
