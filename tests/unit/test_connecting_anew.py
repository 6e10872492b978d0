"""A connection that is made once more, as its secret was refused and another is there: which steps,
in which order and within which time. No sockets: the steps are answered by a script."""

from __future__ import annotations

from typing import Any

import pytest

from mongokey._support.deadline import Timeout
from mongokey.auth import OffloadedCall
from mongokey.auth.errors import AuthenticationFailed
from mongokey.auth.login import Command
from mongokey.auth.provided import ProvidedCredential, ProvidedSecrets
from mongokey.connection.establish_steps import establish
from mongokey.connection.settings import ConnectionSettings
from mongokey.connection.steps import Connect
from mongokey.credentials import Request, Secret
from mongokey.errors import AutoReconnect
from tests.deadlines import within
from tests.servers.login_server import LoginServer

ADDRESS = ("db.example.com", 27017)
SHA_256 = ("SCRAM-SHA-256",)


class Opened:
    """What `Connect` is answered with."""

    def __init__(self) -> None:
        self.stream = type("Stream", (), {"peer": "db.example.com:27017"})()
        self.hello: Any = None

    def accept_hello(self, hello: Any) -> None:
        self.hello = hello


class Script:
    """Carries the steps out; `connects` are those that opened a connection, `asked` the questions
    to the provider by their reasons."""

    def __init__(self, *given: Any, password: str = "right") -> None:
        self.given = list(given)
        self.asked: list[str] = []
        self.connects: list[Connect] = []
        self.server = LoginServer({("admin", "ada"): (password, SHA_256)})
        template = ProvidedCredential(self.provide, None, None, None, None, None)
        self.settings = ConnectionSettings(credential=template, secrets=ProvidedSecrets(template))

    def provide(self, request: Request) -> Secret:
        self.asked.append(request.reason)
        given = self.given.pop(0) if len(self.given) > 1 else self.given[0]
        if isinstance(given, Exception):
            raise given
        return Secret("ada", given)

    def run(self, *, lost_after: int | None = None) -> Any:
        steps = establish(ADDRESS, self.settings, Timeout(20_000_000_000, "connectTimeoutMS"))
        answer: Any = None
        try:
            while True:
                step = steps.send(answer)
                answer = None
                if isinstance(step, Connect):
                    self.connects.append(step)
                    step.begin()
                    if lost_after is not None and len(self.connects) > lost_after:
                        steps.throw(AutoReconnect("refused"))
                    answer = Opened()
                elif isinstance(step, OffloadedCall):
                    step.run(within(20_000))
                else:
                    assert isinstance(step, Command)
                    answer = self.server.answer(step.database, step.document)
        except StopIteration as end:
            return end.value

    @property
    def hellos(self) -> int:
        return sum("hello" in command or "isMaster" in command for _, command in self.server.seen)


def test_the_first_attempt_asks_once_and_is_all_there_is() -> None:
    script = Script("right")
    connection, result = script.run()
    assert result.mechanism == "SCRAM-SHA-256"
    assert connection.hello is not None
    script.run()
    assert (script.asked, len(script.connects), script.hellos) == (["new"], 2, 2)


def test_the_second_attempt_is_the_same_step_within_the_same_time() -> None:
    script = Script("wrong", "right")
    _, result = script.run()
    assert result.mechanism == "SCRAM-SHA-256"
    first, second = script.connects
    assert first is second
    assert first.begin() is first.deadline
    assert (script.asked, script.hellos) == (["new", "refused"], 2)


def test_the_provider_is_asked_for_nothing_where_another_connection_was_first() -> None:
    script = Script("wrong", "right")
    held = script.settings.secrets.fetch(ADDRESS, None, None)
    script.settings.secrets.fetch(ADDRESS, held, None)
    script.run()
    assert (script.asked, len(script.connects)) == (["new", "refused"], 1)


def test_there_is_no_third_attempt() -> None:
    script = Script("wrong", "wrong too", "right")
    with pytest.raises(AuthenticationFailed, match="another secret than before, which is refused"):
        script.run()
    assert (script.asked, len(script.connects)) == (["new", "refused"], 2)


def test_the_same_secret_is_not_sent_again() -> None:
    script = Script("wrong")
    with pytest.raises(AuthenticationFailed, match="gave the same secret as before"):
        script.run()
    assert (script.asked, script.hellos) == (["new", "refused"], 1)
    # Nor is the provider asked, nor a connection made, about one that was the same a moment ago.
    with pytest.raises(AuthenticationFailed, match="gave the same secret as before"):
        script.run()
    assert (script.asked, len(script.connects)) == (["new", "refused"], 3)


def test_a_provider_that_fails_when_asked_again_leaves_the_refusal() -> None:
    script = Script("wrong", OSError("the vault is sealed"))
    with pytest.raises(AuthenticationFailed, match=r"and failed: .*the vault is sealed") as failed:
        script.run()
    assert failed.value.code == 18
    assert isinstance(failed.value.__cause__, AuthenticationFailed)
    assert isinstance(failed.value.__cause__.__cause__, OSError)


def test_a_second_connection_that_cannot_be_made_is_told_as_such() -> None:
    script = Script("wrong", "right")
    with pytest.raises(AutoReconnect, match="refused"):
        script.run(lost_after=1)
    script.run()
    assert script.asked == ["new", "refused"]


def test_a_connection_without_a_login_asks_nobody() -> None:
    script = Script("right")
    steps = establish(ADDRESS, script.settings, None, log_in=False)
    step = next(steps)
    assert isinstance(step, Connect)
    assert isinstance(steps.send(Opened()), Command)
    steps.close()
    assert script.asked == []
