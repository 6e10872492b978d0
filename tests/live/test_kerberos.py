"""Logins by Kerberos through MongoClient: a real KDC, a server that takes real tickets, and
SecantusDB behind it.

Host names are canonicalised by a resolver that the tests put in the system's place; all else is
as in production. Failures are `test_kerberos_failures`'.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymongo
import pytest

from mongokey import MongoClient
from mongokey.auth.kerberos import canonical_host, libraries
from mongokey.errors import ConfigurationError, OperationFailure
from tests.servers.kdc import OTHER_REALM, PASSWORD, REALM, USER, KerberosDeployment
from tests.servers.mechanism import MechanismServer
from tests.servers.mechanism.gssapi import (
    CONFIDENTIALITY,
    INTEGRITY,
    NO_LAYER,
    Choice,
    GssapiAcceptor,
)
from tests.servers.needs import need_module
from tests.servers.secantus import SecantusServer
from tests.threads import in_threads

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("in_realm")]

GSSAPI, PYKERBEROS = libraries.UNIX


@pytest.fixture
def acceptor(kerberos: KerberosDeployment) -> GssapiAcceptor:
    return GssapiAcceptor(kerberos.keytab)


@pytest.fixture
def server(acceptor: GssapiAcceptor, open_secantus: SecantusServer) -> Iterator[MechanismServer]:
    with MechanismServer(acceptor, backend=open_secantus) as server:
        yield server


@pytest.fixture
def connect(server: MechanismServer) -> Iterator[Callable[..., MongoClient]]:
    """Makes clients of the server that log in by GSSAPI."""
    clients = []

    def connect(username: str = f"{USER}@{REALM}", **options: Any) -> MongoClient:
        options.setdefault("authMechanism", "GSSAPI")
        client = MongoClient("localhost", server.port, username=username, **options)
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.close()


def identity(client: MongoClient) -> dict[str, str]:
    """Who the server says the client is."""
    (user,) = client.admin.command("connectionStatus")["authInfo"]["authenticatedUsers"]
    return dict(user)


def test_a_ticket_logs_in_and_reads_and_writes(
    library: str,
    connect: Callable[..., MongoClient],
    server: MechanismServer,
    kerberos: KerberosDeployment,
) -> None:
    client = connect()
    things = client["kerberos"]["things"]
    things.drop()
    things.insert_one({"_id": 1, "by": library})
    assert things.find_one() == {"_id": 1, "by": library}
    assert identity(client) == {"user": kerberos.user, "db": "$external"}
    (record,) = server.records
    assert (record.mechanism, record.commands, record.speculative) == ("GSSAPI", 3, False)


def test_the_choice_is_no_layer_size_zero_and_the_principal(
    library: str,
    connect: Callable[..., MongoClient],
    acceptor: GssapiAcceptor,
    kerberos: KerberosDeployment,
) -> None:
    connect().admin.command("ping")
    assert acceptor.choices == [Choice(NO_LAYER, 0, kerberos.user)]


@pytest.mark.parametrize(
    "offer",
    [
        bytes((NO_LAYER, 0, 0, 0)),
        bytes((NO_LAYER, 0xFF, 0xFF, 0xFF)),
        bytes((NO_LAYER | INTEGRITY, 0, 16, 0)),
        bytes((NO_LAYER | CONFIDENTIALITY, 0, 16, 0)),
        bytes((0xFF, 0xFF, 0xFF, 0xFF)),
    ],
    ids=lambda offer: offer.hex(),
)
def test_whatever_layers_are_offered_besides_none_is_chosen(
    offer: bytes,
    library: str,
    connect: Callable[..., MongoClient],
    acceptor: GssapiAcceptor,
    kerberos: KerberosDeployment,
) -> None:
    acceptor.offer = offer
    connect().admin.command("ping")
    assert acceptor.choices == [Choice(NO_LAYER, 0, kerberos.user)]


@pytest.mark.parametrize(
    ("offer", "message"),
    [
        (bytes((INTEGRITY, 0, 16, 0)), "without a security layer .it offers integrity"),
        (bytes((6, 0, 16, 0)), "it offers integrity and confidentiality"),
        (bytes(4), "it offers none at all"),
        (b"\1\0\0", "has 3 bytes, not 4"),
        (b"\1\0\0\0\0", "has 5 bytes, not 4"),
        (b"", "has 0 bytes, not 4"),
    ],
)
def test_an_offer_without_no_layer_or_malformed_is_refused(
    offer: bytes,
    message: str,
    library: str,
    connect: Callable[..., MongoClient],
    acceptor: GssapiAcceptor,
) -> None:
    acceptor.offer = offer
    with pytest.raises(OperationFailure, match=message):
        connect().admin.command("ping")
    assert acceptor.choices == []


@pytest.mark.parametrize("garbage", [b"", b"\0", b"garbage" * 100])
@pytest.mark.parametrize("where", ["token", "wrapped"])
def test_what_is_not_kerberos_is_refused(
    where: str,
    garbage: bytes,
    library: str,
    connect: Callable[..., MongoClient],
    acceptor: GssapiAcceptor,
) -> None:
    setattr(acceptor, where, garbage)
    with pytest.raises(OperationFailure, match="not Kerberos's answer to us"):
        connect().admin.command("ping")
    assert acceptor.choices == []


def test_a_client_keytab_gets_the_ticket(
    library: str,
    connect: Callable[..., MongoClient],
    kerberos: KerberosDeployment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = f"robot-{library.rpartition(':')[2]}"
    robot = kerberos.realm.add_user(name, "never typed")
    # The other face's test has left one, whose keys are older than the user by now.
    (kerberos.realm.folder / f"{name}.keytab").unlink(missing_ok=True)
    keytab = kerberos.realm.keytab(name, keytab=f"{name}.keytab")
    monkeypatch.setenv("KRB5_CLIENT_KTNAME", f"FILE:{keytab}")
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{kerberos.realm.folder / kerberos.new_cache()}")
    assert identity(connect(robot))["user"] == robot


def test_the_library_gssapi_picks_the_users_key_among_a_keytabs(
    connect: Callable[..., MongoClient],
    kerberos: KerberosDeployment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(libraries, "UNIX", (GSSAPI,))
    for name in ("first", "second"):
        kerberos.realm.add_user(name, "never typed")
    keytab = kerberos.realm.keytab("first", "second", keytab="both.keytab")
    monkeypatch.setenv("KRB5_CLIENT_KTNAME", f"FILE:{keytab}")
    monkeypatch.setenv("KRB5CCNAME", f"DIR:{kerberos.realm.folder}")
    assert identity(connect(f"second@{REALM}"))["user"] == f"second@{REALM}"


def test_a_service_of_another_realm(
    library: str, connect: Callable[..., MongoClient], kerberos: KerberosDeployment
) -> None:
    client = connect(authMechanismProperties={"SERVICE_REALM": OTHER_REALM})
    assert identity(client)["user"] == kerberos.user


def test_a_password_needs_no_ticket(
    connect: Callable[..., MongoClient],
    kerberos: KerberosDeployment,
    monkeypatch: pytest.MonkeyPatch,
    server: MechanismServer,
) -> None:
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{kerberos.realm.folder / kerberos.new_cache()}")
    client = connect(password=PASSWORD)
    assert identity(client)["user"] == kerberos.user


def test_a_password_may_have_any_character(
    connect: Callable[..., MongoClient], kerberos: KerberosDeployment
) -> None:
    password = 'p\u00e4ss "wörd" %3A:@/\U0001f511'
    user = kerberos.realm.add_user("unicode", password)
    assert identity(connect(user, password=password))["user"] == user


def test_a_password_and_another_realm(
    connect: Callable[..., MongoClient], kerberos: KerberosDeployment
) -> None:
    client = connect(password=PASSWORD, authMechanismProperties={"SERVICE_REALM": OTHER_REALM})
    assert identity(client)["user"] == kerberos.user


def asked(kerberos: KerberosDeployment, kind: str) -> int:
    """How often the KDC gave a ticket so far."""
    lines = (kerberos.realm.folder / "kdc.log").read_text().splitlines()
    return sum(f"{kind} (" in line and "ISSUE" in line for line in lines)


def test_connections_share_the_ticket_of_a_password(
    connect: Callable[..., MongoClient], kerberos: KerberosDeployment, server: MechanismServer
) -> None:
    client = connect(password=PASSWORD, maxPoolSize=8)
    before = asked(kerberos, "AS_REQ"), asked(kerberos, "TGS_REQ")
    together = threading.Barrier(8, timeout=20)

    def use() -> None:
        cursor = client["kerberos"]["things"].find()
        together.wait()
        list(cursor)
        client.admin.command("ping")

    in_threads(8, use)
    assert len(server.records) >= 2
    assert (asked(kerberos, "AS_REQ"), asked(kerberos, "TGS_REQ")) == (before[0] + 1, before[1] + 1)


def test_a_shared_ticket_is_forgotten_when_the_server_refuses_it(
    connect: Callable[..., MongoClient],
    kerberos: KerberosDeployment,
    acceptor: GssapiAcceptor,
    server: MechanismServer,
) -> None:
    keytab = kerberos.realm.add_service("mongodb/rotated", keytab="before.keytab")
    acceptor.store[b"keytab"] = f"FILE:{keytab}".encode()
    client = connect(password=PASSWORD, authMechanismProperties={"SERVICE_HOST": "rotated"})
    client.admin.command("ping")
    kerberos.realm.change_keys("mongodb/rotated")
    keytab = kerberos.realm.keytab("mongodb/rotated", keytab="after.keytab")
    acceptor.store[b"keytab"] = f"FILE:{keytab}".encode()
    server.close_connections()
    # A read is tried again on a new connection, whose login takes the ticket kept for the old key.
    with pytest.raises(OperationFailure, match="KRB-KEY-MISMATCH, possible"):
        client["kerberos"]["things"].find_one()
    client["kerberos"]["things"].find_one()
    assert len(server.refusals) == 1


def test_service_name_and_its_older_option(
    library: str, connect: Callable[..., MongoClient], kerberos: KerberosDeployment
) -> None:
    named = connect(authMechanismProperties={"SERVICE_NAME": "myservicename"})
    assert identity(named)["user"] == kerberos.user
    with pytest.warns(DeprecationWarning, match="gssapiServiceName"):
        older = connect(gssapiServiceName="myservicename")
    assert identity(older)["user"] == kerberos.user


def test_service_host(
    library: str,
    connect: Callable[..., MongoClient],
    kerberos: KerberosDeployment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tickets = kerberos.ticket()
    monkeypatch.setenv("KRB5CCNAME", tickets)
    client = connect(authMechanismProperties={"SERVICE_HOST": "mongo.example.com"})
    assert identity(client)["user"] == kerberos.user
    assert services(kerberos, tickets) == ["mongodb/mongo.example.com"]


class Names:
    """A resolver that knows what it is told, and remembers what it was asked."""

    def __init__(self, alias_of: str | None, name_of_address: str | None) -> None:
        self.alias_of = alias_of
        self.name_of_address = name_of_address
        self.asked: list[str] = []

    def forward(self, host: str) -> tuple[str, Any]:
        self.asked.append(host)
        if self.alias_of is None:
            raise OSError(-2, "Name or service not known")
        return self.alias_of, ("127.0.0.1", 0)

    def reverse(self, address: Any) -> str:
        self.asked.append(address[0])
        if self.name_of_address is None:
            raise OSError(-2, "Name or service not known")
        return self.name_of_address


@pytest.mark.parametrize(
    ("mode", "names", "host"),
    [
        ("none", Names("wrong.example.com", "wrong.example.com"), "localhost"),
        ("false", Names("wrong.example.com", "wrong.example.com"), "localhost"),
        ("forward", Names("Mongo.Example.com.", "wrong.example.com"), "mongo.example.com"),
        ("forwardAndReverse", Names("wrong.example.com", "MONGO.example.com"), "mongo.example.com"),
        ("true", Names("wrong.example.com", "mongo.example.com"), "mongo.example.com"),
        # What cannot be looked up: the forward name, and in the end the name given.
        ("forwardAndReverse", Names("mongo.example.com", None), "mongo.example.com"),
        ("forwardAndReverse", Names(None, None), "localhost"),
        ("forward", Names(None, None), "localhost"),
    ],
)
def test_the_host_name_is_canonicalised_as_asked(
    mode: str,
    names: Names,
    host: str,
    connect: Callable[..., MongoClient],
    acceptor: GssapiAcceptor,
    kerberos: KerberosDeployment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(canonical_host, "resolver", names)
    tickets = kerberos.ticket()
    monkeypatch.setenv("KRB5CCNAME", tickets)
    client = connect(authMechanismProperties=f"CANONICALIZE_HOST_NAME:{mode}")
    assert identity(client)["user"] == kerberos.user
    assert services(kerberos, tickets) == [f"mongodb/{host}"]
    assert bool(names.asked) == (mode not in ("none", "false"))


def services(kerberos: KerberosDeployment, cache: str) -> list[str]:
    """The services that a cache has tickets for, without their realms."""
    listed = [name.partition("@")[0] for name in kerberos.realm.klist(cache)]
    return [name for name in listed if not name.startswith("krbtgt/")]


def test_the_best_library_is_chosen_and_the_other_serves_what_it_can(
    connect: Callable[..., MongoClient],
    monkeypatch: pytest.MonkeyPatch,
    kerberos: KerberosDeployment,
) -> None:
    assert libraries.find_library(password=False).package == "gssapi"
    monkeypatch.setattr(libraries, "_loaded", {})
    # None in sys.modules: as if it were not installed.
    monkeypatch.setitem(sys.modules, "gssapi", None)
    assert libraries.find_library(password=False).package == "pykerberos"
    assert identity(connect())["user"] == kerberos.user
    with pytest.raises(ConfigurationError, match=r"pip install gssapi` \[KRB-PACKAGE-MISSING"):
        connect(password=PASSWORD).admin.command("ping")
    monkeypatch.setattr(libraries, "_loaded", {})
    monkeypatch.setitem(sys.modules, "kerberos", None)
    with pytest.raises(ConfigurationError, match=r"KRB-PACKAGE-MISSING") as caught:
        connect().admin.command("ping")
    assert "import of gssapi halted" in str(caught.value)
    assert PASSWORD not in str(caught.value)


def test_many_threads_log_in_at_once(
    library: str, connect: Callable[..., MongoClient], server: MechanismServer
) -> None:
    client = connect(maxConnecting=8, minPoolSize=0)
    in_threads(8, client["kerberos"]["things"].find_one)
    assert server.refusals == []


def test_a_connection_logs_in_again_when_the_server_asks(
    library: str, connect: Callable[..., MongoClient], server: MechanismServer
) -> None:
    client = connect(maxPoolSize=1)
    client["kerberos"]["things"].find_one()
    server.require_reauthentication()
    client["kerberos"]["things"].find_one()
    first, again = [record.connection for record in server.records][-2:]
    assert first == again


def test_pymongo_logs_in_to_the_same_server(
    server: MechanismServer, acceptor: GssapiAcceptor, kerberos: KerberosDeployment
) -> None:
    need_module("kerberos", extra="gssapi")
    # RFC 4752, section 3.1, wants the size to be 0 with no layer. PyMongo's library repeats the
    # server's; ours above sends 0.
    with pymongo.MongoClient(
        "localhost",
        server.port,
        username=kerberos.user,
        authMechanism="GSSAPI",
        directConnection=True,  # the server's hello calls it 127.0.0.1
    ) as client:
        client["kerberos"]["things"].find_one()
        status = client.admin.command("connectionStatus")
    (user,) = status["authInfo"]["authenticatedUsers"]
    assert user == {"user": kerberos.user, "db": "$external"}
    assert set(acceptor.choices) == {Choice(NO_LAYER, 0xFFFFFF, kerberos.user)}


# The URIs of PyMongo's documentation ("Authentication Examples", GSSAPI); the host is the test's.
DOCUMENTED = [
    "mongodb://mongodbuser%40EXAMPLE.COM@mongo-server.example.com/?authMechanism=GSSAPI",
    "mongodb://mongodbuser%40EXAMPLE.COM@mongo-server.example.com/?authMechanism=GSSAPI"
    "&authMechanismProperties=SERVICE_NAME:myservicename",
    "mongodb://mongodbuser%40EXAMPLE.COM:mongodbuserpassword@example.com/?authMechanism=GSSAPI",
    "mongodb://mongodbuser%40EXAMPLE.COM@example.com/?authMechanism=GSSAPI"
    "&authMechanismProperties=CANONICALIZE_HOST_NAME:true",
    "mongodb://mongodbuser%40EXAMPLE.COM@example.com/?authMechanism=GSSAPI"
    "&authMechanismProperties=SERVICE_REALM:otherrealm",
]


@pytest.mark.parametrize("uri", DOCUMENTED, ids=range(len(DOCUMENTED)))
def test_pymongos_documented_uris_log_in(
    uri: str, server: MechanismServer, kerberos: KerberosDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canonical_host, "resolver", Names("localhost", "mongo.example.com"))
    credential, _, rest = uri.partition("@")
    uri = f"{credential}@localhost:{server.port}/{rest.partition('/')[2]}"
    with MongoClient(uri) as client:
        assert identity(client)["user"] == kerberos.user


PAGE = Path(__file__).parents[2] / "docs" / "kerberos.md"


def test_the_pages_example_runs(server: MechanismServer, kerberos: KerberosDeployment) -> None:
    text = PAGE.read_text(encoding="utf-8")
    begin = text.index("```python no-run\n") + len("```python no-run\n")
    code = text[begin : text.index("```", begin)]
    assert "ada@EXAMPLE.COM" in code or "ada%40EXAMPLE.COM" in code
    code = code.replace(quote("ada@EXAMPLE.COM"), quote(kerberos.user))
    code = code.replace("mongo.example.com", f"localhost:{server.port}")
    seen: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), seen)
    assert kerberos.user in [record.identity for record in server.records]
