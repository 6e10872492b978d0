"""TLS and MONGODB-X509 on the real server: what works, and what each mistake says.

One server demands client certificates, one does not speak TLS. Every refusal comes as its own
class and cause, long before the time for finding a server is over.
"""

from __future__ import annotations

import contextlib
import datetime
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from mongokey import MongoClient
from mongokey.auth.errors import AuthenticationFailed
from mongokey.client_options import ClientOptions
from mongokey.connection.establish import open_connection
from mongokey.connection.settings import ConnectionSettings
from mongokey.errors import (
    AutoReconnect,
    ConfigurationError,
    MongoError,
    ServerSelectionTimeoutError,
    TLSError,
)
from mongokey.transport.tls.context import ClientTLS
from tests.deadlines import timeout_of
from tests.servers.certificates import (
    Authority,
    Pair,
    certificate_pem,
    make_name,
    self_signed,
)
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live
DAY = datetime.timedelta(days=1)
# Far above what a refusal takes, far below what waiting for a better answer would take.
SELECTION_MS = 20_000
SOON_S = 8.0
SUBJECT = "CN=ada,OU=users,O=Example\\, Ltd.,C=GB"


class TLSDeployment:
    """The authority, the certificates it issued, and a server for each server's certificate."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self.authority = Authority(folder)
        self.other = Authority(folder, "other")
        subject = make_name(
            (NameOID.COUNTRY_NAME, "GB"),
            (NameOID.ORGANIZATION_NAME, "Example, Ltd."),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "users"),
            (NameOID.COMMON_NAME, "ada"),
        )
        self.ada = self.authority.issue("ada", subject=subject, server=False)
        self.eve = self.authority.issue("eve", server=False)
        self._stack = stack

    def server(self, certificate: Pair) -> SecantusServer:
        return self._stack.enter_context(
            SecantusServer(
                tls_cert_file=certificate.certificate_file,
                tls_key_file=certificate.key_file,
                tls_ca_file=self.authority.certificate_file,
                tls_require_client_cert=True,
                certificate_users=[SUBJECT],
            )
        )


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TLSDeployment]:
    with contextlib.ExitStack() as stack:
        yield TLSDeployment(tmp_path_factory.mktemp("certificates"), stack)


@pytest.fixture(scope="module")
def server(deployment: TLSDeployment) -> SecantusServer:
    return deployment.server(deployment.authority.issue("server", "127.0.0.1", "localhost"))


def options(deployment: TLSDeployment, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "tls": True,
        "tlsCAFile": deployment.authority.certificate_file,
        "tlsCertificateKeyFile": deployment.ada.pem,
        "serverSelectionTimeoutMS": SELECTION_MS,
    }
    given.update(changes)
    return {name: value for name, value in given.items() if value is not None}


@contextlib.contextmanager
def connected(server: SecantusServer, **given: Any) -> Iterator[tuple[MongoClient, list[Any]]]:
    """A client that has sent a ping, and the logins it made."""
    host = given.pop("host", server.host)
    with MongoClient(host, server.port, **given) as client:
        logins: list[Any] = []
        client._on_login(lambda address, result: logins.append(result))
        assert client.admin.command("ping")["ok"] == 1
        yield client, logins


def refused(server: SecantusServer, **given: Any) -> MongoError:
    """The error of a first command, which must come soon."""
    host = given.pop("host", server.host)
    started = time.monotonic()
    with MongoClient(host, server.port, **given) as client:
        with pytest.raises(MongoError) as caught:
            client.admin.command("ping")
    assert time.monotonic() - started < SOON_S
    return caught.value


def tls_refused(server: SecantusServer, reason: str, **given: Any) -> str:
    error = refused(server, **given)
    assert isinstance(error, TLSError), error
    assert error.reason == reason, error
    assert error.permanent
    text = str(error)
    assert f":{server.port}: " in text
    assert text.endswith(f"[{reason}]")
    return text


# What works


@pytest.mark.parametrize("bindings", [True, False])
def test_x509_without_a_user_name(
    deployment: TLSDeployment,
    server: SecantusServer,
    bindings: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not bindings:
        # As where the bindings of cryptography are not what is expected.
        monkeypatch.setattr(
            "mongokey.transport.tls.openssl_context.load_functions", lambda lib, ffi: False
        )
    with connected(server, authMechanism="MONGODB-X509", **options(deployment)) as (client, logins):
        assert client._tls.engine == ("openssl" if bindings else "ssl")
        assert [login.mechanism for login in logins] == ["MONGODB-X509"]
        status = client.admin.command("connectionStatus")["authInfo"]["authenticatedUsers"]
        assert status == [{"user": SUBJECT, "db": "$external"}]
        things = client["app"]["things"]
        things.insert_one({"_id": 1, "text": "x" * 100_000})
        assert len(things.find_one({"_id": 1})["text"]) == 100_000
        things.drop()


def test_x509_with_the_user_name(deployment: TLSDeployment, server: SecantusServer) -> None:
    given = options(deployment, username=SUBJECT, authMechanism="MONGODB-X509")
    with connected(server, authSource="$external", **given) as (client, _):
        assert client._tls.subject == SUBJECT


def test_x509_by_the_uri_with_keyword_files(
    deployment: TLSDeployment, server: SecantusServer
) -> None:
    files = options(deployment)
    del files["tls"]
    for user in ("", quote(SUBJECT, safe="") + "@"):
        uri = f"mongodb://{user}localhost:{server.port}/?authMechanism=MONGODB-X509&tls=true"
        with MongoClient(uri, **files) as client:
            assert client.admin.command("ping")["ok"] == 1


def test_all_of_x509_in_the_uri(deployment: TLSDeployment, server: SecantusServer) -> None:
    uri = (
        f"mongodb://localhost:{server.port}/?authMechanism=MONGODB-X509&tls=true"
        f"&authSource=%24external&tlsCAFile={quote(deployment.authority.certificate_file, safe='')}"
        f"&tlsCertificateKeyFile={quote(deployment.ada.encrypted_pem('p w'), safe='')}"
        "&tlsCertificateKeyFilePassword=p%20w"
    )
    with MongoClient(uri) as client:
        assert client.admin.command("ping")["ok"] == 1


def test_a_password_login_over_tls(deployment: TLSDeployment, server: SecantusServer) -> None:
    user = server.users["both"]
    given = options(deployment, username=user.name, password=user.password)
    with connected(server, **given) as (_, logins):
        assert logins[0].mechanism == "SCRAM-SHA-256"


def test_a_context_of_one_s_own(deployment: TLSDeployment, server: SecantusServer) -> None:
    context = ssl.create_default_context(cafile=deployment.authority.certificate_file)
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    context.load_cert_chain(deployment.ada.pem)
    with connected(server, ssl_context=context, authMechanism="MONGODB-X509") as (client, _):
        assert client._tls.engine == "ssl"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl x509 -hash")
def test_a_directory_of_authorities(
    deployment: TLSDeployment, server: SecantusServer, tmp_path: Path
) -> None:
    (tmp_path / f"{_subject_hash(deployment.authority.certificate)}.0").write_text(
        Path(deployment.authority.certificate_file).read_text()
    )
    with connected(server, **options(deployment, tlsCAFile=str(tmp_path))):
        pass


def test_invalid_host_names_and_certificates_only_when_asked_for(
    deployment: TLSDeployment, server: SecantusServer
) -> None:
    foreign = deployment.server(deployment.other.issue("foreign", "elsewhere.example"))
    with pytest.warns(UserWarning, match="does not check certificates"):
        with connected(foreign, **options(deployment, tlsAllowInvalidCertificates=True)):
            pass
    own = options(deployment, tlsCAFile=deployment.other.certificate_file)
    with pytest.warns(UserWarning, match="does not check host names"):
        with connected(foreign, **own, tlsAllowInvalidHostnames=True):
            pass
    # The chain is still checked then.
    with pytest.warns(UserWarning, match="does not check host names"):
        tls_refused(
            foreign,
            "TLS-AUTHORITY-UNKNOWN",
            **options(deployment, tlsAllowInvalidHostnames=True),
        )


def test_connections_of_one_client_resume_each_other_s_sessions(
    deployment: TLSDeployment, server: SecantusServer
) -> None:
    given = options(deployment, authMechanism="MONGODB-X509", maxIdleTimeMS=1)
    with connected(server, **given) as (client, logins):
        for _ in range(5):
            time.sleep(0.01)
            assert client.admin.command("ping")["ok"] == 1
        # The login holds on a resumed connection: the ticket has the certificate's identity.
        assert len(logins) == 6
        context = client._tls._context
        # With those of the monitor, whose first one may be under way when another begins.
        assert context.full_handshakes <= 2
        assert context.full_handshakes + context.resumed_handshakes >= 7


# What is refused, and how


def test_an_unknown_authority(deployment: TLSDeployment, server: SecantusServer) -> None:
    text = tls_refused(
        server,
        "TLS-AUTHORITY-UNKNOWN",
        **options(deployment, tlsCAFile=deployment.other.certificate_file),
    )
    assert f"tlsCAFile={deployment.other.certificate_file!r}" in text


def test_an_expired_certificate_and_one_not_yet_valid(deployment: TLSDeployment) -> None:
    old = deployment.authority.issue("old", "127.0.0.1", since=-3 * DAY, until=-DAY)
    text = tls_refused(deployment.server(old), "TLS-CERTIFICATE-EXPIRED", **options(deployment))
    assert "certificate has expired" in text
    new = deployment.authority.issue("new", "127.0.0.1", since=DAY, until=2 * DAY)
    tls_refused(deployment.server(new), "TLS-CERTIFICATE-NOT-YET-VALID", **options(deployment))


def test_a_host_name_and_an_address_that_are_not_in_the_certificate(
    deployment: TLSDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = deployment.server(deployment.authority.issue("named", "db.example.com", "10.1.2.3"))
    text = tls_refused(named, "TLS-HOST-NAME", **options(deployment), host="localhost")
    assert "not made for the host name 'localhost' but for db.example.com, 10.1.2.3: " in text
    text = tls_refused(named, "TLS-HOST-NAME", **options(deployment))
    assert "not made for the address 127.0.0.1 but for db.example.com, 10.1.2.3: " in text
    monkeypatch.setattr(
        "mongokey.transport.tls.openssl_context.load_functions", lambda lib, ffi: False
    )
    for host, what in (("localhost", "the host name 'localhost'"), (named.host, "the address")):
        text = tls_refused(named, "TLS-HOST-NAME", **options(deployment), host=host)
        assert f"not made for {what}" in text
        assert "but for db.example.com, 10.1.2.3: " in text


def test_a_self_signed_certificate(deployment: TLSDeployment) -> None:
    own = self_signed(deployment.folder, "own", "127.0.0.1")
    server = deployment.server(own)
    tls_refused(server, "TLS-SELF-SIGNED", **options(deployment))
    with connected(server, **options(deployment, tlsCAFile=own.certificate_file)):
        pass


def test_no_client_certificate(deployment: TLSDeployment, server: SecantusServer) -> None:
    text = tls_refused(
        server, "TLS-CLIENT-CERTIFICATE-MISSING", **options(deployment, tlsCertificateKeyFile=None)
    )
    assert "give it as tlsCertificateKeyFile" in text


def test_x509_without_a_client_certificate(
    deployment: TLSDeployment, server: SecantusServer
) -> None:
    given = options(deployment, tlsCertificateKeyFile=None, authMechanism="MONGODB-X509")
    with SecantusServer() as plain:
        # This server's TLS refuses already the monitor.
        error = refused(server, **given)
        assert isinstance(error, TLSError)
        assert "give it as tlsCertificateKeyFile" in str(error)
        error = refused(plain, authMechanism="MONGODB-X509")
        assert isinstance(error, ConfigurationError)
        assert "give tlsCertificateKeyFile" in str(error)


def test_a_client_certificate_of_an_authority_that_the_server_does_not_know(
    deployment: TLSDeployment, server: SecantusServer
) -> None:
    stranger = deployment.other.issue("stranger", server=False)
    text = tls_refused(
        server,
        "TLS-CLIENT-CERTIFICATE-REFUSED",
        **options(deployment, tlsCertificateKeyFile=stranger.pem),
    )
    assert "(subject 'CN=stranger')" in text
    assert "does not know the authority" in text


def test_a_certificate_of_an_unknown_user(
    deployment: TLSDeployment, server: SecantusServer
) -> None:
    given = options(
        deployment, tlsCertificateKeyFile=deployment.eve.pem, authMechanism="MONGODB-X509"
    )
    error = refused(server, **given)
    assert isinstance(error, AuthenticationFailed)
    assert error.code == 18
    (hint,) = [hint for hint in error.diagnoses if hint.code == "X509-USER-UNKNOWN"]
    assert 'createUser: "CN=eve"' in hint.text


def test_a_user_name_that_is_not_the_certificate_s(
    deployment: TLSDeployment, server: SecantusServer
) -> None:
    given = options(deployment, username="CN=bob", authMechanism="MONGODB-X509")
    error = refused(server, **given)
    assert isinstance(error, AuthenticationFailed)
    assert error.diagnoses[0].code == "X509-USER-NAME"
    assert SUBJECT in error.diagnoses[0].text.encode().decode("unicode_escape")


def test_a_revoked_certificate_in_a_list(deployment: TLSDeployment, server: SecantusServer) -> None:
    bad = deployment.authority.issue("bad", "127.0.0.1")
    crl = deployment.authority.revocation_list(bad)
    text = tls_refused(
        deployment.server(bad), "TLS-CERTIFICATE-REVOKED", **options(deployment, tlsCRLFile=crl)
    )
    assert "tlsCRLFile" in text
    with connected(server, **options(deployment, tlsCRLFile=crl)):
        pass


def hung_up(server: SecantusServer, reason: str, **given: Any) -> str:
    """The error of a connection that a server ends without a word: most likely, not surely TLS.

    It comes within connectTimeoutMS; a client asks again for about as long (test_topology), as a
    server that is starting or going down would do the same.
    """
    built = ClientOptions.build(server.host, server.port, **given)
    settings = ConnectionSettings(
        connect_timeout=timeout_of(SOON_S * 1000, "connectTimeoutMS"),
        tls=None if built.tls is None else ClientTLS(built.tls),
    )
    started = time.monotonic()
    with pytest.raises(TLSError) as caught:
        open_connection((server.host, server.port), settings)
    assert time.monotonic() - started < SOON_S
    assert (caught.value.reason, caught.value.permanent) == (reason, False)
    text = str(caught.value)
    error = refused(server, **{**given, "serverSelectionTimeoutMS": 300})
    assert isinstance(error, ServerSelectionTimeoutError)
    assert text in str(error)
    assert f":{server.port}: " in text
    assert "without a word" in text
    return text


def test_plain_to_a_port_that_speaks_tls(server: SecantusServer) -> None:
    text = hung_up(server, "TLS-NEEDED")
    assert "unless it does so with TLS too, this port speaks TLS: add tls=true" in text


def test_tls_to_a_port_that_does_not_speak_it(deployment: TLSDeployment) -> None:
    with SecantusServer() as plain:
        text = hung_up(plain, "TLS-CLOSED", **options(deployment))
        assert "does so without TLS too, this port does not speak TLS; remove tls=true" in text
        implied = options(deployment, tls=None)
        text = hung_up(plain, "TLS-CLOSED", **implied)
        assert "switched on by tlsC" in text


def test_a_server_that_has_spoken_and_hangs_up_later_is_not_taken_for_one_with_tls() -> None:
    with SecantusServer() as plain:
        settings = ConnectionSettings(connect_timeout=timeout_of(SOON_S * 1000, "connectTimeoutMS"))
        address = (plain.host, plain.port)
        open_connection(address, settings)[0].close()
        port = plain.port
    with socket.create_server((address[0], port)) as listener:
        closing = threading.Thread(target=lambda: listener.accept()[0].close())
        closing.start()
        with pytest.raises(AutoReconnect) as caught:
            open_connection(address, settings)
        closing.join(SOON_S)
    assert not isinstance(caught.value, TLSError)


def test_a_good_seed_is_used_though_another_is_refused(
    deployment: TLSDeployment, server: SecantusServer
) -> None:
    bad = deployment.server(deployment.other.issue("bad-seed", "127.0.0.1"))
    seeds = [f"127.0.0.1:{bad.port}", f"127.0.0.1:{server.port}"]
    with MongoClient(seeds, **options(deployment)) as client:
        assert client.admin.command("ping")["ok"] == 1
        assert client.address[1] == server.port


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"password": "secret", "username": "CN=ada"}, "password was given"),
        ({"authSource": "admin"}, "authSource='admin' does not fit"),
    ],
)
def test_what_x509_does_not_take(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        MongoClient(authMechanism="MONGODB-X509", tls=True, **given)


def _subject_hash(certificate: x509.Certificate) -> str:
    """The name OpenSSL looks a certificate up by (openssl x509 -hash): of the canonical subject."""
    run = subprocess.run(
        ["openssl", "x509", "-hash", "-noout"],
        input=certificate_pem(certificate),
        capture_output=True,
        check=True,
    )
    return run.stdout.decode().strip()
