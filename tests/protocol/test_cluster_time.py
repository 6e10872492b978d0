"""`$clusterTime` (driver-sessions, "Gossipping the cluster time"): of a server's, the known fields
and no more than 1 KiB are passed on; what a hello may bring along is bounded."""

from __future__ import annotations

from typing import Any

import pytest
from bson import Binary, Int64, Timestamp

from mongokey import MongoClient
from mongokey.errors import MongoError, ServerSelectionTimeoutError
from tests.servers.scripted import ScriptedServer, in_turn, primary

SIGNATURE = {"hash": bytes(20), "keyId": Int64(7)}


def at(seconds: int, **more: Any) -> dict[str, Any]:
    return {"clusterTime": Timestamp(seconds, 1), "signature": SIGNATURE, **more}


def gossiped(*times: Any) -> list[Any]:
    """What goes along with a command after each of `times` was received."""
    answers = in_turn(*({"ok": 1.0, "$clusterTime": time} for time in times))
    with (
        ScriptedServer(on={"ping": answers}, hello=primary()) as server,
        MongoClient(server.uri(directConnection=True)) as client,
    ):
        for _ in range(len(times) + 1):
            client.admin.command("ping")
        pings = [each.document for each in server.requests if each.name == "ping"]
    return [each.get("$clusterTime") for each in pings][1:]


def test_a_cluster_time_is_passed_on_as_it_came() -> None:
    assert gossiped(at(5)) == [at(5)]


def test_the_greatest_is_kept() -> None:
    assert gossiped(at(5), at(4), at(6)) == [at(5), at(5), at(6)]


def test_fields_that_are_not_known_are_left_out() -> None:
    inner = {**SIGNATURE, "more": "x" * 50}
    assert gossiped({**at(5, extra="y" * 50), "signature": inner}) == [at(5)]


def test_without_a_signature_it_is_passed_on_without() -> None:
    time = {"clusterTime": Timestamp(5, 1)}
    assert gossiped(time) == [time]


@pytest.mark.parametrize(
    "bad",
    [
        at(9, filler="x" * 1024),
        at(9, filler=Binary(bytes(4_000_000))),
        {**at(9), "signature": {"hash": Binary(bytes(2000)), "keyId": Int64(1)}},
        {**at(9), "signature": "x"},
        {**at(9), "signature": {"hash": "x", "keyId": Int64(1)}},
        {**at(9), "signature": {"hash": Binary(b"")}},
        {**at(9), "signature": {"hash": Binary(b""), "keyId": "x"}},
        {"clusterTime": 9, "signature": SIGNATURE},
        {"signature": SIGNATURE},
        {},
        7,
    ],
    ids=lambda bad: str(bad)[:40],
)
def test_what_is_not_formatted_so_is_ignored(bad: Any) -> None:
    assert gossiped(bad) == [None]
    assert gossiped(at(5), bad) == [at(5), at(5)]


def test_a_hello_of_more_than_a_megabyte_is_refused() -> None:
    hello = {**primary(), "filler": Binary(bytes(1024 * 1024))}
    with (
        ScriptedServer(hello=hello) as server,
        MongoClient(server.uri(serverSelectionTimeoutMS=300)) as client,
        pytest.raises(MongoError, match="at most 1048576 are accepted") as caught,
    ):
        client.admin.command("ping")
    assert isinstance(caught.value, ServerSelectionTimeoutError)
