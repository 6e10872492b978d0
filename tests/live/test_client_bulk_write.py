"""`MongoClient.bulk_write` on real servers: what is written, counted and told, beside PyMongo's;
and the prose tests of the CRUD specification that are about it (3 to 9, 11, 12 and 15).

A relay has the server say that it takes less than it does, so that the tests need not be large.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import pymongo
import pymongo.errors
import pytest

from mongokey import MongoClient, WriteConcern, monitoring
from mongokey import operations as ours
from mongokey.bson import CodecOptions, Decimal128, ObjectId
from mongokey.bson.codec_options import TypeDecoder, TypeRegistry
from mongokey.errors import (
    ClientBulkWriteException,
    DocumentTooLarge,
    InvalidName,
    InvalidOperation,
    OperationFailure,
)
from mongokey.operations import DeleteMany, DeleteOne, InsertOne, UpdateOne
from mongokey.results import ClientBulkWriteResult
from tests.servers.fleet import Fleet
from tests.servers.relay import Relay
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live

COUNTS = (
    "inserted_count",
    "matched_count",
    "modified_count",
    "deleted_count",
    "upserted_count",
    "acknowledged",
    "has_verbose_results",
)


class Started(monitoring.CommandListener):
    """The commands of a client, as they were sent, and those that have failed."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def started(self, event: Any) -> None:
        self.events.append(event)

    def succeeded(self, event: Any) -> None:
        """Nothing is asked of it."""

    def failed(self, event: Any) -> None:
        """Nothing is asked of it."""

    def of(self, name: str) -> list[Any]:
        return [each for each in self.events if each.command_name == name]

    def sizes(self) -> list[tuple[int, int]]:
        """Of each bulkWrite, how many operations and namespaces it has."""
        return [(len(each.command["ops"]), len(each.command["nsInfo"])) for each in self.bulks]

    @property
    def bulks(self) -> list[Any]:
        return self.of("bulkWrite")


@pytest.fixture
def seen() -> Started:
    return Started()


@pytest.fixture
def server(open_secantus: SecantusServer) -> SecantusServer:
    return open_secantus


@pytest.fixture
def client(face: str, server: SecantusServer, seen: Started) -> Iterator[Any]:
    uri = server.uri(None, replicaSet="secantus")
    with MongoClient(uri, event_listeners=[seen]) as made:
        yield made


@pytest.fixture
def theirs(server: SecantusServer) -> Iterator[Any]:
    """PyMongo's client of the same server."""
    with pymongo.MongoClient(server.uri(None, replicaSet="secantus")) as made:
        yield made


@pytest.fixture(scope="module")
def fleet(open_secantus: SecantusServer) -> Iterator[Fleet]:
    with Fleet(open_secantus, 1) as fleet:
        yield fleet


@pytest.fixture
def name(theirs: Any, database_name: str) -> Iterator[str]:
    """A database of this test's own."""
    yield database_name
    theirs.drop_database(database_name)


def models(module: Any, a: str, b: str) -> list[Any]:
    """One of each kind, in two collections, made of `module`'s classes."""
    return [
        module.InsertOne({"_id": 1, "v": 1}, namespace=a),
        module.InsertOne({"_id": 2, "v": 1}, namespace=b),
        module.UpdateOne({"_id": 1}, {"$set": {"v": 2}}, namespace=a),
        module.UpdateMany({}, {"$inc": {"n": 1}}, namespace=b),
        module.ReplaceOne({"_id": 7}, {"v": 7}, upsert=True, namespace=b),
        module.UpdateOne({"_id": 8}, [{"$set": {"v": 8}}], upsert=True, namespace=a),
        module.UpdateOne({"_id": None}, {"$set": {"v": 9}}, upsert=True, namespace=a),
        module.DeleteOne({"_id": 2}, namespace=b),
        module.DeleteMany({"v": {"$gt": 7}}, namespace=a),
    ]


def facts(result: Any) -> dict[str, Any]:
    """What a result says, of either driver's."""
    found = {each: getattr(result, each) for each in COUNTS}
    if result.has_verbose_results:
        found["inserts"] = {i: each.inserted_id for i, each in result.insert_results.items()}
        found["updates"] = {
            i: (each.matched_count, each.modified_count, each.did_upsert, each.upserted_id)
            for i, each in result.update_results.items()
        }
        found["deletes"] = {i: each.deleted_count for i, each in result.delete_results.items()}
    return found


# -- beside PyMongo -------------------------------------------------------------------------------


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("verbose", [True, False])
def test_results_are_pymongos(
    client: Any, theirs: Any, name: str, ordered: bool, verbose: bool
) -> None:
    spaces = [f"{name}.{each}" for each in ("mine_a", "mine_b", "theirs_a", "theirs_b")]
    options = {"ordered": ordered, "verbose_results": verbose}
    got = client.bulk_write(models(ours, *spaces[:2]), **options)
    wanted = theirs.bulk_write(models(pymongo, *spaces[2:]), **options)
    assert facts(got) == facts(wanted)
    assert type(got) is ClientBulkWriteResult
    assert set(got.bulk_api_result) == set(wanted.bulk_api_result)
    for each in "ab":
        mine, other = (list(theirs[name][f"{who}_{each}"].find()) for who in ("mine", "theirs"))
        assert mine == other
    assert facts(pickle.loads(pickle.dumps(got))) == facts(got)


@pytest.mark.parametrize("ordered", [True, False])
def test_errors_are_pymongos(client: Any, theirs: Any, name: str, ordered: bool) -> None:
    def failing(module: Any, who: str) -> list[Any]:
        space = f"{name}.{who}"
        return [
            module.InsertOne({"_id": 1}, namespace=space),
            module.UpdateOne({"_id": 1}, {"$set": {"v": 1}}, namespace=space),
            module.InsertOne({"_id": 1}, namespace=space),
            module.DeleteOne({"_id": 9}, namespace=space),
            module.InsertOne({"_id": 1}, namespace=space),
        ]

    options = {"ordered": ordered, "verbose_results": True}
    with pytest.raises(ClientBulkWriteException) as got:
        client.bulk_write(failing(ours, "mine"), **options)
    with pytest.raises(pymongo.errors.ClientBulkWriteException) as wanted:
        theirs.bulk_write(failing(pymongo, "theirs"), **options)

    def told(error: Any) -> list[Any]:
        return [(each["idx"], each["code"], each["op"]) for each in error.write_errors]

    assert told(got.value) == told(wanted.value)
    assert [each[0] for each in told(got.value)] == ([2] if ordered else [2, 4])
    assert got.value.partial_result is not None
    assert facts(got.value.partial_result) == facts(wanted.value.partial_result)
    assert (got.value.error, got.value.code) == (None, 65)
    assert str(got.value).startswith("batch op errors occurred, full error: {")
    again = pickle.loads(pickle.dumps(got.value))
    assert again.write_errors == got.value.write_errors
    assert facts(again.partial_result) == facts(got.value.partial_result)


def test_nothing_is_known_to_be_done_where_the_first_in_order_fails(client: Any, name: str) -> None:
    space = f"{name}.c"
    client[name]["c"].insert_one({"_id": 1})
    refused = [InsertOne({"_id": 1}, namespace=space), InsertOne({"_id": 2}, namespace=space)]
    with pytest.raises(ClientBulkWriteException) as caught:
        client.bulk_write(refused)
    assert caught.value.partial_result is None
    # Not in order, the other one was.
    with pytest.raises(ClientBulkWriteException) as caught:
        client.bulk_write(refused, ordered=False)
    assert caught.value.partial_result is not None
    assert caught.value.partial_result.inserted_count == 1


def test_an_id_is_made_sent_first_and_told(client: Any, seen: Started, name: str) -> None:
    document: dict[str, Any] = {"a": 1}
    result = client.bulk_write([InsertOne(document, namespace=f"{name}.c")], verbose_results=True)
    assert isinstance(document["_id"], ObjectId)
    assert result.insert_results[0].inserted_id == document["_id"]
    (sent,) = seen.bulks[0].command["ops"]
    assert list(sent["document"]) == ["_id", "a"]


def test_options_are_sent_as_they_are_given(client: Any, seen: Started, name: str) -> None:
    given = [InsertOne({"_id": n}, namespace=f"{name}.c") for n in range(2)]
    client.bulk_write(
        given,
        ordered=False,
        bypass_document_validation=False,
        comment={"why": "test"},
        let={"x": 1},
        write_concern=WriteConcern("majority"),
    )
    command = seen.bulks[0].command
    assert seen.bulks[0].database_name == "admin"
    assert list(command)[:6] == [
        *("bulkWrite", "errorsOnly", "ordered", "bypassDocumentValidation", "let", "comment")
    ]
    assert [command[each] for each in ("bulkWrite", "errorsOnly", "ordered")] == [1, True, False]
    assert command["bypassDocumentValidation"] is False
    assert command["comment"] == {"why": "test"}
    assert command["let"] == {"x": 1}
    assert command["writeConcern"] == {"w": "majority"}
    assert command["nsInfo"] == [{"ns": f"{name}.c"}]
    client.bulk_write([DeleteMany({}, namespace=f"{name}.c")])
    plain = seen.bulks[1].command
    for absent in ("bypassDocumentValidation", "comment", "let", "writeConcern"):
        assert absent not in plain


class Cents:
    """A Decimal128 as somebody wants to have it."""

    def __init__(self, value: Decimal128) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cents) and other.value == self.value

    __hash__ = None  # type: ignore[assignment]


class CentsDecoder(TypeDecoder):
    bson_type = Decimal128

    def transform_bson(self, value: Any) -> Cents:
        return Cents(value)


class LostNumber(TypeDecoder):
    """Nobody asked for the driver's own fields."""

    bson_type = float

    def transform_bson(self, value: Any) -> Any:
        raise AssertionError("this is no value of the user's")


def test_ids_of_upserts_are_read_by_the_users_decoders(
    face: str, server: SecantusServer, name: str
) -> None:
    registry = TypeRegistry([CentsDecoder(), LostNumber()])
    number = Decimal128("1.5")
    upsert = UpdateOne({"_id": number}, {"$set": {"a": 1}}, upsert=True, namespace=f"{name}.c")
    duplicate = InsertOne({"_id": number}, namespace=f"{name}.c")
    with MongoClient(server.uri(None), type_registry=registry) as client:
        assert client.codec_options == CodecOptions(type_registry=registry)
        with pytest.raises(ClientBulkWriteException) as caught:
            client.bulk_write([upsert, duplicate], verbose_results=True)
    result = caught.value.partial_result
    assert result is not None
    assert result.update_results[0].upserted_id == Cents(number)
    assert [each["code"] for each in caught.value.write_errors] == [11000]


# -- what is refused ------------------------------------------------------------------------------


def test_what_cannot_be_sent_is_refused_before_anything_is(
    client: Any, seen: Started, name: str
) -> None:
    space = f"{name}.c"
    good = InsertOne({"_id": 1}, namespace=space)
    emptied = UpdateOne({}, {"$set": {"a": 1}}, namespace=space)
    emptied.statement["u"].clear()
    cases: list[tuple[type[Exception], str, list[Any]]] = [
        (TypeError, "model at index 1 must be one of mongokey.operations", [good, {"insert": 1}]),
        (InvalidOperation, "requires a namespace", [good, InsertOne({})]),
        (InvalidOperation, "requires a namespace", [good, InsertOne({}, namespace="")]),
        (TypeError, "namespace must be a string, not int", [InsertOne({}, namespace=5)]),  # type: ignore[arg-type]
        (InvalidName, "is not 'database.collection'", [InsertOne({}, namespace="db")]),
        (InvalidName, "empty", [InsertOne({}, namespace="db.")]),
        (InvalidName, "empty", [InsertOne({}, namespace=".c")]),
        (InvalidName, "null character", [InsertOne({}, namespace="db.c\0")]),
        (TypeError, "document must be", [good, InsertOne(5, namespace=space)]),
        (ValueError, "update cannot be empty", [good, emptied]),
        (Exception, "object", [good, InsertOne({"a": object()}, namespace=space)]),
        (InvalidOperation, "No operations", []),
    ]
    for error, text, given in cases:
        with pytest.raises(error, match=text):
            client.bulk_write(given)
    for wrong in (None, (good,), iter([good]), {"a": 1}, "abc"):
        with pytest.raises(TypeError, match="models must be a list"):
            client.bulk_write(wrong)
    with pytest.raises(TypeError, match="let must be a mapping"):
        client.bulk_write([good], let=[1])
    for concern in ({"w": 1}, 1, "majority"):
        with pytest.raises(TypeError, match="write_concern must be a WriteConcern"):
            client.bulk_write([good], write_concern=concern)
    with pytest.raises(ValueError, match="'session' argument"):
        client.bulk_write([good], session="s")
    assert seen.bulks == []
    assert client[name]["c"].count_documents({}) == 0


def test_models_that_are_made_by_a_generator_which_raises(client: Any, seen: Started) -> None:
    def made() -> Iterator[Any]:
        yield InsertOne({}, namespace="d.c")
        raise AssertionError("it is not asked for its items")

    class Broken(list[Any]):
        def __iter__(self) -> Any:
            raise KeyError("mine")

    with pytest.raises(TypeError, match="models must be a list, not generator"):
        client.bulk_write(made())
    with pytest.raises(KeyError, match="mine"):
        client.bulk_write(Broken([InsertOne({}, namespace="d.c")]))
    assert seen.bulks == []


def test_unacknowledged_writes(client: Any, seen: Started, name: str) -> None:
    quiet = WriteConcern(w=0)
    insert = InsertOne({"_id": 1}, namespace=f"{name}.c")
    for error, text, options in (
        (InvalidOperation, "unacknowledged write concern and ordered", {}),
        (
            InvalidOperation,
            "unacknowledged write concern and verbose results",
            {"ordered": False, "verbose_results": True},
        ),
        (
            OperationFailure,
            "bypass_document_validation",
            {"ordered": False, "bypass_document_validation": True},
        ),
    ):
        with pytest.raises(error, match=text):
            client.bulk_write([insert], write_concern=quiet, **options)
    collated = DeleteOne({}, collation={"locale": "en"}, namespace=f"{name}.c")
    with pytest.raises(Exception, match="collation needs an acknowledged write"):
        client.bulk_write([collated], write_concern=quiet, ordered=False)
    with client.start_session() as session, pytest.raises(Exception, match="in a session"):
        client.bulk_write([insert], write_concern=quiet, ordered=False, session=session)
    assert seen.bulks == []
    result = client.bulk_write([insert], write_concern=quiet, ordered=False)
    assert not result.acknowledged
    for each in (*COUNTS[:5], "insert_results", "update_results", "delete_results"):
        with pytest.raises(InvalidOperation, match=f"{each} is not available"):
            getattr(result, each)
    assert client[name]["c"].count_documents({}) == 1


def test_results_of_single_operations_are_there_where_they_were_asked_for(
    client: Any, name: str
) -> None:
    result = client.bulk_write([InsertOne({}, namespace=f"{name}.c")])
    for each in ("insert_results", "update_results", "delete_results"):
        with pytest.raises(InvalidOperation, match=f"{each} is not available.*verbose"):
            getattr(result, each)


def test_servers_that_are_too_old(open_secantus: SecantusServer, name: str) -> None:
    hello = {"maxWireVersion": 24}
    with Relay(open_secantus.host, open_secantus.port, hello=hello) as relay:
        with MongoClient(relay.redirect(open_secantus.uri(None))) as client:
            for concern in (None, WriteConcern(w=0)):
                with pytest.raises(InvalidOperation, match=r"requires MongoDB server version 8\.0"):
                    client.bulk_write(
                        [InsertOne({}, namespace=f"{name}.c")],
                        ordered=False,
                        write_concern=concern,
                    )
            client.admin.command("ping")
        assert "bulkWrite" not in relay.names()


# -- transactions, load balancers -----------------------------------------------------------------


@pytest.mark.parametrize("commits", [True, False])
def test_in_a_transaction(client: Any, seen: Started, name: str, commits: bool) -> None:
    client[name].create_collection("c")
    given = [InsertOne({"_id": n}, namespace=f"{name}.c") for n in range(3)]
    with client.start_session() as session:
        with session.start_transaction(write_concern=WriteConcern("majority")):
            with pytest.raises(InvalidOperation, match="Cannot set write concern after starting"):
                client.bulk_write(given, session=session, write_concern=WriteConcern(1))
            client.bulk_write(given, session=session)
            assert client[name]["c"].count_documents({}) == 0
            if not commits:
                session.abort_transaction()
    command = seen.bulks[0].command
    assert (command["autocommit"], command["startTransaction"]) == (False, True)
    assert "writeConcern" not in command
    assert client[name]["c"].count_documents({}) == (3 if commits else 0)


def test_results_are_fetched_on_the_connection_of_a_load_balancer(
    open_secantus: SecantusServer, seen: Started, name: str
) -> None:
    half = 16 * 1024 * 1024 // 2
    with Fleet(open_secantus, ["load_balancer"]) as fleet:
        with MongoClient(fleet.uri(loadBalanced=True), event_listeners=[seen]) as client:
            result = client.bulk_write(large_upserts(f"{name}.c", half), verbose_results=True)
        assert len(result.update_results) == 2
        assert len(seen.of("getMore")) == 1
        assert seen.of("getMore")[0].service_id == seen.bulks[0].service_id is not None
        status = fleet.status()
        assert all(not each["faults"] for each in status["members"])


# -- the specification's prose tests --------------------------------------------------------------


def limited(server: SecantusServer, **hello: Any) -> Relay:
    return Relay(server.host, server.port, hello=hello)


def test_3_more_operations_than_a_message_takes(
    open_secantus: SecantusServer, seen: Started, name: str
) -> None:
    with limited(open_secantus, maxWriteBatchSize=50) as relay:
        with MongoClient(relay.redirect(open_secantus.uri(None)), event_listeners=[seen]) as client:
            most = client.admin.command("hello")["maxWriteBatchSize"]
            given = [InsertOne({"a": "b"}, namespace=f"{name}.c") for _ in range(most + 1)]
            assert client.bulk_write(given).inserted_count == most + 1
    assert seen.sizes() == [(most, 1), (1, 1)]
    assert seen.bulks[0].operation_id == seen.bulks[1].operation_id


def test_4_and_15_more_bytes_than_a_message_takes(
    open_secantus: SecantusServer, seen: Started, name: str
) -> None:
    with limited(open_secantus, maxBsonObjectSize=16_000, maxMessageSizeBytes=48_000) as relay:
        with MongoClient(relay.redirect(open_secantus.uri(None)), event_listeners=[seen]) as client:
            collection = client[name].create_collection("c")
            hello = client.admin.command("hello")
            most = hello["maxMessageSizeBytes"] // hello["maxBsonObjectSize"] + 1
            text = "b" * (hello["maxBsonObjectSize"] - 500)

            def given() -> list[Any]:
                return [InsertOne({"a": text}, namespace=f"{name}.c") for _ in range(most)]

            assert client.bulk_write(given()).inserted_count == most
            result = client.bulk_write(given(), ordered=False, write_concern=WriteConcern(w=0))
            assert result.acknowledged is False
            assert collection.count_documents({}) == 2 * most
    assert seen.sizes() == [(most - 1, 1), (1, 1)] * 2
    for first, second in (seen.bulks[:2], seen.bulks[2:]):
        assert first.operation_id == second.operation_id
    assert seen.bulks[1].operation_id != seen.bulks[2].operation_id
    assert all(each.command["writeConcern"] == {"w": 0} for each in seen.bulks[2:])
    assert all("lsid" not in each.command for each in seen.bulks[2:])


def test_5_write_concern_errors_of_several_messages(fleet: Fleet, seen: Started, name: str) -> None:
    fleet.fail_point(
        0,
        ["bulkWrite"],
        {"times": 2},
        writeConcernError={"code": 91, "errmsg": "Replication is being shut down"},
    )
    with (
        Relay("127.0.0.1", fleet.ports[0], hello={"maxWriteBatchSize": 50}) as relay,
        MongoClient(
            f"mongodb://127.0.0.1:{relay.port}/?directConnection=true&retryWrites=false",
            event_listeners=[seen],
        ) as client,
    ):
        given = [InsertOne({"a": "b"}, namespace=f"{name}.c") for _ in range(51)]
        with pytest.raises(ClientBulkWriteException) as caught:
            client.bulk_write(given)
    assert [each["code"] for each in caught.value.write_concern_errors] == [91, 91]
    assert caught.value.partial_result is not None
    assert caught.value.partial_result.inserted_count == 51
    assert len(seen.bulks) == 2


@pytest.mark.parametrize("ordered", [True, False])
def test_6_errors_of_operations_of_several_messages(
    open_secantus: SecantusServer, seen: Started, name: str, ordered: bool
) -> None:
    with limited(open_secantus, maxWriteBatchSize=50) as relay:
        with MongoClient(relay.redirect(open_secantus.uri(None)), event_listeners=[seen]) as client:
            client[name]["c"].insert_one({"_id": 1})
            given = [InsertOne({"_id": 1}, namespace=f"{name}.c") for _ in range(51)]
            with pytest.raises(ClientBulkWriteException) as caught:
                client.bulk_write(given, ordered=ordered)
    indexes = [each["idx"] for each in caught.value.write_errors]
    assert indexes == ([0] if ordered else list(range(51)))
    assert len(seen.bulks) == (1 if ordered else 2)
    assert caught.value.partial_result is None


def large_upserts(namespace: str, size: int) -> list[Any]:
    return [
        UpdateOne({"_id": letter * size}, {"$set": {"x": 1}}, upsert=True, namespace=namespace)
        for letter in "ab"
    ]


@pytest.mark.parametrize("in_transaction", [False, True])
def test_7_and_8_results_in_two_batches(
    client: Any, seen: Started, name: str, in_transaction: bool
) -> None:
    size = client.admin.command("hello")["maxBsonObjectSize"] // 2
    client[name].create_collection("c")
    given = large_upserts(f"{name}.c", size)
    if in_transaction:
        with client.start_session() as session, session.start_transaction():
            result = client.bulk_write(given, session=session, verbose_results=True, comment="mine")
            assert seen.of("getMore")[0].command["autocommit"] is False
            session.abort_transaction()
    else:
        result = client.bulk_write(given, verbose_results=True, comment="mine")
    assert result.upserted_count == 2
    assert [each.upserted_id[:1] for each in result.update_results.values()] == ["a", "b"]
    (fetched,) = seen.of("getMore")
    assert fetched.command["collection"] == "$cmd.bulkWrite"
    assert fetched.command["comment"] == "mine"
    assert fetched.command["lsid"] == seen.bulks[0].command["lsid"]


def test_9_a_get_more_that_fails(client: Any, seen: Started, theirs: Any, name: str) -> None:
    size = client.admin.command("hello")["maxBsonObjectSize"] // 2
    given = large_upserts(f"{name}.c", size)
    theirs.admin.command(
        {
            "configureFailPoint": "failCommand",
            "mode": {"times": 1},
            "data": {"failCommands": ["getMore"], "errorCode": 8},
        }
    )
    with pytest.raises(ClientBulkWriteException) as caught:
        client.bulk_write(given, verbose_results=True)
    assert caught.value.error.code == 8
    assert caught.value.__cause__ is caught.value.error
    assert caught.value.partial_result is not None
    assert caught.value.partial_result.upserted_count == 2
    assert len(caught.value.partial_result.update_results) == 1
    assert len(seen.of("getMore")) == len(seen.of("killCursors")) == 1


@pytest.mark.parametrize("splits", [False, True])
def test_11_a_new_namespace_that_the_message_has_no_room_for(
    open_secantus: SecantusServer, seen: Started, name: str, splits: bool
) -> None:
    # The numbers are those of "db.coll", a name of this length.
    space = ("d" * 40 + name)[-5:] + ".c"
    assert len(space) == len("db.coll")
    with limited(open_secantus, maxBsonObjectSize=16_000, maxMessageSizeBytes=48_000) as relay:
        with MongoClient(relay.redirect(open_secantus.uri(None)), event_listeners=[seen]) as client:
            hello = client.admin.command("hello")
            largest = hello["maxBsonObjectSize"]
            count, rest = divmod(hello["maxMessageSizeBytes"] - 1122, largest)
            given = [InsertOne({"a": "b" * (largest - 57)}, namespace=space) for _ in range(count)]
            if rest >= 217:
                count += 1
                given.append(InsertOne({"a": "b" * (rest - 57)}, namespace=space))
            other = space[:5] + "." + "c" * (200 if splits else 1)
            given.append(InsertOne({"a": "b"}, namespace=other))
            assert client.bulk_write(given).inserted_count == count + 1
            client.drop_database(space[:5])
    sent = [[each["ns"] for each in event.command["nsInfo"]] for event in seen.bulks]
    if splits:
        assert seen.sizes() == [(count, 1), (1, 1)]
        assert sent == [[space], [other]]
    else:
        assert seen.sizes() == [(count + 1, 1)]
        assert sent == [[space]]
    # The message is as large as the specification lets it be.
    assert 47_000 < max(each.size for each in relay.commands("bulkWrite")) <= 48_000


@pytest.mark.parametrize("what", ["document", "namespace", "filter"])
@pytest.mark.parametrize("acknowledged", [True, False])
def test_12_an_operation_that_no_message_has_room_for(
    open_secantus: SecantusServer, seen: Started, name: str, what: str, acknowledged: bool
) -> None:
    with limited(open_secantus, maxBsonObjectSize=16_000, maxMessageSizeBytes=48_000) as relay:
        with MongoClient(relay.redirect(open_secantus.uri(None)), event_listeners=[seen]) as client:
            big = "b" * 48_000
            space = f"{name}.c"
            given = {
                "document": InsertOne({"a": big}, namespace=space),
                "namespace": InsertOne({"a": "b"}, namespace=f"{name}.{big}"),
                "filter": DeleteOne({"a": big}, namespace=space),
            }[what]
            concern = None if acknowledged else WriteConcern(w=0)
            with pytest.raises(DocumentTooLarge, match=r"at index 1 has 48\d\d\d bytes"):
                client.bulk_write(
                    [InsertOne({}, namespace=space), given], ordered=False, write_concern=concern
                )
            # One that is too large for a document, and not for a message.
            with pytest.raises(DocumentTooLarge, match=r"at index 0 has 16\d\d\d bytes"):
                client.bulk_write([InsertOne({"a": "b" * 16_000}, namespace=space)])
    assert seen.bulks == []
