"""A MongoDB server with MONGODB-AWS in a small AWS, and an environment to reach both from.

Puts the other modules together for a test; moto is imported only once a cloud starts. Must not
know the code under test.
"""

from __future__ import annotations

import contextlib
import secrets
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.servers.aws_cloud.environment import Environment, only_loopback
from tests.servers.aws_cloud.metadata import Imds
from tests.servers.managed_server import ManagedServer
from tests.servers.mechanism import MechanismServer
from tests.servers.mechanism.aws import AwsAcceptor, AwsKey, StsEndpoint
from tests.servers.needs import need_module
from tests.servers.secantus import SecantusServer

if TYPE_CHECKING:
    from tests.servers.aws_cloud.sts import Issuer, Sts


class AwsCloud(ManagedServer):
    """STS with a trusted issuer, and what stays the same for all tests of a file."""

    sts: Sts
    issuer: Issuer

    def __init__(self, backend: SecantusServer) -> None:
        self.backend = backend
        self._open = contextlib.ExitStack()

    def start(self) -> AwsCloud:
        need_module("boto3", extra="aws")
        need_module("moto.server", extra="test")
        from tests.servers.aws_cloud.sts import Issuer, Sts

        self.issuer = Issuer()
        self.sts = self._open.enter_context(Sts(self.issuer))
        return self

    def stop(self) -> None:
        self._open.close()


class AwsDeployment(ManagedServer):
    """For one test: `server` asks `acceptor`, which knows what `sts` issued and asks it too.

    `environment` is the test process's; AWS_ENDPOINT_URL_STS is set in it. `refused` are the
    addresses beyond loopback that somebody tried to reach: stopping fails unless it is
    empty. `user` is a key pair of an IAM user.
    """

    def __init__(self, cloud: AwsCloud, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        self.cloud = cloud
        self.sts = cloud.sts
        self.issuer = cloud.issuer
        self.sts.reset()
        self.environment = Environment(monkeypatch, home)
        self.environment.set(AWS_ENDPOINT_URL_STS=self.sts.endpoint)
        self.refused = only_loopback(monkeypatch)
        self.user = self.new_user()
        self.acceptor = AwsAcceptor(stores=[self.sts.find_key], sts=StsEndpoint(self.sts.address))
        self.server = MechanismServer(
            self.acceptor,
            backend=cloud.backend,
            hello={"localTime": datetime.now(timezone.utc)},
        )
        self._open = contextlib.ExitStack()

    def start(self) -> AwsDeployment:
        self._open.enter_context(self.server)
        return self

    def stop(self) -> None:
        self._open.close()
        assert not self.refused

    def new_user(self, secret_key: str | None = None) -> AwsKey:
        """A new IAM user's key pair, with this secret key if one is given."""
        return self.sts.create_user(f"user-{secrets.token_hex(4)}", secret_key)

    def session(self, role: str = "app", lifetime: float = 3600.0) -> AwsKey:
        """Temporary credentials of a role, in a session of their own."""
        return self.sts.assume_role(role, f"session-{secrets.token_hex(4)}", lifetime)

    def imds(self, lifetime: float = 6 * 3600.0) -> Imds:
        """A started metadata service, which the environment points to."""
        imds = Imds(lambda: self.session("ec2-role", lifetime))
        self._open.enter_context(imds)
        self.environment.set(AWS_EC2_METADATA_SERVICE_ENDPOINT=imds.url)
        return imds

    def run(self, service: contextlib.AbstractContextManager[object]) -> None:
        """Run a service until the deployment ends."""
        self._open.enter_context(service)

    def uri(self, **options: Any) -> str:
        """The connection string without keys."""
        return self.server.uri(authMechanism="MONGODB-AWS", **options)

    def sts_calls(self, but: str = "GetCallerIdentity") -> list[str]:
        """What clients asked STS for; the server's own questions are left out."""
        return [action for action in self.sts.actions() if action != but]
