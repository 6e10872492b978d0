"""No frame of an error about TLS files shows a password or a private key, as crash reporters do."""

from __future__ import annotations

import datetime
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

from mongokey.client_options import ClientOptions
from mongokey.errors import ConfigurationError
from mongokey.transport.tls.context import ClientTLS
from mongokey.transport.tls.files import read_identity
from mongokey.transport.tls.openssl_context import make_openssl_context
from tests.servers.certificates import Authority, certificate_pem, key_pem

PASSWORD = "correct horse 7 staple"
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("secrets"))


def shown(error: BaseException, through: str = "/tls/") -> str:
    """What a crash reporter prints of `error`: the values of all names in frames of ours."""
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    text, seen = [], [told]
    while seen:
        one = seen.pop()
        text += [str(one), *(str(frame.locals) for frame in one.stack if ours(frame.filename))]
        seen += [each for each in (one.__cause__, one.__context__) if each is not None]
    assert any(through in frame.filename for frame in told.stack)
    return "\n".join(text)


def ours(filename: str) -> bool:
    return "mongokey" in filename and "/tests/" not in filename


def fails(call: Callable[[], Any]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        call()
    return shown(caught.value)


def secrets_of(pem: bytes, der: bytes) -> list[str]:
    """Pieces of a key as they would be seen: its base64, and its bytes as Python shows them."""
    lines = pem.decode().splitlines()[1:-1]
    pieces = [line[at : at + 16] for line in lines for at in range(0, len(line) - 15, 16)]
    return [*pieces, *(repr(der[at : at + 12])[2:-1] for at in range(40, len(der) - 12, 12))]


@pytest.mark.parametrize("kind", ["ec", "rsa"])
@pytest.mark.parametrize("bindings", [True, False])
def test_no_frame_shows_a_key_or_a_password(
    authority: Authority, kind: str, bindings: bool
) -> None:
    issuer = Authority(authority.folder, kind, kind)
    ada = issuer.issue("ada", server=False)
    own, key = certificate_pem(ada.certificate), key_pem(ada.key)
    locked = key_pem(ada.key, PASSWORD)
    der = ada.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    old = ada.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    ssh = ada.key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    store = pkcs12.serialize_key_and_certificates(
        b"ada", ada.key, ada.certificate, None, BestAvailableEncryption(b"else")
    )
    expired = issuer.issue("old", since=-2 * DAY, until=-DAY)
    forbidden = [PASSWORD, *secrets_of(key, der), *secrets_of(old, b""), *secrets_of(ssh, b"")]
    forbidden += secrets_of(key_pem(expired.key), b"")

    def client(path: str, password: str | None = PASSWORD) -> Callable[[], Any]:
        given: dict[str, Any] = {"tls": True, "tlsCertificateKeyFile": path}
        if password is not None:
            given["tlsCertificateKeyFilePassword"] = password
        options = ClientOptions.build("localhost", **given).tls
        return lambda: ClientTLS(options, bindings=bindings)

    cases = {
        "wrong password": own + key_pem(ada.key, "else"),
        "damaged locked key": own + locked.replace(b"MII", b"MIJ", 1).replace(b"A", b"B", 3),
        "damaged key": own + key.replace(b"\n", b"\nAA", 2),
        "damaged old key": own + old.replace(b"\n", b"\nAA", 2),
        "cut key": own + key[:-40],
        "no certificate": key,
        "no certificate, old": old,
        "openssh": own + ssh,
        "another's key": certificate_pem(issuer.issue("else").certificate) + key,
        "order": certificate_pem(issuer.certificate) + own + key,
        "damaged certificate": own.replace(b"MII", b"MIJ", 1).replace(b"A", b"B", 9) + key,
        "key in DER": der,
        "pkcs12": store,
        "expired": certificate_pem(expired.certificate) + key_pem(expired.key),
        "too large": own + key + b" " * (16 * 1024 * 1024),
        "utf-16": key.decode().encode("utf-16"),
        "no key": own,
    }
    for name, content in cases.items():
        text = fails(client(ada.file(".case", content)))
        for secret in forbidden:
            assert secret not in text, name
    text = fails(client(ada.file(".case", own + locked), None))
    assert all(secret not in text for secret in forbidden)
    # A password that UTF-8 cannot write.
    with pytest.raises(ConfigurationError, match="tlsCertificateKeyFilePassword") as caught:
        client(ada.file(".case", own + locked), "sesame\ud800horse")
    assert "sesame" not in shown(caught.value, "/options/")
    # A key in the place of an authority.
    options = ClientOptions.build("localhost", tls=True, tlsCAFile=ada.file(".case", key)).tls
    text = fails(lambda: ClientTLS(options, bindings=bindings))
    assert all(secret not in text for secret in forbidden)


def test_what_openssl_refuses_of_a_good_file_shows_no_key(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, other = authority.issue("ada"), authority.issue("other")
    options = ClientOptions.build(
        "localhost",
        tls=True,
        tlsCertificateKeyFile=ada.encrypted_pem(PASSWORD),
        tlsCertificateKeyFilePassword=PASSWORD,
    ).tls
    assert options is not None
    identity = read_identity(ada.encrypted_pem(PASSWORD), PASSWORD)
    # As if the two had been checked wrongly.
    identity._key = other.key
    der = other.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())

    class Files:
        authorities = lists = None

    Files.identity = identity  # type: ignore[attr-defined]
    text = fails(lambda: make_openssl_context(options, Files()))  # type: ignore[arg-type]
    assert "OpenSSL does not take its private key" in text
    for secret in [PASSWORD, *secrets_of(key_pem(other.key), der)]:
        assert secret not in text


def test_the_key_is_not_kept_once_openssl_has_it(authority: Authority) -> None:
    ada = authority.issue("ada")
    for bindings in (True, False):
        options = ClientOptions.build("localhost", tls=True, tlsCertificateKeyFile=ada.pem).tls
        tls = ClientTLS(options, bindings=bindings)
        assert tls.identity is not None
        assert tls.identity._key is None
