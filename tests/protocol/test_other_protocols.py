"""Ports that do not speak MongoDB's protocol: said at once, with the protocol's name; and servers
that hang up without a word, where no guess leads in a circle."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import trustme

from mongokey import MongoClient
from mongokey.client_options import ClientOptions
from mongokey.connection.connection import Connection
from mongokey.connection.establish import open_connection
from mongokey.connection.settings import ConnectionSettings
from mongokey.errors import AutoReconnect, MongoError, ProtocolError, TLSError
from mongokey.transport.other_protocols import name_of, recognize
from mongokey.transport.tls import errors as tls_errors
from mongokey.transport.tls.context import ClientTLS
from tests.deadlines import timeout_of

# "At once" beside the 20 seconds that a wrong guess would wait for.
SOON_S = 6.0
SELECTION_MS = 20_000

MYSQL = b"\x4a\x00\x00\x00\x0a8.0.36\x00" + bytes(range(1, 64))
MYSQL_REFUSES = b"\x45\x00\x00\x00\xff\x6a\x04Host '10.0.0.7' is not allowed to connect"
POSTGRESQL = (
    b"E\x00\x00\x00\x8dSFATAL\x00VFATAL\x00C0A000\x00Munsupported frontend protocol\x00\x00"
)
SETTINGS = b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80"
ALERT = b"\x15\x03\x01\x00\x02\x02\x46"

GREETINGS = {
    "SSH": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    "SSH, short": b"SSH-2.0-Go\r\n",
    "MySQL": MYSQL,
    "MySQL, refusing": MYSQL_REFUSES,
    "SMTP": b"220 mail.example.com ESMTP Postfix\r\n",
    "FTP": b"220 ProFTPD Server ready\r\n",
    "SMTP or FTP": b"220 hi\r\n",
    "IMAP": b"* OK [CAPABILITY IMAP4rev1] ready\r\n",
    "POP3": b"+OK ready\r\n",
    "VNC": b"RFB 003.008\n",
}
ANSWERS = {
    "HTTP": b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n",
    "HTTP/2": SETTINGS,
    "HTTP/2, empty": SETTINGS[:2] + b"\0" + SETTINGS[3:9],
    "Redis": b"-ERR unknown command\r\n",
    "PostgreSQL": POSTGRESQL,
    "AMQP": b"AMQP\x00\x00\x09\x01",
    "memcached": b"ERROR\r\n",
}


class Port:
    """Says `says` to whoever connects: `at` the start, or in answer to the first bytes. Then it
    hangs up (`end` "close"), cuts the connection (`end` "reset"), or stays."""

    def __init__(self, says: bytes, *, first: bool, end: str, context: Any = None) -> None:
        self.says, self.first, self.end, self.context = says, first, end, context
        self.accepted = 0
        self.kept: list[socket.socket] = []
        self.stopping = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(0.1)
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.serve)

    def __enter__(self) -> Port:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self.thread.join(SOON_S)
        self.listener.close()

    def serve(self) -> None:
        while not self.stopping.is_set():
            try:
                one, _ = self.listener.accept()
            except TimeoutError:
                continue
            self.accepted += 1
            one.settimeout(SOON_S)
            with contextlib.suppress(OSError):
                self.talk(one)
        for one in self.kept:
            one.close()

    def talk(self, one: socket.socket) -> None:
        if self.context is not None:
            one = self.context.wrap_socket(one, server_side=True)
        self.kept.append(one)
        if not self.first:
            one.recv(65536)
        one.sendall(self.says)
        if self.end == "reset":
            time.sleep(0.1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if self.end != "stay":
            one.close()


def refused(port: int, **options: Any) -> MongoError:
    options.setdefault("serverSelectionTimeoutMS", SELECTION_MS)
    with MongoClient("127.0.0.1", port, **options) as client:
        began = time.monotonic()
        with pytest.raises(MongoError) as caught:
            client["x"].command("ping")
        assert time.monotonic() - began < SOON_S
    return caught.value


def told(greeting: str) -> str:
    return greeting.partition(",")[0]


@pytest.mark.parametrize("end", ["close", "stay"])
@pytest.mark.parametrize("greeting", GREETINGS)
def test_a_port_that_greets_first_is_named(greeting: str, end: str) -> None:
    with Port(GREETINGS[greeting], first=True, end=end) as other:
        error = refused(other.port)
    assert isinstance(error, ProtocolError)
    assert error.permanent
    assert f"127.0.0.1:{other.port}: this port speaks {told(greeting)}, not MongoDB's" in str(error)
    assert other.accepted == 1


@pytest.mark.parametrize("end", ["close", "stay"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_port_that_answers_our_bytes_is_named(answer: str, end: str) -> None:
    with Port(ANSWERS[answer], first=False, end=end) as other:
        error = refused(other.port)
    assert isinstance(error, ProtocolError)
    assert f"speaks {told(answer)}, not MongoDB's protocol" in str(error)
    assert other.accepted == 1


def test_a_greeting_is_heard_though_the_connection_is_cut_before_we_speak(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The greeting lies in the socket when the write fails."""
    from mongokey.connection import establish

    def late(*arguments: Any) -> Connection:
        time.sleep(0.5)
        return Connection(*arguments)

    monkeypatch.setattr(establish, "Connection", late)
    with Port(b"SSH-2.0-OpenSSH_9.2\r\n", first=True, end="reset") as other:
        error = refused(other.port)
    assert "speaks SSH" in str(error)


def test_text_of_no_known_protocol_is_shown() -> None:
    with Port(b"Welcome to the machine\nhello\n", first=True, end="stay") as other:
        error = refused(other.port)
    assert "speaks another protocol than MongoDB's (it says 'Welcome to the machine')" in str(error)


def test_every_seed_is_named() -> None:
    with (
        Port(GREETINGS["SSH"], first=True, end="stay") as one,
        Port(ANSWERS["HTTP"], first=False, end="close") as two,
        MongoClient(
            f"mongodb://127.0.0.1:{one.port},127.0.0.1:{two.port}/?replicaSet=rs"
        ) as client,
    ):
        began = time.monotonic()
        with pytest.raises(ProtocolError) as caught:
            client["x"].command("ping")
        assert time.monotonic() - began < SOON_S
    assert "speaks SSH" in str(caught.value)
    assert "speaks HTTP" in str(caught.value)


def test_a_seed_that_cannot_be_reached_yet_is_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        absent = gone.getsockname()[1]
    with (
        Port(GREETINGS["SSH"], first=True, end="stay") as one,
        MongoClient(
            f"mongodb://127.0.0.1:{one.port},127.0.0.1:{absent}/?serverSelectionTimeoutMS=300"
        ) as client,
        pytest.raises(AutoReconnect, match="speaks SSH"),
    ):
        client["x"].command("ping")


@pytest.mark.parametrize("end", ["close", "stay"])
def test_an_alert_of_tls_is_recognized(end: str) -> None:
    with Port(ALERT, first=False, end=end) as other:
        error = refused(other.port)
    assert isinstance(error, TLSError)
    assert (error.reason, error.permanent) == ("TLS-NEEDED", True)
    assert "add tls=true" in str(error)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusted(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def test_what_speaks_behind_tls_is_named(authority: trustme.CA, trusted: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Port(ANSWERS["HTTP"], first=False, end="stay", context=context) as other:
        error = refused(other.port, tls=True, tlsCAFile=trusted)
    assert isinstance(error, ProtocolError)
    assert "speaks HTTP" in str(error)


@pytest.mark.parametrize("greeting", ["SSH", "MySQL", "SMTP"])
def test_a_tls_greeting_to_another_protocol_names_it(greeting: str, trusted: str) -> None:
    with Port(GREETINGS[greeting], first=True, end="stay") as other:
        error = refused(other.port, tls=True, tlsCAFile=trusted)
    assert isinstance(error, TLSError)
    assert (error.reason, error.permanent) == ("TLS-NOT-SPOKEN", True)
    assert f"this port speaks {greeting}, not MongoDB's" in str(error)
    assert "tls=true" not in str(error)


def hang_up(port: int, tls: ClientTLS | None) -> str:
    settings = ConnectionSettings(
        connect_timeout=timeout_of(SOON_S * 1000, "connectTimeoutMS"), tls=tls
    )
    with pytest.raises(TLSError) as caught:
        open_connection(("127.0.0.1", port), settings)
    assert not caught.value.permanent
    return str(caught.value)


@pytest.mark.parametrize("tls_first", [False, True])
def test_a_guess_that_was_tried_is_not_given_again(trusted: str, tls_first: bool) -> None:
    options = ClientOptions.build("127.0.0.1", tls=True, tlsCAFile=trusted).tls
    tls = ClientTLS(options)
    with Port(b"", first=False, end="close") as other:
        order = [tls, None] if tls_first else [None, tls]
        first, second, third = (hang_up(other.port, each) for each in [*order, order[0]])
    guess = "remove tls=true" if tls_first else "add tls=true"
    assert guess in first
    assert f"unless it does so with{'out' if tls_first else ''} TLS too" in first
    for text in (second, third):
        assert "with TLS and without: so TLS is not the cause" in text
        assert "add tls=true" not in text
        assert "remove tls=true" not in text
        assert "older than MongoDB 3.6" in text


def test_what_was_tried_is_forgotten_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    tls_errors._hung_up_both_ways("h:1", True)
    later = time.monotonic() + 3600
    monkeypatch.setattr(tls_errors, "monotonic", lambda: later)
    assert "add tls=true" in str(tls_errors.plain_answer("h:1", False))


def test_so_many_servers_are_remembered_at_most() -> None:
    for number in range(1000):
        tls_errors._hung_up_both_ways(f"h{number}:1", True)
    assert len(tls_errors._hung_up) <= 100


@pytest.mark.parametrize("text", [*GREETINGS, *ANSWERS])
def test_the_first_bytes_tell_the_name(text: str) -> None:
    assert name_of((GREETINGS | ANSWERS)[text][:64]) == told(text)


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"H",
        ALERT,
        b"\x16\x03\x03\x00\x7a",
        # Replies of MongoDB, with request ids that look like something.
        struct.pack("<iiii", 300, 10, 1, 2013) + bytes(5),
        struct.pack("<iiii", 0x45, 0x53000000, 1, 1),
        struct.pack("<iiii", 300, 0x2E380A, 1, 2013),
    ],
)
def test_nothing_is_made_of_what_may_be_mongodb_or_tls(first: bytes) -> None:
    assert recognize(first) is None
