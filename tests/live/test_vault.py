"""`from_vault` against a real OpenBao server, whose database secrets engine makes users of the real
database: leases, renewals, users that are removed, static roles, KV version 2."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.auth.errors import ProviderFailed
from mongokey.credentials import Request, Secret, from_vault
from tests.pools import drop_connections
from tests.servers.openbao import OpenBao
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def bao(secantus: SecantusServer) -> Iterator[OpenBao]:
    with OpenBao(secantus) as bao:
        yield bao


def request(reason: Any = "new") -> Request:
    return Request(None, None, ("db.example.com", 27017), reason)


def who(client: MongoClient) -> str:
    (user,) = client.admin.command("connectionStatus")["authInfo"]["authenticatedUsers"]
    return str(user["user"])


class Noted:
    """A provider, and what it was asked for."""

    def __init__(self, provider: from_vault) -> None:
        self.provider = provider
        self.name = provider.name
        self.reasons: list[str] = []

    def __call__(self, request: Request) -> Any:
        self.reasons.append(request.reason)
        return self.provider(request)


def test_a_user_is_made_for_the_asking_and_another_when_it_was_removed(
    face: str, secantus: SecantusServer, bao: OpenBao
) -> None:
    bao.make_role("app", ttl_s=3600, max_ttl_s=7200)
    provider = Noted(from_vault(bao.client(), role="app"))
    with MongoClient(secantus.host, secantus.port, credentials=provider) as client:
        first = who(client)
        assert first in bao.users
        drop_connections(client)
        assert who(client) == first
        # Somebody revokes it: the database does not know that user any more.
        bao.client().sys.revoke_prefix(prefix="database/creds/app")
        assert first not in bao.users
        drop_connections(client)
        second = who(client)
        assert second != first
        assert second in bao.users
    assert provider.reasons == ["new", "refused"]
    assert provider.name == "from_vault(database/app)"


def test_a_lease_is_renewed_until_its_longest_life_and_then_there_is_another_user(
    bao: OpenBao,
) -> None:
    bao.make_role("short", ttl_s=30, max_ttl_s=40)
    provider = from_vault(bao.client(), role="short")
    first = provider(request())
    assert first.expires_in_s == pytest.approx(20)
    assert provider._lease is not None
    lease = provider._lease.id
    before = bao.client().sys.read_lease(lease_id=lease)["data"]
    time.sleep(1.1)  # leases are counted in whole seconds
    renewed = provider(request("expired"))
    assert renewed == first
    assert renewed.expires_in_s == pytest.approx(20)
    after = bao.client().sys.read_lease(lease_id=lease)["data"]
    assert after["expire_time"] > before["expire_time"]
    # As if its longest life were nearly over: what is left is less than half of what is asked for.
    provider._lease.seconds = 200
    other = provider(request("expired"))
    assert other.username != first.username
    # And one that Vault does not know any more cannot be renewed.
    bao.client().sys.revoke_lease(lease_id=provider._lease.id)
    assert provider(request("expired")).username not in (first.username, other.username)


def test_while_vault_cannot_be_reached_the_lease_is_used_to_its_end(bao: OpenBao) -> None:
    bao.make_role("app", ttl_s=3600, max_ttl_s=7200)
    reachable = [bao.client()]
    provider = from_vault(lambda: reachable[0], role="app")
    first = provider(request())
    gone = bao.client()
    gone.adapter.base_uri = "http://127.0.0.1:1"
    reachable[0] = gone
    kept = provider(request("expired"))
    assert kept == first
    assert kept.expires_in_s == 10
    with pytest.raises(OSError, match=r"127\.0\.0\.1"):
        provider(request("refused"))


def test_a_secret_of_kv_version_2(face: str, secantus: SecantusServer, bao: OpenBao) -> None:
    made: dict[str, Any] = {"createUser": "kept", "pwd": "first", "mechanisms": ["SCRAM-SHA-256"]}
    made["roles"] = [{"role": "root", "db": "admin"}]
    assert secantus.command("admin", made)["ok"] == 1
    store = bao.client().secrets.kv.v2
    store.create_or_update_secret(path="app/db", secret={"username": "kept", "password": "first"})
    provider = Noted(from_vault(bao.client(), path="app/db"))
    try:
        with MongoClient(secantus.host, secantus.port, credentials=provider) as client:
            assert who(client) == "kept"
            changed = {"username": "kept", "password": "second"}
            store.create_or_update_secret(path="app/db", secret=changed)
            secantus.command("admin", {"updateUser": "kept", "pwd": "second"})
            drop_connections(client)
            assert who(client) == "kept"
        assert provider.reasons == ["new", "refused"]
    finally:
        secantus.command("admin", {"dropUser": "kept"})


def test_a_static_role_is_asked_again_when_vault_rotates_it(
    secantus: SecantusServer, bao: OpenBao
) -> None:
    made = {
        "createUser": "fixed",
        "pwd": "by hand",
        "roles": [{"role": "root", "db": "admin"}],
        "mechanisms": ["SCRAM-SHA-256"],
    }
    assert secantus.command("admin", made)["ok"] == 1
    try:
        bao.client().secrets.database.create_static_role(
            name="fixed",
            db_name="mongo",
            username="fixed",
            rotation_statements=["SET PASSWORD FOR \"{{username}}\" = '{{password}}'"],
            rotation_period="3600s",
        )
        provider = from_vault(bao.client(), static_role="fixed")
        first = provider(request())
        assert first.username == "fixed"
        assert first.expires_in_s is not None
        assert 0 < first.expires_in_s <= 3600
        with MongoClient(secantus.host, secantus.port, credentials=provider) as client:
            assert who(client) == "fixed"
            bao.client().secrets.database.rotate_static_role_credentials(name="fixed")
            drop_connections(client)
            assert who(client) == "fixed"
        assert provider(request()) != first
    finally:
        bao.client().secrets.database.delete_static_role(name="fixed")
        secantus.command("admin", {"dropUser": "fixed"})


def test_what_vault_refuses_is_the_cause(face: str, secantus: SecantusServer, bao: OpenBao) -> None:
    provider = from_vault(bao.client(), role="no-such-role")
    with MongoClient(secantus.host, secantus.port, credentials=provider) as client:
        with pytest.raises(ProviderFailed, match=r"from_vault\(database/no-such-role\)") as failed:
            client.admin.command("ping")
    assert type(failed.value.__cause__).__module__.startswith("hvac")


def test_exactly_one_of_its_three_kinds() -> None:
    for given in ({}, {"role": "a", "path": "b"}):
        with pytest.raises(ValueError, match="exactly one of role, static_role and path"):
            from_vault(None, **given)
    assert Secret("a", "b") == Secret("a", "b", 5)
