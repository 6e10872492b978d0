"""The instrument itself: counts that do not fit are failures, and unlike speeds are not paired."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import bson
import pymongo
import pytest
from pymongo.errors import OperationFailure

from bench.case import Seen
from bench.compare import row
from bench.runner import Result, Slice, Speed, _without_hellos, check_counts
from bench.server import CannedServer, Counts, document, documents


def test_counts_that_fit_are_no_problem() -> None:
    counts = Counts(logins=5, accepted=7, commands={"ping": 5, "endSessions": 2})
    seen = Seen({"ping": 1}, logins=1, connections=1, connections_at_most=None)
    assert check_counts(counts, seen, 5) == []


@pytest.mark.parametrize(
    "counts",
    [
        Counts(commands={"ping": 4}),
        Counts(commands={"ping": 6}),
        Counts(commands={"ping": 5, "find": 1}),
        Counts(commands={"ping": 5}, logins=1),
        Counts(commands={"ping": 5}, errors=1),
        Counts(commands={"ping": 5}, unauthenticated=1),
        Counts(commands={"ping": 5}, accepted=2),
        Counts(commands={"ping": 5}, documents=1),
    ],
)
def test_counts_that_do_not_fit_are_a_problem(counts: Counts) -> None:
    assert check_counts(counts, Seen({"ping": 1}), 5)


def test_a_failed_case_shows_no_figure() -> None:
    result = Result("ping", "ping", 0.25, problems=["pymongo: 5 operations: 4 ping, not 5"])
    assert "FAILED" in row(result, None, "mongokey", "pymongo")


def test_speed_is_told_from_both_ends_of_a_slice() -> None:
    speed = Speed()
    speed.learn([Slice(0, 0, 100, 200)])
    assert speed.of(Slice(0, 0, 100, 105)) == "full"
    assert speed.of(Slice(0, 0, 150, 160)) == "half"
    assert speed.of(Slice(0, 0, 100, 160)) is None


def test_the_server_logs_in_only_with_the_password(canned_server: CannedServer) -> None:
    client: pymongo.MongoClient[dict[str, Any]]
    canned_server.require_login(True)
    canned_server.reset()
    with pymongo.MongoClient(canned_server.uri(login=True)) as client:
        assert client.admin.command("ping")["ok"] == 1
    wrong = canned_server.uri(login=True).replace("pencil", "stencil")
    with pymongo.MongoClient(wrong) as client, pytest.raises(OperationFailure) as caught:
        client.admin.command("ping")
    assert caught.value.code == 18
    with (
        pymongo.MongoClient(canned_server.uri()) as client,
        pytest.raises(OperationFailure) as caught,
    ):
        client.admin.command("ping")
    assert caught.value.code == 13
    counts = canned_server.counts()
    assert (counts.logins, counts.failed_logins, counts.unauthenticated) == (1, 1, 1)


def test_the_server_answers_what_it_was_asked(canned_server: CannedServer) -> None:
    client: pymongo.MongoClient[dict[str, Any]]
    canned_server.require_login(False)
    canned_server.reset()
    with pymongo.MongoClient(canned_server.uri()) as client:
        found: list[dict[str, Any]] = list(client["bench"]["docs10000"].find())
        assert [{k: v for k, v in d.items() if k != "_id"} for d in found[:3]] == [
            {**document(n), "created": document(n)["created"].replace(tzinfo=None)}
            for n in range(3)
        ]
        assert {len(bson.encode(d)) for d in found} == {250}
        collection: Any = client["bench"]["x"]
        assert len(collection.insert_many(documents(1234)).inserted_ids) == 1234
    counts = canned_server.counts()
    assert (counts.commands["find"], counts.commands["getMore"]) == (1, 1)
    assert counts.documents == 1234


def test_the_server_can_be_the_primary_of_a_replica_set() -> None:
    client: pymongo.MongoClient[dict[str, Any]]
    with (
        CannedServer(replica_set=True) as server,
        pymongo.MongoClient(server.uri(replicaSet="bench"), timeoutMS=5000) as client,
    ):
        assert client.admin.command("ping")["ok"] == 1
        assert client.primary == ("127.0.0.1", server.port)


def test_a_record_for_the_floor_has_no_hellos(tmp_path: Path) -> None:
    def message(document: dict[str, object]) -> bytes:
        body = struct.pack("<IB", 0, 0) + bson.encode(document)
        data = struct.pack("<iiii", 16 + len(body), 1, 0, 2013) + body
        return struct.pack("<II", len(data), 38) + data

    record = tmp_path / "record"
    record.write_bytes(message({"hello": 1}) + message({"ping": 1}) + message({"isMaster": 1}))
    _without_hellos(record)
    assert record.read_bytes() == message({"ping": 1})
