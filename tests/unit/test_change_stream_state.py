"""Where a change stream goes on: the change-streams specification's rules, without a socket."""

from __future__ import annotations

from typing import Any

import pytest

from mongokey.auth.errors import AuthenticationFailed
from mongokey.bson import encode
from mongokey.bson.raw_bson import RawBSONDocument
from mongokey.bson.timestamp import Timestamp
from mongokey.commands import change_stream_state
from mongokey.commands.change_stream_state import ChangeStreamState, is_resumable
from mongokey.errors import (
    AutoReconnect,
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    CursorNotFound,
    ExecutionTimeout,
    InvalidOperation,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PoolClearedError,
    ProtocolError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
)

GIVEN = {"_data": "given"}
OTHER = {"_data": "other"}
TIME = Timestamp(7, 1)
LABELS = {"errorLabels": ["ResumableChangeStreamError"]}
#: The table of the specification, "Resumable Error".
CODES = {
    "HostUnreachable": 6,
    "HostNotFound": 7,
    "NetworkTimeout": 89,
    "ShutdownInProgress": 91,
    "PrimarySteppedDown": 189,
    "ExceededTimeLimit": 262,
    "SocketException": 9001,
    "NotWritablePrimary": 10107,
    "InterruptedAtShutdown": 11600,
    "InterruptedDueToReplStateChange": 11602,
    "NotPrimaryNoSecondaryOk": 13435,
    "NotPrimaryOrSecondary": 13436,
    "StaleShardVersion": 63,
    "StaleEpoch": 150,
    "StaleConfig": 13388,
    "RetryChangeStream": 234,
    "FailedToSatisfyReadPreference": 133,
}


def token(name: str) -> bytes:
    return encode({"_data": name})


def start(state: ChangeStreamState) -> dict[str, Any]:
    """What the next `$changeStream` stage holds, with raw tokens decoded."""
    stage = state.stage()
    assert list(stage) == ["$changeStream"]
    return {
        name: dict(value) if isinstance(value, RawBSONDocument) else value
        for name, value in stage["$changeStream"].items()
    }


def opened(
    empty: bool = True, post_batch: str | None = None, time: Timestamp | None = TIME, **given: Any
) -> ChangeStreamState:
    """A stream whose first aggregation has succeeded."""
    state = ChangeStreamState({}, **given)
    state.opened(empty, None if post_batch is None else token(post_batch), time)
    return state


# Which errors


@pytest.mark.parametrize("code", CODES.values(), ids=CODES)
def test_servers_before_4_4_are_known_by_their_codes(code: int) -> None:
    assert is_resumable(OperationFailure("", code, {}, 8))
    assert not is_resumable(OperationFailure("", code, {}, 9))
    assert is_resumable(OperationFailure("", code, LABELS, 9))


def test_the_table_has_no_other_codes() -> None:
    assert set(CODES.values()) == change_stream_state.RESUMABLE_CODES


@pytest.mark.parametrize("code", [1, 50, 136, 222, 237, 280, 286, 11601])
def test_other_codes_are_not_resumable_but_by_their_label(code: int) -> None:
    assert not is_resumable(OperationFailure("", code, {}, 8))
    assert not is_resumable(OperationFailure("", code, {}, 25))
    # The label is a matter of servers from 4.4 on.
    assert not is_resumable(OperationFailure("", code, LABELS, 8))
    assert is_resumable(OperationFailure("", code, LABELS, 9))


@pytest.mark.parametrize("version", [None, 6, 8, 9, 25])
def test_a_cursor_that_is_not_there_is_opened_anew(version: int | None) -> None:
    assert is_resumable(CursorNotFound("", 43, {}, version))


def test_a_state_change_is_an_answer_of_the_server() -> None:
    def answer(version: int | None, **more: Any) -> NotPrimaryError:
        error = NotPrimaryError("not primary", {"ok": 0, "code": 10107, **more})
        error._max_wire_version = version
        return error

    assert is_resumable(answer(8))
    assert not is_resumable(answer(9))
    assert is_resumable(answer(9, **LABELS))
    assert is_resumable(answer(None)), "it came while a connection was set up"
    assert not is_resumable(answer(8, code=10058)), "not in the table"
    assert not is_resumable(answer(8, code=None))


@pytest.mark.parametrize(
    "kind",
    [
        AutoReconnect,
        ConnectionFailure,
        NetworkTimeout,
        PoolClearedError,
        ServerSelectionTimeoutError,
        WaitQueueTimeoutError,
    ],
)
def test_what_no_server_has_said_is_resumable(kind: type[Exception]) -> None:
    assert is_resumable(kind("lost"))


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationFailed("no", 18, LABELS),
        BulkWriteError({}),
        ConfigurationError("x"),
        ExecutionTimeout("x", 50, {}, 25),
        InvalidOperation("x"),
        OperationFailure("no version", 6, {}),
        ProtocolError("x"),
        TypeError("x"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_all_else_is_not(error: BaseException) -> None:
    assert not is_resumable(error)


# The first aggregation


def test_it_has_what_was_given() -> None:
    state = ChangeStreamState({"fullDocument": "updateLookup"}, resume_after=GIVEN)
    assert start(state) == {"fullDocument": "updateLookup", "resumeAfter": GIVEN}
    assert state.token == GIVEN


def test_which_starting_points_go_together_is_the_servers_to_say() -> None:
    state = ChangeStreamState(
        {}, resume_after=GIVEN, start_after=OTHER, start_at_operation_time=TIME
    )
    assert start(state) == {
        "resumeAfter": GIVEN,
        "startAfter": OTHER,
        "startAtOperationTime": TIME,
    }
    assert state.token == OTHER


def test_an_empty_token_is_the_servers_to_refuse() -> None:
    assert start(ChangeStreamState({}, resume_after={})) == {"resumeAfter": {}}


def test_what_the_user_has_is_not_what_the_stream_has() -> None:
    given = {"_data": ["a"]}
    state = ChangeStreamState({}, resume_after=given)
    given["_data"].append("b")
    state.token["_data"].append("c")
    assert start(state) == {"resumeAfter": {"_data": ["a"]}}
    state.opened(True, None, None)
    assert state.token == {"_data": ["a"]}


# From where it goes on


def test_without_a_token_it_goes_on_at_the_time_of_the_first_answer() -> None:
    state = opened()
    assert state.token is None
    assert start(state) == {"startAtOperationTime": TIME}


def test_the_time_of_a_later_answer_does_not_replace_it() -> None:
    state = opened()
    state.opened(True, None, Timestamp(99, 1))
    assert start(state) == {"startAtOperationTime": TIME}


def test_the_time_is_not_kept_where_the_first_batch_has_events() -> None:
    assert start(opened(empty=False)) == {}


def test_the_time_is_not_kept_beside_a_token() -> None:
    assert start(opened(post_batch="p")) == {"resumeAfter": {"_data": "p"}}
    assert start(opened(resume_after=GIVEN)) == {"resumeAfter": GIVEN}
    assert start(opened(start_after=GIVEN)) == {"startAfter": GIVEN}
    own = Timestamp(3, 0)
    assert start(opened(start_at_operation_time=own)) == {"startAtOperationTime": own}


def test_an_answer_without_a_place_is_refused() -> None:
    with pytest.raises(OperationFailure, match="neither postBatchResumeToken nor operationTime"):
        opened(time=None)
    # Each of these is a place.
    opened(time=None, post_batch="p")
    opened(time=None, resume_after=GIVEN)
    opened(time=None, start_at_operation_time=TIME)
    opened(time=None, empty=False)


def test_a_token_replaces_the_time_that_was_given() -> None:
    state = opened(start_at_operation_time=TIME)
    state.received(True, token("p"))
    assert start(state) == {"resumeAfter": {"_data": "p"}}


@pytest.mark.parametrize("option", ["resume_after", "start_after"])
def test_the_token_that_was_given_stays_until_there_is_another(option: str) -> None:
    state = opened(empty=False, post_batch="p", **{option: GIVEN})
    assert state.token == GIVEN
    assert list(start(state).values()) == [GIVEN]


def test_start_after_stays_so_until_an_event_was_handed_out() -> None:
    state = opened(start_after=GIVEN, post_batch="p")
    assert start(state) == {"startAfter": {"_data": "p"}}
    state.received(True, token("q"))
    assert start(state) == {"startAfter": {"_data": "q"}}
    state.received(False, token("r"))
    state.returned(token("one"), last=False)
    assert start(state) == {"resumeAfter": {"_data": "one"}}
    state.received(True, token("s"))
    assert start(state) == {"resumeAfter": {"_data": "s"}}


def test_two_starting_points_are_one_when_it_goes_on() -> None:
    # A server that took both: what is resumed has one.
    state = opened(start_after=GIVEN, resume_after=OTHER, start_at_operation_time=TIME)
    assert start(state) == {"startAfter": GIVEN}


# The cached token


def test_an_event_in_the_middle_of_a_batch_has_its_own_token() -> None:
    state = opened(post_batch="p")
    state.received(False, token("q"))
    assert state.token == token("p"), "no event was handed out yet"
    state.returned(token("one"), last=False)
    assert state.token == token("one")
    state.returned(token("two"), last=True)
    assert state.token == token("q")


def test_without_a_token_of_the_batch_the_last_event_has_its_own() -> None:
    state = opened()
    state.received(False, None)
    state.returned(token("one"), last=True)
    assert state.token == token("one")
    state.received(True, None)
    assert state.token == token("one")


def test_the_token_of_a_batch_is_not_the_next_ones() -> None:
    state = opened(post_batch="p")
    state.received(False, token("q"))
    state.received(False, None)
    state.returned(token("one"), last=True)
    assert state.token == token("one")


def test_the_first_batch_counts_as_any() -> None:
    state = opened(empty=False, post_batch="p")
    assert state.token is None
    state.returned(token("one"), last=True)
    assert state.token == token("p")


def test_tokens_go_back_in_their_own_bytes() -> None:
    # Not what decoding and encoding would make of it: the key twice.
    odd = bytes.fromhex("13000000") + b"\x10a\0\1\0\0\0" + b"\x10a\0\2\0\0\0" + b"\0"
    state = opened(empty=False)
    state.returned(odd, last=True)
    assert state.stage()["$changeStream"]["resumeAfter"].raw == odd


# Pauses


def test_the_first_time_it_is_resumed_at_once() -> None:
    state = opened()
    assert state.pause_ns(0.0) == 0
    state.lost()
    assert state.pause_ns(0.0) == 0


def test_a_server_that_fails_each_time_is_asked_more_seldom() -> None:
    state = opened()
    pauses = []
    for _ in range(10_000):
        state.lost()
        pauses.append(state.pause_ns(0.0))
    assert [each // 10**6 for each in pauses[:7]] == [0, 100, 200, 400, 800, 1600, 2000]
    assert set(pauses[7:]) == {change_stream_state.LONGEST_PAUSE_NS}
    assert state.pause_ns(1.0) == change_stream_state.LONGEST_PAUSE_NS // 2


def test_a_getmore_that_succeeds_ends_the_pauses() -> None:
    state = opened()
    for _ in range(5):
        state.lost()
        state.opened(True, token("p"), None)
    assert state.pause_ns(0.0) > 0, "an aggregation alone is no success"
    state.received(True, token("q"))
    state.lost()
    assert state.pause_ns(0.0) == 0
