"""Kerberos logins that fail, for real: what the error says, and that it holds up nobody else.

Each error is an OperationFailure with the library's own message, a stable code word, and what to
do. KDCs that are down, silent or of another time are processes of the test's own.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.auth.errors import AuthenticationFailed, LoginTimeout
from mongokey.auth.kerberos import libraries
from mongokey.errors import OperationFailure
from tests.servers.child import free_port
from tests.servers.kdc import PASSWORD, REALM, KerberosDeployment, silent_kdc
from tests.servers.mechanism import MechanismServer
from tests.servers.mechanism.gssapi import GssapiAcceptor
from tests.servers.needs import need_module, need_program

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("in_realm")]

GSSAPI, PYKERBEROS = libraries.UNIX
SECRET = "wrong-password-7f3a"


@pytest.fixture(scope="module", autouse=True)
def expired(kerberos: KerberosDeployment) -> tuple[str, float]:
    """KRB5CCNAME of a ticket, and when, by the monotonic clock, it has expired."""
    return kerberos.ticket("-l", "1s"), time.monotonic() + 2.1


@pytest.fixture
def acceptor(kerberos: KerberosDeployment) -> GssapiAcceptor:
    return GssapiAcceptor(kerberos.keytab)


@pytest.fixture
def server(acceptor: GssapiAcceptor) -> Iterator[MechanismServer]:
    with MechanismServer(acceptor, backend=None) as server:
        yield server


@pytest.fixture
def fail(server: MechanismServer) -> Callable[..., AuthenticationFailed]:
    """Logs in, which must fail; gives the error."""

    def fail(username: str = f"mongodbuser@{REALM}", **options: Any) -> AuthenticationFailed:
        with MongoClient(
            "localhost", server.port, username=username, authMechanism="GSSAPI", **options
        ) as client:
            with pytest.raises(OperationFailure) as caught:
                client.admin.command("ping")
        error = caught.value
        assert isinstance(error, AuthenticationFailed)
        password = options.get("password")
        if password is not None:
            assert password not in f"{error!s} {error!r} {error.login!r} {vars(error)}"
        assert "Kerberos service " in str(error)
        return error

    return fail


def words(error: AuthenticationFailed) -> list[str]:
    assert error.login is not None
    return [f"{hint.code}, {hint.confidence}" for hint in error.diagnoses]


def test_no_ticket(
    library: str,
    fail: Callable[..., AuthenticationFailed],
    kerberos: KerberosDeployment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache = f"FILE:{kerberos.realm.folder / kerberos.new_cache()}"
    monkeypatch.setenv("KRB5CCNAME", cache)
    error = fail()
    assert words(error) == ["KRB-NO-TICKET, certain"]
    assert "No credentials were supplied, or the credentials were unavailable" in str(error)
    assert f"no ticket of {kerberos.user} in {cache}: run `kinit {kerberos.user}`" in str(error)
    assert "Kerberos service mongodb@localhost (host name: as in the address)" in str(error)


def test_the_ticket_of_somebody_else(
    fail: Callable[..., AuthenticationFailed],
    kerberos: KerberosDeployment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # gssapi looks for the user's own ticket, and finds what there is instead.
    monkeypatch.setattr(libraries, "UNIX", (GSSAPI,))
    error = fail(f"carl@{REALM}")
    assert words(error) == ["KRB-TICKET-OTHER, certain"]
    assert f"Can't find client principal carl@{REALM}" in str(error)
    assert f"holds a ticket of {kerberos.user} (for " in str(error)
    # pykerberos takes the default ticket, and the server refuses it.
    monkeypatch.setattr(libraries, "UNIX", (PYKERBEROS,))
    error = fail(f"carl@{REALM}")
    assert words(error)[0] == "KRB-TICKET-OTHER, likely"
    assert f"the ticket used is {kerberos.user}'s, not carl@{REALM}'s" in str(error)


def test_a_user_without_realm(
    library: str, fail: Callable[..., AuthenticationFailed], server: MechanismServer
) -> None:
    error = fail("mongodbuser")
    assert words(error)[0] == "KRB-TICKET-OTHER, likely"
    assert "in the URI mongodbuser%40EXAMPLE.COM" in str(error)
    assert "may not act as mongodbuser" in server.refusals[0].detail


def test_an_expired_ticket(
    library: str,
    fail: Callable[..., AuthenticationFailed],
    kerberos: KerberosDeployment,
    expired: tuple[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache, until = expired
    time.sleep(max(0.0, until - time.monotonic()))
    monkeypatch.setenv("KRB5CCNAME", cache)
    error = fail()
    assert words(error) == ["KRB-TICKET-EXPIRED, certain"]
    assert "Ticket expired (-1765328352)" in str(error)
    assert f"the ticket in {cache} has expired: run `kinit {kerberos.user}` again" in str(error)


def test_a_service_that_the_kdc_does_not_know(
    library: str, fail: Callable[..., AuthenticationFailed]
) -> None:
    error = fail(authMechanismProperties={"SERVICE_NAME": "mongo"})
    assert words(error) == ["KRB-SERVICE-UNKNOWN, certain"]
    assert f"Server mongo/localhost@{REALM} not found in Kerberos database" in str(error)
    assert "no service mongo@localhost (host name: as in the address)" in str(error)
    error = fail(authMechanismProperties={"SERVICE_HOST": "alias.example.com"})
    assert words(error) == ["KRB-SERVICE-UNKNOWN, certain"]
    assert "no service mongodb@alias.example.com (host name: SERVICE_HOST)" in str(error)


def test_a_realm_without_trust(library: str, fail: Callable[..., AuthenticationFailed]) -> None:
    error = fail(authMechanismProperties={"SERVICE_REALM": "ISLAND.TEST"})
    assert words(error) == ["KRB-REALM-UNKNOWN, certain"]
    assert f"Server krbtgt/ISLAND.TEST@{REALM} not found in Kerberos database" in str(error)
    assert "mongodb/localhost@ISLAND.TEST" in str(error)


def test_a_domain_that_leads_to_no_realm(
    library: str, fail: Callable[..., AuthenticationFailed]
) -> None:
    error = fail(authMechanismProperties={"SERVICE_HOST": "mongo.nowhere.test"})
    assert words(error) == ["KRB-REALM-UNKNOWN, certain"]
    assert "[domain_realm]" in str(error)


def test_a_users_realm_that_krb5_conf_does_not_know(
    fail: Callable[..., AuthenticationFailed],
) -> None:
    error = fail("ada@NOWHERE.TEST", password=SECRET)
    assert words(error)[0] == "KRB-REALM-UNKNOWN, certain"
    assert "Cannot find KDC for realm" in str(error)


def test_a_user_that_the_kdc_does_not_know(fail: Callable[..., AuthenticationFailed]) -> None:
    error = fail(f"nobody@{REALM}", password=SECRET)
    assert words(error)[0] == "KRB-CLIENT-UNKNOWN, certain"
    assert f"Client 'nobody@{REALM}' not found in Kerberos database" in str(error)


def test_a_wrong_password(fail: Callable[..., AuthenticationFailed]) -> None:
    error = fail(password=SECRET)
    assert words(error)[0] == "KRB-PASSWORD-WRONG, certain"
    assert "Preauthentication failed" in str(error)


@pytest.mark.parametrize(
    ("options", "word", "said"),
    [
        ("-allow_tix", "KRB-CLIENT-LOCKED", "credentials have been revoked"),
        ("-expire yesterday", "KRB-CLIENT-LOCKED", "entry in database has expired"),
        ("-pwexpire yesterday", "KRB-PASSWORD-EXPIRED", "Password has expired"),
    ],
)
def test_an_account_that_may_not_log_in(
    options: str,
    word: str,
    said: str,
    fail: Callable[..., AuthenticationFailed],
    kerberos: KerberosDeployment,
) -> None:
    user = kerberos.realm.add_user(f"user{options.split()[0]}", SECRET)
    kerberos.realm.admin(f"modprinc {options} {user}")
    error = fail(user, password=SECRET)
    assert words(error)[0] == f"{word}, certain"
    assert said in str(error)


def test_a_keytab_that_is_missing_or_out_of_date(
    fail: Callable[..., AuthenticationFailed],
    kerberos: KerberosDeployment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    robot = kerberos.realm.add_user("robot", PASSWORD)
    keytab = kerberos.realm.keytab("robot", keytab="robot.keytab")
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{kerberos.realm.folder / kerberos.new_cache()}")
    monkeypatch.setenv("KRB5_CLIENT_KTNAME", f"FILE:{keytab}")
    error = fail()
    assert words(error) == ["KRB-NO-TICKET, certain"]
    assert f"no key of it in the keytab FILE:{keytab} (KRB5_CLIENT_KTNAME;" in str(error)
    kerberos.realm.change_keys("robot")
    error = fail(robot)
    assert words(error)[0] == "KRB-PASSWORD-WRONG, certain"
    assert "keytab anew" in str(error)


def test_a_kdc_that_is_down(
    library: str,
    fail: Callable[..., AuthenticationFailed],
    kerberos: KerberosDeployment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = kerberos.configure(kerberos.realm.folder / "down.conf", port=free_port())
    monkeypatch.setenv("KRB5CCNAME", kerberos.ticket())
    monkeypatch.setenv("KRB5_CONFIG", str(config))
    error = fail()
    assert words(error) == ["KRB-KDC-UNREACHABLE, certain"]
    assert "Cannot contact any KDC for realm" in str(error)


def keep_time(stop: threading.Event, worst: list[float]) -> None:
    """Notes the longest time that this thread did not get to run."""
    last = time.monotonic()
    while not stop.is_set():
        time.sleep(0.005)
        now = time.monotonic()
        worst[0] = max(worst[0], now - last)
        last = now


@pytest.mark.parametrize(
    ("library", "form"),
    [
        (GSSAPI, "ticket"),
        (GSSAPI, "keytab"),
        (GSSAPI, "password"),
        (PYKERBEROS, "ticket"),
        (PYKERBEROS, "keytab"),
    ],
    indirect=["library"],
)
def test_a_silent_kdc_holds_up_one_login_for_its_deadline_and_no_other_thread(
    form: str,
    library: str,
    fail: Callable[..., AuthenticationFailed],
    kerberos: KerberosDeployment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options: dict[str, Any] = {"connectTimeoutMS": 700}
    if form == "ticket":
        monkeypatch.setenv("KRB5CCNAME", kerberos.ticket())
    else:
        monkeypatch.setenv("KRB5CCNAME", f"FILE:{kerberos.realm.folder / kerberos.new_cache()}")
    if form == "keytab":
        keytab = kerberos.realm.keytab("mongodbuser", keytab="client.keytab", new_keys=False)
        monkeypatch.setenv("KRB5_CLIENT_KTNAME", f"FILE:{keytab}")
    elif form == "password":
        options["password"] = PASSWORD
    stop, worst = threading.Event(), [0.0]
    with silent_kdc() as port:
        config = kerberos.configure(kerberos.realm.folder / f"silent-{port}.conf", port=port)
        monkeypatch.setenv("KRB5_CONFIG", str(config))
        watch = threading.Thread(target=keep_time, args=(stop, worst))
        watch.start()
        try:
            began = time.monotonic()
            error = fail(**options)
            took = time.monotonic() - began
        finally:
            stop.set()
            watch.join(10)
    assert isinstance(error, LoginTimeout)
    assert error.timeout
    assert words(error)[0] == "KRB-KDC-UNREACHABLE, likely"
    assert "s of asking Kerberos for a ticket for mongodb@localhost (" in str(error)
    assert "timed out after 0." in str(error)
    # The calls themselves go on for half a minute and more.
    assert took < 10
    assert worst[0] < 5


PROGRAM = """
from mongokey import MongoClient
from mongokey.errors import OperationFailure

client = MongoClient(
    "localhost", {port}, username={user!r}, password={password!r}, authMechanism="GSSAPI",
    connectTimeoutMS=500,
)
try:
    client.admin.command("ping")
except OperationFailure as error:
    print("KRB-KDC-UNREACHABLE" in str(error))
"""


def test_a_silent_kdc_does_not_keep_a_process_from_ending(
    server: MechanismServer, kerberos: KerberosDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_module("gssapi", extra="gssapi")
    program = PROGRAM.format(port=server.port, user=kerberos.user, password=PASSWORD)
    with silent_kdc() as port:
        config = kerberos.configure(kerberos.realm.folder / f"silent-{port}.conf", port=port)
        run = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"],
            env={**os.environ, "KRB5_CONFIG": str(config)},
            capture_output=True,
            text=True,
            timeout=15,  # the KDC is asked for longer than that
        )
    assert (run.stdout, run.returncode) == ("True\n", 0), run.stderr


def test_a_clock_that_the_kdc_finds_wrong(
    library: str,
    fail: Callable[..., AuthenticationFailed],
    kerberos: KerberosDeployment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need_program("faketime", package="faketime")
    monkeypatch.setenv("KRB5CCNAME", kerberos.ticket())
    port = free_port()
    kdc = kerberos.realm.another_kdc(port, faketime="+20m")
    try:
        config = kerberos.configure(kerberos.realm.folder / f"later-{port}.conf", port=port)
        monkeypatch.setenv("KRB5_CONFIG", str(config))
        error = fail()
    finally:
        kdc.stop()
    assert words(error) == ["KRB-CLOCK-SKEW, certain"]
    assert "Clock skew too great" in str(error)


@pytest.mark.parametrize(
    ("minutes", "text"),
    [(20, "20 minutes behind the server's"), (-20, "20 minutes ahead of the server's"), (2, None)],
)
def test_a_clock_that_differs_from_the_servers(
    minutes: int,
    text: str | None,
    library: str,
    fail: Callable[..., AuthenticationFailed],
    server: MechanismServer,
    acceptor: GssapiAcceptor,
    kerberos: KerberosDeployment,
) -> None:
    # A server of another time refuses the ticket; here it does for want of a key.
    acceptor.store[b"keytab"] = f"FILE:{kerberos.realm.folder}/none.keytab".encode()
    now = datetime.datetime.now(datetime.timezone.utc)
    server.hello["localTime"] = now + datetime.timedelta(minutes=minutes)
    error = fail()
    assert ("KRB-CLOCK-SKEW, likely" in words(error)) == (text is not None)
    assert text is None or text in str(error)


def test_a_server_whose_keytab_is_out_of_date(
    library: str,
    fail: Callable[..., AuthenticationFailed],
    acceptor: GssapiAcceptor,
    server: MechanismServer,
    kerberos: KerberosDeployment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = f"stale-{library.rpartition(':')[2].lower()}.example.com"
    keytab = kerberos.realm.add_service(f"mongodb/{name}", keytab=f"{name}.keytab")
    kerberos.realm.change_keys(f"mongodb/{name}")
    acceptor.store[b"keytab"] = f"FILE:{keytab}".encode()
    error = fail(authMechanismProperties={"SERVICE_HOST": name})
    assert words(error)[0] == "KRB-KEY-MISMATCH, possible"
    assert "code 18, AuthenticationFailed" in str(error)
    assert f"compare `kvno mongodb/{name}` here with `klist -k` there" in str(error)
    assert "keytab is likely out of date" in server.refusals[0].detail
    # A server that passes the library's word on tells more.
    acceptor.tells_errors = True
    error = fail(authMechanismProperties={"SERVICE_HOST": name})
    assert words(error) == ["KRB-KEY-MISMATCH, certain"]
    assert "Key version is not available" in str(error)


def test_a_configuration_that_cannot_be_read(
    fail: Callable[..., AuthenticationFailed],
    kerberos: KerberosDeployment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = kerberos.realm.folder / "broken.conf"
    path.write_text("[libdefaults\n  } what\n")
    monkeypatch.setenv("KRB5_CONFIG", str(path))
    error = fail(password=PASSWORD)
    assert words(error)[0] == "KRB-CONFIG, certain"
    assert "krb5.conf cannot be read" in str(error)


def test_a_server_without_kerberos(kerberos: KerberosDeployment) -> None:
    need_module("gssapi", extra="gssapi")
    with MechanismServer(backend=None) as server:
        with MongoClient(
            "localhost", server.port, username=kerberos.user, authMechanism="GSSAPI"
        ) as client:
            with pytest.raises(OperationFailure, match="AUTH-MECHANISM-OFF, likely") as caught:
                client.admin.command("ping")
    assert caught.value.code == 334
