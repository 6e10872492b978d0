"""A password that PLAIN sends as it is shows nowhere else: tools that report errors print frames
with their variables, so those are looked at too."""

from __future__ import annotations

import logging
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mongokey
from mongokey import MongoClient
from mongokey.auth import MongoCredential, open_conversation, run_blocking
from mongokey.connection import plaintext_secrets
from tests.servers.mechanism import MechanismServer, Refused
from tests.servers.mechanism.plain import KnownUsers, PlainAcceptor
from tests.servers.scripted import Close, Raw, Reply, Silence
from tests.servers.scripted.answers import Answer

PACKAGE = str(Path(mongokey.__file__).parent)
# Compiled modules have their path in the sources.
COMPILED = "src/mongokey/"
PASSWORD = "pencil-5ecret"

DONE = {"conversationId": 1, "done": True, "payload": b"", "ok": 1.0}
FAULTS: dict[str, Answer | None] = {
    "refused": None,
    "silent": Silence(),
    "closed": Close(),
    "not MongoDB": Raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "goes on": Reply({**DONE, "done": False}),
    "no payload": Reply({"ok": 1.0}),
    "repeats it": Reply({"ok": 0.0, "code": 18, "errmsg": "Authentication failed."}),
    "shuts down": Reply({"ok": 0.0, "code": 91, "errmsg": "shutting down"}),
}


REFUSALS = {"refused", "goes on", "no payload", "repeats it"}


def variables(error: BaseException) -> Iterator[tuple[str, str]]:
    """The variables of the package's frames that `error`, its causes and contexts come from; and
    each such frame itself, as compiled ones show no variables."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        waiting += [each.__cause__, each.__context__]
        # What each server of a selection answered.
        told = getattr(each, "errors", None)
        waiting += [e for e in told.values() if isinstance(e, Exception)] if told else []
        for frame, _ in traceback.walk_tb(each.__traceback__):
            if frame.f_code.co_filename.startswith((PACKAGE, COMPILED)):
                yield f"{frame.f_code.co_name}: the frame", ""
                for name, value in frame.f_locals.items():
                    yield f"{frame.f_code.co_name}: {name}", repr(value)


def fail(server: MechanismServer) -> Exception:
    client = MongoClient(
        server.uri(),
        username="ann",
        password=PASSWORD,
        authMechanism="PLAIN",
        connectTimeoutMS=300,
        serverSelectionTimeoutMS=350,
    )
    with client, pytest.raises(Exception) as caught:
        client.db.c.find_one()
    assert PASSWORD not in repr(client)
    return caught.value


@pytest.mark.parametrize("fault", FAULTS)
def test_no_failure_shows_the_password(fault: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    acceptor = PlainAcceptor(KnownUsers({"ann": "another"}))
    with MechanismServer(acceptor, backend=None) as server:
        answer = FAULTS[fault]
        if answer is not None:
            server.on["saslStart"] = answer
        error = fail(server)
        assert "saslStart" in server.names()
    looked_at = dict(variables(error))
    # A refusal is told to all who wait by errors of their own, without the login's frames.
    if fault not in REFUSALS:
        assert any("drive: " in name for name in looked_at), "the login's frames were looked at"
    for name, value in looked_at.items():
        assert PASSWORD not in value, name
    assert PASSWORD not in "".join(traceback.format_exception(error))
    assert PASSWORD not in caplog.text


def test_nor_does_the_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plaintext_secrets, "peer_ip", lambda stream: "10.1.2.3")
    with MechanismServer(PlainAcceptor(KnownUsers({})), backend=None) as server:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            error = fail(server)
    assert isinstance(error, mongokey.errors.InsecureConnectionWarning)
    assert not any(PASSWORD in value for _, value in variables(error))


def test_the_look_at_variables_finds_what_is_there() -> None:
    # The server's own refusal is an exception whose frame has the password.
    with pytest.raises(Refused) as caught:
        KnownUsers({}).check("ann", PASSWORD)
    frames: list[Any] = [frame for frame, _ in traceback.walk_tb(caught.value.__traceback__)]
    assert any(PASSWORD in repr(frame.f_locals) for frame in frames)


def test_a_conversation_driven_over_somebody_s_own_socket_shows_none_either() -> None:
    credential = MongoCredential("PLAIN", "$external", "ann", PASSWORD)
    conversation = open_conversation(credential, "PLAIN", ("db.example.com", 27017))
    sent: list[str] = []

    def send(database: str, command: dict[str, Any]) -> dict[str, Any]:
        sent.append(repr(command))
        raise ConnectionError("the connection is lost")

    with pytest.raises(ConnectionError) as caught:
        run_blocking(conversation, send)
    assert PASSWORD in sent[0]
    looked_at = dict(variables(caught.value))
    assert "run_blocking: step" in looked_at
    assert not [name for name, value in looked_at.items() if PASSWORD in value]
