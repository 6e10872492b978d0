"""The second client of a process is cheap: it knows the keys and the mechanism of the first, and
nothing of a client with another secret, user, deployment or TLS."""

from __future__ import annotations

import asyncio
import gc
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mongokey import AsyncMongoClient, MongoClient
from mongokey.auth import AuthenticationFailed, scram
from mongokey.errors import OperationFailure
from tests.servers.certificates import Authority
from tests.servers.scripted import Error, Login, ScriptedServer, primary
from tests.threads import in_threads

SALT = bytes(range(28))


class Derivations:
    """Counts how often keys are derived from a password."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        derive = scram.derive_keys

        def counting(*args: Any) -> Any:
            self.count += 1
            return derive(*args)

        monkeypatch.setattr(scram, "derive_keys", counting)


@pytest.fixture
def derivations(monkeypatch: pytest.MonkeyPatch) -> Derivations:
    return Derivations(monkeypatch)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(hello=primary(), login=Login(salt=SALT)) as server:
        yield server


def ping(client: Any) -> None:
    assert client.admin.command("ping")["ok"] == 1.0


def test_the_second_client_derives_no_keys(
    server: ScriptedServer, derivations: Derivations
) -> None:
    with MongoClient(server.uri()) as one, MongoClient(server.uri()) as other:
        ping(one)
        ping(other)
        assert server.logins == 2
        assert derivations.count == 1


def test_clients_that_start_together_derive_once(
    server: ScriptedServer, derivations: Derivations
) -> None:
    clients = [MongoClient(server.uri()) for _ in range(8)]
    waiting = iter(clients)
    in_threads(8, lambda: ping(next(waiting)))
    assert server.logins == 8
    assert derivations.count == 1
    for client in clients:
        client.close()


def test_both_faces_share(server: ScriptedServer, derivations: Derivations) -> None:
    async def asynchronous() -> None:
        async with AsyncMongoClient(server.uri()) as other:
            await other.admin.command("ping")

    with MongoClient(server.uri()) as one:
        ping(one)
        asyncio.run(asynchronous())
    assert server.logins == 2
    assert derivations.count == 1


def test_keys_are_gone_with_the_last_client(
    server: ScriptedServer, derivations: Derivations
) -> None:
    one, other = MongoClient(server.uri()), MongoClient(server.uri())
    ping(one)
    ping(other)
    state = one.options.credential.state.shared
    one.close()
    assert state._caches
    other.close()
    assert not state._caches
    del one, other
    gc.collect()
    with MongoClient(server.uri()) as third:
        ping(third)
    assert derivations.count == 2


def test_the_remembered_mechanism_is_the_second_client_s_too() -> None:
    login = Login(mechanisms=("SCRAM-SHA-1",), speculate=True)
    with ScriptedServer(hello=primary(), login=login) as server:
        with MongoClient(server.uri()) as one, MongoClient(server.uri()) as other:
            ping(one)
            before = server.count("saslStart")
            assert before == 1  # SCRAM-SHA-256 was speculated on
            ping(other)
            assert server.count("saslStart") == before


def test_another_secret_knows_nothing(server: ScriptedServer, derivations: Derivations) -> None:
    with MongoClient(server.uri()) as one, MongoClient(server.uri(password="other")) as other:
        ping(one)
        with pytest.raises(OperationFailure):
            ping(other)
        assert derivations.count == 2
        assert one.options.credential.state.shared is not other.options.credential.state.shared
        # Nor is the first one refused for it.
        ping(one)


def test_another_server_knows_nothing(server: ScriptedServer, derivations: Derivations) -> None:
    """The same user and password elsewhere: an impostor there learns of no key, refuses nobody."""
    with ScriptedServer(hello=primary(), login=Login(password="another's", salt=SALT)) as elsewhere:
        with (
            MongoClient(server.uri()) as one,
            MongoClient(elsewhere.uri(password="pencil")) as other,
        ):
            with pytest.raises(OperationFailure) as caught:
                ping(other)
            assert not caught.value.answered_from_memory
            ping(one)
            assert derivations.count == 2


def test_a_client_in_use_keeps_its_keys_when_the_other_closes(
    server: ScriptedServer, derivations: Derivations
) -> None:
    with MongoClient(server.uri()) as one:
        ping(one)
        for _ in range(3):
            with MongoClient(server.uri()) as other:
                ping(other)
        assert derivations.count == 1


def test_a_client_certificate_that_was_replaced_is_tried_at_once(tmp_path: Path) -> None:
    """The path is the same, and so are user and TLS settings: the secret is what the file holds."""
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("server", "127.0.0.1").pem)
    used = tmp_path / "client.pem"
    first, second = (Path(authority.issue(name, "127.0.0.1").pem) for name in ("one", "two"))
    used.write_bytes(first.read_bytes())
    refusal = Error(code=18, code_name="AuthenticationFailed")
    on: Any = {"authenticate": refusal}
    with ScriptedServer(hello=primary(), on=on, tls=context) as server:
        with MongoClient(
            server.uri(),
            authMechanism="MONGODB-X509",
            tls=True,
            tlsCAFile=authority.certificate_file,
            tlsCertificateKeyFile=str(used),
        ) as client:
            for from_memory in (False, True):
                with pytest.raises(AuthenticationFailed) as caught:
                    ping(client)
                assert caught.value.answered_from_memory is from_memory
            replacement = tmp_path / "next.pem"
            replacement.write_bytes(second.read_bytes())
            replacement.replace(used)
            with pytest.raises(AuthenticationFailed) as caught:
                ping(client)
            assert not caught.value.answered_from_memory


def tls_options(authority: Authority, **more: Any) -> dict[str, Any]:
    return {"tls": True, "tlsCAFile": authority.certificate_file, **more}


def test_the_second_client_resumes_the_first_one_s_tls(tmp_path: Path) -> None:
    """And one with other settings of TLS does not, nor does it know a key of it."""
    authority = Authority(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("server", "127.0.0.1").pem)

    def full_handshakes() -> int:
        found = context.session_stats()
        return found["accept_good"] - found["hits"]

    with ScriptedServer(hello=primary(), login=Login(salt=SALT), tls=context) as server:
        same = tls_options(authority)
        other = tls_options(authority, tlsAllowInvalidHostnames=True)
        with (
            MongoClient(server.uri(), **same) as one,
            MongoClient(server.uri(), **same) as two,
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # of checks that are switched off
            ping(one)
            before = full_handshakes()
            ping(two)
            assert full_handshakes() == before
            with MongoClient(server.uri(), **other) as three:
                ping(three)
                assert full_handshakes() > before
                states = [each.options.credential.state.shared for each in (one, two, three)]
            assert states[0] is states[1]
            assert states[2] is not states[0]
