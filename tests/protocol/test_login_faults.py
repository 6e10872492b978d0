"""Logins that go wrong: every fault at every step ends soon and in a clean error.

Where nothing else is said, the server's monitor is answered as it should be: the faults are those
of connections that log in.
"""

from __future__ import annotations

import os
import random
import time
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.auth.errors import AuthenticationFailed, LoginTimeout, ServerProofError
from mongokey.errors import (
    AutoReconnect,
    ConfigurationError,
    MongoError,
    NetworkTimeout,
    OperationFailure,
    ProtocolError,
    ServerSelectionTimeoutError,
)
from tests.pools import drop_connections
from tests.servers.scripted import (
    Close,
    Delay,
    Error,
    Login,
    Raw,
    Reply,
    ScriptedServer,
    Silence,
    standalone,
)

CONNECT_MS = 300
SELECT_MS = 400
# What a deadline may be missed by, on a machine that is busy.
PATIENCE_S = 1.5
# client-backpressure: what a connection dies of before hello may be load, and is tried again after
# a while, which the tests do not wait for.
ONCE = {"maxAdaptiveRetries": 0}
SHA_1, SHA_256 = "SCRAM-SHA-1", "SCRAM-SHA-256"


pytestmark = pytest.mark.usefixtures("soon_checked")


def hurried(server: ScriptedServer, **options: Any) -> MongoClient:
    """A client with little time."""
    options.setdefault("connectTimeoutMS", CONNECT_MS)
    options.setdefault("serverSelectionTimeoutMS", SELECT_MS)
    return MongoClient(server.uri(**ONCE, **options))


def fail_to_log_in(server: ScriptedServer, **options: Any) -> MongoError:
    """The error of a ping that must fail, and long before any time is over."""
    with MongoClient(server.uri(**ONCE, **options)) as client:
        began = time.monotonic()
        with pytest.raises(MongoError) as caught:
            client.admin.command("ping")
        assert time.monotonic() - began < 10
    assert server.count("ping") == 0
    assert server.wait_for(lambda: server.open == 0)
    return caught.value


# Cut after each byte

# The answer to the ping is the last one then: no session is ended.
WITHOUT_SESSIONS = standalone(logicalSessionTimeoutMinutes=None)


def bytes_of_a_login_and_a_ping(server: ScriptedServer) -> int:
    succeed(server)
    # Counted in the end: the server notes bytes after it has sent them.
    assert server.wait_for(lambda: server.open == 0)
    (number,) = server.used_numbers
    assert server.names(number)[-1] == "ping"
    return server.sent[number]


def succeed(server: ScriptedServer) -> None:
    with MongoClient(server.uri()) as client:
        assert client.admin.command("ping")["ok"] == 1


def test_a_connection_cut_after_any_byte_is_a_clean_error_and_the_next_one_works() -> None:
    with ScriptedServer(login=Login(), hello=WITHOUT_SESSIONS, spare_monitors=True) as server:
        total = bytes_of_a_login_and_a_ping(server)
        assert total > 500
        files = len(os.listdir("/dev/fd"))
        for count in range(total):
            server.cut_after = count
            with MongoClient(server.uri(**ONCE)) as client:
                began = time.monotonic()
                with pytest.raises(AutoReconnect) as caught:
                    client.admin.command("ping")
                assert time.monotonic() - began < 10
                assert f"127.0.0.1:{server.port}" in str(caught.value)
        server.cut_after = total
        succeed(server)
        assert server.wait_for(lambda: server.open == 0)
        assert len(os.listdir("/dev/fd")) <= files + 2


def test_a_negotiated_login_cut_after_any_byte_is_a_clean_error() -> None:
    login = Login(mechanisms=(SHA_1,), speculate_any=True, honour_skip=False)
    with ScriptedServer(login=login, hello=WITHOUT_SESSIONS, spare_monitors=True) as server:
        total = bytes_of_a_login_and_a_ping(server)
        assert server.names(used=True)[:4] == ["hello", "saslStart", "saslContinue", "saslContinue"]
        for count in range(0, total, 3):
            server.cut_after = count
            with MongoClient(server.uri(**ONCE)) as client, pytest.raises(AutoReconnect):
                client.admin.command("ping")


# Faults at each step

#: A login that goes through every step there is, and the names of those.
LONG = {"speculate": False, "honour_skip": False}
STEPS = ["hello with login", "saslStart", "saslContinue"]

BROKEN: dict[str, Any] = {
    "closed": Close(),
    "reset": Close(reset=True),
    "no byte": Reply(keep=0),
    "half a header": Reply(keep=7),
    "a header alone": Reply(keep=16),
    "half a document": Reply({"ok": 1, "text": "x" * 100}, keep=60),
    "one byte short": Reply({"ok": 1, "text": "x" * 100}, keep=130),
    "a negative length": Reply(length=-1),
    "a length of zero": Reply(length=0),
    "a length below the header's": Reply(length=15),
    "a length too small for a document": Reply(length=20),
    "a length above the limit": Reply(length=48_000_001),
    "the largest length": Reply(length=2**31 - 1),
    "another protocol": Raw(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
    "zeros": Raw(bytes(64)),
    "an unknown opcode": Reply(opcode=4242),
    "a request's opcode": Reply(opcode=2004),
    "an old reply's opcode": Reply(opcode=1),
    "a compressed message": Reply(opcode=2012),
    "an answer to something else": Reply(response_to=2**30),
    "an answer to nothing": Reply(response_to=0),
    "an unknown required flag": Reply(flags=1 << 7),
    "a wrong checksum": Reply(checksum=False),
    "a section of an unknown kind": Reply(body=b"\0\0\0\0\x07" + b"\x05\0\0\0\0"),
    "no section": Reply(body=b"\0\0\0\0"),
    "no document": Reply(body=b"\0\0\0\0\0"),
    "a document with a wrong length": Reply(b"\xff\0\0\0\0"),
    "a negative document": Reply(b"\xff\xff\xff\xff\0"),
    "a document without its end": Reply(b"\x0c\0\0\0\x10ok\0\1\0\0\0"),
    "an element of an unknown type": Reply(b"\x0d\0\0\0\x55ok\0\1\0\0\0\0"),
    "a string longer than its document": Reply(b"\x0f\0\0\0\x02a\0\xff\xff\xff\x7fx\0\0\0"),
    "a name without an end": Reply(b"\x0a\0\0\0\x10oooo\0"),
    "bytes behind the reply": Reply({"ok": 1.0}, append=b"and more"),
    "two replies": [Reply({"ok": 1.0}), Reply({"ok": 1.0})],
    "an empty document": Reply({}),
    "an ok of zero": Reply({"ok": 0}),
    "an ok that is none": Reply({"ok": "yes"}),
    "an error": Error(code=8000),
    "an error without a code": Reply({"ok": 0.0, "errmsg": "no"}),
    "an error in French": Reply({"ok": 0.0, "errmsg": "accès refusé", "code": 18}),
    "an error with a strange code": Reply({"ok": 0.0, "errmsg": 5, "code": "x"}),
}


def further_tries(step: str, face: str) -> int:
    """How many connections say hello before the one whose failure is told: on the blocking face the
    first check of an only server is one of a login's, and its failure a check's, after which a
    monitor finds the server in order."""
    return int(face == "blocking" and step == "hello with login")


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("step", STEPS)
def test_a_broken_reply_is_a_clean_error(step: str, fault: str, face: str) -> None:
    with ScriptedServer(login=Login(**LONG), on={step: BROKEN[fault]}) as server:
        error = fail_to_log_in(server)
        # A hello that says nothing is one of a server too old: ConfigurationError.
        expected = (AutoReconnect, OperationFailure, ConfigurationError, ProtocolError)
        assert isinstance(error, expected)
        assert str(server.port) in str(error)
        assert server.names(used=True)[-1] == step.split()[0]
        assert 1 <= server.used <= 1 + further_tries(step, face)
        assert server.logins == 0


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_reply_to_the_monitor_is_a_clean_error_and_nobody_logs_in(fault: str) -> None:
    with ScriptedServer(login=Login(**LONG), on={"hello": BROKEN[fault]}) as server:
        error = fail_to_log_in(server, serverSelectionTimeoutMS=SELECT_MS)
        # What is not the wire protocol at all is told at once: ProtocolError; and so is a hello
        # that is refused, or that says nothing, as a server does that is too old.
        expected = (
            ServerSelectionTimeoutError,
            OperationFailure,
            ConfigurationError,
            ProtocolError,
        )
        assert isinstance(error, expected)
        assert str(server.port) in str(error)
        assert server.used == 0


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("step", STEPS)
def test_the_client_recovers_from_a_broken_login(step: str, fault: str, face: str) -> None:
    """The first connection works, the second one's login breaks, the third one works again."""
    with (
        ScriptedServer(login=Login(**LONG)) as server,
        MongoClient(server.uri(**ONCE), loginBackoffMS=0) as client,
    ):
        assert client.admin.command("ping")["ok"] == 1
        drop_connections(client)
        server.on[step] = BROKEN[fault]
        with pytest.raises(MongoError):
            client.admin.command("ping")
        del server.on[step]
        assert client.admin.command("ping")["ok"] == 1
        assert client._pool().in_use == 0
        # The monitor has one, too; on the blocking face it may begin with the next check only.
        wanted = (1, 2) if face == "blocking" else (2,)
        assert server.wait_for(lambda: server.open in wanted), server.names()


def test_random_replies_never_log_in() -> None:
    chance = random.Random(18)
    with ScriptedServer(login=Login(**LONG)) as server:
        for round_ in range(150):
            step = STEPS[round_ % 3]
            size = chance.randrange(5, 80)
            document = size.to_bytes(4, "little") + chance.randbytes(size - 5) + b"\0"
            server.on = {step: Reply(document)}
            with MongoClient(server.uri()) as client, pytest.raises(MongoError):
                client.admin.command("ping")
        assert server.count("ping") == 0


# Deadlines: one for everything


SLOW: dict[str, Any] = {
    "silence": Silence(),
    "half a header and silence": Reply(keep=7, then_close=False),
    "half a document and silence": Reply({"ok": 1, "x": 1}, keep=30, then_close=False),
    "a large length and silence": Reply(length=1_000_000),
    "a late answer": Delay(5.0, Reply({"ok": 1})),
}


@pytest.mark.parametrize("fault", SLOW)
@pytest.mark.parametrize("step", STEPS)
def test_a_server_that_falls_silent_is_given_up_in_time(step: str, fault: str, face: str) -> None:
    with ScriptedServer(login=Login(**LONG), on={step: SLOW[fault]}) as server:
        with hurried(server) as client:
            began = time.monotonic()
            with pytest.raises(NetworkTimeout) as caught:
                client.admin.command("ping")
            took = time.monotonic() - began
        tries = 1 + further_tries(step, face)
        assert tries * CONNECT_MS / 1000 <= took < tries * CONNECT_MS / 1000 + PATIENCE_S
        assert f"connectTimeoutMS={CONNECT_MS}" in str(caught.value)
        assert f"127.0.0.1:{server.port}" in str(caught.value)
        # One deadline over all.
        assert server.used == tries


def test_an_answer_that_drips_does_not_renew_the_deadline() -> None:
    with ScriptedServer(login=Login(), drip=0.01, spare_monitors=True) as server:
        began = time.monotonic()
        error = fail_to_log_in(server, connectTimeoutMS=CONNECT_MS)
        assert CONNECT_MS / 1000 <= time.monotonic() - began < CONNECT_MS / 1000 + PATIENCE_S
        assert isinstance(error, NetworkTimeout)


def test_steps_that_are_slow_together_miss_the_deadline() -> None:
    def slow(request: Any) -> None:
        time.sleep(0.12)

    on = dict.fromkeys(STEPS, slow)
    with ScriptedServer(login=Login(**LONG), on=on) as server:
        error = fail_to_log_in(server, connectTimeoutMS=CONNECT_MS)
        # On a slow machine no time may be left for the key, which is said without trying.
        assert isinstance(error, NetworkTimeout | LoginTimeout)
    with ScriptedServer(login=Login(**LONG), on=on) as server:
        succeed(server)


def test_a_login_in_single_bytes_succeeds_in_its_time() -> None:
    with ScriptedServer(login=Login(), drip=0.0) as server:
        with MongoClient(server.uri()) as client:
            assert client.admin.command("ping")["ok"] == 1


def test_selection_s_time_does_not_bound_the_login() -> None:
    """The server is selected before: a login that takes longer than that succeeds."""
    with ScriptedServer(login=Login(), on={"saslContinue": Delay(0.5, None)}) as server:
        with hurried(server, connectTimeoutMS=60_000, serverSelectionTimeoutMS=200) as client:
            assert client.admin.command("ping")["ok"] == 1
        assert server.logins == 1


def test_a_later_connection_s_login_has_the_same_deadline() -> None:
    limit = 1000
    uri = {"connectTimeoutMS": limit}
    with ScriptedServer(login=Login()) as server, MongoClient(server.uri(**uri)) as client:
        assert client.admin.command("ping")["ok"] == 1
        drop_connections(client)
        server.on["saslContinue"] = Silence()
        began = time.monotonic()
        with pytest.raises(NetworkTimeout, match=f"connectTimeoutMS={limit}") as caught:
            client.admin.command("ping")
        assert limit / 1000 <= time.monotonic() - began < limit / 1000 + PATIENCE_S
        assert caught.value.timeout


def test_the_socket_s_timeout_counts_after_the_login_only() -> None:
    with ScriptedServer(login=Login(), on={"wait": Silence()}) as server:
        with MongoClient(server.uri(socketTimeoutMS=100)) as client:
            assert client.admin.command("ping")["ok"] == 1
            with pytest.raises(NetworkTimeout, match="socketTimeoutMS=100"):
                client.admin.command("wait")
            assert client.admin.command("ping")["ok"] == 1
            assert server.used == 2


# A server that does not play by SCRAM's rules


def payload(step: str, change: Any) -> Any:
    def rewrite(at: str, data: bytes) -> bytes:
        return change(data) if at == step else data

    return rewrite


UNTRUE: dict[str, dict[str, Any]] = {
    "a wrong signature": {"wrong_signature": True},
    "another nonce": {"wrong_nonce": True},
    "the client's nonce alone": {"rewrite": payload("first", lambda d: d.split(b",", 1)[0][:26])},
    "an iteration count of one": {"claimed_iterations": 1},
    "an iteration count below the floor": {"claimed_iterations": 4095},
    "an iteration count of zero": {"claimed_iterations": 0},
    "a negative iteration count": {"claimed_iterations": -4096},
    "a huge iteration count": {"claimed_iterations": 2**31 - 1},
    "an iteration count beyond integers": {"claimed_iterations": 10**30},
    "no iteration count": {"rewrite": payload("first", lambda d: d.rpartition(b",i=")[0])},
    "an iteration count in words": {
        "rewrite": payload("first", lambda d: d.rpartition(b"=")[0] + b"=many")
    },
    "no salt": {"rewrite": payload("first", lambda d: d.split(b",")[0] + b",i=4096")},
    "a salt that is no base64": {
        "rewrite": payload("first", lambda d: d.split(b",")[0] + b",s=!!!!,i=4096")
    },
    "an empty first message": {"rewrite": payload("first", lambda d: b"")},
    "a first message of another charset": {"rewrite": payload("first", lambda d: b"\xff\xfe")},
    "an extension that must be understood": {"rewrite": payload("first", lambda d: b"m=x," + d)},
    "an empty last message": {"rewrite": payload("final", lambda d: b"")},
    "a signature that is no base64": {"rewrite": payload("final", lambda d: b"v=!!!!")},
    "half a signature": {"rewrite": payload("final", lambda d: d[: len(d) // 2])},
    "the first message again": {"rewrite": payload("final", lambda d: b"r=x,s=QUJD,i=4096")},
    "an error of SCRAM's": {"server_error": "other-error"},
    "a strange error of SCRAM's": {"server_error": "\u2028<script>"},
}


@pytest.mark.parametrize("mechanism", [SHA_1, SHA_256])
@pytest.mark.parametrize("fault", UNTRUE)
def test_a_server_that_breaks_scram_s_rules_is_refused(fault: str, mechanism: str) -> None:
    login = Login(mechanisms=(mechanism,), speculate_any=True, **UNTRUE[fault])
    with ScriptedServer(login=login) as server:
        error = fail_to_log_in(server)
        assert isinstance(error, AuthenticationFailed)
        assert login.password not in str(error)
        assert str(server.port) in str(error)


def test_the_proof_is_not_sent_before_the_nonce_is_checked() -> None:
    with ScriptedServer(login=Login(wrong_nonce=True)) as server:
        assert isinstance(fail_to_log_in(server), ServerProofError)
        assert server.names(used=True) == ["hello"]


@pytest.mark.parametrize("done", [True, 1, "yes"])
def test_done_before_the_proof_is_no_login(done: Any) -> None:
    early = {"conversationId": 1, "done": done, "payload": b"", "ok": 1.0}
    for step in ("saslStart", "saslContinue"):
        with ScriptedServer(login=Login(**LONG), on={step: Reply(early)}) as server:
            assert isinstance(fail_to_log_in(server), OperationFailure)


def test_a_speculative_done_is_no_login() -> None:
    hello = standalone(
        saslSupportedMechs=[SHA_256],
        speculativeAuthenticate={"conversationId": 1, "done": True, "payload": b""},
    )
    with ScriptedServer(login=Login(), on={"hello with login": Reply(hello)}) as server:
        assert isinstance(fail_to_log_in(server), OperationFailure)


@pytest.mark.parametrize("speculative", [5, "x", [], {}, {"done": False}, {"payload": 5}, None])
def test_a_speculative_answer_that_is_none_is_no_login(speculative: Any) -> None:
    hello = standalone(saslSupportedMechs=[SHA_256])
    hello["speculativeAuthenticate"] = speculative
    login = Login(password="other")
    with ScriptedServer(login=login, on={"hello with login": Reply(hello)}) as server:
        with MongoClient(server.uri(password="pencil")) as client, pytest.raises(MongoError):
            client.admin.command("ping")
        assert server.logins == 0


def test_an_empty_exchange_without_end_is_given_up() -> None:
    endless = {"conversationId": 1, "done": False, "payload": b"", "ok": 1.0}
    with ScriptedServer(login=Login()) as server:
        calls = []

        def go_on(request: Any) -> Any:
            calls.append(request)
            return None if len(calls) == 1 else Reply(endless)

        server.login = Login(honour_skip=False)
        server.on["saslContinue"] = go_on
        assert isinstance(fail_to_log_in(server), OperationFailure)
        assert len(calls) < 5


# Servers that are old or odd, but right


@pytest.mark.parametrize("speculate", [True, False])
@pytest.mark.parametrize("honour_skip", [True, False])
@pytest.mark.parametrize("supported", [None, False])
@pytest.mark.parametrize("mechanism", [None, SHA_1, SHA_256])
def test_logins_succeed_whatever_the_server_leaves_out(
    mechanism: str | None, supported: Any, honour_skip: bool, speculate: bool
) -> None:
    # Without saslSupportedMechs a server is taken to have SCRAM-SHA-1 alone.
    users = (SHA_1, SHA_256) if mechanism is None else (mechanism,)
    login = Login(
        mechanisms=users, supported=supported, honour_skip=honour_skip, speculate=speculate
    )
    options = {} if mechanism is None else {"authMechanism": mechanism}
    with ScriptedServer(login=login) as server:
        with MongoClient(server.uri(**options)) as client:
            assert client.admin.command("ping")["ok"] == 1
        assert server.logins == 1
        names = server.names(used=True)
        steps = names[: names.index("ping")]
        assert steps.count("saslContinue") == (1 if honour_skip else 2)
        negotiated_anew = mechanism is None and supported is False
        assert ("saslStart" in steps) == (not speculate or negotiated_anew)


def test_a_speculative_reply_for_a_mechanism_the_user_does_not_have_is_dropped() -> None:
    login = Login(mechanisms=(SHA_1,), speculate_any=True)
    with ScriptedServer(login=login) as server, MongoClient(server.uri()) as client:
        assert client.admin.command("ping")["ok"] == 1
        first, *_ = server.used_numbers
        assert server.names(first)[:3] == ["hello", "saslStart", "saslContinue"]
        assert server.commands("saslStart")[0]["mechanism"] == SHA_1
        # From the second connection on the client speculates with what it knows.
        drop_connections(client)
        assert client.admin.command("ping")["ok"] == 1
        first, second = server.used_numbers
        assert server.names(second)[:2] == ["hello", "saslContinue"]


def test_a_user_that_changed_its_mechanism_logs_in_with_the_new_one() -> None:
    with ScriptedServer(login=Login(mechanisms=(SHA_1,))) as server:
        with MongoClient(server.uri()) as client:
            assert client.admin.command("ping")["ok"] == 1
            drop_connections(client)
            server.login = Login(mechanisms=(SHA_256,))
            assert client.admin.command("ping")["ok"] == 1
            assert server.logins == 2


def test_a_new_salt_means_a_new_derivation() -> None:
    with ScriptedServer(login=Login(salt=b"s" * 16)) as server:
        with MongoClient(server.uri()) as client:
            assert client.admin.command("ping")["ok"] == 1
            for salt in (b"t" * 16, b"u" * 16):
                drop_connections(client)
                server.login = Login(salt=salt)
                assert client.admin.command("ping")["ok"] == 1
            assert server.logins == 3


def test_names_with_scram_s_own_characters_are_escaped() -> None:
    login = Login(username="a=b,c=2C", password="p,=%")
    with ScriptedServer(login=login) as server, MongoClient(server.uri()) as client:
        assert client.admin.command("ping")["ok"] == 1
        assert server.logins == 1


def test_a_login_at_another_database_goes_there() -> None:
    login = Login(source="accounts")
    with ScriptedServer(login=login) as server, MongoClient(server.uri()) as client:
        assert client.admin.command("ping")["ok"] == 1
        assert {each["$db"] for each in server.commands("saslContinue")} == {"accounts"}
        assert server.commands("hello", used=True)[0]["saslSupportedMechs"] == "accounts.user"


@pytest.mark.parametrize("mechanism", [None, SHA_1, SHA_256])
def test_a_wrong_password_is_refused_and_kept_secret(mechanism: str | None) -> None:
    options = {} if mechanism is None else {"authMechanism": mechanism}
    login = Login(mechanisms=(SHA_1, SHA_256))
    with ScriptedServer(login=login) as server:
        error = fail_to_log_in(server, password="hunter2", **options)
        assert isinstance(error, AuthenticationFailed)
        assert error.code == 18
        assert "'admin'" in str(error)
        assert "hunter2" not in str(error)


def test_refused_logins_are_not_repeated_until_the_timeout() -> None:
    with ScriptedServer(login=Login()) as server:
        with MongoClient(server.uri(password="wrong")) as client:
            with pytest.raises(OperationFailure):
                client.admin.command("ping")
        assert server.used == 1
        assert server.count("saslContinue") == 1


@pytest.mark.parametrize("code", [91, 11600, 11602, 13435, 13436, 10107])
def test_a_server_that_is_going_down_is_not_a_refused_login(code: int) -> None:
    on = {"saslContinue": Error(code=code, message="shutting down")}
    with ScriptedServer(login=Login(), on=on) as server:
        error = fail_to_log_in(server)
        assert isinstance(error, AutoReconnect)
        assert "shutting down" in str(error)


def test_what_breaks_before_hello_may_be_load_and_is_tried_again_and_what_comes_later_is_not(
    face: str,
) -> None:
    """client-backpressure, "Overload retry policy": by default twice."""
    for step, attempts in (("hello with login", 3), ("saslStart", 1)):
        with ScriptedServer(login=Login(**LONG), on={step: Close()}) as server:
            with MongoClient(server.uri()) as client, pytest.raises(AutoReconnect):
                client.admin.command("ping")
            assert server.used == attempts + further_tries(step, face)
