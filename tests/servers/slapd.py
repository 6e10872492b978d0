"""A real LDAP server for tests: OpenLDAP's slapd, in a directory of its own on a free port.

This module knows how to set up and start slapd, and its users; it must not know MongoDB nor the
code under test. Nothing of the system is touched; the process is stopped by its own pid.

From a shell, `python -m tests.servers.slapd` starts one to play with.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.servers.certificates import Authority
from tests.servers.child import Child, free_ports, listens
from tests.servers.managed_server import ManagedServer
from tests.servers.needs import missing, need_program

HOST = "127.0.0.1"
SUFFIX = "dc=example,dc=org"
PEOPLE = f"ou=people,{SUFFIX}"
SCHEMAS = Path("/etc/ldap/schema")
#: Where distributions keep slapd's modules.
MODULES = ("/usr/lib/ldap", "/usr/lib64/openldap", "/usr/lib/openldap", "/usr/libexec/openldap")
START_TIMEOUT = 20.0
#: So many wrong passwords lock an account, where a server is not told otherwise.
MAX_FAILURES = 3

#: Name -> password. Names are as a user types them; slapd's form is `Slapd`'s to write.
USERS: Mapping[str, str] = {
    "ann": "pencil",
    "locked": "pencil-locked",
    "clumsy": "pencil-clumsy",
    # Every character that RFC 4514, URIs or SASL could stumble over.
    'o\'hara, "x" + y; <z> = #1\\2@h/p:q?r%s': "p:a@s/s?w#o[r]d%=,+& x",
    "ж\u00fcrgen \U0001f511": "\u00fcn\u00efc\u00f6d\u00e9 \u5bc6\u7801 \U0001f511",
    "long": "x" * 5000,
}
#: The users of `USERS` whose accounts are locked for good.
LOCKED = ("locked",)

_CONFIGURATION = """\
include {schemas}/core.schema
include {schemas}/cosine.schema
include {schemas}/inetorgperson.schema
pidfile {folder}/slapd.pid
modulepath {modules}
moduleload back_mdb
moduleload ppolicy
TLSCACertificateFile {authority}
TLSCertificateFile {certificate}
TLSCertificateKeyFile {key}
database mdb
maxsize 16777216
suffix "{suffix}"
rootdn "cn=root,{suffix}"
directory {folder}/data
overlay ppolicy
ppolicy_default "cn=default,{suffix}"
ppolicy_use_lockout
"""

_ENTRIES = f"""\
dn: {SUFFIX}
objectClass: organization
objectClass: dcObject
o: Example
dc: example

dn: cn=default,{SUFFIX}
objectClass: device
objectClass: pwdPolicy
cn: default
pwdAttribute: userPassword
pwdLockout: TRUE
pwdMaxFailure: {{failures}}

dn: {PEOPLE}
objectClass: organizationalUnit
ou: people
"""


class Slapd(ManagedServer):
    """A slapd with `users` (name -> password) under `base`; use it by `with`.

    `url` and `secure_url` are its addresses, without and with TLS; the former also upgrades by
    StartTLS. Its certificate is for 127.0.0.1 and `host_name`, issued by the authority of
    `ca_file`.
    """

    base = PEOPLE
    host_name = "slapd.test"

    def __init__(
        self, users: Mapping[str, str] = USERS, *, max_failures: int = MAX_FAILURES
    ) -> None:
        self.users = users
        self.max_failures = max_failures
        self.port = 0
        self.secure_port = 0
        self._program = need_program("slapd", package="slapd")
        self._adder = need_program("slapadd", package="slapd")
        self._modules = next((path for path in MODULES if Path(path).is_dir()), None)
        if self._modules is None or not SCHEMAS.is_dir():
            missing(f"slapd's modules or {SCHEMAS} are not there: apt install slapd")
        self._folder: Path | None = None
        self._child: Child | None = None

    @property
    def url(self) -> str:
        return f"ldap://{HOST}:{self.port}"

    @property
    def secure_url(self) -> str:
        return f"ldaps://{HOST}:{self.secure_port}"

    @property
    def ca_file(self) -> str:
        assert self._folder is not None
        return str(self._folder / "authority.crt")

    def start(self) -> Slapd:
        """Make directory and data, and start the process; again after `stop`, with new ports."""
        self._folder = Path(tempfile.mkdtemp(prefix="mongokey-slapd-"))
        self._set_up(self._folder)
        self._run(self._folder)
        return self

    def stop(self) -> None:
        """Stop the process, wait for it, and remove its directory."""
        self.halt()
        folder, self._folder = self._folder, None
        if folder is not None:
            shutil.rmtree(folder)

    def halt(self) -> None:
        """Stop the process only: from now on its ports refuse connections."""
        child, self._child = self._child, None
        if child is not None:
            child.signal(signal.SIGCONT)
            child.stop()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside of the `with`, the server accepts connections and answers nothing."""
        assert self._child is not None
        self._child.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._child.signal(signal.SIGCONT)

    def _set_up(self, folder: Path) -> None:
        (folder / "data").mkdir()
        authority = Authority(folder)
        pair = authority.issue("slapd", HOST, self.host_name)
        configuration = folder / "slapd.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                schemas=SCHEMAS,
                modules=self._modules,
                folder=folder,
                suffix=SUFFIX,
                authority=authority.certificate_file,
                certificate=pair.certificate_file,
                key=pair.key_file,
            )
        )
        entries = [
            _ENTRIES.format(failures=self.max_failures),
            *(_person(name, word) for name, word in self.users.items()),
        ]
        done = subprocess.run(
            [self._adder, "-f", str(configuration)],
            input="\n".join(entries).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=START_TIMEOUT,
        )
        if done.returncode:
            raise RuntimeError(f"slapadd failed:\n{done.stdout.decode(errors='replace')[-4000:]}")

    def _run(self, folder: Path) -> None:
        self.port, self.secure_port = ports = free_ports(2)
        log = folder / "log"
        # With -d it stays in the foreground.
        command = [self._program, "-d", "0", "-f", str(folder / "slapd.conf")]
        self._child = Child([*command, "-h", f"{self.url} {self.secure_url}"], log)
        if not self._child.wait_for(lambda: all(map(listens, ports)), START_TIMEOUT):
            raise self._child.failed("slapd", log)


def _person(name: str, password: str) -> str:
    salt = os.urandom(8)
    hashed = base64.b64encode(hashlib.sha1(password.encode() + salt).digest() + salt).decode()
    # In LDIF two colons announce base64, in a distinguished name a backslash hexadecimal digits:
    # nothing else has to be known about special characters.
    dn = "uid=" + "".join(f"\\{byte:02x}" for byte in name.encode()) + f",{PEOPLE}"
    encoded = base64.b64encode(name.encode()).decode()
    lines = [
        f"dn: {dn}",
        "objectClass: inetOrgPerson",
        f"uid:: {encoded}",
        f"cn:: {encoded}",
        f"sn:: {encoded}",
        f"userPassword: {{SSHA}}{hashed}",
    ]
    if name in LOCKED:
        lines.append("pwdAccountLockedTime: 000001010000Z")  # for ever
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    with Slapd() as server:
        print(f"{server.url} {server.secure_url} (CA: {server.ca_file}); users of {server.base}:")
        for user, word in server.users.items():
            print(f"  {user!r}: {word if len(word) < 80 else f'{len(word)} characters'!r}")
        print("Ends with standard input.")
        sys.stdin.read()
