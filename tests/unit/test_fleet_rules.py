"""The fleet's own logic, without sockets: what makes a test against it mean something."""

from __future__ import annotations

import struct
from typing import Any

import bson
import pytest

from tests.servers import fail_points
from tests.servers.fleet import retries, rules, wire
from tests.servers.fleet.topology import MemberConfig, ReplicaSet


def message(document: dict[str, Any], *sections: bytes, flags: int = 0) -> bytes:
    body = struct.pack("<IB", flags, 0) + bson.encode(document) + b"".join(sections)
    return struct.pack("<iiii", 16 + len(body), 7, 0, 2013) + body


def sequence(name: bytes, *documents: dict[str, Any]) -> bytes:
    content = name + b"\0" + b"".join(map(bson.encode, documents))
    return b"\1" + struct.pack("<i", 4 + len(content)) + content


# Messages


def test_messages_are_taken_whole() -> None:
    one, other = message({"ping": 1}), message({"find": "x"})
    buffer = bytearray()
    taken = []
    for byte in one + other:
        buffer.append(byte)
        if (found := wire.take_message(buffer)) is not None:
            taken.append(found)
    assert taken == [one, other]


@pytest.mark.parametrize("length", [-1, 0, 15, wire.MAX_SIZE + 1])
def test_a_length_that_cannot_be_is_refused(length: int) -> None:
    with pytest.raises(wire.Malformed):
        wire.take_message(bytearray(struct.pack("<i", length) + bytes(12)))


def test_a_body_is_found_behind_a_sequence() -> None:
    documents = sequence(b"documents", {"_id": 1}, {"_id": 2})
    body = bson.encode({"insert": "x", "$db": "a"})
    content = struct.pack("<I", 0) + documents + b"\0" + body
    raw = struct.pack("<iiii", 16 + len(content), 7, 0, 2013) + content
    assert wire.read_request(raw, 1).document == {"insert": "x", "$db": "a"}


@pytest.mark.parametrize("cut", [17, 20, 21, 24, 30])
def test_a_message_that_is_cut_is_malformed(cut: int) -> None:
    with pytest.raises(wire.Malformed):
        wire.read_request(message({"ping": 1, "$db": "admin"})[:cut], 1)


def test_a_transaction_number_is_taken_out() -> None:
    command = {"insert": "x", "lsid": {"id": 1}, "txnNumber": bson.Int64(5), "$db": "a"}
    documents = sequence(b"documents", {"_id": 1})
    shorter = wire.without_txn_number(message(command, documents))
    del command["txnNumber"]
    assert shorter == message(command, documents)


@pytest.mark.parametrize(
    "raw",
    [
        message({"insert": "x", "$db": "a"}),
        # Which of the two is the command's is not beyond doubt.
        message({"insert": "x", "txnNumber": bson.Int64(5), "a": {"txnNumber": bson.Int64(6)}}),
        message({"insert": "x"}, sequence(b"documents", {"txnNumber": bson.Int64(6)})),
        message({"insert": "x", "txnNumber": bson.Int64(5)}, flags=1),
    ],
)
def test_a_transaction_number_in_doubt_is_left(raw: bytes) -> None:
    assert wire.without_txn_number(raw) == raw


def test_a_reply_that_was_kept_answers_another_request() -> None:
    raw = message({"ok": 1})
    again = wire.answering(raw, 99)
    assert struct.unpack_from("<iii", again) == (len(raw), 7, 99)
    assert again[12:] == raw[12:]


# Refusals


@pytest.mark.parametrize(
    ("role", "command", "code"),
    [
        ("primary", {"insert": "x", "txnNumber": 1}, None),
        ("mongos", {"find": "x"}, None),
        ("secondary", {"find": "x"}, 13435),
        ("secondary", {"find": "x", "$readPreference": {"mode": "primary"}}, 13435),
        ("secondary", {"find": "x", "$readPreference": {"mode": "nearest"}}, None),
        ("secondary", {"getMore": 1}, None),
        ("secondary", {"hello": 1}, None),
        ("secondary", {"dropDatabase": 1, "$readPreference": {"mode": "nearest"}}, 10107),
        ("secondary", {"find": "x", "autocommit": False}, 10107),
        ("hidden", {"find": "x", "$readPreference": {"mode": "secondary"}}, None),
        ("arbiter", {"find": "x", "$readPreference": {"mode": "secondary"}}, 13436),
        ("ghost", {"insert": "x"}, 10107),
        ("standalone", {"insert": "x"}, None),
        ("standalone", {"insert": "x", "txnNumber": 1}, 20),
    ],
)
def test_refusals(role: str, command: dict[str, Any], code: int | None) -> None:
    refusal = rules.refusal(role, next(iter(command)), command)
    assert (refusal and refusal.code) == code


@pytest.mark.parametrize(
    ("code", "command", "labels"),
    [
        (10107, {"insert": "x"}, []),
        (10107, {"insert": "x", "txnNumber": 1}, ["RetryableWriteError"]),
        (11000, {"insert": "x", "txnNumber": 1}, []),
        (10107, {"find": "x"}, []),
        (
            10107,
            {"insert": "x", "txnNumber": 1, "autocommit": False},
            ["TransientTransactionError"],
        ),
        (
            91,
            {"commitTransaction": 1, "txnNumber": 1, "autocommit": False},
            ["RetryableWriteError"],
        ),
        (
            251,
            {"commitTransaction": 1, "txnNumber": 1, "autocommit": False},
            ["TransientTransactionError"],
        ),
        (462, {"find": "x"}, ["SystemOverloadedError", "RetryableError"]),
    ],
)
def test_labels(code: int, command: dict[str, Any], labels: list[str]) -> None:
    assert rules.error_labels(code, next(iter(command)), command) == labels


# Retries


def test_a_write_is_found_until_the_session_writes_again() -> None:
    table = retries.Retries()
    assert table.find(b"s", 1) is None
    write = table.begin(b"s", 1)
    assert table.find(b"s", 1) is write
    called = []
    write.waiting.append(lambda: called.append(write.reply))
    table.end(write, b"reply")
    assert called == [b"reply"]
    assert table.find(b"other", 1) is None
    assert table.find(b"s", 2) is None
    table.begin(b"s", 2)
    with pytest.raises(retries.TooOld):
        table.find(b"s", 1)


def test_a_write_that_failed_is_done_again_but_no_older_one() -> None:
    table = retries.Retries()
    table.end(table.begin(b"s", 5), None)
    assert table.find(b"s", 5) is None
    with pytest.raises(retries.TooOld):
        table.find(b"s", 4)


# Fail points


def test_a_fail_point_spares_and_counts() -> None:
    data = {"failCommands": ["find"], "errorCode": 6, "appName": "a"}
    mode = {"skip": 1, "times": 2}
    point = fail_points.parse({"configureFailPoint": "failCommand", "mode": mode, "data": data})
    assert point is not None
    assert not point.take("find", "b")
    assert not point.take("insert", "a")
    assert [point.take("find", "a") for _ in range(4)] == [False, True, True, False]
    off = {"configureFailPoint": "failCommand", "mode": "off"}
    assert fail_points.parse(off) is None


@pytest.mark.parametrize(
    "command",
    [
        {"configureFailPoint": "other", "mode": "off"},
        {"configureFailPoint": "failCommand", "mode": "sometimes"},
        {"configureFailPoint": "failCommand", "mode": "alwaysOn"},
        {"configureFailPoint": "failCommand", "mode": {"times": 1}, "data": {"failCommands": []}},
    ],
)
def test_a_fail_point_that_says_nothing_is_refused(command: dict[str, Any]) -> None:
    with pytest.raises(fail_points.BadFailPoint):
        fail_points.parse(command)


# Elections


def test_a_later_election_has_a_greater_id() -> None:
    replica_set = ReplicaSet("rs", members={n: MemberConfig(f"h:{n}") for n in range(3)})
    replica_set.elect(0)
    before = replica_set.hello(0)
    term = replica_set.term
    replica_set.elect(1)
    after = replica_set.hello(1)
    assert before["electionId"] < after["electionId"]
    assert replica_set.hello(0)["secondary"] is True
    assert replica_set.hello(2)["primary"] == "h:1"
    # Who has not heard of it says what it said.
    assert replica_set.hello(0, term=term) == before


def test_who_cannot_be_elected_is_not() -> None:
    configs = [MemberConfig("h:0", arbiter=True), MemberConfig("h:1", hidden=True, priority=0)]
    replica_set = ReplicaSet("rs", members=dict(enumerate(configs)))
    for number in range(3):
        with pytest.raises(ValueError, match="cannot be elected"):
            replica_set.elect(number)
