"""A wrong password is tried once, by however many threads, tasks, clients and members, and then
seldom; a right one is not slowed (auth.md speaks of no attempts; LDAP and Active Directory lock
accounts that have too many). What decides it has its tests in unit/test_shared_login.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import bson
import pytest

from mongokey import AsyncMongoClient, MongoClient
from mongokey.auth import AuthenticationFailed, build_credential
from mongokey.auth.shared_login import LoginScope
from mongokey.auth.turns import Backoff, WaitForLogin
from mongokey.auth.whole_login import login
from mongokey.auth_oidc import OIDCCallback, OIDCCallbackContext, OIDCCallbackResult
from mongokey.connection.establish import open_connection
from mongokey.connection.settings import ConnectionSettings
from mongokey.errors import AutoReconnect, MongoError, NetworkTimeout, OperationFailure
from mongokey.monitoring import ConnectionPoolListener
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
        assert {each.diagnoses[0].code for each in errors} == {"LDAP-REFUSED"}
        assert len({id(each) for each in errors}) == 100
        assert 1 <= directory.tried <= MOST
        # What comes later is answered from memory, and says so.
        before = directory.tried
        with pytest.raises(AuthenticationFailed, match="answered from memory") as caught:
            client["x"]["y"].find_one()
        assert directory.tried == before
        assert caught.value.diagnoses == errors[0].diagnoses
    # Another client knows it too; one with another password asks.
    with plain_client(ldap) as client, pytest.raises(AuthenticationFailed) as caught:
        client["x"]["y"].find_one()
    assert caught.value.answered_from_memory
    assert directory.tried == before
    with plain_client(ldap, "right") as client:
        client["x"]["y"].find_one()


def test_threads_that_try_again_and_again_are_answered_from_memory(
    ldap: MechanismServer, directory: SlowDirectory
) -> None:
    """A tenth of the issue's 20 threads for 3 s with a first back-off of one."""
    directory.seconds = 0.0
    with plain_client(ldap, maxConnecting=20, loginBackoffMS=100) as client:
        ends: list[float] = []
        answers: list[AuthenticationFailed] = []

        def work() -> None:
            ends.append(time.monotonic() + 0.3)  # from when the first one began
            while time.monotonic() < ends[0]:
                with pytest.raises(AuthenticationFailed) as caught:
                    client["x"]["y"].find_one()
                answers.append(caught.value)
                time.sleep(0.001)

        in_threads(20, work)
        assert 1 <= directory.tried <= 6
        # At least the first try of each: a busy machine leaves no time for more.
        assert len([each for each in answers if each.diagnoses]) >= 20


def test_a_password_that_was_put_right_is_accepted_after_the_back_off(
    ldap: MechanismServer, directory: SlowDirectory
) -> None:
    directory.seconds = 0.0
    with (
        plain_client(ldap, "new", loginBackoffMS=60_000) as patient,
        plain_client(ldap, "new", loginBackoffMS=50, maxConnecting=8) as client,
    ):
        with pytest.raises(AuthenticationFailed):
            client["x"]["y"].find_one()
        directory.known.users = {"ann": "new"}
        with pytest.raises(AuthenticationFailed) as caught:
            patient["x"]["y"].find_one()
        assert caught.value.answered_from_memory

        errors: list[AuthenticationFailed] = []

        def until_accepted() -> None:
            ends = time.monotonic() + 30
            while time.monotonic() < ends:
                try:
                    client["x"]["y"].find_one()
                    return
                except AuthenticationFailed as error:
                    errors.append(error)
                    time.sleep(0.01)
            raise AssertionError("never accepted")

        in_threads(8, until_accepted)
        assert all(each.answered_from_memory for each in errors)
        # Once refused, once tried; then those who need a connection of their own.
        assert directory.tried <= 2 + 8
        patient["x"]["y"].find_one()


def test_a_back_off_of_nothing_tries_each_time(
    ldap: MechanismServer, directory: SlowDirectory
) -> None:
    directory.seconds = 0.0
    with plain_client(ldap, loginBackoffMS=0) as client:
        for times in range(1, 4):
            with pytest.raises(AuthenticationFailed):
                client["x"]["y"].find_one()
            assert directory.tried == times


def test_what_is_answered_from_memory_clears_no_pool(
    ldap: MechanismServer, directory: SlowDirectory
) -> None:
    """The server said nothing new: what is logged in stays, and the server known."""

    class Cleared(ConnectionPoolListener):
        count = 0

        def pool_cleared(self, event: Any) -> None:
            self.count += 1

    events = Cleared()
    with plain_client(ldap, event_listeners=[events]) as client:
        for from_memory in (False, True, True):
            with pytest.raises(AuthenticationFailed) as caught:
                client["x"]["y"].find_one()
            assert caught.value.answered_from_memory is from_memory
            assert events.count == 1
    # Nor was it connected to, but by the monitor.
    assert ldap.count("saslStart") == 1
    assert ldap.accepted <= 1 + 2


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
            assert len({str(each).partition("; answered from memory")[0] for each in errors}) == 1
            assert 1 <= server.count("saslContinue") <= MOST


def test_reauthentication_is_answered_from_memory_too() -> None:
    """Error 391 on many connections whose user was removed: one of them asks."""
    again = Error(code=391, code_name="ReauthenticationRequired")
    with ScriptedServer(hello=primary(), login=Login(), on={"find": FOUND}) as server:
        with MongoClient(server.uri(), maxPoolSize=4) as client:
            everybody = threading.Barrier(4)

            server.on["find"] = in_turn(*[meet_and_find(everybody)] * 4, again, again, again)
            in_threads(4, client["x"]["y"].find_one)
            server.on["saslStart"] = Error(code=18, code_name="AuthenticationFailed")
            before = server.count("saslStart")
            errors = []
            for _ in range(3):
                with pytest.raises(AuthenticationFailed) as caught:
                    client["x"]["y"].find_one()
                errors.append(caught.value)
            assert server.count("saslStart") == before + 1
            assert [each.answered_from_memory for each in errors] == [False, True, True]


def meet_and_find(everybody: threading.Barrier) -> Any:
    def answer(request: Request) -> Any:
        everybody.wait(30)
        return Reply(FOUND)

    return answer


async def on_loop(server: ScriptedServer, tasks: int, **options: Any) -> list[Any]:
    async with AsyncMongoClient(server.uri(password="wrong"), **options) as client:
        return await asyncio.gather(
            *(client["x"]["y"].find_one() for _ in range(tasks)), return_exceptions=True
        )


def test_tasks_of_several_loops_and_threads_share_one_try() -> None:
    def late(request: Request) -> None:
        time.sleep(0.2)

    on: Any = {"find": FOUND, "saslContinue": late}
    with ScriptedServer(hello=primary(), login=Login(), on=on) as server:

        def blocking() -> list[Any]:
            with MongoClient(server.uri(password="wrong"), maxConnecting=20) as client:
                return outcomes(20, client["x"]["y"].find_one)

        works = iter([blocking, *[lambda: asyncio.run(on_loop(server, 20, maxConnecting=20))] * 2])
        found = [each for part in in_threads(3, lambda: next(works)()) for each in part]
        assert len(found) == 60
        assert {type(each) for each in found} == {AuthenticationFailed}
        assert all(each.diagnoses for each in found)
        assert 1 <= server.count("saslContinue") <= MOST


async def test_a_task_that_tries_and_is_cancelled_leaves_its_turn_to_another() -> None:
    on: Any = {"find": FOUND, "saslContinue": in_turn(Silence(), None)}
    with ScriptedServer(hello=primary(), login=Login(), on=on) as server:
        async with (
            AsyncMongoClient(server.uri()) as one,
            AsyncMongoClient(server.uri()) as other,
        ):
            first = asyncio.ensure_future(one["x"]["y"].find_one())
            while server.count("saslContinue") < 1:
                await asyncio.sleep(0.005)
            second = asyncio.ensure_future(other["x"]["y"].find_one())
            while other.options.credential.state.shared.turns.busy is False:
                await asyncio.sleep(0.005)
            first.cancel()
            assert await asyncio.wait_for(second, 20) == {"_id": 1}
            with pytest.raises(asyncio.CancelledError):
                await first


def test_a_client_that_is_closed_in_its_try_leaves_its_turn_to_another() -> None:
    on: Any = {"find": FOUND, "saslContinue": in_turn(Silence(), None)}
    with ScriptedServer(hello=primary(), login=Login(), on=on) as server:
        one, other = MongoClient(server.uri()), MongoClient(server.uri())

        def fail() -> None:
            with pytest.raises(MongoError):
                one["x"]["y"].find_one()

        thread = threading.Thread(target=fail)
        thread.start()
        assert server.wait_for(lambda: server.count("saslContinue") == 1, 20)
        closer = threading.Thread(target=one.close)
        closer.start()
        assert other["x"]["y"].find_one() == {"_id": 1}
        for each in (thread, closer):
            each.join(30)
        other.close()


def in_thread(work: Any) -> Any:
    (found,) = outcomes(1, work)
    return found


def test_a_token_that_was_refused_is_fetched_anew_by_the_next_thread() -> None:
    credential = build_credential("MONGODB-OIDC", None, None, properties={"OIDC_CALLBACK": Token()})
    assert credential is not None
    LoginScope(("h:1",), None, Backoff(60_000_000_000, 60_000_000_000)).share(credential)
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
