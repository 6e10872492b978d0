"""Who is logged in to: only the server that will be used, once its hello was judged."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import bson
import pytest

from mongokey import MongoClient
from mongokey.auth import AuthenticationFailed
from mongokey.auth_oidc import OIDCCallback, OIDCCallbackContext, OIDCCallbackResult
from mongokey.errors import AutoReconnect, NotPrimaryError, OperationFailure
from tests.pools import drop_connections
from tests.servers.mechanism import MechanismServer
from tests.servers.mechanism.plain import KnownUsers, PlainAcceptor
from tests.servers.scripted import (
    Error,
    Login,
    Reply,
    Request,
    ScriptedServer,
    arbiter,
    ghost,
    make_set,
    primary,
    secondary,
    too_old,
)

PASSWORD = "pencil-secret"
FOUND = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "firstBatch": [{"_id": 1}]}}
ON = {"find": FOUND, "insert": {"ok": 1.0, "n": 1}}
RECOVERING = secondary(secondary=False)
SECRETS = ("saslStart", "saslContinue", "authenticate")


def serve(hello: Any, **options: Any) -> ScriptedServer:
    """A server that has the user, unless told otherwise."""
    on = {**ON, **options.pop("on", {})}
    return ScriptedServer(hello=hello, login=options.pop("login", Login()), on=on)


def client_of(*servers: ScriptedServer, **options: Any) -> MongoClient:
    hosts = [f"127.0.0.1:{server.port}" for server in servers]
    options = {"username": "user", "password": "pencil", "retryReads": False, **options}
    return MongoClient(hosts, **options)


def late(request: Request) -> None:
    """Answer as usual, after the other members."""
    time.sleep(0.2)


def secrets_sent_to(server: ScriptedServer) -> list[str]:
    """The commands that try or show a secret, alone or along with hello."""
    seen = [name for name in server.names() if name in SECRETS]
    for hello in server.commands("hello"):
        step = hello.get("speculativeAuthenticate", {})
        if step and not step.get("mechanism", "").startswith("SCRAM-"):
            seen.append("speculativeAuthenticate")
    return seen


# -- finding the server ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hello",
    [ghost(), RECOVERING, secondary(), arbiter(), primary(setName="other"), too_old()],
    ids=["ghost", "recovering", "secondary", "arbiter", "other set", "other set, too old"],
)
@pytest.mark.parametrize("first", [True, False])
def test_a_member_without_the_user_neither_costs_a_login_nor_ends_the_operation(
    hello: Any, first: bool
) -> None:
    with (
        serve(hello, login=Login(username="nobody", password="nothing")) as other,
        serve(primary(), on={"hello": late}) as used,
    ):
        servers = (other, used) if first else (used, other)
        with client_of(*servers, replicaSet="rs") as client:
            assert client["x"]["y"].find_one() == {"_id": 1}
            assert client.address == ("127.0.0.1", used.port)
        assert secrets_sent_to(other) == []
        assert used.logins == 1


def test_one_wrong_password_costs_one_login_whatever_the_number_of_members() -> None:
    with serve(secondary()) as one, serve(primary()) as two, serve(secondary()) as three:
        with client_of(one, two, three, password="wrong") as client:
            for from_memory in (False, True):
                with pytest.raises(AuthenticationFailed) as caught:
                    client["x"]["y"].find_one()
                assert caught.value.code == 18
                assert caught.value.answered_from_memory is from_memory
                assert two.count("saslContinue") == 1
        assert secrets_sent_to(one) == secrets_sent_to(three) == []


@pytest.fixture
def ldap() -> Iterator[dict[str, MechanismServer]]:
    """Servers with LDAP logins, by what they are; each notes what was tried."""
    hellos = {
        "primary": {"setName": "rs"},
        "secondary": {"ismaster": False, "isWritablePrimary": False, "secondary": True},
        "other": {"setName": "other"},
        "ghost": {
            "setName": None,
            "ismaster": False,
            "isWritablePrimary": False,
            "isreplicaset": True,
        },
    }
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                MechanismServer(
                    PlainAcceptor(KnownUsers({"ann": PASSWORD})), backend=None, hello=hello
                )
            )
            for name, hello in hellos.items()
        }


def test_a_password_in_clear_is_sent_to_the_server_that_is_used_and_to_nobody_else(
    ldap: dict[str, MechanismServer],
) -> None:
    options = {"username": "ann", "password": PASSWORD, "authMechanism": "PLAIN"}
    with client_of(*reversed(ldap.values()), replicaSet="rs", **options) as client:
        client["x"]["y"].find_one()
    assert {name: len(secrets_sent_to(server)) for name, server in ldap.items()} == {
        "primary": 1,
        "secondary": 0,
        "other": 0,
        "ghost": 0,
    }
    for name in ("secondary", "other", "ghost"):
        assert not any(PASSWORD.encode() in request.raw for request in ldap[name].requests)
    assert [record.identity for record in ldap["primary"].records] == ["ann"]


# -- what goes along with hello -----------------------------------------------------------------


class Token(OIDCCallback):
    def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
        return OIDCCallbackResult("a-token-that-is-secret")


def accept_token(request: Request) -> Reply:
    return Reply({"ok": 1.0, "conversationId": 1, "done": True, "payload": b""})


def oidc(hello: Any) -> ScriptedServer:
    return ScriptedServer(hello=hello, on={**ON, "saslStart": accept_token})


def oidc_client(*servers: ScriptedServer, **options: Any) -> MongoClient:
    return MongoClient(
        [f"127.0.0.1:{server.port}" for server in servers],
        authMechanism="MONGODB-OIDC",
        authMechanismProperties={"OIDC_CALLBACK": Token()},
        **options,
    )


def tokens_in(server: ScriptedServer) -> int:
    """How many connections showed the token, with hello or after it."""
    secret = b"a-token-that-is-secret"
    return len({request.connection for request in server.requests if secret in request.raw})


def test_a_cached_token_goes_along_with_hello_only_to_the_server_that_is_used() -> None:
    with oidc(primary()) as one, oidc(secondary()) as two:
        make_set(one, two)
        with oidc_client(one, two, replicaSet="rs") as client:
            client["x"]["y"].find_one()
            assert tokens_in(one) == 1
            one.close_connections()
            client["x"]["y"].find_one()
            # A monitor has judged the member, so its next connections log in along with hello.
            assert tokens_in(two) == 0
            assert "speculativeAuthenticate" in one.commands("hello", used=True)[-1]
            # Another member is primary now: the old one's hello is all that it gets.
            one.hello, two.hello = secondary(), primary()
            one.on["find"] = Error(code=10107, message="not primary")
            before = tokens_in(one)
            client["x"]["y"].find_one()
            assert client.address == ("127.0.0.1", two.port)
            assert tokens_in(one) == before == 2
            assert tokens_in(two) == 1


@pytest.mark.parametrize("direct", [True, False])
def test_the_only_server_is_logged_in_to_along_with_hello(direct: bool) -> None:
    with oidc(primary()) as server:
        with oidc_client(server, directConnection=direct) as client:
            client["x"]["y"].find_one()
            server.close_connections()
            client["x"]["y"].find_one()
        assert "speculativeAuthenticate" in server.commands("hello")[-1]


# -- a program that runs -------------------------------------------------------------------------


def forget_users(server: ScriptedServer, hello: Any) -> None:
    """The server becomes something else, where nobody can log in."""
    server.hello = hello
    server.on["saslStart"] = server.on["saslContinue"] = Error(
        code=18, code_name="AuthenticationFailed", message="Authentication failed."
    )


@pytest.mark.parametrize(
    "hello",
    [RECOVERING, ghost(), primary(setName="other"), secondary()],
    ids=["recovering", "ghost", "other set", "secondary"],
)
def test_a_member_that_changes_is_not_logged_in_to_and_the_operation_goes_to_the_new_primary(
    hello: Any,
) -> None:
    with serve(primary()) as one, serve(secondary()) as two:
        make_set(one, two)
        with client_of(one, two, replicaSet="rs", retryReads=True) as client:
            client["x"]["y"].find_one()
            forget_users(one, hello)
            two.hello = primary()
            # The pool has no connection left: the next operation opens one, to the changed member.
            drop_connections(client)
            client["x"]["y"].insert_one({"_id": 1})
            assert client.address == ("127.0.0.1", two.port)
            assert client["x"]["y"].find_one() == {"_id": 1}
            assert (one.logins, two.logins) == (1, 1)
            assert secrets_sent_to(one).count("saslContinue") == 1


def test_without_retries_the_change_is_told_as_what_it_is() -> None:
    for hello, kind in (
        (RECOVERING, NotPrimaryError),
        (secondary(), NotPrimaryError),
        (primary(setName="z"), AutoReconnect),
    ):
        with serve(primary()) as one, client_of(one, replicaSet="rs") as client:
            client["x"]["y"].find_one()
            forget_users(one, hello)
            drop_connections(client)
            with pytest.raises(kind, match=str(one.port)) as caught:
                client["x"]["y"].find_one()
            assert not isinstance(caught.value, OperationFailure)
            assert one.logins == 1
            assert secrets_sent_to(one).count("saslContinue") == 1


def test_a_refusing_hello_of_one_member_does_not_end_the_operation() -> None:
    broken = Error(code=8000, message="go away")
    with serve(primary(), on={"hello": broken}) as one:
        with serve(primary(), on={"hello": late}) as two:
            with client_of(one, two) as client:
                assert client["x"]["y"].find_one() == {"_id": 1}
            assert two.logins == 1


def test_a_hundred_threads_log_in_once_to_find_the_server() -> None:
    from tests.threads import in_threads

    gate = threading.Barrier(20)

    def slow(request: Request) -> Any:
        gate.wait(20)
        return FOUND

    with serve(secondary()) as one, serve(primary(), on={"find": slow}) as two:
        with client_of(one, two, maxConnecting=20) as client:
            in_threads(20, client["x"]["y"].find_one)
        assert secrets_sent_to(one) == []
        assert two.logins == 20


def test_payloads_of_the_tests_say_what_they_should() -> None:
    """The counting above looks for PLAIN's and OIDC's bytes: they are in messages as they are."""
    assert b"a-token-that-is-secret" in bson.encode({"jwt": "a-token-that-is-secret"})
