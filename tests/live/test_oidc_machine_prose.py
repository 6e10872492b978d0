"""The machine flow's prose tests of the specification (source/auth/tests/mongodb-oidc.md).

The numbers are the specification's. Every test that it wants run in all environments runs with a
callback, with token files (`test`, `k8s`) and with the clouds' metadata services on loopback
(`azure`, `gcp`), where also the tests of section 5 run that are meant for a real Azure machine;
none is left out. "Callback was called" is counted for the clouds too, at their metadata services.
PyMongo runs the same tests, which shows that the server asks nothing special.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.mechanism import MechanismServer
from tests.servers.mechanism.oidc import OIDCAcceptor
from tests.servers.oidc_deployment import (
    AUDIENCE,
    MACHINE,
    Driver,
    Machine,
    OIDCDeployment,
    machine,
    poison,
)
from tests.threads import in_threads

pytestmark = pytest.mark.live

APP = "oidc-machine-prose"


@pytest.fixture
def server(single: tuple[MechanismServer, OIDCAcceptor]) -> MechanismServer:
    return single[0]


@pytest.fixture(scope="module", params=["mongokey", "pymongo"])
def driver(request: pytest.FixtureRequest) -> Driver:
    return Driver(request.param)


@pytest.fixture(
    params=[
        "mongokey-callback",
        "mongokey-test",
        "mongokey-azure",
        "mongokey-gcp",
        "mongokey-k8s",
        "pymongo-callback",
        "pymongo-test",
    ]
)
def workload(
    request: pytest.FixtureRequest,
    stage: OIDCDeployment,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Iterator[Machine]:
    """A program with its environment, for the tests that run in all environments."""
    name, _, environment = request.param.partition("-")
    with machine(stage, Driver(name), environment, monkeypatch, tmp_path) as made:
        yield made


def connect(driver: Driver, server: MechanismServer, callback: Any, **properties: Any) -> Any:
    return driver.connect(server, callback, properties=properties, appName=APP)


def wrong_result(driver: Driver) -> type[Exception] | tuple[type[Exception], ...]:
    """What a callback's wrong result raises: PyMongo a TypeError (ValueError until 4.18), we
    one of our own."""
    error: type[Exception] = driver.errors.PyMongoError
    return (TypeError, ValueError) if driver.name == "pymongo" else error


# (1) Callback authentication


def test_1_1_callback_is_called_during_authentication(
    workload: Machine, server: MechanismServer
) -> None:
    with workload.connect(server) as client:
        client.test.test.find_one()
    assert workload.fetched() in (1, None)


def test_1_2_callback_is_called_once_for_multiple_connections(
    workload: Machine, server: MechanismServer
) -> None:
    with workload.connect(server) as client:

        def work() -> None:
            for _ in range(100):
                client.test.test.find_one()

        in_threads(10, work)
    assert workload.fetched() in (1, None)


# (2) Callback validation


def test_2_1_valid_callback_inputs(
    stage: OIDCDeployment, driver: Driver, server: MechanismServer
) -> None:
    callback = driver.callback(lambda context: stage.machine_token())
    with connect(driver, server, callback) as client:
        client.test.test.find_one()
    (context,) = callback.contexts
    assert isinstance(context, driver.oidc.OIDCCallbackContext)
    assert 0 < context.timeout_seconds <= 60
    assert context.version == 1
    assert context.username == ""
    assert context.refresh_token is None
    assert context.idp_info is None


def test_2_1_the_callback_is_told_the_username(
    stage: OIDCDeployment, driver: Driver, server: MechanismServer
) -> None:
    callback = driver.callback(lambda context: stage.machine_token())
    properties = {"OIDC_CALLBACK": callback}
    with driver.client(
        server.uri(), username=MACHINE, authMechanismProperties=properties
    ) as client:
        client.test.test.find_one()
    assert callback.contexts[0].username == MACHINE


def test_2_2_callback_returns_null(driver: Driver, server: MechanismServer) -> None:
    callback = driver.callback(lambda context: None)
    with connect(driver, server, callback) as client:
        with pytest.raises(wrong_result(driver)) as caught:
            client.test.test.find_one()
    assert "OIDCCallbackResult" in str(caught.value)
    assert "None" in str(caught.value)


def test_2_3_callback_returns_missing_data(driver: Driver, server: MechanismServer) -> None:
    callback = driver.callback(lambda context: {"access_token_": "x"})
    with connect(driver, server, callback) as client:
        with pytest.raises(wrong_result(driver)) as caught:
            client.test.test.find_one()
    assert "OIDCCallbackResult" in str(caught.value)


def test_2_4_invalid_client_configuration_with_callback(driver: Driver) -> None:
    callback = driver.callback(lambda context: "never")
    properties = {"OIDC_CALLBACK": callback, "ENVIRONMENT": "test"}
    with pytest.raises(driver.errors.ConfigurationError):
        driver.client("mongodb://127.0.0.1/", authMechanismProperties=properties)
    assert callback.count == 0


def test_2_5_invalid_use_of_allowed_hosts(driver: Driver) -> None:
    properties = {"ENVIRONMENT": "azure", "TOKEN_RESOURCE": AUDIENCE, "ALLOWED_HOSTS": []}
    if driver.name == "pymongo":
        del properties["TOKEN_RESOURCE"]  # what PyMongo refuses is this; ALLOWED_HOSTS it drops
    with pytest.raises(driver.errors.ConfigurationError):
        driver.client("mongodb://127.0.0.1/", authMechanismProperties=properties)


# (3) Authentication failure


def test_3_1_authentication_failure_with_cached_tokens_fetches_a_new_token(
    workload: Machine, single: tuple[MechanismServer, OIDCAcceptor]
) -> None:
    server, acceptor = single
    with workload.connect(server) as client:
        poison(workload.driver, client, "bad")
        client.test.test.find_one()
    assert workload.fetched() in (1, None)
    # Tried speculatively, then in the algorithm proper, and then replaced.
    assert acceptor.tokens[0] == "bad"
    assert "bad" not in acceptor.accepted


def test_3_2_authentication_failures_without_cached_tokens_return_an_error(
    driver: Driver, server: MechanismServer
) -> None:
    callback = driver.callback(lambda context: "invalid")
    with connect(driver, server, callback) as client:
        with pytest.raises(driver.errors.OperationFailure) as caught:
            client.test.test.find_one()
        assert callback.count == 1
    assert caught.value.code == 18


def test_3_3_unexpected_error_code_does_not_clear_the_cache(
    workload: Machine, server: MechanismServer
) -> None:
    with workload.connect(server, appName=APP) as client:
        server.fail_command(["saslStart"], 1, 20, app_name=APP)
        with pytest.raises(workload.driver.errors.OperationFailure) as caught:
            client.test.test.find_one()
        assert caught.value.code == 20
        assert workload.fetched() in (1, None)
        client.test.test.find_one()
        assert workload.fetched() in (1, None)


# (4) Reauthentication


def test_4_1_reauthentication_succeeds(workload: Machine, server: MechanismServer) -> None:
    with workload.connect(server, appName=APP) as client:
        server.fail_command(["find"], 1, 391, app_name=APP)
        client.test.test.find_one()
    assert workload.fetched() in (2, None)
    (connection,) = {record.connection for record in server.records}
    names = [name for name in server.names(connection) if name != "endSessions"]
    # No second hello: the login is repeated by SASL messages alone.
    assert names == ["hello", "saslStart", "find", "saslStart", "find"]


@pytest.mark.parametrize(("number", "command"), [("4.2", "find"), ("4.3", "insert")])
def test_4_2_and_4_3_commands_fail_if_reauthentication_fails(
    stage: OIDCDeployment, driver: Driver, server: MechanismServer, number: str, command: str
) -> None:
    tokens = iter([stage.machine_token()])
    callback = driver.callback(lambda context: next(tokens, "bad"))

    def operate(client: Any) -> None:
        if command == "find":
            client.test.test.find_one()
        else:
            client.test.test.insert_one({})

    with connect(driver, server, callback) as client:
        operate(client)
        server.fail_command([command], 1, 391, app_name=APP)
        with pytest.raises(driver.errors.OperationFailure):
            operate(client)
        assert callback.count == 2, number


def test_4_4_speculative_authentication_is_ignored_on_reauthentication(
    stage: OIDCDeployment, workload: Machine, server: MechanismServer
) -> None:
    with workload.connect(server, appName=APP) as client:
        poison(workload.driver, client, stage.machine_token())
        client.test.test.insert_one({})
        assert workload.fetched() in (0, None)
        assert server.count("saslStart") == 0
        server.fail_command(["insert"], 1, 391, app_name=APP)
        client.test.test.insert_one({})
        assert workload.fetched() in (1, None)
        assert server.count("saslStart") == 1
        (connection,) = {record.connection for record in server.records}
        assert server.names(connection).count("hello") == 1


def test_4_5_reauthentication_succeeds_when_a_session_is_involved(
    workload: Machine, server: MechanismServer
) -> None:
    """mongokey has no `start_session` yet: there it is the implicit session, and what the test is
    about (the retried command keeps its session) is looked at on the wire for both."""
    with workload.connect(server, appName=APP) as client:
        server.fail_command(["find"], 1, 391, app_name=APP)
        if hasattr(type(client), "start_session"):
            with client.start_session() as session:
                client.test.test.find_one(session=session)
        else:
            client.test.test.find_one()
    assert workload.fetched() in (2, None)
    first, second = (bytes(command["lsid"]["id"]) for command in server.commands("find"))
    assert first == second


# (5) Azure


def test_5_1_azure_with_no_username(
    make_machine: Callable[[str], Machine], server: MechanismServer
) -> None:
    workload = make_machine("azure")
    with workload.connect(server) as client:
        client.test.test.find_one()
    assert workload.fetched() == 1


def test_5_2_azure_with_bad_username(
    make_machine: Callable[[str], Machine], server: MechanismServer
) -> None:
    workload = make_machine("azure")
    with workload.connect(server, username="bad") as client:
        with pytest.raises(workload.driver.errors.PyMongoError, match="Identity not found"):
            client.test.test.find_one()


@pytest.fixture
def make_machine(
    stage: OIDCDeployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[[str], Machine]]:
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield lambda environment: stack.enter_context(
            machine(stage, Driver("mongokey"), environment, monkeypatch, tmp_path)
        )
