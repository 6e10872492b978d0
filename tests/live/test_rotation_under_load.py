"""A program goes on while its user's password is changed five times and its certificate twice.

32 threads, and 200 tasks, count in documents of their own: what is counted there at the end is what
was acknowledged, so that no operation was lost and none done twice. `MONGOKEY_ROTATION_SECONDS`
lets it last longer than its 3 seconds.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymongo
import pytest
from cryptography.x509.oid import NameOID

from mongokey import AsyncMongoClient, MongoClient
from mongokey.auth.shared_login import SharedLogin
from mongokey.credentials import Request, from_file
from tests.servers.certificates import Authority, Pair, make_name
from tests.servers.secantus import USERS, SecantusServer

pytestmark = pytest.mark.live

SECONDS = float(os.environ.get("MONGOKEY_ROTATION_SECONDS", "3"))
THREADS, TASKS = 32, 200
PASSWORDS, CERTIFICATES = 5, 2
#: Of the pool: so many connections are made at once, each of which may be refused once at a change.
CONNECTING = 2
FAR_S = 60.0


class Mounted:
    """The folder in which the program finds its secrets: as kubelet writes it, by a link that is
    swapped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, bytes] = {}
        self.versions = 0

    def write(self, **files: bytes) -> None:
        self.files.update(files)
        self.versions += 1
        version = self.folder / f"..{self.versions}"
        version.mkdir()
        for name, content in self.files.items():
            (version / name).write_bytes(content)
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(Path("..data") / name)
        (self.folder / "..data_tmp").symlink_to(version.name)
        os.replace(self.folder / "..data_tmp", self.folder / "..data")


class Rotation:
    """The server, the user whose secrets change, and what was seen of it."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        own: Pair = self.authority.issue("server", "127.0.0.1")
        self.server = SecantusServer(
            tls_cert_file=own.certificate_file,
            tls_key_file=own.key_file,
            tls_ca_file=self.authority.certificate_file,
            tls_require_client_cert=True,
        )
        (folder / "mounted").mkdir()
        self.mounted = Mounted(folder / "mounted")
        self.serial = 0
        self.change_certificate()
        self.reasons: list[str] = []
        self.refused = 0
        #: Of each login: the number of the password and the certificate's, when it had succeeded.
        self.logins: list[tuple[int, int]] = []
        self.number = 0

    def change_certificate(self) -> None:
        subject = make_name((NameOID.COMMON_NAME, "program"))
        pair = self.authority.issue(f"program{self.serial}", subject=subject, server=False)
        self.serial = pair.certificate.serial_number
        self.mounted.write(**{"client.pem": Path(pair.pem).read_bytes()})

    def administrator(self) -> Any:
        admin = self.authority.issue("administrator", server=False)
        user = USERS["sha256"]
        return pymongo.MongoClient(
            self.server.host,
            self.server.port,
            username=user.name,
            password=user.password,
            tls=True,
            tlsCAFile=self.authority.certificate_file,
            tlsCertificateKeyFile=admin.pem,
        )

    def change_password(self, admin: Any) -> None:
        """First where the program reads it, which uses what it has until that is refused."""
        self.number += 1
        self.mounted.write(login=f"program:password-{self.number}\n".encode())
        admin.admin.command("updateUser", "program", pwd=f"password-{self.number}")

    def provider(self, request: Request) -> Any:
        self.reasons.append(request.reason)
        return from_file(self.mounted.folder / "login")(request)

    def options(self) -> dict[str, Any]:
        return {
            "credentials": self.provider,
            "tls": True,
            "tlsCAFile": self.authority.certificate_file,
            "tlsCertificateKeyFile": str(self.mounted.folder / "client.pem"),
            # So that there are new connections all the time.
            "maxIdleTimeMS": 1,
            "maxConnecting": CONNECTING,
            "maxPoolSize": 50,
        }

    def watch(self, client: Any) -> None:
        def on_login(address: Any, result: Any) -> None:
            self.logins.append((self.number, client._tls.identity.certificate.serial_number))

        client._on_login(on_login)

    def wait_for_login(self) -> None:
        """Until somebody has logged in with what there is now, which the next change would hide."""
        until = time.monotonic() + FAR_S
        while (self.number, self.serial) not in self.logins:
            assert time.monotonic() < until, f"nobody logs in with password {self.number}"
            time.sleep(0.005)

    def change_all(self, ended: threading.Event) -> None:
        """All changes, spread over the time."""
        try:
            with self.administrator() as admin:
                self.wait_for_login()
                steps = ["password"] * PASSWORDS
                steps[2:2] = ["certificate"]
                steps[5:5] = ["certificate"]
                for step in steps:
                    time.sleep(SECONDS / (len(steps) + 1))
                    if step == "password":
                        self.change_password(admin)
                    else:
                        self.change_certificate()
                    self.wait_for_login()
                time.sleep(SECONDS / (len(steps) + 1))
        finally:
            ended.set()

    def check(self, counted: dict[int, int], acknowledged: dict[int, int]) -> None:
        assert counted == acknowledged
        assert min(acknowledged.values()) > 0
        assert self.reasons == ["new"] + ["refused"] * PASSWORDS
        assert PASSWORDS <= self.refused <= PASSWORDS * (CONNECTING + 1)
        # Whoever logs in does so with what is there then, or was a moment before.
        assert {number for number, _ in self.logins} == set(range(PASSWORDS + 1))
        assert len({serial for _, serial in self.logins}) == CERTIFICATES + 1
        assert self.logins[-1] == (self.number, self.serial)


@pytest.fixture
def rotation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rotation]:
    made = Rotation(tmp_path)
    refused = SharedLogin.refused

    def count(self: SharedLogin, *args: Any, **options: Any) -> None:
        made.refused += 1
        refused(self, *args, **options)

    monkeypatch.setattr(SharedLogin, "refused", count)
    with made.server, made.administrator() as admin:
        made.mounted.write(login=b"program:password-0\n")
        admin.admin.command(
            "createUser",
            "program",
            pwd="password-0",
            roles=[{"role": "root", "db": "admin"}],
            mechanisms=["SCRAM-SHA-256"],
        )
        yield made


def raise_first(errors: list[BaseException]) -> None:
    for error in errors:
        raise error


def test_threads(rotation: Rotation) -> None:
    ended = threading.Event()
    acknowledged = dict.fromkeys(range(THREADS), 0)
    errors: list[BaseException] = []

    def guarded(work: Any, *args: Any) -> threading.Thread:
        def run() -> None:
            try:
                work(*args)
            except BaseException as error:
                errors.append(error)
                ended.set()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    with MongoClient(rotation.server.host, rotation.server.port, **rotation.options()) as client:
        rotation.watch(client)
        counts = client["rotation"]["counts"]

        def work(number: int) -> None:
            while not ended.is_set():
                counts.update_one({"_id": number}, {"$inc": {"count": 1}}, upsert=True)
                acknowledged[number] += 1
                time.sleep(random.random() * 0.06)

        threads = [guarded(work, number) for number in range(THREADS)]
        threads.append(guarded(rotation.change_all, ended))
        for thread in threads:
            thread.join(2 * FAR_S)
        raise_first(errors)
        found = {each["_id"]: each["count"] for each in counts.find()}
    rotation.check(found, acknowledged)


async def test_tasks(rotation: Rotation) -> None:
    ended = threading.Event()
    acknowledged = dict.fromkeys(range(TASKS), 0)
    async with AsyncMongoClient(
        rotation.server.host, rotation.server.port, **rotation.options()
    ) as client:
        rotation.watch(client)
        counts = client["rotation"]["counts"]

        async def work(number: int) -> None:
            while not ended.is_set():
                await counts.update_one({"_id": number}, {"$inc": {"count": 1}}, upsert=True)
                acknowledged[number] += 1
                await asyncio.sleep(random.random() * 1.2)

        changes = asyncio.create_task(asyncio.to_thread(rotation.change_all, ended))
        tasks = [asyncio.create_task(work(number)) for number in range(TASKS)]
        try:
            await asyncio.gather(changes, *tasks)
        finally:
            ended.set()
            for task in tasks:
                task.cancel()
        found = {each["_id"]: each["count"] async for each in counts.find()}
    rotation.check(found, acknowledged)
