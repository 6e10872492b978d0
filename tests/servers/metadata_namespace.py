"""A machine of a cloud, as namespaces of Linux: the metadata services at their real addresses.

`run(cloud, *programs)` runs Python programs in a network and mount namespace of their own, where
169.254.169.254 is on loopback and metadata.google.internal is its name, with a provider, the
metadata service and a server that asks for MONGODB-OIDC. Knows `unshare`, `ip` and `mount`; must
not know the code under test: the programs are the caller's, and import what they test.

`python -m tests.servers.metadata_namespace CLOUD` is the inside; it is not for other namespaces.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.servers.needs import need_program

ROOT = Path(__file__).resolve().parents[2]
LINK_LOCAL = "169.254.169.254"
GCP_NAMES = "metadata.google.internal metadata"
SERVICE_ACCOUNT = "var/run/secrets/kubernetes.io/serviceaccount"
#: What the documentation's examples call the audience and the client id. They run as they are.
AUDIENCE = "<audience>"
CLIENT_ID = "<client_id>"
SUBJECT = "a-machine"
TIMEOUT = 60.0


@dataclass(frozen=True)
class Outcome:
    """What a program did: its output, its error (a traceback, or None), the warnings it gave,
    who logged in, and which requests the metadata service got (path with query, host)."""

    output: str
    error: str | None
    warnings: list[str]
    identities: list[str]
    requests: list[list[str]]


def run(cloud: str, *programs: str, host: str = "127.0.0.1") -> list[Outcome]:
    """Run programs, one after another, on a machine of `cloud`: azure, gcp, or gke (a pod with a
    service account). MONGODB_URI is the server's, whose address is `host`.

    Skips the test where the machine does not allow namespaces, under CI too: what may be allowed is
    the machine's to say, and nothing that can be installed.
    """
    unshare = need_program("unshare", package="util-linux")
    need_program("ip", package="iproute2")
    need_program("mount", package="mount")
    command = [unshare, *([] if os.geteuid() == 0 else ["--map-root-user"]), "--net", "--mount"]
    allowed = subprocess.run([*command, "true"], capture_output=True, text=True, timeout=TIMEOUT)
    if allowed.returncode != 0:
        pytest.skip(f"this machine allows no namespaces: {allowed.stderr.strip()}")
    done = subprocess.run(
        [*command, sys.executable, "-m", "tests.servers.metadata_namespace", cloud, host],
        input=json.dumps(programs),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if done.returncode != 0:
        raise RuntimeError(f"the namespace ended with status {done.returncode}:\n{done.stderr}")
    return [Outcome(**outcome) for outcome in json.loads(done.stdout.splitlines()[-1])]


# --- inside ------------------------------------------------------------------------------


def _prepare(folder: Path) -> None:
    def system(*command: str) -> None:
        subprocess.run(command, check=True, timeout=TIMEOUT, stdout=sys.stderr)

    ip, mount = need_program("ip", package="iproute2"), need_program("mount", package="mount")
    system(ip, "link", "set", "lo", "up")
    system(ip, "address", "add", f"{LINK_LOCAL}/32", "dev", "lo")
    # Nothing that is mounted here may show outside.
    system(mount, "--make-rprivate", "/")
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{LINK_LOCAL} {GCP_NAMES}\n")
    system(mount, "--bind", str(hosts), "/etc/hosts")


@contextlib.contextmanager
def _pod(folder: Path, token: str) -> Iterator[None]:
    """A pod's service account: its token, where Kubernetes puts it."""
    (folder / SERVICE_ACCOUNT).mkdir(parents=True)
    (folder / SERVICE_ACCOUNT / "token").write_text(token)
    # /var/run is a link to /run, of which only this namespace gets another one.
    place = os.path.realpath("/var/run")
    mount, umount = (need_program(name, package="mount") for name in ("mount", "umount"))
    subprocess.run(
        [mount, "--bind", str(folder / "var" / "run"), place], check=True, timeout=TIMEOUT
    )
    try:
        yield
    finally:
        subprocess.run([umount, place], check=True, timeout=TIMEOUT)


@contextlib.contextmanager
def _machine(cloud: str, host: str, folder: Path) -> Iterator[tuple[Any, Any]]:
    from tests.servers.mechanism import MechanismServer
    from tests.servers.mechanism.oidc import IdentityProvider, OIDCAcceptor
    from tests.servers.metadata import AzureMetadata, GCPMetadata
    from tests.servers.oidc_issuer import Issuer

    with contextlib.ExitStack() as stack:
        issuer = stack.enter_context(Issuer())
        metadata: AzureMetadata | GCPMetadata | None = None
        if cloud == "azure":
            identities = {CLIENT_ID: SUBJECT}
            metadata = AzureMetadata(issuer, identities, host=LINK_LOCAL, port=80)
        elif cloud == "gcp":
            metadata = GCPMetadata(issuer, SUBJECT, host=LINK_LOCAL, port=80)
        elif cloud == "gke":
            stack.enter_context(_pod(folder, issuer.token(SUBJECT, AUDIENCE)))
        else:
            raise ValueError(f"no cloud is called {cloud!r}")
        if metadata is not None:
            stack.enter_context(metadata)
        provider = IdentityProvider(issuer.url, AUDIENCE, cloud, human=False)
        server = MechanismServer(OIDCAcceptor(provider), backend=None, host=host)
        yield stack.enter_context(server), metadata


def _execute(program: str) -> tuple[str, str | None, list[str]]:
    output = io.StringIO()
    error = None
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(output):
        warnings.simplefilter("always")
        namespace: dict[str, Any] = {"__name__": "__main__"}
        try:
            exec(compile(program, "program", "exec"), namespace)
        except Exception:
            error = traceback.format_exc()
    return output.getvalue(), error, [str(each.message) for each in caught]


def _outcome(program: str, server: Any, metadata: Any) -> Outcome:
    logins = len(server.records)
    asked = 0 if metadata is None else len(metadata.requests)
    output, error, warned = _execute(program)
    requests = [] if metadata is None else metadata.requests[asked:]
    return Outcome(
        output,
        error,
        warned,
        [record.identity for record in server.records[logins:]],
        [[f"{each.path}?{each.raw_query}", each.headers["host"]] for each in requests],
    )


def main(cloud: str, host: str) -> None:
    programs = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as name:
        _prepare(Path(name))
        with _machine(cloud, host, Path(name)) as (server, metadata):
            os.environ["MONGODB_URI"] = server.uri()
            outcomes = [_outcome(program, server, metadata) for program in programs]
        print(json.dumps([asdict(outcome) for outcome in outcomes]), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
