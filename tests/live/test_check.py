"""`mongokey check`: logins that fail, by every mechanism, against what really refuses them.

Rows E to H of the list of symptoms; what a hosted service answers is a scripted server's, under its
host name. No report shows a secret: each is searched for those that were used.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import socket
import sys
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from mongokey import MongoClient
from mongokey.auth.errors import AuthenticationFailed
from mongokey.auth.kerberos import libraries
from mongokey.cli.check import login_probes
from tests.checks import ANSWERS, check, codes, expect, found, run, seen, step
from tests.live._aws import SECRET, show_no_secret
from tests.pools import drop_connections
from tests.servers.aws_cloud import AwsDeployment
from tests.servers.certificates import Authority, Pair, make_name
from tests.servers.child import free_port
from tests.servers.kdc import REALM, KerberosDeployment
from tests.servers.mechanism import MechanismServer, Refused
from tests.servers.mechanism.aws import AwsKey, atlas_refusal
from tests.servers.mechanism.gssapi import GssapiAcceptor
from tests.servers.mechanism.oidc import OIDCAcceptor
from tests.servers.mechanism.plain import LdapDirectory, PlainAcceptor
from tests.servers.needs import need_program
from tests.servers.oidc_deployment import AUDIENCE, OIDCDeployment
from tests.servers.scripted import Error, Login, ScriptedServer
from tests.servers.secantus import SecantusServer
from tests.servers.slapd import USERS, Slapd

pytestmark = [
    pytest.mark.live,
    # ldap3 calls it while Python has it.
    pytest.mark.filterwarnings("ignore:ssl.match_hostname:DeprecationWarning"),
]

WRONG = "c4nary-wrong-pa55"


# ---------------------------------------------------------------- users and passwords


def test_all_is_well(secantus: SecantusServer) -> None:
    document = check(secantus.uri("both"))
    assert document["ok"], document
    assert [each["status"] for each in document["steps"]] == [
        *("ok", "skipped", "ok", "skipped", "ok", "ok", "ok", "ok")
    ]
    hello = step(document, "hello")["facts"]
    assert hello["set"] == "secantus"
    assert hello["version"]
    login = step(document, "login")["facts"]
    assert login["mechanism"] == "SCRAM-SHA-256"
    assert login["steps"][0]["name"] == "saslStart"
    identity = step(document, "identity")["facts"]
    assert identity["users"] == ["both@admin"]
    assert identity["roles"] == ["root@admin"]
    assert secantus.users["both"].password not in json.dumps(document)


@pytest.mark.parametrize("who", ["sha256", "sha1", "both", "elsewhere", "escapes", "unicode"])
def test_every_user_s_check_is_well_and_shows_no_password(
    secantus: SecantusServer, who: str
) -> None:
    result = run(secantus.uri(who))
    # That one has a role in its own database only, and not in test.
    assert result.exit_code == (7 if who == "elsewhere" else 0), result.output
    password = secantus.users[who].password
    assert password not in result.output
    assert quote(password, safe="") not in result.output


def wrong(uri: str, password: str) -> str:
    return uri.replace(f":{quote(password, safe='')}@", f":{WRONG}@")


def test_a_wrong_password(secantus: SecantusServer) -> None:
    uri = wrong(secantus.uri("both"), secantus.users["both"].password)
    first = expect(check(uri), "AUTH-PASSWORD-WRONG", "likely", failed="login", exit=6)
    evidence = first["evidence"]
    assert (evidence["user"], evidence["source"]) == ("both", "admin")
    assert evidence["source_origin"] == "the default"
    assert evidence["mechanism"] == "SCRAM-SHA-256"
    assert evidence["tls"] is False
    assert evidence["offered"] == ["SCRAM-SHA-256", "SCRAM-SHA-1"]
    assert evidence["answer"]["code"] == 18
    assert evidence["host"] == f"127.0.0.1:{secantus.port}"
    # Each run asks, whatever was refused in this process before.
    with MongoClient(uri) as client, pytest.raises(AuthenticationFailed):
        client.admin.command("ping")
    document = check(uri)
    expect(document, "AUTH-PASSWORD-WRONG", "likely", failed="login", exit=6)
    assert "memory" not in json.dumps(document)
    # With a named mechanism too: hello is asked all the same.
    document = check(uri, "--authMechanism", "SCRAM-SHA-1")
    expect(document, "AUTH-PASSWORD-WRONG", "likely", failed="login", exit=6)
    assert WRONG not in json.dumps(document)


def test_a_user_with_sha_1_only_and_sha_256_forced(secantus: SecantusServer) -> None:
    document = check(secantus.uri("sha1"), "--authMechanism", "SCRAM-SHA-256")
    first = expect(document, "AUTH-MECHANISM-OTHER", "likely", failed="login", exit=6)
    assert "SCRAM-SHA-1" in first["summary"]


@pytest.fixture
def single() -> Iterator[ScriptedServer]:
    """A server whose hello is silent about users that it does not have, as MongoDB's is."""
    with ScriptedServer(login=Login("ada", "pencil"), on=ANSWERS) as server:
        yield server


def test_the_path_became_the_source(single: ScriptedServer) -> None:
    """Row 36."""
    document = check(f"mongodb://ada:pencil@127.0.0.1:{single.port}/shop")
    assert (document["failed"], document["exit"]) == ("login", 6)
    cause = found(document, "AUTH-SOURCE-FROM-PATH")
    assert cause["confidence"] == "likely"
    assert cause["evidence"]["source_origin"] == "the database in the URI's path"
    assert cause["fix"] == f"mongodb://ada:***@127.0.0.1:{single.port}/shop?authSource=admin"
    # And so it is.
    assert check(f"mongodb://ada:pencil@127.0.0.1:{single.port}/shop?authSource=admin")["ok"]


def test_an_unknown_user(single: ScriptedServer) -> None:
    """Rows 37 and 38: the server named no mechanism for the user."""
    document = check(f"mongodb://bob:{WRONG}@127.0.0.1:{single.port}/")
    expect(document, "AUTH-USER-UNKNOWN", "likely", failed="login", exit=6)
    assert codes(document)["AUTH-CONTAINER-VOLUME"] == "possible"
    document = check(
        f"mongodb://bob:{WRONG}@127.0.0.1:{single.port}/", "--authMechanism", "SCRAM-SHA-256"
    )
    expect(document, "AUTH-USER-UNKNOWN", "likely", failed="login", exit=6)


def test_the_password_was_changed_while_we_were_connected() -> None:
    """Row 44, in the library: a login that worked, and one that does not."""
    with ScriptedServer(login=Login("ada", "pencil"), on=ANSWERS) as server:
        with MongoClient(f"mongodb://ada:pencil@127.0.0.1:{server.port}") as client:
            client.admin.command("ping")
            server.login = Login("ada", WRONG)
            drop_connections(client)
            with pytest.raises(AuthenticationFailed) as caught:
                client.shop.things.find_one()
    assert ("AUTH-CHANGED", "likely") in [
        (each.code, each.confidence) for each in caught.value.diagnoses
    ]


def test_a_mechanism_that_is_not_enabled(secantus: SecantusServer) -> None:
    """Row 49: and the server says that it is Community."""
    document = check(
        f"mongodb://ada:{WRONG}@127.0.0.1:{secantus.port}/?authMechanism=PLAIN&authSource=$external"
    )
    first = expect(document, "AUTH-MECHANISM-OFF", "certain", failed="login", exit=6)
    assert "buildInfo names the modules []" in seen(first)


def test_nobody_logs_in(secantus: SecantusServer) -> None:
    """Row 9."""
    document = check(secantus.uri(None))
    first = expect(document, "AUTH-NO-CREDENTIAL", "certain", failed="read", exit=7)
    assert step(document, "login")["status"] == "skipped"
    assert "username=" in first["fix"]


def test_no_role_for_the_database_that_test_became(secantus: SecantusServer) -> None:
    """Row 43."""
    document = check(secantus.uri("reader"))
    first = expect(document, "AUTH-NO-ROLE", "likely", failed="read", exit=7)
    assert first["evidence"]["database"] == "test"
    assert first["evidence"]["defaulted"] is True
    assert first["evidence"]["roles"] == ["read@app"]
    assert "the URI names no database" in seen(first)
    assert "/app" in first["fix"]
    user = secantus.users["reader"]
    uri = f"mongodb://reader:{user.password}@127.0.0.1:{secantus.port}/app?authSource=app"
    assert check(uri)["ok"]


# ---------------------------------------------------------------- hosted services


@pytest.fixture
def hosted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The names of hosted services lead to this machine."""
    real = socket.getaddrinfo

    def here(host: Any, *arguments: Any, **options: Any) -> Any:
        away = str(host).endswith((".mongodb.net", ".amazonaws.com", ".azure.com"))
        return real("127.0.0.1" if away else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", here)


@pytest.mark.parametrize(
    ("row", "host", "user", "answer", "code", "confidence"),
    [
        (
            39,
            "c0-shard-00-00.abc.mongodb.net",
            "ada",
            Error(code=8000, message="bad auth : Authentication failed."),
            "AUTH-ATLAS",
            "likely",
        ),
        (
            41,
            "c.cluster-x.eu-west-1.docdb.amazonaws.com",
            "ada",
            Error(code=-301, message="Unsupported mechanism [ -301 ]"),
            "AUTH-DOCUMENTDB",
            "likely",
        ),
        (
            42,
            "account.mongo.cosmos.azure.com",
            "somebody",
            Error(code=18, message="Invalid key"),
            "AUTH-COSMOS",
            "likely",
        ),
    ],
    ids=["Atlas", "DocumentDB", "Cosmos DB"],
)
def test_what_a_hosted_service_means(
    hosted: None, row: int, host: str, user: str, answer: Any, code: str, confidence: str
) -> None:
    """Rows 39, 41 and 42."""
    with ScriptedServer(on={**ANSWERS, "saslStart": answer}) as server:
        document = check(f"mongodb://{user}:{WRONG}@{host}:{server.port}/?tls=false")
    assert (document["failed"], document["exit"]) == ("login", 6), document
    assert codes(document)[code] == confidence
    assert WRONG not in json.dumps(document)


# ---------------------------------------------------------------- X.509


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("check-x509"))


def organized(*, unit: str, name: str) -> x509.Name:
    return make_name(
        (NameOID.ORGANIZATION_NAME, "Example"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
        (NameOID.COMMON_NAME, name),
    )


@pytest.fixture(scope="module")
def x509_server(authority: Authority) -> Iterator[SecantusServer]:
    pair = authority.issue("server", "127.0.0.1", subject=organized(unit="servers", name="db"))
    with SecantusServer(
        tls_cert_file=pair.certificate_file,
        tls_key_file=pair.key_file,
        tls_ca_file=authority.certificate_file,
        certificate_users=["CN=ada,OU=users,O=Example"],
    ) as server:
        yield server


def by_certificate(server: SecantusServer, authority: Authority, pair: Pair) -> dict[str, Any]:
    return check(
        f"mongodb://127.0.0.1:{server.port}/?authMechanism=MONGODB-X509&authSource=$external"
        f"&tlsCAFile={authority.certificate_file}&tlsCertificateKeyFile={pair.pem}"
    )


def test_a_certificate_of_an_unknown_user(
    x509_server: SecantusServer, authority: Authority
) -> None:
    """Row 46: the exact createUser."""
    ada = authority.issue("ada", subject=organized(unit="users", name="ada"))
    assert by_certificate(x509_server, authority, ada)["ok"]
    eve = authority.issue("eve", subject=organized(unit="users", name="eve"))
    document = by_certificate(x509_server, authority, eve)
    first = expect(document, "X509-USER-UNKNOWN", "likely", failed="login", exit=6)
    assert 'createUser: "CN=eve,OU=users,O=Example"' in first["fix"]


def test_a_certificate_like_the_servers_own(
    x509_server: SecantusServer, authority: Authority
) -> None:
    """Row 47."""
    twin = authority.issue("twin", subject=organized(unit="servers", name="app"))
    document = by_certificate(x509_server, authority, twin)
    first = expect(document, "X509-MEMBER", "likely", failed="login", exit=6)
    assert "O=Example, OU=servers" in seen(first)


def test_x509_without_a_certificate(x509_server: SecantusServer, authority: Authority) -> None:
    document = check(
        f"mongodb://127.0.0.1:{x509_server.port}/?authMechanism=MONGODB-X509"
        f"&tlsCAFile={authority.certificate_file}"
    )
    assert (document["failed"], document["exit"]) == ("login", 6)
    assert "tlsCertificateKeyFile" in str(document["diagnoses"])


# ---------------------------------------------------------------- Kerberos


@pytest.fixture
def kerberized(kerberos: KerberosDeployment, in_realm: None) -> Iterator[MechanismServer]:
    with MechanismServer(GssapiAcceptor(kerberos.keytab), backend=None) as server:
        yield server


def by_ticket(
    server: MechanismServer, *arguments: str, user: str = f"mongodbuser@{REALM}"
) -> dict[str, Any]:
    return check(
        f"mongodb://{quote(user, safe='')}@localhost:{server.port}/?authMechanism=GSSAPI",
        *arguments,
    )


def test_no_ticket(
    kerberized: MechanismServer, kerberos: KerberosDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 48."""
    cache = f"FILE:{kerberos.realm.folder / kerberos.new_cache()}"
    monkeypatch.setenv("KRB5CCNAME", cache)
    first = expect(by_ticket(kerberized), "KRB-NO-TICKET", "certain", failed="login", exit=6)
    assert "kinit" in first["fix"]
    assert cache in first["summary"]


def test_an_expired_ticket(
    kerberized: MechanismServer, kerberos: KerberosDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 48."""
    monkeypatch.setenv("KRB5CCNAME", kerberos.ticket("-l", "1s"))
    time.sleep(2.2)
    expect(by_ticket(kerberized), "KRB-TICKET-EXPIRED", "certain", failed="login", exit=6)


def test_a_wrong_service_principal(kerberized: MechanismServer) -> None:
    """Row 48: the principal that was asked for."""
    document = by_ticket(kerberized, "--authMechanismProperties", "SERVICE_NAME:mongo")
    first = expect(document, "KRB-SERVICE-UNKNOWN", "certain", failed="login", exit=6)
    assert "mongo@localhost" in first["summary"]
    facts = first["evidence"]["kerberos"]
    assert facts["principal"] == "mongo/localhost"
    assert facts["forward"] == "localhost"
    assert set(facts["reverse"]) <= {"127.0.0.1", "::1"}
    assert "forward DNS: localhost has the address" in seen(first)
    assert "reverse DNS: 127.0.0.1 is" in seen(first)
    # That of the suite's realm; it is good for hours.
    assert facts["ticket"]["principal"] == f"mongodbuser@{REALM}"
    assert facts["ticket"]["lifetime_s"] > 60
    assert "which ends in" in seen(first)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (None, "DNS: no answer about db.example in time"),
        (
            {"forward": None, "said": "Name or service not known"},
            "forward DNS: db.example has no address (Name or service not known)",
        ),
        (
            {"forward": "real.example", "reverse": {"192.0.2.1": None, "192.0.2.2": "x.example"}},
            "forward DNS: db.example is called real.example, and has the address 192.0.2.1, "
            "192.0.2.2\nreverse DNS: 192.0.2.1 has no name\nreverse DNS: 192.0.2.2 is x.example",
        ),
    ],
)
def test_how_the_names_of_a_kerberos_host_are_told(
    names: dict[str, Any] | None, expected: str
) -> None:
    """Row 48."""
    assert "\n".join(login_probes._in_words("db.example", names)) == expected


def test_a_kerberos_host_s_name_that_is_not_known_here() -> None:
    assert login_probes._names_of("-db-.invalid")["forward"] is None


def test_a_clock_that_the_kdc_finds_wrong(
    kerberized: MechanismServer, kerberos: KerberosDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 48."""
    need_program("faketime", package="faketime")
    monkeypatch.setenv("KRB5CCNAME", kerberos.ticket())
    port = free_port()
    kdc = kerberos.realm.another_kdc(port, faketime="+20m")
    try:
        config = kerberos.configure(kerberos.realm.folder / f"check-later-{port}.conf", port=port)
        monkeypatch.setenv("KRB5_CONFIG", str(config))
        document = by_ticket(kerberized)
    finally:
        kdc.stop()
    expect(document, "KRB-CLOCK-SKEW", "certain", failed="login", exit=6)


def test_a_kdc_that_is_not_there(
    kerberized: MechanismServer, kerberos: KerberosDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = kerberos.configure(kerberos.realm.folder / "check-down.conf", port=free_port())
    monkeypatch.setenv("KRB5CCNAME", kerberos.ticket())
    monkeypatch.setenv("KRB5_CONFIG", str(config))
    document = by_ticket(kerberized)
    expect(document, "KRB-KDC-UNREACHABLE", "certain", failed="login", exit=6)


def test_kerberos_s_library_is_not_in_this_interpreter(
    kerberized: MechanismServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 50: the interpreter and the pip line."""
    monkeypatch.setattr(libraries, "UNIX", ("mongokey.auth.kerberos.no_such_backend:Library",))
    first = expect(by_ticket(kerberized), "KRB-PACKAGE-MISSING", "certain", failed="login", exit=6)
    assert f"{sys.executable} -m pip install" in first["fix"]


# ---------------------------------------------------------------- LDAP


@pytest.fixture(scope="module")
def slapd() -> Iterator[Slapd]:
    with Slapd() as slapd:
        yield slapd


@pytest.fixture
def ldap(slapd: Slapd, open_secantus: SecantusServer) -> Iterator[MechanismServer]:
    acceptor = PlainAcceptor(LdapDirectory(slapd.url, slapd.base))
    with MechanismServer(acceptor, backend=open_secantus) as server:
        yield server


def test_ldap_refuses(ldap: MechanismServer) -> None:
    good = f"mongodb://ann:{quote(USERS['ann'], safe='')}@127.0.0.1:{ldap.port}"
    tail = "/?authMechanism=PLAIN&authSource=$external&directConnection=true"
    assert check(good + tail)["ok"]
    document = check(f"mongodb://ann:{WRONG}@127.0.0.1:{ldap.port}{tail}")
    assert (document["failed"], document["exit"]) == ("login", 6)
    assert codes(document)["LDAP-REFUSED"] == "likely"
    assert WRONG not in json.dumps(document)
    document = check(f"{good}/shop?authMechanism=PLAIN&directConnection=true")
    assert (document["failed"], document["exit"]) == ("login", 6)
    assert codes(document)["LDAP-SOURCE"] == "certain"
    assert USERS["ann"] not in json.dumps(document)


# ---------------------------------------------------------------- AWS


def by_key(deployment: AwsDeployment, key: AwsKey | None = None) -> dict[str, Any]:
    """The report of a check with this key in the string; it shows no secret."""
    arguments = [deployment.uri(directConnection=True)]
    if key is not None:
        arguments += ["--username", key.access_key, "--password", key.secret_key]
        if key.token:
            arguments += ["--authMechanismProperties", f"AWS_SESSION_TOKEN:{key.token}"]
    document = check(*arguments)
    show_no_secret(deployment, [json.dumps(document), run(*arguments).output])
    return document


def test_aws_credentials_from_an_unexpected_source(deployment: AwsDeployment) -> None:
    """Row 51: the source, the key's end, the ARN."""
    deployment.environment.credentials_file({"mine": deployment.user})
    deployment.environment.set(AWS_PROFILE="mine")
    arn = deployment.user.arn
    deployment.acceptor.refuse(Refused(f"bad auth : user not found: {arn}", 8000, "AtlasError"))
    first = expect(by_key(deployment), "AWS-IDENTITY-UNKNOWN", "certain", failed="login", exit=6)
    assert arn in first["summary"]
    assert "~/.aws/credentials, profile mine" in first["summary"]
    assert first["evidence"]["credential"]


def test_aws_credentials_that_are_nowhere(deployment: AwsDeployment) -> None:
    """Row 52: each source and why it had none."""
    first = expect(by_key(deployment), "AWS-NO-CREDENTIALS", "certain", failed="login", exit=6)
    assert "AWS_ACCESS_KEY_ID" in str(first) or "environment" in str(first)


def test_where_aws_credentials_came_from_is_told_of_a_login_that_works(
    deployment: AwsDeployment,
) -> None:
    deployment.environment.credentials_file({"mine": deployment.user})
    deployment.environment.set(AWS_PROFILE="mine")
    document = by_key(deployment)
    assert document["ok"], document
    assert "~/.aws/credentials, profile mine" in step(document, "login")["facts"]["credential"]


def test_aws_credentials_that_have_expired(deployment: AwsDeployment) -> None:
    """Row 53: a session's key that is over; STS, asked by the check, says so."""
    document = by_key(deployment, deployment.session(lifetime=0.0))
    first = expect(document, "AWS-TOKEN-EXPIRED", "certain", failed="login", exit=6)
    assert "ExpiredToken" in seen(first)
    assert "renewed by nobody" in first["fix"]
    assert "AWS-STS-REFUSED" not in codes(document)


def test_a_client_itself_finds_expired_credentials_likely(deployment: AwsDeployment) -> None:
    """Row 53, in the library, which asks nobody: the status that Atlas tells, and whose key it
    is."""
    key = deployment.session()
    deployment.acceptor.refuse(atlas_refusal(403), times=10)
    calls = len(deployment.sts_calls(but=""))
    options = {"AWS_SESSION_TOKEN": key.token}
    with MongoClient(
        deployment.uri(directConnection=True),
        username=key.access_key,
        password=key.secret_key,
        authMechanismProperties=options,
    ) as client:
        with pytest.raises(AuthenticationFailed) as caught:
            client.x.y.find_one()
    sure = {each.code: each.confidence for each in caught.value.diagnoses}
    assert sure == {"AWS-TOKEN-EXPIRED": "likely", "AWS-STS-REFUSED": "likely"}
    assert len(deployment.sts_calls(but="")) == calls


def test_aws_keys_that_were_deleted(deployment: AwsDeployment) -> None:
    document = by_key(deployment, AwsKey("AKIA" + "Q" * 16, SECRET))
    expect(document, "AWS-KEY-UNKNOWN", "certain", failed="login", exit=6)


def test_aws_keys_that_sts_takes_and_the_server_does_not(deployment: AwsDeployment) -> None:
    """Row 51, where the server names no ARN: STS does."""
    deployment.acceptor.refuse()
    document = by_key(deployment, deployment.user)
    first = expect(document, "AWS-IDENTITY-UNKNOWN", "likely", failed="login", exit=6)
    assert deployment.user.arn in first["fix"]


def test_sts_is_asked_within_the_time(deployment: AwsDeployment) -> None:
    deployment.acceptor.refuse()
    deployment.environment.set(AWS_ENDPOINT_URL_STS=f"http://127.0.0.1:{free_port()}")
    document = by_key(deployment, deployment.user)
    assert "AWS-STS-REFUSED" in codes(document)


def test_a_temporary_key_without_its_token(deployment: AwsDeployment) -> None:
    key = deployment.session()
    document = by_key(deployment, AwsKey(key.access_key, key.secret_key))
    expect(document, "AWS-TOKEN-MISSING", "certain", failed="login", exit=6)


def test_a_wrong_secret_key(deployment: AwsDeployment) -> None:
    document = by_key(deployment, AwsKey(deployment.user.access_key, SECRET))
    expect(document, "AWS-SECRET-WRONG", "certain", failed="login", exit=6)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("SignatureDoesNotMatch", "Signature expired: 20260101T000000Z is now earlier than ..."),
        ("RequestExpired", "Request has expired."),
    ],
)
def test_a_clock_that_sts_finds_wrong(deployment: AwsDeployment, code: str, message: str) -> None:
    """Row 53."""
    deployment.acceptor.refuse(atlas_refusal(403))
    # The server's own question is not the one to fail.
    deployment.acceptor.sts = None
    deployment.sts.fail("GetCallerIdentity", 403, code, message)
    document = by_key(deployment, deployment.user)
    expect(document, "AWS-CLOCK-SKEW", "certain", failed="login", exit=6)


def test_a_clock_that_is_wrong(deployment: AwsDeployment) -> None:
    from datetime import datetime, timedelta, timezone

    deployment.server.hello = {
        **deployment.server.hello,
        "localTime": datetime.now(timezone.utc) + timedelta(hours=-1),
    }
    deployment.acceptor.clock = lambda: time.time() - 3600
    document = by_key(deployment, deployment.user)
    expect(document, "AWS-CLOCK-SKEW", "likely", failed="login", exit=6)


def test_a_storm_of_logins_at_sts(deployment: AwsDeployment) -> None:
    """Row 54."""
    deployment.acceptor.refuse(atlas_refusal(503))
    document = by_key(deployment, deployment.user)
    first = expect(document, "AWS-STS-THROTTLED", "likely", failed="login", exit=6)
    assert "600" in first["summary"]


def test_boto3_is_not_in_this_interpreter(
    deployment: AwsDeployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 50."""
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setitem(sys.modules, "botocore", None)
    document = check(deployment.uri(directConnection=True))
    first = expect(document, "AWS-NO-BOTO3", "certain", failed="login", exit=6)
    assert sys.executable in f"{first['summary']} {first['fix']}"


# ---------------------------------------------------------------- OIDC


@pytest.fixture
def oidc(
    stage: OIDCDeployment, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[MechanismServer, OIDCAcceptor]]:
    for name in ("AZURE_FEDERATED_TOKEN_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    with stage.single() as made:
        yield made


def by_token(
    server: MechanismServer, token: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The report of a check with this token in a file; it does not show it."""
    file = folder / "token"
    file.write_text(token)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(file))
    arguments = (
        f"{server.uri()}&directConnection=true"
        if "?" in server.uri()
        else f"{server.uri()}?directConnection=true",
        *("--authMechanism", "MONGODB-OIDC", "--authMechanismProperties", "ENVIRONMENT:k8s"),
    )
    document = check(*arguments)
    shown = json.dumps(document) + run(*arguments).output
    for part in (token, *(each for each in token.split(".") if len(each) > 8)):
        assert part not in shown
    return document


def test_oidc_as_it_should_be(
    oidc: tuple[MechanismServer, OIDCAcceptor],
    stage: OIDCDeployment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    document = by_token(oidc[0], stage.machine_token(), tmp_path, monkeypatch)
    assert document["ok"], document
    assert step(document, "login")["facts"]["mechanism"] == "MONGODB-OIDC"


def test_oidc_audience_and_issuer_are_told_from_the_claims(
    oidc: tuple[MechanismServer, OIDCAcceptor],
    stage: OIDCDeployment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row 55."""
    token = stage.machines.token("test_machine", "api://another")
    document = by_token(oidc[0], token, tmp_path, monkeypatch)
    first = expect(document, "OIDC-CLAIMS", "likely", failed="login", exit=6)
    assert "api://another" in first["summary"]
    assert stage.machines.url in first["summary"]
    assert AUDIENCE != "api://another"


def test_an_oidc_token_that_has_expired(
    oidc: tuple[MechanismServer, OIDCAcceptor],
    stage: OIDCDeployment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Row 55."""
    document = by_token(oidc[0], stage.machine_token(lifetime=-3600), tmp_path, monkeypatch)
    assert (document["failed"], document["exit"]) == ("login", 6)
    assert codes(document)["OIDC-EXPIRED"] == "certain"


def test_what_is_no_jwt(
    oidc: tuple[MechanismServer, OIDCAcceptor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = by_token(oidc[0], "opaque-c4nary-token-0123456789", tmp_path, monkeypatch)
    assert codes(document)["OIDC-NOT-A-JWT"] == "likely"


# ---------------------------------------------------------------- a real deployment


def test_the_members_of_a_set_are_all_told(open_secantus: SecantusServer) -> None:
    from tests.servers.fleet import Fleet

    with Fleet(open_secantus, members=3) as fleet:
        document = check(fleet.uri(), "--all-hosts")
        assert document["ok"], document
        members = step(document, "hello")["facts"]["members"]
        assert sorted(each["type"] for each in members) == [
            *("RSPrimary", "RSSecondary", "RSSecondary")
        ]
        fleet.kill(0)
        with contextlib.suppress(KeyError):
            document = check(fleet.uri())
            assert document["exit"] == 9
            assert "TOPOLOGY-NO-PRIMARY" in codes(document)


def test_the_pictures_of_the_guide_are_made_by_their_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each picture that check.md shows, with what it is a picture of, and no secret."""
    docs = Path(__file__).resolve().parents[2] / "docs"
    spec = importlib.util.spec_from_file_location("screenshots", docs / "screenshots.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", [*sys.path])
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    module.main()
    shown = set(re.findall(r"\]\((check-[a-z]+\.svg)\)", (docs / "check.md").read_text("utf-8")))
    assert shown == {each.name for each in tmp_path.iterdir()} == set(SHOWN)
    for name, words in SHOWN.items():
        for folder in (tmp_path, docs):
            text = unescape((folder / name).read_text("utf-8")).replace("\xa0", " ")
            assert words in text, f"{folder / name}: run python docs/screenshots.py"
            assert "pencil" not in text


SHOWN = {
    "check-ok.svg": "All is well",
    "check-login.svg": "AUTH-SOURCE-FROM-PATH",
    "check-tls.svg": "TLS-HOST-NAME",
}
