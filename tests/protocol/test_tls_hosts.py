"""Hosts that certificates cannot be checked against are refused before OpenSSL sees them."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest

from mongokey.client_options import ClientOptions
from mongokey.errors import ConfigurationError, TLSError
from mongokey.transport import SocketStream
from mongokey.transport.tls.context import ClientTLS
from mongokey.transport.tls.hosts import certified_name
from tests.deadlines import within
from tests.servers.certificates import Authority
from tests.servers.tls_server import TLSServer
from tests.unit.test_hostnames import BAD

FAR = 20.0


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("hosts"))


def make_tls(authority: Authority, kind: str) -> ClientTLS:
    if kind == "own":
        context = ssl.create_default_context(cafile=authority.certificate_file)
        context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
        return ClientTLS(ClientOptions.build("localhost", tls=True, ssl_context=context).tls)
    given = ClientOptions.build("localhost", tls=True, tlsCAFile=authority.certificate_file).tls
    return ClientTLS(given, bindings=kind == "openssl")


def wrap(tls: ClientTLS, port: int, host: str) -> Any:
    near = socket.create_connection(("127.0.0.1", port))
    stream = SocketStream(near.detach(), f"{host}:{port}")
    return tls.wrap(stream, host, within(FAR * 1000))


@pytest.mark.parametrize("kind", ["openssl", "ssl", "own"])
@pytest.mark.parametrize("host", BAD)
def test_what_is_no_host_is_refused_before_a_byte_is_sent(
    authority: Authority, kind: str, host: str
) -> None:
    near, far = socket.socketpair()
    far.settimeout(FAR)
    with far:
        with pytest.raises(ConfigurationError, match="is no host name"):
            make_tls(authority, kind).wrap(
                SocketStream(near.detach(), "peer:1"), host, within(FAR * 1000)
            )
        assert far.recv(1) == b""


@pytest.mark.parametrize("kind", ["openssl", "ssl", "own"])
def test_the_name_that_is_checked_is_the_one_that_was_connected_to(
    authority: Authority, kind: str
) -> None:
    names = ("db.example.com", "xn--bcher-kva.example", "127.0.0.1", "::1", "fe80::1", "db_1.x")
    pair = authority.issue("server", *names)
    with TLSServer(pair.pem, None, "TLSv1_3") as server:
        tls = make_tls(authority, kind)
        for host in (
            *names,
            "DB.Example.com",
            "db.example.com.",
            "b\u00fccher.example",
            "b\u00fccher\u3002example.",
            "fe80::1%eth0",
            "0:0:0:0:0:0:0:1",
        ):
            wrap(tls, server.port, host).close()
        for host in (
            "example.com",
            "x.db.example.com",
            "db.example.com.x",
            "b\u00fcche.example",
            "127.0.0.2",
            "::2",
            "fe80::2%eth0",
        ):
            with pytest.raises(TLSError) as caught:
                wrap(tls, server.port, host)
            assert caught.value.reason == "TLS-HOST-NAME"


@pytest.mark.parametrize("kind", ["openssl", "ssl"])
def test_a_host_that_was_refused_is_refused_again(authority: Authority, kind: str) -> None:
    pair = authority.issue("server", "a.example.com")
    tls = make_tls(authority, kind)
    with TLSServer(pair.pem, None, "TLSv1_3") as server:
        for _ in range(3):
            with pytest.raises(ConfigurationError, match=r"'\.example\.com' is no host name"):
                wrap(tls, server.port, ".example.com")
        for number in range(600):
            with pytest.raises(ConfigurationError):
                wrap(tls, server.port, f"-{number}")
        wrap(tls, server.port, "a.example.com").close()


def test_names_and_addresses_as_certificates_have_them() -> None:
    assert certified_name("Db.Example.com.") == ("Db.Example.com", None)
    assert certified_name("10.0.0.255") == ("10.0.0.255", bytes([10, 0, 0, 255]))
    assert certified_name("fe80::1%eth0") == ("fe80::1", bytes.fromhex("fe80" + "0" * 27 + "1"))
    assert certified_name("b\u00fccher.example") == ("xn--bcher-kva.example", None)
