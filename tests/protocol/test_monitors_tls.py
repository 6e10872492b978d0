"""Monitors over TLS, by both engines: the same errors as a pool's connections, nobody held up."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trustme

from mongokey._support.deadline import Timeout
from mongokey.client_options import ClientOptions
from mongokey.connection.settings import ConnectionSettings
from mongokey.errors import AutoReconnect, NetworkTimeout, TLSError
from mongokey.handshake import ClientMetadata
from mongokey.topology.checks import WatchedServers
from mongokey.transport.tls.context import ClientTLS
from tests.monitors import make_monitors, own_threads
from tests.protocol.test_monitors import HOUR_NS, Reports, address_of, soon
from tests.servers.scripted import Close, Reply, ScriptedServer, standalone

pytestmark = pytest.mark.usefixtures("monitors_face")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """PEM files: the authority's certificate, a server's, one of another host, one of a stranger's
    authority, and a client's."""
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    made = {"ca": str(directory / "ca.pem")}
    authority.cert_pem.write_to_path(made["ca"])
    for name, issuer, host in (
        ("server", authority, "127.0.0.1"),
        ("other", authority, "other.example.com"),
        ("stranger", trustme.CA(), "127.0.0.1"),
        ("client", authority, "client.example.com"),
    ):
        made[name] = str(directory / f"{name}.pem")
        pem = issuer.issue_cert(host).private_key_and_cert_chain_pem
        Path(made[name]).write_bytes(pem.bytes())
    return made


@pytest.fixture(params=["openssl", "ssl"])
def tls(request: pytest.FixtureRequest, files: dict[str, str]) -> ClientTLS:
    options = ClientOptions.build("localhost", tls=True, tlsCAFile=files["ca"]).tls
    assert options is not None
    made = ClientTLS(options, bindings=request.param == "openssl")
    assert made.engine == request.param
    return made


def server_context(certificate: str, version: str = "TLSv1_3") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    return context


@contextmanager
def monitoring(
    tls: ClientTLS | None, timeout_s: float = 20.0, heartbeat_ns: int = HOUR_NS
) -> Iterator[tuple[WatchedServers, Reports]]:
    reports = Reports()
    settings = ConnectionSettings(
        metadata=ClientMetadata(),
        connect_timeout=Timeout(round(timeout_s * 1e9), "connectTimeoutMS"),
        tls=tls,
    )
    monitors = make_monitors(settings, reports.add, heartbeat_ns=heartbeat_ns, mode="poll")
    try:
        yield monitors, reports
    finally:
        monitors.close()
        assert soon(lambda: not own_threads())


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_server_is_monitored_over_tls(
    tls: ClientTLS, files: dict[str, str], version: str
) -> None:
    server = ScriptedServer(tls=server_context(files["server"], version))
    with server, monitoring(tls, heartbeat_ns=500_000_000) as (monitors, reports):
        monitors.watch(address_of(server))
        reports.wait_for_one(address_of(server), 3)
        assert all(each.is_server_type_known for each in reports.all)
        assert server.accepted == 1
        # The next connection goes on from the first one's session.
        monitors.cancel_check(address_of(server))
        reports.wait_for(lambda: server.accepted == 2 and len(reports.all) > 4)
        assert all(each.is_server_type_known for each in reports.all)


def test_the_end_is_said_properly(tls: ClientTLS, files: dict[str, str]) -> None:
    context = server_context(files["server"])
    ends: list[bytes | Exception] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            accepted, _ = listener.accept()
            with context.wrap_socket(
                accepted, server_side=True, suppress_ragged_eofs=False
            ) as wrapped:
                wrapped.recv(4096)
                try:
                    ends.append(wrapped.recv(4096))
                except OSError as error:
                    ends.append(error)

        thread = threading.Thread(target=serve)
        thread.start()
        with monitoring(tls) as (monitors, _):
            monitors.watch(listener.getsockname())
            time.sleep(0.3)
        thread.join(10)
        assert ends == [b""]  # close_notify, not a cut


@pytest.mark.parametrize(
    ("certificate", "words"), [("other", "TLS-HOST"), ("stranger", "TLS-")], ids=["host", "ca"]
)
def test_a_certificate_that_will_not_do_is_an_error_for_good(
    tls: ClientTLS, files: dict[str, str], certificate: str, words: str
) -> None:
    server = ScriptedServer(tls=server_context(files[certificate]))
    with server, monitoring(tls) as (monitors, reports):
        monitors.watch(address_of(server))
        found = reports.wait_for_one(address_of(server)).error
        assert isinstance(found, TLSError)
        assert found.permanent
        assert words in str(found)


def test_a_client_certificate_is_shown_and_its_want_is_told(
    tls: ClientTLS, files: dict[str, str]
) -> None:
    context = server_context(files["server"])
    context.load_verify_locations(files["ca"])
    context.verify_mode = ssl.CERT_REQUIRED
    with ScriptedServer(tls=context) as server:
        with monitoring(tls) as (monitors, reports):
            monitors.watch(address_of(server))
            found = reports.wait_for_one(address_of(server)).error
            assert isinstance(found, TLSError)
            assert "certificate" in str(found)
        options = ClientOptions.build(
            "localhost", tls=True, tlsCAFile=files["ca"], tlsCertificateKeyFile=files["client"]
        ).tls
        assert options is not None
        with monitoring(ClientTLS(options, bindings=tls.engine == "openssl")) as (
            monitors,
            reports,
        ):
            monitors.watch(address_of(server))
            assert reports.wait_for_one(address_of(server)).is_server_type_known


def test_tls_to_a_plain_port_that_says_nothing(tls: ClientTLS) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, monitoring(tls, 0.3) as (m, reports):
        m.watch(silent.getsockname())
        found = reports.wait_for_one(silent.getsockname()).error
        assert isinstance(found, NetworkTimeout)
        assert "likely this port does not speak TLS" in str(found)
        assert "connectTimeoutMS=300" in str(found)


def test_tls_to_a_plain_port_that_hangs_up(tls: ClientTLS) -> None:
    with ScriptedServer() as server, monitoring(tls) as (monitors, reports):
        monitors.watch(address_of(server))
        found = reports.wait_for_one(address_of(server)).error
        assert isinstance(found, TLSError)
        assert "connection closed by the server" in str(found)


def test_plain_to_a_tls_port(files: dict[str, str]) -> None:
    server = ScriptedServer(tls=server_context(files["server"]))
    with server, monitoring(None) as (monitors, reports):
        monitors.watch(address_of(server))
        found = reports.wait_for_one(address_of(server)).error
        assert isinstance(found, TLSError)
        assert "TLS-NEEDED" in str(found)


def test_garbage_in_place_of_a_handshake(tls: ClientTLS) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, monitoring(tls) as (m, reports):

        def greet() -> None:
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 9)
                accepted.recv(4096)

        threading.Thread(target=greet).start()
        m.watch(listener.getsockname())
        found = reports.wait_for_one(listener.getsockname()).error
        assert isinstance(found, TLSError)
        assert "SSH" in str(found)


def test_a_connection_that_ends_later_is_a_network_error(
    tls: ClientTLS, files: dict[str, str]
) -> None:
    server = ScriptedServer(tls=server_context(files["server"]))
    with server, monitoring(tls, heartbeat_ns=500_000_000) as (monitors, reports):
        monitors.watch(address_of(server))
        reports.wait_for_one(address_of(server))
        server.on = {"hello": Close()}
        reports.wait_for(lambda: any(not each.is_server_type_known for each in reports.all))
        error = next(each.error for each in reports.all if each.error is not None)
        assert isinstance(error, AutoReconnect)
        server.on = {"hello": Reply(standalone())}
        reports.wait_for(lambda: reports.all[-1].is_server_type_known)


def test_a_slow_handshake_holds_up_no_other_server(tls: ClientTLS, files: dict[str, str]) -> None:
    with ExitStack() as stack:
        server = stack.enter_context(ScriptedServer(tls=server_context(files["server"])))
        silent = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(10)]
        monitors, reports = stack.enter_context(monitoring(tls, 1.5))
        for each in silent:
            monitors.watch(each.getsockname())
        monitors.watch(address_of(server))
        assert reports.wait_for_one(address_of(server)).is_server_type_known
        assert len(reports.all) == 1
        reports.wait_for(lambda: len(reports.all) == 11)


class SlowRevocation:
    """A check for revocation that lasts until it is let go."""

    endpoints = True

    def __init__(self) -> None:
        self.unasked: set[bytes] = set()
        self.asked = threading.Event()
        self.go = threading.Event()
        self.refuse: Callable[[], Exception] | None = None

    def check(self, *_: object, **__: object) -> None:
        """Wait."""
        self.asked.set()
        self.go.wait(10)
        if self.refuse is not None:
            raise self.refuse()


@pytest.mark.parametrize("outcome", ["good", "revoked", "too late", "closed", "given up"])
def test_a_check_for_revocation_is_made_beside(
    tls: ClientTLS, files: dict[str, str], outcome: str
) -> None:
    revocation = tls.revocation = SlowRevocation()
    with ScriptedServer(tls=server_context(files["server"])) as server, ScriptedServer() as plain:
        address = address_of(server)
        timeout_s = 0.5 if outcome == "too late" else 20.0
        with monitoring(tls, timeout_s) as (monitors, reports):
            monitors.watch(address)
            assert revocation.asked.wait(10)
            # The loop goes on meanwhile.
            done = threading.Event()
            job = monitors.call_every(1_000_000, done.set)
            assert done.wait(10)
            job.cancel()
            if outcome == "revoked":
                revocation.refuse = lambda: TLSError("it is revoked")
            elif outcome == "too late":
                found = reports.wait_for_one(address).error
                assert isinstance(found, NetworkTimeout)
            elif outcome == "closed":
                monitors.close()
            elif outcome == "given up":
                monitors.unwatch(address)
                assert server.wait_for(lambda: server.open == 0)
            revocation.go.set()
            if outcome == "good":
                assert reports.wait_for_one(address).is_server_type_known
            elif outcome == "revoked":
                assert str(reports.wait_for_one(address).error) == "it is revoked"
            assert plain.accepted == 0
