"""PLAIN against a real LDAP server (slapd) behind the mechanism server, and data in SecantusDB."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymongo
import pymongo.errors
import pytest

import mongokey
from mongokey.auth import AuthenticationFailed
from mongokey.errors import NetworkTimeout
from tests.servers.certificates import Authority
from tests.servers.mechanism import MechanismServer
from tests.servers.mechanism.plain import LdapDirectory, PlainAcceptor, escape
from tests.servers.secantus import SecantusServer
from tests.servers.slapd import LOCKED, MAX_FAILURES, USERS, Slapd
from tests.threads import in_threads, outcomes

pytestmark = [
    pytest.mark.live,
    # ldap3 calls it while Python has it.
    pytest.mark.filterwarnings("ignore:ssl.match_hostname:DeprecationWarning"),
]

CLIENTS = pytest.mark.parametrize("driver", [mongokey, pymongo], ids=["mongokey", "pymongo"])
NAMES = [name for name in USERS if name not in (*LOCKED, "clumsy")]
FAILURES = (AuthenticationFailed, pymongo.errors.OperationFailure)


@pytest.fixture(scope="module")
def slapd() -> Iterator[Slapd]:
    with Slapd() as slapd:
        yield slapd


@pytest.fixture
def directory(slapd: Slapd) -> LdapDirectory:
    return LdapDirectory(slapd.url, slapd.base)


@pytest.fixture
def server(directory: LdapDirectory, open_secantus: SecantusServer) -> Iterator[MechanismServer]:
    with MechanismServer(PlainAcceptor(directory), backend=open_secantus) as server:
        yield server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ldap"))


def connect(server: MechanismServer, driver: Any = mongokey, **options: Any) -> Any:
    options = {
        "username": "ann",
        "password": USERS["ann"],
        "authMechanism": "PLAIN",
        "directConnection": True,
        "serverSelectionTimeoutMS": 10_000,
        **options,
    }
    return driver.MongoClient(server.uri(), **options)


def write_and_read(client: Any) -> None:
    collection = client.ldap.things
    collection.delete_many({})
    collection.insert_one({"_id": 1, "text": "ж"})
    assert collection.find_one({"_id": 1}) == {"_id": 1, "text": "ж"}


def identity(client: Any) -> dict[str, str]:
    users = client.admin.command("connectionStatus")["authInfo"]["authenticatedUsers"]
    assert len(users) == 1
    found: dict[str, str] = users[0]
    return found


# Who gets in


@CLIENTS
@pytest.mark.parametrize("name", NAMES, ids=[name[:8] for name in NAMES])
def test_users_of_ldap_log_in_by_keywords(driver: Any, server: MechanismServer, name: str) -> None:
    with connect(server, driver, username=name, password=USERS[name]) as client:
        write_and_read(client)
        assert identity(client) == {"user": name, "db": "$external"}
    assert {record.identity for record in server.records} == {name}


@CLIENTS
@pytest.mark.parametrize("name", NAMES, ids=[name[:8] for name in NAMES])
@pytest.mark.parametrize("path", ["", "ldap"])
def test_users_of_ldap_log_in_by_uri(
    driver: Any, server: MechanismServer, name: str, path: str
) -> None:
    login = f"{quote(name, safe='')}:{quote(USERS[name], safe='')}"
    options = "authMechanism=PLAIN&authSource=$external&directConnection=true"
    with driver.MongoClient(f"mongodb://{login}@127.0.0.1:{server.port}/{path}?{options}") as it:
        write_and_read(it)
        assert identity(it) == {"user": name, "db": "$external"}


@pytest.mark.parametrize("start_tls", [False, True], ids=["ldaps", "StartTLS"])
@CLIENTS
def test_tls_all_the_way(
    driver: Any,
    start_tls: bool,
    slapd: Slapd,
    open_secantus: SecantusServer,
    authority: Authority,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("server", "127.0.0.1").pem)
    url = slapd.url if start_tls else slapd.secure_url
    directory = LdapDirectory(
        url,
        slapd.base,
        ca_file=slapd.ca_file,
        host_name=slapd.host_name,
        start_tls=start_tls,
    )
    acceptor = PlainAcceptor(directory)
    with MechanismServer(acceptor, backend=open_secantus, tls=context) as server:
        client = connect(server, driver, tls=True, tlsCAFile=authority.certificate_file)
        with client:
            write_and_read(client)
        with connect(
            server, driver, tls=True, tlsCAFile=authority.certificate_file, password="wrong"
        ) as client:
            with pytest.raises(FAILURES) as caught:
                client.ldap.things.find_one()
        assert caught.value.code == 18
    assert server.logins >= 1
    assert {refusal.detail.split(": ")[-1] for refusal in server.refusals} == {
        "49 invalidCredentials"
    }


def test_every_connection_of_a_client_logs_in(server: MechanismServer) -> None:
    with connect(server, minPoolSize=4) as client:
        client.ldap.things.find_one()
        # Beside the program; it begins as soon as the server was checked.
        deadline = time.monotonic() + 20
        while server.logins < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
    assert server.logins == 4
    connections = {each.connection for each in server.requests if each.name == "saslStart"}
    assert len(connections) == 4
    for number in connections:
        assert server.names(number)[1] == "saslStart", "hello, then the whole login"


# Who does not


def refusal(server: MechanismServer, **options: Any) -> AuthenticationFailed:
    """The error of an operation whose login is refused; it shows no password."""
    with connect(server, **options) as client:
        with pytest.raises(AuthenticationFailed) as caught:
            client.ldap.things.find_one()
    error = caught.value
    assert str(options.get("password", USERS["ann"])) not in str(error)
    assert server.logins == 0
    # A refusal is final: it is not tried again until the time is over.
    assert server.names().count("saslStart") == 1
    return error


def words(error: AuthenticationFailed) -> list[str]:
    assert error.login is not None
    return [each.code for each in error.diagnoses]


@pytest.mark.parametrize(
    ("login", "answer"),
    [
        ({"password": "wrong-secret"}, "49 invalidCredentials"),
        ({"username": "nobody"}, "49 invalidCredentials"),
        ({"username": "locked", "password": USERS["locked"]}, "49 invalidCredentials"),
        ({"password": USERS["ann"].upper()}, "49 invalidCredentials"),
        ({"username": "ann,ou=people"}, "49 invalidCredentials"),
        ({"username": "long", "password": USERS["long"] + "x"}, "49 invalidCredentials"),
    ],
    ids=["wrong password", "unknown user", "locked", "case", "name with a comma", "too long"],
)
def test_whom_ldap_refuses_the_server_refuses_without_telling_why(
    server: MechanismServer, login: dict[str, str], answer: str
) -> None:
    error = refusal(server, **login)
    assert (error.code, words(error)) == (18, ["LDAP-REFUSED", "AUTH-EXTERNAL-USER"])
    name = login.get("username", "ann")
    assert f"user {name!r}, authentication database '$external' from the default" in str(error)
    assert "mechanism PLAIN (given), password given: yes" in str(error)
    assert server.refusals[0].detail.endswith(answer)


def test_wrong_passwords_lock_an_account(slapd: Slapd, server: MechanismServer) -> None:
    for _ in range(MAX_FAILURES):
        # One that is not told to would ask once.
        with connect(server, username="clumsy", password="wrong", loginBackoffMS=0) as client:
            with pytest.raises(AuthenticationFailed):
                client.ldap.things.find_one()
    with connect(server, username="clumsy", password=USERS["clumsy"]) as client:
        with pytest.raises(AuthenticationFailed, match="a locked or expired account"):
            client.ldap.things.find_one()
    assert len(server.refusals) == MAX_FAILURES + 1


def test_a_pool_with_a_wrong_password_locks_no_account(open_secantus: SecantusServer) -> None:
    """Ten failures lock it; a hundred threads at once and twenty that try again are fewer."""
    with Slapd({"ann": USERS["ann"]}, max_failures=10) as slapd:
        acceptor = PlainAcceptor(LdapDirectory(slapd.url, slapd.base))
        with MechanismServer(acceptor, backend=open_secantus) as server:
            with connect(server, password="wrong", maxConnecting=50) as client:
                errors = outcomes(100, client.ldap.things.find_one)
                assert {type(each) for each in errors} == {AuthenticationFailed}
                assert {tuple(words(each)) for each in errors} == {
                    ("LDAP-REFUSED", "AUTH-EXTERNAL-USER")
                }
                assert 1 <= len(server.refusals) <= 3
                ends = time.monotonic() + 0.5

                def again() -> None:
                    while time.monotonic() < ends:
                        with pytest.raises(AuthenticationFailed):
                            client.ldap.things.find_one()
                        time.sleep(0.01)

                in_threads(20, again)
            # As of a web worker that is started again and again by its own health check.
            for _ in range(20):
                with connect(server, password="wrong") as client:
                    with pytest.raises(AuthenticationFailed):
                        client.ldap.things.find_one()
            assert len(server.refusals) < 10
            with connect(server) as client:
                write_and_read(client)


def test_a_line_break_after_the_password_is_told(server: MechanismServer) -> None:
    with pytest.warns(UserWarning, match="the password ends with a newline"):
        error = refusal(server, password=USERS["ann"] + "\n")
    assert words(error)[:2] == ["LDAP-REFUSED", "AUTH-PASSWORD-EDGE"]
    assert "printf" in str(error)


def test_an_ldap_server_that_is_down_looks_like_a_wrong_password(
    open_secantus: SecantusServer,
) -> None:
    with Slapd() as slapd:
        directory = LdapDirectory(slapd.url, slapd.base)
        with MechanismServer(PlainAcceptor(directory), backend=open_secantus) as server:
            slapd.halt()
            error = refusal(server)
    assert (error.code, words(error)) == (18, ["LDAP-REFUSED", "AUTH-EXTERNAL-USER"])
    assert "an LDAP server that is down" in str(error)
    assert "Connection refused" in server.refusals[0].detail


def test_a_certificate_that_the_server_does_not_trust_is_ldap_down(
    slapd: Slapd, open_secantus: SecantusServer, authority: Authority
) -> None:
    directory = LdapDirectory(
        slapd.secure_url, slapd.base, ca_file=authority.certificate_file, timeout=5
    )
    with MechanismServer(PlainAcceptor(directory), backend=open_secantus) as server:
        assert refusal(server).code == 18
    assert "certificate verify failed" in server.refusals[0].detail


def test_an_ldap_server_that_is_slow_costs_no_more_than_the_connect_timeout(
    slapd: Slapd, server: MechanismServer
) -> None:
    with connect(server, connectTimeoutMS=400, serverSelectionTimeoutMS=450) as client:
        began = time.monotonic()
        with slapd.frozen():
            with pytest.raises(NetworkTimeout) as caught:
                client.ldap.things.find_one()
            assert time.monotonic() - began < 5.0
        assert "connectTimeoutMS=400" in str(caught.value)
        assert "in the login of user 'ann' by PLAIN" in str(caught.value)
        assert USERS["ann"] not in str(caught.value)
        # It answers again: so does the client.
        client.ldap.things.find_one()


def test_the_path_is_taken_for_the_source_and_the_error_says_so(server: MechanismServer) -> None:
    uri = f"mongodb://ann:pencil@127.0.0.1:{server.port}/ldap?authMechanism=PLAIN"
    with mongokey.MongoClient(uri, directConnection=True) as client:
        with pytest.raises(AuthenticationFailed, match=r"set authSource=\$external") as caught:
            client.ldap.things.find_one()
    assert (caught.value.code, words(caught.value)) == (2, ["LDAP-SOURCE"])
    assert server.logins == 0


def test_a_server_without_plain_says_so(open_secantus: SecantusServer) -> None:
    with MechanismServer(backend=open_secantus) as server:
        error = refusal(server)
    assert (error.code, words(error)) == (334, ["AUTH-MECHANISM-OFF"])
    assert "Kerberos and LDAP need MongoDB Enterprise or Atlas" in str(error)


def test_a_real_server_without_plain_says_so(secantus: SecantusServer) -> None:
    client = mongokey.MongoClient(
        secantus.uri(None), username="ann", password="pencil-secret", authMechanism="PLAIN"
    )
    with client, pytest.raises(AuthenticationFailed) as caught:
        client.ldap.things.find_one()
    assert words(caught.value) == ["AUTH-MECHANISM-OFF"]


@pytest.mark.parametrize("password", ["", None])
def test_an_empty_password_never_gets_as_far_as_ldap(
    server: MechanismServer, password: str | None
) -> None:
    with pytest.raises(mongokey.errors.ConfigurationError, match="password is"):
        connect(server, password=password)
    assert server.accepted == 0


# The page about it

PAGE = (Path(__file__).parents[2] / "docs" / "ldap.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python no-run\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_guide_work(
    directory: LdapDirectory,
    open_secantus: SecantusServer,
    authority: Authority,
    capsys: pytest.CaptureFixture[str],
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("server", "127.0.0.1").pem)
    acceptor = PlainAcceptor(directory)
    with MechanismServer(acceptor, backend=open_secantus, tls=context) as server:
        for example in EXAMPLES:
            example = example.replace("db.example.com", f"127.0.0.1:{server.port}")
            example = example.replace("/etc/ssl/company-root.pem", authority.certificate_file)
            exec(example, {})
    assert len(EXAMPLES) == 4
    promised = [line.strip()[2:] for line in PAGE.splitlines() if line.startswith("        # ")]
    assert capsys.readouterr().out.splitlines() == ["None", "None", *promised]
    assert server.logins == 2


def test_the_words_of_the_guide_are_those_of_the_errors() -> None:
    sources = Path(mongokey.__file__).parent / "auth"
    text = "".join(path.read_text(encoding="utf-8") for path in sources.glob("*.py"))
    for word in set(re.findall(r"`((?:LDAP|AUTH)-[A-Z-]+)`", PAGE)):
        assert f'"{word}"' in text


# The acceptor itself


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("ann", "ann"),
        (" a b ", "\\ a b\\ "),
        ("#1", "\\#1"),
        ('a,b+c"d\\e<f>g;h=i', 'a\\,b\\+c\\"d\\\\e\\<f\\>g\\;h\\=i'),
        (" ", "\\ "),
    ],
)
def test_names_are_escaped_as_rfc_4514_has_it(name: str, escaped: str) -> None:
    assert escape(name) == escaped


def test_an_empty_password_from_another_client_is_refused_before_ldap(
    server: MechanismServer, directory: LdapDirectory
) -> None:
    # LDAP itself would say yes: an anonymous bind (RFC 4513, 5.1.2).
    exchange = PlainAcceptor(directory).begin(None)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="the password is empty"):
        exchange.step(b"\0ann\0")
