"""The mechanism server is right by PyMongo's measure too, so that it can judge our client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pymongo
import pymongo.errors
import pytest

import mongokey
from mongokey.errors import OperationFailure
from tests.servers.mechanism import MechanismServer
from tests.servers.mechanism.scram import ScramAcceptor
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live

CLIENTS = pytest.mark.parametrize("driver", [mongokey, pymongo], ids=["mongokey", "pymongo"])


@pytest.fixture
def server(open_secantus: SecantusServer) -> Iterator[MechanismServer]:
    users = {"admin.ann": ["SCRAM-SHA-256"]}
    acceptor = ScramAcceptor({"ann": "pencil"})
    with MechanismServer(acceptor, backend=open_secantus, users=users) as server:
        yield server


def connect(driver: Any, server: MechanismServer, **options: Any) -> Any:
    options = {"username": "ann", "password": "pencil", "directConnection": True, **options}
    return driver.MongoClient(server.uri(), serverSelectionTimeoutMS=5000, **options)


@CLIENTS
def test_a_login_leads_to_the_backend(driver: Any, server: MechanismServer) -> None:
    with connect(driver, server) as client:
        collection = client.mechanism[driver.__name__]
        collection.delete_many({})
        collection.insert_one({"_id": 1, "x": "ü"})
        assert collection.find_one() == {"_id": 1, "x": "ü"}
        status = client.admin.command("connectionStatus")
    assert status["authInfo"]["authenticatedUsers"] == [{"user": "ann", "db": "admin"}]
    assert {record.identity for record in server.records} == {"ann"}


@CLIENTS
def test_a_wrong_password_is_refused(driver: Any, server: MechanismServer) -> None:
    with connect(driver, server, password="wrong") as client:
        with pytest.raises((OperationFailure, pymongo.errors.OperationFailure)) as caught:
            client.mechanism.c.find_one()
    assert caught.value.code == 18
    assert not server.records
    assert {refusal.detail for refusal in server.refusals} == {"SCRAM: invalid-proof"}


@CLIENTS
def test_commands_before_a_login_are_refused(driver: Any, server: MechanismServer) -> None:
    with connect(driver, server, username=None, password=None) as client:
        assert client.admin.command("ping")["ok"] == 1
        with pytest.raises((OperationFailure, pymongo.errors.OperationFailure)) as caught:
            client.mechanism.c.find_one()
    assert caught.value.code == 13


@CLIENTS
def test_a_mechanism_that_is_not_there_is_refused(driver: Any, server: MechanismServer) -> None:
    with connect(driver, server, authMechanism="SCRAM-SHA-1") as client:
        with pytest.raises((OperationFailure, pymongo.errors.OperationFailure)) as caught:
            client.mechanism.c.find_one()
    assert caught.value.code == 334


@CLIENTS
def test_fail_command_fails_so_often(driver: Any, server: MechanismServer) -> None:
    with connect(driver, server, retryReads=False) as client:
        client.mechanism.c.find_one()
        client.admin.command(
            "configureFailPoint",
            "failCommand",
            mode={"times": 2},
            data={"failCommands": ["find"], "errorCode": 26},
        )
        for _ in range(2):
            with pytest.raises((OperationFailure, pymongo.errors.OperationFailure)) as caught:
                client.mechanism.c.find_one()
            assert caught.value.code == 26
        client.mechanism.c.find_one()


@CLIENTS
@pytest.mark.parametrize(
    "data",
    [
        {"failCommands": ["find"], "blockConnection": True, "blockTimeMS": 10},
        {"failCommands": ["find"], "writeConcernError": {"code": 91}},
        {"errorCode": 26},
    ],
)
def test_a_fail_point_that_it_cannot_hold_is_refused(
    driver: Any, server: MechanismServer, data: dict[str, Any]
) -> None:
    with connect(driver, server) as client:
        with pytest.raises((OperationFailure, pymongo.errors.OperationFailure)) as caught:
            client.admin.command("configureFailPoint", "failCommand", mode="alwaysOn", data=data)
        assert caught.value.code == 2
        client.mechanism.c.find_one()
