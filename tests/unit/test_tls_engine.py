"""TLS without a socket: an engine of ours and a server of Python's ssl, with buffers between."""

from __future__ import annotations

import contextlib
import random
import ssl
from typing import Any

import pytest
import trustme

from mongokey.client_options import ClientOptions
from mongokey.errors import AutoReconnect, ConfigurationError, InvalidOperation, TLSError
from mongokey.transport.tls.context import ClientTLS

PEER = "db.example.com:27017"
HOST = "db.example.com"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def files(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    directory = tmp_path_factory.mktemp("tls")
    made = {}
    for name, issuer, host in (
        ("server", authority, HOST),
        ("other", authority, "other.example.com"),
        ("stranger", trustme.CA(), HOST),
    ):
        path = directory / f"{name}.pem"
        path.write_bytes(issuer.issue_cert(host).private_key_and_cert_chain_pem.bytes())
        made[name] = str(path)
    made["ca"] = str(directory / "ca.pem")
    authority.cert_pem.write_to_path(made["ca"])
    return made


@pytest.fixture(params=["openssl", "ssl"])
def tls(request: pytest.FixtureRequest, files: dict[str, str]) -> ClientTLS:
    options = ClientOptions.build("localhost", tls=True, tlsCAFile=files["ca"]).tls
    made = ClientTLS(options, bindings=request.param == "openssl")
    assert made.engine == request.param
    return made


class Server:
    """The other end, by Python's ssl."""

    def __init__(self, certificate: str, version: str = "TLSv1_3", **settings: Any) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
        for name, value in settings.items():
            setattr(context, name, value)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.ready = False

    def go_on(self) -> None:
        if not self.ready:
            try:
                self.object.do_handshake()
                self.ready = True
            except ssl.SSLWantReadError:
                return

    def read(self) -> bytes:
        received = bytearray()
        while True:
            try:
                part = self.object.read(65536)
            except ssl.SSLWantReadError:
                return bytes(received)
            if not part:
                return bytes(received)
            received += part


def shake_hands(engine: Any, server: Server, most: int = 1 << 20) -> None:
    """The handshake, with no more than `most` bytes at a time."""
    for _ in range(100_000):
        done = engine.do_handshake()
        server.incoming.write(engine.pending())
        server.go_on()
        if done and server.ready:
            return
        piece = server.outgoing.read(most)
        if piece:
            engine.feed(piece)
    raise AssertionError("the handshake does not end")


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("most", [1, 100, 1 << 20])
def test_both_ends_talk(tls: ClientTLS, files: dict[str, str], version: str, most: int) -> None:
    engine, server = tls.make_engine(HOST, PEER), Server(files["server"], version)
    assert not engine.handshake_done
    shake_hands(engine, server, most)
    assert engine.handshake_done
    assert engine.do_handshake()
    assert not engine.resumed
    assert engine.first_received
    engine.encrypt(b"question")
    server.incoming.write(engine.pending())
    assert server.read() == b"question"
    server.object.write(b"answer")
    engine.feed(server.outgoing.read())
    assert engine.decrypt(3) == b"ans"
    assert engine.decrypt(100) == b"wer"
    assert engine.decrypt(100) is None
    assert engine.pending() == b""


def test_much_data_in_pieces_of_any_size(tls: ClientTLS, files: dict[str, str]) -> None:
    generator = random.Random(4)
    engine, server = tls.make_engine(HOST, PEER), Server(files["server"])
    shake_hands(engine, server)
    data = generator.randbytes(700_000)
    engine.encrypt(memoryview(data))
    server.incoming.write(engine.pending())
    assert server.read() == data
    server.object.write(data)
    sent = server.outgoing.read()
    received, at = bytearray(), 0
    while len(received) < len(data):
        piece = engine.decrypt(generator.choice([1, 1000, 20_000, 100_000]))
        if piece is not None:
            received += piece
            continue
        assert at < len(sent)
        size = generator.choice([1, 5, 16_389, 50_000])
        engine.feed(sent[at : at + size])
        at += size
    assert received == data


def test_an_earlier_handshake_is_gone_on_from(tls: ClientTLS, files: dict[str, str]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["server"])
    engines = []
    for _ in range(2):
        server = Server(files["server"])
        server.object = context.wrap_bio(server.incoming, server.outgoing, server_side=True)
        engine = tls.make_engine(HOST, PEER)
        shake_hands(engine, server)
        server.object.write(b"x")
        engine.feed(server.outgoing.read())
        assert engine.decrypt(1) == b"x"
        engines.append(engine)
    assert [each.resumed for each in engines] == [False, True]


@pytest.mark.parametrize(
    ("certificate", "code"), [("other", "TLS-HOST-NAME"), ("stranger", "TLS-AUTHORITY-UNKNOWN")]
)
def test_a_certificate_that_does_not_fit_is_refused_with_an_alert(
    tls: ClientTLS, files: dict[str, str], certificate: str, code: str
) -> None:
    engine, server = tls.make_engine(HOST, PEER), Server(files[certificate])
    with pytest.raises(TLSError) as caught:
        shake_hands(engine, server)
    assert code in str(caught.value)
    assert str(caught.value).startswith(PEER)
    alert = engine.pending()
    server.incoming.write(alert)
    with pytest.raises(ssl.SSLError, match="ALERT"):
        server.object.do_handshake()
    with pytest.raises((InvalidOperation, AutoReconnect)):
        engine.encrypt(b"secret")


def test_another_protocol_is_told(tls: ClientTLS) -> None:
    engine = tls.make_engine(HOST, PEER)
    assert not engine.do_handshake()
    engine.feed(b"SSH-2.0-OpenSSH_9.2\r\n")
    with pytest.raises(TLSError, match="TLS-NOT-SPOKEN"):
        engine.do_handshake()
    assert engine.first_received == b"SSH-2.0-OpenSSH_9.2\r\n"


@pytest.mark.parametrize("seed", range(4))
def test_broken_bytes_end_in_an_error(tls: ClientTLS, files: dict[str, str], seed: int) -> None:
    generator = random.Random(seed)
    for _ in range(40):
        engine, server = tls.make_engine(HOST, PEER), Server(files["server"])
        if generator.random() < 0.3:
            assert not engine.do_handshake()
            engine.feed(generator.randbytes(generator.randint(1, 400)))
            with contextlib.suppress(AutoReconnect):
                assert not engine.do_handshake()
            continue
        shake_hands(engine, server)
        server.object.write(b"answer" * 100)
        data = bytearray(server.outgoing.read())
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        engine.feed(data)
        received = b""
        # None: the record says that it is longer than what came, and more is waited for.
        with contextlib.suppress(AutoReconnect):
            while (piece := engine.decrypt(1000)) is not None:
                received += piece
        assert received != b"answer" * 100
        assert (b"answer" * 100).startswith(received)


def test_both_sides_say_goodbye(tls: ClientTLS, files: dict[str, str]) -> None:
    engine, server = tls.make_engine(HOST, PEER), Server(files["server"])
    shake_hands(engine, server)
    engine.close()
    server.incoming.write(engine.pending())
    assert server.read() == b""
    assert engine.pending() == b""
    engine, server = tls.make_engine(HOST, PEER), Server(files["server"])
    shake_hands(engine, server)
    server.object.write(b"last")
    with contextlib.suppress(ssl.SSLWantReadError):
        server.object.unwrap()
    engine.feed(server.outgoing.read())
    assert engine.decrypt(100) == b"last"
    with pytest.raises(AutoReconnect, match="closed by the server"):
        engine.decrypt(100)


def test_nothing_is_encrypted_before_the_handshake_is_over(tls: ClientTLS) -> None:
    engine = tls.make_engine(HOST, PEER)
    for act in (lambda: engine.encrypt(b"secret"), lambda: engine.decrypt(1)):
        with pytest.raises(InvalidOperation, match="not over"):
            act()
    assert engine.pending() == b""
    engine.do_handshake()
    with pytest.raises(InvalidOperation, match="not over"):
        engine.encrypt(b"secret")
    assert b"secret" not in engine.pending()


def test_wrong_arguments_are_refused(tls: ClientTLS, files: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        tls.make_engine("no host\n", PEER)
    engine, server = tls.make_engine(HOST, PEER), Server(files["server"])
    shake_hands(engine, server)
    with pytest.raises(ValueError, match="at least 1"):
        engine.decrypt(0)
    for wrong in (None, "text", 5):
        with pytest.raises(TypeError):
            engine.feed(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            engine.encrypt(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        tls.make_engine(HOST, PEER).do_handshake(5)  # type: ignore[arg-type]
    context: Any = engine.context if tls.engine == "openssl" else ssl.create_default_context()
    with pytest.raises(InvalidOperation, match="one connection"):
        engine.__init__(tls, context, HOST, PEER)  # type: ignore[misc]
