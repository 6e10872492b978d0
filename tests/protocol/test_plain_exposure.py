"""The warning before a password goes readable over the network, and what makes it needless.

Servers of tests stand on this machine, so most tests here tell the client that its peer does not;
one has a network of its own, with an address that is not loopback.
"""

from __future__ import annotations

import json
import logging
import ssl
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import mongokey
from mongokey import MongoClient
from mongokey.connection import plaintext_secrets
from mongokey.connection.connection import Connection
from mongokey.connection.settings import ConnectionSettings, Opening
from mongokey.errors import AutoReconnect, InsecureConnectionWarning
from mongokey.pool import maintenance
from mongokey.pool.blocking import BlockingPool
from mongokey.topology.monitors import Monitors
from mongokey.transport import connect
from tests.faces import loop_thread
from tests.protocol.test_stream_connect import IPV6
from tests.servers.certificates import Authority
from tests.servers.mechanism import MechanismServer
from tests.servers.mechanism.plain import KnownUsers, PlainAcceptor
from tests.servers.mechanism.scram import ScramAcceptor
from tests.servers.needs import need_program
from tests.servers.scripted import ScriptedServer

ROOT = Path(__file__).resolve().parents[2]
FAR = "10.1.2.3"
PASSWORD = "pencil-secret"


@pytest.fixture
def server() -> Iterator[MechanismServer]:
    acceptors = PlainAcceptor(KnownUsers({"ann": PASSWORD})), ScramAcceptor({"ann": PASSWORD})
    with MechanismServer(*acceptors, backend=None) as server:
        yield server


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client takes every peer for another machine."""
    monkeypatch.setattr(plaintext_secrets, "peer_ip", lambda stream: FAR)


def client_of(server: MechanismServer, **options: Any) -> MongoClient:
    options = {"username": "ann", "password": PASSWORD, "authMechanism": "PLAIN", **options}
    return MongoClient(server.uri(), serverSelectionTimeoutMS=5000, **options)


@pytest.mark.usefixtures("far")
def test_the_warning_says_what_is_exposed_to_whom_and_what_helps(
    server: MechanismServer, face: str
) -> None:
    with client_of(server) as client:
        with pytest.warns(InsecureConnectionWarning) as caught:
            client.db.c.find_one()
    (warning,) = caught
    assert str(warning.message) == (
        f"PLAIN sends the password over an unencrypted connection to 127.0.0.1:{server.port} "
        f"({FAR}): whoever is on the way can read it. Encrypt the connection with tls=true"
    )
    # It points at the program, not into the driver; of asyncio, at who awaits the client.
    assert warning.filename == (__file__ if face == "blocking" else loop_thread.__file__)


@pytest.mark.usefixtures("far")
def test_it_comes_once_for_each_client_and_server(server: MechanismServer) -> None:
    with client_of(server, minPoolSize=3) as client:
        with pytest.warns(InsecureConnectionWarning):
            client.db.c.find_one()
        # The pool is filled beside the program; here a warning would be an error.
        deadline = time.monotonic() + 20
        while server.logins < 3 and time.monotonic() < deadline:
            time.sleep(0.02)
    assert server.logins == 3
    with client_of(server) as another, pytest.warns(InsecureConnectionWarning):
        another.db.c.find_one()


@pytest.mark.usefixtures("far")
def test_each_seed_is_warned_about(server: MechanismServer) -> None:
    primary = {"setName": "rs", "isWritablePrimary": True, "ismaster": True}
    secondary = {"setName": "rs", "isWritablePrimary": False, "ismaster": False, "secondary": True}
    server.hello = {**server.hello, **secondary}
    users = PlainAcceptor(KnownUsers({"ann": PASSWORD}))
    with MechanismServer(users, backend=None, hello=primary) as second:
        host = f"127.0.0.1:{server.port},127.0.0.1:{second.port}"
        client = MongoClient(host, username="ann", password=PASSWORD, authMechanism="PLAIN")
        with client, pytest.warns(InsecureConnectionWarning) as caught:
            client.db.c.find_one()
    texts = " ".join(str(each.message) for each in caught)
    assert f":{server.port} ({FAR})" in texts or f":{second.port} ({FAR})" in texts
    assert len(caught) == len({str(each.message) for each in caught})


@pytest.mark.usefixtures("far")
def test_it_is_logged_too(server: MechanismServer, caplog: pytest.LogCaptureFixture) -> None:
    with client_of(server) as client:
        with pytest.warns(InsecureConnectionWarning):
            client.db.c.find_one()
        client.db.c.find_one()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("mongokey.connection", logging.WARNING)
    assert "PLAIN sends the password over an unencrypted connection" in record.getMessage()
    assert PASSWORD not in caplog.text


@pytest.mark.usefixtures("far")
def test_where_warnings_are_errors_nothing_is_sent_and_the_client_stays_usable(
    server: MechanismServer,
) -> None:
    with client_of(server, directConnection=True) as client:
        for _ in range(2):
            with warnings.catch_warnings():
                warnings.simplefilter("error", InsecureConnectionWarning)
                with pytest.raises(InsecureConnectionWarning, match="unencrypted"):
                    client.db.c.find_one()
        assert server.used == 0  # nothing but the monitor's hello was sent
        assert not any(PASSWORD.encode() in request.raw for request in server.requests)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureConnectionWarning)
            client.db.c.find_one()
    assert server.logins == 1


@pytest.mark.usefixtures("far")
def test_an_error_in_one_of_several_surveying_threads_reaches_the_caller(
    server: MechanismServer,
) -> None:
    host = f"127.0.0.1:{server.port},localhost:{server.port}"
    with MongoClient(host, username="ann", password=PASSWORD, authMechanism="PLAIN") as client:
        with warnings.catch_warnings():
            warnings.simplefilter("error", InsecureConnectionWarning)
            with pytest.raises(InsecureConnectionWarning):
                client.db.c.find_one()
    assert "saslStart" not in server.names()


def test_the_thread_that_tends_pools_survives_such_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(maintenance, "_PERIOD_S", 0.01)
    twice = threading.Event()
    tries = []

    def connect(opening: Opening) -> Connection:
        tries.append(opening)
        if len(tries) == 2:
            twice.set()
        raise InsecureConnectionWarning("the password")

    class Topology:
        pools = (BlockingPool(("host", 27017), connect, min_size=1),)

    topology: Any = Topology()
    topology.pools[0].ready()
    monitors = Monitors(ConnectionSettings(), print, heartbeat_ns=10**12)
    tender = maintenance.PoolMaintenance(topology, monitors)
    tender.maintain()
    try:
        assert twice.wait(5.0)
    finally:
        tender.stop()
        monitors.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.5.6.7"])
def test_nobody_is_between_on_this_machine(host: str) -> None:
    users = PlainAcceptor(KnownUsers({"ann": PASSWORD}))
    with MechanismServer(users, backend=None, host="0.0.0.0") as server:
        client = MongoClient(
            f"{host}:{server.port}",
            username="ann",
            password=PASSWORD,
            authMechanism="PLAIN",
            directConnection=True,
        )
        with client:
            client.db.c.find_one()
        assert server.logins == 1


@IPV6
def test_nor_over_ipv6() -> None:
    users = PlainAcceptor(KnownUsers({"ann": PASSWORD}))
    with MechanismServer(users, backend=None, host="::1") as server:
        with client_of(server, directConnection=True) as client:
            client.db.c.find_one()
        assert server.logins == 1
    with ScriptedServer(host="::1") as server:
        stream = connect("::1", server.port)
        assert plaintext_secrets.peer_ip(stream) == "::1"
        stream.close()


@pytest.mark.skipif(sys.platform == "win32", reason="no Unix sockets")
def test_nor_over_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "mongodb-1.sock")
    with ScriptedServer(path=path):
        stream = connect(path, None)
        assert plaintext_secrets.peer_ip(stream) is None
        stream.close()


@pytest.mark.usefixtures("far")
def test_tls_needs_no_warning(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("server", "127.0.0.1").pem)
    users = PlainAcceptor(KnownUsers({"ann": PASSWORD}))
    with MechanismServer(users, backend=None, tls=context) as server:
        with client_of(server, tls=True, tlsCAFile=authority.certificate_file) as client:
            client.db.c.find_one()
        assert server.logins == 1


def test_a_mechanism_that_exposes_nothing_is_not_looked_at(
    server: MechanismServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(stream: object) -> str:
        pytest.fail("the peer of a SCRAM login does not matter")

    monkeypatch.setattr(plaintext_secrets, "peer_ip", never)
    with client_of(server, authMechanism="SCRAM-SHA-256") as client:
        client.db.c.find_one()
    assert server.logins == 1
    assert ConnectionSettings().plaintext_warner is None


@pytest.mark.parametrize(
    ("ip", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("128.0.0.1", False),
        ("169.254.169.254", False),
        ("::ffff:10.0.0.1", False),
        ("::2", False),
        ("fe80::1%eth0", False),
    ],
)
def test_which_addresses_are_loopback(ip: str, loopback: bool) -> None:
    assert plaintext_secrets.is_loopback(ip) is loopback


def test_a_connection_that_is_lost_is_no_reason_to_warn() -> None:
    with ScriptedServer() as server:
        stream = connect("127.0.0.1", server.port)
        stream.close()
        with pytest.raises(AutoReconnect, match="lost"):
            plaintext_secrets.peer_ip(stream)


IN_A_NETWORK_OF_ITS_OWN = f"""
import json, subprocess, sys, warnings
sys.path[:0] = json.loads(sys.argv[1])
subprocess.run([sys.argv[2], "link", "set", "lo", "up"], check=True)
subprocess.run([sys.argv[2], "address", "add", "{FAR}/32", "dev", "lo"], check=True)
from mongokey import MongoClient
from tests.servers.mechanism import MechanismServer
from tests.servers.mechanism.plain import KnownUsers, PlainAcceptor
users = PlainAcceptor(KnownUsers({{"ann": "pencil"}}))
with MechanismServer(users, backend=None, host="{FAR}") as server:
    login = dict(username="ann", password="pencil", authMechanism="PLAIN", directConnection=True)
    with MongoClient("{FAR}", server.port, **login) as client:
        warnings.simplefilter("error")
        try:
            client.db.c.find_one()
        except Warning as error:
            refused = type(error).__name__
        sent = server.names(used=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            client.db.c.find_one()
    told = [str(each.message) for each in caught]
    print(json.dumps([refused, sent, told, server.port, server.logins]))
"""


def test_an_address_of_a_network_is_no_loopback() -> None:
    unshare = need_program("unshare", package="util-linux")
    ip = need_program("ip", package="iproute2")
    isolated = [unshare, "--map-root-user", "--net"]
    if subprocess.run([*isolated, "true"], capture_output=True, timeout=30).returncode:
        pytest.skip("this machine lets nobody make network namespaces")
    path = json.dumps([str(Path(mongokey.__file__).parents[1]), str(ROOT)])
    run = subprocess.run(
        [*isolated, sys.executable, "-c", IN_A_NETWORK_OF_ITS_OWN, path, ip],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    refused, sent, told, port, logins = json.loads(run.stdout)
    assert (refused, sent, logins) == ("InsecureConnectionWarning", [], 1)
    (text,) = told
    assert f"over an unencrypted connection to {FAR}:{port}: whoever" in text
