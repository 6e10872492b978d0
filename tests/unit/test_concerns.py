"""Write concern, read concern and read preference: PyMongo's values."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pymongo.read_preferences as theirs
import pytest

from mongokey import read_preferences as ours
from mongokey.errors import ConfigurationError
from mongokey.read_concern import DEFAULT_READ_CONCERN, ReadConcern
from mongokey.write_concern import DEFAULT_WRITE_CONCERN, WriteConcern


def test_write_concern() -> None:
    concern = WriteConcern(w=3, wtimeout=1000, j=True)
    assert concern.document == {"wtimeout": 1000, "j": True, "w": 3}
    assert concern.acknowledged
    assert not concern.is_server_default
    concern.document["w"] = 0
    assert concern == WriteConcern(3, 1000, True)
    assert concern != WriteConcern(3)
    assert repr(concern) == "WriteConcern(wtimeout=1000, j=True, w=3)"
    assert not WriteConcern(0).acknowledged
    assert WriteConcern("majority").acknowledged
    assert DEFAULT_WRITE_CONCERN.is_server_default
    assert WriteConcern() != {}
    assert pickle.loads(pickle.dumps(concern)) == concern
    with pytest.raises(TypeError):
        hash(concern)


@pytest.mark.parametrize(
    ("keywords", "error"),
    [
        ({"w": -1}, ValueError),
        ({"w": 1.5}, TypeError),
        ({"wtimeout": -1}, ValueError),
        ({"wtimeout": "1"}, TypeError),
        ({"j": 1}, TypeError),
        ({"fsync": "x"}, TypeError),
        ({"j": True, "fsync": True}, ConfigurationError),
        ({"w": 0, "j": True}, ConfigurationError),
    ],
)
def test_wrong_write_concerns(keywords: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        WriteConcern(**keywords)


def test_read_concern() -> None:
    concern = ReadConcern("majority")
    assert concern.document == {"level": "majority"}
    assert concern.level == "majority"
    assert not concern.ok_for_legacy
    assert ReadConcern("local").ok_for_legacy
    assert DEFAULT_READ_CONCERN.document == {}
    assert concern == ReadConcern("majority")
    assert concern != ReadConcern()
    assert repr(ReadConcern()) == "ReadConcern()"
    assert pickle.loads(pickle.dumps(concern)) == concern
    with pytest.raises(TypeError):
        ReadConcern(1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["Primary", "PrimaryPreferred", "Secondary", "SecondaryPreferred", "Nearest"]
)
def test_read_preferences_are_pymongos(name: str) -> None:
    mine = getattr(ours, name)()
    other = getattr(theirs, name)()
    for attribute in (
        "name",
        "mode",
        "mongos_mode",
        "document",
        "tag_sets",
        "max_staleness",
        "min_wire_version",
        "hedge",
    ):
        assert getattr(mine, attribute) == getattr(other, attribute)
    assert repr(mine) == repr(other)
    assert pickle.loads(pickle.dumps(mine)) == mine
    assert copy.deepcopy(mine) == mine


def test_read_preference_constants() -> None:
    modes = [ours.ReadPreference.__dict__[name].mode for name in theirs._MODES]
    assert modes == [0, 1, 2, 3, 4]


def test_tags_and_staleness() -> None:
    mine = ours.Secondary([{"dc": "ny"}, {}], 120)
    assert mine.document == {
        "mode": "secondary",
        "tags": [{"dc": "ny"}, {}],
        "maxStalenessSeconds": 120,
    }
    assert mine.min_wire_version == 5
    assert mine != ours.Secondary([{"dc": "ny"}, {}])
    assert ours.Secondary([{}]) == ours.Secondary()
    assert ours.Secondary() != ours.Nearest()
    assert ours.Secondary([{}]).document == {"mode": "secondary"}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (([],), ValueError),
        (("x",), TypeError),
        ((["x"],), TypeError),
        ((None, 0), ValueError),
        ((None, -2), ValueError),
        ((None, 1.5), TypeError),
        ((None, -1, 1), TypeError),
    ],
)
def test_wrong_read_preferences(arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        ours.Nearest(*arguments)


def test_make_read_preference() -> None:
    assert ours.make_read_preference(0, None) == ours.Primary()
    assert ours.make_read_preference(0, [{}]) == ours.Primary()
    assert ours.make_read_preference(3, [{"a": "b"}], 90).name == "SecondaryPreferred"
    assert ours.read_pref_mode_from_name("nearest") == 4
    with pytest.raises(ConfigurationError, match="readPreferenceTags"):
        ours.make_read_preference(0, [{"a": "b"}])
    with pytest.raises(ConfigurationError, match="maxStalenessSeconds"):
        ours.make_read_preference(0, None, 90)


def test_hedge_is_deprecated() -> None:
    with pytest.warns(DeprecationWarning, match="hedge") as caught:
        mine = ours.Nearest(hedge={"enabled": True})
    assert caught[0].filename == __file__
    assert mine.document == {"mode": "nearest", "hedge": {"enabled": True}}
    with pytest.warns(DeprecationWarning, match="hedge") as caught:
        assert mine.hedge == {"enabled": True}
    assert caught[0].filename == __file__
    assert pickle.loads(pickle.dumps(mine)) == mine
