"""PLAIN (RFC 4616): its one message, its rules, and what its failures are said to mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from mongokey.auth import (
    AuthenticationFailed,
    ServerProofError,
    build_credential,
    open_conversation,
    run_blocking,
)
from mongokey.auth.login import Command
from mongokey.auth.whole_login import login
from mongokey.client_options import ClientOptions
from mongokey.errors import ConfigurationError
from tests.servers.login_server import HELLO

ADDRESS = ("db.example.com", 27017)
DONE = {"conversationId": 1, "done": True, "payload": b"", "ok": 1.0}


def conversation(user: str = "user", password: str = "pencil", *more: Any) -> Any:
    credential = build_credential("PLAIN", user, password, *more)
    assert credential is not None
    return open_conversation(credential, "PLAIN", ADDRESS)


def test_the_message_is_the_specifications() -> None:
    sent = []

    def send(database: str, command: Mapping[str, Any]) -> Mapping[str, Any]:
        sent.append((database, command))
        return DONE

    run_blocking(conversation(), send)
    assert sent == [
        (
            "$external",
            {
                "saslStart": 1,
                "mechanism": "PLAIN",
                "payload": b"\0user\0pencil",
                "autoAuthorize": 1,
            },
        )
    ]


def test_nothing_is_sent_with_hello() -> None:
    assert conversation().speculative() is None


@pytest.mark.parametrize(
    "text", ["\u00fc\u0436\U0001f511", " edges ", "n" * 1000, "a\u00adb\u2168"]
)
def test_names_and_passwords_go_as_they_are_in_utf_8(text: str) -> None:
    # The server prepares them (RFC 4616, section 2), so nothing is mapped here.
    step = conversation(f"u{text}", f"p{text}").start()
    assert step["payload"] == b"\0u" + text.encode() + b"\0p" + text.encode()


@pytest.mark.parametrize(
    ("uri", "source", "origin"),
    [
        ("mongodb://u:p@h/?authMechanism=PLAIN", "$external", "the default"),
        ("mongodb://u:p@h/app?authMechanism=PLAIN", "app", "the database in the URI's path"),
        (
            "mongodb://u:p@h/app?authMechanism=PLAIN&authSource=$external",
            "$external",
            "the authSource option",
        ),
        (
            "mongodb://u:p@h/app?authMechanism=PLAIN&authSource=other",
            "other",
            "the authSource option",
        ),
    ],
)
def test_where_the_source_comes_from(uri: str, source: str, origin: str) -> None:
    credential = ClientOptions.build(uri).credential
    assert credential is not None
    assert (credential.source, credential.source_origin) == (source, origin)


@pytest.mark.parametrize(
    ("user", "password", "message"),
    [
        (None, None, "username is missing"),
        ("", "pw", "username is empty"),
        ("user", None, "password is missing"),
        ("user", "", "password is empty"),
        ("us\0er", "pw", "username contains a NUL character"),
        ("user", "p\0w", "password contains a NUL character"),
        ("us\ud800er", "pw", "username contains a lone surrogate"),
        ("user", "pw\udcff", "password contains a lone surrogate"),
    ],
)
def test_what_cannot_be_sent_is_refused_when_the_client_is_made(
    user: str | None, password: str | None, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        build_credential("PLAIN", user, password)
    assert "pw" not in str(caught.value)


def test_properties_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="'SERVICE_NAME' does not apply to PLAIN"):
        build_credential("PLAIN", "u", "p", None, None, {"SERVICE_NAME": "x"})


@pytest.mark.parametrize(
    "reply",
    [
        {**DONE, "done": False},
        {**DONE, "done": 0},
        {**DONE, "done": "yes"},
        {**DONE, "payload": "text"},
        {"ok": 1.0},
    ],
)
def test_a_server_that_breaks_the_exchange_is_not_believed(reply: dict[str, Any]) -> None:
    talk = conversation()
    talk.start()
    with pytest.raises(ServerProofError, match="PLAIN"):
        talk.step(reply)


def fail(answer: dict[str, Any], *more: Any) -> AuthenticationFailed:
    """The error of a login whose saslStart is answered so."""
    steps = login(build_credential("PLAIN", "ann", "pw-secret", *more), None, ADDRESS)
    next(steps)
    start = steps.send(dict(HELLO))
    assert isinstance(start, Command)
    with pytest.raises(AuthenticationFailed) as caught:
        steps.send(answer)
    assert "pw-secret" not in str(caught.value)
    return caught.value


def words(error: AuthenticationFailed) -> dict[str, str]:
    assert error.login is not None
    return {each.code: each.confidence for each in error.diagnoses}


REFUSED = {"ok": 0.0, "errmsg": "Authentication failed.", "code": 18}
BAD_SOURCE = {
    "ok": 0.0,
    "errmsg": "Unsupported mechanism 'PLAIN' on authentication database 'app'",
    "code": 2,
}


def test_a_refusal_says_that_servers_do_not_tell_what_ldap_answered() -> None:
    error = fail(REFUSED)
    assert words(error) == {"LDAP-REFUSED": "likely", "AUTH-EXTERNAL-USER": "possible"}
    for cause in ("locked", "down", "ldapwhoami"):
        assert cause in str(error)


def test_a_path_that_became_the_source_is_told() -> None:
    assert words(fail(BAD_SOURCE, "app")) == {"LDAP-SOURCE": "certain"}
    # Servers that know PLAIN elsewhere too refuse it as a wrong password.
    assert words(fail(REFUSED, "app")) == {"LDAP-SOURCE": "likely"}
    assert "set authSource=$external" in str(fail(BAD_SOURCE, "app"))


def test_a_server_without_plain_is_told() -> None:
    answer = {"ok": 0.0, "errmsg": "mechanism PLAIN is not enabled", "code": 334}
    assert words(fail(answer)) == {"AUTH-MECHANISM-OFF": "likely"}
    assert words(fail({**BAD_SOURCE, "errmsg": "no"})) == {"AUTH-MECHANISM-OFF": "likely"}


@pytest.mark.parametrize(
    "reply", [{**DONE, "done": 1}, {**DONE, "conversationId": "x"}, {"ok": 1, "done": True}]
)
def test_what_a_login_does_not_need_is_not_looked_at(reply: dict[str, Any]) -> None:
    talk = conversation()
    talk.start()
    assert talk.step(reply) is None
