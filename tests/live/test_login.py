"""Logins on the real server: mechanisms, round trips, and what a refused login says."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from mongokey import MongoClient
from mongokey.auth.errors import AuthenticationFailed
from mongokey.errors import ConfigurationError, InvalidURI, OperationFailure
from tests.pools import drop_connections
from tests.servers.relay import Relay
from tests.servers.secantus import USERS, SecantusServer, User

pytestmark = pytest.mark.live
AUTHENTICATION_FAILED = 18
SHA_1, SHA_256 = "SCRAM-SHA-1", "SCRAM-SHA-256"

Logins = list[Any]


@pytest.fixture
def log_in() -> Iterator[Callable[..., tuple[MongoClient, Logins]]]:
    """Makes a client, sends a ping, and returns the client with the logins it made so far."""
    clients = []

    def make(*args: Any, **kwargs: Any) -> tuple[MongoClient, Logins]:
        client: MongoClient = MongoClient(*args, **kwargs)
        clients.append(client)
        logins: Logins = []
        client._on_login(lambda address, result: logins.append(result))
        assert client.admin.command("ping")["ok"] == 1
        return client, logins

    yield make
    for client in clients:
        client.close()


def open_another(client: MongoClient) -> None:
    """Have the client's pool open one more connection."""
    pool = client._pool()
    before = pool.idle_count
    pool.clear()
    pool.ready()
    client.admin.command("ping")
    assert before >= 1


def who_am_i(client: MongoClient) -> tuple[str, str]:
    (user,) = client.admin.command("connectionStatus")["authInfo"]["authenticatedUsers"]
    return user["user"], user["db"]


# Who logs in, and how


@pytest.mark.parametrize("key", sorted(USERS))
def test_every_user_logs_in_by_negotiation(secantus: SecantusServer, log_in: Any, key: str) -> None:
    client, (login,) = log_in(secantus.uri(key))
    user = USERS[key]
    assert who_am_i(client) == (user.name, user.database)
    assert login.mechanism == (SHA_256 if SHA_256 in user.mechanisms else SHA_1)


@pytest.mark.parametrize(
    ("key", "mechanism"), [(k, m) for k, user in sorted(USERS.items()) for m in user.mechanisms]
)
def test_every_user_logs_in_by_each_of_its_mechanisms(
    secantus: SecantusServer, log_in: Any, key: str, mechanism: str
) -> None:
    client, (login,) = log_in(secantus.uri(key, authMechanism=mechanism))
    assert who_am_i(client) == (USERS[key].name, USERS[key].database)
    assert login.mechanism == mechanism


def test_passwords_are_prepared_before_they_are_compared(
    secantus: SecantusServer, log_in: Any
) -> None:
    user = USERS["unicode"]
    assert user.equivalent_password is not None
    client, _ = log_in(secantus.uri(user, password=user.equivalent_password))
    assert who_am_i(client)[0] == user.name


def test_credentials_may_be_keywords(secantus: SecantusServer, log_in: Any) -> None:
    user = USERS["escapes"]
    client, _ = log_in(secantus.host, secantus.port, username=user.name, password=user.password)
    assert who_am_i(client) == (user.name, "admin")
    user = USERS["elsewhere"]
    client, (login,) = log_in(
        secantus.host,
        secantus.port,
        username=user.name,
        password=user.password,
        authSource=user.database,
        authMechanism=SHA_1,
    )
    assert who_am_i(client) == (user.name, user.database)
    assert login.mechanism == SHA_1


def test_keywords_go_before_the_uri(secantus: SecantusServer, log_in: Any) -> None:
    client, _ = log_in(
        secantus.uri("sha1", password="wrong"), username="both", password="pencil-both"
    )
    assert who_am_i(client)[0] == "both"


def test_without_an_auth_source_the_path_s_database_knows_the_user(
    secantus: SecantusServer, log_in: Any
) -> None:
    user = USERS["elsewhere"]
    uri = f"mongodb://{user.name}:{user.password}@{secantus.host}:{secantus.port}/{user.database}"
    client, _ = log_in(uri)
    assert who_am_i(client) == (user.name, user.database)
    assert client.get_default_database().name == user.database
    assert client.get_database().name == user.database


def test_the_auth_source_goes_before_the_path(secantus: SecantusServer, log_in: Any) -> None:
    client, _ = log_in(secantus.uri("both", database="elsewhere", auth_source="admin"))
    assert who_am_i(client) == ("both", "admin")
    assert client.get_default_database().name == "elsewhere"


def test_there_may_be_no_default_database(secantus: SecantusServer, log_in: Any) -> None:
    client, _ = log_in(secantus.uri("both"))
    with pytest.raises(ConfigurationError, match="default database"):
        client.get_default_database()
    assert client.get_default_database("fallback").name == "fallback"


def test_roles_are_the_user_s(secantus: SecantusServer, log_in: Any) -> None:
    client, _ = log_in(secantus.uri("reader"))
    assert client["app"]["things"].find_one() is None
    with pytest.raises(OperationFailure) as caught:
        client["app"]["things"].insert_one({})
    assert caught.value.code == 13


def test_without_credentials_nothing_but_the_handshake_works(
    secantus: SecantusServer, log_in: Any
) -> None:
    client, (login,) = log_in(secantus.uri(None))
    assert (login.mechanism, login.round_trips) == (None, 1)
    with pytest.raises(OperationFailure) as caught:
        client.list_database_names()
    assert caught.value.code == 13


def test_a_server_without_authentication_logs_users_in_too(
    open_secantus: SecantusServer, log_in: Any
) -> None:
    client, (login,) = log_in(open_secantus.uri("both"))
    assert login.mechanism == SHA_256
    assert client["x"]["y"].find_one() is None
    client, (login,) = log_in(open_secantus.uri(None))
    assert login.mechanism is None


# Round trips


def test_a_login_with_speculation_is_two_messages(
    secantus: SecantusServer, log_in: Any, relay: Relay
) -> None:
    client, logins = log_in(relay.redirect(secantus.uri("sha256")))
    open_another(client)
    for number in (1, 2):
        assert relay.names(number)[:2] == ["hello", "saslContinue"]
        assert relay.names(number)[2:] == ["ping"]
    assert [(each.round_trips, each.speculative) for each in logins] == [(2, True), (2, True)]


def test_a_sha_1_user_is_negotiated_once(
    secantus: SecantusServer, log_in: Any, relay: Relay
) -> None:
    client, logins = log_in(relay.redirect(secantus.uri("sha1")))
    for _ in range(3):
        open_another(client)
    assert relay.names(1) == ["hello", "saslStart", "saslContinue", "ping"]
    for number in (2, 3, 4):
        assert relay.names(number) == ["hello", "saslContinue", "ping"]
    assert [each.round_trips for each in logins] == [3, 2, 2, 2]
    assert {each.mechanism for each in logins} == {SHA_1}
    # What the server supports was asked each time: the user may have changed.
    assert all("saslSupportedMechs" in each.document for each in relay.commands("hello"))


def test_a_named_mechanism_is_two_messages_from_the_start(
    secantus: SecantusServer, log_in: Any, relay: Relay
) -> None:
    log_in(relay.redirect(secantus.uri("sha1", authMechanism=SHA_1)))
    assert relay.names() == ["hello", "saslContinue", "ping"]
    (hello,) = relay.commands("hello")
    assert "saslSupportedMechs" not in hello.document


def test_nothing_is_sent_that_reveals_the_password(
    secantus: SecantusServer, log_in: Any, relay: Relay
) -> None:
    log_in(relay.redirect(secantus.uri("both")))
    sent = repr([each.document for each in relay.seen])
    assert USERS["both"].password not in sent
    assert quote(USERS["both"].password) not in sent


def test_a_client_connects_at_its_first_operation(secantus: SecantusServer, relay: Relay) -> None:
    with MongoClient(relay.redirect(secantus.uri("both"))) as client:
        assert relay.accepted == 0
        client.admin.command("ping")
        assert relay.accepted == 1


def test_the_handshake_names_the_application(
    secantus: SecantusServer, log_in: Any, relay: Relay
) -> None:
    log_in(relay.redirect(secantus.uri("both", appName="the tests")))
    (hello,) = relay.commands("hello")
    assert hello.document["client"]["application"] == {"name": "the tests"}
    assert hello.document["client"]["driver"]["name"] == "mongokey"


# Refused logins

SECRET = "hunter2-is-secret"


def refused(*args: Any, **kwargs: Any) -> AuthenticationFailed:
    """The error of a login that the server refuses; looked through for the password first."""
    kwargs.setdefault("serverSelectionTimeoutMS", 5000)
    with MongoClient(*args, **kwargs) as client:
        shown = [repr(client), repr(client["x"]["y"]), repr(client.options), str(client.options)]
        with pytest.raises(OperationFailure) as caught:
            client["x"]["y"].find_one()
    error = caught.value
    assert isinstance(error, AuthenticationFailed)
    seen: BaseException | None = error
    chain = []
    while seen is not None and seen not in chain:
        chain.append(seen)
        shown += [repr(seen), str(seen), repr(seen.args), repr(vars(seen))]
        seen = seen.__cause__ or seen.__context__
    shown += traceback.format_exception(error)
    assert not [text for text in shown if SECRET in text]
    return error


@pytest.mark.parametrize("mechanism", [None, SHA_1, SHA_256])
def test_a_wrong_password_is_code_18_and_names_the_source(
    secantus: SecantusServer, mechanism: str | None
) -> None:
    options = {} if mechanism is None else {"authMechanism": mechanism}
    error = refused(secantus.uri("both", password=SECRET, **options))
    assert error.code == AUTHENTICATION_FAILED
    assert error.details is not None
    assert error.details["code"] == AUTHENTICATION_FAILED
    assert "'both'" in str(error)
    assert "'admin'" in str(error)
    assert "default" in str(error)


def test_an_unknown_user_is_code_18_and_named(secantus: SecantusServer) -> None:
    error = refused(secantus.uri(User("nobody-here", SECRET)))
    assert error.code == AUTHENTICATION_FAILED
    assert "'nobody-here'" in str(error)
    assert "'admin'" in str(error)


def test_a_wrong_auth_source_is_named_with_where_it_came_from(secantus: SecantusServer) -> None:
    error = refused(secantus.uri("both", password=SECRET, auth_source="somewhere"))
    assert error.code == AUTHENTICATION_FAILED
    assert "'somewhere'" in str(error)
    assert "authSource" in str(error)
    error = refused(secantus.uri("both", password=SECRET, database="mydata"))
    assert error.code == AUTHENTICATION_FAILED
    assert "'mydata'" in str(error)
    assert "path" in str(error)
    assert "authSource=admin" in str(error)


def test_the_right_password_at_the_wrong_source_is_refused(secantus: SecantusServer) -> None:
    user = USERS["elsewhere"]
    with MongoClient(secantus.uri(user, auth_source="admin")) as client:
        with pytest.raises(OperationFailure) as caught:
            client.admin.command("ping")
    assert caught.value.code == AUTHENTICATION_FAILED
    assert user.password not in str(caught.value)


def test_a_mechanism_that_the_user_does_not_have_is_refused(secantus: SecantusServer) -> None:
    for key, mechanism in (("sha1", SHA_256), ("sha256", SHA_1)):
        with MongoClient(secantus.uri(key, authMechanism=mechanism)) as client:
            with pytest.raises(OperationFailure) as caught:
                client.admin.command("ping")
        assert mechanism in str(caught.value)
        assert USERS[key].password not in str(caught.value)


def test_a_keyword_password_is_no_more_shown_than_the_uri_s(secantus: SecantusServer) -> None:
    error = refused(secantus.host, secantus.port, username="both", password=SECRET)
    assert error.code == AUTHENTICATION_FAILED


def test_logging_shows_no_password(
    secantus: SecantusServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    refused(secantus.uri("both", password=SECRET))
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    "info", [f"user:{SECRET}@@", f"us:er:{SECRET}@", f"user:{SECRET}/x@", f"user:{SECRET}%zz@"]
)
def test_uris_that_need_escaping_are_refused_without_showing_the_password(info: str) -> None:
    with pytest.raises(InvalidURI) as caught:
        MongoClient(f"mongodb://{info}127.0.0.1/")
    assert SECRET not in "".join(traceback.format_exception_only(caught.value))
    assert "%" in str(caught.value)


def test_a_refused_login_is_told_at_once_and_every_time(
    secantus: SecantusServer, relay: Relay
) -> None:
    with MongoClient(relay.redirect(secantus.uri("both", password="wrong"))) as client:
        for number in range(3):
            with pytest.raises(AuthenticationFailed) as caught:
                client.admin.command("ping")
            # The server is not asked again so soon, nor connected to.
            assert caught.value.answered_from_memory is (number > 0)
    assert relay.accepted == 1
    assert relay.wait_for(lambda: relay.open == 0)


def test_logins_work_again_after_a_refused_one(secantus: SecantusServer, log_in: Any) -> None:
    refused(secantus.uri("both", password=SECRET))
    log_in(secantus.uri("both"))


def test_a_password_changed_on_the_server_shows_at_the_next_connection(
    secantus: SecantusServer, log_in: Any
) -> None:
    user = User("changing", "first-password", mechanisms=(SHA_256,))
    created = secantus.command(
        "admin", {"createUser": user.name, "pwd": user.password, "roles": ["root"]}
    )
    assert created["ok"] == 1
    try:
        client, _ = log_in(secantus.uri(user), loginBackoffMS=0)
        assert secantus.command("admin", {"updateUser": user.name, "pwd": "second"})["ok"] == 1
        drop_connections(client)
        with pytest.raises(OperationFailure) as caught:
            client.admin.command("ping")
        assert caught.value.code == AUTHENTICATION_FAILED
        assert "changed" in str(caught.value)
        assert secantus.command("admin", {"updateUser": user.name, "pwd": user.password})["ok"] == 1
        assert client.admin.command("ping")["ok"] == 1
    finally:
        secantus.command("admin", {"dropUser": user.name})
