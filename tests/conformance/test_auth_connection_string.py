"""The auth specification's connection-string suite, through the client's options."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from mongokey.client_options import ClientOptions
from mongokey.errors import ConfigurationError

from ._uri_suite import need, read_cases

# The suite says both that a key pair in the URI is used (the cases of localhost) and that it is an
# error (this case of localhost.com); PyMongo and mongokey use it.
_CONTRADICTED = "should throw an exception if username and password provided (MONGODB-AWS)"


@pytest.mark.parametrize("case", read_cases("auth/legacy/connection-string.json"))
def test_credential(case: dict[str, Any] | None) -> None:
    case = need(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if case["description"] == _CONTRADICTED:
            credential = ClientOptions.build(case["uri"]).credential
            assert credential is not None
            assert (credential.username, credential.password) == ("user", "pass")
            return
        if not case["valid"]:
            with pytest.raises(ConfigurationError):
                ClientOptions.build(case["uri"])
            return
        credential = ClientOptions.build(case["uri"]).credential
    expected = case["credential"]
    if expected is None:
        assert credential is None
        return
    assert credential is not None
    assert credential.username == expected["username"]
    assert credential.password == expected["password"]
    assert credential.source == expected["source"]
    assert credential.mechanism == expected["mechanism"]
    assert dict(credential.mechanism_properties) == (expected["mechanism_properties"] or {})
