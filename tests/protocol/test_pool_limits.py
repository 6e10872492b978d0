"""A client's pool against a server that holds its answers back: limits, queues and Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.errors import AutoReconnect, InvalidOperation, PoolClearedError, WaitQueueTimeoutError
from tests.servers.scripted import (
    Close,
    Delay,
    Hold,
    Login,
    Reply,
    Request,
    ScriptedServer,
    in_turn,
    primary,
)

FOUND = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "firstBatch": [{"_id": 1}]}}


def after(event: threading.Event) -> Any:
    """The usual answer, once `event` is set."""

    def answer(request: Request) -> None:
        event.wait(10)

    return answer


class Call(threading.Thread):
    """A call in a thread of its own; `result` waits for it and raises what it raised."""

    def __init__(self, target: Any, *args: Any) -> None:
        super().__init__(daemon=True)
        self._target_call = (target, args)
        self._value: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        target, args = self._target_call
        try:
            self._value = target(*args)
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self.join(10)
        assert not self.is_alive()
        if self._error is not None:
            raise self._error
        return self._value


@pytest.fixture
def held() -> Iterator[tuple[ScriptedServer, Hold]]:
    """A server that answers a `hold` command only once the `Hold`'s event is set."""
    hold = Hold(answer=Reply({"ok": 1.0, "held": True}))
    with ScriptedServer(on={"hold": hold}) as server:
        yield server, hold
        hold.event.set()


def test_more_threads_than_connections_wait_and_are_told_when_it_takes_too_long(
    held: tuple[ScriptedServer, Hold],
) -> None:
    server, hold = held
    with MongoClient(server.uri(maxPoolSize=2, waitQueueTimeoutMS=150)) as client:
        busy = [Call(client.admin.command, "hold") for _ in range(2)]
        assert server.wait_for(lambda: server.count("hold") == 2)
        began = time.monotonic()
        with pytest.raises(WaitQueueTimeoutError) as caught:
            client.admin.command("ping")
        assert time.monotonic() - began >= 0.15
        assert caught.value.timeout
        for part in ("waitQueueTimeoutMS=150", "maxPoolSize=2", str(server.port)):
            assert part in str(caught.value)
        hold.event.set()
        assert all(call.result()["held"] for call in busy)
        assert client.admin.command("ping")["ok"] == 1
        assert server.used == 2


def test_a_thread_that_waits_gets_the_connection_that_comes_back(
    held: tuple[ScriptedServer, Hold],
) -> None:
    server, hold = held
    with MongoClient(server.uri(maxPoolSize=1)) as client:
        busy = Call(client.admin.command, "hold")
        assert server.wait_for(lambda: server.count("hold") == 1)
        waiting = [Call(client.admin.command, "ping") for _ in range(5)]
        time.sleep(0.05)
        assert server.count("ping") == 0
        hold.event.set()
        assert busy.result()["held"]
        assert [call.result()["ok"] for call in waiting] == [1] * 5
        assert server.used == 1


def test_waiting_threads_are_served_in_their_order(held: tuple[ScriptedServer, Hold]) -> None:
    server, hold = held
    with MongoClient(server.uri(maxPoolSize=1)) as client:
        busy = Call(client.admin.command, "hold")
        assert server.wait_for(lambda: server.count("hold") == 1)
        calls = []
        for number in range(6):
            calls.append(Call(client.admin.command, "ping", number))
            time.sleep(0.02)
        hold.event.set()
        busy.result()
        for call in calls:
            call.result()
        assert [each["ping"] for each in server.commands("ping")] == list(range(6))


def test_a_connection_that_breaks_clears_the_pool_and_who_waits_tries_again() -> None:
    go = threading.Event()

    def break_when_told(request: Request) -> Any:
        go.wait(10)
        return Close()

    with ScriptedServer(on={"break": break_when_told, "find": Reply(FOUND)}) as server:
        with MongoClient(server.uri(maxPoolSize=1)) as client:
            busy = Call(client.admin.command, "break")
            assert server.wait_for(lambda: server.count("break") == 1)
            waiting = [Call(client.x.y.find_one) for _ in range(3)]
            told = Call(client.admin.command, "ping")
            time.sleep(0.05)
            go.set()
            with pytest.raises(AutoReconnect):
                busy.result()
            assert [call.result() for call in waiting] == [{"_id": 1}] * 3
            # A command of the application's own is not tried again by the driver.
            with pytest.raises(PoolClearedError, match="another operation failed: AutoReconnect"):
                told.result()


def test_closing_the_client_ends_the_waiting(held: tuple[ScriptedServer, Hold]) -> None:
    server, hold = held
    client: MongoClient = MongoClient(server.uri(maxPoolSize=1))
    busy = Call(client.admin.command, "hold")
    assert server.wait_for(lambda: server.count("hold") == 1)
    waiting = [Call(client.admin.command, "ping") for _ in range(3)]
    time.sleep(0.05)
    client.close()
    for call in waiting:
        with pytest.raises(InvalidOperation, match="after close"):
            call.result()
    hold.event.set()
    assert busy.result()["held"]
    assert server.wait_for(lambda: server.open == 0)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_no_more_than_max_connecting_connections_are_opened_at_a_time(limit: int) -> None:
    counts = {"now": 0, "most": 0}
    lock = threading.Lock()
    hold = Hold()

    def hello(request: Request) -> Any:
        with lock:
            counts["now"] += 1
            counts["most"] = max(counts["most"], counts["now"])
        time.sleep(0.03)
        with lock:
            counts["now"] -= 1
        return None

    on = {"hello with login": hello, "hold": hold}
    with ScriptedServer(on=on, login=Login()) as server:
        with MongoClient(server.uri(maxConnecting=limit)) as client:
            client.admin.command("ping")
            calls = [Call(client.admin.command, "hold") for _ in range(8)]
            assert server.wait_for(lambda: server.count("hold") == 8)
            assert counts["most"] == limit
            assert server.used == 8
            hold.event.set()
            for call in calls:
                call.result()


def test_a_connection_that_comes_back_serves_who_waits_for_one_to_be_opened() -> None:
    hold, go = Hold(), threading.Event()
    slow = in_turn(None, after(go))
    on = {"hello with login": slow, "hold": hold}
    with ScriptedServer(on=on, login=Login()) as server:
        with MongoClient(server.uri(maxConnecting=1)) as client:
            busy = Call(client.admin.command, "hold")
            assert server.wait_for(lambda: server.count("hold") == 1)
            opening = Call(client.admin.command, "ping", "opening")
            assert server.wait_for(lambda: server.used == 2)
            waiting = Call(client.admin.command, "ping", "waiting")
            time.sleep(0.05)
            hold.event.set()
            busy.result()
            waiting.result()
            assert opening.is_alive()
            go.set()
            opening.result()
            assert server.used == 2


def test_a_connection_that_cannot_be_opened_makes_room_for_the_next() -> None:
    hold = Hold()
    broken = in_turn(None, Delay(0.1, Close()), None)
    on = {"hello with login": broken, "hold": hold}
    with ScriptedServer(on=on, login=Login()) as server:
        with MongoClient(server.uri(maxConnecting=1, retryReads=False)) as client:
            busy = Call(client.admin.command, "hold")
            assert server.wait_for(lambda: server.count("hold") == 1)
            opening = Call(client.admin.command, "ping")
            assert server.wait_for(lambda: server.used == 2)
            waiting = Call(client.admin.command, "ping")
            with pytest.raises(AutoReconnect):
                opening.result()
            assert waiting.result()["ok"] == 1
            hold.event.set()
            busy.result()


def test_a_pool_without_a_limit_grows_as_it_is_asked(held: tuple[ScriptedServer, Hold]) -> None:
    server, hold = held
    with MongoClient(server.uri(maxPoolSize=0, maxConnecting=50)) as client:
        calls = [Call(client.admin.command, "hold") for _ in range(120)]
        assert server.wait_for(lambda: server.count("hold") == 120, 20)
        hold.event.set()
        for call in calls:
            call.result()
        assert client._pool().idle_count == 120


def test_a_connection_closed_while_it_was_idle_is_noticed_before_it_is_used() -> None:
    with ScriptedServer(on={"update": {"ok": 1.0, "n": 0, "nModified": 0}}) as server:
        with MongoClient(server.uri()) as client:
            client.admin.command("ping")
            server.close_connections()
            assert server.wait_for(lambda: server.open == 0)
            time.sleep(1.05)
            # It could not be tried again: not one byte may go to the dead connection.
            client["x"]["y"].update_many({}, {"$set": {"a": 1}})
            assert server.count("update") == 1
            assert server.used == 2


def test_one_login_s_keys_serve_all_connections() -> None:
    hold = Hold()
    login = Login(iterations=30_000)
    with ScriptedServer(on={"hold": hold}, login=login) as server:
        with MongoClient(server.uri(maxConnecting=10)) as client:
            calls = [Call(client.admin.command, "hold") for _ in range(10)]
            assert server.wait_for(lambda: server.count("hold") == 10)
            hold.event.set()
            for call in calls:
                call.result()
        assert server.logins == 10


def test_close_tells_the_server_that_the_sessions_are_over() -> None:
    with ScriptedServer(hello=primary(), on={"find": {"ok": 1.0, "cursor": EMPTY}}) as server:
        with MongoClient(server.uri()) as client:
            client["x"]["y"].find_one()
        (find,) = server.commands("find")
        (end,) = server.commands("endSessions")
        assert end["endSessions"] == [find["lsid"]]
        assert end["$db"] == "admin"
        assert "lsid" not in end
        assert server.wait_for(lambda: server.open == 0)


EMPTY = {"id": 0, "ns": "x.y", "firstBatch": []}


def test_close_does_not_wait_for_a_server_that_has_gone() -> None:
    server = ScriptedServer(on={"find": {"ok": 1.0, "cursor": EMPTY}}).start()
    client: MongoClient = MongoClient(server.uri())
    client["x"]["y"].find_one()
    server.stop()
    began = time.monotonic()
    client.close()
    assert time.monotonic() - began < 5


def test_servers_without_sessions_are_sent_none() -> None:
    hello = primary(logicalSessionTimeoutMinutes=None)
    with ScriptedServer(hello=hello, on={"find": {"ok": 1.0, "cursor": EMPTY}}) as server:
        with MongoClient(server.uri()) as client:
            client["x"]["y"].find_one()
        assert "lsid" not in server.commands("find")[0]
        assert server.count("endSessions") == 0


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals to threads")
def test_ctrl_c_ends_a_blocked_command_and_the_client_stays_usable(
    held: tuple[ScriptedServer, Hold],
) -> None:
    server, _ = held
    with MongoClient(server.uri(maxPoolSize=1)) as client:
        main = threading.main_thread().ident
        assert main is not None

        def interrupt() -> None:
            server.wait_for(lambda: server.count("hold") == 1)
            time.sleep(0.1)  # until the client waits for the answer
            signal.pthread_kill(main, signal.SIGINT)

        threading.Thread(target=interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            client.admin.command("hold")
        # The answer may still come: that connection is not used again.
        assert client._pool().in_use == 0
        assert client.admin.command("ping")["ok"] == 1
        assert server.used == 2


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals to threads")
def test_ctrl_c_ends_the_wait_for_a_connection(held: tuple[ScriptedServer, Hold]) -> None:
    server, hold = held
    with MongoClient(server.uri(maxPoolSize=1)) as client:
        busy = Call(client.admin.command, "hold")
        assert server.wait_for(lambda: server.count("hold") == 1)
        main = threading.main_thread().ident
        assert main is not None
        threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            client.admin.command("ping")
        hold.event.set()
        busy.result()
        assert client.admin.command("ping")["ok"] == 1
        assert server.used == 1


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals to threads")
def test_ctrl_c_ends_a_login_and_the_next_one_works() -> None:
    go = threading.Event()
    with ScriptedServer(login=Login(), on={"saslContinue": in_turn(after(go), None)}) as server:
        with MongoClient(server.uri()) as client:
            main = threading.main_thread().ident
            assert main is not None

            def interrupt() -> None:
                server.wait_for(lambda: server.count("saslContinue") == 1)
                time.sleep(0.1)  # until the client waits for the answer
                signal.pthread_kill(main, signal.SIGINT)

            threading.Thread(target=interrupt).start()
            with pytest.raises(KeyboardInterrupt):
                client.admin.command("ping")
            go.set()
            assert client.admin.command("ping")["ok"] == 1
            # The monitor has one, too.
            assert server.wait_for(lambda: server.open == 2)


def test_a_signal_handler_that_returns_does_not_end_the_command(
    held: tuple[ScriptedServer, Hold],
) -> None:
    server, hold = held
    came = []

    def handle(number: int, frame: Any) -> None:
        came.append(number)
        hold.event.set()

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with MongoClient(server.uri()) as client:

            def send() -> None:
                server.wait_for(lambda: server.count("hold") == 1)
                time.sleep(0.1)  # until the client waits for the answer
                os.kill(os.getpid(), signal.SIGUSR1)

            threading.Thread(target=send).start()
            assert client.admin.command("hold")["held"]
            assert came == [signal.SIGUSR1]
    finally:
        signal.signal(signal.SIGUSR1, before)
