"""`ServerApi`, PyMongo's class under PyMongo's path."""

from __future__ import annotations

from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.handshake.hello import api_fields
from mongokey.server_api import ServerApi, ServerApiVersion


def test_what_is_sent() -> None:
    assert api_fields(ServerApi(ServerApiVersion.V1)) == {"apiVersion": "1"}
    api = ServerApi("1", strict=False, deprecation_errors=True)
    assert api_fields(api) == {
        "apiVersion": "1",
        "apiStrict": False,
        "apiDeprecationErrors": True,
    }


@pytest.mark.parametrize("version", ["2", "", "v1", 1, None])
def test_other_versions_are_refused(version: Any) -> None:
    with pytest.raises(ValueError, match="ServerApiVersion"):
        ServerApi(version)


@pytest.mark.parametrize("name", ["strict", "deprecation_errors"])
@pytest.mark.parametrize("value", [1, "true", []])
def test_what_is_no_bool_is_refused(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be a bool"):
        ServerApi("1", **{name: value})


def test_it_is_read_only_and_says_what_it_is() -> None:
    api = ServerApi("1", strict=True)
    assert repr(api) == "ServerApi('1', strict=True)"
    assert repr(ServerApi("1")) == "ServerApi('1')"
    with pytest.raises(AttributeError):
        api.version = "2"  # type: ignore[misc]


def test_clients_take_it_and_pymongos() -> None:
    import pymongo.server_api

    for made in (ServerApi("1"), pymongo.server_api.ServerApi("1")):
        assert MongoClient(server_api=made).options.pool_options.server_api is made
