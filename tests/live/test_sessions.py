"""Explicit sessions and their transactions on a real server: what each method sends, what is seen
by whom, and what is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from mongokey import AsyncMongoClient, DeleteOne, InsertOne, MongoClient, WriteConcern
from mongokey.errors import ConfigurationError, InvalidOperation, OperationFailure
from mongokey.monitoring import CommandListener
from mongokey.operations import IndexModel, SearchIndexModel
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live


class Started(CommandListener):
    """Every command that was begun."""

    def __init__(self) -> None:
        self.commands: list[Any] = []

    def started(self, event: Any) -> None:
        self.commands.append(event.command)

    def succeeded(self, event: Any) -> None:
        """Not looked at."""

    def failed(self, event: Any) -> None:
        """Not looked at."""


@pytest.fixture
def seen() -> Started:
    return Started()


@pytest.fixture
def client(face: str, open_secantus: SecantusServer, seen: Started) -> Iterator[MongoClient]:
    uri = open_secantus.uri(None, replicaSet="secantus")
    with MongoClient(uri, event_listeners=[seen]) as made:
        yield made


@pytest.fixture
def collection(client: MongoClient, database_name: str) -> Any:
    collection = client[database_name]["things"]
    collection.insert_many([{"_id": n, "a": n % 3} for n in range(10)])
    return collection


Call = Callable[[Any, Any], Any]

#: Every method that takes a session.
CALLS: dict[str, Call] = {
    "aggregate": lambda c, s: c.aggregate([{"$match": {}}], session=s, batchSize=2).to_list(),
    "aggregate_raw_batches": lambda c, s: c.aggregate_raw_batches(
        [{"$match": {}}], session=s, batchSize=2
    ).to_list(),
    "bulk_write": lambda c, s: c.bulk_write([InsertOne({"x": 1}), DeleteOne({"x": 1})], session=s),
    "count_documents": lambda c, s: c.count_documents({}, session=s),
    "create_index": lambda c, s: c.create_index("a", session=s),
    "create_indexes": lambda c, s: c.create_indexes([IndexModel("b")], session=s),
    "delete_many": lambda c, s: c.delete_many({"a": 9}, session=s),
    "delete_one": lambda c, s: c.delete_one({"a": 9}, session=s),
    "distinct": lambda c, s: c.distinct("a", session=s),
    "drop": lambda c, s: c.drop(session=s),
    "drop_index": lambda c, s: c.drop_index("c_1", session=s),
    "drop_indexes": lambda c, s: c.drop_indexes(session=s),
    "find": lambda c, s: c.find({}, batch_size=2, session=s).to_list(),
    "find closed": lambda c, s: _closed(c.find({}, batch_size=2, session=s)),
    "find clone": lambda c, s: c.find({}, session=s).clone().to_list(),
    "find distinct": lambda c, s: c.find({}, session=s).distinct("a"),
    "find_raw_batches": lambda c, s: c.find_raw_batches({}, batch_size=2, session=s).to_list(),
    "find_one": lambda c, s: c.find_one({}, session=s),
    "find_one_and_delete": lambda c, s: c.find_one_and_delete({"a": 9}, session=s),
    "find_one_and_replace": lambda c, s: c.find_one_and_replace({"a": 9}, {"b": 1}, session=s),
    "find_one_and_update": lambda c, s: c.find_one_and_update(
        {"a": 9}, {"$set": {"b": 1}}, session=s
    ),
    "index_information": lambda c, s: c.index_information(session=s),
    "insert_many": lambda c, s: c.insert_many([{}, {}], session=s),
    "insert_one": lambda c, s: c.insert_one({}, session=s),
    "list_indexes": lambda c, s: c.list_indexes(session=s).to_list(),
    "options": lambda c, s: c.options(session=s),
    "rename": lambda c, s: c.rename("others", session=s),
    "replace_one": lambda c, s: c.replace_one({"a": 9}, {"b": 1}, session=s),
    "create_search_index": lambda c, s: _refused(
        lambda: c.create_search_index({"definition": {}}, session=s)
    ),
    "create_search_indexes": lambda c, s: _refused(
        lambda: c.create_search_indexes([SearchIndexModel({})], session=s)
    ),
    "drop_search_index": lambda c, s: _refused(lambda: c.drop_search_index("one", session=s)),
    "list_search_indexes": lambda c, s: _refused(lambda: c.list_search_indexes(session=s)),
    "update_search_index": lambda c, s: _refused(
        lambda: c.update_search_index("one", {}, session=s)
    ),
    "update_many": lambda c, s: c.update_many({"a": 9}, {"$set": {"b": 1}}, session=s),
    "watch": lambda c, s: _watched(c.watch(max_await_time_ms=1, session=s)),
    "database.watch": lambda c, s: _watched(c.database.watch(max_await_time_ms=1, session=s)),
    "client.watch": lambda c, s: _watched(c.database.client.watch(max_await_time_ms=1, session=s)),
    "update_one": lambda c, s: c.update_one({"a": 9}, {"$set": {"b": 1}}, session=s),
    "database.command": lambda c, s: c.database.command("ping", session=s),
    "database.create_collection": lambda c, s: c.database.create_collection("new", session=s),
    "database.cursor_command": lambda c, s: c.database.cursor_command(
        "find", c.name, session=s
    ).to_list(),
    "database.drop_collection": lambda c, s: c.database.drop_collection("new", session=s),
    "database.list_collection_names": lambda c, s: c.database.list_collection_names(session=s),
    "database.list_collections": lambda c, s: c.database.list_collections(session=s).to_list(),
    "database.validate_collection": lambda c, s: c.database.validate_collection(c, session=s),
    "client.bulk_write": lambda c, s: c.database.client.bulk_write(
        [InsertOne({"x": 1}, namespace=c.full_name)], session=s
    ),
    "client.drop_database": lambda c, s: c.database.client.drop_database("nothing_x", session=s),
    "client.list_database_names": lambda c, s: c.database.client.list_database_names(session=s),
    "client.list_databases": lambda c, s: c.database.client.list_databases(session=s).to_list(),
    "client.server_info": lambda c, s: c.database.client.server_info(session=s),
}


def _refused(call: Callable[[], Any]) -> None:
    """What SecantusDB has no search process for: it was sent all the same."""
    with pytest.raises(OperationFailure, match="Atlas"):
        call()


def _watched(stream: Any) -> None:
    with stream:
        stream.try_next()


def _closed(cursor: Any) -> None:
    cursor.next()
    cursor.close()


@pytest.mark.parametrize("name", CALLS)
def test_each_method_is_carried_out_in_its_session(
    client: MongoClient, collection: Any, seen: Started, name: str
) -> None:
    collection.create_index("c")
    with client.start_session() as session:
        seen.commands.clear()
        CALLS[name](collection, session)
        lsids = [each["lsid"] for each in seen.commands]
        assert lsids
        assert all(each == session.session_id for each in lsids)


def test_the_cursors_session_is_there_to_be_asked(client: MongoClient, collection: Any) -> None:
    with client.start_session() as session:
        cursor = collection.find({}, session=session)
        assert cursor.session == session
        cursor.next()
        assert cursor.session == session
        assert collection.aggregate([], session=session).session == session
    assert collection.find().session is None


def test_a_session_that_has_ended_is_refused(client: MongoClient, collection: Any) -> None:
    session = client.start_session()
    cursor = collection.find({}, batch_size=2, session=session)
    cursor.next()
    assert not session.has_ended
    session.end_session()
    session.end_session()
    assert session.has_ended
    for call in (
        lambda: collection.find_one({}, session=session),
        lambda: collection.insert_one({}, session=session),
        lambda: cursor.to_list(),
        lambda: session.start_transaction(),
        lambda: session.session_id,
    ):
        with pytest.raises(InvalidOperation, match="ended session"):
            call()
    cursor.close()


def test_a_session_of_another_client_is_refused(
    client: MongoClient, collection: Any, open_secantus: SecantusServer
) -> None:
    with (
        MongoClient(open_secantus.uri(None)) as other,
        other.start_session() as session,
        pytest.raises(InvalidOperation, match="another client"),
    ):
        collection.find_one({}, session=session)


@pytest.mark.parametrize("wrong", [5, "session", {}])
def test_what_is_no_session_is_refused(collection: Any, wrong: Any) -> None:
    with pytest.raises(ValueError, match="'session' argument"):
        collection.insert_one({}, session=wrong)


@pytest.mark.parametrize(
    "name", ["insert_one", "insert_many", "bulk_write", "delete_one", "find_one_and_delete", "drop"]
)
def test_writes_that_nobody_answers_are_refused(
    client: MongoClient, collection: Any, seen: Started, name: str
) -> None:
    silent = collection.with_options(write_concern=WriteConcern(w=0))
    with client.start_session() as session:
        seen.commands.clear()
        with pytest.raises(ConfigurationError, match="w=0"):
            CALLS[name](silent, session)
        assert seen.commands == []
        if name == "drop":
            return  # no part of a transaction
        # In a transaction, its own write concern counts.
        with session.start_transaction():
            CALLS[name](silent, session)
        assert "writeConcern" not in seen.commands[0]


def test_estimated_counts_take_no_session(client: MongoClient, collection: Any) -> None:
    with (
        client.start_session() as session,
        pytest.raises(ConfigurationError, match="count_documents"),
    ):
        collection.estimated_document_count(session=session)


# bind


def test_a_bound_session_is_that_of_all_calls(
    client: MongoClient, collection: Any, seen: Started
) -> None:
    # SecantusDB refuses the read concern of a causally consistent bulkWrite, which MongoDB takes.
    session = client.start_session(causal_consistency=False)
    with client.start_session() as other, session.bind(end_session=False) as bound:
        assert bound is session
        collection.create_index("c")
        for name, call in CALLS.items():
            if name in ("drop", "rename"):
                continue
            seen.commands.clear()
            call(collection, None)
            assert {str(each["lsid"]) for each in seen.commands} == {str(session.session_id)}, name
        seen.commands.clear()
        collection.find_one({}, session=other)
        assert seen.commands[0]["lsid"] == other.session_id
        with other.bind(end_session=False):
            collection.find_one()
            assert seen.commands[-1]["lsid"] == other.session_id
        collection.find_one()
        assert seen.commands[-1]["lsid"] == session.session_id
    collection.find_one()
    assert seen.commands[-1]["lsid"] != session.session_id
    with session.bind():
        assert not session.has_ended
    assert session.has_ended


def test_no_session_of_another_client_is_bound(
    client: MongoClient, collection: Any, open_secantus: SecantusServer
) -> None:
    with (
        MongoClient(open_secantus.uri(None)) as other,
        other.start_session().bind(),
        pytest.raises(InvalidOperation, match="another client"),
    ):
        collection.find_one()


def test_tasks_have_their_own_bound_session(
    open_secantus: SecantusServer, database_name: str, seen: Started
) -> None:
    async def work(client: AsyncMongoClient[Any], number: int) -> None:
        async with client.start_session().bind() as session:
            for _ in range(3):
                await client[database_name].c.find_one({"number": number})
                await asyncio.sleep(0)
            sent = [c["lsid"] for c in seen.commands if c.get("filter") == {"number": number}]
            assert sent == [session.session_id] * 3

    async def main() -> None:
        async with AsyncMongoClient(open_secantus.uri(None), event_listeners=[seen]) as client:
            await asyncio.gather(*(work(client, number) for number in range(5)))

    asyncio.run(main())


# Transactions


def test_what_is_committed_is_seen_then(client: MongoClient, collection: Any) -> None:
    with client.start_session() as session:
        with session.start_transaction():
            collection.insert_one({"_id": "new"}, session=session)
            assert session.in_transaction
            assert collection.find_one({"_id": "new"}) is None
            assert collection.find_one({"_id": "new"}, session=session) == {"_id": "new"}
        assert not session.in_transaction
        assert collection.find_one({"_id": "new"}) == {"_id": "new"}


def test_an_exception_aborts(client: MongoClient, collection: Any) -> None:
    with client.start_session() as session:
        with suppress(KeyError), session.start_transaction():
            collection.insert_one({"_id": "new"}, session=session)
            raise KeyError
        assert collection.find_one({"_id": "new"}) is None
        with pytest.raises(InvalidOperation, match="twice"):
            session.abort_transaction()


def test_the_end_of_a_session_aborts(client: MongoClient, collection: Any, seen: Started) -> None:
    with client.start_session() as session:
        session.start_transaction()
        collection.insert_one({"_id": "new"}, session=session)
    assert "abortTransaction" in seen.commands[-1]
    assert collection.find_one({"_id": "new"}) is None


def test_a_session_does_not_outlive_its_client(open_secantus: SecantusServer) -> None:
    client = MongoClient(open_secantus.uri(None, replicaSet="secantus"))
    with client.start_session() as session:
        session.start_transaction()
        client.app.things.find_one({}, session=session)
        client.close()
    assert session.has_ended


def test_with_transaction_gives_what_the_callback_gives(
    client: MongoClient, collection: Any
) -> None:
    def move(session: Any) -> str:
        collection.update_one({"_id": 1}, {"$inc": {"a": -1}}, session=session)
        collection.update_one({"_id": 2}, {"$inc": {"a": 1}}, session=session)
        return "moved"

    with client.start_session() as session:
        assert session.with_transaction(move) == "moved"
    assert [collection.find_one({"_id": n})["a"] for n in (1, 2)] == [0, 3]


def test_with_transaction_raises_what_the_callback_raises(
    client: MongoClient, collection: Any
) -> None:
    calls = []

    def fail(session: Any) -> None:
        calls.append(session)
        collection.insert_one({"_id": 1}, session=session)

    with client.start_session() as session, pytest.raises(OperationFailure) as raised:
        session.with_transaction(fail)
    assert raised.value.code == 11000
    assert len(calls) == 1


def test_a_conflict_is_tried_again(client: MongoClient, collection: Any) -> None:
    calls = []

    def increase(session: Any) -> None:
        found = collection.find_one({"_id": 1}, session=session)
        calls.append(found)
        if len(calls) == 1:
            # Meanwhile somebody else changes what was read.
            collection.update_one({"_id": 1}, {"$inc": {"a": 10}})
        collection.update_one({"_id": 1}, {"$set": {"a": found["a"] + 1}}, session=session)

    with client.start_session() as session:
        session.with_transaction(increase)
    assert collection.find_one({"_id": 1})["a"] == 12
    assert len(calls) == 2
