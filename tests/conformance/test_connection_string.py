"""The connection-string suite: every case, through `parse_uri` and the typed form."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from mongokey.errors import ConfigurationError
from mongokey.options.connection_string import parse
from mongokey.uri_parser import parse_uri

from ._uri_suite import need, read_cases


@pytest.mark.parametrize("case", read_cases("connection-string/*.json"))
def test_connection_string(case: dict[str, Any] | None) -> None:
    case = need(case)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if not case["valid"]:
            with pytest.raises(ConfigurationError):
                parse_uri(case["uri"], warn=True)
            return
        result = parse_uri(case["uri"], warn=True)
    assert bool(caught) == case["warning"], [str(w.message) for w in caught]
    typed = parse(case["uri"], lenient=True)
    assert list(typed.hosts) == result["nodelist"]

    if case["hosts"] is not None:
        assert [host for host, _ in result["nodelist"]] == [h["host"] for h in case["hosts"]]
        for expected, (_, port) in zip(case["hosts"], result["nodelist"], strict=True):
            if expected["port"] is not None:
                assert port == expected["port"]
            elif expected["type"] == "unix":
                assert port is None
    if case["auth"] is not None:
        _check_auth(case["auth"], result)
    lower = {name.lower(): value for name, value in result["options"].items()}
    for name, value in (case["options"] or {}).items():
        assert lower[name.lower()] == value
    if case["options"] is None:
        assert not typed.options or case["description"] == "Repeated option keys"


def _check_auth(auth: dict[str, Any], result: dict[str, Any]) -> None:
    # Issue 6: user information is decoded as PyMongo does, a raw '+' is a blank.
    for part in ("username", "password"):
        expected = auth[part]
        if expected is not None:
            assert result[part] == expected.replace("+", " ")
    name = result["database"]
    if result["collection"] is not None:
        name += "." + result["collection"]
    assert name == auth["db"]


def test_raw_plus_is_told_of_although_the_suite_wants_no_warning() -> None:
    typed = parse("mongodb://a+b:c@h")
    assert typed.raw_plus
    assert typed.username == "a b"
    assert "%2B" in typed.warnings[0]
