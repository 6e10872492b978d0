"""Batches as they are, in BSON: `find_raw_batches` and `aggregate_raw_batches`."""

from __future__ import annotations

from typing import Any

import bson
import pytest

from mongokey.aio.cursor import AsyncRawBatchCommandCursor, AsyncRawBatchCursor
from mongokey.bson.codec_options import CodecOptions
from mongokey.cursor import CursorType, RawBatchCommandCursor, RawBatchCursor
from mongokey.errors import InvalidOperation, OperationFailure

pytestmark = pytest.mark.live

DOCUMENTS = [{"_id": n, "text": f"text {n}", "list": [n, {"n": n}]} for n in range(25)]


@pytest.fixture
def filled(collection: Any) -> Any:
    collection.insert_many(DOCUMENTS)
    return collection


def decoded(batches: list[bytes]) -> list[list[dict[str, Any]]]:
    """By another codec than ours."""
    assert all(type(batch) is bytes for batch in batches)
    return [bson.decode_all(batch) for batch in batches]


def together(batches: list[bytes]) -> list[dict[str, Any]]:
    return [document for batch in decoded(batches) for document in batch]


def test_each_batch_is_one_piece(filled: Any) -> None:
    cursor = filled.find_raw_batches({}, batch_size=10).sort("_id", 1)
    batches = cursor.to_list()
    assert [len(each) for each in decoded(batches)] == [10, 10, 5]
    assert together(batches) == DOCUMENTS
    assert batches == [
        b"".join(bson.encode(each) for each in DOCUMENTS[at : at + 10]) for at in (0, 10, 20)
    ]


def test_they_are_iterated_one_by_one(filled: Any) -> None:
    cursor = filled.find_raw_batches(batch_size=10).sort("_id", 1)
    assert bson.decode_all(cursor.next()) == DOCUMENTS[:10]
    assert cursor.alive
    rest = [bson.decode_all(batch) for batch in cursor]
    assert rest == [DOCUMENTS[10:20], DOCUMENTS[20:]]
    assert not cursor.alive
    with pytest.raises(StopIteration):
        cursor.next()


def test_limit_skip_and_projection(filled: Any) -> None:
    batches = filled.find_raw_batches(
        {"_id": {"$gte": 3}}, {"_id": 1}, skip=2, limit=9, batch_size=4, sort=[("_id", 1)]
    ).to_list()
    assert [len(each) for each in decoded(batches)] == [4, 4, 1]
    assert together(batches) == [{"_id": n} for n in range(5, 14)]
    single = filled.find_raw_batches(limit=-7, batch_size=3).to_list()
    assert len(together(single)) <= 7


def test_nothing_is_no_batch(filled: Any) -> None:
    cursor = filled.find_raw_batches({"_id": "absent"})
    assert cursor.to_list() == []
    assert filled.aggregate_raw_batches([{"$match": {"_id": "absent"}}]).to_list() == []


def test_it_counts_documents_and_not_batches(filled: Any) -> None:
    cursor = filled.find_raw_batches(batch_size=10)
    cursor.next()
    assert cursor.retrieved == 10
    cursor.to_list()
    assert cursor.retrieved == 25


def test_a_clone_and_a_rewound_one_are_raw_too(filled: Any) -> None:
    cursor = filled.find_raw_batches(batch_size=20).sort("_id", 1)
    assert bson.decode_all(cursor.next()) == DOCUMENTS[:20]
    cursor.rewind()
    assert together(cursor.to_list()) == DOCUMENTS
    assert together(cursor.clone().to_list()) == DOCUMENTS


def test_a_length_is_one_of_batches(filled: Any) -> None:
    cursor = filled.find_raw_batches(batch_size=10).sort("_id", 1)
    assert decoded(cursor.to_list(2)) == [DOCUMENTS[:10], DOCUMENTS[10:20]]
    assert decoded(cursor.to_list(2)) == [DOCUMENTS[20:]]


def test_they_have_no_positions(filled: Any) -> None:
    for cursor in (filled.find_raw_batches(), filled.aggregate_raw_batches([])):
        with pytest.raises(InvalidOperation, match="Cannot call __getitem__ on"):
            cursor[0]
        with pytest.raises(InvalidOperation, match="Cannot call __getitem__ on"):
            cursor[1:2]


def test_errors_are_the_servers(filled: Any) -> None:
    with pytest.raises(OperationFailure):
        filled.find_raw_batches({"$bad": 1}).next()
    with pytest.raises(OperationFailure):
        filled.aggregate_raw_batches([{"$bad": 1}])


def test_an_aggregation(filled: Any) -> None:
    pipeline = [{"$sort": {"_id": 1}}, {"$project": {"twice": {"$multiply": [2, "$_id"]}}}]
    cursor = filled.aggregate_raw_batches(pipeline, batchSize=10, comment="raw")
    batches = cursor.to_list()
    assert [len(each) for each in decoded(batches)] == [10, 10, 5]
    assert together(batches) == [{"_id": n, "twice": 2 * n} for n in range(25)]
    assert cursor.retrieved == 25


def test_codec_options_are_for_what_is_sent_alone(filled: Any) -> None:
    class Odd(dict):
        pass

    other = filled.with_options(CodecOptions(document_class=Odd))
    assert together(other.find_raw_batches().sort("_id", 1).to_list()) == DOCUMENTS


def test_explain_gives_a_plan(filled: Any) -> None:
    explained = filled.find_raw_batches({"_id": 3}).explain()
    assert isinstance(explained, dict)
    assert explained["ok"] == 1


def test_exhaust_goes_along(filled: Any) -> None:
    cursor = filled.find_raw_batches(cursor_type=CursorType.EXHAUST, batch_size=10).sort("_id", 1)
    assert together(cursor.to_list()) == DOCUMENTS


def test_what_is_left_of_them_is_closed(filled: Any) -> None:
    with filled.find_raw_batches(batch_size=2) as cursor:
        cursor.next()
    assert not cursor.alive
    with filled.aggregate_raw_batches([], batchSize=2) as cursor:
        cursor.next()
    assert not cursor.alive


def test_the_classes_are_where_pymongo_has_them() -> None:
    from mongokey import command_cursor, cursor
    from mongokey.asynchronous import command_cursor as async_command_cursor
    from mongokey.asynchronous import cursor as async_cursor

    assert cursor.RawBatchCursor is RawBatchCursor
    assert command_cursor.RawBatchCommandCursor is RawBatchCommandCursor
    assert async_cursor.AsyncRawBatchCursor is AsyncRawBatchCursor
    assert async_command_cursor.AsyncRawBatchCommandCursor is AsyncRawBatchCommandCursor
