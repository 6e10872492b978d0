"""Clients that encrypt by themselves: on a real server, with what stands in for mongocryptd."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mongokey
from mongokey import DeleteOne, InsertOne, MongoClient, ReplaceOne, UpdateOne, WriteConcern
from mongokey.encryption_options import AutoEncryptionOpts
from mongokey.errors import (
    BulkWriteError,
    DocumentTooLarge,
    EncryptionError,
    OperationFailure,
    ServerSelectionTimeoutError,
    WriteError,
)
from mongokey.monitoring import CommandListener
from tests.faces.wrapper import unwrapped
from tests.live._encryption import DETERMINISTIC, LOCAL, RANDOM, client_encryption
from tests.servers.mongocryptd import MongocryptdServer
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]


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

    def of(self, name: str) -> list[Any]:
        return [each for each in self.commands if name in each]


@pytest.fixture(scope="module")
def cryptd() -> Iterator[MongocryptdServer]:
    with MongocryptdServer() as made:
        yield made


@pytest.fixture
def marker(cryptd: MongocryptdServer) -> MongocryptdServer:
    cryptd.marked.clear()
    return cryptd


@pytest.fixture
def schema(client: Any, database_name: str) -> dict[str, Any]:
    with client_encryption(client, f"{database_name}.keys") as crypt:
        key_id = crypt.create_data_key("local")
    return {
        "bsonType": "object",
        "encryptMetadata": {"keyId": [key_id]},
        "properties": {
            "ssn": {"encrypt": {"bsonType": "string", "algorithm": DETERMINISTIC}},
            "person": {
                "bsonType": "object",
                "properties": {"age": {"encrypt": {"bsonType": "int", "algorithm": RANDOM}}},
            },
            "big": {"encrypt": {"bsonType": "string", "algorithm": RANDOM}},
        },
    }


@pytest.fixture
def seen() -> Started:
    return Started()


def options(
    database_name: str, schema: Any, marker: MongocryptdServer, **further: Any
) -> AutoEncryptionOpts:
    given = {
        "schema_map": {f"{database_name}.people": schema},
        "mongocryptd_uri": marker.uri(),
        "mongocryptd_bypass_spawn": True,
        **further,
    }
    return AutoEncryptionOpts(LOCAL, f"{database_name}.keys", **given)


@pytest.fixture
def encrypting(
    face: str,
    secantus: SecantusServer,
    database_name: str,
    schema: Any,
    marker: MongocryptdServer,
    seen: Started,
) -> Iterator[Any]:
    with MongoClient(
        secantus.uri(),
        auto_encryption_opts=options(database_name, schema, marker),
        event_listeners=[seen],
        maxPoolSize=1,
    ) as made:
        yield made


@pytest.fixture
def people(encrypting: Any, database_name: str) -> Any:
    return encrypting[database_name].people


@pytest.fixture
def stored(client: Any, database_name: str) -> Any:
    """The collection as it is on the server."""
    return client[database_name].people


def is_sealed(value: Any) -> bool:
    return getattr(value, "subtype", None) == 6 and value[0] in (1, 2)


class TestCommands:
    def test_inserts(self, people: Any, stored: Any) -> None:
        people.insert_one({"_id": 1, "name": "Ada", "ssn": "1", "person": {"age": 36}})
        found = stored.find_one()
        assert found["name"] == "Ada"
        assert is_sealed(found["ssn"])
        assert is_sealed(found["person"]["age"])
        assert people.find_one() == {"_id": 1, "name": "Ada", "ssn": "1", "person": {"age": 36}}

    def test_many_inserts(self, people: Any, stored: Any) -> None:
        done = people.insert_many([{"_id": n, "ssn": str(n)} for n in range(300)])
        assert done.inserted_ids == list(range(300))
        assert all(is_sealed(each["ssn"]) for each in stored.find())
        assert [each["ssn"] for each in people.find().sort("_id").batch_size(90)] == [
            str(n) for n in range(300)
        ]

    def test_queries(self, people: Any) -> None:
        people.insert_many([{"_id": n, "ssn": str(n % 3)} for n in range(9)])
        assert people.count_documents({"ssn": "1"}) == 3
        assert [each["_id"] for each in people.find({"ssn": "2"}).sort("_id")] == [2, 5, 8]
        assert [each["_id"] for each in people.find({"ssn": {"$in": ["1", "2"]}}).limit(2)] == [
            1,
            2,
        ]
        found = list(people.aggregate([{"$match": {"ssn": "0"}}, {"$sort": {"_id": 1}}]))
        assert [each["ssn"] for each in found] == ["0", "0", "0"]
        assert sorted(people.distinct("ssn", {"ssn": "1"})) == ["1"]
        assert people.find_one({"ssn": "nobody"}) is None

    def test_updates_and_deletes(self, people: Any, stored: Any) -> None:
        people.insert_many([{"_id": n, "ssn": str(n)} for n in range(4)])
        assert people.update_one({"ssn": "1"}, {"$set": {"ssn": "new"}}).modified_count == 1
        assert is_sealed(stored.find_one({"_id": 1})["ssn"])
        assert people.replace_one({"ssn": "new"}, {"ssn": "newer"}).modified_count == 1
        assert people.find_one_and_update({"ssn": "newer"}, {"$set": {"x": 1}})["ssn"] == "newer"
        assert people.find_one_and_delete({"ssn": "newer"})["x"] == 1
        assert people.delete_one({"ssn": "2"}).deleted_count == 1
        assert people.delete_many({"ssn": {"$in": ["0", "3"]}}).deleted_count == 2
        assert stored.count_documents({}) == 0

    def test_bulk_writes(self, people: Any, stored: Any) -> None:
        done = people.bulk_write(
            [
                InsertOne({"_id": 1, "ssn": "1"}),
                InsertOne({"_id": 2, "ssn": "2"}),
                UpdateOne({"ssn": "1"}, {"$set": {"ssn": "3"}}),
                ReplaceOne({"ssn": "2"}, {"ssn": "4"}),
                DeleteOne({"ssn": "3"}),
            ]
        )
        assert (done.inserted_count, done.modified_count, done.deleted_count) == (2, 2, 1)
        assert is_sealed(stored.find_one()["ssn"])
        assert people.find_one() == {"_id": 2, "ssn": "4"}

    def test_errors_of_statements_have_their_numbers(self, people: Any) -> None:
        people.insert_one({"_id": 1, "ssn": "1"})
        with pytest.raises(BulkWriteError) as raised:
            people.insert_many([{"_id": 5, "ssn": "5"}, {"_id": 1, "ssn": "x"}])
        assert raised.value.details["writeErrors"][0]["index"] == 1

    def test_unacknowledged_writes(self, people: Any, stored: Any, eventually: Any) -> None:
        people.with_options(write_concern=WriteConcern(w=0)).insert_one({"ssn": "1"})
        assert eventually(lambda: stored.count_documents({}) == 1)
        assert is_sealed(stored.find_one()["ssn"])

    def test_sessions(self, encrypting: Any, people: Any, stored: Any) -> None:
        with encrypting.start_session() as session:
            people.insert_one({"_id": 1, "ssn": "1"}, session=session)
            assert people.find_one({"ssn": "1"}, session=session)["_id"] == 1
        assert is_sealed(stored.find_one()["ssn"])

    def test_what_the_driver_adds_stays(
        self, people: Any, seen: Started, marker: MongocryptdServer
    ) -> None:
        people.insert_one({"_id": 1, "ssn": "1"})
        (sent,) = seen.of("insert")
        assert is_sealed(sent["documents"][0]["ssn"])
        assert "lsid" in sent
        assert sent["$db"] == people.database.name
        assert list(sent).count("$db") == 1
        (asked,) = [each for each in marker.marked if "insert" in each]
        assert "txnNumber" not in asked
        assert asked["documents"][0]["ssn"] == "1"
        assert asked["isRemoteSchema"] is False

    def test_other_collections_go_as_they_are(
        self, encrypting: Any, client: Any, database_name: str
    ) -> None:
        other = encrypting[database_name].others
        other.insert_one({"_id": 1, "ssn": "1"})
        assert client[database_name].others.find_one() == {"_id": 1, "ssn": "1"}
        assert encrypting.admin.command("ping")["ok"] == 1

    def test_a_timeout_holds_for_all_of_it(self, people: Any) -> None:
        with mongokey.timeout(20):
            people.insert_one({"_id": 1, "ssn": "1"})
            assert people.find_one({"ssn": "1"})["ssn"] == "1"

    def test_a_schema_of_the_server(
        self,
        secantus: SecantusServer,
        face: str,
        client: Any,
        database_name: str,
        schema: Any,
        marker: MongocryptdServer,
    ) -> None:
        # The tests' server takes no `encrypt` in a validator: what was found is what counts.
        remote = {"bsonType": "object", "properties": {"name": {"bsonType": "string"}}}
        client[database_name].create_collection("people", validator={"$jsonSchema": remote})
        opts = options(database_name, schema, marker, schema_map=None)
        with MongoClient(secantus.uri(), auto_encryption_opts=opts) as made:
            made[database_name].people.insert_one({"_id": 1, "name": "Ada"})
        (asked,) = [each for each in marker.marked if "insert" in each]
        assert asked["isRemoteSchema"] is True
        assert asked["jsonSchema"] == remote


class TestSizes:
    def test_batches_end_at_2_mib(self, people: Any, seen: Started) -> None:
        # Prose test 4, "BSON size limits and batch splitting".
        size = 2_097_152
        people.insert_many([{"_id": 1, "unencrypted": "a" * size}, {"_id": 2}, {"_id": 3}])
        assert [len(each["documents"]) for each in seen.of("insert")] == [1, 2]
        seen.commands.clear()
        people.insert_many(
            [{"_id": f"b{n}", "big": "x", "unencrypted": "a" * (size - 2000)} for n in range(2)]
        )
        assert [len(each["documents"]) for each in seen.of("insert")] == [1, 1]

    def test_many_small_ones_are_cut(self, people: Any, seen: Started) -> None:
        people.insert_many([{"_id": n, "text": "a" * 10_000} for n in range(500)])
        sizes = [len(each["documents"]) for each in seen.of("insert")]
        assert sum(sizes) == 500
        assert len(sizes) == 3

    def test_what_is_too_long_once_it_is_encrypted(self, people: Any, stored: Any) -> None:
        size = 16_777_216
        with pytest.raises((WriteError, DocumentTooLarge, OperationFailure)):
            people.insert_one({"_id": 2, "big": "x" * 3000, "unencrypted": "a" * (size - 3050)})
        assert stored.count_documents({}) == 0


class TestMongocryptd:
    def test_what_it_refuses_is_not_sent(self, people: Any, seen: Started) -> None:
        with pytest.raises(EncryptionError) as raised:
            people.find_one({"refused": 1})
        assert isinstance(raised.value.cause, OperationFailure)
        assert seen.of("find") == []

    def test_nobody_there(
        self,
        face: str,
        secantus: SecantusServer,
        database_name: str,
        schema: Any,
        marker: MongocryptdServer,
    ) -> None:
        uri = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100"
        opts = options(database_name, schema, marker, mongocryptd_uri=uri)
        with MongoClient(secantus.uri(), auto_encryption_opts=opts) as made:
            with mongokey.timeout(1), pytest.raises(EncryptionError) as raised:
                made[database_name].people.find_one()
        assert isinstance(raised.value.cause, ServerSelectionTimeoutError)

    def test_it_is_not_asked_where_it_need_not(
        self,
        face: str,
        secantus: SecantusServer,
        database_name: str,
        schema: Any,
        marker: MongocryptdServer,
    ) -> None:
        for bypass in ({"bypass_auto_encryption": True}, {"bypass_query_analysis": True}):
            opts = options(database_name, schema, marker, **bypass)
            with MongoClient(secantus.uri(), auto_encryption_opts=opts) as made:
                made[database_name].people.insert_one({"ssn": "1"})
                found = made[database_name].people.find_one()
                assert found["ssn"] == "1"
        assert marker.marked == []

    def test_it_is_started_and_ends_by_itself(
        self,
        face: str,
        secantus: SecantusServer,
        client: Any,
        database_name: str,
        schema: Any,
        marker: MongocryptdServer,
        tmp_path: Path,
        eventually: Any,
    ) -> None:
        import socket

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        pids = tmp_path / "pids"
        program = tmp_path / "mongocryptd"
        program.write_text(
            f"#!/bin/sh\ncd {ROOT}\nexec {sys.executable} -m tests.servers.mongocryptd "
            f'--pidfile {pids} --port {port} "$@"\n'
        )
        program.chmod(0o755)
        opts = options(
            database_name,
            schema,
            marker,
            mongocryptd_bypass_spawn=False,
            mongocryptd_uri=f"mongodb://127.0.0.1:{port}",
            mongocryptd_spawn_path=str(program),
            mongocryptd_spawn_args=["--idleShutdownTimeoutSecs=3"],
        )
        with MongoClient(secantus.uri(), auto_encryption_opts=opts) as made:
            made[database_name].people.insert_one({"_id": 1, "ssn": "1"})
        assert is_sealed(client[database_name].people.find_one()["ssn"])
        # More than one where the first had ended before it was asked.
        started = {int(pid): Path(f"/proc/{pid}") for pid in pids.read_text().split()}
        assert started
        try:
            # It is waited for when it ends: no zombie is left.
            assert eventually(lambda: not any(each.exists() for each in started.values()))
        finally:
            for pid, each in started.items():
                if each.exists():
                    os.kill(pid, signal.SIGKILL)

    def test_what_cannot_be_started_is_warned_of(
        self,
        face: str,
        secantus: SecantusServer,
        database_name: str,
        schema: Any,
        marker: MongocryptdServer,
    ) -> None:
        opts = options(
            database_name,
            schema,
            marker,
            mongocryptd_bypass_spawn=False,
            mongocryptd_spawn_path="/nowhere/mongocryptd",
        )
        with MongoClient(secantus.uri(), auto_encryption_opts=opts) as made:
            with pytest.warns(RuntimeWarning, match="mongocryptd cannot be started"):
                made[database_name].people.insert_one({"_id": 1, "ssn": "1"})

    def test_its_client_is_closed_with_the_client(self, encrypting: Any, people: Any) -> None:
        people.insert_one({"ssn": "1"})
        cryptd_client = unwrapped(encrypting)._encrypter._io.mongocryptd._client
        assert not cryptd_client._closed
        encrypting.close()
        assert cryptd_client._closed

    def test_a_library_that_is_not_there(
        self, face: str, secantus: SecantusServer, database_name: str, marker: Any
    ) -> None:
        # Prose test 20, "Bypass creating mongocryptd client when shared library is loaded", needs
        # the library itself, which is not free.
        opts = options(
            database_name,
            {},
            marker,
            crypt_shared_lib_path="/nowhere/mongo_crypt_v1.so",
            crypt_shared_lib_required=True,
        )
        with pytest.raises(EncryptionError, match="crypt_shared"):
            MongoClient(secantus.uri(), auto_encryption_opts=opts)
