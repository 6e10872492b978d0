"""PyMongo's page of authentication examples, its SCRAM and X.509 sections, by our name.

Each snippet has the page's form; put in are only what the page leaves to its reader: host, user,
password, database and files. The other sections have their own tests beside their servers:
`test_kerberos`, `test_ldap`, `test_aws` and `test_oidc_*`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mongokey import MongoClient
from tests.servers.certificates import Authority
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live

USERS = {
    "admin": ("user", "pass/word", ["SCRAM-SHA-1", "SCRAM-SHA-256"]),
    "the_database": ("user", "password", ["SCRAM-SHA-1", "SCRAM-SHA-256"]),
}


@pytest.fixture(scope="module")
def example(secantus: SecantusServer) -> Iterator[dict[str, str]]:
    """The server with the page's users; what stands for the page's host."""
    with MongoClient(secantus.uri("both")) as client:
        for database, (user, password, mechanisms) in USERS.items():
            client[database].command(
                "createUser",
                user,
                pwd=password,
                roles=[{"role": "root", "db": "admin"}],
                mechanisms=mechanisms,
            )
        yield {"example.com": f"{secantus.host}:{secantus.port}"}
        for database, (user, _, _) in USERS.items():
            client[database].command("dropUser", user)


def run(snippet: str, puts: dict[str, str]) -> tuple[Any, dict[str, Any]]:
    """Run a snippet with `puts` put in, use its client, and give what it left behind."""
    for name, value in puts.items():
        snippet = snippet.replace(name, value)
    names: dict[str, Any] = {}
    exec(compile(snippet, "<example>", "exec"), names)
    client = names["client"]
    try:
        collection = client.examples.c
        collection.insert_one({"_id": 1, "snippet": snippet})
        assert collection.find_one({"_id": 1})["snippet"] == snippet
        collection.drop()
        status = client.admin.command("connectionStatus")
        return status["authInfo"]["authenticatedUsers"], names
    finally:
        client.close()


def test_percent_escaping(example: dict[str, str]) -> None:
    who, names = run(
        """
from mongokey import MongoClient
import urllib.parse
username = urllib.parse.quote_plus('user')
password = urllib.parse.quote_plus('pass/word')
client = MongoClient('mongodb://%s:%s@127.0.0.1' % (username, password))
""",
        {"127.0.0.1": example["example.com"]},
    )
    assert names["password"] == "pass%2Fword"
    assert who == [{"user": "user", "db": "admin"}]


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1"])
def test_scram_by_arguments(mechanism: str, example: dict[str, str]) -> None:
    who, _ = run(
        """
from mongokey import MongoClient
client = MongoClient('example.com',
                     username='user',
                     password='password',
                     authSource='the_database',
                     authMechanism='MECHANISM')
""",
        {**example, "MECHANISM": mechanism},
    )
    assert who == [{"user": "user", "db": "the_database"}]


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1"])
def test_scram_by_uri(mechanism: str, example: dict[str, str]) -> None:
    who, _ = run(
        """
from mongokey import MongoClient
uri = "mongodb://user:password@example.com/?authSource=the_database&authMechanism=MECHANISM"
client = MongoClient(uri)
""",
        {**example, "MECHANISM": mechanism},
    )
    assert who == [{"user": "user", "db": "the_database"}]


def test_default_database_and_auth_source(example: dict[str, str]) -> None:
    who, names = run(
        """
from mongokey import MongoClient
uri = "mongodb://user:pass%2Fword@example.com/default_db?authSource=admin"
client = MongoClient(uri)
# get_database with no "name" argument chooses the DB from the URI
db = client.get_database()
name = db.name
""",
        example,
    )
    assert names["name"] == "default_db"
    assert who == [{"user": "user", "db": "admin"}]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, str], str]]:
    """A server that wants certificates, the page's files, and the user they make."""
    folder: Path = tmp_path_factory.mktemp("examples")
    authority = Authority(folder)
    client = authority.issue("user", server=False)
    server_pair = authority.issue("server", "localhost", "127.0.0.1")
    subject = client.certificate.subject.rfc4514_string()
    with SecantusServer(
        tls_cert_file=server_pair.certificate_file,
        tls_key_file=server_pair.key_file,
        tls_ca_file=authority.certificate_file,
        tls_require_client_cert=True,
        certificate_users=[subject],
    ) as server:
        puts = {
            "example.com": f"localhost:{server.port}",
            "/path/to/client.pem": client.pem,
            "/path/to/ca.pem": authority.certificate_file,
        }
        yield puts, subject


@pytest.mark.parametrize(
    "form",
    [
        """client = MongoClient('example.com',
                     authMechanism="MONGODB-X509",
                     tls=True,
                     tlsCertificateKeyFile='/path/to/client.pem',
                     tlsCAFile='/path/to/ca.pem')
""",
        """uri = "mongodb://example.com/?authMechanism=MONGODB-X509"
client = MongoClient(uri,
                     tls=True,
                     tlsCertificateKeyFile='/path/to/client.pem',
                     tlsCAFile='/path/to/ca.pem')
""",
    ],
    ids=["arguments", "uri"],
)
def test_x509(form: str, certificates: tuple[dict[str, str], str]) -> None:
    puts, subject = certificates
    who, _ = run(f"from mongokey import MongoClient\n{form}", puts)
    assert who == [{"user": subject, "db": "$external"}]
