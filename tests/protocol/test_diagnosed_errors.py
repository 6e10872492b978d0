"""The library's own errors carry the causes of the table, from facts at hand: no probe, no wait.

What `mongokey check` finds out by asking further stands in `test_check_*`.
"""

from __future__ import annotations

import pickle
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey._support import container
from mongokey.diagnostics import Diagnosis
from mongokey.errors import (
    AutoReconnect,
    ConfigurationError,
    ManyClientsWarning,
    MongoError,
    NetworkTimeout,
    NotPrimaryError,
    PoolClearedError,
    ServerSelectionTimeoutError,
)
from mongokey.faces import client_count
from mongokey.pool import causes as pool_causes
from tests.servers.certificates import Authority, certificate_pem
from tests.servers.child import free_port
from tests.servers.scripted import (
    Close,
    ScriptedServer,
    Silence,
    ghost,
    primary,
    secondary,
    standalone,
    too_old,
)

# Enough where an error comes at once, and never waited for.
LONG_MS = 60_000


@pytest.fixture(autouse=True)
def no_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "MARKS", ())
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


def unknown_name() -> str:
    """What this machine says of a name under .invalid: one without a name server cannot tell."""
    with pytest.raises(socket.gaierror) as caught:
        socket.getaddrinfo("mongo-1.invalid", 27017)
    known = caught.value.errno == socket.EAI_NONAME
    return "DNS-HOST-UNKNOWN" if known else "DNS-HOST-FAILED"


def failure(uri: str, **options: Any) -> MongoError:
    options.setdefault("serverSelectionTimeoutMS", 700)
    # Files are read when an asyncio client is made, and by a blocking one when it connects.
    with pytest.raises(MongoError) as caught, MongoClient(uri, **options) as client:
        client.admin.command("ping")
    return caught.value


def causes(error: MongoError) -> dict[str, str]:
    return {each.code: each.confidence for each in error.diagnoses}


# ---------------------------------------------------------------- causes


def test_a_refused_connection() -> None:
    error = failure(f"mongodb://127.0.0.1:{free_port()}")
    assert isinstance(error, ServerSelectionTimeoutError)
    assert causes(error) == {"TCP-REFUSED": "certain"}
    assert "[TCP-REFUSED]" in str(error)


def test_a_host_without_an_address() -> None:
    error = failure("mongodb://no-such-host.invalid:27017")
    (cause,) = error.diagnoses
    assert cause.code == unknown_name()
    assert "no-such-host.invalid" in cause.summary


def test_another_set_s_name() -> None:
    with ScriptedServer(hello=primary()) as server:
        for more in ("", "&directConnection=true"):
            error = failure(f"mongodb://127.0.0.1:{server.port}/?replicaSet=rs1{more}")
            assert causes(error) == {"TOPOLOGY-SET-NAME": "certain"}
            assert error.diagnoses[0].fix == "write replicaSet=rs"


def test_a_set_that_was_never_initiated() -> None:
    with ScriptedServer(hello=ghost()) as server:
        error = failure(f"mongodb://127.0.0.1:{server.port}")
    assert causes(error) == {"TOPOLOGY-UNINITIATED": "certain"}
    assert "[TOPOLOGY-UNINITIATED, certain]" in str(error)


def test_members_whose_names_are_not_known_here() -> None:
    """Row 18: the set's own names lead nowhere, though the seed answered."""
    name = "mongo-1.invalid:27017"
    hello = primary(hosts=[name], me=name)
    with ScriptedServer(hello=hello) as server:
        error = failure(f"mongodb://127.0.0.1:{server.port}", serverSelectionTimeoutMS=1500)
    assert causes(error) == {"TOPOLOGY-MEMBER-NAMES": "certain", unknown_name(): "certain"}
    assert error.diagnoses[0].code == "TOPOLOGY-MEMBER-NAMES"
    assert f"127.0.0.1:{server.port}" in error.diagnoses[0].summary


def test_members_that_do_not_answer() -> None:
    """Row 18: the names are known, and nobody listens there."""
    port = free_port()
    with ScriptedServer() as server:
        me = f"127.0.0.1:{server.port}"
        server.hello = secondary(hosts=[f"127.0.0.1:{port}", me], me=me)
        error = failure(f"mongodb://{me}", serverSelectionTimeoutMS=1500)
    assert causes(error) == {
        "TOPOLOGY-MEMBERS-UNREACHABLE": "certain",
        "TOPOLOGY-NO-PRIMARY": "certain",
        "TCP-REFUSED": "certain",
    }
    assert f"127.0.0.1:{port}" in error.diagnoses[0].summary


def test_no_primary_and_a_server_that_is_too_old() -> None:
    with ScriptedServer() as server:
        me = f"127.0.0.1:{server.port}"
        server.hello = secondary(hosts=[me], me=me)
        assert causes(failure(f"mongodb://{me}")) == {"TOPOLOGY-NO-PRIMARY": "certain"}
    with ScriptedServer(hello=too_old()) as server:
        error = failure(f"mongodb://127.0.0.1:{server.port}")
    assert isinstance(error, ConfigurationError)
    assert causes(error) == {"TOPOLOGY-SERVER-OLD": "certain"}


@pytest.mark.parametrize(
    ("uri", "options", "code", "confidence"),
    [
        ("mongodb://ada:p@ss@db", {}, "URI-UNESCAPED", "certain"),
        ("mongodb://ada:p%zz@db", {}, "URI-UNESCAPED", "certain"),
        ("'mongodb://db'", {}, "URI-QUOTED", "certain"),
        ("MongoDB://db", {}, "URI-SCHEME-CASE", "certain"),
        ("postgres://db", {}, "URI-INVALID", "certain"),
        ("mongodb+srv://c.example.net:27017", {}, "SRV-PORT", "certain"),
        ("mongodb://db", {"maxPoolSize": -1}, "OPTION-INVALID", "certain"),
        ("mongodb://db", {"maxPoolSizes": 1}, "OPTION-UNKNOWN", "certain"),
        ("mongodb://a:b@db/?authSource=$external", {}, "AUTH-EXTERNAL-MECHANISM", "certain"),
    ],
)
def test_what_cannot_be_read_has_its_code(
    uri: str, options: dict[str, Any], code: str, confidence: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        MongoClient(uri, **options)
    assert causes(caught.value) == {code: confidence}
    again = pickle.loads(pickle.dumps(caught.value))
    assert again.diagnoses == caught.value.diagnoses


def test_a_certificate_without_a_key_identifier(tmp_path: Path) -> None:
    """Row 29: Python 3.13's default context is strict; mongokey's own is not."""
    authority = Authority(tmp_path)
    pair = authority.issue("server", "127.0.0.1")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(pair.pem)
    strict = ssl.create_default_context(cafile=authority.certificate_file)
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    with ScriptedServer(tls=served) as server:
        error = failure(f"mongodb://127.0.0.1:{server.port}", tls=True, ssl_context=strict)
        assert causes(error) == {"TLS-KEY-IDENTIFIER": "certain"}
        with MongoClient(
            f"mongodb://127.0.0.1:{server.port}", tlsCAFile=authority.certificate_file
        ) as client:
            assert client.admin.command("ping")["ok"]


def test_a_key_file_without_a_key(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("client")
    path = pair.file(".only.pem", certificate_pem(pair.certificate))
    error = failure("mongodb://127.0.0.1:1", tlsCertificateKeyFile=path)
    assert causes(error) == {"TLS-KEY-MISSING": "certain"}
    assert "[TLS-KEY-MISSING]" in str(error)


def test_nothing_more_is_asked_for_a_diagnosis(tmp_path: Path) -> None:
    """The library connects as often as its monitors do, and greets in no other way."""
    with ScriptedServer(hello=ghost()) as server:
        failure(f"mongodb://127.0.0.1:{server.port}")
        names = {each.name for each in server.requests}
    assert names <= {"hello", "isMaster", "ismaster"}


# ---------------------------------------------------------------- connections that are lost


@pytest.fixture
def soon_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """A firewall that forgets connections after a tenth of a second."""
    monkeypatch.setattr(pool_causes, "IDLE_S", 0.1)
    monkeypatch.setattr(pool_causes, "SURE_IDLE_S", 0.1)


@pytest.mark.usefixtures("soon_idle")
@pytest.mark.parametrize("reset", [True, False], ids=["reset", "end of stream"])
def test_an_idle_connection_that_was_cut(reset: bool) -> None:
    """Row 24: it is found dead by its use, and not before."""
    with ScriptedServer() as server, MongoClient(server.uri()) as client:
        client.admin.command("ping")
        time.sleep(0.2)
        server.on = {"ping": Close(reset=reset)}
        with pytest.raises(AutoReconnect) as caught:
            client.admin.command("ping")
        assert causes(caught.value) == {"TCP-IDLE-CUT": "likely"}
        assert "maxIdleTimeMS=" in caught.value.diagnoses[0].fix
        assert "[TCP-IDLE-CUT]" in str(caught.value)
        again = pickle.loads(pickle.dumps(caught.value))
        assert (str(again), again.diagnoses) == (str(caught.value), caught.value.diagnoses)
        # One that is new, or that was in use just now, was not idle.
        with pytest.raises(AutoReconnect) as caught:
            client.admin.command("ping")
        assert caught.value.diagnoses == ()
        server.on = {}
        assert client.admin.command("ping")["ok"]


@pytest.mark.usefixtures("soon_idle")
def test_silence_on_an_idle_connection_may_be_a_slow_operation() -> None:
    with ScriptedServer() as server:
        with MongoClient(server.uri(), socketTimeoutMS=300) as client:
            client.admin.command("ping")
            time.sleep(0.2)
            server.on = {"ping": Silence()}
            with pytest.raises(NetworkTimeout) as caught:
                client.admin.command("ping")
    assert causes(caught.value) == {"TCP-IDLE-CUT": "possible"}


@pytest.mark.parametrize(
    ("idle_s", "timed_out", "expected"),
    [
        (59.9, False, None),
        (60.0, False, "possible"),
        (239.0, False, "possible"),
        (240.0, False, "likely"),
        (3600.0, True, "possible"),
    ],
)
def test_how_sure_the_cause_of_an_idle_connection_s_loss_is(
    idle_s: float, timed_out: bool, expected: str | None
) -> None:
    error = (NetworkTimeout if timed_out else AutoReconnect)("db:27017: connection reset")
    pool_causes.explain_idle(error, round(idle_s * 1e9))
    assert causes(error) == ({} if expected is None else {"TCP-IDLE-CUT": expected})
    if expected is not None:
        limit_ms = int(error.diagnoses[0].fix.partition("=")[2].partition(",")[0])
        assert 0 < limit_ms <= min(120_000, idle_s * 500)
    answered = NotPrimaryError("not primary")
    pool_causes.explain_idle(answered, round(idle_s * 1e9))
    assert answered.diagnoses == ()


def test_who_loses_a_connection_for_another_s_error_is_told_that_error() -> None:
    """Row 24: the error that paused the pool is the cause, not the pause."""
    with ScriptedServer() as server, MongoClient(server.uri()) as client:
        client.admin.command("ping")
        pool = client._pool()
        refused = AutoReconnect("db: refused")
        refused.diagnoses = (Diagnosis("TCP-REFUSED", "certain", "nobody listens at db"),)
        for error, expected in ((refused, "TCP-REFUSED"), (AutoReconnect("x"), "TCP-POOL-CLEARED")):
            pool.clear(error)
            cleared = pool._cleared_error()
            assert isinstance(cleared, PoolClearedError)
            assert causes(cleared) == {expected: "certain"}
        assert "AutoReconnect: x" in cleared.diagnoses[0].evidence
        pool.ready()


def test_a_command_that_is_interrupted_by_a_clearing_has_its_cause() -> None:
    with ScriptedServer(on={"ping": Silence()}) as server, MongoClient(server.uri()) as client:
        client.admin.command("hello")
        pool = client._pool()
        lost = AutoReconnect("db: lost")
        lost.diagnoses = (Diagnosis("TCP-TIMEOUT", "likely", "db did not answer"),)
        raised: list[BaseException] = []

        def ping() -> None:
            try:
                client.admin.command("ping")
            except MongoError as error:
                raised.append(error)

        thread = threading.Thread(target=ping)
        thread.start()
        assert server.wait_for(lambda: server.count("ping") > 0)
        pool.clear(lost, interrupt=True)
        thread.join(20)
    (error,) = raised
    assert isinstance(error, PoolClearedError)
    assert causes(error) == {"TCP-TIMEOUT": "likely"}


# ---------------------------------------------------------------- failFast


@pytest.mark.parametrize("by", ["uri", "keyword"])
def test_fail_fast_gives_up_at_once(by: str) -> None:
    uri = f"mongodb://127.0.0.1:{free_port()},127.0.0.1:{free_port()}/"
    options: dict[str, Any] = {"serverSelectionTimeoutMS": LONG_MS}
    if by == "uri":
        uri += "?failFast=true"
    else:
        options["failFast"] = True
    began = time.monotonic()
    error = failure(uri, **options)
    assert time.monotonic() - began < LONG_MS / 2000
    assert isinstance(error, ServerSelectionTimeoutError)
    assert "failFast" in str(error)
    assert causes(error) == {"TCP-REFUSED": "certain"}


@pytest.mark.parametrize("hello", [ghost(), primary(), standalone()], ids=["ghost", "set", "none"])
def test_fail_fast_of_what_waiting_does_not_mend(hello: dict[str, Any]) -> None:
    with ScriptedServer(hello=hello) as server:
        began = time.monotonic()
        error = failure(
            f"mongodb://127.0.0.1:{server.port}/?replicaSet=other&failFast=true",
            serverSelectionTimeoutMS=LONG_MS,
        )
        assert time.monotonic() - began < LONG_MS / 2000
    assert error.diagnoses[0].confidence == "certain"


def test_fail_fast_waits_for_what_may_come() -> None:
    """A set without a primary elects one; one server that may answer is enough to wait."""
    with ScriptedServer() as server:
        me = f"127.0.0.1:{server.port}"
        server.hello = secondary(hosts=[me], me=me)
        error = failure(f"mongodb://{me}/?failFast=true")
    assert "failFast" not in str(error)
    assert causes(error) == {"TOPOLOGY-NO-PRIMARY": "certain"}


def test_fail_fast_finds_a_server_beside_one_that_is_down() -> None:
    with ScriptedServer() as server:
        me = f"127.0.0.1:{server.port}"
        server.hello = primary(hosts=[me], me=me)
        uri = f"mongodb://127.0.0.1:{free_port()},{me}/?failFast=true"
        with MongoClient(uri, serverSelectionTimeoutMS=LONG_MS) as client:
            assert client.admin.command("ping")["ok"]


def test_without_fail_fast_a_server_is_waited_for() -> None:
    error = failure(f"mongodb://127.0.0.1:{free_port()}", serverSelectionTimeoutMS=900)
    assert "within serverSelectionTimeoutMS=900" in str(error)


# ---------------------------------------------------------------- clients made again and again


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_count, "WARNED_OF", 3)
    monkeypatch.setattr(client_count, "_made", {})


@pytest.mark.usefixtures("counted")
def test_the_third_client_of_one_string_warns_once() -> None:
    """Row 25."""
    port = free_port()
    uri = f"mongodb://ada:secret-c4nary@127.0.0.1:{port}/"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(6):
            MongoClient(uri).close()
        for _ in range(2):
            MongoClient(f"mongodb://bob:secret-c4nary@127.0.0.1:{port}/").close()
    (only,) = [each for each in caught if each.category is ManyClientsWarning]
    text = str(only.message)
    assert "third client" in text
    assert "[ENV-MANY-CLIENTS]" in text
    assert "c4nary" not in text
    assert Path(only.filename).is_relative_to(Path(__file__).parents[1])


def test_a_program_is_warned_of_its_third_client() -> None:
    program = (
        "from mongokey import MongoClient\n"
        "for _ in range(4): MongoClient('mongodb://127.0.0.1:1/').close()\n"
        "MongoClient('mongodb://127.0.0.1:2/').close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("ManyClientsWarning") == 1
