"""Search indexes and `validate_collection`: what is sent, and what the server's answers mean.

SecantusDB answers as a server without Atlas Search does (the suite index-management); what a server
with it answers is scripted here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mongokey import MongoClient, WriteConcern
from mongokey.errors import CollectionInvalid, ConfigurationError, OperationFailure, ProtocolError
from mongokey.operations import SearchIndexModel
from mongokey.read_concern import ReadConcern
from mongokey.read_preferences import Secondary
from tests.servers.scripted import Error, Reply, ScriptedServer, primary

DEFINITION = {"mappings": {"dynamic": True}}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(hello=primary(), on={"*": {"ok": 1.0}}) as server:
        yield server


@pytest.fixture
def things(server: ScriptedServer) -> Iterator[Any]:
    """A collection whose concerns and read preference would be sent with other commands."""
    with MongoClient(server.uri()) as client:
        yield client["x"].get_collection(
            "things",
            read_preference=Secondary(),
            write_concern=WriteConcern("majority"),
            read_concern=ReadConcern("majority"),
        )


def sent(server: ScriptedServer, name: str) -> dict[str, Any]:
    """The last command of that name, without what every command of a client has."""
    command = dict(server.commands(name)[-1])
    for each in ("$db", "lsid", "$clusterTime"):
        command.pop(each, None)
    return command


def created(*names: str) -> dict[str, Any]:
    return {"ok": 1.0, "indexesCreated": [{"id": "6", "name": name} for name in names]}


@pytest.mark.parametrize(
    ("model", "document"),
    [
        ({"definition": DEFINITION}, {"definition": DEFINITION}),
        (
            {"name": "one", "definition": DEFINITION, "type": "vectorSearch"},
            {"name": "one", "definition": DEFINITION, "type": "vectorSearch"},
        ),
        (SearchIndexModel(DEFINITION), {"definition": DEFINITION}),
        (
            SearchIndexModel(DEFINITION, "one", "search", later=1),
            {"name": "one", "definition": DEFINITION, "type": "search", "later": 1},
        ),
    ],
)
def test_an_index_is_created_with_no_concern_and_its_name_told(
    server: ScriptedServer, things: Any, model: Any, document: dict[str, Any]
) -> None:
    server.on["createSearchIndexes"] = created("one")
    assert things.create_search_index(model, comment="why", maxTimeMS=5) == "one"
    assert sent(server, "createSearchIndexes") == {
        "createSearchIndexes": "things",
        "indexes": [document],
        "comment": "why",
        "maxTimeMS": 5,
    }


def test_several_are_created_at_once(server: ScriptedServer, things: Any) -> None:
    server.on["createSearchIndexes"] = created("one", "default")
    models = [SearchIndexModel(DEFINITION, name="one"), SearchIndexModel({})]
    assert things.create_search_indexes(models) == ["one", "default"]
    assert sent(server, "createSearchIndexes")["indexes"] == [
        {"name": "one", "definition": DEFINITION},
        {"definition": {}},
    ]


def test_an_answer_without_names_is_told(server: ScriptedServer, things: Any) -> None:
    with pytest.raises(ProtocolError, match="createSearchIndexes"):
        things.create_search_index({"definition": {}})


def test_indexes_are_listed_by_an_aggregation(server: ScriptedServer, things: Any) -> None:
    found = [{"name": "one", "status": "READY"}, {"name": "two", "status": "PENDING"}]
    server.on["aggregate"] = {
        "ok": 1.0,
        "cursor": {"id": 7, "ns": "x.things", "firstBatch": found[:1]},
    }
    server.on["getMore"] = {
        "ok": 1.0,
        "cursor": {"id": 0, "ns": "x.things", "nextBatch": found[1:]},
    }
    assert things.list_search_indexes(batchSize=1, comment="c").to_list() == found
    assert sent(server, "aggregate") == {
        "aggregate": "things",
        "pipeline": [{"$listSearchIndexes": {}}],
        "cursor": {"batchSize": 1},
        "comment": "c",
    }
    assert sent(server, "getMore")["batchSize"] == 1
    things.list_search_indexes("one").close()
    assert sent(server, "aggregate")["pipeline"] == [{"$listSearchIndexes": {"name": "one"}}]


def test_an_index_is_updated_and_dropped(server: ScriptedServer, things: Any) -> None:
    assert things.update_search_index("one", DEFINITION, comment=1) is None
    assert sent(server, "updateSearchIndex") == {
        "updateSearchIndex": "things",
        "name": "one",
        "definition": DEFINITION,
        "comment": 1,
    }
    assert things.drop_search_index("one", comment=2) is None
    assert sent(server, "dropSearchIndex") == {
        "dropSearchIndex": "things",
        "name": "one",
        "comment": 2,
    }


CHANGES: list[tuple[str, Callable[[Any], None]]] = [
    ("updateSearchIndex", lambda c: c.update_search_index("one", {})),
    ("dropSearchIndex", lambda c: c.drop_search_index("one")),
]


@pytest.mark.parametrize(("command", "change"), CHANGES)
def test_a_collection_that_is_not_there_is_no_error_and_others_are(
    server: ScriptedServer, things: Any, command: str, change: Callable[[Any], None]
) -> None:
    server.on[command] = Error(code=26, message="ns not found")
    change(things)
    server.on[command] = Error(code=31082, message="not on Atlas")
    with pytest.raises(OperationFailure, match="not on Atlas"):
        change(things)


REFUSED: list[tuple[type[Exception], str, Callable[[Any], Any]]] = [
    (TypeError, "model must be a mapping", lambda c: c.create_search_index("one")),
    (TypeError, "'definition'", lambda c: c.create_search_index({"name": "one"})),
    (TypeError, "definition must be", lambda c: c.create_search_index({"definition": 5})),
    (TypeError, "models must be a list", lambda c: c.create_search_indexes({})),
    (TypeError, "each of the models", lambda c: c.create_search_indexes([{}])),
    (TypeError, "name must be", lambda c: c.list_search_indexes(5)),
    (TypeError, "name must be", lambda c: c.update_search_index(5, {})),
    (TypeError, "definition must be", lambda c: c.update_search_index("one", [])),
    (TypeError, "name must be", lambda c: c.drop_search_index(5)),
    (TypeError, "name must be", lambda c: SearchIndexModel({}, name=5)),  # type: ignore[arg-type]
    (ConfigurationError, "'indexes'", lambda c: c.create_search_indexes([], indexes=[])),
    (TypeError, "name_or_collection", lambda c: c.database.validate_collection(5)),
]


@pytest.mark.parametrize(("error", "words", "call"), REFUSED)
def test_wrong_arguments_are_refused_before_anything_is_sent(
    server: ScriptedServer,
    things: Any,
    error: type[Exception],
    words: str,
    call: Callable[[Any], Any],
) -> None:
    with pytest.raises(error, match=words):
        call(things)
    assert server.count("createSearchIndexes") == server.count("aggregate") == 0


def test_a_model_shows_what_it_is() -> None:
    model = SearchIndexModel({"mappings": {}}, "one", "search")
    assert repr(model) == "SearchIndexModel(name='one', definition={'mappings': {}}, type='search')"
    assert model.document == {"name": "one", "definition": {"mappings": {}}, "type": "search"}


# validate_collection

GOOD = {"ok": 1.0, "ns": "x.things", "valid": True, "errors": []}
BAD = {"ok": 1.0, "ns": "x.things", "valid": False, "errors": ["torn page"]}


def test_a_valid_collection_is_told(server: ScriptedServer, things: Any) -> None:
    server.on["validate"] = GOOD
    assert things.database.validate_collection(things) == GOOD
    assert sent(server, "validate") == {"validate": "things", "scandata": False, "full": False}
    things.database.validate_collection("b", True, True, background=False, comment="c")
    assert sent(server, "validate") == {
        "validate": "b",
        "scandata": True,
        "full": True,
        "background": False,
        "comment": "c",
    }


@pytest.mark.parametrize(
    "answer",
    [
        BAD,
        {"ok": 1.0},
        {"ok": 1.0, "raw": {"s1": GOOD, "s2": BAD}},
    ],
)
def test_an_invalid_collection_is_an_error(
    server: ScriptedServer, things: Any, answer: dict[str, Any]
) -> None:
    server.on["validate"] = Reply(answer)
    with pytest.raises(CollectionInvalid, match="things is invalid"):
        things.database.validate_collection("things")


def test_every_shard_may_find_it_valid(server: ScriptedServer, things: Any) -> None:
    answer = {"ok": 1.0, "raw": {"s1": GOOD, "s2": GOOD}}
    server.on["validate"] = answer
    assert things.database.validate_collection("things") == answer
