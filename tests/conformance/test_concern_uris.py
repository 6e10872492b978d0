"""The read-write-concern suites, and the read preferences of the max-staleness suite."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest

from mongokey.client_options import ClientOptions
from mongokey.errors import ConfigurationError
from mongokey.read_concern import ReadConcern
from mongokey.write_concern import WriteConcern

from ._uri_suite import ROOT, need, read_cases

_KEYS = {"w": "w", "wtimeoutMS": "wtimeout", "journal": "j"}


def _concern(written: dict[str, Any]) -> WriteConcern:
    return WriteConcern(**{_KEYS[key]: value for key, value in written.items()})


@pytest.mark.parametrize("case", read_cases("read-write-concern/connection-string/*.json"))
def test_concerns_of_connection_strings(case: dict[str, Any] | None) -> None:
    case = need(case)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if not case["valid"] and case["warning"] is False:
            with pytest.raises(ConfigurationError):
                ClientOptions.build(case["uri"])
            return
        options = ClientOptions.build(case["uri"])
    # "warning": null with "valid": false is a value that is ignored with a warning.
    assert bool(caught) == (not case["valid"])
    if "readConcern" in case:
        assert options.read_concern.document == case["readConcern"]
    if "writeConcern" in case:
        assert options.write_concern == _concern(case["writeConcern"])


@pytest.mark.parametrize("case", read_cases("read-write-concern/document/*.json"))
def test_concern_documents(case: dict[str, Any] | None) -> None:
    case = need(case)
    if "readConcern" in case:
        concern = ReadConcern(**case["readConcern"])
        assert concern.document == case["readConcernDocument"]
        assert (not concern.document) == case["isServerDefault"]
        return
    if not case["valid"]:
        with pytest.raises((ValueError, ConfigurationError)):
            _concern(case["writeConcern"])
        return
    written = _concern(case["writeConcern"])
    assert written.document == case["writeConcernDocument"]
    assert written.acknowledged == case["isAcknowledged"]
    assert written.is_server_default == case["isServerDefault"]


def _max_staleness_cases() -> list[Any]:
    paths = sorted(ROOT.glob("max-staleness/*/*.json"))
    cases = [
        pytest.param(
            json.loads(path.read_text(encoding="utf-8")), id=f"{path.parent.name}:{path.stem}"
        )
        for path in paths
    ]
    return cases or [pytest.param(None, id="no-specifications")]


@pytest.mark.parametrize("case", _max_staleness_cases())
def test_max_staleness_of_connection_strings(case: dict[str, Any] | None) -> None:
    """The URI half of the suite: mode, tags and staleness; selection is the topology's."""
    case = need(case)
    written = case["read_preference"]
    mode = written.get("mode", "Primary")
    parts = [f"readPreference={mode[0].lower()}{mode[1:]}"]
    staleness = written.get("maxStalenessSeconds", -1)
    parts.append(f"maxStalenessSeconds={staleness}")
    for tags in written.get("tag_sets", []):
        parts.append("readPreferenceTags=" + ",".join(f"{k}:{v}" for k, v in tags.items()))
    if "heartbeatFrequencyMS" in case:
        parts.append(f"heartbeatFrequencyMS={case['heartbeatFrequencyMS']}")
    uri = "mongodb://localhost/?" + "&".join(parts)
    if staleness == 0:
        with pytest.warns(UserWarning, match="maxStalenessSeconds"):
            ClientOptions.build(uri)
        return
    if mode == "Primary" and staleness != -1:
        with pytest.raises(ConfigurationError, match="maxStalenessSeconds"):
            ClientOptions.build(uri)
        return
    options = ClientOptions.build(uri)
    assert options.read_preference.name == mode
    assert options.read_preference.max_staleness == staleness
    assert options.read_preference.tag_sets == written.get("tag_sets", [{}])
    assert options.heartbeat_frequency == case.get("heartbeatFrequencyMS", 10000) / 1000
