"""Files that TLS options name: what is wrong with each is said, and the file is named."""

from __future__ import annotations

import datetime
import ssl
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from mongokey import MongoClient
from mongokey.client_options import ClientOptions
from mongokey.errors import ConfigurationError
from mongokey.transport.tls import context as tls_context
from mongokey.transport.tls.context import ClientTLS, make_context
from mongokey.transport.tls.files import read_identity
from tests.servers.certificates import Authority, certificate_pem, key_pem

PASSWORD = "horse staple 7"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def client(authority):
    return authority.issue("ada", server=False)


def tls_options(**options):
    return ClientOptions.build("localhost", tls=True, **options).tls


def refusal(path, password=None):
    with pytest.raises(ConfigurationError) as caught:
        read_identity(str(path), password)
    text = str(caught.value)
    assert text.startswith(f"tlsCertificateKeyFile={str(path)!r} cannot be used: ")
    assert PASSWORD not in text
    return text


def test_a_good_file_gives_the_subject(client):
    assert read_identity(client.pem, None).subject == "CN=ada"
    assert read_identity(client.encrypted_pem(PASSWORD), PASSWORD).subject == "CN=ada"


def test_a_password_for_a_key_without_one_does_no_harm(client):
    assert read_identity(client.pem, PASSWORD).subject == "CN=ada"


def test_a_missing_file(tmp_path):
    assert "cannot be read (No such file or directory)" in refusal(tmp_path / "none.pem")
    assert "cannot be read (Is a directory)" in refusal(tmp_path)


def test_a_file_without_key_or_certificate(client):
    assert "it has no private key" in refusal(client.certificate_file)
    assert "no certificate" in refusal(client.key_file)


def test_an_encrypted_key_without_and_with_a_wrong_password(client):
    path = client.encrypted_pem(PASSWORD)
    assert "is encrypted: give its password as tlsCertificateKeyFilePassword" in refusal(path)
    assert "tlsCertificateKeyFilePassword is wrong" in refusal(path, "no " + PASSWORD[:3])


def test_a_key_of_another_certificate(authority, client):
    other = authority.issue("other")
    path = client.file(".mix.pem", certificate_pem(client.certificate) + key_pem(other.key))
    assert "does not belong to its certificate (subject 'CN=ada')" in refusal(path)


def test_the_leaf_must_come_first(authority, client):
    content = certificate_pem(authority.certificate) + certificate_pem(client.certificate)
    path = client.file(".order.pem", content + key_pem(client.key))
    assert "number 2 in the file: it must come first" in refusal(path)


def test_other_formats_are_told_with_the_line_that_converts(client):
    der = client.file(".der", client.certificate.public_bytes(Encoding.DER))
    assert "is a certificate in DER" in refusal(der)
    key = client.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    assert "is a private key in DER" in refusal(client.file(".keyder", key))
    store = pkcs12.serialize_key_and_certificates(
        b"ada", client.key, client.certificate, None, BestAvailableEncryption(b"x")
    )
    assert "openssl pkcs12 -in" in refusal(client.file(".p12", store))
    assert "Java key store" in refusal(client.file(".jks", b"\xfe\xed\xfe\xed\0\0\0\2"))
    assert "it is empty" in refusal(client.file(".empty", b" \n"))
    assert "it is not PEM" in refusal(client.file(".txt", b"hello"))
    assert "text in UTF-16 that is not PEM" in refusal(client.file(".16", "hi".encode("utf-16")))
    cut = certificate_pem(client.certificate)[:200]
    assert "cut short" in refusal(client.file(".cut", cut))


def test_damaged_blocks(client):
    bad = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
    path = client.file(".badkey", certificate_pem(client.certificate) + bad)
    assert "its private key is damaged" in refusal(path)
    bad = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    assert "a certificate in it is damaged" in refusal(
        client.file(".badcrt", bad + key_pem(client.key))
    )


def test_dates(authority):
    day = datetime.timedelta(days=1)
    assert "expired on 2" in refusal(authority.issue("old", since=-3 * day, until=-day).pem)
    assert "is not valid before 2" in refusal(authority.issue("new", since=day, until=2 * day).pem)


@pytest.mark.parametrize("bindings", [True, False])
def test_a_bad_file_of_authorities(authority, client, bindings):
    def told(**options):
        with pytest.raises(ConfigurationError) as caught:
            ClientTLS(tls_options(**options), bindings=bindings)
        return str(caught.value)

    der = authority.file(
        ".keyder", client.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    )
    assert "is a private key in DER" in told(tlsCAFile=der)
    assert f"tlsCAFile={der!r}" in told(tlsCAFile=der)
    assert "no certificate in it can be read" in told(tlsCAFile=client.key_file)
    assert "cannot be read (No such file" in told(tlsCAFile="/nowhere/ca.pem")
    with_crl = told(tlsCAFile=authority.certificate_file, tlsCRLFile=client.key_file)
    assert with_crl.startswith(f"tlsCRLFile={client.key_file!r} cannot be used")


@pytest.mark.parametrize("bindings", [True, False])
def test_a_machine_without_authorities_is_said_to_be_one(tmp_path, monkeypatch, bindings):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with pytest.raises(ConfigurationError, match="no certificate of any authority"):
        ClientTLS(tls_options(), bindings=bindings)
    # Nothing is to be verified: nothing is missing.
    with pytest.warns(UserWarning, match="does not check certificates"):
        ClientTLS(tls_options(tlsAllowInvalidCertificates=True), bindings=bindings)


def test_the_system_s_authorities_come_by_the_environment(authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", authority.certificate_file)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    assert ClientTLS(tls_options()).engine == "openssl"
    assert make_context(tls_options()).cert_store_stats()["x509_ca"] >= 1


def test_the_ssl_context_is_strict_about_versions_and_not_about_extensions(authority):
    context = make_context(tls_options(tlsCAFile=authority.certificate_file))
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_a_context_of_one_s_own_is_used_as_it_is(client):
    context = ssl.create_default_context()
    tls = ClientTLS(tls_options(ssl_context=context))
    assert tls._context is context
    assert (tls.engine, tls.without_certificate) == ("ssl", False)
    assert tls.revocation is not None
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    assert ClientTLS(tls_options(ssl_context=trusting)).revocation is None
    assert ClientOptions.build("localhost", ssl_context=context).tls.ssl_context is context
    with pytest.raises(ConfigurationError, match="ssl_context and tlsCAFile"):
        ClientOptions.build("localhost", ssl_context=context, tlsCAFile="ca.pem")
    with pytest.raises(ConfigurationError, match="tls=false"):
        ClientOptions.build("localhost", ssl_context=context, tls=False)
    with pytest.raises((ConfigurationError, TypeError), match=r"ssl\.SSLContext"):
        ClientOptions.build("localhost", ssl_context="ca.pem")
    with pytest.warns(UserWarning, match="ssl_context can only be given by keyword"):
        assert ClientOptions.build("mongodb://localhost/?ssl_context=x").tls is None


def test_one_context_is_made_for_a_client_and_only_once(authority, monkeypatch):
    made = []
    original = tls_context.ClientTLS.__init__

    def counted(self, *args, **options):
        made.append(self)
        original(self, *args, **options)

    monkeypatch.setattr(tls_context.ClientTLS, "__init__", counted)
    with MongoClient("localhost", tls=True, tlsCAFile=authority.certificate_file) as client:
        assert client._tls is client._tls
    assert len(made) == 1


def test_a_bad_file_is_told_before_any_connection():
    with MongoClient("localhost", tls=True, tlsCAFile="/nowhere/ca.pem") as client:
        with pytest.raises(ConfigurationError, match=r"tlsCAFile='/nowhere/ca\.pem'"):
            client.admin.command("ping")


def test_ssl_and_cryptography_are_loaded_by_who_uses_tls_only():
    code = (
        "import sys; from mongokey import MongoClient; MongoClient(tls=True, connect=False);"
        "print([m for m in ('ssl', 'cryptography', 'http.client') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
