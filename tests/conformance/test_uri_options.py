"""The uri-options suite: every case; only what asks DNS stops at the typed form."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from mongokey.diagnostics import Diagnosis
from mongokey.errors import ConfigurationError
from mongokey.options.connection_string import SRVQuestion, parse
from mongokey.options.table import OPTIONS
from mongokey.options.uri_errors import is_advice, is_deprecation
from mongokey.uri_parser import parse_uri

from ._uri_suite import need, read_cases

# Values that `parse` turns from milliseconds into seconds, as PyMongo does.
_IN_SECONDS = {
    "connectTimeoutMS",
    "heartbeatFrequencyMS",
    "maxIdleTimeMS",
    "serverSelectionTimeoutMS",
    "socketTimeoutMS",
    "timeoutMS",
}


@pytest.mark.parametrize("case", read_cases("uri-options/*.json"))
def test_uri_options(case: dict[str, Any] | None) -> None:
    case = need(case)
    if not case["valid"]:
        with pytest.raises(ConfigurationError):
            parse(case["uri"], lenient=True)
        return
    typed = parse(case["uri"], lenient=True)
    diagnoses = [each for each in typed.findings if not (is_deprecation(each) or is_advice(each))]
    assert bool(diagnoses) == case["warning"], diagnoses
    for name, value in (case["options"] or {}).items():
        expected = value / 1000 if name in _IN_SECONDS else value
        assert typed.options[name] == expected
        assert typed.origins[name] == "URI"
    if case["warning"]:
        _check_strict(case["uri"], diagnoses)


def _check_strict(uri: str, diagnoses: list[Diagnosis]) -> None:
    with pytest.raises(ConfigurationError):
        parse(uri)
    for diagnosis in diagnoses:
        assert diagnosis.option in OPTIONS


@pytest.mark.parametrize("case", read_cases("uri-options/*.json"))
def test_uri_options_with_pymongos_function(case: dict[str, Any] | None) -> None:
    case = need(case)
    uri = case["uri"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = parse_uri(uri, warn=True, resolve=_one_host)
        except ConfigurationError:
            assert not case["valid"]
            return
    assert case["valid"]
    assert bool(caught) == case["warning"]
    lower = {name.lower() for name in result["options"]}
    assert lower >= {name.lower() for name in case["options"] or {}}


def _one_host(question: SRVQuestion) -> tuple[list[tuple[str, int | None]], str | None]:
    return [("a." + question.fqdn, 27017)], None
