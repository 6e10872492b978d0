"""Calls of several operations, as plans: each is driven with scripted results, without a socket."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from mongokey.bson import CodecOptions
from mongokey.commands.aggregate import aggregate
from mongokey.commands.bulk import Batch
from mongokey.commands.bulk_write import bulk_write, insert_many
from mongokey.commands.collections import (
    collection_options,
    create_collection,
    drop_collection,
    list_collection_names,
    rename_collection,
)
from mongokey.commands.command import Command, CursorCommand
from mongokey.commands.databases import drop_database, list_database_names, list_databases
from mongokey.commands.find_and_modify import find_and_modify, update_change
from mongokey.commands.indexes import create_indexes, drop_index, index_information, list_indexes
from mongokey.commands.inherited_options import InheritedOptions
from mongokey.commands.plan import Documents, all_documents
from mongokey.commands.reads import count_documents, distinct
from mongokey.errors import (
    AutoReconnect,
    BulkWriteError,
    CollectionInvalid,
    ConfigurationError,
    InvalidName,
    InvalidOperation,
    OperationFailure,
)
from mongokey.execution.operation import Namespace
from mongokey.operations import DeleteMany, DeleteOne, IndexModel, InsertOne, UpdateOne
from mongokey.read_concern import ReadConcern
from mongokey.read_preferences import ReadPreference
from mongokey.write_concern import WriteConcern

COLLECTION = Namespace("d", "c")
DATABASE = Namespace("d")


def options(**write_concern: Any) -> InheritedOptions:
    concern = WriteConcern(**write_concern)
    return InheritedOptions(CodecOptions(), ReadPreference.PRIMARY, concern, ReadConcern())


class OpenCursor:
    """What a face gives for a `CursorCommand`: its batches, one at a time."""

    def __init__(self, *batches: list[Any]) -> None:
        self.batches = list(batches)
        self.at_hand = self.batches.pop(0)
        self.fetched = 0

    @property
    def _has_more(self) -> bool:
        return bool(self.batches)

    def _take_batch(self) -> list[Any]:
        taken, self.at_hand = self.at_hand, []
        return taken

    def fetch(self) -> None:
        self.fetched += 1
        self.at_hand = self.batches.pop(0)


class Script:
    """A face whose operations have scripted outcomes; it notes the steps that a plan takes.

    An outcome is a result, an exception, or a function that is called with the step.
    """

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)
        self.steps: list[Any] = []

    def run(self, plan: Generator[Any, Any, Any]) -> Any:
        try:
            step = next(plan)
            while True:
                self.steps.append(step)
                try:
                    result = self.carry_out(step)
                except BaseException as error:
                    step = plan.throw(error)
                else:
                    step = plan.send(result)
        except StopIteration as end:
            assert not self.outcomes, "the plan asked for less than it was given"
            return end.value
        finally:
            plan.close()

    def carry_out(self, step: Any) -> Any:
        if isinstance(step, OpenCursor):
            step.fetch()
            return None
        if isinstance(step, Documents):
            return OpenCursor(step.documents)
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome(step) if callable(outcome) else outcome

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [dict(each.document) for each in self.steps if isinstance(each, Command)]


def written(n: int, **more: Any) -> Any:
    """The server carried out a batch: it counts, and may refuse statements."""

    def outcome(batch: Batch) -> dict[str, Any]:
        counts = {"insert": "nInserted", "update": "nMatched", "delete": "nRemoved"}
        batch.result[counts[batch.command.decode()]] += n
        for name, value in more.items():
            batch.result[name] += value
        return batch.result

    return outcome


def refusal(index: int) -> dict[str, Any]:
    return {"index": index, "code": 11000, "errmsg": "duplicate"}


# -- bulks ---------------------------------------------------------------------------------------


def test_insert_many_gives_ids_and_is_one_operation() -> None:
    documents: list[Any] = [{"a": 1}, {"_id": 7}]
    script = Script(written(2))
    result = script.run(insert_many(COLLECTION, options(), iter(documents), True, None, None))
    assert result.inserted_ids == [documents[0]["_id"], 7]
    assert result.acknowledged
    (batch,) = script.steps
    assert (batch.command, batch.statements) == (b"insert", documents)


@pytest.mark.parametrize("documents", [5, {"a": 1}, []])
def test_insert_many_refuses_what_is_no_list_of_documents(documents: Any) -> None:
    script = Script()
    with pytest.raises(TypeError, match="documents must be"):
        script.run(insert_many(COLLECTION, options(), documents, True, None, None))
    assert script.steps == []


REQUESTS: list[Any] = [
    InsertOne({"_id": 1}),
    InsertOne({"_id": 2}),
    UpdateOne({"_id": 1}, {"$set": {"a": 1}}),
    DeleteOne({"_id": 2}),
    DeleteMany({"_id": 3}),
    InsertOne({"_id": 4}),
]


def bulk(script: Script, ordered: bool = True, **concern: Any) -> Any:
    return script.run(
        bulk_write(COLLECTION, options(**concern), REQUESTS, ordered, None, None, None)
    )


def test_an_ordered_bulk_is_a_batch_for_each_run_of_one_command() -> None:
    script = Script(written(2), written(1), written(2), written(1))
    result = bulk(script)
    assert [each.command for each in script.steps] == [b"insert", b"update", b"delete", b"insert"]
    assert (result.inserted_count, result.matched_count, result.deleted_count) == (3, 1, 2)


def test_an_unordered_bulk_is_a_batch_for_each_command() -> None:
    script = Script(written(3), written(1), written(2))
    assert bulk(script, ordered=False).inserted_count == 3
    assert [each.command for each in script.steps] == [b"insert", b"update", b"delete"]


def test_an_ordered_bulk_ends_at_the_first_refusal() -> None:
    script = Script(written(2), written(0, writeErrors=[refusal(2)]))
    with pytest.raises(BulkWriteError) as caught:
        bulk(script)
    assert len(script.steps) == 2
    assert caught.value.details["nInserted"] == 2
    assert caught.value.details["writeErrors"] == [refusal(2)]


def test_an_unordered_bulk_goes_on_and_sorts_its_refusals() -> None:
    script = Script(
        written(2, writeErrors=[refusal(5)]), written(1), written(1, writeErrors=[refusal(3)])
    )
    with pytest.raises(BulkWriteError) as caught:
        bulk(script, ordered=False)
    assert [each["index"] for each in caught.value.details["writeErrors"]] == [3, 5]


@pytest.mark.parametrize("error", [AutoReconnect("lost"), KeyboardInterrupt(), MemoryError()])
def test_an_error_in_its_midst_tells_what_was_done(error: BaseException) -> None:
    script = Script(written(2), error)
    with pytest.raises(type(error)) as caught:
        bulk(script)
    assert caught.value is error
    assert error.partial_result.inserted_count == 2  # type: ignore[union-attr]


def test_without_acknowledgement_the_servers_errors_only_end_it() -> None:
    script = Script(written(0), OperationFailure("no", 1))
    result = bulk(script, w=0)
    assert not result.acknowledged
    assert len(script.steps) == 2
    lost = AutoReconnect("lost")
    with pytest.raises(AutoReconnect):
        bulk(Script(lost), w=0)
    assert lost.partial_result is None


def test_a_bulk_that_cannot_be_encoded_is_not_begun() -> None:
    requests: list[Any] = [InsertOne({"_id": 1}), UpdateOne({}, {"$set": {"a": object()}})]
    script = Script()
    with pytest.raises(Exception, match="object"):
        script.run(bulk_write(COLLECTION, options(), requests, True, None, None, None))
    with pytest.raises(InvalidOperation, match="No operations"):
        script.run(bulk_write(COLLECTION, options(), [], True, None, None, None))
    with pytest.raises(ConfigurationError, match="collation"):
        script.run(
            bulk_write(
                COLLECTION,
                options(w=0),
                [DeleteOne({}, collation={"locale": "de"})],
                True,
                None,
                None,
                None,
            )
        )
    assert script.steps == []


# -- cursors -------------------------------------------------------------------------------------


def test_all_documents_are_fetched_batch_by_batch() -> None:
    cursor = OpenCursor([1, 2], [], [3])
    command = CursorCommand(DATABASE, {"listCollections": 1, "cursor": {}})
    script = Script(cursor)
    assert script.run(all_documents(command)) == [1, 2, 3]
    assert script.steps == [command, cursor, cursor]
    assert cursor.fetched == 2


def test_names_of_collections() -> None:
    script = Script(OpenCursor([{"name": "a"}], [{"name": "b"}]))
    plan = list_collection_names(DATABASE, None, "why", {})
    assert script.run(plan) == ["a", "b"]
    assert script.documents == [
        {"listCollections": 1, "comment": "why", "cursor": {}, "nameOnly": True}
    ]


@pytest.mark.parametrize(
    ("filter", "further", "name_only"),
    [
        ({"name": "a"}, {}, True),
        ({"options.capped": True}, {}, None),
        (None, {"nameOnly": False}, False),
    ],
)
def test_only_names_are_asked_for_where_the_filter_needs_no_more(
    filter: Any, further: Any, name_only: bool | None
) -> None:
    script = Script(OpenCursor([]))
    assert script.run(list_collection_names(DATABASE, filter, None, further)) == []
    assert script.documents[0].get("nameOnly") is name_only


def test_a_collection_is_created_unless_it_is_there() -> None:
    script = Script(OpenCursor([]), {"ok": 1})
    script.run(create_collection(DATABASE, options(), "c", True, {"capped": True}))
    assert [next(iter(each)) for each in script.documents] == ["listCollections", "create"]
    assert script.documents[1] == {"create": "c", "capped": True}

    script = Script(OpenCursor([{"name": "c"}]))
    with pytest.raises(CollectionInvalid, match="already exists"):
        script.run(create_collection(DATABASE, options(), "c", True, {}))

    script = Script({"ok": 1})
    script.run(create_collection(DATABASE, options(), "c", False, {}))
    assert script.documents == [{"create": "c"}]


def test_an_encrypted_collection_is_created_and_dropped_with_its_helpers() -> None:
    # client-side-encryption, "Create Collection Helper" and "Drop Collection Helper".
    fields = {"escCollection": "mine.esc", "fields": []}
    script = Script({"ok": 1}, {"ok": 1}, {"ok": 1}, {"ok": 1})
    script.run(create_collection(DATABASE, options(), "c", False, {"encryptedFields": fields}))
    clustered = {"key": {"_id": 1}, "unique": True}
    assert script.documents[:3] == [
        {"create": "mine.esc", "clusteredIndex": clustered},
        {"create": "enxcol_.c.ecoc", "clusteredIndex": clustered},
        {"create": "c", "encryptedFields": fields},
    ]
    assert script.documents[3]["indexes"][0]["key"] == {"__safeContent__": 1}

    script = Script({"ok": 1}, {"ok": 1}, {"ok": 1})
    script.run(drop_collection(DATABASE, options(), "c", None, fields, False))
    names = ["mine.esc", "enxcol_.c.ecoc", "c"]
    assert script.documents == [{"drop": name} for name in names]

    found = OpenCursor([{"name": "c", "options": {"encryptedFields": {"fields": []}}}])
    script = Script(found, {"ok": 1}, {"ok": 1}, {"ok": 1})
    script.run(drop_collection(DATABASE, options(), "c", None, None, True))
    assert [each.get("drop") for each in script.documents] == [
        None,
        "enxcol_.c.esc",
        "enxcol_.c.ecoc",
        "c",
    ]

    with pytest.raises(TypeError, match="encryptedFields"):
        Script().run(create_collection(DATABASE, options(), "c", False, {"encryptedFields": 5}))


def test_options_of_a_collection() -> None:
    script = Script(OpenCursor([{"name": "c", "options": {"capped": True}}]))
    assert script.run(collection_options(COLLECTION, None)) == {"capped": True}
    assert script.documents[0]["filter"] == {"name": "c"}
    assert Script(OpenCursor([])).run(collection_options(COLLECTION, None)) == {}
    assert Script(OpenCursor([{"name": "c"}])).run(collection_options(COLLECTION, None)) == {}


def test_indexes_of_a_collection_that_is_not_there_are_none() -> None:
    missing = OperationFailure("ns does not exist", 26)
    cursor = Script(missing).run(list_indexes(COLLECTION, None))
    assert cursor._take_batch() == []
    assert (
        Script(OperationFailure("ns does not exist", 26)).run(index_information(COLLECTION, None))
        == {}
    )
    for plan in (list_indexes, index_information):
        with pytest.raises(OperationFailure, match="not authorized"):
            Script(OperationFailure("not authorized", 13)).run(plan(COLLECTION, None))


def test_a_list_of_indexes_is_the_cursor_that_the_command_opened() -> None:
    cursor = OpenCursor([{"name": "_id_"}])
    assert Script(cursor).run(list_indexes(COLLECTION, None)) is cursor


def test_index_information() -> None:
    first = {"name": "_id_", "key": {"_id": 1}, "v": 2}
    second = {"name": "a_-1", "key": {"a": -1}, "unique": True}
    assert Script(OpenCursor([first], [second])).run(index_information(COLLECTION, None)) == {
        "_id_": {"key": [("_id", 1)], "v": 2},
        "a_-1": {"key": [("a", -1)], "unique": True},
    }


def test_names_of_created_indexes() -> None:
    script = Script({"ok": 1})
    models = [IndexModel("a"), IndexModel([("b", -1)], unique=True)]
    names = script.run(create_indexes(COLLECTION, options(), models, None, {}))
    assert names == ["a_1", "b_-1"]
    assert script.documents[0]["createIndexes"] == "c"
    with pytest.raises(TypeError, match="IndexModel"):
        Script().run(create_indexes(COLLECTION, options(), ["a"], None, {}))  # type: ignore


def test_databases() -> None:
    databases = [{"name": "a", "sizeOnDisk": 1}, {"name": "b", "sizeOnDisk": 2}]
    script = Script(databases)
    cursor = script.run(list_databases(None, {"filter": {"name": "a"}}))
    assert cursor._take_batch() == databases
    assert script.documents == [{"listDatabases": 1, "filter": {"name": "a"}}]
    script = Script(databases)
    assert script.run(list_database_names("why")) == ["a", "b"]
    assert script.documents == [{"listDatabases": 1, "comment": "why", "nameOnly": True}]


def test_a_plan_that_is_given_up_ends() -> None:
    plan = bulk_write(COLLECTION, options(), REQUESTS, True, None, None, None)
    next(plan)
    plan.close()
    with pytest.raises(StopIteration):
        next(plan)


# -- single operations ---------------------------------------------------------------------------


def test_commands_of_single_operations() -> None:
    inherited = options(w=2)
    made: list[Any] = [
        count_documents(COLLECTION, inherited, {"a": 1}, None, {"skip": 2, "hint": "a_1"}),
        distinct(COLLECTION, inherited, "a", {"b": 1}, None, {}),
        next(drop_collection(DATABASE, inherited, "c", "why", None, False)),
        drop_database(inherited, "d", None),
        drop_index(COLLECTION, inherited, [("a", 1), ("b", -1)], None, {}),
        rename_collection(COLLECTION, inherited, "e", None, {"dropTarget": True}),
        aggregate(COLLECTION, inherited, [{"$match": {}}], {"batchSize": 5}),
        aggregate(DATABASE, inherited, [{"$documents": []}], {}),
        find_and_modify(
            COLLECTION,
            inherited,
            update_change({"$set": {"a": 1}}, None),
            {"b": 1},
            projection=["a"],
            sort=[("a", 1)],
            hint=None,
            let=None,
            comment=None,
            further={},
            upsert=True,
            return_document=True,
        ),
    ]
    assert [dict(each.document) for each in made] == [
        {
            "aggregate": "c",
            "pipeline": [
                {"$match": {"a": 1}},
                {"$skip": 2},
                {"$group": {"_id": 1, "n": {"$sum": 1}}},
            ],
            "cursor": {},
            "hint": "a_1",
        },
        {"distinct": "c", "key": "a", "query": {"b": 1}},
        {"drop": "c", "comment": "why"},
        {"dropDatabase": 1},
        {"dropIndexes": "c", "index": "a_1_b_-1"},
        {"renameCollection": "d.c", "to": "d.e", "dropTarget": True},
        {"aggregate": "c", "pipeline": [{"$match": {}}], "cursor": {"batchSize": 5}},
        {"aggregate": 1, "pipeline": [{"$documents": []}], "cursor": {}},
        {
            "findAndModify": "c",
            "query": {"b": 1},
            "update": {"$set": {"a": 1}},
            "new": True,
            "upsert": True,
            "fields": {"a": 1},
            "sort": {"a": 1},
        },
    ]
    with pytest.raises(InvalidName):
        drop_database(inherited, "a.b", None)
