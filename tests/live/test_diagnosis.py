"""Commands that a real server refuses for want of rights: the error says who is logged in."""

from __future__ import annotations

import pytest

from mongokey import MongoClient
from mongokey.errors import OperationFailure
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live


def test_nobody_is_told_that_nobody_is_logged_in(secantus: SecantusServer) -> None:
    with MongoClient(secantus.uri(None)) as client:
        with pytest.raises(OperationFailure) as caught:
            client.shop.things.find_one()
    error = caught.value
    assert error.code == 13
    assert "requires authentication; [AUTH-NO-CREDENTIAL, certain] no credentials" in str(error)
    # What the server said stays as it was.
    assert error.details is not None
    assert "AUTH-NO-CREDENTIAL" not in error.details["errmsg"]


def test_a_user_without_a_role_is_named_with_the_database(secantus: SecantusServer) -> None:
    with MongoClient(secantus.uri("reader")) as client:
        assert client.app.things.find_one() is None
        with pytest.raises(OperationFailure) as write:
            client.app.things.insert_one({})
        with pytest.raises(OperationFailure) as read:
            client.test.things.find_one()
        with pytest.raises(OperationFailure) as other:
            client.app.command("noSuchCommand")
    assert "[AUTH-NO-ROLE, likely] user 'reader' of 'app' is logged in" in str(write.value)
    assert "on database 'app'" in str(write.value)
    assert "on database 'test'" in str(read.value)
    assert "AUTH-NO-ROLE" not in str(other.value)


def test_a_path_that_became_the_source_is_told(secantus: SecantusServer) -> None:
    uri = secantus.uri("both", database="shop")
    with MongoClient(uri) as client, pytest.raises(OperationFailure) as caught:
        client.shop.things.find_one()
    assert "AUTH-SOURCE-FROM-PATH" in str(caught.value)
    assert "add authSource=admin" in str(caught.value)
