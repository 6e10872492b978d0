"""Command events of a real server's commands, beside PyMongo's, and in PyMongo's order."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pymongo
import pymongo.monitoring
import pytest

import mongokey
from mongokey import monitoring
from mongokey.errors import AutoReconnect, OperationFailure
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live


class Notes(monitoring.CommandListener):
    def __init__(self) -> None:
        self.events: list[Any] = []

    def started(self, event: Any) -> None:
        self.events.append(event)

    succeeded = failed = started


class TheirNotes(Notes, pymongo.monitoring.CommandListener):
    pass


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def mine(secantus: SecantusServer, database_name: str, notes: Notes) -> Iterator[Any]:
    with mongokey.MongoClient(secantus.uri("both"), event_listeners=[notes]) as client:
        yield client[database_name]["mine"]


def exercise(module: Any, collection: Any) -> None:
    """What produces commands of every shape."""
    collection.insert_one({"_id": 1, "x": 1})
    collection.insert_many([{"_id": number, "x": 1} for number in range(2, 7)])
    collection.update_one({"_id": 1}, {"$set": {"x": 2}})
    list(collection.find({"x": 1}, batch_size=2))
    collection.delete_many({"_id": {"$gt": 4}})
    collection.bulk_write(
        [module.InsertOne({"_id": 9}), module.DeleteOne({"_id": 9}), module.InsertOne({"_id": 8})]
    )
    collection.aggregate([{"$match": {"x": 1}}]).to_list()
    collection.database.command("ping")
    with pytest.raises(Exception, match=r"no such|not found|Unrecognized"):
        collection.database.command("noSuchCommand")
    collection.with_options(write_concern=module.WriteConcern(w=0)).insert_one({"_id": 10})


NOT_COMPARED = {"lsid", "txnNumber", "$clusterTime", "$readPreference"}


def told(event: Any) -> tuple[Any, ...]:
    """What both drivers have to say alike."""
    shown: tuple[Any, ...] = (
        type(event).__name__,
        event.command_name,
        event.database_name,
        event.connection_id,
        event.server_connection_id is not None,
    )
    if hasattr(event, "command"):
        # Keys stand in another order here and there; sessions differ, and what is gossiped.
        shown += (tuple(sorted(set(event.command) - NOT_COMPARED)),)
        shown += (event.command.get("documents"),)
    return shown


def test_events_are_pymongos(
    secantus: SecantusServer, database_name: str, mine: Any, notes: Notes
) -> None:
    theirs = TheirNotes()
    with pymongo.MongoClient(secantus.uri("both"), event_listeners=[theirs]) as client:
        exercise(pymongo, client[database_name]["mine"])
        client[database_name].drop_collection("mine")
    # PyMongo shows a login's commands, redacted.
    wanted = [
        told(each)
        for each in theirs.events
        if each.command_name not in ("saslStart", "saslContinue", "drop", "endSessions")
    ]
    exercise(mongokey, mine)
    for ours, theirs_ in zip([told(each) for each in notes.events], wanted, strict=True):
        assert ours == theirs_


def test_a_login_is_never_shown(secantus: SecantusServer, database_name: str) -> None:
    notes = Notes()
    with mongokey.MongoClient(secantus.uri("both"), event_listeners=[notes]) as client:
        client[database_name].command("ping")
    assert [(type(each).__name__, each.command_name) for each in notes.events] == [
        ("CommandStartedEvent", "ping"),
        ("CommandSucceededEvent", "ping"),
        ("CommandStartedEvent", "endSessions"),
        ("CommandSucceededEvent", "endSessions"),
    ]


def test_a_command_has_its_own_ids(mine: Any, notes: Notes) -> None:
    mine.insert_one({})
    mine.insert_one({})
    first, first_end, second, second_end = notes.events
    assert first.request_id == first_end.request_id != second.request_id == second_end.request_id
    assert first.operation_id == first_end.operation_id != second.operation_id
    assert second.operation_id == second_end.operation_id


def test_the_commands_of_a_bulk_belong_together(mine: Any, notes: Notes) -> None:
    insert, delete = mongokey.InsertOne, mongokey.DeleteOne
    mine.bulk_write([insert({"_id": 1}), delete({"_id": 1}), insert({"_id": 2})])
    assert [each.command_name for each in notes.events[::2]] == ["insert", "delete", "insert"]
    assert len({each.operation_id for each in notes.events}) == 1
    assert len({each.request_id for each in notes.events}) == 3


def test_write_errors_are_in_replies_that_succeeded(mine: Any, notes: Notes) -> None:
    mine.insert_one({"_id": 1})
    with pytest.raises(mongokey.errors.DuplicateKeyError):
        mine.insert_one({"_id": 1})
    event = notes.events[-1]
    assert isinstance(event, monitoring.CommandSucceededEvent)
    assert event.reply["writeErrors"][0]["code"] == 11000


def test_a_refused_command_shows_the_servers_answer(mine: Any, notes: Notes) -> None:
    with pytest.raises(OperationFailure) as caught:
        mine.database.command("noSuchCommand", secret=1)
    event = notes.events[-1]
    assert event.failure == caught.value.details
    assert event.duration_micros >= 0


def test_who_creates_a_user_is_not_shown_with_the_password(mine: Any, notes: Notes) -> None:
    mine.database.command("createUser", "u", pwd="a-secret", roles=[])
    mine.database.command("dropUser", "u")
    assert notes.events[0].command == {}
    assert notes.events[1].reply == {}
    assert "a-secret" not in repr([vars_of(each) for each in notes.events])


def vars_of(event: Any) -> list[Any]:
    return [getattr(event, name) for name in dir(event) if not name.startswith("__")]


def test_killing_a_cursor_is_shown(mine: Any, notes: Notes) -> None:
    mine.insert_many([{} for _ in range(5)])
    cursor = mine.find(batch_size=2)
    next(cursor)
    cursor.close()
    assert [each.command_name for each in notes.events[-2:]] == ["killCursors"] * 2


def test_a_listener_may_use_the_client(secantus: SecantusServer, database_name: str) -> None:
    class Nosy(Notes):
        def started(self, event: Any) -> None:
            super().started(event)
            if event.command_name == "ping":
                counted.append(client[database_name]["mine"].count_documents({}))

    counted: list[int] = []
    notes = Nosy()
    with mongokey.MongoClient(secantus.uri("both"), event_listeners=[notes]) as client:
        client[database_name]["mine"].insert_one({})
        assert client.admin.command("ping")["ok"] == 1
    assert counted == [1]
    names = [each.command_name for each in notes.events if hasattr(each, "command")]
    assert names == ["insert", "ping", "aggregate", "endSessions"]


def test_a_listener_that_fails_harms_nobody(
    secantus: SecantusServer, database_name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    class Bad(monitoring.CommandListener):
        def started(self, event: Any) -> None:
            raise RuntimeError("started is broken")

    with mongokey.MongoClient(secantus.uri("both"), event_listeners=[Bad()]) as client:
        assert client[database_name].command("ping")["ok"] == 1
        assert client[database_name].command("ping")["ok"] == 1
    printed = capsys.readouterr().err
    assert "started is broken" in printed
    assert "NotImplementedError" in printed


def test_a_ctrl_c_in_a_listener_ends_the_command_and_loses_no_connection(
    secantus: SecantusServer, database_name: str
) -> None:
    class Stopped(Notes):
        def started(self, event: Any) -> None:
            super().started(event)
            if event.command_name == "ping":
                raise KeyboardInterrupt

        succeeded = Notes.started

        def failed(self, event: Any) -> None:
            self.events.append(event)

    notes = Stopped()
    with mongokey.MongoClient(
        secantus.uri("both"), event_listeners=[notes], maxPoolSize=1, waitQueueTimeoutMS=2000
    ) as client:
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                client[database_name].command("ping")
            client[database_name].command("buildInfo")
    assert [type(each).__name__ for each in notes.events[:2]] == [
        "CommandStartedEvent",
        "CommandFailedEvent",
    ]
    assert notes.events[1].failure["errtype"] == "KeyboardInterrupt"


def test_a_lost_connection_is_a_failure_of_the_command(
    secantus: SecantusServer, mine: Any, notes: Notes
) -> None:
    mine.database.command("ping")
    notes.events.clear()
    point = {"failCommands": ["dbStats"], "closeConnection": True}
    secantus.command(
        "admin", {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": point}
    )
    with pytest.raises(AutoReconnect):
        mine.database.command("dbStats")
    started, failed = notes.events
    assert started.request_id == failed.request_id
    assert failed.failure["errtype"] == "AutoReconnect"


def test_many_threads_are_told_of_their_own_commands(mine: Any, notes: Notes) -> None:
    def work() -> None:
        for _ in range(20):
            mine.database.command("ping")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    started = [each for each in notes.events if isinstance(each, monitoring.CommandStartedEvent)]
    ended = [each for each in notes.events if isinstance(each, monitoring.CommandSucceededEvent)]
    assert len(started) == len(ended) == 160
    assert {each.request_id for each in started} == {each.request_id for each in ended}
    assert len({each.operation_id for each in started}) == 160


def test_logging_can_be_turned_on_while_a_client_lives(
    secantus: SecantusServer, database_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with mongokey.MongoClient(secantus.uri("both")) as client:
        client[database_name].command("ping")
        assert not caplog.records
        with caplog.at_level(logging.DEBUG, logger="mongokey.command"):
            client[database_name].command("ping")
        client[database_name].command("ping")
    assert [each.name for each in caplog.records] == ["mongokey.command"] * 2
