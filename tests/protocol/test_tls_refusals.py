"""A server that is refused, as revoked or for want of a staple, hears no more than an alert.

The server records what it got: by TLS's own account of the messages, and of the records' headers.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from mongokey.client_options import ClientOptions
from mongokey.errors import AutoReconnect, TLSError
from mongokey.transport import connect
from mongokey.transport.tls.context import ClientTLS
from tests.deadlines import within
from tests.protocol.test_ocsp import FAR, REVOKED, Responder, respond
from tests.servers.certificates import Authority, Pair

VERSIONS = ("TLSv1_2", "TLSv1_3")
# RFC 8446, appendix B: handshake messages and record types.
CLIENT_HELLO, CERTIFICATE, FINISHED = 1, 11, 20
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, HEADER = 20, 21, 22, 256


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("refusals"))


@pytest.fixture
def responder() -> Iterator[Responder]:
    made = Responder()
    yield made
    made.close()


class RecordingServer:
    """A TLS server that wants a client's certificate, and records all it receives.

    `messages` has the handshake messages' types and ("alert", number); `records` the types of the
    records behind the first. `ended` is set when a connection is over.
    """

    def __init__(self, pair: Pair, authority: Authority, version: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.pem)
        context.load_verify_locations(authority.certificate_file)
        context.verify_mode = ssl.CERT_REQUIRED
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
        context._msg_callback = self._record  # type: ignore[attr-defined]
        self._context = context
        self.messages: list[Any] = []
        self.records: list[int] = []
        self.data = b""
        self.ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _record(
        self, _: Any, direction: str, __: Any, content: int, message: int, data: bytes
    ) -> None:
        if direction != "read":
            return
        if content == HEADER:
            self.records.append(data[0])
        elif content == HANDSHAKE:
            self.messages.append(int(message))
        elif content == ALERT:
            self.messages.append(("alert", data[1]))

    def _serve(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            accepted.settimeout(FAR)
            with contextlib.suppress(OSError), accepted:
                with self._context.wrap_socket(accepted, server_side=True) as stream:
                    while part := stream.recv(100):
                        self.data += part
                        stream.sendall(part)
            self.ended.set()

    def __enter__(self) -> RecordingServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(FAR)
        assert not self._thread.is_alive()


def make_tls(authority: Authority, client: Pair, bindings: bool, **options: Any) -> ClientTLS:
    given = ClientOptions.build(
        "localhost",
        tls=True,
        tlsCAFile=authority.certificate_file,
        tlsCertificateKeyFile=client.pem,
        **options,
    ).tls
    return ClientTLS(given, bindings=bindings)


def wrap(tls: ClientTLS, port: int) -> Any:
    deadline = within(FAR * 1000)
    plain = connect("127.0.0.1", port, deadline=deadline)
    # As a connection with a login does it: the last message waits for the first command.
    return tls.wrap(plain, "127.0.0.1", deadline, hold=True)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("bindings", [True, False])
def test_a_revoked_server_gets_neither_certificate_nor_data(
    authority: Authority, responder: Responder, version: str, bindings: bool
) -> None:
    pair = authority.issue("revoked", "127.0.0.1", ocsp_url=responder.url)
    responder.answer = lambda: respond(authority, pair, REVOKED)
    tls = make_tls(authority, authority.issue("ada", server=False), bindings)
    with RecordingServer(pair, authority, version) as server:
        with pytest.raises(TLSError) as caught:
            wrap(tls, server.port)
        assert caught.value.reason == "TLS-CERTIFICATE-REVOKED"
        assert server.ended.wait(FAR)
        assert server.data == b""
        # bad_certificate_status_response (RFC 6066, section 8); ssl lets nobody send an alert.
        assert server.messages == [CLIENT_HELLO, *([("alert", 113)] if bindings else [])]
        assert len(server.records) == (2 if bindings else 1)
        assert responder.requests


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_must_staple_and_does_not_gets_nothing_either(
    authority: Authority, version: str
) -> None:
    pair = authority.issue("bare", "127.0.0.1", must_staple=True)
    tls = make_tls(authority, authority.issue("ada", server=False), True)
    with RecordingServer(pair, authority, version) as server:
        with pytest.raises(TLSError) as caught:
            wrap(tls, server.port)
        assert caught.value.reason == "TLS-STAPLE-MISSING"
        assert server.ended.wait(FAR)
        assert server.messages == [CLIENT_HELLO, ("alert", 113)]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("bindings", [True, False])
def test_a_server_that_is_not_refused_gets_both(
    authority: Authority, responder: Responder, version: str, bindings: bool
) -> None:
    pair = authority.issue("good", "127.0.0.1", ocsp_url=responder.url)
    responder.answer = lambda: respond(authority, pair)
    tls = make_tls(authority, authority.issue("ada", server=False), bindings)
    with RecordingServer(pair, authority, version) as server:
        for resumed in (False, True):
            stream = wrap(tls, server.port)
            deadline = within(FAR * 1000)
            stream.send_all(b"word", deadline)
            assert stream.receive(100, deadline) == b"word"
            assert stream.resumed == resumed
            stream.close()
            assert server.ended.wait(FAR)
            server.ended.clear()
        assert server.messages.count(CERTIFICATE) == 1
        assert server.messages.count(FINISHED) == 2
        assert server.data == b"wordword"
    assert len(responder.requests) == 1


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("bindings", [True, False])
def test_nothing_leaves_while_the_responder_is_asked(
    authority: Authority, responder: Responder, version: str, bindings: bool
) -> None:
    pair = authority.issue("slow", "127.0.0.1", ocsp_url=responder.url)
    asked, answer = threading.Event(), threading.Event()

    def slow() -> bytes:
        asked.set()
        answer.wait(FAR)
        return respond(authority, pair, REVOKED)

    responder.answer = slow
    tls = make_tls(authority, authority.issue("ada", server=False), bindings)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            wrap(tls, server.port)
        except BaseException as error:
            errors.append(error)

    with RecordingServer(pair, authority, version) as server:
        thread = threading.Thread(target=work)
        thread.start()
        assert asked.wait(FAR)
        time.sleep(0.1)
        assert server.messages == [CLIENT_HELLO]
        # The collector and other threads have their way in the meantime.
        gc.collect()
        answer.set()
        thread.join(FAR)
        assert server.ended.wait(FAR)
    assert [getattr(error, "reason", error) for error in errors] == ["TLS-CERTIFICATE-REVOKED"]
    assert CERTIFICATE not in server.messages


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals of POSIX")
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("bindings", [True, False])
def test_a_signal_in_the_middle_of_the_check_ends_the_connection_with_its_own_error(
    authority: Authority, responder: Responder, version: str, bindings: bool
) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(number: int, frame: Any) -> None:
        raise Interrupted

    pair = authority.issue("interrupted", "127.0.0.1", ocsp_url=responder.url)
    answer = threading.Event()

    def slow() -> bytes:
        signal.pthread_kill(main, signal.SIGUSR1)
        answer.wait(FAR)
        return b""

    responder.answer = slow
    main = threading.get_ident()
    tls = make_tls(authority, authority.issue("ada", server=False), bindings)
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with RecordingServer(pair, authority, version) as server:
            with pytest.raises(Interrupted):
                wrap(tls, server.port)
            answer.set()
            assert server.ended.wait(FAR)
            assert CERTIFICATE not in server.messages
    finally:
        answer.set()
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize("bindings", [True, False])
def test_a_check_that_fails_for_a_reason_of_its_own_refuses(
    authority: Authority, bindings: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = authority.issue("unlucky", "127.0.0.1", must_staple=True)
    tls = make_tls(authority, authority.issue("ada", server=False), bindings)

    def fail(*_: Any, **__: Any) -> int:
        raise MemoryError("no memory")

    monkeypatch.setattr(tls.revocation, "check", fail)
    with RecordingServer(pair, authority, "TLSv1_3") as server:
        with pytest.raises(MemoryError, match="no memory"):
            wrap(tls, server.port)
        assert server.ended.wait(FAR)
        assert CERTIFICATE not in server.messages
        assert FINISHED not in server.messages


def test_handshakes_side_by_side_are_judged_each_by_its_own_certificate(
    authority: Authority, responder: Responder
) -> None:
    good = authority.issue("good", "127.0.0.1")
    revoked = authority.issue("revoked", "127.0.0.1", ocsp_url=responder.url)
    responder.answer = lambda: respond(authority, revoked, REVOKED)
    tls = make_tls(authority, authority.issue("ada", server=False), True)
    outcomes: dict[str, list[str]] = {"good": [], "revoked": []}

    def work(name: str, port: int) -> None:
        for _ in range(8):
            try:
                tls._context.forget_sessions()
                wrap(tls, port).close()
                outcomes[name].append("connected")
            except AutoReconnect as error:
                outcomes[name].append(getattr(error, "reason", str(error)))

    with (
        RecordingServer(good, authority, "TLSv1_3") as one,
        RecordingServer(revoked, authority, "TLSv1_3") as other,
    ):
        threads = [
            threading.Thread(target=work, args=(name, server.port))
            for name, server in (("good", one), ("revoked", other)) * 3
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(FAR)
    assert outcomes == {"good": ["connected"] * 24, "revoked": ["TLS-CERTIFICATE-REVOKED"] * 24}
    assert CERTIFICATE not in other.messages
