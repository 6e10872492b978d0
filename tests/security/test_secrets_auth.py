"""No secret of a credential shows in a repr, a message, or a traceback."""

import traceback

import pytest

from mongokey.auth import OffloadedCall, build_credential, open_conversation
from mongokey.auth.whole_login import login
from mongokey.errors import ConfigurationError, MongoError
from tests.logins import drive
from tests.servers.login_server import LoginServer

PASSWORD = "pencil-0815"
TOKEN = "token-4711"
ADDRESS = ("db.example.com", 27017)


def show(error):
    """All that a traceback prints, with the chain of causes."""
    return "".join(traceback.format_exception(error)) + repr(error) + str(vars(error))


def credentials():
    return [
        build_credential(None, "user", PASSWORD),
        build_credential("SCRAM-SHA-1", "user", PASSWORD),
        build_credential("PLAIN", "user", PASSWORD),
        build_credential("GSSAPI", "user", PASSWORD),
        build_credential("MONGODB-AWS", "key", PASSWORD, properties={"AWS_SESSION_TOKEN": TOKEN}),
    ]


@pytest.mark.parametrize("credential", credentials(), ids=lambda c: str(c.mechanism))
def test_a_credentials_repr_shows_no_secret(credential):
    for text in (
        repr(credential),
        str(credential),
        f"{credential}",
        repr(credential.mechanism_properties),
        repr([credential]),
        repr(credential.state),
    ):
        assert PASSWORD not in text
        assert TOKEN not in text
    assert "password=<hidden>" in repr(credential)


def test_the_token_is_there_for_those_who_ask():
    aws = credentials()[-1]
    assert aws.mechanism_properties["AWS_SESSION_TOKEN"] == TOKEN


@pytest.mark.parametrize(
    "arguments",
    [
        ("MONGODB-X509", "user", PASSWORD),
        ("SCRAM-SHA-256", "user", PASSWORD + "\x07"),
        ("SCRAM-SHA-256", "user", PASSWORD + "\n"),
        ("SCRAM-SHA-256", "user", PASSWORD + "\ud800"),
        ("SCRAM-SHA-256", "user", "\u00e4" + PASSWORD + "\ue000"),
        (None, None, PASSWORD),
        (None, "", PASSWORD),
        ("PLAIN", "user", PASSWORD + "\0"),
        ("MONGODB-AWS", None, PASSWORD),
        ("MONGODB-AWS", None, None, None, None, {"AWS_SESSION_TOKEN": TOKEN}),
        ("MONGODB-AWS", None, None, None, None, {f"AWS_SESSION_TOKEN={TOKEN}": "x"}),
        ("SCRAM-SHA-1", "user", PASSWORD, None, None, {"AWS_SESSION_TOKEN": TOKEN}),
        ("MONGODB-OIDC", None, None, None, None, {"OIDC_CALLBACK": TOKEN}),
        ("nonsense", "user", PASSWORD),
    ],
)
def test_refusals_of_options_show_no_secret(arguments):
    with pytest.raises(ConfigurationError) as caught:
        build_credential(*arguments)
    assert PASSWORD not in show(caught.value)
    assert TOKEN not in show(caught.value)


def test_password_of_a_wrong_type_is_not_shown():
    with pytest.raises(TypeError) as caught:
        build_credential(None, "user", PASSWORD.encode())
    assert PASSWORD not in show(caught.value)


def failing_servers():
    users = {("admin", "user"): ("other", ("SCRAM-SHA-1", "SCRAM-SHA-256"))}
    yield LoginServer(users).answer
    yield LoginServer({}).answer
    yield LoginServer(users, hello={"ok": 0, "errmsg": "no", "code": 9}).answer
    yield LoginServer(users, hello={"maxWireVersion": 1}).answer
    genuine = LoginServer({("admin", "user"): (PASSWORD, ("SCRAM-SHA-1", "SCRAM-SHA-256"))})

    def forges(database, command):
        reply = genuine.answer(database, command)
        return {**reply, "payload": b"v=AAAA"} if "saslContinue" in command else reply

    def breaks(database, command):
        reply = genuine.answer(database, command)
        return {**reply, "payload": None} if "saslContinue" in command else reply

    yield forges
    yield breaks


@pytest.mark.parametrize("answer", list(failing_servers()))
@pytest.mark.parametrize("mechanism", [None, "SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_no_failed_login_shows_the_password(answer, mechanism):
    credential = build_credential(mechanism, "user", PASSWORD)
    with pytest.raises(MongoError) as caught:
        drive(login(credential, None, ADDRESS), answer)
    assert PASSWORD not in show(caught.value)


def test_nothing_on_the_way_of_a_login_shows_the_password_or_a_key():
    users = {("admin", "user"): (PASSWORD, ("SCRAM-SHA-256",))}
    server = LoginServer(users)
    credential = build_credential("SCRAM-SHA-256", "user", PASSWORD)
    conversation = open_conversation(credential, "SCRAM-SHA-256", ADDRESS)
    step = conversation.step(server.answer("admin", conversation.start()))
    assert isinstance(step, OffloadedCall)
    step.run()
    shown = [repr(step), repr(step.keys), repr(conversation), str(vars(step))]
    shown.append(repr(conversation.resume(step)))
    assert not [text for text in shown if PASSWORD in text]
    assert shown[1] == "<Keys>"
    # The keys themselves are in C: nothing of Python's can print them.
    assert not hasattr(step.keys, "__dict__")
    assert {name for name in dir(step.keys) if name[0] != "_"} == {"prove", "verify"}
