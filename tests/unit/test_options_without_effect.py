"""What a client says of options that it knows and does not act on."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

import mongokey
from mongokey.errors import ConfigurationError
from mongokey.options.table import OPTIONS
from mongokey.options.without_effect import WITHOUT_EFFECT

GIVEN: dict[str, Any] = {
    "compressors": "zlib",
}


def test_they_are_options() -> None:
    assert set(WITHOUT_EFFECT) <= set(OPTIONS)
    assert set(GIVEN) == set(WITHOUT_EFFECT)


@pytest.mark.parametrize("name", sorted(GIVEN))
def test_a_client_warns_of_each(name: str) -> None:
    with pytest.warns(UserWarning, match=f"^{name} has no effect: ") as caught:
        mongokey.MongoClient("h", **{name: GIVEN[name]}).close()
    assert [Path(each.filename).name for each in caught] == [Path(__file__).name]


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://h/?readPreference=nearest&heartbeatFrequencyMS=5000&localThresholdMS=30",
        "mongodb://h/?readPreference=primary&maxPoolSize=5",
        "mongodb://h",
    ],
)
def test_what_works_gives_no_warning(uri: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mongokey.MongoClient(uri).close()


def test_what_must_not_be_passed_over_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="will not connect past it"):
        mongokey.MongoClient("mongodb://h/?proxyHost=socks.example.net&proxyPort=1")
