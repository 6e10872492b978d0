"""TLS's files that are replaced while a client lives, PEM in place of their paths, and one context
for the clients that have the same: on a server that demands a client's certificate."""

from __future__ import annotations

import asyncio
import gc
import os
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509.oid import NameOID

from mongokey import AsyncMongoClient, MongoClient
from mongokey.auth.errors import AuthenticationFailed
from mongokey.credentials import Request, X509Secret
from mongokey.errors import ConfigurationError, MongoError
from mongokey.transport.tls.watch import shared_tls
from tests.pools import drop_connections
from tests.servers.certificates import Authority, Pair, make_name
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live
ADA, BOB = "CN=ada", "CN=bob"


class Kubelet:
    """A folder as kubelet mounts a secret: the files are links through ``..data``, which is a link
    that is swapped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._versions = 0

    def write(self, **files: bytes) -> None:
        self._versions += 1
        version = self.folder / f"..version_{self._versions}"
        version.mkdir(parents=True)
        for name, content in files.items():
            name = name.replace("_", ".")
            (version / name).write_bytes(content)
            link = self.folder / name
            if not link.is_symlink():
                link.symlink_to(Path("..data") / name)
        before = self.folder / "..data_tmp"
        before.symlink_to(version.name)
        os.replace(before, self.folder / "..data")

    def path(self, name: str) -> str:
        return str(self.folder / name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rotation")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


def issue(authority: Authority, name: str, number: int = 0) -> bytes:
    """A certificate of `name` and its key, in one file; each call gives another."""
    subject = make_name((NameOID.COMMON_NAME, name))
    pair = authority.issue(f"{name}-{number}-{time.monotonic_ns()}", subject=subject, server=False)
    return Path(pair.pem).read_bytes()


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[SecantusServer]:
    own: Pair = authority.issue("server", "127.0.0.1", "localhost")
    with SecantusServer(
        tls_cert_file=own.certificate_file,
        tls_key_file=own.key_file,
        tls_ca_file=authority.certificate_file,
        tls_require_client_cert=True,
        certificate_users=[ADA, BOB],
    ) as server:
        yield server


def options(authority: Authority, **changes: Any) -> dict[str, Any]:
    return {
        "tls": True,
        "tlsCAFile": authority.certificate_file,
        "authMechanism": "MONGODB-X509",
        "serverSelectionTimeoutMS": 20_000,
        **changes,
    }


def who(client: MongoClient) -> str:
    status = client.admin.command("connectionStatus")
    (user,) = status["authInfo"]["authenticatedUsers"]
    return str(user["user"])


@pytest.fixture(params=["openssl", "ssl"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "ssl":
        monkeypatch.setattr(
            "mongokey.transport.tls.openssl_context.load_functions", lambda lib, ffi: False
        )
    return str(request.param)


def test_a_certificate_that_is_replaced_is_shown_by_the_next_connection(
    face: str, server: SecantusServer, authority: Authority, tmp_path: Path, engine: str
) -> None:
    kubelet = Kubelet(tmp_path / "mounted")
    kubelet.write(client_pem=issue(authority, "ada"))
    given = options(authority, tlsCertificateKeyFile=kubelet.path("client.pem"))
    with MongoClient(server.host, server.port, **given) as client:
        assert who(client) == ADA
        assert client._tls.engine == engine
        kubelet.write(client_pem=issue(authority, "bob"))
        assert who(client) == ADA  # by the connection that is there
        drop_connections(client)
        assert who(client) == BOB


def test_what_holds_the_same_as_before_keeps_the_context_and_its_sessions(
    server: SecantusServer, authority: Authority, tmp_path: Path
) -> None:
    kubelet = Kubelet(tmp_path / "mounted")
    pem = issue(authority, "ada")
    kubelet.write(client_pem=pem)
    given = options(authority, tlsCertificateKeyFile=kubelet.path("client.pem"))
    with MongoClient(server.host, server.port, **given) as client:
        who(client)
        before = client._tls
        kubelet.write(client_pem=pem)
        drop_connections(client)
        who(client)
        assert client._tls is before


def test_a_half_that_is_written_leaves_the_other_in_use_and_is_told_of(
    face: str, server: SecantusServer, authority: Authority, tmp_path: Path
) -> None:
    path = tmp_path / "client.pem"
    path.write_bytes(issue(authority, "ada"))
    given = options(authority, tlsCertificateKeyFile=str(path), serverSelectionTimeoutMS=3000)
    with MongoClient(server.host, server.port, **given) as client:
        assert who(client) == ADA
        whole = issue(authority, "bob")
        path.write_bytes(whole[: len(whole) // 2])
        drop_connections(client)
        assert who(client) == ADA
        watch = client._context.settings().tls_watch
        assert "tlsCertificateKeyFile" in str(watch.problem)
        path.write_bytes(whole)
        drop_connections(client)
        assert who(client) == BOB
        assert watch.problem is None


def test_another_certificate_is_tried_at_once_after_one_that_was_refused(
    face: str, server: SecantusServer, authority: Authority, tmp_path: Path
) -> None:
    path = tmp_path / "client.pem"
    path.write_bytes(issue(authority, "nobody"))
    given = options(authority, tlsCertificateKeyFile=str(path), loginBackoffMS=60_000)
    with MongoClient(server.host, server.port, **given) as client:
        with pytest.raises(AuthenticationFailed) as failed:
            who(client)
        assert not failed.value.answered_from_memory
        with pytest.raises(AuthenticationFailed) as failed:
            who(client)
        assert failed.value.answered_from_memory
        path.write_bytes(issue(authority, "ada"))
        assert who(client) == ADA


def test_files_are_read_again_once_when_a_handshake_fails(
    face: str, server: SecantusServer, authority: Authority, tmp_path: Path
) -> None:
    """Whatever their times say: a file system's clock may tick slowly, and copies keep times."""
    path = tmp_path / "ca.pem"
    good = Path(authority.certificate_file).read_bytes()
    other = Path(Authority(tmp_path, "other").certificate_file).read_bytes()
    path.write_bytes(good)
    given = options(authority, tlsCAFile=str(path), tlsCertificateKeyFile=issue(authority, "ada"))
    with MongoClient(server.host, server.port, **given) as client:
        assert who(client) == ADA
        watch = client._context.settings().tls_watch
        path.write_bytes(other)
        distrusting = watch.current()
        path.write_bytes(good)
        watch._stamps = _stamps(watch)  # as if that change could not be seen
        assert watch.current() is distrusting
        drop_connections(client)
        assert who(client) == ADA
        assert watch.current() is not distrusting


def _stamps(watch: Any) -> Any:
    from mongokey.transport.tls import watch as module

    return module._stamps(watch.options)


def test_pem_is_taken_in_place_of_paths_and_never_shown(
    face: str, server: SecantusServer, authority: Authority, engine: str
) -> None:
    pem = issue(authority, "ada")
    authorities = Path(authority.certificate_file).read_text()
    for key in (pem, pem.decode()):
        given = options(authority, tlsCAFile=authorities, tlsCertificateKeyFile=key)
        with MongoClient(server.host, server.port, **given) as client:
            assert who(client) == ADA
            assert client._tls.engine == engine
            shown = f"{client!r} {client.options!r} {client.options.tls!r}"
            assert "BEGIN" not in shown
            assert "<PEM text>" in shown


def test_pem_that_cannot_be_used_is_explained_without_it(
    server: SecantusServer, authority: Authority
) -> None:
    certificate = Path(authority.certificate_file).read_bytes()
    given = options(authority, tlsCertificateKeyFile=certificate)
    with pytest.raises(ConfigurationError, match="tlsCertificateKeyFile='<PEM text>'") as failed:
        with MongoClient(server.host, server.port, **given) as client:
            who(client)
    assert certificate.splitlines()[1].decode() not in str(failed.value)
    with pytest.raises(TypeError, match="a path, or PEM"):
        MongoClient(tlsCAFile=b"\x30\x82")


def test_a_context_of_ones_own(face: str, server: SecantusServer, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=authority.certificate_file)
    folder = Path(authority.folder) / "own.pem"
    folder.write_bytes(issue(authority, "ada"))
    context.load_cert_chain(str(folder))
    with MongoClient(
        server.host, server.port, ssl_context=context, authMechanism="MONGODB-X509"
    ) as client:
        assert who(client) == ADA


def test_clients_of_the_same_material_share_one_context(
    server: SecantusServer, authority: Authority, tmp_path: Path
) -> None:
    gc.collect()
    before = len(shared_tls)
    pem = issue(authority, "ada")
    path = tmp_path / "ada.pem"
    path.write_bytes(pem)
    given = options(authority, tlsCertificateKeyFile=str(path))
    address = server.host, server.port
    with MongoClient(*address, **given) as one, MongoClient(*address, **given) as two:
        assert who(one) == who(two) == ADA
        assert one._tls is two._tls
        assert shared_tls.count(one._tls) == 2
        assert len(shared_tls) == before + 1
        # Sessions too: the second client's first connection exchanged no certificates.
        assert one._tls._context.resumed_handshakes >= 1
        with pytest.warns(UserWarning, match="does not check host names"):
            with MongoClient(*address, **{**given, "tlsAllowInvalidHostnames": True}) as other:
                assert other._tls is not one._tls
        path.write_bytes(issue(authority, "bob"))
        drop_connections(two)
        assert who(two) == BOB
        assert one._tls is not two._tls
        assert shared_tls.count(one._tls) == shared_tls.count(two._tls) == 1
        last = one._tls
    assert shared_tls.count(last) == 0
    assert len(shared_tls) == before


class Certificates:
    """A provider of certificates, which notes why it is asked."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.name_on_it = "ada"
        self.secret = self.make()
        self.reasons: list[str] = []

    def make(self) -> X509Secret:
        pem = issue(self.authority, self.name_on_it)
        at = pem.index(b"-----BEGIN PRIVATE KEY")
        halves = sorted((pem[:at], pem[at:]), key=lambda half: b"PRIVATE KEY" in half)
        return X509Secret(halves[0], halves[1].decode())

    def __call__(self, request: Request) -> X509Secret:
        assert request.mechanism == "MONGODB-X509"
        self.reasons.append(request.reason)
        return self.secret


def test_a_provider_of_certificates(
    face: str, server: SecantusServer, authority: Authority, engine: str
) -> None:
    provider = Certificates(authority)
    with MongoClient(
        server.host, server.port, credentials=provider, **options(authority)
    ) as client:
        assert who(client) == ADA
        assert provider.reasons == ["new"]
        assert client._tls.engine == engine
        drop_connections(client)
        assert who(client) == ADA
        assert provider.reasons == ["new"]


async def test_a_coroutine_function_that_gives_certificates_runs_in_the_clients_loop(
    server: SecantusServer, authority: Authority
) -> None:
    """Also when a monitor is the first to need one."""
    given = Certificates(authority)
    loops: list[Any] = []

    async def provider(request: Request) -> X509Secret:
        loops.append(asyncio.get_running_loop())
        return given(request)

    async with AsyncMongoClient(
        server.host, server.port, credentials=provider, **options(authority)
    ) as client:
        status = await client.admin.command("connectionStatus")
    assert status["authInfo"]["authenticatedUsers"][0]["user"] == ADA
    assert loops == [asyncio.get_running_loop()]


def test_authorities_that_are_replaced_while_a_provider_gives_certificates(
    face: str, server: SecantusServer, authority: Authority, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    good = Path(authority.certificate_file).read_bytes()
    path.write_bytes(Path(Authority(tmp_path, "other").certificate_file).read_bytes())
    provider = Certificates(authority)
    given = options(authority, tlsCAFile=str(path))
    with MongoClient(server.host, server.port, credentials=provider, **given) as client:
        watch = client._context.settings().tls_watch
        path.write_bytes(good)
        watch._stamps = _stamps(watch)  # as if that could not be seen
        assert who(client) == ADA
    assert provider.reasons == ["new"]


def test_a_certificate_that_the_server_refuses_is_asked_for_anew(
    face: str, server: SecantusServer, authority: Authority, tmp_path: Path, engine: str
) -> None:
    provider = Certificates(authority)
    good = provider.secret
    stranger = Certificates(Authority(tmp_path, "stranger")).secret
    unknown = Certificates(authority)
    unknown.name_on_it = "nobody"
    for bad in (stranger, unknown.make()):
        given = [bad, good]
        reasons: list[str] = []

        def change(request: Request) -> X509Secret:
            reasons.append(request.reason)  # noqa: B023 - called in this round
            return given[min(len(reasons), 2) - 1]  # noqa: B023

        with MongoClient(
            server.host, server.port, credentials=change, **options(authority)
        ) as client:
            assert who(client) == ADA
        assert reasons == ["new", "refused"]


def test_a_user_the_server_does_not_know_is_told_with_what_the_provider_said(
    face: str, server: SecantusServer, authority: Authority
) -> None:
    provider = Certificates(authority)
    provider.name_on_it = "nobody"
    provider.secret = provider.make()
    with MongoClient(
        server.host, server.port, credentials=provider, **options(authority)
    ) as client:
        with pytest.raises(AuthenticationFailed, match="gave the same secret as before"):
            who(client)
    assert provider.reasons == ["new", "refused"]


def test_a_certificate_that_cannot_be_used_is_no_login(
    face: str, server: SecantusServer, authority: Authority
) -> None:
    def half(request: Request) -> X509Secret:
        return X509Secret(Path(authority.certificate_file).read_bytes())

    with MongoClient(
        server.host,
        server.port,
        credentials=half,
        **options(authority, serverSelectionTimeoutMS=1500),
    ) as client:
        with pytest.raises(MongoError, match=r"no private key|<PEM text>"):
            who(client)
