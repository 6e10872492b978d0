"""Commands that write with w=0 ask for no answer, as PyMongo's do: create, drop, rename, indexes,
`$out` and `$merge`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pymongo
import pytest

from mongokey import MongoClient, WriteConcern
from mongokey.errors import ConfigurationError
from tests.servers.scripted import ScriptedServer, Silence, primary

MORE_TO_COME = 2
SILENT = ("create", "drop", "renameCollection", "createIndexes", "dropIndexes", "dropDatabase")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    # Who waits for an answer to one of these would wait for ever.
    silent: dict[str, Any] = {name: Silence() for name in (*SILENT, "aggregate")}
    with ScriptedServer(hello=primary(), on={**silent, "ping": {"ok": 1}}) as server:
        yield server


CALLS: dict[str, tuple[str, Callable[[Any], Any], Any]] = {
    "create": ("create", lambda d: d.create_collection("y", check_exists=False).name, "y"),
    "drop": ("drop", lambda d: d.y.drop(), None),
    "drop_collection": ("drop", lambda d: d.drop_collection("y"), {"ok": 1}),
    "rename": ("renameCollection", lambda d: d.y.rename("z"), {"ok": 1}),
    "create_index": ("createIndexes", lambda d: d.y.create_index("a"), "a_1"),
    "drop_index": ("dropIndexes", lambda d: d.y.drop_index("a_1"), None),
    "drop_indexes": ("dropIndexes", lambda d: d.y.drop_indexes(), None),
    "drop_database": ("dropDatabase", lambda d: d.client.drop_database("x"), None),
    "$out": ("aggregate", lambda d: list(d.y.aggregate([{"$out": "z"}])), []),
    "$merge": ("aggregate", lambda d: list(d.y.aggregate([{"$merge": {"into": "z"}}])), []),
    "$out, to a secondary": (
        "aggregate",
        lambda d: list(
            d.y.with_options(read_preference=pymongo.ReadPreference.SECONDARY).aggregate(
                [{"$out": "z"}]
            )
        ),
        [],
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_no_answer_is_waited_for(name: str, server: ScriptedServer) -> None:
    command, call, result = CALLS[name]
    with MongoClient(server.uri(w=0)) as client:
        client.admin.command("ping")
        assert call(client["x"]) == result
        assert client.admin.command("ping")["ok"] == 1
    (request,) = (each for each in server.requests if each.name == command)
    assert request.flags & MORE_TO_COME
    assert request.document["writeConcern"] == {"w": 0}
    assert not {"lsid", "txnNumber", "$readPreference"} & set(request.document)


@pytest.mark.parametrize("name", [each for each in CALLS if "secondary" not in each])
def test_pymongo_does_the_same(name: str, server: ScriptedServer) -> None:
    command, call, result = CALLS[name]
    client: Any
    with pymongo.MongoClient(server.uri(w=0)) as client:
        assert call(client["x"]) == result
        assert client.admin.command("ping")["ok"] == 1
    (request,) = (each for each in server.requests if each.name == command)
    assert request.flags & MORE_TO_COME


def test_what_needs_an_answer_waits_for_it(server: ScriptedServer) -> None:
    cursor = {"id": 0, "ns": "x.y", "firstBatch": [{"a": 1}]}
    server.on["aggregate"] = {"ok": 1, "cursor": cursor}
    server.on["create"] = server.on["renameCollection"] = {"ok": 1}
    with MongoClient(server.uri(w=0)) as client:
        things = client["x"]["y"]
        assert list(things.aggregate([{"$match": {}}])) == [{"a": 1}]
        assert list(things.aggregate([{"$out": "z"}], writeConcern={"w": 1})) == [{"a": 1}]
        things.with_options(write_concern=WriteConcern(w=1)).rename("z")
        things.rename("z", writeConcern={"w": 1})
    for name in ("aggregate", "renameCollection"):
        assert all(not each.flags & MORE_TO_COME for each in server.requests if each.name == name)


def test_a_write_concern_given_by_keyword_counts(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client:
        client["x"]["y"].rename("z", writeConcern={"w": 0})
        client.admin.command("ping")  # on the same connection: the server has read what came before
    (request,) = (each for each in server.requests if each.name == "renameCollection")
    assert request.flags & MORE_TO_COME


@pytest.mark.parametrize(
    "call",
    [
        lambda d: d.create_collection("y", check_exists=False, collation={"locale": "en"}),
        lambda d: d.y.aggregate([{"$out": "z"}], collation={"locale": "en"}),
    ],
)
def test_a_collation_that_nobody_would_hear_the_refusal_of(
    call: Callable[[Any], Any], server: ScriptedServer
) -> None:
    with MongoClient(server.uri(w=0)) as client, pytest.raises(ConfigurationError, match="collat"):
        call(client["x"])
    assert set(server.names()) <= {"hello"}
