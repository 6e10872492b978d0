"""`mongokey check`: TLS that fails, each way by a real handshake, and what is said of it.

Row D of the list of symptoms. The servers are Python's ssl; hosts of hosted clusters are names that
lead to 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from mongokey._support.deadline import Deadline, Timeout
from mongokey.cli.check import certificate_request
from mongokey.cli.check.certificate_request import read_request, read_request_of_tls_1_3
from mongokey.cli.check.der_names import load_name
from tests.checks import ANSWERS, check, codes, expect, found, run, seen, step
from tests.servers.certificates import DAY, Authority, Pair, make_name, self_signed
from tests.servers.child import Child, free_port
from tests.servers.needs import need_program
from tests.servers.scripted import ScriptedServer, mongos

NAMES = ("localhost", "127.0.0.1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("check-tls")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="module")
def other(folder: Path) -> Authority:
    return Authority(folder, "other authority")


def context(
    pair: Pair, *, clients_of: Authority | None = None, version: str | None = None
) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(pair.pem)
    if clients_of is not None:
        made.load_verify_locations(clients_of.certificate_file)
        made.verify_mode = ssl.CERT_REQUIRED
    if version is not None:
        made.minimum_version = made.maximum_version = ssl.TLSVersion[version]
    return made


def serve(pair: Pair, **options: Any) -> ScriptedServer:
    return ScriptedServer(tls=context(pair, **options), on=ANSWERS)


def uri(port: int, authority: Authority, more: str = "") -> str:
    return f"mongodb://127.0.0.1:{port}/?tls=true&tlsCAFile={authority.certificate_file}{more}"


@contextlib.contextmanager
def picky_server(pair: Pair, authority: Authority, version: str = "-tls1_2") -> Iterator[int]:
    """OpenSSL's own server, which names the authorities it accepts, as MongoDB does and Python's
    ssl does not; its port."""
    program = need_program("openssl", package="openssl")
    port = free_port()
    child = Child(
        [
            *(program, "s_server", "-accept", f"127.0.0.1:{port}", version, "-quiet"),
            *("-cert", pair.certificate_file, "-key", pair.key_file),
            *("-CAfile", authority.certificate_file, "-Verify", "1", "-verify_return_error"),
        ],
        pair.folder / f"{pair.name}.output",
    )
    try:
        assert child.wait_for(lambda: _listens(port), 10)
        yield port
    finally:
        child.stop()


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


# ---------------------------------------------------------------- as it should be


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_protocol_cipher_chain_names_and_dates_are_told(authority: Authority, version: str) -> None:
    pair, client = authority.issue("good", *NAMES), authority.issue("good-client")
    with serve(pair, clients_of=authority, version=version) as server:
        more = f"&tlsCertificateKeyFile={client.pem}"
        document = check(uri(server.port, authority, more))
    assert document["ok"], document
    (facts,) = step(document, "tls")["facts"]["hosts"].values()
    assert facts["protocol"] == version.replace("_", ".").replace("v1.", "v1.")
    assert facts["cipher"]
    assert [each["subject"] for each in facts["chain"]] == ["CN=good", "CN=authority,O=Tests"]
    assert facts["names"] == list(NAMES)
    assert facts["client_certificate"] == "CN=good-client"
    assert facts["chain"][0]["valid_until"] > facts["chain"][0]["valid_from"]


# ---------------------------------------------------------------- the server's certificate


def test_an_authority_that_is_not_trusted(authority: Authority, other: Authority) -> None:
    """Row 27."""
    with serve(authority.issue("unknown", *NAMES)) as server:
        document = check(uri(server.port, other))
    first = expect(document, "TLS-AUTHORITY-UNKNOWN", "certain", failed="tls", exit=5)
    assert "CN=authority,O=Tests" in seen(first)
    assert "Invalid" not in first["fix"]


def test_a_proxy_that_looks_into_tls(folder: Path, authority: Authority) -> None:
    """Row 28."""
    proxy = Authority(folder, "Zscaler Intermediate Root CA")
    with serve(proxy.issue("through-proxy", *NAMES)) as server:
        document = check(uri(server.port, authority))
    first = expect(document, "TLS-PROXY", "likely", failed="tls", exit=5)
    assert "Zscaler" in first["summary"]
    assert "root certificate as tlsCAFile" in first["fix"]


def test_a_certificate_that_issued_itself(folder: Path, authority: Authority) -> None:
    """Row 28."""
    with serve(self_signed(folder, "own", *NAMES)) as server:
        document = check(uri(server.port, authority))
    expect(document, "TLS-SELF-SIGNED", "certain", failed="tls", exit=5)


def test_another_host_s_certificate(authority: Authority) -> None:
    """Row 30: the names that it does have."""
    with serve(authority.issue("elsewhere", "db.example.net", "db2.example.net")) as server:
        document = check(uri(server.port, authority))
    first = expect(document, "TLS-HOST-NAME", "certain", failed="tls", exit=5)
    assert "db.example.net, db2.example.net" in first["summary"]
    assert "connect by a name or address that is in it" in first["fix"]


def test_an_expired_certificate(authority: Authority) -> None:
    with serve(authority.issue("old", *NAMES, since=-3 * DAY, until=-DAY)) as server:
        document = check(uri(server.port, authority))
    first = expect(document, "TLS-CERTIFICATE-EXPIRED", "certain", failed="tls", exit=5)
    assert "this machine's clock says" in seen(first)


def test_a_certificate_of_tomorrow(authority: Authority) -> None:
    with serve(authority.issue("young", *NAMES, since=DAY, until=3 * DAY)) as server:
        document = check(uri(server.port, authority))
    first = expect(document, "TLS-CERTIFICATE-NOT-YET-VALID", "certain", failed="tls", exit=5)
    assert "clock" in first["fix"]


def test_three_hosts_with_one_cause_are_one_line(authority: Authority, other: Authority) -> None:
    pair = authority.issue("three", *NAMES)
    with serve(pair) as one, serve(pair) as two, serve(pair) as three:
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in (one, two, three))
        document = check(f"mongodb://{hosts}/?tls=true&tlsCAFile={other.certificate_file}")
    expect(document, "TLS-AUTHORITY-UNKNOWN", "certain", failed="tls", exit=5)
    assert len(document["diagnoses"]) == 1
    assert len(document["diagnoses"][0]["evidence"]["hosts"]) == 3


def test_an_ocsp_responder_that_does_not_answer(authority: Authority) -> None:
    """Row 35."""
    url = f"http://127.0.0.1:{free_port()}/"
    with serve(authority.issue("asked", *NAMES, ocsp_url=url)) as server:
        document = check(uri(server.port, authority))
    assert document["ok"], document
    slow = found(document, "TLS-OCSP-SLOW", "warnings")
    assert slow["confidence"] == "likely"
    assert url in slow["summary"]


# ---------------------------------------------------------------- the client's certificate


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_no_client_certificate(authority: Authority, version: str) -> None:
    pair = authority.issue("asks", *NAMES)
    with serve(pair, clients_of=authority, version=version) as server:
        document = check(uri(server.port, authority))
    sure = "certain" if version == "TLSv1_3" else "likely"
    first = expect(document, "TLS-CLIENT-CERTIFICATE-MISSING", sure, failed="tls", exit=5)
    assert "tlsCertificateKeyFile" in first["fix"]
    if version == "TLSv1_2":
        assert "the server asks for a client certificate" in seen(first)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_client_certificate_of_another_authority(
    authority: Authority, other: Authority, version: str
) -> None:
    """Row 45: whom the server accepts, and who issued ours. In TLS 1.3 the alert comes with the
    first read, and the request is encrypted."""
    pair, client = authority.issue("picky", *NAMES), other.issue("stranger")
    with picky_server(pair, authority, version) as port:
        document = check(uri(port, authority, f"&tlsCertificateKeyFile={client.pem}"))
    assert (document["failed"], document["exit"]) == ("tls", 5)
    assert codes(document)["TLS-CLIENT-CERTIFICATE-REFUSED"] == "certain"
    cause = found(document, "X509-AUTHORITY")
    assert cause["confidence"] == "likely"
    assert "issued by CN=other authority,O=Tests" in cause["summary"]
    assert "accepts those of CN=authority,O=Tests" in cause["summary"]


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_server_that_does_not_say_whom_it_accepts(
    authority: Authority, other: Authority, version: str
) -> None:
    """Row 45: as Python's ssl; its alert alone says that it does not know the authority."""
    pair, client = authority.issue("mute", *NAMES), other.issue("mute-stranger")
    with serve(pair, clients_of=authority, version=version) as server:
        document = check(uri(server.port, authority, f"&tlsCertificateKeyFile={client.pem}"))
    cause = found(document, "X509-AUTHORITY")
    assert cause["confidence"] == "likely"
    assert "does not know that one" in cause["summary"]
    assert "OpenSSL: tlsv1 alert unknown ca" in seen(cause)


def test_a_certificate_of_the_right_authority_that_is_refused_is_no_other_one_s(
    authority: Authority,
) -> None:
    """An alert about something else than the authority."""
    pair = authority.issue("strict", *NAMES)
    client = authority.issue("late", since=-3 * DAY, until=3 * DAY)
    with picky_server(pair, authority, "-tls1_3") as port:
        document = check(uri(port, authority, f"&tlsCertificateKeyFile={client.pem}"))
    assert "X509-AUTHORITY" not in codes(document)


def soon(seconds: float = 10.0) -> Deadline:
    return Timeout(round(seconds * 1e9)).start()


READERS = [read_request, read_request_of_tls_1_3]


@pytest.mark.parametrize("read", READERS)
def test_a_request_that_drips_ends_with_the_deadline(read: Any) -> None:
    """A byte now and then, within each wait's time."""
    near, far = socket.socketpair()
    over = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError):
            far.sendall(b"\x16\x03\x03\x40\x00")
            while not over.wait(0.05):
                far.sendall(b"\0")

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    began = time.monotonic()
    with near, far:
        assert read(near, "localhost", soon(0.4)) is None
        took = time.monotonic() - began
        over.set()
        thread.join(5)
    assert took < 10


def test_bindings_that_are_not_as_expected_are_done_without(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(certificate_request._SIGNATURES, "no_such_function", "int(*)(void)")
    near, far = socket.socketpair()
    with near, far:
        assert read_request_of_tls_1_3(near, "localhost", soon()) is None


def test_the_request_for_a_certificate_is_read(authority: Authority, other: Authority) -> None:
    pair = authority.issue("reads", *NAMES)
    with picky_server(pair, other) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
            request = read_request(plain, "localhost", soon())
    assert request is not None
    assert request.authorities == ["CN=other authority,O=Tests"]
    with serve(pair, version="TLSv1_2") as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain:
            assert read_request(plain, "localhost", soon()) is None


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x16\x03\x03",
        b"\x16\x03\x03\x00\x08\x0d\x00\x00\x04\xff\xff\xff\xff",
        b"\x16\x03\x03\x00\x06\x0d\x00\x00\x02\x01\x40",
        b"\x16\x03\x03\x00\x0a\x0d\x00\x00\x06\x00\x00\x00\xff\xff\x00",
        b"\x16\x03\x03\x00\x04\x0d\xff\xff\xff",
        b"\x15\x03\x03\x00\x02\x02\x50",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x16\x03\x03\xff\xff" + bytes(300),
    ],
)
@pytest.mark.parametrize("read", READERS)
def test_a_hostile_request_for_a_certificate_is_none(read: Any, answer: bytes) -> None:
    near, far = socket.socketpair()
    near.settimeout(5)
    with near, far:
        far.sendall(answer)
        far.shutdown(socket.SHUT_WR)
        request = read(near, "localhost", soon())
    assert request is None or request.authorities == []


def test_a_name_alone_is_read() -> None:
    name = make_name((NameOID.ORGANIZATION_NAME, "a" * 60), (NameOID.COMMON_NAME, "x, y"))
    assert load_name(name.public_bytes()) == name
    assert load_name(x509.Name([]).public_bytes()) == x509.Name([])
    assert load_name(b"\x30\x80junk") is None


# ---------------------------------------------------------------- TLS on one side only


def test_a_port_that_wants_tls(authority: Authority) -> None:
    """Row 32: it hangs up without a word, and answers a greeting in TLS."""
    with serve(authority.issue("wants", *NAMES)) as server:
        document = check(f"mongodb://ada:secret@127.0.0.1:{server.port}/shop")
    first = expect(document, "TLS-NEEDED", "certain", failed="tls", exit=5)
    assert first["fix"] == f"mongodb://ada:***@127.0.0.1:{server.port}/shop?tls=true"


def test_a_port_that_hangs_up_either_way_is_no_certainty() -> None:
    with hanging_up() as port:
        document = check(f"mongodb://127.0.0.1:{port}")
    assert document["exit"] == 5
    assert "certain" not in codes(document).values()


def test_a_port_without_tls(authority: Authority) -> None:
    """Row 33: which option switched it on."""
    with ScriptedServer(on=ANSWERS) as server:
        document = check(
            f"mongodb://127.0.0.1:{server.port}", "--tlsCAFile", authority.certificate_file
        )
    first = expect(document, "TLS-NOT-SPOKEN", "certain", failed="tls", exit=5)
    assert "switched on by tlsCAFile" in first["summary"]
    assert "plain hello on a second connection was answered" in seen(first)
    assert first["fix"].startswith("remove tlsCAFile")


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x03\x3f\x00\x02"], ids=["silent", "half a word"])
def test_a_handshake_that_never_ends(authority: Authority, said: bytes) -> None:
    """The port takes the connection, and that is all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def serve_one() -> None:
            with contextlib.suppress(OSError):
                while not over.is_set():
                    accepted, _ = listener.accept()
                    held.append(accepted)
                    accepted.sendall(said)

        held: list[socket.socket] = []
        thread = threading.Thread(target=serve_one, daemon=True)
        thread.start()
        document = check(uri(listener.getsockname()[1], authority), timeout=0.8)
        over.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        for sock in held:
            sock.close()
    expect(document, "TOPOLOGY-SILENT", "likely", failed="tls", exit=8)


def test_a_server_with_tls_1_1(authority: Authority) -> None:
    """Row 34."""
    old = context(authority.issue("ancient", *NAMES))
    old.set_ciphers("ALL:@SECLEVEL=0")
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with ScriptedServer(tls=old, on=ANSWERS) as server:
        document = check(uri(server.port, authority))
    expect(document, "TLS-OLD-SERVER", "certain", failed="tls", exit=5)


# ---------------------------------------------------------------- hosted clusters


@contextlib.contextmanager
def hanging_up(answer: bytes = b"", serve: Callable[[socket.socket], None] | None = None) -> Any:
    """A port that takes the first bytes, says `answer` and hangs up; its number."""
    listener = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def run() -> None:
        while not over.is_set():
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            with accepted, contextlib.suppress(OSError):
                accepted.settimeout(5)
                accepted.recv(65536)
                accepted.sendall(answer)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        over.set()
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


@pytest.fixture
def hosted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of hosted clusters lead to this machine."""
    real = socket.getaddrinfo

    def here(host: Any, *arguments: Any, **options: Any) -> Any:
        name = "127.0.0.1" if str(host).endswith(".mongodb.net") else host
        return real(name, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", here)


ALERT_80 = b"\x15\x03\x03\x00\x02\x02\x50"


@pytest.mark.parametrize("answer", [b"", ALERT_80], ids=["end of stream", "alert 80"])
def test_who_is_not_on_the_access_list(hosted: None, authority: Authority, answer: bytes) -> None:
    """Row 26: every host cuts the connection off right after the ClientHello."""
    with hanging_up(answer) as one, hanging_up(answer) as two, hanging_up(answer) as three:
        names = ",".join(
            f"ac-x-shard-00-0{number}.abc.mongodb.net:{port}"
            for number, port in enumerate((one, two, three))
        )
        document = check(f"mongodb://{names}/?tls=true&tlsCAFile={authority.certificate_file}")
    first = expect(document, "TLS-ACCESS-LIST", "likely", failed="tls", exit=5)
    assert "all 3 hosts" in first["summary"]
    assert "connected from 127.0.0.1" in seen(first)
    assert "certain" not in codes(document).values()


def test_one_host_alone_is_not_the_access_list(hosted: None, authority: Authority) -> None:
    """Row 26: where another host of the cluster answers, it is something else."""
    name = "ac-x-shard-00-00.abc.mongodb.net"
    with serve(authority.issue("atlas", name)) as good, hanging_up() as bad:
        good.hello = mongos()
        document = check(
            f"mongodb://{name}:{good.port},ac-x-shard-00-01.abc.mongodb.net:{bad}/?tls=true"
            f"&tlsCAFile={authority.certificate_file}"
        )
    assert "TLS-ACCESS-LIST" not in {**codes(document), **codes(document, "warnings")}
    assert "TLS-CLOSED" in codes(document, "warnings")


def test_the_same_on_a_host_of_one_s_own_is_not_the_access_list(authority: Authority) -> None:
    with hanging_up() as port:
        document = check(uri(port, authority))
    assert document["exit"] == 5
    assert "TLS-ACCESS-LIST" not in codes(document)


def test_an_insecure_switch_is_never_the_first_advice(
    authority: Authority, other: Authority
) -> None:
    with serve(authority.issue("safe", *NAMES)) as server:
        result = run(uri(server.port, other))
    assert "tlsInsecure" not in result.output
    assert "tlsAllowInvalid" not in result.output
