"""killCursors and endSessions: told beside the program's calls, in time, and to every server that
still listens; and nothing is left when the client is gone."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mongokey
from mongokey import MongoClient
from mongokey.errors import AutoReconnect
from mongokey.pool import maintenance
from tests.servers.scripted import (
    Close,
    Error,
    Hold,
    Reply,
    ScriptedServer,
    Silence,
    in_turn,
    primary,
    secondary,
)

KEPT_OPEN = {"ok": 1.0, "cursor": {"id": 7, "ns": "x.y", "firstBatch": [{"_id": 1}, {"_id": 2}]}}
#: What an answer that is waited for to the end may take; no test waits that long when all is well.
PATIENCE = 20.0


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(hello=primary(), on={"find": KEPT_OPEN}) as server:
        yield server


def opened(client: Any, count: int = 1) -> list[Any]:
    """Cursors that are open on the server."""
    cursors = [client["x"]["y"].find() for _ in range(count)]
    for cursor in cursors:
        next(cursor)
    return cursors


def keepers() -> int:
    return sum(thread.name == "mongokey-background" for thread in threading.enumerate())


def no_keeper_is_left(server: ScriptedServer) -> bool:
    return server.wait_for(lambda: keepers() == 0)


def test_a_forgotten_cursor_is_killed_without_another_call(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client:
        opened(client)
        gc.collect()
        assert server.wait_for(lambda: server.count("killCursors") == 1)
        (kill,) = server.commands("killCursors")
        (find,) = server.commands("find")
        assert (kill["killCursors"], kill["cursors"], kill["$db"]) == ("y", [7], "x")
        assert kill["lsid"] == find["lsid"]
    assert no_keeper_is_left(server)


def test_a_forgotten_cursor_on_a_silent_host_delays_nobody(server: ScriptedServer) -> None:
    server.on["killCursors"] = Silence()
    server.on["insert"] = {"ok": 1.0, "n": 1}
    with MongoClient(server.uri()) as client:
        opened(client, 3)
        gc.collect()
        assert server.wait_for(lambda: server.count("killCursors") == 1)
        began = time.monotonic()
        for _ in range(5):
            client["x"]["y"].insert_one({})
        # A killCursors that nobody answers is waited for for 2 seconds.
        assert time.monotonic() - began < 1.5
        assert server.count("killCursors") == 1


def test_after_one_killing_that_fails_the_others_are_killed(server: ScriptedServer) -> None:
    killed = {"ok": 1.0, "cursorsKilled": []}
    server.on["killCursors"] = in_turn(Error(code=13), Error(code=13), *[Reply(killed)] * 9)
    with MongoClient(server.uri()) as client:
        opened(client, 5)
        gc.collect()
        # Those that failed are tried once more.
        assert server.wait_for(lambda: server.count("killCursors") >= 6)


def test_a_killing_that_loses_its_connection_costs_the_others_nothing(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_PERIOD_S", 0.05)
    server.on["killCursors"] = in_turn(Close(), Reply({"ok": 1.0}))
    with MongoClient(server.uri()) as client:
        opened(client, 4)
        gc.collect()
        assert server.wait_for(lambda: server.count("killCursors") == 1)
        # Housekeeping opens no connection: it waits for one that somebody else needed.
        accepted = server.used
        assert not server.wait_for(lambda: server.used != accepted, 0.3)
        client.admin.command("ping")
        assert server.wait_for(lambda: server.count("killCursors") == 5)


@pytest.mark.parametrize("code", [13, 13436])
def test_a_server_that_never_lets_cursors_be_killed_is_not_asked_for_ever(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    # That it is no primary is an answer too, and not the loss of a connection.
    monkeypatch.setattr(maintenance, "_PERIOD_S", 0.01)
    server.on["killCursors"] = Error(code=code)
    with MongoClient(server.uri()) as client:
        opened(client, 3)
        gc.collect()
        assert server.wait_for(lambda: server.count("killCursors") == 6)
        assert not server.wait_for(lambda: server.count("killCursors") > 6, 0.3)


def test_thousands_of_abandoned_cursors_are_no_trouble(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client:
        opened(client, 3000)
        gc.collect()
        # Asked now and then only: counting after each of thousands of messages takes longer than
        # they do.
        deadline = time.monotonic() + PATIENCE
        while server.count("killCursors") < 3000 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert server.count("killCursors") == 3000
        assert server.used == 1


def test_the_session_of_a_killed_cursor_is_used_again(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client:
        for count in range(1, 6):
            opened(client)
            assert server.wait_for(lambda n=count: server.count("killCursors") == n)  # type: ignore[misc]
            # The answer is still to be read.
            assert server.wait_for(lambda: client._pool().in_use == 0)
        assert len({bytes(find["lsid"]["id"]) for find in server.commands("find")}) <= 2


def test_a_pool_that_is_always_busy_spares_a_connection_for_old_cursors(
    server: ScriptedServer,
) -> None:
    stop = threading.Event()
    with MongoClient(server.uri(maxPoolSize=1)) as client:

        def work() -> None:
            while not stop.is_set():
                client.admin.command("ping")

        opened(client, 2)
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            # After 5 seconds; the thread's period is one.
            assert server.wait_for(lambda: server.count("killCursors") == 2, PATIENCE)
        finally:
            stop.set()
            for thread in threads:
                thread.join(PATIENCE)
        assert client._pool().in_use == 0
        assert server.used == 1


# Explicit ends


def test_closing_a_cursor_on_a_silent_host_ends(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client:
        (cursor,) = opened(client)
        server.on["killCursors"] = Silence()
        began = time.monotonic()
        cursor.close()
        assert time.monotonic() - began < 5
        assert server.count("killCursors") == 1
        list(cursor)  # what it had at hand
        assert not cursor.alive
        assert client.admin.command("ping")["ok"] == 1


def test_closing_a_cursor_waits_for_no_connection(server: ScriptedServer) -> None:
    hold = Hold()
    server.on["hold"] = hold
    with MongoClient(server.uri(maxPoolSize=1)) as client:
        (cursor,) = opened(client)
        busy = threading.Thread(target=client.admin.command, args=("hold",))
        busy.start()
        assert server.wait_for(lambda: server.count("hold") == 1)
        began = time.monotonic()
        cursor.close()
        assert time.monotonic() - began < 5
        assert server.count("killCursors") == 0
        hold.event.set()
        busy.join(PATIENCE)
        # It is told once the connection is free.
        assert server.wait_for(lambda: server.count("killCursors") == 1)


@pytest.mark.parametrize("forgotten", [0, 1, 20])
def test_closing_a_client_of_a_silent_host_ends(server: ScriptedServer, forgotten: int) -> None:
    client: MongoClient = MongoClient(server.uri())
    kept = opened(client, 2)
    server.on["killCursors"] = server.on["endSessions"] = Silence()
    opened(client, forgotten)
    gc.collect()
    began = time.monotonic()
    client.close()
    assert time.monotonic() - began < 5
    assert server.wait_for(lambda: server.open == 0)
    assert no_keeper_is_left(server)
    del kept


def test_closing_a_client_kills_what_was_let_go_and_ends_the_sessions(
    server: ScriptedServer,
) -> None:
    for _ in range(20):  # with the thread at work, or before it starts, or after
        client: MongoClient = MongoClient(server.uri())
        opened(client, 3)
        server.requests.clear()
        client.close()
        assert server.names().count("endSessions") == 1
        assert server.names()[-1] == "endSessions"
        ended = {bytes(each["id"]) for each in server.commands("endSessions")[0]["endSessions"]}
        assert {bytes(kill["lsid"]["id"]) for kill in server.commands("killCursors")} <= ended
        assert len(ended) == 3


def test_a_silent_member_does_not_delay_closing_for_long() -> None:
    with (
        ScriptedServer(on={"find": KEPT_OPEN, "killCursors": Silence()}) as old,
        ScriptedServer(hello=secondary(), on={"find": KEPT_OPEN}) as new,
    ):
        hosts = [old.address, new.address]
        members = {"setName": "rs", "hosts": hosts}
        old.hello, new.hello = primary(**members), secondary(**members)
        client: MongoClient = MongoClient(f"mongodb://{','.join(hosts)}/?replicaSet=rs")
        before = opened(client, 2)
        # The primary steps down; the other is elected.
        old.hello, new.hello = secondary(**members), primary(**members)
        old.on["insert"] = Error(code=10107, labels=["RetryableWriteError"])
        new.on["insert"] = {"ok": 1.0, "n": 1}
        client["x"]["y"].insert_one({})
        after = opened(client, 2)
        del before, after
        gc.collect()
        assert new.wait_for(lambda: new.count("killCursors") == 2)
        began = time.monotonic()
        client.close()
        assert time.monotonic() - began < 5
        assert new.count("endSessions") == 1


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals to threads")
def test_ctrl_c_ends_a_close_that_waits_and_the_sockets_are_closed(
    server: ScriptedServer,
) -> None:
    client: MongoClient = MongoClient(server.uri())
    opened(client)[0].close()
    server.on["endSessions"] = Silence()
    main = threading.main_thread().ident
    assert main is not None

    def interrupt() -> None:
        server.wait_for(lambda: server.count("endSessions") == 1)
        time.sleep(0.2)  # until the main thread waits
        signal.pthread_kill(main, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        client.close()
    thread.join()
    assert server.wait_for(lambda: server.open == 0)


# Nothing is left


def test_a_client_that_is_garbage_leaves_no_cursor_socket_or_thread(
    server: ScriptedServer,
) -> None:
    next(MongoClient(server.uri())["x"]["y"].find())
    gc.collect()
    assert server.wait_for(lambda: server.count("killCursors") == 1)
    assert server.wait_for(lambda: server.open == 0)
    assert no_keeper_is_left(server)


def test_a_client_without_open_cursors_starts_no_thread(server: ScriptedServer) -> None:
    server.on["find"] = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "firstBatch": [{}]}}
    with MongoClient(server.uri()) as client:
        list(client["x"]["y"].find())
        client["x"]["y"].find_one()
        assert keepers() == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_leaves_the_parent_its_cursors_and_tends_its_own(
    server: ScriptedServer,
) -> None:
    with MongoClient(server.uri()) as client:
        # The parent's thread runs, and has failed cursors on its list.
        server.on["killCursors"] = Close()
        opened(client, 2)
        gc.collect()
        assert server.wait_for(lambda: server.count("killCursors") >= 1)
        parents = opened(client)
        server.on["killCursors"] = Reply({"ok": 1.0})
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                parents.clear()
                gc.collect()
                before = keepers()
                opened(client)
                gc.collect()
                deadline = time.monotonic() + 10
                while client._executor.has_pending_cursors and time.monotonic() < deadline:
                    time.sleep(0.01)
                status = 0 if before == 0 and not client._executor.has_pending_cursors else 2
            finally:
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        connection = max(each.connection for each in server.requests if each.name == "find")
        assert server.wait_for(lambda: "killCursors" in server.names(connection))
        assert server.names(connection).count("killCursors") == 1
        assert parents[0].alive


SCRIPTS = {
    "cursors that live to the end": "kept = cursors",
    "cursors dropped at the end": "del cursors, cursor",
    "a dropped client": "del client, things, cursors, cursor",
    "a cycle": "cursors.append(cursors); del cursors, cursor, things, client",
    "a destructor at the end": """
        class Last:
            def __del__(self):
                self.cursor.close()
        last = Last()
        last.cursor = cursors.pop()
        """,
}


@pytest.mark.parametrize("end", SCRIPTS.values(), ids=SCRIPTS.keys())
@pytest.mark.parametrize("answer", ["answered", "silent"])
def test_an_interpreter_with_cursors_left_ends_quietly_and_soon(
    server: ScriptedServer, end: str, answer: str
) -> None:
    if answer == "silent":
        server.on["killCursors"] = server.on["endSessions"] = Silence()
    script = """
        import sys
        from mongokey import MongoClient
        client = MongoClient(sys.argv[1])
        things = client["x"]["y"]
        cursors = [things.find() for _ in range(4)]
        for cursor in cursors:
            next(cursor)
        """
    source = textwrap.dedent(script) + textwrap.dedent(end)
    path = Path(mongokey.__file__).parent.parent
    began = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-X", "dev", "-c", source, server.uri()],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(path)},
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert time.monotonic() - began < 15


def test_a_thread_that_cannot_be_started_is_asked_for_again(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(self: threading.Thread) -> None:
        if self.name == "mongokey-background":
            raise RuntimeError("can't start new thread")
        start(self)

    with MongoClient(server.uri()) as client:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            opened(client)
            gc.collect()
            assert keepers() == 0
        opened(client)
        gc.collect()
        assert server.wait_for(lambda: server.count("killCursors") == 2)


def test_housekeeping_survives_an_operation_that_loses_its_server(server: ScriptedServer) -> None:
    server.on["getMore"] = Close()
    with MongoClient(server.uri()) as client:
        (cursor,) = opened(client)
        next(cursor)
        with pytest.raises(AutoReconnect):
            next(cursor)
        # The cursor may well be open still: killed when there is a connection again.
        assert client.admin.command("ping")["ok"] == 1
        assert server.wait_for(lambda: server.count("killCursors") == 1)
