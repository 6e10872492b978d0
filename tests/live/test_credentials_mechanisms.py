"""``credentials=`` for GSSAPI with a password, against a real KDC, and MONGODB-AWS, against moto's
STS; and tickets that come by themselves: caches and keytabs that are replaced."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.auth.errors import AuthenticationFailed
from mongokey.credentials import AwsSecret, Request, Secret
from mongokey.errors import ConfigurationError, OperationFailure
from tests.live._aws import SECRET, show_no_secret
from tests.pools import drop_connections
from tests.servers.aws_cloud import AwsDeployment
from tests.servers.kdc import PASSWORD, REALM, USER, KerberosDeployment
from tests.servers.mechanism import MechanismServer
from tests.servers.mechanism.gssapi import GssapiAcceptor
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live
PRINCIPAL = f"{USER}@{REALM}"


def who(client: MongoClient) -> str:
    (user,) = client.admin.command("connectionStatus")["authInfo"]["authenticatedUsers"]
    return str(user["user"])


@pytest.mark.usefixtures("in_realm")
class TestKerberos:
    @pytest.fixture
    def server(
        self, kerberos: KerberosDeployment, open_secantus: SecantusServer
    ) -> Iterator[MechanismServer]:
        with MechanismServer(GssapiAcceptor(kerberos.keytab), backend=open_secantus) as server:
            yield server

    def test_a_password_the_kdc_refuses_is_asked_for_again(
        self, face: str, server: MechanismServer
    ) -> None:
        reasons: list[str] = []

        def provider(request: Request) -> Secret:
            assert request.mechanism == "GSSAPI"
            reasons.append(request.reason)
            return Secret(PRINCIPAL, "not this one" if len(reasons) == 1 else PASSWORD)

        with MongoClient(
            "localhost", server.port, credentials=provider, authMechanism="GSSAPI"
        ) as client:
            assert who(client) == PRINCIPAL
            assert who(client) == PRINCIPAL
        assert reasons == ["new", "refused"]

    def test_a_second_refusal_says_both(self, face: str, server: MechanismServer) -> None:
        def provider(request: Request) -> Secret:
            return Secret(PRINCIPAL, "not this one")

        with MongoClient(
            "localhost", server.port, credentials=provider, authMechanism="GSSAPI"
        ) as client:
            with pytest.raises(AuthenticationFailed, match="gave the same secret as") as failed:
                who(client)
        assert "KRB-" in str(failed.value)

    def test_a_ticket_cache_that_is_replaced_is_used_by_the_next_login(
        self,
        face: str,
        library: str,
        server: MechanismServer,
        kerberos: KerberosDeployment,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        path = tmp_path / "tickets"
        monkeypatch.setenv("KRB5CCNAME", f"FILE:{path}")

        def renew() -> None:
            made = kerberos.ticket().removeprefix("FILE:")
            os.replace(made, path)

        renew()
        with MongoClient(
            "localhost", server.port, username=PRINCIPAL, authMechanism="GSSAPI"
        ) as client:
            assert who(client) == PRINCIPAL
            path.unlink()
            drop_connections(client)
            with pytest.raises(OperationFailure, match="KRB-"):
                who(client)
            renew()
            assert who(client) == PRINCIPAL

    def test_a_client_keytab_that_is_replaced_is_used_by_the_next_login(
        self,
        face: str,
        library: str,
        server: MechanismServer,
        kerberos: KerberosDeployment,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        name = f"rotating-{library.rpartition(':')[2]}"
        robot = kerberos.realm.add_user(name, "never typed")
        path = tmp_path / "client.keytab"
        monkeypatch.setenv("KRB5_CLIENT_KTNAME", f"FILE:{path}")
        monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path / 'tickets'}")
        os.replace(kerberos.realm.keytab(name, keytab=str(tmp_path / "new")), path)
        with MongoClient(
            "localhost", server.port, username=robot, authMechanism="GSSAPI"
        ) as client:
            assert who(client) == robot
            # Its keys are changed, and the tickets that the old ones got are gone.
            os.replace(
                kerberos.realm.keytab(name, keytab=str(tmp_path / "newer")), tmp_path / "kept"
            )
            (tmp_path / "tickets").unlink()
            drop_connections(client)
            with pytest.raises(OperationFailure, match="KRB-"):
                who(client)
            os.replace(tmp_path / "kept", path)
            assert who(client) == robot


class TestAws:
    def test_keys_that_are_refused_are_asked_for_again(
        self, face: str, deployment: AwsDeployment
    ) -> None:
        key = deployment.user
        reasons: list[str] = []

        def provider(request: Request) -> AwsSecret:
            assert request.mechanism == "MONGODB-AWS"
            reasons.append(request.reason)
            return AwsSecret(key.access_key, SECRET if len(reasons) == 1 else key.secret_key)

        with self.client(deployment, provider) as client:
            client["x"]["y"].find_one()
        assert reasons == ["new", "refused"]

    def test_temporary_keys_and_their_end(self, face: str, deployment: AwsDeployment) -> None:
        """In the form that AWS_CREDENTIAL_PROVIDER may give: the answer of STS."""
        key = deployment.session()
        reasons: list[str] = []
        ends_in = [timedelta(minutes=4), timedelta(hours=1), timedelta(hours=1)]

        def provider(request: Request) -> dict[str, Any]:
            reasons.append(request.reason)
            return {
                "AccessKeyId": key.access_key,
                "SecretAccessKey": key.secret_key,
                "SessionToken": key.token,
                "Expiration": datetime.now(timezone.utc) + ends_in[len(reasons) - 1],
            }

        with self.client(deployment, provider) as client:
            for _ in range(3):
                client["x"]["y"].find_one()
                drop_connections(client)
        # Five minutes before they end they are asked for again.
        assert reasons == ["new", "expired"]

    def test_what_is_no_keys(self, face: str, deployment: AwsDeployment) -> None:
        for given in ({"AccessKeyId": "AKIA"}, "AKIA", None, Secret("AKIA", SECRET)):

            def provider(request: Request) -> Any:
                return given  # noqa: B023 - called in this round

            with self.client(deployment, provider) as client:
                with pytest.raises(ConfigurationError, match="provider") as failed:
                    client["x"]["y"].find_one()
            show_no_secret(deployment, [str(failed.value)])

    def client(self, deployment: AwsDeployment, provider: Callable[[Request], Any]) -> MongoClient:
        return MongoClient(deployment.uri(directConnection=True), credentials=provider)
