"""A real Kerberos realm for the tests: MIT's krb5kdc on a free loopback port, from a temporary
directory.

This module knows how to make a realm, its principals, keytabs and tickets, and how to start and
stop its KDC by its own process id. Nothing system-wide is read or written; a client is led there
by the variables of `Realm.environment`. It must not know the code under test.

From a shell, `python -m tests.servers.kdc` starts a realm to play with.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.servers.child import Child, free_port, listens
from tests.servers.managed_server import ManagedServer
from tests.servers.needs import need_program

HOST = "127.0.0.1"
START_TIMEOUT = 15.0
COMMAND_TIMEOUT = 20.0
#: The names of PyMongo's documentation.
REALM = "EXAMPLE.COM"
OTHER_REALM = "otherrealm"
USER = "mongodbuser"
PASSWORD = "mongodbuserpassword"


def require() -> None:
    """Skip the test (under CI: fail it) where MIT Kerberos is not installed."""
    need_program("krb5kdc", package="krb5-kdc")
    need_program("kdb5_util", package="krb5-kdc")
    need_program("kadmin.local", package="krb5-admin-server")
    need_program("kinit", package="krb5-user")


class KDC:
    """One krb5kdc process; `faketime` ("+20m") makes its clock differ from the machine's."""

    def __init__(self, realm: str, environment: Mapping[str, str], folder: Path, port: int) -> None:
        self.realm = realm
        self.port = port
        self._environment = dict(environment)
        self._folder = folder
        self._child: Child | None = None

    def start(self, faketime: str | None = None) -> KDC:
        """Start it and wait until it listens."""
        command = [need_program("krb5kdc", package="krb5-kdc"), "-n", "-r", self.realm]
        environment = dict(self._environment)
        if faketime is not None:
            environment.update(FAKETIME=faketime, LD_PRELOAD=_faketime_library())
        output, log = self._folder / "krb5kdc.out", self._folder / "kdc.log"
        self._child = Child(command, output, environment)
        if not self._child.wait_for(lambda: listens(self.port), START_TIMEOUT):
            failed = self._child.failed(f"krb5kdc of {self.realm}", output, log)
            self.stop()
            raise failed
        return self

    def stop(self) -> None:
        """Stop it, by its process id, and wait for it."""
        child, self._child = self._child, None
        if child is not None:
            child.stop()

    @property
    def pid(self) -> int | None:
        """The process's id while it runs."""
        return None if self._child is None else self._child.pid


class Realm(ManagedServer):
    """A realm with its database, and its KDC from `start` to `stop`; a context manager.

    :param name: the realm's name
    :param max_life: the longest life of a ticket, as MIT writes it
    :param port: the KDC's port; by default a free one
    """

    def __init__(
        self, name: str = REALM, *, max_life: str = "10h", port: int | None = None
    ) -> None:
        self.name = name
        self.max_life = max_life
        self.port = port or free_port()
        self._temporary = tempfile.TemporaryDirectory(prefix="mongokey-kdc-")
        self.folder = Path(self._temporary.name)
        self.config = self.folder / "krb5.conf"
        self.kdc: KDC | None = None

    def start(self) -> Realm:
        """Make the database and start the KDC."""
        require()
        self._write()
        tool = need_program("kdb5_util", package="krb5-kdc")
        _run([tool, "create", "-s", "-r", self.name, "-P", "master", "-W"], self.environment)
        self.kdc = self.another_kdc(self.port)
        return self

    def another_kdc(self, port: int, faketime: str | None = None) -> KDC:
        """One more KDC of this realm, started, at `port`; the caller stops it."""
        profile = self.folder / f"kdc-{port}.conf"
        profile.write_text(self._profile(port))
        kdc = KDC(
            self.name,
            {**self.environment, "KRB5_KDC_PROFILE": str(profile)},
            self.folder,
            port,
        )
        return kdc.start(faketime)

    def stop(self) -> None:
        """Stop the KDC and remove all files."""
        if self.kdc is not None:
            self.kdc.stop()
        self._temporary.cleanup()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead MIT's tools and libraries to this realm and to nothing else."""
        return {
            "PATH": os.environ.get("PATH", ""),
            "LC_ALL": "C.UTF-8",
            "KRB5_CONFIG": str(self.config),
            "KRB5_KDC_PROFILE": str(self.folder / f"kdc-{self.port}.conf"),
            "KRB5CCNAME": f"FILE:{self.folder}/no.cache",
            "KRB5_KTNAME": f"FILE:{self.folder}/no.keytab",
            "KRB5_CLIENT_KTNAME": f"FILE:{self.folder}/no.client.keytab",
            "KRB5RCACHEDIR": str(self.folder),
        }

    # Clients' configuration

    def write_config(
        self,
        path: Path,
        realms: Mapping[str, int] | None = None,
        *,
        domains: Mapping[str, str] | None = None,
        library: Sequence[str] = (),
    ) -> Path:
        """Write a krb5.conf that knows `realms` (name -> port of its KDC; by default this one).

        `domains` is [domain_realm], `library` are lines for [libdefaults]. Names are taken as
        they are: no test depends on what DNS says about a loopback address.
        """
        if realms is None:
            realms = {self.name: self.port}
        lines = [
            "[libdefaults]",
            f"  default_realm = {self.name}",
            "  dns_lookup_kdc = false",
            "  dns_lookup_realm = false",
            "  dns_canonicalize_hostname = false",
            "  rdns = false",
            *(f"  {line}" for line in library),
            "[realms]",
        ]
        for name, port in realms.items():
            lines += [f"  {name} = {{", f"    kdc = {HOST}:{port}", "  }"]
        lines.append("[domain_realm]")
        lines += [f"  {domain} = {name}" for domain, name in (domains or {}).items()]
        path.write_text("\n".join(lines) + "\n")
        return path

    # Principals, keytabs and tickets

    def admin(self, *commands: str) -> str:
        """Run kadmin.local's `commands`; returns what it said. Raises RuntimeError on failure."""
        tool = need_program("kadmin.local", package="krb5-admin-server")
        said = _run([tool, "-r", self.name], self.environment, "\n".join(commands) + "\nquit\n")
        for line in said.splitlines():
            if " while " in line:
                raise RuntimeError(f"kadmin.local: {line}")
        return said

    def add_user(self, name: str, password: str, *options: str) -> str:
        """Add a user; returns its principal."""
        self._forget(_quoted(name))
        self.admin(" ".join(["addprinc", *options, "-pw", _quoted(password), _quoted(name)]))
        return f"{name}@{self.name}"

    def _forget(self, *names: str) -> None:
        """Delete principals that an earlier test has added: tests run once for each face."""
        known = self.admin("list_principals").splitlines()
        gone = [name for name in names if f"{name.strip(chr(34))}@{self.name}" in known]
        self.admin(*(f"delete_principal -force {name}" for name in gone))

    def add_service(self, *names: str, keytab: str = "service.keytab") -> Path:
        """Add services (`mongodb/host`) with random keys; returns the keytab that has them.

        `keytab` is a file name in the realm's folder, or a path.
        """
        self._forget(*names)
        self.admin(*(f"addprinc -randkey {name}" for name in names))
        return self.keytab(*names, keytab=keytab)

    def keytab(self, *names: str, keytab: str, new_keys: bool = True) -> Path:
        """Add the keys of principals to a keytab (users' too: a client keytab).

        `new_keys=False` leaves the principal's keys, and its password, as they are.
        """
        path = self.folder / keytab
        keep = "" if new_keys else "-norandkey "
        self.admin(*(f"ktadd {keep}-k {path} {name}" for name in names))
        return path

    def change_keys(self, *names: str) -> None:
        """Give services new keys, so that keytabs made before are out of date."""
        self.admin(*(f"change_password -randkey {name}" for name in names))

    def trust(self, other: Realm) -> None:
        """Let users of this realm use services of `other` (one way)."""
        for realm in (self, other):
            realm.add_user(f"krbtgt/{other.name}@{self.name}", "the realms' common secret")

    def kinit(
        self, principal: str, password: str, cache: str, *options: str, config: Path | None = None
    ) -> str:
        """Get a ticket into `cache`, a file name in the realm's folder; returns KRB5CCNAME."""
        name = f"FILE:{self.folder / cache}"
        environment = {**self.environment, "KRB5CCNAME": name}
        if config is not None:
            environment["KRB5_CONFIG"] = str(config)
        tool = need_program("kinit", package="krb5-user")
        _run([tool, *options, principal], environment, password + "\n")
        return name

    def klist(self, cache: str) -> list[str]:
        """The services that a cache, by KRB5CCNAME, has tickets for."""
        tool = need_program("klist", package="krb5-user")
        said = _run([tool, "-c", cache], self.environment)
        return [line.split()[-1] for line in said.splitlines() if line[:1].isdigit()]

    def _write(self) -> None:
        self.write_config(self.config)
        (self.folder / f"kdc-{self.port}.conf").write_text(self._profile(self.port))

    def _profile(self, port: int) -> str:
        return "\n".join(
            [
                "[kdcdefaults]",
                f"  kdc_listen = {HOST}:{port}",
                f"  kdc_tcp_listen = {HOST}:{port}",
                "[realms]",
                f"  {self.name} = {{",
                f"    database_name = {self.folder}/principal",
                f"    key_stash_file = {self.folder}/stash",
                f"    acl_file = {self.folder}/kadm5.acl",
                f"    max_life = {self.max_life}",
                "    default_principal_flags = +preauth",
                "  }",
                "[logging]",
                f"  kdc = FILE:{self.folder}/kdc.log",
                f"  admin_server = FILE:{self.folder}/admin.log",
                f"  default = FILE:{self.folder}/other.log",
                "",
            ]
        )


class KerberosDeployment(ManagedServer):
    """A realm with a user and services, and one that it trusts; a context manager.

    `keytab` has the keys of the services: mongodb and myservicename on localhost and on
    mongo.example.com in the first realm, mongodb on localhost in the other one.
    """

    def __init__(self) -> None:
        self.realm = Realm()
        self.other = Realm(OTHER_REALM)
        self.user = f"{USER}@{REALM}"
        self.keytab = self.realm.folder / "services.keytab"
        self._caches = 0

    def start(self) -> KerberosDeployment:
        """Start both realms, and fill them."""
        self.other.start()
        self.realm.start()
        self.configure(self.realm.config)
        self.realm.trust(self.other)
        self.realm.add_user(USER, PASSWORD)
        self.realm.add_service(
            "mongodb/localhost",
            "myservicename/localhost",
            "mongodb/mongo.example.com",
            keytab=str(self.keytab),
        )
        self.other.add_service("mongodb/localhost", keytab=str(self.keytab))
        return self

    def stop(self) -> None:
        """Stop both realms."""
        self.realm.stop()
        self.other.stop()

    def configure(
        self, path: Path, *, port: int | None = None, library: Sequence[str] = ()
    ) -> Path:
        """Write a krb5.conf that knows both realms; the first one's KDC may be elsewhere."""
        return self.realm.write_config(
            path,
            {REALM: port or self.realm.port, OTHER_REALM: self.other.port},
            domains={".example.com": REALM},
            library=library,
        )

    def ticket(self, *options: str, user: str | None = None, password: str = PASSWORD) -> str:
        """A new ticket in a cache of its own; returns KRB5CCNAME."""
        return self.realm.kinit(user or self.user, password, self.new_cache(), *options)

    def new_cache(self) -> str:
        """A file name for a ticket cache that is not there yet."""
        self._caches += 1
        return f"cache-{self._caches}"


@contextlib.contextmanager
def silent_kdc() -> Iterator[int]:
    """A port where a KDC seems to be that takes everything and answers nothing."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        port = free_port()
        tcp.bind((HOST, port))
        udp.bind((HOST, port))
        tcp.listen()
        yield port


def _faketime_library() -> str:
    """The library that faketime preloads. The program itself would stand between us and the KDC:
    it runs the command as a child, which outlives it."""
    tool = need_program("faketime", package="faketime")
    return _run([tool, "-f", "+0", "/usr/bin/printenv", "LD_PRELOAD"], os.environ).strip()


def _quoted(text: str) -> str:
    """`text` for kadmin's command line, where a quotation mark is written twice."""
    return '"' + text.replace('"', '""') + '"'


def _run(command: Sequence[str], environment: Mapping[str, str], typed: str = "") -> str:
    done = subprocess.run(
        command,
        env=dict(environment),
        input=typed,
        text=True,
        capture_output=True,
        timeout=COMMAND_TIMEOUT,
    )
    said = done.stdout + done.stderr
    if done.returncode != 0:
        raise RuntimeError(f"{Path(command[0]).name} failed ({done.returncode}): {said[-2000:]}")
    return said


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.servers.kdc", description=__doc__)
    parser.add_argument("--service", default="mongodb/localhost", help="a service to add")
    arguments = parser.parse_args()
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    with Realm() as realm:
        user = realm.add_user(USER, PASSWORD)
        keytab = realm.add_service(arguments.service)
        assert realm.kdc is not None
        print(
            f"KDC of {realm.name} (pid {realm.kdc.pid}) on {HOST}:{realm.port}; Ctrl-C ends it\n\n"
            f"  export KRB5_CONFIG={realm.config} KRB5CCNAME=FILE:{realm.folder}/cache\n"
            f"  kinit {user}    (the password is: {PASSWORD})\n"
            f"  the key of {arguments.service} is in {keytab}",
            flush=True,
        )
        over.wait()


if __name__ == "__main__":
    main()
