"""What a refused login or command is said to mean, cause by cause, from the facts at hand.

Rows are those of the collected diagnoses: what people met, and the hint that would have helped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from mongokey.auth import AuthenticationFailed, MongoCredential, build_credential
from mongokey.auth.diagnosis import explain_command
from mongokey.auth.whole_login import login
from mongokey.diagnostics import Diagnosis
from tests.logins import drive
from tests.servers.login_server import HELLO, LoginServer

PLACE = ("db.example.com", 27017)
BOTH = ("SCRAM-SHA-1", "SCRAM-SHA-256")
USERS = {("admin", "root"): ("right", BOTH)}
SECRET = "pw-secret"

Answer = Callable[[str, Mapping[str, Any]], dict[str, Any]]


def refused(code: Any, errmsg: str = "Authentication failed.") -> Answer:
    """A server that answers hello as usual, and every login so."""

    def answer(database: str, command: Mapping[str, Any]) -> dict[str, Any]:
        if "saslStart" not in command:
            return dict(HELLO)
        return {"ok": 0.0, "errmsg": errmsg, "code": code}

    return answer


def fail(
    user: str = "root",
    password: str = SECRET,
    *,
    path: str | None = None,
    source: str | None = None,
    mechanism: str | None = None,
    address: tuple[str, int | None] = PLACE,
    answer: Answer | None = None,
    credential: MongoCredential | None = None,
) -> AuthenticationFailed:
    """The error of a login; by default at a server that knows root, with another password."""
    credential = credential or build_credential(mechanism, user, password, path, source)
    steps = login(credential, None, address)
    answer = answer or LoginServer(USERS).answer
    with pytest.raises(AuthenticationFailed) as caught:
        drive(steps, answer)
    assert SECRET not in str(caught.value)
    return caught.value


def words(error: AuthenticationFailed) -> dict[str, str]:
    assert error.login is not None
    return {each.code: each.confidence for each in error.diagnoses}


# Row 3: what is glued to a secret; row 4: what is left of an example


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ("{}\n", "ends with a line break: make the secret with printf"),
        ("{}\r\n", "ends with a line break"),
        (" {}", "white space"),
        ("{}\t", "white space"),
        ("{}\u00a0", "white space"),
        ("\ufeff{}", "cannot be seen"),
        ("{}\u200b", "cannot be seen"),
        ("{}\x00", "cannot be seen"),
        ("<{}>", "stands in < and >: the brackets belong to the example"),
        ("{}>", "brackets"),
        ("<{}", "brackets"),
        ('"{}"', "quotation marks"),
        ("'{}'", "quotation marks"),
    ],
)
def test_what_is_glued_to_a_secret_is_told(ends: str, said: str) -> None:
    error = fail(password=ends.format(SECRET), mechanism="SCRAM-SHA-1")
    assert words(error)["AUTH-PASSWORD-EDGE"] == "likely"
    assert said in str(error)
    error = fail(user=ends.format("root"), mechanism="SCRAM-SHA-1")
    assert words(error)["AUTH-USER-EDGE"] == "likely"
    assert "AUTH-PASSWORD-EDGE" not in words(error)
    assert said in str(error)


@pytest.mark.parametrize("password", [SECRET, "a b-secret", "a<b>c", "'", "é", "=="])
def test_ordinary_secrets_are_not_suspected(password: str) -> None:
    assert not {"AUTH-PASSWORD-EDGE", "AUTH-USER-EDGE"} & set(words(fail(password=password)))


# Rows 36 to 38: the user is not there


def test_a_path_that_became_the_source() -> None:
    error = fail(path="project")
    assert words(error) == {"AUTH-USER-UNKNOWN": "likely", "AUTH-SOURCE-FROM-PATH": "likely"}
    assert "user 'root', authentication database 'project' from the database in" in str(error)
    assert "add authSource=admin" in str(error)


def test_silence_about_a_users_mechanisms_is_evidence() -> None:
    assert words(fail(user="nobody")) == {"AUTH-USER-UNKNOWN": "likely"}


@pytest.mark.parametrize("host", ["mongo", "localhost", "127.0.0.1", "::1"])
def test_a_container_whose_volume_was_there_before(host: str) -> None:
    error = fail(user="nobody", address=(host, 27017))
    assert words(error) == {"AUTH-USER-UNKNOWN": "likely", "AUTH-CONTAINER-VOLUME": "possible"}
    assert "deletes its data" in str(error)


@pytest.mark.parametrize(
    "login",
    [
        {"address": PLACE},
        {"address": ("/tmp/mongodb-27017.sock", None)},
        {"address": ("mongo", 27017), "source": "shop"},
        {"address": ("mongo", 27017), "user": "root"},
    ],
)
def test_no_container_is_suspected_without_reason(login: dict[str, Any]) -> None:
    assert "AUTH-CONTAINER-VOLUME" not in words(fail(**{"user": "nobody", **login}))


def test_a_server_that_says_the_user_is_unknown_is_believed() -> None:
    error = fail(answer=refused(11, "no such user"))
    assert words(error)["AUTH-USER-UNKNOWN"] == "certain"


# Row 39: Atlas


@pytest.mark.parametrize(
    ("code", "host"), [(8000, PLACE[0]), (18, "ac-x-00.abc.mongodb.net"), (8000, "A.MongoDB.net")]
)
def test_atlas(code: int, host: str) -> None:
    answer = refused(code, "bad auth : Authentication failed.")
    error = fail(address=(host, 27017), answer=answer)
    # Its proxies never name mechanisms: that says nothing of the user.
    assert words(error) == {"AUTH-ATLAS": "likely"}
    assert "not your Atlas login" in str(error)


def test_users_of_atlas_are_in_admin() -> None:
    error = fail(path="shop", answer=refused(8000, "bad auth"))
    assert words(error) == {"AUTH-ATLAS": "likely", "AUTH-SOURCE-FROM-PATH": "likely"}


# Row 41: DocumentDB

DOCUMENTDB = ("x.cluster-y.eu-west-1.docdb.amazonaws.com", 27017)


@pytest.mark.parametrize(
    ("code", "address"), [(-301, PLACE), (-301, DOCUMENTDB), (334, DOCUMENTDB), (2, DOCUMENTDB)]
)
def test_documentdb_without_a_mechanism(code: int, address: tuple[str, int]) -> None:
    answer = refused(code, f"Unsupported mechanism [ {code} ]")
    error = fail(mechanism="SCRAM-SHA-256", address=address, answer=answer)
    assert words(error) == {"AUTH-DOCUMENTDB": "likely"}
    assert "only SCRAM-SHA-1" in str(error)


def test_documentdb_refusing_a_user() -> None:
    assert words(fail(address=DOCUMENTDB, answer=refused(18))) == {"AUTH-DOCUMENTDB": "possible"}


# Row 42: Cosmos DB

COSMOS = ("acct.mongo.cosmos.azure.com", 10255)
OLDER_COSMOS = ("acct.documents.azure.com", 10255)


@pytest.mark.parametrize("address", [COSMOS, OLDER_COSMOS])
@pytest.mark.parametrize(
    ("user", "password", "grade", "said"),
    [
        ("root", SECRET + "==", "likely", "user name, here 'acct', not 'root'"),
        ("acct", SECRET, "likely", "%3D%3D"),
        ("acct", SECRET + "==", "possible", "regenerated"),
    ],
)
def test_cosmos_db(
    address: tuple[str, int], user: str, password: str, grade: str, said: str
) -> None:
    error = fail(user, password, address=address, answer=refused(18, "Invalid key"))
    assert words(error) == {"AUTH-COSMOS": grade}
    assert said in str(error)


@pytest.mark.parametrize("code", [18, 334, 2])
def test_a_vcore_cluster_wants_sha_256(code: int) -> None:
    address = ("acct.mongocluster.cosmos.azure.com", 10260)
    error = fail(mechanism="SCRAM-SHA-1", address=address, answer=refused(code))
    assert words(error) == {"AUTH-COSMOS": "possible"}
    assert "SCRAM-SHA-256 only" in str(error)


# Row 44, 49


def test_what_logged_in_before_was_changed_since() -> None:
    credential = build_credential(None, "root", SECRET)
    assert credential is not None
    steps = login(credential, None, PLACE)
    server = LoginServer({("admin", "root"): (SECRET, BOTH)})
    drive(steps, server.answer)
    error = fail(credential=credential)
    assert words(error) == {"AUTH-CHANGED": "likely", "AUTH-PASSWORD-WRONG": "likely"}


@pytest.mark.parametrize(
    ("code", "errmsg"),
    [
        (334, "Received authentication for mechanism SCRAM-SHA-1 which is not enabled"),
        (2, "Unsupported mechanism 'SCRAM-SHA-1'"),
        (18, "Unsupported SASL mechanism: 'SCRAM-SHA-1' (supported: PLAIN)"),
        (18, 'Unsupported authentication mechanism "SCRAM-SHA-1".'),
    ],
)
def test_a_mechanism_that_is_not_there_whatever_the_code(code: int, errmsg: str) -> None:
    error = fail(mechanism="SCRAM-SHA-1", answer=refused(code, errmsg))
    assert words(error) == {"AUTH-MECHANISM-OFF": "likely"}
    assert "LDAP" not in str(error), "that is for those who asked for it"


@pytest.mark.parametrize("errmsg", [None, 5, b"\xff", {"a": 1}, "x" * 5000])
@pytest.mark.parametrize("code", [18, None, "18", 18.0, [18], {"a": 1}])
def test_answers_of_any_form_are_explained(code: Any, errmsg: Any) -> None:
    error = fail(mechanism="SCRAM-SHA-1", answer=refused(code, errmsg))
    assert "login to db.example.com:27017 failed" in str(error)
    assert len(str(error)) < 2000


# Rows 9 and 43: commands


def hint_for(
    answer: Mapping[str, Any],
    user: str | None = "root",
    database: str = "shop",
    password: str = SECRET,
    address: tuple[str, int | None] = PLACE,
) -> Diagnosis | None:
    credential = None if user is None else build_credential(None, user, password)
    return explain_command(answer, credential, address, database)


UNAUTHORIZED = {"ok": 0.0, "code": 13, "errmsg": "Command find requires authentication"}
NOT_ALLOWED = {"ok": 0.0, "code": 13, "errmsg": "not authorized on shop to execute command {…}"}


@pytest.mark.parametrize("answer", [UNAUTHORIZED, NOT_ALLOWED])
def test_a_command_of_nobody(answer: Mapping[str, Any]) -> None:
    hint = hint_for(answer, None)
    assert hint is not None
    assert (hint.code, hint.confidence) == ("AUTH-NO-CREDENTIAL", "certain")
    assert "no credentials were given" in hint.text


@pytest.mark.parametrize(
    "answer",
    [
        NOT_ALLOWED,
        {"code": 8000, "errmsg": "user is not allowed to do action [find] on [shop.users]"},
    ],
)
def test_a_command_of_a_user_without_the_role(answer: Mapping[str, Any]) -> None:
    hint = hint_for(answer)
    assert hint is not None
    assert (hint.code, hint.confidence) == ("AUTH-NO-ROLE", "likely")
    assert "user 'root' of 'admin' is logged in" in hint.text
    assert "database 'shop'" in hint.text
    assert "test is where" not in hint.text
    in_test = hint_for(answer, database="test")
    assert in_test is not None
    assert "test is where tools go that are given none" in in_test.text


@pytest.mark.parametrize(
    "answer",
    [
        {"code": 11000, "errmsg": "not authorized"},
        {"code": 8000, "errmsg": "over your storage quota"},
        {"errmsg": "not authorized"},
        {},
    ],
)
@pytest.mark.parametrize("user", [None, "root"])
def test_other_errors_of_commands_have_no_hint(answer: Mapping[str, Any], user: str | None) -> None:
    assert hint_for(answer, user) is None


def test_nobody_logged_in_on_a_connection_in_spite_of_a_credential_is_not_guessed_at() -> None:
    assert hint_for(UNAUTHORIZED) is None


def test_cosmos_db_refuses_commands_for_a_key() -> None:
    answer = {"code": 13, "errmsg": "Not Authenticated. ConnectionId 5"}
    hint = hint_for(answer, "acct", address=COSMOS)
    assert hint is not None
    assert (hint.code, hint.confidence) == ("AUTH-COSMOS", "likely")
    assert SECRET not in hint.text
