"""``credentials=``: a provider gives the secret, on the real server, whose password is changed
while clients work; and on the mechanism server, which counts refusals."""

from __future__ import annotations

import contextlib
import contextvars
import threading
import time
import traceback
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from mongokey import MongoClient
from mongokey.auth.errors import AuthenticationFailed, LoginTimeout, ProviderFailed
from mongokey.cli.app import cli
from mongokey.credentials import Request, Secret, X509Secret
from mongokey.errors import ConfigurationError
from tests.checks import check
from tests.pools import drop_connections
from tests.servers.mechanism import MechanismServer
from tests.servers.mechanism.plain import KnownUsers, PlainAcceptor
from tests.servers.relay import Relay
from tests.servers.secantus import SecantusServer
from tests.threads import in_threads, outcomes

pytestmark = pytest.mark.live
FAR_S = 30.0


class Rotated:
    """A user of the server whose password is changed there and in the provider, which notes what it
    is asked."""

    def __init__(self, server: SecantusServer) -> None:
        self.server = server
        self.name = "rotated"
        self.password = "first"
        self.requests: list[Request] = []
        made = server.command(
            "admin",
            {
                "createUser": self.name,
                "pwd": self.password,
                "roles": [{"role": "root", "db": "admin"}],
                "mechanisms": ["SCRAM-SHA-256"],
            },
        )
        assert made["ok"] == 1, made

    def change_on_server(self, password: str) -> None:
        made = self.server.command("admin", {"updateUser": self.name, "pwd": password})
        assert made["ok"] == 1, made

    def change(self, password: str) -> None:
        self.change_on_server(password)
        self.password = password

    def __call__(self, request: Request) -> Secret:
        self.requests.append(request)
        return Secret(self.name, self.password)

    @property
    def reasons(self) -> list[str]:
        return [each.reason for each in self.requests]


@pytest.fixture
def rotated(secantus: SecantusServer) -> Iterator[Rotated]:
    yield Rotated(secantus)
    secantus.command("admin", {"dropUser": "rotated"})


@contextlib.contextmanager
def client_of(server: Any, provider: Any, **options: Any) -> Iterator[MongoClient]:
    with MongoClient(server.host, server.port, credentials=provider, **options) as client:
        yield client


@pytest.fixture
def client(face: str, secantus: SecantusServer, rotated: Rotated) -> Iterator[MongoClient]:
    with client_of(secantus, rotated) as client:
        yield client


def ping(client: MongoClient) -> None:
    assert client.admin.command("ping")["ok"] == 1


def test_it_is_asked_when_the_first_connection_is_made(
    client: MongoClient, rotated: Rotated
) -> None:
    assert rotated.requests == []
    ping(client)
    (request,) = rotated.requests
    assert (request.reason, request.mechanism, request.username) == ("new", None, None)
    assert request.address == (rotated.server.host, rotated.server.port)
    assert request.timeout_s is not None
    assert 0 < request.timeout_s <= 20


def test_connections_made_at_once_ask_it_once(secantus: SecantusServer, rotated: Rotated) -> None:
    def slow(request: Request) -> Secret:
        time.sleep(0.1)
        return rotated(request)

    with client_of(secantus, slow, maxConnecting=16) as client:
        in_threads(16, lambda: ping(client))
        drop_connections(client)
        in_threads(16, lambda: ping(client))
    assert rotated.reasons == ["new"]


def test_a_changed_password_is_fetched_once_and_the_login_made_again(
    client: MongoClient, rotated: Rotated
) -> None:
    ping(client)
    rotated.change("second")
    drop_connections(client)
    in_threads(8, lambda: ping(client))
    assert rotated.reasons == ["new", "refused"]


def test_connections_that_are_logged_in_stay(
    secantus: SecantusServer, rotated: Rotated, relay: Relay
) -> None:
    """Also where a new one is refused and the provider has nothing else."""
    with MongoClient(
        relay.redirect(f"mongodb://{secantus.host}:{secantus.port}"), credentials=rotated
    ) as client:
        ping(client)
        rotated.change_on_server("second")
        ping(client)
        assert [each.connection for each in relay.commands("ping")] == [1, 1]
        refused: list[Any] = []
        until = time.monotonic() + FAR_S
        while not refused and time.monotonic() < until:
            found = outcomes(8, lambda: ping(client))
            refused = [each for each in found if isinstance(each, Exception)]
            assert all(type(each) is AuthenticationFailed for each in refused)
        assert refused, "eight at once never needed a second connection"
        ping(client)
        assert relay.commands("ping")[-1].connection == 1


@pytest.mark.parametrize("changed", [False, True])
def test_a_second_refusal_says_whether_the_secret_was_changed(
    client: MongoClient, rotated: Rotated, changed: bool
) -> None:
    rotated.change_on_server("second")
    asked = []

    def provider(request: Request) -> Secret:
        asked.append(request.reason)
        return Secret(rotated.name, "other" if changed and len(asked) > 1 else "first")

    with (
        client_of(rotated.server, provider) as client,
        pytest.raises(AuthenticationFailed) as failed,
    ):
        ping(client)
    assert asked == ["new", "refused"]
    assert failed.value.code == 18
    said = "another secret than before, which is refused too" if changed else "the same secret"
    assert said in str(failed.value)
    assert "provider" in str(failed.value)
    assert "AUTH-PROVIDER-REFUSED" in {each.code for each in failed.value.diagnoses}
    assert "AUTH-PASSWORD-WRONG" in {each.code for each in failed.value.diagnoses}


def test_what_the_provider_raises_is_the_cause_and_the_client_stays_usable(
    secantus: SecantusServer, rotated: Rotated
) -> None:
    class Sealed(Exception):
        pass

    failing = True

    def from_vault(request: Request) -> Secret:
        if failing:
            raise Sealed("the vault is sealed, password=hunter2hunter2")
        return rotated(request)

    with client_of(secantus, from_vault, serverSelectionTimeoutMS=5000) as client:
        with pytest.raises(ProviderFailed, match=r"from_vault.* raised Sealed") as failed:
            ping(client)
        assert isinstance(failed.value.__cause__, Sealed)
        assert "hunter2" not in str(failed.value)
        assert failed.value.diagnoses[0].code == "AUTH-PROVIDER-FAILED"
        assert failed.value.login.source == "admin"
        failing = False
        ping(client)


def test_it_has_until_connect_timeout_and_the_next_login_asks_anew(
    secantus: SecantusServer, rotated: Rotated
) -> None:
    hangs = threading.Event()
    calls = []

    def provider(request: Request) -> Secret:
        calls.append(request)
        if len(calls) == 1:
            hangs.wait(FAR_S)
            return Secret(rotated.name, "late and wrong")
        return rotated(request)

    with client_of(secantus, provider, connectTimeoutMS=1000) as client:
        with pytest.raises(LoginTimeout, match=r"provider.* \(connectTimeoutMS=1000\)") as failed:
            ping(client)
        assert failed.value.timeout
        # The call that comes too late gives nothing any more.
        drop_connections(client)
        ping(client)
        hangs.set()
        drop_connections(client)
        ping(client)
    assert [each.reason for each in calls] == ["new", "new"]


def test_an_expiry_has_it_asked_again(secantus: SecantusServer, rotated: Rotated) -> None:
    expires: list[float | None] = [0, 3600, None]

    def provider(request: Request) -> Secret:
        rotated(request)
        return Secret(
            rotated.name, rotated.password, expires_in_s=expires[len(rotated.requests) - 1]
        )

    with client_of(secantus, provider) as client:
        for _ in range(4):
            ping(client)
            drop_connections(client)
    assert rotated.reasons == ["new", "expired"]


def test_a_coroutine_function_is_awaited(secantus: SecantusServer, rotated: Rotated) -> None:
    async def provider(request: Request) -> Secret:
        import asyncio

        await asyncio.sleep(0.01)
        return rotated(request)

    with client_of(secantus, provider) as client:
        in_threads(4, lambda: ping(client))
        rotated.change("second")
        drop_connections(client)
        ping(client)
    assert rotated.reasons == ["new", "refused"]


class WithFetch:
    """An object in place of a callable, with a name of its own."""

    name = "the safe"

    def __init__(self, rotated: Rotated) -> None:
        self.rotated = rotated

    def fetch(self, request: Request) -> Any:
        return self.rotated(request)


def test_an_object_with_fetch_and_its_name(secantus: SecantusServer, rotated: Rotated) -> None:
    with client_of(secantus, WithFetch(rotated)) as client:
        ping(client)
        assert "the safe" in repr(client)
        assert rotated.password not in repr(client)


def test_it_sees_the_context_variables_of_who_needs_it(
    secantus: SecantusServer, rotated: Rotated
) -> None:
    trace = contextvars.ContextVar("trace", default="none")
    seen = []

    def provider(request: Request) -> Secret:
        seen.append(trace.get())
        return rotated(request)

    def work() -> None:
        trace.set("mine")
        with client_of(secantus, provider) as client:
            ping(client)

    contextvars.copy_context().run(work)
    assert seen == ["mine"]


def test_the_user_may_be_the_clients(secantus: SecantusServer, rotated: Rotated) -> None:
    def provider(request: Request) -> Secret:
        assert request.username == "rotated"
        return Secret(password=rotated.password)

    uri = f"mongodb://rotated@{secantus.host}:{secantus.port}"
    with MongoClient(uri, credentials=provider) as client:
        ping(client)

    def other(request: Request) -> Secret:
        return Secret("somebody", rotated.password)

    with MongoClient(uri, credentials=other) as client:
        with pytest.raises(ConfigurationError, match="'somebody', and the client's user is 'rot"):
            ping(client)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, r"it gave None: return a Secret\(\.\.\.\)"),
        ("pa55word", "it gave a str"),
        (X509Secret("PEM"), "it gave a X509Secret"),
        (Secret("rotated", ""), "password is empty"),
        (Secret(None, "pa55word"), "password was given without a username|username is missing"),
        (Secret("rotated", "pa55word", expires_in_s=-1), "expires_in_s is -1"),
        (Secret("rotated", "pa55word", expires_in_s=float("nan")), "expires_in_s is nan"),
    ],
)
def test_what_it_gives_is_checked(
    secantus: SecantusServer, rotated: Rotated, given: Any, said: str
) -> None:
    def provider(request: Request) -> Any:
        return given

    with client_of(secantus, provider) as client:
        with pytest.raises(ConfigurationError, match=said) as failed:
            ping(client)
    shown = "".join(
        traceback.TracebackException.from_exception(failed.value, capture_locals=True).format()
    )
    assert "provider" in str(failed.value)
    assert shown.count("pa55word") == 0 or given == "pa55word"


class TestOtherMechanisms:
    @pytest.fixture
    def users(self) -> dict[str, str]:
        return {"ada": "first"}

    @pytest.fixture
    def server(self, secantus: SecantusServer, users: dict[str, str]) -> Iterator[MechanismServer]:
        with MechanismServer(PlainAcceptor(KnownUsers(users)), backend=None) as server:
            yield server

    def test_plain(self, face: str, server: MechanismServer, users: dict[str, str]) -> None:
        held = {"password": "first"}
        reasons: list[str] = []

        def provider(request: Request) -> Secret:
            assert request.mechanism == "PLAIN"
            reasons.append(request.reason)
            return Secret("ada", held["password"])

        with client_of(server, provider, authMechanism="PLAIN") as client:
            ping(client)
            users["ada"] = held["password"] = "second"
            drop_connections(client)
            ping(client)
        assert reasons == ["new", "refused"]
        assert len(server.refusals) == 1

    def test_a_refusal_with_the_code_of_hosted_clusters(
        self, face: str, server: MechanismServer
    ) -> None:
        reasons: list[str] = []

        def provider(request: Request) -> Secret:
            reasons.append(request.reason)
            return Secret("ada", "first" if len(reasons) > 1 else "another")

        server.fail_command(["saslStart"], code=8000, errmsg="bad auth : authentication failed")
        with client_of(server, provider, authMechanism="PLAIN") as client:
            ping(client)
        assert reasons == ["new", "refused"]

    def test_what_is_no_refusal_asks_nobody_again(self, face: str, server: MechanismServer) -> None:
        reasons: list[str] = []

        def provider(request: Request) -> Secret:
            reasons.append(request.reason)
            return Secret("ada", "first")

        server.fail_command(["saslStart"], code=8, errmsg="unknown error")
        with client_of(server, provider, authMechanism="PLAIN", retryReads=False) as client:
            with pytest.raises(AuthenticationFailed):
                ping(client)
            ping(client)
        assert reasons == ["new"]


def conflicts() -> list[tuple[dict[str, Any], str]]:
    def provider(request: Request) -> Secret:
        raise AssertionError("nobody connects")

    given = {"credentials": provider}
    aws = {"authMechanism": "MONGODB-AWS"}
    x509 = {"authMechanism": "MONGODB-X509"}
    return [
        ({**given, "username": "ada", "password": "secret"}, "a password and credentials"),
        ({**given, "host": "mongodb://ada:secret@localhost"}, "a password and credentials"),
        ({**given, "credentialsFile": "/run/secrets/db"}, "credentials and credentialsFile"),
        ({"credentialsEnv": "A", "credentialsFile": "/b"}, "credentialsFile and credentialsEnv"),
        ({**given, "authMechanism": "MONGODB-OIDC"}, "credentials does not go with .*OIDC"),
        ({**given, **aws, "username": "AKIA"}, "the provider gives the access key's id too"),
        (
            {
                **given,
                **aws,
                "authMechanismProperties": {"AWS_CREDENTIAL_PROVIDER": lambda: None},
            },
            "AWS_CREDENTIAL_PROVIDER cannot be given together",
        ),
        ({**given, **x509, "tls": False}, "tls=false, but"),
        ({**given, **x509, "tlsCertificateKeyFile": "a.pem"}, "credentials and tlsCertificateKey"),
        ({**given, "authSource": "$external"}, r"authSource=\$external does not fit"),
        ({"credentials": "a password"}, "a callable that takes a Request"),
    ]


@pytest.mark.parametrize(("options", "said"), conflicts(), ids=lambda each: str(each)[:40])
def test_options_that_do_not_go_together(options: dict[str, Any], said: str) -> None:
    with pytest.raises((ConfigurationError, TypeError), match=said) as failed:
        MongoClient(**options)
    assert "secret@" not in str(failed.value)


def test_many_refusals_ask_it_once_a_second(secantus: SecantusServer, rotated: Rotated) -> None:
    rotated.change_on_server("second")
    with client_of(secantus, rotated) as client:
        failed = outcomes(12, lambda: client.admin.command("ping"))
        assert all(type(each) is AuthenticationFailed for each in failed)
        assert all("gave the same secret as before" in str(each) for each in failed)
    asked = rotated.reasons.count("refused")
    assert 1 <= asked <= 3


def test_the_same_value_is_the_same_credential(
    secantus: SecantusServer, rotated: Rotated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known of a secret (keys, refusals) hangs on that object."""

    def provider(request: Request) -> Secret:
        rotated(request)
        return Secret(rotated.name, rotated.password, expires_in_s=0)

    with client_of(secantus, provider) as client:
        secrets = client._context.settings().secrets
        ping(client)
        first = secrets._held.credential
        drop_connections(client)
        ping(client)
        assert secrets._held.credential is first
        rotated.change("second")
        drop_connections(client)
        ping(client)
        assert secrets._held.credential is not first


def test_check_asks_the_provider_that_a_string_names(
    secantus: SecantusServer, rotated: Rotated, tmp_path: Any
) -> None:
    path = tmp_path / "login"
    path.write_text(f"{rotated.name}:{rotated.password}\n")
    uri = f"mongodb://{secantus.host}:{secantus.port}/?credentialsFile={path}"
    checked = check(uri)
    assert checked["ok"], checked
    assert rotated.password not in str(checked)
    path.write_text("no user in it")
    said = str(check(uri))
    assert "AUTH-PROVIDER-FAILED" in said
    assert "no user name" in said


def test_pem_is_not_shown_by_explain() -> None:
    pem = "-----BEGIN PRIVATE KEY-----\nTUlHSEFnRUFNQk1H\n-----END PRIVATE KEY-----\n"
    uri = f"mongodb://localhost/?tlsCertificateKeyFile={quote(pem, safe='')}"
    for arguments in (["explain", uri], ["explain", "--json", uri]):
        said = CliRunner().invoke(cli, arguments).output
        assert "TUlHSEFn" not in said
        assert "tlsCertificateKeyFile" in said
