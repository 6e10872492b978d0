"""The human flow's prose tests of the specification (source/auth/tests/mongodb-oidc.md).

The numbers are the specification's. MONGODB_URI_SINGLE is a server with one provider for people
and one for machines, MONGODB_URI_MULTI one with two for people. mongokey has no command
listeners yet: which commands ran is read off what the server received. PyMongo runs the same
tests, which shows that the server asks nothing special.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from tests.servers.mechanism import MechanismServer
from tests.servers.mechanism.oidc import OIDCAcceptor
from tests.servers.oidc_deployment import (
    MACHINE,
    SCOPES,
    SHELL,
    USER_1,
    USER_2,
    Driver,
    OIDCDeployment,
    Recorder,
)

pytestmark = pytest.mark.live

APP = "oidc-human-prose"


@pytest.fixture
def server(single: tuple[MechanismServer, OIDCAcceptor]) -> MechanismServer:
    return single[0]


@pytest.fixture
def multi(stage: OIDCDeployment) -> Iterator[MechanismServer]:
    with stage.multi() as (server, _):
        yield server


@pytest.fixture(scope="module", params=["mongokey", "pymongo"])
def driver(request: pytest.FixtureRequest) -> Driver:
    return Driver(request.param)


def person(
    stage: OIDCDeployment, driver: Driver, name: str = USER_1, refresh: str | None = "dummy"
) -> Recorder:
    """A callback that answers with the person's token, and a refresh token."""

    def make(context: Any) -> Any:
        token = stage.machine_token() if name == MACHINE else stage.person_token(name)
        return driver.result(token, refresh_token=refresh)

    return driver.callback(make)


def connect(
    driver: Driver,
    server: MechanismServer,
    callback: Recorder,
    username: str | None = None,
    **properties: Any,
) -> Any:
    return driver.connect(
        server, callback, human=True, properties=properties, appName=APP, username=username
    )


def fail(server: MechanismServer, name: str, code: int | None, *, close: bool = False) -> None:
    server.fail_command([name], 1, code, close=close, app_name=APP)


# (1) OIDC human callback authentication


def test_1_1_single_principal_implicit_username(
    stage: OIDCDeployment, driver: Driver, single: tuple[MechanismServer, OIDCAcceptor]
) -> None:
    server, acceptor = single
    with connect(driver, server, person(stage, driver)) as client:
        client.test.test.find_one()
    assert acceptor.principals == [None]
    assert {record.identity for record in server.records} == {f"people/{USER_1}"}


def test_1_2_single_principal_explicit_username(
    stage: OIDCDeployment, driver: Driver, single: tuple[MechanismServer, OIDCAcceptor]
) -> None:
    server, acceptor = single
    with connect(driver, server, person(stage, driver), USER_1) as client:
        client.test.test.find_one()
    assert acceptor.principals == [USER_1]


@pytest.mark.parametrize(
    ("number", "name", "prefix"), [("1.3", USER_1, "people"), ("1.4", USER_2, "others")]
)
def test_1_3_and_1_4_multiple_principal_users(
    stage: OIDCDeployment,
    driver: Driver,
    multi: MechanismServer,
    number: str,
    name: str,
    prefix: str,
) -> None:
    with connect(driver, multi, person(stage, driver, name), name) as client:
        client.test.test.find_one()
    assert {record.identity for record in multi.records} == {f"{prefix}/{name}"}, number


def test_1_5_multiple_principal_no_user(
    stage: OIDCDeployment, driver: Driver, multi: MechanismServer
) -> None:
    callback = person(stage, driver)
    with connect(driver, multi, callback) as client:
        with pytest.raises(driver.errors.OperationFailure):
            client.test.test.find_one()
    assert callback.count == 0


def test_1_6_allowed_hosts_blocked(
    stage: OIDCDeployment, driver: Driver, server: MechanismServer
) -> None:
    callback = person(stage, driver)
    with connect(driver, server, callback, ALLOWED_HOSTS=[]) as client:
        with pytest.raises(driver.errors.ConfigurationError):
            client.test.test.find_one()
    properties = {"OIDC_HUMAN_CALLBACK": callback, "ALLOWED_HOSTS": ["example.com"]}
    uri = server.uri(authMechanism="MONGODB-OIDC", ignored="example.com")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the unknown option is the test's point
        client = driver.client(uri, authMechanismProperties=properties)
    with client:
        with pytest.raises(driver.errors.ConfigurationError, match=r"127\.0\.0\.1"):
            client.test.test.find_one()
    assert callback.count == 0
    assert server.count("saslStart") == 0


@pytest.mark.parametrize("scheme", ["mongodb+srv", "mongodb"])
def test_1_7_allowed_hosts_in_connection_string_ignored(scheme: str) -> None:
    """mongokey alone: PyMongo notices only that example.com has no SRV records. No name server
    may be asked here, which the plain scheme makes sure of."""
    driver = Driver("mongokey")
    callback = driver.callback(lambda context: "never")
    uri = (
        f"{scheme}://example.com/?authMechanism=MONGODB-OIDC"
        "&authMechanismProperties=ALLOWED_HOSTS:%5B%22example.com%22%5D"
    )
    properties = {"OIDC_HUMAN_CALLBACK": callback}
    for options in ({}, {"authMechanismProperties": properties}):
        with pytest.raises(driver.errors.ConfigurationError, match="ALLOWED_HOSTS"):
            driver.root.MongoClient(uri, **options)
    assert callback.count == 0


def test_1_8_machine_idp_with_human_callback(
    stage: OIDCDeployment, driver: Driver, server: MechanismServer
) -> None:
    callback = person(stage, driver, MACHINE)
    with connect(driver, server, callback, MACHINE) as client:
        client.test.test.find_one()
    (context,) = callback.contexts
    assert context.idp_info.issuer == stage.machines.url
    assert context.idp_info.clientId is None


# (2) OIDC human callback validation


def test_2_1_valid_callback_inputs(
    stage: OIDCDeployment, driver: Driver, server: MechanismServer
) -> None:
    callback = person(stage, driver)
    with connect(driver, server, callback, USER_1) as client:
        client.test.test.find_one()
    (context,) = callback.contexts
    assert isinstance(context, driver.oidc.OIDCCallbackContext)
    assert context.timeout_seconds == pytest.approx(300, abs=1)
    assert context.version == 1
    assert context.username == USER_1
    assert context.refresh_token is None
    assert isinstance(context.idp_info, driver.oidc.OIDCIdPInfo)
    assert context.idp_info.issuer == stage.issuer.url
    assert context.idp_info.clientId == SHELL
    assert list(context.idp_info.requestScopes) == list(SCOPES)


def test_2_2_human_callback_returns_missing_data(driver: Driver, server: MechanismServer) -> None:
    callback = driver.callback(lambda context: {})
    # PyMongo until 4.18 has ValueError.
    wrong = (TypeError, ValueError)
    expected = wrong if driver.name == "pymongo" else driver.errors.PyMongoError
    with connect(driver, server, callback) as client:
        with pytest.raises(expected, match="OIDCCallbackResult"):
            client.test.test.find_one()


def test_2_3_refresh_token_is_passed_to_the_callback(
    stage: OIDCDeployment, driver: Driver, server: MechanismServer
) -> None:
    callback = person(stage, driver, refresh="the refresh token")
    with connect(driver, server, callback) as client:
        client.test.test.find_one()
        fail(server, "find", 391)
        client.test.test.find_one()
    assert [context.refresh_token for context in callback.contexts] == [None, "the refresh token"]


# (3) Speculative authentication


def test_3_1_uses_speculative_authentication_if_there_is_a_cached_token(
    stage: OIDCDeployment, driver: Driver, server: MechanismServer
) -> None:
    with connect(driver, server, person(stage, driver)) as client:
        fail(server, "find", None, close=True)
        with pytest.raises(driver.errors.AutoReconnect):
            client.test.test.find_one()
        fail(server, "saslStart", 18)
        client.test.test.find_one()
    assert [record.speculative for record in server.records] == [False, True]


def test_3_2_does_not_use_speculative_authentication_if_there_is_no_cached_token(
    stage: OIDCDeployment, driver: Driver, server: MechanismServer
) -> None:
    callback = person(stage, driver)
    with connect(driver, server, callback) as client:
        fail(server, "saslStart", 18)
        with pytest.raises(driver.errors.OperationFailure) as caught:
            client.test.test.find_one()
    assert caught.value.code == 18
    hellos = server.commands("hello")
    assert all("speculativeAuthenticate" not in hello for hello in hellos)


# (4) Reauthentication


def test_4_1_succeeds(stage: OIDCDeployment, driver: Driver, server: MechanismServer) -> None:
    callback = person(stage, driver)
    with connect(driver, server, callback) as client:
        client.test.test.find_one()
        assert callback.count == 1
        fail(server, "find", 391)
        before = len(server.requests)
        client.test.test.find_one()
        assert callback.count == 2
        names = [request.name for request in server.requests[before:] if request.name != "hello"]
    # One find failed, one succeeded; in between a login in one step.
    assert names == ["find", "saslStart", "find"]


def test_4_2_succeeds_no_refresh(
    stage: OIDCDeployment, driver: Driver, server: MechanismServer
) -> None:
    callback = person(stage, driver, refresh=None)
    with connect(driver, server, callback) as client:
        client.test.test.find_one()
        assert callback.count == 1
        fail(server, "find", 391)
        client.test.test.find_one()
    assert callback.count == 2
    assert [context.refresh_token for context in callback.contexts] == [None, None]


def test_4_3_succeeds_after_refresh_fails(
    stage: OIDCDeployment, driver: Driver, server: MechanismServer
) -> None:
    callback = person(stage, driver, refresh="bad")
    with connect(driver, server, callback) as client:
        client.test.test.find_one()
        assert callback.count == 1
        fail(server, "find", 391)
        client.test.test.find_one()
    assert callback.count == 2


def test_4_4_fails(stage: OIDCDeployment, driver: Driver, server: MechanismServer) -> None:
    tokens = iter([stage.person_token()])
    callback = driver.callback(
        lambda context: driver.result(next(tokens, "bad"), refresh_token="bad")
    )
    with connect(driver, server, callback) as client:
        client.test.test.find_one()
        assert callback.count == 1
        fail(server, "find", 391)
        with pytest.raises(driver.errors.OperationFailure):
            client.test.test.find_one()
    # With the refresh token, and then afresh in a two-step conversation.
    assert callback.count == 3
    assert [context.refresh_token for context in callback.contexts] == [None, "bad", None]
