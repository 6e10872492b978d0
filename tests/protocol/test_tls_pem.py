"""Files as people make them: read where they can be read in one way only, else told what they are.

Each shape is tried as the client's certificate, as tlsCAFile and as tlsCRLFile, on both ways to
speak TLS, and by `mongokey explain`.
"""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs12,
)

from mongokey.cli.explain import explain
from mongokey.client_options import ClientOptions
from mongokey.errors import ConfigurationError, TLSError
from mongokey.transport import connect
from mongokey.transport.tls.context import ClientTLS
from mongokey.transport.tls.files import read_identity
from mongokey.transport.tls.pem import Block, File, as_file, text_of
from tests.deadlines import within
from tests.servers.certificates import Authority, certificate_pem, key_pem
from tests.servers.needs import need_program
from tests.servers.tls_server import TLSServer

FAR = 20.0
PASSWORD = "horse staple 7"


def joined(text: bytes) -> bytes:
    """As `cat` makes it of files that do not end in a line break."""
    return text.replace(b"-----\n-----BEGIN", b"----------BEGIN")


SHAPES = {
    "straight": lambda text: text,
    "crlf": lambda text: text.replace(b"\n", b"\r\n"),
    "cr": lambda text: text.replace(b"\n", b"\r"),
    "joined": joined,
    "joined-crlf": lambda text: joined(text).replace(b"\n", b"\r\n"),
    "no-end": lambda text: text.rstrip(b"\n"),
    "yaml": lambda text: b"certificate: |\n" + b"".join(b"    %b\n" % x for x in text.split(b"\n")),
    "tabs": lambda text: b"".join(b"\t%b\n" % line for line in text.split(b"\n")),
    "literal": lambda text: b'CERT="' + text.replace(b"\n", b"\\n") + b'"\n',
    "literal-crlf": lambda text: text.replace(b"\n", b"\\r\\n"),
    "one-line": lambda text: text.replace(b"\n", b" "),
    "no-breaks": lambda text: text.replace(b"\n", b""),
    "blank-lines": lambda text: text.replace(b"\n", b"\n\n"),
    "trailing-blanks": lambda text: text.replace(b"\n", b"  \t\n"),
    "bom": lambda text: b"\xef\xbb\xbf" + text,
    "utf-16": lambda text: text.decode().encode("utf-16"),
    "utf-16-be": lambda text: b"\xfe\xff" + text.decode().encode("utf-16-be"),
    "utf-16-without-mark": lambda text: text.decode().encode("utf-16-le"),
    "comments": lambda text: (
        "Sch\u00f6n: subject=/CN=x\n".encode("latin-1") + text + b"\xff\xfe end"
    ),
}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pem"))


@pytest.fixture(scope="module")
def client(authority: Authority) -> Any:
    return authority.issue("ada", server=False)


@pytest.fixture(scope="module")
def server(authority: Authority) -> Any:
    pair = authority.issue("server", "127.0.0.1")
    with TLSServer(pair.pem, authority.certificate_file, "TLSv1_3") as made:
        yield made


def make_tls(bindings: bool = True, **options: Any) -> ClientTLS:
    return ClientTLS(ClientOptions.build("localhost", tls=True, **options).tls, bindings=bindings)


def connects(tls: ClientTLS, server: TLSServer) -> None:
    deadline = within(FAR * 1000)
    plain = connect("127.0.0.1", server.port, deadline=deadline)
    tls.wrap(plain, "127.0.0.1", deadline).close()


def refusal(**options: Any) -> str:
    texts = set()
    for bindings in (True, False):
        with pytest.raises(ConfigurationError) as caught:
            make_tls(bindings, **options)
        texts.add(str(caught.value))
    assert len(texts) == 1
    text = texts.pop()
    assert PASSWORD not in text
    # `mongokey explain` says the same.
    given = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
    facts = explain(f"mongodb://db.example.com/?tls=true&{given}").tls_facts
    assert facts is not None
    assert facts.problem == text
    return text


@pytest.mark.parametrize("bindings", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_read_wherever_such_a_file_is_read(
    authority: Authority, client: Any, server: TLSServer, shape: str, bindings: bool
) -> None:
    make = SHAPES[shape]
    other = Authority(authority.folder, "other")
    listed = Path(authority.revocation_list()).read_bytes()
    own = certificate_pem(client.certificate) + key_pem(client.key)
    # The authority comes last: whoever read only the first would not know it.
    both = certificate_pem(other.certificate) + certificate_pem(authority.certificate)
    options = {
        "tlsCertificateKeyFile": client.file(f".{shape}.pem", make(own)),
        "tlsCAFile": client.file(f".{shape}.ca", make(both)),
        "tlsCRLFile": client.file(f".{shape}.list", make(listed)),
    }
    tls = make_tls(bindings, **options)
    assert tls.engine == ("openssl" if bindings else "ssl")
    assert tls.subject == "CN=ada"
    connects(tls, server)
    given = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
    facts = explain(f"mongodb://db.example.com/?tls=true&{given}").tls_facts
    assert facts is not None
    assert facts.problem is None
    assert [each.subject for each in facts.authorities] == [
        "CN=other,O=Tests",
        "CN=authority,O=Tests",
    ]


@pytest.mark.parametrize("bindings", [True, False])
def test_a_revoked_server_is_refused_by_a_list_in_any_shape(
    authority: Authority, bindings: bool
) -> None:
    pair = authority.issue("gone", "127.0.0.1")
    listed = Path(authority.revocation_list(pair)).read_bytes()
    der = authority.file(".lists.der", to_der("crl", listed))
    with TLSServer(pair.pem, None, "TLSv1_3") as server:
        for path in (authority.file(".lists.joined", SHAPES["one-line"](listed)), der):
            with pytest.raises(TLSError) as caught:
                connects(
                    make_tls(bindings, tlsCAFile=authority.certificate_file, tlsCRLFile=path),
                    server,
                )
            assert caught.value.reason == "TLS-CERTIFICATE-REVOKED"


def to_der(kind: str, pem: bytes) -> bytes:
    need_program("openssl", package="openssl")
    run = subprocess.run(
        ["openssl", kind, "-outform", "DER"], input=pem, capture_output=True, check=True
    )
    return run.stdout


@pytest.mark.parametrize("bindings", [True, False])
def test_der_and_trusted_certificates_are_authorities_too(
    authority: Authority, client: Any, server: TLSServer, bindings: bool
) -> None:
    need_program("openssl", package="openssl")
    pem = certificate_pem(authority.certificate)
    trusted = subprocess.run(
        ["openssl", "x509", "-trustout", "-addtrust", "serverAuth"],
        input=pem,
        capture_output=True,
        check=True,
    ).stdout
    assert b"BEGIN TRUSTED CERTIFICATE" in trusted
    for name, content in (
        ("der", authority.certificate.public_bytes(Encoding.DER)),
        ("trusted", trusted),
        ("trusted-yaml", SHAPES["yaml"](trusted)),
    ):
        path = authority.file(f".{name}", content)
        connects(make_tls(bindings, tlsCAFile=path, tlsCertificateKeyFile=client.pem), server)
    # What is trusted for something else is not trusted here, in a file in disorder either.
    distrusted = subprocess.run(
        ["openssl", "x509", "-trustout", "-addreject", "serverAuth"],
        input=pem,
        capture_output=True,
        check=True,
    ).stdout
    for shape in ("straight", "yaml"):
        path = authority.file(f".distrusted.{shape}", SHAPES[shape](distrusted))
        with pytest.raises(TLSError):
            connects(make_tls(bindings, tlsCAFile=path, tlsCertificateKeyFile=client.pem), server)


@pytest.mark.parametrize("bindings", [True, False])
def test_a_client_s_trusted_certificate_and_pkcs12_are_read(
    authority: Authority, client: Any, server: TLSServer, bindings: bool
) -> None:
    need_program("openssl", package="openssl")
    trusted = subprocess.run(
        ["openssl", "x509", "-trustout", "-addtrust", "clientAuth"],
        input=certificate_pem(client.certificate),
        capture_output=True,
        check=True,
    ).stdout
    stores = [
        (trusted + key_pem(client.key), None),
        (trusted + key_pem(client.key, PASSWORD), PASSWORD),
    ]
    for encryption, password in (
        (NoEncryption(), None),
        (BestAvailableEncryption(PASSWORD.encode()), PASSWORD),
    ):
        store = pkcs12.serialize_key_and_certificates(
            b"ada", client.key, client.certificate, [authority.certificate], encryption
        )
        stores.append((store, password))
    for number, (content, password) in enumerate(stores):
        path = client.file(f".store{number}", content)
        tls = make_tls(
            bindings,
            tlsCAFile=authority.certificate_file,
            tlsCertificateKeyFile=path,
            **({"tlsCertificateKeyFilePassword": password} if password else {}),
        )
        assert tls.subject == "CN=ada"
        connects(tls, server)


@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize("shape", ["straight", "yaml", "literal", "one-line", "cr", "joined"])
def test_encrypted_keys_of_the_old_and_of_the_new_form(
    tmp_path: Path, kind: str, shape: str
) -> None:
    need_program("openssl", package="openssl")
    issuer = Authority(tmp_path, "issuer", kind)
    ada = issuer.issue("ada", "127.0.0.1")
    old_form = subprocess.run(
        ["openssl", kind, "-aes128", "-passout", f"pass:{PASSWORD}"],
        input=ada.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        capture_output=True,
        check=True,
    ).stdout
    if b"DEK-Info" not in old_form:
        old_form = ada.key.private_bytes(
            Encoding.PEM,
            PrivateFormat.TraditionalOpenSSL,
            serialization.BestAvailableEncryption(PASSWORD.encode()),
        )
    assert b"DEK-Info" in old_form
    with TLSServer(ada.pem, issuer.certificate_file, "TLSv1_3") as server:
        for number, key in enumerate((old_form, key_pem(ada.key, PASSWORD))):
            content = SHAPES[shape](certificate_pem(ada.certificate) + key)
            path = ada.file(f".{shape}.{number}", content)
            for bindings in (True, False):
                tls = make_tls(
                    bindings,
                    tlsCAFile=issuer.certificate_file,
                    tlsCertificateKeyFile=path,
                    tlsCertificateKeyFilePassword=PASSWORD,
                )
                connects(tls, server)
            assert "is encrypted" in refusal(tlsCertificateKeyFile=path)
            assert "is wrong" in refusal(
                tlsCertificateKeyFile=path, tlsCertificateKeyFilePassword="no"
            )


def test_what_cannot_be_read_without_doubt_is_told(authority: Authority, client: Any) -> None:
    def file(content: bytes) -> str:
        return client.file(".odd", content)

    own, key = certificate_pem(client.certificate), key_pem(client.key)
    public = client.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    openssh = client.key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    store = pkcs12.serialize_key_and_certificates(
        b"ada", client.key, client.certificate, None, BestAvailableEncryption(PASSWORD.encode())
    )
    no_leaf = pkcs12.serialize_key_and_certificates(
        b"ada", None, None, [client.certificate], BestAvailableEncryption(PASSWORD.encode())
    )
    for content, said in (
        (own + public, "a public key (PUBLIC KEY) where the private key should be"),
        (own + openssh, "form of OpenSSH"),
        (own + key[:-30], "a BEGIN line (PRIVATE KEY) has no END line"),
        (own[:-30] + key, "a BEGIN line (CERTIFICATE) has no END line"),
        (own[:-30] + b"\n" + own + key, "a BEGIN line (CERTIFICATE) has no END line"),
        (own.replace(b"MII", b"M!I", 1) + key, "a certificate in it is damaged"),
        (own + key.replace(b"MIG", b"M!G", 1), "its private key is damaged"),
        (store, "is PKCS#12 (.p12, .pfx) and cannot be opened: give its password"),
        (own + key_pem(authority.issue("else").key), "halves of two different pairs"),
        (client.certificate.public_bytes(Encoding.DER), "is a certificate in DER"),
        (b"\x30\x82\xff\xff", "it is binary"),
    ):
        assert said in refusal(tlsCertificateKeyFile=file(content))
    assert "tlsCertificateKeyFilePassword is wrong" in refusal(
        tlsCertificateKeyFile=file(store), tlsCertificateKeyFilePassword="no"
    )
    assert "PKCS#12 (.p12, .pfx) without a private key" in refusal(
        tlsCertificateKeyFile=file(no_leaf), tlsCertificateKeyFilePassword=PASSWORD
    )
    ca = certificate_pem(authority.certificate)
    p7 = b"-----BEGIN PKCS7-----\nMAA=\n-----END PKCS7-----\n"
    for content, said in (
        (ca + ca[:-30], "a BEGIN line (CERTIFICATE) has no END line"),
        (ca + ca.replace(b"MII", b"M!I", 1), "number 2 of its PEM blocks is damaged"),
        (p7, "openssl pkcs7 -print_certs"),
        (key, "no certificate in it can be read; it has PEM blocks of the kind PRIVATE KEY"),
        (store, "openssl pkcs12 -in"),
        (b"-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", "OpenSSL does not"),
    ):
        assert said in refusal(tlsCAFile=file(content))
    for content in (ca, own + key):
        assert "no revocation list (X509 CRL) in it" in refusal(
            tlsCAFile=authority.certificate_file, tlsCRLFile=file(content)
        )


def test_a_directory_without_hashed_names_is_told(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(certificate_pem(authority.certificate))
    for option in ("tlsCAFile", "tlsCRLFile"):
        text = refusal(**{"tlsCAFile": authority.certificate_file, option: str(tmp_path)})
        assert text.startswith(f"{option}={str(tmp_path)!r} cannot be used: the directory has no")
        assert "openssl rehash" in text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_can_be_named_as_a_file(
    authority: Authority, client: Any, server: TLSServer, tmp_path: Path
) -> None:
    # As in tlsCAFile=<(vault read …): it gives its content once.
    path = tmp_path / "pipe"
    os.mkfifo(path)
    for bindings in (True, False):
        content = certificate_pem(authority.certificate)
        writer = threading.Thread(target=path.write_bytes, args=(content,))
        writer.start()
        tls = make_tls(bindings, tlsCAFile=str(path), tlsCertificateKeyFile=client.pem)
        writer.join(FAR)
        connects(tls, server)


@pytest.mark.parametrize("bindings", [True, False])
def test_variables_that_name_nothing_are_named(
    authority: Authority,
    client: Any,
    server: TLSServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bindings: bool,
) -> None:
    nothing = str(tmp_path / "none.pem")
    monkeypatch.setenv("SSL_CERT_FILE", nothing)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with pytest.raises(ConfigurationError) as caught:
        make_tls(bindings)
    assert f"SSL_CERT_FILE={nothing!r} cannot be used: it cannot be read (No such" in str(
        caught.value
    )
    assert f"SSL_CERT_DIR={str(tmp_path)!r} is no directory with" in str(caught.value)
    # Where something else is trusted, the handshake's error names them.
    hashed = tmp_path / "hashed"
    hashed.mkdir()
    (hashed / "12345678.0").write_bytes(certificate_pem(client.certificate))
    monkeypatch.setenv("SSL_CERT_DIR", f"{hashed}{os.pathsep}{tmp_path}")
    with pytest.raises(TLSError) as refused:
        connects(make_tls(bindings, tlsCertificateKeyFile=client.pem), server)
    assert refused.value.reason == "TLS-AUTHORITY-UNKNOWN"
    assert f"SSL_CERT_FILE={nothing!r} cannot be used" in str(refused.value)
    assert f"SSL_CERT_DIR={str(tmp_path)!r} is no directory" in str(refused.value)
    # And a file in disorder is read here too.
    messy = authority.file(".env", SHAPES["yaml"](certificate_pem(authority.certificate)))
    monkeypatch.setenv("SSL_CERT_FILE", messy)
    connects(make_tls(bindings, tlsCertificateKeyFile=client.pem), server)


def test_nothing_that_holds_a_key_shows_it(client: Any) -> None:
    file = File(certificate_pem(client.certificate) + key_pem(client.key))
    assert repr(file) == "<PEM file of CERTIFICATE, PRIVATE KEY>"
    assert repr(file.blocks[1]) == "<PEM block PRIVATE KEY>"
    assert "object at" in repr(read_identity(client.pem, None))


def test_blocks_are_written_as_they_should_be(client: Any) -> None:
    for text in (certificate_pem(client.certificate), key_pem(client.key)):
        file = File(text)
        assert file.plain
        assert text_of(file.blocks) == text
    assert Block("X", None).text() == b""
    for content in (b"", b"\xff\xfe", b"-----BEGIN -----", b"-----BEGIN A-----", b"\0" * 100):
        assert File(content).blocks == []


@pytest.mark.parametrize("memory", [True, False])
def test_a_file_for_those_who_read_only_files_is_gone_afterwards(
    memory: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    with as_file(b"content") as path:
        assert Path(path).read_bytes() == b"content"
        assert Path(path).read_bytes() == b"content"
        if not memory:
            assert os.stat(path).st_mode & 0o077 == 0
    assert not os.path.exists(path)
