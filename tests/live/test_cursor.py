"""Cursors on the real server: batches, limits, slices, clones, and cursors that are given up."""

from __future__ import annotations

import contextlib
import copy
import gc
from typing import Any

import pytest

from mongokey import ASCENDING, DESCENDING, CursorType
from mongokey.bson.int64 import Int64
from mongokey.errors import CursorNotFound, InvalidOperation, OperationFailure
from tests.servers.relay import Relay

pytestmark = pytest.mark.live
CURSOR_NOT_FOUND = 43


@pytest.fixture
def numbers(collection: Any) -> Any:
    """A collection of the numbers 0 to 49 in fields `_id` and `n`, with `m` = n % 3."""
    collection.insert_many([{"_id": i, "n": i, "m": i % 3} for i in range(50)])
    return collection


@pytest.fixture
def watched_numbers(watched: Any) -> Any:
    """The same, of a client whose messages pass through `relay`."""
    watched.insert_many([{"_id": i, "n": i} for i in range(50)])
    return watched


def ids(cursor: Any) -> list[Any]:
    return [each["_id"] for each in cursor]


def is_open_on_the_server(collection: Any, cursor_id: int) -> bool:
    """Whether the server still has a cursor; asks for its next batch by its id."""
    reply = collection.database.command(
        "getMore", Int64(cursor_id), collection=collection.name, batchSize=1, check=False
    )
    if reply["ok"]:
        return True
    assert reply["code"] == CURSOR_NOT_FOUND
    return False


# What a find returns


@pytest.mark.parametrize("batch_size", [0, 1, 2, 7, 49, 50, 51, 1000])
@pytest.mark.parametrize("limit", [0, 1, 6, 7, 8, 50, 60])
def test_limit_and_batch_size_in_any_combination(numbers: Any, limit: int, batch_size: int) -> None:
    cursor = numbers.find(sort="n", limit=limit, batch_size=batch_size)
    assert ids(cursor) == list(range(50))[: limit or None]
    assert cursor.cursor_id == 0
    assert not cursor.alive


@pytest.mark.parametrize(
    ("skip", "limit", "expected"),
    [(0, 5, range(5)), (45, 0, range(45, 50)), (45, 10, range(45, 50)), (60, 5, ()), (3, 1, (3,))],
)
def test_skip_and_limit(numbers: Any, skip: int, limit: int, expected: Any) -> None:
    assert ids(numbers.find().sort("n").skip(skip).limit(limit).batch_size(2)) == list(expected)


def test_a_negative_limit_is_one_batch(watched_numbers: Any, relay: Relay) -> None:
    cursor = watched_numbers.find(sort="n").limit(-5)
    assert ids(cursor) == [0, 1, 2, 3, 4]
    (find,) = relay.commands("find")
    assert find.document["limit"] == 5
    assert find.document["singleBatch"] is True
    assert "getMore" not in relay.names()
    assert cursor.cursor_id == 0


def test_the_last_limit_counts(numbers: Any) -> None:
    assert len(list(numbers.find().limit(5).limit(0))) == 50
    assert len(list(numbers.find(limit=-3).limit(5))) == 5


def test_sorts_by_one_key_by_several_and_by_mappings(numbers: Any) -> None:
    assert ids(numbers.find().sort("n", DESCENDING).limit(3)) == [49, 48, 47]
    assert ids(numbers.find(sort={"m": -1, "n": 1}).limit(2)) == [2, 5]
    assert ids(numbers.find(sort=[("m", DESCENDING), ("n", ASCENDING)]).limit(2)) == [2, 5]
    assert ids(numbers.find().sort(["m", ("n", -1)]).limit(2)) == [48, 45]


def test_projections_as_lists_and_mappings(numbers: Any) -> None:
    assert next(numbers.find(projection=["n"]).skip(1)) == {"_id": 1, "n": 1}
    assert next(numbers.find({}, {"_id": False, "m": True}).skip(1)) == {"m": 1}
    assert next(numbers.find({}, []).skip(1)) == {"_id": 1, "n": 1, "m": 1}
    assert next(numbers.find({}, {"n": 0}).skip(1)) == {"_id": 1, "m": 1}


def test_hints_by_name_and_by_keys(numbers: Any) -> None:
    numbers.create_index([("n", 1)])
    assert ids(numbers.find({"n": {"$gt": 47}}).hint("n_1")) == [48, 49]
    assert ids(numbers.find({"n": {"$gt": 47}}).hint([("n", 1)])) == [48, 49]
    assert ids(numbers.find({"n": {"$gt": 47}}, hint={"n": 1})) == [48, 49]
    with pytest.raises(OperationFailure):
        list(numbers.find({"n": 1}).hint("no_such_index"))


MODIFIED = {
    "$query": {"n": {"$lt": 5}},
    "$orderby": {"n": -1},
    "$hint": {"_id": 1},
    "$comment": "old",
    "$maxTimeMS": 5000,
    "$min": {"_id": 1},
    "$max": {"_id": 4},
    "$returnKey": False,
    "$showDiskLoc": False,
    "$explain": True,
    "$readPreference": {"mode": "primary"},
    "allowDiskUse": True,
}


def test_modifiers_of_the_oldest_form_become_options(watched_numbers: Any, relay: Relay) -> None:
    assert ids(watched_numbers.find(MODIFIED)) == [3, 2, 1]
    (find,) = relay.commands("find")
    expected = {
        "filter": {"n": {"$lt": 5}},
        "sort": {"n": -1},
        "hint": {"_id": 1},
        "comment": "old",
        "maxTimeMS": 5000,
        "min": {"_id": 1},
        "max": {"_id": 4},
        "returnKey": False,
        "showRecordId": False,
        "allowDiskUse": True,
    }
    assert {name: find.document.get(name) for name in expected} == expected
    assert not [name for name in find.document if name in MODIFIED and name != "allowDiskUse"]


def test_what_the_cursor_is_told_goes_before_modifiers(watched_numbers: Any, relay: Relay) -> None:
    old = {"$query": {"n": {"$lt": 5}}, "$orderby": {"n": -1}, "$comment": "old"}
    assert ids(watched_numbers.find(old, comment="new", limit=2).sort("n")) == [0, 1]
    (find,) = relay.commands("find")
    assert find.document["comment"] == "new"
    assert watched_numbers.find_one(old)["n"] == 4
    assert relay.commands("find")[-1].document["filter"] == {"n": {"$lt": 5}}
    # The user's own filter stays as it is.
    assert set(old) == {"$query", "$orderby", "$comment"}


def test_a_query_with_modifiers_is_explained(watched_numbers: Any, relay: Relay) -> None:
    watched_numbers.find({"$query": {"n": 1}, "$orderby": {"n": -1}}).explain()
    (explain,) = relay.commands("explain")
    assert explain.document["explain"]["filter"] == {"n": 1}
    assert explain.document["explain"]["sort"] == {"n": -1}
    assert "verbosity" not in explain.document  # left to the server, as PyMongo does


def test_options_are_sent_under_the_server_s_names(watched_numbers: Any, relay: Relay) -> None:
    list(
        watched_numbers.find(
            {"n": 1},
            allow_partial_results=True,
            no_cursor_timeout=True,
            collation={"locale": "simple"},
            comment="why",
            max_time_ms=5000,
            return_key=False,
            show_record_id=False,
            allow_disk_use=True,
            let={"x": 1},
        )
    )
    (find,) = relay.commands("find")
    expected = {
        "filter": {"n": 1},
        "allowPartialResults": True,
        "noCursorTimeout": True,
        "collation": {"locale": "simple"},
        "comment": "why",
        "maxTimeMS": 5000,
        "returnKey": False,
        "showRecordId": False,
        "allowDiskUse": True,
        "let": {"x": 1},
    }
    assert {name: find.document[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda c: c.limit("5"), TypeError),
        (lambda c: c.skip("5"), TypeError),
        (lambda c: c.skip(-1), ValueError),
        (lambda c: c.batch_size("5"), TypeError),
        (lambda c: c.batch_size(-1), ValueError),
        (lambda c: c.sort([]), ValueError),
        (lambda c: c.sort(5), TypeError),
        (lambda c: c.max_time_ms("5"), TypeError),
        (lambda c: c.allow_disk_use(1), TypeError),
        (lambda c: c["a"], TypeError),
        (lambda c: c[-1], IndexError),
        (lambda c: c[-1:], IndexError),
        (lambda c: c[1:0], IndexError),
        (lambda c: c[0:4:2], IndexError),
        (lambda c: c.to_list(0), ValueError),
    ],
)
def test_wrong_options_are_refused(numbers: Any, call: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        call(numbers.find())


def test_options_cannot_change_once_the_query_ran(numbers: Any) -> None:
    cursor = numbers.find(batch_size=2)
    next(cursor)
    for change in (
        lambda: cursor.limit(1),
        lambda: cursor.skip(1),
        lambda: cursor.sort("n"),
        lambda: cursor.batch_size(5),
        lambda: cursor.hint("_id_"),
        lambda: cursor.max_time_ms(5),
        lambda: cursor[2],
        lambda: cursor[2:3],
    ):
        with pytest.raises(InvalidOperation, match="after executing query"):
            change()
    cursor.close()


# Batches


def test_batches_are_asked_for_by_their_size(watched_numbers: Any, relay: Relay) -> None:
    assert len(list(watched_numbers.find(batch_size=20))) == 50
    (find,) = relay.commands("find")
    assert find.document["batchSize"] == 20
    more = relay.commands("getMore")
    assert [each.document["batchSize"] for each in more] == [20, 20]
    assert {each.document["collection"] for each in more} == {"things"}
    # driver-sessions: a cursor's commands share one session.
    assert len({bytes(each.document["lsid"]["id"]) for each in (find, *more)}) == 1


def test_the_last_batch_of_a_limit_is_cut(watched_numbers: Any, relay: Relay) -> None:
    assert len(list(watched_numbers.find(batch_size=20, limit=30))) == 30
    assert [each.document["batchSize"] for each in relay.commands("getMore")] == [10]


def test_the_server_chooses_the_batch_size_if_nobody_else_does(
    watched_numbers: Any, relay: Relay
) -> None:
    watched_numbers.insert_many([{"_id": i} for i in range(50, 300)])
    assert len(list(watched_numbers.find())) == 300
    (find,) = relay.commands("find")
    assert "batchSize" not in find.document
    assert all("batchSize" not in each.document for each in relay.commands("getMore"))


def test_comments_go_with_get_more(watched_numbers: Any, relay: Relay) -> None:
    list(watched_numbers.find(batch_size=40, comment="mine"))
    list(watched_numbers.aggregate([], batchSize=40, comment="theirs"))
    assert [each.document["comment"] for each in relay.commands("getMore")] == ["mine", "theirs"]


def test_large_documents_come_in_several_batches(collection: Any) -> None:
    collection.insert_many([{"_id": i, "text": "x" * 3_000_000} for i in range(8)])
    cursor = collection.find().sort("_id")
    assert ids(cursor) == list(range(8))


def test_next_and_alive_tell_the_end(numbers: Any) -> None:
    cursor = numbers.find(limit=3, batch_size=2)
    assert cursor.alive
    assert cursor.cursor_id is None
    assert cursor.address is None
    assert [cursor.next()["_id"] for _ in range(3)] == [0, 1, 2]
    assert cursor.address == numbers.database.client.address
    for _ in range(2):
        with pytest.raises(StopIteration):
            cursor.next()
    assert not cursor.alive
    assert iter(cursor) is cursor
    assert cursor.collection == numbers
    assert cursor.session is None


def test_to_list_takes_all_or_as_many_as_asked(numbers: Any) -> None:
    assert len(numbers.find(batch_size=7).to_list()) == 50
    cursor = numbers.find(sort="n", batch_size=7)
    assert ids(cursor.to_list(10)) == list(range(10))
    assert next(cursor)["_id"] == 10
    assert ids(cursor.to_list(1)) == [11]
    assert ids(cursor.to_list()) == list(range(12, 50))
    assert cursor.to_list() == cursor.to_list(5) == []
    assert len(numbers.aggregate([]).to_list()) == 50


# Slices, clones, rewinding


def test_slices_set_skip_and_limit(numbers: Any) -> None:
    def cursor() -> Any:
        return numbers.find().sort("n").batch_size(2)

    assert ids(cursor()[10:15]) == [10, 11, 12, 13, 14]
    assert ids(cursor()[:3]) == [0, 1, 2]
    assert ids(cursor()[47:]) == [47, 48, 49]
    assert ids(cursor()[48:60]) == [48, 49]
    assert len(ids(cursor()[:])) == 50


def test_a_slice_replaces_an_earlier_skip_and_limit(numbers: Any) -> None:
    cursor = numbers.find().sort("n").skip(20).limit(5)
    assert ids(cursor.clone()[1:3]) == [1, 2]
    assert ids(cursor.clone()[40:]) == list(range(40, 50))
    assert ids(cursor.clone()[2:9][0:1]) == [0]


def test_an_empty_slice_has_no_documents_and_asks_for_none(
    watched_numbers: Any, relay: Relay
) -> None:
    cursor = watched_numbers.find()[5:5]
    assert list(cursor) == []
    assert list(cursor.clone()) == []
    assert list(cursor.rewind()) == []
    assert cursor.to_list() == []
    assert "find" not in relay.names()
    assert ids(cursor.rewind()[0:2]) == [0, 1]
    assert ids(watched_numbers.find()[5:5].limit(2)) == [5, 6]


def test_an_index_fetches_that_document_alone(watched_numbers: Any, relay: Relay) -> None:
    cursor = watched_numbers.find().sort("n").skip(10).limit(2)
    assert cursor[0]["_id"] == 10
    assert cursor[30]["_id"] == 40
    with pytest.raises(IndexError):
        cursor[40]
    assert [each.document["limit"] for each in relay.commands("find")] == [1, 1, 1]
    assert ids(cursor) == [10, 11]


def test_a_clone_starts_anew_with_the_same_query(numbers: Any) -> None:
    cursor = numbers.find({"m": 0}, {"n": 1}, sort="n", skip=1, limit=5, batch_size=2)
    cursor.comment("x").max_time_ms(5000)
    next(cursor)
    clone = cursor.clone()
    assert ids(clone) == [3, 6, 9, 12, 15]
    assert ids(cursor) == [6, 9, 12, 15]
    assert ids(copy.copy(cursor)) == ids(copy.deepcopy(cursor)) == [3, 6, 9, 12, 15]


def test_a_deep_copy_has_its_own_filter(numbers: Any) -> None:
    query = {"n": {"$lt": 3}}
    copied = copy.deepcopy(numbers.find(query))
    query["n"]["$lt"] = 1
    assert ids(copied) == [0, 1, 2]


def test_rewind_runs_the_query_again(numbers: Any) -> None:
    cursor = numbers.find(sort="n", batch_size=3, limit=7)
    assert next(cursor)["_id"] == 0
    assert cursor.rewind() is cursor
    assert ids(cursor) == list(range(7))
    assert ids(cursor.rewind()) == list(range(7))
    cursor.close()
    assert ids(cursor.rewind().limit(2)) == [0, 1]


def test_where_matches_with_javascript_text(watched_numbers: Any, relay: Relay) -> None:
    cursor = watched_numbers.find({"n": {"$gt": 1}}).where("this.n < 3")
    with contextlib.suppress(OperationFailure):  # not every server runs JavaScript
        list(cursor)
    (find,) = relay.commands("find")
    assert str(find.document["filter"]["$where"]) == "this.n < 3"


def test_explain_gives_a_plan(numbers: Any) -> None:
    assert "queryPlanner" in numbers.find({"n": 1}).sort("n").limit(3).explain()


# The server's cursor


def test_close_kills_the_cursor_on_the_server(numbers: Any) -> None:
    cursor = numbers.find(batch_size=2)
    next(cursor)
    cursor_id = cursor.cursor_id
    assert is_open_on_the_server(numbers, cursor_id)
    cursor.close()
    cursor.close()
    assert not is_open_on_the_server(numbers, cursor_id)
    assert cursor.alive  # as in PyMongo, for what is at hand
    assert len(list(cursor)) == 1
    assert not cursor.alive
    assert cursor.to_list() == []
    assert list(cursor) == []


def test_leaving_a_with_block_kills_the_cursor(numbers: Any) -> None:
    with numbers.aggregate([], batchSize=2) as cursor:
        next(cursor)
        cursor_id = cursor.cursor_id
        assert is_open_on_the_server(numbers, cursor_id)
    assert not is_open_on_the_server(numbers, cursor_id)


def test_rewind_kills_the_cursor(numbers: Any) -> None:
    cursor = numbers.find(batch_size=2)
    next(cursor)
    cursor_id = cursor.cursor_id
    cursor.rewind()
    assert not is_open_on_the_server(numbers, cursor_id)


def test_a_limit_that_is_reached_leaves_no_cursor(watched_numbers: Any, relay: Relay) -> None:
    assert len(list(watched_numbers.find(limit=10, batch_size=5))) == 10
    # The server closed it with the last batch: nobody has to.
    assert "killCursors" not in relay.names()


def test_an_exhausted_cursor_is_not_killed(watched_numbers: Any, relay: Relay) -> None:
    cursor = watched_numbers.find(batch_size=20)
    list(cursor)
    cursor.close()
    assert "killCursors" not in relay.names()


def test_an_abandoned_cursor_is_killed_soon(watched_numbers: Any, relay: Relay) -> None:
    cursor = watched_numbers.find(batch_size=2)
    next(cursor)
    cursor_id = cursor.cursor_id
    (find,) = relay.commands("find")
    del cursor
    gc.collect()
    # No further call is needed for it.
    assert relay.wait_for(lambda: "killCursors" in relay.names())
    (kill,) = relay.commands("killCursors")
    assert kill.document["killCursors"] == "things"
    assert kill.document["cursors"] == [cursor_id]
    # driver-sessions: killCursors goes in the cursor's session.
    assert kill.document["lsid"] == find.document["lsid"]
    assert relay.wait_for(lambda: not is_open_on_the_server(watched_numbers, cursor_id))


def test_many_abandoned_cursors_are_killed_each_once(watched_numbers: Any, relay: Relay) -> None:
    cursors = [watched_numbers.find(batch_size=2) for _ in range(300)]
    for cursor in cursors:
        next(cursor)
    left = {cursor.cursor_id for cursor in cursors}
    del cursors, cursor
    gc.collect()
    assert relay.wait_for(lambda: len(relay.commands("killCursors")) >= len(left), 20)
    killed = [i for each in relay.commands("killCursors") for i in each.document["cursors"]]
    assert set(killed) == left
    assert len(killed) == len(left)


def test_the_session_of_a_closed_cursor_is_used_again(watched_numbers: Any, relay: Relay) -> None:
    for _ in range(5):
        cursor = watched_numbers.find(batch_size=2)
        next(cursor)
        cursor.close()
        list(watched_numbers.find(batch_size=20))
    used = {
        bytes(each.document["lsid"]["id"])
        for name in ("find", "getMore", "killCursors")
        for each in relay.commands(name)
    }
    assert len(used) == 1


def test_two_open_cursors_have_two_sessions(watched_numbers: Any, relay: Relay) -> None:
    one, two = watched_numbers.find(batch_size=2), watched_numbers.find(batch_size=2)
    for _ in range(10):
        next(one)
        next(two)
    sessions = {bytes(each.document["lsid"]["id"]) for each in relay.commands("getMore")}
    assert len(sessions) == 2
    one.close()
    two.close()


def test_a_cursor_killed_by_somebody_else_is_not_found(numbers: Any) -> None:
    cursor = numbers.find(batch_size=2)
    next(cursor)
    numbers.database.command("killCursors", numbers.name, cursors=[Int64(cursor.cursor_id)])
    with pytest.raises(CursorNotFound) as caught:
        list(cursor)
    assert caught.value.code == CURSOR_NOT_FOUND
    assert not cursor.alive
    assert list(cursor) == []


def test_an_error_at_the_start_leaves_a_cursor_that_is_over(numbers: Any) -> None:
    cursor = numbers.find({"$nonsense": 1})
    with pytest.raises(OperationFailure):
        next(cursor)
    assert not cursor.alive
    assert list(cursor) == []


def test_tailable_cursors_see_what_comes_later(database: Any) -> None:
    log = database.create_collection("log", capped=True, size=100_000)
    log.insert_many([{"_id": 0}, {"_id": 1}])
    cursor = log.find(cursor_type=CursorType.TAILABLE, batch_size=1)
    assert ids(cursor) == [0, 1]
    assert cursor.alive
    log.insert_one({"_id": 2})
    assert ids(cursor) == [2]
    cursor.close()
    assert not cursor.alive


def test_a_tailable_cursor_whose_place_was_overwritten_is_over(database: Any) -> None:
    log = database.create_collection("log", capped=True, size=1000, max=3)
    log.insert_one({"_id": 0})
    cursor = log.find(cursor_type=CursorType.TAILABLE)
    assert ids(cursor) == [0]
    log.insert_many([{"_id": i} for i in range(1, 5)])
    assert ids(cursor) == []
    assert not cursor.alive


def test_to_list_of_a_stream_that_goes_on_gives_what_is_there(numbers: Any) -> None:
    with numbers.aggregate([{"$changeStream": {}}], maxAwaitTimeMS=1) as cursor:
        assert cursor.to_list() == []
        numbers.insert_one({"_id": "new"})
        found = cursor.to_list()
        assert [each["documentKey"]["_id"] for each in found] in ([], ["new"])
        assert cursor.alive


def test_a_batch_size_of_one_is_asked_for(watched: Any, relay: Relay) -> None:
    watched.insert_many([{"_id": i} for i in range(3)])
    assert ids(watched.find(batch_size=1)) == [0, 1, 2]
    assert ids(watched.find().batch_size(1)) == [0, 1, 2]
    for name in ("find", "getMore"):
        assert {each.document["batchSize"] for each in relay.commands(name)} == {1}


def test_command_cursors_can_look_once_more(numbers: Any) -> None:
    cursor = numbers.aggregate([{"$sort": {"n": 1}}], batchSize=2)
    assert [cursor.try_next()["_id"] for _ in range(50)] == list(range(50))
    assert cursor.try_next() is None
    assert not cursor.alive
    cursor = numbers.aggregate([{"$sort": {"n": 1}}]).batch_size(3)
    assert ids(cursor) == list(range(50))


def test_what_a_cursor_has_at_hand_outlives_its_close(numbers: Any) -> None:
    cursor = numbers.find(sort="n", batch_size=5)
    assert next(cursor)["_id"] == 0
    cursor.close()
    assert ids(cursor.to_list(2)) == [1, 2]
    assert next(cursor)["_id"] == 3
    assert cursor.alive
    assert ids(cursor) == [4]
    assert not cursor.alive
    cursor.rewind()
    assert ids(cursor) == list(range(50))
    with numbers.find(sort="n", batch_size=5) as left:
        assert next(left)["_id"] == 0
    assert ids(left) == [1, 2, 3, 4]
