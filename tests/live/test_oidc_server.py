"""The OIDC server side is right by PyMongo's measure too, and refuses what a MongoDB refuses."""

from __future__ import annotations

import base64
import json
from typing import Any

import bson
import pytest

from tests.servers.mechanism.acceptor import Continue, Done, Refused, Session
from tests.servers.mechanism.oidc import OIDCAcceptor
from tests.servers.needs import need_module
from tests.servers.oidc_deployment import (
    AUDIENCE,
    MACHINE,
    SHELL,
    USER_1,
    USER_2,
    Driver,
    OIDCDeployment,
    post,
)
from tests.servers.oidc_issuer import ES256, RS256

pytestmark = pytest.mark.live

jwk = need_module("joserfc.jwk", extra="test")


@pytest.fixture
def acceptor(stage: OIDCDeployment) -> OIDCAcceptor:
    people, others, machines = stage.providers()
    return OIDCAcceptor(people, others, machines, clock=stage.issuer.now)


@pytest.fixture(scope="module", params=["mongokey", "pymongo"])
def driver(request: pytest.FixtureRequest) -> Driver:
    return Driver(request.param)


def jwt_step(acceptor: OIDCAcceptor, token: Any) -> Any:
    return acceptor.begin(Session(1, False)).step(bson.encode({"jwt": token}))


def why_refused(acceptor: OIDCAcceptor, token: Any) -> str:
    with pytest.raises(Refused) as caught:
        jwt_step(acceptor, token)
    assert caught.value.reply["errmsg"] == "Authentication failed."
    return caught.value.detail


@pytest.mark.parametrize("algorithm", [RS256, ES256])
def test_a_good_token_proves_its_subject(
    stage: OIDCDeployment, acceptor: OIDCAcceptor, algorithm: str
) -> None:
    outcome = jwt_step(acceptor, stage.machine_token(algorithm=algorithm))
    assert outcome == Done(f"machines/{MACHINE}")


def test_a_token_for_several_audiences_is_good(
    stage: OIDCDeployment, acceptor: OIDCAcceptor
) -> None:
    token = stage.machines.token(MACHINE, ["elsewhere", AUDIENCE])
    assert isinstance(jwt_step(acceptor, token), Done)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": 1}, "ExpiredTokenError"),
        ({"exp": None}, "exp"),
        ({"nbf": 9_999_999_999}, "not yet valid"),
        ({"iss": "http://127.0.0.1:1"}, "no provider for iss"),
        ({"iss": None}, "no provider for iss None"),
        ({"aud": "elsewhere"}, "no provider for iss"),
        ({"aud": None}, "no provider for iss"),
        ({"sub": None}, "sub"),
    ],
)
def test_a_wrong_claim_is_refused(
    stage: OIDCDeployment, acceptor: OIDCAcceptor, claims: dict[str, Any], reason: str
) -> None:
    assert reason in why_refused(acceptor, stage.machine_token(claims=claims))


@pytest.mark.parametrize("algorithm", [RS256, ES256])
def test_a_token_signed_with_another_key_is_refused(
    stage: OIDCDeployment, acceptor: OIDCAcceptor, algorithm: str
) -> None:
    key: Any = (
        jwk.RSAKey.generate_key(2048) if algorithm == RS256 else jwk.ECKey.generate_key("P-256")
    )
    token = stage.machine_token(algorithm=algorithm, key=key)
    assert "BadSignatureError" in why_refused(acceptor, token)


def test_an_unsigned_or_altered_token_is_refused(
    stage: OIDCDeployment, acceptor: OIDCAcceptor
) -> None:
    header, claims, signature = stage.machine_token().split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).decode().rstrip("=")
    assert why_refused(acceptor, f"{none}.{claims}.")
    altered = json.loads(base64.urlsafe_b64decode(claims + "=="))
    altered["sub"] = "root"
    other = base64.urlsafe_b64encode(json.dumps(altered).encode()).decode().rstrip("=")
    assert "BadSignatureError" in why_refused(acceptor, f"{header}.{other}.{signature}")
    for garbage in ("", "x", "a.b.c", "e30.e30.", f"{header}.{claims}"):
        assert why_refused(acceptor, garbage)


def test_keys_are_fetched_again_after_a_rotation(
    stage: OIDCDeployment, acceptor: OIDCAcceptor
) -> None:
    before = stage.machine_token()
    jwt_step(acceptor, before)
    fetched = stage.machines.count("/keys")
    jwt_step(acceptor, stage.machine_token())
    assert stage.machines.count("/keys") == fetched
    stage.machines.rotate()
    jwt_step(acceptor, stage.machine_token())
    assert stage.machines.count("/keys") == fetched + 1
    assert "kid" in why_refused(acceptor, before).lower()


def test_a_principal_selects_its_provider(stage: OIDCDeployment, acceptor: OIDCAcceptor) -> None:
    infos = {}
    for principal in (USER_1, USER_2, MACHINE):
        exchange = acceptor.begin(Session(1, False))
        outcome = exchange.step(bson.encode({"n": principal}))
        assert isinstance(outcome, Continue)
        infos[principal] = bson.decode(outcome.payload)
    assert infos[USER_1] == {
        "issuer": stage.issuer.url,
        "clientId": SHELL,
        "requestScopes": ["openid", "offline_access"],
    }
    assert infos[USER_2] == {"issuer": stage.other.url, "clientId": SHELL}
    assert infos[MACHINE] == {"issuer": stage.machines.url}
    with pytest.raises(Refused, match="2 providers"):
        acceptor.begin(Session(1, False)).step(bson.encode({}))
    exchange = acceptor.begin(Session(1, False))
    exchange.step(bson.encode({"n": USER_1}))
    with pytest.raises(Refused, match="another provider's"):
        exchange.step(bson.encode({"jwt": stage.person_token(USER_2)}))


@pytest.mark.parametrize("payload", [{"jwt": 1}, {"n": "a", "jwt": "b"}, {"x": "y"}, b"\x05"])
def test_a_payload_of_another_shape_is_refused(acceptor: OIDCAcceptor, payload: Any) -> None:
    data = payload if isinstance(payload, bytes) else bson.encode(payload)
    with pytest.raises(Refused) as caught:
        acceptor.begin(Session(1, False)).step(data)
    assert caught.value.code != 18


def test_the_device_flow_and_its_refresh_token(stage: OIDCDeployment) -> None:
    issuer = stage.issuer
    asked = post(f"{issuer.url}/device", client_id=SHELL, scope="openid offline_access")
    poll = {
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "client_id": SHELL,
        "device_code": asked["device_code"],
    }
    assert post(f"{issuer.url}/token", **poll)["error"] == "authorization_pending"
    post(f"{issuer.url}/verify", user_code=asked["user_code"], username=USER_1)
    first = post(f"{issuer.url}/token", **poll)
    assert post(f"{issuer.url}/token", **poll)["error"] == "invalid_grant"
    again = {
        "grant_type": "refresh_token",
        "client_id": SHELL,
        "refresh_token": first["refresh_token"],
    }
    second = post(f"{issuer.url}/token", **again)
    assert second["access_token"] != first["access_token"]
    # A refresh token is good for one use.
    assert post(f"{issuer.url}/token", **again)["error"] == "invalid_grant"


def test_a_driver_logs_in_as_the_tokens_subject(stage: OIDCDeployment, driver: Driver) -> None:
    callback = driver.callback(lambda context: stage.machine_token())
    with stage.single() as (server, acceptor):
        properties = {"OIDC_CALLBACK": callback}
        with driver.client(server.uri(), authMechanismProperties=properties) as client:
            client.oidc[driver.name].insert_one({"x": 1})
            assert client.oidc[driver.name].find_one({}, {"_id": 0}) == {"x": 1}
            client.oidc[driver.name].drop()
            status = client.admin.command("connectionStatus")
    identity = {"user": f"machines/{MACHINE}", "db": "$external"}
    assert status["authInfo"]["authenticatedUsers"] == [identity]
    assert callback.count == 1
    assert {record.identity for record in server.records} == {identity["user"]}
    assert len(acceptor.accepted) == server.logins


def test_an_expired_session_logs_in_again_with_a_new_token(
    stage: OIDCDeployment, driver: Driver
) -> None:
    callback = driver.callback(lambda context: stage.machine_token())
    with stage.single() as (server, acceptor):
        properties = {"OIDC_CALLBACK": callback}
        with driver.client(server.uri(), authMechanismProperties=properties) as client:
            client.oidc.c.find_one()
            acceptor.revoke()
            server.require_reauthentication()
            client.oidc.c.find_one()
            client.oidc.c.find_one()
            assert callback.count == 2
            # The connection stays: no second hello on it.
            connections = {record.connection for record in server.records}
            assert len(connections) == 1
            names = server.names(connections.pop())
            assert names.count("hello") == 1


def test_a_revoked_token_is_not_enough(stage: OIDCDeployment, driver: Driver) -> None:
    token = stage.machine_token()
    callback = driver.callback(lambda context: token)
    with stage.single() as (server, acceptor):
        acceptor.revoke(token)
        properties = {"OIDC_CALLBACK": callback}
        with driver.client(server.uri(), authMechanismProperties=properties) as client:
            with pytest.raises(driver.errors.OperationFailure) as caught:
                client.oidc.c.find_one()
    assert caught.value.code == 18
    assert [refusal.detail for refusal in server.refusals] == ["the token is revoked"]
