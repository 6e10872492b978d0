"""Logins on an asyncio loop that need more than the server: callbacks, blocking and awaited, and
what other logins wait for."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mongokey.auth import MongoCredential, build_credential
from mongokey.auth.errors import AuthenticationFailed
from mongokey.auth.shared_login import LoginScope
from mongokey.auth.turns import Backoff
from mongokey.auth_oidc import OIDCCallback, OIDCCallbackContext, OIDCCallbackResult
from mongokey.connection.establish_aio import open_connection, reauthenticate
from mongokey.connection.settings import Opening
from mongokey.errors import AutoReconnect, NetworkTimeout
from tests.loops import each_loop, logging_in, ms, run, settings
from tests.servers.scripted import Error, Hold, Login, Reply, ScriptedServer, Silence

TRACE: contextvars.ContextVar[str] = contextvars.ContextVar("trace", default="none")
DONE = Reply({"ok": 1, "conversationId": 1, "done": True, "payload": b""})

pytestmark = pytest.mark.usefixtures("each_loop")
__all__ = ["each_loop"]


def oidc(callback: Any, **options: Any) -> Any:
    """Settings of a client that gets its tokens from `callback`."""
    credential = build_credential(
        "MONGODB-OIDC", None, None, properties={"OIDC_CALLBACK": callback}
    )
    assert isinstance(credential, MongoCredential)
    return settings(credential=credential, **options)


class Awaited(OIDCCallback):
    """A callback that is a coroutine function."""

    def __init__(self, work: Callable[[], Awaitable[Any]] | None = None) -> None:
        self.work = work
        self.seen: list[tuple[Any, int, str]] = []

    async def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:  # type: ignore[override]
        self.seen.append((asyncio.get_running_loop(), threading.get_ident(), TRACE.get()))
        if self.work is not None:
            await self.work()
        return OIDCCallbackResult(access_token="token")


async def connect(server: ScriptedServer, what: Any, **options: Any) -> Any:
    connection, _ = await open_connection(("127.0.0.1", server.port), what, **options)
    return connection


def test_a_coroutine_callback_is_awaited_in_the_caller_s_loop_and_context() -> None:
    callback = Awaited()

    async def main() -> None:
        TRACE.set("request 7")
        connection = await connect(server, oidc(callback))
        assert (await connection.command("x", {"ping": 1}))["ok"] == 1
        connection.close()
        assert callback.seen == [(asyncio.get_running_loop(), threading.get_ident(), "request 7")]

    with ScriptedServer(on={"saslStart": DONE}) as server:
        run(main)


def test_a_blocking_callback_holds_up_nobody() -> None:
    class Slow(OIDCCallback):
        def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
            assert threading.get_ident() != main_thread
            assert TRACE.get() == "request 8"
            time.sleep(0.3)
            return OIDCCallbackResult(access_token="token")

    main_thread = threading.get_ident()

    async def main() -> None:
        TRACE.set("request 8")
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.01)

        counting = asyncio.create_task(count())
        connection = await connect(server, oidc(Slow()))
        counting.cancel()
        connection.close()
        assert turns > 5

    with ScriptedServer(on={"saslStart": DONE}) as server:
        run(main)


def test_one_call_serves_all_who_log_in_at_once() -> None:
    callback = Awaited(lambda: asyncio.sleep(0.1))

    async def main() -> None:
        shared = oidc(callback)
        made = await asyncio.gather(*(connect(server, shared) for _ in range(20)))
        for each in made:
            each.close()
        assert len(callback.seen) == 1

    with ScriptedServer(on={"saslStart": DONE}) as server:
        run(main)


def test_what_a_coroutine_callback_raises_is_the_login_s_error() -> None:
    async def refuse() -> None:
        raise ValueError("no network in the lift")

    async def main() -> None:
        with pytest.raises(AuthenticationFailed, match="ValueError: no network in the lift"):
            await connect(server, oidc(Awaited(refuse)))

    with ScriptedServer(on={"saslStart": DONE}) as server:
        run(main)


def test_cancelling_one_login_leaves_the_call_to_the_others() -> None:
    callback = Awaited(lambda: asyncio.sleep(0.3))

    async def main() -> None:
        shared = oidc(callback)
        first = asyncio.create_task(connect(server, shared))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(connect(server, shared))
        await asyncio.sleep(0.05)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        (await second).close()
        assert len(callback.seen) == 1

    with ScriptedServer(on={"saslStart": DONE}) as server:
        run(main)
        assert server.wait_for(lambda: server.open == 0)


def test_a_coroutine_callback_is_bounded_by_the_client_s_time() -> None:
    cancelled: list[bool] = []

    async def long() -> None:
        try:
            await asyncio.sleep(30)
        finally:
            cancelled.append(True)

    async def main() -> None:
        with pytest.raises((AuthenticationFailed, NetworkTimeout)):
            await connect(server, oidc(Awaited(long), timeout=ms(300, "timeoutMS")))
        while not cancelled:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)

    with ScriptedServer(on={"saslStart": DONE}) as server:
        run(main)


def test_the_pool_may_give_up_a_login_whose_callback_lasts() -> None:
    """The callback goes on, as other logins may wait for it."""

    async def main() -> None:
        ends = asyncio.Event()
        opening = Opening()
        shared = oidc(Awaited(ends.wait))
        threading.Timer(0.2, opening.end).start()
        with pytest.raises(AutoReconnect, match="given up"):
            await connect(server, shared, opening=opening)
        other = asyncio.create_task(connect(server, shared))
        await asyncio.sleep(0.1)
        ends.set()
        (await other).close()

    with ScriptedServer(on={"saslStart": DONE}) as server:
        run(main)


def test_logging_in_again_awaits_the_callback_too() -> None:
    callback = Awaited()

    async def main() -> None:
        connection = await connect(server, oidc(callback))
        await reauthenticate(connection)
        connection.close()
        assert [loop for loop, _, _ in callback.seen] == [asyncio.get_running_loop()] * 2

    with ScriptedServer(on={"saslStart": DONE}) as server:
        run(main)


def test_a_login_that_is_cancelled_while_it_is_repeated_closes_the_connection() -> None:
    async def main() -> None:
        connection = await connect(server, logging_in())
        server.on["saslStart"] = Silence()
        task = asyncio.create_task(reauthenticate(connection))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert connection.closed

    with ScriptedServer(login=Login()) as server:
        run(main)


# -- a wrong password ----------------------------------------------------------------------------


def test_tasks_that_begin_together_try_a_wrong_password_once() -> None:
    """Each try may count against an account that locks."""

    async def main() -> None:
        shared = logging_in("wrong")
        minute = 60_000_000_000
        LoginScope(("h:1",), None, Backoff(minute, minute)).share(shared.credential)
        two_at_once = asyncio.Semaphore(2)

        async def log_in() -> None:
            async with two_at_once:
                await connect(server, shared)

        errors = await asyncio.gather(*(log_in() for _ in range(30)), return_exceptions=True)
        assert {type(each) for each in errors} == {AuthenticationFailed}
        tried = server.count("saslContinue")
        assert tried == 1, tried
        # Who was told and tries again is told again.
        with pytest.raises(AuthenticationFailed, match="answered from memory"):
            await connect(server, shared)
        assert server.count("saslContinue") == tried

    with ScriptedServer(login=Login()) as server:
        run(main)


def test_logins_wait_for_the_first_one_without_holding_up_the_loop() -> None:
    hold = Hold(answer=Error(code=18))

    async def main() -> None:
        shared = logging_in()
        logins = [asyncio.create_task(connect(server, shared)) for _ in range(10)]
        while not server.count("saslContinue"):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.2)
        assert server.count("saslContinue") == 1
        hold.event.set()
        errors = await asyncio.gather(*logins, return_exceptions=True)
        assert {type(each) for each in errors} == {AuthenticationFailed}
        assert server.count("saslContinue") == 1

    with ScriptedServer(login=Login(), on={"saslContinue": hold}) as server:
        run(main)
