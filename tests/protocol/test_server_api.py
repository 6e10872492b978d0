"""Every command carries the Stable API's version, a login's and housekeeping's too."""

from __future__ import annotations

from typing import Any

import bson
import pytest

from mongokey import MongoClient
from mongokey.auth import build_credential
from mongokey.auth.whole_login import login
from mongokey.auth_oidc import OIDCCallback, OIDCCallbackContext, OIDCCallbackResult
from tests.logins import drive
from tests.servers.login_server import HELLO
from tests.servers.mechanism import MechanismServer
from tests.servers.mechanism.plain import KnownUsers, PlainAcceptor
from tests.servers.scripted import Error, Login, Reply, Request, ScriptedServer, in_turn, primary
from tests.servers.scripted.answers import Answer


class Api:
    """What `server_api` takes."""

    def __init__(self, strict: bool | None = True, deprecation_errors: bool | None = None) -> None:
        self.version = "1"
        self.strict = strict
        self.deprecation_errors = deprecation_errors


OPEN = {"id": 5, "ns": "x.y", "firstBatch": [{"_id": 1}]}
ANSWERS: dict[str, Any] = {
    "hello": None,
    "saslStart": None,
    "saslContinue": None,
    "authenticate": {"ok": 1.0, "dbname": "$external", "user": "CN=x"},
    "ping": None,
    "find": {"ok": 1.0, "cursor": OPEN},
    "getMore": {"ok": 1.0, "cursor": {"id": 5, "ns": "x.y", "nextBatch": [{"_id": 2}]}},
    "killCursors": None,
    "endSessions": None,
    "insert": {"ok": 1.0, "n": 1},
    "aggregate": {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "firstBatch": []}},
    "listCollections": {"ok": 1.0, "cursor": {"id": 0, "ns": "x.$cmd", "firstBatch": []}},
}


def require_api(answers: dict[str, Any]) -> dict[str, Answer]:
    """The server's parameter requireApiVersion: it refuses whatever does not say it."""

    def demanding(answer: Any) -> Any:
        def look(request: Request) -> Any:
            document = request.document
            if document.get("apiVersion") != "1" or document.get("apiStrict") is not True:
                return Error(code=498870, message="The apiVersion parameter is required")
            return answer(request) if callable(answer) else answer

        return look

    return {name: demanding(answer) for name, answer in answers.items()}


def check_all(server: ScriptedServer, *names: str) -> None:
    for name in names:
        for document in server.commands(name):
            assert document["apiVersion"] == "1", name
            assert document["apiStrict"] is True, name
            assert "apiDeprecationErrors" not in document, name
        assert server.count(name), name


@pytest.mark.parametrize("speculate", [True, False])
def test_a_server_that_requires_it_is_logged_in_to_and_used(speculate: bool) -> None:
    server = ScriptedServer(
        hello=primary(), login=Login(speculate=speculate), on=require_api(ANSWERS)
    )
    with server:
        with MongoClient(server.uri(), server_api=Api()) as client:
            client.admin.command("ping")
            found = client["x"]["y"].find()
            assert [next(found)["_id"], next(found)["_id"]] == [1, 2]
            found.close()
            client["x"]["y"].insert_one({})
            client["x"]["y"].aggregate([])
            client["x"].list_collection_names()
        check_all(
            server,
            *("hello", "saslContinue", "ping", "find", "getMore", "killCursors", "insert"),
            *("aggregate", "listCollections", "endSessions"),
        )
        if not speculate:
            check_all(server, "saslStart")


def test_the_login_that_a_server_asks_for_carries_it() -> None:
    again = Error(code=391, code_name="ReauthenticationRequired", message="log in again")
    on = require_api({**ANSWERS, "ping": in_turn(again, None).take})
    on["ping"] = in_turn(again, *[on["insert"]])
    with ScriptedServer(hello=primary(), login=Login(), on=on) as server:
        with MongoClient(server.uri(), server_api=Api()) as client:
            client.admin.command("ping")
        check_all(server, "saslStart", "saslContinue", "ping")


def test_a_login_by_password_in_one_message_carries_it() -> None:
    users = PlainAcceptor(KnownUsers({"ann": "pw"}))
    with MechanismServer(users, backend=None) as server:
        server.on.update(require_api({"saslStart": None}))
        options = {"username": "ann", "password": "pw", "authMechanism": "PLAIN"}
        with MongoClient(server.uri(), server_api=Api(), **options) as client:
            client.admin.command("ping")
        check_all(server, "hello", "saslStart")


def test_a_login_by_certificate_carries_it() -> None:
    credential = build_credential("MONGODB-X509", None, None)
    seen: list[Any] = []

    def answer(database: str, command: Any) -> Any:
        seen.append(command)
        return dict(HELLO) if "hello" in command else {"ok": 1.0}

    drive(login(credential, None, ("h", 1), server_api=Api()), answer)
    assert [next(iter(each)) for each in seen] == ["hello", "authenticate"]
    assert all((each["apiVersion"], each["apiStrict"]) == ("1", True) for each in seen)
    # What the server may check at once says it once.
    assert "apiVersion" not in seen[0]["speculativeAuthenticate"]


class Token(OIDCCallback):
    def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
        return OIDCCallbackResult("token")


def test_a_login_by_token_carries_it() -> None:
    def sasl(request: Request) -> Reply:
        assert "jwt" in bson.decode(request.document["payload"])
        return Reply({"ok": 1.0, "conversationId": 1, "done": True, "payload": b""})

    on = require_api({**ANSWERS, "saslStart": sasl})
    with ScriptedServer(hello=primary(), on=on) as server:
        properties = {"OIDC_CALLBACK": Token()}
        client = MongoClient(
            server.uri(),
            server_api=Api(),
            authMechanism="MONGODB-OIDC",
            authMechanismProperties=properties,
        )
        with client:
            client.admin.command("ping")
        check_all(server, "hello", "saslStart")


def test_without_a_declared_version_nothing_is_carried() -> None:
    with ScriptedServer(hello=primary(), login=Login()) as server:
        with MongoClient(server.uri()) as client:
            client.admin.command("ping")
        assert not any("apiVersion" in document for document in server.commands())
