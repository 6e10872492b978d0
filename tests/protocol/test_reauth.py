"""Error 391: the same connection logs in again and the command is sent once more, whatever it is
(auth.md, "Reauthentication"). The mechanism here is SCRAM; OIDC's own rules are tested apart."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from mongokey import MongoClient, WriteConcern
from mongokey.auth import AuthenticationFailed
from mongokey.errors import AutoReconnect, NetworkTimeout, OperationFailure
from tests.protocol.test_retries import ANSWERS, NEVER, READS, WRITES
from tests.servers.scripted import (
    Close,
    Error,
    Login,
    Reply,
    ScriptedServer,
    Silence,
    in_turn,
    primary,
)

AGAIN = Error(code=391, code_name="ReauthenticationRequired", message="log in again")
LOGIN = ["saslStart", "saslContinue"]
CALLS = {**READS, **WRITES, **NEVER}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(hello=primary(), login=Login(), on=dict(ANSWERS)) as server:
        yield server


def connect(server: ScriptedServer, **options: Any) -> Any:
    return MongoClient(server.uri(**options), retryReads=False, retryWrites=False)


def ask_once(server: ScriptedServer, name: str, *more: Any) -> None:
    answer = Reply(ANSWERS.get(name, {"ok": 1.0}))
    server.on[name] = in_turn(AGAIN, *(more or (answer,)))


def state(client: Any) -> Any:
    return client.options.credential.state


def since_login(server: ScriptedServer) -> list[str]:
    """What came after the first login; of endSessions nothing."""
    names = [name for name in server.names() if name != "endSessions"]
    return names[names.index("saslContinue") + 1 :]


@pytest.mark.parametrize("call", CALLS)
def test_any_operation_logs_in_again_and_is_sent_once_more(
    server: ScriptedServer, call: str
) -> None:
    name, operate = CALLS[call]
    ask_once(server, name)
    with connect(server) as client:
        operate(client["x"]["y"])
        assert since_login(server) == [name, *LOGIN, name]
        assert server.used == 1
        assert server.count("hello", used=True) == 1
        assert state(client).reauthentications == 1
        first, second = server.commands(name)
        assert first == second


def test_a_write_keeps_its_number_and_session(server: ScriptedServer) -> None:
    ask_once(server, "insert")
    with MongoClient(server.uri()) as client:
        client["x"]["y"].insert_one({"_id": 1})
        first, second = server.commands("insert")
        assert first["txnNumber"] == second["txnNumber"]
        assert first == second


def test_no_session_is_lost(server: ScriptedServer) -> None:
    with connect(server) as client:
        for _ in range(3):
            ask_once(server, "find")
            client["x"]["y"].find_one()
        assert len({bytes(each["lsid"]["id"]) for each in server.commands("find")}) == 1


def test_get_more_and_the_killing_of_a_cursor(server: ScriptedServer) -> None:
    cursor = {"id": 5, "ns": "x.y", "firstBatch": [{"_id": 1}]}
    batch = {"id": 5, "ns": "x.y", "nextBatch": [{"_id": 2}]}
    server.on["find"] = Reply({"ok": 1.0, "cursor": cursor})
    server.on["getMore"] = in_turn(AGAIN, Reply({"ok": 1.0, "cursor": batch}))
    server.on["killCursors"] = in_turn(AGAIN, Reply({"ok": 1.0}))
    with connect(server) as client:
        found = client["x"]["y"].find()
        assert [next(found)["_id"], next(found)["_id"]] == [1, 2]
        found.close()
        assert since_login(server) == [
            *("find", "getMore", *LOGIN, "getMore"),
            # Housekeeping does not log in: the next operation on that connection does.
            "killCursors",
        ]


def test_a_batch_in_the_middle_of_many(server: ScriptedServer) -> None:
    server.hello = {**primary(), "maxWriteBatchSize": 2}
    done = Reply({"ok": 1.0, "n": 2})
    server.on["insert"] = in_turn(done, AGAIN, done)
    with connect(server) as client:
        result = client["x"]["y"].insert_many([{"_id": n} for n in range(6)])
        assert result.inserted_ids == list(range(6))
        sent = [[each["_id"] for each in c["documents"]] for c in server.commands("insert")]
        assert sent == [[0, 1], [2, 3], [2, 3], [4, 5]]


def test_errors_that_a_command_tolerates_do_not_hide_it(server: ScriptedServer) -> None:
    ask_once(server, "ping")
    with connect(server) as client:
        assert client.admin.command("ping", check=False)["ok"] == 1
        assert since_login(server) == ["ping", *LOGIN, "ping"]


def test_a_second_391_is_raised_and_the_connection_stays(server: ScriptedServer) -> None:
    ask_once(server, "find", AGAIN)
    with connect(server) as client:
        with pytest.raises(OperationFailure, match="log in again") as caught:
            client["x"]["y"].find_one()
        assert caught.value.code == 391
        assert server.count("find") == 2
        client.admin.command("ping")
        assert server.used == 1


def test_a_refused_login_is_raised_and_the_next_operation_connects_anew(
    server: ScriptedServer,
) -> None:
    ask_once(server, "find")
    with connect(server, loginBackoffMS=0) as client:
        client.admin.command("ping")
        server.on["saslStart"] = Error(code=18, code_name="AuthenticationFailed")
        with pytest.raises(AuthenticationFailed, match=r"login to .* failed") as caught:
            client["x"]["y"].find_one()
        assert caught.value.code == 18
        assert server.count("find") == 1
        assert state(client).reauthentications == 0
        del server.on["saslStart"]
        client["x"]["y"].find_one()
        assert server.used == 2


def test_what_comes_after_a_login_again_is_raised(server: ScriptedServer) -> None:
    ask_once(server, "find", Error(code=59, message="another"))
    with connect(server) as client, pytest.raises(OperationFailure, match="another"):
        client["x"]["y"].find_one()


@pytest.mark.parametrize("retries", [False, True])
def test_a_connection_lost_meanwhile_is_a_failure_like_any(
    server: ScriptedServer, retries: bool
) -> None:
    ask_once(server, "insert")
    server.on["saslStart"] = in_turn(Close(), None)
    with MongoClient(server.uri(), retryWrites=retries) as client:
        if retries:
            client["x"]["y"].insert_one({"_id": 1})
        else:
            with pytest.raises(AutoReconnect):
                client["x"]["y"].insert_one({"_id": 1})
    assert server.count("insert") == 1 + retries
    assert server.used == 1 + retries


def test_connect_timeout_bounds_it(server: ScriptedServer) -> None:
    ask_once(server, "find")
    with connect(server, connectTimeoutMS=300) as client:
        client.admin.command("ping")
        server.on["saslStart"] = Silence()
        began = time.monotonic()
        with pytest.raises(NetworkTimeout, match="connectTimeoutMS=300"):
            client["x"]["y"].find_one()
        assert time.monotonic() - began < 5
        del server.on["saslStart"]
        client["x"]["y"].find_one()


def test_it_is_logged_in_with_what_the_connection_logged_in_with(server: ScriptedServer) -> None:
    """Another connection's negotiation may have ended otherwise meanwhile."""
    server.login = Login(mechanisms=("SCRAM-SHA-1", "SCRAM-SHA-256"))
    with connect(server) as client:
        client.admin.command("ping")
        state(client).shared.mechanism = "SCRAM-SHA-1"
        ask_once(server, "find")
        client["x"]["y"].find_one()
        assert server.commands("saslStart")[-1]["mechanism"] == "SCRAM-SHA-256"


def test_the_end_of_sessions_is_not_worth_a_login(server: ScriptedServer) -> None:
    server.on["endSessions"] = AGAIN
    client = connect(server)
    client["x"]["y"].find_one()
    client.close()
    assert server.count("endSessions") == 1
    assert server.count("saslContinue") == 1


def test_unacknowledged_writes_wait_for_nothing(server: ScriptedServer) -> None:
    with connect(server) as client:
        collection = client["x"].get_collection("y", write_concern=WriteConcern(0))
        collection.insert_one({"_id": 1})
        client.admin.command("ping")
        assert state(client).reauthentications == 0


def test_without_a_credential_it_is_an_error_like_any() -> None:
    with ScriptedServer(hello=primary(), on={"find": AGAIN}) as server, connect(server) as client:
        with pytest.raises(OperationFailure, match="log in again"):
            client["x"]["y"].find_one()
        assert server.count("find") == 1
        assert server.count("saslStart") == 0
