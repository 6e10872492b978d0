"""Checks and forms of arguments, as PyMongo has them."""

from __future__ import annotations

from collections import OrderedDict, UserDict
from typing import Any

import pytest

from mongokey.bson import encode
from mongokey.bson.raw_bson import RawBSONDocument
from mongokey.bson.son import SON
from mongokey.commands import arguments as arguments
from mongokey.errors import InvalidName


@pytest.mark.parametrize(
    "value", [{}, SON(), OrderedDict(), UserDict(), RawBSONDocument(encode({"a": 1}))]
)
def test_mappings_of_every_kind_are_mappings(value: Any) -> None:
    arguments.check_mapping("filter", value)


@pytest.mark.parametrize("value", [None, [], "x", 5, b"x", [("a", 1)], object()])
def test_what_is_no_mapping_is_named_by_its_type_and_not_shown(value: Any) -> None:
    with pytest.raises(TypeError, match=f"filter must be a mapping.*{type(value).__name__}"):
        arguments.check_mapping("filter", value)


def test_a_refused_value_is_not_in_the_error() -> None:
    with pytest.raises(TypeError) as caught:
        arguments.check_string("name", ["hunter2"])
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("update", [{"$set": {"a": 1}}, [{"$set": {"a": 1}}], SON({"$inc": {}})])
def test_updates_are_operators_or_pipelines(update: Any) -> None:
    arguments.check_update(update)


@pytest.mark.parametrize(
    ("update", "error", "words"),
    [
        ({}, ValueError, "cannot be empty"),
        ([], ValueError, "cannot be empty"),
        ({"a": 1}, ValueError, "replace_one"),
        (None, TypeError, "pipeline"),
        ("$set", TypeError, "pipeline"),
        (({"$set": {}},), TypeError, "pipeline"),
    ],
)
def test_other_updates_are_refused(update: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        arguments.check_update(update)


def test_replacements_have_no_operators() -> None:
    arguments.check_replacement({})
    arguments.check_replacement({"a": {"$b": 1}})
    with pytest.raises(ValueError, match="update_one"):
        arguments.check_replacement({"$set": {"a": 1}})
    with pytest.raises(TypeError, match="replacement"):
        arguments.check_replacement([])


@pytest.mark.parametrize(
    ("keys", "direction", "document"),
    [
        ("a", None, {"a": 1}),
        ("a", -1, {"a": -1}),
        ("a", "2dsphere", {"a": "2dsphere"}),
        ([("a", 1), ("b", -1)], None, {"a": 1, "b": -1}),
        (["a", "b"], None, {"a": 1, "b": 1}),
        (["a", ("b", "text")], None, {"a": 1, "b": "text"}),
        ((("a", 1),), None, {"a": 1}),
        ({"a": 1, "b": -1}, None, {"a": 1, "b": -1}),
        (SON([("b", 1), ("a", 1)]), None, {"b": 1, "a": 1}),
        ({"a": 1}.items(), None, {"a": 1}),
        ({"score": {"$meta": "textScore"}}, None, {"score": {"$meta": "textScore"}}),
    ],
)
def test_keys_of_sorts_and_indexes(keys: Any, direction: Any, document: Any) -> None:
    found = arguments.index_document(arguments.index_pairs(keys, direction))
    assert found == document
    assert list(found) == list(document)


@pytest.mark.parametrize(
    ("keys", "direction", "error"),
    [
        ([], None, ValueError),
        ({}, None, ValueError),
        (5, None, TypeError),
        (b"a", None, TypeError),
        ({"a", "b"}, None, TypeError),
        ([("a", 1)], 1, TypeError),
        ([(5, 1)], None, TypeError),
        ([("a", None)], None, TypeError),
        ([("a", [])], None, TypeError),
        ([("a", 1, 2)], None, ValueError),
        (None, 1, TypeError),
    ],
)
def test_other_keys_are_refused(keys: Any, direction: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        arguments.index_document(arguments.index_pairs(keys, direction))


def test_indexes_are_named_as_mongodb_s_tools_name_them() -> None:
    assert arguments.index_name({"a": 1, "b.c": -1, "d": "text"}) == "a_1_b.c_-1_d_text"


@pytest.mark.parametrize(
    ("hint", "value"),
    [(None, None), ("name", "name"), ([("a", 1)], {"a": 1}), ({"a": -1}, {"a": -1})],
)
def test_hints_are_names_or_keys(hint: Any, value: Any) -> None:
    assert arguments.hint_value(hint) == value


@pytest.mark.parametrize(
    ("projection", "document"),
    [
        (None, None),
        ({"a": 1}, {"a": 1}),
        (["a", "b"], {"a": 1, "b": 1}),
        (("a",), {"a": 1}),
        ({"a"}, {"a": 1}),
        ([], {}),
    ],
)
def test_projections_are_mappings_or_names(projection: Any, document: Any) -> None:
    assert arguments.projection_document(projection) == document


@pytest.mark.parametrize("projection", ["a", b"a", 5, [5], [("a", 1)]])
def test_other_projections_are_refused(projection: Any) -> None:
    with pytest.raises(TypeError, match="projection"):
        arguments.projection_document(projection)


def test_collations_are_mappings_or_have_a_document() -> None:
    class Collation:
        def __init__(self) -> None:
            self.document = {"locale": "fr"}

    assert arguments.collation_document({"locale": "en"}) == {"locale": "en"}
    assert arguments.collation_document(Collation()) == {"locale": "fr"}
    assert arguments.collation_document(None) is None
    with pytest.raises(TypeError, match="collation"):
        arguments.collation_document("en")


@pytest.mark.parametrize("name", ["a", "admin", "$external", "é", "a-b_c", "x" * 200])
def test_database_names(name: str) -> None:
    arguments.check_database_name(name)


@pytest.mark.parametrize("name", ["", " ", "a b", "a.b", "$a", "a/b", "a\\b", "a\0", 'a"b'])
def test_names_that_no_database_can_have(name: str) -> None:
    with pytest.raises(InvalidName):
        arguments.check_database_name(name)


@pytest.mark.parametrize("name", ["a", "a.b.c", "system.views", "$cmd.aggregate", "oplog.$main"])
def test_collection_names(name: str) -> None:
    arguments.check_collection_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a..b", ".a", "a.", "$a", "a$", "a\0b"])
def test_names_that_no_collection_can_have(name: str) -> None:
    with pytest.raises(InvalidName):
        arguments.check_collection_name(name)


@pytest.mark.parametrize("name", [None, 5, b"a", ["a"]])
def test_a_name_is_a_string(name: Any) -> None:
    with pytest.raises(TypeError, match="name must be a string"):
        arguments.check_collection_name(name)
