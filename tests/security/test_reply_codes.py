"""Error codes of any type: a server's answer never becomes an error of the driver's own."""

from __future__ import annotations

from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.errors import MongoError, NotPrimaryError, OperationFailure
from tests.servers.scripted import Reply, ScriptedServer, standalone

CODES = [[1], {"a": 1}, "x", b"\xff", 2**40, 1.5, float("nan"), True, None]
# Before 4.4 it is the driver that says what may be tried again.
OLDER = standalone(maxWireVersion=8, setName="rs", logicalSessionTimeoutMinutes=30)


@pytest.mark.parametrize("hello", [standalone(), OLDER], ids=["standalone", "4.2"])
@pytest.mark.parametrize("code", CODES, ids=repr)
def test_codes_of_any_type_are_told_as_the_servers_error(code: Any, hello: Any) -> None:
    failure = Reply({"ok": 0.0, "code": code, "errmsg": "no"})
    gone = Reply({"ok": 0.0, "code": code, "errmsg": "not master"})
    with ScriptedServer(hello=hello, on={"insert": failure, "find": gone}) as server:
        with MongoClient(server.uri(serverSelectionTimeoutMS=500)) as client:
            with pytest.raises(OperationFailure, match="no, full error"):
                client.a.b.insert_one({})
            with pytest.raises(MongoError) as caught:
                client.a.b.find_one()
    number = isinstance(code, int)
    assert isinstance(caught.value, OperationFailure if number else NotPrimaryError)
