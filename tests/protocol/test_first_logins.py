"""A wrong password is tried once, by however many threads, pools and members; a right one is not
slowed (auth.md speaks of no attempts; LDAP and Active Directory lock accounts that have too many).
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import bson
import pytest

from mongokey import MongoClient
from mongokey.auth import AuthenticationFailed, ServerProofError, build_credential, turns
from mongokey.auth.login import login
from mongokey.auth.turns import WaitForLogin
from mongokey.auth_oidc import OIDCCallback, OIDCCallbackContext, OIDCCallbackResult
from mongokey.connection.establish import open_connection
from mongokey.connection.settings import ConnectionSettings
from mongokey.errors import AutoReconnect, MongoError, NetworkTimeout, OperationFailure
from tests.deadlines import within
from tests.pools import drop_connections
from tests.servers.login_server import LoginServer
from tests.servers.mechanism import MechanismServer
from tests.servers.mechanism.plain import Directory, KnownUsers, PlainAcceptor
from tests.servers.scripted import (
    Close,
    Error,
    Login,
    Reply,
    Request,
    ScriptedServer,
    Silence,
    in_turn,
    primary,
)
from tests.threads import in_threads, outcomes

FOUND = {"ok": 1.0, "cursor": {"id": 0, "ns": "x.y", "firstBatch": [{"_id": 1}]}}
#: What the issue allows for a hundred threads at once.
MOST = 3


class SlowDirectory(Directory):
    """Takes its time, as LDAP does, and counts."""

    def __init__(self, users: dict[str, str], seconds: float = 0.05) -> None:
        self.known = KnownUsers(users)
        self.seconds = seconds
        self.tried = 0
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def check(self, name: str, password: str) -> None:
        with self._lock:
            self.tried += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            time.sleep(self.seconds)
            self.known.check(name, password)
        finally:
            with self._lock:
                self.at_once -= 1


@pytest.fixture
def directory() -> SlowDirectory:
    return SlowDirectory({"ann": "right"})


@pytest.fixture
def ldap(directory: SlowDirectory) -> Iterator[MechanismServer]:
    with MechanismServer(PlainAcceptor(directory), backend=None) as server:
        yield server


def plain_client(server: ScriptedServer, password: str = "wrong", **options: Any) -> MongoClient:
    return MongoClient(
        server.uri(), username="ann", password=password, authMechanism="PLAIN", **options
    )


# -- refused ------------------------------------------------------------------------------------


def test_a_hundred_threads_try_a_wrong_password_once_or_twice(
    ldap: MechanismServer, directory: SlowDirectory
) -> None:
    with plain_client(ldap, maxConnecting=50) as client:
        errors = outcomes(100, client["x"]["y"].find_one)
        assert {type(each) for each in errors} == {AuthenticationFailed}
        assert {each.code for each in errors} == {18}
        assert len({id(each) for each in errors}) == 100
        assert 1 <= directory.tried <= MOST
        # Not for good: the next operation asks again, once.
        before = directory.tried
        with pytest.raises(AuthenticationFailed):
            client["x"]["y"].find_one()
        assert directory.tried == before + 1


def test_scram_s_too() -> None:
    def late(request: Request) -> None:
        time.sleep(0.2)  # so long that all hundred threads have begun, also on a busy machine

    on: Any = {"find": FOUND, "saslContinue": late}
    with ScriptedServer(hello=primary(), login=Login(), on=on) as server:
        with MongoClient(server.uri(password="wrong"), maxConnecting=50) as client:
            errors = outcomes(100, client["x"]["y"].find_one)
        assert {type(each) for each in errors} == {AuthenticationFailed}
        assert 1 <= server.count("saslContinue") <= MOST


def one_after_another(count: int, work: Any) -> list[Any]:
    """What `work` came to in so many threads that begin within 0.2 s, none waiting for another."""
    results: list[Any] = [None] * count

    def run(index: int) -> None:
        time.sleep(index * 0.2 / count)
        try:
            results[index] = work()
        except MongoError as error:
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return results


@pytest.mark.parametrize("max_connecting", [2, 100])
def test_a_server_that_refuses_at_once_is_asked_as_seldom(max_connecting: int) -> None:
    with ScriptedServer(hello=primary(), login=Login(), on={"find": FOUND}) as server:
        uri = server.uri(password="wrong")
        with MongoClient(uri, maxConnecting=max_connecting) as client:
            errors = one_after_another(100, client["x"]["y"].find_one)
            assert {type(each) for each in errors} == {AuthenticationFailed}
            assert len({id(each) for each in errors}) == 100
            assert len({str(each) for each in errors}) == 1
            tried = server.count("saslContinue")
            assert 1 <= tried <= MOST
            # The thread that made the client tries on purpose, as often as it likes.
            for times in range(1, 4):
                with pytest.raises(AuthenticationFailed):
                    client["x"]["y"].find_one()
                assert server.count("saslContinue") == tried + times


def refuse(steps: Any) -> AuthenticationFailed:
    with pytest.raises(AuthenticationFailed) as caught:
        steps.send({"ok": 0.0, "code": 18, "errmsg": "Authentication failed."})
    return caught.value


def in_thread(work: Any) -> Any:
    (found,) = outcomes(1, work)
    return found


def next_step(credential: Any) -> Any:
    """A login's step after hello, or what it raised; in a thread of its own."""

    def work() -> Any:
        return steps_of(credential)[1]

    return in_thread(work)


def test_a_thread_that_was_told_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_RUSH_NS", 60_000_000_000)
    credential = build_credential("PLAIN", "ann", "wrong")

    def told_twice() -> Any:
        with pytest.raises(AuthenticationFailed):
            steps_of(credential)
        return steps_of(credential)[1]

    steps, _ = steps_of(credential)
    refuse(steps)
    assert "saslStart" in in_thread(told_twice).document


def test_a_thread_that_comes_later_than_the_rush_tries_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "_RUSH_NS", 20_000_000)
    credential = build_credential("PLAIN", "ann", "wrong")
    steps, _ = steps_of(credential)
    refuse(steps)
    time.sleep(0.05)
    assert "saslStart" in next_step(credential).document


def test_a_rush_without_end_is_answered_anew_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_RUSH_NS", 10_000_000_000)
    monkeypatch.setattr(turns, "_LONGEST_RUSH_NS", 100_000_000)
    credential = build_credential("PLAIN", "ann", "wrong")
    steps, _ = steps_of(credential)
    refuse(steps)
    ends = time.monotonic() + 20
    while isinstance(found := next_step(credential), AuthenticationFailed):
        assert time.monotonic() < ends
        time.sleep(0.01)
    assert "saslStart" in found.document


def test_one_success_and_nobody_is_refused_for_what_was_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "_RUSH_NS", 60_000_000_000)
    credential = build_credential("PLAIN", "ann", "right now")
    steps, _ = steps_of(credential)
    refuse(steps)
    again, _ = steps_of(credential)
    with pytest.raises(StopIteration):
        again.send({"ok": 1.0, "conversationId": 1, "done": True, "payload": b""})
    assert "saslStart" in next_step(credential).document


def test_a_server_that_proves_nothing_refuses_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "_RUSH_NS", 60_000_000_000)
    credential = build_credential("PLAIN", "ann", "pw")
    steps, _ = steps_of(credential)
    with pytest.raises(ServerProofError):
        steps.send({"ok": 1.0, "conversationId": 1, "done": "perhaps", "payload": b""})
    assert "saslStart" in next_step(credential).document


def test_a_kept_refusal_keeps_no_frames_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_RUSH_NS", 60_000_000_000)

    class Local:
        pass

    credential = build_credential("PLAIN", "ann", "wrong")

    def fail() -> Any:
        local = Local()
        steps, _ = steps_of(credential)
        with pytest.raises(AuthenticationFailed):
            steps.send({"ok": 0.0, "code": 18, "errmsg": "Authentication failed."})
        return weakref.ref(local)

    local = fail()
    gc.collect()
    assert local() is None
    assert isinstance(next_step(credential), AuthenticationFailed)


def test_a_token_that_was_refused_is_fetched_anew_by_the_next_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "_RUSH_NS", 60_000_000_000)
    credential = build_credential("MONGODB-OIDC", None, None, properties={"OIDC_CALLBACK": Token()})
    server = LoginServer({})

    def first_step() -> Any:
        steps = login(credential, None, ("h", 1))
        next(steps)
        step = steps.send(server.hello)
        while not hasattr(step, "document"):
            step.run(within(5000))
            step = steps.send(None)
        return steps, step

    steps, _ = first_step()
    while True:
        try:
            step = steps.send({"ok": 0.0, "code": 18, "errmsg": "Authentication failed."})
            if not hasattr(step, "document"):
                step.run(within(5000))
                step = steps.send(None)
        except AuthenticationFailed:
            break
    _, command = in_thread(first_step)
    assert "saslStart" in command.document


class Token(OIDCCallback):
    def __init__(self) -> None:
        self.calls = 0

    def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
        self.calls += 1
        return OIDCCallbackResult(f"token {self.calls}")


def test_a_refused_token_too() -> None:
    begun: list[int] = []

    def refuse(request: Request) -> Error:
        # Only those who came before the answer share it.
        deadline = time.monotonic() + 10
        while len(begun) < 100 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)
        return Error(code=18, code_name="AuthenticationFailed", message="no")

    with ScriptedServer(hello=primary(), on={"find": FOUND, "saslStart": refuse}) as server:
        client = MongoClient(
            server.uri(),
            authMechanism="MONGODB-OIDC",
            authMechanismProperties={"OIDC_CALLBACK": Token()},
            maxConnecting=50,
        )
        with client:

            def work() -> Any:
                begun.append(1)
                return client["x"]["y"].find_one()

            errors = outcomes(100, work)
        assert {type(each) for each in errors} == {AuthenticationFailed}
        assert 1 <= server.count("saslStart") <= MOST


def test_a_password_that_stops_being_right_is_tried_as_seldom(
    ldap: MechanismServer, directory: SlowDirectory
) -> None:
    with plain_client(ldap, "right") as client:
        client["x"]["y"].find_one()
        directory.known.users = {}
        drop_connections(client)
        before = directory.tried
        errors = outcomes(100, client["x"]["y"].find_one)
        assert {type(each) for each in errors} == {AuthenticationFailed}
        assert directory.tried - before <= MOST


def test_across_the_servers_of_a_client() -> None:
    """Two connections to different servers: the second does not try what the first is trying."""
    credential = build_credential("PLAIN", "ann", "wrong")
    assert credential is not None
    refusal = {"ok": 0.0, "code": 18, "errmsg": "Authentication failed."}
    first, second = (login(credential, None, (host, 1)) for host in ("a", "b"))
    for steps in (first, second):
        next(steps)
    hello = LoginServer({}).hello
    assert "saslStart" in first.send(hello).document
    waiting = second.send(hello)
    assert isinstance(waiting, WaitForLogin)
    with pytest.raises(AuthenticationFailed, match=r"a:1"):
        first.send(refusal)
    run_elsewhere(waiting, 5.0)
    with pytest.raises(AuthenticationFailed, match=r"a:1"):
        second.send(None)


# -- not answered --------------------------------------------------------------------------------


def test_a_first_login_that_dies_is_followed_by_the_next_and_not_by_all() -> None:
    at_once = threading.Semaphore(1)
    overlapped: list[int] = []

    def die_once(request: Request) -> Any:
        if server.logins == 0 and not at_once.acquire(blocking=False):
            overlapped.append(request.connection)
        time.sleep(0.05)
        at_once.release()
        return Close() if server.count("saslContinue") == 1 else None

    on = {"find": FOUND, "saslContinue": die_once}
    with ScriptedServer(hello=primary(), login=Login(), on=on) as server:
        with MongoClient(server.uri(), maxConnecting=20) as client:
            found = outcomes(20, client["x"]["y"].find_one)
        assert all(each == {"_id": 1} or isinstance(each, AutoReconnect) for each in found)
        assert found.count({"_id": 1}) >= 1
        assert overlapped == []


def test_a_first_login_that_never_ends_is_waited_for_only_as_long_as_a_connection_may_take() -> (
    None
):
    with ScriptedServer(hello=primary(), login=Login(), on={"saslContinue": Silence()}) as server:
        options = {"connectTimeoutMS": 400, "serverSelectionTimeoutMS": 1000}
        with MongoClient(server.uri(), **options) as client:
            began = time.monotonic()
            errors = outcomes(10, client["x"]["y"].find_one)
            assert all(isinstance(each, MongoError) for each in errors)
            assert time.monotonic() - began < 15
            server.on.clear()
            server.on["find"] = FOUND
            assert client["x"]["y"].find_one() == {"_id": 1}


def run_elsewhere(work: Any, within_s: float) -> None:
    """Do the work in a thread: a login does not wait for one of its own thread."""
    thread = threading.Thread(target=work.run, args=(within(within_s * 1000),))
    thread.start()
    thread.join(30)


def steps_of(credential: Any) -> Any:
    """A login whose hello is answered, at its first step after that."""
    steps = login(credential, None, ("h", 1))
    next(steps)
    return steps, steps.send(LoginServer({}).hello)


def test_a_login_that_is_given_up_leaves_the_way_free() -> None:
    credential = build_credential("PLAIN", "ann", "pw")
    first, command = steps_of(credential)
    second, waiting = steps_of(credential)
    third, also_waiting = steps_of(credential)
    assert "saslStart" in command.document
    first.close()
    run_elsewhere(waiting, 5.0)
    assert "saslStart" in second.send(None).document
    # Only one goes on.
    run_elsewhere(also_waiting, 5.0)
    still = third.send(None)
    assert isinstance(still, WaitForLogin)
    run_elsewhere(still, 0.05)
    with pytest.raises(NetworkTimeout, match="first login of the same user"):
        third.send(None)


def test_who_waits_gives_up_without_holding_up_the_others() -> None:
    credential = build_credential("PLAIN", "ann", "pw")
    first, _ = steps_of(credential)
    second, waiting = steps_of(credential)
    second.close()
    done = {"ok": 1.0, "conversationId": 1, "done": True, "payload": b""}
    with pytest.raises(StopIteration):
        first.send(done)
    run_elsewhere(waiting, 5.0)
    _, command = steps_of(credential)
    assert "saslStart" in command.document


@pytest.mark.skipif(os.name == "nt", reason="no SIGINT to oneself there")
def test_ctrl_c_in_the_first_login_leaves_the_way_free() -> None:
    on = {"find": FOUND, "saslContinue": in_turn(Silence(), None)}
    with ScriptedServer(hello=primary(), login=Login(), on=on) as server:
        with MongoClient(server.uri()) as client:

            def interrupt() -> None:
                assert server.wait_for(lambda: server.count("saslContinue") == 1, 20)
                os.kill(os.getpid(), signal.SIGINT)

            thread = threading.Thread(target=interrupt)
            thread.start()
            with pytest.raises(KeyboardInterrupt) as kept:
                client["x"]["y"].find_one()
            thread.join()
            # Although the traceback, and with it the frames of that login, still lives.
            assert kept.tb is not None
            assert client["x"]["y"].find_one() == {"_id": 1}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork there")
def test_a_forked_child_does_not_wait_for_the_login_of_a_thread_of_its_parent() -> None:
    hold = threading.Event()

    def once(request: Request) -> Any:
        if server.count("saslContinue") == 1:
            hold.wait(30)
        return None

    with ScriptedServer(hello=primary(), login=Login(), on={"saslContinue": once}) as server:
        server.on["find"] = FOUND
        client = MongoClient(server.uri())
        thread = threading.Thread(target=client["x"]["y"].find_one)
        thread.start()
        assert server.wait_for(lambda: server.count("saslContinue") == 1, 20)
        child = os.fork()
        if child == 0:
            right = False
            try:
                right = client["x"]["y"].find_one() == {"_id": 1}
            finally:
                os._exit(0 if right else 1)
        ends = time.monotonic() + 30
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < ends:
            time.sleep(0.01)
        if ended[0] == 0:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        hold.set()
        thread.join(30)
        client.close()
        assert ended == (child, 0)


# -- right ----------------------------------------------------------------------------------------


def test_once_a_login_succeeded_they_run_side_by_side(
    ldap: MechanismServer, directory: SlowDirectory
) -> None:
    directory.seconds = 0.3
    everybody = threading.Barrier(8)

    def meet(request: Request) -> Any:
        everybody.wait(30)
        return None

    ldap.on["find"] = meet
    with plain_client(ldap, "right", maxConnecting=8) as client:
        in_threads(8, client["x"]["y"].find_one)
    assert ldap.logins == 8
    assert directory.most_at_once > 1


def test_a_person_who_logs_in_is_not_waited_for_with_the_way_barred() -> None:
    """While a callback runs, other logins may join it: none of them has sent a secret."""

    def sasl(request: Request) -> Reply:
        has_token = "jwt" in bson.decode(request.document["payload"])
        idp = b"" if has_token else bson.encode({"issuer": "https://idp.example", "clientId": "a"})
        return Reply({"ok": 1.0, "conversationId": 1, "done": has_token, "payload": idp})

    class Person(Token):
        def fetch(self, context: OIDCCallbackContext) -> OIDCCallbackResult:
            assert server.wait_for(lambda: server.count("saslStart") >= 3, 20)
            return super().fetch(context)

    on = {"find": FOUND, "saslStart": sasl, "saslContinue": sasl}
    person = Person()
    with ScriptedServer(hello=primary(), on=on) as server:
        credential = build_credential(
            "MONGODB-OIDC", None, None, properties={"OIDC_HUMAN_CALLBACK": person}
        )
        settings = ConnectionSettings(credential=credential)
        address = ("127.0.0.1", server.port)
        for connection in in_threads(5, lambda: open_connection(address, settings)[0]):
            connection.close()
    assert person.calls == 1


def test_a_refusal_says_the_same_to_all_who_waited() -> None:
    directory = SlowDirectory({}, 0.2)
    with MechanismServer(PlainAcceptor(directory), backend=None) as server:
        with plain_client(server) as client:
            errors = outcomes(8, client["x"]["y"].find_one)
    assert {str(each) for each in errors} == {str(errors[0])}
    for each in errors:
        assert isinstance(each, OperationFailure)
        assert each.details == errors[0].details
        assert each.login.credential is errors[0].login.credential
