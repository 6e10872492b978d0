"""What `mongokey demo` does: the main job, step by step, against a server with authentication on.

Knows which logins it tries and what each must come to, and hands out a result for each step.
Prints nothing, and must not know what the server is beyond its address and its users.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from time import perf_counter_ns
from typing import NamedTuple

from mongokey import MongoClient
from mongokey._support.address import AddressLike
from mongokey._support.server_codes import AUTHENTICATION_FAILED
from mongokey.auth.login import LoginResult
from mongokey.cli.demo_certificates import CertificateFiles
from mongokey.cli.demo_server import User
from mongokey.connection.establish import open_connection
from mongokey.connection.settings import ConnectionSettings
from mongokey.errors import OperationFailure
from mongokey.handshake import ClientMetadata

SHA_1 = "SCRAM-SHA-1"
SHA_256 = "SCRAM-SHA-256"
X509 = "MONGODB-X509"
APP_NAME = "mongokey demo"

# hello with the speculative first step, and the proof: no login can be proved in fewer.
WARM_ROUND_TRIPS = 2

_DOCUMENTS = (
    {"_id": 1, "name": "Ada", "born": 1815},
    {"_id": 2, "name": "Grace", "born": 1906},
    {"_id": 3, "name": "Katherine", "born": 1918},
    {"_id": 4, "name": "Радья", "born": 1921},
)


class Way(NamedTuple):
    """A way to log in: who, the authMechanism asked for (None: negotiate), what must come of it."""

    title: str
    user: str
    asked: str | None
    mechanism: str
    cold_round_trips: int


WAYS = (
    Way("SCRAM-SHA-256", "ada", SHA_256, SHA_256, 2),
    Way("SCRAM-SHA-1", "grace", SHA_1, SHA_1, 2),
    Way("negotiated, user has both", "katherine", None, SHA_256, 2),
    # The client speculates with SCRAM-SHA-256 at first, and remembers that it was in vain.
    Way("negotiated, user has SHA-1 only", "grace", None, SHA_1, 3),
)
# Over TLS, with the client certificate for a password. SecantusDB does not answer MONGODB-X509
# speculatively; with MongoDB it is one round trip.
CERTIFICATE_WAY = Way("MONGODB-X509, client certificate", "marie", X509, X509, 2)


def make_users() -> tuple[User, ...]:
    """The users of the demo, each with a new random password."""
    return tuple(
        User(name, secrets.token_urlsafe(12), mechanisms)
        for name, mechanisms in (
            ("ada", (SHA_256,)),
            ("grace", (SHA_1,)),
            ("katherine", (SHA_1, SHA_256)),
        )
    )


class LoginStep(NamedTuple):
    """One new connection and its login; `elapsed_ns` covers connect, hello and login."""

    way: Way
    warm: bool
    result: LoginResult
    elapsed_ns: int

    @property
    def problems(self) -> list[str]:
        """What did not come out as it must."""
        name = f"{self.way.title}, {'warm' if self.warm else 'cold'}"
        expected = WARM_ROUND_TRIPS if self.warm else self.way.cold_round_trips
        found = []
        if self.result.mechanism != self.way.mechanism:
            found.append(
                f"{name}: logged in with {self.result.mechanism}, not {self.way.mechanism}"
            )
        if self.result.round_trips != expected:
            found.append(f"{name}: took {self.result.round_trips} round trips, not {expected}")
        return found


class WorkStep(NamedTuple):
    """What a client wrote and read after its login: counts of documents."""

    way: Way
    inserted: int
    read: int
    updated: int
    deleted: int
    left: int
    problems: list[str]


class RefusalStep(NamedTuple):
    """What came of a login with a wrong password; `error` is None when it was let in."""

    error: OperationFailure | None
    problems: list[str]


Step = LoginStep | WorkStep | RefusalStep


def run(
    address: AddressLike,
    users: Sequence[User],
    tls_address: AddressLike | None = None,
    certificates: CertificateFiles | None = None,
) -> Iterator[Step]:
    """Do the main job and hand out each step's result when it is done.

    Each way logs in twice: cold (the keys are derived from the password) and warm (the client
    still has them), then its client writes and reads. With `tls_address` and `certificates` there
    is one way more, by client certificate (warm: the TLS session is resumed). Raises MongoError
    when a step cannot be done at all.
    """
    by_name = {user.name: user for user in users}
    for way in WAYS:
        with _client(address, by_name[way.user], way.asked) as client:
            for warm in (False, True):
                yield _log_in(address, client, way, warm)
            yield _work(client, way)
    if tls_address is not None and certificates is not None:
        with _certificate_client(tls_address, certificates) as client:
            for warm in (False, True):
                yield _log_in(tls_address, client, CERTIFICATE_WAY, warm)
            yield _work(client, CERTIFICATE_WAY)
    yield _refuse(address, by_name["katherine"])


def _client(
    address: AddressLike, user: User, mechanism: str | None, password: str = ""
) -> MongoClient[dict[str, object]]:
    host, port = address
    return MongoClient(
        host,
        port,
        username=user.name,
        password=password or user.password,
        authMechanism=mechanism,
        appname=APP_NAME,
        serverSelectionTimeoutMS=10_000,
    )


def _certificate_client(
    address: AddressLike, certificates: CertificateFiles
) -> MongoClient[dict[str, object]]:
    host, port = address
    return MongoClient(
        host,
        port,
        authMechanism=X509,
        tls=True,
        tlsCAFile=certificates.authority,
        tlsCertificateKeyFile=certificates.client,
        appname=APP_NAME,
        serverSelectionTimeoutMS=10_000,
    )


def _log_in(
    address: AddressLike, client: MongoClient[dict[str, object]], way: Way, warm: bool
) -> LoginStep:
    """Open one connection more with the client's credential, and time it."""
    settings = ConnectionSettings(
        metadata=ClientMetadata(APP_NAME), credential=client.options.credential, tls=client._tls
    )
    started = perf_counter_ns()
    connection, result = open_connection(address, settings)
    elapsed = perf_counter_ns() - started
    connection.close()
    return LoginStep(way, warm, result, elapsed)


def _work(client: MongoClient[dict[str, object]], way: Way) -> WorkStep:
    people = client["mongokey_demo"][f"people_of_{way.user}"]
    people.drop()
    inserted = len(people.insert_many(dict(each) for each in _DOCUMENTS).inserted_ids)
    found = list(people.find().sort("_id", 1))
    updated = people.update_one({"_id": 1}, {"$set": {"name": "Ada Lovelace"}}).modified_count
    deleted = people.delete_many({"born": {"$lt": 1910, "$gt": 1900}}).deleted_count
    left = people.count_documents({})
    renamed = people.find_one({"_id": 1})
    people.drop()

    problems = []
    if found != list(_DOCUMENTS):
        problems.append(f"{way.title}: what was read is not what was written: {found!r}")
    if renamed is None or renamed["name"] != "Ada Lovelace":
        problems.append(f"{way.title}: the update cannot be read: {renamed!r}")
    expected = (len(_DOCUMENTS), 1, 1, len(_DOCUMENTS) - 1)
    if (inserted, updated, deleted, left) != expected:
        problems.append(
            f"{way.title}: inserted, updated, deleted and left {inserted}, {updated}, {deleted}, "
            f"{left} documents instead of {', '.join(map(str, expected))}"
        )
    return WorkStep(way, inserted, len(found), updated, deleted, left, problems)


def _refuse(address: AddressLike, user: User) -> RefusalStep:
    wrong = "wrong-" + secrets.token_urlsafe(12)
    with _client(address, user, None, wrong) as client:
        try:
            client["admin"].command("ping")
        except OperationFailure as error:
            problems = []
            if error.code != AUTHENTICATION_FAILED:
                problems.append(f"a wrong password gave code {error.code}, not 18")
            if wrong in str(error):
                problems.append("the error shows the password")
            return RefusalStep(error, problems)
    return RefusalStep(None, ["a wrong password was let in"])
