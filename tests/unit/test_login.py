"""Whole logins on documents: negotiation, speculation, what is remembered, what errors say."""

import pytest

from mongokey.auth import (
    AuthenticationFailed,
    ServerProofError,
    build_credential,
)
from mongokey.auth.whole_login import login, reauthenticate
from mongokey.bson.objectid import ObjectId
from mongokey.errors import ConfigurationError, NotPrimaryError, OperationFailure
from tests.logins import drive
from tests.servers.login_server import FAILED, LoginServer

ADDRESS = ("db.example.com", 27017)
BOTH = ("SCRAM-SHA-1", "SCRAM-SHA-256")
USERS = {
    ("admin", "sha1"): ("pw", BOTH[:1]),
    ("admin", "sha256"): ("pw", BOTH[1:]),
    ("admin", "both"): ("pw", BOTH),
    ("admin", "IX"): ("I\u00adX", BOTH[1:]),
    ("admin", "odd"): ("pw", ("ARBITRARY", "SCRAM-SHA-256")),
}


def log_in(credential, server, **options):
    return drive(login(credential, None, ADDRESS, **options), server.answer)


def test_without_a_credential_hello_is_all():
    server = LoginServer(USERS)
    result = log_in(None, server)
    assert (result.mechanism, result.round_trips, result.speculative) == (None, 1, False)
    assert server.seen == [("admin", {"isMaster": 1, "helloOk": True})]


@pytest.mark.parametrize("mechanism", BOTH)
def test_a_named_mechanism_takes_two_round_trips(mechanism):
    server = LoginServer(USERS)
    for _ in range(2):
        result = log_in(build_credential(mechanism, "both", "pw"), server)
        assert (result.mechanism, result.round_trips, result.speculative) == (mechanism, 2, True)
    hello = server.seen[0][1]
    assert "saslSupportedMechs" not in hello
    assert hello["speculativeAuthenticate"]["mechanism"] == mechanism
    assert hello["speculativeAuthenticate"]["db"] == "admin"


@pytest.mark.parametrize("user", ["sha256", "both", "odd"])
def test_negotiation_prefers_sha_256_and_costs_nothing(user):
    server = LoginServer(USERS)
    result = log_in(build_credential(None, user, "pw"), server)
    assert (result.mechanism, result.round_trips, result.speculative) == ("SCRAM-SHA-256", 2, True)
    assert server.seen[0][1]["saslSupportedMechs"] == f"admin.{user}"


@pytest.mark.parametrize("speculates_for_all", [False, True])
@pytest.mark.parametrize("names_mechanisms", [True, False])
def test_a_sha_1_user_logs_in_at_once_and_from_the_second_time_in_two_round_trips(
    speculates_for_all, names_mechanisms
):
    server = LoginServer(
        USERS, speculates_for_all=speculates_for_all, names_mechanisms=names_mechanisms
    )
    credential = build_credential(None, "sha1", "pw")
    one = log_in(credential, server)
    assert (one.mechanism, one.round_trips, one.speculative) == ("SCRAM-SHA-1", 3, False)
    two = log_in(credential, server)
    assert (two.mechanism, two.round_trips, two.speculative) == ("SCRAM-SHA-1", 2, True)
    assert server.seen[3][1]["saslSupportedMechs"] == "admin.sha1"


def test_a_user_who_gained_sha_256_moves_to_it():
    server = LoginServer(USERS)
    credential = build_credential(None, "sha1", "pw")
    log_in(credential, server)
    server.users["admin", "sha1"] = ("pw", BOTH)
    result = log_in(credential, server)
    assert (result.mechanism, result.speculative) == ("SCRAM-SHA-256", False)
    assert log_in(credential, server).round_trips == 2


def test_what_was_negotiated_is_forgotten_after_a_failure():
    server = LoginServer(USERS)
    credential = build_credential(None, "sha1", "pw")
    log_in(credential, server)
    assert credential.state.mechanism == "SCRAM-SHA-1"
    server.users["admin", "sha1"] = ("pw", BOTH[1:])
    server.names_mechanisms = False
    with pytest.raises(OperationFailure):
        log_in(credential, server)
    assert credential.state.mechanism is None
    server.names_mechanisms = True
    assert log_in(credential, server).mechanism == "SCRAM-SHA-256"


def test_a_server_that_does_not_speculate_costs_one_round_trip_more():
    server = LoginServer(USERS, speculates=False)
    result = log_in(build_credential(None, "both", "pw"), server)
    assert (result.round_trips, result.speculative) == (3, False)


def test_an_older_server_costs_the_empty_exchange():
    server = LoginServer(USERS, long_exchange=True)
    result = log_in(build_credential(None, "both", "pw"), server)
    assert (result.round_trips, result.speculative) == (3, True)


def test_the_user_name_is_asked_for_unmodified():
    server = LoginServer({("foo", "a=b,c"): ("pw", BOTH)})
    result = log_in(build_credential(None, "a=b,c", "pw", "foo"), server)
    assert server.seen[0][1]["saslSupportedMechs"] == "foo.a=b,c"
    assert server.seen[1][0] == "foo"
    assert result.mechanism == "SCRAM-SHA-256"


def test_arbiters_know_no_users():
    server = LoginServer({}, hello={"ismaster": False, "setName": "rs", "arbiterOnly": True})
    result = log_in(build_credential(None, "both", "pw"), server)
    assert (result.mechanism, result.round_trips) == (None, 1)
    assert result.hello.is_arbiter


def test_a_server_that_is_not_behind_a_load_balancer_is_refused():
    for given in ({}, {"serviceId": "not an id"}):
        server = LoginServer(USERS, hello=given)
        with pytest.raises(ConfigurationError, match="the server does not support this mode"):
            log_in(build_credential(None, "both", "pw"), server, load_balanced=True)
        assert len(server.seen) == 1, "no login"


def test_load_balanced_and_stable_api_say_hello():
    class Api:
        version, strict, deprecation_errors = "1", True, None

    server = LoginServer(USERS, hello={"serviceId": ObjectId()})
    log_in(build_credential(None, "both", "pw"), server, load_balanced=True, server_api=Api())
    hello = server.seen[0][1]
    assert next(iter(hello)) == "hello"
    assert "helloOk" not in hello
    assert hello["loadBalanced"] is True
    assert (hello["apiVersion"], hello["apiStrict"]) == ("1", True)
    assert "apiDeprecationErrors" not in hello


def test_too_old_a_server_is_named_before_the_login():
    server = LoginServer(USERS, hello={"maxWireVersion": 6})
    with pytest.raises(ConfigurationError, match=r"db\.example\.com:27017 is too old.*3\.6.*4\.2"):
        log_in(build_credential(None, "both", "pw"), server)
    assert len(server.seen) == 1


def test_x509_is_one_round_trip_when_speculation_succeeds():
    credential = build_credential("MONGODB-X509", None, None)
    seen = []

    def answer(database, command):
        seen.append((database, command))
        reply = dict(LoginServer({}).hello)
        if "isMaster" in command:
            reply["speculativeAuthenticate"] = {"dbname": "$external", "user": "CN=me"}
        return reply

    result = drive(login(credential, None, ADDRESS), answer)
    assert (result.mechanism, result.round_trips) == ("MONGODB-X509", 1)
    assert seen[0][1]["speculativeAuthenticate"] == {
        "authenticate": 1,
        "mechanism": "MONGODB-X509",
        "db": "$external",
    }


def test_x509_authenticates_when_speculation_gave_nothing_and_sends_a_given_user():
    credential = build_credential("MONGODB-X509", "CN=me", None)
    server = LoginServer({})
    replies = iter([dict(server.hello), {"dbname": "$external", "user": "CN=me", "ok": 1.0}])
    seen = []

    def answer(database, command):
        seen.append((database, command))
        return next(replies)

    assert drive(login(credential, None, ADDRESS), answer).round_trips == 2
    assert seen[1] == (
        "$external",
        {"authenticate": 1, "mechanism": "MONGODB-X509", "user": "CN=me"},
    )


@pytest.mark.parametrize("done", [True, False])
def test_plain_is_one_message(done):
    credential = build_credential("PLAIN", "user", "pencil")
    seen = []

    def answer(database, command):
        seen.append((database, command))
        if "isMaster" in command:
            return dict(LoginServer({}).hello)
        return {"conversationId": 1, "payload": b"", "done": done, "ok": 1.0}

    steps = login(credential, None, ADDRESS)
    if done:
        assert drive(steps, answer).mechanism == "PLAIN"
    else:
        with pytest.raises(ServerProofError, match="one message"):
            drive(steps, answer)
    assert "speculativeAuthenticate" not in seen[0][1]
    assert seen[1][0] == "$external"
    assert seen[1][1]["payload"] == b"\0user\0pencil"


def test_reauthentication_sends_no_hello():
    server = LoginServer(USERS)
    credential = build_credential(None, "sha1", "pw")
    result = log_in(credential, server)
    for mechanism in (result.mechanism, None):
        del server.seen[:]
        drive(reauthenticate(credential, ADDRESS, mechanism), server.answer)
        assert [next(iter(command)) for _, command in server.seen] == ["saslStart", "saslContinue"]
        assert server.seen[0][1]["mechanism"] == "SCRAM-SHA-1"


class TestFailures:
    def fail(self, credential, server, kind=AuthenticationFailed, **options):
        with pytest.raises(kind) as caught:
            log_in(credential, server, **options)
        assert "pw-secret" not in str(caught.value)
        return caught.value

    def words(self, error):
        return {each.code: each.confidence for each in error.diagnoses}

    def test_the_message_says_who_where_how_and_what_was_answered(self):
        error = self.fail(build_credential(None, "both", "pw-secret"), LoginServer(USERS))
        assert isinstance(error, OperationFailure)
        assert (error.code, error.details) == (18, FAILED)
        text = str(error)
        for fact in (
            "db.example.com:27017",
            "user 'both'",
            "database 'admin' from the default",
            "SCRAM-SHA-256 (negotiated: the server offers SCRAM-SHA-1, SCRAM-SHA-256)",
            "password given: yes",
            "'Authentication failed.' (code 18, AuthenticationFailed)",
        ):
            assert fact in text
        assert self.words(error) == {"AUTH-PASSWORD-WRONG": "likely"}

    def test_a_path_database_that_became_the_source_is_named(self):
        error = self.fail(build_credential(None, "both", "pw-secret", "shop"), LoginServer(USERS))
        assert "database 'shop' from the database in the URI's path" in str(error)
        assert "add authSource=admin" in str(error)
        assert self.words(error) == {
            "AUTH-SOURCE-FROM-PATH": "likely",
            "AUTH-USER-UNKNOWN": "likely",
        }

    def test_no_mechanism_for_a_user_means_it_most_likely_does_not_exist(self):
        error = self.fail(build_credential(None, "nobody", "pw-secret"), LoginServer(USERS))
        assert error.code == 18
        assert self.words(error) == {"AUTH-USER-UNKNOWN": "likely"}
        assert "named no mechanism for user 'nobody' in 'admin'" in str(error)

    def test_a_named_mechanism_that_the_user_lacks_fails(self):
        credential = build_credential("SCRAM-SHA-256", "sha1", "pw-secret", None, "admin")
        error = self.fail(credential, LoginServer(USERS))
        assert "from the authSource option" in str(error)
        assert self.words(error) == {"AUTH-USER-OR-PASSWORD": "possible"}

    @pytest.mark.parametrize(
        ("password", "said"),
        [
            ("pw-secret ", "white space"),
            (" pw-secret", "white space"),
            ("<pw-secret>", "brackets"),
            ("pw-secret>", "brackets"),
        ],
    )
    def test_suspicious_edges_of_a_password_are_told(self, password, said):
        error = self.fail(build_credential(None, "both", password), LoginServer(USERS))
        assert self.words(error)["AUTH-PASSWORD-EDGE"] == "likely"
        assert said in str(error)

    def test_a_line_break_at_the_end_is_told_for_sha_1_too(self):
        error = self.fail(
            build_credential("SCRAM-SHA-1", "both", "pw-secret\n"), LoginServer(USERS)
        )
        assert "printf" in str(error)

    def test_a_password_sha_256_cannot_take_is_a_configuration_error(self):
        error = self.fail(
            build_credential(None, "both", "pw-secret\n"), LoginServer(USERS), ConfigurationError
        )
        assert "line break" in str(error)
        assert "user 'both'" in str(error)

    def test_a_credential_that_worked_before_was_changed(self):
        server = LoginServer(USERS)
        credential = build_credential(None, "both", "pw")
        log_in(credential, server)
        server = LoginServer({("admin", "both"): ("other", BOTH)})
        assert self.words(self.fail(credential, server))["AUTH-CHANGED"] == "likely"

    def test_atlas_is_recognized(self):
        answer = {"ok": 0.0, "errmsg": "bad auth : Authentication failed.", "code": 8000}

        def atlas(database, command):
            return dict(LoginServer({}).hello) if "isMaster" in command else dict(answer)

        credential = build_credential(None, "both", "pw-secret")
        with pytest.raises(AuthenticationFailed) as caught:
            drive(login(credential, None, ("x.mongodb.net", 27017)), atlas)
        assert caught.value.code == 8000
        assert "AUTH-ATLAS" in self.words(caught.value)

    def test_a_mechanism_the_server_lacks_is_told(self):
        def community(database, command):
            if "isMaster" in command:
                return dict(LoginServer({}).hello)
            return {"ok": 0.0, "errmsg": "Unsupported mechanism 'PLAIN'", "code": 334}

        credential = build_credential("PLAIN", "me", "pw-secret")
        with pytest.raises(AuthenticationFailed, match="AUTH-MECHANISM-OFF"):
            drive(login(credential, None, ADDRESS), community)

    def test_hello_refused_is_explained_and_is_an_authentication_error(self):
        server = LoginServer(USERS, hello={"ok": 0.0, "errmsg": "no", "code": 9})
        error = self.fail(build_credential(None, "both", "pw-secret"), server)
        assert "refused the handshake" in str(error)
        assert "user 'both'" in str(error)
        assert error.code == 9
        error = self.fail(None, server, OperationFailure)
        assert not isinstance(error, AuthenticationFailed)

    def test_a_server_that_shuts_down_is_no_wrong_password(self):
        server = LoginServer(USERS, hello={"ok": 0.0, "errmsg": "shutting down", "code": 91})
        self.fail(build_credential(None, "both", "pw-secret"), server, NotPrimaryError)

        def answer(database, command):
            if "isMaster" in command:
                return dict(LoginServer({}).hello)
            return {"ok": 0.0, "errmsg": "shutting down", "code": 91}

        credential = build_credential(None, "both", "pw")
        credential.state.shared.mechanism = "SCRAM-SHA-1"
        with pytest.raises(NotPrimaryError):
            drive(login(credential, None, ADDRESS), answer)
        assert credential.state.mechanism == "SCRAM-SHA-1"

    def test_an_impostor_is_called_one(self):
        server = LoginServer(USERS)

        def impostor(database, command):
            reply = server.answer(database, command)
            if "saslContinue" in command:
                reply["payload"] = b"v=" + b"A" * 43 + b"="
            return reply

        with pytest.raises(ServerProofError, match="could not prove") as caught:
            drive(login(build_credential(None, "both", "pw"), None, ADDRESS), impostor)
        assert caught.value.login.mechanism == "SCRAM-SHA-256"
        assert not caught.value.login.credential.state.logged_in

    @pytest.mark.parametrize(
        "answer", ["text", 7, [], True, {}, {"ok": 0.0, "errmsg": "no", "code": 18}, {"ok": 1.0}]
    )
    def test_a_speculative_reply_that_says_nothing_counts_as_none(self, answer):
        """As imitations of MongoDB send it."""
        server = LoginServer(USERS, speculates=False, hello={"speculativeAuthenticate": answer})
        result = log_in(build_credential("SCRAM-SHA-256", "both", "pw"), server)
        assert (result.round_trips, result.speculative) == (3, False)

    def test_answers_without_end_are_cut(self):
        answer = {"ok": 0.0, "errmsg": "x" * 100_000, "code": 18, "codeName": "y" * 100_000}

        def wordy(database, command):
            return dict(LoginServer({}).hello) if "isMaster" in command else dict(answer)

        with pytest.raises(AuthenticationFailed) as caught:
            drive(login(build_credential(None, "both", "pw"), None, ADDRESS), wordy)
        assert len(str(caught.value)) < 2000
