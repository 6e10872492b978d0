"""A process environment and a home in which nothing of the machine's AWS set-up is left.

Knows which variables and files boto3 reads, and how to keep a process from asking the real AWS.
Must not know what is under test.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import shlex
import socket
import sys
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.servers.aws_cloud.metadata import credentials_document
from tests.servers.child import free_port
from tests.servers.mechanism.aws import AwsKey

#: Variables besides AWS_* that decide where boto3 looks, or by which way it goes there.
OTHERS = ("BOTO_CONFIG", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE")


class Environment:
    """`os.environ` without AWS_*, and a HOME of its own, until the test ends.

    A machine without an instance metadata service is the start: its endpoint is a loopback port
    that nobody listens on, so that a fruitless search takes no time.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        self._monkeypatch = monkeypatch
        self.home = home
        for name in list(os.environ):
            if name.upper().startswith("AWS_") or name.upper() in OTHERS:
                monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("USERPROFILE", str(home))
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{free_port()}/")

    def set(self, **variables: str | None) -> None:
        """Set variables; None deletes one."""
        for name, value in variables.items():
            if value is None:
                self._monkeypatch.delenv(name, raising=False)
            else:
                self._monkeypatch.setenv(name, value)

    def set_key(self, key: AwsKey) -> None:
        """The three variables of a key."""
        self.set(
            AWS_ACCESS_KEY_ID=key.access_key,
            AWS_SECRET_ACCESS_KEY=key.secret_key,
            AWS_SESSION_TOKEN=key.token,
        )

    def write(self, name: str, text: str) -> Path:
        """A file below HOME."""
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def credentials_file(
        self, profiles: Mapping[str, AwsKey], name: str = ".aws/credentials"
    ) -> Path:
        """A shared credentials file with these profiles."""
        lines = []
        for profile, key in profiles.items():
            lines += [
                f"[{profile}]",
                f"aws_access_key_id = {key.access_key}",
                f"aws_secret_access_key = {key.secret_key}",
            ]
            if key.token is not None:
                lines.append(f"aws_session_token = {key.token}")
        return self.write(name, "\n".join(lines) + "\n")

    def config_file(self, sections: Mapping[str, Mapping[str, str]]) -> Path:
        """The config file ~/.aws/config; section names as they stand in it ("profile x")."""
        lines = []
        for section, settings in sections.items():
            lines.append(f"[{section}]")
            lines += [f"{name} = {value}" for name, value in settings.items()]
        return self.write(".aws/config", "\n".join(lines) + "\n")

    def sso_token(self, session: str, start_url: str, region: str, access_token: str) -> Path:
        """What `aws sso login` leaves behind for an sso-session."""
        now = datetime.now(timezone.utc)
        document = {
            "startUrl": start_url,
            "region": region,
            "accessToken": access_token,
            "expiresAt": (now + timedelta(hours=8)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        name = hashlib.sha1(session.encode(), usedforsecurity=False).hexdigest()
        return self.write(f".aws/sso/cache/{name}.json", json.dumps(document))

    def process(self, key: AwsKey, count: str = "runs") -> str:
        """A command for credential_process that prints this key; each run adds a line to the
        file `count` below HOME."""
        document: dict[str, Any] = {"Version": 1}
        if key.token is None:
            document |= {"AccessKeyId": key.access_key, "SecretAccessKey": key.secret_key}
        else:
            document |= credentials_document(key)
            document["SessionToken"] = document.pop("Token")
        # Run by a script, so that the secret stands in no command line.
        script = self.write(
            f"{count}.py",
            f"open({str(self.home / count)!r}, 'a').write('run\\n')\n"
            f"print({json.dumps(document)!r})\n",
        )
        return f"{shlex.quote(sys.executable)} -I {shlex.quote(str(script))}"

    def runs(self, count: str = "runs") -> int:
        """How often the command of `process` ran."""
        path = self.home / count
        return len(path.read_text().splitlines()) if path.exists() else 0


def only_loopback(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let sockets of Python's connect to loopback only; gives the list of refused targets.

    A refused connect fails as on a machine without a network.
    """
    refused: list[str] = []
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex
    getaddrinfo = socket.getaddrinfo

    def allowed(host: object) -> bool:
        if host in (None, "", "localhost"):
            return True
        try:
            return ipaddress.ip_address(str(host).partition("%")[0]).is_loopback
        except ValueError:
            return False

    def refuse(host: object) -> OSError:
        refused.append(str(host))
        return OSError(101, f"Network is unreachable: {host} is not loopback")

    def guarded(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not allowed(address[0]):
            raise refuse(address[0])
        connect(self, address)

    def guarded_ex(self: socket.socket, address: Any) -> int:
        if isinstance(address, tuple) and not allowed(address[0]):
            return refuse(address[0]).errno or 101
        return connect_ex(self, address)

    def resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not allowed(host.decode() if isinstance(host, bytes) else host):
            refuse(host)
            raise socket.gaierror(socket.EAI_NONAME, f"{host} is not loopback")
        return getaddrinfo(host, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_ex)
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return refused
